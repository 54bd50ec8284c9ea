//! Masks on a source's pictures: removes masked pixels from a frame before anything reads it.
//!
//! Inputs are polygons and frames, results are frames with a mask. The spans are computed once for each size of a picture, so a
//! frame takes no memory. Without masks a frame is returned unchanged.

use super::SourceError;
use crate::spec::Mask;
use firmware::frame::polygon::{Size, Vertex, outside};
use firmware::frame::{Frame, FrameError, Span, SpanMap};

/// Masks, and the visible spans in pictures of one size.
#[derive(Debug, Default)]
pub struct Masker {
    masks: Vec<Mask>,
    size: Option<(usize, usize)>,
    ends: Vec<u32>,
    spans: Vec<Span>,
}

impl Masker {
    /// A masker without spans.
    pub fn new(masks: &[Mask]) -> Masker {
        Masker { masks: masks.to_vec(), ..Masker::default() }
    }

    /// Prepares for frames of this size.
    pub fn fit(&mut self, (width, height): (usize, usize)) {
        if self.masks.is_empty() || self.size == Some((width, height)) {
            return;
        }
        self.size = Some((width, height));
        self.ends.clear();
        self.spans.clear();
        let polygons: Vec<&[Vertex]> = self.masks.iter().map(|mask| mask.polygon.as_slice()).collect();
        for y in 0..height {
            self.spans.extend(outside(&polygons, Size { width, height }, y));
            self.ends.push(self.spans.len() as u32);
        }
    }

    /// Bytes that its spans take.
    pub fn bytes(&self) -> usize {
        self.ends.capacity() * size_of::<u32>() + self.spans.capacity() * size_of::<Span>()
    }

    /// The frame without the masked pixels. [`Masker::fit`] must have been called with its size.
    ///
    /// # Errors
    /// [`SourceError::Malformed`] if the masks leave no pixel.
    pub fn frame<'f>(&'f self, frame: Frame<'f>) -> Result<Frame<'f>, SourceError> {
        if self.masks.is_empty() {
            return Ok(frame);
        }
        let visible = SpanMap::new(frame.width(), &self.ends, &self.spans)?;
        frame.masked(visible).map_err(|error| match error {
            FrameError::Empty => SourceError::Malformed {
                what: "the picture".into(),
                why: "the masks leave no pixel of it; make one of the [[mask]] tables smaller".into(),
            },
            other => other.into(),
        })
    }
}

/// Bytes that the spans of these masks take at most in pictures of `height` rows. In each row each pair of corners makes one span,
/// leaving them out makes one more, and a vector that grows doubles its capacity. Without masks nothing is taken.
pub fn bytes_max(masks: &[Mask], height: usize) -> usize {
    if masks.is_empty() {
        return 0;
    }
    let row_spans = masks.iter().map(|mask| mask.polygon.len() / 2).sum::<usize>() + 1;
    2 * height * (size_of::<u32>() + row_spans * size_of::<Span>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_pixels_are_black_in_pictures_of_every_size_and_a_mask_over_all_is_explained() {
        let mut masker = Masker::new(&[Mask::rect([0.0, 0.0, 0.5, 1.0]).unwrap()]);
        for (width, height) in [(4, 2), (7, 3), (4, 2)] {
            let rgb = vec![200; width * height * 3];
            masker.fit((width, height));
            let frame = masker.frame(Frame::rgb(width, height, &rgb).unwrap()).unwrap();
            let black = width / 2;
            assert_eq!(frame.visible_px(), (width - black) * height);
            let row = frame.row(0, &mut vec![0; width * 3]).to_vec();
            assert!(row[..3 * black].iter().all(|&v| v == 0) && row[3 * black..].iter().all(|&v| v == 200), "{row:?}");
        }
        let rgb = [9; 12];
        let mut all = Masker::new(&[Mask::rect([0.0, 0.0, 1.0, 1.0]).unwrap()]);
        all.fit((2, 2));
        let error = all.frame(Frame::rgb(2, 2, &rgb).unwrap()).unwrap_err();
        assert!(error.to_string().contains("[[mask]]"), "{error}");
        let none = Masker::new(&[]);
        assert_eq!(none.frame(Frame::rgb(2, 2, &rgb).unwrap()).unwrap().visible_px(), 4);
    }
}
