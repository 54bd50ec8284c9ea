//! Loss detection: which records in flight are declared lost, so that they are sent again.
//!
//! The rules are those of RFC 9002: a packet threshold and a time threshold, both measured against the latest transmission
//! that an ack proves to have arrived. An ack of a record that was sent twice proves only its first transmission; what it
//! seems to prove beyond that is believed only after a probe time-out without any ack.

use super::Sender;
use super::in_flight::TOPICS_MAX;

/// A transmission this many before an acknowledged one is lost (RFC 9002, section 6.1.1: `kPacketThreshold`).
const PACKET_THRESHOLD: u64 = 3;
/// A record is not declared lost for its age before this. RFC 9002, section 6.1.2, has 1 ms; here the bridge may delay an ack
/// by 250 ms, and a journal's batches take as long again.
const LOSS_AGE_US_MIN: u64 = 500_000;

impl Sender {
    /// Removes settled records from the flight, measures the ack delay, and declares lost what lies too far behind. Returns
    /// the number of lost transmissions.
    pub(super) fn detect_losses(&mut self, now_us: u64) -> u32 {
        let mut highest = [0; TOPICS_MAX];
        let mut youngest_sent_us = None;
        for f in self.in_flight.iter().filter(|f| !f.given_up) {
            if !self.streams.iter().any(|s| s.id == f.stream && s.settled.contains(f.seq)) {
                continue;
            }
            self.youngest_acked_sent_us = self.youngest_acked_sent_us.max(f.sent_at_us);
            if let Some(h) = highest.get_mut(usize::from(f.topic)) {
                *h = f.proves.max(*h);
            }
            // For a record that was sent twice the ack does not show which transmission arrived.
            if f.proves == f.number {
                youngest_sent_us = youngest_sent_us.max(Some(f.sent_at_us));
            }
        }
        let delay_us = youngest_sent_us.map(|sent_at_us| now_us.saturating_sub(sent_at_us));
        if let Some(us) = delay_us {
            self.ack_delay_us = if self.ack_delay_is_measured { (self.ack_delay_us * 7 + us) / 8 } else { us };
            self.ack_delay_is_measured = true;
        }
        let age_us = (self.ack_delay_us.max(delay_us.unwrap_or(0)) * 9 / 8).max(LOSS_AGE_US_MIN);
        let (streams, mut lost) = (&mut self.streams, 0);
        self.in_flight.retain(|f| {
            let Some(s) = streams.iter_mut().find(|s| s.id == f.stream) else { return false };
            if s.settled.contains(f.seq) {
                return f.given_up;
            }
            let highest = highest.get(usize::from(f.topic)).copied().unwrap_or(0);
            let is_old = f.number < highest && now_us.saturating_sub(f.sent_at_us) > age_us;
            let is_lost = f.seq < s.loss_horizon && (f.number + PACKET_THRESHOLD <= highest || is_old);
            if is_lost {
                s.resent.insert(f.seq, f.seq + 1);
                lost += 1;
            }
            !is_lost
        });
        lost
    }

    /// Declares lost what was sent before the youngest acknowledged transmission. Called when a probe is due, that is after a
    /// whole time-out without an ack: such a record would have arrived by now.
    ///
    /// Without this rule, a broker that dropped a whole window would be given it record by record, because the ack of a probe
    /// is of a record that was sent twice and proves nothing by itself. Records for which the last ack had no room are
    /// included, although they may have arrived: otherwise they would fill the window, and the holes below them, which keep
    /// them from being acknowledged, would close one by one.
    pub(super) fn lose_passed_transmissions(&mut self) {
        let (youngest_us, streams) = (self.youngest_acked_sent_us, &mut self.streams);
        self.in_flight.retain(|f| {
            let Some(s) = streams.iter_mut().find(|s| s.id == f.stream) else { return true };
            let is_passed = f.sent_at_us < youngest_us;
            if is_passed && !f.given_up {
                s.resent.insert(f.seq, f.seq + 1);
            }
            !is_passed
        });
    }
}
