//! Look: queries the role and the modes of each video node.
//!
//! Inputs are nodes in `/dev`, results are their names, formats, sizes, rates and controls. Devices are opened and queried, and
//! none is changed. What a driver reports may make the crate `v4l` panic; such a node is reported as unreadable.

use super::guarded;
use crate::camera::ask::Ask;
use crate::camera::choice::{Abilities, FORMATS, Mode, Role, is_bayer, role};
use crate::camera::find::{Found, Identity};
use crate::camera::locks::{self, Control};
use crate::camera::nodes::{self, Node};
use std::io;
use std::path::{Path, PathBuf};
use v4l::FourCC;
use v4l::capability::{Capabilities, Flags};
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::prelude::Device;
use v4l::video::Capture;

/// `errno` of a device that is in use.
const EBUSY: i32 = 16;

/// A camera's report, with the number of the node among those of its device.
pub(super) fn identify(path: &Path) -> Option<Identity> {
    let caps = guarded(|| Device::with_path(path).and_then(|d| d.query_caps()).ok())??;
    let index = nodes::index(path);
    caps.capabilities.contains(Flags::VIDEO_CAPTURE).then_some(Identity { card: caps.card, bus: caps.bus, index })
}

/// All nodes that capture pictures.
pub(super) fn cameras() -> Vec<Found> {
    nodes::paths().into_iter().filter_map(|p| identify(&p).map(|i| (p, i))).collect()
}

/// The usable cameras, in words, for the error of one that is not usable.
pub(super) fn others(not: &Path) -> String {
    let readable = |path: &PathBuf| {
        let node = guarded(|| Device::with_path(path).and_then(|d| look(path, &d, None)))?.ok()?;
        (path != not && node.role == Role::Camera).then(|| format!("{} ({})", path.display(), node.card))
    };
    let found: Vec<String> = nodes::paths().iter().filter_map(readable).collect();
    if found.is_empty() { String::new() } else { format!("; cameras that can be read: {}", found.join(", ")) }
}

/// A node's role and modes. With `ask`, only sizes near the requested ones, and no controls.
pub(super) fn look(path: &Path, device: &Device, ask: Option<&Ask>) -> io::Result<Node> {
    let Capabilities { driver, card, bus, capabilities: has, .. } = device.query_caps()?;
    let formats: Vec<([u8; 4], String)> = if has.contains(Flags::VIDEO_CAPTURE) {
        device.enum_formats()?.into_iter().map(|f| (f.fourcc.repr, f.description)).collect()
    } else {
        Vec::new()
    };
    let readable: Vec<[u8; 4]> = FORMATS.into_iter().filter(|f| formats.iter().any(|(g, _)| g == f)).collect();
    let can = Abilities {
        captures: has.contains(Flags::VIDEO_CAPTURE) && !has.intersects(Flags::VIDEO_M2M | Flags::VIDEO_M2M_MPLANE),
        captures_planes: has.contains(Flags::VIDEO_CAPTURE_MPLANE) && !has.contains(Flags::VIDEO_M2M_MPLANE),
        bayer: formats.iter().any(|(f, _)| is_bayer(*f)),
        streams: has.contains(Flags::STREAMING),
        metadata: has.contains(Flags::META_CAPTURE),
        readable: !readable.is_empty(),
    };
    let role = role(&driver, can);
    let modes = if role == Role::Camera { modes(device, &readable, ask) } else { Vec::new() };
    // Only on request: it takes many queries of the driver.
    let locks = if role == Role::Camera && ask.is_none() {
        locks::lockable(&controls(device), |id| device.control(id).ok().and_then(|c| number(&c.value)))
    } else {
        Vec::new()
    };
    Ok(Node { path: path.into(), names: nodes::names(path), card, driver, bus, role, formats, modes, locks })
}

/// All controls that have a number; none if the device describes them in a way that cannot be understood.
pub(super) fn controls(device: &Device) -> Vec<Control> {
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
            // A driver that does not list sizes is asked for the wanted one, and returns the one that it uses.
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

/// All video nodes that can be queried, and for the others why they cannot.
pub fn list() -> (Vec<Node>, Vec<(PathBuf, String)>) {
    let (mut nodes, mut unreadable) = (Vec::new(), Vec::new());
    for path in nodes::paths() {
        let asked = guarded(|| Device::with_path(&path).and_then(|d| look(&path, &d, None)));
        match asked {
            Some(Ok(node)) => nodes.push(node),
            Some(Err(e)) => unreadable.push((path, advised(e).to_string())),
            None => unreadable.push((path, "it reported invalid capabilities".into())),
        }
    }
    (nodes, unreadable)
}

/// An error with what to do.
pub(super) fn advised(error: io::Error) -> io::Error {
    let advice = match error.raw_os_error() {
        Some(EBUSY) => "another program is using it (fuser -v names that program)",
        _ if error.kind() == io::ErrorKind::PermissionDenied => "add this user to the group video, and log in again",
        Some(25 | 22) => "it is not a video capture node; `hueflow-edge list-cameras` lists those",
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}; {advice}"))
}
