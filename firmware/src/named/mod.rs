//! Named colours: which of a few colours, named by a person, a pixel has.
//!
//! A pixel has the named colour that is nearest to it by CIEDE2000, if it is within that colour's tolerance. [`Names`] decides
//! by a table over cells of 8 levels a side, made once from the colours: a cell is wholly one colour, wholly none, or mixed.
//! Pixels of mixed cells are decided one by one; what was decided is kept in memory that the caller lends. The memory changes
//! no result, only how often one is computed. All of it is integers.

mod cells;
mod cubes;
mod runs;

pub use cells::{BLOCK_BYTES, NAMELESS, NAMES_BYTES_MIN, Names};
pub(crate) use runs::{NamedSums, RUNS_PX_MAX, Runs};

use crate::color::{Lab, de00_min_q12, de00_q12};

/// A colour with a name, which `status` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct NamedColour {
    /// The colour.
    pub lab: Lab,
    /// How far from it pixels still have it: Delta E 2000 in 1/64.
    pub tolerance_q6: u16,
}

impl NamedColour {
    /// The tolerance in 1/4096.
    fn tolerance_q12(&self) -> u32 {
        u32::from(self.tolerance_q6) << 6
    }
}

/// The position of the colour that a pixel has: the nearest of those within their tolerance, the first of equals.
pub fn decide(colours: &[NamedColour], lab: Lab) -> Option<usize> {
    let possible =
        colours.iter().enumerate().filter(|(_, colour)| de00_min_q12(colour.lab, lab) <= colour.tolerance_q12());
    let near = possible.map(|(n, colour)| (de00_q12(colour.lab, lab), n, colour.tolerance_q12()));
    near.filter(|&(de00_q12, _, tolerance_q12)| de00_q12 <= tolerance_q12).min().map(|(_, n, _)| n)
}
