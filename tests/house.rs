//! Rules that the project's own sources keep: dependencies, module docs, sizes, and what may not occur in them.
//!
//! Each test reads the tracked files and fails with the path of the one that breaks a rule.

#![allow(clippy::unwrap_used, clippy::panic)]

use harness::imports::{Crate, circles, way_round};
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
    for part in ["firmware", "edge", "bridge", "tests"] {
        walk(&root.join(part), &mut found);
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
fn each_foreign_crate_is_used_behind_one_module() {
    let modules = [
        (
            "rumqttc::",
            &[
                "edge/src/outbox.rs",
                "edge/src/outbox/connection.rs",
                "edge/src/outbox/fault.rs",
                "edge/src/outbox/look.rs",
                "firmware/host/src/broker.rs",
                "bridge/src/mqtt/mod.rs",
                "bridge/src/mqtt/commander.rs",
                "bridge/src/relay/mqtt/mod.rs",
                "bridge/src/relay/mqtt/probe.rs",
            ][..],
        ),
        ("rustls::", &["firmware/host/src/tls.rs", "bridge/src/metrics/store/postgres/connect.rs"]),
        ("tokio_postgres_rustls::", &["bridge/src/metrics/store/postgres/connect.rs"]),
        (
            "use postgres::",
            &[
                "bridge/src/metrics/store/mod.rs",
                "bridge/src/metrics/store/postgres/mod.rs",
                "bridge/src/metrics/store/postgres/claims.rs",
                "bridge/src/metrics/store/postgres/connect.rs",
                "bridge/src/metrics/store/postgres/events.rs",
                "bridge/src/metrics/store/postgres/maintain.rs",
                "bridge/src/metrics/store/postgres/pages.rs",
                "bridge/src/metrics/store/postgres/query.rs",
                "bridge/src/metrics/store/postgres/rows.rs",
                "bridge/src/metrics/store/postgres/schema.rs",
                "bridge/src/metrics/store/postgres/statements.rs",
                "bridge/src/metrics/store/postgres/tables.rs",
                "bridge/src/metrics/store/postgres/transfer.rs",
            ],
        ),
        (
            "rdkafka::",
            &[
                "bridge/src/journal/kafka/mod.rs",
                "bridge/src/journal/kafka/append.rs",
                "bridge/src/journal/kafka/survey.rs",
                "bridge/src/journal/kafka/client.rs",
                "bridge/src/journal/kafka/group.rs",
                "bridge/src/journal/kafka/reader.rs",
            ],
        ),
        ("rumqttd::", &["bridge/src/relay/broker.rs"]),
        (
            "axum::",
            &[
                "bridge/src/metrics/http/mod.rs",
                "bridge/src/metrics/http/api.rs",
                "bridge/src/metrics/http/assets.rs",
                "bridge/src/metrics/http/command.rs",
                "bridge/src/metrics/http/diagram.rs",
                "bridge/src/metrics/http/events.rs",
                "bridge/src/metrics/http/guard.rs",
                "bridge/src/metrics/http/outage.rs",
                "bridge/src/metrics/http/pictures.rs",
                "bridge/src/metrics/http/what_if.rs",
                "bridge/src/relay/endpoint.rs",
            ],
        ),
        ("postcard::", &["firmware/src/wire/mod.rs"]),
        ("minifb::", &["edge/src/panel/window/surface.rs"]),
        ("use v4l::", &["edge/src/camera/v4l/mod.rs", "edge/src/camera/v4l/look.rs", "edge/src/camera/v4l/open.rs"]),
        (
            "linux_embedded_hal::",
            &["edge/src/panel/spi/mod.rs", "edge/src/panel/spi/wire.rs", "edge/src/panel/spi/gpio.rs"],
        ),
        ("embedded_hal::digital", &["edge/src/lines.rs", "edge/src/event/mod.rs", "edge/src/panel/spi/gpio.rs"]),
        ("use drm::", &["edge/src/panel/kms.rs"]),
        ("mipidsi::", &["edge/src/panel/spi/mod.rs", "edge/src/panel/spi/wire.rs"]),
        ("sd_notify::", &["edge/src/service.rs"]),
        ("turbojpeg::", &["edge/src/camera/decode/jpeg.rs"]),
        ("use image::", &["edge/src/camera/decode/still.rs"]),
        ("jpeg_encoder::", &["edge/src/parcel.rs", "edge/src/panel/preview/http.rs"]),
        ("signal_hook::", &["edge/src/signals.rs"]),
        ("env_logger::", &["edge/src/logs.rs", "bridge/src/cli.rs"]),
        ("rustls_native_certs::", &["firmware/host/src/tls.rs"]),
        ("crc32fast::", &["firmware/src/custody/envelope.rs"]),
        ("ndarray::", &["bridge/src/metrics/silhouette/mod.rs", "bridge/src/metrics/silhouette/sampled.rs"]),
        ("jiff::", &["bridge/src/clock.rs"]),
        ("subtle::", &["bridge/src/metrics/http/gate.rs"]),
        ("csv::Writer", &["bridge/src/metrics/export/text.rs"]),
        ("use ::parquet::", &["bridge/src/metrics/export/parquet.rs"]),
        ("sha2::", &["bridge/src/relay/verdict.rs"]),
        ("toml_edit::", &["edge/src/learn/save.rs"]),
    ];
    for (path, text) in sources().iter().filter(|(p, _)| p.contains("/src/") && !p.starts_with("tests/")) {
        for (crate_path, modules) in modules {
            assert!(!code(text).contains(crate_path) || modules.contains(&path.as_str()), "{path} uses {crate_path}");
        }
    }
}

#[test]
fn parts_use_only_what_they_may() {
    for (path, text) in sources() {
        let code = code(&text);
        if path.starts_with("edge/") {
            assert!(!code.contains("hueflow_bridge") && !code.contains("rdkafka"), "{path}");
        }
        if path.starts_with("bridge/") {
            assert!(!code.contains("hueflow_edge"), "{path}");
        }
        if path.starts_with("firmware/host/") {
            for not in ["hueflow_", "firmware::", "rdkafka"] {
                assert!(!code.contains(not), "{path} has {not}");
            }
        }
        if path.starts_with("firmware/src") && !path.starts_with("firmware/src/kernel/") {
            for not in ["std::", "alloc::", "f32", "f64", "unsafe", "extern crate"] {
                assert!(!code.contains(not), "{path} has {not}");
            }
        }
    }
}

/// Whether `super::Name` counts as an import of the file that defines the name, where the parent only hands it on. A circle
/// through such names is a circle too.
const THROUGH_PARENTS: bool = true;

/// Fails if the crate in `part` has an import circle.
fn check_circles(part: &str, sources: &[(String, String)]) -> Result<(), String> {
    let read = Crate::new(&format!("{part}/src/lib.rs"), sources);
    if read.files().len() < 2 {
        return Err(format!("{part}/src/lib.rs names no modules: nothing was checked"));
    }
    let graph = read.imports(THROUGH_PARENTS);
    let Some(circle) = circles(&graph).into_iter().next() else { return Ok(()) };
    let files: Vec<&str> = circle.iter().map(String::as_str).collect();
    Err(format!("{part}: imports run in a circle: {} (in it: {})", way_round(&graph, &circle), files.join(", ")))
}

#[test]
fn no_files_import_one_another_in_a_circle() {
    let sources = sources();
    let parts = ["firmware", "firmware/host", "edge", "bridge"];
    let failures: Vec<_> = parts.iter().filter_map(|part| check_circles(part, &sources).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A crate of four modules. `paint` is what `b/brush.rs` imports besides its parent.
fn planted(paint: &str) -> Vec<(String, String)> {
    let file = |path: &str, text: &str| (format!("planted/src/{path}"), text.to_string());
    vec![
        file("lib.rs", "pub mod a;\nmod b;\npub mod c;\n#[cfg(test)]\nmod helper;"),
        file(
            "a.rs",
            "use crate::b::{self, Brush as Tool};\nfn f(_: Tool) -> &'static str { b::name(\"crate::c\", '\"') }",
        ),
        file("b/mod.rs", "//! As crate::a::f.\nmod brush;\npub use brush::Brush;\npub fn name() {}"),
        file("b/brush.rs", &format!("use super::name;\n{paint}\npub struct Brush;")),
        file(
            "c.rs",
            "/* crate::b */\nfn g() { crate::a::f(r#\"crate::b\"#) }\n#[cfg(test)]\nmod tests { use crate::b; }",
        ),
        file("helper.rs", "use crate::a;"),
    ]
}

#[test]
fn a_planted_circle_of_imports_is_found() {
    let check = |paint: &str| check_circles("planted", &planted(paint));
    // What only comments, literals and tests name is no import, and a child may import its parent.
    for harmless in ["", "use super::*;", "// use crate::c;", "#[cfg(test)]\nuse crate::c::{d};", "use std::{a, c};"] {
        assert_eq!(check(harmless), Ok(()), "{harmless}");
    }
    let [a, brush, c] = ["planted/src/a.rs", "planted/src/b/brush.rs", "planted/src/c.rs"];
    let uses = ["use crate::c;", "use crate::{c::{self}};", "use super::super::c as d;", "fn h() { crate::c::g() }"];
    for planted in
        uses.iter().chain(&["#[cfg(not(test))]\nuse crate::c;", "fn h<'a>(x: &'a str) { crate::c::<'a>(x) }"])
    {
        let error = check(planted).expect_err(planted);
        assert!(error.contains(&format!("{a} -> {brush} -> {c} -> {a}")), "{planted}: {error}");
    }
    let through_parent = [
        ("src/lib.rs", "mod m;"),
        ("src/m/mod.rs", "mod x;\nmod y;\npub use x::X;"),
        ("src/m/x.rs", "use super::y::Y;\npub struct X;"),
        ("src/m/y.rs", "use super::X;\npub struct Y;"),
    ]
    .map(|(path, text)| (path.to_string(), text.to_string()));
    let circles_in = |counted| circles(&Crate::new("src/lib.rs", &through_parent).imports(counted)).len();
    assert_eq!((circles_in(false), circles_in(true)), (0, 1));
}

#[test]
fn every_source_file_opens_with_a_summary_and_a_paragraph_and_is_of_a_size_to_be_read() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{path} has {lines} lines");
        let is_entry = path.ends_with("build.rs");
        let header: Vec<&str> = text.lines().take_while(|l| l.starts_with("//!")).collect();
        let mut paragraphs = header.split(|l| l.trim() == "//!").filter(|p| !p.is_empty());
        let summary = paragraphs.next().is_some_and(|p| p.len() <= 3);
        assert!(is_entry || (summary && paragraphs.next().is_some()), "{path} needs a summary and a paragraph");
    }
}

#[test]
fn nothing_panics_on_purpose_outside_tests() {
    let is_test = |path: &str| path.starts_with("tests/") || path.ends_with("tests.rs") || path.contains("/tests/");
    for (path, text) in sources().iter().filter(|(p, _)| p.contains("/src/") && !is_test(p)) {
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
