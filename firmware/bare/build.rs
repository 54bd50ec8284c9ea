//! Links the C library by name: without std nobody else does.
fn main() {
    println!("cargo::rustc-link-arg=-lc");
    println!("cargo::rustc-link-arg=-lgcc_s");
}
