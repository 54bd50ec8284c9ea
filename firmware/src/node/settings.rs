//! Settings: what decides a node's results, with their ranges.
//!
//! The defaults do not depend on the machine.

use crate::color::Space;
use crate::limits::{CLUSTERS_MAX, ITERATIONS_MAX, POINTS_MAX};
use crate::report::{Method, Refine};

/// The largest lambda: no two colours are farther apart than 441.7 levels.
pub const LAMBDA_Q6_MAX: u32 = 442 * 64;
/// Without a `w_open` of its own a colour needs one pixel in this many of the frame (0.02 %) to open a cluster.
const W_OPEN_SHARE: u32 = 5_000;

/// What decides a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The space in which colours are compared.
    pub space: Space,
    /// Distance in 1/64 levels of 8-bit RGB or in 1/64 Delta E of CIELAB, 1 to [`LAMBDA_Q6_MAX`].
    pub lambda_q6: u32,
    /// Coreset points at most, 1 to [`POINTS_MAX`].
    pub coreset_size: u32,
    /// How the coreset is drawn.
    pub method: Method,
    /// Start every frame from nothing instead of from the last frame's centroids.
    pub cold: bool,
    /// Pixels that a colour needs to open a cluster; 1 is the literature, `None` is 0.02 % of the frame.
    pub w_open: Option<u32>,
    /// DC-DP-means iterations at most, 1 to [`ITERATIONS_MAX`].
    pub iterations_max: u32,
    /// Clusters at most, 1 to [`CLUSTERS_MAX`]. A lower cap than the scene has colours breaks promise 1; the report then
    /// has `saturated`, and how many colours are missed.
    pub clusters_max: u32,
    /// What improves the centroids after lambda has decided how many there are.
    pub refine: Refine,
    /// The seed behind the random numbers, for the report.
    pub seed: u64,
    /// Estimate the silhouette of every frame.
    pub silhouette: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            space: Space::Rgb,
            lambda_q6: Space::Rgb.default_lambda_q6(),
            coreset_size: 1_000,
            method: Method::Octree,
            cold: false,
            w_open: None,
            iterations_max: ITERATIONS_MAX,
            clusters_max: CLUSTERS_MAX as u32,
            refine: Refine::Cover,
            seed: 0,
            silhouette: true,
        }
    }
}

impl Settings {
    /// The support in pixels that a colour needs in a frame of `pixels` pixels.
    pub fn w_open_px(&self, pixels: u32) -> u32 {
        self.w_open.unwrap_or(pixels.div_ceil(W_OPEN_SHARE)).max(1)
    }

    /// Returns true if going from `self` to `other` changes what decides clusters, so that the next frame starts cold.
    pub(super) fn decides_otherwise(&self, other: &Settings) -> bool {
        let deciding = |s: &Settings| Settings { cold: false, seed: 0, silhouette: false, ..*s };
        deciding(self) != deciding(other)
    }

    /// Checks the ranges.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if !(1..=LAMBDA_Q6_MAX).contains(&self.lambda_q6) {
            Err(SettingsError::Lambda)
        } else if !(1..=POINTS_MAX as u32).contains(&self.coreset_size) {
            Err(SettingsError::CoresetSize)
        } else if self.w_open == Some(0) {
            Err(SettingsError::WOpen)
        } else if !(1..=ITERATIONS_MAX).contains(&self.iterations_max) {
            Err(SettingsError::Iterations)
        } else if !(1..=CLUSTERS_MAX as u32).contains(&self.clusters_max) {
            Err(SettingsError::ClustersMax)
        } else {
            Ok(())
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
    /// The cap on clusters is not in 1 ..= 255.
    ClustersMax,
    /// The workspace is too small.
    Memory,
}

impl core::fmt::Display for SettingsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            SettingsError::Lambda => "lambda must be more than 0 and at most 442 (a distance in 8-bit RGB)",
            SettingsError::CoresetSize => "coreset-size must be from 1 to 131072",
            SettingsError::WOpen => "w-open must be at least 1",
            SettingsError::Iterations => "the cap on iterations must be from 1 to 1000",
            SettingsError::ClustersMax => "the cap on clusters must be from 1 to 255",
            SettingsError::Memory => "the workspace is too small for this coreset-size; plan it for the largest one",
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
