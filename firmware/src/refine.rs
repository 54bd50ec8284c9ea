//! Refine: centroids moved over all cells of the frame, after a few points have decided how many there are.
//!
//! Takes a frame's cells and clusters. Gives better centroids, by Lloyd's sweeps and by swaps.
//! Touches the clusters, and the assignment byte of each cell.
//! Never another number of clusters, but that one without a pixel goes; and never a float.
//!
//! Lloyd (1957, 1982) ends in a local optimum, which depends on the start. A swap leaves it: two clusters that cost
//! least as one become one, and the cluster that gains most by it is cut in two, across its longest axis. It is kept
//! if the frame's cost is less after a few sweeps (a split-and-merge step, as in ISODATA and in Fritzke's breathing
//! k-means, but with both costs known exactly beforehand: Ward's criterion).

use crate::cluster::{Cluster, Clusters};
use crate::coreset::{Point, centroid, saved_q12, sum};
use crate::label::{Q6, distance2_q12};
use crate::limits::CLUSTERS_MAX;
use crate::nearest::{BLOCK, Block, targets};
use heapless::Vec;

/// A swap: the cluster to cut, and the two to make one.
type Exchange = (usize, usize, usize);

/// Sums over the pixels of each cluster: red, green, blue in levels, and how many.
type Masses = [[u32; 4]; CLUSTERS_MAX];

/// Sweeps over all cells, at most.
const SWEEPS_MAX: u32 = 6;
/// Sweeps after a swap, before it is judged.
const SWEEPS_TO_JUDGE: u32 = 10;
/// Swaps that are tried in vain before it is enough.
const TRIES_MAX: u32 = 6;
/// Swaps altogether.
const SWAPS_MAX: u32 = 12;
/// See [`still`].
const STILL_SHIFT: u32 = 8;
/// Sweeps have converged when one lowers the cost by less than one part in two to this power.
const TOLERANCE_SHIFT: u32 = 9;

/// What sweeps came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Swept {
    sweeps: u32,
    converged: bool,
    /// What all pixels cost with the centroid of their point's cluster, in 1/4096 squared levels.
    cost_q12: u64,
}

/// Whether `clusters` may stay where they are: whether the first sweep over `cells`, and so most of what sweeps could
/// gain, would lower the cost by no more than one part in two to the power of `STILL_SHIFT`. A picture that only noise
/// moves then keeps its colours to the bit. Sets their weights.
pub fn still(cells: &[Point], squares: u64, clusters: &mut Clusters, assign: &mut [u8]) -> bool {
    let mut masses = [[0; 4]; CLUSTERS_MAX];
    sweep(cells, clusters, assign, &mut masses);
    let before = cost_q12(clusters, &masses, squares);
    let mut moved = clusters.clone();
    recentre(&mut moved, &mut masses);
    let still = moved.len() == clusters.len()
        && before - cost_q12(&moved, &masses, squares).min(before) <= before >> STILL_SHIFT;
    if still {
        clusters.iter_mut().zip(&moved).for_each(|(c, m)| c.weight = m.weight);
    }
    still
}

/// Moves `clusters` by sweeps over all `cells`; `squares` is what `count` gave with them, and `assign` holds a byte a
/// cell. Gives the sweeps, and whether they converged.
pub fn lloyd(cells: &[Point], squares: u64, clusters: &mut Clusters, assign: &mut [u8]) -> (u32, bool) {
    let mut masses = [[0; 4]; CLUSTERS_MAX];
    assign.fill(u8::MAX);
    let swept = sweeps(cells, squares, clusters, assign, &mut masses, SWEEPS_MAX);
    (swept.sweeps, swept.converged)
}

fn sweeps(
    points: &[Point],
    squares: u64,
    clusters: &mut Clusters,
    assign: &mut [u8],
    masses: &mut Masses,
    most: u32,
) -> Swept {
    let mut swept = Swept { cost_q12: u64::MAX, ..Swept::default() };
    while swept.sweeps < most && !swept.converged {
        swept.sweeps += 1;
        let changed = sweep(points, clusters, assign, masses);
        recentre(clusters, masses);
        let cost = cost_q12(clusters, masses, squares);
        swept.converged = !changed || swept.cost_q12.saturating_sub(cost) <= cost >> TOLERANCE_SHIFT;
        swept.cost_q12 = cost;
    }
    swept
}

/// Assigns every cell to its nearest centroid and sums the clusters up; says whether any assignment changed.
fn sweep(points: &[Point], clusters: &Clusters, assign: &mut [u8], masses: &mut Masses) -> bool {
    let targets = targets(clusters.iter().map(|c| c.rgb_q6));
    // Points of one cluster follow one another: in two sets of sums, an addition does not wait for the one before.
    let mut sets = [[[0; 4]; CLUSTERS_MAX]; 2];
    let (mut block, mut changed) = (Block::EMPTY, 0);
    for (points, assign) in points.chunks(BLOCK).zip(assign.chunks_mut(BLOCK)) {
        block.fill(points.iter().map(|p| p.rgb_q6));
        block.find(&targets);
        for (a, &k) in assign.iter_mut().zip(&block.nearest) {
            changed |= *a ^ k as u8;
            *a = k as u8;
        }
        for (points, nearest) in points.chunks(2).zip(block.nearest.chunks(2)) {
            for ((masses, p), &k) in sets.iter_mut().zip(points).zip(nearest) {
                if let Some(mass) = masses.get_mut(k as usize) {
                    *mass = sum(mass, &p.mass);
                }
            }
        }
    }
    for ((mass, a), b) in masses.iter_mut().zip(&sets[0]).zip(&sets[1]).take(clusters.len()) {
        *mass = sum(a, b);
    }
    changed != 0
}

/// Moves every centroid to its mean; a cluster without pixels goes, and its place in `masses` with it.
fn recentre(clusters: &mut Clusters, masses: &mut Masses) {
    let (mut place, mut kept) = (0, 0);
    clusters.retain_mut(|c| {
        let mass = masses.get(place).copied().unwrap_or_default();
        place += 1;
        if mass[3] == 0 {
            return false;
        }
        if let Some(slot) = masses.get_mut(kept) {
            *slot = mass;
        }
        kept += 1;
        (c.rgb_q6, c.weight) = (centroid(&mass), mass[3]);
        true
    });
}

/// What the clusters' pixels cost, in 1/4096 squared levels.
fn cost_q12(clusters: &Clusters, masses: &Masses, squares: u64) -> u64 {
    let saved: i64 = clusters.iter().zip(masses).map(|(c, m)| saved_q12(c.rgb_q6, m)).sum();
    (4096 * squares as i64 - saved).max(0) as u64
}

/// What it costs to make one cluster of two (Ward, 1963), in 1/4096 squared levels.
fn ward_q12(a: (Q6, u32), b: (Q6, u32)) -> u64 {
    let (wa, wb) = (u64::from(a.1), u64::from(b.1));
    u64::from(distance2_q12(a.0, b.0)) * (wa * wb / (wa + wb).max(1))
}

/// The better half of a cluster: what cutting it across its longest axis gains, and the part to be cut off.
#[derive(Clone, Copy, Default)]
struct Cut {
    gain_q12: u64,
    rest: Q6,
    part: Q6,
}

/// Swaps clusters while that lowers the cost of `points`, and while no more than `beyond_max` pixels, or no more than
/// before, lie beyond lambda. Gives the sweeps that it took.
pub fn swap(
    points: &[Point],
    clusters: &mut Clusters,
    assign: &mut [u8],
    beyond_max: u64,
    beyond: impl Fn(&Clusters) -> u64,
) -> u32 {
    let mut masses: Masses = [[0; 4]; CLUSTERS_MAX];
    // A point that stands for others has rounded sums: near black it may save less than nothing.
    let squares = points.iter().map(|p| saved_q12(p.rgb_q6, &p.mass)).sum::<i64>().max(0) as u64 >> 12;
    assign.fill(u8::MAX);
    let mut swept = sweeps(points, squares, clusters, assign, &mut masses, SWEEPS_TO_JUDGE);
    let beyond_max = beyond_max.max(beyond(clusters));
    let (mut swaps, mut tries) = (0, 0);
    let mut cuts = cuts(points, clusters, assign);
    // Tried in vain since the last success.
    let mut vain: Vec<Exchange, { TRIES_MAX as usize }> = Vec::new();
    while tries < TRIES_MAX && swaps < SWAPS_MAX && clusters.len() > 2 {
        let Some((s, i, j)) = best(clusters, &cuts, &vain) else { break };
        let (before, masses_before) = (clusters.clone(), masses);
        exchange(clusters, &masses, &cuts, (s, i, j));
        let trial = sweeps(points, squares, clusters, assign, &mut masses, SWEEPS_TO_JUDGE);
        swept.sweeps += trial.sweeps;
        if trial.cost_q12 < swept.cost_q12 && clusters.len() == before.len() && beyond(clusters) <= beyond_max {
            swept = Swept { sweeps: swept.sweeps, ..trial };
            swaps += 1;
            vain.clear();
            cuts = self::cuts(points, clusters, assign);
        } else {
            (*clusters, masses) = (before, masses_before);
            tries += 1;
            let _ = vain.push((s, i, j));
        }
    }
    swept.sweeps
}

/// Cuts cluster `s` in two and makes one of `i` and `j`: the lighter one's place takes the part cut off.
fn exchange(clusters: &mut Clusters, masses: &Masses, cuts: &[Cut], (s, i, j): Exchange) {
    let (Some(&cut), Some(a), Some(b)) = (cuts.get(s), masses.get(i), masses.get(j)) else { return };
    let (stays, goes) = if a[3] >= b[3] { (i, j) } else { (j, i) };
    for (place, rgb_q6) in [(stays, centroid(&sum(a, b))), (goes, cut.part), (s, cut.rest)] {
        if let Some(c) = clusters.get_mut(place) {
            c.rgb_q6 = rgb_q6;
        }
    }
    if let Some(c) = clusters.get_mut(goes) {
        c.id = Cluster::NEW;
    }
}

/// The swap that promises most: which cluster to cut, and which two to make one.
fn best(clusters: &Clusters, cuts: &[Cut], vain: &[Exchange]) -> Option<Exchange> {
    // The dearest clusters to keep whole. A pair excludes two of them, and what was tried in vain not more than that.
    let mut dear: Vec<(u64, usize), { TRIES_MAX as usize + 3 }> = Vec::new();
    for (s, cut) in cuts.iter().enumerate().take(clusters.len()) {
        let at = dear.iter().position(|d| cut.gain_q12 > d.0).unwrap_or(dear.len());
        if dear.is_full() {
            dear.pop();
        }
        let _ = dear.insert(at.min(dear.len()), (cut.gain_q12, s));
    }
    let mut found: Option<(i64, Exchange)> = None;
    for (i, a) in clusters.iter().enumerate() {
        for (j, b) in clusters.iter().enumerate().skip(i + 1) {
            let loss = ward_q12((a.rgb_q6, a.weight), (b.rgb_q6, b.weight)) as i64;
            let free = dear.iter().find(|&&(_, s)| s != i && s != j && !vain.contains(&(s, i, j)));
            let Some(&(gain, s)) = free else { continue };
            // Sweeps make a gain larger and a loss smaller: one that breaks even by a half is worth a try.
            let promise = gain as i64 * 2 - loss;
            if promise > 0 && found.is_none_or(|f| promise > f.0) {
                found = Some((promise, (s, i, j)));
            }
        }
    }
    found.map(|f| f.1)
}

/// For every cluster the cut across its longest axis.
fn cuts(points: &[Point], clusters: &Clusters, assign: &[u8]) -> [Cut; CLUSTERS_MAX] {
    // Sums of w dx dx, dy dy, dz dz, dx dy, dx dz, dy dz, in 1/64 squared levels.
    let mut moments = [[0i64; 6]; CLUSTERS_MAX];
    let away = |p: &Point, c: Q6| -> [i32; 3] { core::array::from_fn(|i| i32::from(p.rgb_q6[i]) - i32::from(c[i])) };
    for (p, &a) in points.iter().zip(assign) {
        let (Some(m), Some(c)) = (moments.get_mut(usize::from(a)), clusters.get(usize::from(a))) else { continue };
        let [x, y, z] = away(p, c.rgb_q6).map(|v| v >> 3);
        for (m, product) in m.iter_mut().zip([x * x, y * y, z * z, x * y, x * z, y * z]) {
            *m += i64::from(product) * i64::from(p.weight());
        }
    }
    let mut axes = [[0i32; 3]; CLUSTERS_MAX];
    for (axis, m) in axes.iter_mut().zip(&moments).take(clusters.len()) {
        *axis = longest_axis(m);
    }
    let mut parts = [[0u32; 4]; CLUSTERS_MAX];
    for (p, &a) in points.iter().zip(assign) {
        let k = usize::from(a);
        let (Some(part), Some(c), Some(axis)) = (parts.get_mut(k), clusters.get(k), axes.get(k)) else { continue };
        let along: i32 = away(p, c.rgb_q6).iter().zip(axis).map(|(d, v)| d * v).sum();
        if along > 0 {
            *part = sum(part, &p.mass);
        }
    }
    let mut cuts = [Cut::default(); CLUSTERS_MAX];
    for ((cut, c), part) in cuts.iter_mut().zip(clusters).zip(&parts) {
        let rest_weight = c.weight.saturating_sub(part[3]);
        if part[3] == 0 || rest_weight == 0 {
            continue;
        }
        // The rest's mean, from the whole's and the part's.
        let mean = centroid(part);
        let rest = core::array::from_fn(|i| {
            let whole = u64::from(c.rgb_q6[i]) * u64::from(c.weight);
            let part = u64::from(mean[i]) * u64::from(part[3]);
            (whole.saturating_sub(part) / u64::from(rest_weight.max(1))).min(16_320) as u16
        });
        *cut = Cut { gain_q12: ward_q12((mean, part[3]), (rest, rest_weight)), rest, part: mean };
    }
    cuts
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
        points.iter().step_by(points.len().div_ceil(k)).map(|p| Cluster::new(p.rgb_q6)).collect()
    }

    /// The definition: every pixel to its nearest centroid, in floats.
    fn cost(points: &[Point], clusters: &Clusters) -> f64 {
        let near = |p: &Point| clusters.iter().map(|c| distance2_q12(p.rgb_q6, c.rgb_q6)).min().unwrap();
        points.iter().map(|p| f64::from(near(p)) * f64::from(p.weight())).sum()
    }

    fn squares(points: &[Point]) -> u64 {
        points.iter().map(saved_black).sum()
    }

    /// r^2 + g^2 + b^2 over a point's pixels, which are of one colour.
    fn saved_black(p: &Point) -> u64 {
        p.rgb_q6.iter().map(|&v| (u64::from(v) >> 6).pow(2)).sum::<u64>() * u64::from(p.weight())
    }

    proptest! {
        #[test]
        fn sweeps_never_raise_the_cost_and_name_it_exactly(points in colours(), k in 2usize..20) {
            let mut clusters = started(&points, k);
            let (mut assign, mut masses) = (std::vec![0; points.len()], [[0; 4]; CLUSTERS_MAX]);
            let mut before = cost(&points, &clusters);
            for _ in 0..6 {
                let swept = sweeps(&points, squares(&points), &mut clusters, &mut assign, &mut masses, 1);
                if clusters.len() < k {
                    // One lost all its pixels: labels are positions of before.
                    return Ok(());
                }
                let now: f64 = points.iter().zip(&assign).map(|(p, &a)| {
                    let c = clusters[usize::from(a)].rgb_q6;
                    f64::from(distance2_q12(p.rgb_q6, c)) * f64::from(p.weight())
                }).sum();
                prop_assert_eq!(swept.cost_q12 as f64, now);
                prop_assert!(now <= before, "{} to {}", before, now);
                before = cost(&points, &clusters);
            }
        }

        #[test]
        fn swaps_keep_the_number_and_lower_the_cost_or_leave_it(points in colours(), k in 3usize..20) {
            let mut swept = started(&points, k);
            let mut assign = std::vec![0; points.len()];
            let mut masses = [[0; 4]; CLUSTERS_MAX];
            sweeps(&points, squares(&points), &mut swept, &mut assign, &mut masses, SWEEPS_TO_JUDGE);
            let mut swapped = started(&points, k);
            swap(&points, &mut swapped, &mut assign, 0, |_| 0);
            prop_assert_eq!(swapped.len(), swept.len());
            prop_assert!(cost(&points, &swapped) <= cost(&points, &swept) * 1.002);
        }

        #[test]
        fn a_swap_that_uncovers_too_much_is_taken_back(points in colours(), k in 3usize..20) {
            let mut assign = std::vec![0; points.len()];
            let mut plain = started(&points, k);
            let mut masses = [[0; 4]; CLUSTERS_MAX];
            sweeps(&points, squares(&points), &mut plain, &mut assign, &mut masses, SWEEPS_TO_JUDGE);
            let mut kept = started(&points, k);
            let swept = plain.clone();
            // Anything but the swept centroids uncovers a pixel.
            swap(&points, &mut kept, &mut assign, 0, |c| u64::from(*c != swept));
            prop_assert_eq!(kept, plain);
        }

        #[test]
        fn the_gain_of_a_cut_is_what_the_cost_falls_by(points in colours()) {
            let mut clusters = started(&points, 1);
            let (mut assign, mut masses) = (std::vec![0; points.len()], [[0; 4]; CLUSTERS_MAX]);
            sweeps(&points, squares(&points), &mut clusters, &mut assign, &mut masses, 2);
            let whole = cost(&points, &clusters);
            let cut = cuts(&points, &clusters, &assign)[0];
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
        swap(&points, &mut clusters, &mut [0; 4], 0, |_| 0);
        let mut found: Vec<Q6> = clusters.iter().map(|c| c.rgb_q6).collect();
        found.sort_unstable();
        assert_eq!(found, [[0, 0, 12_800], [11 * 64, 640, 640], [12_800, 0, 0]]);
    }

    #[test]
    fn rounded_sums_near_black_save_less_than_nothing_and_overflow_nothing() {
        // Found by fuzzing: a point of `sensitivity` at 10/64 levels, whose sums are rounded to 0.
        let points: Vec<Point> = (0..4u16)
            .map(|i| {
                let mut p = Point::ZERO;
                (p.rgb_q6, p.mass) = ([10 + i, 10, 10], [0, 0, 0, 1]);
                p
            })
            .collect();
        let mut clusters = started(&points, 4);
        swap(&points, &mut clusters, &mut [0; 4], 0, |_| 0);
        assert_eq!(clusters.iter().map(|c| c.weight).sum::<u32>(), 4);
    }
}
