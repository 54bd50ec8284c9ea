//! Cameras and clips: sources of numbered frames with time stamps, at a source's rate.
//!
//! [`Camera::open`] takes a [`SourceSpec`] and gives borrowed frames, at the source's rate or as fast as they are asked
//! for. A live source that is absent is waited for ([`feed`]); no frame of a clip is skipped: late frames are counted.

pub mod choice;
pub mod decode;
pub mod feed;
pub mod find;
pub mod locks;
pub mod masked;
pub mod nodes;
pub mod pace;
pub mod reference;
pub mod regions;
pub mod rpicam;
pub mod source;
pub mod synthetic;
pub mod timings;
pub mod transform;
#[cfg(feature = "camera")]
pub mod v4l;

pub use crate::spec::ask;
pub use source::{Picture, Source, SourceError};

use crate::clock::Clock;
use crate::health::Child;
use crate::spec::{Ask, Mask, Region, SourceSpec};
use firmware::frame::{Frame, FrameError, Stamp};
use pace::{Pace, STILL_LOOP_FPS};
use source::check_size;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// The error of a program that was built without the feature `camera`.
pub const NO_CAMERA: &str = "this hueflow-edge was built without V4L2 cameras; the Debian packages have them, and so has \
                             cargo build --release -p hueflow-edge --features camera (libclang-dev is needed for that). \
                             What works here: rpicam:, or a camera through a pipe: \
                             ffmpeg -f v4l2 -i /dev/video0 -pix_fmt yuv420p -f yuv4mpegpipe - | \
                             hueflow-edge run --source y4m:-";
/// The path that stands for standard input.
const STANDARD_INPUT: &str = "-";
/// The system's error for a device that is gone.
#[cfg(feature = "camera")]
const ENODEV: i32 = 19;
/// Longest sleep between two checks of the stop flag, so that a person notices no delay.
const NAP_MAX: Duration = Duration::from_millis(50);
/// A reader of a file on a disk or a network share that takes longer than this for a picture hangs.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// How a source is played.
#[derive(Debug, Clone, Copy, Default)]
pub struct Play {
    /// Without waiting for the source's rate.
    pub fast: bool,
    /// From the beginning again at the end; frame numbers go on.
    pub rewind: bool,
    /// The request to a live source.
    pub ask: Ask,
    /// Crop, rotation and flip of every picture.
    pub transform: transform::Transform,
}

/// The source's picture as a frame.
fn untransformed(source: &dyn Source, stamp: Stamp) -> Result<Frame<'_>, SourceError> {
    let p = source.picture().ok_or(FrameError::Empty)?;
    Ok(Frame::new(p.layout, p.yuv, p.width, p.height, 0, p.data, stamp)?)
}

fn open_source(
    spec: &SourceSpec,
    seed: u64,
    play: Play,
    stop: &Arc<AtomicBool>,
) -> Result<Box<dyn Source>, SourceError> {
    Ok(match spec {
        SourceSpec::V4l2 { camera, options } => return open_v4l2(camera, options.over(play.ask), stop),
        SourceSpec::Rpicam { own, options } => {
            let camera = rpicam::Rpicam::new(*own, options.over(play.ask), Arc::clone(stop))?;
            Box::new(feed::Live::start(camera, Arc::clone(stop)))
        }
        SourceSpec::File { path, fps } => return decode::open(path, *fps, stop),
        SourceSpec::StandardInput => Box::new(decode::y4m::Y4m::open(STANDARD_INPUT.as_ref(), stop)?),
        SourceSpec::Y4m(path) => Box::new(decode::y4m::Y4m::open(path, stop)?),
        SourceSpec::Synthetic { width, height, fps } => {
            Box::new(synthetic::Synthetic::new((*width, *height), *fps, seed)?)
        }
    })
}

#[cfg(feature = "camera")]
fn open_v4l2(camera: &str, ask: Ask, stop: &Arc<AtomicBool>) -> Result<Box<dyn Source>, SourceError> {
    Ok(Box::new(feed::Live::start(v4l::V4l::new(camera, ask), Arc::clone(stop))))
}

#[cfg(not(feature = "camera"))]
fn open_v4l2(_: &str, _: Ask, _: &Arc<AtomicBool>) -> Result<Box<dyn Source>, SourceError> {
    Err(SourceError::Missing(NO_CAMERA.into()))
}

/// Returns true for standard input, a FIFO, a socket or a character device, which may never deliver data.
fn is_pipe(path: &Path) -> bool {
    path == Path::new(STANDARD_INPUT) || std::fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir())
}

/// How long the source may take for a picture before it is considered hung. None for a pipe, which may never deliver data.
fn read_limit(spec: &SourceSpec) -> Option<Duration> {
    match spec {
        SourceSpec::StandardInput => None,
        SourceSpec::File { path, .. } | SourceSpec::Y4m(path) if is_pipe(path) => None,
        _ => Some(READ_LIMIT),
    }
}

/// A source with numbers, time stamps and a pace.
pub struct Camera {
    source: Box<dyn Source>,
    transformer: transform::Transformer,
    masker: masked::Masker,
    divider: regions::Divider,
    child: Arc<Child>,
    read_limit: Option<Duration>,
    rewind: bool,
    pace: Option<Pace>,
    stamp: Stamp,
    next: u64,
    clock: Arc<Clock>,
}

impl Camera {
    /// Opens the source that `spec` names; `seed` is for sources that draw, `stop` for those that wait. A live source is
    /// opened with the first frame, and waited for then. `child` receives its state.
    ///
    /// # Errors
    /// [`SourceError`] for failures that waiting cannot resolve.
    pub fn open(
        spec: &SourceSpec,
        seed: u64,
        play: Play,
        stop: &Arc<AtomicBool>,
        child: &Arc<Child>,
    ) -> Result<Camera, SourceError> {
        let read_limit = read_limit(spec);
        // A FIFO is opened when someone writes to it.
        child.heartbeat(read_limit);
        let mut source = open_source(spec, seed, play, stop)?;
        source.watched_by(Arc::clone(child));
        let pace = if play.fast || source.is_live() {
            None
        } else {
            source.rate().or(play.rewind.then_some(STILL_LOOP_FPS)).and_then(Pace::new)
        };
        Ok(Camera {
            source,
            transformer: transform::Transformer::new(play.transform),
            masker: masked::Masker::default(),
            divider: regions::Divider::default(),
            child: Arc::clone(child),
            read_limit,
            rewind: play.rewind,
            pace,
            stamp: Stamp::default(),
            next: 0,
            clock: Arc::default(),
        })
    }

    /// From now on, frames have the state of this machine's clock from `clock`.
    pub fn stamp_by(&mut self, clock: &Arc<Clock>) {
        self.clock = Arc::clone(clock);
    }

    /// Waits for the next frame's time and fetches it; false at the end of the source or when `stop` is set.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn advance(&mut self, stop: &AtomicBool) -> Result<bool, SourceError> {
        // Waits before fetching, so that every fetched picture is returned.
        if !self.keep_pace(stop) {
            return Ok(false);
        }
        self.child.heartbeat(self.read_limit);
        match self.fetch() {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            // A stop may also have ended the source, which is not a failure.
            Err(_) if stop.load(Ordering::Relaxed) => return Ok(false),
            Err(error) => return Err(error),
        }
        self.child.running();
        let now_us = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
        self.stamp = Stamp {
            number: self.next,
            dropped: self.source.lost(),
            captured_at_us: self.source.captured_at_us().unwrap_or_else(now_us),
            clock_synced: self.clock.is_synchronised(),
        };
        self.transformer.take(untransformed(self.source.as_ref(), self.stamp)?)?;
        let frame = self.transformed()?;
        let size = (frame.width(), frame.height());
        self.masker.fit(size);
        self.divider.fit(size);
        self.next += 1;
        Ok(true)
    }

    fn fetch(&mut self) -> Result<bool, SourceError> {
        if self.source.advance()? {
            return Ok(true);
        }
        if !self.rewind || self.next == 0 {
            return Ok(false);
        }
        self.source.rewind()?;
        self.source.advance()
    }

    /// Sleeps until the frame is due. Returns false if the run was stopped.
    fn keep_pace(&mut self, stop: &AtomicBool) -> bool {
        let Some(pace) = &mut self.pace else { return !stop.load(Ordering::Relaxed) };
        loop {
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            let now = Instant::now();
            let wait = pace.due(now).saturating_duration_since(now);
            if wait.is_zero() {
                pace.given(now);
                return true;
            }
            self.child.heartbeat(Some(READ_LIMIT));
            std::thread::sleep(wait.min(NAP_MAX));
        }
    }

    /// The frame fetched last.
    ///
    /// # Errors
    /// [`SourceError::Frame`] if it cannot be used, with [`FrameError::Empty`] before the first frame.
    pub fn frame(&self) -> Result<Frame<'_>, SourceError> {
        self.divider.frame(self.masker.frame(self.transformed()?)?)
    }

    fn transformed(&self) -> Result<Frame<'_>, SourceError> {
        self.transformer.frame(untransformed(self.source.as_ref(), self.stamp)?)
    }

    /// The camera with masks.
    #[must_use]
    pub fn masked(self, masks: &[Mask]) -> Camera {
        Camera { masker: masked::Masker::new(masks), ..self }
    }

    /// The camera with regions.
    #[must_use]
    pub fn divided(self, regions: &[Region]) -> Camera {
        Camera { divider: regions::Divider::new(regions), ..self }
    }

    /// Frames a second, if the source has a rate.
    pub fn rate(&self) -> Option<f64> {
        self.source.rate().or(self.pace.as_ref().map(|p| 1.0 / p.period().as_secs_f64()))
    }

    /// Frames that a live source has lost.
    pub fn lost(&self) -> u64 {
        self.source.lost()
    }

    /// Frames that were more than a period late.
    pub fn late(&self) -> u64 {
        self.pace.as_ref().map_or(0, Pace::late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_still_that_is_repeated_is_paced_unless_it_is_to_be_fast() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("still.png");
        crate::panel::png::write(&path, 1, 1, ::png::ColorType::Rgb, &[1, 2, 3]).unwrap();
        let spec = SourceSpec::File { path, fps: None };
        let rate = |rewind, fast| {
            let play = Play { rewind, fast, ..Play::default() };
            let camera = Camera::open(&spec, 1, play, &Arc::default(), &Child::alone("camera", "still"));
            camera.unwrap().pace.map(|p| p.period())
        };
        assert_eq!(rate(true, false), Some(Duration::from_millis(200)));
        assert_eq!((rate(true, true), rate(false, false)), (None, None));
    }

    #[test]
    fn only_what_is_no_pipe_has_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clip.y4m");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(read_limit(&SourceSpec::Y4m(path)), Some(READ_LIMIT));
        assert_eq!(read_limit(&SourceSpec::Y4m("/dev/null".into())), None);
        assert_eq!(read_limit(&SourceSpec::StandardInput), None);
    }
}
