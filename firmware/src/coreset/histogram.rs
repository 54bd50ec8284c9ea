//! The histogram: a frame's pixels counted into cells of colour.
//!
//! Inputs are a frame and memory for the histogram and its cells; results are the occupied cells as points, in the
//! order of their Morton keys. The histogram is all zeroes before and afterwards. Each pixel costs one addition of a
//! vector of four numbers: red, green, blue and 1. A cell keeps no sum of squares, because that would double the cost.
//! The certificate is exact without it: it follows from the frame's sum of squares and the cells' sums.

use super::points::Point;
use crate::color::Features;
use crate::frame::Frame;
use crate::kernel;

/// Totals of a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Occupied cells.
    pub cells: usize,
    /// Sum of r^2 + g^2 + b^2 over all pixels.
    pub squares: u64,
}

/// Bits a channel of a histogram with `cells` cells: 4 for 4,096, 5 for 32,768, and `None` for any other number.
pub const fn bits(cells: usize) -> Option<u32> {
    match cells {
        4_096 => Some(4),
        32_768 => Some(5),
        _ => None,
    }
}

/// Counts the visible pixels of `frame`, and fills `cells` with the occupied cells in the order of their keys.
///
/// `hist` must be all zeroes, and is again afterwards. `cells` must be as long as `hist`, and `row` holds three bytes a
/// pixel of a row.
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
        let pixels = frame.counted_row(y, row).as_chunks::<3>().0;
        for span in frame.visible_spans(y) {
            counted.squares += kernel::count::<BITS, CELLS>(pixels.get(span.columns()).unwrap_or(&[]), hist);
        }
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
