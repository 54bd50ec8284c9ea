//! Transform: crop, rotation and flip of a source's pictures, before they are clustered.
//!
//! The input is a source's frame, the result is the frame that is clustered. A crop and a vertical flip are views of the
//! source's buffer. Rotations, horizontal flips, and crops that start between pixels that share their chroma go through one RGB
//! buffer, which is allocated for the first frame and grows only with the size of the pictures. The result always equals the
//! transformed RGB picture.

use super::SourceError;
pub use crate::spec::transform::{Crop, Transform};

use firmware::frame::{Frame, FrameError, Layout, Yuv};

impl Transform {
    /// The frame as a view of its own buffer, without a horizontal change. Fails if the crop does not fit the picture or its
    /// chroma.
    fn view<'a>(&self, frame: Frame<'a>) -> Result<Frame<'a>, FrameError> {
        let frame = match self.crop {
            Some(Crop { left, top, width, height }) => frame.cropped(left, top, width, height)?,
            None => frame,
        };
        let upside_down = !self.turns_by_copy() && !self.turn.steps((2, 2)).down.is_positive();
        Ok(if upside_down { frame.flipped_vertically() } else { frame })
    }
}

/// A transform with the buffer that some of its frames need.
#[derive(Debug, Default)]
pub struct Transformer {
    transform: Transform,
    /// The copied picture, and its size; none if the last frame is a view.
    rgb: Vec<u8>,
    copied: Option<(usize, usize)>,
    row: Vec<u8>,
}

impl Transformer {
    /// A transformer without a buffer.
    pub fn new(transform: Transform) -> Transformer {
        Transformer { transform, ..Transformer::default() }
    }

    /// Takes a new frame of the source: copies what cannot be a view of it.
    ///
    /// # Errors
    /// [`SourceError::Malformed`] if the crop is not inside the frame.
    pub fn take(&mut self, frame: Frame<'_>) -> Result<(), SourceError> {
        self.copied = None;
        match self.transform.view(frame) {
            Ok(_) if !self.transform.turns_by_copy() => {}
            // The rows are cropped without a copy, the columns by the copy.
            Ok(view) => self.copy(view, 0, view.width())?,
            Err(FrameError::SplitChroma) => {
                let crop = self.transform.crop.ok_or(FrameError::SplitChroma)?;
                let rows = frame.cropped(0, crop.top, frame.width(), crop.height)?;
                self.copy(rows, crop.left, crop.width)?;
            }
            Err(error) => return Err(self.explained(error, frame)),
        }
        Ok(())
    }

    /// The transformed frame. `frame` must be the one of the last [`Transformer::take`].
    ///
    /// # Errors
    /// As [`Transformer::take`].
    pub fn frame<'a>(&'a self, frame: Frame<'a>) -> Result<Frame<'a>, SourceError> {
        match self.copied {
            Some((width, height)) => {
                Ok(Frame::new(Layout::Rgb24, Yuv::default(), width, height, 0, &self.rgb, frame.stamp)?)
            }
            None => self.transform.view(frame).map_err(|error| self.explained(error, frame)),
        }
    }

    fn explained(&self, error: FrameError, frame: Frame<'_>) -> SourceError {
        match self.transform.crop {
            Some(crop) => SourceError::Malformed {
                what: format!("camera.crop = \"{crop}\""),
                why: format!("{error}, which has {}x{} pixels; choose another crop", frame.width(), frame.height()),
            },
            None => error.into(),
        }
    }

    /// Copies `width` columns of the frame from `left` on, as RGB, turned.
    fn copy(&mut self, frame: Frame<'_>, left: usize, width: usize) -> Result<(), FrameError> {
        let size = (width, frame.height());
        let (steps, bytes) = (self.transform.turn.steps(size), 3 * width * frame.height());
        self.rgb.resize(bytes, 0);
        self.row.resize(frame.width() * 3, 0);
        let pixels = self.rgb.as_chunks_mut::<3>().0;
        for y in 0..frame.height() {
            let row = frame.row(y, &mut self.row).as_chunks::<3>().0;
            let row = row.get(left..left + width).ok_or(FrameError::Truncated)?;
            let mut at = steps.at(0, y) as isize;
            for px in row {
                if let Some(to) = pixels.get_mut(at as usize) {
                    *to = *px;
                }
                at += steps.right;
            }
        }
        self.copied = Some(self.transform.turn.size(size));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::Turn;
    use crate::turn::tests::{all, oracle};
    use firmware::frame::Stamp;

    const SIZE: (usize, usize) = (10, 6);

    fn layouts() -> Vec<Layout> {
        let planar = [(0, 0), (1, 0), (1, 1), (2, 0)].map(|(h, v)| Layout::Planar { h, v });
        let packed = [Layout::Rgb24, Layout::Bgr24, Layout::Grey, Layout::Yuyv, Layout::Uyvy];
        packed.into_iter().chain([Layout::Nv12, Layout::Nv21]).chain(planar).collect()
    }

    fn rgb(frame: &Frame<'_>) -> Vec<[u8; 3]> {
        let mut row = vec![0; frame.width() * 3];
        (0..frame.height()).flat_map(|y| frame.row(y, &mut row).as_chunks::<3>().0.to_vec()).collect()
    }

    #[test]
    fn the_result_is_the_transformed_rgb_picture_for_every_layout_crop_and_turn() {
        let data: Vec<u8> = (0..400).map(|i| (i * 73 + i / 7) as u8).collect();
        let crops = [None, Some("0,0,10x6"), Some("4,2,5x3"), Some("3,1,4x4"), Some("9,5,1x1"), Some("1,0,9x1")];
        for layout in layouts() {
            let stamp = Stamp { number: 7, ..Stamp::default() };
            let whole = Frame::new(layout, Yuv::Bt601, SIZE.0, SIZE.1, 0, &data, stamp).unwrap();
            let pixels = rgb(&whole);
            for crop in crops.map(|c| c.map(|text| Crop::parse(text).unwrap())) {
                let Crop { left, top, width, height } =
                    crop.unwrap_or(Crop { left: 0, top: 0, width: SIZE.0, height: SIZE.1 });
                let part: Vec<[u8; 3]> =
                    pixels.chunks(SIZE.0).skip(top).take(height).flat_map(|r| r[left..left + width].to_vec()).collect();
                for turn in all() {
                    let mut transformer = Transformer::new(Transform { crop, turn });
                    transformer.take(whole).unwrap();
                    let got = transformer.frame(whole).unwrap();
                    let what = format!("{layout:?} {crop:?} {turn:?}");
                    assert_eq!((got.width(), got.height()), transformer.transform.size(SIZE), "{what}");
                    assert_eq!(got.stamp, stamp, "{what}");
                    assert_eq!(rgb(&got), oracle(turn, (width, height), &part), "{what}");
                }
            }
        }
    }

    #[test]
    fn what_a_view_can_express_is_not_copied_and_the_buffer_is_taken_once() {
        let data = vec![9; 400];
        let frame = |layout| Frame::new(layout, Yuv::Bt601, SIZE.0, SIZE.1, 0, &data, Stamp::default()).unwrap();
        let mut copies = Vec::new();
        for turn in all() {
            let mut transformer = Transformer::new(Transform { crop: Crop::parse("2,1,4x4"), turn });
            transformer.take(frame(Layout::Nv12)).unwrap();
            copies.push(transformer.copied.is_some());
            let (bytes, place) = (transformer.rgb.capacity(), transformer.rgb.as_ptr());
            transformer.take(frame(Layout::Nv12)).unwrap();
            assert_eq!((transformer.rgb.capacity(), transformer.rgb.as_ptr()), (bytes, place));
        }
        // By rotation: no flip, horizontal, vertical. Half a turn and a horizontal flip are a vertical flip.
        let want = [false, true, false, true, true, true, true, false, true, true, true, true];
        assert_eq!(copies, want);
        let mut odd = Transformer::new(Transform { crop: Crop::parse("3,1,4x4"), turn: Turn::default() });
        odd.take(frame(Layout::Nv12)).unwrap();
        assert!(odd.copied.is_some(), "it starts between two pixels with one chroma");
        odd.take(frame(Layout::Rgb24)).unwrap();
        assert!(odd.copied.is_none());
    }

    #[test]
    fn a_crop_is_written_as_it_is_read_and_one_outside_names_both_sizes() {
        assert_eq!(Crop::parse("160,0,320x480").unwrap().to_string(), "160,0,320x480");
        for bad in ["", "1,2", "1,2,3", "1,2,0x4", "1,2,3x0", "-1,2,3x4", "1,2,3x4x5", "a,2,3x4", "1,2,99999x4"] {
            assert_eq!(Crop::parse(bad), None, "{bad}");
        }
        let data = vec![9; 400];
        let frame = Frame::new(Layout::Yuyv, Yuv::Bt601, SIZE.0, SIZE.1, 0, &data, Stamp::default()).unwrap();
        let mut transformer = Transformer::new(Transform { crop: Crop::parse("4,2,7x3"), ..Transform::default() });
        let error = transformer.take(frame).unwrap_err().to_string();
        assert!(error.contains("4,2,7x3") && error.contains("10x6"), "{error}");
    }
}
