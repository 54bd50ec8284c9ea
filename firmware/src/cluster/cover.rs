//! The cover: every colour with enough support lies within lambda of a centroid (promise 1).
//!
//! A colour is *missed* when a cell of 16 levels a side holds at least `w_open` pixels that are all farther than lambda from
//! every centroid. Only labelling knows every pixel, so this module decides on the frame's histogram cells, which are half
//! as wide, and estimates how many pixels of a cell lie beyond lambda from the distance of its mean. It counts support in a
//! ball around the cell instead of a fixed grid, so that a colour whose noise lies across the corner of eight cells is one
//! colour. What remains is found by labelling and opened by [`open_at`].
//!
//! Inputs are a frame's cells and clusters; the functions open clusters or move them back, and never delete any.

use super::assign::{Cluster, Clusters, targets_of};
use super::dcdp::Params;
use crate::color::{Features, Q6, distance2_q12};
use crate::coreset::Point;
use crate::kernel::for_each_beyond;
use crate::limits::CLUSTERS_MAX;

/// Far cells that are examined together. A frame whose clusters nearly cover it has a few dozen; more are examined in
/// several windows, in which support is counted separately.
const WINDOW: usize = 256;

/// Radius around a far cell in which support is counted: 10 levels, a ball that holds about as much as a cell of 16 levels
/// does, wherever it lies. Never more than half of lambda, so that a new centroid covers its support.
const SUPPORT_RADIUS: u32 = 10;

/// Cells with pixels beyond lambda, a list for each property, so that the support of one cell is added up in vectors.
struct Window {
    /// Places among the cells.
    at: [u32; WINDOW],
    /// Means in 1/64 levels, channel by channel.
    position_q6: [[i16; WINDOW]; 3],
    /// Squared distances of the means to the nearest centroid, in 1/4096 squared levels.
    distance2_q12: [u32; WINDOW],
    /// Estimated numbers of pixels beyond lambda; 0 once covered.
    far_px: [u32; WINDOW],
    /// The nearest clusters.
    nearest: [u8; WINDOW],
    /// The support has been found to be too small; opening clusters only lowers it further.
    rejected: [bool; WINDOW],
    len: usize,
}

/// What decides whether a colour is covered.
#[derive(Debug, Clone, Copy)]
pub struct Cover {
    w_open: u32,
    clusters_max: usize,
    /// Squared distances of a cell's mean at which none and all of its pixels are taken to lie beyond lambda.
    none2_q12: u32,
    all2_q12: u32,
    /// The square of the radius in which support is counted.
    support2_q12: u32,
}

impl Cover {
    /// The cover for cells whose pixels lie within about `spread_q6` of the cell's mean along any direction (0 for single
    /// colours).
    pub fn new(params: Params, spread_q6: u32) -> Cover {
        let square = |v: u32| v.saturating_mul(v);
        Cover {
            w_open: params.w_open,
            clusters_max: params.clusters_max.min(CLUSTERS_MAX),
            none2_q12: square(params.lambda_q6.saturating_sub(spread_q6)),
            all2_q12: square(params.lambda_q6.saturating_add(spread_q6)),
            support2_q12: square(params.space.length_q6(SUPPORT_RADIUS).min(params.lambda_q6 / 2)),
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
            part.checked_div(u64::from(self.all2_q12 - self.none2_q12)).unwrap_or(0) as u32
        }
    }

    /// Opens clusters where colours are missed, the farthest first, until none is missed or there is no room. Returns how
    /// many opened.
    #[inline(never)] // A window is 7 KiB: callers must not hold several on their stack.
    pub fn open_missed(&self, cells: &[Point], clusters: &mut Clusters) -> usize {
        let (before, mut start) = (clusters.len(), 0);
        while start < cells.len() {
            let mut window = Window::EMPTY;
            start = self.fill(&mut window, cells, start, clusters);
            while clusters.len() < self.clusters_max {
                let Some(seed) = self.farthest_supported(&mut window) else { break };
                let position_q6 = self.mean_of_ball(cells, &window, seed);
                if clusters.push(Cluster::new(position_q6)).is_err() {
                    break;
                }
                self.cover(&mut window, cells, position_q6);
            }
        }
        clusters.len() - before
    }

    /// Number of clusters that [`Cover::open_missed`] would open.
    pub fn count_missed(&self, cells: &[Point], clusters: &Clusters) -> u64 {
        let mut opened = clusters.clone();
        self.open_missed(cells, &mut opened) as u64
    }

    /// Returns true if a colour is missed.
    #[inline(never)]
    pub fn is_broken(&self, cells: &[Point], clusters: &Clusters) -> bool {
        let mut start = 0;
        while start < cells.len() {
            let mut window = Window::EMPTY;
            start = self.fill(&mut window, cells, start, clusters);
            if self.farthest_supported(&mut window).is_some() {
                return true;
            }
        }
        false
    }

    /// Moves clusters from whose cells a colour is missed back to their centroid in `before`. Returns true if any moved.
    ///
    /// A centroid that drifts a little away from a small colour would otherwise open a new cluster in every such frame.
    #[inline(never)]
    pub fn hold(&self, cells: &[Point], before: &[Cluster], clusters: &mut Clusters) -> bool {
        if before.is_empty() {
            return false;
        }
        let (mut start, mut moved) = (0, false);
        let mut to_hold = [false; CLUSTERS_MAX];
        while start < cells.len() {
            let mut window = Window::EMPTY;
            start = self.fill(&mut window, cells, start, clusters);
            while let Some(seed) = self.farthest_supported(&mut window) {
                let Some(&nearest) = window.nearest.get(seed) else { break };
                if let Some(hold) = to_hold.get_mut(usize::from(nearest)) {
                    *hold = true;
                }
                // One missed colour is enough to hold the cluster.
                let of_cluster = window.rejected.iter_mut().zip(&window.nearest).filter(|far| *far.1 == nearest);
                of_cluster.for_each(|far| *far.0 = true);
            }
        }
        for (cluster, _) in clusters.iter_mut().zip(to_hold).filter(|c| c.1 && c.0.id != Cluster::NEW) {
            if let Some(old) = before.iter().find(|old| old.id == cluster.id && old.position_q6 != cluster.position_q6)
            {
                cluster.position_q6 = old.position_q6;
                moved = true;
            }
        }
        moved
    }

    /// Fills an empty window with the far cells from place `start` on. Returns the place after the last one examined.
    fn fill(&self, window: &mut Window, cells: &[Point], start: usize, clusters: &Clusters) -> usize {
        let mut next = cells.len();
        let rest = cells.get(start..).unwrap_or(&[]);
        let targets = targets_of(clusters);
        for_each_beyond(
            rest,
            |p| p.position_q6,
            &targets,
            self.none2_q12,
            |i, p, nearest, distance2_q12| {
                let far_px = self.far_px(p.weight(), distance2_q12);
                if far_px > 0
                    && next == cells.len()
                    && !window.push((start + i) as u32, p.position_q6, distance2_q12, far_px, nearest as u8)
                {
                    next = start + i;
                }
            },
        );
        next
    }

    /// The farthest far cell with enough support; of equally far ones the first.
    fn farthest_supported(&self, window: &mut Window) -> Option<usize> {
        let (mut farthest2, mut found) = (0, None);
        for seed in 0..window.len.min(WINDOW) {
            if window.far_px[seed] == 0 || window.rejected[seed] || window.distance2_q12[seed] <= farthest2 {
                continue;
            }
            if window.support_px(seed, self.support2_q12) >= self.w_open {
                (farthest2, found) = (window.distance2_q12[seed], Some(seed));
            } else {
                window.rejected[seed] = true;
            }
        }
        found
    }

    /// The mean of the far cells that support a far cell.
    fn mean_of_ball(&self, cells: &[Point], window: &Window, seed: usize) -> Q6 {
        let cell = |&at: &u32| cells.get(at as usize).copied().unwrap_or_default();
        let center = window.at.get(seed).map(cell).unwrap_or_default().position_q6;
        let far = window.at.iter().zip(&window.far_px).take(window.len).filter(|far| *far.1 > 0).map(|far| cell(far.0));
        let near = far.filter(|p| distance2_q12(p.position_q6, center) <= self.support2_q12);
        near.fold(Features::ZERO, |sum, p| sum.plus(&p.features)).mean_q6()
    }

    /// Lowers the distances of far cells to those of a new centroid.
    fn cover(&self, window: &mut Window, cells: &[Point], position_q6: Q6) {
        let far = window.at.iter().zip(&mut window.distance2_q12).zip(&mut window.far_px).take(window.len);
        for ((&at, distance2), far_px) in far {
            let Some(p) = cells.get(at as usize) else { continue };
            *distance2 = (*distance2).min(distance2_q12(p.position_q6, position_q6));
            *far_px = self.far_px(p.weight(), *distance2);
        }
    }
}

impl Window {
    const EMPTY: Window = Window {
        at: [0; WINDOW],
        position_q6: [[0; WINDOW]; 3],
        distance2_q12: [0; WINDOW],
        far_px: [0; WINDOW],
        nearest: [0; WINDOW],
        rejected: [false; WINDOW],
        len: 0,
    };

    /// Adds a far cell. Returns false if there is no room.
    fn push(&mut self, at: u32, position_q6: Q6, distance2_q12: u32, far_px: u32, nearest: u8) -> bool {
        let i = self.len;
        if i >= WINDOW {
            return false;
        }
        (self.at[i], self.distance2_q12[i], self.far_px[i], self.nearest[i]) = (at, distance2_q12, far_px, nearest);
        for (channel, level) in self.position_q6.iter_mut().zip(position_q6) {
            channel[i] = level as i16;
        }
        self.len += 1;
        true
    }

    /// Estimated far pixels in the ball around a far cell.
    fn support_px(&self, seed: usize, support2_q12: u32) -> u32 {
        let Some(seed) = Some(seed).filter(|&seed| seed < WINDOW) else { return 0 };
        let [r, g, b] = &self.position_q6;
        let center = [r[seed], g[seed], b[seed]];
        // Whole lanes: places behind the last far cell have no pixels.
        let len = self.len.next_multiple_of(8).min(WINDOW);
        let colors = r.iter().zip(g).zip(b).zip(&self.far_px).take(len);
        let px = colors.map(|(((r, g), b), &px)| {
            // At most 16,320 apart; products of 16 bits are what the vectors of any machine have.
            let [r2, g2, b2] = [r - center[0], g - center[1], b - center[2]].map(|d| i32::from(d) * i32::from(d));
            if (r2 + g2 + b2) as u32 <= support2_q12 { px } else { 0 }
        });
        px.sum()
    }
}

/// Opens a cluster at the mean of each set of far pixels (sums in RGB) that no new cluster has covered yet, while there is
/// room. Returns how many opened.
pub fn open_at<'f>(missed: impl Iterator<Item = &'f Features>, params: Params, clusters: &mut Clusters) -> usize {
    let before = clusters.len();
    for features in missed {
        let mean = params.space.of_q6(features.mean_q6());
        let opened = clusters.get(before..).unwrap_or(&[]);
        let covered =
            opened.iter().any(|c| 4 * u64::from(distance2_q12(c.position_q6, mean)) <= u64::from(params.lambda2_q12()));
        if !covered && clusters.len() < params.clusters_max.min(CLUSTERS_MAX) {
            let _ = clusters.push(Cluster::new(mean));
        }
    }
    clusters.len() - before
}
