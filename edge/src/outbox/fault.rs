//! What is wrong with a connection to the broker, and what a person can do about it.
//!
//! The functions read errors of `rumqttc` and of TLS; they change nothing.

use crate::config::Mqtt;
use crate::tls;
use rumqttc::mqttbytes::Error as PacketError;
use rumqttc::{ConnectReturnCode, ConnectionError, StateError};

/// The text of a connection error, with what to do if only a person can mend it. `connected`: it was well until now.
pub(super) fn text(error: &ConnectionError, mqtt: &Mqtt, connected: bool) -> String {
    match refusal(error) {
        Some(ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized) => {
            return "refused: check the user in mqtt.url, mqtt.password_file, and the broker's password file"
                .to_owned();
        }
        Some(ConnectReturnCode::RefusedProtocolVersion) => {
            return "refused: this broker does not take MQTT 3.1.1 (perhaps MQTT 5 only): allow 3.1.1 there".to_owned();
        }
        Some(ConnectReturnCode::BadClientId) => {
            let id = client_id(mqtt);
            return format!(
                "refused: the broker does not take the client id {id}: allow it there, or change mqtt.device"
            );
        }
        Some(ConnectReturnCode::ServiceUnavailable) => {
            return "refused: the broker says that its service is not available; its log says why".to_owned();
        }
        _ => {}
    }
    if let Some(fault) = tls::fault(error, &mqtt.host) {
        return fault;
    }
    match (hung_up(error) && !connected, &mqtt.tls) {
        (true, None) => "it hung up without an answer: does it want TLS there (mqtts://), or MQTT 5 only?".to_owned(),
        (true, Some(_)) => "it hung up without an answer: is that its TLS port, 8883 as a rule?".to_owned(),
        (false, _) if hung_up(error) => format!(
            "the broker closed it: if that goes on, another device may be called {} there; give this one --device NAME",
            mqtt.device
        ),
        (false, _) => error.to_string(),
    }
}

/// The client id: the site is part of it, so that two sites may share a broker. The colon is in neither name, and brokers
/// that refuse a slash in client ids (rumqttd does) take it.
pub(super) fn client_id(mqtt: &Mqtt) -> String {
    format!("{}:{}", mqtt.site, mqtt.device)
}

/// The broker's answer to CONNECT, if it refused. rumqttc does not know the codes of MQTT 5, which brokers of that version
/// alone answer with: 0x84 is "unsupported protocol version".
pub(super) fn refusal(error: &ConnectionError) -> Option<ConnectReturnCode> {
    match error {
        ConnectionError::ConnectionRefused(code) => Some(*code),
        _ => match packet_error(error) {
            Some(PacketError::InvalidConnectReturnCode(0x84)) => Some(ConnectReturnCode::RefusedProtocolVersion),
            _ => None,
        },
    }
}

/// The size of the message that was larger than we read, if that is the error.
pub(super) fn oversized_bytes(error: &ConnectionError) -> Option<usize> {
    match packet_error(error) {
        Some(PacketError::PayloadSizeLimitExceeded(bytes)) => Some(*bytes),
        _ => None,
    }
}

fn packet_error(error: &ConnectionError) -> Option<&PacketError> {
    match error {
        ConnectionError::MqttState(StateError::Deserialization(error)) => Some(error),
        _ => None,
    }
}

/// Whether the other side has ended the connection.
fn hung_up(error: &ConnectionError) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(StateError::ConnectionAborted) = error.downcast_ref() {
            return true;
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            return matches!(io.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof);
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_must_mend_is_said_with_what_to_do() {
        let mut mqtt = Mqtt { host: "h".into(), site: "s".into(), device: "d".into(), ..Mqtt::default() };
        let refused = |code| text(&ConnectionError::ConnectionRefused(code), &mqtt, false);
        let said = refused(ConnectReturnCode::NotAuthorized);
        assert!(said.starts_with("refused") && said.contains("mqtt.password_file"), "{said}");
        assert!(refused(ConnectReturnCode::RefusedProtocolVersion).contains("MQTT 3.1.1"));
        assert!(refused(ConnectReturnCode::BadClientId).contains("client id s:d"));
        let code_5 =
            ConnectionError::MqttState(StateError::Deserialization(PacketError::InvalidConnectReturnCode(0x84)));
        assert!(text(&code_5, &mqtt, false).contains("MQTT 5 only"));
        let hung_up = ConnectionError::MqttState(StateError::ConnectionAborted);
        assert!(text(&hung_up, &mqtt, false).contains("mqtts://"));
        let later = text(&hung_up, &mqtt, true);
        assert!(!later.contains("mqtts://") && later.contains("called d there"), "it was well before: {later}");
        mqtt.tls = Some(tls::Tls::default());
        assert!(text(&hung_up, &mqtt, false).contains("8883"));
    }
}
