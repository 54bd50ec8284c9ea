//! Where a frame starts: warm from the previous frame's centroids, or cold from nothing.
//!
//! | start | reason | clusters | ids |
//! |---|---|---|---|
//! | `First` | there is no previous frame | none | begin at 0 |
//! | `ColdMode` | the setting `cold` | none | adopted |
//! | `SettingsChanged` | lambda, w_open, method, refinement or coreset size changed | none | adopted |
//! | `SceneCut` | the previous centroids cost much more than they did | none | adopted |
//! | `Warm` | none of these | the previous frame's | kept |

use crate::cluster::{Clusters, cost_q12};
use crate::coreset::Point;

/// A scene is cut when the previous centroids cost this many times what they did. Moving objects change the cost of a frame
/// by parts of it; another scene multiplies it.
const CUT_COST_FACTOR: u64 = 2;
/// Costs below this part of lambda^2 a pixel never mean a cut: in a nearly uniform picture noise alone multiplies them.
const CUT_COST_LAMBDA2_PART: u64 = 256;

/// How a frame starts, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Cold: there is no previous frame.
    First,
    /// Cold: every frame starts cold.
    ColdMode,
    /// Cold: a setting that decides clusters has changed.
    SettingsChanged,
    /// Cold: the scene has changed.
    SceneCut,
    /// Warm, from the previous frame's centroids.
    Warm,
}

impl Start {
    /// Returns true if the frame starts from the previous frame's centroids.
    pub fn is_warm(self) -> bool {
        self == Start::Warm
    }
}

/// Cost and weight of the previous frame's points with its final centroids; used to detect scene cuts.
#[derive(Debug, Clone, Copy, Default)]
pub struct PreviousCost {
    cost_q12: u64,
    weight: u64,
}

impl PreviousCost {
    /// There is no previous frame to compare with: no frame is a cut.
    pub const UNKNOWN: PreviousCost = PreviousCost { cost_q12: u64::MAX, weight: 1 };

    /// Remembers the frame that has just been clustered.
    pub fn of(points: &[Point], clusters: &Clusters) -> PreviousCost {
        PreviousCost { cost_q12: cost_q12(points, clusters), weight: weight(points) }
    }

    /// Returns true if `points` fit the previous centroids so badly that the scene must have changed.
    pub fn is_cut(&self, points: &[Point], previous: &Clusters, lambda2_q12: u32) -> bool {
        let before = self.cost_q12.checked_div(self.weight).unwrap_or(0);
        let now = cost_q12(points, previous) / weight(points).max(1);
        now > before.saturating_mul(CUT_COST_FACTOR).saturating_add(u64::from(lambda2_q12) / CUT_COST_LAMBDA2_PART)
    }
}

fn weight(points: &[Point]) -> u64 {
    points.iter().map(|p| u64::from(p.weight())).sum()
}
