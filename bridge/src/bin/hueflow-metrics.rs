//! hueflow-metrics
fn main() {}
