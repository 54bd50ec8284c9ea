//! Histogram: a frame's pixels counted into cells of colour.
//!
//! Takes a borrowed frame and memory. Gives the occupied cells as points, in the order of their Morton keys.
//! Touches the histogram, which is all zeroes before and afterwards, and the cells.
//! Never more than one addition a pixel, of a vector of four: red, green, blue, 1.
//!
//! A cell keeps no sum of squares, which would cost as much again: the frame's, together with the cells' sums, gives the
//! certificate of the whole exactly.

use super::points::Point;
use crate::color::Features;
use crate::frame::Frame;
use crate::kernel;

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
pub fn count(frame: &Frame<'_>, hist: &mut [Features], cells: &mut [Point], row: &mut [u8]) -> Counted {
    if let Ok(hist) = <&mut [Features; 1 << 15]>::try_from(&mut *hist) {
        count_fine::<5, _>(frame, hist, cells, row)
    } else if let Ok(hist) = <&mut [Features; 1 << 12]>::try_from(hist) {
        count_fine::<4, _>(frame, hist, cells, row)
    } else {
        Counted::default()
    }
}

fn count_fine<const BITS: u32, const CELLS: usize>(
    frame: &Frame<'_>,
    hist: &mut [Features; CELLS],
    cells: &mut [Point],
    row: &mut [u8],
) -> Counted {
    let mut counted = Counted::default();
    for y in 0..frame.height() {
        counted.squares += kernel::count::<BITS, CELLS>(frame.row(y, row).as_chunks::<3>().0, hist);
    }
    for (key, cell) in hist.iter_mut().enumerate().filter(|(_, c)| c.weight() > 0) {
        if let Some(slot) = cells.get_mut(counted.cells) {
            *slot = Point::of(*cell, (1 << (3 * BITS) | key) as u16, 0);
            counted.cells += 1;
        }
        *cell = Features::ZERO;
    }
    counted
}
