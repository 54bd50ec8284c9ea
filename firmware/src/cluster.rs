//! Cluster: weighted points to clusters by DC-DP-means; a distance, lambda, decides how many.
//!
//! Takes points, lambda and the centroids to start from. Gives centroids, and the cluster of every point.
//! Touches the assignment bytes it is lent and 8 KiB of sums on the stack.
//! Never a float, and never an order: the farthest point is the lowest of the equally far. The objective never rises,
//! which a debug build asserts in every iteration.
//!
//! DP-means (Kulis and Jordan, 2012) minimises sum w ||x - c||^2 + lambda^2 K. With delayed creation (Dinari and
//! Freifeld, 2022) an iteration is one k-means sweep, after which at most one cluster opens, at the farthest point, if
//! that is farther than lambda. The point leaves its old cluster *before* the means are taken, without which the
//! objective can rise. Centroids are rounded to 1/64 levels: of all points of that grid the rounded mean is the nearest
//! to the mean, so a sweep cannot raise the cost, and integers end where floats may wander.

use crate::coreset::Point;
use crate::gather::gather;
use crate::label::Q6;
use crate::limits::CLUSTERS_MAX;
use crate::nearest::{BLOCK, Block, targets};
use heapless::Vec;

/// A cluster under way: its centroid and who it is over frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cluster {
    /// Centroid in 1/64 levels.
    pub rgb_q6: Q6,
    /// Identity over frames; [`Cluster::NEW`] until it has one.
    pub id: u32,
    /// Pixels of the coreset's points in it.
    pub weight: u32,
}

impl Cluster {
    /// The id of a cluster that has just opened.
    pub const NEW: u32 = u32::MAX;

    /// A cluster that has just opened at `rgb_q6`.
    pub const fn new(rgb_q6: Q6) -> Cluster {
        Cluster { rgb_q6, id: Cluster::NEW, weight: 0 }
    }
}

/// The clusters of a frame, by label.
pub type Clusters = Vec<Cluster, CLUSTERS_MAX>;

/// What decides a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Lambda in 1/64 levels; a point opens a cluster when it is farther than this.
    pub lambda_q6: u32,
    /// Pixels that a point must stand for to open a cluster; 1 is the literature.
    pub w_open: u32,
    /// Iterations after which the run stops unconverged.
    pub iterations_max: u32,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Iterations done.
    pub iterations: u32,
    /// Nothing changed any more.
    pub converged: bool,
    /// [`CLUSTERS_MAX`] kept a point farther than lambda from opening a cluster.
    pub saturated: bool,
    /// Sum of weighted squared distances to the centroids, in 1/4096 squared levels.
    pub cost_q12: u64,
}

/// Sums over the points of each cluster: weight, red, green, blue (in 1/64 levels).
type Sums = [[u64; 4]; CLUSTERS_MAX];

/// One sweep's findings.
struct Sweep {
    cost_q12: u64,
    changed: bool,
    farthest: usize,
    farthest2_q12: u32,
}

/// Runs DC-DP-means on `points` from `clusters` (none: from the weighted mean). `assign` holds a byte a point and
/// afterwards the label of each; `clusters` afterwards holds at least one cluster, unless there are no points.
pub fn run(points: &[Point], params: Params, clusters: &mut Clusters, assign: &mut [u8]) -> Run {
    let lambda2 = params.lambda_q6.saturating_mul(params.lambda_q6);
    if clusters.is_empty() {
        *clusters = gather(mean(points).map(Cluster::new).into_iter());
    }
    assign.fill(u8::MAX);
    let mut run = Run { iterations: 0, converged: points.is_empty(), saturated: false, cost_q12: 0 };
    let mut objective_before = u64::MAX;
    let mut sums: Sums = [[0; 4]; CLUSTERS_MAX];
    while run.iterations < params.iterations_max && !points.is_empty() {
        run.iterations += 1;
        let sweep = sweep(points, params.w_open, clusters, assign, &mut sums);
        let objective = sweep.cost_q12 + u64::from(lambda2) * clusters.len() as u64;
        debug_assert!(objective <= objective_before, "the objective rose: {objective_before} to {objective}");
        let far = sweep.farthest2_q12 > lambda2;
        let open = far && !clusters.is_full();
        (run.cost_q12, run.saturated) = (sweep.cost_q12, far && !open);
        if !open && (!sweep.changed || objective >= objective_before) {
            run.converged = true;
            break;
        }
        objective_before = objective;
        if open {
            move_out(points, sweep.farthest, clusters, assign, &mut sums);
        }
        recentre(clusters, &sums, assign);
    }
    run
}

/// What `points` cost with `clusters` as they are, in 1/4096 squared levels.
pub fn cost_q12(points: &[Point], clusters: &Clusters) -> u64 {
    let targets = targets(clusters.iter().map(|c| c.rgb_q6));
    let (mut block, mut cost) = (Block::EMPTY, 0);
    for points in points.chunks(BLOCK) {
        block.fill(points.iter().map(|p| p.rgb_q6));
        block.find(&targets);
        let costs = points.iter().zip(&block.distance2).map(|(p, &d)| u64::from(p.weight()) * d as u64);
        cost += costs.sum::<u64>();
    }
    cost
}

/// Writes the nearest cluster of every point to `assign`.
pub fn assign(points: &[Point], clusters: &Clusters, assign: &mut [u8]) {
    let targets = targets(clusters.iter().map(|c| c.rgb_q6));
    let mut block = Block::EMPTY;
    for (points, assign) in points.chunks(BLOCK).zip(assign.chunks_mut(BLOCK)) {
        block.fill(points.iter().map(|p| p.rgb_q6));
        block.find(&targets);
        assign.iter_mut().zip(&block.nearest).for_each(|(a, &k)| *a = k as u8);
    }
}

/// Pixels of points that lie farther than lambda from every centroid, and whether one of these points has at least
/// `w_open`.
pub fn uncovered(points: &[Point], clusters: &Clusters, params: Params) -> (u64, bool) {
    let targets = targets(clusters.iter().map(|c| c.rgb_q6));
    let lambda2 = params.lambda_q6.saturating_mul(params.lambda_q6);
    let (mut block, mut pixels, mut heavy) = (Block::EMPTY, 0, false);
    for points in points.chunks(BLOCK) {
        block.fill(points.iter().map(|p| p.rgb_q6));
        block.find(&targets);
        for (p, _) in points.iter().zip(&block.distance2).filter(|&(_, &d)| d as u32 > lambda2) {
            pixels += u64::from(p.weight());
            heavy |= p.weight() >= params.w_open;
        }
    }
    (pixels, heavy)
}

/// Opens a cluster at the farthest point of at least `w_open` pixels, if there is room.
pub fn open_farthest(points: &[Point], clusters: &mut Clusters, params: Params) {
    let targets = targets(clusters.iter().map(|c| c.rgb_q6));
    let (mut block, mut farthest) = (Block::EMPTY, (0, None));
    for points in points.chunks(BLOCK) {
        block.fill(points.iter().map(|p| p.rgb_q6));
        block.find(&targets);
        for (p, &d) in points.iter().zip(&block.distance2).filter(|(p, _)| p.weight() >= params.w_open) {
            if d > farthest.0 {
                farthest = (d, Some(p.rgb_q6));
            }
        }
    }
    if let Some(rgb_q6) = farthest.1 {
        let _ = clusters.push(Cluster::new(rgb_q6));
    }
}

fn mean(points: &[Point]) -> Option<Q6> {
    let mut sum = [0; 4];
    points.iter().for_each(|p| add(&mut sum, p));
    (sum[0] > 0).then(|| centroid(&sum))
}

fn centroid(sum: &[u64; 4]) -> Q6 {
    let [w, rgb @ ..] = *sum;
    rgb.map(|s| ((s + w / 2) / w.max(1)) as u16)
}

#[inline]
fn add(sum: &mut [u64; 4], p: &Point) {
    let w = u64::from(p.weight());
    sum[0] += w;
    for (s, c) in sum[1..].iter_mut().zip(p.rgb_q6) {
        *s += w * u64::from(c);
    }
}

/// Assigns every point to its nearest centroid, and finds the farthest point that may open a cluster.
fn sweep(points: &[Point], w_open: u32, clusters: &Clusters, assign: &mut [u8], sums: &mut Sums) -> Sweep {
    let targets = targets(clusters.iter().map(|c| c.rgb_q6));
    let mut found = Sweep { cost_q12: 0, changed: false, farthest: 0, farthest2_q12: 0 };
    sums.fill([0; 4]);
    let mut block = Block::EMPTY;
    let blocks = points.chunks(BLOCK).zip(assign.chunks_mut(BLOCK));
    for (start, (points, assign)) in (0..).step_by(BLOCK).zip(blocks) {
        block.fill(points.iter().map(|p| p.rgb_q6));
        block.find(&targets);
        let nearest = block.nearest.iter().zip(&block.distance2);
        for (i, ((p, a), (&k, &d))) in points.iter().zip(assign.iter_mut()).zip(nearest).enumerate() {
            let d = d as u32;
            found.changed |= i32::from(*a) != k;
            *a = k as u8;
            found.cost_q12 += u64::from(p.weight()) * u64::from(d);
            if d > found.farthest2_q12 && p.weight() >= w_open {
                (found.farthest, found.farthest2_q12) = (start + i, d);
            }
            if let Some(sum) = sums.get_mut(k as usize) {
                add(sum, p);
            }
        }
    }
    found
}

/// Opens a cluster at point `j`, and takes it out of the sums of its old one.
fn move_out(points: &[Point], j: usize, clusters: &mut Clusters, assign: &mut [u8], sums: &mut Sums) {
    let (Some(p), Some(a)) = (points.get(j), assign.get_mut(j)) else { return };
    let new = clusters.len();
    if clusters.push(Cluster::new(p.rgb_q6)).is_err() {
        return;
    }
    let mut alone = [0; 4];
    add(&mut alone, p);
    if let Some(old) = sums.get_mut(usize::from(*a)) {
        for (o, x) in old.iter_mut().zip(alone) {
            *o -= x;
        }
    }
    if let Some(sum) = sums.get_mut(new) {
        *sum = alone;
    }
    *a = new as u8;
}

/// Moves every centroid to its mean. A cluster without points goes: the only choice that never raises the objective.
fn recentre(clusters: &mut Clusters, sums: &Sums, assign: &mut [u8]) {
    let (mut place, mut kept, mut label) = (0, 0u8, [0u8; CLUSTERS_MAX]);
    clusters.retain_mut(|c| {
        let sum = sums.get(place).copied().unwrap_or_default();
        if let Some(l) = label.get_mut(place) {
            *l = kept;
        }
        place += 1;
        if sum[0] == 0 {
            return false;
        }
        (c.rgb_q6, c.weight) = (centroid(&sum), sum[0] as u32);
        kept += 1;
        true
    });
    if place > usize::from(kept) {
        for a in assign.iter_mut() {
            *a = label.get(usize::from(*a)).copied().unwrap_or(*a);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::coreset::{self, Cell, Merge};
    use crate::frame::Frame;
    use crate::label::distance2_q12;
    use proptest::prelude::*;
    use std::vec;

    fn points(rgb: &[u8], size: usize) -> std::vec::Vec<Point> {
        let frame = Frame::rgb(rgb.len() / 3, 1, rgb).unwrap();
        let (mut hist, mut merges) = (vec![Cell::default(); 32_768], vec![Merge::default(); 4_096]);
        let mut cells = vec![Point::default(); 32_768];
        let n = coreset::count(&frame, &mut hist, &mut cells, &mut []);
        let mut points = vec![Point::default(); n.cells];
        let mut scout = vec![Point::default(); 4_096];
        let parents = coreset::parents(&cells[..n.cells], &mut scout);
        let parents = &scout[..parents];
        let drawn = coreset::octree(&cells[..n.cells], parents, n.squares, size, &mut points, &mut merges);
        points.truncate(drawn.points);
        points
    }

    fn params(lambda: u32, w_open: u32) -> Params {
        Params { lambda_q6: lambda * 64, w_open, iterations_max: 1_000 }
    }

    proptest! {
        // The objective's fall is asserted inside `run`, in every iteration of every case.
        #[test]
        fn a_converged_run_covers_every_heavy_point_and_is_a_fixpoint(
            rgb in prop::collection::vec(any::<u8>(), 3..900), lambda in 5u32..200, w_open in 1u32..4,
        ) {
            let points = points(&rgb[..rgb.len() / 3 * 3], 400);
            let (mut clusters, mut assign) = (Clusters::new(), vec![0; points.len()]);
            let p = params(lambda, w_open);
            let run = run(&points, p, &mut clusters, &mut assign);
            prop_assert!(run.converged && !clusters.is_empty());
            let (mut cost, mut sums) = (0u64, [[0; 4]; CLUSTERS_MAX]);
            for (x, &a) in points.iter().zip(&assign) {
                let d = |k: usize| distance2_q12(x.rgb_q6, clusters[k].rgb_q6);
                let nearest = (0..clusters.len()).min_by_key(|&k| d(k)).unwrap();
                prop_assert_eq!(usize::from(a), nearest);
                cost += u64::from(d(nearest)) * u64::from(x.weight());
                prop_assert!(x.weight() < w_open || run.saturated || d(nearest) <= p.lambda_q6 * p.lambda_q6);
                add(&mut sums[nearest], x);
            }
            prop_assert_eq!(run.cost_q12, cost);
            let weight: u64 = clusters.iter().map(|c| u64::from(c.weight)).sum();
            prop_assert_eq!(weight as usize, rgb.len() / 3);
        }
    }

    #[test]
    fn two_colours_at_exactly_lambda_are_one_cluster_and_a_little_farther_two() {
        // One cluster's centroid lies between them: 2 x lambda apart is lambda from the centroid, not farther.
        for (apart, want) in [(100, 1), (102, 2)] {
            let points = points(&[0, 0, 0, apart, 0, 0], 10);
            let (mut clusters, mut assign) = (Clusters::new(), [0; 2]);
            run(&points, params(50, 1), &mut clusters, &mut assign);
            assert_eq!(clusters.len(), want, "{apart} apart");
        }
    }

    #[test]
    fn a_light_point_opens_no_cluster_below_w_open() {
        let mut rgb = [0u8; 300];
        rgb[..3].copy_from_slice(&[255, 255, 255]);
        for (w_open, want) in [(1, 2), (2, 1)] {
            let points = points(&rgb, 10);
            let (mut clusters, mut assign) = (Clusters::new(), [0; 2]);
            let run = run(&points, params(50, w_open), &mut clusters, &mut assign);
            assert_eq!((clusters.len(), run.converged), (want, true));
        }
    }

    #[test]
    fn more_colours_than_labels_saturate_and_say_so() {
        let rgb: std::vec::Vec<u8> = (0..2_000u32).flat_map(|i| [(i % 250) as u8, (i / 250 * 30) as u8, 0]).collect();
        let points = points(&rgb, 30_000);
        let (mut clusters, mut assign) = (Clusters::new(), vec![0; points.len()]);
        let run = run(&points, params(1, 1), &mut clusters, &mut assign);
        assert_eq!((clusters.len(), run.saturated, run.converged), (CLUSTERS_MAX, true, true));
    }

    #[test]
    fn a_cluster_that_loses_its_points_goes_and_the_others_keep_their_ids() {
        let points = points(&[0, 0, 0, 200, 0, 0], 10);
        let mut clusters = Clusters::new();
        for (id, red) in [(7, 0), (8, 100), (9, 200)] {
            clusters.push(Cluster { id, ..Cluster::new([red * 64, 0, 0]) }).unwrap();
        }
        let mut assign = [0; 2];
        let run = run(&points, params(50, 1), &mut clusters, &mut assign);
        let ids: Vec<u32, 8> = clusters.iter().map(|c| c.id).collect();
        assert_eq!((ids.as_slice(), assign, run.converged), (&[7, 9][..], [0, 1], true));
    }
}
