//! Sender: the edge's half of custody: what it holds, what to send now, and what an ack settles.
//!
//! Takes what was accepted, acks, the bridge's state and the time. Gives transmissions, windows and floors to trim to.
//! Touches its own bounded tables of streams and of records in flight.
//! Never trusts a PUBACK: only the journal's ack settles a record. Never takes anything back for a stale or smaller ack.

use super::{Ack, JournalId, StreamAck, StreamWindow, Window, WindowId};
use crate::limits::{RANGES_MAX, STREAMS_MAX, WINDOW_RECORDS_MAX};
use crate::ranges::Ranges;
use heapless::Vec;
use losses::InFlight;

mod losses;

/// MQTT topics whose order the loss detection knows of.
pub const TOPICS_MAX: usize = 4;
/// Shortest probe time-out.
const PROBE_US_MIN: u64 = 1_000_000;
/// The delay of an ack before the first was measured: a journal's first record may wait for topics and producers.
const ACK_DELAY_US_START: u64 = 2_000_000;
/// Longest probe time-out, also after doubling.
const PROBE_US_MAX: u64 = 60_000_000;
/// Windows are said at most this often while they change.
const WINDOW_EVERY_US: u64 = 1_000_000;
/// Part of the window that is kept for live records: one in this many.
const LIVE_SHARE: usize = 4;
/// Ranges kept of records that were sent again; beyond that the highest is forgotten.
const AGAIN_RANGES: usize = 16;
/// Places in the table of records in flight beyond the window, for probes.
const PROBES_IN_FLIGHT: usize = 8;

/// Limits of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderConfig {
    /// Records sent and not yet acknowledged by the journal, 4 to [`WINDOW_RECORDS_MAX`].
    pub window_records: usize,
    /// Bytes sent and not yet acknowledged by the journal; one record may go over it.
    pub window_bytes: usize,
}

impl Default for SenderConfig {
    fn default() -> Self {
        SenderConfig { window_records: 256, window_bytes: 1024 * 1024 }
    }
}

/// There is no place for another stream: older boots must drain first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamsFull;

/// One record to send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmission {
    /// Its stream.
    pub stream: u64,
    /// Its seq.
    pub seq: u64,
    /// It is a probe, outside the window's limit.
    pub probe: bool,
}

/// What an ack changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AckOutcome {
    /// Records settled by it.
    pub acked: u64,
    /// Transmissions that it shows to be lost: their records will be sent again.
    pub lost: u32,
    /// Streams and ranges that the sender knows nothing of.
    pub ignored: u32,
    /// It names another journal than before (or the first): `since` and the journal's id must go to disk.
    pub journal_changed: bool,
}

#[derive(Debug, Clone)]
struct Stream {
    id: u64,
    since: u64,
    next: u64,
    /// Not held any more: acknowledged, or given up with a loss record.
    settled: Ranges<RANGES_MAX>,
    /// Settled or in flight.
    sent: Ranges<RANGES_MAX>,
    /// Called lost and not settled since: an ack may be for any of their transmissions.
    again: Ranges<AGAIN_RANGES>,
    /// The first window in which an older stream was said to be settled.
    said_settled: Option<u64>,
    /// The last ack had no room for what it knows of seqs from here on, so it proves no loss there.
    horizon: u64,
}

impl Stream {
    fn new(id: u64, since: u64, floor: u64, next: u64) -> Self {
        let settled = Ranges::below(floor);
        Stream {
            id,
            since,
            next,
            sent: settled.clone(),
            settled,
            again: Ranges::below(0),
            said_settled: None,
            horizon: u64::MAX,
        }
    }

    fn floor(&self) -> u64 {
        self.settled.floor().min(self.next)
    }

    fn held(&self) -> u64 {
        let above: u64 = self.settled.above().iter().map(|&(from, to)| to - from).sum();
        self.next.saturating_sub(self.settled.floor()).saturating_sub(above)
    }

    fn unsent_from(&self, seq: u64) -> Option<u64> {
        Some(self.sent.gap_from(seq)).filter(|&s| s < self.next)
    }

    fn oldest_held(&self) -> Option<u64> {
        Some(self.settled.floor()).filter(|&s| s < self.next)
    }
}

/// The state machine. About 200 KiB, all of it in the value.
#[derive(Debug)]
pub struct Sender {
    config: SenderConfig,
    /// The boot, its loss stream, then older streams by age.
    streams: Vec<Stream, STREAMS_MAX>,
    in_flight: Vec<InFlight, { WINDOW_RECORDS_MAX + PROBES_IN_FLIGHT }>,
    in_flight_bytes: usize,
    numbers: [u64; TOPICS_MAX],
    journal: Option<JournalId>,
    reachable: bool,
    /// When progress was last made, a probe last sent, or the first record put in flight.
    quiet_since_us: u64,
    probes: u32,
    /// When the youngest transmission of an acknowledged record was sent: the way was open then, or is since.
    passed_us: u64,
    smoothed_us: u64,
    measured: bool,
    /// Where the present run of live records begins, in the boot's stream.
    live_from: u64,
    windows: u64,
    window_acked: u64,
    window_at_us: Option<u64>,
    window_changed: bool,
    /// Acks have changed it: whoever gave them is there to hear of it.
    window_answers: bool,
    window_repeats: u32,
}

impl Sender {
    /// A sender for a newly opened spool. `boot` is the new data stream (lowest bit 0); `boot + 1` is for loss records.
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
            in_flight: Vec::new(),
            in_flight_bytes: 0,
            numbers: [0; TOPICS_MAX],
            journal: None,
            reachable: true,
            quiet_since_us: 0,
            probes: 0,
            passed_us: 0,
            smoothed_us: ACK_DELAY_US_START,
            measured: false,
            live_from: 0,
            windows: 0,
            window_acked: 0,
            window_at_us: None,
            window_changed: true,
            window_answers: false,
            window_repeats: 0,
        }
    }

    /// An older stream, found on the disk at open; the oldest first.
    ///
    /// # Errors
    /// [`StreamsFull`], when [`STREAMS_MAX`] are known already.
    pub fn restore(&mut self, stream: u64, since: u64, floor: u64, next: u64) -> Result<(), StreamsFull> {
        if self.find(stream).is_some() {
            return Ok(());
        }
        self.streams.push(Stream::new(stream, since, floor.min(next), next)).map_err(|_| StreamsFull)
    }

    /// The journal's id that was kept on the disk, at open.
    pub fn set_journal(&mut self, journal: Option<JournalId>) {
        self.journal = journal;
    }

    /// The journal that is answerable now.
    pub fn journal(&self) -> Option<&JournalId> {
        self.journal.as_ref()
    }

    /// This open's data stream.
    pub fn boot(&self) -> u64 {
        self.streams.first().map_or(0, |s| s.id)
    }

    /// All of `stream` below `next` is appended and synced.
    pub fn accepted(&mut self, stream: u64, next: u64) {
        if let Some(s) = self.find_mut(stream)
            && next > s.next
        {
            s.next = next;
            self.window_changed = true;
        }
    }

    /// The first range within `from..to` of `stream` that is neither acknowledged nor given up; of a stream that is not
    /// known here, all of it.
    pub fn unsettled(&self, stream: u64, from: u64, to: u64) -> Option<(u64, u64)> {
        let (mut from, mut to) = (from, to);
        if let Some(s) = self.find(stream) {
            from = s.settled.gap_from(from);
            to = s.settled.above().iter().map(|r| r.0).find(|&above| above > from).map_or(to, |above| to.min(above));
        }
        (from < to).then_some((from, to))
    }

    /// `from..to` of `stream` is given up; its loss record is accepted already. What of it is in flight keeps its place in
    /// the window until the journal shows that it takes records: a spool that rolls over while the journal is away would
    /// send all that it ever held into the broker's queue.
    pub fn gone(&mut self, stream: u64, from: u64, to: u64) {
        let Some(s) = self.find_mut(stream) else { return };
        s.settled.insert(from, to);
        s.sent.insert(from, to);
        for f in self.in_flight.iter_mut().filter(|f| f.stream == stream && (from..to).contains(&f.seq)) {
            f.given_up = true;
        }
        self.window_changed = true;
    }

    /// A connection to the broker stands: a window is due at once. Nothing else changes by it.
    pub fn connected(&mut self, now_us: u64) {
        self.window_at_us = None;
        self.window_changed = true;
        self.window_repeats = 0;
        self.quiet_since_us = self.quiet_since_us.max(now_us.saturating_sub(self.probe_after_us()));
    }

    /// What the bridge's own `status` says: whether it and its journal can be reached.
    ///
    /// When it is back, the broker most likely still has what was sent meanwhile: a probe at once would always cost a
    /// duplicate, so the first follows after one undoubled time-out in which no ack came.
    /// Any such word, also one that brings no news, ends the doubling: a bridge that comes for the first time finds nothing
    /// of what was sent before it, for the broker had nobody to keep that for.
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

    /// The record to send now, if one may be sent: a probe, a live record, or the lowest of the backlog.
    pub fn poll(&mut self, now_us: u64) -> Option<Transmission> {
        if self.probe_due_us().is_some_and(|due| now_us >= due)
            && let Some((stream, seq)) = self.oldest_held()
        {
            self.lose_what_was_passed();
            return Some(Transmission { stream, seq, probe: true });
        }
        if self.in_flight_bytes >= self.config.window_bytes {
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

    /// `t` was handed to the socket as `bytes` on the MQTT topic with index `topic` (below [`TOPICS_MAX`]).
    pub fn sent(&mut self, t: Transmission, topic: u8, bytes: usize, now_us: u64) {
        let Some(s) = self.find_mut(t.stream) else { return };
        s.sent.insert(t.seq, t.seq + 1);
        let again = s.again.contains(t.seq);
        let topic = topic.min(TOPICS_MAX as u8 - 1);
        let number = self.numbers.get_mut(usize::from(topic)).map_or(0, |n| {
            *n += 1;
            *n
        });
        if self.in_flight.is_empty() || t.probe {
            self.quiet_since_us = now_us;
        }
        if t.probe {
            self.probes += 1;
        }
        let same = |f: &InFlight| (f.stream, f.seq) == (t.stream, t.seq);
        let before = self.in_flight.iter().find(|f| same(f)).map(|f| f.proves);
        self.drop_in_flight(same);
        let proves = before.unwrap_or(if again { 0 } else { number });
        let (stream, seq, sent_at_us) = (t.stream, t.seq, now_us);
        let entry = InFlight { stream, seq, number, proves, sent_at_us, bytes, topic, given_up: false };
        // Full only when more probes are out than have places: then a repeat is all that can come of it.
        if self.in_flight.push(entry).is_ok() {
            self.in_flight_bytes += bytes;
        }
    }

    /// Takes an ack, whichever session, boot or bridge it is from.
    pub fn on_ack(&mut self, ack: &Ack, now_us: u64) -> AckOutcome {
        let mut outcome = AckOutcome { journal_changed: self.take_journal(&ack.journal), ..AckOutcome::default() };
        let before = self.held();
        for s in &mut self.streams {
            s.horizon = u64::MAX;
            s.again.forget_below(s.settled.floor());
        }
        for sa in &ack.streams {
            let Some(s) = self.find_mut(sa.stream) else {
                outcome.ignored += 1;
                continue;
            };
            if let Some(&(_, to)) = sa.ranges.last().filter(|_| sa.ranges.is_full()) {
                s.horizon = to;
            }
            for &(from, to) in &sa.ranges {
                if from >= s.next {
                    outcome.ignored += 1;
                    continue;
                }
                let to = to.min(s.next);
                s.settled.insert(from, to);
                s.sent.insert(from, to);
            }
        }
        outcome.acked = before - self.held();
        let names = |f: &InFlight| {
            let of = |sa: &&StreamAck| sa.stream == f.stream;
            ack.streams.iter().filter(of).any(|sa| sa.ranges.iter().any(|&(from, to)| (from..to).contains(&f.seq)))
        };
        if self.in_flight.iter().any(names) {
            self.drop_in_flight(|f| f.given_up);
        }
        outcome.lost = self.detect_losses(now_us);
        if outcome.acked > 0 {
            (self.probes, self.quiet_since_us) = (0, now_us);
        }
        if outcome.acked > 0 || outcome.journal_changed {
            (self.window_changed, self.window_answers) = (true, true);
        }
        self.take_window_id(ack.window);
        outcome
    }

    /// Whether a window should be said now.
    pub fn window_due(&self, now_us: u64) -> bool {
        self.window_due_us().is_some_and(|due| now_us >= due)
    }

    /// The window to say now.
    pub fn window(&mut self, now_us: u64) -> Window {
        self.windows += 1;
        self.window_repeats = if self.window_changed { 0 } else { self.window_repeats.saturating_add(1) };
        (self.window_changed, self.window_answers) = (false, false);
        self.window_at_us = Some(now_us);
        let n = self.windows;
        for s in self.streams.iter_mut().skip(2) {
            if s.floor() == s.next && s.said_settled.is_none() {
                s.said_settled = Some(n);
            }
        }
        Window {
            id: WindowId { boot: self.boot(), n },
            journal: self.journal.clone(),
            streams: self.streams().collect(),
        }
    }

    /// When to ask [`Sender::poll`] and [`Sender::window_due`] again if nothing else happens.
    pub fn deadline_us(&self) -> Option<u64> {
        [self.probe_due_us(), self.window_due_us()].into_iter().flatten().min()
    }

    /// The lowest held seq of a stream: all below may leave the disk, from the front.
    pub fn floor(&self, stream: u64) -> Option<u64> {
        self.find(stream).map(Stream::floor)
    }

    /// The streams as the next window will say them: those with something in them, and the boot itself.
    pub fn streams(&self) -> impl Iterator<Item = StreamWindow> {
        let boot = self.boot();
        self.streams.iter().filter(move |s| s.next > 0 || s.id == boot).map(|s| StreamWindow {
            stream: s.id,
            since: s.since,
            floor: s.floor(),
            next: s.next,
        })
    }

    /// Records accepted and not yet settled, over all streams.
    pub fn held(&self) -> u64 {
        self.streams.iter().fold(0, |n, s| n.saturating_add(s.held()))
    }

    /// Records sent and not yet acknowledged by the journal.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Nothing is held, and the bridge has journalled a window that says so.
    pub fn settled(&self) -> bool {
        self.held() == 0 && !self.window_changed && self.windows > 0 && self.window_acked == self.windows
    }

    fn find(&self, stream: u64) -> Option<&Stream> {
        self.streams.iter().find(|s| s.id == stream)
    }

    fn find_mut(&mut self, stream: u64) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|s| s.id == stream)
    }

    /// Oldest streams first, this boot's data last.
    fn by_age(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().skip(2).chain(self.streams.iter().take(2).rev())
    }

    fn oldest_held(&self) -> Option<(u64, u64)> {
        self.by_age().find_map(|s| s.oldest_held().map(|seq| (s.id, seq)))
    }

    fn backlog(&self) -> Option<(u64, u64)> {
        self.by_age().find_map(|s| s.unsent_from(0).map(|seq| (s.id, seq)))
    }

    /// The next live record. A run of live records goes on in order as long as it is at most `newest` behind; then a
    /// new run begins with the newest, and what is skipped belongs to the backlog: few runs, so few ranges in an ack.
    fn live(&mut self, newest: u64) -> Option<(u64, u64)> {
        let s = self.streams.first()?;
        let seq = s.unsent_from(self.live_from)?;
        if s.next - seq <= newest {
            return Some((s.id, seq));
        }
        self.live_from = s.next - newest.div_ceil(2).max(1);
        s.unsent_from(self.live_from).map(|seq| (s.id, seq))
    }

    /// Another journal knows nothing of what lies above the floors: all that is on disk still, and is sent again.
    fn take_journal(&mut self, journal: &JournalId) -> bool {
        if self.journal.as_ref() == Some(journal) {
            return false;
        }
        if self.journal.is_some() {
            for s in &mut self.streams {
                s.since = s.floor();
                s.settled.reset(s.since);
                s.sent = s.settled.clone();
                s.said_settled = None;
            }
            self.in_flight.clear();
            self.in_flight_bytes = 0;
            self.window_acked = 0;
        }
        self.journal = Some(journal.clone());
        self.window_changed = true;
        true
    }

    /// A window of this boot is in the journal: older streams that it said were settled leave the table.
    fn take_window_id(&mut self, id: Option<WindowId>) {
        let Some(id) = id.filter(|id| id.boot == self.boot() && id.n <= self.windows) else { return };
        self.window_acked = self.window_acked.max(id.n);
        let mut place = 0;
        self.streams.retain(|s| {
            place += 1;
            let leaves = place > 2 && s.said_settled.is_some_and(|n| n <= id.n) && s.floor() == s.next;
            !leaves
        });
    }

    fn probe_after_us(&self) -> u64 {
        let base = (self.smoothed_us * 3).clamp(PROBE_US_MIN, PROBE_US_MAX);
        let doubled = base.saturating_mul(1 << self.probes.min(6)).min(PROBE_US_MAX);
        // Jitter of up to an eighth, so that a thousand edges do not probe a returning bridge in one beat.
        let hash = (self.boot() ^ u64::from(self.probes)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 57;
        doubled + doubled * hash / 1024
    }

    fn probe_due_us(&self) -> Option<u64> {
        if !self.reachable || self.held() == 0 {
            return None;
        }
        (!self.in_flight.is_empty()).then(|| self.quiet_since_us + self.probe_after_us())
    }

    /// While bridge or journal are away, what is accepted or given up is a reason for one a minute: the broker would keep a
    /// window a second of every device for as long as they are. Not for none: what says that they are away may be out of date.
    fn window_due_us(&self) -> Option<u64> {
        let Some(at) = self.window_at_us else { return Some(0) };
        if self.window_changed {
            let awaited = self.reachable || self.window_answers;
            return Some(at + if awaited { WINDOW_EVERY_US } else { PROBE_US_MAX });
        }
        let waiting = self.window_acked < self.windows && self.reachable;
        let after = (PROBE_US_MIN << self.window_repeats.min(6)).max(self.smoothed_us * 3).min(PROBE_US_MAX);
        waiting.then(|| at + after)
    }
}

#[cfg(test)]
mod tests;
