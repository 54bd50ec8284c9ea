//! The broker's section of the configuration: address, user, certificates, and this edge's names there.
//!
//! A device without a name gets the host's. What contradicts itself (a certificate without its key, a CA without TLS) is
//! refused.

use super::layers::{ConfigError, show};
use super::{Origin, Raw};
use host::tls::Tls;
use std::path::PathBuf;
use toml::Value;

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
    /// The device's name in topics; with the site it is the client id.
    pub device: String,
}

impl Raw {
    pub(super) fn mqtt(&self) -> Result<Option<Mqtt>, ConfigError> {
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
            // A CA without TLS would verify nothing.
            return refuse("mqtt.url", "mqtts://[USER@]HOST[:PORT] where mqtt.ca_file or mqtt.cert_file is set");
        }
        if device_id.is_empty() {
            device_id = host_name();
            if !is_device(&device_id) || ["localhost", "bridge"].contains(&device_id.as_str()) {
                return Err(ConfigError::Value {
                    key: "mqtt.device",
                    value: show(&Value::String(device_id)),
                    origin: Origin::Default,
                    range: "set: this host has no usable host name".into(),
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
pub(super) fn parse_url(url: &str) -> Option<(bool, Option<String>, String, u16)> {
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
