//! The exact silhouette of a clustered picture, by scikit-learn's definition.
//!
//! Inputs are unique colours with their labels and counts; results are the value of each, the means of the clusters, and the
//! score. It takes 8 bytes of memory a colour and cluster, and as many threads as are asked for. Equal pixels of one label have
//! equal values, so colours with counts give every pixel's value exactly.
//!
//! Rousseeuw (1987): for a pixel of cluster A, a is the mean distance to the other pixels of A, b the smallest of the
//! mean distances to the pixels of another cluster, s = (b - a) / max(a, b); s = 0 where A is that one pixel, and
//! where a = b = 0. With counts w: a_i = sum over A of w_j d_ij / (W_A - 1), for d_ii = 0 counts the pixel's twins.

pub mod census;
pub mod picture;
pub mod plot;
pub mod sampled;
pub mod sheet;

use firmware::color::Space;
use firmware::kernel::{self, TILE, Tile};
use ndarray::{Array2, ArrayBase, DataMut, Ix2, s};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
    /// It was cancelled: no caller waits for it any more.
    #[error("the computation was cancelled")]
    Cancelled,
}

/// Sums side by side, which are one vector on most machines.
const LANES: usize = 8;
/// Memory for the sums of all threads; with more clusters or colours fewer threads work. A quarter of the unit's MemoryMax.
const SUMS_BYTES_MAX: usize = 1 << 28;
/// Pairs of colours after which progress is worth a word.
const PAIRS_TO_SPEAK: u64 = 10_000_000_000;

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

/// The exact silhouette of `samples` with distances in `space`, on up to `threads` threads.
///
/// # Errors
/// [`SilhouetteError`].
pub fn exact(samples: &[Sample], space: Space, threads: usize) -> Result<Silhouette, SilhouetteError> {
    exact_until(samples, space, threads, &AtomicBool::new(false))
}

/// As [`exact`], until `cancel` is set.
///
/// # Errors
/// [`SilhouetteError`].
pub fn exact_until(
    samples: &[Sample],
    space: Space,
    threads: usize,
    cancel: &AtomicBool,
) -> Result<Silhouette, SilhouetteError> {
    let sorted = Sorted::new(samples, space);
    let pixels = sorted.check()?;
    let sums = sorted.distance_sums(threads.max(1), cancel);
    if cancel.load(Ordering::Relaxed) {
        return Err(SilhouetteError::Cancelled);
    }
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

/// Up to [`TILE`] samples of one cluster.
struct Part {
    cluster: usize,
    first: usize,
    len: usize,
    tile: Tile,
}

/// The samples by cluster, in tiles.
struct Sorted {
    order: Vec<usize>,
    clusters: Vec<Cluster>,
    parts: Vec<Part>,
}

impl Sorted {
    fn new(samples: &[Sample], space: Space) -> Sorted {
        let mut order: Vec<usize> = (0..samples.len()).filter(|&i| samples[i].count > 0).collect();
        order.sort_by_key(|&i| samples[i].label);
        let (mut clusters, mut parts, mut first) = (Vec::new(), Vec::new(), 0);
        for run in order.chunk_by(|&a, &b| samples[a].label == samples[b].label) {
            let range = first..first + run.len();
            for run in run.chunks(TILE) {
                let mut tile = Tile { red: [0.0; TILE], green: [0.0; TILE], blue: [0.0; TILE], weight: [0.0; TILE] };
                for (at, s) in run.iter().map(|&i| &samples[i]).enumerate() {
                    [tile.red[at], tile.green[at], tile.blue[at]] = space.of_rgb(s.rgb).map(|v| f32::from(v) / 64.0);
                    tile.weight[at] = s.count as f32;
                }
                parts.push(Part { cluster: clusters.len(), first, len: run.len(), tile });
                first += run.len();
            }
            let pixels = run.iter().map(|&i| u64::from(samples[i].count)).sum();
            clusters.push(Cluster { label: samples[run[0]].label, pixels, range });
        }
        Sorted { order, clusters, parts }
    }

    /// The number of pixels, if there is a silhouette.
    fn check(&self) -> Result<u64, SilhouetteError> {
        let pixels: u64 = self.clusters.iter().map(|c| c.pixels).sum();
        match self.clusters.len() as u64 {
            _ if pixels == 0 => Err(SilhouetteError::NoPixels),
            1 => Err(SilhouetteError::SingleCluster),
            k if k == pixels => Err(SilhouetteError::OnlySingles),
            _ => Ok(pixels),
        }
    }

    /// For every sample (rows) the sum of its distances to the pixels of every cluster (columns). Every pair of tiles is
    /// looked at once, for both directions. Which thread takes which rows of tiles is fixed, and so are the roundings.
    fn distance_sums(&self, threads: usize, cancel: &AtomicBool) -> Array2<f64> {
        let shape = (self.order.len(), self.clusters.len());
        let bytes = shape.0 * shape.1 * size_of::<f64>();
        let threads = threads.min(SUMS_BYTES_MAX / bytes.max(1)).max(1);
        let progress = Progress::new(self.order.len() as u64);
        let work = |thread: usize| {
            let mut sums = Array2::zeros(shape);
            for p in (thread..self.parts.len()).step_by(threads) {
                if cancel.load(Ordering::Relaxed) {
                    break;
                }
                self.rows_of(p, &mut sums);
                progress.add(self.parts[p].len as u64 * (self.order.len() - self.parts[p].first) as u64);
            }
            sums
        };
        let work = &work;
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|t| scope.spawn(move || work(t))).collect();
            // A thread that panicked is this thread's panic too.
            others.into_iter().fold(work(0), |sums, other| match other.join() {
                Ok(more) => sums + more,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }

    /// Adds the distances between the tile `p` and itself and all later ones.
    fn rows_of(&self, p: usize, sums: &mut Array2<f64>) {
        let (mut row_sums, mut none) = ([0.0; TILE], [0.0; TILE]);
        let rows = &self.parts[p];
        pair_sums(&rows.tile, &rows.tile, &mut row_sums, &mut none);
        add(sums, rows, rows.cluster, &row_sums);
        for columns in &self.parts[p + 1..] {
            let mut column_sums = [0.0; TILE];
            pair_sums(&rows.tile, &columns.tile, &mut row_sums, &mut column_sums);
            add(sums, rows, columns.cluster, &row_sums);
            add(sums, columns, rows.cluster, &column_sums);
        }
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

/// Adds a tile's sums to the column of a cluster.
fn add(sums: &mut ArrayBase<impl DataMut<Elem = f64>, Ix2>, part: &Part, cluster: usize, more: &[f32; TILE]) {
    let column = sums.slice_mut(s![part.first..part.first + part.len, cluster]);
    column.into_iter().zip(more).for_each(|(sum, &more)| *sum += f64::from(more));
}

fn pair_sums(rows: &Tile, columns: &Tile, row_sums: &mut [f32; TILE], column_sums: &mut [f32; TILE]) {
    if !kernel::pair_sums(rows, columns, row_sums, column_sums) {
        pair_sums_plain(rows, columns, row_sums, column_sums);
    }
}

/// What [`kernel::pair_sums`] is held to. Squared distances are whole numbers below 2^18, which 32 bits hold exactly: only
/// the root, its product and the sums are rounded, 16 terms a lane.
fn pair_sums_plain(rows: &Tile, columns: &Tile, row_sums: &mut [f32; TILE], column_sums: &mut [f32; TILE]) {
    let lanes = |of: &[f32; TILE], at: usize| -> [f32; LANES] { std::array::from_fn(|l| of[at + l]) };
    for (i, row_sum) in row_sums.iter_mut().enumerate() {
        let mut sum = [0.0f32; LANES];
        for at in (0..TILE).step_by(LANES) {
            let (r, g, b) = (lanes(&columns.red, at), lanes(&columns.green, at), lanes(&columns.blue, at));
            let w = lanes(&columns.weight, at);
            for l in 0..LANES {
                let (r, g, b) = (r[l] - rows.red[i], g[l] - rows.green[i], b[l] - rows.blue[i]);
                let distance = (r * r + g * g + b * b).sqrt();
                sum[l] += w[l] * distance;
                column_sums[at + l] += rows.weight[i] * distance;
            }
        }
        *row_sum = sum.iter().sum();
    }
}

/// Prints on standard error how far a long computation is, every tenth.
struct Progress {
    pairs: u64,
    done: AtomicU64,
}

impl Progress {
    fn new(colours: u64) -> Progress {
        Progress { pairs: colours * (colours + 1) / 2, done: AtomicU64::new(0) }
    }

    fn add(&self, pairs: u64) {
        let before = self.done.fetch_add(pairs, Ordering::Relaxed);
        if self.pairs >= PAIRS_TO_SPEAK && before * 10 / self.pairs < (before + pairs) * 10 / self.pairs {
            log::info!("silhouette: {} %", (before + pairs) * 100 / self.pairs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_vectors_sums_are_the_plain_ones_to_the_bit(
            colours in prop::collection::vec(([any::<u8>(), any::<u8>(), any::<u8>()], 1u32..900), 2 * TILE),
        ) {
            let tile = |of: &[([u8; 3], u32)]| Tile {
                red: std::array::from_fn(|i| f32::from(of[i].0[0])),
                green: std::array::from_fn(|i| f32::from(of[i].0[1])),
                blue: std::array::from_fn(|i| f32::from(of[i].0[2])),
                weight: std::array::from_fn(|i| of[i].1 as f32),
            };
            let (rows, columns) = (tile(&colours), tile(&colours[TILE..]));
            let mut plain = ([0.0; TILE], [1.5; TILE]);
            pair_sums_plain(&rows, &columns, &mut plain.0, &mut plain.1);
            let mut fast = ([0.0; TILE], [1.5; TILE]);
            pair_sums(&rows, &columns, &mut fast.0, &mut fast.1);
            prop_assert_eq!(fast, plain);
        }
    }

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
            let got = exact(&samples, Space::Rgb, threads).unwrap();
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
        let s = exact(&samples(&rgb, &[0, 0, 1]), Space::Rgb, 1).unwrap();
        assert_eq!(s.clusters[1], ClusterScore { label: 1, pixels: 1, mean: 0.0 });
        assert!(s.clusters[0].mean > 0.9);
    }

    #[test]
    fn what_has_no_silhouette_says_why_instead_of_a_number() {
        assert_eq!(exact(&[], Space::Rgb, 1), Err(SilhouetteError::NoPixels));
        let one = samples(&[1, 2, 3, 4, 5, 6], &[3, 3]);
        assert_eq!(exact(&one, Space::Rgb, 1), Err(SilhouetteError::SingleCluster));
        let singles = samples(&[1, 2, 3, 4, 5, 6], &[0, 1]);
        assert_eq!(exact(&singles, Space::Rgb, 1), Err(SilhouetteError::OnlySingles));
    }
}
