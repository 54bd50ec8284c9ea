//! Pi: the edge on an arm64 kernel with cameras and displays, in a guest, and everything behind it on this machine.
//!
//! Inputs are the kernel's own devices; results are the guests' consoles and screens, in the tests' output folder. Each guest runs
//! under QEMU with a folder of its own. It is not a real Pi: speeds are an emulator's, and only printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cameras;
mod displays;
mod kms;
mod readme;
mod twins;

use std::time::Duration;

/// How long a guest may take for all that it has to do.
const GUEST_LIMIT: Duration = Duration::from_secs(600);

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
