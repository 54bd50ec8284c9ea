//! The core as a program without std and without a heap: prints the digest of stills, a clip and a drawn scene.
//!
//! Takes nothing. Gives the lines, and exit code 0.
//! Touches the C library's `putchar`, or on a Cortex-M the debugger's console.
//! Never an allocator, and never a panic: a single `Vec` in the core would not link, and the linked image is searched.
#![no_std]
#![no_main]

mod digest;
mod scene;

#[cfg(target_os = "none")]
#[path = "cortex_m.rs"]
mod machine;
#[cfg(not(target_os = "none"))]
#[path = "hosted.rs"]
mod machine;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    machine::stop()
}
