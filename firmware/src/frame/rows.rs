//! The rows of a frame as RGB: as captured, with masked pixels black, or as they are counted.
//!
//! RGB buffers are read in place, and other layouts are converted into a row buffer that the caller lends. A frame's
//! buffer has all its rows ([`Frame::new`]), so no row reads past its end.

use super::layout::thinned;
use super::{Frame, Layout};
use crate::kernel::ycbcr;

impl<'a> Frame<'a> {
    /// Row `y` as `3 * width` RGB bytes, as captured; masked pixels are black. An RGB frame without a mask returns its own bytes; others
    /// are written into `scratch`. Returns an empty slice if `y` is outside the frame, or if `scratch` is needed and too
    /// short.
    pub fn row<'s>(&self, y: usize, scratch: &'s mut [u8]) -> &'s [u8]
    where
        'a: 's,
    {
        if self.visible.is_none() || y >= self.height {
            return self.captured_row(y, scratch);
        }
        let Some(out) = self.copied_row(y, scratch) else { return &[] };
        let mut column = 0;
        for span in self.visible_spans(y) {
            let columns = span.columns();
            out.get_mut(column * 3..columns.start * 3).unwrap_or(&mut []).fill(0);
            column = columns.end;
        }
        out.get_mut(column * 3..).unwrap_or(&mut []).fill(0);
        out
    }

    /// Row `y` as it is counted: as [`Frame::row`], but corrected, for code that only reads [`Frame::visible_spans`]. Pixels
    /// outside of these have any colour.
    pub fn counted_row<'s>(&self, y: usize, scratch: &'s mut [u8]) -> &'s [u8]
    where
        'a: 's,
    {
        let Some(correction) = self.correction else { return self.captured_row(y, scratch) };
        let Some(out) = self.copied_row(y, scratch) else { return &[] };
        let pixels = out.as_chunks_mut::<3>().0;
        for span in self.visible_spans(y) {
            correction.apply(pixels.get_mut(span.columns()).unwrap_or(&mut []));
        }
        out
    }

    /// Row `y` as it was captured, masked pixels too.
    pub(crate) fn captured_row<'s>(&self, y: usize, scratch: &'s mut [u8]) -> &'s [u8]
    where
        'a: 's,
    {
        if y >= self.height {
            return &[];
        }
        let y = self.top + if self.upside_down { self.height - 1 - y } else { y };
        let bytes = self.width * 3;
        if self.layout == Layout::Rgb24 {
            let start = y * self.stride + self.left * 3;
            return self.data.get(start..start + bytes).unwrap_or(&[]);
        }
        let Some(out) = scratch.get_mut(..bytes) else { return &[] };
        self.convert(y, out);
        out
    }

    /// Row `y` as it was captured, written into `scratch`. None if there is no such row or no room.
    fn copied_row<'s>(&self, y: usize, scratch: &'s mut [u8]) -> Option<&'s mut [u8]> {
        let out = scratch.get_mut(..self.width * 3).filter(|_| y < self.height)?;
        if self.layout == Layout::Rgb24 {
            out.iter_mut().zip(self.captured_row(y, &mut [])).for_each(|(to, from)| *to = *from);
        } else {
            self.captured_row(y, out);
        }
        Some(out)
    }

    /// Converts row `y` of the buffer, from the frame's left border on.
    fn convert(&self, y: usize, out: &mut [u8]) {
        // No padding is converted: a whole number of chroma samples is to the left.
        let line = self.data.get(y * self.stride + self.layout.row_bytes(self.left)..).unwrap_or(&[]);
        let (pixels, _) = out.as_chunks_mut::<3>();
        match self.layout {
            Layout::Rgb24 | Layout::Bgr24 => {
                for (px, c) in pixels.iter_mut().zip(line.as_chunks::<3>().0) {
                    *px = [c[2], c[1], c[0]];
                }
            }
            Layout::Grey => {
                for (px, &l) in pixels.iter_mut().zip(line) {
                    *px = [l, l, l];
                }
            }
            Layout::Yuyv => ycbcr::yuyv(self.yuv, line, pixels),
            Layout::Uyvy => ycbcr::uyvy(self.yuv, line, pixels),
            Layout::Nv12 | Layout::Nv21 => {
                let start = self.stride * self.rows + (y / 2) * self.stride.next_multiple_of(2) + self.left;
                let chroma = self.data.get(start..).unwrap_or(&[]);
                let convert = if self.layout == Layout::Nv12 { ycbcr::nv12 } else { ycbcr::nv21 };
                convert(self.yuv, line, chroma, pixels);
            }
            Layout::Planar { h, v } => {
                let (cs, ch) = (thinned(self.stride, h), thinned(self.rows, v));
                let cb = self.stride * self.rows + (y >> v) * cs + (self.left >> h);
                let (cb, cr) = (self.data.get(cb..).unwrap_or(&[]), self.data.get(cb + cs * ch..).unwrap_or(&[]));
                ycbcr::planar(self.yuv, line, cb, cr, h, pixels);
            }
        }
    }
}
