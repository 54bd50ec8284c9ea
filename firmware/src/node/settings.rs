//! Settings: what decides a node's results, and the memory that it works in.
//!
//! Takes nothing. Gives the types, and a check that they go together.
//! Touches nothing.
//! Never a default that depends on the machine.

use crate::coreset::{self, Cell, Merge, Point};
use crate::limits::{ITERATIONS_MAX, POINTS_MAX};
use crate::wire::{Method, Refine};

/// The largest lambda: no two colours are farther apart than 441.7 levels.
pub const LAMBDA_Q6_MAX: u32 = 442 * 64;
/// What decides a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Distance in 1/64 levels of 8-bit RGB, 1 to [`LAMBDA_Q6_MAX`].
    pub lambda_q6: u32,
    /// Coreset points at most, 1 to [`POINTS_MAX`].
    pub coreset_size: u32,
    /// How the coreset is drawn.
    pub method: Method,
    /// Start every frame from nothing instead of from the last frame's centroids.
    pub cold: bool,
    /// Pixels that a point must stand for to open a cluster; 1 is the literature, none is 0.02 % of the frame.
    pub w_open: Option<u32>,
    /// Iterations at most, 1 to [`ITERATIONS_MAX`].
    pub iterations_max: u32,
    /// What is done for the centroids after lambda has decided how many there are.
    pub refine: Refine,
    /// The seed behind the random numbers, for the report.
    pub seed: u64,
    /// Estimate the silhouette of every frame.
    pub silhouette: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            lambda_q6: 50 * 64,
            coreset_size: 1_000,
            method: Method::Octree,
            cold: false,
            w_open: None,
            iterations_max: ITERATIONS_MAX,
            refine: Refine::Cover,
            seed: 0,
            silhouette: true,
        }
    }
}

/// Which setting, or which memory, is out of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingsError {
    /// Lambda is not in 1/64 ..= 442.
    Lambda,
    /// The coreset size is not in 1 ..= 131,072.
    CoresetSize,
    /// `w_open` is 0.
    WOpen,
    /// The cap on iterations is not in 1 ..= 1,000.
    Iterations,
    /// The workspace's histogram has neither 4,096 nor 32,768 cells.
    Histogram,
    /// The workspace has too few places for cells, points, merges or assignments.
    Points,
}

impl core::fmt::Display for SettingsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            SettingsError::Lambda => "lambda must be more than 0 and at most 442 (a distance in 8-bit RGB)",
            SettingsError::CoresetSize => "coreset-size must be from 1 to 131072",
            SettingsError::WOpen => "w-open must be at least 1",
            SettingsError::Iterations => "the cap on iterations must be from 1 to 1000",
            SettingsError::Histogram => "the workspace's histogram must have 4096 or 32768 cells",
            SettingsError::Points => "the workspace has fewer places for points than the coreset may need",
        })
    }
}

impl core::error::Error for SettingsError {}

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepError {
    /// The workspace has fewer labels than the frame pixels, or its row buffer is too short.
    FrameTooLarge,
}

impl core::fmt::Display for StepError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the frame is larger than the workspace was sized for")
    }
}

impl core::error::Error for StepError {}

/// The memory of a node, sized by its caller.
#[derive(Debug)]
pub struct Workspace<'a> {
    /// 32,768 cells (5 bits a channel) or 4,096 (4 bits), all zeroes.
    pub hist: &'a mut [Cell],
    /// One for each cell of the histogram.
    pub cells: &'a mut [Point],
    /// As many as the coreset may have, and at least one for each cell of the histogram.
    pub points: &'a mut [Point],
    /// One for every eight cells of the histogram.
    pub scout: &'a mut [Point],
    /// One for every eight cells of the histogram: as many as there are parents. For `streamkm` also as many as the
    /// coreset may have, or as the histogram has cells if these are fewer.
    pub merges: &'a mut [Merge],
    /// As many as points.
    pub assign: &'a mut [u8],
    /// One for each pixel of the largest frame.
    pub labels: &'a mut [u8],
    /// Three bytes for each pixel of the widest row.
    pub row: &'a mut [u8],
}

/// Whether settings and memory are in their ranges.
pub(super) fn check(s: &Settings, ws: &Workspace<'_>) -> Result<(), SettingsError> {
    let cells = ws.hist.len();
    let leaves = if s.method == Method::StreamKm { cells.min(s.coreset_size as usize) } else { 0 };
    let places = ws.points.len().min(ws.assign.len()) >= cells.max(s.coreset_size as usize)
        && ws.cells.len() >= cells
        && ws.scout.len() >= cells / 8
        && ws.merges.len() >= leaves.max(cells / 8);
    if !(1..=LAMBDA_Q6_MAX).contains(&s.lambda_q6) {
        Err(SettingsError::Lambda)
    } else if !(1..=POINTS_MAX as u32).contains(&s.coreset_size) {
        Err(SettingsError::CoresetSize)
    } else if s.w_open == Some(0) {
        Err(SettingsError::WOpen)
    } else if !(1..=ITERATIONS_MAX).contains(&s.iterations_max) {
        Err(SettingsError::Iterations)
    } else if coreset::bits(cells).is_none() {
        Err(SettingsError::Histogram)
    } else if !places {
        Err(SettingsError::Points)
    } else {
        Ok(())
    }
}
