//! Regions of a source's pictures: the parts that a report has shares of.
//!
//! Inputs are outlines and frames, results are frames with regions. The spans are computed once for each size of a picture, so a
//! frame takes no memory. Without regions a frame is returned unchanged.

use super::SourceError;
use crate::spec::Region;
use firmware::frame::polygon::{Size, Vertex, inside};
use firmware::frame::{Frame, FrameError, RegionMap, Span};

/// Regions, and their spans in pictures of one size.
#[derive(Debug, Default)]
pub struct Divider {
    regions: Vec<Region>,
    size: Option<(usize, usize)>,
    ends: Vec<u32>,
    spans: Vec<Span>,
}

impl Divider {
    /// A divider without spans.
    pub fn new(regions: &[Region]) -> Divider {
        Divider { regions: regions.to_vec(), ..Divider::default() }
    }

    /// Prepares for frames of this size.
    pub fn fit(&mut self, (width, height): (usize, usize)) {
        if self.regions.is_empty() || self.size == Some((width, height)) {
            return;
        }
        self.size = Some((width, height));
        self.ends.clear();
        self.spans.clear();
        for region in &self.regions {
            for y in 0..height {
                self.spans.extend(inside(&[region.polygon.as_slice()], Size { width, height }, y));
                self.ends.push(self.spans.len() as u32);
            }
        }
    }

    /// The frame with its regions. [`Divider::fit`] must have been called with its size.
    ///
    /// # Errors
    /// None in practice.
    pub fn frame<'f>(&'f self, frame: Frame<'f>) -> Result<Frame<'f>, SourceError> {
        if self.regions.is_empty() { Ok(frame) } else { Ok(frame.with_regions(self.map()?)?) }
    }

    /// Bytes that its spans take.
    pub fn bytes(&self) -> usize {
        self.ends.capacity() * size_of::<u32>() + self.spans.capacity() * size_of::<Span>()
    }

    /// The regions in pictures of the last size of [`Divider::fit`].
    ///
    /// # Errors
    /// [`Divider::fit`] was not called.
    pub fn map(&self) -> Result<RegionMap<'_>, FrameError> {
        let (width, height) = self.size.unwrap_or_default();
        RegionMap::new(width, height, &self.ends, &self.spans)
    }
}

/// Bytes that the spans of these outlines take at most in pictures of `height` rows. In each row each pair of corners makes one
/// span, and a vector that grows doubles its capacity.
pub fn bytes_max<'a>(outlines: impl Iterator<Item = &'a [Vertex]>, height: usize) -> usize {
    let row_bytes = |outline: &[Vertex]| size_of::<u32>() + outline.len() / 2 * size_of::<Span>();
    2 * height * outlines.map(row_bytes).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Mask;

    #[test]
    fn frames_of_every_size_have_their_regions() {
        let region = |name: &str, rect| Region { name: name.into(), polygon: Mask::rect(rect).unwrap().polygon };
        let mut divider = Divider::new(&[region("left", [0.0, 0.0, 0.5, 1.0]), region("top", [0.0, 0.0, 1.0, 0.5])]);
        for (width, height) in [(4, 2), (9, 6), (4, 2)] {
            let rgb = vec![0; width * height * 3];
            divider.fit((width, height));
            let frame = divider.frame(Frame::rgb(width, height, &rgb).unwrap()).unwrap();
            let map = frame.regions().unwrap();
            let pixels = |r| (0..height).flat_map(|y| map.row(r, y)).map(|span| span.pixels()).sum::<usize>();
            assert_eq!((map.len(), pixels(0), pixels(1)), (2, width / 2 * height, height / 2 * width));
        }
        let rgb = [0; 3];
        assert!(Divider::new(&[]).frame(Frame::rgb(1, 1, &rgb).unwrap()).unwrap().regions().is_none());
    }
}
