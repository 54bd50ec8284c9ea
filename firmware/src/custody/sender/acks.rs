//! What an ack changes: it settles records, proves losses, may name another journal, and acknowledges a window.
//!
//! The one entry is [`Sender::on_ack`]. Acks may come late, repeatedly and out of order. Streams and ranges that the sender
//! does not know are counted and change nothing.

use super::Sender;
use super::in_flight::InFlight;
use crate::custody::{Ack, JournalId, StreamAck, WindowId};

/// What an ack changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AckOutcome {
    /// Records that were held and are settled now. More than 0 means progress and restarts the probe time-out. A record
    /// that was forgotten counts again when it is settled again.
    pub acked: u64,
    /// Records that were settled and are held again: their stream had too many ranges and forgot the highest.
    pub forgotten: u64,
    /// Transmissions that the ack proves to be lost. Their records will be sent again.
    pub lost: u32,
    /// Streams and ranges that the sender does not know.
    pub ignored: u32,
    /// The ack names another journal than before, or the first one. The caller must write `since` and the journal's id to disk.
    pub journal_changed: bool,
}

impl Sender {
    /// Takes an ack, whichever session, boot or bridge it is from.
    pub fn on_ack(&mut self, ack: &Ack, now_us: u64) -> AckOutcome {
        let mut outcome = AckOutcome { journal_changed: self.take_journal(&ack.journal), ..AckOutcome::default() };
        for s in &mut self.streams {
            s.loss_horizon = u64::MAX;
            s.resent.forget_below(s.settled.floor());
        }
        for stream_ack in &ack.streams {
            self.settle_ranges(stream_ack, &mut outcome);
        }
        if self.in_flight.iter().any(|f| names(ack, f)) {
            self.in_flight.retain(|f| !f.given_up);
        }
        outcome.lost = self.detect_losses(now_us);
        if outcome.acked > 0 {
            (self.probes, self.quiet_since_us) = (0, now_us);
        }
        if outcome.acked > 0 || outcome.journal_changed {
            (self.window_changed, self.window_answers_ack) = (true, true);
        }
        self.take_window_id(ack.window);
        outcome
    }

    fn settle_ranges(&mut self, stream_ack: &StreamAck, outcome: &mut AckOutcome) {
        let Some(s) = self.find_mut(stream_ack.stream) else {
            outcome.ignored += 1;
            return;
        };
        if let Some(&(_, to)) = stream_ack.ranges.last().filter(|_| stream_ack.ranges.is_full()) {
            s.loss_horizon = to;
        }
        for &(from, to) in &stream_ack.ranges {
            if from >= s.next {
                outcome.ignored += 1;
                continue;
            }
            let settled = s.settle(from, to.min(s.next));
            outcome.acked += settled.new;
            outcome.forgotten += settled.forgotten;
        }
    }

    /// Returns true if the ack names another journal than before. That one has nothing above the floors; the disk still has
    /// it, and it is sent again.
    fn take_journal(&mut self, journal: &JournalId) -> bool {
        if self.journal.as_ref() == Some(journal) {
            return false;
        }
        if self.journal.is_some() {
            for s in &mut self.streams {
                s.change_journal();
            }
            self.in_flight.clear();
            self.window_acked = 0;
        }
        self.journal = Some(journal.clone());
        self.window_changed = true;
        true
    }

    /// Takes the id of the last window in the journal. Older streams that this window, or one before it, named as settled
    /// leave the table. Windows of other boots are ignored.
    fn take_window_id(&mut self, id: Option<WindowId>) {
        let Some(id) = id.filter(|id| id.boot == self.boot() && id.n <= self.windows) else { return };
        self.window_acked = self.window_acked.max(id.n);
        let mut position = 0;
        self.streams.retain(|s| {
            position += 1;
            let leaves = position > 2 && s.settled_in_window.is_some_and(|n| n <= id.n) && s.floor() == s.next;
            !leaves
        });
    }
}

/// Returns true if `ack` names the record.
fn names(ack: &Ack, f: &InFlight) -> bool {
    let of_stream = |sa: &&StreamAck| sa.stream == f.stream;
    ack.streams.iter().filter(of_stream).any(|sa| sa.ranges.iter().any(|&(from, to)| (from..to).contains(&f.seq)))
}
