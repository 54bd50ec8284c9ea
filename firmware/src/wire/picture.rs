//! What stands in front of pictures: of a part of a clustered picture, and of an original.
//!
//! Both heads have sides of at most 65,535 pixels. A frame with a longer side is clustered and reported like any other, but
//! no picture of it can be sent.

use super::{Kind, Payload};
use crate::limits::{CLUSTERS_MAX, PARTS_MAX};
use heapless::Vec;
use serde::{Deserialize, Serialize};

/// What stands in front of each part of a clustered picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureHead {
    /// The frame.
    pub frame: u64,
    /// This part, from 0.
    pub part: u16,
    /// Parts in all.
    pub parts: u16,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Bytes of the packed label map over all parts.
    pub packed_bytes: u32,
    /// Colours by label.
    pub palette: Vec<[u8; 3], CLUSTERS_MAX>,
}

/// What stands in front of the original picture's JPEG.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginalHead {
    /// The frame.
    pub frame: u64,
    /// Width in pixels of the JPEG.
    pub width: u16,
    /// Height in pixels of the JPEG.
    pub height: u16,
}

impl Payload for PictureHead {
    const KIND: Kind = Kind::Picture;
    const VERSION: u8 = 1;
    fn consistent(&self) -> bool {
        self.part < self.parts && self.parts <= PARTS_MAX && self.width > 0 && self.height > 0
    }
}

impl Payload for OriginalHead {
    const KIND: Kind = Kind::Original;
    const VERSION: u8 = 1;
}
