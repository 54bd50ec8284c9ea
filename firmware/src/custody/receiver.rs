//! Receiver: the bridge's half of custody, one for each device: what the journal has, and when to say so.
//!
//! Takes what the journal confirmed, the edge's windows and the time. Gives acks.
//! Touches its own bounded tables; what does not fit is forgotten, which only makes a record come again.
//! Never acknowledges what the journal has not confirmed.

use super::ranges::Ranges;
use super::{Ack, JournalId, StreamAck, Window, WindowId};
use crate::limits::{RANGES_MAX, STREAMS_MAX};
use heapless::Vec;

/// Records after which an ack is due at once.
const ACK_RECORDS: u32 = 32;
/// Delay after which an ack is due, from the first thing to acknowledge.
const ACK_DELAY_US: u64 = 250_000;

#[derive(Debug, Clone)]
struct Stream {
    id: u64,
    /// In the journal, and not yet below a floor that a window named: what lies there the edge need not be told.
    have: Ranges<RANGES_MAX>,
    touched: u64,
}

/// The state machine of one device.
#[derive(Debug)]
pub struct Receiver {
    journal: JournalId,
    streams: Vec<Stream, STREAMS_MAX>,
    window: Option<WindowId>,
    unsaid: u32,
    due_us: Option<u64>,
    touches: u64,
}

impl Receiver {
    /// A receiver that has heard nothing yet, in front of `journal`.
    pub fn new(journal: JournalId) -> Receiver {
        Receiver { journal, streams: Vec::new(), window: None, unsaid: 0, due_us: None, touches: 0 }
    }

    /// The journal (or, for a dead record whose envelope can be read, the dead-letter topic) confirmed a record.
    pub fn journalled(&mut self, stream: u64, seq: u64, now_us: u64) {
        self.stream(stream).have.insert(seq, seq + 1);
        self.unsaid += 1;
        self.say_by(if self.unsaid >= ACK_RECORDS { now_us } else { now_us + ACK_DELAY_US });
    }

    /// Whether a record is known as journalled; what lies below a floor is forgotten.
    pub fn has(&self, stream: u64, seq: u64) -> bool {
        self.streams.iter().any(|s| s.id == stream && s.have.contains(seq))
    }

    /// Whether the window is meant for another journal: then it is answered, not journalled.
    pub fn is_foreign(&self, window: &Window) -> bool {
        window.journal.as_ref().is_some_and(|j| *j != self.journal)
    }

    /// A foreign window came: the answer tells the edge whom it is talking to.
    pub fn window_foreign(&mut self, now_us: u64) {
        self.say_by(now_us);
    }

    /// The journal confirmed a window: what lies below its floors is forgotten, and so are streams it no longer names.
    pub fn window_journalled(&mut self, window: &Window, now_us: u64) {
        for w in &window.streams {
            self.stream(w.stream).have.forget_below(w.floor);
        }
        let newest = self.window.is_none_or(|last| last.boot != window.id.boot || last.n < window.id.n);
        if newest {
            self.window = Some(window.id);
            let boot = window.id.boot;
            self.streams.retain(|s| s.id & !1 == boot || window.streams.iter().any(|w| w.stream == s.id));
        }
        self.say_by(now_us + ACK_DELAY_US);
    }

    /// When an ack must go out; none if there is nothing new to say.
    pub fn ack_due_us(&self) -> Option<u64> {
        self.due_us
    }

    /// The ack to publish now.
    pub fn ack(&mut self) -> Ack {
        (self.unsaid, self.due_us) = (0, None);
        let mut streams = Vec::new();
        for s in &self.streams {
            let first = (s.have.floor() > 0).then_some((0, s.have.floor()));
            let ranges = first.into_iter().chain(s.have.above().iter().copied());
            let ranges: Vec<_, _> = ranges.take(crate::limits::ACK_RANGES_MAX).collect();
            if !ranges.is_empty() {
                // Cannot fail: both tables have the same number of places.
                let _ = streams.push(StreamAck { stream: s.id, ranges });
            }
        }
        Ack { journal: self.journal.clone(), window: self.window, streams }
    }

    fn say_by(&mut self, due_us: u64) {
        self.due_us = Some(self.due_us.map_or(due_us, |d| d.min(due_us)));
    }

    /// The stream's entry; if the table is full, the one least recently touched makes room.
    fn stream(&mut self, id: u64) -> &mut Stream {
        self.touches += 1;
        let touched = self.touches;
        let fresh = Stream { id, have: Ranges::below(0), touched };
        let at = match self.streams.iter().position(|s| s.id == id) {
            Some(i) => i,
            None if self.streams.is_full() => {
                let oldest = self.streams.iter().enumerate().min_by_key(|(_, s)| s.touched);
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
        s.touched = touched;
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

    fn said(r: &mut Receiver) -> Vec<(u64, Vec<(u64, u64), 16>), 64> {
        r.ack().streams.into_iter().map(|s| (s.stream, s.ranges)).collect()
    }

    #[test]
    fn a_fresh_bridge_acknowledges_just_the_range_it_got_and_forgets_it_by_the_next_window() {
        let mut r = receiver();
        r.journalled(2, 50, 0);
        assert_eq!(said(&mut r)[0].1, [(50, 51)]);
        r.window_journalled(&window(2, 1, &[(2, 90, 95)]), 0);
        assert!(said(&mut r).is_empty());
        r.journalled(2, 90, 0);
        r.journalled(2, 92, 0);
        assert_eq!(said(&mut r)[0].1, [(90, 91), (92, 93)]);
    }

    #[test]
    fn a_record_that_comes_again_below_a_floor_is_acknowledged_again() {
        // A restarted edge holds whole segments again, acknowledged records in front of the floor included.
        let mut r = receiver();
        r.window_journalled(&window(2, 1, &[(2, 61, 64)]), 0);
        r.journalled(2, 60, 0);
        assert_eq!(said(&mut r)[0].1, [(60, 61)]);
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
    fn a_window_of_another_journal_is_foreign_and_is_answered_at_once() {
        let mut r = receiver();
        let mut w = window(2, 1, &[]);
        assert!(!r.is_foreign(&w), "no journal yet: ours");
        w.journal = Some(JournalId::try_from("other").unwrap());
        assert!(r.is_foreign(&w));
        r.window_foreign(7);
        assert_eq!(r.ack_due_us(), Some(7));
        assert_eq!(r.ack().window, None);
    }

    #[test]
    fn streams_that_the_newest_window_does_not_name_are_forgotten_and_old_windows_forget_nothing() {
        let mut r = receiver();
        r.journalled(4, 0, 0);
        r.journalled(10, 0, 0);
        r.window_journalled(&window(10, 2, &[(10, 0, 1), (4, 0, 1)]), 0);
        assert_eq!(said(&mut r).len(), 2);
        r.window_journalled(&window(10, 1, &[(10, 0, 0)]), 0);
        assert_eq!(said(&mut r).len(), 2, "window 1 came late");
        r.window_journalled(&window(10, 3, &[(10, 0, 1)]), 0);
        assert_eq!(said(&mut r).len(), 1);
    }

    #[test]
    fn the_table_of_streams_is_bounded_and_the_least_recently_touched_makes_room() {
        let mut r = receiver();
        for i in 0..STREAMS_MAX as u64 + 1 {
            r.journalled(i * 2, 0, 0);
        }
        let said = said(&mut r);
        assert_eq!(said.len(), STREAMS_MAX);
        assert!(said.iter().all(|(s, _)| *s != 0));
    }
}
