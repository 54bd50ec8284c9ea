//! The project's own Rust sources, as the rules read them.
//!
//! [`Source::all`] reads every file of the four parts. A [`Source`] has its path from the top folder, its text, and the code in
//! it without comments and without the tests at its end.

use harness::root;
use std::path::{Path, PathBuf};

/// Where tests begin at a file's end.
const TESTS: [&str; 2] = ["\n#[cfg(test)]\nmod tests", "\n#[cfg(all(test, feature = \"simd\"))]\nmod tests"];

/// A source file.
pub struct Source {
    /// Its path from the project's top folder.
    pub path: String,
    /// All of it.
    pub text: String,
    code: String,
}

impl Source {
    /// A file with this text.
    pub fn new(path: &str, text: &str) -> Source {
        let body = TESTS.iter().fold(text, |text, tests| text.split(tests).next().unwrap_or(text));
        let code: Vec<&str> = body.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
        Source { path: path.to_owned(), text: text.to_owned(), code: code.join("\n") }
    }

    /// All files of the project.
    pub fn all() -> Vec<Source> {
        let (root, mut found) = (root(), Vec::new());
        ["firmware", "edge", "bridge", "tests"].iter().for_each(|part| walk(&root.join(part), &mut found));
        let read = |path: &PathBuf| {
            let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            Source::new(&name, &std::fs::read_to_string(path).unwrap())
        };
        found.iter().map(read).collect()
    }

    /// The code without comments and without the tests at the file's end.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Whether it is part of the core or of a program; tests are not.
    pub fn is_program(&self) -> bool {
        self.path.contains("/src/") && !self.is_test()
    }

    /// Whether all of it is tests.
    pub fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.ends_with("tests.rs") || self.path.contains("/tests/")
    }
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && entry.file_name() != "target" {
            walk(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}
