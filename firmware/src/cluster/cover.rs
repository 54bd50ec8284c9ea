//! The cover: every colour with enough support lies within lambda of a centroid (promise 1).
//!
//! A colour is *missed* when a cell of 16 levels a side holds at least `w_open` pixels that are all farther than lambda from
//! every centroid. Only labelling knows every pixel, so this module decides on the frame's histogram cells, which are half
//! as wide, and estimates how many pixels of a cell lie beyond lambda from the distance of its mean. It counts support not
//! only in the cell itself but in a ball of radius lambda / 2 as well: five neighbouring cells of ten pixels are one colour
//! of fifty. What remains is found by labelling and opened by [`open_at`].
//!
//! Inputs are cells in Morton order and clusters; the functions open clusters or move them back, and never delete any.

use super::assign::{Cluster, Clusters, targets_of};
use super::dcdp::Params;
use crate::color::{Features, Q6, distance2_q12};
use crate::coreset::Point;
use crate::kernel::for_each_nearest;
use crate::limits::CLUSTERS_MAX;
use heapless::Vec;

/// Far cells that are examined together. A frame whose clusters nearly cover it has a few dozen; more are examined in
/// several windows, in which support is counted separately.
const WINDOW: usize = 512;

/// A cell with pixels beyond lambda.
#[derive(Debug, Clone, Copy)]
struct FarCell {
    /// Its place among the cells.
    at: u32,
    /// Squared distance of its mean to the nearest centroid, in 1/4096 squared levels.
    distance2_q12: u32,
    /// Estimated number of its pixels beyond lambda.
    far_px: u32,
    /// The nearest cluster.
    nearest: u8,
    /// Its support has been found to be too small; opening clusters only lowers it further.
    rejected: bool,
}

/// What decides whether a colour is covered.
#[derive(Debug, Clone, Copy)]
pub struct Cover {
    lambda_q6: u32,
    w_open: u32,
    clusters_max: usize,
    /// Squared distances of a cell's mean at which none and all of its pixels are taken to lie beyond lambda.
    none2_q12: u32,
    all2_q12: u32,
}

impl Cover {
    /// The cover for cells whose pixels lie within about `spread_q6` of the cell's mean along any direction (0 for single
    /// colours).
    pub fn new(params: Params, spread_q6: u32) -> Cover {
        let square = |v: u32| v.saturating_mul(v);
        Cover {
            lambda_q6: params.lambda_q6,
            w_open: params.w_open,
            clusters_max: params.clusters_max.min(CLUSTERS_MAX),
            none2_q12: square(params.lambda_q6.saturating_sub(spread_q6)),
            all2_q12: square(params.lambda_q6.saturating_add(spread_q6)),
        }
    }

    /// The estimated number of a cell's pixels beyond lambda.
    fn far_px(&self, weight: u32, distance2_q12: u32) -> u32 {
        if distance2_q12 <= self.none2_q12 {
            0
        } else if distance2_q12 >= self.all2_q12 {
            weight
        } else {
            let part = u64::from(distance2_q12 - self.none2_q12) * u64::from(weight);
            (part / u64::from(self.all2_q12 - self.none2_q12)) as u32
        }
    }

    /// Opens clusters where colours are missed, the farthest first, until none is missed or there is no room. Returns how
    /// many opened.
    pub fn open_missed(&self, cells: &[Point], clusters: &mut Clusters) -> usize {
        let (before, mut start) = (clusters.len(), 0);
        while start < cells.len() {
            let (mut window, next) = self.far_cells(cells, start, clusters);
            while clusters.len() < self.clusters_max {
                let Some(seed) = self.farthest_supported(cells, &mut window) else { break };
                let rgb_q6 = self.mean_of_ball(cells, &window, seed);
                if clusters.push(Cluster::new(rgb_q6)).is_err() {
                    break;
                }
                self.cover_window(cells, &mut window, rgb_q6);
            }
            start = next;
        }
        clusters.len() - before
    }

    /// Returns true if a colour is missed.
    pub fn is_broken(&self, cells: &[Point], clusters: &Clusters) -> bool {
        let mut start = 0;
        while start < cells.len() {
            let (mut window, next) = self.far_cells(cells, start, clusters);
            if self.farthest_supported(cells, &mut window).is_some() {
                return true;
            }
            start = next;
        }
        false
    }

    /// Moves clusters from whose cells a colour is missed back to their centroid in `before`. Returns true if any moved.
    ///
    /// A centroid that drifts a little away from a small colour would otherwise open a new cluster in every such frame.
    pub fn hold(&self, cells: &[Point], before: &[Cluster], clusters: &mut Clusters) -> bool {
        let (mut start, mut moved) = (0, false);
        let mut to_hold = [false; CLUSTERS_MAX];
        while start < cells.len() {
            let (mut window, next) = self.far_cells(cells, start, clusters);
            while let Some(seed) = self.farthest_supported(cells, &mut window) {
                if let Some(far) = window.get_mut(seed) {
                    far.rejected = true;
                    if let Some(hold) = to_hold.get_mut(usize::from(far.nearest)) {
                        *hold = true;
                    }
                }
            }
            start = next;
        }
        for (cluster, _) in clusters.iter_mut().zip(to_hold).filter(|c| c.1 && c.0.id != Cluster::NEW) {
            if let Some(old) = before.iter().find(|old| old.id == cluster.id && old.rgb_q6 != cluster.rgb_q6) {
                cluster.rgb_q6 = old.rgb_q6;
                moved = true;
            }
        }
        moved
    }

    /// The far cells from place `start` on, as many as a window holds, and the place after the last one examined.
    fn far_cells(&self, cells: &[Point], start: usize, clusters: &Clusters) -> (Vec<FarCell, WINDOW>, usize) {
        let (mut window, mut next) = (Vec::new(), cells.len());
        let rest = cells.get(start..).unwrap_or(&[]);
        for_each_nearest(rest, |p| p.rgb_q6, &targets_of(clusters), |i, p, nearest, distance2_q12| {
            if distance2_q12 <= self.none2_q12 || next < cells.len() {
                return;
            }
            let far_px = self.far_px(p.weight(), distance2_q12);
            let at = start + i;
            let far = FarCell { at: at as u32, distance2_q12, far_px, nearest: nearest as u8, rejected: false };
            if far_px > 0 && window.push(far).is_err() {
                next = at;
            }
        });
        (window, next)
    }

    /// The farthest far cell with enough support, as a place in `window`.
    fn farthest_supported(&self, cells: &[Point], window: &mut Vec<FarCell, WINDOW>) -> Option<usize> {
        let total: u64 = window.iter().map(|far| u64::from(far.far_px)).sum();
        if total < u64::from(self.w_open) {
            return None;
        }
        loop {
            let candidates = window.iter().enumerate().filter(|(_, far)| !far.rejected && far.far_px > 0);
            // Ties go to the lowest place.
            let (seed, _) = candidates.max_by_key(|&(i, far)| (far.distance2_q12, core::cmp::Reverse(i)))?;
            if self.support_px(cells, window, seed) >= self.w_open {
                return Some(seed);
            }
            if let Some(far) = window.get_mut(seed) {
                far.rejected = true;
            }
        }
    }

    /// Estimated far pixels around a far cell: in its cell of 16 levels, or in a ball of lambda / 2, whichever has more.
    fn support_px(&self, cells: &[Point], window: &[FarCell], seed: usize) -> u32 {
        let Some(center) = window.get(seed).and_then(|far| cells.get(far.at as usize)) else { return 0 };
        let (mut in_cell, mut in_ball) = (0u32, 0u32);
        for far in window {
            let Some(p) = cells.get(far.at as usize) else { continue };
            if p.shares_support_cell(center) {
                in_cell = in_cell.saturating_add(far.far_px);
            }
            if self.is_in_ball(p.rgb_q6, center.rgb_q6) {
                in_ball = in_ball.saturating_add(far.far_px);
            }
        }
        in_cell.max(in_ball)
    }

    fn is_in_ball(&self, a: Q6, center: Q6) -> bool {
        4 * u64::from(distance2_q12(a, center)) <= u64::from(self.lambda_q6) * u64::from(self.lambda_q6)
    }

    /// The mean of the far cells in the ball around a far cell.
    fn mean_of_ball(&self, cells: &[Point], window: &[FarCell], seed: usize) -> Q6 {
        let far_cell = |far: &FarCell| cells.get(far.at as usize).copied().unwrap_or_default();
        let center = window.get(seed).map(far_cell).unwrap_or_default();
        let in_ball = window.iter().map(far_cell).filter(|p| self.is_in_ball(p.rgb_q6, center.rgb_q6));
        in_ball.fold(Features::ZERO, |sum, p| sum.plus(&p.features)).mean_q6()
    }

    /// Lowers the distances of far cells to those of a new centroid, and removes cells that are no longer far.
    fn cover_window(&self, cells: &[Point], window: &mut Vec<FarCell, WINDOW>, rgb_q6: Q6) {
        window.retain_mut(|far| {
            let Some(p) = cells.get(far.at as usize) else { return false };
            far.distance2_q12 = far.distance2_q12.min(distance2_q12(p.rgb_q6, rgb_q6));
            far.far_px = self.far_px(p.weight(), far.distance2_q12);
            far.far_px > 0
        });
    }
}

/// Opens a cluster at the mean of each set of far pixels that no new cluster has covered yet, while there is room. Returns
/// how many opened.
pub fn open_at<'f>(missed: impl Iterator<Item = &'f Features>, params: Params, clusters: &mut Clusters) -> usize {
    let before = clusters.len();
    for features in missed {
        let mean = features.mean_q6();
        let opened = clusters.get(before..).unwrap_or(&[]);
        let covered = opened.iter().any(|c| 4 * u64::from(distance2_q12(c.rgb_q6, mean)) <= u64::from(params.lambda2_q12()));
        if !covered && clusters.len() < params.clusters_max.min(CLUSTERS_MAX) {
            let _ = clusters.push(Cluster::new(mean));
        }
    }
    clusters.len() - before
}
