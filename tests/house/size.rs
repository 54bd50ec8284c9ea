//! Sizes: files and functions that can be read as a whole, and a header in each file.
//!
//! A header is a summary of at most three lines, an empty line, and a paragraph. A function's lines are counted from its
//! `fn` to the closing brace at the same indentation, which rustfmt guarantees.

use crate::source::Source;

/// Longest source file, tests included.
const FILE_LINES_MAX: usize = 600;
/// Longest function of the programs: about what a screen has. The longest writes a report's JSON, a line a field.
const FUNCTION_LINES_MAX: usize = 90;
/// Longest test: some tell a story of several programs from start to end.
const TEST_LINES_MAX: usize = 120;

fn check_files(sources: &[Source]) -> Vec<String> {
    let lines = |s: &Source| s.text.lines().count();
    let long = sources.iter().filter(|s| lines(s) > FILE_LINES_MAX);
    long.map(|s| format!("{} has {} lines", s.path, lines(s))).collect()
}

fn check_headers(sources: &[Source]) -> Vec<String> {
    let has_header = |s: &&Source| {
        let header: Vec<&str> = s.text.lines().take_while(|l| l.starts_with("//!")).collect();
        let mut paragraphs = header.split(|l| l.trim() == "//!").filter(|p| !p.is_empty());
        paragraphs.next().is_some_and(|summary| summary.len() <= 3) && paragraphs.next().is_some()
    };
    let without = sources.iter().filter(|s| !s.path.ends_with("build.rs") && !has_header(s));
    without.map(|s| format!("{} needs a summary and a paragraph", s.path)).collect()
}

fn check_functions(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let lines: Vec<&str> = source.text.lines().collect();
        // Behind the code are the tests of a file.
        let tests_from = lines.iter().position(|l| l.starts_with("mod tests {")).unwrap_or(lines.len());
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_function(line)) {
            let closing = format!("{}}}", indentation(line));
            let len = lines.iter().skip(at).position(|l| **l == closing).map_or(1, |end| end + 1);
            // A function on one line, or one without a body, has no brace of its own.
            let len = if line.ends_with('}') || line.ends_with(';') { 1 } else { len };
            let max = if source.is_test() || at > tests_from { TEST_LINES_MAX } else { FUNCTION_LINES_MAX };
            if len > max {
                found.push(format!("{}:{}: a function of {len} lines", source.path, at + 1));
            }
        }
    }
    found
}

fn indentation(line: &str) -> &str {
    line.split(|c: char| c != ' ').next().unwrap_or("")
}

/// Whether a function begins in this line.
fn is_function(line: &str) -> bool {
    let before = line.split("fn ").next().unwrap_or("");
    let words = ["pub", "const", "async", "unsafe", "extern", "\"C\""];
    line.contains("fn ") && before.split_whitespace().all(|w| words.contains(&w) || w.starts_with("pub("))
}

#[test]
fn every_file_and_every_function_is_of_a_size_to_be_read() {
    let sources = Source::all();
    assert_eq!(check_files(&sources), [""; 0]);
    assert_eq!(check_functions(&sources), [""; 0]);
}

#[test]
fn every_source_file_opens_with_a_summary_and_a_paragraph() {
    assert_eq!(check_headers(&Source::all()), [""; 0]);
}

#[test]
fn planted_files_without_a_header_or_too_long_are_found() {
    let file = |text: &str| [Source::new("edge/src/see.rs", text)];
    for text in
        ["", "use std::io;", "//! A summary.", "//! A.\n//! B.\n//! C.\n//! D.\n//!\n//! E.", "// A.\n//!\n//! B."]
    {
        assert_eq!(check_headers(&file(text)).len(), 1, "{text}");
    }
    assert_eq!(check_headers(&file("//! A summary.\n//!\n//! A paragraph.")), [""; 0]);
    assert_eq!(check_files(&file(&"\n".repeat(FILE_LINES_MAX))), [""; 0]);
    assert_eq!(check_files(&file(&"\n".repeat(FILE_LINES_MAX + 1))).len(), 1);
}

#[test]
fn planted_functions_that_are_too_long_are_found() {
    let body = |lines: usize| "    f();\n".repeat(lines - 2);
    let function = |lines| format!("impl A {{\npub(super) async fn g() {{\n{}}}\n}}\n", body(lines));
    let check = |path: &str, text: &str| check_functions(&[Source::new(path, text)]);
    assert_eq!(check("edge/src/see.rs", &function(FUNCTION_LINES_MAX)), [""; 0]);
    let long = function(FUNCTION_LINES_MAX + 1);
    assert_eq!(check("edge/src/see.rs", &long), ["edge/src/see.rs:2: a function of 91 lines"]);
    assert_eq!(check("tests/e2e/chain.rs", &long), [""; 0], "a test may be longer");
    assert_eq!(check("edge/src/see.rs", &format!("mod tests {{\n{long}}}")), [""; 0], "also in a file of code");
    assert_eq!(check("tests/e2e/chain.rs", &function(TEST_LINES_MAX + 1)).len(), 1);
    let declared =
        format!("trait A {{\n    fn a();\n    fn b() {{ }}\n{}    fn c() {{\n    }}\n}}", "    // C.\n".repeat(200));
    assert_eq!(check("edge/src/see.rs", &declared), [""; 0], "what has no body has no end");
}
