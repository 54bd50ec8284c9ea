//! House rules: what the project promises of its sources, read from the sources.
//!
//! Takes the project's own files. Gives nothing.
//! Touches nothing.
//! Never a rule that is only written down.

#![allow(clippy::unwrap_used, clippy::panic)]

use harness::root;
use std::path::{Path, PathBuf};

/// Longest source file, tests included.
const LINES_MAX: usize = 600;

fn sources() -> Vec<(String, String)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && name != "target" {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    for room in ["firmware", "edge", "bridge", "tests"] {
        walk(&root.join(room), &mut found);
    }
    let name = |p: &PathBuf| p.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
    found.iter().map(|p| (name(p), std::fs::read_to_string(p).unwrap())).collect()
}

/// The code without comments and without the tests at a file's end.
fn code(text: &str) -> String {
    let tests = ["\n#[cfg(test)]\nmod tests", "\n#[cfg(all(test, feature = \"simd\"))]\nmod tests"];
    let body = tests.iter().fold(text, |text, tests| text.split(tests).next().unwrap_or(text));
    body.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_foreign_crate_has_one_door() {
    let doors = [
        (
            "rumqttc::",
            &["edge/src/outbox.rs", "edge/src/outbox/look.rs", "bridge/src/mqtt.rs", "bridge/src/mqtt/look.rs"][..],
        ),
        ("rustls::", &["edge/src/tls.rs", "bridge/src/tls.rs"]),
        ("rdkafka::", &["bridge/src/journal/kafka.rs", "bridge/src/journal/kafka/reader.rs"]),
        ("rumqttd::", &["bridge/src/broker.rs"]),
        ("axum::", &["bridge/src/web.rs", "bridge/src/endpoint.rs"]),
        ("postcard::", &["firmware/src/wire.rs"]),
        ("minifb::", &["edge/src/panel/window.rs"]),
        ("use v4l::", &["edge/src/camera/v4l.rs"]),
        ("linux_embedded_hal::", &["edge/src/panel/spi.rs"]),
        ("mipidsi::", &["edge/src/panel/spi.rs"]),
        ("sd_notify::", &["edge/src/service.rs"]),
        ("zune_jpeg::", &["edge/src/camera/jpeg.rs"]),
    ];
    for (path, text) in sources().iter().filter(|(p, _)| p.contains("/src/") && !p.starts_with("tests/")) {
        for (crate_path, doors) in doors {
            assert!(!code(text).contains(crate_path) || doors.contains(&path.as_str()), "{path} uses {crate_path}");
        }
    }
}

#[test]
fn rooms_use_only_whom_they_may() {
    for (path, text) in sources() {
        let code = code(&text);
        if path.starts_with("edge/") {
            assert!(!code.contains("hueflow_bridge") && !code.contains("rdkafka"), "{path}");
        }
        if path.starts_with("bridge/") {
            assert!(!code.contains("hueflow_edge"), "{path}");
        }
        if path.starts_with("firmware/src") && !path.starts_with("firmware/src/simd/") {
            for not in ["std::", "alloc::", "f32", "f64", "unsafe", "extern crate"] {
                assert!(!code.contains(not), "{path} has {not}");
            }
        }
    }
}

#[test]
fn every_source_file_has_module_docs_and_a_readable_size() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{path} has {lines} lines");
        let is_entry = path.ends_with("build.rs");
        let summary = text.lines().next().and_then(|l| l.strip_prefix("//! ")).unwrap_or_default();
        assert!(is_entry || summary.contains(' '), "{path} does not begin with a summary in its module docs");
    }
}

#[test]
fn nothing_panics_on_purpose_outside_tests() {
    for (path, text) in
        sources().iter().filter(|(p, _)| p.contains("/src/") && !p.starts_with("tests/") && !p.ends_with("tests.rs"))
    {
        for not in [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "unreachable!("] {
            assert!(!code(text).contains(not), "{path} has {not}");
        }
    }
}

#[test]
fn no_file_names_a_registry_or_a_machine() {
    let root = root();
    let tracked = std::process::Command::new("git").args(["ls-files"]).current_dir(&root).output().unwrap();
    let hosts = ["crates", "npmjs", "pypi"].map(|h| format!("{h}.{}", if h == "crates" { "io" } else { "org" }));
    for name in String::from_utf8_lossy(&tracked.stdout).lines().filter(|n| !n.ends_with("Cargo.lock")) {
        let Ok(text) = std::fs::read_to_string(root.join(name)) else { continue };
        for host in &hosts {
            assert!(!text.contains(host.as_str()), "{name} names {host}");
        }
    }
}
