//! How the image is linked: by a Cortex-M's memory map, or with the C library.
//!
//! Cargo's variables decide which flags the linker gets. The start-up code is always the target's own.

fn main() {
    println!("cargo:rerun-if-changed=memory.x");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo:rustc-link-search={here}");
        println!("cargo:rustc-link-arg-bins=-Tlink.x");
    } else {
        println!("cargo:rustc-link-lib=c");
    }
}
