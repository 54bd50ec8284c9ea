//! What is wrong with a connection to an MQTT broker, in a sentence with what a person can do about it.
//!
//! The functions read errors of `rumqttc` and of TLS. They change nothing and open no connection.

use crate::tls;
use rumqttc::mqttbytes::Error as PacketError;
use rumqttc::{ConnectReturnCode, ConnectionError, StateError};

/// What of a connection the texts name.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// The broker's name or address, as in the URL.
    pub host: &'a str,
    /// The connection is made over TLS.
    pub has_tls: bool,
    /// The client id.
    pub client_id: &'a str,
    /// The setting that changes the client id, and how another client of that id comes to be.
    pub id_setting: &'a str,
}

/// The text of a connection error, with what to do if only a person can mend it. `connected`: it was well until now.
pub fn fault(error: &ConnectionError, peer: &Peer<'_>, connected: bool) -> String {
    let Peer { host, has_tls, client_id, id_setting } = peer;
    match refusal(error) {
        Some(ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized) => {
            return "the broker refuses user and password: check the user in mqtt.url, mqtt.password_file, and the \
                    broker's password file"
                .to_owned();
        }
        Some(ConnectReturnCode::RefusedProtocolVersion) => {
            return "the broker refuses MQTT 3.1.1 (perhaps it speaks MQTT 5 only): allow 3.1.1 there".to_owned();
        }
        Some(ConnectReturnCode::BadClientId) => {
            return format!("the broker refuses the client id {client_id}: allow it there, or change {id_setting}");
        }
        Some(ConnectReturnCode::ServiceUnavailable) => {
            return "the broker reports that its service is not available; its log has the reason".to_owned();
        }
        _ => {}
    }
    if let Some(fault) = tls::fault(error, host) {
        return fault;
    }
    match (has_hung_up(error), connected, has_tls) {
        (true, false, false) => {
            "it hung up without an answer: does it want TLS there (mqtts://), or MQTT 5 only?".to_owned()
        }
        (true, false, true) => "it hung up without an answer: is that its TLS port, 8883 as a rule?".to_owned(),
        (true, true, _) => format!(
            "the broker closed it: if that goes on, another client may be called {client_id} there; change {id_setting}"
        ),
        (false, ..) => error.to_string(),
    }
}

/// The broker's answer to CONNECT, if it refused. rumqttc does not know the codes of MQTT 5, which brokers of that version
/// alone answer with: 0x84 is "unsupported protocol version".
pub fn refusal(error: &ConnectionError) -> Option<ConnectReturnCode> {
    match error {
        ConnectionError::ConnectionRefused(code) => Some(*code),
        _ => match packet_error(error) {
            Some(PacketError::InvalidConnectReturnCode(0x84)) => Some(ConnectReturnCode::RefusedProtocolVersion),
            _ => None,
        },
    }
}

/// The size of the message that was larger than the client reads, if that is the error.
pub fn oversized_bytes(error: &ConnectionError) -> Option<usize> {
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
pub fn has_hung_up(error: &ConnectionError) -> bool {
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
        let peer = Peer { host: "h", has_tls: false, client_id: "s:d", id_setting: "--device" };
        let refused = |code| fault(&ConnectionError::ConnectionRefused(code), &peer, false);
        let text = refused(ConnectReturnCode::NotAuthorized);
        assert!(text.contains("refuses user and password") && text.contains("mqtt.password_file"), "{text}");
        assert!(refused(ConnectReturnCode::RefusedProtocolVersion).contains("MQTT 3.1.1"));
        assert!(refused(ConnectReturnCode::BadClientId).contains("client id s:d"));
        let code_5 =
            ConnectionError::MqttState(StateError::Deserialization(PacketError::InvalidConnectReturnCode(0x84)));
        assert!(fault(&code_5, &peer, false).contains("MQTT 5 only"));
        let hung_up = ConnectionError::MqttState(StateError::ConnectionAborted);
        assert!(fault(&hung_up, &peer, false).contains("mqtts://"));
        let later = fault(&hung_up, &peer, true);
        assert!(!later.contains("mqtts://") && later.contains("called s:d there"), "it was well before: {later}");
        assert!(fault(&hung_up, &Peer { has_tls: true, ..peer }, false).contains("8883"));
    }
}
