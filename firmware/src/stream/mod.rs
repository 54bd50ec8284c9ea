//! All state between frames: where a frame starts, how a warm stream is steered, and which cluster is which.
//!
//! The modules hold no frames. They keep the previous frame's cost, the ids of recent clusters and a few counters, so their
//! memory is constant however long the stream is.

pub mod cut;
pub mod identity;
pub mod merge;
pub mod steer;
