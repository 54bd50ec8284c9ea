//! Camera: where frames come from, one after the other, numbered and in time.
//!
//! Takes a source's description. Gives borrowed frames, stamped, at the source's rate or as fast as they are asked for.
//! Touches the source and the clock.
//! Never skips a frame of a clip: if we are late, the frames are late, and that is counted.

pub mod ask;
pub mod choice;
pub mod decode;
pub mod feed;
pub mod locks;
pub mod nodes;
pub mod rpicam;
pub mod synthetic;
#[cfg(feature = "camera")]
pub mod v4l;

use crate::exit::{Failure, Reason};
use firmware::frame::{Frame, FrameError, Layout, Stamp, Yuv};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Present when systemd's time service has set the clock.
pub const CLOCK_SYNCED_FILE: &str = "/run/systemd/timesync/synchronized";
/// What a program says that was built without the feature `camera`.
pub const NO_CAMERA: &str = "this hueflow-edge was built without V4L2 cameras; the Debian packages have them, and so has \
                             cargo build --release -p hueflow-edge --features camera (libclang-dev is needed for that). \
                             What works here: rpicam:, or a camera through a pipe: \
                             ffmpeg -f v4l2 -i /dev/video0 -pix_fmt yuv420p -f yuv4mpegpipe - | \
                             hueflow-edge run --source y4m:-";
/// `errno` of a device that is gone.
const ENXIO: i32 = 6;
const ENODEV: i32 = 19;
/// Longest sleep before the stop flag is looked at again.
const NAP_MAX: Duration = Duration::from_millis(50);
/// Behind by more than this, a paced source starts a new schedule instead of hurrying after the old one.
const LATE_MAX: Duration = Duration::from_secs(1);

/// A picture as a source holds it.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// How its bytes lie.
    pub layout: Layout,
    /// Which YCbCr, where it is YCbCr.
    pub yuv: Yuv,
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The bytes, without padding.
    pub data: &'a [u8],
}

/// A camera or a clip.
pub trait Source: Send {
    /// Fetches the next picture; false at the end. After an error or the end the last whole picture is still there.
    ///
    /// # Errors
    /// [`SourceError`]; the source is then of no more use.
    fn advance(&mut self) -> Result<bool, SourceError>;

    /// The picture fetched last.
    fn picture(&self) -> Option<Picture<'_>>;

    /// Pictures a second; none for stills.
    fn rate(&self) -> Option<f64>;

    /// Back to the first picture.
    ///
    /// # Errors
    /// [`SourceError`], also where there is no way back (standard input).
    fn rewind(&mut self) -> Result<(), SourceError>;

    /// Whether it has a pace of its own, which nobody else keeps.
    fn is_live(&self) -> bool {
        false
    }

    /// Pictures that were lost since it was opened, before the last one fetched.
    fn lost(&self) -> u64 {
        0
    }

    /// Has `tick` called, many times a second, while the device is away and looked for.
    fn while_away(&mut self, tick: Tick) {
        drop(tick);
    }

    /// When the last picture was captured, if the source says: microseconds since the Unix epoch.
    fn captured_at_us(&self) -> Option<u64> {
        None
    }
}

/// What is called again and again; see [`Source::while_away`].
pub type Tick = Box<dyn FnMut() + Send>;

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The description is not one.
    #[error(
        "source {0:?} is not known; use v4l2:CAMERA, rpicam:, file:PATH, y4m:PATH, y4m:- or synthetic:WIDTHxHEIGHT@FPS"
    )]
    Unknown(String),
    /// It does not exist or may not be read.
    #[error("cannot open {path}: {error}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// There is no such device now; there may be one later.
    #[error("{0}")]
    Absent(String),
    /// Something that is needed to read it is not installed.
    #[error("{0}")]
    Missing(String),
    /// Reading failed.
    #[error("reading {what}: {error}")]
    Read {
        /// What was read.
        what: String,
        /// Why.
        error: std::io::Error,
    },
    /// It ends in the middle of a frame.
    #[error("{what} ends in the middle of frame {frame}; the {frame} whole frames before it were read")]
    Cut {
        /// What was read.
        what: String,
        /// The frame, from 0.
        frame: u64,
    },
    /// What was read is not what it should be.
    #[error("{what}: {why}")]
    Malformed {
        /// What was read.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// The picture is empty or too large.
    #[error("a picture that cannot be used: {0}")]
    Frame(#[from] FrameError),
}

impl SourceError {
    /// Whether the device is not there, as against there and not willing.
    pub fn is_absence(&self) -> bool {
        match self {
            SourceError::Absent(_) => true,
            SourceError::Open { error, .. } => {
                error.kind() == std::io::ErrorKind::NotFound || matches!(error.raw_os_error(), Some(ENXIO | ENODEV))
            }
            _ => false,
        }
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Failure {
        let reason = match &error {
            SourceError::Unknown(_) => Reason::Usage,
            SourceError::Open { .. } => Reason::NoInput,
            SourceError::Missing(_) | SourceError::Absent(_) => Reason::Unavailable,
            _ => Reason::Io,
        };
        Failure::new(reason, error)
    }
}

/// Whether `description` begins like a source's.
pub fn is_known(description: &str) -> bool {
    ["v4l2:", "rpicam:", "file:", "y4m:", "synthetic:"].iter().any(|p| description.starts_with(p))
}

fn open_source(
    description: &str,
    seed: u64,
    play: Play,
    stop: &Arc<AtomicBool>,
) -> Result<Box<dyn Source>, SourceError> {
    match description.split_once(':') {
        Some(("v4l2", word)) => open_v4l2(word, play.ask, stop),
        Some(("rpicam", options)) => {
            let camera = rpicam::Rpicam::new(options, play.ask, Arc::clone(stop))?;
            Ok(Box::new(feed::Live::start(camera, Arc::clone(stop))?))
        }
        Some(("file", path)) => decode::open_described(path, stop),
        Some(("y4m", path)) => Ok(Box::new(decode::y4m::Y4m::open(path.as_ref(), stop)?)),
        Some(("synthetic", what)) => Ok(Box::new(synthetic::Synthetic::new(what, seed)?)),
        _ => Err(SourceError::Unknown(description.into())),
    }
}

#[cfg(feature = "camera")]
fn open_v4l2(word: &str, ask: ask::Ask, stop: &Arc<AtomicBool>) -> Result<Box<dyn Source>, SourceError> {
    Ok(Box::new(feed::Live::start(v4l::V4l::new(word, ask)?, Arc::clone(stop))?))
}

#[cfg(not(feature = "camera"))]
fn open_v4l2(_: &str, _: ask::Ask, _: &Arc<AtomicBool>) -> Result<Box<dyn Source>, SourceError> {
    Err(SourceError::Missing(NO_CAMERA.into()))
}

/// Refuses a picture of a size that no frame may have, before memory is taken for it.
fn check_size(width: usize, height: usize) -> Result<(), SourceError> {
    use firmware::limits::{PIXELS_MAX, WIDTH_PX_MAX};
    if width == 0 || height == 0 {
        return Err(FrameError::Empty.into());
    }
    if width > WIDTH_PX_MAX || width.checked_mul(height).is_none_or(|n| n > PIXELS_MAX) {
        return Err(FrameError::TooLarge.into());
    }
    Ok(())
}

/// How a source is played.
#[derive(Debug, Clone, Copy, Default)]
pub struct Play {
    /// As fast as frames are asked for.
    pub fast: bool,
    /// From the beginning again at the end; frame numbers go on.
    pub rewind: bool,
    /// What a live source is asked for.
    pub ask: ask::Ask,
}

/// A source with numbers, time stamps and a pace.
pub struct Camera {
    source: Box<dyn Source>,
    play: Play,
    pace: Option<Duration>,
    start: Instant,
    in_schedule: u32,
    stamp: Stamp,
    next: u64,
    late: u64,
    clock_synced: bool,
}

impl Camera {
    /// Opens the source that `description` names; `seed` is for sources that draw, `stop` for those that wait.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn open(description: &str, seed: u64, play: Play, stop: &Arc<AtomicBool>) -> Result<Camera, SourceError> {
        let source = open_source(description, seed, play, stop)?;
        let is_live = source.is_live();
        let pace = source.rate().filter(|r| *r > 0.0).map(|r| Duration::from_secs_f64(1.0 / r));
        Ok(Camera {
            source,
            play,
            pace: pace.filter(|_| !play.fast && !is_live),
            start: Instant::now(),
            in_schedule: 0,
            stamp: Stamp::default(),
            next: 0,
            late: 0,
            clock_synced: std::path::Path::new(CLOCK_SYNCED_FILE).exists(),
        })
    }

    /// Waits for the next frame's time and fetches it; false at the end of the source or when `stop` is set.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn advance(&mut self, stop: &AtomicBool) -> Result<bool, SourceError> {
        // First the time, then the picture: one that was fetched is one that is given.
        if !self.keep_pace(stop) {
            return Ok(false);
        }
        match self.fetch() {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            // Whoever stops us may have stopped the source too: that is no failure.
            Err(_) if stop.load(Ordering::Relaxed) => return Ok(false),
            Err(error) => return Err(error),
        }
        let now_us = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
        self.stamp = Stamp {
            number: self.next,
            dropped: self.source.lost(),
            captured_at_us: self.source.captured_at_us().unwrap_or_else(now_us),
            clock_synced: self.clock_synced,
        };
        self.next += 1;
        Ok(true)
    }

    fn fetch(&mut self) -> Result<bool, SourceError> {
        if self.source.advance()? {
            return Ok(true);
        }
        if !self.play.rewind || self.next == 0 {
            return Ok(false);
        }
        self.source.rewind()?;
        self.source.advance()
    }

    /// Sleeps until the frame is due; false if stopped meanwhile.
    fn keep_pace(&mut self, stop: &AtomicBool) -> bool {
        let Some(pace) = self.pace else { return !stop.load(Ordering::Relaxed) };
        if self.in_schedule == 0 {
            self.start = Instant::now();
        }
        let due = self.start + pace * self.in_schedule;
        self.in_schedule += 1;
        loop {
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            let now = Instant::now();
            let Some(wait) = due.checked_duration_since(now).filter(|w| !w.is_zero()) else {
                let behind = now - due;
                self.late += u64::from(behind > pace);
                if behind > LATE_MAX {
                    (self.start, self.in_schedule) = (now, 1);
                }
                return true;
            };
            std::thread::sleep(wait.min(NAP_MAX));
        }
    }

    /// The frame fetched last.
    ///
    /// # Errors
    /// [`SourceError::Frame`] if it cannot be used; none was fetched: [`FrameError::Empty`].
    pub fn frame(&self) -> Result<Frame<'_>, SourceError> {
        let p = self.source.picture().ok_or(FrameError::Empty)?;
        Ok(Frame::new(p.layout, p.yuv, p.width, p.height, 0, p.data, self.stamp)?)
    }

    /// Has `tick` called, many times a second, while a live source is away and looked for.
    pub fn while_away(&mut self, tick: Tick) {
        self.source.while_away(tick);
    }

    /// Frames a second, if the source has a rate.
    pub fn rate(&self) -> Option<f64> {
        self.source.rate()
    }

    /// Frames that a live source has lost.
    pub fn lost(&self) -> u64 {
        self.source.lost()
    }

    /// Frames that came more than a frame's time late.
    pub fn late(&self) -> u64 {
        self.late
    }
}
