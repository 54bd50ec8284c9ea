//! One stream of the sender: which of its records are settled.
//!
//! The caller reports accepted and settled records. The stream returns its floor and the number of held records.
//! The set of settled records keeps at most [`RANGES_MAX`] ranges. A full set forgets its highest range: those records are
//! held again and will be sent again, which costs duplicates but loses nothing. It cannot go on for ever, because a range is
//! forgotten only in favour of a lower one.

use crate::custody::ranges::Ranges;
use crate::limits::RANGES_MAX;

/// Maximum number of ranges of records that were sent again. Past it the highest is forgotten, and an ack of such a record
/// may then call records lost that are not: a duplicate each.
const RESENT_RANGES: usize = 16;

#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub id: u64,
    pub since: u64,
    pub next: u64,
    /// Records that are not held any more: acknowledged, or given up with a loss record.
    pub settled: Ranges<RANGES_MAX>,
    /// Records that may have been transmitted more than once: declared lost, or forgotten by `settled`, and not settled since.
    /// An ack of one may be for any of its transmissions.
    pub resent: Ranges<RESENT_RANGES>,
    /// The first window that named this older stream as settled.
    pub settled_in_window: Option<u64>,
    /// The last ack had no room for ranges from this seq on, so it proves no loss there.
    pub loss_horizon: u64,
}

/// How a call of [`Stream::settle`] changed the set of settled records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Settled {
    /// Records that were held and are settled now.
    pub new: u64,
    /// Records that were settled and are held again, because the set was full.
    pub forgotten: u64,
}

impl Stream {
    pub fn new(id: u64, since: u64, floor: u64, next: u64) -> Self {
        Stream {
            id,
            since,
            next,
            settled: Ranges::below(floor),
            resent: Ranges::below(0),
            settled_in_window: None,
            loss_horizon: u64::MAX,
        }
    }

    /// Returns the lowest held seq, or `next` if none is held.
    pub fn floor(&self) -> u64 {
        self.settled.floor().min(self.next)
    }

    /// Returns the number of accepted records that are not settled.
    pub fn held(&self) -> u64 {
        let above: u64 = self.settled.above().iter().map(|&(from, to)| to - from).sum();
        self.next.saturating_sub(self.settled.floor()).saturating_sub(above)
    }

    /// Returns the lowest held seq, if any record is held.
    pub fn oldest_held(&self) -> Option<u64> {
        Some(self.settled.floor()).filter(|&s| s < self.next)
    }

    /// Settles `from..to`.
    pub fn settle(&mut self, from: u64, to: u64) -> Settled {
        let before = self.held();
        let forgotten = match self.settled.insert(from, to) {
            // The set is full and this range is its highest: nothing has changed.
            Some(range) if range == (from, to) => return Settled::default(),
            Some((from, to)) => {
                self.resent.insert(from, to);
                to - from
            }
            None => 0,
        };
        Settled { new: (before + forgotten).saturating_sub(self.held()), forgotten }
    }

    /// Makes the stream answerable to another journal: all above the floor is held again.
    pub fn change_journal(&mut self) {
        self.since = self.floor();
        self.settled.reset(self.since);
        self.settled_in_window = None;
    }
}
