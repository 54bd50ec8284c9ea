//! Point sum: weight and weighted channels of some points, and their mean.
//!
//! It sums the points' rounded positions, not their pixels as [`crate::color::Features`] does: the objective of DC-DP-means
//! that must not rise is that of the points. Adding and taking away the same point leaves the sum as it was.

use crate::color::Q6;
use crate::coreset::Point;
use crate::limits::CLUSTERS_MAX;

/// Sum of weights, and of each channel in 1/64 levels times weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PointSum {
    weight_px: u64,
    weighted_q6: [u64; 3],
}

/// The sums of each cluster's points, by label.
pub(super) type PointSums = [PointSum; CLUSTERS_MAX];

impl PointSum {
    /// Of no point.
    pub const ZERO: PointSum = PointSum { weight_px: 0, weighted_q6: [0; 3] };

    /// Of one point.
    #[inline]
    pub fn of(p: &Point) -> PointSum {
        let weight_px = u64::from(p.weight());
        PointSum { weight_px, weighted_q6: p.position_q6.map(|v| weight_px * u64::from(v)) }
    }

    /// Pixels that the points represent.
    #[inline]
    pub fn weight_px(&self) -> u64 {
        self.weight_px
    }

    /// With the points of `other`.
    #[inline]
    pub fn plus(self, other: PointSum) -> PointSum {
        let [a, b, c] = self.weighted_q6;
        let [x, y, z] = other.weighted_q6;
        PointSum { weight_px: self.weight_px + other.weight_px, weighted_q6: [a + x, b + y, c + z] }
    }

    /// Without the points of `other`, which must be among its own.
    #[inline]
    pub fn minus(self, other: PointSum) -> PointSum {
        let [a, b, c] = self.weighted_q6;
        let [x, y, z] = other.weighted_q6;
        PointSum { weight_px: self.weight_px - other.weight_px, weighted_q6: [a - x, b - y, c - z] }
    }

    /// The grid point nearest to the weighted mean, in 1/64 levels; of no point, zero.
    #[inline]
    pub fn mean_q6(&self) -> Q6 {
        let weight_px = self.weight_px;
        self.weighted_q6.map(|sum| ((sum + weight_px / 2) / weight_px.max(1)) as u16)
    }
}
