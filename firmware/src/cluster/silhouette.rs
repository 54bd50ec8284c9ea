//! Silhouette: how well the clusters are apart, estimated from the coreset.
//!
//! Takes points and their labels. Gives the mean silhouette in millionths.
//! Touches 16 KiB on the stack. The cost is at most `SILHOUETTE_DRAWS` times `SILHOUETTE_POINTS_MAX` distances.
//! Never an exact score: that takes every colour of the frame, and the bridge has it from a census.
//!
//! Rousseeuw (1987): s = (b - a) / max(a, b), where a is the mean distance to the others of the own cluster and b the
//! smallest mean distance to another; 0 for a cluster of one pixel. A point stands for many pixels that are not in one
//! place: between the pixels of two points that are d apart, with variances v and u about them, the mean distance is
//! taken as sqrt(d^2 + 9/16 (v + u)), also for a point and itself. (Far apart and spread alike in all directions it
//! would be 2/3 of them, for only what is across lengthens a distance. Half is too little and two thirds are too much on
//! fourteen frames at three lambdas, where 9/16 is within 0.008 of the exact score.)

use crate::color::{Features, Q6, distance2_q12};
use crate::coreset::Point;
use crate::gather::gather;
use crate::limits::{CLUSTERS_MAX, SILHOUETTE_POINTS_MAX};
use heapless::Vec;

/// Points that are drawn, a heavy one perhaps more than once.
const SILHOUETTE_DRAWS: u64 = 768;

/// The mean silhouette of the pixels behind `points`, in millionths; none with fewer than two clusters.
/// `assign` has the label of every point, below `clusters`; `inside_q12` is the mean squared distance of a pixel to the
/// mean of its cell, which points know nothing of.
pub fn estimate_ppm(points: &[Point], assign: &[u8], clusters: usize, inside_q12: u64) -> Option<i32> {
    if !(2..=CLUSTERS_MAX).contains(&clusters) || points.is_empty() {
        return None;
    }
    let inside_q12 = u32::try_from(inside_q12).unwrap_or(u32::MAX).min(1 << 30);
    let groups = Groups::of(points, assign, clusters, inside_q12);
    // From points drawn by weight, at even steps through all pixels (systematic sampling; Madow, 1949).
    let pixels: u64 = points.iter().map(|p| u64::from(p.weight())).sum();
    let (mut seen, mut draws, mut total) = (0, 0, 0);
    for (p, &label) in points.iter().zip(assign) {
        seen += u64::from(p.weight());
        // Draw t is at pixel (2 t + 1) / (2 draws in all) of them.
        let upto = (2 * SILHOUETTE_DRAWS * seen / pixels.max(1)).div_ceil(2);
        if upto > draws {
            total += (upto - draws) as i64 * groups.value_ppm(p, usize::from(label))?;
            draws = upto;
        }
    }
    total.checked_div(draws as i64).map(|mean| mean as i32)
}

/// The points that distances are taken to, cluster by cluster: all of them, or of a larger coreset every n-th, for they are
/// in the order of their cells, so that is a spread-out sample.
struct Groups<'p> {
    points: &'p [Point],
    inside_q12: u32,
    /// Positions in `points`, those of a cluster side by side.
    order: [u32; SILHOUETTE_POINTS_MAX],
    /// Of each cluster: the end of its positions in `order`, its pixels and their mean.
    clusters: Vec<(usize, u64, Q6), CLUSTERS_MAX>,
}

impl<'p> Groups<'p> {
    fn of(points: &'p [Point], assign: &[u8], clusters: usize, inside_q12: u32) -> Groups<'p> {
        let every = points.len().div_ceil(SILHOUETTE_POINTS_MAX);
        let sample = || (0..).zip(points.iter().zip(assign)).step_by(every.max(1));
        let (mut masses, mut counts) = ([Features::ZERO; CLUSTERS_MAX], [0; CLUSTERS_MAX]);
        for (_, (p, &label)) in sample() {
            let k = usize::from(label);
            if let (Some(mass), Some(n)) = (masses.get_mut(k), counts.get_mut(k)) {
                *mass = mass.plus(&p.features);
                *n += 1;
            }
        }
        let mut start = 0;
        let starts = masses.iter().zip(counts).take(clusters).map(|(mass, n)| {
            let cluster = (start, u64::from(mass.weight()), mass.mean_q6());
            start += n;
            cluster
        });
        let clusters = gather(starts);
        let mut groups = Groups { points, inside_q12, order: [0; SILHOUETTE_POINTS_MAX], clusters };
        for (at, (_, &label)) in sample() {
            if let Some((end, ..)) = groups.clusters.get_mut(usize::from(label)) {
                if let Some(place) = groups.order.get_mut(*end) {
                    *place = at;
                }
                *end += 1;
            }
        }
        groups
    }

    /// The sum of the distances from the pixels behind `p` to those of cluster `k`, in 1/128 levels.
    fn sum_q7(&self, p: &Point, k: usize) -> u64 {
        let end = |k: usize| self.clusters.get(k).map_or(0, |c| c.0);
        let of = self.order.get(k.checked_sub(1).map_or(0, end)..end(k)).unwrap_or(&[]);
        let points = of.iter().filter_map(|&at| self.points.get(at as usize));
        points.map(|q| u64::from(q.weight()) * distance_q7(p, q, self.inside_q12)).sum()
    }

    /// The silhouette of the pixels behind one point of cluster `own`; none if no other cluster has a point.
    ///
    /// A mean distance is no less than the distance to the mean (Jensen's inequality), so clusters are asked in the order
    /// of their means' distances, until the next can no longer be the nearest: most are never asked.
    fn value_ppm(&self, p: &Point, own: usize) -> Option<i64> {
        let others = self.clusters.get(own).map_or(0, |c| c.1.saturating_sub(1));
        let Some(inside) = (self.sum_q7(p, own) * 16).checked_div(others) else { return Some(0) };
        let others = self.clusters.iter().enumerate().map(|(k, c)| (k != own && c.1 > 0).then_some(c.2));
        let far = |mean: Option<Q6>| mean.map_or(u32::MAX, |mean| root(distance2_q12(p.rgb_q6, mean) * 4));
        let mut means_q7: Vec<u32, CLUSTERS_MAX> = gather(others.map(far));
        let mut nearest_q11 = None;
        while let Some((k, &mean)) = means_q7.iter().enumerate().min_by_key(|m| m.1) {
            // A sixty-fourth and half a level less, for roots and roundings.
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

/// The mean distance of two points' pixels in 1/128 levels, right to 0.1 % of what the head of the file says.
#[inline]
fn distance_q7(p: &Point, q: &Point, inside_q12: u32) -> u64 {
    // Less than 2^32: the sixteenths are of three variances that are each below 2^30.
    let spread = (p.spread_q12() >> 4) + (q.spread_q12() >> 4) + (inside_q12 >> 3);
    let mean2 = distance2_q12(p.rgb_q6, q.rgb_q6) + 9 * spread;
    u64::from(root(mean2.min((1 << 30) - 1) * 4))
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
    ((b as i64 - a as i64) * 1_000_000).checked_div(a.max(b) as i64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
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

    proptest! {
        #[test]
        fn clusters_that_are_not_asked_would_change_nothing(
            of in prop::collection::vec(([any::<u8>(), any::<u8>(), any::<u8>()], 1u32..90, 0u8..7), 2..300),
            inside_q12 in 0u64..90_000,
        ) {
            let points: Vec<Point> = of.iter().map(|&(px, n, _)| Point::pixel(px, n)).collect();
            let assign: Vec<u8> = of.iter().map(|o| o.2).collect();
            let groups = Groups::of(&points, &assign, 7, inside_q12 as u32);
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
