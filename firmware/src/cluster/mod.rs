//! Clustering weighted points: DC-DP-means decides how many clusters there are, Lloyd's sweeps and swaps lower their
//! cost, and the cover keeps every colour with enough support within lambda of a centroid.
//!
//! Inputs are points, [`Params`] and clusters, which are empty for a cold start; the functions change the clusters in
//! place and use the memory that the caller lends for the assignment of points. They keep no state between frames and
//! know nothing of frames or settings. Results depend on the points only, not on the machine: all arithmetic is
//! integer, and ties go to the lowest place.

mod assign;
pub mod cover;
mod dcdp;
pub mod lloyd;
mod point_sum;
pub mod silhouette;
pub mod swap;

pub(crate) use assign::copy_clusters;
pub use assign::{Cluster, Clusters, assign, beyond_px, cost_q12};
pub use dcdp::{Params, Run, run};
