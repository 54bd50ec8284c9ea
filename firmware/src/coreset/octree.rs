//! The octree coreset: sister cells are merged, cheapest first, until few enough points are left.
//!
//! Inputs are a frame's cells and memory for points and merges; the result is a coreset with its certificate, or a
//! scout (the few points on which DC-DP-means decides how many clusters there are). Merging goes level by level from
//! the leaves. In each level, the groups of sister cells become one point in the order of the scatter that this adds
//! for each point saved. A rare colour far from all others has no sisters on the fine levels, so it usually keeps its
//! point; a random sample would often lose it. Ties are decided by keys, so the result does not depend on the order of
//! the pixels.

use super::points::{Drawn, Point, copy, scatter_q12};
use crate::color::{Features, distance2_q12};

/// Most points of a scout. The scout has the same size for every larger coreset, so the number of clusters does not
/// depend on `coreset_size` from here on.
pub const SCOUT_POINTS_MAX: usize = 512;
/// Bits a channel of a scout's finest cells.
const SCOUT_BITS: u32 = 4;

/// A group of sister cells that may be merged. StreamKM++ uses the same record for the leaves of its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Merge {
    pub(super) cost_q12: u64,
    pub(super) start: u32,
    pub(super) cells: u32,
}

impl Merge {
    /// An empty group, to initialise static memory.
    pub const ZERO: Merge = Merge { cost_q12: 0, start: 0, cells: 0 };
}

/// Fills `scout` with the parents of `cells`, in the same order, and returns their number. Cells of at most 4 bits a
/// channel are copied. `scout` must hold an eighth of the histogram's cells.
pub fn parents(cells: &[Point], scout: &mut [Point]) -> usize {
    let mut len = 0;
    for sisters in runs(cells, coarse) {
        if let ([first, ..], Some(slot)) = (sisters, scout.get_mut(len)) {
            *slot = if sisters.len() == 1 {
                Point { key: coarse(first), ..*first }
            } else {
                merged(sisters, coarse(first))
            };
            len += 1;
        }
    }
    len
}

/// The key of the cell of at most [`SCOUT_BITS`] that contains a cell.
#[inline]
fn coarse(p: &Point) -> u16 {
    if p.key >= 1 << (3 * SCOUT_BITS + 1) { p.key >> 3 } else { p.key }
}

/// Fills `points` with the octree coreset of `cells`: at most `size` points. `parents` are the result of [`parents`],
/// and `squares` is the sum of squares that `count` returned. `points` must hold as many points as there are cells, and
/// `merges` as many groups as there are parents.
pub fn octree(
    cells: &[Point],
    parents: &[Point],
    squares: u64,
    size: usize,
    points: &mut [Point],
    merges: &mut [Merge],
) -> Drawn {
    let size = size.max(1);
    let mut len = 0;
    let groups = || runs(cells, coarse).zip(parents);
    let cost = |parent: &Point, sisters: &[Point]| {
        u64::from(parent.spread_q12) * u64::from(parent.weight()) / (sisters.len() as u64 - 1).max(1)
    };
    // The most expensive merge that is needed: all cheaper ones are made too.
    let mut last = None;
    if parents.len() < cells.len() && cells.len() > size {
        let mut n = 0;
        for (at, (sisters, parent)) in (0..).zip(groups()) {
            if let (2.., Some(slot)) = (sisters.len(), merges.get_mut(n)) {
                *slot = Merge { cost_q12: cost(parent, sisters), start: at, cells: sisters.len() as u32 };
                n += 1;
            }
        }
        let found = merges.get_mut(..n).unwrap_or(&mut []);
        found.sort_unstable();
        let mut surplus = cells.len() - size;
        last = found
            .iter()
            .find(|m| {
                surplus = surplus.saturating_sub(m.cells as usize - 1);
                surplus == 0
            })
            .or(found.last())
            .copied();
    }
    for (at, (sisters, parent)) in (0..).zip(groups()) {
        let merge = Merge { cost_q12: cost(parent, sisters), start: at, cells: sisters.len() as u32 };
        let made = if sisters.len() > 1 && last.is_some_and(|last| merge <= last) {
            core::slice::from_ref(parent)
        } else {
            sisters
        };
        if let Some(slots) = points.get_mut(len..len + made.len()) {
            copy(made, slots);
            len += made.len();
        }
    }
    if len > size {
        points.iter_mut().take(len).for_each(|p| p.key = coarse(p));
        len = collapse(points, merges, len, size);
    }
    Drawn { points: len, scatter_q12: Some(scatter_q12(points.get(..len).unwrap_or(&[]), squares)) }
}

/// The runs of equal keys, as in `chunk_by`. The compiler cannot prove that `chunk_by` never panics, and the bare image
/// must not contain a panic.
fn runs(mut points: &[Point], key: impl Fn(&Point) -> u16) -> impl Iterator<Item = &[Point]> {
    core::iter::from_fn(move || {
        let of = key(points.first()?);
        let len = points.iter().position(|p| key(p) != of).unwrap_or(points.len());
        let (run, rest) = points.split_at_checked(len)?;
        points = rest;
        Some(run)
    })
}

/// The level of a point's cell: 0 is the cell of all colours, 5 is the finest.
fn level(p: &Point) -> u32 {
    p.key.checked_ilog2().unwrap_or(0) / 3
}

/// Merges sister cells into one point.
fn merged(sisters: &[Point], key: u16) -> Point {
    let features = sisters.iter().fold(Features::ZERO, |sum, p| sum.plus(&p.features));
    let mut parent = Point::of(features, key, 0);
    let mut apart = 0;
    for p in sisters {
        let distance2 = distance2_q12(p.position_q6, parent.position_q6);
        apart += (u64::from(distance2) + u64::from(p.spread_q12)) * u64::from(p.weight());
    }
    parent.spread_q12 = (apart / u64::from(features.weight().max(1))) as u32;
    parent
}

/// Merges sister cells, cheapest first, finest level first, until at most `size` of the first `len` points are left.
pub fn collapse(points: &mut [Point], merges: &mut [Merge], mut len: usize, size: usize) -> usize {
    let finest = points.iter().take(len).map(level).max().unwrap_or(0);
    for at in (1..=finest).rev() {
        if len <= size {
            break;
        }
        let groups = candidates(points.get(..len).unwrap_or(&[]), merges);
        let Some(found) = merges.get_mut(..groups) else { break };
        found.sort_unstable();
        let mut surplus = len - size;
        for m in found.iter() {
            if surplus == 0 {
                break;
            }
            surplus = surplus.saturating_sub(m.cells as usize - 1);
            let (start, end) = (m.start as usize, (m.start + m.cells) as usize);
            if let Some(sisters) = points.get_mut(start..end) {
                let parent = merged(sisters, sisters.first().map_or(0, |p| p.key >> 3));
                sisters.fill(Point::default());
                if let Some(first) = sisters.first_mut() {
                    *first = parent;
                }
            }
        }
        len = compact(points, len);
        if surplus > 0 {
            // All groups of this level are merged. Only cells without sisters are left, and they move up unchanged.
            points.iter_mut().take(len).filter(|p| level(p) == at).for_each(|p| p.key >>= 3);
        }
    }
    len
}

/// Lists the groups of at least two sisters among `points`, all of one level and sorted by key.
fn candidates(points: &[Point], merges: &mut [Merge]) -> usize {
    let (mut start, mut n) = (0, 0);
    for sisters in runs(points, |p| p.key >> 3) {
        if let (2.., Some(slot)) = (sisters.len(), merges.get_mut(n)) {
            let inside: u64 = sisters.iter().map(|p| u64::from(p.spread_q12) * u64::from(p.weight())).sum();
            let parent = merged(sisters, 0);
            let more = (u64::from(parent.spread_q12) * u64::from(parent.weight())).saturating_sub(inside);
            let cost_q12 = more / (sisters.len() as u64 - 1);
            *slot = Merge { cost_q12, start, cells: sisters.len() as u32 };
            n += 1;
        }
        start += sisters.len() as u32;
    }
    n
}

fn compact(points: &mut [Point], len: usize) -> usize {
    let mut kept = 0;
    for i in 0..len {
        if let Some(&p) = points.get(i).filter(|p| p.weight() > 0) {
            if let Some(slot) = points.get_mut(kept) {
                *slot = p;
            }
            kept += 1;
        }
    }
    kept
}
