//! Regions: parts of the picture for which a report has shares.
//!
//! A [`RegionMap`] is borrowed from two slices that its maker filled once, for example from polygons ([`super::polygon`]). It
//! has the spans of every region; regions may overlap. The patches of a reference are such regions too. What a mask hides is not left out here, but where pixels are counted.

use super::{FrameError, Span, SpanMap};
use crate::limits::PATCHES_MAX;

/// The spans of all regions of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionMap<'a> {
    /// The regions one below the other.
    map: SpanMap<'a>,
    height: usize,
}

impl<'a> RegionMap<'a> {
    /// A map of `ends.len() / height` regions in pictures of `width` columns and `height` rows. `ends[r * height + y]` is the
    /// number of spans in the regions before `r` and in rows 0 to `y` of it.
    ///
    /// # Errors
    /// [`FrameError::Regions`] if there are more than [`PATCHES_MAX`] or a part of one, [`FrameError::Spans`] if the spans of a
    /// row are not in order, overlap, are empty or leave the picture.
    pub fn new(width: usize, height: usize, ends: &'a [u32], spans: &'a [Span]) -> Result<RegionMap<'a>, FrameError> {
        let is_whole = height > 0 && ends.len().is_multiple_of(height) && ends.len() / height <= PATCHES_MAX;
        if !is_whole {
            return Err(FrameError::Regions);
        }
        Ok(RegionMap { map: SpanMap::new(width, ends, spans)?, height })
    }

    /// Number of regions.
    pub fn len(&self) -> usize {
        self.map.height().checked_div(self.height).unwrap_or(0)
    }

    /// Returns true if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Columns and rows of the picture.
    pub fn size(&self) -> (usize, usize) {
        (self.map.width(), self.height)
    }

    /// The spans of a region in row `y`; none outside of the picture.
    pub fn row(&self, region: usize, y: usize) -> &'a [Span] {
        if y < self.height { self.map.row(region * self.height + y) } else { &[] }
    }
}

/// The runs of columns that are in a span of both rows of spans.
pub fn common<'s>(one: &'s [Span], other: &'s [Span]) -> impl Iterator<Item = Span> + 's {
    // A row of a picture without a mask is one span, and a region has few in a row.
    let both = |a: &Span, b: &Span| Span { start: a.start.max(b.start), end: a.end.min(b.end) };
    one.iter().flat_map(move |a| other.iter().map(move |b| both(a, b))).filter(|span| span.start < span.end)
}

#[cfg(test)]
mod tests {
    use super::super::Frame;
    use super::*;
    use crate::limits::REGIONS_MAX;

    fn span(start: u16, end: u16) -> Span {
        Span { start, end }
    }

    #[test]
    fn each_region_has_its_rows_and_what_is_no_region_is_refused() {
        let spans = [span(0, 2), span(5, 8), span(1, 4), span(0, 8)];
        // Two regions that overlap, in a picture of two rows.
        let map = RegionMap::new(8, 2, &[2, 2, 3, 4], &spans).unwrap();
        assert_eq!((map.len(), map.size(), map.is_empty()), (2, (8, 2), false));
        assert_eq!(
            [map.row(0, 0), map.row(0, 1), map.row(1, 0), map.row(1, 1)],
            [&spans[..2], &[], &spans[2..3], &spans[3..]]
        );
        assert!(map.row(2, 0).is_empty() && map.row(0, 2).is_empty(), "no third region, no third row");
        assert_eq!(RegionMap::new(8, 2, &[2, 2, 3], &spans[..3]).err(), Some(FrameError::Regions));
        assert_eq!(RegionMap::new(8, 1, &[0; PATCHES_MAX + 1], &[]).err(), Some(FrameError::Regions));
        assert_eq!(RegionMap::new(8, 0, &[], &[]).err(), Some(FrameError::Regions));
        assert_eq!(RegionMap::new(7, 2, &[2, 2, 3, 4], &spans).err(), Some(FrameError::Spans));
        assert!(RegionMap::new(8, 2, &[], &[]).unwrap().is_empty());
        let patches = RegionMap::new(8, 1, &[0; REGIONS_MAX + 1], &[]).unwrap();
        let frame = Frame::rgb(8, 1, &[0; 24]).unwrap();
        assert_eq!(frame.with_regions(patches).err(), Some(FrameError::Regions), "patches are no regions of a report");
    }

    #[test]
    fn common_columns_are_those_of_both() {
        let found = |a: &[Span], b: &[Span]| common(a, b).collect::<heapless::Vec<Span, 8>>();
        assert_eq!(found(&[span(0, 4), span(6, 9)], &[span(3, 7), span(8, 20)]), [span(3, 4), span(6, 7), span(8, 9)]);
        assert!(found(&[span(0, 4)], &[span(4, 7)]).is_empty());
    }
}
