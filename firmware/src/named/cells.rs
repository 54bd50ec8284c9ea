//! The table of cells by which named colours are decided.
//!
//! Inputs are the colours and memory: an entry for each cell of 8 levels a side, and bytes for the pixels that were decided in
//! mixed cells. A cell is wholly one colour or none only if no pixel of it can be decided otherwise: its middle is farther from
//! every border than CIEDE2000 can change within the cell.

use super::{NamedColour, decide};
use crate::color::{Lab, de00_q12};
use crate::gather::gather;
use crate::limits::NAMED_MAX;
use heapless::Vec;

/// Cells of the table: 5 bits a channel.
pub const CELLS: usize = 1 << 15;
/// Bytes that a mixed cell needs to keep what was decided of its 512 colours.
pub const DECIDED_BLOCK_BYTES: usize = 512;

/// Cells without any of the colours. Below are positions of colours.
const NONE: u16 = u8::MAX as u16;
/// Cells that are mixed, and have no block of decided pixels yet.
const MIXED: u16 = 1 << 14;
/// Cells that are mixed, with the number of their block in the other bits.
const BLOCK: u16 = 1 << 15;
/// Most blocks: their numbers must not look like [`MIXED`].
const BLOCKS_MAX: usize = 1 << 14;

/// A colour of a block that was not met yet.
const UNKNOWN: u8 = u8::MAX;
/// A colour of a block that has none of the names. Below are positions of colours.
const NAMELESS: u8 = u8::MAX - 1;

/// How much CIEDE2000 changes at most over a distance of 1 in CIELAB, in 1/16. The lowest weights of the formula are about 1;
/// near grey, a is enlarged by a half; around blue, chroma and hue count together.
const SLOPE_Q4: u32 = 28;
/// A quarter more than the change towards the cell's corners, and a quarter of a Delta E: the formula is not straight. A test
/// compares cells of random colours with their pixels.
const BEND: (u32, u32) = (4, 1 << 10);

/// Which pixels have which named colour.
#[derive(Debug)]
pub struct Names<'a> {
    colours: Vec<NamedColour, NAMED_MAX>,
    cells: &'a mut [u16],
    blocks: &'a mut [[u8; DECIDED_BLOCK_BYTES]],
    /// Blocks in use.
    used: usize,
}

impl<'a> Names<'a> {
    /// Makes the table for at most [`NAMED_MAX`] colours; more are ignored. `cells` must hold [`CELLS`] entries, or nothing has
    /// a name. `decided` may have any length: with [`DECIDED_BLOCK_BYTES`] for each mixed cell of the pictures, no pixel is
    /// decided twice.
    pub fn new(colours: &[NamedColour], cells: &'a mut [u16], decided: &'a mut [u8]) -> Names<'a> {
        let blocks = decided.as_chunks_mut().0;
        let len = blocks.len().min(BLOCKS_MAX);
        let mut names = Names { colours: Vec::new(), cells, blocks: blocks.get_mut(..len).unwrap_or(&mut []), used: 0 };
        if names.cells.len() >= CELLS {
            colours.iter().take(NAMED_MAX).for_each(|colour| {
                let _ = names.colours.push(*colour);
            });
        }
        for (key, cell) in names.cells.iter_mut().enumerate() {
            *cell = code(&names.colours, key);
        }
        names
    }

    /// The named colours.
    pub fn colours(&self) -> &[NamedColour] {
        &self.colours
    }

    /// The position of the named colour that a pixel has. [`CELLS`] tells what it costs: an entry of a table, and of a second
    /// one in a mixed cell.
    #[inline]
    pub fn of(&mut self, rgb: [u8; 3]) -> Option<u8> {
        match self.cells.get(key(rgb)) {
            Some(&cell) if cell < NONE => Some(cell as u8),
            Some(&cell) if cell != NONE => self.in_mixed(rgb, cell),
            _ => None,
        }
    }

    /// A pixel of a mixed cell.
    fn in_mixed(&mut self, rgb: [u8; 3], cell: u16) -> Option<u8> {
        let block = if cell & BLOCK == 0 { self.open_block(rgb)? } else { usize::from(cell ^ BLOCK) };
        let [r, g, b] = rgb.map(|level| usize::from(level & 7));
        let colours = &self.colours;
        let decide = || decide(colours, Lab::of_rgb(rgb)).map_or(NAMELESS, |n| n as u8);
        let decided = match self.blocks.get_mut(block).and_then(|block| block.get_mut(r << 6 | g << 3 | b)) {
            Some(place) if *place == UNKNOWN => {
                *place = decide();
                *place
            }
            Some(place) => *place,
            None => decide(),
        };
        (decided < NAMELESS).then_some(decided)
    }

    /// The next free block for the cell of a pixel, emptied. If none is free, all are taken back: pictures have changed, and
    /// old cells are no longer met. Without any block, its number is beyond them.
    #[cold]
    fn open_block(&mut self, rgb: [u8; 3]) -> Option<usize> {
        if self.blocks.is_empty() {
            return Some(0);
        }
        if self.used >= self.blocks.len() {
            self.cells.iter_mut().filter(|cell| **cell & BLOCK != 0).for_each(|cell| *cell = MIXED);
            self.used = 0;
        }
        let number = self.used;
        self.blocks.get_mut(number)?.fill(UNKNOWN);
        *self.cells.get_mut(key(rgb))? = BLOCK | number as u16;
        self.used += 1;
        Some(number)
    }
}

/// The number of a colour's cell.
#[inline]
fn key([r, g, b]: [u8; 3]) -> usize {
    usize::from(r >> 3) << 10 | usize::from(g >> 3) << 5 | usize::from(b >> 3)
}

/// What a cell is.
fn code(colours: &[NamedColour], key: usize) -> u16 {
    if colours.is_empty() {
        return NONE;
    }
    let low = [key >> 10 & 31, key >> 5 & 31, key & 31].map(|n| n as u8 * 8);
    let cell = Cell::new(low);
    let reach: Vec<(u32, u32, u32), NAMED_MAX> = gather(colours.iter().map(|colour| {
        let (de00_q12, change_q12) = cell.reach(colour);
        (de00_q12, change_q12, u32::from(colour.tolerance_q6) << 6)
    }));
    let has = |n: usize| reach.get(n).is_some_and(|&(de00, change, tolerance)| de00 + change <= tolerance);
    let lacks = |n: usize| reach.get(n).is_none_or(|&(de00, change, tolerance)| de00 > tolerance + change);
    let nearest = reach.iter().enumerate().min_by_key(|(_, reach)| reach.0).map_or(0, |(n, _)| n);
    let is_farther = |n: usize| {
        let of = |n: usize| reach.get(n).map_or((0, 0), |&(de00, change, _)| (de00, change));
        let ((near, near_change), (far, far_change)) = (of(nearest), of(n));
        near + near_change < far.saturating_sub(far_change)
    };
    if (0..colours.len()).all(lacks) {
        NONE
    } else if has(nearest) && (0..colours.len()).all(|n| n == nearest || lacks(n) || is_farther(n)) {
        nearest as u16
    } else {
        MIXED
    }
}

/// A cell's middle and extent.
struct Cell {
    middle: Lab,
    corners: [Lab; 8],
    /// The distance of its farthest corner from the middle.
    radius_q12: u32,
}

impl Cell {
    /// The cell whose darkest colour is `low`.
    fn new(low: [u8; 3]) -> Cell {
        // The middle of 8 levels, exact in 1/64.
        let middle_q6 = low.map(|level| u16::from(level) * 64 + 7 * 32);
        let middle = Lab::of_q6(middle_q6);
        let corner = |n: usize| [0, 1, 2].map(|channel| low[channel] + 7 * (n >> channel & 1) as u8);
        let corners = core::array::from_fn(|n| Lab::of_rgb(corner(n)));
        let radius_q12 = corners.iter().map(|corner| corner.distance_q12(middle)).max().unwrap_or(0);
        Cell { middle, corners, radius_q12 }
    }

    /// How far its middle is from a colour, and by how much less or more that may be for its pixels.
    fn reach(&self, colour: &NamedColour) -> (u32, u32) {
        let de00 = de00_q12(colour.lab, self.middle);
        let jump = if self.may_jump(colour.lab) { de00 / 4 } else { 0 };
        let rough = self.radius_q12 * SLOPE_Q4 / 16 + jump;
        let border = u32::from(colour.tolerance_q6) << 6;
        if de00 > border + rough {
            return (de00, rough);
        }
        let change = self.corners.iter().map(|&corner| de00_q12(colour.lab, corner).abs_diff(de00)).max().unwrap_or(0);
        (de00, rough.min(change + change / BEND.0 + BEND.1 + jump))
    }

    /// Whether a pixel may have the opposite hue of a colour, where CIEDE2000 jumps.
    fn may_jump(&self, colour: Lab) -> bool {
        let product = |a: i32, b: i32| i64::from(a) * i64::from(b);
        let dot = product(colour.a_q12, self.middle.a_q12) + product(colour.b_q12, self.middle.b_q12);
        let grey = Lab { l_q12: self.middle.l_q12, ..Lab::default() };
        dot <= 0 || self.middle.distance_q12(grey) <= 2 * self.radius_q12
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{vec, vec::Vec};

    fn colour(rgb: [u8; 3], tolerance: u16) -> NamedColour {
        NamedColour { lab: Lab::of_rgb(rgb), tolerance_q6: tolerance * 64 }
    }

    struct Random(u32);

    impl Random {
        fn next(&mut self, below: u32) -> u32 {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.0 >> 12) % below
        }

        fn rgb(&mut self) -> [u8; 3] {
            [0; 3].map(|_| self.next(256) as u8)
        }
    }

    #[test]
    fn the_table_decides_as_the_formula_whatever_memory_it_has() {
        let mut random = Random(5);
        let mut wholly = [0usize; 3];
        for round in 0..12 {
            // Lamps, greys, dark colours, blues, and colours that overlap.
            let mut colours: Vec<NamedColour> =
                (0..1 + round * 5 % 16).map(|_| colour(random.rgb(), 2 + random.next(40) as u16)).collect();
            colours.push(match round % 4 {
                0 => colour([128; 3], 12),
                1 => colour([20, 10, 90], 15),
                2 => colour([9; 3], 20),
                _ => colour([130, 126, 126], 30),
            });
            colours.truncate(NAMED_MAX);
            let (mut cells, mut decided) = (vec![0; CELLS], vec![0; DECIDED_BLOCK_BYTES * (round * 80)]);
            let mut names = Names::new(&colours, &mut cells, &mut decided);
            // Some pixels of each cell, among them its corners.
            for key in (round % 7..CELLS).step_by(7) {
                let low = [key >> 10, key >> 5 & 31, key & 31].map(|n| n as u8 * 8);
                let wholly_what = match names.cells[key] {
                    NONE => 0,
                    MIXED => 2,
                    BLOCK.. => 2,
                    _ => 1,
                };
                wholly[wholly_what] += 1;
                for n in 0..3 {
                    let corner = random.next(8) as u8;
                    let add = if n > 0 {
                        [0, 1, 2].map(|i| corner >> i & 1).map(|bit| 7 * bit)
                    } else {
                        random.rgb().map(|v| v & 7)
                    };
                    let rgb = [0, 1, 2].map(|i| low[i] + add[i]);
                    let want = decide(&colours, Lab::of_rgb(rgb)).map(|n| n as u8);
                    assert_eq!(names.of(rgb), want, "{rgb:?} of {colours:?}");
                    assert_eq!(names.of(rgb), want, "again");
                }
            }
        }
        std::println!("cells without a name, with one, mixed: {wholly:?}");
        assert!(wholly[0] + wholly[1] > wholly[2], "{wholly:?}: the table decides little");
    }

    #[test]
    fn every_colour_of_every_cell_is_decided_as_the_formula_does() {
        let colours = [colour([224, 32, 32], 15), colour([90, 96, 110], 10), colour([24, 30, 160], 12)];
        let mut cells = vec![0; CELLS];
        let mut names = Names::new(&colours, &mut cells, &mut []);
        let mut worst = 0;
        for key in 0..CELLS {
            let low = [key >> 10, key >> 5 & 31, key & 31].map(|n| n as u8 * 8);
            let Some(cell) = names.cells.get(key).copied().filter(|&cell| cell <= NONE) else { continue };
            // Far from every colour there is no doubt.
            let lab = Lab::of_rgb(low);
            if colours.iter().all(|c| de00_q12(c.lab, lab) > 40 << 12) {
                continue;
            }
            let want = (cell < NONE).then_some(cell as u8);
            for n in 0..512u16 {
                let rgb = [low[0] + (n >> 6) as u8, low[1] + (n >> 3 & 7) as u8, low[2] + (n & 7) as u8];
                assert_eq!(decide(&colours, Lab::of_rgb(rgb)).map(|n| n as u8), want, "{rgb:?}");
                worst += 1;
            }
        }
        assert!(worst > 100_000, "{worst}");
        assert_eq!(names.of([224, 32, 32]), Some(0));
    }

    #[test]
    fn without_colours_or_a_table_nothing_has_a_name() {
        let (mut cells, mut few) = (vec![0; CELLS], [0; 8]);
        assert_eq!(Names::new(&[], &mut cells, &mut []).of([1, 2, 3]), None);
        assert_eq!(Names::new(&[colour([1, 2, 3], 5)], &mut few, &mut []).of([1, 2, 3]), None);
    }
}
