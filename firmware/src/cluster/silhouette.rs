//! The silhouette: how well the clusters are separated, estimated from the coreset.
//!
//! Inputs are points and their labels; the result is the mean silhouette in millionths. The estimate uses 35 KiB of
//! stack, and computes at most `SILHOUETTE_DRAWS` times `SILHOUETTE_POINTS_MAX` distances. The exact score needs every
//! colour of the frame; the metrics program computes it from a census.
//!
//! The silhouette of a pixel is s = (b - a) / max(a, b) (Rousseeuw, 1987), where a is its mean distance to the other
//! pixels of its cluster and b the smallest mean distance to those of another cluster; s is 0 for a cluster of one
//! pixel. A point represents many pixels that scatter around it. If two points are d apart and their pixels have the
//! variances v and u, the mean distance between the pixels is taken as sqrt(d^2 + 9/16 (v + u)), also between a point
//! and itself. Only scatter across the line between the points lengthens a distance, so the factor would be 2/3 for
//! scatter that is small against d and equal in all directions. The factor 9/16 was measured on fourteen frames at
//! three lambdas: the estimate is within 0.008 of the exact score, while 1/2 underestimates distances and 2/3
//! overestimates them.

use crate::color::{Features, Q6, distance2_q12};
use crate::coreset::Point;
use crate::gather::gather;
use crate::kernel::distances::{Scattered, root};
use crate::limits::{CLUSTERS_MAX, SILHOUETTE_POINTS_MAX};
use heapless::Vec;

/// Number of draws; a heavy point may be drawn more than once.
const SILHOUETTE_DRAWS: u64 = 768;

/// Estimates the mean silhouette of the pixels that `points` represent, in millionths. Returns `None` with fewer than
/// two clusters.
///
/// `assign` has the label of every point, below `clusters`. `inside_q12` is the mean squared distance of a pixel to the
/// mean of its cell, which is not part of a point's spread.
#[inline(never)]
pub fn estimate_ppm(points: &[Point], assign: &[u8], clusters: usize, inside_q12: u64) -> Option<i32> {
    if !(2..=CLUSTERS_MAX).contains(&clusters) || points.is_empty() {
        return None;
    }
    let inside_q12 = u32::try_from(inside_q12).unwrap_or(u32::MAX).min(1 << 30);
    // Filled in place: moved, they would take 24 KiB of the stack twice.
    let mut groups = Groups::new(inside_q12);
    groups.fill(points, assign, clusters);
    // Points are drawn by weight, at even steps through all pixels (systematic sampling; Madow, 1949).
    let pixels: u64 = points.iter().map(|p| u64::from(p.weight())).sum();
    let (mut seen, mut draws, mut total) = (0, 0, 0);
    for (p, &label) in points.iter().zip(assign) {
        seen += u64::from(p.weight());
        // Draw t is at the share (2 t + 1) / (2 SILHOUETTE_DRAWS) of all pixels.
        let upto = (2 * SILHOUETTE_DRAWS * seen / pixels.max(1)).div_ceil(2);
        if upto > draws {
            total += (upto - draws) as i64 * groups.value_ppm(p, usize::from(label))?;
            draws = upto;
        }
    }
    total.checked_div(draws as i64).map(|mean| mean as i32)
}

/// The points to which distances are computed, grouped by cluster. Of a coreset that is too large they are every n-th
/// point; points are in the order of their cells, so this sample is spread over all colours.
struct Groups {
    /// Sorted by cluster.
    points: Scattered,
    /// What the scatter inside of cells adds to a squared distance.
    inside_q12: u32,
    /// For each cluster, the end of its positions in `points`, its pixels and their mean.
    clusters: Vec<(usize, u64, Q6), CLUSTERS_MAX>,
}

impl Groups {
    /// Groups without points. `inside_q12` is that of [`estimate_ppm`].
    fn new(inside_q12: u32) -> Groups {
        Groups { points: Scattered::EMPTY, inside_q12: NINE_16THS * (inside_q12 >> 3), clusters: Vec::new() }
    }

    /// Takes points in, if there are none yet.
    #[inline(never)] // The masses leave the stack with it.
    fn fill(&mut self, points: &[Point], assign: &[u8], clusters: usize) {
        let every = points.len().div_ceil(SILHOUETTE_POINTS_MAX);
        let sample = || points.iter().zip(assign).step_by(every.max(1));
        let (mut masses, mut counts) = ([Features::ZERO; CLUSTERS_MAX], [0; CLUSTERS_MAX]);
        for (p, &label) in sample() {
            let k = usize::from(label);
            if let (Some(mass), Some(n)) = (masses.get_mut(k), counts.get_mut(k)) {
                *mass = mass.plus(&p.features);
                *n += 1;
            }
        }
        let mut start = 0;
        for (mass, n) in masses.iter().zip(counts).take(clusters) {
            let _ = self.clusters.push((start, u64::from(mass.weight()), mass.mean_q6()));
            start += n;
        }
        for (p, &label) in sample() {
            if let Some((end, ..)) = self.clusters.get_mut(usize::from(label)) {
                self.points.set(*end, p.position_q6, scatter_q12(p), p.weight());
                *end += 1;
            }
        }
    }

    /// The sum of the mean distances from the pixels of `p` to each pixel of cluster `k`, in 1/128 levels.
    fn sum_q7(&self, p: &Point, k: usize) -> u64 {
        let end = |k: usize| self.clusters.get(k).map_or(0, |c| c.0);
        let range = k.checked_sub(1).map_or(0, end)..end(k);
        self.points.sum_q7(range, p.position_q6, scatter_q12(p) + self.inside_q12)
    }

    /// The silhouette of the pixels of one point of cluster `own`. Returns `None` if no other cluster has a point.
    ///
    /// A mean distance is at least the distance to the mean (Jensen's inequality). So clusters are examined in the
    /// order of the distances of their means, until the next one cannot be the nearest; most clusters are never
    /// examined.
    fn value_ppm(&self, p: &Point, own: usize) -> Option<i64> {
        let others = self.clusters.get(own).map_or(0, |c| c.1.saturating_sub(1));
        let Some(inside) = (self.sum_q7(p, own) * 16).checked_div(others) else { return Some(0) };
        let others = self.clusters.iter().enumerate().map(|(k, c)| (k != own && c.1 > 0).then_some(c.2));
        let far = |mean: Option<Q6>| mean.map_or(u32::MAX, |mean| root(distance2_q12(p.position_q6, mean) * 4));
        let mut means_q7: Vec<u32, CLUSTERS_MAX> = gather(others.map(far));
        let mut nearest_q11 = None;
        while let Some((k, &mean)) = means_q7.iter().enumerate().min_by_key(|m| m.1) {
            // A lower bound: reduced by 1/64 and by half a level, for the errors of roots and rounding.
            let least_q11 = (u64::from(mean) * 16 * 63 / 64).saturating_sub(16 * 64);
            if mean == u32::MAX || nearest_q11.is_some_and(|found| least_q11 >= found) {
                break;
            }
            let weight = self.clusters.get(k).map_or(1, |c| c.1.max(1));
            let found = self.sum_q7(p, k) * 16 / weight;
            nearest_q11 = Some(nearest_q11.map_or(found, |before: u64| before.min(found)));
            if let Some(mean) = means_q7.get_mut(k) {
                *mean = u32::MAX;
            }
        }
        Some(ratio_ppm(inside, nearest_q11?))
    }
}

/// Nine parts of sixteen, by which a variance lengthens a distance: of numbers that are shifted by 4.
const NINE_16THS: u32 = 9;

/// What the scatter of the pixels of `p` adds to a squared distance. A variance is below 2^30.
#[inline]
fn scatter_q12(p: &Point) -> u32 {
    NINE_16THS * (p.spread_q12() >> 4)
}

fn ratio_ppm(a: u64, b: u64) -> i64 {
    ((b as i64 - a as i64) * 1_000_000).checked_div(a.max(b) as i64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::kernel::distances::scattered_q7;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn point(red: u16, weight: u32) -> Point {
        Point::pixel([red as u8, 0, 0], weight)
    }

    /// The mean distance between the pixels of two points in 1/128 levels, by the formula of the module documentation.
    fn distance_q7(p: &Point, q: &Point, inside_q12: u32) -> u64 {
        let spread = (p.spread_q12() >> 4) + (q.spread_q12() >> 4) + (inside_q12 >> 3);
        u64::from(scattered_q7(distance2_q12(p.position_q6, q.position_q6), 9 * spread))
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

    proptest! {
        #[test]
        fn clusters_that_are_not_asked_would_change_nothing(
            of in prop::collection::vec(([any::<u8>(), any::<u8>(), any::<u8>()], 1u32..90, 0u8..7), 2..300),
            inside_q12 in 0u64..90_000,
        ) {
            let points: Vec<Point> = of.iter().map(|&(px, n, _)| Point::pixel(px, n)).collect();
            let assign: Vec<u8> = of.iter().map(|o| o.2).collect();
            let mut groups = Groups::new(inside_q12 as u32);
            groups.fill(&points, &assign, 7);
            for (p, &own) in points.iter().zip(&assign) {
                let mean = |k: usize, but: u64| {
                    let weight: u64 = of.iter().filter(|o| usize::from(o.2) == k).map(|o| u64::from(o.1)).sum();
                    let sum: u64 = points.iter().zip(&assign).filter(|q| usize::from(*q.1) == k)
                        .map(|(q, _)| u64::from(q.weight()) * distance_q7(p, q, inside_q12 as u32)).sum();
                    (weight > but).then(|| sum * 16 / (weight - but))
                };
                let nearest = (0..7).filter(|&k| k != usize::from(own)).filter_map(|k| mean(k, 0)).min();
                let want = match (mean(usize::from(own), 1), nearest) {
                    (None, _) => Some(0),
                    (Some(a), Some(b)) => Some(ratio_ppm(a, b)),
                    (Some(_), None) => None,
                };
                prop_assert_eq!(groups.value_ppm(p, usize::from(own)), want);
            }
        }
    }

    #[test]
    fn fewer_than_two_clusters_have_no_silhouette() {
        assert_eq!(estimate_ppm(&[point(1, 4)], &[0], 1, 0), None);
        assert_eq!(estimate_ppm(&[], &[], 2, 0), None);
    }
}
