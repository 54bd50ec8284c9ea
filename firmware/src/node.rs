//! Node: the whole machine in one function, [`Node::step`].
//!
//! Takes a frame, a clock, random numbers, and at the start its memory and settings. Gives a report and labels.
//! Touches the `Workspace` that its caller has sized, and its own few KiB of clusters and report.
//! Never waits, never allocates, never fails on a frame that fits its workspace.

use crate::cluster::{self, Clusters, Params};
use crate::coreset::{self, Cell, Drawn, Merge, Point};
use crate::frame::Frame;
use crate::label::{self, Labelled, Q6};
use crate::limits::{CLUSTERS_MAX, ITERATIONS_MAX, POINTS_MAX};
use crate::silhouette;
use crate::track;
use crate::wire::{Method, Micros, Report, Swatch};
use heapless::Vec;
use rand::Rng;

/// The largest lambda: no two colours are farther apart than 441.7 levels.
pub const LAMBDA_Q6_MAX: u32 = 442 * 64;
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
    /// The workspace has too few points, merges or assignments: as many as the coreset, and for `octree` as cells.
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
    /// As many as the coreset may have, and for `octree` as the histogram has cells.
    pub points: &'a mut [Point],
    /// As many as points.
    pub merges: &'a mut [Merge],
    /// As many as points.
    pub assign: &'a mut [u8],
    /// One for each pixel of the largest frame.
    pub labels: &'a mut [u8],
    /// Three bytes for each pixel of the widest row.
    pub row: &'a mut [u8],
}

/// The clustering machine of one stream of frames.
#[derive(Debug)]
pub struct Node<'a> {
    settings: Settings,
    ws: Workspace<'a>,
    clusters: Clusters,
    /// Points of the last coreset, still in the workspace.
    points: usize,
    pixels: usize,
    /// What the last coreset's points cost with their centroids, and what they weighed.
    last: (u64, u64),
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
        let (clusters, last) = (Clusters::new(), (0, 0));
        Ok(Node { settings, ws, clusters, points: 0, pixels: 0, last, next_id: 0, frames: 0, report })
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
        (self.points, self.next_id, self.frames) = (0, 0, 0);
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
        self.edit(params);
        let drawn = self.draw(frame, rng);
        let drawn_at = clock.now_us();
        let (run, warm) = self.cluster(params);
        let clustered_at = clock.now_us();
        let centroids: Vec<Q6, CLUSTERS_MAX> = self.clusters.iter().map(|c| c.rgb_q6).collect();
        let labelled = label::label(frame, &centroids, self.ws.row, self.ws.labels);
        let labelled_at = clock.now_us();
        self.pixels = frame.pixels();
        self.frames += 1;
        self.say(frame, params, drawn, run, warm, &labelled);
        let us = |from: u64, to: u64| u32::try_from(to.saturating_sub(from)).unwrap_or(u32::MAX);
        self.report.micros = Micros {
            coreset: us(started, drawn_at),
            cluster: us(drawn_at, clustered_at),
            label: us(clustered_at, labelled_at),
            total: us(started, labelled_at),
        };
        log::trace!("frame {}: {} clusters, {} iterations", frame.stamp.number, self.clusters.len(), run.iterations);
        Ok(&self.report)
    }

    fn params(&self, frame: &Frame<'_>) -> Params {
        let auto = (frame.pixels() as u32 / W_OPEN_SHARE).max(1);
        let w_open = self.settings.w_open.unwrap_or(auto);
        Params { lambda_q6: self.settings.lambda_q6, w_open, iterations_max: self.settings.iterations_max }
    }

    /// Structural edits before a warm start, on the last frame's points.
    fn edit(&mut self, params: Params) {
        if self.settings.cold || self.clusters.is_empty() {
            return;
        }
        let reach2 = |sixteenths| {
            let reach = params.lambda_q6 * sixteenths / 16;
            reach * reach
        };
        let points = self.ws.points.get(..self.points).unwrap_or(&[]);
        let assign = self.ws.assign.get_mut(..self.points).unwrap_or(&mut []);
        if self.frames.is_multiple_of(MERGE_EVERY) {
            track::merge_close(points, assign, &mut self.clusters, reach2(MERGE_REACH_16));
        } else if self.frames.is_multiple_of(DROP_EVERY) {
            let reach2 = reach2(DROP_REACH_16);
            track::drop_redundant(points, assign, &mut self.clusters, params.w_open, reach2);
        }
        track::drop_light(&mut self.clusters, params.w_open / 4);
    }

    fn draw(&mut self, frame: &Frame<'_>, rng: &mut impl Rng) -> Drawn {
        let (size, ws) = (self.settings.coreset_size as usize, &mut self.ws);
        let drawn = match self.settings.method {
            Method::Octree => coreset::octree(frame, size, ws.hist, ws.points, ws.merges, ws.row),
            Method::Uniform => coreset::uniform(frame, size, ws.points, ws.labels, ws.row, rng),
        };
        self.points = drawn.points;
        drawn
    }

    /// Runs DC-DP-means, warm if it may, and sees to ids. Gives the run and whether it was warm.
    fn cluster(&mut self, params: Params) -> (cluster::Run, bool) {
        let points = self.ws.points.get(..self.points).unwrap_or(&[]);
        let assign = self.ws.assign.get_mut(..self.points).unwrap_or(&mut []);
        let weight: u64 = points.iter().map(|p| u64::from(p.weight)).sum();
        let lambda2 = u64::from(params.lambda_q6 * params.lambda_q6);
        let old = self.clusters.clone();
        let warm = !self.settings.cold && !old.is_empty() && {
            let before = self.last.0.checked_div(self.last.1).unwrap_or(0);
            cluster::cost_q12(points, &old) / weight.max(1) <= CUT_COST_FACTOR * before + lambda2 / 256
        };
        if !warm {
            self.clusters.clear();
        }
        let run = cluster::run(points, params, &mut self.clusters, assign);
        track::adopt(&old, &mut self.clusters, lambda2 as u32, &mut self.next_id);
        self.last = (run.cost_q12, weight);
        (run, warm)
    }

    /// Fills in the report, all but the times.
    fn say(&mut self, frame: &Frame<'_>, p: Params, drawn: Drawn, run: cluster::Run, warm: bool, found: &Labelled) {
        let points = self.ws.points.get(..drawn.points).unwrap_or(&[]);
        let assign = self.ws.assign.get(..drawn.points).unwrap_or(&[]);
        let r = &mut self.report;
        (r.frame, r.dropped) = (frame.stamp.number, frame.stamp.dropped);
        (r.width, r.height) = (frame.width() as u16, frame.height() as u16);
        let s = &self.settings;
        (r.method, r.lambda_q6, r.coreset_size, r.seed) = (s.method, s.lambda_q6, s.coreset_size, s.seed);
        (r.w_open, r.warm) = (p.w_open, warm);
        (r.coreset_points, r.scatter_q12) = (drawn.points as u32, drawn.scatter_q12);
        (r.iterations, r.converged, r.saturated) = (run.iterations, run.converged, run.saturated);
        (r.sse_q12, r.max_distance2_q12) = (found.sse_q12, found.max_distance2_q12);
        r.silhouette_ppm = None;
        if s.silhouette {
            r.silhouette_ppm = silhouette::estimate_ppm(points, assign, self.clusters.len());
        }
        let swatches = self.clusters.iter().zip(found.pixels);
        r.palette = swatches.map(|(c, pixels)| Swatch { id: c.id, rgb_q6: c.rgb_q6, pixels }).collect();
    }
}

fn check(s: &Settings, ws: &Workspace<'_>) -> Result<(), SettingsError> {
    let places = ws.points.len().min(ws.merges.len()).min(ws.assign.len());
    let needed = match s.method {
        Method::Octree => ws.hist.len().max(s.coreset_size as usize),
        Method::Uniform => s.coreset_size as usize,
    };
    if !(1..=LAMBDA_Q6_MAX).contains(&s.lambda_q6) {
        Err(SettingsError::Lambda)
    } else if !(1..=POINTS_MAX as u32).contains(&s.coreset_size) {
        Err(SettingsError::CoresetSize)
    } else if s.w_open == Some(0) {
        Err(SettingsError::WOpen)
    } else if !(1..=ITERATIONS_MAX).contains(&s.iterations_max) {
        Err(SettingsError::Iterations)
    } else if coreset::bits(ws.hist.len()).is_none() {
        Err(SettingsError::Histogram)
    } else if places < needed {
        Err(SettingsError::Points)
    } else {
        Ok(())
    }
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
        seed: s.seed,
        warm: false,
        coreset_points: 0,
        scatter_q12: 0,
        iterations: 0,
        converged: false,
        saturated: false,
        sse_q12: 0,
        max_distance2_q12: 0,
        silhouette_ppm: None,
        micros: Micros::default(),
        palette: Vec::new(),
    }
}
