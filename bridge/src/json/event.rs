//! The event as JSON: a value of the topic `event`.
//!
//! [`EventJson`] is the object of `deploy/schema/event.schema.json`. The stream is a decimal string, since many JSON readers
//! stop at 2^53.

use crate::clock;
use firmware::custody::Envelope;
use firmware::wire::EventRecord;
use serde::{Deserialize, Serialize};

/// Version of the JSON that is written, whatever version the edge's payload had.
pub const EVENT_JSON_VERSION: u8 = 2;

/// A condition that a person named begins, ends or goes on with another pattern: a value of the topic `event`. Version 1 had
/// no pattern and no rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventJson {
    /// The device.
    pub device: String,
    /// The stream, in decimal.
    pub stream: String,
    /// Sequence number in the stream.
    pub seq: u64,
    /// RFC 3339, UTC.
    pub captured_at: String,
    /// The frame with which it begins, ends or turns.
    pub frame: u64,
    /// The event's name.
    pub event: String,
    /// `begin`, `end` or `turn`.
    pub change: String,
    /// The first measure of its condition in that frame; none if the frame had no such value.
    pub value: Option<f64>,
    /// `off`, `steady` or `blinking` from now on; none if the event does not distinguish blinking from steady.
    #[serde(default)]
    pub pattern: Option<String>,
    /// How often a second it blinks; none if it does not.
    #[serde(default)]
    pub rate_hz: Option<f64>,
}

impl EventJson {
    /// The event of `device` as JSON has it.
    pub fn new(device: &str, envelope: &Envelope, event: &EventRecord) -> EventJson {
        EventJson {
            device: device.to_owned(),
            stream: envelope.stream.to_string(),
            seq: envelope.seq,
            captured_at: clock::rfc3339(envelope.captured_at_us),
            frame: event.frame,
            event: event.name.as_str().to_owned(),
            change: event.change.word().to_owned(),
            value: event.value_micro.map(|micro| micro as f64 / 1e6),
            pattern: event.pattern.map(|pattern| pattern.word().to_owned()),
            rate_hz: event.pattern.and_then(|p| p.rate_millihz()).map(|millihz| f64::from(millihz) / 1e3),
        }
    }

    /// Whether the event is active from now on.
    pub fn is_on(&self) -> bool {
        self.change != "end"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_file_names_just_these_keys() {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("../../../deploy/schema/event.schema.json")).unwrap();
        let event = EventJson {
            device: "pi".to_owned(),
            stream: "8".to_owned(),
            seq: 3,
            captured_at: clock::rfc3339(0),
            frame: 7,
            event: "line-stopped".to_owned(),
            change: "begin".to_owned(),
            value: None,
            pattern: None,
            rate_hz: None,
        };
        let json = serde_json::to_value(event).unwrap();
        let keys = |of: &serde_json::Value| of.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&schema["properties"]), keys(&json));
        // Values of version 1 have no pattern and no rate.
        assert_eq!(schema["required"].as_array().unwrap().len(), keys(&json).len() - 2);
        assert_eq!(schema["$id"], format!("hueflow.event/{EVENT_JSON_VERSION}"));
    }
}
