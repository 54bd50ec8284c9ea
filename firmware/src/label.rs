//! Label: every pixel to its nearest centroid, exactly, with the exact cost of the whole.
//!
//! Takes a frame and centroids. Gives a label byte for every pixel, the sum of squared distances, and counts.
//! Touches the labels and the row buffer that it is lent.
//! Never approximates: the nearest centroid in integers, the lowest label on a tie.

use crate::frame::Frame;
use crate::limits::CLUSTERS_MAX;
#[cfg(feature = "simd")]
use crate::nearest::LABEL_BLOCK_PX;
use crate::nearest::{BLOCK, Block, Packed, Tally, targets};

/// A colour in 1/64 levels: red, green, blue, 0 to 16,320.
pub type Q6 = [u16; 3];

/// The squared distance of two colours in 1/4096 squared levels, at most 799,027,200.
#[inline]
pub fn distance2_q12(a: Q6, b: Q6) -> u32 {
    a.iter().zip(b).map(|(&x, y)| u32::from(x.abs_diff(y))).map(|d| d * d).sum()
}

/// What labelling found besides the labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Labelled {
    /// Sum over all pixels of the squared distance to their centroid, in 1/4096 squared levels.
    pub sse_q12: u64,
    /// The largest of these squared distances.
    pub max_distance2_q12: u32,
    /// Pixels of each label.
    pub pixels: [u32; CLUSTERS_MAX],
}

impl Labelled {
    /// Writes a block's labels out and adds what they cost; `labels` is as long as the block is filled.
    fn take(&mut self, block: &Block, labels: &mut [u8]) {
        let distances = block.distance2.get(..labels.len()).unwrap_or(&block.distance2);
        // A block's sum needs 36 bits, so that it can be summed in vectors of 64.
        self.sse_q12 += distances.iter().map(|&d| d as u64).sum::<u64>();
        let max = distances.iter().copied().max().unwrap_or(0);
        self.max_distance2_q12 = self.max_distance2_q12.max(max as u32);
        for (label, &nearest) in labels.iter_mut().zip(&block.nearest) {
            *label = nearest as u8;
            if let Some(n) = self.pixels.get_mut(nearest as usize) {
                *n += 1;
            }
        }
    }

    /// Adds the blocks that the vectors labelled, to what `take` took of the same rows.
    fn add(&mut self, packed: &Packed, tally: &Tally, labels: &[u8], k: usize) {
        let mut pixels = [0; CLUSTERS_MAX];
        count(labels, pixels.get_mut(..k).unwrap_or(&mut []));
        let of_vectors = core::array::from_fn(|l| pixels[l].saturating_sub(self.pixels[l]));
        let (sse_q12, max) = packed.costs(tally, &of_vectors);
        self.sse_q12 += sse_q12;
        self.max_distance2_q12 = self.max_distance2_q12.max(max);
        self.pixels = pixels;
    }
}

/// Labels every pixel of `frame`. `labels` holds a byte a pixel, `row` three bytes a pixel of a row.
/// Pixels beyond a slice that is too short stay without a label; `Node` checks the sizes before.
pub fn label(frame: &Frame<'_>, centroids: &[Q6], row: &mut [u8], labels: &mut [u8]) -> Labelled {
    let mut found = Labelled { sse_q12: 0, max_distance2_q12: 0, pixels: [0; CLUSTERS_MAX] };
    let (mut block, targets) = (Block::EMPTY, targets(centroids.iter().copied()));
    let (packed, mut tally) = (Packed::of(&targets), Tally::EMPTY);
    let (width, mut by_vectors_px) = (frame.width().max(1), 0);
    for (y, labels) in labels.chunks_mut(width).enumerate().take(frame.height()) {
        let pixels = frame.row(y, row).as_chunks::<3>().0;
        let done = packed.as_ref().map_or(0, |packed| by_vectors(pixels, packed, labels, &mut tally));
        by_vectors_px += done;
        let (pixels, labels) = (pixels.get(done..).unwrap_or(&[]), labels.get_mut(done..).unwrap_or(&mut []));
        for (pixels, labels) in pixels.chunks(BLOCK).zip(labels.chunks_mut(BLOCK)) {
            block.fill_rgb(pixels);
            block.find(&targets);
            found.take(&block, labels);
        }
    }
    if let Some(packed) = packed.filter(|_| by_vectors_px > 0) {
        let labelled = labels.get(..width * frame.height()).unwrap_or(labels);
        found.add(&packed, &tally, labelled, targets.len());
    }
    found
}

/// Adds to `counts[l]` how often label l is in `labels`.
fn count(labels: &[u8], counts: &mut [u32]) {
    #[cfg(feature = "simd")]
    let labels = crate::simd::count_labels(labels, counts);
    for &l in labels {
        if let Some(n) = counts.get_mut(usize::from(l)) {
            *n += 1;
        }
    }
}

/// Labels as many whole blocks as there are, if this machine can, and gives how many pixels that were.
#[cfg(feature = "simd")]
fn by_vectors(pixels: &[[u8; 3]], packed: &Packed, labels: &mut [u8], tally: &mut Tally) -> usize {
    let (pixels, labels) = (pixels.as_chunks().0, labels.as_chunks_mut().0);
    if crate::simd::label(pixels, packed, labels, tally) { pixels.len().min(labels.len()) * LABEL_BLOCK_PX } else { 0 }
}

#[cfg(not(feature = "simd"))]
fn by_vectors(_: &[[u8; 3]], _: &Packed, _: &mut [u8], _: &mut Tally) -> usize {
    0
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    proptest! {
        #[test]
        fn every_label_is_the_brute_force_one_ties_included(
            rgb in prop::collection::vec(0u8..6, 3..600),
            centroids in prop::collection::vec([0u16..400, 0u16..400, 0u16..400], 1..20),
        ) {
            let n = rgb.len() / 3;
            let width = if n.is_multiple_of(7) { 7 } else { n };
            let frame = Frame::rgb(width, n / width, &rgb[..n * 3]).unwrap();
            let mut labels = vec![0; n];
            let found = label(&frame, &centroids, &mut [], &mut labels);
            let (mut sse, mut max, mut pixels) = (0u64, 0, [0; CLUSTERS_MAX]);
            for (px, &l) in rgb.chunks(3).zip(&labels) {
                let q6 = [u16::from(px[0]) << 6, u16::from(px[1]) << 6, u16::from(px[2]) << 6];
                let brute = (0..centroids.len()).min_by_key(|&k| distance2_q12(q6, centroids[k])).unwrap();
                prop_assert_eq!(usize::from(l), brute);
                let d = distance2_q12(q6, centroids[brute]);
                sse += u64::from(d);
                max = max.max(d);
                pixels[brute] += 1;
            }
            prop_assert_eq!(found, Labelled { sse_q12: sse, max_distance2_q12: max, pixels });
        }
    }

    #[test]
    fn the_farthest_corners_stay_inside_their_integers() {
        let frame = Frame::rgb(1, 1, &[255, 255, 255]).unwrap();
        let found = label(&frame, &[[0, 0, 0]], &mut [], &mut [0]);
        assert_eq!(found.max_distance2_q12, 3 * (255 * 64) * (255 * 64));
    }
}
