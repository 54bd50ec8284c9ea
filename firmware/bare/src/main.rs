//! The core as a program without std and without a heap: prints the digest of stills, a clip and a drawn scene.
//!
//! Lines go to the C library's `putchar`, or on a Cortex-M to the debugger's console. There is no allocator, so a single
//! `Vec` in the core would not link, and the linked image is searched for panics.
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
