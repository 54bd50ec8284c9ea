//! See: the thread that takes frames, has them clustered, and hands the results on.
//!
//! It opens the source, which may be absent for a while, and clusters each frame in memory that it took at the start: no
//! frame allocates. Pictures go to Show by the slot, parcels to custody. It waits for the source, for custody when all
//! parcels are under way, and for Show only if a display wants every frame. While it works it gives signs of life.

use crate::budget::{Budget, Size};
use crate::camera::reference::{Calibrator, TIME_CONSTANT_US};
use crate::camera::{Camera, Play, SourceError};
use crate::clock::Clock;
use crate::cluster::{frame_rng, new_node};
use crate::command::{Command, Outcomes, Refusal};
use crate::config::{Config, Video, ViewChoice};
use crate::counters::{Counters, get};
use crate::event::Events;
use crate::exit::{Failure, Reason};
use crate::gauge::Rate;
use crate::health::Child;
use crate::logs;
use crate::memory::Memory;
use crate::parcel::{PARCELS_MAX, Parcel, PictureWay, Rooms};
use crate::slot::{PUT_WAIT_MAX, Pictures, Slots};
use crate::spec::RunOptions;
use crate::watch::WatchMemory;
use firmware::frame::Frame;
use firmware::limits::PAYLOAD_BYTES_MAX;
use firmware::node::{Node, Settings};
use firmware::wire::Report;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;

/// The status line is renewed this often.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Clustering a frame and handing it on takes less than this, or the thread hangs: the largest frame, 8 million pixels of
/// noise at the smallest lambda, takes 20 s on a Raspberry Pi Zero 2.
const STEP_LIMIT: Duration = Duration::from_secs(120);

/// See's ends of the channels to and from custody.
pub struct ToCustody {
    /// Full parcels.
    pub parcels: Sender<Box<Parcel>>,
    /// Empty ones, back from custody.
    pub empties: Receiver<Box<Parcel>>,
    /// Commands from the `cmd` topic.
    pub commands: Receiver<Command>,
    /// What became of commands.
    pub outcomes: Arc<Outcomes>,
}

/// See's ends of what lies between the threads, and what it has to know.
pub struct See {
    /// The configuration.
    pub config: Arc<Config>,
    /// When to end and what to log.
    pub options: RunOptions,
    /// To the displays.
    pub slots: Arc<Slots>,
    /// To custody; none: no records are kept.
    pub custody: Option<ToCustody>,
    /// Set when the stream is to end.
    pub stop: Arc<AtomicBool>,
    /// Counters for the status line and the summary.
    pub counters: Arc<Counters>,
    /// This thread's state and signs of life.
    pub child: Arc<Child>,
    /// Whether captured times can be relied on.
    pub clock: Arc<Clock>,
    /// The status line may be shown.
    pub status_line: bool,
}

/// What is due when, and buffers that are used again.
struct Work {
    settings: Settings,
    census_every: Option<Duration>,
    census_due: Instant,
    snapshot: bool,
    picture_due: Instant,
    status_due: Instant,
    status_frames: u64,
    rate: Rate,
    pictures: Pictures,
    empties: heapless::Vec<Box<Parcel>, PARCELS_MAX>,
    rooms: Rooms,
    colours: Vec<u32>,
    row: Vec<u8>,
    census_of: Option<u64>,
    events: Events,
}

impl See {
    /// Opens the configured source and runs until it ends, enough frames are seen, or the stop flag is set.
    ///
    /// # Errors
    /// [`Failure`] of the source; all frames before it have been handed on.
    pub fn run(self) -> Result<(), Failure> {
        let end = match open_camera(&self.config, &self.stop, &self.child) {
            Ok(mut camera) => {
                camera.stamp_by(&self.clock);
                self.watch(&mut camera)
            }
            // A stop may end the wait for a pipe.
            Err(_) if self.stop.load(Ordering::Relaxed) => Ok(()),
            Err(error) => Err(error.into()),
        };
        self.child.ended(end.as_ref().err().map(ToString::to_string).as_deref());
        end
    }

    fn watch(&self, camera: &mut Camera) -> Result<(), Failure> {
        let now = Instant::now();
        let every = |s: f64| (s > 0.0).then(|| Duration::from_secs_f64(s));
        let mut work = Work {
            settings: self.config.settings,
            census_every: every(self.config.census_every_s),
            census_due: now + every(self.config.census_every_s).unwrap_or_default(),
            snapshot: false,
            picture_due: now,
            status_due: now + STATUS_EVERY,
            status_frames: 0,
            rate: Rate::default(),
            pictures: Pictures::new(self.slots.displays()),
            empties: heapless::Vec::new(),
            rooms: Rooms::default(),
            colours: Vec::new(),
            row: Vec::new(),
            census_of: None,
            events: Events::new(&self.config.events),
        };
        let end = self.frames(camera, &mut work);
        logs::status(None);
        self.count(camera);
        end
    }

    fn count(&self, camera: &Camera) {
        self.counters.late.store(camera.late(), Ordering::Relaxed);
        self.counters.lost.store(camera.lost(), Ordering::Relaxed);
    }

    fn frames(&self, camera: &mut Camera, work: &mut Work) -> Result<(), Failure> {
        let mut more = camera.advance(&self.stop)?;
        let mut watched = WatchMemory::new(&self.config.regions, &self.config.colours);
        let mut calibrator = Calibrator::new(&self.config.reference, TIME_CONSTANT_US);
        while more {
            // Rarely more than once: only for a frame that is larger than any before.
            let (pixels, width) = size(&camera.frame()?);
            let size = Size { width, height: pixels / width.max(1) };
            log::info!("memory: {}", Budget::new(&self.config, size));
            let mut memory = Memory::new(pixels, width, work.settings.coreset_size);
            let places = memory.points();
            let mut node = new_node(work.settings, &mut memory)?;
            if let Some(watch) = watched.lend() {
                node.watch(watch);
            }
            let end = self.same_size(camera, &mut calibrator, work, &mut node, (pixels, width, places));
            if !matches!(end, Ok(true)) {
                self.last_census(camera, &calibrator, work, &node);
                end?;
                more = false;
            }
        }
        Ok(())
    }

    /// Frames that fit one memory. True: the next one does not fit.
    fn same_size(
        &self,
        camera: &mut Camera,
        calibrator: &mut Calibrator,
        work: &mut Work,
        node: &mut Node<'_>,
        (pixels, width, places): (usize, usize, usize),
    ) -> Result<bool, Failure> {
        loop {
            self.child.heartbeat(Some(STEP_LIMIT));
            while let Some(Ok(command)) = self.custody.as_ref().map(|c| c.commands.try_recv()) {
                let custody = self.custody.as_ref();
                match work.obey(&command, node, places) {
                    Ok(()) => custody.iter().for_each(|c| c.outcomes.obeyed(&command)),
                    Err(refusal) => custody.iter().for_each(|c| c.outcomes.refused(refusal.clone())),
                }
            }
            let frame = camera.frame()?;
            let (p, w) = size(&frame);
            if p > pixels || w > width {
                return Ok(true);
            }
            self.counters.see_correction(calibrator.see(&frame)?);
            let frame = calibrator.corrected(frame);
            step(node, &frame, work.settings.seed)?;
            work.rate.tick(Instant::now());
            self.counters.fps_tenths.store(work.rate.tenths().unwrap_or(0).into(), Ordering::Relaxed);
            self.count(camera);
            self.counters.see_regions(&node.report().regions);
            self.see_events(&frame, node.report(), work);
            self.report(node.report(), camera.rate(), work);
            if self.slots.has_taker() {
                self.show(&frame, node, work);
            }
            if !self.send(&frame, node, work) {
                return Ok(false);
            }
            let seen = self.counters.frames.fetch_add(1, Ordering::Relaxed) + 1;
            let enough = self.options.frames.is_some_and(|n| seen >= n);
            if enough || !camera.advance(&self.stop)? {
                return Ok(false);
            }
        }
    }

    /// What begins, ends or turns with a frame.
    fn see_events(&self, frame: &Frame<'_>, report: &Report, work: &mut Work) {
        for event in work.events.see(report, frame.stamp.captured_at_us) {
            let value = event.value_micro.map_or(f64::NAN, |value| value as f64 / 1e6);
            let (does, name, frame) = (event.change.verb(), &event.name, event.frame);
            match event.pattern {
                Some(pattern) => log::info!("event {name} {does} with frame {frame}, {pattern}, value {value:.4}"),
                None => log::info!("event {name} {does} with frame {frame}, value {value:.4}"),
            }
        }
        self.counters.see_events(&work.events.states());
    }

    /// Log lines and the status line.
    fn report(&self, report: &Report, rate: Option<f64>, work: &mut Work) {
        if report.saturated && self.counters.saturated.fetch_add(1, Ordering::Relaxed) == 0 {
            let (n, lambda) = (report.palette.len(), f64::from(report.lambda_q6) / 64.0);
            log::warn!("frame {}: more than {n} colours at lambda {lambda}: saturated", report.frame);
        }
        let missed = report.missed.unwrap_or(0);
        if missed > 0 && self.counters.missing.fetch_add(1, Ordering::Relaxed) == 0 {
            let (frame, w_open) = (report.frame, report.w_open);
            log::warn!("frame {frame}: {missed} colours of at least {w_open} pixels are missed by the palette");
        }
        let (ms, lambda) = (f64::from(report.micros.total) / 1000.0, f64::from(report.lambda_q6) / 64.0);
        let (k, iterations, frame) = (report.palette.len(), report.iterations, report.frame);
        if self.options.log_frames {
            log::info!(
                "frame {frame}: {k} colours detected at lambda {lambda}, DCDP took {iterations} iterations, {ms:.1} ms"
            );
        }
        let now = Instant::now();
        if self.status_line && !self.slots.fills_terminal() && now >= work.status_due {
            let since = (now - work.status_due + STATUS_EVERY).as_secs_f64();
            let seen = get(&self.counters.frames);
            let fps = (seen - work.status_frames) as f64 / since;
            let held = get(&self.counters.held);
            let evicted = match get(&self.counters.evicted) {
                0 => String::new(),
                n => format!("  {n} evicted"),
            };
            let missed = match missed {
                0 => String::new(),
                n => format!("  {n} missed"),
            };
            let link = if self.config.mqtt.is_none() {
                "alone"
            } else if self.counters.is_bridge_missing.load(Ordering::Relaxed) {
                "connected, no bridge answers"
            } else if self.counters.connected.load(Ordering::Relaxed) {
                "connected"
            } else {
                "offline"
            };
            let of = rate.filter(|_| !self.config.fast).map_or(String::new(), |r| format!("/{r:.0}"));
            logs::status(Some(&format!(
                "frame {frame}  {k} colours{missed} at lambda {lambda}  {iterations} iterations  {ms:.1} ms  {fps:.1}{of} fps  {held} held{evicted}  {link}"
            )));
            (work.status_due, work.status_frames) = (now + STATUS_EVERY, seen);
        }
    }

    fn show(&self, frame: &Frame<'_>, node: &Node<'_>, work: &mut Work) {
        let Some(shot) = work.pictures.free() else { return };
        shot.report.clone_from(node.report());
        shot.labels.clear();
        shot.labels.extend_from_slice(node.labels());
        shot.captured_at_us = frame.stamp.captured_at_us;
        shot.fps_tenths = work.rate.tenths();
        shot.is_offline = self.config.mqtt.is_some() && !self.counters.connected.load(Ordering::Relaxed);
        shot.original.clear();
        if self.config.view == ViewChoice::SideBySide {
            work.row.resize((frame.width() * 3).max(work.row.len()), 0);
            for y in 0..frame.height() {
                shot.original.extend_from_slice(frame.row(y, &mut work.row));
            }
        }
        self.slots.put(&work.pictures, self.options.picture_wait.unwrap_or(PUT_WAIT_MAX));
    }

    /// The parcel that came back last, so that few are in use where few are needed. None: custody has ended.
    fn empty(&self, custody: &ToCustody, work: &mut Work) -> Option<Box<Parcel>> {
        let mut back = custody.empties.try_recv().ok();
        if back.is_none() && work.empties.is_empty() {
            // Custody has a limit of its own.
            self.child.heartbeat(None);
            back = Some(custody.empties.recv().ok()?);
            self.child.heartbeat(Some(STEP_LIMIT));
        }
        while let Some(mut parcel) = back {
            work.rooms.take_from(&mut parcel);
            // There is a place for each parcel.
            drop(work.empties.push(parcel));
            back = custody.empties.try_recv().ok();
        }
        work.empties.pop()
    }

    /// Hands the frame to custody. False: custody has ended.
    fn send(&self, frame: &Frame<'_>, node: &Node<'_>, work: &mut Work) -> bool {
        let Some(custody) = &self.custody else { return true };
        let Some(mut parcel) = self.empty(custody, work) else { return false };
        parcel.begin(frame, node.report());
        parcel.add_events(&work.events);
        let now = Instant::now();
        if work.snapshot || work.census_every.is_some() && now >= work.census_due {
            work.snapshot = false;
            work.census_due = now + work.census_every.unwrap_or_default();
            work.take_census(&mut parcel, frame, self.census_bytes_max());
        }
        let picture_due = self.config.mqtt.is_some() && now >= work.picture_due;
        match self.config.video {
            Video::All => parcel.way = PictureWay::Records,
            Video::Latest(_) if picture_due => parcel.way = PictureWay::Latest,
            _ => {}
        }
        if parcel.way != PictureWay::None {
            parcel.labels = work.rooms.labels();
            parcel.labels.extend_from_slice(node.labels());
        }
        if picture_due {
            let fps = if let Video::Latest(fps) = self.config.video { fps } else { 5.0 };
            // Counted from when it was due, so that the rate holds on average; but never to catch up.
            let gap = Duration::from_secs_f64(1.0 / fps);
            work.picture_due = (work.picture_due + gap).max(now - gap + Duration::from_nanos(1));
            if self.config.original {
                parcel.original = work.rooms.original();
                parcel.add_original(frame, &mut work.row);
            }
        }
        custody.parcels.blocking_send(parcel).is_ok()
    }

    /// The largest payload that a census may have: what the broker takes.
    fn census_bytes_max(&self) -> usize {
        match get(&self.counters.census_bytes_max) as usize {
            0 => PAYLOAD_BYTES_MAX,
            max => max.min(PAYLOAD_BYTES_MAX),
        }
    }

    /// A census of the last frame, so that what was seen last can be looked into.
    fn last_census(&self, camera: &Camera, calibrator: &Calibrator, work: &mut Work, node: &Node<'_>) {
        let (Some(custody), Ok(frame)) = (&self.custody, camera.frame()) else { return };
        let frame = calibrator.corrected(frame);
        // A frame that was fetched but not clustered has no report.
        if frame.stamp.number != node.report().frame || work.census_of == Some(frame.stamp.number) {
            return;
        }
        let Some(mut parcel) = self.empty(custody, work) else { return };
        parcel.begin(&frame, node.report());
        parcel.with_report = false;
        work.take_census(&mut parcel, &frame, self.census_bytes_max());
        let _ = custody.parcels.blocking_send(parcel);
    }
}

impl Work {
    fn take_census(&mut self, parcel: &mut Parcel, frame: &Frame<'_>, payload_max: usize) {
        parcel.census = self.rooms.census();
        match parcel.add_census(frame, &mut self.colours, &mut self.row, payload_max) {
            Ok(()) => self.census_of = Some(frame.stamp.number),
            Err(e) => {
                parcel.census.clear();
                log::warn!("frame {}: no census: {e}", frame.stamp.number);
            }
        }
    }

    fn obey(&mut self, command: &Command, node: &mut Node<'_>, places: usize) -> Result<(), Refusal> {
        let settings = command.apply(self.settings);
        if settings.coreset_size as usize > places {
            let reason = format!("this edge was started with room for {places} coreset points");
            return Err(Refusal::new("coreset_size", settings.coreset_size, reason));
        }
        node.set(settings).map_err(|e| Refusal::new("cmd", format!("{command:?}"), e.to_string()))?;
        self.settings = settings;
        self.snapshot |= command.snapshot;
        if let Some(s) = command.census_every_s {
            self.census_every = (s > 0.0).then(|| Duration::from_secs_f64(s));
            self.census_due = Instant::now() + self.census_every.unwrap_or_default();
        }
        log::info!("command: {command:?}");
        Ok(())
    }
}

fn size(frame: &Frame<'_>) -> (usize, usize) {
    (frame.pixels(), frame.width())
}

fn step(node: &mut Node<'_>, frame: &Frame<'_>, seed: u64) -> Result<(), Failure> {
    let started = Instant::now();
    let mut rng = frame_rng(seed, frame.stamp.number);
    let step = node.step(frame, &mut || started.elapsed().as_micros() as u64, &mut rng);
    step.map(|_| ()).map_err(|e| Failure::new(Reason::Io, e))
}

/// Opens the configured source.
///
/// # Errors
/// [`SourceError`].
pub fn open_camera(config: &Config, stop: &Arc<AtomicBool>, child: &Arc<Child>) -> Result<Camera, SourceError> {
    let play = Play { fast: config.fast, rewind: config.rewind, ask: config.ask, transform: config.transform };
    Ok(Camera::open(&config.source, config.settings.seed, play, stop, child)?
        .masked(&config.masks)
        .divided(&config.regions))
}
