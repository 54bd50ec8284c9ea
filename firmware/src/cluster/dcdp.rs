//! DC-DP-means: weighted points to clusters; a distance, lambda, decides how many.
//!
//! DP-means (Kulis and Jordan, 2012) minimises sum w ||x - c||^2 + lambda^2 K. With delayed creation (Dinari and
//! Freifeld, 2022) an iteration is one k-means sweep, after which at most one cluster opens: at the farthest point, if
//! that is farther than lambda. The point leaves its old cluster *before* the means are computed; otherwise the objective
//! could rise. A debug build asserts in every iteration that it does not.
//!
//! Inputs are points, lambda and the centroids to start from; results are centroids and the cluster of every point. The
//! order of points does not matter, except that the lowest of equally far points opens. Centroids are rounded to 1/64
//! levels: the rounded mean is the grid point nearest to the mean, so a sweep cannot raise the cost.

use super::assign::{Cluster, Clusters, targets_of};
use super::point_sum::{PointSum, PointSums};
use crate::color::{Q6, Space};
use crate::coreset::Point;
use crate::gather::gather;
use crate::kernel::for_each_nearest;
use crate::limits::CLUSTERS_MAX;

/// What decides a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Lambda in 1/64 levels; a point opens a cluster when it is farther than this.
    pub lambda_q6: u32,
    /// Pixels that a point must represent to open a cluster; 1 is the literature.
    pub w_open: u32,
    /// Iterations after which the run stops unconverged.
    pub iterations_max: u32,
    /// Clusters at most, up to [`CLUSTERS_MAX`].
    pub clusters_max: usize,
    /// The space of points and clusters.
    pub space: Space,
}

impl Params {
    /// The square of lambda, in 1/4096 squared levels.
    pub fn lambda2_q12(&self) -> u32 {
        self.lambda_q6.saturating_mul(self.lambda_q6)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Number of iterations.
    pub iterations: u32,
    /// It ended because nothing changed any more, not at the cap.
    pub converged: bool,
    /// [`Params::clusters_max`] kept a point farther than lambda from opening a cluster.
    pub saturated: bool,
    /// Sum of weighted squared distances to the centroids, in 1/4096 squared levels.
    pub cost_q12: u64,
}

/// Findings of one sweep.
struct Sweep {
    cost_q12: u64,
    changed: bool,
    farthest: usize,
    farthest2_q12: u32,
}

impl Sweep {
    /// Adds a point's cost, and keeps it if it is the farthest that may open a cluster.
    #[inline]
    fn see(&mut self, place: usize, p: &Point, distance2_q12: u32, w_open: u32) {
        self.cost_q12 += u64::from(p.weight()) * u64::from(distance2_q12);
        if distance2_q12 > self.farthest2_q12 && p.weight() >= w_open {
            (self.farthest, self.farthest2_q12) = (place, distance2_q12);
        }
    }
}

/// Runs DC-DP-means on `points` from `clusters` (empty: from the weighted mean). `assign` holds a byte a point and receives
/// the label of each. Afterwards `clusters` holds at least one cluster, unless there are no points.
///
/// ```
/// use firmware::cluster::{Clusters, Params, run};
/// use firmware::coreset::{Features, Point, exact_colors};
/// use firmware::frame::Frame;
/// use firmware::report::Space;
///
/// // Three greys close together, and a red that is farther from their mean than lambda.
/// let rgb = [100, 100, 100, 104, 104, 104, 108, 108, 108, 255, 0, 0];
/// let (mut table, mut points) = ([Features::ZERO; 16], [Point::ZERO; 8]);
/// let len = exact_colors(&Frame::rgb(4, 1, &rgb)?, &mut table, &mut points, &mut []).unwrap_or(0);
///
/// let params = Params { lambda_q6: 50 * 64, w_open: 1, iterations_max: 30, clusters_max: 64, space: Space::Rgb };
/// let (mut clusters, mut labels) = (Clusters::new(), vec![0; len]);
/// let found = run(&points[..len], params, &mut clusters, &mut labels);
/// assert!(found.converged && !found.saturated);
/// let mut centroids: Vec<_> = clusters.iter().map(|cluster| cluster.position_q6.map(|v| v / 64)).collect();
/// centroids.sort();
/// assert_eq!(centroids, [[104, 104, 104], [255, 0, 0]]);
/// # Ok::<(), firmware::frame::FrameError>(())
/// ```
#[inline(never)] // Its sums of 16 KiB leave the stack with it.
pub fn run(points: &[Point], params: Params, clusters: &mut Clusters, assign: &mut [u8]) -> Run {
    let lambda2 = params.lambda2_q12();
    if clusters.is_empty() {
        *clusters = gather(mean(points).map(Cluster::new).into_iter());
    }
    assign.fill(u8::MAX);
    let mut run = Run { iterations: 0, converged: points.is_empty(), saturated: false, cost_q12: 0 };
    let mut objective_before = u64::MAX;
    let mut sums: PointSums = [PointSum::ZERO; CLUSTERS_MAX];
    let mut odd_sums: PointSums = [PointSum::ZERO; CLUSTERS_MAX];
    // `sums` are those of `assign`.
    let mut are_sums_known = false;
    while run.iterations < params.iterations_max && !points.is_empty() {
        run.iterations += 1;
        let sweep = if are_sums_known {
            sweep_again(points, params.w_open, clusters, assign, &mut sums)
        } else {
            sweep(points, params.w_open, clusters, assign, [&mut sums, &mut odd_sums])
        };
        let objective = sweep.cost_q12 + u64::from(lambda2) * clusters.len() as u64;
        debug_assert!(objective <= objective_before, "the objective rose: {objective_before} to {objective}");
        let far = sweep.farthest2_q12 > lambda2;
        let open = far && clusters.len() < params.clusters_max.min(CLUSTERS_MAX);
        (run.cost_q12, run.saturated) = (sweep.cost_q12, far && !open);
        if !open && (!sweep.changed || objective >= objective_before) {
            run.converged = true;
            break;
        }
        objective_before = objective;
        if open {
            open_at(points, sweep.farthest, clusters, assign, &mut sums);
        }
        let before = clusters.len();
        recentre(clusters, &sums, assign);
        are_sums_known = clusters.len() == before && assign.len() >= points.len();
    }
    run
}

/// The weighted mean of all points; none, if they weigh nothing.
fn mean(points: &[Point]) -> Option<Q6> {
    let sum = points.iter().fold(PointSum::ZERO, |sum, p| sum.plus(PointSum::of(p)));
    (sum.weight_px() > 0).then(|| sum.mean_q6())
}

/// Assigns every point to its nearest centroid, and finds the farthest point that may open a cluster. The sums of the clusters
/// are in the first of `sets`; the second is scratch.
fn sweep(points: &[Point], w_open: u32, clusters: &Clusters, assign: &mut [u8], sets: [&mut PointSums; 2]) -> Sweep {
    let mut found = Sweep { cost_q12: 0, changed: false, farthest: 0, farthest2_q12: 0 };
    // Neighbouring points mostly belong to one cluster: with two sets of sums an addition need not wait for the one before.
    let [sums, odd_sums] = sets;
    for set in [&mut *sums, &mut *odd_sums] {
        set.iter_mut().take(clusters.len()).for_each(|sum| *sum = PointSum::ZERO);
    }
    for_each_nearest(
        points,
        |p| p.position_q6,
        &targets_of(clusters),
        |i, p, nearest, distance2| {
            if let Some(label) = assign.get_mut(i) {
                found.changed |= usize::from(*label) != nearest;
                *label = nearest as u8;
            }
            found.see(i, p, distance2, w_open);
            let set = if i & 1 == 0 { &mut *sums } else { &mut *odd_sums };
            if let Some(sum) = set.get_mut(nearest) {
                *sum = sum.plus(PointSum::of(p));
            }
        },
    );
    for (sum, odd) in sums.iter_mut().zip(odd_sums).take(clusters.len()) {
        *sum = sum.plus(*odd);
    }
    found
}

/// As [`sweep`], if `sums` are those of `assign` already: only points whose cluster changes are moved from one sum to another.
fn sweep_again(points: &[Point], w_open: u32, clusters: &Clusters, assign: &mut [u8], sums: &mut PointSums) -> Sweep {
    let mut found = Sweep { cost_q12: 0, changed: false, farthest: 0, farthest2_q12: 0 };
    for_each_nearest(
        points,
        |p| p.position_q6,
        &targets_of(clusters),
        |i, p, nearest, distance2| {
            found.see(i, p, distance2, w_open);
            let Some(label) = assign.get_mut(i).filter(|label| usize::from(**label) != nearest) else { return };
            if let Some(sum) = sums.get_mut(usize::from(*label)) {
                *sum = sum.minus(PointSum::of(p));
            }
            if let Some(sum) = sums.get_mut(nearest) {
                *sum = sum.plus(PointSum::of(p));
            }
            (*label, found.changed) = (nearest as u8, true);
        },
    );
    found
}

/// Opens a cluster at point `j`, and takes the point out of the sums of its old cluster.
fn open_at(points: &[Point], j: usize, clusters: &mut Clusters, assign: &mut [u8], sums: &mut PointSums) {
    let (Some(p), Some(a)) = (points.get(j), assign.get_mut(j)) else { return };
    let new = clusters.len();
    if clusters.push(Cluster::new(p.position_q6)).is_err() {
        return;
    }
    if let Some(old) = sums.get_mut(usize::from(*a)) {
        *old = old.minus(PointSum::of(p));
    }
    if let Some(sum) = sums.get_mut(new) {
        *sum = PointSum::of(p);
    }
    *a = new as u8;
}

/// Moves every centroid to its mean. A cluster without points is deleted: the only choice that never raises the objective.
fn recentre(clusters: &mut Clusters, sums: &PointSums, assign: &mut [u8]) {
    let (mut place, mut kept, mut label) = (0, 0u8, [0u8; CLUSTERS_MAX]);
    clusters.retain_mut(|c| {
        let sum = sums.get(place).copied().unwrap_or(PointSum::ZERO);
        if let Some(l) = label.get_mut(place) {
            *l = kept;
        }
        place += 1;
        if sum.weight_px() == 0 {
            return false;
        }
        (c.position_q6, c.weight) = (sum.mean_q6(), sum.weight_px() as u32);
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
    use crate::color::distance2_q12;
    use crate::coreset::{self, Features, Merge};
    use crate::frame::Frame;
    use proptest::prelude::*;
    use std::vec;

    fn points(rgb: &[u8], size: usize) -> std::vec::Vec<Point> {
        let frame = Frame::rgb(rgb.len() / 3, 1, rgb).unwrap();
        let (mut hist, mut merges) = (vec![Features::ZERO; 32_768], vec![Merge::default(); 4_096]);
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
        Params { lambda_q6: lambda * 64, w_open, iterations_max: 1_000, clusters_max: CLUSTERS_MAX, space: Space::Rgb }
    }

    proptest! {
        #[test]
        fn a_sweep_that_moves_what_changes_is_a_sweep_over_all(
            rgb in prop::collection::vec(any::<u8>(), 3..900), starts in prop::collection::vec(any::<[u8; 3]>(), 1..20),
            moved in prop::collection::vec(any::<[u8; 3]>(), 1..20), w_open in 1u32..4,
        ) {
            let points = points(&rgb[..rgb.len() / 3 * 3], 400);
            let clusters_at = |colours: &[[u8; 3]]| -> Clusters {
                colours.iter().map(|&rgb| Cluster::new(crate::color::q6(rgb))).collect()
            };
            let (from, to) = (clusters_at(&starts), clusters_at(&moved));
            let (mut sums, mut odd_sums) = ([PointSum::ZERO; CLUSTERS_MAX], [PointSum::ZERO; CLUSTERS_MAX]);
            let mut assign = vec![0; points.len()];
            sweep(&points, w_open, &from, &mut assign, [&mut sums, &mut odd_sums]);
            let (mut all_sums, mut all_assign) = ([PointSum::ZERO; CLUSTERS_MAX], assign.clone());
            let again = sweep_again(&points, w_open, &to, &mut assign, &mut sums);
            let all = sweep(&points, w_open, &to, &mut all_assign, [&mut all_sums, &mut odd_sums]);
            let what = |s: &Sweep| (s.cost_q12, s.changed, s.farthest, s.farthest2_q12);
            prop_assert_eq!((what(&again), &assign), (what(&all), &all_assign));
            prop_assert_eq!(&sums[..to.len()], &all_sums[..to.len()]);
        }

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
            let mut cost = 0;
            for (x, &a) in points.iter().zip(&assign) {
                let d = |k: usize| distance2_q12(x.position_q6, clusters[k].position_q6);
                let nearest = (0..clusters.len()).min_by_key(|&k| d(k)).unwrap();
                prop_assert_eq!(usize::from(a), nearest);
                cost += u64::from(d(nearest)) * u64::from(x.weight());
                prop_assert!(x.weight() < w_open || run.saturated || d(nearest) <= p.lambda_q6 * p.lambda_q6);
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
        let ids: heapless::Vec<u32, 8> = clusters.iter().map(|c| c.id).collect();
        assert_eq!((ids.as_slice(), assign, run.converged), (&[7, 9][..], [0, 1], true));
    }
}
