//! What may not occur in the programs: calls that panic on purpose, and examples that nothing compiles.
//!
//! Only tests may panic. A program reports an error, or counts it and goes on. Examples in documentation are compiled and run
//! in the core alone (`doctest = false` in the other manifests); blocks of another language than Rust are free.

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

/// Lines that begin an example of Rust which no test compiles.
fn check_examples(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|s| !s.path.starts_with("firmware/src/")) {
        let mut is_inside = false;
        for line in source.text.lines().map(str::trim_start) {
            let Some(language) = line.strip_prefix("//! ```").or_else(|| line.strip_prefix("/// ```")) else {
                continue;
            };
            if !is_inside && ["", "rust", "no_run", "should_panic"].contains(&language) {
                found.push(format!("{}: an example of Rust that is not compiled", source.path));
            }
            is_inside = !is_inside;
        }
    }
    found
}

#[test]
fn every_example_of_rust_is_compiled() {
    assert_eq!(check_examples(&Source::all()), [""; 0]);
}

#[test]
fn a_planted_example_is_found() {
    let example = "/// ```\n/// let a = 1;\n/// ```\n/// ```text\n/// a b\n/// ```\n";
    assert_eq!(check_examples(&[Source::new("edge/src/see.rs", example)]).len(), 1);
    assert_eq!(check_examples(&[Source::new("firmware/src/label.rs", example)]), [""; 0]);
}
