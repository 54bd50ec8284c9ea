//! What each part of the project may use: the core no std and no float, the edge no bridge, and the like.
//!
//! The rule looks for words in the code of a file, comments and tests left out.

use crate::source::Source;

/// The beginning of a path, paths below it that are left out, and what no file there may have.
const RULES: &[(&str, &str, &[&str])] = &[
    ("edge/", "", &["hueflow_bridge", "rdkafka"]),
    ("bridge/", "", &["hueflow_edge"]),
    ("firmware/host/", "", &["hueflow_", "firmware::", "rdkafka"]),
    ("firmware/src/", "firmware/src/kernel/", &["std::", "alloc::", "f32", "f64", "unsafe", "extern crate"]),
];

fn check(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (part, except, words) in RULES {
        let is_in = |s: &&Source| s.path.starts_with(part) && (except.is_empty() || !s.path.starts_with(except));
        for source in sources.iter().filter(is_in) {
            let unwanted = words.iter().filter(|word| source.code().contains(**word));
            found.extend(unwanted.map(|word| format!("{} has {word}", source.path)));
        }
    }
    found
}

#[test]
fn parts_use_only_what_they_may() {
    assert_eq!(check(&Source::all()), [""; 0]);
}

#[test]
fn a_planted_use_of_another_part_or_of_a_float_is_found() {
    for (path, text) in [
        ("edge/src/see.rs", "use hueflow_bridge::journal;"),
        ("bridge/src/cli.rs", "use hueflow_edge::see;"),
        ("firmware/host/src/tls.rs", "use firmware::wire;"),
        ("firmware/src/label.rs", "fn f(x: f32) {}"),
        ("firmware/src/label.rs", "use std::vec::Vec;"),
        ("firmware/src/label.rs", "fn f() { unsafe { g() } }"),
    ] {
        assert_eq!(check(&[Source::new(path, text)]).len(), 1, "{path}: {text}");
    }
    for (path, text) in [
        ("firmware/src/kernel/x86.rs", "fn f() { unsafe { g() } }"),
        ("firmware/src/label.rs", "// No f32.\n#[cfg(test)]\nmod tests {\n    fn f(x: f32) {}\n}"),
    ] {
        assert_eq!(check(&[Source::new(path, text)]), [""; 0], "{path}: {text}");
    }
}
