//! hueflow-edge
fn main() {}
