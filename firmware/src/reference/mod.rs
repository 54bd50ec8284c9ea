//! A reference: patches of known colour in the picture, by which its colours are corrected.
//!
//! Inputs are frames with their capture times, the patches' places in them, and the colours that the patches have; results are a
//! [`Correction`] for the frame and how far the patches are from their colours after it. A gain for each channel (von Kries, in
//! linear light) or a matrix follows the light over seconds of capture time. A frame whose patches are clipped, hidden or
//! far from their colours is not corrected. All of it is integers: the same frames and times give the same bits.

mod measure;
mod smooth;
mod solve;

use crate::color::correction::{IDENTITY_Q32, MatrixQ32, product_q24};
use crate::color::{Correction, Lab, de00_q12};
use crate::frame::{Frame, RegionMap};
use crate::gather::gather;
use crate::limits::PATCHES_MAX;
use heapless::Vec;
use measure::measure;
pub use solve::MATRIX_PATCHES_MIN;

/// How colours are corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Correct {
    /// Not at all; the patches are still measured.
    #[default]
    Off,
    /// By a gain for each channel.
    Gain,
    /// By a 3x3 matrix, which [`MATRIX_PATCHES_MIN`] patches decide.
    Matrix,
}

impl Correct {
    /// All of them.
    pub const ALL: [Correct; 3] = [Correct::Off, Correct::Gain, Correct::Matrix];

    /// The word for it in configurations.
    pub const fn word(self) -> &'static str {
        match self {
            Correct::Off => "off",
            Correct::Gain => "gain",
            Correct::Matrix => "matrix",
        }
    }

    /// What `word` names.
    pub fn from_word(word: &str) -> Option<Correct> {
        Correct::ALL.into_iter().find(|correct| correct.word() == word)
    }
}

/// Why a frame is not corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Too many pixels of a patch have a channel at 0 or 255.
    Clipped,
    /// No pixel of a patch is visible.
    Hidden,
    /// The correction would need a coefficient beyond [`crate::color::correction::COEFFICIENT_MAX_Q32`], or less than its inverse:
    /// a patch is in the dark, or is covered.
    Far,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was corrected in this way, which is not the configured one if the patches do not decide a matrix. [`Correct::Off`]:
    /// none is configured.
    Done(Correct),
    /// It was not corrected, because of a patch.
    Fault(Fault, u8),
}

/// A colour in linear light, each channel in 1/2^24.
type Light = [i64; 3];

/// A patch of a frame: its linear light, and what that should be.
#[derive(Debug, Clone, Copy)]
struct Sample {
    found: Light,
    target: Light,
}

/// The patches of a reference, and the correction by them.
#[derive(Debug, Clone)]
pub struct Reference {
    correct: Correct,
    colours: Vec<Lab, PATCHES_MAX>,
    time_constant_us: u64,
    /// The smoothed matrix, and when it was brought up to date.
    smoothed: Option<(MatrixQ32, u64)>,
    correction: Correction,
    /// The last frame is corrected.
    is_corrected: bool,
    /// Its patches' mean Delta E 2000.
    de00_q6: Option<u16>,
}

impl Reference {
    /// A reference without patches, for memory that is static.
    pub const EMPTY: Reference = Reference {
        correct: Correct::Off,
        colours: Vec::new(),
        time_constant_us: 0,
        smoothed: None,
        correction: Correction::ZERO,
        is_corrected: false,
        de00_q6: None,
    };

    /// A reference of patches with these colours; those beyond [`PATCHES_MAX`] are ignored. With a time constant of 0 every frame is
    /// corrected by itself.
    pub fn new(correct: Correct, colours: &[Lab], time_constant_us: u64) -> Reference {
        let colours = gather(colours.iter().copied());
        Reference { correct, colours, time_constant_us, ..Reference::EMPTY }
    }

    /// Measures the patches of a frame and brings the correction up to date. `patches` has the pixels of each patch, in the order of
    /// the colours; `row` holds three bytes a pixel of a row.
    pub fn see(&mut self, frame: &Frame<'_>, patches: RegionMap<'_>, row: &mut [u8]) -> Outcome {
        (self.is_corrected, self.de00_q6) = (false, None);
        let samples = match self.samples(frame, patches, row) {
            Ok(samples) => samples,
            Err((fault, patch)) => return Outcome::Fault(fault, patch),
        };
        let outcome = match solve::solve(self.correct, &samples) {
            None => Outcome::Done(Correct::Off),
            Some(Ok((by, matrix))) => {
                self.follow(matrix, frame.stamp.captured_at_us);
                self.is_corrected = true;
                Outcome::Done(by)
            }
            Some(Err(solve::OutOfRange)) => Outcome::Fault(Fault::Far, self.farthest(&samples)),
        };
        let matrix = self.smoothed.filter(|_| self.is_corrected).map_or(IDENTITY_Q32, |(matrix, _)| matrix);
        self.de00_q6 = self.mean_de00_q6(&matrix, &samples);
        outcome
    }

    /// The correction of the frame that was seen last, if it has one.
    pub fn correction(&self) -> Option<&Correction> {
        Some(&self.correction).filter(|_| self.is_corrected)
    }

    /// The frame that was seen last with its correction, if it has one, and with what its report has of the patches.
    pub fn corrected<'f>(&'f self, frame: Frame<'f>) -> Frame<'f> {
        frame.with_correction(self.correction(), self.de00_q6)
    }

    /// The patches of a frame, or the first that cannot be measured, and why.
    fn samples(
        &self,
        frame: &Frame<'_>,
        patches: RegionMap<'_>,
        row: &mut [u8],
    ) -> Result<Vec<Sample, PATCHES_MAX>, (Fault, u8)> {
        let measured = measure(frame, patches, row);
        let mut samples = Vec::new();
        for (n, colour) in (0..).zip(&self.colours) {
            let found = measured.get(usize::from(n)).ok_or(Fault::Hidden).and_then(|patch| patch.mean());
            let found = found.map_err(|fault| (fault, n))?;
            // There is a place for each colour.
            let _ = samples.push(Sample { found, target: colour.linear_q24() });
        }
        Ok(samples)
    }

    /// Moves the smoothed matrix towards that of a frame.
    fn follow(&mut self, matrix: MatrixQ32, captured_at_us: u64) {
        let smoothed = match self.smoothed {
            None => matrix,
            Some((before, at_us)) => {
                let keep_q30 = smooth::keep_q30(captured_at_us.saturating_sub(at_us), self.time_constant_us);
                smooth::between(&before, &matrix, keep_q30)
            }
        };
        self.smoothed = Some((smoothed, captured_at_us));
        self.correction.set(&smoothed);
    }

    /// The mean Delta E 2000 of the patches after correction by a matrix.
    fn mean_de00_q6(&self, matrix: &MatrixQ32, samples: &[Sample]) -> Option<u16> {
        let sum_q12: u64 = self.differences_q12(matrix, samples).sum();
        let mean_q12 = sum_q12.checked_div(samples.len() as u64)?;
        u16::try_from((mean_q12 + 32) >> 6).ok()
    }

    /// The patch that is farthest from its colour.
    fn farthest(&self, samples: &[Sample]) -> u8 {
        let all = (0..).zip(self.differences_q12(&IDENTITY_Q32, samples));
        all.max_by_key(|(_, difference)| *difference).map_or(0, |(patch, _)| patch)
    }

    fn differences_q12(&self, matrix: &MatrixQ32, samples: &[Sample]) -> impl Iterator<Item = u64> {
        self.colours.iter().zip(samples).map(|(&colour, sample)| {
            let light = product_q24(matrix, sample.found).map(|light| light.clamp(0, 1 << 24) as u64);
            u64::from(de00_q12(colour, Lab::of_linear(light)))
        })
    }
}
