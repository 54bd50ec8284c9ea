//! The command `learn`: looks at a region of the source and makes the named colour that covers what is in it.
//!
//! Inputs are the configuration and the name of a region; the result is a `[[colour]]` table on standard output, and with
//! `--save` in the configuration file. The source is read for some seconds. Nothing is clustered and nothing is sent.

mod colour;
mod save;

use crate::camera::Camera;
use crate::camera::reference::{Calibrator, TIME_CONSTANT_US};
use crate::config::{Config, WHOLE_PICTURE};
use crate::exit::{Failure, Reason};
use crate::health::Child;
use crate::output;
use crate::see::open_camera;
use crate::spec::region::is_name;
use colour::{Learned, Seen};
use firmware::frame::Frame;
use firmware::frame::regions::common;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// What is to be learned.
#[derive(Debug, Clone)]
pub struct Lesson {
    /// The region that shows the colour.
    pub region: String,
    /// The colour's name.
    pub name: String,
    /// How long the source is looked at.
    pub seconds: f64,
    /// The configuration file that the colour is written to.
    pub save: Option<PathBuf>,
}

/// Learns, prints and saves.
///
/// # Errors
/// [`Failure`] for a region or a name that cannot be, of the source, and of the file.
pub fn run(config: &Config, lesson: &Lesson) -> Result<(), Failure> {
    if !is_name(&lesson.name) {
        let why = format!("--name {:?} is not allowed; it must be 1 to 24 of a-z 0-9 -", lesson.name);
        return Err(Failure::new(Reason::Usage, anyhow::anyhow!(why)));
    }
    let Some(region) = config.regions.iter().position(|region| region.name == lesson.region) else {
        let names: Vec<&str> = config.regions.iter().map(|region| region.name.as_str()).collect();
        let known = if names.is_empty() { "none; add a [[region]] table".into() } else { names.join(", ") };
        let why = format!("there is no region {:?}; in the configuration are: {known}", lesson.region);
        return Err(Failure::new(Reason::Usage, anyhow::anyhow!(why)));
    };
    let seen = look(config, region, lesson.seconds)?;
    let Some(learned) = seen.learn() else {
        let why =
            format!("the region {:?} has no pixel that may be seen; make it larger, or a mask smaller", lesson.region);
        return Err(Failure::new(Reason::Usage, anyhow::anyhow!(why)));
    };
    log_result(&learned, lesson);
    if let Some(path) = &lesson.save {
        save::save(path, &lesson.name, &learned)?;
        log::info!("{} is in {}", lesson.name, path.display());
    }
    output::write(&save::table(&lesson.name, &learned))
}

/// What was found, for people.
fn log_result(learned: &Learned, lesson: &Lesson) {
    let Learned { inside, elsewhere, .. } = learned;
    log::info!("{}: {:.1} % of {}, {:.2} % of the rest", lesson.name, inside * 100.0, lesson.region, elsewhere * 100.0);
    if *elsewhere > colour::ELSEWHERE_MAX && lesson.region != WHOLE_PICTURE {
        log::warn!("the colour of {} is also outside of the region; a share elsewhere means little", lesson.region);
    }
}

/// Counts the colours in the region and elsewhere.
fn look(config: &Config, region: usize, seconds: f64) -> Result<Seen, Failure> {
    let (never, child) = (Arc::new(AtomicBool::new(false)), Child::alone("camera", config.source.to_string()));
    let mut camera: Camera = open_camera(config, &never, &child)?;
    let (mut seen, mut row) = (Seen::default(), Vec::new());
    // Colours are learned as `run` compares them: corrected.
    let mut calibrator = Calibrator::new(&config.reference, TIME_CONSTANT_US);
    let mut more = camera.advance(&never)?;
    let started = Instant::now();
    // By frames where there is a rate: a clip that is read faster has the same seconds.
    let frames_max = camera.rate().map(|rate| (rate * seconds).ceil().max(1.0) as u64);
    let mut frames = 0;
    while more {
        let frame = camera.frame()?;
        calibrator.see(&frame)?;
        add(&mut seen, &calibrator.corrected(frame), region, &mut row);
        frames += 1;
        let is_over = match frames_max {
            Some(max) => frames >= max,
            None => started.elapsed() >= Duration::from_secs_f64(seconds),
        };
        more = !is_over && camera.advance(&never)?;
    }
    log::info!("{frames} frames of {}", config.source);
    Ok(seen)
}

/// Counts a frame's visible pixels, in the region and elsewhere.
fn add(seen: &mut Seen, frame: &Frame<'_>, region: usize, row: &mut Vec<u8>) {
    let Some(map) = frame.regions() else { return };
    row.resize(frame.width() * 3, 0);
    for y in 0..frame.height() {
        let pixels = frame.counted_row(y, row).as_chunks::<3>().0;
        for span in frame.visible_spans(y) {
            pixels.get(span.columns()).unwrap_or(&[]).iter().for_each(|&rgb| seen.add_any(rgb));
        }
        for span in common(map.row(region, y), frame.visible_spans(y)) {
            pixels.get(span.columns()).unwrap_or(&[]).iter().for_each(|&rgb| seen.add_inside(rgb));
        }
    }
}
