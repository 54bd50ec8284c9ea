//! A frame: a camera's buffer, borrowed and read row by row as RGB.
//!
//! Inputs are a driver's buffer and the description of its layout; results are rows of RGB bytes (`rows.rs`), with the frame's
//! number and capture time. A frame is never copied as a whole. [`Frame::new`] checks the length of the buffer once, so no row
//! reads past its end. A frame may have a mask: pixels that nobody may see are black in its rows and counted nowhere. It may
//! have regions, parts of the picture that are reported by themselves. It may have a correction: then
//! [`Frame::counted_row`], which all code reads that counts, clusters and labels, has corrected colours, and [`Frame::row`]
//! those that were captured.

mod layout;
pub mod polygon;
pub mod regions;
mod rows;
mod spans;

pub use layout::Layout;
pub use regions::RegionMap;
pub use spans::{Span, SpanMap};

use crate::color::Correction;
pub use crate::kernel::ycbcr::Yuv;
use crate::limits::{PIXELS_MAX, REGIONS_MAX, WIDTH_PX_MAX};

/// Why a buffer and its description do not form a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// Width or height is 0.
    Empty,
    /// More pixels than [`PIXELS_MAX`], or wider than [`WIDTH_PX_MAX`].
    TooLarge,
    /// A row is longer than the stride.
    StrideTooSmall,
    /// The buffer ends before the frame does.
    Truncated,
    /// There are fewer chroma samples than in 4:1:1 or 4:2:0.
    Chroma,
    /// A crop is not inside the frame.
    Outside,
    /// A crop starts between pixels that share their chroma.
    SplitChroma,
    /// Spans of a row overlap, are empty, out of order or outside the picture.
    Spans,
    /// A mask is of another size than the frame.
    MaskSize,
    /// A frame with a mask or regions is to be cropped.
    Masked,
    /// There are too many regions or patches, or not all rows of each.
    Regions,
    /// Regions are of another size than the frame.
    RegionsSize,
}

impl core::fmt::Display for FrameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            FrameError::Empty => "the frame has no pixels",
            FrameError::TooLarge => "the frame has more than 16,777,216 pixels or is wider than 8,192",
            FrameError::StrideTooSmall => "a row of the frame is longer than its stride",
            FrameError::Truncated => "the frame's buffer ends before its last row",
            FrameError::Outside => "the crop is not inside the frame",
            FrameError::SplitChroma => "the crop starts between pixels that share their chroma",
            FrameError::Spans => "spans of a row overlap, are empty, out of order or outside the picture",
            FrameError::MaskSize => "the mask is of another size than the frame",
            FrameError::Masked => "a frame is cropped before it is masked or has regions",
            FrameError::Regions => "there are more than 16 regions, or a region is without some rows",
            FrameError::RegionsSize => "the regions are of another size than the frame",
            FrameError::Chroma => "the frame has fewer chroma samples than 4:1:1 or 4:2:0",
        })
    }
}

impl core::error::Error for FrameError {}

/// A frame's number, capture time and losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// The source's number of this frame, from 0.
    pub number: u64,
    /// Frames that were lost before this one since the source was opened (camera overruns, refused records).
    pub dropped: u64,
    /// Microseconds since the Unix epoch at capture.
    pub captured_at_us: u64,
    /// The clock was synchronised when it gave `captured_at_us`.
    pub clock_synced: bool,
}

/// One picture, borrowed from the buffer that it was captured in.
///
/// ```
/// use firmware::frame::{Frame, Span, SpanMap};
///
/// let rgb: Vec<u8> = (0..4).flat_map(|level| [level; 3]).collect();
/// let frame = Frame::rgb(2, 2, &rgb)?;
/// assert_eq!(frame.row(1, &mut []), [2, 2, 2, 3, 3, 3]);
///
/// // Only the right column may be seen; a masked row is copied into the row buffer.
/// let spans = [Span { start: 1, end: 2 }; 2];
/// let masked = frame.masked(SpanMap::new(2, &[1, 2], &spans)?)?;
/// assert_eq!(masked.row(1, &mut [0; 6]), [0, 0, 0, 3, 3, 3]);
/// assert_eq!((masked.pixels(), masked.visible_px()), (4, 2));
/// # Ok::<(), firmware::frame::FrameError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    width: usize,
    height: usize,
    stride: usize,
    layout: Layout,
    yuv: Yuv,
    data: &'a [u8],
    /// The first pixel's column and row in the buffer.
    left: usize,
    top: usize,
    /// Rows of the buffer's first plane.
    rows: usize,
    upside_down: bool,
    /// What may be seen, if not everything; and whether its last row belongs to the frame's first.
    visible: Option<(SpanMap<'a>, bool)>,
    regions: Option<RegionMap<'a>>,
    correction: Option<&'a Correction>,
    reference_de00_q6: Option<u16>,
    /// The span of a whole row.
    whole_row: [Span; 1],
    /// Number, time and losses.
    pub stamp: Stamp,
}

impl<'a> Frame<'a> {
    /// A frame over `data`; `stride` is the length in bytes of a row of the first plane (0: no padding).
    ///
    /// # Errors
    /// [`FrameError`] if the description does not fit the buffer or exceeds a limit.
    pub fn new(
        layout: Layout,
        yuv: Yuv,
        width: usize,
        height: usize,
        stride: usize,
        data: &'a [u8],
        stamp: Stamp,
    ) -> Result<Self, FrameError> {
        if width == 0 || height == 0 {
            return Err(FrameError::Empty);
        }
        if width > WIDTH_PX_MAX || width.checked_mul(height).is_none_or(|n| n > PIXELS_MAX) {
            return Err(FrameError::TooLarge);
        }
        if !layout.is_known() {
            return Err(FrameError::Chroma);
        }
        let stride = if stride == 0 { layout.row_bytes(width) } else { stride };
        if stride < layout.row_bytes(width) {
            return Err(FrameError::StrideTooSmall);
        }
        // The last row may come without its padding.
        let padding = stride - layout.row_bytes(width);
        let slack = if matches!(layout, Layout::Nv12 | Layout::Nv21 | Layout::Planar { .. }) { 0 } else { padding };
        let whole = layout.frame_bytes(stride, height);
        if whole == usize::MAX || whole - slack > data.len() {
            return Err(FrameError::Truncated);
        }
        let whole_row = [Span { start: 0, end: width as u16 }];
        let (left, top, rows, upside_down, visible, regions) = (0, 0, height, false, None, None);
        Ok(Frame {
            width,
            height,
            stride,
            layout,
            yuv,
            data,
            left,
            top,
            rows,
            upside_down,
            visible,
            regions,
            correction: None,
            reference_de00_q6: None,
            whole_row,
            stamp,
        })
    }

    /// A frame of RGB24 without padding and without a stamp, for stills and tests.
    ///
    /// # Errors
    /// As [`Frame::new`].
    pub fn rgb(width: usize, height: usize, data: &'a [u8]) -> Result<Self, FrameError> {
        Frame::new(Layout::Rgb24, Yuv::default(), width, height, 0, data, Stamp::default())
    }

    /// The part of the frame that begins at pixel (`left`, `top`), over the same buffer.
    ///
    /// # Errors
    /// [`FrameError::Empty`] or [`FrameError::Outside`] if it is not a part, [`FrameError::SplitChroma`] if `left` is not a
    /// multiple of [`Layout::chroma_width`].
    pub fn cropped(self, left: usize, top: usize, width: usize, height: usize) -> Result<Self, FrameError> {
        if self.visible.is_some() || self.regions.is_some() {
            return Err(FrameError::Masked);
        }
        if width == 0 || height == 0 {
            return Err(FrameError::Empty);
        }
        let inside = |from: usize, n: usize, all: usize| from.checked_add(n).is_some_and(|end| end <= all);
        if !inside(left, width, self.width) || !inside(top, height, self.height) {
            return Err(FrameError::Outside);
        }
        if !(self.left + left).is_multiple_of(self.layout.chroma_width()) {
            return Err(FrameError::SplitChroma);
        }
        let above = if self.upside_down { self.height - top - height } else { top };
        let whole_row = [Span { start: 0, end: width as u16 }];
        Ok(Frame { width, height, left: self.left + left, top: self.top + above, whole_row, ..self })
    }

    /// The frame with its last row first, over the same buffer. A mask goes with its pixels; regions stay where they are in the
    /// picture.
    #[must_use]
    pub fn flipped_vertically(self) -> Self {
        let visible = self.visible.map(|(map, is_flipped)| (map, !is_flipped));
        Frame { upside_down: !self.upside_down, visible, ..self }
    }

    /// The frame with only the pixels of `visible`: all others are black in [`Frame::row`] and counted nowhere.
    ///
    /// # Errors
    /// [`FrameError::MaskSize`] if the map is of another size, [`FrameError::Empty`] if no pixel is visible.
    pub fn masked(self, visible: SpanMap<'a>) -> Result<Self, FrameError> {
        if (visible.width(), visible.height()) != (self.width, self.height) {
            return Err(FrameError::MaskSize);
        }
        if visible.pixels() == 0 {
            return Err(FrameError::Empty);
        }
        Ok(Frame { visible: Some((visible, false)), ..self })
    }

    /// The frame with regions that its report is to have. A map without any regions is none.
    ///
    /// # Errors
    /// [`FrameError::RegionsSize`] if the map is of another size, [`FrameError::Regions`] if there are more than [`REGIONS_MAX`].
    pub fn with_regions(self, regions: RegionMap<'a>) -> Result<Self, FrameError> {
        if regions.size() != (self.width, self.height) {
            return Err(FrameError::RegionsSize);
        }
        if regions.len() > REGIONS_MAX {
            return Err(FrameError::Regions);
        }
        Ok(Frame { regions: Some(regions).filter(|map| !map.is_empty()), ..self })
    }

    /// The regions that its report is to have.
    pub fn regions(&self) -> Option<RegionMap<'a>> {
        self.regions
    }

    /// The frame with another correction, or none, and with what its report has of its reference patches: their mean
    /// Delta E 2000 after correction in 1/64, if that is known.
    #[must_use]
    pub fn with_correction(self, correction: Option<&'a Correction>, reference_de00_q6: Option<u16>) -> Self {
        Frame { correction, reference_de00_q6, ..self }
    }

    /// The mean Delta E 2000 of the reference patches after correction, in 1/64, if it is known.
    pub fn reference_de00_q6(&self) -> Option<u16> {
        self.reference_de00_q6
    }

    /// Width in pixels, 1 to [`WIDTH_PX_MAX`].
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Pixels in the frame, 1 to [`PIXELS_MAX`].
    pub fn pixels(&self) -> usize {
        self.width * self.height
    }

    /// Pixels that may be seen and are counted: all, unless the frame has a mask.
    pub fn visible_px(&self) -> usize {
        self.visible.map_or(self.pixels(), |(map, _)| map.pixels())
    }

    /// The visible pixels of row `y`.
    pub fn visible_spans(&self, y: usize) -> &[Span] {
        match &self.visible {
            None => &self.whole_row,
            Some((map, false)) => map.row(y),
            Some((map, true)) => map.row(self.height.wrapping_sub(1 + y)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(layout: Layout, yuv: Yuv, w: usize, h: usize, stride: usize, data: &[u8]) -> heapless::Vec<u8, 96> {
        let f = Frame::new(layout, yuv, w, h, stride, data, Stamp::default()).unwrap();
        let (mut out, mut scratch) = (heapless::Vec::new(), [0; 48]);
        for y in 0..h {
            out.extend_from_slice(f.row(y, &mut scratch)).unwrap();
        }
        out
    }

    #[test]
    fn the_standards_corner_colours_come_out_within_one_level() {
        // 8-bit YCbCr of BT.601's and BT.709's red, limited range, from the standards' equations.
        for (yuv, ycc, want) in [
            (Yuv::Bt601, [81, 90, 240], [254, 0, 0]),
            (Yuv::Bt709, [63, 102, 240], [255, 0, 0]),
            (Yuv::Bt601Full, [76, 85, 255], [254, 0, 0]),
            (Yuv::Bt601, [235, 128, 128], [255, 255, 255]),
            (Yuv::Bt709, [16, 128, 128], [0, 0, 0]),
            (Yuv::Bt709Full, [128, 128, 128], [128, 128, 128]),
        ] {
            let got = rows(Layout::Planar { h: 0, v: 0 }, yuv, 1, 1, 0, &ycc);
            for (g, w) in got.iter().zip(want) {
                assert!(g.abs_diff(w) <= 1, "{yuv:?} {ycc:?}: {got:?}, not {want:?}");
            }
        }
    }

    #[test]
    fn every_yuv_layout_of_the_same_picture_gives_the_same_rgb() {
        // 3x2, so that odd widths count: luma 10..60, one chroma pair for columns 0-1, another for column 2.
        let yuyv = [10, 90, 20, 200, 30, 110, 0, 140, 40, 90, 50, 200, 60, 110, 0, 140];
        let nv12 = [10, 20, 30, 0, 40, 50, 60, 0, 90, 200, 110, 140];
        let i420 = [10, 20, 30, 0, 40, 50, 60, 0, 90, 110, 200, 140];
        let i422 = [10, 20, 30, 0, 40, 50, 60, 0, 90, 110, 90, 110, 200, 140, 200, 140];
        let want = rows(Layout::Yuyv, Yuv::Bt601, 3, 2, 0, &yuyv);
        assert_eq!(want.len(), 18);
        assert_eq!(rows(Layout::Nv12, Yuv::Bt601, 3, 2, 4, &nv12), want);
        let uyvy = [90, 10, 200, 20, 110, 30, 140, 0, 90, 40, 200, 50, 110, 60, 140, 0];
        let nv21 = [10, 20, 30, 0, 40, 50, 60, 0, 200, 90, 140, 110];
        assert_eq!(rows(Layout::Uyvy, Yuv::Bt601, 3, 2, 0, &uyvy), want);
        assert_eq!(rows(Layout::Nv21, Yuv::Bt601, 3, 2, 4, &nv21), want);
        assert_eq!(rows(Layout::I420, Yuv::Bt601, 3, 2, 4, &i420), want);
        assert_eq!(rows(Layout::Planar { h: 1, v: 0 }, Yuv::Bt601, 3, 2, 4, &i422), want);
    }

    #[test]
    fn a_part_of_a_frame_has_the_pixels_that_the_whole_has_there() {
        let mut data = [0u8; 12 * 8 * 3];
        data.iter_mut().enumerate().for_each(|(i, b)| *b = (i * 73 + i / 7) as u8);
        let (w, h) = (8, 6);
        let packed =
            [Layout::Rgb24, Layout::Bgr24, Layout::Grey, Layout::Yuyv, Layout::Uyvy, Layout::Nv12, Layout::Nv21];
        let planar = [(0, 0), (1, 0), (1, 1), (2, 0), (0, 1)].map(|(h, v)| Layout::Planar { h, v });
        for layout in packed.into_iter().chain(planar) {
            // Rows with and without padding.
            for stride in [layout.row_bytes(w), layout.row_bytes(w) + 4] {
                let whole = Frame::new(layout, Yuv::Bt601, w, h, stride, &data, Stamp::default()).unwrap();
                let step = layout.chroma_width();
                for (left, top, cw, ch) in [(0, 0, w, h), (step, 1, 3, 2), (w - step, h - 1, 1, 1), (0, 3, 7, 3)] {
                    let part = whole.cropped(left, top, cw, ch).unwrap();
                    let (mut one, mut all) = ([0; 24], [0; 24]);
                    for y in 0..ch {
                        let want = &whole.row(top + y, &mut all)[left * 3..(left + cw) * 3];
                        assert_eq!(part.row(y, &mut one), want, "{layout:?} {left} {top} row {y}");
                        assert_eq!(part.flipped_vertically().row(ch - 1 - y, &mut one), want, "{layout:?} upside down");
                        let other = whole.flipped_vertically().cropped(left, h - top - ch, cw, ch).unwrap();
                        assert_eq!(other.row(ch - 1 - y, &mut one), want, "{layout:?} of one upside down");
                        let twice = whole.cropped(0, top, w, ch).unwrap().cropped(left, 0, cw, ch).unwrap();
                        assert_eq!(twice.row(y, &mut one), want, "{layout:?} in two steps");
                    }
                }
                let odd = whole.cropped(1, 0, 2, 2).map(|_| ());
                assert_eq!(odd, if step == 1 { Ok(()) } else { Err(FrameError::SplitChroma) }, "{layout:?}");
            }
        }
        let frame = Frame::rgb(8, 6, &data).unwrap();
        assert_eq!(frame.cropped(8, 0, 1, 1).err(), Some(FrameError::Outside));
        assert_eq!(frame.cropped(0, 5, 1, 2).err(), Some(FrameError::Outside));
        assert_eq!(frame.cropped(usize::MAX, 0, 1, 1).err(), Some(FrameError::Outside));
        assert_eq!(frame.cropped(0, 0, 0, 1).err(), Some(FrameError::Empty));
    }

    #[test]
    fn rgb_rows_are_the_frames_own_bytes_and_padding_is_skipped() {
        let data = [1, 2, 3, 4, 5, 6, 0, 7, 8, 9, 10, 11, 12];
        let f = Frame::new(Layout::Rgb24, Yuv::Bt601, 2, 2, 7, &data, Stamp::default()).unwrap();
        assert_eq!(f.row(1, &mut []), &[7, 8, 9, 10, 11, 12]);
        assert_eq!(f.row(2, &mut []), &[] as &[u8]);
        assert_eq!(rows(Layout::Bgr24, Yuv::Bt601, 2, 2, 7, &data)[..3], [3, 2, 1]);
        assert_eq!(rows(Layout::Grey, Yuv::Bt601, 2, 2, 7, &data)[..], [1, 1, 1, 2, 2, 2, 7, 7, 7, 8, 8, 8]);
    }

    #[test]
    fn a_buffer_that_does_not_fit_its_description_is_refused() {
        let new = |w, h, stride, len| {
            Frame::new(Layout::I420, Yuv::Bt601, w, h, stride, &[0; 64][..len], Stamp::default()).map(|_| ())
        };
        assert_eq!(new(0, 4, 0, 64), Err(FrameError::Empty));
        assert_eq!(new(4, usize::MAX, 0, 64), Err(FrameError::TooLarge));
        assert_eq!(new(9_000, 1, 0, 64), Err(FrameError::TooLarge));
        assert_eq!(new(4, 4, 3, 64), Err(FrameError::StrideTooSmall));
        assert_eq!(new(4, 4, 0, 23), Err(FrameError::Truncated));
        assert_eq!(new(4, 4, 0, 24), Ok(()));
        // A stride whose frame has more bytes than can be counted: found by fuzzing.
        for stride in [usize::MAX, usize::MAX / 2, usize::MAX / 4 + 1] {
            for layout in [Layout::Rgb24, Layout::Yuyv, Layout::Uyvy, Layout::Nv12, Layout::Nv21, Layout::I420] {
                let huge = Frame::new(layout, Yuv::Bt601, 1, 5, stride, &[0; 64], Stamp::default());
                assert_eq!(huge.err(), Some(FrameError::Truncated), "{layout:?} {stride}");
            }
        }
        let thin = Layout::Planar { h: 64, v: 0 };
        let thin = Frame::new(thin, Yuv::Bt601, 4, 4, 0, &[0; 64], Stamp::default());
        assert_eq!(thin.err(), Some(FrameError::Chroma));
    }
}
