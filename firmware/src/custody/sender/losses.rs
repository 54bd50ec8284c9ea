//! Losses: what is in flight, and when it is called lost and sent again.
//!
//! Takes what an ack settled, and silence. Gives records back to those that are unsent.
//! Touches the sender's table of records in flight.
//! Never calls lost what a record that was sent twice seems to prove, before a time-out of silence has confirmed it.

use super::{Sender, TOPICS_MAX};

/// A transmission this far before an acknowledged one is lost (RFC 9002, 6.1.1: `kPacketThreshold`).
const PACKET_THRESHOLD: u64 = 3;
/// A record is not called lost for its age before this (RFC 9002, 6.1.2, with the ack's own delay in mind).
const LOSS_AGE_US_MIN: u64 = 500_000;

#[derive(Debug, Clone, Copy)]
pub(super) struct InFlight {
    pub stream: u64,
    pub seq: u64,
    /// Its last transmission: what must be behind to be lost.
    pub number: u64,
    /// Its first transmission if that is known, else 0: what an ack of it proves to have arrived (Karn's rule).
    pub proves: u64,
    pub sent_at_us: u64,
    pub bytes: usize,
    pub topic: u8,
    /// Given up since: nobody waits for its ack, but what is between here and the journal may still hold it.
    pub given_up: bool,
}

impl Sender {
    pub(super) fn drop_in_flight(&mut self, gone: impl Fn(&InFlight) -> bool) {
        let bytes = &mut self.in_flight_bytes;
        self.in_flight.retain(|f| {
            let keep = !gone(f);
            if !keep {
                *bytes -= f.bytes;
            }
            keep
        });
    }

    /// Takes settled records out of flight, learns the ack's delay, and calls what lies too far behind lost.
    pub(super) fn detect_losses(&mut self, now_us: u64) -> u32 {
        let mut highest = [0; TOPICS_MAX];
        let mut delay_us = None;
        for f in self.in_flight.iter().filter(|f| !f.given_up) {
            if !self.streams.iter().any(|s| s.id == f.stream && s.settled.contains(f.seq)) {
                continue;
            }
            self.passed_us = self.passed_us.max(f.sent_at_us);
            if let Some(h) = highest.get_mut(usize::from(f.topic))
                && f.proves > *h
            {
                *h = f.proves;
                // Of a record that was sent twice nobody knows which transmission the ack is for.
                if f.proves == f.number {
                    delay_us = Some(now_us.saturating_sub(f.sent_at_us));
                }
            }
        }
        if let Some(us) = delay_us {
            self.smoothed_us = if self.measured { (self.smoothed_us * 7 + us) / 8 } else { us };
            self.measured = true;
        }
        let age_us = (self.smoothed_us.max(delay_us.unwrap_or(0)) * 9 / 8).max(LOSS_AGE_US_MIN);
        let (streams, bytes, mut lost) = (&mut self.streams, &mut self.in_flight_bytes, 0);
        self.in_flight.retain(|f| {
            let Some(s) = streams.iter_mut().find(|s| s.id == f.stream) else { return false };
            let highest = highest.get(usize::from(f.topic)).copied().unwrap_or(0);
            let late = f.number < highest && now_us.saturating_sub(f.sent_at_us) > age_us;
            let keep = if s.settled.contains(f.seq) {
                f.given_up
            } else if f.seq < s.horizon && (f.number + PACKET_THRESHOLD < highest || late) {
                s.sent.remove(f.seq);
                s.again.insert(f.seq, f.seq + 1);
                lost += 1;
                false
            } else {
                true
            };
            if !keep {
                *bytes -= f.bytes;
            }
            keep
        });
        lost
    }

    /// A probe is due: for a whole time-out no ack has come. What was sent before something that has arrived would have
    /// come by now, so it is lost. Without this, a broker that dropped a whole window would be asked for it record by
    /// record: each probe's ack is of a record that was sent twice, and by itself proves nothing. What the last ack had no
    /// room for goes as well, although it may have arrived: else it would fill the window, and the holes below it, which
    /// keep it from being acknowledged, would close one by one.
    pub(super) fn lose_what_was_passed(&mut self) {
        let (passed_us, streams, bytes) = (self.passed_us, &mut self.streams, &mut self.in_flight_bytes);
        self.in_flight.retain(|f| {
            let Some(s) = streams.iter_mut().find(|s| s.id == f.stream) else { return true };
            let keep = f.sent_at_us >= passed_us;
            if !keep && !f.given_up {
                s.sent.remove(f.seq);
                s.again.insert(f.seq, f.seq + 1);
            }
            if !keep {
                *bytes -= f.bytes;
            }
            keep
        });
    }
}
