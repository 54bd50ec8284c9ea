//! The coreset tree of StreamKM++: cells are split by k-means++ seeds.
//!
//! Inputs are a frame's cells, random numbers, and memory for points and leaves; the result is one point for each leaf,
//! at its seed, with a certificate. Each leaf is a contiguous range of the points while the tree grows, so the points'
//! memory is scratch before it holds the result. No cell is a seed twice, and all arithmetic is integer.
//!
//! The algorithm is that of Ackermann, Maertens, Raupach, Swierkot, Lammersen and Sohler (ALENEX 2010), whose theorem
//! is the tutorial's formula for the coreset's size. A leaf is drawn by its cost, a new seed in it by squared distance,
//! and the leaf is split by the nearer seed. The paper's buckets for streams are not needed, because all cells are in
//! memory.

use super::octree::Merge;
use super::points::{Drawn, Point, below, copy, scatter_q12};
use crate::color::{Features, distance2_q12};
use rand::Rng;

/// Leaves in a group. Costs are summed for each group, so that drawing a leaf does not examine all of them.
const GROUP: usize = 64;
/// Most groups: together they hold a leaf for each cell of the largest histogram.
const GROUPS: usize = 512;

/// Fills `points` with the coreset of `cells`: at most `size` points. `points` must hold as many points as there are
/// cells, and `leaves` as many as `size`. `squares` is the sum of squares that `count` returned.
pub fn stream_km(
    cells: &[Point],
    squares: u64,
    size: usize,
    points: &mut [Point],
    leaves: &mut [Merge],
    rng: &mut impl Rng,
) -> Drawn {
    let Some(points) = points.get_mut(..cells.len()) else { return Drawn::default() };
    copy(cells, points);
    if cells.len() <= size {
        return Drawn { points: cells.len(), scatter_q12: Some(scatter_q12(cells, squares)) };
    }
    let mut groups = [0u64; GROUPS];
    let weight: u64 = points.iter().map(|p| u64::from(p.weight())).sum();
    let mut left = below(rng, weight);
    let first = place(points, &mut left, |p| u64::from(p.weight()));
    exchange(points, 0, first);
    let mut len = 1;
    set(leaves, &mut groups, 0, Merge { cost_q12: cost(points), start: 0, cells: points.len() as u32 }, 0);
    while len < size.min(leaves.len()).min(GROUP * GROUPS) {
        let mut left = below(rng, groups.iter().sum());
        let Some(group) = groups.iter().position(|&g| !past(&mut left, g)) else { break };
        let within = leaves.get(group * GROUP..len.min((group + 1) * GROUP)).unwrap_or(&[]);
        let Some(at) = within.iter().position(|l| !past(&mut left, l.cost_q12)).map(|at| group * GROUP + at) else {
            break;
        };
        let Some(&leaf) = leaves.get(at) else { break };
        let start = leaf.start as usize;
        let Some(stretch) = points.get_mut(start..start + leaf.cells as usize) else { break };
        let Some(&old) = stretch.first() else { break };
        let new = place(stretch, &mut left, |p| weighted(p, &old));
        let stay = part(stretch, new);
        let Some((kept, gone)) = stretch.split_at_checked(stay) else { break };
        set(
            leaves,
            &mut groups,
            at,
            Merge { cost_q12: cost(kept), start: leaf.start, cells: stay as u32 },
            leaf.cost_q12,
        );
        let start = (start + stay) as u32;
        set(leaves, &mut groups, len, Merge { cost_q12: cost(gone), start, cells: gone.len() as u32 }, 0);
        len += 1;
    }
    let Some(leaves) = leaves.get_mut(..len) else { return Drawn::default() };
    leaves.sort_unstable_by_key(|l| l.start);
    for (i, leaf) in leaves.iter().enumerate() {
        let start = leaf.start as usize;
        let stretch = points.get(start..start + leaf.cells as usize).unwrap_or(&[]);
        let features = stretch.iter().fold(Features::ZERO, |sum, p| sum.plus(&p.features));
        let Some(&seed) = stretch.first() else { continue };
        let spread_q12 = (leaf.cost_q12 / u64::from(features.weight().max(1))) as u32;
        // Leaves are sorted by their start, so place `i` never lies behind the range of leaf `i`.
        if let Some(slot) = points.get_mut(i) {
            *slot = Point { features, spread_q12, ..seed };
        }
    }
    Drawn { points: len, scatter_q12: Some(scatter_q12(points.get(..len).unwrap_or(&[]), squares)) }
}

/// Returns true if the threshold lies behind the next `part` of the line, and then subtracts the part from it.
fn past(left: &mut u64, part: u64) -> bool {
    let past = *left >= part;
    if past {
        *left -= part;
    }
    past
}

/// The place of the point in whose `share` of the line the threshold lies; the last point with a share if the threshold
/// lies behind all of them.
fn place(points: &[Point], left: &mut u64, share: impl Fn(&Point) -> u64) -> usize {
    let last = points.iter().rposition(|p| share(p) > 0).unwrap_or(0);
    points.iter().position(|p| !past(left, share(p))).unwrap_or(last)
}

fn weighted(p: &Point, seed: &Point) -> u64 {
    u64::from(distance2_q12(p.position_q6, seed.position_q6)) * u64::from(p.weight())
}

/// The cost of a leaf: the sum of weighted squared distances to its seed, which is its first point.
fn cost(leaf: &[Point]) -> u64 {
    leaf.first().map_or(0, |seed| leaf.iter().map(|p| weighted(p, seed)).sum())
}

/// Stores a leaf, and updates the cost of its group. `before` is the cost of the leaf that it replaces, or 0.
fn set(leaves: &mut [Merge], groups: &mut [u64; GROUPS], at: usize, leaf: Merge, before: u64) {
    if let (Some(slot), Some(group)) = (leaves.get_mut(at), groups.get_mut(at / GROUP)) {
        *group = *group - before + leaf.cost_q12;
        *slot = leaf;
    }
}

/// Splits a leaf in two. Points at least as near to the first point as to the one at `new` stay in front; the point at
/// `new` follows, and then the rest. Returns how many stay.
fn part(leaf: &mut [Point], new: usize) -> usize {
    let last = leaf.len().saturating_sub(1);
    exchange(leaf, new, last);
    let (Some(&old), Some(&seed)) = (leaf.first(), leaf.last()) else { return 0 };
    let mut stay = 0;
    for i in 0..last {
        let stays = leaf.get(i).is_some_and(|p| {
            distance2_q12(p.position_q6, old.position_q6) <= distance2_q12(p.position_q6, seed.position_q6)
        });
        if stays {
            exchange(leaf, i, stay);
            stay += 1;
        }
    }
    exchange(leaf, stay, last);
    stay
}

/// Swaps two different points; does nothing if a place is out of range. Unlike `swap`, it cannot panic.
fn exchange(points: &mut [Point], i: usize, j: usize) {
    if let Ok([a, b]) = points.get_disjoint_mut([i, j]) {
        core::mem::swap(a, b);
    }
}
