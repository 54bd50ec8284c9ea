//! Counters and health of the relay, for `/metrics` and `/healthz`.
//!
//! The relay, the MQTT connection and the prober of the journal count each of their events here. The counters are atomics; a
//! map has the number of dead letters for each reason, of which there is a fixed number. The relay reads none of it.

use crate::clock;
use crate::prom::{Kind, Prom, seconds};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// It is a fault if entries are in flight and the journal has confirmed none for this long.
const STALLED_US: u64 = 30_000_000;

/// A counter.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Sets the value, for a gauge.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted.
#[derive(Debug, Default)]
pub struct Stats {
    /// Records journalled in their topics.
    pub records: Count,
    /// Windows journalled.
    pub windows: Count,
    /// Pictures without custody journalled.
    pub pictures: Count,
    /// Pictures replaced by a newer one, or dropped.
    pub pictures_skipped: Count,
    /// Bytes of all values journalled, dead letters' included.
    pub bytes: Count,
    /// Custody acks published.
    pub acks: Count,
    /// Records journalled again that the bridge remembers as journalled.
    pub duplicates: Count,
    /// Entries refused, and probes without an answer.
    pub journal_errors: Count,
    /// Retained messages that cannot be read, which were left alone.
    pub retained_unreadable: Count,
    /// Deliveries that the journal has not confirmed yet.
    pub in_flight: Count,
    /// Devices that are answered.
    pub devices: Count,
    /// Connections to the broker.
    pub connections: Count,
    last_record_us: Count,
    /// When the journal last confirmed an entry, or was given the first of those in flight.
    progress_us: Count,
    dead: Mutex<BTreeMap<String, u64>>,
    connected: AtomicBool,
    journal: AtomicBool,
    mqtt_fault: Mutex<String>,
}

fn locked<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stats {
    /// Counts a record that is in its topic.
    pub fn record(&self) {
        self.records.add(1);
        self.last_record_us.set(clock::now_us());
    }

    /// Counts a dead letter that is in its topic.
    pub fn dead_letter(&self, reason: &str) {
        *locked(&self.dead).entry(reason.to_owned()).or_default() += 1;
    }

    /// Sets the number of deliveries that wait for the journal's confirmation. `has_progress`: one was confirmed just now.
    pub fn waiting(&self, n: usize, has_progress: bool) {
        if has_progress || self.in_flight.get() == 0 {
            self.progress_us.set(clock::steady_us());
        }
        self.in_flight.set(n as u64);
    }

    /// Notes that the broker has accepted the connection.
    pub fn connected(&self) {
        self.connections.add(1);
        self.connected.store(true, Ordering::Relaxed);
    }

    /// Notes that the connection to the broker ended or was refused, and why.
    pub fn disconnected(&self, fault: &str) {
        fault.clone_into(&mut locked(&self.mqtt_fault));
        self.connected.store(false, Ordering::Relaxed);
    }

    /// Notes whether the journal answers.
    pub fn journal(&self, reachable: bool) {
        self.journal_errors.add(u64::from(!reachable));
        self.journal.store(reachable, Ordering::Relaxed);
    }

    /// Returns the faults of broker and journal, one in a line.
    ///
    /// # Errors
    /// The faults, if there is any.
    pub fn health(&self) -> Result<(), String> {
        let mut faults = Vec::new();
        if !self.connected.load(Ordering::Relaxed) {
            let fault = locked(&self.mqtt_fault).clone();
            faults.push(if fault.is_empty() { "MQTT: not connected yet".to_owned() } else { format!("MQTT: {fault}") });
        }
        if !self.journal.load(Ordering::Relaxed) {
            faults.push("journal: does not answer".to_owned());
        }
        let stalled = clock::steady_us().saturating_sub(self.progress_us.get());
        if self.in_flight.get() > 0 && stalled > STALLED_US {
            faults.push(format!("journal: has acknowledged nothing for {} s", stalled / 1_000_000));
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
    }

    /// The text of `/metrics`.
    pub fn text(&self) -> String {
        use Kind::{Counter, Gauge};
        let mut p = Prom::new("hueflow_bridge_");
        let flag = |f: &AtomicBool| u8::from(f.load(Ordering::Relaxed));
        p.each(Gauge, "build_info", "Always 1.", "version", [(env!("CARGO_PKG_VERSION"), 1)]);
        for (name, help, count) in [
            ("records_relayed_total", "Records journalled in their topics.", &self.records),
            ("windows_relayed_total", "Custody windows journalled.", &self.windows),
            ("pictures_relayed_total", "Pictures without custody journalled.", &self.pictures),
            ("pictures_skipped_total", "Pictures replaced by a newer one or dropped.", &self.pictures_skipped),
            ("relayed_bytes_total", "Bytes of values journalled, dead letters included.", &self.bytes),
            ("acks_sent_total", "Custody acks published.", &self.acks),
            ("duplicates_total", "Records journalled again that this bridge remembers.", &self.duplicates),
            (
                "retained_unreadable_total",
                "Retained messages that could not be read and were left alone.",
                &self.retained_unreadable,
            ),
            (
                "journal_errors_total",
                "Entries the journal refused, and probes it did not answer.",
                &self.journal_errors,
            ),
        ] {
            p.one(Counter, name, help, count.get());
        }
        let dead = locked(&self.dead).clone();
        p.each(Counter, "dead_letters_total", "Dead letters journalled, by reason.", "reason", dead);
        let again = self.connections.get().saturating_sub(1);
        p.one(Counter, "mqtt_reconnects_total", "Connections to the broker after the first.", again);
        p.one(Gauge, "records_in_flight", "Deliveries that wait for the journal's confirmation.", self.in_flight.get());
        p.one(Gauge, "devices", "Devices that are answered.", self.devices.get());
        p.one(Gauge, "mqtt_connected", "1 while the broker answers.", flag(&self.connected));
        p.one(Gauge, "journal_reachable", "1 while the journal answers.", flag(&self.journal));
        let help = "When the last record was journalled, since the Unix epoch; 0 for never.";
        p.one(Gauge, "last_record_timestamp_seconds", help, seconds(self.last_record_us.get()));
        p.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_names_each_fault_until_there_is_none() {
        let s = Stats::default();
        assert_eq!(s.health(), Err("MQTT: not connected yet\njournal: does not answer".to_owned()));
        s.journal(true);
        s.disconnected("refused");
        assert_eq!(s.health(), Err("MQTT: refused".to_owned()));
        s.connected();
        assert_eq!(s.health(), Ok(()));
        s.journal(false);
        assert_eq!((s.health().is_err(), s.journal_errors.get()), (true, 1));
    }

    #[test]
    fn the_text_has_every_family_once_with_help_and_type() {
        let s = Stats::default();
        s.dead_letter("crc");
        s.dead_letter("crc");
        let text = s.text();
        assert!(text.contains("\nhueflow_bridge_dead_letters_total{reason=\"crc\"} 2\n"), "{text}");
        let types: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("# TYPE ")).collect();
        assert_eq!(types.len(), text.lines().filter(|l| l.starts_with("# HELP ")).count());
        for family in types {
            let (name, kind) = family.split_once(' ').unwrap();
            assert_eq!(name.ends_with("_total"), kind == "counter", "{family}");
        }
    }
}
