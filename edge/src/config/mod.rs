//! Configuration: what the user said, in layers, becomes what the program needs, once.
//!
//! Takes `/etc/hueflow/edge.toml` (or `--config`), `HUEFLOW_EDGE__SECTION__KEY` variables and flags, the later over the
//! earlier. Gives a checked [`Config`], and for every key its value and where that came from.
//! Touches the configuration file, the environment it is given, and the host's name.
//! Never guesses: an unknown key or a value out of range is an error that names key, value and range.

mod keys;
mod layers;
mod spi;

pub use keys::{KEYS, Key};
pub use layers::{ConfigError, Origin, Raw};

use crate::camera::ask::{self, Ask};
use crate::camera::locks::{Lock, Locks};
use crate::camera::transform::{Crop, Transform};
use crate::panel::board::Board;
use crate::tls::Tls;
use crate::turn::{Flip, Rotate, Turn};
use firmware::limits::{CLUSTERS_MAX, ITERATIONS_MAX, POINTS_MAX, WINDOW_RECORDS_MAX};
use firmware::node::Settings;
use firmware::wire::{Method, Refine};
use layers::show;
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::Value;

/// Read if there is one and `--config` names no other.
pub const FILE: &str = "/etc/hueflow/edge.toml";
/// What variables begin with.
pub const ENV_PREFIX: &str = "HUEFLOW_EDGE__";

/// A distance in 8-bit levels as 1/64 levels, if it is allowed: finite, above 0, at most 442 (black to white is 441.7).
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

/// Which picture is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewChoice {
    /// The clustered picture.
    Clustered,
    /// The original beside it.
    SideBySide,
}

/// The broker and what this edge is called there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mqtt {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User name, if the broker wants one.
    pub user: Option<String>,
    /// Where the password is.
    pub password_file: Option<PathBuf>,
    /// What TLS needs, if the connection is to be over it.
    pub tls: Option<Tls>,
    /// The site's name in topics.
    pub site: String,
    /// The device's name in topics, and the client id.
    pub device: String,
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The source's description.
    pub source: String,
    /// Rewind at the end.
    pub rewind: bool,
    /// As fast as it can instead of at the clip's rate.
    pub fast: bool,
    /// What a live source is asked for.
    pub ask: Ask,
    /// Crop, rotation and flip of every picture before it is clustered.
    pub transform: Transform,
    /// How frames are clustered.
    pub settings: Settings,
    /// The displays.
    pub panels: Vec<String>,
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
    /// Seconds between two censuses; 0: only on request and at the end.
    pub census_every_s: f64,
    /// Every key with its value and origin.
    pub origins: BTreeMap<&'static str, (Value, Origin)>,
}

impl Config {
    /// Checks what the user said.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn check(mut raw: Raw) -> Result<Config, ConfigError> {
        raw.apply_preset();
        let mqtt = raw.mqtt()?;
        let panels = raw.look("display.panels");
        let list = panels.list()?;
        if list.is_empty() || !list.iter().all(|p| crate::panel::is_known(p)) {
            return Err(panels.refuse());
        }
        let view = raw.look("display.view");
        let video = raw.look("send.video");
        let census = raw.look("send.census_every");
        let dir = raw.look("spool.dir").text()?;
        let source = raw.look("camera.source");
        if !crate::camera::is_known(&source.text()?) {
            return Err(source.refuse());
        }
        let mut origins: BTreeMap<_, _> = KEYS.iter().map(|k| (k.name, raw.get(k))).collect();
        if let (Some(mqtt), Some(said)) = (&mqtt, origins.get_mut("mqtt.device"))
            && said.0.as_str() == Some("")
        {
            *said = (Value::String(mqtt.device.clone()), Origin::Host);
        }
        Ok(Config {
            source: source.text()?,
            rewind: raw.look("camera.loop").flag()?,
            fast: raw.look("camera.fast").flag()?,
            ask: raw.ask()?,
            transform: raw.transform()?,
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
            census_every_s: census
                .decimal()
                .and_then(|s| if (0.0..=86_400.0).contains(&s) { Ok(s) } else { Err(census.refuse()) })?,
            origins,
        })
    }

    /// Every key as TOML, a comment behind each saying where its value came from.
    pub fn print(&self) -> String {
        let (mut out, mut section) = (String::new(), "");
        for key in KEYS {
            let Some((value, origin)) = self.origins.get(key.name) else { continue };
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
        Ok(Settings {
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

    fn mqtt(&self) -> Result<Option<Mqtt>, ConfigError> {
        let (url, site, device) = (self.look("mqtt.url"), self.look("mqtt.site"), self.look("mqtt.device"));
        let (address, site_id, mut device_id) = (url.text()?, site.text()?, device.text()?);
        let path = |key| Ok(Some(self.look(key).text()?).filter(|p| !p.is_empty()).map(PathBuf::from));
        let password_file = path("mqtt.password_file")?;
        let ca_file = path("mqtt.ca_file")?;
        let own = match (path("mqtt.cert_file")?, path("mqtt.key_file")?) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => return Err(self.look("mqtt.key_file").refuse()),
            (None, Some(_)) => return Err(self.look("mqtt.cert_file").refuse()),
        };
        if !is_device(&site_id) {
            return Err(site.refuse());
        }
        // The bridge's own status is hueflow/<site>/bridge/status.
        if (!device_id.is_empty() && !is_device(&device_id)) || device_id == "bridge" {
            return Err(device.refuse());
        }
        if address.is_empty() {
            return Ok(None);
        }
        let (secure, user, host, port) = parse_url(&address).ok_or_else(|| url.refuse())?;
        let refuse = |key: &'static str, range: &str| {
            let look = self.look(key);
            Err(ConfigError::Value { key, value: show(&look.value), origin: look.origin, range: range.into() })
        };
        if secure && cfg!(not(feature = "tls")) {
            return refuse("mqtt.url", "mqtt://[USER@]HOST[:PORT]: this hueflow-edge was built without TLS");
        }
        if !secure && (ca_file.is_some() || own.is_some()) {
            // Whoever names a CA means to be safe.
            return refuse("mqtt.url", "mqtts://[USER@]HOST[:PORT] where mqtt.ca_file or mqtt.cert_file is set");
        }
        if device_id.is_empty() {
            device_id = host_name();
            if !is_device(&device_id) || ["localhost", "bridge"].contains(&device_id.as_str()) {
                return Err(ConfigError::Value {
                    key: "mqtt.device",
                    value: show(&Value::String(device_id)),
                    origin: Origin::Default,
                    range: "set, because this host has no name of its own to be called by".into(),
                });
            }
        }
        let tls = secure.then_some(Tls { ca_file, own });
        Ok(Some(Mqtt { host, port, user, password_file, tls, site: site_id, device: device_id }))
    }
}

/// Whether it may be a site's or a device's name.
pub fn is_device(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// The host's name up to its first dot.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().split('.').next().unwrap_or("").to_owned()
}

/// `mqtt://[USER@]HOST[:PORT]`, or `mqtts://` for TLS; an IPv6 address in brackets.
fn parse_url(url: &str) -> Option<(bool, Option<String>, String, u16)> {
    let (secure, rest) = match url.strip_prefix("mqtts://") {
        Some(rest) => (true, rest),
        None => (false, url.strip_prefix("mqtt://")?),
    };
    let rest = rest.trim_end_matches('/');
    let (user, address) = match rest.rsplit_once('@') {
        Some((user, address)) if !user.is_empty() && !user.contains(':') => (Some(user.to_owned()), address),
        Some(_) => return None,
        None => (None, rest),
    };
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (address, if secure { 8883 } else { 1883 }),
    };
    let host = host.strip_prefix('[').map_or(host, |h| h.trim_end_matches(']'));
    (!host.is_empty() && !host.contains(['/', '?', ' ']) && port > 0).then(|| (secure, user, host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str, vars: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("edge.toml");
        std::fs::write(&file, toml).unwrap();
        let vars = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let mut raw = Raw::gather(Some(&file), vars)?;
        for (key, value) in flags {
            raw.put(key, Value::String((*value).into()), Origin::Flag("--flag".into()))?;
        }
        Config::check(raw)
    }

    #[test]
    fn the_later_layer_wins_and_is_named() {
        let toml = "[clustering]\nlambda = 40\nseed = 9";
        let config = check(toml, &[("HUEFLOW_EDGE__CLUSTERING__LAMBDA", "30.5"), ("HOME", "/")], &[]).unwrap();
        assert_eq!((config.settings.lambda_q6, config.settings.seed), (1952, 9));
        let printed = config.print();
        assert!(printed.contains("lambda = \"30.5\"  # HUEFLOW_EDGE__CLUSTERING__LAMBDA"), "{printed}");
        assert!(printed.contains("method = \"octree\"  # default"), "{printed}");
        let flags = check(toml, &[], &[("clustering.lambda", "7")]).unwrap();
        assert_eq!(flags.settings.lambda_q6, 448);
    }

    #[test]
    fn an_unknown_key_or_a_bad_value_names_key_value_and_range() {
        let error = |toml: &str| check(toml, &[], &[]).unwrap_err().to_string();
        let unknown = error("[clustering]\nlamda = 3");
        assert!(unknown.contains("clustering.lamda = 3") && unknown.contains("clustering.lambda"), "{unknown}");
        assert!(error("source = 3").contains("unknown key source"));
        for bad in ["0", "-1", "nan", "inf", "443", "\"x\"", "[]", "0.001"] {
            let message = error(&format!("[clustering]\nlambda = {bad}"));
            assert!(message.contains("clustering.lambda") && message.contains("442"), "{message}");
        }
        for bad in ["0", "131073", "-5", "1.5"] {
            let message = error(&format!("[clustering]\ncoreset_size = {bad}"));
            assert!(message.contains("coreset_size") && message.contains("131072"), "{message}");
        }
        for lone in ["cert_file = \"/c\"", "key_file = \"/k\""] {
            let message = error(&format!("[mqtt]\nurl = \"mqtts://h\"\n{lone}"));
            assert!(message.contains("mqtt.cert_file") && message.contains("mqtt.key_file"), "{message}");
        }
        let plain = error("[mqtt]\nurl = \"mqtt://h\"\nca_file = \"/ca\"");
        assert!(plain.contains("mqtt.url") && plain.contains("mqtts://"), "{plain}");
        assert!(error("[mqtt]\nurl = \"http://h:1\"").contains("mqtt://"));
        assert!(error("[mqtt]\nsite = \"a/b\"").contains("mqtt.site"));
        assert!(error("[mqtt]\ndevice = \"bridge\"").contains("but not bridge"));
    }

    #[test]
    fn a_preset_beats_earlier_layers_and_yields_to_its_own() {
        let toml = "[clustering]\ncoreset_size = 77\nlambda = 33";
        let config = check(toml, &[], &[("clustering.preset", "tutorial")]).unwrap();
        assert_eq!((config.settings.coreset_size, config.settings.lambda_q6), (1000, 33 * 64));
        assert!(config.settings.cold && config.settings.method == Method::Uniform);
        assert_eq!(config.settings.w_open, Some(1));
        let flags = [("clustering.preset", "tutorial"), ("clustering.coreset_size", "500")];
        assert_eq!(check(toml, &[], &flags).unwrap().settings.coreset_size, 500);
    }

    #[test]
    fn addresses_are_taken_apart() {
        assert_eq!(parse_url("mqtt://h"), Some((false, None, "h".into(), 1883)));
        assert_eq!(parse_url("mqtts://h"), Some((true, None, "h".into(), 8883)));
        assert_eq!(parse_url("mqtts://me@10.0.0.1:99"), Some((true, Some("me".into()), "10.0.0.1".into(), 99)));
        assert_eq!(parse_url("mqtt://[::1]:99"), Some((false, None, "::1".into(), 99)));
        for bad in ["mqtt://", "mqtts://", "tls://h", "mqtt://h:0", "mqtt://h:x", "mqtt://u:p@h", "h:1", "mqtt://h/x"] {
            assert_eq!(parse_url(bad), None, "{bad}");
        }
    }

    #[test]
    fn tls_is_asked_for_by_the_url_and_a_build_without_it_says_so() {
        let toml =
            "[mqtt]\nurl = \"mqtts://h\"\ndevice = \"d\"\nca_file = \"/ca\"\ncert_file = \"/c\"\nkey_file = \"/k\"";
        match check(toml, &[], &[]) {
            Ok(config) => {
                let tls = Tls { ca_file: Some("/ca".into()), own: Some(("/c".into(), "/k".into())) };
                assert_eq!(config.mqtt.unwrap().tls, Some(tls));
            }
            Err(error) => {
                assert!(cfg!(not(feature = "tls")) && error.to_string().contains("built without TLS"), "{error}");
            }
        }
    }

    #[test]
    fn the_file_that_the_package_brings_is_sound() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/etc/edge.toml");
        let config = Config::check(Raw::gather(Some(file.as_ref()), []).unwrap()).unwrap();
        assert_eq!((config.panels, config.mqtt, config.spi), (vec!["auto".to_owned()], None, None));
    }

    #[test]
    fn what_is_printed_reads_back_whatever_is_in_it() {
        // Found by fuzzing: Rust writes ESC as \u{1b}, which TOML does not read.
        for dir in ["/a\u{1b}b", "a\nb", "'\"\\", "\u{ad}"] {
            let config = check("", &[("HUEFLOW_EDGE__SPOOL__DIR", dir)], &[]).unwrap();
            let again = check(&config.print(), &[], &[]).unwrap();
            assert_eq!(again.spool_dir.unwrap(), PathBuf::from(dir));
        }
    }

    #[test]
    fn every_key_is_read() {
        // A bad value for any key must be noticed: none is only decoration.
        for key in KEYS {
            let mut raw = Raw::default();
            raw.put(key.name, Value::Datetime("1979-05-27".parse().unwrap()), Origin::Default).unwrap();
            assert!(Config::check(raw).is_err(), "{} is never read", key.name);
        }
        assert!(Config::check(Raw::default()).is_ok());
    }
}
