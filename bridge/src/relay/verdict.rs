//! The verdict on a delivery: what it is, and the journal entry that it becomes.
//!
//! [`judge`] is pure. Inputs are an MQTT topic, a payload and the time; the result is an entry, and what the journal's
//! confirmation of it will mean. What cannot be kept as it is becomes a dead letter with the reason and its bytes.

use crate::clock::Rfc3339;
use crate::journal::{Entry, Headers, Topic};
use crate::json::{EVENT_JSON_VERSION, EventJson, JSON_VERSION, LossJson, WindowJson, write_report};
use firmware::custody::{Envelope, Kind, Window};
use firmware::limits::{PAYLOAD_BYTES_MAX, SEQ_MAX};
use firmware::wire::census;
use firmware::wire::{self, EventRecord, Loss, OriginalHead, Payload, PictureHead, Report, WireError};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Bytes of a dead letter that are kept.
pub const DEAD_BYTES_MAX: usize = 64 * 1024;
/// Longest device name.
pub const DEVICE_BYTES_MAX: usize = 64;

/// A capture time is an entry's time only within these bounds of now: journals delete by an entry's time, so an old
/// backlog would be gone before it is read, and Kafka refuses times far ahead. `captured-at` has the true one.
const BEHIND_US_MAX: u64 = 12 * 3_600_000_000;
const AHEAD_US_MAX: u64 = 60_000_000;

/// How the values of `metrics` are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueFormat {
    /// JSON, for everybody.
    Json,
    /// The payload as it came.
    Postcard,
}

/// What the journal's confirmation of an entry will mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// That record of the device is settled.
    Record {
        /// The stream.
        stream: u64,
        /// The sequence number.
        seq: u64,
    },
    /// That window is journalled.
    Window(Box<Window>),
    /// Nothing more than the MQTT ack.
    Nothing,
}

/// What to do with a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Journal it, then acknowledge.
    Keep {
        /// The entry; its key is the device.
        entry: Entry,
        /// What its delivery means.
        effect: Effect,
    },
    /// A picture without custody: into the device's slot.
    Picture {
        /// The entry; its key is the device.
        entry: Entry,
    },
    /// Nothing to keep (our own status, an emptied retained message): acknowledge.
    Ignore,
}

/// Judges a delivery on `topic`.
pub fn judge(topic: &str, payload: &[u8], now_us: u64, format: ValueFormat) -> Verdict {
    let delivery = Delivery::new(topic, payload, now_us, format);
    let Delivery { device, kind, .. } = delivery;
    if device == "bridge" || payload.is_empty() {
        return Verdict::Ignore;
    }
    let judged = if is_device(device) {
        match kind {
            "window" => delivery.window(),
            "status" => delivery.status(),
            _ => delivery.record(),
        }
    } else {
        Err(Dead { reason: "device".to_owned(), envelope: None })
    };
    judged.unwrap_or_else(|dead| {
        let (entry, effect) = delivery.dead(dead);
        Verdict::Keep { entry, effect }
    })
}

/// The dead letter of a record that the journal refuses in its topic, with the bytes that came.
pub fn refused(topic: &str, payload: &[u8], now_us: u64) -> Entry {
    let envelope = Envelope::open(payload).ok().map(|(envelope, _)| envelope);
    let delivery = Delivery::new(topic, payload, now_us, ValueFormat::Json);
    delivery.dead(Dead { reason: "refused".to_owned(), envelope }).0
}

/// Whether a word may name a device: letters, digits, `.`, `-`, `_`.
pub fn is_device(word: &str) -> bool {
    (1..=DEVICE_BYTES_MAX).contains(&word.len())
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        && !word.starts_with('.')
}

/// Why a delivery is a dead letter; with its envelope, if that is to be trusted.
struct Dead {
    reason: String,
    envelope: Option<Envelope>,
}

struct Delivery<'a> {
    device: &'a str,
    kind: &'a str,
    payload: &'a [u8],
    now_us: u64,
    format: ValueFormat,
}

impl<'a> Delivery<'a> {
    fn new(topic: &'a str, payload: &'a [u8], now_us: u64, format: ValueFormat) -> Delivery<'a> {
        let mut words = topic.split('/').skip(2);
        let (device, kind) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        Delivery { device, kind, payload, now_us, format }
    }

    /// The journal's topic of a delivery that cannot be read.
    fn topic(&self) -> Topic {
        match self.kind {
            "metrics" => Topic::Metrics,
            "census" => Topic::Census,
            "video" => Topic::Video,
            "event" => Topic::Event,
            _ => Topic::Status,
        }
    }

    fn record(&self) -> Result<Verdict, Dead> {
        // A wrong checksum may mean a wrong seq: only a whole envelope counts as handed over.
        let (envelope, payload) =
            Envelope::open(self.payload).map_err(|e| Dead { reason: e.word().to_owned(), envelope: None })?;
        let dead = |reason: &str| Dead { reason: reason.to_owned(), envelope: Some(envelope) };
        if envelope.seq > SEQ_MAX {
            return Err(Dead { reason: "seq".to_owned(), envelope: None });
        }
        let kind = envelope.kind().ok_or_else(|| dead("kind"))?;
        if kind.mqtt_kind() != self.kind {
            return Err(dead("kind-topic"));
        }
        let picture = matches!(kind, Kind::Picture | Kind::Original);
        let loose = envelope.stream == 0;
        if loose && !picture || !loose && kind == Kind::Original {
            return Err(dead("stream"));
        }
        if !loose && payload.len() > PAYLOAD_BYTES_MAX {
            return Err(dead("too-long"));
        }
        let written = self.write(kind, &envelope, payload).map_err(|e| dead(wire_word(e)))?;
        let entry = self.entry(kind, &envelope, written);
        if loose {
            return Ok(Verdict::Picture { entry });
        }
        let effect = Effect::Record { stream: envelope.stream, seq: envelope.seq };
        Ok(Verdict::Keep { entry, effect })
    }

    /// The value of a record, its content type, and its part of so many.
    fn write(&self, kind: Kind, envelope: &Envelope, payload: &[u8]) -> Result<Written, WireError> {
        let version = envelope.payload_version;
        let json = |value: Option<Vec<u8>>, version| {
            let value = value.ok_or(WireError::Full)?;
            Ok(Written { value, version, content_type: "application/json", parts: None })
        };
        let binary = |content_type, parts| Ok(Written { value: payload.to_vec(), version, content_type, parts });
        match kind {
            Kind::Report if self.format == ValueFormat::Json => {
                let report = wire::decode::<Report>(version, payload)?;
                let mut value = Vec::new();
                write_report(&mut value, self.device, envelope, &report);
                // Whatever the edge's version is: all reports of a topic have one shape.
                json(Some(value), JSON_VERSION)
            }
            Kind::Report => binary("application/x-postcard", None),
            Kind::Loss => {
                let loss = LossJson::new(&wire::decode::<Loss>(version, payload)?);
                json(serde_json::to_vec(&loss).ok(), version)
            }
            Kind::Event => {
                let event = EventJson::new(self.device, envelope, &wire::decode::<EventRecord>(version, payload)?);
                json(serde_json::to_vec(&event).ok(), EVENT_JSON_VERSION)
            }
            // A version that this build cannot read is passed on as it is; its readers may be newer.
            Kind::Census => {
                let parts = readable(census::read_part(version, payload).map(|(h, _)| (h.part, h.parts)))?;
                binary("application/x-hueflow-census", parts)
            }
            Kind::Picture => {
                let head = wire::decode_head::<PictureHead>(version, payload);
                binary("application/x-hueflow-picture", readable(head.map(|(h, _)| (h.part, h.parts)))?)
            }
            Kind::Original => {
                readable(wire::decode_head::<OriginalHead>(version, payload).map(|_| ()))?;
                binary("application/x-hueflow-original", None)
            }
        }
    }

    fn entry(&self, kind: Kind, envelope: &Envelope, written: Written) -> Entry {
        let topic = match kind {
            Kind::Report => Topic::Metrics,
            Kind::Census => Topic::Census,
            Kind::Picture | Kind::Original => Topic::Video,
            Kind::Loss => Topic::Status,
            Kind::Event => Topic::Event,
        };
        let schema = match kind {
            Kind::Report => "metrics",
            Kind::Census => "census",
            Kind::Picture => "video",
            Kind::Original => "original",
            Kind::Loss => "loss",
            Kind::Event => "event",
        };
        let mut headers = self.headers(schema, written.version, written.content_type);
        say_envelope(&mut headers, envelope);
        if let Some((part, parts)) = written.parts {
            headers.push("part", part);
            headers.push("parts", parts);
        }
        let sane = self.now_us.saturating_sub(BEHIND_US_MAX)..=self.now_us.saturating_add(AHEAD_US_MAX);
        let trusted = envelope.clock_synced && sane.contains(&envelope.captured_at_us);
        let time_us = if trusted { envelope.captured_at_us } else { self.now_us };
        self.plain(topic, headers, time_us, written.value, envelope.stream == 0)
    }

    fn window(&self) -> Result<Verdict, Dead> {
        let malformed = |e: WireError| Dead { reason: format!("window-{}", wire_word(e)), envelope: None };
        let window = wire::decode_window(self.payload).map_err(malformed)?;
        if window.streams.iter().any(|s| s.next > SEQ_MAX) {
            return Err(malformed(WireError::Inconsistent));
        }
        let value = serde_json::to_vec(&WindowJson::new(&window)).map_err(|_| malformed(WireError::Full))?;
        let headers = self.headers("window", 1, "application/json");
        let entry = self.plain(Topic::Status, headers, self.now_us, value, false);
        Ok(Verdict::Keep { entry, effect: Effect::Window(Box::new(window)) })
    }

    fn status(&self) -> Result<Verdict, Dead> {
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(self.payload)
            .map_err(|_| Dead { reason: "status-json".to_owned(), envelope: None })?;
        let headers = self.headers("status", 1, "application/json");
        let entry = self.plain(Topic::Status, headers, self.now_us, self.payload.to_vec(), false);
        Ok(Verdict::Keep { entry, effect: Effect::Nothing })
    }

    fn dead(&self, dead: Dead) -> (Entry, Effect) {
        // A name that may be anything is no key.
        let device = if is_device(self.device) { self.device } else { "unknown" };
        let kind: String = self.kind.chars().take(DEVICE_BYTES_MAX).collect();
        let mut headers = Headers::new();
        headers.push("reason", dead.reason);
        headers.push("device", device);
        headers.push("mqtt-kind", kind);
        headers.push("bytes", self.payload.len());
        headers.push("sha256", sha256(self.payload));
        let mut effect = Effect::Nothing;
        if let Some(envelope) = dead.envelope {
            say_envelope(&mut headers, &envelope);
            if envelope.stream != 0 {
                effect = Effect::Record { stream: envelope.stream, seq: envelope.seq };
            }
        }
        let kept = self.payload.get(..DEAD_BYTES_MAX).unwrap_or(self.payload).to_vec();
        let mut entry = self.plain(self.topic(), headers, self.now_us, kept, false);
        entry.dead = true;
        entry.key = device.to_owned();
        (entry, effect)
    }

    fn headers(&self, schema: &str, version: u8, content_type: &str) -> Headers {
        let mut headers = Headers::new();
        headers.push("schema", format_args!("hueflow.{schema}/{version}"));
        headers.push("content-type", content_type);
        headers.push("device", self.device);
        headers
    }

    fn plain(&self, topic: Topic, headers: Headers, time_us: u64, value: Vec<u8>, loose: bool) -> Entry {
        let time_ms = i64::try_from(time_us / 1000).unwrap_or(i64::MAX);
        Entry { topic, dead: false, loose, key: self.device.to_owned(), headers, time_ms, value }
    }
}

struct Written {
    value: Vec<u8>,
    /// Version of the value's format, for the schema header.
    version: u8,
    content_type: &'static str,
    parts: Option<(u16, u16)>,
}

fn say_envelope(headers: &mut Headers, envelope: &Envelope) {
    headers.push("stream", envelope.stream);
    headers.push("seq", envelope.seq);
    headers.push("captured-at", Rfc3339(envelope.captured_at_us));
}

/// SHA-256 in hexadecimal, as dead letters carry it.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

fn readable<T>(head: Result<T, WireError>) -> Result<Option<T>, WireError> {
    match head {
        Ok(head) => Ok(Some(head)),
        Err(WireError::Version(_)) => Ok(None),
        Err(e) => Err(e),
    }
}

fn wire_word(e: WireError) -> &'static str {
    match e {
        WireError::Full => "full",
        WireError::Malformed => "payload",
        WireError::Version(_) => "payload-version",
        WireError::Inconsistent => "inconsistent",
        WireError::TooTall => "too-tall",
    }
}

/// Puts a payload behind its envelope: the bytes of a record, as an edge makes them.
pub fn seal<P: Payload>(envelope: &Envelope, payload: &P, rest: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut buf = vec![0; PAYLOAD_BYTES_MAX];
    let n = wire::encode(payload, &mut buf)?;
    buf.truncate(n);
    buf.extend_from_slice(rest);
    let mut record = envelope.seal(&buf).to_vec();
    record.append(&mut buf);
    Ok(record)
}

#[cfg(test)]
mod tests;
