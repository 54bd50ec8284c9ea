//! V4L: a camera of the kernel's, by the one door to `v4l`.
//!
//! Takes a camera's path, number, stable name or card name, and what is asked of it. Gives its pictures without
//! padding, with the YCbCr, the time and the losses that the driver reports; and what each video node is.
//! Touches `/dev/video*`.
//! Never a picture that the driver marked as damaged, and never a second try on a stream that failed: after one
//! time-out or interruption this crate's stream is dead, so it is dropped and the device opened anew.

use super::ask::Ask;
use super::choice::{Abilities, Coding, FORMATS, Mode, Role, choose, coding, is_stale, role, unpad, yuv};
use super::decode::rgb::Rgb;
use super::feed::Feed;
use super::locks::{self, Control, Locks};
use super::nodes::{self, Node, letters};
use super::{ENODEV, Picture, SourceError, check_size};
use firmware::frame::Yuv;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use v4l::FourCC;
use v4l::buffer::{Flags as BufferFlags, Metadata, Type};
use v4l::capability::{Capabilities, Flags};
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::prelude::{Device, MmapStream};
use v4l::video::Capture;
use v4l::video::capture::Parameters;

/// Buffers that the driver fills in turn.
const BUFFERS: u32 = 4;
/// How long the first frame may take: some cameras measure the light first.
const FIRST_LIMIT: Duration = Duration::from_secs(5);
/// How long any other frame may take, unless four frames take longer.
const FRAME_LIMIT: Duration = Duration::from_secs(2);
/// Damaged frames in a row after which the camera is opened anew.
const DAMAGED_MAX: u64 = 100;
/// A larger jump of the driver's frame numbers is a new beginning, not a loss.
const JUMP_MAX: u32 = 10_000;
/// `errno` of a device that is in use.
const EBUSY: i32 = 16;

/// How a camera that comes back under another number is known again.
#[derive(Debug, Clone, PartialEq)]
struct Identity {
    card: String,
    bus: String,
}

/// A V4L2 camera.
pub struct V4l {
    word: String,
    ask: Ask,
    path: PathBuf,
    identity: Option<Identity>,
    stream: Option<MmapStream<'static>>,
    agreed: Option<Agreed>,
    sequence: Option<u32>,
    captured_at_us: Option<u64>,
    current: Vec<u8>,
    spare: Vec<u8>,
    rgb: Rgb,
    spare_rgb: Rgb,
}

/// What device and program agreed on.
#[derive(Debug, Clone, Copy)]
struct Agreed {
    coding: Coding,
    yuv: Yuv,
    size: (usize, usize),
    stride: usize,
    rate: f64,
}

impl V4l {
    /// A camera that is not open yet; `description` may have options, see [`Ask::refined`].
    ///
    /// # Errors
    /// [`SourceError::Malformed`] for a wrong option.
    pub fn new(description: &str, ask: Ask) -> Result<V4l, SourceError> {
        let malformed = |why| SourceError::Malformed { what: format!("v4l2:{description}"), why };
        let (word, ask) = ask.refined(description).map_err(malformed)?;
        Ok(V4l {
            word,
            ask,
            path: PathBuf::new(),
            identity: None,
            stream: None,
            agreed: None,
            sequence: None,
            captured_at_us: None,
            current: Vec::new(),
            spare: Vec::new(),
            rgb: Rgb::default(),
            spare_rgb: Rgb::default(),
        })
    }

    /// Where the camera is now.
    fn find(&self) -> Result<PathBuf, SourceError> {
        let named = nodes::named(&self.word);
        if let Some(path) = named.clone().filter(|p| p.exists()) {
            let same = |known: &Identity| identify(&path).is_none_or(|i| i == *known);
            if self.identity.as_ref().is_none_or(same) {
                return Ok(path);
            }
        }
        let cameras: Vec<(PathBuf, Identity)> =
            nodes::paths().into_iter().filter_map(|p| identify(&p).map(|i| (p, i))).collect();
        let wanted = self.word.to_lowercase();
        let tests: [&dyn Fn(&Identity) -> bool; 5] = [
            &|i| self.identity.as_ref() == Some(i),
            &|i| self.identity.as_ref().is_some_and(|known| known.card == i.card),
            &|i| named.is_none() && i.card == self.word,
            &|i| named.is_none() && i.card.to_lowercase().contains(&wanted),
            &|i| named.is_some() && self.identity.is_none() && i.card == self.word,
        ];
        let found = tests.iter().find_map(|is| cameras.iter().find(|(_, i)| is(i)));
        found.map(|(path, _)| path.clone()).ok_or_else(|| match named {
            Some(path) => SourceError::Open { path, error: io::ErrorKind::NotFound.into() },
            None => SourceError::Absent(format!(
                "there is no camera called {:?}; hueflow-edge list-cameras says which there are",
                self.word
            )),
        })
    }

    /// One frame of the stream, as it is, to `spare`; false: it was damaged.
    fn take(&mut self) -> Result<(bool, Metadata), String> {
        let (Some(stream), Some(agreed)) = (&mut self.stream, self.agreed) else { return Err("not open".into()) };
        let mut stale = BUFFERS;
        let (bytes, meta) = loop {
            let (bytes, meta) = CaptureStream::next(stream).map_err(|e| explain(&e))?;
            // Who is slower than the camera finds all buffers full of what was. That is lost, and counted as such; what
            // is shown is to be what is.
            stale -= 1;
            if stale == 0 || !is_stale(age(meta), agreed.rate) {
                break (bytes, meta);
            }
        };
        // Some drivers leave 0 there, others the whole buffer.
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
        let card = self.identity.as_ref().map_or(self.word.as_str(), |i| i.card.as_str());
        format!("camera {card} ({})", self.path.display())
    }

    fn open(&mut self) -> Result<f64, SourceError> {
        let path = self.find()?;
        let opened = guarded(|| set_up(&path, &self.ask));
        let (stream, agreed, identity, words) = opened.unwrap_or_else(|| {
            let why = "the device says of itself what cannot be understood".into();
            Err(SourceError::Malformed { what: path.display().to_string(), why })
        })?;
        log::info!("camera {} ({}): {words}", identity.card, path.display());
        (self.stream, self.agreed, self.sequence) = (Some(stream), Some(agreed), None);
        (self.path, self.identity) = (path, Some(identity));
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
                // The first frame may have taken long, the others may not.
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

/// Runs what this crate may panic in: it unwraps what drivers say. None: it did.
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

/// How long ago it was captured; none if its time stamp is of a clock of the driver's own.
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

fn identify(path: &Path) -> Option<Identity> {
    let caps = guarded(|| Device::with_path(path).and_then(|d| d.query_caps()).ok())??;
    caps.capabilities.contains(Flags::VIDEO_CAPTURE).then_some(Identity { card: caps.card, bus: caps.bus })
}

type SetUp = (MmapStream<'static>, Agreed, Identity, String);

fn set_up(path: &Path, ask: &Ask) -> Result<SetUp, SourceError> {
    let refuse = |error: io::Error| SourceError::Open { path: path.into(), error: advised(error) };
    let device = Device::with_path(path).map_err(refuse)?;
    let node = look(path, &device, Some(ask)).map_err(refuse)?;
    if node.role != Role::Camera {
        return Err(SourceError::Missing(format!("{} ({}) is {}", path.display(), node.card, node.role.words())));
    }
    let mode = choose(&node.modes, ask).ok_or_else(|| {
        let has: Vec<String> = node.formats.iter().map(|(f, _)| letters(*f)).collect();
        let wanted = ask.format.map_or("a format that can be read".into(), letters);
        SourceError::Missing(format!("{} ({}) has not {wanted}; it has {}", path.display(), node.card, has.join(", ")))
    })?;
    let mut format = device.format().map_err(refuse)?;
    (format.width, format.height, format.fourcc) = (mode.width, mode.height, FourCC::new(&mode.fourcc));
    // Else the driver keeps those of the format before.
    (format.stride, format.size) = (0, 0);
    let got = device.set_format(&format).map_err(refuse)?;
    let Some(coding) = coding(got.fourcc.repr) else {
        let why = format!("asked for {}, it gives {}", letters(mode.fourcc), letters(got.fourcc.repr));
        return Err(SourceError::Malformed { what: path.display().to_string(), why });
    };
    check_size(got.width as usize, got.height as usize)?;
    let rate = set_rate(&device, ask.fps).unwrap_or(mode.fps_max);
    hold_still(&device, &ask.locks, &node.card);
    let mut stream = MmapStream::with_buffers(&device, Type::VideoCapture, BUFFERS).map_err(refuse)?;
    stream.set_timeout(FIRST_LIMIT);
    let yuv = yuv(got.colorspace as u32, got.quantization as u32);
    let words = format!(
        "{} {}x{} at {rate:.1} fps, {}, {}",
        letters(got.fourcc.repr),
        got.width,
        got.height,
        got.colorspace,
        got.quantization
    );
    let size = (got.width as usize, got.height as usize);
    let agreed = Agreed { coding, yuv, size, stride: got.stride as usize, rate };
    Ok((stream, agreed, Identity { card: node.card, bus: node.bus }, words))
}

fn set_rate(device: &Device, fps: f64) -> Option<f64> {
    let interval = if fps.fract() == 0.0 { (1, fps as u32) } else { (1000, (fps * 1000.0).round() as u32) };
    let got = device.set_params(&Parameters::new(v4l::fraction::Fraction::new(interval.0, interval.1))).ok()?.interval;
    (got.numerator > 0).then(|| f64::from(got.denominator) / f64::from(got.numerator))
}

/// An error with what a person can do about it.
fn advised(error: io::Error) -> io::Error {
    let advice = match error.raw_os_error() {
        Some(EBUSY) => "another program is using it (fuser -v names that program)",
        _ if error.kind() == io::ErrorKind::PermissionDenied => "add this user to the group video, and log in again",
        Some(25 | 22) => "it is no video capture node; hueflow-edge list-cameras says which are",
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}; {advice}"))
}

fn look(path: &Path, device: &Device, ask: Option<&Ask>) -> io::Result<Node> {
    let Capabilities { driver, card, bus, capabilities: has, .. } = device.query_caps()?;
    let formats: Vec<([u8; 4], String)> = if has.contains(Flags::VIDEO_CAPTURE) {
        device.enum_formats()?.into_iter().map(|f| (f.fourcc.repr, f.description)).collect()
    } else {
        Vec::new()
    };
    let readable: Vec<[u8; 4]> = FORMATS.into_iter().filter(|f| formats.iter().any(|(g, _)| g == f)).collect();
    let can = Abilities {
        captures: has.contains(Flags::VIDEO_CAPTURE) && !has.intersects(Flags::VIDEO_M2M | Flags::VIDEO_M2M_MPLANE),
        streams: has.contains(Flags::STREAMING),
        metadata: has.contains(Flags::META_CAPTURE),
        readable: !readable.is_empty(),
    };
    let role = role(&driver, can);
    let modes = if role == Role::Camera { modes(device, &readable, ask) } else { Vec::new() };
    // Only for whoever wants to know: it takes many questions.
    let locks = if role == Role::Camera && ask.is_none() {
        locks::lockable(&controls(device), |id| device.control(id).ok().and_then(|c| number(&c.value)))
    } else {
        Vec::new()
    };
    Ok(Node { path: path.into(), names: nodes::names(path), card, driver, bus, role, formats, modes, locks })
}

/// All controls that have a number; none if the device describes them in a way that cannot be understood.
fn controls(device: &Device) -> Vec<Control> {
    let described = guarded(|| device.query_controls().unwrap_or_default()).unwrap_or_default();
    let is_there = |c: &v4l::control::Description| !c.flags.contains(v4l::control::Flags::DISABLED);
    let item = |(value, _): &(u32, v4l::control::MenuItem)| i64::from(*value);
    described
        .iter()
        .filter(|c| is_there(c))
        .map(|c| Control {
            id: c.id,
            min: c.minimum,
            max: c.maximum,
            step: i64::try_from(c.step).unwrap_or(1),
            items: c.items.iter().flatten().map(item).collect(),
        })
        .collect()
}

fn number(value: &v4l::control::Value) -> Option<i64> {
    match value {
        v4l::control::Value::Integer(n) => Some(*n),
        v4l::control::Value::Boolean(on) => Some((*on).into()),
        _ => None,
    }
}

/// Locks what is to be locked, each time that the camera is opened: one that was unplugged has forgotten it.
fn hold_still(device: &Device, wanted: &Locks, card: &str) {
    if !wanted.any() {
        return;
    }
    let outcome = locks::apply(wanted, &controls(device), &mut |id, value| {
        let value = v4l::control::Value::Integer(value);
        device.set_control(v4l::control::Control { id, value }).map_err(|e| e.to_string())
    });
    if !outcome.done.is_empty() {
        log::info!("camera {card}: {}", outcome.done.join(", "));
    }
    for why in outcome.refused {
        log::warn!("camera {card}: {why}");
    }
}

fn modes(device: &Device, formats: &[[u8; 4]], ask: Option<&Ask>) -> Vec<Mode> {
    let mut modes = Vec::new();
    for &fourcc in formats {
        let code = FourCC::new(&fourcc);
        let mut sizes = Vec::new();
        for size in device.enum_framesizes(code).unwrap_or_default() {
            match size.size {
                FrameSizeEnum::Discrete(d) => sizes.push((d.width, d.height)),
                FrameSizeEnum::Stepwise(s) => {
                    let within = |want: u32, min: u32, max: u32, step: u32| {
                        let steps = want.clamp(min, max.max(min)).saturating_sub(min) / step.max(1);
                        min + steps * step.max(1)
                    };
                    if let Some(a) = ask {
                        let width = within(a.width, s.min_width, s.max_width, s.step_width);
                        sizes.push((width, within(a.height, s.min_height, s.max_height, s.step_height)));
                    } else {
                        sizes.extend([(s.min_width, s.min_height), (s.max_width, s.max_height)]);
                    }
                }
            }
        }
        if sizes.is_empty() {
            // A driver that does not list sizes is asked for what is wanted, and says what it gives.
            let now = device.format().map(|f| (f.width, f.height)).ok();
            sizes.extend(ask.map(|a| (a.width, a.height)).or(now));
        }
        for (width, height) in sizes {
            let intervals = device.enum_frameintervals(code, width, height).unwrap_or_default();
            let shortest = intervals.iter().map(|i| match &i.interval {
                FrameIntervalEnum::Discrete(f) => f,
                FrameIntervalEnum::Stepwise(s) => &s.min,
            });
            let fps_max =
                shortest.map(|f| f64::from(f.denominator) / f64::from(f.numerator.max(1))).fold(0.0, f64::max);
            modes.push(Mode { fourcc, width, height, fps_max });
        }
    }
    modes
}

/// All video nodes that can be asked, and for the others why not.
pub fn list() -> (Vec<Node>, Vec<(PathBuf, String)>) {
    let (mut nodes, mut silent) = (Vec::new(), Vec::new());
    for path in nodes::paths() {
        let asked = guarded(|| Device::with_path(&path).and_then(|d| look(&path, &d, None)));
        match asked {
            Some(Ok(node)) => nodes.push(node),
            Some(Err(e)) => silent.push((path, advised(e).to_string())),
            None => silent.push((path, "it says of itself what cannot be understood".into())),
        }
    }
    (nodes, silent)
}
