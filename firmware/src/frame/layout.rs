//! Layouts: how the bytes of a frame lie in memory, and how many there are.
//!
//! Inputs are widths, heights and strides; results are lengths in bytes. Nothing is read here.

/// How the bytes of a frame lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Three bytes a pixel: red, green, blue.
    Rgb24,
    /// Three bytes a pixel: blue, green, red.
    Bgr24,
    /// One byte of luma a pixel.
    Grey,
    /// Two pixels in four bytes: Y0 Cb Y1 Cr (V4L2's YUYV).
    Yuyv,
    /// Two pixels in four bytes: Cb Y0 Cr Y1 (V4L2's UYVY).
    Uyvy,
    /// A plane of Y, then a plane of interleaved Cb and Cr at half size both ways.
    Nv12,
    /// As [`Layout::Nv12`], with Cr before Cb.
    Nv21,
    /// Planes of Y, Cb and Cr; the chroma planes are `1 << h` times narrower and `1 << v` times lower.
    Planar {
        /// Horizontal chroma subsampling, as a shift: 0 or 1 (2 for 4:1:1).
        h: u8,
        /// Vertical chroma subsampling, as a shift: 0 or 1.
        v: u8,
    },
}

impl Layout {
    /// Planar 4:2:0, the layout of most video (`YU12`, y4m's `C420`).
    pub const I420: Layout = Layout::Planar { h: 1, v: 1 };

    /// Bytes of a row of the first plane without padding.
    pub const fn row_bytes(self, width: usize) -> usize {
        match self {
            Layout::Rgb24 | Layout::Bgr24 => width * 3,
            Layout::Yuyv | Layout::Uyvy => width.div_ceil(2) * 4,
            Layout::Grey | Layout::Nv12 | Layout::Nv21 | Layout::Planar { .. } => width,
        }
    }

    /// Bytes of a whole frame whose first plane has rows of `stride` bytes. Chroma planes have rows of `stride` bytes
    /// (NV12 and NV21), or of `stride` divided by the subsampling and rounded up (planar). Saturates at `usize::MAX`, which is
    /// longer than any buffer.
    pub const fn frame_bytes(self, stride: usize, height: usize) -> usize {
        let luma = stride.saturating_mul(height);
        let chroma = match self {
            Layout::Rgb24 | Layout::Bgr24 | Layout::Grey | Layout::Yuyv | Layout::Uyvy => 0,
            Layout::Nv12 | Layout::Nv21 => stride.div_ceil(2).saturating_mul(2).saturating_mul(height.div_ceil(2)),
            Layout::Planar { h, v } => thinned(stride, h).saturating_mul(2).saturating_mul(thinned(height, v)),
        };
        luma.saturating_add(chroma)
    }

    /// Pixels in a row that share their chroma: a crop without conversion starts at a multiple of this.
    pub const fn chroma_width(self) -> usize {
        match self {
            Layout::Rgb24 | Layout::Bgr24 | Layout::Grey => 1,
            Layout::Yuyv | Layout::Uyvy | Layout::Nv12 | Layout::Nv21 => 2,
            Layout::Planar { h, .. } => 1 << if h < 3 { h } else { 2 },
        }
    }

    /// Returns true if the chroma subsampling is one that cameras or decoders produce.
    pub(super) const fn is_known(self) -> bool {
        !matches!(self, Layout::Planar { h: 3.., .. } | Layout::Planar { v: 2.., .. })
    }
}

/// Number of chroma samples for `n` luma samples: `n` divided by `1 << shift`, rounded up.
pub(super) const fn thinned(n: usize, shift: u8) -> usize {
    match 1usize.checked_shl(shift as u32) {
        Some(one_of) => n.div_ceil(one_of),
        None => 1,
    }
}
