//! Crop, rotation and flip of a source's pictures, as the configuration names them.
//!
//! Nothing is drawn here: `crate::camera::transform` does that.

use crate::turn::Turn;
use std::fmt;

/// A part of a picture, in pixels of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crop {
    /// Columns to the left of it.
    pub left: usize,
    /// Rows above it.
    pub top: usize,
    /// Its columns, at least 1.
    pub width: usize,
    /// Its rows, at least 1.
    pub height: usize,
}

impl Crop {
    /// `X,Y,WIDTHxHEIGHT`, such as `160,0,320x480`.
    pub fn parse(text: &str) -> Option<Crop> {
        let (left, rest) = text.split_once(',')?;
        let (top, size) = rest.split_once(',')?;
        let (width, height) = size.split_once('x')?;
        let number = |word: &str| word.trim().parse::<u16>().ok().map(usize::from);
        let crop = Crop { left: number(left)?, top: number(top)?, width: number(width)?, height: number(height)? };
        (crop.width > 0 && crop.height > 0).then_some(crop)
    }
}

impl fmt::Display for Crop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}x{}", self.left, self.top, self.width, self.height)
    }
}

/// What is done to every picture: first the crop, then the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transform {
    /// The part that is kept; none: all of it.
    pub crop: Option<Crop>,
    /// How that part is rotated and flipped.
    pub turn: Turn,
}

impl Transform {
    /// Width and height of what becomes of a picture of this size, in pixels.
    pub fn size(&self, source: (usize, usize)) -> (usize, usize) {
        self.turn.size(self.crop.map_or(source, |c| (c.width, c.height)))
    }

    /// Returns true if the turn needs a copy of the picture: all but the identity and a vertical flip do.
    pub fn turns_by_copy(&self) -> bool {
        self.turn.steps((2, 2)).right != 1
    }
}
