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
        let points = (coreset_size as usize).clamp(CELLS, POINTS_MAX);
        Memory {
            hist: vec![Cell::default(); CELLS],
            cells: vec![Point::default(); CELLS],
            scout: vec![Point::default(); CELLS / 8],
            points: vec![Point::default(); points],
            merges: vec![Merge::default(); (coreset_size as usize).clamp(CELLS / 8, CELLS)],
            assign: vec![0; points],
            labels: vec![0; pixels],
            row: vec![0; width * 3],
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
