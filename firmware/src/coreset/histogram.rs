//! Histogram: a frame's pixels counted into cells of colour.
//!
//! Takes a borrowed frame and memory. Gives the occupied cells as points, in the order of their Morton keys.
//! Touches the histogram, which is all zeroes before and afterwards, and the cells.
//! Never more than one addition a pixel, of a vector of four: red, green, blue, 1.
//!
//! A cell keeps no sum of squares, which would cost as much again: the frame's, together with the cells' sums, gives the
//! certificate of the whole exactly.

use super::Point;
use crate::frame::Frame;

/// One cell of the histogram: sums of red, green and blue, and the number of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(align(16))]
pub struct Cell(pub(crate) [u32; 4]);

impl Cell {
    /// No pixels, for memory that is static.
    pub const ZERO: Cell = Cell([0; 4]);
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Occupied cells.
    pub cells: usize,
    /// Sum of r^2 + g^2 + b^2 over all pixels.
    pub squares: u64,
}

/// Bits a channel of a histogram with so many cells: 4,096 is 4, 32,768 is 5; none for other sizes.
pub const fn bits(cells: usize) -> Option<u32> {
    match cells {
        4_096 => Some(4),
        32_768 => Some(5),
        _ => None,
    }
}

/// Counts the pixels of `frame` and fills `cells` with the occupied cells in the order of their keys.
/// `hist` must be all zeroes and is so again afterwards; `cells` needs as many places. `row` holds a row of RGB.
pub fn count(frame: &Frame<'_>, hist: &mut [Cell], cells: &mut [Point], row: &mut [u8]) -> Counted {
    if let Ok(hist) = <&mut [Cell; 1 << 15]>::try_from(&mut *hist) {
        count_fine::<5, _>(frame, hist, cells, row)
    } else if let Ok(hist) = <&mut [Cell; 1 << 12]>::try_from(hist) {
        count_fine::<4, _>(frame, hist, cells, row)
    } else {
        Counted::default()
    }
}

/// Where the top five bits of a level go in a Morton key: bit i to bit 3 i.
const SPREAD: [u16; 256] = {
    let mut table = [0; 256];
    let mut v = 0;
    while v < 256 {
        let mut bit = 0;
        while bit < 5 {
            table[v] |= ((v as u16 >> (3 + bit)) & 1) << (3 * bit);
            bit += 1;
        }
        v += 1;
    }
    table
};

/// The Morton key of a colour at five bits a channel: a parent's key is its child's without the last three bits.
#[inline]
pub(crate) fn key5([r, g, b]: [u8; 3]) -> usize {
    let s = [r, g, b].map(|v| usize::from(SPREAD[usize::from(v)]));
    s[0] << 2 | s[1] << 1 | s[2]
}

fn count_fine<const BITS: u32, const CELLS: usize>(
    frame: &Frame<'_>,
    hist: &mut [Cell; CELLS],
    cells: &mut [Point],
    row: &mut [u8],
) -> Counted {
    let mut counted = Counted::default();
    for y in 0..frame.height() {
        counted.squares += add::<BITS, CELLS>(frame.row(y, row).as_chunks::<3>().0, hist);
    }
    for (key, cell) in hist.iter_mut().enumerate().filter(|(_, c)| c.0[3] > 0) {
        if let Some(slot) = cells.get_mut(counted.cells) {
            *slot = Point::of(cell.0, (1 << (3 * BITS) | key) as u16, 0);
            counted.cells += 1;
        }
        *cell = Cell::default();
    }
    counted
}

/// Counts a row; gives its sum of squares.
fn add<const BITS: u32, const CELLS: usize>(pixels: &[[u8; 3]], hist: &mut [Cell; CELLS]) -> u64 {
    #[cfg(feature = "simd")]
    if let Some((squares, rest)) = crate::simd::count::<BITS, CELLS>(pixels, hist) {
        return squares + add_plain::<BITS, CELLS>(rest, hist);
    }
    add_plain::<BITS, CELLS>(pixels, hist)
}

pub(crate) fn add_plain<const BITS: u32, const CELLS: usize>(pixels: &[[u8; 3]], hist: &mut [Cell; CELLS]) -> u64 {
    // A row is at most 3 x 8,192 bytes, so its squares fit 32 bits.
    let squares: u32 = pixels.as_flattened().iter().map(|&v| u32::from(v) * u32::from(v)).sum();
    for &px in pixels {
        if let Some(cell) = hist.get_mut(key5(px) >> (3 * (5 - BITS))) {
            let [r, g, b] = px.map(u32::from);
            cell.0 = super::sum(&cell.0, &[r, g, b, 1]);
        }
    }
    u64::from(squares)
}
