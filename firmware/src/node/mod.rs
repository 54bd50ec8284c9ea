//! The engine: one stream of frames, a step a frame. [`Node::step`] shows all of it.
//!
//! Inputs are frames, a clock, random numbers, and at the start settings and memory. Results are a report, a label for
//! every pixel, and access to the frame's cells and coreset. A step never waits, never allocates, and never fails on a
//! frame that fits its workspace. All that decides a result is integer arithmetic.

mod clustering;
mod points;
mod report;
mod settings;
mod workspace;

pub use settings::{LAMBDA_Q6_MAX, Settings, SettingsError, StepError};
pub use workspace::{Capacity, HistogramBits, Sizes, Workspace};

use crate::cluster::{Cluster, Clusters, Params, cover};
use crate::color::{Q6, Space};
use crate::coreset::Point;
use crate::frame::Frame;
use crate::gather::gather;
use crate::label::{FarPixels, Labelled, label, label_in_lab};
use crate::limits::CLUSTERS_MAX;
use crate::report::{Refine, Report};
use crate::stream::cut::{PreviousCost, Start};
use crate::stream::identity::Identity;
use crate::stream::steer::Steer;
use crate::watch::{Shares, Watch};
use clustering::Outcome;
use heapless::Vec;
use points::Sample;
use rand::Rng;
use report::Times;

/// Times that a frame is labelled at most. A second time is needed if a colour is missed that the cells did not show; each
/// time opens a cluster in every such cell, so more than two are rare.
const LABEL_PASSES_MAX: u32 = 4;

/// A clock in microseconds; it may stand still.
pub trait Clock {
    /// Microseconds since any fixed moment.
    fn now_us(&mut self) -> u64;
}

impl<F: FnMut() -> u64> Clock for F {
    fn now_us(&mut self) -> u64 {
        self()
    }
}

/// The engine of one stream of frames.
///
/// ```
/// use firmware::coreset::{Features, Merge, Point};
/// use firmware::frame::Frame;
/// use firmware::node::{Capacity, HistogramBits, Node, Settings, Workspace};
/// use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
///
/// // Left half red, right half blue, and a small green mark.
/// let mut rgb: Vec<u8> = (0..64 * 64).flat_map(|i| if i % 64 < 32 { [200, 0, 0] } else { [0, 0, 200] }).collect();
/// rgb[..9].copy_from_slice(&[0, 255, 0, 0, 255, 0, 0, 255, 0]);
///
/// let settings = Settings::default();
/// let capacity = Capacity { pixels: 64 * 64, width_px: 64, coreset_size: settings.coreset_size, bits: HistogramBits::Five };
/// let sizes = capacity.sizes();
/// let (mut features, mut points) = (vec![Features::ZERO; sizes.features], vec![Point::ZERO; sizes.points]);
/// let (mut merges, mut bytes) = (vec![Merge::ZERO; sizes.merges], vec![0; sizes.bytes]);
/// let workspace = Workspace::in_slices(&capacity, &mut features, &mut points, &mut merges, &mut bytes)?;
///
/// let mut node = Node::new(settings, workspace)?;
/// let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
/// let report = node.step(&Frame::rgb(64, 64, &rgb)?, &mut || 0, &mut rng)?;
/// assert_eq!(report.palette.len(), 3);
/// assert_eq!(report.missed, Some(0));
/// assert_eq!(node.labels().len(), 64 * 64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Node<'a> {
    settings: Settings,
    ws: Workspace<'a>,
    clusters: Clusters,
    /// The clusters' colours, by label: where the last frame's clusters lie.
    colours: Colours,
    identity: Identity,
    steer: Steer,
    previous_cost: PreviousCost,
    /// A setting that decides clusters has changed since the last frame.
    settings_changed: bool,
    sample: Sample,
    pixels: usize,
    frames: u64,
    report: Report,
    watch: Option<Watch<'a>>,
}

impl<'a> Node<'a> {
    /// A node with its settings and memory.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(settings: Settings, ws: Workspace<'a>) -> Result<Node<'a>, SettingsError> {
        settings.check()?;
        ws.check(settings.coreset_size)?;
        Ok(Node {
            settings,
            ws,
            clusters: Clusters::new(),
            colours: Colours::new(),
            identity: Identity::new(),
            steer: Steer::default(),
            previous_cost: PreviousCost::default(),
            settings_changed: false,
            sample: Sample::default(),
            pixels: 0,
            frames: 0,
            report: report::blank(&settings),
            watch: None,
        })
    }

    /// Watches the regions of frames ([`Frame::with_regions`]) for named colours from the next frame on.
    pub fn watch(&mut self, watch: Watch<'a>) {
        self.watch = Some(watch);
    }

    /// What the regions of the last frame were watched for; none without [`Node::watch`].
    pub fn watched(&self) -> Option<&Watch<'a>> {
        self.watch.as_ref()
    }

    /// Changes the settings from the next frame on. If they decide clusters, that frame starts cold; ids go on.
    ///
    /// # Errors
    /// [`SettingsError`]; the old settings then stay.
    pub fn set(&mut self, settings: Settings) -> Result<(), SettingsError> {
        settings.check()?;
        self.ws.check(settings.coreset_size)?;
        self.settings_changed |= self.settings.decides_otherwise(&settings);
        let (from, to) = (self.settings.space, settings.space);
        if from != to {
            let moved = |point: Q6| to.of_q6(from.rgb_at(point));
            self.clusters.iter_mut().for_each(|c| c.position_q6 = moved(c.position_q6));
            self.identity.move_points(moved);
            self.colours.clear();
        }
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
        (self.identity, self.frames) = (Identity::new(), 0);
    }

    /// Starts the next frame warm from a given palette, in 1/64 levels, with new ids. Colours beyond [`CLUSTERS_MAX`] are
    /// ignored.
    pub fn start_from(&mut self, palette: &[Q6]) {
        let start = |&rgb_q6| Cluster { weight: u32::MAX, ..Cluster::new(self.settings.space.of_q6(rgb_q6)) };
        self.clusters = gather(palette.iter().map(start));
        (self.identity, self.settings_changed) = (Identity::new(), false);
        (self.steer, self.previous_cost) = (Steer::after_cold(self.clusters.len()), PreviousCost::UNKNOWN);
    }

    /// The labels of the last frame, a byte a pixel: positions in its report's palette.
    pub fn labels(&self) -> &[u8] {
        self.ws.labels.get(..self.pixels).unwrap_or(&[])
    }

    /// The last frame's report.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The last frame's coreset, in the space of the settings. Its certificate is [`Report::scatter_q12`].
    pub fn coreset(&self) -> &[Point] {
        self.ws.points.get(..self.sample.coreset_points()).unwrap_or(&[])
    }

    /// The last frame's histogram cells in Morton order, or its distinct colours, in the space of the settings; empty if
    /// nothing needed them.
    pub fn cells(&self) -> &[Point] {
        self.sample.cells(&self.ws)
    }

    /// One frame: pixels to coreset, coreset to clusters, clusters to labels, and the report of it.
    ///
    /// # Errors
    /// [`StepError`]; the node is then as it was.
    pub fn step(
        &mut self,
        frame: &Frame<'_>,
        clock: &mut impl Clock,
        rng: &mut impl Rng,
    ) -> Result<&Report, StepError> {
        self.admit(frame)?;
        let params = self.params(frame);
        let mut times = Times::start(clock);
        self.sample = Sample::draw(&self.settings, &mut self.ws, frame, rng);
        times.sampled(clock);
        let previous = self.clusters.clone();
        let mut outcome = match self.start(params) {
            Start::Warm => self.continue_warm(params),
            cold => self.start_cold(params, cold),
        };
        times.clustered(clock);
        let (labelled, missed) = self.label(frame, params, &mut outcome);
        times.labelled(clock);
        self.clusters.iter_mut().zip(labelled.pixels).for_each(|(cluster, pixels)| cluster.weight = pixels);
        let changes = self.identity.identify(&previous, &mut self.clusters, params.lambda2_q12());
        self.write_report(frame, params, &outcome, &labelled, missed);
        self.write_regions(frame);
        (self.report.births, self.report.deaths, self.report.micros) = (changes.births, changes.deaths, times.micros());
        self.finish(frame);
        Ok(&self.report)
    }

    /// The colours of one picture, clustered from nothing, without labels: about a quarter faster than [`Node::step`]. The
    /// weight of a cluster is its number of pixels, counted by histogram cells; nothing checks pixel by pixel that no colour
    /// is missed. The stream goes on as if the picture had not been there; [`Node::labels`] is empty until its next frame.
    ///
    /// # Errors
    /// [`StepError`]; the node is then as it was.
    pub fn palette(&mut self, frame: &Frame<'_>, rng: &mut impl Rng) -> Result<Clusters, StepError> {
        self.admit(frame)?;
        let params = self.params(frame);
        self.sample = Sample::draw(&self.settings, &mut self.ws, frame, rng);
        // Sampling may draw in the memory of the labels.
        self.pixels = 0;
        let mut clusters = Clusters::new();
        let mut points = self.sample.points(&mut self.ws);
        clustering::start_cold(&mut points, &self.settings, params, &mut clusters, Start::First);
        clusters.iter_mut().for_each(|c| c.position_q6 = params.space.rgb_at(c.position_q6));
        Ok(clusters)
    }

    fn admit(&mut self, frame: &Frame<'_>) -> Result<(), StepError> {
        let fits = frame.pixels() <= self.ws.labels.len() && !frame.counted_row(0, self.ws.row).is_empty();
        if fits { Ok(()) } else { Err(StepError::FrameTooLarge) }
    }

    fn params(&self, frame: &Frame<'_>) -> Params {
        Params {
            lambda_q6: self.settings.lambda_q6,
            w_open: self.settings.w_open_px(frame.visible_px() as u32),
            iterations_max: self.settings.iterations_max,
            clusters_max: self.settings.clusters_max as usize,
            space: self.settings.space,
        }
    }

    /// Decides whether the frame starts warm, and why not.
    fn start(&mut self, params: Params) -> Start {
        let points = self.sample.points(&mut self.ws);
        if self.clusters.is_empty() {
            Start::First
        } else if self.settings.cold {
            Start::ColdMode
        } else if self.settings_changed {
            Start::SettingsChanged
        } else if self.previous_cost.is_cut(points.deciding, &self.clusters, params.lambda2_q12()) {
            Start::SceneCut
        } else {
            Start::Warm
        }
    }

    fn start_cold(&mut self, params: Params, start: Start) -> Outcome {
        let mut points = self.sample.points(&mut self.ws);
        let outcome = clustering::start_cold(&mut points, &self.settings, params, &mut self.clusters, start);
        self.steer = Steer::after_cold(self.clusters.len());
        outcome
    }

    fn continue_warm(&mut self, params: Params) -> Outcome {
        let mut points = self.sample.points(&mut self.ws);
        let (steer, clusters) = (&mut self.steer, &mut self.clusters);
        clustering::continue_warm(&mut points, &self.settings, params, steer, clusters, self.frames)
    }

    /// Labels every pixel, and opens clusters where the exact distances show a missed colour. Returns the totals and how
    /// many colours are missed in the end.
    #[inline(never)] // Centroids and the totals of each pass leave the stack with it.
    fn label(&mut self, frame: &Frame<'_>, params: Params, outcome: &mut Outcome) -> (Labelled, u32) {
        let Node { settings, ws, clusters, colours, steer, sample, .. } = self;
        let settled = !outcome.start.is_warm() || outcome.replaced;
        let mut passes = 0;
        loop {
            *colours = name_colours(params.space, clusters, colours);
            let centroids: Vec<Q6, CLUSTERS_MAX> = gather(clusters.iter().map(|c| c.position_q6));
            let mut far = FarPixels::new(ws.histogram);
            let labelled = match params.space {
                Space::Rgb => label(frame, &centroids, params.lambda_q6, ws.row, ws.labels, &mut far),
                Space::Cielab => {
                    let memory = (&mut *ws.row, &mut *ws.labels, &mut *ws.cell_labels);
                    let cells = (sample.counted(ws.cells), sample.inside_rgb_q12);
                    label_in_lab(frame, cells, &centroids, params.lambda_q6, memory, &mut far)
                }
            };
            let missed = far.missed(params.w_open).count() as u32;
            passes += 1;
            // `lloyd` and `mse` accept the colours that they lost when they settled, and open newcomers.
            let opens = missed > 0
                && passes < LABEL_PASSES_MAX
                && match settings.refine {
                    Refine::Cover => true,
                    Refine::None => false,
                    Refine::Lloyd | Refine::Mse => steer.has_newcomer(labelled.beyond_px, params.w_open, settled),
                };
            let opened = if opens { cover::open_at(far.missed(params.w_open), params, clusters) } else { 0 };
            far.clear();
            if opened == 0 {
                // Without refinement DC-DP-means itself reports whether a point was kept from opening.
                let decided = settings.refine == Refine::None && outcome.saturated;
                outcome.saturated = decided || missed > 0 && clusters.len() >= params.clusters_max.min(CLUSTERS_MAX);
                return (labelled, missed);
            }
        }
    }

    /// Writes the shares of the frame's regions to the report; none without a watch.
    #[inline(never)] // The shares are moved, which takes a place on the stack.
    fn write_regions(&mut self, frame: &Frame<'_>) {
        let Node { watch, ws, clusters, report, .. } = self;
        report.regions =
            watch.as_mut().map_or(Shares::new(), |watch| watch.count(frame, ws.labels, clusters.len(), ws.row));
    }

    fn finish(&mut self, frame: &Frame<'_>) {
        let points = self.sample.points(&mut self.ws);
        self.previous_cost = PreviousCost::of(points.deciding, &self.clusters);
        (self.settings_changed, self.pixels) = (false, frame.pixels());
        self.frames += 1;
        log::trace!("frame {}: {} clusters", frame.stamp.number, self.clusters.len());
    }
}

/// The colours of clusters, and where these lie.
type Colours = Vec<(Q6, Q6), CLUSTERS_MAX>;

/// Moves each centroid to where an RGB colour lies, and returns these colours: a report has colours in RGB, and where they lie is
/// what pixels are labelled by. A centroid that was one already stays, to the bit.
fn name_colours(space: Space, clusters: &mut Clusters, before: &Colours) -> Colours {
    gather(clusters.iter_mut().map(|c| {
        if let Some(known) = before.iter().find(|known| known.1 == c.position_q6) {
            return *known;
        }
        let rgb_q6 = space.rgb_at(c.position_q6);
        c.position_q6 = space.of_q6(rgb_q6);
        (rgb_q6, c.position_q6)
    }))
}
