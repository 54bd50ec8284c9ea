//! What `hueflow-metrics` needs: its journal, its store, its page, and a broker for commands.
//!
//! Settings come in as text; the results need no further checks. Password and token files are read if they are named.

use super::bridge::{address, remote_broker};
use super::journal::{cannot_read, journal};
use crate::failure::Failure;
use crate::journal::{JournalConfig, Secret};
use crate::metrics::http::gate::Gate;
use crate::metrics::store::url::StoreUrl;
use crate::relay::verdict::is_device;
use crate::settings::{Settings, Url};
use std::net::SocketAddr;
use std::path::PathBuf;

/// How commands reach devices.
#[derive(Debug, Clone)]
pub struct CommandConfig {
    /// The broker.
    pub url: Url,
    /// The site.
    pub site: String,
}

fn command_config(s: &Settings) -> Result<Option<CommandConfig>, Failure> {
    let site = s.text("site").to_owned();
    if !is_device(&site) {
        return Err(s.wrong("site", "must be 1 to 64 letters, digits, `.`, `-` or `_`"));
    }
    if s.some("mqtt.url").is_none() {
        return Ok(None);
    }
    Ok(Some(CommandConfig { url: remote_broker(s)?, site }))
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
    /// Names that the page is reached by, beside this machine's own and IP addresses.
    pub hosts: Vec<String>,
    /// Colours up to which a silhouette on the page is exact.
    pub colours_max: usize,
    /// The broker for commands, if there is one.
    pub mqtt: Option<CommandConfig>,
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
        let hosts =
            s.text("web.hosts").split(',').map(|h| h.trim().to_ascii_lowercase()).filter(|h| !h.is_empty()).collect();
        let colours_max = usize::try_from(s.number("silhouette.colours_max")).unwrap_or(usize::MAX);
        Ok(MetricsConfig { journal: journal(s)?, store, listen, gate, hosts, colours_max, mqtt: command_config(s)? })
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
