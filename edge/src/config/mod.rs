//! Configuration: layers of settings become a checked [`Config`], once.
//!
//! The layers are `/etc/hueflow/edge.toml` (or `--config`), `HUEFLOW_EDGE__SECTION__KEY` variables and flags; a later one
//! wins over an earlier one. For every key its value is known, and where that came from. An unknown key or a value out of
//! range is an error that names key, value and range. Besides the file, only the host's name is read.

mod events;
mod keys;
mod layers;
mod masks;
mod mqtt;
mod reference;
mod regions;
pub mod saved;
mod spi;
mod tables;

pub use keys::{KEYS, Key};
pub use layers::{ConfigError, Origin, Raw};
pub use regions::WHOLE_PICTURE;

pub use mqtt::{Mqtt, host_name, is_device};

pub use crate::spec::ViewChoice;

use crate::event::EventSpec;
use crate::spec::ask::{self, Ask};
use crate::spec::display::preview_address;
use crate::spec::{Board, Colour, Crop, DisplaySpec, Lock, Locks, Mask, ReferenceSpec, Region, SourceSpec, Transform};
use crate::turn::{Flip, Rotate, Turn};
use firmware::limits::{CLUSTERS_MAX, ITERATIONS_MAX, POINTS_MAX, WINDOW_RECORDS_MAX};
use firmware::node::Settings;
use firmware::wire::{Method, Refine, Space};
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::Value;

/// Read if there is one and `--config` names no other.
pub const FILE: &str = "/etc/hueflow/edge.toml";
/// What variables begin with.
pub const ENV_PREFIX: &str = "HUEFLOW_EDGE__";

/// A distance in 8-bit levels or in Delta E as 1/64 of these, if it is allowed: finite, above 0, at most 442 (black to white is
/// 441.7 levels).
pub fn lambda_q6(lambda: f64) -> Option<u32> {
    let q6 = (lambda * 64.0).round();
    (lambda.is_finite() && q6 >= 1.0 && lambda <= 442.0).then_some(q6 as u32)
}

/// A coreset method's word.
pub fn method(word: &str) -> Option<Method> {
    Method::ALL.into_iter().find(|m| m.word() == word)
}

/// What pictures are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Video {
    /// None.
    Off,
    /// The newest one, at most so many a second; may be skipped.
    Latest(f64),
    /// Every one, as records.
    All,
}

impl Video {
    fn parse(word: &str) -> Option<Video> {
        match word.split_once(':') {
            None if word == "off" => Some(Video::Off),
            None if word == "all" => Some(Video::All),
            None if word == "latest" => Some(Video::Latest(5.0)),
            Some(("latest", fps)) => fps.parse().ok().filter(|f: &f64| (0.01..=240.0).contains(f)).map(Video::Latest),
            _ => None,
        }
    }
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The source.
    pub source: SourceSpec,
    /// Rewind at the end.
    pub rewind: bool,
    /// As fast as it can instead of at the clip's rate.
    pub fast: bool,
    /// What a live source is asked for.
    pub ask: Ask,
    /// Crop, rotation and flip of every picture before it is clustered.
    pub transform: Transform,
    /// Parts of the picture that are masked.
    pub masks: Vec<Mask>,
    /// Parts of the clustered picture that are reported by themselves. With colours and without regions: the whole picture.
    pub regions: Vec<Region>,
    /// Colours that have a name.
    pub colours: Vec<Colour>,
    /// Patches of known colour, and how colours are corrected by them.
    pub reference: ReferenceSpec,
    /// Conditions that have a name.
    pub events: Vec<EventSpec>,
    /// How frames are clustered.
    pub settings: Settings,
    /// The displays.
    pub panels: Vec<DisplaySpec>,
    /// What they show.
    pub view: ViewChoice,
    /// How they turn it.
    pub turn: Turn,
    /// The attached display, if there is one.
    pub spi: Option<Board>,
    /// The broker, if there is one.
    pub mqtt: Option<Mqtt>,
    /// The spool's directory; none: the platform's own.
    pub spool_dir: Option<PathBuf>,
    /// Most bytes in the spool.
    pub spool_bytes_max: u64,
    /// Records after which the spool is synced.
    pub sync_records: u64,
    /// Milliseconds after which it is synced in any case.
    pub sync_ms: u64,
    /// Records sent and not acknowledged by the journal.
    pub window_records: usize,
    /// What pictures are sent.
    pub video: Video,
    /// The original as a small JPEG too.
    pub original: bool,
    /// Home Assistant finds this edge by its discovery.
    pub homeassistant_discovery: bool,
    /// Where a page of metrics is served.
    pub metrics_listen: Option<(String, u16)>,
    /// Where services leave marks at run time: whether the clock is synchronised is seen there.
    pub run_dir: PathBuf,
    /// Seconds between two censuses; 0: only on request and at the end.
    pub census_every_s: f64,
    /// Every key with its value and origin.
    pub origins: BTreeMap<&'static str, (Value, Origin)>,
}

impl Config {
    /// Checks what the user has set.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn check(mut raw: Raw) -> Result<Config, ConfigError> {
        raw.apply_preset();
        raw.apply_space();
        let mqtt = raw.mqtt()?;
        let colours = raw.colours()?;
        let regions = raw.regions(&colours)?;
        let panels = raw.look("display.panels");
        let list: Option<Vec<_>> = panels.list()?.iter().map(|p| DisplaySpec::parse(p)).collect();
        let list = list.filter(|list| !list.is_empty()).ok_or_else(|| panels.refuse())?;
        let view = raw.look("display.view");
        let video = raw.look("send.video");
        let census = raw.look("send.census_every");
        let listen = raw.look("metrics.listen");
        let dir = raw.look("spool.dir").text()?;
        let source = raw.look("camera.source");
        let spec = SourceSpec::parse(source.text()?).map_err(|e| source.refuse_as(e.why()))?;
        let mut origins: BTreeMap<_, _> = KEYS.iter().map(|k| (k.name, displayed(k, raw.get(k)))).collect();
        if let (Some(mqtt), Some(device)) = (&mqtt, origins.get_mut("mqtt.device"))
            && device.0.as_str() == Some("")
        {
            *device = (Value::String(mqtt.device.clone()), Origin::Host);
        }
        Ok(Config {
            source: spec,
            rewind: raw.look("camera.loop").flag()?,
            fast: raw.look("camera.fast").flag()?,
            ask: raw.ask()?,
            transform: raw.transform()?,
            masks: raw.masks()?,
            events: raw.events(&colours, &regions)?,
            reference: raw.reference(&regions)?,
            regions,
            colours,
            settings: raw.settings()?,
            panels: list,
            view: match view.text()?.as_str() {
                "clustered" => ViewChoice::Clustered,
                "side-by-side" => ViewChoice::SideBySide,
                _ => return Err(view.refuse()),
            },
            turn: raw.turn("display.rotate", "display.flip")?,
            spi: raw.spi()?,
            mqtt,
            spool_dir: (!dir.is_empty()).then(|| dir.into()),
            spool_bytes_max: raw.look("spool.bytes_max").whole(1 << 20, 1 << 40)?,
            sync_records: raw.look("spool.sync_records").whole(1, 4096)?,
            sync_ms: raw.look("spool.sync_ms").whole(1, 60_000)?,
            window_records: raw.look("send.window_records").whole(4, WINDOW_RECORDS_MAX as u64)? as usize,
            video: Video::parse(&video.text()?).ok_or_else(|| video.refuse())?,
            original: raw.look("send.original").flag()?,
            homeassistant_discovery: raw.look("homeassistant.discovery").flag()?,
            metrics_listen: match listen.text()? {
                address if address.is_empty() => None,
                address => Some(preview_address(&address).ok_or_else(|| listen.refuse())?),
            },
            run_dir: raw.look("clock.run_dir").text()?.into(),
            census_every_s: census
                .decimal()
                .and_then(|s| if (0.0..=86_400.0).contains(&s) { Ok(s) } else { Err(census.refuse()) })?,
            origins,
        })
    }

    /// Whether records are kept on the disk: there is a broker that they are for, or a directory was named for them.
    pub fn keeps_records(&self) -> bool {
        self.mqtt.is_some() || self.spool_dir.is_some()
    }

    /// Whether the displays were named on the command line, by a person who waits for them.
    pub fn displays_are_typed(&self) -> bool {
        self.origins.get("display.panels").is_some_and(|(_, origin)| matches!(origin, Origin::Flag(_)))
    }

    /// The main keys and all that differ from their defaults, as TOML, each with where its value came from.
    pub fn print(&self) -> String {
        let is_shown = |key: &Key, origin: &Origin| key.is_main || *origin != Origin::Default;
        let shown = self.print_keys(is_shown);
        let hidden = KEYS.iter().filter(|k| self.origins.get(k.name).is_some_and(|(_, o)| !is_shown(k, o))).count();
        match hidden {
            0 => shown,
            n => format!("{shown}\n# {n} more keys have their defaults: hueflow-edge print-config --all\n"),
        }
    }

    /// Every key as TOML, each with where its value came from.
    pub fn print_all(&self) -> String {
        self.print_keys(|_, _| true)
    }

    fn print_keys(&self, is_shown: impl Fn(&Key, &Origin) -> bool) -> String {
        let (mut out, mut section) = (String::new(), "");
        for key in KEYS {
            let Some((value, origin)) = self.origins.get(key.name).filter(|(_, o)| is_shown(key, o)) else { continue };
            let (s, name) = key.name.split_once('.').unwrap_or(("", key.name));
            if s != section {
                out += &format!("{}[{s}]\n", if section.is_empty() { "" } else { "\n" });
                section = s;
            }
            // TOML's own way of writing: Rust's escapes are not TOML's.
            out += &format!("{name} = {value}  # {origin}\n");
        }
        out
    }
}

/// A key's value as it is displayed: tables as tables, also where an environment variable has them as a text.
fn displayed(key: &Key, (value, origin): (Value, Origin)) -> (Value, Origin) {
    let takes_tables = matches!((key.default)(), Value::Array(_));
    let found = if takes_tables && value.is_str() { tables::tables(&value) } else { None };
    (found.map_or(value, |tables| Value::Array(tables.into_iter().map(Value::Table).collect())), origin)
}

impl Raw {
    fn ask(&self) -> Result<Ask, ConfigError> {
        let (fps, format) = (self.look("camera.fps"), self.look("camera.format"));
        Ok(Ask {
            width: self.look("camera.width").whole(1, 8192)? as u32,
            height: self.look("camera.height").whole(1, 8192)? as u32,
            fps: Some(fps.decimal()?).filter(|f| ask::rate_allowed(*f)).ok_or_else(|| fps.refuse())?,
            format: ask::format(&format.text()?).ok_or_else(|| format.refuse())?,
            locks: Locks {
                exposure: self.lock("camera.exposure", Locks::RANGES[0])?,
                white_balance: self.lock("camera.white_balance", Locks::RANGES[1])?,
                gain: self.lock("camera.gain", Locks::RANGES[2])?,
            },
        })
    }

    fn transform(&self) -> Result<Transform, ConfigError> {
        let crop = self.look("camera.crop");
        let text = crop.text()?;
        let part = if text == "none" { None } else { Some(Crop::parse(&text).ok_or_else(|| crop.refuse())?) };
        Ok(Transform { crop: part, turn: self.turn("camera.rotate", "camera.flip")? })
    }

    fn turn(&self, rotate: &'static str, flip: &'static str) -> Result<Turn, ConfigError> {
        let (rotate, flip) = (self.look(rotate), self.look(flip));
        Ok(Turn {
            rotate: Rotate::of_degrees(rotate.whole(0, 270)?).ok_or_else(|| rotate.refuse())?,
            flip: Flip::parse(&flip.text()?).ok_or_else(|| flip.refuse())?,
        })
    }

    fn lock(&self, key: &'static str, (min, max): (u32, u32)) -> Result<Lock, ConfigError> {
        let word = self.look(key);
        match word.value.as_str() {
            Some(text) => Lock::parse(text, min, max).ok_or_else(|| word.refuse()),
            None => word.whole(min.into(), max.into()).map(|n| Lock::At(n as u32)),
        }
    }

    fn settings(&self) -> Result<Settings, ConfigError> {
        let lambda = self.look("clustering.lambda");
        let coreset_method = self.look("clustering.method");
        let w_open = self.look("clustering.w_open");
        let refine = self.look("clustering.refine");
        let preset = self.look("clustering.preset");
        if !["none", "tutorial"].contains(&preset.text()?.as_str()) {
            return Err(preset.refuse());
        }
        let space = self.look("clustering.space");
        Ok(Settings {
            space: Space::from_word(&space.text()?).ok_or_else(|| space.refuse())?,
            lambda_q6: lambda_q6(lambda.decimal()?).ok_or_else(|| lambda.refuse())?,
            coreset_size: self.look("clustering.coreset_size").whole(1, POINTS_MAX as u64)? as u32,
            method: method(&coreset_method.text()?).ok_or_else(|| coreset_method.refuse())?,
            refine: Refine::from_word(&refine.text()?).ok_or_else(|| refine.refuse())?,
            cold: self.look("clustering.cold").flag()?,
            w_open: match w_open.value.as_str() {
                Some("auto") => None,
                _ => Some(w_open.whole(1, 1 << 23)? as u32),
            },
            iterations_max: ITERATIONS_MAX,
            clusters_max: CLUSTERS_MAX as u32,
            seed: self.look("clustering.seed").whole(0, u64::MAX)?,
            silhouette: true,
        })
    }
}

#[cfg(test)]
pub mod check_text;
#[cfg(test)]
mod tests;
