//! The part of a report about colours as people see them.
//!
//! These values came after version 3 of the report. They are encoded behind it and left out if they are the default, so reports
//! without them have the bytes that they had, and a reader takes what is absent as the default.

use crate::color::Space;

/// What is known of a frame's colours as people see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Colorimetry {
    /// The space in which colours were compared: that of lambda and of all squared distances. In CIELAB these are in 1/4096
    /// squared Delta E, and pixels of a histogram cell that one cluster has wholly count at their mean in `sse_q12`.
    pub space: Space,
    /// Mean Delta E 2000 of the pixels to their clusters in 1/64, estimated from the coreset. None in RGB.
    pub de00_mean_q6: Option<u16>,
    /// Mean Delta E 2000 of the reference patches to their values in 1/64, after correction. None without a reference, or if
    /// it cannot be measured.
    pub reference_de00_q6: Option<u16>,
}
