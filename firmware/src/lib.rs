//! Hueflow's thinking part: which colours are here, how much of each, and how good is that answer?
//!
//! Takes frames, a clock, random numbers and memory as arguments. Gives reports, labels, pictures and records.
//! Touches nothing of its own. Never std, the heap, a clock, a file, a socket, a thread, or a panic on any input.
//!
//! One frame's way, in the order of the modules:
//!
//! 1. [`frame`]: a borrowed camera buffer, read row by row as RGB.
//! 2. [`coreset`]: pixels to at most `coreset_size` weighted points, with an error certificate.
//! 3. [`cluster`]: points to clusters by DC-DP-means; a distance, lambda, decides how many.
//! 4. [`label`]: every pixel to its nearest centroid, exactly.
//! 5. [`track`]: which cluster of this frame is which of the last.
//! 6. [`silhouette`]: how well the clusters are apart, estimated from the coreset.
//! 7. [`wire`]: what leaves: `Report`, `Census`, `Video`. [`view`]: what is shown.
//! 8. [`custody`]: how a record gets from the edge's disk into the journal, whatever dies on the way.
//!
//! [`node`] shows the whole machine in one function, [`node::Node::step`]; [`limits`] owns every maximum.
#![no_std]

pub mod census;
pub mod cluster;
pub mod coreset;
pub mod custody;
pub mod frame;
mod gather;
pub mod label;
pub mod labelmap;
pub mod limits;
mod nearest;
pub mod node;
pub mod refine;
pub mod silhouette;
#[cfg(feature = "simd")]
pub mod simd;
pub mod track;
pub mod view;
pub mod wire;
mod ycbcr;
