//! What `hueflow-bridge` needs: its site, its broker, its journal, and where it answers.
//!
//! Settings come in as text; the results need no further checks. A password file is read if one is named.

use super::journal::{cannot_read, journal, own_certificate};
use crate::failure::Failure;
use crate::journal::JournalConfig;
use crate::relay::verdict::{ValueFormat, is_device};
use crate::settings::{Settings, Url};
use host::tls::Tls;
use std::net::SocketAddr;
use std::path::PathBuf;

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
pub(super) fn address(text: &str) -> Option<SocketAddr> {
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
    remote_broker(s).map(Broker::Remote)
}

/// A broker elsewhere, with password and certificates.
pub(super) fn remote_broker(s: &Settings) -> Result<Url, Failure> {
    let mut url: Url = s.text("mqtt.url").parse().map_err(|e: String| s.wrong("mqtt.url", &e))?;
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
    Ok(url)
}
