//! Swaps: out of a local optimum of Lloyd's sweeps, with the number of clusters unchanged.
//!
//! Lloyd's sweeps end in a local optimum that depends on the start. A swap leaves it: the two clusters that cost least as
//! one are merged, and the cluster that gains most by it is cut in two across its longest axis. The swap is kept if the
//! cost is lower after a few sweeps (a split-and-merge step, as in ISODATA and in Fritzke's breathing k-means, but with
//! both costs known exactly beforehand by Ward's criterion).
//!
//! A small far cluster is cheap to merge, so the same one would be proposed with one partner after the other. Once a swap
//! that lowers the cost is rejected because of what it uncovers, the lighter of its two merged clusters is merged no more.

use super::assign::{Cluster, Clusters, copy_clusters};
use super::lloyd::{ClusterSums, Swept, sweeps};
use crate::color::{Features, LEVEL_Q6_MAX, Q6, ward_q12};
use crate::coreset::{self, Point};
use crate::limits::CLUSTERS_MAX;
use heapless::Vec;

/// A swap: the cluster to cut, and the two to merge.
type Exchange = (usize, usize, usize);

/// Sweeps at most after a swap, before it is judged. Most trials end earlier: they converge, or are given up as not worth it.
const SWEEPS_TO_JUDGE: u32 = 10;
/// Rejected swaps after which the search ends, at most: later proposals promise less and are rejected more often.
pub const TRIES_MAX: u32 = 6;
/// Accepted swaps at most, which bounds the time of a frame.
const SWAPS_MAX: u32 = 12;

/// A cluster cut across its longest axis: what that gains, the mean of the part cut off and that of the rest.
#[derive(Clone, Copy, Default)]
struct Cut {
    gain_q12: u64,
    rest: Q6,
    part: Q6,
}

/// The cut of every cluster, by label.
type Cuts = [Cut; CLUSTERS_MAX];

/// The longest axis of every cluster, by label; each component within 1,024.
type Axes = [[i32; 3]; CLUSTERS_MAX];

/// Swaps clusters while that lowers the cost of `points` and `deficit` stays at most `deficit_max`, or at most what it was
/// before. Ends after `tries_max` rejected swaps, at most [`TRIES_MAX`]. Returns the number of sweeps.
#[inline(never)] // Its kilobytes of sums must not lie on the stack of the whole step.
pub fn swap(
    points: &[Point],
    clusters: &mut Clusters,
    assign: &mut [u8],
    tries_max: u32,
    deficit_max: u64,
    deficit: impl Fn(&Clusters) -> u64,
) -> u32 {
    let mut sums: ClusterSums = [Features::ZERO; CLUSTERS_MAX];
    let squares = coreset::squares(points);
    assign.fill(u8::MAX);
    let mut swept = sweeps(points, squares, clusters, assign, &mut sums, SWEEPS_TO_JUDGE, u64::MAX);
    let deficit_max = deficit_max.max(deficit(clusters));
    let (mut swaps, mut tries) = (0, 0);
    let mut cuts = [Cut::default(); CLUSTERS_MAX];
    find_cuts(points, clusters, assign, &mut cuts);
    // Copied to and from in place: a move of kilobytes may take a place of its own on the stack.
    let (mut before, mut sums_before) = (Clusters::new(), sums);
    let mut is_needed = [false; CLUSTERS_MAX];
    // Rejected since the last accepted swap.
    let mut rejected: Vec<Exchange, { TRIES_MAX as usize }> = Vec::new();
    while tries < TRIES_MAX.min(tries_max) && swaps < SWAPS_MAX && clusters.len() > 2 {
        let Some((s, i, j)) = best(clusters, &cuts, &rejected, &is_needed) else { break };
        copy_clusters(clusters, &mut before);
        sums_before.copy_from_slice(&sums);
        exchange(clusters, &sums, &cuts, (s, i, j));
        let trial = sweeps(points, squares, clusters, assign, &mut sums, SWEEPS_TO_JUDGE, swept.cost_q12);
        swept.sweeps += trial.sweeps;
        if trial.cost_q12 < swept.cost_q12 && clusters.len() == before.len() && deficit(clusters) <= deficit_max {
            swept = Swept { sweeps: swept.sweeps, ..trial };
            swaps += 1;
            rejected.clear();
            find_cuts(points, clusters, assign, &mut cuts);
        } else {
            let is_cheaper = trial.cost_q12 < swept.cost_q12;
            copy_clusters(&before, clusters);
            sums.copy_from_slice(&sums_before);
            if let Some(needed) = is_needed.get_mut(heavier_first(&sums, i, j).1) {
                *needed |= is_cheaper;
            }
            tries += 1;
            let _ = rejected.push((s, i, j));
        }
    }
    swept.sweeps
}

/// Of the places of two clusters that of the heavier one, which a merge keeps, and that of the lighter one.
fn heavier_first(sums: &ClusterSums, i: usize, j: usize) -> (usize, usize) {
    let weight = |k: usize| sums.get(k).map_or(0, Features::weight);
    if weight(i) >= weight(j) { (i, j) } else { (j, i) }
}

/// Cuts cluster `s` in two and merges `i` and `j`: the place of the lighter one takes the part cut off.
fn exchange(clusters: &mut Clusters, sums: &ClusterSums, cuts: &[Cut], (s, i, j): Exchange) {
    let (Some(&cut), Some(a), Some(b)) = (cuts.get(s), sums.get(i), sums.get(j)) else { return };
    let (stays, goes) = heavier_first(sums, i, j);
    for (place, position_q6) in [(stays, a.plus(b).mean_q6()), (goes, cut.part), (s, cut.rest)] {
        if let Some(c) = clusters.get_mut(place) {
            c.position_q6 = position_q6;
        }
    }
    if let Some(c) = clusters.get_mut(goes) {
        c.id = Cluster::NEW;
    }
}

/// The swap that promises most: which cluster to cut, and which two to merge. Clusters that are needed are not merged.
fn best(clusters: &Clusters, cuts: &[Cut], rejected: &[Exchange], is_needed: &[bool]) -> Option<Exchange> {
    // The clusters that gain most by a cut. A pair to merge excludes two of them, and each rejected swap at most one more.
    let mut costly: Vec<(u64, usize), { TRIES_MAX as usize + 3 }> = Vec::new();
    for (s, cut) in cuts.iter().enumerate().take(clusters.len()) {
        let at = costly.iter().position(|d| cut.gain_q12 > d.0).unwrap_or(costly.len());
        if costly.is_full() {
            costly.pop();
        }
        let _ = costly.insert(at.min(costly.len()), (cut.gain_q12, s));
    }
    let mut found: Option<(i64, Exchange)> = None;
    let mergeable =
        || clusters.iter().enumerate().zip(is_needed).filter(|(_, needed)| !**needed).map(|(cluster, _)| cluster);
    for (i, a) in mergeable() {
        for (j, b) in mergeable().filter(|(j, _)| *j > i) {
            let loss = ward_q12((a.position_q6, a.weight), (b.position_q6, b.weight)) as i64;
            let free = costly.iter().find(|&&(_, s)| s != i && s != j && !rejected.contains(&(s, i, j)));
            let Some(&(gain, s)) = free else { continue };
            // Sweeps raise the gain and lower the loss, so a swap is worth a try if twice its gain covers its loss.
            let promise = gain as i64 * 2 - loss;
            if promise > 0 && found.is_none_or(|f| promise > f.0) {
                found = Some((promise, (s, i, j)));
            }
        }
    }
    found.map(|f| f.1)
}

/// For every cluster the cut across its longest axis.
fn find_cuts(points: &[Point], clusters: &Clusters, assign: &[u8], cuts: &mut Cuts) {
    let mut axes = [[0; 3]; CLUSTERS_MAX];
    longest_axes(points, clusters, assign, &mut axes);
    cut_across(points, clusters, assign, &axes, cuts);
}

/// How far a point is from `c`, in 1/64 levels.
#[inline]
fn away(p: &Point, c: Q6) -> [i32; 3] {
    core::array::from_fn(|i| i32::from(p.position_q6[i]) - i32::from(c[i]))
}

/// The longest axis of every cluster.
#[inline(never)] // As in `swap`: the moments leave the stack with it.
fn longest_axes(points: &[Point], clusters: &Clusters, assign: &[u8], axes: &mut Axes) {
    // Sums of w dx dx, dy dy, dz dz, dx dy, dx dz, dy dz, in 1/64 squared levels.
    let mut moments = [[0i64; 6]; CLUSTERS_MAX];
    for (p, &a) in points.iter().zip(assign) {
        let (Some(m), Some(c)) = (moments.get_mut(usize::from(a)), clusters.get(usize::from(a))) else { continue };
        let [x, y, z] = away(p, c.position_q6).map(|v| v >> 3);
        for (m, product) in m.iter_mut().zip([x * x, y * y, z * z, x * y, x * z, y * z]) {
            *m += i64::from(product) * i64::from(p.weight());
        }
    }
    for (axis, m) in axes.iter_mut().zip(&moments).take(clusters.len()) {
        *axis = longest_axis(m);
    }
}

/// Cuts every cluster across its axis.
#[inline(never)] // As in `swap`: the parts' sums leave the stack with it.
fn cut_across(points: &[Point], clusters: &Clusters, assign: &[u8], axes: &Axes, cuts: &mut Cuts) {
    let mut parts = [Features::ZERO; CLUSTERS_MAX];
    for (p, &a) in points.iter().zip(assign) {
        let k = usize::from(a);
        let (Some(part), Some(c), Some(axis)) = (parts.get_mut(k), clusters.get(k), axes.get(k)) else { continue };
        let along: i32 = away(p, c.position_q6).iter().zip(axis).map(|(d, v)| d * v).sum();
        if along > 0 {
            *part = part.plus(&p.features);
        }
    }
    cuts.fill(Cut::default());
    for ((cut, c), part) in cuts.iter_mut().zip(clusters).zip(&parts) {
        let rest_weight = c.weight.saturating_sub(part.weight());
        if part.weight() == 0 || rest_weight == 0 {
            continue;
        }
        // The rest's mean, from the whole's and the part's.
        let mean = part.mean_q6();
        let rest = core::array::from_fn(|i| {
            let whole = u64::from(c.position_q6[i]) * u64::from(c.weight);
            let part = u64::from(mean[i]) * u64::from(part.weight());
            (whole.saturating_sub(part) / u64::from(rest_weight.max(1))).min(u64::from(LEVEL_Q6_MAX)) as u16
        });
        *cut = Cut { gain_q12: ward_q12((mean, part.weight()), (rest, rest_weight)), rest, part: mean };
    }
}

/// The direction of most variance of a covariance matrix, by powers of the matrix; each component within 1,024.
fn longest_axis(m: &[i64; 6]) -> [i32; 3] {
    let largest = m.iter().map(|v| v.unsigned_abs()).max().unwrap_or(0);
    let shift = largest.checked_ilog2().unwrap_or(0).saturating_sub(16);
    let [xx, yy, zz, xy, xz, yz] = m.map(|v| v >> shift);
    let rows = [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]];
    let mut axis = if xx >= yy && xx >= zz {
        rows[0]
    } else if yy >= zz {
        rows[1]
    } else {
        rows[2]
    };
    for _ in 0..5 {
        let size = axis.iter().map(|v| v.unsigned_abs()).max().unwrap_or(0).max(1);
        let down = size.ilog2().saturating_sub(9);
        let v = axis.map(|x| x >> down);
        axis = rows.map(|r| r.iter().zip(v).map(|(a, b)| a * b).sum());
    }
    let size = axis.iter().map(|v| v.unsigned_abs()).max().unwrap_or(0).max(1);
    let down = size.ilog2().saturating_sub(9);
    axis.map(|x| (x >> down) as i32)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::coreset::Point;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn colours() -> impl Strategy<Value = Vec<Point>> {
        let pixel = ([any::<u8>(), any::<u8>(), any::<u8>()], 1u32..50);
        prop::collection::vec(pixel.prop_map(|(px, w)| Point::pixel(px, w)), 4..200)
    }

    fn started(points: &[Point], k: usize) -> Clusters {
        points.iter().step_by(points.len().div_ceil(k)).map(|p| Cluster::new(p.position_q6)).collect()
    }

    /// The definition: every pixel to its nearest centroid, in floats.
    fn cost(points: &[Point], clusters: &Clusters) -> f64 {
        let near = |p: &Point| {
            clusters.iter().map(|c| crate::color::distance2_q12(p.position_q6, c.position_q6)).min().unwrap()
        };
        points.iter().map(|p| f64::from(near(p)) * f64::from(p.weight())).sum()
    }

    fn squares(points: &[Point]) -> u64 {
        points.iter().map(saved_black).sum()
    }

    /// r^2 + g^2 + b^2 over a point's pixels, which are of one colour.
    fn saved_black(p: &Point) -> u64 {
        p.position_q6.iter().map(|&v| (u64::from(v) >> 6).pow(2)).sum::<u64>() * u64::from(p.weight())
    }

    proptest! {
        #[test]
        fn sweeps_never_raise_the_cost_and_name_it_exactly(points in colours(), k in 2usize..20) {
            let mut clusters = started(&points, k);
            let (mut assign, mut sums) = (std::vec![0; points.len()], [Features::ZERO; CLUSTERS_MAX]);
            let mut before = cost(&points, &clusters);
            for _ in 0..6 {
                let swept = sweeps(&points, squares(&points), &mut clusters, &mut assign, &mut sums, 1, u64::MAX);
                if clusters.len() < k {
                    // One lost all its pixels: labels are positions of before.
                    return Ok(());
                }
                let now: f64 = points.iter().zip(&assign).map(|(p, &a)| {
                    let c = clusters[usize::from(a)].position_q6;
                    f64::from(crate::color::distance2_q12(p.position_q6, c)) * f64::from(p.weight())
                }).sum();
                prop_assert_eq!(swept.cost_q12 as f64, now);
                prop_assert!(now <= before, "{} to {}", before, now);
                before = cost(&points, &clusters);
            }
        }

        #[test]
        fn swaps_keep_the_number_and_lower_the_cost_or_leave_it(points in colours(), k in 3usize..20) {
            let mut plain = started(&points, k);
            let mut assign = std::vec![u8::MAX; points.len()];
            let mut sums = [Features::ZERO; CLUSTERS_MAX];
            let squares = squares(&points);
            let swept = sweeps(&points, squares, &mut plain, &mut assign, &mut sums, SWEEPS_TO_JUDGE, u64::MAX);
            let mut swapped = started(&points, k);
            swap(&points, &mut swapped, &mut assign, TRIES_MAX, 0, |_| 0);
            prop_assert_eq!(swapped.len(), plain.len());
            // Costs are compared by the labels of the last sweep; a pixel's nearest centroid may be another by now and costs
            // no more. So the cost by nearest centroids is below that of before by labels, and of more nothing is known.
            prop_assert!(swapped == plain || cost(&points, &swapped) < swept.cost_q12 as f64);
        }

        #[test]
        fn a_swap_that_uncovers_too_much_is_taken_back(points in colours(), k in 3usize..20) {
            let mut assign = std::vec![0; points.len()];
            let mut plain = started(&points, k);
            let mut sums = [Features::ZERO; CLUSTERS_MAX];
            sweeps(&points, squares(&points), &mut plain, &mut assign, &mut sums, SWEEPS_TO_JUDGE, u64::MAX);
            let mut kept = started(&points, k);
            let swept = plain.clone();
            // Anything but the swept centroids uncovers a pixel.
            swap(&points, &mut kept, &mut assign, TRIES_MAX, 0, |c| u64::from(*c != swept));
            prop_assert_eq!(kept, plain);
        }

        #[test]
        fn the_gain_of_a_cut_is_what_the_cost_falls_by(points in colours()) {
            let mut clusters = started(&points, 1);
            let (mut assign, mut sums) = (std::vec![0; points.len()], [Features::ZERO; CLUSTERS_MAX]);
            sweeps(&points, squares(&points), &mut clusters, &mut assign, &mut sums, 2, u64::MAX);
            let whole = cost(&points, &clusters);
            let mut cuts = [Cut::default(); CLUSTERS_MAX];
            find_cuts(&points, &clusters, &assign, &mut cuts);
            let cut = cuts[0];
            if cut.gain_q12 > 0 {
                let halves: Clusters = [cut.part, cut.rest].map(Cluster::new).into_iter().collect();
                // Nearest centroids can only be better than the halves; roundings cost less than a thousandth.
                prop_assert!(cost(&points, &halves) <= (whole - cut.gain_q12 as f64) * 1.001 + 1e6);
            }
        }
    }

    #[test]
    fn two_clusters_on_one_colour_and_one_on_two_are_swapped() {
        let points: Vec<Point> =
            [[10, 10, 10], [12, 10, 10], [200, 0, 0], [0, 0, 200]].map(|px| Point::pixel(px, 100)).to_vec();
        let mut clusters: Clusters =
            [[10 * 64, 640, 640], [12 * 64, 640, 640], [6_400, 0, 6_400]].map(Cluster::new).into_iter().collect();
        swap(&points, &mut clusters, &mut [0; 4], TRIES_MAX, 0, |_| 0);
        let mut found: Vec<Q6> = clusters.iter().map(|c| c.position_q6).collect();
        found.sort_unstable();
        assert_eq!(found, [[0, 0, 12_800], [11 * 64, 640, 640], [12_800, 0, 0]]);
    }

    #[test]
    fn a_cluster_that_is_needed_is_proposed_for_one_merge_only() {
        // One pixel between two clusters, cheapest to merge with either; a pair that costs more; and two blues in one cluster.
        let (lone, near, pair) = ([100, 0, 0], [[60, 0, 0], [140, 0, 0]], [[0, 200, 0], [0, 220, 0]]);
        let blues = [[0, 0, 200], [0, 0, 255]];
        let mut points = std::vec![Point::pixel(lone, 1)];
        points.extend(near.map(|px| Point::pixel(px, 100)));
        points.extend(pair.map(|px| Point::pixel(px, 50)));
        points.extend(blues.map(|px| Point::pixel(px, 1_000)));
        let mut clusters: Clusters = points[..6].iter().map(|p| Cluster::new(p.position_q6)).collect();
        let is_lost = |c: &Clusters| {
            c.iter().all(|c| crate::color::distance2_q12(c.position_q6, points[0].position_q6) > 1_920 * 1_920)
        };
        swap(&points, &mut clusters, &mut [0; 7], 2, 0, |c| u64::from(is_lost(c)));
        assert!(!is_lost(&clusters));
        // Two rejected swaps would end the search: the second must not be the lone pixel with its other neighbour.
        for blue in &points[5..] {
            assert!(clusters.iter().any(|c| c.position_q6 == blue.position_q6), "{clusters:?}");
        }
    }

    #[test]
    fn rounded_sums_near_black_save_less_than_nothing_and_overflow_nothing() {
        // Found by fuzzing: a point of `sensitivity` at 10/64 levels, whose sums are rounded to 0.
        let points: Vec<Point> = (0..4u16)
            .map(|i| {
                let mut p = Point::ZERO;
                (p.position_q6, p.features) = ([10 + i, 10, 10], Features([0, 0, 0, 1]));
                p
            })
            .collect();
        let mut clusters = started(&points, 4);
        swap(&points, &mut clusters, &mut [0; 4], TRIES_MAX, 0, |_| 0);
        assert_eq!(clusters.iter().map(|c| c.weight).sum::<u32>(), 4);
    }
}
