//! The table of cells by which named colours are decided.
//!
//! Inputs are the colours and memory: a block number for each cell of 8 levels a side, and blocks with a name for each of a
//! cell's 512 colours. A cell is wholly one colour or none only if no pixel of it can be decided otherwise: its middle is
//! farther from every border than CIEDE2000 can change within the cell.

use super::cubes::{Cube, Extent, Reach};
use super::{NamedColour, decide};
use crate::color::Lab;
use crate::gather::gather;
use crate::kernel::cells::{ColourKey, IN_CELL_BITS, colour_key};
use crate::limits::NAMED_MAX;
use heapless::Vec;

/// Levels of a cell's side.
const CELL_SIDE: u16 = 8;
/// Cells of the table: 5 bits a channel.
const CELLS: usize = 1 << 15;
/// Bytes of a block: a name for each of the 512 colours of a cell.
pub const BLOCK_BYTES: usize = 1 << IN_CELL_BITS;
/// Least bytes of memory: two for each cell, and a block for each name, for none, and for cells of which nothing is decided.
pub const NAMES_BYTES_MIN: usize = 2 * CELLS + FIXED_BLOCKS * BLOCK_BYTES;

/// The name of pixels that have none. Those before are positions of colours.
pub const NAMELESS: u8 = NAMED_MAX as u8;
/// The block of cells that are mixed and have none of their own; in those before, all names are the block's number.
const MIXED: u16 = NAMELESS as u16 + 1;
/// Blocks that no cell has for itself.
const FIXED_BLOCKS: usize = MIXED as usize + 1;
/// Most blocks: what their numbers have room for.
const BLOCKS_MAX: usize = u16::MAX as usize;

/// Frames for which blocks are kept at least: it takes some to fill them.
const FRAMES_MIN: u32 = 100;

/// Pixels after which it is asked whether one of them is not decided yet.
const KEYS_AT_ONCE: usize = 64;

/// The name of a colour that is not decided yet.
const UNKNOWN: u8 = u8::MAX;

/// Which pixels have which named colour.
///
/// ```
/// use firmware::color::Lab;
/// use firmware::named::{NAMELESS, NAMES_BYTES_MIN, NamedColour, Names};
///
/// // Within Delta E 15 of a lamp's red.
/// let red = NamedColour { lab: Lab::of_rgb([220, 40, 30]), tolerance_q6: 15 * 64 };
/// let mut memory = vec![0; NAMES_BYTES_MIN];
/// let mut names = Names::new(&[red], &mut memory);
/// let mut found = [0; 3];
/// names.of_pixels(&[[210, 50, 40], [40, 50, 210], [220, 40, 30]], &mut found);
/// assert_eq!(found, [0, NAMELESS, 0]);
/// ```
#[derive(Debug)]
pub struct Names<'a> {
    colours: Vec<NamedColour, NAMED_MAX>,
    /// The block of each cell, least byte first. Whole cells have one too, so that no pixel waits for a branch.
    cells: &'a mut [[u8; 2]],
    blocks: &'a mut [[u8; BLOCK_BYTES]],
    /// Blocks in use.
    used: usize,
    /// Pixels of this frame that were decided and had no block.
    homeless: u32,
    /// Frames since all blocks were free.
    frames: u32,
}

impl<'a> Names<'a> {
    /// Makes the table for at most [`NAMED_MAX`] colours; more are ignored. With less than [`NAMES_BYTES_MIN`] bytes nothing has
    /// a name. With [`BLOCK_BYTES`] more for each mixed cell of the pictures, no colour is decided twice.
    pub fn new(colours: &[NamedColour], memory: &'a mut [u8]) -> Names<'a> {
        let (cells, blocks) = memory.split_at_mut_checked(2 * CELLS).unwrap_or((&mut [], &mut []));
        let blocks = blocks.as_chunks_mut().0;
        let len = blocks.len().min(BLOCKS_MAX);
        let blocks = blocks.get_mut(..len).unwrap_or(&mut []);
        let mut names = Names {
            colours: Vec::new(),
            cells: cells.as_chunks_mut().0,
            blocks,
            used: FIXED_BLOCKS,
            homeless: 0,
            frames: 0,
        };
        if names.blocks.len() >= FIXED_BLOCKS {
            names.colours = gather(colours.iter().copied());
        }
        for (block, name) in names.blocks.iter_mut().zip((0..=NAMELESS).chain([UNKNOWN])) {
            block.fill(name);
        }
        names.cells.fill(u16::from(NAMELESS).to_le_bytes());
        let all = (0..names.colours.len()).fold(0, |all, n| all | 1 << n);
        names.make(Cube { low: [0; 3], side: 256 }, all);
        names
    }

    /// Makes the cells of a cube that may have pixels of these colours, a bit each.
    fn make(&mut self, cube: Cube, colours: u16) {
        let extent = cube.extent();
        // The formula is not bounded over the whole space.
        let near = if cube.side < 256 { extent.near(&self.colours, colours) } else { colours };
        if near == 0 {
            return;
        }
        if cube.side > CELL_SIDE {
            (0..8).for_each(|n| self.make(cube.eighth(n), near));
        } else if let Some(cell) = self.cells.get_mut(key(cube.low.map(|level| level as u8))) {
            *cell = fixed_block(&extent, &self.colours, near).to_le_bytes();
        }
    }

    /// The named colours.
    pub fn colours(&self) -> &[NamedColour] {
        &self.colours
    }

    /// The name of each pixel: the position of its named colour, or [`NAMELESS`]. As many as the shorter slice has.
    pub fn of_pixels(&mut self, pixels: &[[u8; 3]], names: &mut [u8]) {
        for (&rgb, name) in pixels.iter().zip(names) {
            self.of_keys(&[colour_key(rgb)], &[rgb], core::slice::from_mut(name));
        }
    }

    /// The name of each pixel, of which the keys are known. As many as the shortest slice has.
    pub(crate) fn of_keys(&mut self, keys: &[ColourKey], pixels: &[[u8; 3]], names: &mut [u8]) {
        let mut from = 0;
        while let Some(unknown) = self.known(keys.get(from..).unwrap_or(&[]), names.get_mut(from..).unwrap_or(&mut []))
        {
            from += unknown;
            if let (Some(&rgb), Some(name)) = (pixels.get(from), names.get_mut(from)) {
                *name = self.decide(rgb);
            }
            from += 1;
        }
    }

    /// Writes names until the first that is not decided yet, and gives its position.
    #[inline]
    fn known(&self, keys: &[ColourKey], names: &mut [u8]) -> Option<usize> {
        let Some(cells) = self.cells.first_chunk::<CELLS>() else {
            names.fill(NAMELESS);
            return None;
        };
        let blocks = self.blocks.as_flattened();
        let mut at = 0;
        for (keys, names) in keys.chunks(KEYS_AT_ONCE).zip(names.chunks_mut(KEYS_AT_ONCE)) {
            let mut all = 0;
            for (&key, name) in keys.iter().zip(names.iter_mut()) {
                let number = u16::from_le_bytes(cells[(key >> IN_CELL_BITS) as usize % CELLS]);
                let place = key % BLOCK_BYTES as ColourKey;
                let colour = (u32::from(number) << IN_CELL_BITS | place) as usize;
                *name = blocks.get(colour).copied().unwrap_or(NAMELESS);
                all |= *name;
            }
            if all == UNKNOWN {
                return names.iter().position(|&name| name == UNKNOWN).map(|n| at + n);
            }
            at += KEYS_AT_ONCE;
        }
        None
    }

    /// Decides a pixel of a mixed cell, and keeps that if there is memory.
    #[cold]
    #[inline(never)]
    fn decide(&mut self, rgb: [u8; 3]) -> u8 {
        let number = self.cells.get(key(rgb)).map_or(NAMELESS.into(), |&cell| u16::from_le_bytes(cell));
        let name = decide(&self.colours, Lab::of_rgb(rgb)).map_or(NAMELESS, |n| n as u8);
        let number = if number == MIXED { self.open_block(rgb) } else { Some(number.into()) };
        match number.and_then(|number| self.blocks.get_mut(number)) {
            Some(block) => block[in_cell(rgb)] = name,
            None => self.homeless += 1,
        }
        name
    }

    /// A new frame begins. If the last one had pixels without a block, and some time has passed, all blocks are taken back:
    /// pictures have changed, and the cells of old ones are no longer met.
    pub fn begin_frame(&mut self) {
        self.frames += 1;
        if self.homeless > 0 && self.frames > FRAMES_MIN {
            let cells = self.cells.iter_mut().filter(|cell| u16::from_le_bytes(**cell) > MIXED);
            cells.for_each(|cell| *cell = MIXED.to_le_bytes());
            (self.used, self.frames) = (FIXED_BLOCKS, 0);
        }
        self.homeless = 0;
    }

    /// The next free block for the cell of a pixel, emptied.
    fn open_block(&mut self, rgb: [u8; 3]) -> Option<usize> {
        let number = self.used;
        self.blocks.get_mut(number)?.fill(UNKNOWN);
        *self.cells.get_mut(key(rgb))? = (number as u16).to_le_bytes();
        self.used += 1;
        Some(number)
    }
}

/// The place of a colour in the block of its cell.
fn in_cell(rgb: [u8; 3]) -> usize {
    (colour_key(rgb) & ((1 << IN_CELL_BITS) - 1)) as usize
}

/// The number of a colour's cell.
fn key(rgb: [u8; 3]) -> usize {
    (colour_key(rgb) >> IN_CELL_BITS) as usize
}

/// The block of a cell of which nothing is decided yet: what it is, with `near` the colours that its pixels may have.
fn fixed_block(extent: &Extent, colours: &[NamedColour], near: u16) -> u16 {
    let near = colours.iter().enumerate().filter(|(n, _)| near >> n & 1 == 1);
    let reaches: Vec<(usize, Reach), NAMED_MAX> =
        gather(near.map(|(n, colour)| (n, extent.reach(colour))).filter(|(_, reach)| !reach.lacks()));
    let Some((nearest, reach)) = reaches.iter().min_by_key(|(_, reach)| reach.de00_q12) else { return NAMELESS.into() };
    let is_whole = reach.has() && reaches.iter().all(|(n, other)| n == nearest || reach.is_nearer_than(other));
    if is_whole { *nearest as u16 } else { MIXED }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::color::de00_q12;
    use std::{vec, vec::Vec};

    fn colour(rgb: [u8; 3], tolerance: u16) -> NamedColour {
        NamedColour { lab: Lab::of_rgb(rgb), tolerance_q6: tolerance * 64 }
    }

    fn name(names: &mut Names<'_>, rgb: [u8; 3]) -> u8 {
        let mut found = [0];
        names.of_pixels(&[rgb], &mut found);
        found[0]
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
            let mut memory = vec![0; NAMES_BYTES_MIN + BLOCK_BYTES * (round * 80)];
            let mut names = Names::new(&colours, &mut memory);
            // Some pixels of each cell, among them its corners.
            for key in (round % 7..CELLS).step_by(7) {
                let low = [key >> 10, key >> 5 & 31, key & 31].map(|n| n as u8 * 8);
                let wholly_what = match u16::from_le_bytes(names.cells[key]) {
                    MIXED.. => 2,
                    cell => usize::from(cell != NAMELESS.into()),
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
                    let want = decide(&colours, Lab::of_rgb(rgb)).map_or(NAMELESS, |n| n as u8);
                    assert_eq!(name(&mut names, rgb), want, "{rgb:?} of {colours:?}");
                    names.begin_frame();
                    assert_eq!(name(&mut names, rgb), want, "again");
                }
            }
        }
        std::println!("cells without a name, with one, mixed: {wholly:?}");
        assert!(wholly[0] + wholly[1] > wholly[2], "{wholly:?}: the table decides little");
    }

    #[test]
    fn the_colours_of_each_whole_cell_are_decided_as_by_the_formula() {
        let colours = [colour([224, 32, 32], 15), colour([90, 96, 110], 10), colour([24, 30, 160], 12)];
        let mut memory = [0; NAMES_BYTES_MIN];
        let mut names = Names::new(&colours, &mut memory);
        let mut worst = 0;
        for key in 0..CELLS {
            let low = [key >> 10, key >> 5 & 31, key & 31].map(|n| n as u8 * 8);
            let Some(cell) = Some(u16::from_le_bytes(names.cells[key])).filter(|&cell| cell < MIXED) else { continue };
            // Far from every colour there is no doubt.
            let lab = Lab::of_rgb(low);
            if colours.iter().all(|c| de00_q12(c.lab, lab) > 25 << 12) {
                continue;
            }
            let want = cell as u8;
            for n in (0..512u16).step_by(3).chain([7, 56, 511]) {
                let rgb = [low[0] + (n >> 6) as u8, low[1] + (n >> 3 & 7) as u8, low[2] + (n & 7) as u8];
                assert_eq!(decide(&colours, Lab::of_rgb(rgb)).map_or(NAMELESS, |n| n as u8), want, "{rgb:?}");
                worst += 1;
            }
        }
        assert!(worst > 100_000, "{worst}");
        assert_eq!(name(&mut names, [224, 32, 32]), 0);
    }

    #[test]
    fn without_colours_or_a_table_nothing_has_a_name() {
        let (mut memory, colours) = ([0; NAMES_BYTES_MIN], [colour([1, 2, 3], 5)]);
        assert_eq!(name(&mut Names::new(&[], &mut memory), [1, 2, 3]), NAMELESS);
        assert_eq!(name(&mut Names::new(&colours, &mut []), [1, 2, 3]), NAMELESS);
        assert_eq!(name(&mut Names::new(&colours, &mut memory[1..]), [1, 2, 3]), NAMELESS);
        assert_eq!(name(&mut Names::new(&colours, &mut memory), [1, 2, 3]), 0);
    }
}
