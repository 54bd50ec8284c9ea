//! V4L: a camera of the kernel. The one door to `v4l`.
//!
//! Inputs are a camera's path, number, stable name or card name, and a request. Results are its pictures without
//! padding, with the YCbCr variant, the time and the losses that the driver reports, and the role of each video
//! node. Of several waiting pictures the newest is taken; if the driver had no room for a newer one, the next one is awaited. A picture
//! that the driver marked as damaged is not used. The stream of the crate `v4l` cannot be used after a time-out or an interruption, so
//! it is dropped and the device is opened again.

mod look;
mod open;

pub use look::list;

use super::ask::Ask;
use super::choice::{Coding, unpad};
use super::decode::rgb::Rgb;
use super::feed::Feed;
use super::find::{self, Identity, Known};
use super::nodes;
use super::{ENODEV, Picture, SourceError};
use firmware::frame::Yuv;
use look::{cameras, identify};
use open::{BUFFERS, set_up};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use v4l::buffer::{Flags as BufferFlags, Metadata};
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::prelude::MmapStream;

/// How long each later frame may take, unless four periods are longer.
const FRAME_LIMIT: Duration = Duration::from_secs(2);
/// Damaged frames in a row after which the camera is opened again.
const DAMAGED_MAX: u64 = 100;
/// A larger jump of the driver's frame numbers is a restart, not a loss.
const JUMP_MAX: u32 = 10_000;

/// The bit of `poll` for readable data.
const POLLIN: i16 = 1;

/// A V4L2 camera.
pub struct V4l {
    word: String,
    ask: Ask,
    path: PathBuf,
    known: Option<Known>,
    stream: Option<MmapStream<'static>>,
    agreed: Option<Agreed>,
    sequence: Option<u32>,
    captured_at_us: Option<u64>,
    current: Vec<u8>,
    spare: Vec<u8>,
    rgb: Rgb,
    spare_rgb: Rgb,
}

/// The mode that the driver has accepted.
#[derive(Debug, Clone, Copy)]
struct Agreed {
    coding: Coding,
    yuv: Yuv,
    size: (usize, usize),
    stride: usize,
    rate: f64,
}

impl V4l {
    /// A camera that is not open yet; `word` is a path, a number, or a part of its name.
    pub fn new(word: &str, ask: Ask) -> V4l {
        V4l {
            word: word.to_owned(),
            ask,
            path: PathBuf::new(),
            known: None,
            stream: None,
            agreed: None,
            sequence: None,
            captured_at_us: None,
            current: Vec::new(),
            spare: Vec::new(),
            rgb: Rgb::default(),
            spare_rgb: Rgb::default(),
        }
    }

    /// The camera's present path.
    fn find(&self) -> Result<PathBuf, SourceError> {
        let named = nodes::named(&self.word);
        if let Some(path) = named.clone().filter(|p| p.exists()) {
            let same = |known: &Known| identify(&path).is_none_or(|i| i == known.identity);
            if self.known.as_ref().is_none_or(same) {
                return Ok(path);
            }
        }
        let cameras = cameras();
        let found = match (&self.known, &named) {
            (Some(known), _) => find::again(known, &cameras),
            (None, None) => find::by_name(&self.word, &cameras),
            // A path or a number never matches a part of a name.
            (None, Some(_)) => cameras.iter().find(|(_, i)| i.card == self.word).map(|(path, _)| path.as_path()),
        };
        found.map(Path::to_path_buf).ok_or_else(|| match (&self.known, named) {
            (Some(Known { identity: Identity { card, bus, .. }, has_twin: true }), _) => SourceError::Absent(format!(
                "the camera {card} at {bus} is not there; another camera of that name is not taken for it"
            )),
            (_, Some(path)) => SourceError::Open { path, error: io::ErrorKind::NotFound.into() },
            (_, None) => SourceError::Absent(format!(
                "there is no camera called {:?}; `hueflow-edge list-cameras` lists them",
                self.word
            )),
        })
    }

    /// Copies one frame of the stream to `spare`. Returns false if it was damaged.
    fn take(&mut self) -> Result<(bool, Metadata), String> {
        let (Some(stream), Some(agreed)) = (&mut self.stream, self.agreed) else { return Err("not open".into()) };
        let handle = stream.handle();
        let is_waiting = || matches!(handle.poll(POLLIN, 0), Ok(1));
        let (mut most, mut waited) = (BUFFERS, 0);
        let (bytes, meta) = loop {
            waited += u32::from(is_waiting());
            let (bytes, meta) = CaptureStream::next(stream).map_err(|e| explain(&e))?;
            // If the program is slower than the camera, newer pictures wait in the queue. This one is then lost, and counted
            // as such by its number. A camera that fills a buffer while another is emptied is not followed forever.
            most = most.saturating_sub(1);
            if most > 0 && is_waiting() {
                continue;
            }
            if !is_stale(waited, age(meta), agreed.rate) {
                break (bytes, meta);
            }
            // The driver has every buffer again, so the next picture is a new one.
            (most, waited) = (0, 0);
        };
        // Some drivers report 0 bytes, others the whole buffer.
        let used = Some(meta.bytesused as usize).filter(|n| (1..=bytes.len()).contains(n)).unwrap_or(bytes.len());
        let whole = !meta.flags.contains(BufferFlags::ERROR)
            && match agreed.coding {
                Coding::Raw(layout) => unpad(layout, agreed.size, agreed.stride, &bytes[..used], &mut self.spare),
                Coding::Jpeg => match self.spare_rgb.decode(&bytes[..used]) {
                    Ok(()) => true,
                    Err(why) => {
                        log::debug!("frame {}: {why}", meta.sequence);
                        false
                    }
                },
            };
        Ok((whole, *meta))
    }
}

impl Feed for V4l {
    fn name(&self) -> String {
        let card = self.known.as_ref().map_or(self.word.as_str(), |k| k.identity.card.as_str());
        format!("camera {card} ({})", self.path.display())
    }

    fn open(&mut self) -> Result<f64, SourceError> {
        let path = self.find()?;
        let opened = guarded(|| set_up(&path, &self.ask));
        let (stream, agreed, identity, words) = opened.unwrap_or_else(|| {
            let why = "the device reported invalid capabilities".into();
            Err(SourceError::Malformed { what: path.display().to_string(), why })
        })?;
        log::info!("camera {} ({}): {words}", identity.card, path.display());
        (self.stream, self.agreed, self.sequence) = (Some(stream), Some(agreed), None);
        // After a second camera of this name was seen, the name alone no longer identifies the camera.
        let has_twin = find::has_twin(&identity, &cameras()) || self.known.as_ref().is_some_and(|k| k.has_twin);
        if has_twin && self.known.is_none() && nodes::named(&self.word).is_none() {
            let Identity { card, bus, .. } = &identity;
            log::warn!("there is another camera called {card}; this is the one at {bus}, and only it is looked for");
        }
        (self.path, self.known) = (path, Some(Known { identity, has_twin }));
        Ok(agreed.rate)
    }

    fn next(&mut self) -> Result<u64, String> {
        let (mut lost, mut damaged) = (0, 0);
        loop {
            let (whole, meta) = self.take()?;
            match self.sequence.replace(meta.sequence) {
                Some(last) => {
                    let jump = meta.sequence.wrapping_sub(last).wrapping_sub(1);
                    lost += u64::from(if jump < JUMP_MAX { jump } else { 0 });
                }
                // Only the first frame may take long.
                None => {
                    let rate = self.agreed.map_or(0.0, |a| a.rate).max(0.01);
                    if let Some(stream) = &mut self.stream {
                        stream.set_timeout(FRAME_LIMIT.max(Duration::from_secs_f64(4.0 / rate)));
                    }
                }
            }
            if whole {
                std::mem::swap(&mut self.current, &mut self.spare);
                std::mem::swap(&mut self.rgb, &mut self.spare_rgb);
                self.captured_at_us = captured_at_us(&meta);
                return Ok(lost);
            }
            (lost, damaged) = (lost + 1, damaged + 1);
            if damaged == DAMAGED_MAX {
                return Err(format!("{DAMAGED_MAX} damaged pictures in a row"));
            }
        }
    }

    fn close(&mut self) {
        if let Some(stream) = self.stream.take() {
            let_go(stream);
        }
    }

    fn picture(&self) -> Option<Picture<'_>> {
        let Agreed { coding, yuv, size: (width, height), .. } = self.agreed?;
        match coding {
            Coding::Jpeg => self.rgb.picture(),
            Coding::Raw(layout) => {
                (!self.current.is_empty()).then_some(Picture { layout, yuv, width, height, data: &self.current })
            }
        }
    }

    fn captured_at_us(&self) -> Option<u64> {
        self.captured_at_us
    }

    fn hint(&self) -> u64 {
        nodes::paths().iter().fold(0, |h: u64, p| {
            p.as_os_str().as_encoded_bytes().iter().fold(h.rotate_left(9), |h, &b| h.wrapping_mul(31) + u64::from(b))
        })
    }
}

impl Drop for V4l {
    fn drop(&mut self) {
        self.close();
    }
}

/// Drops a stream, which panics if the kernel refuses to end it for any reason but a device that is gone.
fn let_go(mut stream: MmapStream<'static>) {
    match stream.stop() {
        Err(e) if e.raw_os_error() != Some(ENODEV) => {
            log::warn!("the kernel does not end the stream ({e}); its buffers are left to the end of the program");
            std::mem::forget(stream);
        }
        _ => drop(guarded(|| drop(stream))),
    }
}

/// Runs a call of the crate `v4l`, which panics on unexpected answers of drivers. Returns none if it panicked.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "it has sent no picture for too long".into(),
        io::ErrorKind::Interrupted => "waiting for it was interrupted".into(),
        _ if error.raw_os_error() == Some(ENODEV) => "it is gone (unplugged?)".into(),
        _ => format!("no picture: {error}"),
    }
}

/// Returns true if the newest of `waited` pictures is stale. A driver that has filled every buffer but the one in use drops all later
/// pictures, however long the program stalls. The picture of a camera that delivers one for each request is not stale: it is younger
/// than one and a half periods of its `rate`, in pictures a second.
fn is_stale(waited: u32, age: Option<Duration>, rate: f64) -> bool {
    let fresh = Duration::from_secs_f64(1.5 / rate.max(0.01));
    waited >= BUFFERS - 1 && age.is_none_or(|age| age > fresh)
}

/// The time since it was captured; none if its time stamp is from a clock of the driver.
fn age(meta: &Metadata) -> Option<Duration> {
    if !meta.flags.contains(BufferFlags::TIMESTAMP_MONOTONIC) {
        return None;
    }
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = Duration::new(u64::try_from(now.tv_sec).ok()?, u32::try_from(now.tv_nsec).ok()?);
    now.checked_sub(Duration::from(meta.timestamp)).filter(|a| *a < Duration::from_secs(60))
}

/// The driver's time stamp on the wall clock.
fn captured_at_us(meta: &Metadata) -> Option<u64> {
    let age = age(meta)?;
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(wall.saturating_sub(age).as_micros() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_stale_only_if_the_driver_had_no_room_for_a_newer_one() {
        let ms = |n| Some(Duration::from_millis(n));
        for (waited, age, rate, stale) in [
            (3, ms(5_000), 30.0, true),
            (4, None, 30.0, true),
            // The step takes three periods each time; the last picture came a moment ago.
            (3, ms(30), 30.0, false),
            // In the dark a webcam delivers fewer pictures than its rate.
            (0, ms(140), 30.0, false),
            (2, ms(5_000), 30.0, false),
            (3, ms(1_400), 1.0, false),
        ] {
            assert_eq!(is_stale(waited, age, rate), stale, "{waited} {age:?} {rate}");
        }
    }
}
