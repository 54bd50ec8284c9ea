//! MJPEG: JPEGs one after the other as a clip, or the first of them as a still.
//!
//! The result is one RGB picture after the other at a rate that the caller states, because the file does not. A picture of a
//! clip that is damaged is left out, counted as lost and logged; a damaged still, and a clip without a sound picture, are
//! errors. A still is turned according to its Exif data, a clip is not.

use super::input::Input;
use super::markers::{exif, swallowed_start};
use super::rgb::{Rgb, malformed};
use super::split::{Found, Splitter};
use super::still::turn;
use crate::camera::{Picture, Source, SourceError};

/// Frames a second of a `.mjpeg`, which has no rate.
pub const RATE: f64 = 30.0;
/// The error of a picture that the next one interrupts.
const INTERRUPTED: &str = "it ends before its end marker";

/// A file or pipe of JPEGs.
pub struct Mjpeg {
    rate: Option<f64>,
    input: Splitter<Input>,
    current: Rgb,
    spare: Rgb,
    /// Undamaged pictures so far.
    frames: u64,
    /// Damaged pictures since the clip was opened, and of the present round.
    lost: u64,
    lost_now: u64,
    /// The error of the first damaged picture of this round.
    first_damage: Option<String>,
    is_still: bool,
}

impl Mjpeg {
    /// A clip of pictures at `rate` a second.
    pub fn clip(input: Input, rate: f64) -> Mjpeg {
        Mjpeg { is_still: false, ..Mjpeg::still(input, Some(rate)) }
    }

    /// The first picture, which is shown `rate` times a second if it is played in a loop.
    pub fn still(input: Input, rate: Option<f64>) -> Mjpeg {
        Mjpeg {
            rate,
            input: Splitter::new(input),
            current: Rgb::default(),
            spare: Rgb::default(),
            frames: 0,
            lost: 0,
            lost_now: 0,
            first_damage: None,
            is_still: true,
        }
    }

    fn what(&self) -> &str {
        self.input.input().what()
    }

    /// Counts a damaged picture; a still's is an error.
    fn leave_out(&mut self, why: String) -> Result<(), SourceError> {
        let number = self.frames + self.lost_now;
        if self.is_still {
            return Err(malformed(self.what(), why));
        }
        let why = format!("picture {number}: {why}");
        if self.first_damage.is_none() {
            log::warn!("{}: {why}; it is left out, and so are others that are damaged", self.what());
            self.first_damage = Some(why);
        }
        self.lost += 1;
        self.lost_now += 1;
        Ok(())
    }

    /// The end of the clip, or the error that it has no picture.
    fn end(&mut self) -> Result<bool, SourceError> {
        if self.frames == 0 {
            let why = self.first_damage.take().unwrap_or_else(|| "there is no JPEG in it".into());
            return Err(malformed(self.what(), why));
        }
        if self.lost_now > 0 {
            log::warn!("{}: {} damaged pictures were left out", self.what(), self.lost_now);
        }
        Ok(false)
    }
}

impl Source for Mjpeg {
    fn advance(&mut self) -> Result<bool, SourceError> {
        if self.is_still && self.frames > 0 {
            return Ok(false);
        }
        loop {
            let found = self.input.advance();
            let found = found.map_err(|error| SourceError::Read { what: self.what().into(), error })?;
            let decoded = match found {
                Found::Picture => self.spare.decode(self.input.bytes()),
                Found::Interrupted => Err(INTERRUPTED.into()),
                Found::End => return self.end(),
                Found::Cut => return Err(SourceError::Cut { what: self.what().into(), frame: self.frames }),
            };
            let Err(why) = decoded else { break };
            if let Some(at) = swallowed_start(self.input.bytes()) {
                self.input.resume_at(at);
            }
            self.leave_out(why)?;
        }
        if self.is_still {
            turn(&mut self.spare, exif(self.input.bytes()));
        }
        std::mem::swap(&mut self.current, &mut self.spare);
        self.frames += 1;
        Ok(true)
    }

    fn picture(&self) -> Option<Picture<'_>> {
        self.current.picture()
    }

    fn rate(&self) -> Option<f64> {
        self.rate
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        self.input = Splitter::new(self.input.input().reopened()?);
        (self.frames, self.lost_now, self.first_damage) = (0, 0, None);
        Ok(())
    }

    fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn jpeg(width: u16, height: u16, rgb: [u8; 3]) -> Vec<u8> {
        let mut out = Vec::new();
        let data: Vec<u8> = rgb.iter().copied().cycle().take(usize::from(width) * usize::from(height) * 3).collect();
        jpeg_encoder::Encoder::new(&mut out, 90).encode(&data, width, height, jpeg_encoder::ColorType::Rgb).unwrap();
        out
    }

    /// Width, height and first pixel.
    type Seen = (usize, usize, [u8; 3]);

    fn clip(bytes: &[u8]) -> (Vec<Seen>, Result<bool, SourceError>, u64) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut source = Mjpeg::clip(Input::open(file.path(), &Arc::default()).unwrap(), RATE);
        let mut seen = Vec::new();
        loop {
            match source.advance() {
                Ok(true) => {
                    let p = source.picture().unwrap();
                    seen.push((p.width, p.height, [p.data[0], p.data[1], p.data[2]]));
                }
                end => return (seen, end, source.lost()),
            }
        }
    }

    #[test]
    fn pictures_laid_end_to_end_come_out_one_by_one() {
        let bytes = [jpeg(16, 8, [200, 10, 10]), b"\r\n".to_vec(), jpeg(9, 7, [10, 10, 200])].concat();
        let (seen, end, lost) = clip(&bytes);
        assert_eq!(seen.iter().map(|s| (s.0, s.1)).collect::<Vec<_>>(), [(16, 8), (9, 7)]);
        assert!(seen[0].2[0] > 190 && seen[1].2[2] > 190, "{seen:?}");
        assert!(matches!(end, Ok(false)) && lost == 0);
    }

    #[test]
    fn a_clip_cut_anywhere_is_an_error_that_names_the_picture() {
        let (one, two) = (jpeg(16, 8, [200, 10, 10]), jpeg(16, 8, [1, 2, 3]));
        for cut in 3..two.len() {
            let (seen, end, _) = clip(&[&one[..], &two[..cut]].concat());
            assert_eq!(seen.len(), 1, "cut at {cut}");
            assert!(matches!(end, Err(SourceError::Cut { frame: 1, .. })), "cut at {cut}: {end:?}");
        }
    }

    #[test]
    fn a_damaged_picture_in_a_clip_costs_itself_alone() {
        let [one, two, three] = [[200, 10, 10], [10, 200, 10], [10, 10, 200]].map(|rgb| jpeg(40, 24, rgb));
        let scan = two.windows(2).position(|w| w == [0xFF, 0xDA]).unwrap();
        for cut in 3..two.len() {
            let (seen, end, lost) = clip(&[&one[..], &two[..cut], &three].concat());
            assert!(
                seen.len() == 2 && seen[1].2[2] > 190 && matches!(end, Ok(false)),
                "cut at {cut}: {seen:?}, {end:?}"
            );
            assert!(lost >= 1 || cut < scan, "cut at {cut}");
        }
        // Whole by its markers, but not by its data.
        let short = [&two[..scan + 16], &[0xFF, 0xD9]].concat();
        let (seen, end, lost) = clip(&[&one[..], &short, &three].concat());
        assert!(seen.len() == 2 && matches!(end, Ok(false)) && lost == 1, "{seen:?}, {end:?}");
        let (seen, end, _) = clip(&short);
        assert!(seen.is_empty() && end.unwrap_err().to_string().contains("picture 0"));
    }

    #[test]
    fn grey_pictures_become_rgb() {
        let mut bytes = Vec::new();
        jpeg_encoder::Encoder::new(&mut bytes, 90).encode(&[77; 64], 8, 8, jpeg_encoder::ColorType::Luma).unwrap();
        assert_eq!(clip(&bytes).0, [(8, 8, [77, 77, 77])]);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let whole = jpeg(8, 8, [9, 200, 30]);
        for i in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[i] ^= 0x55;
            let _ = clip(&damaged);
        }
        assert!(clip(b"not a picture").1.unwrap_err().to_string().contains("no JPEG"));
    }
}
