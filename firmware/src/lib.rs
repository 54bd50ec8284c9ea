//! Hueflow's core: which colours are in a frame, how much of each, and how good that answer is.
//!
//! The crate has no std, no heap and no I/O. Frames, time, random numbers and memory are arguments; results are reports,
//! labels, pictures and records. No input makes it panic. The one piece of global state is a cached answer of the processor
//! to the question whether it has AVX2, in `kernel`.
//!
//! One frame's path, in the order of the modules:
//!
//! 1. [`frame`]: a borrowed camera buffer, read row by row as RGB; [`reference`](mod@reference) corrects its colours by patches of known colour.
//! 2. [`coreset`]: pixels to at most `coreset_size` weighted points, with an error certificate.
//! 3. [`cluster`]: points to clusters by DC-DP-means, improved under the cover; and the silhouette estimate.
//! 4. [`stream`]: what is carried from frame to frame: scene cuts, opening and retiring clusters, identities.
//! 5. [`label`]: every pixel to its nearest centroid, exactly.
//! 6. [`watch`]: of each region of the picture, the pixels of named colours ([`named`]) and of palette entries.
//! 7. [`report`]: what is known of a frame. `wire`: records as bytes: reports, censuses, pictures. `view`: drawing them.
//! 8. `custody`: how a record gets from the edge's disk into the journal without loss.
//!
//! [`color`] has colours and sums, `kernel` the hot loops with their vector versions, and [`limits`] every maximum.
//! [`node`] puts it together: [`node::Node::step`] is one frame.
//!
//! Clustering is always compiled. The modules around it are Cargo features, all on by default, so that a program that only
//! clusters needs no more dependencies than `heapless`, `log` and `rand`:
//!
//! | feature | adds | with the crates |
//! |---|---|---|
//! | `wire` | `wire`, and serde's traits on [`report`] | `postcard`, `serde` |
//! | `custody` | `custody`, and its messages in `wire`; needs `wire` | |
//! | `view` | `view` | `embedded-graphics` |
//! | `simd` (off) | vector versions of the hot loops, with the same results | `crc32fast` |
#![no_std]

pub mod cluster;
pub mod color;
pub mod coreset;
#[cfg(feature = "custody")]
pub mod custody;
pub mod frame;
mod gather;
pub mod kernel;
pub mod label;
pub mod limits;
pub mod named;
pub mod node;
pub mod reference;
pub mod report;
pub mod stream;
#[cfg(feature = "view")]
pub mod view;
pub mod watch;
#[cfg(feature = "wire")]
pub mod wire;
