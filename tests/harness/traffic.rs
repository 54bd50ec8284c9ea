//! What the edges have sent, and for which records they received an ack, read from their MQTT connections.
//!
//! A proxy feeds it the bytes that it passes on. The results are counts of records in flight and of records sent again.
//! What a program reports of itself is not used: a record counts when its packet has passed whole.

use crate::proxy::Watch;
use firmware::custody::Envelope;
use firmware::wire;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

const PUBLISH: u8 = 3;

/// Cuts a stream of bytes into MQTT packets.
#[derive(Debug, Default)]
struct Packets {
    bytes: Vec<u8>,
}

impl Packets {
    /// Takes bytes, and gives topic and payload of each PUBLISH that is whole with them.
    fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&str, &[u8])) {
        self.bytes.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((first, body, end)) = packet(&self.bytes, at) {
            if first >> 4 == PUBLISH
                && let Some((topic, payload)) = publish(first, body)
            {
                each(topic, payload);
            }
            at = end;
        }
        self.bytes.drain(..at);
    }
}

/// The packet at `at`: its first byte, its body, and where the next begins.
fn packet(bytes: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    let first = *bytes.get(at)?;
    let (mut length, mut i) = (0, at + 1);
    for shift in [0, 7, 14, 21] {
        let byte = *bytes.get(i)?;
        length |= usize::from(byte & 0x7F) << shift;
        i += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some((first, bytes.get(i..i + length)?, i + length))
}

fn publish(first: u8, body: &[u8]) -> Option<(&str, &[u8])> {
    let length = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
    let topic = std::str::from_utf8(body.get(2..2 + length)?).ok()?;
    let id = if first & 0b110 == 0 { 0 } else { 2 };
    Some((topic, body.get(2 + length + id..)?))
}

/// One stream of a device.
#[derive(Debug, Default)]
struct Stream {
    /// With the time of capture.
    flying: BTreeMap<u64, u64>,
    acked: BTreeSet<u64>,
    /// Sent, and then given up by the edge before it was acknowledged.
    given_up: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct Seen {
    pipes: HashMap<(u64, bool), Packets>,
    devices: BTreeMap<String, BTreeMap<u64, Stream>>,
    acked: u64,
    again: u64,
    lags: Vec<(u64, u64)>,
}

/// What has passed on the wire between the edges and their broker.
#[derive(Debug, Default)]
pub struct Traffic(Mutex<Seen>);

impl Traffic {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records sent and not acknowledged by the journal, of all devices.
    pub fn in_flight(&self) -> u64 {
        self.seen().devices.values().flat_map(BTreeMap::values).map(|s| s.flying.len() as u64).sum()
    }

    /// Records for which the edges received an ack.
    pub fn acked(&self) -> u64 {
        self.seen().acked
    }

    /// Transmissions of records that had been sent before.
    pub fn again(&self) -> u64 {
        self.seen().again
    }

    /// Whether the device received an ack for the record.
    pub fn is_acked(&self, device: &str, stream: u64, seq: u64) -> bool {
        self.seen().devices.get(device).and_then(|d| d.get(&stream)).is_some_and(|s| s.acked.contains(&seq))
    }

    /// When each record was acknowledged and when it was captured, in microseconds since the Unix epoch.
    pub fn acked_at(&self) -> Vec<(u64, u64)> {
        self.seen().lags.clone()
    }

    /// Every record that was ever sent: device, stream, seq.
    pub fn sent(&self) -> Vec<(String, u64, u64)> {
        let seen = self.seen();
        let streams = seen.devices.iter().flat_map(|(device, streams)| streams.iter().map(move |s| (device, s)));
        let each = |s: &Stream| s.flying.keys().chain(&s.acked).chain(&s.given_up).copied().collect::<Vec<_>>();
        streams.flat_map(|(d, (id, s))| each(s).into_iter().map(|seq| (d.clone(), *id, seq))).collect()
    }
}

impl Seen {
    fn record(&mut self, device: &str, payload: &[u8]) {
        let Ok((envelope, _)) = Envelope::peek(payload) else { return };
        if envelope.stream == 0 {
            return;
        }
        let stream = self.devices.entry(device.to_owned()).or_default().entry(envelope.stream).or_default();
        let (seq, is_done) = (envelope.seq, stream.acked.contains(&envelope.seq));
        if is_done || stream.given_up.contains(&seq) || stream.flying.contains_key(&seq) {
            self.again += 1;
        } else {
            stream.flying.insert(seq, envelope.captured_at_us);
        }
    }

    /// What lies below a window's floor is not held any more.
    fn window(&mut self, device: &str, payload: &[u8]) {
        let (Ok(window), Some(streams)) = (wire::decode_window(payload), self.devices.get_mut(device)) else { return };
        for of in &window.streams {
            let Some(stream) = streams.get_mut(&of.stream) else { continue };
            let held = stream.flying.split_off(&of.floor);
            stream.given_up.extend(std::mem::replace(&mut stream.flying, held).into_keys());
        }
    }

    fn ack(&mut self, device: &str, payload: &[u8]) {
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64);
        let (Ok(ack), Some(streams)) = (wire::decode_ack(payload), self.devices.get_mut(device)) else { return };
        for of in &ack.streams {
            let Some(stream) = streams.get_mut(&of.stream) else { continue };
            for &(from, to) in &of.ranges {
                let named: Vec<(u64, u64)> = stream.flying.range(from..to.max(from)).map(|(s, c)| (*s, *c)).collect();
                self.acked += named.len() as u64;
                for (seq, captured_us) in named {
                    stream.flying.remove(&seq);
                    stream.acked.insert(seq);
                    self.lags.push((now_us, captured_us));
                }
            }
        }
    }
}

impl Watch for Traffic {
    fn passed(&self, connection: u64, up: bool, bytes: &[u8]) {
        let mut seen = self.seen();
        let mut pipe = seen.pipes.remove(&(connection, up)).unwrap_or_default();
        pipe.feed(bytes, |topic, payload| {
            let mut words = topic.split('/').skip(2);
            match (words.next(), words.next(), up) {
                (Some(device), Some("metrics" | "census" | "video"), true) => seen.record(device, payload),
                (Some(device), Some("window"), true) => seen.window(device, payload),
                (Some(device), Some("ack"), false) => seen.ack(device, payload),
                _ => {}
            }
        });
        seen.pipes.insert((connection, up), pipe);
    }

    fn closed(&self, connection: u64) {
        self.seen().pipes.retain(|(c, _), _| *c != connection);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use firmware::custody::{Ack, JournalId, StreamAck, StreamWindow, Window, WindowId};

    fn packet_of(topic: &str, payload: &[u8]) -> Vec<u8> {
        let body = [&(topic.len() as u16).to_be_bytes()[..], topic.as_bytes(), &[0, 7], payload].concat();
        let (mut length, mut head) = (body.len(), vec![0x32]);
        loop {
            let more = if length > 127 { 0x80 } else { 0 };
            head.push((length & 127) as u8 | more);
            length >>= 7;
            if length == 0 {
                break;
            }
        }
        [head, body].concat()
    }

    fn record(seq: u64) -> Vec<u8> {
        let payload = [0; 300];
        let e = Envelope { kind: 1, payload_version: 2, clock_synced: true, stream: 8, seq, captured_at_us: 1 };
        packet_of("hueflow/test/pi-1/metrics", &[&e.seal(&payload)[..], &payload].concat())
    }

    #[test]
    fn records_are_counted_when_they_are_whole_and_until_an_ack_names_them() {
        let traffic = Traffic::default();
        let ping = [0xC0, 0];
        let bytes = [&ping[..], &record(0), &record(1), &record(2), &record(1)].concat();
        for byte in &bytes {
            traffic.passed(1, true, &[*byte]);
        }
        traffic.passed(2, true, &record(3)[..200]);
        traffic.closed(2);
        assert_eq!((traffic.in_flight(), traffic.acked(), traffic.again()), (3, 0, 1));
        let mut ack = Ack { journal: JournalId::new(), window: None, streams: Default::default() };
        let mut of = StreamAck { stream: 8, ranges: Default::default() };
        of.ranges.push((1, 9)).unwrap();
        ack.streams.push(of).unwrap();
        let mut buf = [0; 256];
        let n = wire::encode_ack(&ack, &mut buf).unwrap();
        let printed = packet_of("hueflow/test/pi-1/ack", &buf[..n]);
        traffic.passed(1, true, &printed);
        assert_eq!(traffic.acked(), 0, "an ack that an edge sends is none");
        traffic.passed(1, false, &printed);
        traffic.passed(1, false, &printed);
        assert_eq!((traffic.in_flight(), traffic.acked()), (1, 2));
        assert!(traffic.is_acked("pi-1", 8, 2) && !traffic.is_acked("pi-1", 8, 0));
        traffic.passed(1, true, &record(2));
        assert_eq!((traffic.again(), traffic.sent().len()), (2, 3));
        let id = WindowId { boot: 8, n: 1 };
        let mut window = Window { id, journal: None, streams: Default::default() };
        window.streams.push(StreamWindow { stream: 8, since: 0, floor: 1, next: 3 }).unwrap();
        let n = wire::encode_window(&window, &mut buf).unwrap();
        traffic.passed(1, true, &packet_of("hueflow/test/pi-1/window", &buf[..n]));
        assert_eq!((traffic.in_flight(), traffic.sent().len()), (0, 3), "what the edge has given up does not fly");
    }
}
