//! Open: prepares a camera for streaming as requested.
//!
//! Inputs are a node and a request. A grabber's timings, the format, the rate and the locks are set, and the result is a stream with
//! the mode that the driver has accepted. Errors name what to do.

use super::Agreed;
use super::look::{advised, controls, look, others};
use crate::camera::ask::Ask;
use crate::camera::choice::{Role, choose, coding, yuv};
use crate::camera::find::Identity;
use crate::camera::locks::{self, Locks};
use crate::camera::nodes::{self, letters};
use crate::camera::timings::{self, Signal};
use crate::camera::{SourceError, check_size};
use std::io;
use std::path::Path;
use std::time::Duration;
use v4l::FourCC;
use v4l::buffer::Type;
use v4l::prelude::{Device, MmapStream};
use v4l::video::Capture;
use v4l::video::capture::Parameters;

/// Number of buffers that the driver fills in turn.
pub(super) const BUFFERS: u32 = 4;
/// How long the first frame may take: some cameras measure the light first.
const FIRST_LIMIT: Duration = Duration::from_secs(5);

/// A stream, its mode, the camera's identity, and a line for the log.
pub(super) type SetUp = (MmapStream<'static>, Agreed, Identity, String);

/// Opens the camera at `path`.
///
/// # Errors
/// [`SourceError`].
pub(super) fn set_up(path: &Path, ask: &Ask) -> Result<SetUp, SourceError> {
    let refuse = |error: io::Error| SourceError::Open { path: path.into(), error: advised(error) };
    let device = Device::with_path(path).map_err(refuse)?;
    let caps = device.query_caps().map_err(refuse)?;
    // Formats and sizes follow from the signal.
    follow_signal(path, &caps.driver, &caps.card)?;
    let node = look(path, &device, Some(ask)).map_err(refuse)?;
    if node.role != Role::Camera {
        let (words, others) = (node.role.words(), others(path));
        return Err(SourceError::Missing(format!("{} ({}) is {words}{others}", path.display(), node.card)));
    }
    let mode = choose(&node.modes, ask).ok_or_else(|| {
        let has: Vec<String> = node.formats.iter().map(|(f, _)| letters(*f)).collect();
        let wanted = ask.format.map_or("a format that can be read".into(), letters);
        SourceError::Missing(format!("{} ({}) has not {wanted}; it has {}", path.display(), node.card, has.join(", ")))
    })?;
    let mut format = device.format().map_err(refuse)?;
    (format.width, format.height, format.fourcc) = (mode.width, mode.height, FourCC::new(&mode.fourcc));
    // Otherwise the driver keeps the values of the previous format.
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
    Ok((stream, agreed, Identity { card: node.card, bus: node.bus, index: nodes::index(path) }, words))
}

fn set_rate(device: &Device, fps: f64) -> Option<f64> {
    let interval = if fps.fract() == 0.0 { (1, fps as u32) } else { (1000, (fps * 1000.0).round() as u32) };
    let got = device.set_params(&Parameters::new(v4l::fraction::Fraction::new(interval.0, interval.1))).ok()?.interval;
    (got.numerator > 0).then(|| f64::from(got.denominator) / f64::from(got.numerator))
}

/// Sets a grabber's timings to those of its signal.
fn follow_signal(path: &Path, driver: &str, card: &str) -> Result<(), SourceError> {
    if !timings::may_have(driver) {
        return Ok(());
    }
    match timings::follow(timings::PROGRAM, path) {
        Signal::NotNeeded => {}
        Signal::Followed(words) => log::info!("camera {card} ({}): the signal is {words}", path.display()),
        Signal::None(why) => return Err(SourceError::Absent(format!("{} ({card}): {why}", path.display()))),
        Signal::Unknown if driver == "vivid" => {}
        Signal::Unknown => log::info!(
            "camera {card} ({}): if it is an HDMI grabber, it needs {} to follow its signal: apt-get install v4l-utils",
            path.display(),
            timings::PROGRAM
        ),
    }
    Ok(())
}

/// Sets the configured locks each time the camera is opened, because an unplugged camera loses them.
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
