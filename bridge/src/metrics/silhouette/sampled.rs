//! The silhouette of many colours, estimated from pixels that are drawn at random, with the error bound of the estimate.
//!
//! The value of a drawn pixel is exact: its distances to all colours are summed. Only the mean over all pixels is estimated, by
//! drawing from each cluster in proportion to its pixels (with replacement). A cluster with few colours is computed in full. The
//! bound is 1.96 standard errors, so the exact score is within it in 95 of 100 draws. The draws are the same each time.

use super::{ClusterScore, Sample, Silhouette, SilhouetteError, Sorted, TILE, Tile, add, pair_sums};
use firmware::color::Space;
use ndarray::{Array2, ArrayViewMut2, Axis};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::{AtomicBool, Ordering};

/// Pixels that each cluster is drawn at least: fewer would not draw a knife. With many clusters these would be most of all, so
/// that each then has the smaller number.
const CLUSTER_PIXELS_MIN: (usize, usize) = (8, 24);
/// Standard errors of a bound that holds in 95 of 100 cases.
const ERRORS_OF_BOUND: f64 = 1.96;

/// An estimate.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// The colours that were drawn, with the number of draws as their counts.
    pub samples: Vec<Sample>,
    /// Their values; the score and the means are estimates for all pixels, and the numbers of pixels are exact.
    pub silhouette: Silhouette,
    /// How far the exact score is from the estimate at most, in 95 of 100 cases.
    pub error_bound: f64,
    /// Pixels that were drawn.
    pub drawn: u64,
}

/// Estimates the silhouette in `space` from about `pixels_max` pixels. Memory and time are in proportion to it.
///
/// # Errors
/// [`SilhouetteError`].
pub fn estimate(
    samples: &[Sample],
    space: Space,
    pixels_max: usize,
    cancel: &AtomicBool,
) -> Result<Estimate, SilhouetteError> {
    let sorted = Sorted::new(samples, space);
    let pixels = sorted.check()?;
    let mut rng = StdRng::seed_from_u64(0);
    // (place in the sorted order, draws), by cluster.
    let mut drawn: Vec<(usize, u32)> = Vec::new();
    let (least, most) = CLUSTER_PIXELS_MIN;
    let cluster_min = (pixels_max / sorted.clusters.len() / 2).clamp(least, most);
    let (mut clusters, mut is_full) = (Vec::new(), Vec::new());
    for (c, cluster) in sorted.clusters.iter().enumerate() {
        let share = (pixels_max as f64 * cluster.pixels as f64 / pixels as f64).round() as usize;
        let wanted = share.max(cluster_min);
        is_full.push(cluster.range.len() <= wanted);
        let before = drawn.len();
        if cluster.range.len() <= wanted {
            drawn.extend(cluster.range.clone().map(|i| (i, samples[sorted.order[i]].count)));
        } else {
            let mut tickets: Vec<u64> = (0..wanted).map(|_| rng.random_range(0..cluster.pixels)).collect();
            tickets.sort_unstable();
            let (mut at, mut end) = (cluster.range.start, u64::from(samples[sorted.order[cluster.range.start]].count));
            for ticket in tickets {
                while ticket >= end {
                    at += 1;
                    end += u64::from(samples[sorted.order[at]].count);
                }
                match drawn.last_mut().filter(|d| d.0 == at) {
                    Some(last) => last.1 += 1,
                    None => drawn.push((at, 1)),
                }
            }
        }
        clusters.extend(std::iter::repeat_n(c, drawn.len() - before));
    }
    let sums = distance_sums(&sorted, samples, space, &drawn, cancel);
    if cancel.load(Ordering::Relaxed) {
        return Err(SilhouetteError::Cancelled);
    }
    let sample = |&(i, draws): &(usize, u32)| Sample { count: draws, ..samples[sorted.order[i]] };
    let drawn: Vec<Sample> = drawn.iter().map(sample).collect();
    let rows = sums.rows().into_iter().zip(&drawn);
    let values: Vec<f64> = rows.map(|(row, s)| sorted.value(s.label, row.iter().copied())).collect();
    let (mut scores, mut variance) = (Vec::new(), 0.0);
    for (c, cluster) in sorted.clusters.iter().enumerate() {
        let of = || clusters.iter().zip(&drawn).zip(&values).filter(|((of, _), _)| **of == c);
        let n: f64 = of().map(|((_, s), _)| f64::from(s.count)).sum();
        let mean = of().map(|((_, s), v)| f64::from(s.count) * v).sum::<f64>() / n;
        if !is_full[c] {
            let squares: f64 = of().map(|((_, s), v)| f64::from(s.count) * (v - mean).powi(2)).sum();
            variance += (cluster.pixels as f64 / pixels as f64).powi(2) * squares / (n - 1.0) / n;
        }
        scores.push(ClusterScore { label: cluster.label, pixels: cluster.pixels, mean });
    }
    let score = scores.iter().map(|c| c.mean * c.pixels as f64).sum::<f64>() / pixels as f64;
    let count = drawn.iter().map(|s| u64::from(s.count)).sum();
    let silhouette = Silhouette { score, pixels, clusters: scores, values };
    Ok(Estimate { samples: drawn, silhouette, error_bound: ERRORS_OF_BOUND * variance.sqrt(), drawn: count })
}

/// For each drawn colour (rows) the sums of its distances to the pixels of each cluster (columns). Each thread has rows of its
/// own, so the result does not depend on their number.
fn distance_sums(
    sorted: &Sorted,
    samples: &[Sample],
    space: Space,
    drawn: &[(usize, u32)],
    cancel: &AtomicBool,
) -> Array2<f64> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let rows_each = drawn.len().div_ceil(TILE).div_ceil(threads).max(1) * TILE;
    let mut sums = Array2::zeros((drawn.len(), sorted.clusters.len()));
    std::thread::scope(|scope| {
        for (mut sums, drawn) in sums.axis_chunks_iter_mut(Axis(0), rows_each).zip(drawn.chunks(rows_each)) {
            scope.spawn(move || {
                for (t, rows) in drawn.chunks(TILE).enumerate() {
                    if cancel.load(Ordering::Relaxed) {
                        return;
                    }
                    let rows = rows.iter().map(|(i, _)| space.of_rgb(samples[sorted.order[*i]].rgb));
                    sums_of_tile(sorted, t * TILE, rows, &mut sums);
                }
            });
        }
    });
    sums
}

/// The same for up to [`TILE`] colours, given where they lie; the first one's row is `first`.
fn sums_of_tile(
    sorted: &Sorted,
    first: usize,
    rows: impl ExactSizeIterator<Item = [u16; 3]>,
    sums: &mut ArrayViewMut2<'_, f64>,
) {
    let len = rows.len();
    let mut tile = Tile { red: [0.0; TILE], green: [0.0; TILE], blue: [0.0; TILE], weight: [0.0; TILE] };
    for (at, point) in rows.enumerate() {
        [tile.red[at], tile.green[at], tile.blue[at]] = point.map(|v| f32::from(v) / 64.0);
    }
    let place = super::Part { cluster: 0, first, len, tile };
    for columns in &sorted.parts {
        let (mut row_sums, mut unused) = ([0.0; TILE], [0.0; TILE]);
        pair_sums(&place.tile, &columns.tile, &mut row_sums, &mut unused);
        add(sums, &place, columns.cluster, &row_sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::silhouette::exact;

    fn cloud(colours: u32) -> Vec<Sample> {
        let mut rng = StdRng::seed_from_u64(7);
        let mut one = |i: u32| {
            let label = (i % 5) as u8;
            let rgb = [0u8, 60, 110].map(|c| c.saturating_add(label * 20).saturating_add(rng.random_range(0..60)));
            Sample { rgb, label, count: rng.random_range(1..9) }
        };
        (0..colours).map(&mut one).collect()
    }

    #[test]
    fn the_exact_score_is_within_the_bound_and_more_pixels_bring_it_nearer() {
        let samples = cloud(6_000);
        let want = exact(&samples, Space::Rgb, 2).unwrap();
        let mut last = f64::INFINITY;
        for pixels in [200, 1_000, 4_000] {
            let got = estimate(&samples, Space::Rgb, pixels, &AtomicBool::new(false)).unwrap();
            // Twice the bound: one draw in twenty is outside of it.
            assert!((got.silhouette.score - want.score).abs() <= 2.0 * got.error_bound, "{pixels}: {got:?}");
            assert!(got.error_bound < last, "{} pixels: {}", pixels, got.error_bound);
            last = got.error_bound;
            assert_eq!(got.silhouette.pixels, want.pixels);
        }
        // A value is exact, whichever pixel was drawn.
        let got = estimate(&samples, Space::Rgb, 500, &AtomicBool::new(false)).unwrap();
        for (s, v) in got.samples.iter().zip(&got.silhouette.values).take(50) {
            let near = samples.iter().zip(&want.values).filter(|(o, _)| (o.rgb, o.label) == (s.rgb, s.label));
            assert!(near.into_iter().any(|(_, w)| (v - w).abs() < 1e-6), "{s:?}");
        }
    }

    #[test]
    fn distances_are_those_of_the_space() {
        let samples = cloud(3_000);
        let never = AtomicBool::new(false);
        let want = crate::metrics::silhouette::exact_until(&samples, Space::Cielab, 1, &never).unwrap();
        let got = estimate(&samples, Space::Cielab, 1_000, &never).unwrap();
        for (s, v) in got.samples.iter().zip(&got.silhouette.values) {
            let near = samples.iter().zip(&want.values).filter(|(o, _)| (o.rgb, o.label) == (s.rgb, s.label));
            assert!(near.into_iter().any(|(_, w)| (v - w).abs() < 1e-4), "{s:?}: {v}");
        }
        assert!(
            (got.silhouette.score - want.score).abs() <= 2.0 * got.error_bound,
            "{} {}",
            got.silhouette.score,
            want.score
        );
    }

    #[test]
    fn few_colours_are_computed_in_full_and_a_cancelled_estimate_ends() {
        let samples = cloud(100);
        let got = estimate(&samples, Space::Rgb, 100_000, &AtomicBool::new(false)).unwrap();
        assert!((got.silhouette.score - exact(&samples, Space::Rgb, 1).unwrap().score).abs() < 1e-6);
        assert_eq!(got.error_bound, 0.0);
        assert_eq!(estimate(&samples, Space::Rgb, 10, &AtomicBool::new(true)), Err(SilhouetteError::Cancelled));
    }
}
