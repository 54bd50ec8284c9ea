//! The table of records in flight: sent, and neither acknowledged nor declared lost.
//!
//! The table numbers the transmissions of each MQTT topic and counts the bytes in flight. It is sorted by stream and seq and
//! has at most one entry for a record. "Unsent" means not settled and not in this table; there is no second account of
//! what was sent that could disagree with it.

use super::stream::Stream;
use crate::limits::WINDOW_RECORDS_MAX;
use heapless::Vec;

/// Number of MQTT topics whose order the loss detection knows.
pub const TOPICS_MAX: usize = 4;
/// Entries beyond the largest window, for probes.
const PROBES_IN_FLIGHT: usize = 8;

#[derive(Debug, Clone, Copy)]
pub(super) struct InFlight {
    pub stream: u64,
    pub seq: u64,
    /// Number of the last transmission. The record is lost if later transmissions have arrived.
    pub number: u64,
    /// Number of the first transmission, or 0 if that is unknown. An ack of the record proves that at least this one arrived
    /// (Karn's rule).
    pub proves: u64,
    pub sent_at_us: u64,
    pub bytes: usize,
    pub topic: u8,
    /// The record was given up after it was sent. Its ack is not awaited, but the broker may still hold it.
    pub given_up: bool,
}

/// The records in flight.
#[derive(Debug)]
pub(super) struct InFlightTable {
    entries: Vec<InFlight, { WINDOW_RECORDS_MAX + PROBES_IN_FLIGHT }>,
    bytes: usize,
    /// Number of the last transmission on each topic.
    numbers: [u64; TOPICS_MAX],
}

impl InFlightTable {
    pub const fn new() -> Self {
        InFlightTable { entries: Vec::new(), bytes: 0, numbers: [0; TOPICS_MAX] }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn iter(&self) -> impl Iterator<Item = &InFlight> {
        self.entries.iter()
    }

    fn position(&self, stream: u64, seq: u64) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&(stream, seq), |f| (f.stream, f.seq))
    }

    /// Adds a transmission. One of the same record is replaced, and its first number kept. `resent`: the record may have been
    /// transmitted before.
    pub fn add(&mut self, stream: u64, seq: u64, topic: u8, bytes: usize, resent: bool, now_us: u64) {
        let topic = topic.min(TOPICS_MAX as u8 - 1);
        let number = self.numbers.get_mut(usize::from(topic)).map_or(0, |n| {
            *n += 1;
            *n
        });
        let fresh = InFlight {
            stream,
            seq,
            number,
            proves: if resent { 0 } else { number },
            sent_at_us: now_us,
            bytes,
            topic,
            given_up: false,
        };
        match self.position(stream, seq) {
            Ok(at) => {
                if let Some(entry) = self.entries.get_mut(at) {
                    self.bytes -= entry.bytes;
                    *entry = InFlight { proves: entry.proves, ..fresh };
                    self.bytes += bytes;
                }
            }
            // The table is full only if more probes are in flight than have places. This one then counts as unsent.
            Err(at) => {
                if self.entries.insert(at, fresh).is_ok() {
                    self.bytes += bytes;
                }
            }
        }
    }

    /// Marks `from..to` of `stream` as given up.
    pub fn give_up(&mut self, stream: u64, from: u64, to: u64) {
        for f in self.entries.iter_mut().filter(|f| f.stream == stream && (from..to).contains(&f.seq)) {
            f.given_up = true;
        }
    }

    /// Keeps the entries for which `keep` returns true.
    pub fn retain(&mut self, mut keep: impl FnMut(&InFlight) -> bool) {
        let bytes = &mut self.bytes;
        self.entries.retain(|f| {
            let kept = keep(f);
            if !kept {
                *bytes -= f.bytes;
            }
            kept
        });
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// Returns the lowest seq of `s` from `seq` on that is neither settled nor in flight.
    pub fn unsent_from(&self, s: &Stream, seq: u64) -> Option<u64> {
        let mut seq = s.settled.gap_from(seq);
        let at = self.position(s.id, seq).unwrap_or_else(|at| at);
        for f in self.entries.get(at..).unwrap_or(&[]) {
            if (f.stream, f.seq) > (s.id, seq) {
                break;
            }
            // Entries below `seq` lie within a settled range.
            if f.seq == seq {
                seq = s.settled.gap_from(seq + 1);
            }
        }
        Some(seq).filter(|&seq| seq < s.next)
    }
}
