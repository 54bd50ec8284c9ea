//! The sender's choice of the next record: a probe, a live record, or the lowest of the backlog.
//!
//! The window limits what is sent and not acknowledged, so the broker's queue is bounded however long the journal is away.
//! A part of the window is kept for live records. A probe is always the oldest held record and is outside the window's limit;
//! with the oldest record in flight instead, a bridge that must forget ranges and a full window would wait for each other.

use super::stream::Stream;
use super::{PROBE_US_MAX, PROBE_US_MIN, Sender, Transmission};

/// The part of the window that is kept for live records: one in this many.
const LIVE_SHARE: usize = 4;

impl Sender {
    /// Returns the record to send now, if one may be sent.
    pub fn poll(&mut self, now_us: u64) -> Option<Transmission> {
        if self.probe_due_us().is_some_and(|due| now_us >= due)
            && let Some((stream, seq)) = self.oldest_held()
        {
            self.lose_passed_transmissions();
            return Some(Transmission { stream, seq, probe: true });
        }
        if self.in_flight.bytes() >= self.config.window_bytes {
            return None;
        }
        let room = self.config.window_records.saturating_sub(self.in_flight.len());
        let kept = self.config.window_records / LIVE_SHARE;
        let record = |(stream, seq)| Transmission { stream, seq, probe: false };
        if room > 0
            && let Some(live) = self.live(kept as u64)
        {
            return Some(record(live));
        }
        if room > kept { self.backlog().map(record) } else { None }
    }

    /// Reports that `t` was handed to the socket as `bytes` on the MQTT topic with index `topic`, which is below
    /// [`TOPICS_MAX`](super::TOPICS_MAX).
    pub fn sent(&mut self, t: Transmission, topic: u8, bytes: usize, now_us: u64) {
        let Some(s) = self.find(t.stream) else { return };
        let resent = s.resent.contains(t.seq);
        if self.in_flight.len() == 0 || t.probe {
            self.quiet_since_us = now_us;
        }
        if t.probe {
            self.probes += 1;
        }
        self.in_flight.add(t.stream, t.seq, topic, bytes, resent, now_us);
    }

    /// Returns the oldest streams first and this boot's data last.
    fn by_age(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().skip(2).chain(self.streams.iter().take(2).rev())
    }

    fn oldest_held(&self) -> Option<(u64, u64)> {
        self.by_age().find_map(|s| s.oldest_held().map(|seq| (s.id, seq)))
    }

    fn backlog(&self) -> Option<(u64, u64)> {
        self.by_age().find_map(|s| self.in_flight.unsent_from(s, 0).map(|seq| (s.id, seq)))
    }

    /// Returns the next live record. A run of live records goes on in order while it is at most `newest` records behind. Then
    /// a new run begins near the newest record, and the skipped ones become backlog. Few runs make few ranges in an ack.
    fn live(&mut self, newest: u64) -> Option<(u64, u64)> {
        let s = self.streams.first()?;
        let seq = self.in_flight.unsent_from(s, self.live_from)?;
        if s.next - seq <= newest {
            return Some((s.id, seq));
        }
        self.live_from = s.next - newest.div_ceil(2).max(1);
        self.in_flight.unsent_from(s, self.live_from).map(|seq| (s.id, seq))
    }

    /// Returns the probe time-out: three times the smoothed ack delay, doubled by each probe without an answer.
    pub(super) fn probe_after_us(&self) -> u64 {
        let base = (self.ack_delay_us * 3).clamp(PROBE_US_MIN, PROBE_US_MAX);
        let doubled = base.saturating_mul(1 << self.probes.min(6)).min(PROBE_US_MAX);
        // Jitter of up to an eighth, so that a thousand edges do not probe a returning bridge at the same moment.
        let hash = (self.boot() ^ u64::from(self.probes)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 57;
        doubled + doubled * hash / 1024
    }

    pub(super) fn probe_due_us(&self) -> Option<u64> {
        let awaited = self.reachable && self.held() > 0 && self.in_flight.len() > 0;
        awaited.then(|| self.quiet_since_us + self.probe_after_us())
    }
}
