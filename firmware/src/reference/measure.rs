//! What the patches of a frame look like, in linear light.
//!
//! Inputs are a frame and the pixels of each patch; results are sums over the visible pixels, as captured. One pass goes over
//! the rows that have a patch, and sums are exact.

use super::{Fault, Light};
use crate::color::linear_q24;
use crate::frame::regions::common;
use crate::frame::{Frame, RegionMap};
use crate::gather::gather;
use crate::limits::PATCHES_MAX;
use heapless::Vec;

/// A patch is clipped if one in so many of its pixels is. Clipped pixels are left out of the mean; those of one patch lie on one
/// side, and without a twentieth of a normal distribution the mean moves by a tenth of its standard deviation.
const CLIPPED_SHARE: u32 = 20;

/// The sums of a patch.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Patch {
    /// Linear light of the pixels that are not clipped, in 1/2^24.
    sums: [u64; 3],
    /// These pixels.
    pixels: u32,
    /// Those with a channel at 0 or 255.
    clipped: u32,
}

impl Patch {
    /// The mean linear light.
    pub(super) fn mean(&self) -> Result<Light, Fault> {
        if self.pixels + self.clipped == 0 {
            return Err(Fault::Hidden);
        }
        if self.clipped > (self.pixels + self.clipped) / CLIPPED_SHARE || self.pixels == 0 {
            return Err(Fault::Clipped);
        }
        let pixels = u64::from(self.pixels.max(1));
        Ok(self.sums.map(|sum| ((sum + pixels / 2) / pixels) as i64))
    }

    fn add(&mut self, pixels: &[[u8; 3]]) {
        for px in pixels {
            if px.iter().any(|level| matches!(level, 0 | 255)) {
                self.clipped += 1;
            } else {
                self.pixels += 1;
                self.sums.iter_mut().zip(px).for_each(|(sum, &level)| *sum += u64::from(linear_q24(level)));
            }
        }
    }
}

/// Measures the patches of a frame.
pub(super) fn measure(frame: &Frame<'_>, patches: RegionMap<'_>, row: &mut [u8]) -> Vec<Patch, PATCHES_MAX> {
    let mut measured: Vec<Patch, PATCHES_MAX> = gather((0..patches.len()).map(|_| Patch::default()));
    if patches.size() != (frame.width(), frame.height()) {
        return Vec::new();
    }
    for y in 0..frame.height() {
        if (0..patches.len()).all(|patch| patches.row(patch, y).is_empty()) {
            continue;
        }
        let pixels = frame.captured_row(y, row).as_chunks::<3>().0;
        for (n, patch) in measured.iter_mut().enumerate() {
            for span in common(patches.row(n, y), frame.visible_spans(y)) {
                patch.add(pixels.get(span.columns()).unwrap_or(&[]));
            }
        }
    }
    measured
}
