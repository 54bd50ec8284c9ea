//! The configuration of the two programs, checked once.
//!
//! Settings come in as text; the results need no further checks: addresses are parsed, ranges are kept. A password file is
//! read if one is named. Each error names the key, the value and what it must be.

use crate::failure::Failure;
use crate::journal::{Access, JournalConfig, JournalUrl, Secret};
use crate::metrics::http::gate::Gate;
use crate::metrics::store::url::StoreUrl;
use crate::relay::verdict::{ValueFormat, is_device};
use crate::settings::{Key, Settings, Shape, Url};
use host::tls::Tls;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const JOURNAL_KEYS: [Key; 11] = [
    Key {
        name: "journal.url",
        shape: Shape::Text,
        default: "local:/var/lib/hueflow/journal.db",
        help: "The journal: kafka://[USER@]HOST:PORT[,HOST:PORT...], kafka+ssl:// for TLS, or local:FILE.",
    },
    Key { name: "journal.password_file", shape: Shape::Text, default: "", help: "File with that user's password." },
    Key {
        name: "journal.sasl",
        shape: Shape::Text,
        default: "scram-sha-512",
        help: "How Kafka is shown the password: scram-sha-512, scram-sha-256 or plain.",
    },
    Key {
        name: "journal.ca_file",
        shape: Shape::Text,
        default: "",
        help: "PEM file with the CA that signed the brokers' certificates; empty for the system's.",
    },
    Key {
        name: "journal.cert_file",
        shape: Shape::Text,
        default: "",
        help: "PEM file with a certificate to show to Kafka; empty for none.",
    },
    Key { name: "journal.key_file", shape: Shape::Text, default: "", help: "PEM file with that certificate's key." },
    Key { name: "journal.prefix", shape: Shape::Text, default: "", help: "In front of each Kafka topic's name." },
    Key {
        name: "journal.partitions",
        shape: Shape::Number { min: 1, max: 1_000 },
        default: "4",
        help: "Partitions of topics that are made.",
    },
    Key {
        name: "journal.replication",
        shape: Shape::Number { min: 1, max: 16 },
        default: "1",
        help: "Replicas of topics that are made.",
    },
    Key {
        name: "journal.retention_days",
        shape: Shape::Number { min: 1, max: 3_650 },
        default: "7",
        help: "Days that the journal keeps records.",
    },
    Key {
        name: "journal.video_mib_max",
        shape: Shape::Number { min: 1, max: 1_048_576 },
        default: "256",
        help: "MiB of pictures that the local journal keeps.",
    },
];

const fn journal_key(i: usize) -> Key {
    JOURNAL_KEYS[i]
}

/// Keys of `hueflow-bridge`.
pub const BRIDGE_KEYS: &[Key] = &[
    Key { name: "site", shape: Shape::Text, default: "home", help: "The site: second word of every MQTT topic." },
    Key {
        name: "mqtt.url",
        shape: Shape::Text,
        default: "mqtt://127.0.0.1:1883",
        help: "The broker: mqtt://[USER@]HOST[:PORT], mqtts:// for TLS, or embedded[:PORT].",
    },
    Key { name: "mqtt.password_file", shape: Shape::Text, default: "", help: "File with the broker's password." },
    Key {
        name: "mqtt.ca_file",
        shape: Shape::Text,
        default: "",
        help: "PEM file with the CA that signed the broker's certificate; empty for the system's.",
    },
    Key {
        name: "mqtt.cert_file",
        shape: Shape::Text,
        default: "",
        help: "PEM file with a certificate to show to the broker; empty for none.",
    },
    Key { name: "mqtt.key_file", shape: Shape::Text, default: "", help: "PEM file with that certificate's key." },
    journal_key(0),
    journal_key(1),
    journal_key(2),
    journal_key(3),
    journal_key(4),
    journal_key(5),
    journal_key(6),
    journal_key(7),
    journal_key(8),
    journal_key(9),
    journal_key(10),
    Key {
        name: "relay.value",
        shape: Shape::Text,
        default: "json",
        help: "How values of the topic metrics are written: json or postcard.",
    },
    Key {
        name: "web.listen",
        shape: Shape::Text,
        default: "",
        help: "Address of /healthz and /metrics, or a port of loopback (0 is any free one); empty for none.",
    },
];

/// Keys of `hueflow-metrics`.
pub const METRICS_KEYS: &[Key] = &[
    journal_key(0),
    journal_key(1),
    journal_key(2),
    journal_key(3),
    journal_key(4),
    journal_key(5),
    journal_key(6),
    journal_key(7),
    journal_key(8),
    journal_key(9),
    journal_key(10),
    Key {
        name: "store.file",
        shape: Shape::Text,
        default: "/var/lib/hueflow/store.db",
        help: "The store: a SQLite file.",
    },
    Key {
        name: "store.url",
        shape: Shape::Text,
        default: "",
        help: "The store instead of store.file: sqlite:FILE, or postgres://USER@HOST[:PORT]/DB[?sslmode=require].",
    },
    Key {
        name: "store.password_file",
        shape: Shape::Text,
        default: "",
        help: "File with the password of the PostgreSQL user; without it PGPASSWORD, or the URL's.",
    },
    Key {
        name: "store.ca_file",
        shape: Shape::Text,
        default: "",
        help: "PEM file with the CA of the PostgreSQL server's certificate; empty for the system's CAs.",
    },
    Key {
        name: "store.keep_days",
        shape: Shape::Number { min: 1, max: 3_650 },
        default: "7",
        help: "Days that the store keeps each report; minutes and hours are kept longer.",
    },
    Key {
        name: "store.keep_minutes_days",
        shape: Shape::Number { min: 1, max: 36_500 },
        default: "30",
        help: "Days that the store keeps sums by minute. Sums by hour are kept for ever.",
    },
    Key {
        name: "store.bytes_max",
        shape: Shape::Number { min: 16_777_216, max: 1_099_511_627_776 },
        default: "2147483648",
        help: "Bytes of the store beyond which the oldest reports are deleted.",
    },
    Key {
        name: "store.census_kept",
        shape: Shape::Number { min: 1, max: 100_000 },
        default: "256",
        help: "Censuses that the store keeps, for each device.",
    },
    Key {
        name: "web.listen",
        shape: Shape::Text,
        default: "127.0.0.1:8080",
        help: "Address of the page, or a port of loopback; port 0 is any free one. Beyond loopback it wants web.token_file.",
    },
    Key {
        name: "web.token_file",
        shape: Shape::Text,
        default: "",
        help: "File with the token that whoever opens the page must give; empty for none.",
    },
];

/// Where a bridge gets its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broker {
    /// A broker elsewhere.
    Remote(Url),
    /// One inside the bridge, on that port of loopback (0: any free one).
    Embedded(u16),
}

/// What `hueflow-bridge run` needs.
#[derive(Debug, Clone)]
pub struct BridgeConfig {
    /// The site.
    pub site: String,
    /// The broker.
    pub broker: Broker,
    /// The journal.
    pub journal: JournalConfig,
    /// How values of `metrics` are written.
    pub format: ValueFormat,
    /// Where `/healthz` and `/metrics` are, if anywhere.
    pub listen: Option<SocketAddr>,
}

impl BridgeConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Failure::Config`].
    pub fn check(s: &Settings) -> Result<BridgeConfig, Failure> {
        let site = s.text("site").to_owned();
        if !is_device(&site) {
            return Err(s.wrong("site", "must be 1 to 64 letters, digits, `.`, `-` or `_`"));
        }
        let listen = match s.some("web.listen") {
            Some(text) => Some(address(text).ok_or_else(|| {
                s.wrong("web.listen", "must be a port, or an address and a port, such as 127.0.0.1:9100")
            })?),
            None => None,
        };
        Ok(BridgeConfig { site, broker: broker(s)?, journal: journal(s)?, format: format(s)?, listen })
    }
}

/// What `hueflow-bridge dlq` needs of the bridge's configuration: no broker.
#[derive(Debug, Clone)]
pub struct DlqConfig {
    /// The journal.
    pub journal: JournalConfig,
    /// How values of `metrics` are written.
    pub format: ValueFormat,
}

impl DlqConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Failure::Config`].
    pub fn check(s: &Settings) -> Result<DlqConfig, Failure> {
        Ok(DlqConfig { journal: journal(s)?, format: format(s)? })
    }
}

/// An address; a port alone is one of loopback.
fn address(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| Some(SocketAddr::from(([127, 0, 0, 1], text.parse().ok()?))))
}

fn format(s: &Settings) -> Result<ValueFormat, Failure> {
    match s.text("relay.value") {
        "json" => Ok(ValueFormat::Json),
        "postcard" => Ok(ValueFormat::Postcard),
        _ => Err(s.wrong("relay.value", "must be json or postcard")),
    }
}

fn broker(s: &Settings) -> Result<Broker, Failure> {
    let text = s.text("mqtt.url");
    let embedded = match text.strip_prefix("embedded") {
        Some("") => Some(0),
        Some(port) => match port.strip_prefix(':').and_then(|p| p.parse().ok()) {
            Some(port) => Some(port),
            None => return Err(s.wrong("mqtt.url", "must be embedded[:PORT] with a port from 0 to 65535")),
        },
        None => None,
    };
    if let Some(port) = embedded {
        if cfg!(feature = "embedded-broker") {
            return Ok(Broker::Embedded(port));
        }
        return Err(s.wrong("mqtt.url", "asks for the embedded broker, which this build does not have"));
    }
    let mut url: Url = text.parse().map_err(|e: String| s.wrong("mqtt.url", &e))?;
    if let Some(file) = s.some("mqtt.password_file") {
        let password = std::fs::read_to_string(file).map_err(|e| cannot_read(s, "mqtt.password_file", &e))?;
        let user = url.login.take().map_or_else(String::new, |(user, _)| user);
        url.login = Some((user, password.trim_end().to_owned()));
    }
    let ca_file = s.some("mqtt.ca_file").map(PathBuf::from);
    let own = own_certificate(s, "mqtt.cert_file", "mqtt.key_file")?;
    match &mut url.tls {
        Some(tls) => {
            *tls = Tls { ca_file, own };
            tls.client().map_err(Failure::Config)?;
        }
        // A configuration that names a CA expects TLS.
        None if ca_file.is_some() || own.is_some() => {
            return Err(s.wrong("mqtt.url", "must be mqtts:// where mqtt.ca_file or mqtt.cert_file is set"));
        }
        None => {}
    }
    Ok(Broker::Remote(url))
}

/// A certificate and its key: both, or neither.
fn own_certificate(s: &Settings, cert: &str, key: &str) -> Result<Option<(PathBuf, PathBuf)>, Failure> {
    match (s.some(cert), s.some(key)) {
        (Some(cert), Some(key)) => Ok(Some((cert.into(), key.into()))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(s.wrong(key, &format!("must name a file where {cert} does"))),
        (None, Some(_)) => Err(s.wrong(cert, &format!("must name a file where {key} does"))),
    }
}

fn journal(s: &Settings) -> Result<JournalConfig, Failure> {
    let url: JournalUrl = s.text("journal.url").parse().map_err(|e: String| s.wrong("journal.url", &e))?;
    let prefix = s.text("journal.prefix").to_owned();
    if prefix.len() > 32 || !prefix.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) {
        return Err(s.wrong("journal.prefix", "must be at most 32 letters, digits, `.`, `-` or `_`"));
    }
    let access = access(s, &url)?;
    let number = |name| s.number(name).unsigned_abs();
    Ok(JournalConfig {
        url,
        access,
        prefix,
        partitions: i32::try_from(number("journal.partitions")).unwrap_or(1),
        replication: i32::try_from(number("journal.replication")).unwrap_or(1),
        retention_days: u32::try_from(number("journal.retention_days")).unwrap_or(7),
        video_bytes_max: number("journal.video_mib_max") << 20,
    })
}

/// TLS and SASL of a cluster, as far as they go together.
fn access(s: &Settings, url: &JournalUrl) -> Result<Access, Failure> {
    let mechanism = match s.text("journal.sasl").to_ascii_lowercase().as_str() {
        "scram-sha-512" => "SCRAM-SHA-512",
        "scram-sha-256" => "SCRAM-SHA-256",
        "plain" => "PLAIN",
        _ => return Err(s.wrong("journal.sasl", "must be scram-sha-512, scram-sha-256 or plain")),
    };
    let JournalUrl::Kafka(cluster) = url else { return Ok(Access { mechanism, ..Access::default() }) };
    let password = match s.some("journal.password_file") {
        Some(file) => Some(std::fs::read_to_string(file).map_err(|e| cannot_read(s, "journal.password_file", &e))?),
        None => None,
    };
    let ca_file = s.some("journal.ca_file").map(PathBuf::from);
    let own = own_certificate(s, "journal.cert_file", "journal.key_file")?;
    for key in ["journal.ca_file", "journal.cert_file", "journal.key_file"] {
        if let Some(file) = s.some(key) {
            std::fs::File::open(file).map_err(|e| cannot_read(s, key, &e))?;
        }
    }
    let wrong = |key, must| Err(s.wrong(key, must));
    match (&cluster.user, &password) {
        _ if (cluster.tls || cluster.user.is_some()) && !cfg!(feature = "kafka-tls") => {
            wrong("journal.url", "asks for TLS or a user, which this build does not have for Kafka")
        }
        _ if !cluster.tls && (ca_file.is_some() || own.is_some()) => {
            wrong("journal.url", "must be kafka+ssl:// where journal.ca_file or journal.cert_file is set")
        }
        (Some(_), None) => wrong("journal.password_file", "must name a file where journal.url has a user"),
        (None, Some(_)) => wrong("journal.url", "must have a user (USER@) where journal.password_file is set"),
        (Some(_), Some(_)) if !cluster.tls && mechanism == "PLAIN" => {
            wrong("journal.sasl", "would send the password as it is: only with kafka+ssl://")
        }
        _ => {
            let password = password.map(|p| Secret::new(p.trim_end().to_owned()));
            Ok(Access { mechanism, password, ca_file, own })
        }
    }
}

fn cannot_read(s: &Settings, key: &str, error: &std::io::Error) -> Failure {
    s.wrong(key, &format!("cannot be read: {error}"))
}

/// What `hueflow-metrics` needs.
#[derive(Debug, Clone)]
pub struct MetricsConfig {
    /// The journal.
    pub journal: JournalConfig,
    /// The store.
    pub store: StoreConfig,
    /// The page's address.
    pub listen: SocketAddr,
    /// Who may see it; none: everybody, on loopback alone.
    pub gate: Option<Gate>,
}

/// Where the store is and what it keeps.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Where it is.
    pub url: StoreUrl,
    /// Days that each report is kept.
    pub keep_days: u32,
    /// Days that roll-ups by minute are kept.
    pub keep_minutes_days: u32,
    /// Bytes beyond which the oldest reports are deleted.
    pub bytes_max: u64,
    /// Censuses of each device.
    pub census_kept: u32,
}

impl StoreConfig {
    /// The store at `url`, with the settings' password, CA and limits.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn at(s: &Settings, url: &str) -> Result<StoreConfig, Failure> {
        let mut url: StoreUrl = url.parse().map_err(|must: String| Failure::Usage(format!("a store {must}")))?;
        log_in(s, &mut url)?;
        Ok(StoreConfig::limited(s, url))
    }

    fn limited(s: &Settings, url: StoreUrl) -> StoreConfig {
        let number = |name| u32::try_from(s.number(name)).unwrap_or(1);
        StoreConfig {
            url,
            keep_days: number("store.keep_days"),
            keep_minutes_days: number("store.keep_minutes_days"),
            bytes_max: s.number("store.bytes_max").unsigned_abs(),
            census_kept: number("store.census_kept"),
        }
    }

    /// A store in a SQLite file that keeps all it is given.
    pub fn of_file(file: impl Into<PathBuf>) -> StoreConfig {
        let url = StoreUrl::Sqlite(file.into());
        StoreConfig { url, keep_days: 36_500, keep_minutes_days: 36_500, bytes_max: u64::MAX, census_kept: 256 }
    }
}

impl MetricsConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Failure::Config`].
    pub fn check(s: &Settings) -> Result<MetricsConfig, Failure> {
        let listen = address(s.text("web.listen"))
            .ok_or_else(|| s.wrong("web.listen", "must be an address and a port, such as 127.0.0.1:8080, or a port"))?;
        let gate = match s.some("web.token_file") {
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|e| s.wrong("web.token_file", &format!("cannot be read: {e}")))?;
                Some(Gate::new(&text).map_err(|must| s.wrong("web.token_file", must))?)
            }
            None if listen.ip().is_loopback() => None,
            None => {
                let must = "shows others what cameras see: name a web.token_file, or listen on 127.0.0.1";
                return Err(s.wrong("web.listen", must));
            }
        };
        let store = StoreConfig::limited(s, store_url(s)?);
        Ok(MetricsConfig { journal: journal(s)?, store, listen, gate })
    }
}

/// The store: `store.url`, or the file of `store.file`.
fn store_url(s: &Settings) -> Result<StoreUrl, Failure> {
    let Some(text) = s.some("store.url") else {
        if s.text("store.file").is_empty() {
            return Err(s.wrong("store.file", "must name a file"));
        }
        return Ok(StoreUrl::Sqlite(PathBuf::from(s.text("store.file"))));
    };
    let mut url: StoreUrl = text.parse().map_err(|must: String| s.wrong("store.url", &must))?;
    log_in(s, &mut url)?;
    Ok(url)
}

/// Password and CA of a PostgreSQL store. A file has none.
fn log_in(s: &Settings, url: &mut StoreUrl) -> Result<(), Failure> {
    let (password_file, ca_file) = (s.some("store.password_file"), s.some("store.ca_file"));
    let StoreUrl::Postgres(database) = url else { return Ok(()) };
    if let Some(file) = password_file {
        let text = std::fs::read_to_string(file).map_err(|e| cannot_read(s, "store.password_file", &e))?;
        database.password = Some(Secret::new(text.trim_end().to_owned()));
    } else if !database.has_password() {
        database.password = std::env::var("PGPASSWORD").ok().map(Secret::new);
    }
    if let Some(file) = ca_file {
        std::fs::File::open(file).map_err(|e| cannot_read(s, "store.ca_file", &e))?;
    }
    database.ca_file = ca_file.map(PathBuf::from);
    Ok(())
}

/// The configuration file's place, and whether it must exist.
pub fn file<'a>(asked: Option<&'a Path>, default: &'a str) -> (&'a Path, bool) {
    asked.map_or((Path::new(default), false), |f| (f, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(keys: &'static [Key], flags: &[(&'static str, &str)]) -> Settings {
        let flags: Vec<_> = flags.iter().map(|(k, v)| (*k, Some((*v).to_owned()))).collect();
        Settings::gather(keys, Path::new("/nonexistent"), false, "NONE", std::iter::empty(), &flags).unwrap()
    }

    #[test]
    fn defaults_are_sound() {
        let c = BridgeConfig::check(&settings(BRIDGE_KEYS, &[])).unwrap();
        assert_eq!((c.site.as_str(), c.journal.partitions, c.format), ("home", 4, ValueFormat::Json));
        assert_eq!(c.listen, None, "nobody listens unless told");
        let c = BridgeConfig::check(&settings(BRIDGE_KEYS, &[("web.listen", "0")])).unwrap();
        assert!(c.listen.unwrap().ip().is_loopback(), "a port alone is loopback's");
        let c = MetricsConfig::check(&settings(METRICS_KEYS, &[])).unwrap();
        assert!(c.listen.ip().is_loopback());
    }

    #[test]
    fn tls_and_sasl_go_together_or_it_is_said_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "secret\n").unwrap();
        let file = file.to_str().unwrap();
        let check = |flags: &[(&'static str, &str)]| BridgeConfig::check(&settings(BRIDGE_KEYS, flags));
        for (flags, must) in [
            (&[("mqtt.ca_file", file)][..], "must be mqtts://"),
            (
                &[("mqtt.url", "mqtts://h"), ("mqtt.ca_file", "/nonexistent")],
                "mqtt.ca_file = /nonexistent cannot be read",
            ),
            (&[("mqtt.url", "mqtts://h"), ("mqtt.ca_file", file)], "holds no certificate"),
            (&[("mqtt.url", "mqtts://h"), ("mqtt.cert_file", file)], "mqtt.key_file"),
            (&[("journal.url", "kafka://h:1"), ("journal.ca_file", file)], "must be kafka+ssl://"),
            (&[("journal.url", "kafka+ssl://h:1"), ("journal.ca_file", "/nonexistent")], "cannot be read"),
            (&[("journal.url", "kafka+ssl://u@h:1")], "journal.password_file"),
            (&[("journal.url", "kafka+ssl://h:1"), ("journal.password_file", file)], "must have a user"),
            (
                &[("journal.url", "kafka://u@h:1"), ("journal.password_file", file), ("journal.sasl", "plain")],
                "would send the password as it is",
            ),
        ] {
            let failure = check(flags).unwrap_err();
            let text = failure.to_string();
            // A value that came by a flag is wrong usage; a file that cannot be read is wrong configuration.
            assert!(matches!(failure.code(), 2 | 78) && text.contains(must), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
        let sound = check(&[("journal.url", "kafka+ssl://u@h:1"), ("journal.password_file", file)]).unwrap();
        assert_eq!(sound.journal.access.password.as_ref().unwrap().reveal(), "secret");
        assert!(!format!("{sound:?}").contains("secret"));
    }

    #[test]
    fn wrong_values_name_key_value_and_what_they_must_be() {
        for (key, value, must) in [
            ("site", "a/b", "must be 1 to 64"),
            ("mqtt.url", "http://x", "must be mqtt://"),
            ("mqtt.url", "embedded:x", "0 to 65535"),
            ("journal.url", "kafka:x", "must be kafka://[USER@]"),
            ("journal.prefix", "a b", "at most 32"),
            ("journal.sasl", "kerberos", "scram-sha-512"),
            ("relay.value", "xml", "json or postcard"),
            ("web.listen", "nowhere", "must be a port, or an address"),
            ("mqtt.password_file", "/nonexistent", "cannot be read"),
        ] {
            let e = BridgeConfig::check(&settings(BRIDGE_KEYS, &[(key, value)])).unwrap_err();
            assert_eq!(e.code(), 2, "the value came by a flag");
            let e = e.to_string();
            assert!(e.contains(key) && e.contains(value) && e.contains(must), "{e}");
        }
        let e = MetricsConfig::check(&settings(METRICS_KEYS, &[("web.listen", "x")])).unwrap_err();
        assert!(e.to_string().contains("web.listen: `x` must be an address"));
        let e = MetricsConfig::check(&settings(METRICS_KEYS, &[("web.listen", "0.0.0.0:1")])).unwrap_err();
        assert!(e.to_string().contains("web.token_file"), "{e}");
        let e = BridgeConfig::check(&settings(BRIDGE_KEYS, &[("mqtt.url", "mqtt://u:secret@h:x")])).unwrap_err();
        assert!(e.to_string().contains("mqtt://u:***@h:x"), "{e}");
        let embedded = BridgeConfig::check(&settings(BRIDGE_KEYS, &[("mqtt.url", "embedded:5")]));
        assert_eq!(embedded.unwrap().broker, Broker::Embedded(5));
    }
}
