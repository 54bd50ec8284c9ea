//! The command `cluster`: files instead of a camera, and each frame's clusters as JSON, as a recoloured picture, as labels.
//!
//! It reads the input files, prints a line a frame on standard output, and writes PNGs into the directories that it is
//! given. Each input is a stream of its own, though frames are numbered over all inputs.

use crate::camera::reference::Calibrator;
use crate::camera::{Camera, Play, SourceError};
use crate::exit::{Failure, Reason};
use crate::health::Child;
use crate::memory::Memory;
use crate::output;
use crate::panel::png;
use crate::spec::{Colour, Mask, ReferenceSpec, Region, SourceSpec};
use crate::watch::WatchMemory;
use firmware::frame::Frame;
use firmware::node::{Node, Settings};
use firmware::wire::{Micros, RegionShare, Report};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// What is to be done.
#[derive(Debug)]
pub struct Job {
    /// Files, or specifications of sources that end.
    pub inputs: Vec<SourceSpec>,
    /// How.
    pub settings: Settings,
    /// Times each frame is clustered again from cold.
    pub repeat: Option<u32>,
    /// Where recoloured frames go.
    pub out: Option<PathBuf>,
    /// Where label images go.
    pub labels: Option<PathBuf>,
    /// JSON instead of sentences.
    pub json: bool,
    /// Parts of the pictures that are masked.
    pub masks: Vec<Mask>,
    /// Parts of the pictures that are reported by themselves.
    pub regions: Vec<Region>,
    /// Colours that have a name.
    pub colours: Vec<Colour>,
    /// Patches of known colour: each frame is corrected by its own.
    pub reference: ReferenceSpec,
}

/// Clusters the inputs. One that cannot be read to its end is reported, and the others are done.
///
/// # Errors
/// [`Failure`]; what was printed and written before stays. If inputs failed, it has the reason of the first of them.
pub fn run(job: &Job) -> Result<(), Failure> {
    for dir in [&job.out, &job.labels].into_iter().flatten() {
        std::fs::create_dir_all(dir).map_err(|e| Failure::io(format!("making {}", dir.display()), e))?;
    }
    let (mut frames, mut failed, mut reason) = (0, 0, None);
    // Files have no capture times to smooth over.
    let mut calibrator = Calibrator::new(&job.reference, 0);
    for input in &job.inputs {
        match one_input(job, input, &mut calibrator, &mut frames) {
            Ok(()) => {}
            Err(Stop::Input(error)) if job.inputs.len() > 1 => {
                let failure = Failure::from(error);
                log::error!("{failure}");
                failed += 1;
                reason.get_or_insert(failure.reason);
            }
            Err(Stop::Input(error)) => return Err(error.into()),
            Err(Stop::Job(failure)) => return Err(failure),
        }
    }
    let Some(reason) = reason else { return Ok(()) };
    Err(Failure::new(
        reason,
        anyhow::anyhow!("{failed} of {} inputs could not be clustered to their end", job.inputs.len()),
    ))
}

/// Why an input was not clustered to its end.
enum Stop {
    /// It cannot be read; others may.
    Input(SourceError),
    /// No input can be clustered like this.
    Job(Failure),
}

impl From<SourceError> for Stop {
    fn from(error: SourceError) -> Stop {
        Stop::Input(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Job(failure)
    }
}

/// Clusters one input. `frames` counts over all of them.
fn one_input(job: &Job, input: &SourceSpec, calibrator: &mut Calibrator, frames: &mut u64) -> Result<(), Stop> {
    let never = Arc::new(AtomicBool::new(false));
    let play = Play { fast: true, ..Play::default() };
    let camera = Camera::open(input, job.settings.seed, play, &never, &Child::alone("input", input.to_string()))?;
    let mut camera = camera.masked(&job.masks).divided(&job.regions);
    let mut watched = WatchMemory::new(&job.regions, &job.colours);
    let mut picture = Vec::new();
    let mut more = camera.advance(&never)?;
    while more {
        let (pixels, width) = size(&camera.frame()?);
        let mut memory = Memory::new(pixels, width, job.settings.coreset_size);
        let mut node = new_node(job.settings, &mut memory)?;
        if let Some(watch) = watched.lend() {
            node.watch(watch);
        }
        while more {
            let mut frame = camera.frame()?;
            frame.stamp.number = *frames;
            let (p, w) = size(&frame);
            if p > pixels || w > width {
                break; // Larger than any before: it needs more memory.
            }
            calibrator.see(&frame)?;
            let frame = calibrator.corrected(frame);
            let micros = one_frame(job, &mut node, &frame)?;
            emit(job, &node, micros, &mut picture)?;
            *frames += 1;
            more = camera.advance(&never)?;
        }
    }
    Ok(())
}

fn size(frame: &Frame<'_>) -> (usize, usize) {
    (frame.pixels(), frame.width())
}

/// A node, or what is wrong with its settings.
pub fn new_node(settings: Settings, memory: &mut Memory) -> Result<Node<'_>, Failure> {
    memory.workspace().and_then(|ws| Node::new(settings, ws)).map_err(|e| Failure::new(Reason::Usage, e))
}

/// The random numbers of one frame: decided by seed and frame number alone.
pub fn frame_rng(seed: u64, number: u64) -> Xoshiro256PlusPlus {
    let mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    Xoshiro256PlusPlus::seed_from_u64(seed ^ (mixed ^ mixed >> 31))
}

/// Times in microseconds that a frame took.
#[derive(Debug, Clone, Copy, Serialize)]
struct Times {
    coreset: f64,
    cluster: f64,
    label: f64,
    total: f64,
}

impl From<Micros> for Times {
    fn from(m: Micros) -> Times {
        Times { coreset: m.coreset.into(), cluster: m.cluster.into(), label: m.label.into(), total: m.total.into() }
    }
}

fn one_frame(job: &Job, node: &mut Node<'_>, frame: &Frame<'_>) -> Result<Times, Failure> {
    let started = Instant::now();
    let mut clock = || started.elapsed().as_micros() as u64;
    let seed = job.settings.seed;
    let mut step = |node: &mut Node<'_>| {
        let mut rng = frame_rng(seed, frame.stamp.number);
        node.step(frame, &mut clock, &mut rng).map(|r| r.micros).map_err(|e| Failure::new(Reason::Io, e))
    };
    let Some(repeat) = job.repeat else { return step(node).map(Times::from) };
    node.forget();
    step(node)?;
    let mut all = Vec::with_capacity(repeat as usize);
    for _ in 0..repeat {
        node.forget();
        all.push(step(node)?);
    }
    let median = |pick: fn(&Micros) -> u32| {
        let mut values: Vec<u32> = all.iter().map(pick).collect();
        values.sort_unstable();
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        (f64::from(low) + f64::from(high)) / 2.0
    };
    Ok(Times {
        coreset: median(|m| m.coreset),
        cluster: median(|m| m.cluster),
        label: median(|m| m.label),
        total: median(|m| m.total),
    })
}

#[derive(Debug, Serialize)]
struct Entry {
    id: u32,
    rgb: [f64; 3],
    /// L, a and b, in CIELAB only.
    #[serde(skip_serializing_if = "Option::is_none")]
    lab: Option<[f64; 3]>,
    pixels: u32,
}

/// A named colour in a region.
#[derive(Debug, Serialize)]
struct NamedLine<'j> {
    colour: &'j str,
    pixels: u32,
    de00: f64,
}

/// A region: `palette` has its pixels of each palette entry.
#[derive(Debug, Serialize)]
struct RegionLine<'j> {
    name: &'j str,
    pixels: u32,
    named: Vec<NamedLine<'j>>,
    palette: Vec<u32>,
}

fn regions<'j>(job: &'j Job, node: &Node<'_>) -> Vec<RegionLine<'j>> {
    let report = node.report();
    let line = |share: &RegionShare| {
        let named = share.named.iter().map(|n| NamedLine {
            colour: job.colours.get(usize::from(n.colour)).map_or("", |colour| &colour.name),
            pixels: n.pixels,
            de00: f64::from(n.de00_q6) / 64.0,
        });
        let counts = node.watched().and_then(|watch| watch.label_pixels(share.region.into()));
        RegionLine {
            name: job.regions.get(usize::from(share.region)).map_or("", |region| &region.name),
            pixels: share.pixels,
            named: named.collect(),
            palette: counts.into_iter().flatten().take(report.palette.len()).copied().collect(),
        }
    };
    report.regions.iter().map(line).collect()
}

/// One line of `--json`. Numbers are exact: squared distances are multiples of 1/4096, centroids of 1/64.
#[derive(Debug, Serialize)]
struct Line<'j> {
    frame: u64,
    width: u32,
    height: u32,
    pixels: u64,
    space: &'static str,
    lambda: f64,
    coreset_size: u32,
    coreset_points: u32,
    clusters: usize,
    iterations: u32,
    sweeps: u32,
    converged: bool,
    saturated: bool,
    beyond_px: Option<u32>,
    missed: Option<u32>,
    palette: Vec<Entry>,
    /// Only where regions or colours are configured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    regions: Vec<RegionLine<'j>>,
    sse: f64,
    rms: f64,
    max_distance: f64,
    /// Estimated, in CIELAB only.
    #[serde(skip_serializing_if = "Option::is_none")]
    de00_mean: Option<f64>,
    /// Only with a reference whose patches can be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference_de00: Option<f64>,
    silhouette_estimate: Option<f64>,
    micros: Times,
}

fn line<'j>(r: &Report, regions: Vec<RegionLine<'j>>, micros: Times) -> Line<'j> {
    let pixels = r.pixels();
    let sse = r.sse_q12 as f64 / 4096.0;
    let palette = r.palette.iter();
    Line {
        frame: r.frame,
        width: r.width,
        height: r.height,
        pixels,
        space: r.colorimetry.space.word(),
        lambda: f64::from(r.lambda_q6) / 64.0,
        coreset_size: r.coreset_size,
        coreset_points: r.coreset_points,
        clusters: r.palette.len(),
        iterations: r.iterations,
        sweeps: r.sweeps,
        converged: r.converged,
        saturated: r.saturated,
        beyond_px: r.beyond_px,
        missed: r.missed,
        palette: palette
            .map(|s| Entry {
                id: s.id,
                rgb: s.rgb_q6.map(|c| f64::from(c) / 64.0),
                lab: r.lab_q6(s).map(|lab| lab.map(|v| f64::from(v) / 64.0)),
                pixels: s.pixels,
            })
            .collect(),
        regions,
        sse,
        rms: (sse / pixels as f64).sqrt(),
        max_distance: (f64::from(r.max_distance2_q12) / 4096.0).sqrt(),
        de00_mean: r.colorimetry.de00_mean_q6.map(|d| f64::from(d) / 64.0),
        reference_de00: r.colorimetry.reference_de00_q6.map(|d| f64::from(d) / 64.0),
        silhouette_estimate: r.silhouette_ppm.map(|s| f64::from(s) / 1e6),
        micros,
    }
}

/// A line for people, as in the tutorial's log. Missed colours are named only if there are any.
fn sentence(line: &Line<'_>) -> String {
    let missed = match (line.missed, line.beyond_px) {
        (Some(missed @ 1..), Some(beyond)) => format!(", {missed} missed ({beyond} pixels beyond lambda)"),
        _ => String::new(),
    };
    let silhouette = line.silhouette_estimate.map_or("undefined".into(), |s| format!("{s:.3}"));
    let share = |region: &RegionLine<'_>| {
        let percent = |named: &NamedLine<'_>| 100.0 * f64::from(named.pixels) / f64::from(region.pixels.max(1));
        let named: Vec<String> = region.named.iter().map(|n| format!("{} {:.1} %", n.colour, percent(n))).collect();
        format!("; {}: {}", region.name, if named.is_empty() { "no named colour".into() } else { named.join(", ") })
    };
    let regions: String = line.regions.iter().map(share).collect();
    format!(
        "frame {}: {} colours detected at lambda {}, DCDP took {} iterations{}{missed}, rms {:.2}, silhouette about {silhouette}, {:.1} ms{regions}",
        line.frame,
        line.clusters,
        line.lambda,
        line.iterations,
        if line.saturated { " (saturated)" } else { "" },
        line.rms,
        line.micros.total / 1000.0,
    )
}

fn emit(job: &Job, node: &Node<'_>, micros: Times, picture: &mut Vec<u8>) -> Result<(), Failure> {
    let (report, labels) = (node.report(), node.labels());
    if report.saturated {
        log::warn!("frame {}: more than {} colours at this lambda: saturated", report.frame, report.palette.len());
    }
    let name = format!("{:06}.png", report.frame);
    let (width, height) = (report.width, report.height);
    if let Some(dir) = &job.out {
        picture.resize(labels.len() * 3, 0);
        firmware::view::recolour(report, labels, picture);
        write(dir, &name, width, height, ::png::ColorType::Rgb, picture)?;
    }
    if let Some(dir) = &job.labels {
        write(dir, &name, width, height, ::png::ColorType::Grayscale, labels)?;
    }
    let line = line(report, regions(job, node), micros);
    let text =
        if job.json { serde_json::to_string(&line).map_err(|e| Failure::new(Reason::Io, e))? } else { sentence(&line) };
    output::write(&(text + "\n"))
}

fn write(dir: &Path, name: &str, w: u32, h: u32, color: ::png::ColorType, data: &[u8]) -> Result<(), Failure> {
    let path = dir.join(name);
    png::write(&path, w, h, color, data).map_err(|e| Failure::io(format!("writing {}", path.display()), e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::empty_report;
    use firmware::wire::Swatch;

    #[test]
    fn missed_colours_are_said_and_unknown_ones_are_null_in_json() {
        let mut report = empty_report();
        (report.width, report.height, report.iterations, report.sse_q12) = (2, 2, 7, 4 * 4 * 4_096);
        report.palette.push(Swatch { id: 0, rgb_q6: [0; 3], pixels: 4 }).unwrap();
        let plain = "frame 0: 1 colours detected at lambda 0, DCDP took 7 iterations, rms 2.00, silhouette about undefined, 0.0 ms";
        assert_eq!(sentence(&line(&report, Vec::new(), Micros::default().into())), plain);
        (report.missed, report.beyond_px) = (Some(2), Some(3));
        let text = sentence(&line(&report, Vec::new(), Micros::default().into()));
        assert!(text.contains("7 iterations, 2 missed (3 pixels beyond lambda), rms"), "{text}");
        (report.missed, report.beyond_px) = (None, None);
        let json = serde_json::to_value(line(&report, Vec::new(), Micros::default().into())).unwrap();
        assert!(json["missed"].is_null() && json["beyond_px"].is_null() && json["sweeps"] == 0);
    }
}
