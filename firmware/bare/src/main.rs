//! The core as a program without std and without a heap: prints the digest of a few frames.
//!
//! Takes nothing. Gives eight hexadecimal digits, and exit code 0.
//! Touches the C library's `putchar` and nothing else.
//! Never an allocator: a single `Vec` in the core would not link.
#![no_std]
#![no_main]

mod digest;
mod scene;

unsafe extern "C" {
    safe fn putchar(c: i32) -> i32;
    safe fn abort() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    abort()
}

/// The unwinder's hook, which nothing calls: panics abort.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// The C library's entry point.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let Some(digest) = digest::digest() else { return 1 };
    for shift in (0..8).rev() {
        putchar(char::from_digit(digest >> (4 * shift) & 15, 16).map_or(0, |c| c as i32));
    }
    putchar('\n' as i32);
    0
}
