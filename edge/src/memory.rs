//! Memory: what a node works in, taken once for a size of frame.
//!
//! Takes the largest frame and coreset to come. Gives the workspace that a node borrows.
//! Touches the heap, once.
//! Never for a frame: a larger one than planned needs a new memory, which the caller has to make.

use firmware::coreset::{Cell, Merge, Point};
use firmware::limits::POINTS_MAX;
use firmware::node::Workspace;

/// Cells of a 5-bit histogram.
const CELLS: usize = 1 << 15;

/// How many of each a memory has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    points: usize,
    merges: usize,
    pixels: usize,
    row: usize,
}

impl Plan {
    /// For frames of at most `pixels` pixels in rows of at most `width`, and coresets of at most `coreset_size` points.
    pub fn new(pixels: usize, width: usize, coreset_size: u32) -> Plan {
        Plan {
            points: (coreset_size as usize).clamp(CELLS, POINTS_MAX),
            merges: (coreset_size as usize).clamp(CELLS / 8, CELLS),
            pixels,
            row: width * 3,
        }
    }

    /// Bytes of such a memory.
    pub fn bytes(&self) -> u64 {
        let points = CELLS + CELLS / 8 + self.points;
        let bytes = CELLS * size_of::<Cell>()
            + points * size_of::<Point>()
            + self.merges * size_of::<Merge>()
            + self.points
            + self.pixels
            + self.row;
        bytes as u64
    }
}

/// A node's memory.
#[derive(Debug)]
pub struct Memory {
    hist: Vec<Cell>,
    cells: Vec<Point>,
    scout: Vec<Point>,
    points: Vec<Point>,
    merges: Vec<Merge>,
    assign: Vec<u8>,
    labels: Vec<u8>,
    row: Vec<u8>,
}

impl Memory {
    /// For frames of at most `pixels` pixels in rows of at most `width`, and coresets of at most `coreset_size` points.
    pub fn new(pixels: usize, width: usize, coreset_size: u32) -> Memory {
        let plan = Plan::new(pixels, width, coreset_size);
        Memory {
            hist: vec![Cell::default(); CELLS],
            cells: vec![Point::default(); CELLS],
            scout: vec![Point::default(); CELLS / 8],
            points: vec![Point::default(); plan.points],
            merges: vec![Merge::default(); plan.merges],
            assign: vec![0; plan.points],
            labels: vec![0; plan.pixels],
            row: vec![0; plan.row],
        }
    }

    /// Whether such frames fit.
    pub fn fits(&self, pixels: usize, width: usize) -> bool {
        pixels <= self.labels.len() && width * 3 <= self.row.len()
    }

    /// Coreset points that fit.
    pub fn points(&self) -> usize {
        self.points.len()
    }

    /// Lent to a node.
    pub fn workspace(&mut self) -> Workspace<'_> {
        Workspace {
            hist: &mut self.hist,
            cells: &mut self.cells,
            scout: &mut self.scout,
            points: &mut self.points,
            merges: &mut self.merges,
            assign: &mut self.assign,
            labels: &mut self.labels,
            row: &mut self.row,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_planned_is_what_is_taken() {
        for (pixels, width, coreset_size) in [(1, 1, 1), (640 * 480, 640, 1000), (1920 * 1080, 1920, 131_072)] {
            let m = Memory::new(pixels, width, coreset_size);
            let points = size_of_val(&*m.cells) + size_of_val(&*m.scout) + size_of_val(&*m.points);
            let rest = size_of_val(&*m.hist) + size_of_val(&*m.merges) + m.assign.len() + m.labels.len() + m.row.len();
            assert_eq!(Plan::new(pixels, width, coreset_size).bytes(), (points + rest) as u64);
        }
    }
}
