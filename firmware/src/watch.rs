//! What is known of each region of a frame: its pixels, its named colours, and how much of it each palette entry has.
//!
//! Inputs are a frame with regions, its labels, and named colours; results are shares for the report, and counts of labels in
//! memory that the caller lends. One pass goes over the rows. Masked pixels count nowhere, and a frame without regions costs
//! nothing. All counts are exact.

use crate::color::{Lab, de00_q12};
use crate::frame::regions::common;
use crate::frame::{Frame, RegionMap, Span};
use crate::gather::gather;
use crate::label::count;
use crate::limits::{CLUSTERS_MAX, NAMED_MAX, REGIONS_MAX};
use crate::named::{NamedSums, Names, RUNS_PX_MAX, Runs};
use crate::report::{NamedShare, RegionShare};
use heapless::Vec;

/// Pixels of each label.
pub type LabelCounts = [u32; CLUSTERS_MAX];

/// Shares of the regions of a frame.
pub type Shares = Vec<RegionShare, REGIONS_MAX>;

/// Spans of a row that are counted together: two of each region. A row with more is counted in parts.
const SPANS_AT_ONCE: usize = 2 * REGIONS_MAX;

/// Labels of a region that are counted at once: spans are short, and counting has a fixed cost.
const LABELS_AT_ONCE: usize = 512;

/// What regions are watched for, with the memory that this takes.
#[derive(Debug)]
pub struct Watch<'a> {
    names: Names<'a>,
    labels: &'a mut [LabelCounts],
    /// Regions of the last frame.
    regions: usize,
}

/// What was found of one region so far.
struct Tally {
    pixels: u32,
    named: NamedSums,
    /// Labels that are not counted yet.
    labels: Vec<u8, LABELS_AT_ONCE>,
}

/// Spans of a row, each with its region.
type RowSpans = Vec<(Span, u8), SPANS_AT_ONCE>;

impl<'a> Watch<'a> {
    /// Watches for named colours. `labels` has a place for each region of which palette entries are counted; with fewer, those
    /// of the other regions are not.
    pub fn new(names: Names<'a>, labels: &'a mut [LabelCounts]) -> Watch<'a> {
        Watch { names, labels, regions: 0 }
    }

    /// Pixels of each palette entry in a region of the last frame, by label.
    pub fn label_pixels(&self, region: usize) -> Option<&LabelCounts> {
        self.labels.get(..self.regions).unwrap_or(self.labels).get(region)
    }

    /// Counts the regions of a frame with these labels. `clusters` is the length of its palette, `row` holds three bytes a pixel
    /// of a row.
    // By itself, so that its memory on the stack is not part of the step's.
    #[inline(never)]
    pub(crate) fn count(&mut self, frame: &Frame<'_>, labels: &[u8], clusters: usize, row: &mut [u8]) -> Shares {
        let Some(map) = frame.regions() else {
            self.regions = 0;
            return Shares::new();
        };
        self.regions = map.len();
        self.names.begin_frame();
        self.labels.iter_mut().take(map.len()).for_each(|counts| counts.fill(0));
        let mut tallies: [Tally; REGIONS_MAX] = core::array::from_fn(|_| Tally::NONE);
        let mut runs = Runs::NONE;
        for (y, labels) in labels.chunks(frame.width().max(1)).enumerate().take(frame.height()) {
            self.count_row(frame, (map, y), (labels, clusters), &mut tallies, &mut runs, row);
        }
        for (tally, counts) in tallies.iter_mut().zip(self.labels.iter_mut()) {
            tally.count_labels(counts.get_mut(..clusters).unwrap_or(&mut []));
        }
        let shares = tallies.iter().take(map.len()).zip(0u8..);
        gather(shares.map(|(tally, region)| RegionShare {
            region,
            pixels: tally.pixels,
            named: self.named_shares(&tally.named),
        }))
    }

    fn count_row(
        &mut self,
        frame: &Frame<'_>,
        (map, y): (RegionMap<'_>, usize),
        (labels, clusters): (&[u8], usize),
        tallies: &mut [Tally; REGIONS_MAX],
        runs: &mut Runs,
        row: &mut [u8],
    ) {
        if (0..map.len()).all(|region| map.row(region, y).is_empty()) {
            return;
        }
        let is_named = !self.names.colours().is_empty();
        let pixels = if is_named { frame.counted_row(y, row).as_chunks::<3>().0 } else { &[] };
        let mut spans = RowSpans::new();
        for (region, number) in (0..map.len()).zip(0u8..) {
            for span in common(map.row(region, y), frame.visible_spans(y)) {
                if let Some(tally) = tallies.get_mut(region) {
                    let counts = self.labels.get_mut(region).and_then(|counts| counts.get_mut(..clusters));
                    tally.add(span, labels, counts.unwrap_or(&mut []));
                }
                if let Err(span) = spans.push((span, number)) {
                    self.add_named(pixels, &spans, tallies, runs);
                    spans.clear();
                    // There is room now.
                    let _ = spans.push(span);
                }
            }
        }
        self.add_named(pixels, &spans, tallies, runs);
    }

    /// Adds the pixels of spans of a row to the sums of the colours that they have.
    fn add_named(&mut self, pixels: &[[u8; 3]], spans: &RowSpans, tallies: &mut [Tally; REGIONS_MAX], runs: &mut Runs) {
        let columns = || spans.iter().map(|(span, _)| span.columns());
        let start = columns().map(|columns| columns.start).min().unwrap_or(0);
        let end = columns().map(|columns| columns.end).max().unwrap_or(0);
        for start in (start..end).step_by(RUNS_PX_MAX) {
            let part = start..(start + RUNS_PX_MAX).min(end);
            let is_used = columns().any(|columns| columns.start < part.end && part.start < columns.end);
            let Some(pixels) = pixels.get(part.clone()).filter(|_| is_used) else { continue };
            runs.find(pixels, &mut self.names);
            for (span, region) in spans {
                let columns = span.columns().start.max(part.start)..span.columns().end.min(part.end);
                if let Some(tally) = tallies.get_mut(usize::from(*region)).filter(|_| !columns.is_empty()) {
                    runs.add(columns.start - part.start, columns.end - part.start, &mut tally.named);
                }
            }
        }
    }

    fn named_shares(&self, sums: &NamedSums) -> Vec<NamedShare, NAMED_MAX> {
        let found =
            self.names.colours().iter().zip(sums.of_colours()).zip(0u8..).filter(|((_, sum), _)| sum.weight() > 0);
        gather(found.map(|((colour, sum), n)| {
            let de00_q6 = (de00_q12(colour.lab, Lab::of_q6(sum.mean_q6())) + 32) >> 6;
            NamedShare { colour: n, pixels: sum.weight(), de00_q6: de00_q6.min(u16::MAX.into()) as u16 }
        }))
    }
}

impl Tally {
    const NONE: Tally = Tally { pixels: 0, named: NamedSums::ZERO, labels: Vec::new() };

    /// Adds the pixels of a span, with the labels of its row; labels of `counts.len()` and above count nowhere.
    fn add(&mut self, span: Span, labels: &[u8], counts: &mut [u32]) {
        self.pixels += span.pixels() as u32;
        let labels = if counts.is_empty() { &[] } else { labels.get(span.columns()).unwrap_or(&[]) };
        for labels in labels.chunks(LABELS_AT_ONCE) {
            if self.labels.extend_from_slice(labels).is_err() {
                self.count_labels(counts);
                // There is room now.
                let _ = self.labels.extend_from_slice(labels);
            }
        }
    }

    fn count_labels(&mut self, counts: &mut [u32]) {
        count(&self.labels, counts);
        self.labels.clear();
    }
}
