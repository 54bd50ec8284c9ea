//! Lloyd's sweeps over all cells of a frame (Lloyd, 1957, 1982): assign every cell, move every centroid to its mean.
//!
//! Inputs are a frame's cells with their sums and the clusters to improve; a sweep never raises the cost. A cluster without
//! pixels is deleted. `assign` holds a byte a cell and receives its cluster.

use super::assign::{Clusters, targets_of};
use crate::color::Features;
use crate::coreset::Point;
use crate::kernel::{for_each_changed, for_each_nearest};
use crate::limits::CLUSTERS_MAX;

/// The sums of each cluster's pixels, by label.
pub(super) type ClusterSums = [Features; CLUSTERS_MAX];

/// Clusters of a frame that only noise moves may stay if one sweep would lower the cost by at most one part in 2^8: a sweep
/// gains most of what all sweeps together gain, and 0.4 % of the cost is less than what noise changes from frame to frame.
const STILL_SHIFT: u32 = 8;
/// Sweeps have converged when one lowers the cost by at most one part in 2^9 (0.2 %).
const TOLERANCE_SHIFT: u32 = 9;

/// All later sweeps together are expected to gain at most this many times what the last one did.
const GAINS_TO_COME: u64 = 4;

/// What sweeps achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Number of sweeps.
    pub sweeps: u32,
    /// The last sweep changed no assignment, or lowered the cost by no more than the tolerance.
    pub converged: bool,
    /// Cost of all pixels with the centroid of their cell's cluster, in 1/4096 squared levels.
    pub cost_q12: u64,
}

/// Returns true if one sweep over `cells` would lower the cost by no more than one part in 256; the clusters then keep
/// their centroids, so a scene that only noise moves keeps its colours to the bit. Sets the clusters' weights if so.
#[inline(never)]
pub fn is_still(cells: &[Point], squares: u64, clusters: &mut Clusters, assign: &mut [u8]) -> bool {
    let mut sums = [Features::ZERO; CLUSTERS_MAX];
    sweep(cells, clusters, assign, &mut sums);
    let before = cost_of_sums_q12(clusters, &sums, squares);
    let mut moved = clusters.clone();
    recentre(&mut moved, &mut sums);
    let still = moved.len() == clusters.len()
        && before.saturating_sub(cost_of_sums_q12(&moved, &sums, squares)) <= before >> STILL_SHIFT;
    if still {
        clusters.iter_mut().zip(&moved).for_each(|(c, m)| c.weight = m.weight);
    }
    still
}

/// Moves `clusters` by at most `sweeps_max` sweeps over `cells`, until they converge. `squares` is what
/// [`crate::coreset::count`] returned with the cells.
#[inline(never)] // As in `swap`: the sums leave the stack with it.
pub fn lloyd(cells: &[Point], squares: u64, clusters: &mut Clusters, assign: &mut [u8], sweeps_max: u32) -> Swept {
    let mut sums = [Features::ZERO; CLUSTERS_MAX];
    assign.fill(u8::MAX);
    sweeps(cells, squares, clusters, assign, &mut sums, sweeps_max, u64::MAX)
}

/// As [`lloyd`]; also leaves each cluster's sums. Gives up as soon as the cost is not expected to fall below `worth_q12`:
/// the gains of sweeps shrink roughly geometrically, so all later ones together are taken as a few times the last one.
pub(super) fn sweeps(
    points: &[Point],
    squares: u64,
    clusters: &mut Clusters,
    assign: &mut [u8],
    sums: &mut ClusterSums,
    sweeps_max: u32,
    worth_q12: u64,
) -> Swept {
    let mut swept = Swept { cost_q12: u64::MAX, ..Swept::default() };
    // `sums` are those of `assign`.
    let mut are_sums_known = false;
    while swept.sweeps < sweeps_max && !swept.converged {
        swept.sweeps += 1;
        let changed = if are_sums_known {
            sweep_again(points, clusters, assign, sums)
        } else {
            sweep(points, clusters, assign, sums)
        };
        let before = clusters.len();
        recentre(clusters, sums);
        // Without a cluster those behind it have other labels than `assign`.
        are_sums_known = clusters.len() == before && assign.len() >= points.len();
        let cost = cost_of_sums_q12(clusters, sums, squares);
        let gain = swept.cost_q12.saturating_sub(cost);
        swept.converged = !changed || gain <= cost >> TOLERANCE_SHIFT;
        swept.cost_q12 = cost;
        if swept.sweeps > 1 && cost.saturating_sub(GAINS_TO_COME * gain) > worth_q12 {
            break;
        }
    }
    swept
}

/// Assigns every cell to its nearest centroid and adds up the clusters' sums. Returns true if any assignment changed.
fn sweep(points: &[Point], clusters: &Clusters, assign: &mut [u8], sums: &mut ClusterSums) -> bool {
    // Neighbouring points mostly belong to one cluster: with two sets of sums an addition need not wait for the one before.
    let mut odd_sums = [Features::ZERO; CLUSTERS_MAX];
    sums.iter_mut().take(clusters.len()).for_each(|sum| *sum = Features::ZERO);
    let mut changed = 0;
    for_each_nearest(
        points,
        |p| p.position_q6,
        &targets_of(clusters),
        |i, p, nearest, _| {
            if let Some(label) = assign.get_mut(i) {
                changed |= *label ^ nearest as u8;
                *label = nearest as u8;
            }
            let set = if i & 1 == 0 { &mut *sums } else { &mut odd_sums };
            if let Some(sum) = set.get_mut(nearest) {
                *sum = sum.plus(&p.features);
            }
        },
    );
    for (sum, odd) in sums.iter_mut().zip(&odd_sums).take(clusters.len()) {
        *sum = sum.plus(odd);
    }
    changed != 0
}

/// As [`sweep`], if `sums` are those of `assign` already: only cells whose cluster changes are moved from one sum to another.
fn sweep_again(points: &[Point], clusters: &Clusters, assign: &mut [u8], sums: &mut ClusterSums) -> bool {
    let mut changed = false;
    for_each_changed(
        points,
        |p| p.position_q6,
        &targets_of(clusters),
        assign,
        |p, before, now| {
            changed = true;
            if let Some(sum) = sums.get_mut(usize::from(before)) {
                *sum = sum.minus(&p.features);
            }
            if let Some(sum) = sums.get_mut(usize::from(now)) {
                *sum = sum.plus(&p.features);
            }
        },
    );
    changed
}

/// Moves every centroid to its mean; a cluster without pixels is deleted, and its entry of `sums` with it.
fn recentre(clusters: &mut Clusters, sums: &mut ClusterSums) {
    let (mut label, mut kept) = (0, 0);
    clusters.retain_mut(|c| {
        let sum = sums.get(label).copied().unwrap_or_default();
        label += 1;
        if sum.weight() == 0 {
            return false;
        }
        if let Some(slot) = sums.get_mut(kept) {
            *slot = sum;
        }
        kept += 1;
        (c.position_q6, c.weight) = (sum.mean_q6(), sum.weight());
        true
    });
}

/// The cost of the clusters' pixels, in 1/4096 squared levels.
fn cost_of_sums_q12(clusters: &Clusters, sums: &ClusterSums, squares: u64) -> u64 {
    let saved: i64 = clusters.iter().zip(sums).map(|(c, sum)| sum.saved_q12(c.position_q6)).sum();
    (4096 * squares as i64 - saved).max(0) as u64
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::cluster::Cluster;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn sweeps_that_move_what_changes_are_sweeps_over_all(
            pixels in prop::collection::vec((any::<[u8; 3]>(), 1u32..50), 1..300),
            starts in prop::collection::vec(any::<[u8; 3]>(), 1..20), sweeps_max in 1u32..9,
        ) {
            let squares_of = |(rgb, weight): &([u8; 3], u32)| rgb.map(|v| u64::from(v).pow(2)).iter().sum::<u64>() * u64::from(*weight);
            let squares = pixels.iter().map(squares_of).sum();
            let points: Vec<Point> = pixels.into_iter().map(|(rgb, weight)| Point::pixel(rgb, weight)).collect();
            // Some clusters have no pixels and are deleted on the way.
            let mut clusters: Clusters = starts.into_iter().map(|rgb| Cluster::new(crate::color::q6(rgb))).collect();
            let (mut assign, mut sums) = (std::vec![u8::MAX; points.len()], [Features::ZERO; CLUSTERS_MAX]);
            let (mut all_clusters, mut all_assign, mut all_sums) = (clusters.clone(), assign.clone(), sums);
            let swept = sweeps(&points, squares, &mut clusters, &mut assign, &mut sums, sweeps_max, u64::MAX);
            for _ in 0..swept.sweeps {
                sweep(&points, &all_clusters, &mut all_assign, &mut all_sums);
                recentre(&mut all_clusters, &mut all_sums);
            }
            let len = clusters.len();
            prop_assert_eq!((&clusters, &assign), (&all_clusters, &all_assign));
            prop_assert_eq!(&sums[..len], &all_sums[..len]);
        }
    }
}
