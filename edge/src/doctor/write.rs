//! `doctor --write`: a configuration for the machine as it was found.
//!
//! Inputs are the present configuration, and the camera and display that were found; the result is a file that works. It is
//! written as a whole. A file that exists stays as it is, and the new one is written beside it, unless overwriting is forced.

use super::camera::{Seen, seen, stable};
use super::display;
use super::host::Host;
use crate::camera::choice::{Role, choose};
use crate::config::{Config, FILE, Origin, Raw, host_name, is_device};
use crate::exit::{Failure, Reason};
use crate::spec::DisplaySpec;
use ::host::check::{Line, State};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use toml::Value;

/// What is to be written.
#[derive(Debug, Clone)]
pub struct Write {
    /// Where to; none: where the edge reads.
    pub path: Option<PathBuf>,
    /// Over a file that is there.
    pub force: bool,
}

/// A value, and where it is from.
type Choice = (Value, String);

impl Write {
    /// Writes what was found. Returns where, and the configuration that is now in the place asked for; none if another file is
    /// there.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be written, or would not be a configuration.
    pub(super) fn found(&self, host: &Host, config: &Config) -> Result<(Line, Option<Config>), Failure> {
        let path = self.path.clone().unwrap_or_else(|| FILE.into());
        let text = text(&values(host, config, &seen(host)));
        // What does not work is not written.
        let written = Config::check(Raw::of_toml(&text, &path)?)?;
        let to = self.place(&path)?;
        store(&to, &text).map_err(|e| Failure::io(format!("writing {}", to.display()), e))?;
        let shown = to.display();
        Ok(if to == path {
            let line = Line::ok("written", format!("{shown}; hueflow-edge print-config --all shows what is in force"));
            (line, Some(written))
        } else {
            let advice = format!("sudo mv {shown} {} (or --force)", path.display());
            let text = format!("{shown}, for {} is there already", path.display());
            (Line::new("written", State::Warning, text, advice), None)
        })
    }

    fn place(&self, path: &Path) -> Result<PathBuf, Failure> {
        if self.force || !path.exists() {
            return Ok(path.into());
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        if beside.exists() {
            let why = anyhow::anyhow!(
                "{} and {} are there already; --force overwrites the first",
                path.display(),
                beside.display()
            );
            return Err(Failure::new(Reason::Io, why));
        }
        Ok(beside)
    }
}

fn store(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir)?;
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".part");
    let new = PathBuf::from(new);
    let mut file = std::fs::File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(new, path)
}

/// What the user has set, and what was found for the rest.
fn values(host: &Host, config: &Config, seen: &Seen) -> BTreeMap<&'static str, Choice> {
    let mut values: BTreeMap<&'static str, Choice> = BTreeMap::new();
    for (key, (value, origin)) in &config.origins {
        match origin {
            Origin::Default | Origin::Host | Origin::Saved | Origin::Command => {}
            origin => {
                values.insert(key, (value.clone(), format!("from {origin}")));
            }
        }
    }
    let mut found = |key, value: Value, why: String| {
        values.entry(key).or_insert((value, why));
    };
    let camera = seen.nodes.iter().find(|n| n.role == Role::Camera).filter(|_| cfg!(feature = "camera"));
    match camera {
        Some(node) => {
            found("camera.source", stable(node).into(), format!("{}, {} now", node.card, node.path.display()));
            if let Some(mode) = choose(&node.modes, &config.ask) {
                let offer = || "as it offers".to_owned();
                found("camera.width", Value::Integer(mode.width.into()), offer());
                found("camera.height", Value::Integer(mode.height.into()), offer());
                let fps = if mode.fps_max > 0.0 {
                    config.ask.fps.min((mode.fps_max * 100.0).round() / 100.0)
                } else {
                    config.ask.fps
                };
                found("camera.fps", Value::Float(fps.max(0.01)), offer());
            }
        }
        None if seen.nodes.iter().any(|n| n.role == Role::RawSensor) => {
            found("camera.source", "rpicam:".into(), "a CSI receiver is there".into());
        }
        None => found(
            "camera.source",
            config.source.to_string().into(),
            "no camera was found: a moving test picture".into(),
        ),
    }
    let (panel, why) = panel(host, config);
    found("display.panels", Value::Array(vec![panel.into()]), why);
    let name = host_name();
    if is_device(&name) && name != "localhost" {
        found("mqtt.device", name.into(), "the host's name".into());
    }
    found("mqtt.url", "".into(), "mqtt://HOST:1883 where there is a broker".into());
    values
}

/// The display that the service will find: a terminal or a desktop is not there for it.
fn panel(host: &Host, config: &Config) -> (&'static str, String) {
    let works = |name: &str| {
        let mut asked = config.clone();
        asked.panels = vec![DisplaySpec::parse(name)?];
        let line = display::check(host, &asked).pop()?;
        matches!(line.state, State::Ok | State::Warning).then_some(line.what)
    };
    let spi = config.spi.as_ref().and_then(|_| works("spi"));
    if let Some(what) = spi {
        return ("spi", what);
    }
    if let Some(what) = works("kms") {
        return ("kms", what);
    }
    match works("fb:/dev/fb0") {
        Some(what) => ("fb:/dev/fb0", what),
        None => ("auto", "none was found: the first that works when it starts".into()),
    }
}

/// As TOML, by sections.
fn text(values: &BTreeMap<&'static str, Choice>) -> String {
    let mut out = String::from(
        "# Hueflow's edge, as hueflow-edge doctor --write found this machine.\n\
         # Every key, its value and where that came from: hueflow-edge print-config --all\n",
    );
    let mut section = "";
    for (key, (value, why)) in values {
        let (s, name) = key.split_once('.').unwrap_or(("", key));
        if s != section {
            out += &format!("\n[{s}]\n");
            section = s;
        }
        let why: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        out += &format!("# {why}\n{name} = {value}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fake;
    use super::*;
    use crate::camera::choice::Mode;
    use crate::camera::nodes::Node;

    fn seen_as(role: Role) -> Seen {
        let node = Node {
            path: "/dev/video3".into(),
            names: vec!["/dev/v4l/by-id/usb-HD_Cam-video-index0".into()],
            card: "HD\nCam".into(),
            driver: "uvcvideo".into(),
            bus: String::new(),
            role,
            formats: Vec::new(),
            modes: vec![Mode { fourcc: *b"YUYV", width: 640, height: 360, fps_max: 29.97 }],
            locks: Vec::new(),
        };
        Seen { nodes: vec![node], unreadable: Vec::new(), asked: true }
    }

    fn config(raw: Raw) -> Config {
        Config::check(raw).unwrap()
    }

    #[test]
    fn what_is_written_is_a_configuration_with_what_was_found_and_said() {
        let mut raw = Raw::default();
        raw.put("mqtt.url", "mqtt://broker:1883".into(), Origin::Flag("--mqtt".into())).unwrap();
        raw.put("mqtt.device", "desk".into(), Origin::Flag("--device".into())).unwrap();
        raw.put("clustering.lambda", 33.into(), Origin::Env("E".into())).unwrap();
        let given = config(raw);
        for (role, source) in [(Role::RawSensor, "rpicam:"), (Role::Converter, "synthetic:640x480@30")] {
            let written = text(&values(&Fake::new().host, &given, &seen_as(role)));
            let back = config(Raw::of_toml(&written, Path::new("x")).unwrap());
            assert_eq!(back.source.to_string(), source, "{written}");
            assert_eq!((back.settings.lambda_q6, back.panels[0].clone()), (33 * 64, DisplaySpec::Auto));
            assert_eq!(back.mqtt.unwrap().device, "desk");
        }
        let written = text(&values(&Fake::new().host, &given, &seen_as(Role::Camera)));
        let back = config(Raw::of_toml(&written, Path::new("x")).unwrap());
        if cfg!(feature = "camera") {
            assert_eq!(back.source.to_string(), "v4l2:usb-HD_Cam-video-index0", "{written}");
            assert_eq!((back.ask.width, back.ask.height, back.ask.fps), (640, 360, 29.97));
        }
    }

    #[test]
    fn a_file_that_is_there_is_not_overwritten_unless_forced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etc/edge.toml");
        let fake = Fake::new();
        let config = config(Raw::default());
        let write = |force| Write { path: Some(path.clone()), force }.found(&fake.host, &config);
        assert_eq!(write(false).unwrap().0.state, State::Ok);
        std::fs::write(&path, "# mine\n").unwrap();
        let (beside, config) = write(false).unwrap();
        assert!(config.is_none(), "the configuration in force is still mine");
        assert!(beside.state == State::Warning && beside.what.contains("edge.toml.new"), "{beside}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "# mine\n");
        assert_eq!(write(false).unwrap_err().code(), 74, "neither is the one beside it");
        assert_eq!(write(true).unwrap().0.state, State::Ok);
        assert!(std::fs::read_to_string(&path).unwrap().contains("[camera]"));
    }
}
