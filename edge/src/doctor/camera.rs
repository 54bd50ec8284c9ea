//! The check of the camera: whether the configured source works as it is asked for, and which other cameras there are.
//!
//! Inputs are the configuration, and the video nodes as the kernel lists them or, in a build with cameras, as they describe
//! themselves. The result is a line for the source, and one for each kind of node. `/dev/video*`, `/sys/class/video4linux`
//! and the source's file are read; no camera is started.

use super::host::Host;
use crate::camera::choice::{Abilities, Role, choose, role};
use crate::camera::nodes::{self, Node, letters};
use crate::config::Config;
use crate::spec::{Ask, SourceSpec};
use ::host::check::Line;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// How far from 1 the rate offered may be from the rate asked for: 29.97 is 30.
const RATE_SLACK: f64 = 0.01;

/// The video nodes of a machine.
pub(super) struct Seen {
    pub nodes: Vec<Node>,
    /// Those that could not be identified, and why.
    pub unreadable: Vec<(PathBuf, String)>,
    /// They were asked for formats, sizes and rates.
    pub asked: bool,
}

/// Looks at the video nodes.
pub(super) fn seen(host: &Host) -> Seen {
    #[cfg(feature = "camera")]
    if host.is_this() {
        let (nodes, unreadable) = crate::camera::v4l::list();
        return Seen { nodes, unreadable, asked: true };
    }
    // Without a driver's word, by the name that it has given the node.
    let all = Abilities { captures: true, streams: true, readable: true, bayer: true, ..Abilities::default() };
    let node = |path: String| {
        let number = path.trim_start_matches("/dev/").to_owned();
        let card = host.text(format!("/sys/class/video4linux/{number}/name")).unwrap_or_default();
        Node {
            names: if host.is_this() { nodes::names(path.as_ref()) } else { Vec::new() },
            role: role(&card, all),
            path: path.into(),
            card,
            driver: String::new(),
            bus: String::new(),
            formats: Vec::new(),
            modes: Vec::new(),
            locks: Vec::new(),
        }
    };
    Seen { nodes: host.devices("video").into_iter().map(node).collect(), unreadable: Vec::new(), asked: false }
}

/// The source and the nodes.
pub(super) fn check(host: &Host, config: &Config) -> Vec<Line> {
    let seen = seen(host);
    let mut lines = vec![source(host, config, &seen)];
    lines.extend(kinds(&seen));
    lines
}

fn source(host: &Host, config: &Config, seen: &Seen) -> Line {
    match &config.source {
        SourceSpec::V4l2 { .. } if !cfg!(feature = "camera") => without_the_feature(&config.source.to_string()),
        SourceSpec::V4l2 { camera, options } => v4l2(camera, &options.over(config.ask), seen),
        SourceSpec::Rpicam { .. } => rpicam(host, seen),
        SourceSpec::Synthetic { .. } => {
            let camera = seen.nodes.iter().find(|n| n.role == Role::Camera);
            let raw = seen.nodes.iter().any(|n| n.role == Role::RawSensor);
            let what = format!("{}: a moving test picture", config.source);
            match camera {
                Some(node) if cfg!(feature = "camera") => {
                    let advice = format!("--source '{}' for the camera that is here", stable(node));
                    Line::warning("camera", what, advice)
                }
                _ if raw => Line::warning("camera", what, "--source rpicam: for the CSI camera that is here"),
                _ => Line::ok("camera", format!("{what}; no camera is asked for")),
            }
        }
        SourceSpec::StandardInput => Line::ok("camera", "y4m:-, what standard input brings"),
        SourceSpec::File { path, .. } | SourceSpec::Y4m(path) => {
            // A FIFO would be waited for.
            let at = host.at(std::path::absolute(path).unwrap_or_else(|_| path.clone()));
            let is_fifo = std::fs::metadata(&at).is_ok_and(|m| m.file_type().is_fifo());
            match if is_fifo { Ok(()) } else { std::fs::File::open(at).map(drop) } {
                Ok(()) => Line::ok("camera", format!("{} can be read", config.source)),
                Err(e) => Line::wrong("camera", format!("{}: {e}", config.source), "another --source"),
            }
        }
    }
}

/// The description under which a camera is found again, whatever its number.
pub(super) fn stable(node: &Node) -> String {
    let name = node.names.first().and_then(|n| n.file_name()).map(|n| n.to_string_lossy().into_owned());
    format!("v4l2:{}", name.unwrap_or_else(|| node.path.display().to_string()))
}

fn without_the_feature(source: &str) -> Line {
    Line::wrong(
        "camera",
        format!("{source}: this hueflow-edge was built without V4L2 cameras"),
        "install the Debian package, or cargo build --release -p hueflow-edge --features camera; or --source rpicam:",
    )
}

/// A V4L2 camera among the nodes.
fn v4l2(word: &str, ask: &Ask, seen: &Seen) -> Line {
    let list = "hueflow-edge list-cameras";
    let named = nodes::named(word);
    let real = named.as_ref().map(|p| p.canonicalize().unwrap_or_else(|_| p.clone()));
    if let Some((path, why)) = seen.unreadable.iter().find(|(p, _)| Some(p) == real.as_ref()) {
        return Line::wrong("camera", format!("{}: {why}", path.display()), list);
    }
    let lower = word.to_lowercase();
    let node = match &real {
        Some(path) => seen.nodes.iter().find(|n| n.path == *path),
        None => seen.nodes.iter().find(|n| n.card.to_lowercase().contains(&lower)),
    };
    let Some(node) = node else {
        let there: Vec<String> = seen.nodes.iter().filter(|n| n.role == Role::Camera).map(stable).collect();
        let advice = match there.first() {
            Some(_) => format!("--source '{}'", there.join("' or '")),
            None if seen.nodes.iter().any(|n| n.role == Role::RawSensor) => {
                "--source rpicam: for the CSI camera".into()
            }
            None => format!("plug one in, then {list}"),
        };
        return Line::wrong("camera", format!("v4l2:{word}: there is no such camera"), advice);
    };
    let name = format!("{} ({})", node.path.display(), node.card);
    match node.role {
        Role::Camera => {}
        Role::RawSensor => {
            return Line::wrong("camera", format!("{name} is {}", node.role.words()), "--source rpicam:");
        }
        Role::MultiPlanar => {
            let other = seen.nodes.iter().find(|n| n.role == Role::Camera);
            let advice = other.map_or("--source rpicam:".into(), |n| format!("--source '{}'", stable(n)));
            return Line::wrong("camera", format!("{name} is {}", node.role.words()), advice);
        }
        _ => return Line::wrong("camera", format!("{name} is {}", node.role.words()), list),
    }
    let asked = format!("{}x{} at {}", ask.width, ask.height, ask.fps);
    let Some(mode) = choose(&node.modes, ask) else {
        let format = ask.format.map_or_else(String::new, |f| format!(" as {}", letters(f)));
        return Line::wrong(
            "camera",
            format!("{name} gives no pictures{format}"),
            format!("camera.format = \"auto\"; {list}"),
        );
    };
    let rate = if mode.fps_max > 0.0 { format!(" at up to {:.3}", mode.fps_max) } else { String::new() };
    let rate = rate.trim_end_matches('0').trim_end_matches('.');
    let offer = format!("{} {}x{}{rate}", letters(mode.fourcc), mode.width, mode.height);
    let size_fits = (mode.width, mode.height) == (ask.width, ask.height);
    let rate_fits = mode.fps_max <= 0.0 || mode.fps_max >= ask.fps * (1.0 - RATE_SLACK);
    if size_fits && rate_fits {
        return Line::ok("camera", format!("{name}: {offer}, as asked"));
    }
    let fps = if mode.fps_max > 0.0 { mode.fps_max.min(ask.fps) } else { ask.fps };
    let advice =
        format!("camera.width = {}, camera.height = {}, camera.fps = {fps:.0}; {list}", mode.width, mode.height);
    Line::warning("camera", format!("{name} has not {asked} but {offer}"), advice)
}

fn rpicam(host: &Host, seen: &Seen) -> Line {
    let path = host.variable("PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin");
    let program = path.split(':').map(|d| Path::new(d).join("rpicam-vid")).find(|p| host.has(p));
    let Some(program) = program else {
        return Line::wrong("camera", "rpicam: there is no rpicam-vid", "sudo apt install rpicam-apps-lite");
    };
    if seen.nodes.iter().any(|n| n.role == Role::RawSensor) {
        return Line::ok("camera", format!("rpicam: by {}, and a CSI receiver is there", program.display()));
    }
    let what = format!("rpicam: {} is there, a CSI receiver is not", program.display());
    Line::warning(
        "camera",
        what,
        "rpicam-hello --list-cameras; seat the ribbon, restart, camera_auto_detect=1 in /boot/firmware/config.txt",
    )
}

/// One line for each kind of node that is there.
fn kinds(seen: &Seen) -> Vec<Line> {
    let kinds = [Role::Camera, Role::RawSensor, Role::MultiPlanar, Role::Metadata, Role::Converter, Role::Unreadable];
    let mut lines: Vec<Line> = kinds
        .iter()
        .filter_map(|kind| {
            let of_kind: Vec<&Node> = seen.nodes.iter().filter(|n| n.role == *kind).collect();
            let first = of_kind.first()?;
            let more = if of_kind.len() > 1 { format!(" and {} more", of_kind.len() - 1) } else { String::new() };
            let not_asked = if seen.asked || *kind != Role::Camera { "" } else { ", by its name; it was not opened" };
            let what = format!("{} ({}){more}: {}{not_asked}", first.path.display(), first.card, kind.words());
            Some(Line::ok("video", what))
        })
        .collect();
    let advice = |why: &str| if why.contains("group") { "" } else { "hueflow-edge list-cameras" };
    lines.extend(
        seen.unreadable.iter().map(|(p, why)| Line::warning("video", format!("{}: {why}", p.display()), advice(why))),
    );
    if lines.is_empty() {
        lines.push(Line::ok("video", "there is no video node"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fake;
    use super::*;
    use crate::camera::choice::Mode;
    use crate::config::{Origin, Raw};
    use ::host::check::State;

    fn node(path: &str, card: &str, role: Role) -> Node {
        let mode = |width, height, fps_max| Mode { fourcc: *b"YUYV", width, height, fps_max };
        Node {
            path: path.into(),
            names: vec![format!("/dev/v4l/by-id/usb-{card}-video-index0").into()],
            card: card.into(),
            driver: "uvcvideo".into(),
            bus: String::new(),
            role,
            formats: Vec::new(),
            modes: vec![mode(640, 480, 30.0), mode(1280, 720, 10.0)],
            locks: Vec::new(),
        }
    }

    fn two() -> Seen {
        let nodes = vec![node("/dev/video40", "Cam", Role::Camera), node("/dev/video41", "unicam", Role::RawSensor)];
        Seen { nodes, unreadable: vec![("/dev/video42".into(), "Permission denied".into())], asked: true }
    }

    fn none() -> Seen {
        Seen { nodes: Vec::new(), unreadable: Vec::new(), asked: true }
    }

    #[test]
    fn a_camera_is_there_as_asked_or_nearly_or_not_at_all() {
        let ask = |width, height, fps| Ask { width, height, fps, ..Ask::default() };
        let ok = v4l2("/dev/video40", &ask(640, 480, 30.0), &two());
        assert_eq!(ok, Line::ok("camera", "/dev/video40 (Cam): YUYV 640x480 at up to 30, as asked"));
        assert_eq!(v4l2("cam", &ask(640, 480, 30.0), &two()).state, State::Ok, "by the card's name");
        let slow = v4l2("40", &ask(1280, 720, 30.0), &two());
        assert!(slow.state == State::Warning && slow.advice.contains("camera.fps = 10"), "{slow}");
        let other = v4l2("40", &Ask { format: Some(*b"NV12"), ..Ask::default() }, &two());
        assert!(other.state == State::Wrong && other.what.contains("as NV12"), "{other}");
        let absent = v4l2("/dev/video9", &Ask::default(), &two());
        assert!(absent.state == State::Wrong && absent.advice == "--source 'v4l2:usb-Cam-video-index0'", "{absent}");
        assert!(v4l2("9", &Ask::default(), &none()).advice.starts_with("plug one in"));
        let denied = v4l2("/dev/video42", &Ask::default(), &two());
        assert!(denied.state == State::Wrong && denied.what.contains("Permission denied"), "{denied}");
    }

    #[test]
    fn a_raw_sensor_is_explained() {
        let raw = v4l2("/dev/video41", &Ask::default(), &two());
        assert!(raw.state == State::Wrong && raw.advice == "--source rpicam:", "{raw}");
        let lines = kinds(&two());
        assert_eq!(lines.len(), 3);
        assert!(lines[1].what.contains("/dev/video41 (unicam): a CSI sensor's raw picture"), "{}", lines[1]);
        assert_eq!(kinds(&none()), [Line::ok("video", "there is no video node")]);
    }

    #[test]
    fn without_a_drivers_word_nodes_are_told_apart_by_name() {
        let names = ["HD Cam", "unicam-image", "bcm2835-codec-decode", "rp1-cfe-csi2_ch0", "pispbe-input"];
        let fake = names.iter().enumerate().fold(Fake::new(), |f, (i, name)| {
            f.file(&format!("/dev/video{i}"), "").file(&format!("/sys/class/video4linux/video{i}/name"), name)
        });
        let roles: Vec<Role> = seen(&fake.host).nodes.iter().map(|n| n.role).collect();
        assert_eq!(roles, [Role::Camera, Role::RawSensor, Role::Converter, Role::RawSensor, Role::Converter]);
    }

    #[test]
    fn each_source_is_looked_at_where_it_is() {
        let of = |source: &str, fake: &Fake, seen: &Seen| {
            let mut raw = Raw::default();
            raw.put("camera.source", source.into(), Origin::Default).unwrap();
            super::source(&fake.host, &Config::check(raw).unwrap(), seen)
        };
        let fake = Fake::new().file("/clips/a.y4m", "").file("/usr/bin/rpicam-vid", "");
        assert_eq!(of("y4m:/clips/a.y4m", &fake, &none()).state, State::Ok);
        assert_eq!(of("file:/clips/b.png", &fake, &none()).state, State::Wrong);
        assert_eq!(of("y4m:-", &fake, &none()).state, State::Ok);
        assert_eq!(of("synthetic:64x48@5", &fake, &none()).state, State::Ok);
        assert_eq!(of("synthetic:64x48@5", &fake, &two()).state, State::Warning);
        assert_eq!(of("rpicam:", &fake, &none()).state, State::Warning);
        assert_eq!(of("rpicam:", &fake, &two()).state, State::Ok);
        assert!(of("rpicam:", &Fake::new(), &two()).advice.contains("rpicam-apps-lite"));
        let v4l2 = of("v4l2:0", &fake, &none());
        assert_eq!((v4l2.state, v4l2.advice.contains("--features camera")), (State::Wrong, !cfg!(feature = "camera")));
    }
}
