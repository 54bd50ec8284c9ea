//! Sampling: from a frame's pixels to the points that the rest of a step works on.
//!
//! | points | what they are | used for |
//! |---|---|---|
//! | cells | the occupied histogram cells; with a small lambda and few colours, the exact colours | refinement, the cover |
//! | coreset | what the method made of the cells or pixels | swaps, the silhouette, `--refine none` |
//! | scout | with the octree, at most 512 cells of 16 levels or more | where `--refine none` starts |
//! | deciding | the points on which DC-DP-means decides how many clusters there are | see [`Deciding`] |

use super::settings::Settings;
use super::workspace::Workspace;
use crate::color::{Space, xyz_of_q6};
use crate::coreset::{self, Drawn, Point, SCOUT_POINTS_MAX};
use crate::frame::Frame;
use crate::kernel::LabBlock;
use crate::report::{Method, Refine};
use rand::Rng;

/// With a smaller lambda than this many levels, a scout of 16-level cells (26 levels across the diagonal) is too coarse to
/// decide on.
const SCOUT_LAMBDA_MIN: u32 = 32;

/// Cells on which DC-DP-means decides at most: it takes an iteration for each cluster, so with a small lambda its time grows
/// with the product of cells and clusters squared. With more cells the scout decides, and the cover opens the rest.
const DECIDING_CELLS_MAX: usize = 1_024;

/// Half the width of a 5-bit cell and of a 4-bit cell, in levels: about how far a cell's pixels reach from its mean.
const FINE_CELL_SPREAD: u32 = 4;
const COARSE_CELL_SPREAD: u32 = 8;

/// The points on which DC-DP-means decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Deciding {
    /// The coreset: without refinement, and with the methods that draw.
    #[default]
    Coreset,
    /// At most 512 cells of 16 levels or more: fast, and fine enough for a lambda of 32 or more.
    Scout,
    /// All cells, or the exact colours, if there are few.
    Cells,
}

/// Where a frame's points are in the workspace.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sample {
    /// Places of the cells.
    cells: (usize, usize),
    /// Histogram cells, which come first; exact colours, if there are few, behind them.
    counted: usize,
    /// Sum of r^2 + g^2 + b^2 over the frame, or of the coordinates in CIELAB over the cells.
    squares: u64,
    /// Mean squared distance of a pixel to its cell's mean, in 1/4096 squared units.
    pub(super) inside_q12: u64,
    /// The same in RGB.
    pub(super) inside_rgb_q12: u64,
    /// See [`Points::cell_spread_q6`].
    cell_spread_q6: u32,
    points: usize,
    scout: usize,
    deciding: Deciding,
    /// The coreset's certificate, if its method gives one.
    pub(super) scatter_q12: Option<u64>,
}

/// The points of a frame, borrowed from the workspace that they were drawn in.
pub(super) struct Points<'w> {
    /// On which DC-DP-means decides.
    pub(super) deciding: &'w [Point],
    /// At most 512 coarse cells; empty unless the method is the octree.
    pub(super) scout: &'w [Point],
    /// The coreset.
    pub(super) coreset: &'w [Point],
    /// The cells, in Morton order; empty if nothing needs them.
    pub(super) cells: &'w [Point],
    /// Sum of r^2 + g^2 + b^2 over the frame.
    pub(super) squares: u64,
    /// About how far a cell's pixels reach from its mean along any direction, in 1/64 levels.
    pub(super) cell_spread_q6: u32,
    /// A label a point, for the longest of these lists.
    pub(super) assign: &'w mut [u8],
}

impl<'w> Points<'w> {
    /// Returns true if the cells are the frame's distinct colours.
    pub(super) fn are_exact_colors(&self) -> bool {
        self.cell_spread_q6 == 0 && !self.cells.is_empty()
    }

    /// The points on which swaps are tried: the coreset, which is smaller than the cells, or the exact colours.
    pub(super) fn swapped(&self) -> &'w [Point] {
        if self.are_exact_colors() { self.cells } else { self.coreset }
    }
}

impl Sample {
    /// Counts the frame's cells if anything needs them, draws the coreset, and prepares the points that decide.
    pub(super) fn draw(s: &Settings, ws: &mut Workspace<'_>, frame: &Frame<'_>, rng: &mut impl Rng) -> Sample {
        let size = s.coreset_size as usize;
        let mut sample = Sample::default();
        // In CIELAB labelling needs the cells too.
        if s.method != Method::Uniform || s.refine != Refine::None || s.space == Space::Cielab {
            sample.count(ws, frame, s.space);
        }
        let cells = ws.cells.get(..sample.cells.1).unwrap_or(&[]);
        let squares = sample.squares;
        let drawn = match s.method {
            Method::Octree => {
                let parents = coreset::parents(cells, ws.scout);
                let found = ws.scout.get(..parents).unwrap_or(&[]);
                let drawn = coreset::octree(cells, found, squares, size, ws.points, ws.merges);
                sample.scout = coreset::collapse(ws.scout, ws.merges, parents, size.min(SCOUT_POINTS_MAX));
                if s.refine != Refine::None {
                    sample.deciding = Deciding::Scout;
                }
                drawn
            }
            Method::Uniform => coreset::uniform(frame, size, ws.points, ws.labels, ws.row, rng),
            Method::Sensitivity => coreset::sensitivity(cells, size, s.lambda_q6, ws.points, rng),
            Method::StreamKm => coreset::stream_km(cells, squares, size, ws.points, ws.merges, rng),
            Method::Lightweight => coreset::lightweight(cells, size, ws.points, rng),
        };
        sample.take(drawn, s.method);
        if s.space == Space::Cielab {
            // The certificate is about pixels, of which only the cells' means are known here.
            sample.scatter_q12 = None;
            if s.method == Method::Uniform {
                move_to_lab(ws.points.get_mut(..drawn.points).unwrap_or(&mut []));
            }
        }
        if sample.deciding == Deciding::Scout && s.lambda_q6 < s.space.length_q6(SCOUT_LAMBDA_MIN) {
            sample.use_exact_colors(ws, frame, s.space);
            if sample.cells.1 - sample.cells.0 <= DECIDING_CELLS_MAX {
                sample.deciding = Deciding::Cells;
            }
        }
        sample
    }

    fn count(&mut self, ws: &mut Workspace<'_>, frame: &Frame<'_>, space: Space) {
        let counted = coreset::count(frame, ws.histogram, ws.cells, ws.row);
        (self.cells, self.counted, self.squares) = ((0, counted.cells), counted.cells, counted.squares);
        let fine = coreset::bits(ws.histogram.len()) == Some(5);
        self.cell_spread_q6 = space.length_q6(if fine { FINE_CELL_SPREAD } else { COARSE_CELL_SPREAD });
        let cells = ws.cells.get_mut(..counted.cells).unwrap_or(&mut []);
        self.inside_rgb_q12 = coreset::scatter_q12(cells, self.squares) / frame.visible_px().max(1) as u64;
        // The scatter is that in RGB, on average so many times longer than in the space.
        let (levels, length_q6) = (50 * 64, u64::from(space.length_q6(50)));
        self.inside_q12 = self.inside_rgb_q12 * length_q6 * length_q6 / (levels * levels);
        if space == Space::Cielab {
            self.squares = move_to_lab(cells);
        }
    }

    fn take(&mut self, drawn: Drawn, method: Method) {
        (self.points, self.scatter_q12) = (drawn.points, drawn.scatter_q12);
        if method == Method::Uniform {
            // The points are pixels, not cells: nothing is scattered inside them.
            self.inside_q12 = 0;
        }
    }

    /// Replaces the cells by the frame's distinct colours, if it has few.
    fn use_exact_colors(&mut self, ws: &mut Workspace<'_>, frame: &Frame<'_>, space: Space) {
        let end = self.cells.1;
        let Some((_, places)) = ws.cells.split_at_mut_checked(end) else { return };
        if let Some(colors) = coreset::exact_colors(frame, ws.histogram, places, ws.row) {
            (self.cells, self.cell_spread_q6) = ((end, end + colors), 0);
            if space == Space::Cielab {
                self.squares = move_to_lab(places.get_mut(..colors).unwrap_or(&mut []));
            }
        }
    }

    /// The points, borrowed from the workspace that they were drawn in.
    pub(super) fn points<'w>(&self, ws: &'w mut Workspace<'_>) -> Points<'w> {
        let coreset = ws.points.get(..self.points).unwrap_or(&[]);
        let cells = ws.cells.get(self.cells.0..self.cells.1).unwrap_or(&[]);
        let scout = ws.scout.get(..self.scout).unwrap_or(&[]);
        let deciding = match self.deciding {
            Deciding::Coreset => coreset,
            Deciding::Scout => scout,
            Deciding::Cells => cells,
        };
        let (squares, cell_spread_q6) = (self.squares, self.cell_spread_q6);
        Points { deciding, scout, coreset, cells, squares, cell_spread_q6, assign: ws.assign }
    }

    /// The cells, borrowed from the workspace that they were counted in.
    pub(super) fn cells<'w>(&self, ws: &'w Workspace<'_>) -> &'w [Point] {
        ws.cells.get(self.cells.0..self.cells.1).unwrap_or(&[])
    }

    /// The histogram's cells, also where exact colours have taken their part.
    pub(super) fn counted<'w>(&self, cells: &'w [Point]) -> &'w [Point] {
        cells.get(..self.counted).unwrap_or(&[])
    }

    /// Number of coreset points.
    pub(super) fn coreset_points(&self) -> usize {
        self.points
    }
}

/// Moves points from RGB to CIELAB, and returns the sum of their pixels' squares there: with it, the cost of clusters
/// at the points themselves is 0.
fn move_to_lab(points: &mut [Point]) -> u64 {
    let mut block = LabBlock::EMPTY;
    for points in points.chunks_mut(LabBlock::LEN_MAX) {
        block.extend(points.iter().map(|p| xyz_of_q6(p.position_q6)));
        block.convert();
        points.iter_mut().enumerate().for_each(|(n, p)| *p = p.moved_to(block.point(n)));
    }
    coreset::squares(points)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::node::{Capacity, HistogramBits};
    use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
    use std::vec;

    #[test]
    fn pixels_drawn_by_uniform_have_no_scatter_inside_and_cells_have() {
        let rgb: vec::Vec<u8> = (0..3 * 40 * 30u32).map(|i| (i * 7 % 251) as u8).collect();
        let frame = Frame::rgb(40, 30, &rgb).unwrap();
        let inside = |method, refine| {
            let capacity = Capacity { pixels: 1_200, width_px: 40, coreset_size: 300, bits: HistogramBits::Five };
            let sizes = capacity.sizes();
            let (mut features, mut points) =
                (vec![Default::default(); sizes.features], vec![Point::ZERO; sizes.points]);
            let (mut merges, mut bytes) = (vec![coreset::Merge::ZERO; sizes.merges], vec![0; sizes.bytes]);
            let lent = Workspace::in_slices(&capacity, &mut features, &mut points, &mut merges, &mut bytes);
            let settings = Settings { method, refine, coreset_size: 300, ..Settings::default() };
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
            Sample::draw(&settings, &mut lent.unwrap(), &frame, &mut rng).inside_q12
        };
        for refine in [Refine::None, Refine::Lloyd, Refine::Cover] {
            assert_eq!(inside(Method::Uniform, refine), 0, "{refine:?}");
            assert!(inside(Method::Octree, refine) > 0, "{refine:?}");
        }
    }
}
