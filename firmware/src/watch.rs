//! What is known of each region of a frame: its pixels, its named colours, and how much of it each palette entry has.
//!
//! Inputs are a frame with regions, its labels, and named colours; results are shares for the report, and counts of labels in
//! memory that the caller lends. One pass goes over the rows. Masked pixels count nowhere, and a frame without regions costs
//! nothing. All counts are exact.

use crate::color::{Features, Lab, de00_q12};
use crate::frame::regions::common;
use crate::frame::{Frame, RegionMap};
use crate::gather::gather;
use crate::label::count;
use crate::limits::{CLUSTERS_MAX, NAMED_MAX, REGIONS_MAX};
use crate::named::{NAMELESS, Names};
use crate::report::{NamedShare, RegionShare};
use heapless::Vec;

/// Pixels of each label.
pub type LabelCounts = [u32; CLUSTERS_MAX];

/// Shares of the regions of a frame.
pub type Shares = Vec<RegionShare, REGIONS_MAX>;

/// Pixels whose names are found at once, in memory on the stack.
const PIXELS_AT_ONCE: usize = 256;

/// What regions are watched for, with the memory that this takes.
#[derive(Debug)]
pub struct Watch<'a> {
    names: Names<'a>,
    labels: &'a mut [LabelCounts],
    /// Regions of the last frame.
    regions: usize,
}

/// What was found of one region so far.
#[derive(Debug, Clone, Copy)]
struct Tally {
    pixels: u32,
    named: [Features; NAMED_MAX],
}

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
        let mut tallies = [Tally { pixels: 0, named: [Features::ZERO; NAMED_MAX] }; REGIONS_MAX];
        for (y, labels) in labels.chunks(frame.width().max(1)).enumerate().take(frame.height()) {
            self.count_row(frame, (map, y), labels, clusters, &mut tallies, row);
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
        labels: &[u8],
        clusters: usize,
        tallies: &mut [Tally; REGIONS_MAX],
        row: &mut [u8],
    ) {
        if (0..map.len()).all(|region| map.row(region, y).is_empty()) {
            return;
        }
        let is_named = !self.names.colours().is_empty();
        let pixels = if is_named { frame.captured_row(y, row).as_chunks::<3>().0 } else { &[] };
        for (region, tally) in tallies.iter_mut().enumerate().take(map.len()) {
            for span in common(map.row(region, y), frame.visible_spans(y)) {
                tally.pixels += span.pixels() as u32;
                if let Some(counts) = self.labels.get_mut(region) {
                    count(labels.get(span.columns()).unwrap_or(&[]), counts.get_mut(..clusters).unwrap_or(&mut []));
                }
                self.add_named(pixels.get(span.columns()).unwrap_or(&[]), &mut tally.named);
            }
        }
    }

    /// Adds pixels to the sums of the colours that they have.
    fn add_named(&mut self, pixels: &[[u8; 3]], sums: &mut [Features; NAMED_MAX]) {
        for pixels in pixels.chunks(PIXELS_AT_ONCE) {
            let mut names = [NAMELESS; PIXELS_AT_ONCE];
            self.names.of_pixels(pixels, &mut names);
            // Most regions have long runs of one name, or of none: a run's sum stays in registers.
            let (mut run, mut run_of) = (Features::ZERO, NAMELESS);
            for (&rgb, &name) in pixels.iter().zip(&names) {
                if name != run_of {
                    add(run_of, run, sums);
                    (run, run_of) = (Features::ZERO, name);
                }
                if name != NAMELESS {
                    run = run.plus(&Features::of_pixels(rgb, 1));
                }
            }
            add(run_of, run, sums);
        }
    }

    fn named_shares(&self, sums: &[Features; NAMED_MAX]) -> Vec<NamedShare, NAMED_MAX> {
        let found = self.names.colours().iter().zip(sums).zip(0u8..).filter(|((_, sum), _)| sum.weight() > 0);
        gather(found.map(|((colour, sum), n)| {
            let de00_q6 = (de00_q12(colour.lab, Lab::of_q6(sum.mean_q6())) + 32) >> 6;
            NamedShare { colour: n, pixels: sum.weight(), de00_q6: de00_q6.min(u16::MAX.into()) as u16 }
        }))
    }
}

fn add(name: u8, run: Features, sums: &mut [Features; NAMED_MAX]) {
    if let Some(sum) = sums.get_mut(usize::from(name)) {
        *sum = sum.plus(&run);
    }
}
