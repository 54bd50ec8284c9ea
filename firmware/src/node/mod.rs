//! Node: the whole machine in one function, [`Node::step`].
//!
//! Takes a frame, a clock, random numbers, and at the start its memory and settings. Gives a report and labels.
//! Touches the `Workspace` that its caller has sized, and its own few KiB of clusters and report.
//! Never waits, never allocates, never fails on a frame that fits its workspace.

mod settings;

pub use settings::{LAMBDA_Q6_MAX, Settings, SettingsError, StepError, Workspace};

use crate::cluster::{self, Clusters, Params};
use crate::coreset::{self, Cell, Drawn, Point, SCOUT_POINTS_MAX};
use crate::frame::Frame;
use crate::gather::gather;
use crate::label::{self, Labelled, Q6};
use crate::limits::CLUSTERS_MAX;
use crate::refine;
use crate::silhouette;
use crate::track;
use crate::wire::{Method, Micros, Refine, Report, Swatch};
use heapless::Vec;
use rand::Rng;
use settings::check;

/// Without `w_open` of its own a frame asks one pixel in this many of a point that is to open a cluster (0.02 %).
const W_OPEN_SHARE: u32 = 4_800;
/// A warm start looks for clusters to merge in every so manieth frame.
const MERGE_EVERY: u64 = 8;
/// Merged clusters must be covered to this part of lambda, in 1/16: with all of it they would part again at once.
const MERGE_REACH_16: u32 = 12;
/// And in every so manieth of the others for a cluster that the cover no longer needs.
const DROP_EVERY: u64 = 4;
/// A cluster is not needed when others cover it to this part of lambda, in 1/16.
const DROP_REACH_16: u32 = 15;
/// In every so manieth frame a warm and refined stream looks how many clusters a cold start would have, and for swaps.
const STEER_EVERY: u64 = 8;
/// It opens or joins clusters when it is farther than this from that number, smoothed, in 1/16 clusters.
const STEER_SLACK_Q4: u32 = 20;
/// Between these frames one opens when one pixel in this many comes to lie beyond lambda.
const NEWCOMER_SHARE: u64 = 400;
/// Swaps may leave one pixel in this many farther than lambda from its centroid.
const COVER_SHARE: u64 = 100;
/// A scene is cut when the old centroids cost this many times what they cost before.
const CUT_COST_FACTOR: u64 = 2;

/// Something that tells the time in microseconds; it may stand still.
pub trait Clock {
    /// Microseconds since any fixed moment.
    fn now_us(&mut self) -> u64;
}

impl<F: FnMut() -> u64> Clock for F {
    fn now_us(&mut self) -> u64 {
        self()
    }
}

/// How many points of the workspace the last frame used.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    cells: usize,
    squares: u64,
    /// Mean squared distance of a pixel to its cell's mean, in 1/4096 squared levels.
    inside_q12: u64,
    points: usize,
    scout: usize,
}

/// What clustering did.
#[derive(Debug, Clone, Copy, Default)]
struct Done {
    warm: bool,
    iterations: u32,
    converged: bool,
    saturated: bool,
}

/// The clustering machine of one stream of frames.
#[derive(Debug)]
pub struct Node<'a> {
    settings: Settings,
    ws: Workspace<'a>,
    clusters: Clusters,
    used: Used,
    pixels: usize,
    /// What the points that decide cost with the last frame's centroids, and what they weighed.
    last: (u64, u64),
    /// How many clusters cold starts would have, smoothed over frames, in 1/16.
    wanted_q4: u32,
    /// Pixels beyond lambda when that was last looked at.
    beyond: u64,
    next_id: u32,
    frames: u64,
    report: Report,
}

impl<'a> Node<'a> {
    /// A node with its settings and memory.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(settings: Settings, ws: Workspace<'a>) -> Result<Node<'a>, SettingsError> {
        check(&settings, &ws)?;
        ws.hist.fill(Cell::default());
        let report = blank_report(&settings);
        let (clusters, last, used) = (Clusters::new(), (0, 0), Used::default());
        Ok(Node {
            settings,
            ws,
            clusters,
            used,
            pixels: 0,
            last,
            wanted_q4: 0,
            beyond: 0,
            next_id: 0,
            frames: 0,
            report,
        })
    }

    /// Changes the settings from the next frame on; clusters and their ids go on.
    ///
    /// # Errors
    /// [`SettingsError`]; the old settings then stay.
    pub fn set(&mut self, settings: Settings) -> Result<(), SettingsError> {
        check(&settings, &self.ws)?;
        self.settings = settings;
        Ok(())
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Starts a new stream: the next frame is cold, and ids begin at 0.
    pub fn forget(&mut self) {
        self.clusters.clear();
        (self.next_id, self.frames) = (0, 0);
    }

    /// The labels of the last frame, a byte a pixel: positions in its report's palette.
    pub fn labels(&self) -> &[u8] {
        self.ws.labels.get(..self.pixels).unwrap_or(&[])
    }

    /// The last frame's report.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// One frame: pixels to coreset, coreset to clusters, clusters to labels, and what is to be said of it.
    ///
    /// # Errors
    /// [`StepError`]; the node is then as it was.
    pub fn step(
        &mut self,
        frame: &Frame<'_>,
        clock: &mut impl Clock,
        rng: &mut impl Rng,
    ) -> Result<&Report, StepError> {
        if frame.pixels() > self.ws.labels.len() || frame.row(0, self.ws.row).is_empty() {
            return Err(StepError::FrameTooLarge);
        }
        let started = clock.now_us();
        let params = self.params(frame);
        let drawn = self.draw(frame, rng);
        let drawn_at = clock.now_us();
        let done = self.cluster(params);
        let clustered_at = clock.now_us();
        let centroids: Vec<Q6, CLUSTERS_MAX> = gather(self.clusters.iter().map(|c| c.rgb_q6));
        let labelled = label::label(frame, &centroids, self.ws.row, self.ws.labels);
        let labelled_at = clock.now_us();
        self.pixels = frame.pixels();
        self.frames += 1;
        self.say(frame, params, drawn, done, &labelled);
        let us = |from: u64, to: u64| u32::try_from(to.saturating_sub(from)).unwrap_or(u32::MAX);
        self.report.micros = Micros {
            coreset: us(started, drawn_at),
            cluster: us(drawn_at, clustered_at),
            label: us(clustered_at, labelled_at),
            total: us(started, labelled_at),
        };
        log::trace!("frame {}: {} clusters, {} iterations", frame.stamp.number, self.clusters.len(), done.iterations);
        Ok(&self.report)
    }

    fn params(&self, frame: &Frame<'_>) -> Params {
        let auto = (frame.pixels() as u32 / W_OPEN_SHARE).max(1);
        let w_open = self.settings.w_open.unwrap_or(auto);
        Params { lambda_q6: self.settings.lambda_q6, w_open, iterations_max: self.settings.iterations_max }
    }

    /// Pixels to cells (if anything needs them), to the coreset, and to the scout (if there is to be one).
    fn draw(&mut self, frame: &Frame<'_>, rng: &mut impl Rng) -> Drawn {
        let (s, ws) = (&self.settings, &mut self.ws);
        let size = s.coreset_size as usize;
        self.used = Used::default();
        if s.method != Method::Uniform || s.refine != Refine::None {
            let counted = coreset::count(frame, ws.hist, ws.cells, ws.row);
            (self.used.cells, self.used.squares) = (counted.cells, counted.squares);
        }
        let cells = ws.cells.get(..self.used.cells).unwrap_or(&[]);
        self.used.inside_q12 = coreset::scatter_q12(cells, self.used.squares) / frame.pixels().max(1) as u64;
        let drawn = match s.method {
            Method::Octree => {
                let parents = coreset::parents(cells, ws.scout);
                let found = ws.scout.get(..parents).unwrap_or(&[]);
                let drawn = coreset::octree(cells, found, self.used.squares, size, ws.points, ws.merges);
                if s.refine != Refine::None {
                    self.used.scout = coreset::collapse(ws.scout, ws.merges, parents, size.min(SCOUT_POINTS_MAX));
                }
                drawn
            }
            Method::Uniform => coreset::uniform(frame, size, ws.points, ws.labels, ws.row, rng),
            Method::Sensitivity => coreset::sensitivity(cells, size, s.lambda_q6, ws.points, rng),
            Method::StreamKm => coreset::stream_km(cells, self.used.squares, size, ws.points, ws.merges, rng),
            Method::Lightweight => coreset::lightweight(cells, size, ws.points, rng),
        };
        self.used.points = drawn.points;
        drawn
    }

    /// Runs DC-DP-means on the scout or the coreset, warm if it may, refines over all cells, and sees to ids.
    fn cluster(&mut self, params: Params) -> Done {
        let (s, ws, used) = (&self.settings, &mut self.ws, self.used);
        let deciding = if used.scout > 0 { ws.scout.get(..used.scout) } else { ws.points.get(..used.points) };
        let deciding = deciding.unwrap_or(&[]);
        let cells = ws.cells.get(..used.cells).unwrap_or(&[]);
        let weight: u64 = deciding.iter().map(|p| u64::from(p.weight())).sum();
        let lambda2 = u64::from(params.lambda_q6 * params.lambda_q6);
        let old = self.clusters.clone();
        let warm = !s.cold && !old.is_empty() && {
            let before = self.last.0.checked_div(self.last.1).unwrap_or(0);
            cluster::cost_q12(deciding, &old) / weight.max(1) <= CUT_COST_FACTOR * before + lambda2 / 256
        };
        let mut done = Done { warm, converged: true, ..Done::default() };
        if !warm {
            self.clusters.clear();
        }
        let steered = self.frames.is_multiple_of(STEER_EVERY);
        if s.refine == Refine::None || !warm {
            let assign = ws.assign.get_mut(..deciding.len()).unwrap_or(&mut []);
            if warm {
                edit(deciding, assign, &mut self.clusters, params, self.frames);
            }
            let run = cluster::run(deciding, params, &mut self.clusters, assign);
            (done.iterations, done.converged, done.saturated) = (run.iterations, run.converged, run.saturated);
            self.wanted_q4 = 16 * self.clusters.len() as u32;
        } else {
            let assign = ws.assign.get_mut(..deciding.len()).unwrap_or(&mut []);
            let (beyond, heavy) = cluster::uncovered(deciding, &self.clusters, params);
            if steered {
                let mut fresh = Clusters::new();
                cluster::run(deciding, params, &mut fresh, assign);
                self.wanted_q4 = (3 * self.wanted_q4 + 16 * fresh.len() as u32) / 4;
                self.beyond = beyond;
            }
            let has_q4 = 16 * self.clusters.len() as u32;
            if steered && has_q4 > self.wanted_q4 + STEER_SLACK_Q4 {
                track::join_cheapest(&mut self.clusters);
            } else if heavy && beyond > self.beyond + weight / NEWCOMER_SHARE
                || steered && has_q4 + STEER_SLACK_Q4 < self.wanted_q4
            {
                cluster::open_farthest(deciding, &mut self.clusters, params);
                self.beyond = beyond;
            }
        }
        if matches!(s.refine, Refine::Mse | Refine::Cover) && (!warm || steered) {
            let points = ws.points.get(..used.points).unwrap_or(&[]);
            let assign = ws.assign.get_mut(..used.points).unwrap_or(&mut []);
            let beyond = |c: &Clusters| cluster::uncovered(deciding, c, params).0;
            done.iterations += refine::swap(points, &mut self.clusters, assign, weight / COVER_SHARE, beyond);
        }
        if s.refine != Refine::None {
            let assign = ws.assign.get_mut(..cells.len()).unwrap_or(&mut []);
            let same = warm
                && old.iter().zip(&self.clusters).all(|(o, c)| o.rgb_q6 == c.rgb_q6)
                && old.len() == self.clusters.len();
            if same && refine::still(cells, used.squares, &mut self.clusters, assign) {
                done.iterations += 1;
            } else {
                let (sweeps, converged) = refine::lloyd(cells, used.squares, &mut self.clusters, assign);
                done.iterations += sweeps;
                done.converged &= converged;
            }
            if !warm {
                self.beyond = cluster::uncovered(deciding, &self.clusters, params).0;
            }
        }
        track::adopt(&old, &mut self.clusters, lambda2 as u32, &mut self.next_id);
        track::not_in(&old, &self.clusters, &mut self.report.births);
        track::not_in(&self.clusters, &old, &mut self.report.deaths);
        self.last = (cluster::cost_q12(deciding, &self.clusters), weight);
        done
    }

    /// Fills in the report, all but the times.
    fn say(&mut self, frame: &Frame<'_>, p: Params, drawn: Drawn, done: Done, found: &Labelled) {
        let points = self.ws.points.get(..drawn.points).unwrap_or(&[]);
        let assign = self.ws.assign.get_mut(..drawn.points).unwrap_or(&mut []);
        let r = &mut self.report;
        (r.frame, r.dropped) = (frame.stamp.number, frame.stamp.dropped);
        (r.width, r.height) = (frame.width() as u32, frame.height() as u32);
        let s = &self.settings;
        (r.method, r.lambda_q6, r.coreset_size, r.seed) = (s.method, s.lambda_q6, s.coreset_size, s.seed);
        (r.refine, r.w_open, r.warm) = (s.refine, p.w_open, done.warm);
        r.coreset_points = drawn.points as u32;
        let is_certified = s.method.is_certified() || drawn.points == frame.pixels();
        r.scatter_q12 = is_certified.then_some(drawn.scatter_q12);
        (r.iterations, r.converged, r.saturated) = (done.iterations, done.converged, done.saturated);
        (r.sse_q12, r.max_distance2_q12) = (found.sse_q12, found.max_distance2_q12);
        r.silhouette_ppm = None;
        if s.silhouette {
            cluster::assign(points, &self.clusters, assign);
            r.silhouette_ppm = silhouette::estimate_ppm(points, assign, self.clusters.len(), self.used.inside_q12);
        }
        let swatches = self.clusters.iter().zip(found.pixels);
        r.palette = gather(swatches.map(|(c, pixels)| Swatch { id: c.id, rgb_q6: c.rgb_q6, pixels }));
    }
}

/// Structural edits before a warm start.
fn edit(points: &[Point], assign: &mut [u8], clusters: &mut Clusters, params: Params, frames: u64) {
    let reach2 = |sixteenths| {
        let reach = params.lambda_q6 * sixteenths / 16;
        reach * reach
    };
    if frames.is_multiple_of(DROP_EVERY) {
        cluster::assign(points, clusters, assign);
        if frames.is_multiple_of(MERGE_EVERY) {
            track::merge_close(points, assign, clusters, reach2(MERGE_REACH_16));
        } else {
            track::drop_redundant(points, assign, clusters, params.w_open, reach2(DROP_REACH_16));
        }
    }
    track::drop_light(clusters, params.w_open / 4);
}

fn blank_report(s: &Settings) -> Report {
    Report {
        frame: 0,
        dropped: 0,
        width: 0,
        height: 0,
        method: s.method,
        lambda_q6: s.lambda_q6,
        coreset_size: s.coreset_size,
        w_open: 1,
        refine: s.refine,
        seed: s.seed,
        warm: false,
        coreset_points: 0,
        scatter_q12: None,
        iterations: 0,
        converged: false,
        sweeps: 0,
        saturated: false,
        beyond_px: None,
        missed: None,
        sse_q12: 0,
        max_distance2_q12: 0,
        births: Vec::new(),
        deaths: Vec::new(),
        regions: Vec::new(),
        silhouette_ppm: None,
        micros: Micros::default(),
        palette: Vec::new(),
    }
}
