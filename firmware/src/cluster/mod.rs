//! Clustering weighted points: DC-DP-means decides how many clusters, Lloyd's sweeps and swaps improve them, and the cover
//! keeps every supported colour within lambda of a centroid.
//!
//! The functions work on points and clusters that the caller lends, and allocate nothing. All sums and comparisons are integers:
//! the same points give the same clusters on every machine.

mod assign;
pub mod cover;
mod dcdp;
pub mod lloyd;
pub mod silhouette;
pub mod swap;

pub use assign::{Cluster, Clusters, assign, beyond_px, cost_q12};
pub use dcdp::{Params, Run, run};
