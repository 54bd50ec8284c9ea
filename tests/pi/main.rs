//! Pi: the edge on an arm64 kernel with cameras and displays, in a guest, and everything behind it on this machine.
//!
//! Takes the kernel's own devices. Gives the guests' consoles, and what was to be seen, in the tests' output folder.
//! Touches guests under QEMU, each with a folder of its own.
//! Never a real Pi: speeds are an emulator's, and only said; pictures, counts, and the way back after a cable was pulled
//! are not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cameras;
mod displays;
mod kms;
mod twins;

use std::time::Duration;

/// How long a guest may take for all that it has to do.
const GUEST_LIMIT: Duration = Duration::from_secs(480);

/// The console's first line that has `has`.
fn line<'a>(console: &'a str, has: &str) -> &'a str {
    console.lines().find(|l| l.contains(has)).unwrap_or_else(|| panic!("no {has:?} in\n{console}"))
}

/// Prints what a guest measured: figures of an emulator.
fn say_figures(what: &str, console: &str) {
    for line in console.lines().filter(|l| l.contains("GUEST speed:")) {
        println!("{what} (emulated): {line}");
    }
}
