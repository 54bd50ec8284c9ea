//! A scripted edge: sends records to a broker until the journal has acknowledged them all.
//!
//! It returns how often it had to send. PUBACKs do not count: only the bridge's ack does, and what that does not name is
//! sent again.
#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use super::window;
use firmware::limits::PACKET_BYTES_MAX;
use firmware::wire;
use rumqttc::{Client, Connection, Event, LastWill, MqttOptions, Packet, QoS};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

pub struct Edge {
    pub device: String,
    pub boot: u64,
    /// (MQTT kind, seq, bytes) of the boot's stream.
    pub records: Vec<(&'static str, u64, Vec<u8>)>,
    /// Records that may be on their way.
    pub window: usize,
}

impl Edge {
    fn connect(&self, port: u16) -> (Client, Connection) {
        let mut options = MqttOptions::new(&self.device, "127.0.0.1", port);
        options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX).set_keep_alive(Duration::from_secs(5));
        let status = format!("hueflow/home/{}/status", self.device);
        options.set_last_will(LastWill::new(status, r#"{"state":"offline"}"#, QoS::AtLeastOnce, true));
        Client::new(options, 10_000)
    }

    /// Sends until all is acknowledged; `progress` is called with how many are. Returns the number of transmissions.
    pub fn run(&self, port: u16, limit: Duration, mut progress: impl FnMut(usize)) -> usize {
        let (client, mut connection) = self.connect(port);
        let topic = |kind: &str| format!("hueflow/home/{}/{kind}", self.device);
        let all: BTreeMap<u64, usize> = self.records.iter().enumerate().map(|(i, r)| (r.1, i)).collect();
        let next = self.records.len() as u64;
        let (mut acked, mut sent, mut n, mut journal) = (BTreeSet::new(), BTreeMap::new(), 0, None::<String>);
        let (mut transmissions, mut connected, mut named) = (0, false, 0);
        let deadline = Instant::now() + limit;
        while acked.len() < all.len() || named < n {
            assert!(Instant::now() < deadline, "{} of {} acknowledged", acked.len(), all.len());
            match connection.recv_timeout(Duration::from_millis(20)) {
                Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                    connected = true;
                    sent.clear();
                    client.try_subscribe(topic("ack"), QoS::AtLeastOnce).unwrap();
                    client
                        .try_publish(topic("status"), QoS::AtLeastOnce, true, r#"{"state":"online","version":"test"}"#)
                        .unwrap();
                }
                Ok(Ok(Event::Incoming(Packet::Publish(p)))) => {
                    let ack = wire::decode_ack(&p.payload).unwrap();
                    journal = Some(ack.journal.to_string());
                    if let Some(w) = ack.window.filter(|w| w.boot == self.boot) {
                        named = named.max(w.n);
                    }
                    for s in ack.streams.iter().filter(|s| s.stream == self.boot) {
                        for &(from, to) in &s.ranges {
                            acked.extend((from..to).filter(|seq| all.contains_key(seq)));
                        }
                    }
                    progress(acked.len());
                }
                Ok(Err(_)) => {
                    connected = false;
                    std::thread::sleep(Duration::from_millis(100));
                }
                _ => {}
            }
            if !connected {
                continue;
            }
            let due = |at: &Instant| at.elapsed() > Duration::from_secs(1);
            let flying = sent.iter().filter(|(s, at)| !acked.contains(*s) && !due(at)).count();
            let open: Vec<u64> =
                all.keys().filter(|s| !acked.contains(*s) && sent.get(*s).is_none_or(due)).copied().collect();
            for seq in open.into_iter().take(self.window.saturating_sub(flying)) {
                let (kind, _, bytes) = &self.records[all[&seq]];
                client.try_publish(topic(kind), QoS::AtLeastOnce, false, bytes.clone()).unwrap();
                sent.insert(seq, Instant::now());
                transmissions += 1;
            }
            // A window at the beginning, and one when all is acknowledged.
            let floor = (0..next).find(|s| !acked.contains(s)).unwrap_or(next);
            if n == 0 || (floor == next && n < 2) || (named < n && sent.get(&u64::MAX).is_none_or(due)) {
                n = if n == 0 {
                    1
                } else if floor == next {
                    2
                } else {
                    n
                };
                let w =
                    window(self.boot, n, journal.as_deref(), &[(self.boot, 0, floor, next), (self.boot + 1, 0, 0, 0)]);
                client.try_publish(topic("window"), QoS::AtLeastOnce, true, w).unwrap();
                sent.insert(u64::MAX, Instant::now());
            }
        }
        client.try_publish(topic("status"), QoS::AtLeastOnce, true, r#"{"state":"offline"}"#).unwrap();
        client.try_disconnect().unwrap();
        while connection.recv_timeout(Duration::from_millis(200)).is_ok_and(|e| e.is_ok()) {}
        transmissions
    }
}
