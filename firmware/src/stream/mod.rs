//! All state between frames: where a frame starts, how a warm stream is steered, and which cluster is which.

pub mod cut;
pub mod identity;
pub mod merge;
pub mod steer;
