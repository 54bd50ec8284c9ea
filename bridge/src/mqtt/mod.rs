//! The connection to the MQTT broker, as far as both programs share it.
//!
//! [`options`] follows the URL of the configuration. [`commander`] sends commands to devices. This folder and `relay/mqtt/` are the one door to `rumqttc`.

pub mod commander;

use crate::settings::Url;
use rumqttc::{MqttOptions, TlsConfiguration, Transport};

/// How a client called `id` connects: with the user, password and TLS of the URL.
///
/// # Errors
/// A sentence, if a certificate cannot be read.
pub fn options(url: &Url, id: String) -> Result<MqttOptions, String> {
    let mut options = MqttOptions::new(id, &url.host, url.port);
    if let Some((user, password)) = &url.login {
        options.set_credentials(user, password);
    }
    if let Some(tls) = &url.tls {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls.client()?)));
    }
    Ok(options)
}

/// The topic in which the bridge of a site publishes its status.
pub fn status_topic(site: &str) -> String {
    format!("hueflow/{site}/bridge/status")
}
