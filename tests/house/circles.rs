//! Imports: no file of a crate imports itself through others.
//!
//! The imports are read from the sources by [`harness::imports`]. A circle is reported with the way round it.

use crate::source::Source;
use harness::imports::{Crate, circles, way_round};

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
    let sources: Vec<_> = Source::all().into_iter().map(|s| (s.path, s.text)).collect();
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
