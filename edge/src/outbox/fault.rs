//! What is wrong with this edge's connection to the broker: the shared texts, with the names of this device.
//!
//! Inputs are an error and the configuration. Nothing is changed.

use crate::config::Mqtt;
use host::broker::{Peer, fault};
use rumqttc::ConnectionError;

/// The text of a connection error, with what to do if only a person can mend it. `connected`: it was well until now.
pub(super) fn text(error: &ConnectionError, mqtt: &Mqtt, connected: bool) -> String {
    let client_id = client_id(mqtt);
    let peer = Peer {
        host: &mqtt.host,
        has_tls: mqtt.tls.is_some(),
        client_id: &client_id,
        id_setting: "mqtt.device here (--device NAME)",
    };
    fault(error, &peer, connected)
}

/// The client id: the site is part of it, so that two sites may share a broker. The colon is in neither name, and brokers
/// that refuse a slash in client ids (rumqttd does) take it.
pub(super) fn client_id(mqtt: &Mqtt) -> String {
    format!("{}:{}", mqtt.site, mqtt.device)
}
