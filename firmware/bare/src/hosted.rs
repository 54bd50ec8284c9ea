//! The C library's entry point and console.
//!
//! Text goes to standard output. Nothing else of the C library is used.

use super::digest::{Memory, digest};

unsafe extern "C" {
    safe fn putchar(c: i32) -> i32;
    safe fn abort() -> !;
}

/// The end of a program that cannot go on.
pub fn stop() -> ! {
    abort()
}

/// The unwinder's hook, which nothing calls: panics abort.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// The C library's entry point.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let mut print = |bytes: &[u8]| {
        for &byte in bytes {
            putchar(i32::from(byte));
        }
    };
    let mut memory = Memory::EMPTY;
    i32::from(digest(&mut memory, &mut print).is_none())
}
