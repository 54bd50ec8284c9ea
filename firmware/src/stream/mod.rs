//! All state between frames: where a frame starts, how a warm stream is steered, and which cluster is which.
//!
//! Before clustering, [`cut`] decides from the frame's points and the previous cost whether the frame starts warm.
//! During clustering, [`steer`] decides when a cold trial is due and what follows from it, and [`merge`] removes
//! clusters that are too many. After labelling, [`identity`] gives every cluster its id. The state is small, of fixed
//! size and owned by the node.

pub mod cut;
pub mod identity;
pub mod merge;
pub mod steer;
