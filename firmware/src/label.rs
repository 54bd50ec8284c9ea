//! Labelling: every pixel to its nearest centroid, exactly, with the exact cost of the whole.
//!
//! Inputs are a frame, centroids and lambda. Results are a label byte for every pixel, the sum of squared distances, the
//! pixels of each label, and the pixels farther than lambda from their centroid, collected in [`FarPixels`]. Distances are
//! integers, and a tie goes to the lowest label, so every machine gives the same bits. Masked pixels get [`NO_LABEL`] and
//! count nowhere.

mod lab;

pub(crate) use lab::label_in_lab;

use crate::color::{Features, Q6, q6};
use crate::frame::Frame;
use crate::kernel::{self, LABEL_BLOCK_PX, Packed, Tally, Targets, for_each_nearest, targets};
use crate::limits::CLUSTERS_MAX;

/// The label of a masked pixel.
pub const NO_LABEL: u8 = u8::MAX;
const _: () = assert!(CLUSTERS_MAX <= NO_LABEL as usize);

/// Totals of a labelled frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Labelled {
    /// Sum over all pixels of the squared distance to their centroid, in 1/4096 squared levels.
    pub sse_q12: u64,
    /// The largest of these squared distances.
    pub max_distance2_q12: u32,
    /// Pixels of each label.
    pub pixels: [u32; CLUSTERS_MAX],
    /// Pixels farther than lambda from their centroid.
    pub beyond_px: u32,
}

/// Cells of 16 levels a side in which far pixels are collected: promise 1 counts the support of a colour in them.
pub const FAR_CELLS: usize = 1 << 12;

/// The pixels farther than lambda from their centroid, by cells of 16 levels a side.
///
/// It borrows the first [`FAR_CELLS`] entries of a histogram, which are zero outside of labelling.
#[derive(Debug)]
pub struct FarPixels<'h> {
    cells: &'h mut [Features],
    pixels: u32,
}

impl<'h> FarPixels<'h> {
    /// Uses the front of `histogram`, which must be all zeroes.
    pub fn new(histogram: &'h mut [Features]) -> FarPixels<'h> {
        let len = histogram.len().min(FAR_CELLS);
        FarPixels { cells: histogram.get_mut(..len).unwrap_or(&mut []), pixels: 0 }
    }

    /// The cells with at least `w_open` far pixels, as the sums of these pixels: each is a missed colour.
    pub fn missed(&self, w_open: u32) -> impl Iterator<Item = &Features> {
        let any = if self.pixels >= w_open { &*self.cells } else { &[] };
        any.iter().filter(move |cell| cell.weight() >= w_open)
    }

    /// Sets all cells to zero.
    pub fn clear(&mut self) {
        if self.pixels > 0 {
            self.cells.fill(Features::ZERO);
            self.pixels = 0;
        }
    }

    fn add(&mut self, rgb: [u8; 3]) {
        self.pixels += 1;
        if let Some(cell) = self.cells.get_mut(kernel::key5(rgb) >> 3) {
            *cell = cell.plus(&Features::of_pixels(rgb, 1));
        }
    }
}

/// One labelling under way.
struct Pass<'f, 'h> {
    lambda2_q12: u32,
    targets: Targets,
    packed: Option<Packed>,
    tally: Tally,
    found: Labelled,
    far: &'f mut FarPixels<'h>,
}

/// Labels every pixel of `frame` and collects the pixels farther than `lambda_q6` (in 1/64 levels) in `far`.
///
/// `labels` holds a byte a pixel, `row` three bytes a pixel of a row. Pixels beyond a slice that is too short stay without
/// a label; `Node` checks the sizes before.
#[inline(never)]
pub fn label(
    frame: &Frame<'_>,
    centroids: &[Q6],
    lambda_q6: u32,
    row: &mut [u8],
    labels: &mut [u8],
    far: &mut FarPixels<'_>,
) -> Labelled {
    far.clear();
    let lambda2_q12 = lambda_q6.saturating_mul(lambda_q6);
    let targets = targets(centroids.iter().copied());
    let packed = Packed::of(&targets, lambda2_q12);
    let found = Labelled { sse_q12: 0, max_distance2_q12: 0, pixels: [0; CLUSTERS_MAX], beyond_px: 0 };
    let mut pass = Pass { lambda2_q12, targets, packed, tally: Tally::EMPTY, found, far };
    let (width, mut vector_px) = (frame.width().max(1), 0);
    for (y, labels) in labels.chunks_mut(width).enumerate().take(frame.height()) {
        let pixels = frame.counted_row(y, row).as_chunks::<3>().0;
        let spans = frame.visible_spans(y);
        if spans.iter().map(|span| span.pixels()).sum::<usize>() < labels.len() {
            labels.fill(NO_LABEL);
        }
        for columns in spans.iter().map(|span| span.columns()) {
            let pixels = pixels.get(columns.clone()).unwrap_or(&[]);
            let labels = labels.get_mut(columns).unwrap_or(&mut []);
            let done = pass.label_blocks(pixels, labels);
            vector_px += done;
            pass.label_rest(pixels.get(done..).unwrap_or(&[]), labels.get_mut(done..).unwrap_or(&mut []));
        }
    }
    if vector_px > 0 {
        pass.add_blocks(labels.get(..width * frame.height()).unwrap_or(labels));
    }
    pass.found.beyond_px = pass.far.pixels;
    pass.found
}

impl Pass<'_, '_> {
    /// Labels as many whole blocks as the row has, if this machine has a vector version. Returns the pixels labelled.
    fn label_blocks(&mut self, pixels: &[[u8; 3]], labels: &mut [u8]) -> usize {
        let Some(packed) = &self.packed else { return 0 };
        let (blocks, label_blocks) = (pixels.as_chunks::<LABEL_BLOCK_PX>().0, labels.as_chunks_mut().0);
        self.tally.far_blocks.clear();
        if !kernel::label(blocks, packed, label_blocks, &mut self.tally) {
            return 0;
        }
        for &(n, far) in &self.tally.far_blocks {
            let Some(block) = blocks.get(usize::from(n)) else { continue };
            block.iter().enumerate().filter(|(i, _)| far >> i & 1 == 1).for_each(|(_, &rgb)| self.far.add(rgb));
        }
        blocks.len().min(label_blocks.len()) * LABEL_BLOCK_PX
    }

    /// Labels pixels that no vector version takes.
    fn label_rest(&mut self, pixels: &[[u8; 3]], labels: &mut [u8]) {
        let (found, far, lambda2) = (&mut self.found, &mut *self.far, self.lambda2_q12);
        for_each_nearest(
            pixels,
            |&rgb| q6(rgb),
            &self.targets,
            |i, &rgb, nearest, distance2| {
                if let Some(label) = labels.get_mut(i) {
                    *label = nearest as u8;
                }
                if let Some(n) = found.pixels.get_mut(nearest) {
                    *n += 1;
                }
                found.sse_q12 += u64::from(distance2);
                found.max_distance2_q12 = found.max_distance2_q12.max(distance2);
                if distance2 > lambda2 {
                    far.add(rgb);
                }
            },
        );
    }

    /// Adds the totals of the blocks that the vector version labelled.
    fn add_blocks(&mut self, labels: &[u8]) {
        let Some(packed) = &self.packed else { return };
        let mut pixels = [0; CLUSTERS_MAX];
        count(labels, pixels.get_mut(..self.targets.len()).unwrap_or(&mut []));
        let by_vectors = core::array::from_fn(|l| pixels[l].saturating_sub(self.found.pixels[l]));
        let (sse_q12, max) = packed.costs(&self.tally, &by_vectors);
        self.found.sse_q12 += sse_q12;
        self.found.max_distance2_q12 = self.found.max_distance2_q12.max(max);
        self.found.pixels = pixels;
    }
}

/// Adds to `counts[l]` how often label l is in `labels`.
pub(crate) fn count(labels: &[u8], counts: &mut [u32]) {
    for &l in kernel::count_labels(labels, counts) {
        if let Some(n) = counts.get_mut(usize::from(l)) {
            *n += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::color::distance2_q12;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec;

    proptest! {
        #[test]
        fn labels_costs_and_far_pixels_are_the_brute_force_ones_ties_included(
            rgb in prop_oneof![prop::collection::vec(0u8..6, 3..600), prop::collection::vec(any::<u8>(), 3..900)],
            centroids in prop::collection::vec([0u16..16_321, 0u16..400, 0u16..16_321], 1..20),
            lambda_q6 in 1u32..20_000, w_open in 1u32..5,
        ) {
            let n = rgb.len() / 3;
            let width = if n.is_multiple_of(7) { 7 } else { n };
            let frame = Frame::rgb(width, n / width, &rgb[..n * 3]).unwrap();
            let (mut labels, mut hist) = (vec![0; n], vec![Features::ZERO; FAR_CELLS]);
            let mut far = FarPixels::new(&mut hist);
            let found = label(&frame, &centroids, lambda_q6, &mut [], &mut labels, &mut far);
            let (mut sse, mut max, mut pixels) = (0u64, 0, [0; CLUSTERS_MAX]);
            let mut cells: BTreeMap<[u8; 3], u32> = BTreeMap::new();
            for (px, &l) in rgb.chunks(3).zip(&labels) {
                let color = q6([px[0], px[1], px[2]]);
                let brute = (0..centroids.len()).min_by_key(|&k| distance2_q12(color, centroids[k])).unwrap();
                prop_assert_eq!(usize::from(l), brute);
                let d = distance2_q12(color, centroids[brute]);
                sse += u64::from(d);
                max = max.max(d);
                pixels[brute] += 1;
                if d > lambda_q6 * lambda_q6 {
                    *cells.entry([px[0] >> 4, px[1] >> 4, px[2] >> 4]).or_default() += 1;
                }
            }
            let beyond_px = cells.values().sum();
            prop_assert_eq!(found, Labelled { sse_q12: sse, max_distance2_q12: max, pixels, beyond_px });
            prop_assert_eq!(far.missed(w_open).count(), cells.values().filter(|&&n| n >= w_open).count());
            far.clear();
            prop_assert!(hist.iter().all(|cell| *cell == Features::ZERO));
        }
    }

    #[test]
    fn the_farthest_corners_stay_inside_their_integers() {
        let frame = Frame::rgb(1, 1, &[255, 255, 255]).unwrap();
        let mut hist = [Features::ZERO; 1];
        let found = label(&frame, &[[0, 0, 0]], 64, &mut [], &mut [0], &mut FarPixels::new(&mut hist));
        assert_eq!((found.max_distance2_q12, found.beyond_px), (3 * (255 * 64) * (255 * 64), 1));
    }
}
