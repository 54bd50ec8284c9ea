//! Labelling in CIELAB: by histogram cells, and pixel by pixel only in cells that two clusters share.
//!
//! Inputs are those of [`super::label`], the frame's histogram cells in CIELAB, and a byte for each cell of the histogram.
//! Results are the same, but for the cost: pixels of a cell that one cluster has wholly count at the mean of their cell, and with
//! the scatter that pixels have in cells of this frame, which is known in RGB. Labels, numbers of pixels, pixels beyond lambda
//! and the largest distance are exact: those of every pixel, converted by [`Space::of_rgb`]. A test compares them.
//!
//! A cluster has a cell wholly if it is nearest to all eight corners: the colours that are nearest to one centroid are a convex
//! set. In CIELAB a cell's sides bend a little, so the corners are taken half a level outside of the cell.

use super::{FarPixels, Labelled, NO_LABEL, count};
use crate::color::{LEVEL_Q6_MAX, Q6, Space, distance2_q12};
use crate::coreset::{self, Point};
use crate::frame::Frame;
use crate::gather::gather;
use crate::kernel::{Targets, for_each_nearest, key5, targets};
use crate::limits::CLUSTERS_MAX;
use heapless::Vec;

/// In the table of cells: the pixels are decided one by one.
const SHARED: u8 = NO_LABEL;
/// Cells of fewer pixels are decided pixel by pixel: eight corners cost as much as eight pixels.
const WHOLE_PX_MIN: u32 = 8;
/// Pixels and corners that are looked up at once.
const BATCH: usize = 64;
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
    let mut pass = Pass { lambda2_q12, targets, found, far, pending: Vec::new() };
    let drop_bits = pass.decide_cells(cells, inside_q12, centroids, table);
    let width = frame.width().max(1);
    for y in 0..frame.height() {
        let pixels = frame.counted_row(y, row).as_chunks::<3>().0;
        let spans = frame.visible_spans(y);
        let start = y * width;
        if spans.iter().map(|span| span.pixels()).sum::<usize>() < width {
            labels.iter_mut().skip(start).take(width).for_each(|label| *label = NO_LABEL);
        }
        for columns in spans.iter().map(|span| span.columns()) {
            let at = start + columns.start;
            let pixels = pixels.get(columns).unwrap_or(&[]);
            let Some(of_span) = labels.get_mut(at..at + pixels.len()) else { continue };
            for (&rgb, label) in pixels.iter().zip(of_span) {
                *label = table.get(key5(rgb) >> drop_bits).copied().unwrap_or(SHARED);
            }
            pass.decide_shared(pixels, at, labels);
        }
    }
    pass.flush(labels);
    count(
        labels.get(..width * frame.height()).unwrap_or(&[]),
        pass.found.pixels.get_mut(..centroids.len()).unwrap_or(&mut []),
    );
    pass.found.beyond_px = pass.far.pixels;
    pass.found
}

/// A pixel that is decided by itself: its place, its colour, and where that lies.
type Pending = (u32, [u8; 3], Q6);

struct Pass<'f, 'h> {
    lambda2_q12: u32,
    targets: Targets,
    found: Labelled,
    far: &'f mut FarPixels<'h>,
    pending: Vec<Pending, BATCH>,
}

impl Pass<'_, '_> {
    /// Writes the label of each cell that one cluster has wholly, and adds its cost. Returns how many bits of a pixel's key a
    /// cell's key lacks.
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
                return 3 * (5 - bits);
            }
            let corners: Vec<Q6, BATCH> = gather(batch.iter().flat_map(|cell| corners_of(cell.cell(), &edges)));
            let mut nearest = [(0, 0); BATCH];
            for_each_nearest(
                &corners,
                |&c| c,
                &self.targets,
                |i, _, label, distance2| {
                    if let Some(slot) = nearest.get_mut(i) {
                        *slot = (label, distance2);
                    }
                },
            );
            let corners = corners.as_chunks::<CORNERS>().0;
            for ((cell, corners), nearest) in batch.iter().zip(corners).zip(nearest.as_chunks::<CORNERS>().0) {
                let label = nearest[0].0;
                if nearest.iter().all(|&(l, distance2)| l == label && distance2 <= within2)
                    && let (Some(slot), Some(&centroid)) = (table.get_mut(cell.cell()), centroids.get(label))
                {
                    *slot = label as u8;
                    let each_q12 =
                        u64::from(distance2_q12(cell.position_q6, centroid)) + scatter_q12(corners, inside_q12, bits);
                    self.found.sse_q12 += each_q12 * u64::from(cell.weight());
                }
            }
        }
    }

    /// Decides the pixels of a span that have no label yet, or keeps them until there are more.
    fn decide_shared(&mut self, pixels: &[[u8; 3]], start: usize, labels: &mut [u8]) {
        for (from, pixels) in (start..).step_by(BATCH).zip(pixels.chunks(BATCH)) {
            // Which pixels are shared is not predictable, so their places are listed without a branch.
            let (mut places, mut len) = ([0; BATCH], 0);
            for (n, label) in labels.iter().skip(from).take(pixels.len()).enumerate() {
                places[len % BATCH] = n;
                len += usize::from(*label == SHARED);
            }
            for &n in places.iter().take(len) {
                let Some(&rgb) = pixels.get(n) else { continue };
                let pixel = ((from + n) as u32, rgb, Space::Cielab.of_rgb(rgb));
                if self.pending.push(pixel).is_err() {
                    self.flush(labels);
                    let _ = self.pending.push(pixel);
                }
            }
        }
    }

    /// Labels the pixels that wait.
    fn flush(&mut self, labels: &mut [u8]) {
        let Pass { lambda2_q12, targets, found, far, pending } = self;
        for_each_nearest(
            pending,
            |p| p.2,
            targets,
            |_, &(at, rgb, _), nearest, distance2| {
                if let Some(label) = labels.get_mut(at as usize) {
                    *label = nearest as u8;
                }
                found.sse_q12 += u64::from(distance2);
                found.max_distance2_q12 = found.max_distance2_q12.max(distance2);
                if distance2 > *lambda2_q12 {
                    far.add(rgb);
                }
            },
        );
        pending.clear();
    }
}

/// Half a level below each cell of a channel, and above the last, in 1/64 levels.
fn edges(bits: u32) -> [u16; EDGES_MAX] {
    let side_q6 = (256 * 64) >> bits;
    core::array::from_fn(|n| (n as u32 * side_q6).saturating_sub(32).min(u32::from(LEVEL_Q6_MAX)) as u16)
}

/// The mean squared distance in CIELAB of a cell's pixels to their mean, if each channel has a third of the scatter in RGB.
fn scatter_q12(corners: &[Q6; CORNERS], inside_q12: u64, bits: u32) -> u64 {
    let side2_q12: u64 = [1, 2, 4].into_iter().map(|n| u64::from(distance2_q12(corners[0], corners[n]))).sum();
    // Squared levels: a cell's side is 2^(8 - bits) levels.
    (inside_q12 * side2_q12 / 3) >> (12 + 2 * (8 - bits))
}

/// The corners of a cell, by its Morton key.
fn corners_of(key: usize, edges: &[u16; EDGES_MAX]) -> [Q6; CORNERS] {
    let channel = |shift: usize| (0..5).fold(0, |v, bit| v | (key >> (3 * bit + shift) & 1) << bit);
    let cell = [channel(2), channel(1), channel(0)];
    core::array::from_fn(|n| {
        let at = |i: usize| edges.get(cell[i] + (n >> i & 1)).copied().unwrap_or(LEVEL_Q6_MAX);
        Space::Cielab.of_q6([at(0), at(1), at(2)])
    })
}
