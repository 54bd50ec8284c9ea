//! Cubes of the colour space, and how far their colours are from a named colour.
//!
//! Inputs are a cube and the named colours; results are bounds: which colours a cube's pixels may have, which they all have.
//! CIEDE2000 has no simple bound over a cube, so it is computed at the middle and the corners, with a margin for the rest.
//! The margin is not proven; a test of `cells` compares cells of random colours with their pixels.

use super::NamedColour;
use crate::color::{Lab, de00_min_q12, de00_q12};

/// How much CIEDE2000 changes at most over a distance of 1 in CIELAB, in 1/16. The lowest weights of the formula are about 1;
/// near grey, a is enlarged by a half; around blue, chroma and hue count together.
const SLOPE_Q4: u32 = 28;
/// A quarter more than the change towards the cell's corners, and a quarter of a Delta E: the formula is not straight. A test
/// compares cells of random colours with their pixels.
const BEND: (u32, u32) = (4, 1 << 10);

/// A part of the colour space with sides of a power of two.
pub(super) struct Cube {
    pub(super) low: [u16; 3],
    pub(super) side: u16,
}

impl Cube {
    /// One of its eight parts of half the side.
    pub(super) fn eighth(&self, n: u16) -> Cube {
        let side = self.side / 2;
        Cube { low: core::array::from_fn(|channel| self.low[channel] + side * (n >> channel & 1)), side }
    }

    pub(super) fn extent(&self) -> Extent {
        // The middle of the levels, exact in 1/64.
        let middle = Lab::of_q6(self.low.map(|level| level * 64 + (self.side - 1) * 32));
        let corner = |n: usize| Lab::of_rgb(self.eighth_corner(n));
        let corners: [Lab; 8] = core::array::from_fn(corner);
        let radius_q12 = corners.iter().map(|corner| corner.distance_q12(middle)).max().unwrap_or(0);
        Extent { middle, corners, radius_q12 }
    }

    fn eighth_corner(&self, n: usize) -> [u8; 3] {
        core::array::from_fn(|channel| (self.low[channel] + (self.side - 1) * (n >> channel & 1) as u16) as u8)
    }
}

/// How far a cube's middle is from a colour, by how much less or more that may be for its pixels, and where the colour ends.
pub(super) struct Reach {
    pub(super) de00_q12: u32,
    change_q12: u32,
    tolerance_q12: u32,
}

impl Reach {
    /// Whether no pixel has the colour.
    pub(super) fn lacks(&self) -> bool {
        self.de00_q12 > self.tolerance_q12 + self.change_q12
    }

    /// Whether all pixels are within the colour's tolerance.
    pub(super) fn has(&self) -> bool {
        self.de00_q12 + self.change_q12 <= self.tolerance_q12
    }

    /// Whether all pixels are nearer to this colour than to the other.
    pub(super) fn is_nearer_than(&self, other: &Reach) -> bool {
        self.de00_q12 + self.change_q12 < other.de00_q12.saturating_sub(other.change_q12)
    }
}

/// Where a cube is in CIELAB.
pub(super) struct Extent {
    middle: Lab,
    corners: [Lab; 8],
    /// The distance of its farthest corner from the middle.
    radius_q12: u32,
}

impl Extent {
    /// Those of the colours that its pixels may have.
    pub(super) fn near(&self, colours: &[NamedColour], among: u16) -> u16 {
        // A jump takes a quarter of the difference at most.
        let is_far = |colour: &NamedColour| {
            de00_min_q12(colour.lab, self.middle) / 4 * 3 > colour.tolerance_q12() + self.radius_q12 * SLOPE_Q4 / 16
        };
        let is_near = |n: usize, colour: &NamedColour| {
            among >> n & 1 == 1 && !is_far(colour) && !self.rough_reach(colour).lacks()
        };
        let near = colours.iter().enumerate().filter(|(n, colour)| is_near(*n, colour));
        near.fold(0, |near, (n, _)| near | 1 << n)
    }

    /// For a cube of any size.
    fn rough_reach(&self, colour: &NamedColour) -> Reach {
        let de00_q12 = de00_q12(colour.lab, self.middle);
        let change_q12 = self.radius_q12 * SLOPE_Q4 / 16 + self.jump_q12(colour.lab, de00_q12);
        Reach { de00_q12, change_q12, tolerance_q12: colour.tolerance_q12() }
    }

    /// For a cube that is so small that the formula is almost straight in it.
    pub(super) fn reach(&self, colour: &NamedColour) -> Reach {
        let rough = self.rough_reach(colour);
        let change = self.corners.iter().map(|&corner| de00_q12(colour.lab, corner).abs_diff(rough.de00_q12)).max();
        let change = change.map_or(0, |change| change + change / BEND.0 + BEND.1);
        Reach { change_q12: rough.change_q12.min(change + self.jump_q12(colour.lab, rough.de00_q12)), ..rough }
    }

    /// How far CIEDE2000 may jump where a pixel has the opposite hue of a colour.
    fn jump_q12(&self, colour: Lab, de00_q12: u32) -> u32 {
        let product = |a: i32, b: i32| i64::from(a) * i64::from(b);
        let dot = product(colour.a_q12, self.middle.a_q12) + product(colour.b_q12, self.middle.b_q12);
        let grey = Lab { l_q12: self.middle.l_q12, ..Lab::default() };
        let is_possible = dot <= 0 || self.middle.distance_q12(grey) <= 2 * self.radius_q12;
        if is_possible { de00_q12 / 4 } else { 0 }
    }
}
