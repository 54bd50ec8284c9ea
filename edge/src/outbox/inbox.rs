//! Messages from the broker on the topics that the edge subscribes to.
//!
//! A message becomes an [`Event`]: an ack, the bridge's status, a command, or nonsense, which is reported as such.

use super::{Event, Topics};
use firmware::wire;
use serde::Deserialize;

#[derive(Deserialize)]
struct BridgeStatus {
    state: String,
    #[serde(default)]
    journal: bool,
}

pub(super) fn read(topics: &Topics, topic: &str, payload: &[u8]) -> Event {
    if topic == topics.ack {
        return match wire::decode_ack(payload) {
            Ok(ack) => Event::Ack(Box::new(ack)),
            // An empty one only means that the retained ack was cleared.
            Err(_) if payload.is_empty() => Event::Progress,
            Err(e) => Event::Nonsense(format!("an ack that cannot be read: {e}")),
        };
    }
    if topic == topics.bridge {
        if payload.is_empty() {
            return Event::Progress;
        }
        return match serde_json::from_slice::<BridgeStatus>(payload) {
            Ok(s) => Event::Bridge { reachable: s.state == "online" && s.journal },
            Err(e) => Event::Nonsense(format!("a bridge status that cannot be read: {e}")),
        };
    }
    if topic == topics.cmd {
        return Event::Command(payload.to_vec());
    }
    Event::Nonsense(format!("a message on {topic}, which nobody asked for"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_is_told_apart_and_nonsense_is_said_to_be_so() {
        let t = Topics { base: "b".into(), ack: "a".into(), cmd: "c".into(), bridge: "s".into() };
        assert!(matches!(read(&t, "s", br#"{"state":"online","journal":true}"#), Event::Bridge { reachable: true }));
        assert!(matches!(read(&t, "s", br#"{"state":"online","journal":false}"#), Event::Bridge { reachable: false }));
        assert!(matches!(read(&t, "s", br#"{"state":"offline"}"#), Event::Bridge { reachable: false }));
        assert!(matches!(read(&t, "c", b"x"), Event::Command(_)));
        for (topic, bytes) in [("s", &b"x"[..]), ("a", b"\xff\xff"), ("a", b"\x01"), ("zzz", b"")] {
            assert!(matches!(read(&t, topic, bytes), Event::Nonsense(_)), "{topic} {bytes:?}");
        }
    }
}
