//! hueflow-bridge
fn main() {}
