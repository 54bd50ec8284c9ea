//! Labelling in CIELAB: by histogram cells, and pixel by pixel only in cells that two clusters share.
//!
//! Inputs are those of [`super::label`], the frame's histogram cells in CIELAB, and a byte for each cell of the histogram.
//! Results are the same, but for the cost: pixels of a cell that one cluster has wholly count at the mean of their cell, and with
//! the scatter that pixels have in cells of this frame, which is known in RGB. Labels, numbers of pixels, pixels beyond lambda
//! and the largest distance are exact: those of every pixel, converted by [`crate::color::Space::of_rgb`]. A test compares them.
//!
//! A cluster has a cell wholly if it is nearest to all eight corners: the colours that are nearest to one centroid are a convex
//! set. In CIELAB a cell's sides bend a little, so the corners are taken half a level outside of the cell.

use super::{FarPixels, Labelled, NO_LABEL, count};
use crate::color::{LEVEL_Q6_MAX, Q6, Xyz, distance2_q12, plus, xyz_of_levels, xyz_of_rgb};
use crate::coreset::{self, Point};
use crate::frame::Frame;
use crate::gather::gather;
use crate::kernel::{self, LabBlock, Targets, for_each_nearest, targets};
use crate::limits::CLUSTERS_MAX;
use heapless::Vec;

/// In the table of cells: the pixels are decided one by one.
const SHARED: u8 = NO_LABEL;
/// Cells of fewer pixels are decided pixel by pixel: eight corners cost as much as eight pixels.
const WHOLE_PX_MIN: u32 = 8;
/// Pixels and corners that are converted at once.
const BATCH: usize = LabBlock::LEN_MAX;
/// Pixels of a row that are looked up together, so that most batches of those in shared cells are full.
const PART_PX: usize = 512;
/// Labels that are looked at together: those of a number of 64 bits.
const TOGETHER_PX: usize = 8;
/// For each set of eight places its members in order.
static PLACES_OF_BITS: [[u16; TOGETHER_PX]; 256] = {
    let (mut sets, mut bits) = ([[0; TOGETHER_PX]; 256], 0);
    while bits < 256 {
        let (mut place, mut len) = (0, 0);
        while place < TOGETHER_PX {
            if bits >> place & 1 == 1 {
                sets[bits][len] = place as u16;
                len += 1;
            }
            place += 1;
        }
        bits += 1;
    }
    sets
};
/// Corners of a cell.
const CORNERS: usize = 8;
/// Edges between the cells of a channel, at most.
const EDGES_MAX: usize = 33;
/// How far the farthest pixel of a cell may be nearer than the cell's mean, in 1/64 Delta E: means are those in RGB.
const MEAN_SLACK_Q6: u32 = 16;

/// Labels every pixel of `frame`, as [`super::label`] does, in CIELAB. `cells` are all cells of the frame's histogram, `inside_q12`
/// is the mean squared distance in RGB of a pixel to its cell's mean. The memory is a row, the labels, and a byte for each cell
/// that the histogram can have.
#[inline(never)]
pub(crate) fn label_in_lab(
    frame: &Frame<'_>,
    (cells, inside_q12): (&[Point], u64),
    centroids: &[Q6],
    lambda_q6: u32,
    memory: (&mut [u8], &mut [u8], &mut [u8]),
    far: &mut FarPixels<'_>,
) -> Labelled {
    let (row, labels, table) = memory;
    far.clear();
    let targets = targets(centroids.iter().copied());
    let found = Labelled { sse_q12: 0, max_distance2_q12: 0, pixels: [0; CLUSTERS_MAX], beyond_px: 0 };
    let lambda2_q12 = lambda_q6.saturating_mul(lambda_q6);
    let mut pass = Pass { lambda2_q12, targets, found, far, block: LabBlock::EMPTY };
    let bits = pass.decide_cells(cells, inside_q12, centroids, table);
    let width = frame.width().max(1);
    for y in 0..frame.height() {
        let pixels = frame.counted_row(y, row).as_chunks::<3>().0;
        let spans = frame.visible_spans(y);
        let labels = labels.get_mut(y * width..(y + 1) * width).unwrap_or(&mut []);
        if spans.iter().map(|span| span.pixels()).sum::<usize>() < width {
            labels.fill(NO_LABEL);
        }
        for columns in spans.iter().map(|span| span.columns()) {
            let pixels = pixels.get(columns.clone()).unwrap_or(&[]);
            let labels = labels.get_mut(columns).unwrap_or(&mut []);
            for (pixels, labels) in pixels.chunks(PART_PX).zip(labels.chunks_mut(PART_PX)) {
                pass.label_part(pixels, (table, bits), labels);
            }
        }
    }
    count(
        labels.get(..width * frame.height()).unwrap_or(&[]),
        pass.found.pixels.get_mut(..centroids.len()).unwrap_or(&mut []),
    );
    pass.found.beyond_px = pass.far.pixels;
    pass.found
}

struct Pass<'f, 'h> {
    lambda2_q12: u32,
    targets: Targets,
    found: Labelled,
    far: &'f mut FarPixels<'h>,
    block: LabBlock,
}

impl Pass<'_, '_> {
    /// Writes the label of each cell that one cluster has wholly, and adds its cost. Returns the bits a channel of the cells.
    fn decide_cells(&mut self, cells: &[Point], inside_q12: u64, centroids: &[Q6], table: &mut [u8]) -> u32 {
        table.fill(SHARED);
        let bits = coreset::bits(table.len()).unwrap_or(5);
        let mut farthest2 = 0;
        for_each_nearest(
            cells,
            |p| p.position_q6,
            &self.targets,
            |_, _, _, distance2| farthest2 = distance2.max(farthest2),
        );
        // A cell that may have the farthest pixel is not wholly decided, nor is one with pixels beyond lambda.
        let limit_q6 = farthest2.isqrt().saturating_sub(MEAN_SLACK_Q6);
        let within2 = self.lambda2_q12.min(limit_q6 * limit_q6);
        let edges = edges(bits);
        let mut whole = cells.iter().filter(|cell| cell.weight() >= WHOLE_PX_MIN);
        loop {
            let batch: Vec<&Point, { BATCH / CORNERS }> = gather(whole.by_ref());
            if batch.is_empty() {
                return bits;
            }
            for cell in &batch {
                self.block.extend(corners(levels_of(cell.cell()), &edges).into_iter());
            }
            self.block.find(&self.targets);
            for (n, (cell, found)) in batch.iter().zip(self.block.found::<CORNERS>()).enumerate() {
                if let Some(label) = found.label_of_all(within2)
                    && let (Some(slot), Some(&centroid)) =
                        (table.get_mut(cell.cell()), centroids.get(usize::from(label)))
                {
                    *slot = label;
                    let sides =
                        [1, 2, 4].map(|corner| (self.block.point(CORNERS * n), self.block.point(CORNERS * n + corner)));
                    let each_q12 =
                        u64::from(distance2_q12(cell.position_q6, centroid)) + scatter_q12(sides, inside_q12, bits);
                    self.found.sse_q12 += each_q12 * u64::from(cell.weight());
                }
            }
        }
    }

    /// Labels at most [`PART_PX`] pixels: by their cells, and those of shared cells by themselves.
    fn label_part(&mut self, pixels: &[[u8; 3]], (table, bits): (&[u8], u32), labels: &mut [u8]) {
        let (mut keys, mut places) = ([0; PART_PX], [0; PART_PX + TOGETHER_PX]);
        kernel::keys5(pixels, &mut keys);
        match (table.first_chunk::<{ 1 << 15 }>(), table.first_chunk::<{ 1 << 12 }>()) {
            (Some(table), _) if bits == 5 => label_whole::<5, _>(&keys, table, labels),
            (_, Some(table)) => label_whole::<4, _>(&keys, table, labels),
            _ => return,
        }
        let len = places_shared(labels, &mut places);
        for places in places.get(..len).unwrap_or(&[]).chunks(BATCH) {
            self.label_shared(pixels, places, labels);
        }
    }

    /// Labels the pixels at these places, at most [`BATCH`] of them, each by itself.
    fn label_shared(&mut self, pixels: &[[u8; 3]], places: &[u16], labels: &mut [u8]) {
        let Pass { lambda2_q12, targets, found, far, block } = self;
        let pixel = |&n: &u16| pixels.get(usize::from(n)).copied().unwrap_or_default();
        block.extend(places.iter().map(|n| xyz_of_rgb(pixel(n))));
        block.find(targets);
        for (&n, nearest) in places.iter().zip(block.nearest()) {
            if let Some(label) = labels.get_mut(usize::from(n)) {
                *label = nearest;
            }
        }
        found.sse_q12 += block.distances2().map(u64::from).sum::<u64>();
        let farthest2 = block.distances2().fold(0, u32::max);
        found.max_distance2_q12 = found.max_distance2_q12.max(farthest2);
        if farthest2 > *lambda2_q12 {
            let beyond = places.iter().zip(block.distances2()).filter(|p| p.1 > *lambda2_q12);
            beyond.for_each(|(n, _)| far.add(pixel(n)));
        }
    }
}

/// Gives pixels the labels of their cells.
#[inline]
fn label_whole<const BITS: u32, const CELLS: usize>(keys: &[u16; PART_PX], table: &[u8; CELLS], labels: &mut [u8]) {
    for (label, &key) in labels.iter_mut().zip(keys) {
        *label = table[usize::from(key >> (3 * (5 - BITS))) % CELLS];
    }
}

/// Lists the places of the pixels in shared cells, in order. Returns how many there are.
#[inline]
fn places_shared(labels: &[u8], places: &mut [u16; PART_PX + TOGETHER_PX]) -> usize {
    let (eights, rest) = labels.as_chunks::<TOGETHER_PX>();
    let mut len = 0;
    // Which pixels are shared is not predictable, so eight places are written without a branch, of which the first ones count.
    for (start, &eight) in (0..).step_by(TOGETHER_PX).zip(eights) {
        let shared = ones_of_shared(eight);
        // The first factor gathers the bits in the top byte, the second adds them up in it.
        let bits = (shared.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
        if let Some(slots) = places.get_mut(len..len + TOGETHER_PX) {
            slots.iter_mut().zip(&PLACES_OF_BITS[usize::from(bits)]).for_each(|(slot, place)| *slot = start + place);
        }
        len += (shared.wrapping_mul(0x0101_0101_0101_0101) >> 56) as usize;
    }
    for (place, _) in (0..).zip(labels).skip(labels.len() - rest.len()).filter(|(_, label)| **label == SHARED) {
        if let Some(slot) = places.get_mut(len) {
            *slot = place;
        }
        len += 1;
    }
    len
}

/// Eight labels as bytes of a number, the first lowest: 1 where one is [`SHARED`], else 0.
#[inline]
fn ones_of_shared(labels: [u8; TOGETHER_PX]) -> u64 {
    const _: () = assert!(SHARED == u8::MAX);
    let v = u64::from_le_bytes(labels);
    // The top bit of a byte that is 255, and of no other.
    let shared = ((v & 0x7F7F_7F7F_7F7F_7F7F) + 0x0101_0101_0101_0101) & v & 0x8080_8080_8080_8080;
    shared >> 7
}

/// What half a level below each cell of a channel, and above the last, adds to X, Y and Z, by channel.
fn edges(bits: u32) -> [[Xyz; EDGES_MAX]; 3] {
    let side_q6 = (256 * 64) >> bits;
    let level = |n: usize| (n as u32 * side_q6).saturating_sub(32).min(u32::from(LEVEL_Q6_MAX)) as u16;
    let mut edges = [[Xyz::default(); EDGES_MAX]; 3];
    for n in 0..EDGES_MAX {
        for (edges, xyz) in edges.iter_mut().zip(xyz_of_levels([level(n); 3])) {
            edges[n] = xyz;
        }
    }
    edges
}

/// The mean squared distance in CIELAB of a cell's pixels to their mean, if each channel has a third of the scatter in RGB.
/// `sides` are the ends of three sides of the cell.
fn scatter_q12(sides: [(Q6, Q6); 3], inside_q12: u64, bits: u32) -> u64 {
    let side2_q12: u64 = sides.into_iter().map(|(one, other)| u64::from(distance2_q12(one, other))).sum();
    // Squared levels: a cell's side is 2^(8 - bits) levels.
    (inside_q12 * side2_q12 / 3) >> (12 + 2 * (8 - bits))
}

/// A cell's place in each channel, by its Morton key.
fn levels_of(key: usize) -> [usize; 3] {
    // Every third bit, moved together in three steps.
    [2, 1, 0].map(|shift| {
        let v = key >> shift & 0b001_001_001_001_001;
        let v = (v | v >> 2) & 0b001_000_011_000_011;
        let v = (v | v >> 4) & 0b001_000_000_001_111;
        (v | v >> 8) & 0b11_111
    })
}

/// X, Y and Z of the corners of a cell.
fn corners(levels: [usize; 3], edges: &[[Xyz; EDGES_MAX]; 3]) -> [Xyz; CORNERS] {
    let [r, g, b]: [[Xyz; 2]; 3] = core::array::from_fn(|channel| {
        [0, 1].map(|upper| edges[channel].get(levels[channel] + upper).copied().unwrap_or_default())
    });
    core::array::from_fn(|n| plus(plus(r[n & 1], g[n >> 1 & 1]), b[n >> 2]))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn the_places_of_shared_cells_are_listed_in_order(
            labels in prop::collection::vec(prop_oneof![Just(SHARED), Just(SHARED - 1), Just(SHARED / 2), any::<u8>()], 0..PART_PX + 1),
        ) {
            let mut places = [0; PART_PX + TOGETHER_PX];
            let len = places_shared(&labels, &mut places);
            let want: Vec<u16> = (0..).zip(&labels).filter(|(_, label)| **label == SHARED).map(|(place, _)| place).collect();
            prop_assert_eq!(&places[..len], want);
        }
    }
}
