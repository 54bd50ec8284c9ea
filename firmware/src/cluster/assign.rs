//! Clusters, and the assignment of points to them.
//!
//! Inputs are points and clusters; results are the nearest cluster of every point, the cost of all points, and the
//! pixels beyond lambda. A tie goes to the cluster with the lowest label. Nothing here moves a centroid.

use crate::color::Q6;
use crate::coreset::Point;
use crate::kernel::{Targets, for_each_nearest, targets};
use crate::limits::CLUSTERS_MAX;
use heapless::Vec;

/// A cluster: its centroid, its identity over frames, and its weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cluster {
    /// Centroid in 1/64 levels, or where it lies in CIELAB ([`crate::color::Space::Cielab`]), if that is the space of the clustering.
    pub position_q6: Q6,
    /// Identity over frames; [`Cluster::NEW`] until it has one.
    pub id: u32,
    /// Pixels of the points assigned to it by the last sweep.
    pub weight: u32,
}

impl Cluster {
    /// The id of a cluster that has just opened.
    pub const NEW: u32 = u32::MAX;

    /// A cluster that has just opened at `position_q6`.
    pub const fn new(position_q6: Q6) -> Cluster {
        Cluster { position_q6, id: Cluster::NEW, weight: 0 }
    }
}

/// The clusters of a frame, by label.
pub type Clusters = Vec<Cluster, CLUSTERS_MAX>;

/// Makes `to` what `from` is. In place: a clone that is moved takes 4 KiB of the stack twice.
pub(crate) fn copy_clusters(from: &Clusters, to: &mut Clusters) {
    to.clear();
    // Both have the same capacity.
    let _ = to.extend_from_slice(from);
}

/// The centroids of clusters, prepared for the nearest-centroid loop.
pub(super) fn targets_of(clusters: &Clusters) -> Targets {
    targets(clusters.iter().map(|c| c.position_q6))
}

/// The cost of `points` with `clusters`: the sum of weighted squared distances, in 1/4096 squared levels.
pub fn cost_q12(points: &[Point], clusters: &Clusters) -> u64 {
    let mut cost = 0;
    for_each_nearest(
        points,
        |p| p.position_q6,
        &targets_of(clusters),
        |_, p, _, distance2| {
            cost += u64::from(p.weight()) * u64::from(distance2);
        },
    );
    cost
}

/// Writes the nearest cluster of every point to `assign`, which holds a byte a point.
pub fn assign(points: &[Point], clusters: &Clusters, assign: &mut [u8]) {
    for_each_nearest(
        points,
        |p| p.position_q6,
        &targets_of(clusters),
        |i, _, nearest, _| {
            if let Some(label) = assign.get_mut(i) {
                *label = nearest as u8;
            }
        },
    );
}

/// Pixels of points that lie farther than lambda from every centroid. `lambda2_q12` is the square of lambda.
pub fn beyond_px(points: &[Point], clusters: &Clusters, lambda2_q12: u32) -> u64 {
    let mut pixels = 0;
    for_each_nearest(
        points,
        |p| p.position_q6,
        &targets_of(clusters),
        |_, p, _, distance2| {
            pixels += if distance2 > lambda2_q12 { u64::from(p.weight()) } else { 0 };
        },
    );
    pixels
}
