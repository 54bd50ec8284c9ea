//! All tracked files: which may be executed, and which hosts none may name.
//!
//! The list comes from git, with the mode of each file. A file is executable if and only if it begins with `#!`. Packages come
//! from wherever a person has configured cargo, npm and pip, so no file names a registry; Cargo.lock is cargo's own.

use harness::root;
use std::process::Command;

/// A file as git has it.
struct Tracked {
    path: String,
    is_executable: bool,
    text: String,
}

/// Files with text. Pictures and clips are left out.
fn files() -> Vec<Tracked> {
    let root = root();
    let listed = Command::new("git").args(["ls-files", "--stage"]).current_dir(&root).output().unwrap();
    let list = String::from_utf8(listed.stdout).unwrap();
    let read = |line: &str| {
        let (mode, path) = (line.split(' ').next()?, line.split('\t').nth(1)?);
        let text = std::fs::read_to_string(root.join(path)).ok()?;
        Some(Tracked { path: path.to_owned(), is_executable: mode == "100755", text })
    };
    list.lines().filter_map(read).collect()
}

fn check_permissions(files: &[Tracked]) -> Vec<String> {
    let wrong = files.iter().filter(|f| f.is_executable != f.text.starts_with("#!"));
    let what = |f: &Tracked| {
        if f.is_executable { "is executable and no script" } else { "is a script that is not executable" }
    };
    wrong.map(|f| format!("{} {}", f.path, what(f))).collect()
}

fn check_hosts(files: &[Tracked]) -> Vec<String> {
    // Put together here, because this file is checked too.
    let hosts = [("crates", "io"), ("npmjs", "org"), ("pypi", "org")].map(|(name, end)| format!("{name}.{end}"));
    let mut found = Vec::new();
    for file in files.iter().filter(|f| !f.path.ends_with("Cargo.lock")) {
        found.extend(hosts.iter().filter(|h| file.text.contains(*h)).map(|h| format!("{} names {h}", file.path)));
    }
    found
}

#[test]
fn scripts_are_executable_and_nothing_else_is() {
    let files = files();
    assert!(files.len() > 500, "{} files: is this a checkout?", files.len());
    assert_eq!(check_permissions(&files), [""; 0]);
}

#[test]
fn no_file_names_a_registry() {
    assert_eq!(check_hosts(&files()), [""; 0]);
}

#[test]
fn planted_permissions_and_registries_are_found() {
    let file =
        |path: &str, is_executable, text: &str| [Tracked { path: path.into(), is_executable, text: text.into() }];
    assert_eq!(
        check_permissions(&file("deploy/a", false, "#!/bin/sh")),
        ["deploy/a is a script that is not executable"]
    );
    assert_eq!(check_permissions(&file("README.md", true, "# A")), ["README.md is executable and no script"]);
    assert_eq!(check_permissions(&file("deploy/a", true, "#!/bin/sh")), [""; 0]);
    let host = ["https://pypi", ".org/simple"].concat();
    assert_eq!(check_hosts(&file("deploy/a", true, &host)).len(), 1);
    assert_eq!(check_hosts(&file("tests/fuzz/Cargo.lock", false, &host)), [""; 0]);
}
