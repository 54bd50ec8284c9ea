//! Reference: corrects the colours of a source's pictures by patches of known colour.
//!
//! Inputs are the configured reference and frames; results are frames with a correction, which applies to clustering, labels and named
//! colours, and not to the original picture. Each reason why a frame is not corrected is logged once. Memory is taken once for each
//! size of a picture. Without a reference a frame is returned unchanged.

use super::SourceError;
use super::regions::{self, Divider};
use crate::spec::{ReferenceSpec, Region};
use firmware::color::Lab;
use firmware::frame::Frame;
use firmware::limits::PATCHES_MAX;
use firmware::reference::{Correct, Fault, Outcome, Reference};

/// The time in which the correction covers 63 % of a change of the light. The flicker of lamps on mains and a camera's search for its
/// exposure are faster than this, clouds and evenings slower.
pub const TIME_CONSTANT_US: u64 = 2_000_000;

/// A reference, and its patches in pictures of one size.
#[derive(Debug)]
pub struct Calibrator {
    places: Divider,
    names: Vec<String>,
    asked: Correct,
    reference: Box<Reference>,
    row: Vec<u8>,
    outcome: Option<Outcome>,
    logged: Logged,
}

/// What has been logged.
#[derive(Debug, Default)]
struct Logged {
    way: Option<Correct>,
    faults: [[bool; PATCHES_MAX]; 3],
}

impl Calibrator {
    /// A calibrator without a correction. With a time constant of 0 every frame is corrected by its own patches alone.
    pub fn new(spec: &ReferenceSpec, time_constant_us: u64) -> Calibrator {
        let places: Vec<Region> = spec.patches.iter().map(|patch| patch.region.clone()).collect();
        let colours: Vec<Lab> = spec.patches.iter().map(|patch| patch.colour).collect();
        Calibrator {
            names: places.iter().map(|place| place.name.clone()).collect(),
            places: Divider::new(&places),
            asked: spec.correct,
            reference: Box::new(Reference::new(spec.correct, &colours, time_constant_us)),
            row: Vec::new(),
            outcome: None,
            logged: Logged::default(),
        }
    }

    /// Measures the patches of the next frame. Returns the kind of its correction, or the fault; none without a reference.
    ///
    /// # Errors
    /// None in practice.
    pub fn see(&mut self, frame: &Frame<'_>) -> Result<Option<Outcome>, SourceError> {
        if self.names.is_empty() {
            return Ok(None);
        }
        self.places.fit((frame.width(), frame.height()));
        self.row.resize((3 * frame.width()).max(self.row.len()), 0);
        let outcome = self.reference.see(frame, self.places.map()?, &mut self.row);
        if self.outcome.replace(outcome) != Some(outcome) {
            self.log(outcome, frame.stamp.number);
        }
        Ok(self.outcome)
    }

    /// Bytes that it has taken: the correction's tables, the patches' spans and a row.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.reference) + self.places.bytes() + self.row.capacity()
    }

    /// The frame that was seen last, corrected.
    pub fn corrected<'f>(&'f self, frame: Frame<'f>) -> Frame<'f> {
        if self.names.is_empty() { frame } else { self.reference.corrected(frame) }
    }

    fn log(&mut self, outcome: Outcome, frame: u64) {
        match outcome {
            Outcome::Done(way) if self.logged.way.replace(way) == Some(way) => {}
            Outcome::Done(Correct::Off) => {}
            Outcome::Done(way) if way == self.asked => {
                log::info!("colours are corrected by {} (reference patches: {})", way.word(), self.names.len());
            }
            Outcome::Done(way) => log::warn!(
                "frame {frame}: the reference patches do not decide a {}: their colours are too much alike. Colours are \
                 corrected by {}; add patches of other colours",
                self.asked.word(),
                way.word()
            ),
            Outcome::Fault(fault, patch) => {
                let seen = self.logged.faults.get_mut(fault as usize);
                let seen = seen.and_then(|faults| faults.get_mut(usize::from(patch)));
                if seen.is_some_and(|seen| !std::mem::replace(seen, true)) {
                    log::warn!("frame {frame}: colours are not corrected: {}", reason(fault, patch, &self.names));
                }
            }
        }
    }
}

/// Bytes that a [`Calibrator`] takes at most for pictures of this size. One without patches has the correction's tables too.
pub fn bytes_max(spec: &ReferenceSpec, (width, height): (usize, usize)) -> usize {
    let row = if spec.patches.is_empty() { 0 } else { 3 * width };
    let outlines = spec.patches.iter().map(|patch| patch.region.polygon.as_slice());
    size_of::<Reference>() + regions::bytes_max(outlines, height) + row
}

/// Why a frame is not corrected, in words.
pub fn reason(fault: Fault, patch: u8, names: &[String]) -> String {
    let name = names.get(usize::from(patch)).map_or("", String::as_str);
    match fault {
        Fault::Clipped => format!(
            "the reference patch {name} is clipped: a channel of more than 5 % of its pixels is 0 or 255. Change the exposure"
        ),
        Fault::Hidden => {
            format!("the reference patch {name} has no visible pixel. Make it larger, or a mask smaller")
        }
        Fault::Far => format!(
            "the reference patch {name} is more than three stops from its colour. Look whether it is covered or in the dark"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Mask, Patch};

    fn spec(correct: Correct) -> ReferenceSpec {
        let polygon = Mask::rect([0.0, 0.0, 0.5, 1.0]).unwrap().polygon;
        let region = Region { name: "grey-card".into(), polygon };
        ReferenceSpec { correct, patches: vec![Patch { region, colour: Lab::of_rgb([119; 3]) }] }
    }

    #[test]
    fn frames_of_every_size_are_corrected_and_the_original_stays() {
        let mut calibrator = Calibrator::new(&spec(Correct::Gain), 0);
        for (width, height) in [(4, 2), (9, 6), (4, 2)] {
            let rgb = vec![60; width * height * 3];
            let frame = Frame::rgb(width, height, &rgb).unwrap();
            assert_eq!(calibrator.see(&frame).unwrap(), Some(Outcome::Done(Correct::Gain)));
            let (corrected, mut row) = (calibrator.corrected(frame), vec![0; 3 * width]);
            assert_eq!(corrected.counted_row(1, &mut row), vec![119; 3 * width]);
            assert_eq!(corrected.row(1, &mut row), vec![60; 3 * width]);
            assert_eq!(corrected.reference_de00_q6(), Some(0));
        }
    }

    #[test]
    fn a_clipped_patch_switches_the_correction_off_and_a_reason_says_which() {
        let mut calibrator = Calibrator::new(&spec(Correct::Gain), 0);
        let rgb = [255; 24];
        let frame = Frame::rgb(4, 2, &rgb).unwrap();
        let Some(Outcome::Fault(fault, patch)) = calibrator.see(&frame).unwrap() else { panic!("not clipped") };
        assert!(reason(fault, patch, &calibrator.names).contains("grey-card is clipped"));
        assert_eq!(calibrator.corrected(frame).counted_row(0, &mut [0; 12]), [255; 12]);
    }

    #[test]
    fn without_a_reference_nothing_is_done() {
        let mut none = Calibrator::new(&ReferenceSpec::default(), 0);
        let rgb = [60; 24];
        let frame = Frame::rgb(4, 2, &rgb).unwrap();
        assert_eq!(none.see(&frame).unwrap(), None);
        assert!(none.row.is_empty());
        assert_eq!(none.corrected(frame).counted_row(0, &mut []), [60; 12]);
    }
}
