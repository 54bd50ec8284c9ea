//! Test helpers: a configuration from TOML text, and a table of edits that make it wrong.
//!
//! Inputs are TOML texts. Results are checked configurations or the messages of their errors. Nothing is read from files or the
//! environment.

use super::{Config, Raw};
use std::path::Path;

/// The configuration that a text describes, or the error's message.
pub fn config(toml: &str) -> Result<Config, String> {
    let raw = Raw::of_toml(toml, Path::new("edge.toml")).map_err(|e| e.to_string())?;
    Config::check(raw).map_err(|e| e.to_string())
}

/// Asserts for each `(from, to, words)` that `sound` with `to` in place of `from` is refused by a message with all words.
#[track_caller]
pub fn assert_refused(sound: &str, cases: &[(&str, &str, [&str; 3])]) {
    assert_eq!(config(sound).err(), None);
    for (from, to, words) in cases {
        assert!(sound.contains(from), "{from} is not in the text");
        let why = config(&sound.replace(from, to)).expect_err(to);
        assert!(words.iter().all(|word| why.contains(word)), "{to}: {why}");
    }
}
