//! Workspace: the memory of a node, in four slices that the caller lends.
//!
//! [`Capacity::sizes`] has the lengths of the slices; [`Workspace::in_slices`] divides them. The node never uses other
//! memory, apart from at most 70 KiB of stack in a step (on a Cortex-M4F, the frames of its deepest calls added up).

use super::settings::SettingsError;
use crate::coreset::{Features, Merge, Point};
use crate::label::FAR_CELLS;

/// Bits a channel of the histogram: 5 is the default, 4 is for machines with little memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistogramBits {
    /// 4,096 cells of 16 levels a side.
    Four,
    /// 32,768 cells of 8 levels a side.
    Five,
}

impl HistogramBits {
    /// Number of cells.
    pub const fn cells(self) -> usize {
        match self {
            HistogramBits::Four => 1 << 12,
            HistogramBits::Five => 1 << 15,
        }
    }
}

/// Lengths of the slices of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Histogram cells, 16 bytes each.
    pub features: usize,
    /// Cells, coreset and scout, 28 bytes each.
    pub points: usize,
    /// Groups of the octree or leaves of StreamKM++, 16 bytes each.
    pub merges: usize,
    /// A byte a point, a byte a pixel, three bytes a pixel of a row, and a byte a histogram cell.
    pub bytes: usize,
}

/// The memory of a node.
#[derive(Debug)]
pub struct Workspace<'a> {
    /// The histogram; all zeroes between uses.
    pub(super) histogram: &'a mut [Features],
    /// The histogram's occupied cells in Morton order; behind them exact colours, if the frame has few.
    pub(super) cells: &'a mut [Point],
    /// The coreset.
    pub(super) points: &'a mut [Point],
    /// The cells' parents, reduced to the points that decide how many clusters there are.
    pub(super) scout: &'a mut [Point],
    /// Groups of sister cells, or leaves.
    pub(super) merges: &'a mut [Merge],
    /// A label a point.
    pub(super) assign: &'a mut [u8],
    /// A label a pixel.
    pub(super) labels: &'a mut [u8],
    /// A row of RGB.
    pub(super) row: &'a mut [u8],
    /// A label a histogram cell, for labelling in CIELAB.
    pub(super) cell_labels: &'a mut [u8],
}

/// What a workspace must hold: the largest frame and the largest coreset, by any method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Pixels of the largest frame.
    pub pixels: usize,
    /// Pixels in the widest row.
    pub width_px: usize,
    /// The largest coreset.
    pub coreset_size: u32,
    /// Resolution of the histogram.
    pub bits: HistogramBits,
}

impl Capacity {
    /// Places for the coreset: at least one for each cell, because the methods that draw start from all cells.
    const fn points(&self) -> usize {
        let (size, cells) = (self.coreset_size as usize, self.bits.cells());
        if size > cells { size } else { cells }
    }

    /// Places for groups of sister cells (one for every eight cells) or for the leaves of StreamKM++ (one for each point, at
    /// most one for each cell).
    const fn merges(&self) -> usize {
        let (size, cells) = (self.coreset_size as usize, self.bits.cells());
        if size > cells {
            cells
        } else if size > cells / 8 {
            size
        } else {
            cells / 8
        }
    }

    /// The lengths of the slices of a workspace.
    pub const fn sizes(&self) -> Sizes {
        const { assert!(FAR_CELLS <= HistogramBits::Four.cells(), "far pixels are collected in the histogram") };
        let cells = self.bits.cells();
        Sizes {
            features: cells,
            points: cells + cells / 8 + self.points(),
            merges: self.merges(),
            bytes: (self.points() + cells).saturating_add(self.pixels).saturating_add(self.width_px.saturating_mul(3)),
        }
    }
}

impl Sizes {
    /// Bytes of all four slices together.
    pub const fn total_bytes(&self) -> usize {
        self.features * size_of::<Features>()
            + self.points * size_of::<Point>()
            + self.merges * size_of::<Merge>()
            + self.bytes
    }
}

impl<'a> Workspace<'a> {
    /// Divides the slices, which must have at least the lengths of [`Capacity::sizes`].
    ///
    /// # Errors
    /// [`SettingsError::Memory`] if a slice is too short.
    pub fn in_slices(
        capacity: &Capacity,
        features: &'a mut [Features],
        points: &'a mut [Point],
        merges: &'a mut [Merge],
        bytes: &'a mut [u8],
    ) -> Result<Workspace<'a>, SettingsError> {
        let (short, cells) = (SettingsError::Memory, capacity.bits.cells());
        let histogram = features.get_mut(..cells).ok_or(short)?;
        let (cell_labels, bytes) = bytes.split_at_mut_checked(cells).ok_or(short)?;
        let (cells, points) = points.split_at_mut_checked(cells).ok_or(short)?;
        let (scout, points) = points.split_at_mut_checked(cells.len() / 8).ok_or(short)?;
        let points = points.get_mut(..capacity.points()).ok_or(short)?;
        let merges = merges.get_mut(..capacity.merges()).ok_or(short)?;
        let (assign, bytes) = bytes.split_at_mut_checked(points.len()).ok_or(short)?;
        let (row, bytes) = bytes.split_at_mut_checked(capacity.width_px.saturating_mul(3)).ok_or(short)?;
        let labels = bytes.get_mut(..capacity.pixels).ok_or(short)?;
        histogram.fill(Features::ZERO);
        Ok(Workspace { histogram, cells, points, scout, merges, assign, labels, row, cell_labels })
    }

    /// Checks that the memory suffices for coresets of `coreset_size`.
    pub(super) fn check(&self, coreset_size: u32) -> Result<(), SettingsError> {
        let leaves = self.cells.len().min(coreset_size as usize);
        let fits = self.points.len() >= coreset_size as usize && self.merges.len() >= leaves;
        if fits { Ok(()) } else { Err(SettingsError::Memory) }
    }
}
