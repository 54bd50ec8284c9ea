//! What may not occur in the programs: calls that panic on purpose.
//!
//! Only tests may panic. A program reports an error, or counts it and goes on.

use crate::source::Source;

const PANICS: [&str; 6] = [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "unreachable!("];

fn check(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|s| s.is_program()) {
        let panics = PANICS.iter().filter(|call| source.code().contains(**call));
        found.extend(panics.map(|call| format!("{} has {call}", source.path)));
    }
    found
}

#[test]
fn nothing_panics_on_purpose_outside_tests() {
    assert_eq!(check(&Source::all()), [""; 0]);
}

#[test]
fn a_planted_panic_is_found() {
    for call in PANICS {
        let text = format!("fn f() {{\n    g(){call}\n}}");
        assert_eq!(check(&[Source::new("edge/src/see.rs", &text)]).len(), 1, "{text}");
        for test in ["tests/e2e/chain.rs", "edge/tests/mask.rs", "edge/src/spool/tests.rs"] {
            assert_eq!(check(&[Source::new(test, &text)]), [""; 0], "{test}: {text}");
        }
    }
}
