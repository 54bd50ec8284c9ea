//! The edge's state machine: which records it holds, which one to send next, and what an ack settles.
//!
//! The caller reports accepted records, acks, the bridge's status and the time. The sender returns transmissions, windows
//! and the floor below which the spool may delete records. All state is in the value; nothing is allocated.
//! A record is settled only by the journal's ack or by a loss record; a PUBACK settles nothing. An ack never takes back what
//! an earlier ack settled, whatever its age.

mod acks;
mod in_flight;
mod losses;
mod schedule;
mod stream;
mod windows;

use super::{JournalId, StreamWindow, Window, WindowId};
use crate::limits::{STREAMS_MAX, WINDOW_RECORDS_MAX};
use heapless::Vec;
use in_flight::InFlightTable;
use stream::Stream;

pub use acks::AckOutcome;
pub use in_flight::TOPICS_MAX;

/// Delay of an ack before the first one was measured: for its first record a journal may have to create topics and producers.
const ACK_DELAY_US_START: u64 = 2_000_000;
/// Shortest probe time-out. An ack may wait for a quarter of a second at the bridge, and a journal takes its time as well.
const PROBE_US_MIN: u64 = 1_000_000;
/// Longest probe time-out, also after doubling: an edge notices within a minute that its bridge is back.
const PROBE_US_MAX: u64 = 60_000_000;

/// Limits of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderConfig {
    /// Maximum number of records sent and not acknowledged by the journal, 4 to [`WINDOW_RECORDS_MAX`].
    pub window_records: usize,
    /// Maximum number of bytes sent and not acknowledged by the journal; one record may exceed it.
    pub window_bytes: usize,
}

impl Default for SenderConfig {
    fn default() -> Self {
        SenderConfig { window_records: 256, window_bytes: 1024 * 1024 }
    }
}

/// The sender has no room for another stream. Older boots must drain first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamsFull;

/// A record to send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmission {
    /// Stream of the record.
    pub stream: u64,
    /// Sequence number of the record.
    pub seq: u64,
    /// True for a probe, which is outside the window's limit.
    pub probe: bool,
}

/// The sender's state machine. Its value is large (about 150 KiB), so keep it in a box or a static.
#[derive(Debug)]
pub struct Sender {
    config: SenderConfig,
    /// The boot, its loss stream, then the older streams by age.
    streams: Vec<Stream, STREAMS_MAX>,
    in_flight: InFlightTable,
    journal: Option<JournalId>,
    reachable: bool,
    /// Time of the last progress, of the last probe, or at which a record was put into an empty flight.
    quiet_since_us: u64,
    /// Probes since the last progress; each doubles the time-out.
    probes: u32,
    /// When the youngest acknowledged transmission was sent. At that time the path was open.
    youngest_acked_sent_us: u64,
    /// Smoothed delay between a transmission and its ack.
    ack_delay_us: u64,
    ack_delay_is_measured: bool,
    /// First seq of the present run of live records, in the boot's stream.
    live_from: u64,
    /// Number of windows published.
    windows: u64,
    /// Highest window that the bridge acknowledged.
    window_acked: u64,
    window_published_at_us: Option<u64>,
    window_changed: bool,
    /// An ack changed the window, so a bridge is there to take the next one.
    window_answers_ack: bool,
    /// Times that an unchanged window was published again.
    window_repeats: u32,
}

impl Sender {
    /// Creates the sender of a newly opened spool. `boot` names the new data stream (lowest bit 0), `boot + 1` the stream of
    /// loss records.
    pub fn new(boot: u64, config: SenderConfig) -> Sender {
        let boot = boot & !1;
        let window_records = config.window_records.clamp(4, WINDOW_RECORDS_MAX);
        let mut streams = Vec::new();
        for id in [boot, boot + 1] {
            // Cannot fail: the table has more than two places.
            let _ = streams.push(Stream::new(id, 0, 0, 0));
        }
        Sender {
            config: SenderConfig { window_records, ..config },
            streams,
            in_flight: InFlightTable::new(),
            journal: None,
            reachable: true,
            quiet_since_us: 0,
            probes: 0,
            youngest_acked_sent_us: 0,
            ack_delay_us: ACK_DELAY_US_START,
            ack_delay_is_measured: false,
            live_from: 0,
            windows: 0,
            window_acked: 0,
            window_published_at_us: None,
            window_changed: true,
            window_answers_ack: false,
            window_repeats: 0,
        }
    }

    /// Adds an older stream found on the disk at open. Call it for the oldest stream first.
    ///
    /// # Errors
    /// Returns [`StreamsFull`] if the sender already has [`STREAMS_MAX`] streams.
    pub fn restore(&mut self, stream: u64, since: u64, floor: u64, next: u64) -> Result<(), StreamsFull> {
        if self.find(stream).is_some() {
            return Ok(());
        }
        self.streams.push(Stream::new(stream, since, floor.min(next), next)).map_err(|_| StreamsFull)
    }

    /// Sets the journal's id that was read from the disk at open.
    pub fn set_journal(&mut self, journal: Option<JournalId>) {
        self.journal = journal;
    }

    /// Returns the id of the journal that the settled records are in.
    pub fn journal(&self) -> Option<&JournalId> {
        self.journal.as_ref()
    }

    /// Returns this open's data stream.
    pub fn boot(&self) -> u64 {
        self.streams.first().map_or(0, |s| s.id)
    }

    /// Reports that all records of `stream` below `next` are appended and synced.
    pub fn accepted(&mut self, stream: u64, next: u64) {
        if let Some(s) = self.find_mut(stream)
            && next > s.next
        {
            s.next = next;
            self.window_changed = true;
        }
    }

    /// Returns the first range within `from..to` of `stream` that is neither acknowledged nor given up. For an unknown stream
    /// that is the whole range.
    pub fn unsettled(&self, stream: u64, from: u64, to: u64) -> Option<(u64, u64)> {
        let (mut from, mut to) = (from, to);
        if let Some(s) = self.find(stream) {
            from = s.settled.gap_from(from);
            to = s.settled.above().iter().map(|r| r.0).find(|&above| above > from).map_or(to, |above| to.min(above));
        }
        (from < to).then_some((from, to))
    }

    /// Gives up `from..to` of `stream`, whose loss record is already accepted.
    ///
    /// A given-up record in flight keeps its place in the window until an ack shows that the journal takes records. Otherwise
    /// a spool that rolls over while the journal is away would send all that it ever held into the broker's queue.
    pub fn gone(&mut self, stream: u64, from: u64, to: u64) {
        let Some(s) = self.find_mut(stream) else { return };
        s.settle(from, to);
        self.in_flight.give_up(stream, from, to);
        self.window_changed = true;
    }

    /// Reports that a connection to the broker stands. A window is due at once; nothing else changes.
    pub fn connected(&mut self, now_us: u64) {
        self.window_published_at_us = None;
        self.window_changed = true;
        self.window_repeats = 0;
        self.quiet_since_us = self.quiet_since_us.max(now_us.saturating_sub(self.probe_after_us()));
    }

    /// Takes the bridge's `status`: whether the bridge and its journal can be reached.
    ///
    /// When they are back, the broker most likely still has what was sent meanwhile. A probe at once would always cost a
    /// duplicate, so the first probe follows after one undoubled time-out without an ack.
    /// Each status "reachable" ends the doubling, even if it is no news: a bridge that comes for the first time
    /// finds nothing of what was sent before, because the broker had no session to keep it for.
    pub fn bridge_status(&mut self, journal_reachable: bool, now_us: u64) {
        if journal_reachable {
            (self.probes, self.window_repeats) = (0, 0);
        }
        if journal_reachable && !self.reachable {
            self.quiet_since_us = now_us;
            self.window_changed = true;
        }
        self.reachable = journal_reachable;
    }

    /// Returns when to call [`Sender::poll`] and [`Sender::window_due`] again if nothing else happens.
    pub fn deadline_us(&self) -> Option<u64> {
        [self.probe_due_us(), self.window_due_us()].into_iter().flatten().min()
    }

    /// Returns the lowest held seq of a stream. The spool may delete what lies below it, from the front.
    pub fn floor(&self, stream: u64) -> Option<u64> {
        self.find(stream).map(Stream::floor)
    }

    /// Returns the streams as the next window will name them: those that have records, and the boot.
    pub fn streams(&self) -> impl Iterator<Item = StreamWindow> {
        let boot = self.boot();
        self.streams.iter().filter(move |s| s.next > 0 || s.id == boot).map(|s| StreamWindow {
            stream: s.id,
            since: s.since,
            floor: s.floor(),
            next: s.next,
        })
    }

    /// Returns the number of accepted and not settled records of all streams.
    pub fn held(&self) -> u64 {
        self.streams.iter().fold(0, |n, s| n.saturating_add(s.held()))
    }

    /// Returns the number of records sent and not acknowledged by the journal.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns true if nothing is held and the bridge has acknowledged such a window.
    pub fn settled(&self) -> bool {
        self.held() == 0 && !self.window_changed && self.windows > 0 && self.window_acked == self.windows
    }

    fn find(&self, stream: u64) -> Option<&Stream> {
        self.streams.iter().find(|s| s.id == stream)
    }

    fn find_mut(&mut self, stream: u64) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|s| s.id == stream)
    }
}

#[cfg(test)]
mod tests;
