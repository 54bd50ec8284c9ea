//! Spans: the runs of pixels in each row that belong to a part of the picture.
//!
//! A [`SpanMap`] is borrowed from two slices that its maker filled once, for example from polygons ([`super::polygon`]). It
//! has the pixels of a frame that may be seen ([`super::Frame::masked`]) or that form a region. Spans of a row are in
//! ascending order, not empty, and do not overlap; [`SpanMap::new`] checks that.

use super::FrameError;
use core::ops::Range;

/// A run of pixels in a row: the columns from `start` to just before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Span {
    /// First column.
    pub start: u16,
    /// The column after the last.
    pub end: u16,
}

impl Span {
    /// The columns as a range of indices.
    pub fn columns(self) -> Range<usize> {
        usize::from(self.start)..usize::from(self.end)
    }

    /// Number of pixels.
    pub fn pixels(self) -> usize {
        self.columns().len()
    }
}

/// The spans of every row of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanMap<'a> {
    width: usize,
    /// For each row, the number of spans in it and in all rows above.
    ends: &'a [u32],
    spans: &'a [Span],
    pixels: usize,
}

impl<'a> SpanMap<'a> {
    /// A map for pictures of `width` columns and `ends.len()` rows. `ends[y]` is the number of spans in rows 0 to `y`.
    ///
    /// # Errors
    /// [`FrameError::Spans`] if the spans are not in order, overlap, are empty or leave the picture.
    pub fn new(width: usize, ends: &'a [u32], spans: &'a [Span]) -> Result<SpanMap<'a>, FrameError> {
        let mut map = SpanMap { width, ends, spans, pixels: 0 };
        let mut all = 0;
        for (y, &end) in ends.iter().enumerate() {
            let row = map.row(y);
            let mut column = 0;
            for span in row {
                if usize::from(span.start) < column || span.end <= span.start || usize::from(span.end) > width {
                    return Err(FrameError::Spans);
                }
                (column, map.pixels) = (usize::from(span.end), map.pixels + span.pixels());
            }
            all += row.len();
            // A row that is missing or out of order has no spans, so the count differs.
            if all != end as usize {
                return Err(FrameError::Spans);
            }
        }
        if all == spans.len() { Ok(map) } else { Err(FrameError::Spans) }
    }

    /// The spans of row `y`; none outside of the picture.
    pub fn row(&self, y: usize) -> &'a [Span] {
        let end = |y: usize| self.ends.get(y).map(|&end| end as usize);
        let start = if y == 0 { Some(0) } else { end(y - 1) };
        let range = start.zip(end(y)).map(|(start, end)| start..end);
        range.and_then(|range| self.spans.get(range)).unwrap_or(&[])
    }

    /// Columns of the picture.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows of the picture.
    pub fn height(&self) -> usize {
        self.ends.len()
    }

    /// Pixels in all spans.
    pub fn pixels(&self) -> usize {
        self.pixels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u16, end: u16) -> Span {
        Span { start, end }
    }

    #[test]
    fn a_map_has_its_spans_by_rows_and_their_pixels() {
        let spans = [span(0, 2), span(5, 8), span(3, 4)];
        let map = SpanMap::new(8, &[2, 2, 3], &spans).unwrap();
        assert_eq!((map.width(), map.height(), map.pixels()), (8, 3, 6));
        assert_eq!([map.row(0), map.row(1), map.row(2), map.row(3)], [&spans[..2], &[], &spans[2..], &[]]);
        assert_eq!(SpanMap::new(8, &[0; 4], &[]).unwrap().pixels(), 0);
    }

    #[test]
    fn a_map_whose_spans_overlap_leave_the_picture_or_miscount_is_refused() {
        for (ends, spans) in [
            (&[2][..], &[span(0, 3), span(2, 5)][..]),
            (&[2], &[span(4, 5), span(0, 2)]),
            (&[1], &[span(3, 3)]),
            (&[1], &[span(3, 9)]),
            (&[1], &[span(0, 1), span(1, 2)]),
            (&[3], &[span(0, 1), span(1, 2)]),
            (&[2, 1, 2], &[span(0, 1), span(1, 2)]),
        ] {
            assert_eq!(SpanMap::new(8, ends, spans), Err(FrameError::Spans), "{ends:?} {spans:?}");
        }
        assert!(SpanMap::new(8, &[2], &[span(0, 1), span(1, 2)]).is_ok(), "spans may touch");
    }
}
