//! The bridge's state machine for one device: what the journal has of it, and when to publish an ack.
//!
//! The caller reports what the journal confirmed, the edge's windows and the time. The receiver returns acks. It acknowledges
//! only what the journal has confirmed. Its tables are bounded; what does not fit is forgotten, and then the edge sends a
//! record again.

use super::ranges::Ranges;
use super::{Ack, JournalId, StreamAck, Window, WindowId};
use crate::limits::{RANGES_MAX, STREAMS_MAX};
use heapless::Vec;

/// Number of records after which an ack is due at once: a few acks a second from an edge at 30 frames a second.
const ACK_RECORDS: u32 = 32;
/// Longest delay of an ack, from the first record or window to acknowledge. A quarter of the shortest probe time-out.
const ACK_DELAY_US: u64 = 250_000;

#[derive(Debug, Clone)]
struct Stream {
    id: u64,
    /// Records in the journal, without those below the floor of the last window: the edge has settled them.
    journalled: Ranges<RANGES_MAX>,
    /// Value of [`Receiver::uses`] when the stream was last used.
    last_use: u64,
}

/// The receiver's state machine for one device.
#[derive(Debug)]
pub struct Receiver {
    journal: JournalId,
    streams: Vec<Stream, STREAMS_MAX>,
    window: Option<WindowId>,
    /// Records confirmed since the last ack.
    unacknowledged: u32,
    due_us: Option<u64>,
    /// Counts uses of any stream.
    uses: u64,
}

impl Receiver {
    /// Creates a receiver for `journal` that knows no record yet.
    pub fn new(journal: JournalId) -> Receiver {
        Receiver { journal, streams: Vec::new(), window: None, unacknowledged: 0, due_us: None, uses: 0 }
    }

    /// Reports that the journal confirmed a record; for a dead record with a readable envelope, the dead-letter topic did.
    pub fn journalled(&mut self, stream: u64, seq: u64, now_us: u64) {
        self.stream(stream).journalled.insert(seq, seq + 1);
        self.unacknowledged += 1;
        self.ack_by(if self.unacknowledged >= ACK_RECORDS { now_us } else { now_us + ACK_DELAY_US });
    }

    /// Returns true if the record is known to be in the journal. Records below a floor are forgotten.
    pub fn has(&self, stream: u64, seq: u64) -> bool {
        self.streams.iter().any(|s| s.id == stream && s.journalled.contains(seq))
    }

    /// Returns true if the window is for another journal. Such a window is answered with an ack and not journalled.
    pub fn is_foreign(&self, window: &Window) -> bool {
        window.journal.as_ref().is_some_and(|j| *j != self.journal)
    }

    /// Takes a window for another journal. The ack that answers it names this one.
    pub fn window_foreign(&mut self, now_us: u64) {
        self.ack_by(now_us);
    }

    /// Reports that the journal confirmed a window. Records below its floors are forgotten, and so are streams that the newest
    /// window does not name.
    pub fn window_journalled(&mut self, window: &Window, now_us: u64) {
        for w in &window.streams {
            self.stream(w.stream).journalled.forget_below(w.floor);
        }
        let newest = self.window.is_none_or(|last| last.boot != window.id.boot || last.n < window.id.n);
        if newest {
            self.window = Some(window.id);
            let boot = window.id.boot;
            self.streams.retain(|s| s.id & !1 == boot || window.streams.iter().any(|w| w.stream == s.id));
        }
        self.ack_by(now_us + ACK_DELAY_US);
    }

    /// Returns when the next ack is due; none if nothing changed since the last one.
    pub fn ack_due_us(&self) -> Option<u64> {
        self.due_us
    }

    /// Returns the ack to publish now.
    pub fn ack(&mut self) -> Ack {
        (self.unacknowledged, self.due_us) = (0, None);
        let mut streams = Vec::new();
        for s in &self.streams {
            let first = (s.journalled.floor() > 0).then_some((0, s.journalled.floor()));
            let ranges = first.into_iter().chain(s.journalled.above().iter().copied());
            let ranges: Vec<_, _> = ranges.take(crate::limits::ACK_RANGES_MAX).collect();
            if !ranges.is_empty() {
                // Cannot fail: both tables have the same number of places.
                let _ = streams.push(StreamAck { stream: s.id, ranges });
            }
        }
        Ack { journal: self.journal.clone(), window: self.window, streams }
    }

    fn ack_by(&mut self, due_us: u64) {
        self.due_us = Some(self.due_us.map_or(due_us, |d| d.min(due_us)));
    }

    /// Returns the stream's entry. If the table is full, a new stream takes the place of the least recently used one.
    fn stream(&mut self, id: u64) -> &mut Stream {
        self.uses += 1;
        let last_use = self.uses;
        let fresh = Stream { id, journalled: Ranges::below(0), last_use };
        let at = match self.streams.iter().position(|s| s.id == id) {
            Some(i) => i,
            None if self.streams.is_full() => {
                let oldest = self.streams.iter().enumerate().min_by_key(|(_, s)| s.last_use);
                let i = oldest.map_or(0, |(i, _)| i);
                self.streams[i] = fresh;
                i
            }
            None => {
                let _ = self.streams.push(fresh);
                self.streams.len() - 1
            }
        };
        let s = &mut self.streams[at];
        s.last_use = last_use;
        s
    }
}

#[cfg(test)]
mod tests {
    use super::super::StreamWindow;
    use super::*;

    fn receiver() -> Receiver {
        Receiver::new(JournalId::try_from("j").unwrap())
    }

    fn window(boot: u64, n: u64, streams: &[(u64, u64, u64)]) -> Window {
        let streams = streams.iter().map(|&(stream, floor, next)| StreamWindow { stream, since: 0, floor, next });
        Window { id: WindowId { boot, n }, journal: None, streams: streams.collect() }
    }

    fn acked(r: &mut Receiver) -> Vec<(u64, Vec<(u64, u64), 16>), 64> {
        r.ack().streams.into_iter().map(|s| (s.stream, s.ranges)).collect()
    }

    #[test]
    fn a_fresh_bridge_acknowledges_only_the_range_it_got_and_forgets_it_at_the_next_window() {
        let mut r = receiver();
        r.journalled(2, 50, 0);
        assert_eq!(acked(&mut r)[0].1, [(50, 51)]);
        r.window_journalled(&window(2, 1, &[(2, 90, 95)]), 0);
        assert!(acked(&mut r).is_empty());
        r.journalled(2, 90, 0);
        r.journalled(2, 92, 0);
        assert_eq!(acked(&mut r)[0].1, [(90, 91), (92, 93)]);
    }

    #[test]
    fn a_record_received_again_below_a_floor_is_acknowledged_again() {
        // A restarted edge holds whole segments again, acknowledged records in front of the floor included.
        let mut r = receiver();
        r.window_journalled(&window(2, 1, &[(2, 61, 64)]), 0);
        r.journalled(2, 60, 0);
        assert_eq!(acked(&mut r)[0].1, [(60, 61)]);
    }

    #[test]
    fn an_ack_is_due_after_thirty_two_records_or_a_quarter_second() {
        let mut r = receiver();
        assert_eq!(r.ack_due_us(), None);
        r.journalled(2, 0, 1_000);
        assert_eq!(r.ack_due_us(), Some(251_000));
        r.journalled(2, 1, 9_000);
        assert_eq!(r.ack_due_us(), Some(251_000), "from the first");
        for seq in 2..32 {
            r.journalled(2, seq, 20_000);
        }
        assert_eq!(r.ack_due_us(), Some(20_000));
        r.ack();
        assert_eq!(r.ack_due_us(), None);
    }

    #[test]
    fn a_window_for_another_journal_is_foreign_and_answered_at_once() {
        let mut r = receiver();
        let mut w = window(2, 1, &[]);
        assert!(!r.is_foreign(&w), "a window without a journal is for any");
        w.journal = Some(JournalId::try_from("other").unwrap());
        assert!(r.is_foreign(&w));
        r.window_foreign(7);
        assert_eq!(r.ack_due_us(), Some(7));
        assert_eq!(r.ack().window, None);
    }

    #[test]
    fn streams_missing_in_the_newest_window_are_forgotten_and_old_windows_forget_nothing() {
        let mut r = receiver();
        r.journalled(4, 0, 0);
        r.journalled(10, 0, 0);
        r.window_journalled(&window(10, 2, &[(10, 0, 1), (4, 0, 1)]), 0);
        assert_eq!(acked(&mut r).len(), 2);
        r.window_journalled(&window(10, 1, &[(10, 0, 0)]), 0);
        assert_eq!(acked(&mut r).len(), 2, "window 1 is older");
        r.window_journalled(&window(10, 3, &[(10, 0, 1)]), 0);
        assert_eq!(acked(&mut r).len(), 1);
    }

    #[test]
    fn a_new_stream_takes_the_place_of_the_least_recently_used_one() {
        let mut r = receiver();
        for i in 0..STREAMS_MAX as u64 + 1 {
            r.journalled(i * 2, 0, 0);
        }
        let acked = acked(&mut r);
        assert_eq!(acked.len(), STREAMS_MAX);
        assert!(acked.iter().all(|(s, _)| *s != 0));
    }
}
