//! Silhouette: the exact score of a clustered picture, by scikit-learn's definition.
//!
//! Takes unique colours with their labels and counts. Gives the value of each, the means of the clusters, and the score.
//! Touches memory of 8 bytes a colour and cluster, and as many threads as it is told.
//! Never a sample: equal pixels of one label have equal values, so colours with counts give every pixel's value exactly.
//!
//! Rousseeuw (1987): for a pixel of cluster A, a is the mean distance to the other pixels of A, b the smallest of the
//! mean distances to the pixels of another cluster, s = (b - a) / max(a, b); s = 0 where A is that one pixel, and
//! where a = b = 0. With counts w: a_i = sum over A of w_j d_ij / (W_A - 1), for d_ii = 0 counts the pixel's twins.

use ndarray::{Array2, ArrayViewMut2, Axis};
use std::ops::Range;

/// A unique colour of one label, and how many pixels have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The colour.
    pub rgb: [u8; 3],
    /// Its cluster.
    pub label: u8,
    /// Pixels of that colour and label; at least 1.
    pub count: u32,
}

/// What one cluster scored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClusterScore {
    /// The cluster.
    pub label: u8,
    /// Its pixels.
    pub pixels: u64,
    /// The mean silhouette of its pixels, -1 to 1.
    pub mean: f64,
}

/// The silhouette of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Silhouette {
    /// The mean over all pixels, -1 to 1.
    pub score: f64,
    /// Pixels in all.
    pub pixels: u64,
    /// The clusters that have pixels, by label.
    pub clusters: Vec<ClusterScore>,
    /// The value of each sample, in the samples' order.
    pub values: Vec<f64>,
}

/// Why a picture has no silhouette.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SilhouetteError {
    /// There are no pixels.
    #[error("there are no pixels, so there is no silhouette")]
    NoPixels,
    /// All pixels have one label.
    #[error(
        "all pixels are in one cluster: a silhouette compares clusters, so it is undefined; \
         a smaller lambda gives more clusters"
    )]
    SingleCluster,
    /// Every pixel is a cluster of its own.
    #[error(
        "every pixel is a cluster of its own, so the silhouette is undefined; a larger lambda gives fewer clusters"
    )]
    OnlySingles,
}

/// Colours that are summed in 32-bit floats before the sum goes into 64 bits: keeps the rounding below 1e-7.
const CHUNK: usize = 128;
/// Sums side by side, so that the compiler can use vectors.
const LANES: usize = 16;

/// Counts unique (colour, label) pairs of a picture: `rgb` has three bytes a pixel, `labels` one.
pub fn samples(rgb: &[u8], labels: &[u8]) -> Vec<Sample> {
    let pixels = rgb.as_chunks::<3>().0.iter().zip(labels);
    let mut keys: Vec<u32> = pixels
        .map(|(px, &l)| u32::from(l) << 24 | u32::from(px[0]) << 16 | u32::from(px[1]) << 8 | u32::from(px[2]))
        .collect();
    keys.sort_unstable();
    let of = |run: &[u32]| {
        let [label, r, g, b] = run[0].to_be_bytes();
        Sample { rgb: [r, g, b], label, count: run.len() as u32 }
    };
    keys.chunk_by(|a, b| a == b).map(of).collect()
}

/// The exact silhouette of `samples`, on up to `threads` threads.
///
/// # Errors
/// [`SilhouetteError`].
pub fn exact(samples: &[Sample], threads: usize) -> Result<Silhouette, SilhouetteError> {
    let sorted = Sorted::new(samples);
    let pixels: u64 = sorted.clusters.iter().map(|c| c.pixels).sum();
    match sorted.clusters.len() as u64 {
        _ if pixels == 0 => return Err(SilhouetteError::NoPixels),
        1 => return Err(SilhouetteError::SingleCluster),
        k if k == pixels => return Err(SilhouetteError::OnlySingles),
        _ => {}
    }
    let sums = sorted.distance_sums(threads.max(1));
    let mut values = vec![0.0; samples.len()];
    for (row, &i) in sums.rows().into_iter().zip(&sorted.order) {
        values[i] = sorted.value(samples[i].label, row.iter().copied());
    }
    let clusters: Vec<ClusterScore> = sorted
        .clusters
        .iter()
        .map(|c| {
            let of = sorted.order[c.range.clone()].iter();
            let total: f64 = of.map(|&i| values[i] * f64::from(samples[i].count)).sum();
            ClusterScore { label: c.label, pixels: c.pixels, mean: total / c.pixels as f64 }
        })
        .collect();
    let total: f64 = clusters.iter().map(|c| c.mean * c.pixels as f64).sum();
    Ok(Silhouette { score: total / pixels as f64, pixels, clusters, values })
}

struct Cluster {
    label: u8,
    pixels: u64,
    range: Range<usize>,
}

/// The samples by cluster, channel by channel.
struct Sorted {
    order: Vec<usize>,
    clusters: Vec<Cluster>,
    red: Vec<f32>,
    green: Vec<f32>,
    blue: Vec<f32>,
    weight: Vec<f32>,
}

impl Sorted {
    fn new(samples: &[Sample]) -> Sorted {
        let mut order: Vec<usize> = (0..samples.len()).filter(|&i| samples[i].count > 0).collect();
        order.sort_by_key(|&i| samples[i].label);
        let mut clusters = Vec::new();
        let mut start = 0;
        for run in order.chunk_by(|&a, &b| samples[a].label == samples[b].label) {
            let range = start..start + run.len();
            start = range.end;
            let pixels = run.iter().map(|&i| u64::from(samples[i].count)).sum();
            clusters.push(Cluster { label: samples[run[0]].label, pixels, range });
        }
        let channel = |c: usize| order.iter().map(|&i| f32::from(samples[i].rgb[c])).collect();
        let (red, green, blue) = (channel(0), channel(1), channel(2));
        let weight = order.iter().map(|&i| samples[i].count as f32).collect();
        Sorted { order, clusters, red, green, blue, weight }
    }

    /// For every sample (rows) the sum of its distances to the pixels of every cluster (columns).
    fn distance_sums(&self, threads: usize) -> Array2<f64> {
        let mut sums = Array2::zeros((self.order.len(), self.clusters.len()));
        let rows = self.order.len().div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            for (part, block) in sums.axis_chunks_iter_mut(Axis(0), rows).enumerate() {
                scope.spawn(move || self.fill(part * rows, block));
            }
        });
        sums
    }

    fn fill(&self, first: usize, mut block: ArrayViewMut2<'_, f64>) {
        for (i, mut row) in (first..).zip(block.rows_mut()) {
            let from = [self.red[i], self.green[i], self.blue[i]];
            for (sum, cluster) in row.iter_mut().zip(&self.clusters) {
                *sum = self.distances(from, cluster.range.clone());
            }
        }
    }

    /// The sum of the weighted distances from one colour to those in `range`.
    fn distances(&self, from: [f32; 3], range: Range<usize>) -> f64 {
        let (red, green) = (&self.red[range.clone()], &self.green[range.clone()]);
        let (blue, weight) = (&self.blue[range.clone()], &self.weight[range]);
        let chunks = red.chunks(CHUNK).zip(green.chunks(CHUNK)).zip(blue.chunks(CHUNK)).zip(weight.chunks(CHUNK));
        chunks.map(|(((r, g), b), w)| f64::from(chunk_sum(from, r, g, b, w))).sum()
    }

    /// The value of a pixel of `label` whose distances to each cluster sum to `sums`.
    fn value(&self, label: u8, sums: impl Iterator<Item = f64>) -> f64 {
        let (mut inside, mut apart) = (0.0, f64::INFINITY);
        for (sum, c) in sums.zip(&self.clusters) {
            if c.label != label {
                apart = apart.min(sum / c.pixels as f64);
            } else if c.pixels > 1 {
                inside = sum / (c.pixels - 1) as f64;
            } else {
                return 0.0;
            }
        }
        let most = inside.max(apart);
        if most > 0.0 { (apart - inside) / most } else { 0.0 }
    }
}

/// Squared distances are whole numbers below 2^18, so that 32 bits hold them exactly; only the root is rounded.
#[inline]
fn chunk_sum(from: [f32; 3], red: &[f32], green: &[f32], blue: &[f32], weight: &[f32]) -> f32 {
    let distance = |r: f32, g: f32, b: f32| {
        let (r, g, b) = (r - from[0], g - from[1], b - from[2]);
        (r * r + g * g + b * b).sqrt()
    };
    let mut lanes = [0.0f32; LANES];
    let (r, r_rest) = red.as_chunks::<LANES>();
    let (g, g_rest) = green.as_chunks::<LANES>();
    let (b, b_rest) = blue.as_chunks::<LANES>();
    let (w, w_rest) = weight.as_chunks::<LANES>();
    for (((r, g), b), w) in r.iter().zip(g).zip(b).zip(w) {
        for i in 0..LANES {
            lanes[i] += w[i] * distance(r[i], g[i], b[i]);
        }
    }
    let rest = r_rest.iter().zip(g_rest).zip(b_rest).zip(w_rest);
    let rest: f32 = rest.map(|(((&r, &g), &b), &w)| w * distance(r, g, b)).sum();
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, pixel by pixel, in 64 bits.
    fn plain(pixels: &[([u8; 3], u8)]) -> Vec<f64> {
        let d = |a: [u8; 3], b: [u8; 3]| {
            a.iter().zip(b).map(|(&x, y)| (f64::from(x) - f64::from(y)).powi(2)).sum::<f64>().sqrt()
        };
        let mean = |x: [u8; 3], k: u8, own: bool| {
            let of: Vec<f64> = pixels.iter().filter(|p| p.1 == k).map(|p| d(p.0, x)).collect();
            of.iter().sum::<f64>() / (of.len() - usize::from(own)) as f64
        };
        let value = |&(x, k): &([u8; 3], u8)| {
            if pixels.iter().filter(|p| p.1 == k).count() == 1 {
                return 0.0;
            }
            let others: std::collections::BTreeSet<u8> = pixels.iter().map(|p| p.1).filter(|&o| o != k).collect();
            let b = others.into_iter().map(|o| mean(x, o, false)).fold(f64::INFINITY, f64::min);
            let a = mean(x, k, true);
            if a.max(b) > 0.0 { (b - a) / a.max(b) } else { 0.0 }
        };
        pixels.iter().map(value).collect()
    }

    proptest! {
        #[test]
        fn colours_with_counts_give_every_pixels_value(
            pixels in prop::collection::vec(([0u8..9, 0u8..9, 200u8..209], 0u8..4), 3..90), threads in 1usize..4,
        ) {
            let rgb: Vec<u8> = pixels.iter().flat_map(|p| p.0).collect();
            let labels: Vec<u8> = pixels.iter().map(|p| p.1).collect();
            let samples = samples(&rgb, &labels);
            let labels_used = labels.iter().collect::<std::collections::BTreeSet<_>>().len();
            prop_assume!(labels_used > 1 && labels_used < labels.len());
            let got = exact(&samples, threads).unwrap();
            let want = plain(&pixels);
            for (p, want) in pixels.iter().zip(&want) {
                let i = samples.iter().position(|s| (s.rgb, s.label) == *p).unwrap();
                prop_assert!((got.values[i] - want).abs() < 1e-6, "{} {}", got.values[i], want);
            }
            prop_assert!((got.score - want.iter().sum::<f64>() / want.len() as f64).abs() < 1e-6);
            prop_assert_eq!(got.pixels as usize, pixels.len());
        }
    }

    #[test]
    fn a_cluster_of_one_pixel_scores_zero() {
        let rgb = [0, 0, 0, 2, 0, 0, 99, 0, 0];
        let s = exact(&samples(&rgb, &[0, 0, 1]), 1).unwrap();
        assert_eq!(s.clusters[1], ClusterScore { label: 1, pixels: 1, mean: 0.0 });
        assert!(s.clusters[0].mean > 0.9);
    }

    #[test]
    fn what_has_no_silhouette_says_why_instead_of_a_number() {
        assert_eq!(exact(&[], 1), Err(SilhouetteError::NoPixels));
        let one = samples(&[1, 2, 3, 4, 5, 6], &[3, 3]);
        assert_eq!(exact(&one, 1), Err(SilhouetteError::SingleCluster));
        let singles = samples(&[1, 2, 3, 4, 5, 6], &[0, 1]);
        assert_eq!(exact(&singles, 1), Err(SilhouetteError::OnlySingles));
    }
}
