//! Silhouette: how well the clusters are apart, estimated from the coreset.
//!
//! Takes points and their labels. Gives the mean silhouette in millionths.
//! Touches 6 KiB on the stack. The cost is at most `SILHOUETTE_DRAWS` times `SILHOUETTE_POINTS_MAX` distances.
//! Never an exact score: that takes every colour of the frame, and the bridge has it from a census.
//!
//! Rousseeuw (1987): s = (b - a) / max(a, b), where a is the mean distance to the others of the own cluster and b the
//! smallest mean distance to another; 0 for a cluster of one pixel. A point stands for many pixels that are not in one
//! place: the mean distance among them is taken as 0.92 sqrt(2 D / w), D their scatter (0.92: the mean distance of two
//! points drawn from a ball, over its root mean square).

use crate::coreset::Point;
use crate::limits::{CLUSTERS_MAX, SILHOUETTE_POINTS_MAX};

/// Points that are drawn, a heavy one perhaps more than once.
const SILHOUETTE_DRAWS: u64 = 512;

/// 0.92 of 256.
const SELF_DISTANCE_Q8: u64 = 235;

/// The mean silhouette of the pixels behind `points`, in millionths; none with fewer than two clusters.
/// `assign` has the label of every point, below `clusters`; `inside_q12` is the mean squared distance of a pixel to the
/// mean of its cell, which points know nothing of.
pub fn estimate_ppm(points: &[Point], assign: &[u8], clusters: usize, inside_q12: u64) -> Option<i32> {
    if !(2..=CLUSTERS_MAX).contains(&clusters) || points.is_empty() {
        return None;
    }
    // Distances are taken to all points, or of a larger coreset to every n-th: they are in the order of their cells, so
    // that is a spread-out sample.
    let every = points.len().div_ceil(SILHOUETTE_POINTS_MAX);
    let others = || points.iter().zip(assign).step_by(every);
    let mut weights = [0u64; CLUSTERS_MAX];
    for (p, &label) in others() {
        if let Some(w) = weights.get_mut(usize::from(label)) {
            *w += u64::from(p.weight());
        }
    }
    let weights = weights.get(..clusters)?;
    // And from points drawn by weight, at even steps through all pixels (systematic sampling; Madow, 1949).
    let pixels: u64 = points.iter().map(|p| u64::from(p.weight())).sum();
    let (mut seen, mut draws, mut total) = (0, 0, 0);
    for (p, &label) in points.iter().zip(assign) {
        seen += u64::from(p.weight());
        // Draw t is at pixel (2 t + 1) / (2 draws in all) of them.
        let upto = (2 * SILHOUETTE_DRAWS * seen / pixels.max(1)).div_ceil(2);
        if upto > draws {
            total += (upto - draws) as i64 * value_ppm(p, usize::from(label), others(), weights, inside_q12)?;
            draws = upto;
        }
    }
    Some((total / draws.max(1) as i64) as i32)
}

/// The silhouette of the pixels behind one point; none if no other cluster has a point.
fn value_ppm<'p>(
    p: &Point,
    own: usize,
    others: impl Iterator<Item = (&'p Point, &'p u8)>,
    weights: &[u64],
    inside_q12: u64,
) -> Option<i64> {
    // Sums of distances to the pixels of each cluster, in 1/128 levels.
    let mut sums = [0u64; CLUSTERS_MAX];
    for (q, &other) in others {
        if let Some(sum) = sums.get_mut(usize::from(other)) {
            *sum += u64::from(q.weight()) * distance_q7(p, q);
        }
    }
    let among_q6 = (2 * (u64::from(p.spread_q12()) + inside_q12)).isqrt();
    let among = (among_q6 * 2 * SELF_DISTANCE_Q8) >> 8;
    let n = weights.get(own).map_or(0, |w| w.saturating_sub(1));
    if n == 0 {
        return Some(0);
    }
    let inside = sums.get(own).copied().unwrap_or(0) + u64::from(p.weight() - 1) * among;
    let apart = sums.iter().zip(weights).enumerate().filter(|&(k, (_, &w))| k != own && w > 0);
    let nearest = apart.map(|(_, (s, w))| s * 16 / w).min()?;
    Some(ratio_ppm(inside * 16 / n, nearest))
}

/// The distance of two points in 1/128 levels, right to 0.1 %.
#[inline]
fn distance_q7(p: &Point, q: &Point) -> u64 {
    // At most 799,027,200 x 4, which fits 32 bits.
    u64::from(root(crate::label::distance2_q12(p.rgb_q6, q.rgb_q6) * 4))
}

/// Square roots of the middles of 768 shares of 2^30..2^32, from the 257th of 1,024 on.
const ROOTS: [u16; 1024] = {
    let mut table = [0; 1024];
    let mut i = 256;
    while i < 1024 {
        table[i] = (((2 * i as u64 + 1) << 21).isqrt()) as u16;
        i += 1;
    }
    table
};

/// The square root from a table, after an even shift that brings the number to the top: four times as fast as `isqrt`,
/// and exact enough for an estimate.
#[inline]
fn root(x: u32) -> u32 {
    let shift = x.leading_zeros() & !1;
    let top = x.unbounded_shl(shift) >> 22;
    let root = u32::from(ROOTS[(top & 1023) as usize]);
    let half = (1 << (shift / 2)) >> 1;
    (root + half) >> (shift / 2)
}

fn ratio_ppm(a: u64, b: u64) -> i64 {
    match a.max(b) {
        0 => 0,
        most => (b as i64 - a as i64) * 1_000_000 / most as i64,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn point(red: u16, weight: u32) -> Point {
        Point::pixel([red as u8, 0, 0], weight)
    }

    /// The definition on single pixels, in floats.
    fn plain(values: &[(f64, usize)]) -> f64 {
        let mean = |x: f64, k: usize, but: usize| {
            let of: Vec<f64> = values.iter().filter(|v| v.1 == k).map(|v| (v.0 - x).abs()).collect();
            of.iter().sum::<f64>() / (of.len() - but) as f64
        };
        let s = values.iter().map(|&(x, k)| {
            if values.iter().filter(|v| v.1 == k).count() == 1 {
                return 0.0;
            }
            let a = mean(x, k, 1);
            let b = (0..3).filter(|&o| o != k).map(|o| mean(x, o, 0)).fold(f64::INFINITY, f64::min);
            (b - a) / a.max(b)
        });
        s.sum::<f64>() / values.len() as f64
    }

    #[test]
    fn without_scatter_it_is_the_definition() {
        let of = [(10, 0), (20, 0), (24, 0), (100, 1), (130, 1), (250, 2)];
        let points: Vec<Point> = of.iter().map(|&(x, _)| point(x, 1)).collect();
        let assign: Vec<u8> = of.iter().map(|&(_, k)| k as u8).collect();
        let want = plain(&of.map(|(x, k)| (f64::from(x), k)));
        let got = f64::from(estimate_ppm(&points, &assign, 3, 0).unwrap()) / 1e6;
        assert!((got - want).abs() < 0.002, "{got} {want}");
    }

    #[test]
    fn the_roots_from_the_table_are_right_to_a_part_in_a_thousand() {
        let mut x = 1u32;
        for i in 0..100_000u32 {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223 + i);
            let value = x >> (i % 32);
            let (want, got) = (f64::from(value).sqrt(), f64::from(root(value)));
            assert!((got - want).abs() <= want / 1_000.0 + 0.5, "{value}: {got} {want}");
        }
        assert_eq!((root(0), root(1), root(4)), (0, 1, 2));
    }

    #[test]
    fn fewer_than_two_clusters_have_no_silhouette() {
        assert_eq!(estimate_ppm(&[point(1, 4)], &[0], 1, 0), None);
        assert_eq!(estimate_ppm(&[], &[], 2, 0), None);
    }
}
