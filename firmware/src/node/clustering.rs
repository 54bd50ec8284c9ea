//! Clustering one frame: from nothing, or from the previous frame's clusters.
//!
//! Cold: DC-DP-means decides how many clusters there are, and swaps look for the lowest cost alone; with `cover`, what they
//! have lost then opens again. Warm: Lloyd's sweeps follow the scene, the cover opens what has appeared, and a cold trial
//! now and then keeps the stream from drifting. With `--refine none`, DC-DP-means itself runs in every frame.

use super::points::Points;
use super::settings::Settings;
use crate::cluster::cover::Cover;
use crate::cluster::lloyd::{self, is_still};
use crate::cluster::{self, Cluster, Clusters, Params, copy_clusters, cost_q12, swap};
use crate::coreset::Point;
use crate::report::{Method, Refine};
use crate::stream::cut::Start;
use crate::stream::merge;
use crate::stream::steer::{Quality, Steer, drop_light};

/// Lloyd's sweeps over all cells, at most: they have mostly converged by then, and the next frame goes on from there. With
/// three after the swaps of `cover`, the MSE of 32 stills over the best is 0.2 % higher at lambda 50 and 30.
const SWEEPS_MAX: u32 = 6;
/// Sweeps after clusters have opened, so that they and their neighbours find their means.
const SWEEPS_AFTER_OPENING: u32 = 2;
/// Rounds of opening and sweeping. Each sweep may uncover another colour; the last round opens without sweeping.
const COVER_ROUNDS: u32 = 4;
/// Rejected swaps after which the swaps for cost alone end, and those that keep the cover. With twice as many of the second
/// the mean MSE of 32 stills is 0.1 % lower at lambda 50 and 0.4 % at 30, and the time 3 % and 12 % longer.
const FREE_TRIES: u32 = 4;
const COVER_TRIES: u32 = 4;
/// With `lloyd`, swaps end with the first rejected one. On 32 stills at lambda 50 the MSE over that of the best k-means is
/// then 1.017 at the median, with none 1.20, and with four rejected ones 1.012; the time is 1.08 and 1.13 times that of none.
const LLOYD_TRIES: u32 = 1;
/// With `mse`, swaps may leave one pixel in this many farther than lambda from its centroid.
const MSE_BEYOND_SHARE: u64 = 100;
/// A cluster keeps its place with a quarter of the support that it needs to open, so that noise does not make it come and go.
const SUPPORT_TO_STAY_PART: u32 = 4;
/// Without refinement, a warm frame in this many merges near duplicates, and one in half as many drops a cluster that the
/// others cover.
const MERGE_EVERY: u64 = 8;
const DROP_EVERY: u64 = 4;
/// Merged clusters must be covered to this part of lambda, in 1/16: with all of it they would part again at once.
const MERGE_REACH_16: u32 = 12;
/// A cluster is not needed when others cover it to this part of lambda, in 1/16.
const DROP_REACH_16: u32 = 15;

/// What clustering a frame came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) start: Start,
    /// Iterations of DC-DP-means; 0 if it did not run.
    pub(super) iterations: u32,
    /// DC-DP-means ended because nothing changed any more, or did not run.
    pub(super) converged: bool,
    /// Sweeps of the refinement over cells or points.
    pub(super) sweeps: u32,
    /// The cap on clusters kept a cluster from opening.
    pub(super) saturated: bool,
    /// Better clusters have replaced the stream's.
    pub(super) replaced: bool,
}

impl Outcome {
    fn new(start: Start) -> Outcome {
        Outcome { start, iterations: 0, converged: true, sweeps: 0, saturated: false, replaced: false }
    }
}

/// Clusters a frame from nothing.
pub(super) fn start_cold(
    points: &mut Points<'_>,
    s: &Settings,
    params: Params,
    clusters: &mut Clusters,
    start: Start,
) -> Outcome {
    let mut outcome = Outcome::new(start);
    clusters.clear();
    if s.refine == Refine::None {
        begin_on_scout(points, params, clusters, &mut outcome);
    }
    decide(points, s, params, clusters, &mut outcome);
    match s.refine {
        Refine::None => {}
        Refine::Lloyd => {
            swap_clusters(points, points.deciding, clusters, LLOYD_TRIES, 0, |_| 0, &mut outcome);
            sweep(points, clusters, SWEEPS_MAX, &mut outcome);
        }
        Refine::Mse => {
            let (deciding, lambda2) = (points.deciding, params.lambda2_q12());
            let weight: u64 = deciding.iter().map(|p| u64::from(p.weight())).sum();
            let beyond = |c: &Clusters| cluster::beyond_px(deciding, c, lambda2);
            swap_clusters(
                points,
                points.swapped(),
                clusters,
                swap::TRIES_MAX,
                weight / MSE_BEYOND_SHARE,
                beyond,
                &mut outcome,
            );
            sweep(points, clusters, SWEEPS_MAX, &mut outcome);
        }
        Refine::Cover => improve_under_cover(points, params, clusters, &mut outcome),
    }
    outcome
}

/// Clusters a frame from the previous frame's clusters. `frames` counts the frames of the stream.
pub(super) fn continue_warm(
    points: &mut Points<'_>,
    s: &Settings,
    params: Params,
    steer: &mut Steer,
    clusters: &mut Clusters,
    frames: u64,
) -> Outcome {
    let mut outcome = Outcome::new(Start::Warm);
    if s.refine == Refine::None {
        edit(points, clusters, params, frames);
        decide(points, s, params, clusters, &mut outcome);
        return outcome;
    }
    follow(points, s, params, clusters, &mut outcome);
    // At the cap a trial is at the cap too.
    if clusters.len() < params.clusters_max && steer.is_trial_due(clusters.len()) {
        try_cold(points, s, params, steer, clusters, &mut outcome);
    }
    outcome
}

/// Moves the previous frame's clusters to where the scene has gone, and opens those that the cover asks for.
#[inline(never)] // The previous clusters leave the stack with it.
fn follow(points: &mut Points<'_>, s: &Settings, params: Params, clusters: &mut Clusters, outcome: &mut Outcome) {
    let previous = clusters.clone();
    drop_light(clusters, params.w_open / SUPPORT_TO_STAY_PART);
    let assign = points.assign.get_mut(..points.cells.len()).unwrap_or(&mut []);
    if clusters.len() == previous.len() && is_still(points.cells, points.squares, clusters, assign) {
        outcome.sweeps += 1;
    } else {
        sweep(points, clusters, SWEEPS_MAX, outcome);
    }
    if s.refine == Refine::Cover {
        restore_cover(points, params, &previous, clusters, outcome);
    }
}

/// Clusters the frame from nothing. If steering judges the stream's clusters poor, swaps them or takes the trial's; if there
/// are too many, merges some.
#[inline(never)]
fn try_cold(
    points: &mut Points<'_>,
    s: &Settings,
    params: Params,
    steer: &mut Steer,
    clusters: &mut Clusters,
    outcome: &mut Outcome,
) {
    let mut trial = Clusters::new();
    let tried = start_cold(points, s, params, &mut trial, Start::Warm);
    let quality = |c: &Clusters| Quality { clusters: c.len(), cost_q12: cost_q12(points.cells, c) };
    outcome.sweeps += tried.sweeps;
    let verdict = steer.judge(quality(clusters), quality(&trial), s.refine == Refine::Cover);
    if verdict.replace {
        // Swaps lower the cost and keep most clusters; only if they do not suffice, the trial's take over.
        if s.refine == Refine::Cover {
            swap_warm(points, params, clusters, outcome);
        }
        (outcome.saturated, outcome.replaced) = (tried.saturated, true);
        if quality(clusters).costs_more_than(quality(&trial)) {
            copy_clusters(&trial, clusters);
        }
        return;
    }
    // Merging the cheapest pairs changes fewer labels than taking the trial's clusters.
    let (cover, cells) = (Cover::new(params, points.cell_spread_q6), points.cells);
    let is_kept = |c: &Clusters| s.refine != Refine::Cover || !cover.is_broken(cells, c);
    for _ in 0..verdict.surplus {
        if !merge::join_cheapest(clusters, is_kept) {
            return;
        }
    }
}

/// Swaps a stream's clusters under the cover. They lose their ids: a cluster cut in two may leave its place to the new one.
#[inline(never)] // The previous clusters leave the stack with it.
fn swap_warm(points: &mut Points<'_>, params: Params, clusters: &mut Clusters, outcome: &mut Outcome) {
    let cover = Cover::new(params, points.cell_spread_q6);
    let (swapped, previous) = (points.swapped(), clusters.clone());
    swap_clusters(points, swapped, clusters, swap::TRIES_MAX, 0, |c| cover.count_missed(swapped, c), outcome);
    sweep(points, clusters, SWEEPS_MAX, outcome);
    restore_cover(points, params, &previous, clusters, outcome);
    clusters.iter_mut().for_each(|c| c.id = Cluster::NEW);
}

/// Gives DC-DP-means on the coreset its first clusters, if there is a scout: DC-DP-means on the scout, and swaps until one is
/// rejected. From one centroid it takes an iteration over the whole coreset for each cluster, and ends in a poor optimum.
fn begin_on_scout(points: &mut Points<'_>, params: Params, clusters: &mut Clusters, outcome: &mut Outcome) {
    let scout = points.scout;
    if scout.is_empty() {
        return;
    }
    let assign = points.assign.get_mut(..scout.len()).unwrap_or(&mut []);
    outcome.iterations = cluster::run(scout, params, clusters, assign).iterations;
    // Its sweeps are part of the start: without refinement a frame reports none.
    swap::swap(scout, clusters, assign, LLOYD_TRIES, 0, |_| 0);
}

/// Runs DC-DP-means on the points that decide.
fn decide(points: &mut Points<'_>, s: &Settings, params: Params, clusters: &mut Clusters, outcome: &mut Outcome) {
    let deciding = points.deciding;
    let assign = points.assign.get_mut(..deciding.len()).unwrap_or(&mut []);
    // A pixel drawn by `uniform` represents a share of the frame; asking for more than that share would open nothing.
    let represents = deciding.first().map_or(1, Point::weight).max(1);
    let w_open = if s.method == Method::Uniform { params.w_open.min(represents) } else { params.w_open };
    let run = cluster::run(deciding, Params { w_open, ..params }, clusters, assign);
    outcome.iterations += run.iterations;
    (outcome.converged, outcome.saturated) = (run.converged, run.saturated);
}

fn sweep(points: &mut Points<'_>, clusters: &mut Clusters, sweeps_max: u32, outcome: &mut Outcome) {
    let assign = points.assign.get_mut(..points.cells.len()).unwrap_or(&mut []);
    outcome.sweeps += lloyd::lloyd(points.cells, points.squares, clusters, assign, sweeps_max).sweeps;
}

/// Lowers the cost as far as the cover allows. Swaps that must keep the cover are mostly rejected at first; so the first ones
/// look at the cost alone, what they have lost is opened again, and only then they must keep the cover. The first ones are
/// tried on the points that decide, which are half as many as the coreset's: the second ones correct what is too coarse.
fn improve_under_cover(points: &mut Points<'_>, params: Params, clusters: &mut Clusters, outcome: &mut Outcome) {
    let cover = Cover::new(params, points.cell_spread_q6);
    let (cells, swapped) = (points.cells, points.swapped());
    let deficit = |c: &Clusters| cover.count_missed(swapped, c);
    if points.are_exact_colors() {
        // The swaps' own sweeps are over the same points, and DC-DP-means has left a cover.
        swap_clusters(points, swapped, clusters, COVER_TRIES, 0, deficit, outcome);
    } else {
        swap_clusters(points, points.deciding, clusters, FREE_TRIES, 0, |_| 0, outcome);
        cover.open_missed(cells, clusters);
        swap_clusters(points, swapped, clusters, COVER_TRIES, 0, deficit, outcome);
        sweep(points, clusters, SWEEPS_MAX, outcome);
    }
    restore_cover(points, params, &[], clusters, outcome);
}

fn swap_clusters(
    points: &mut Points<'_>,
    on: &[Point],
    clusters: &mut Clusters,
    tries_max: u32,
    deficit_max: u64,
    deficit: impl Fn(&Clusters) -> u64,
    outcome: &mut Outcome,
) {
    let assign = points.assign.get_mut(..on.len()).unwrap_or(&mut []);
    outcome.sweeps += swap::swap(on, clusters, assign, tries_max, deficit_max, deficit);
}

/// Opens clusters until no colour is missed, as far as the cells show it. Clusters that drifted away from a small colour
/// first go back to where they were in `previous`.
fn restore_cover(
    points: &mut Points<'_>,
    params: Params,
    previous: &[Cluster],
    clusters: &mut Clusters,
    outcome: &mut Outcome,
) {
    let cover = Cover::new(params, points.cell_spread_q6);
    for _ in 0..COVER_ROUNDS {
        if clusters.len() >= params.clusters_max {
            return;
        }
        cover.hold(points.cells, previous, clusters);
        if cover.open_missed(points.cells, clusters) == 0 {
            return;
        }
        sweep(points, clusters, SWEEPS_AFTER_OPENING, outcome);
    }
    cover.hold(points.cells, previous, clusters);
    cover.open_missed(points.cells, clusters);
}

/// Structural edits before a warm start of DC-DP-means.
fn edit(points: &mut Points<'_>, clusters: &mut Clusters, params: Params, frames: u64) {
    let reach2 = |sixteenths| {
        let reach = params.lambda_q6 * sixteenths / 16;
        reach * reach
    };
    if frames.is_multiple_of(DROP_EVERY) {
        let assign = points.assign.get_mut(..points.deciding.len()).unwrap_or(&mut []);
        cluster::assign(points.deciding, clusters, assign);
        if frames.is_multiple_of(MERGE_EVERY) {
            merge::merge_close(points.deciding, assign, clusters, reach2(MERGE_REACH_16));
        } else {
            merge::drop_redundant(points.deciding, assign, clusters, params.w_open, reach2(DROP_REACH_16));
        }
    }
    drop_light(clusters, params.w_open / SUPPORT_TO_STAY_PART);
}
