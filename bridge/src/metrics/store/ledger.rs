//! The ledger: what became of every record, for each device and boot.
//!
//! Inputs are accounts, one for each stream: what windows named, and what was stored, dead and declared lost. Results are lines
//! in which produced = stored + dead + declared lost + missing. Every number is a count of sequence numbers, not an estimate.

use crate::clock;
use crate::intervals::Intervals;
use serde::Serialize;
use std::collections::BTreeMap;

/// What is known of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Counts streams in the order in which the journal first named them.
    pub order: i64,
    /// A window of the stream's own boot was read: the order is final.
    pub is_named: bool,
    /// The highest since that a window named.
    pub since: u64,
    /// The highest next that a window named.
    pub next: u64,
    /// Deliveries that were dropped because they were there already.
    pub duplicates: u64,
    /// One past the highest frame number in its reports.
    pub frames_seen: u64,
    /// The most dropped frames that its reports named.
    pub frames_dropped: u64,
    /// The earliest time of its records and of its boot's windows, in microseconds since the Unix epoch. 0 if the store counted the
    /// stream before it kept this time; none before there is anything.
    pub started_at_us: Option<u64>,
    /// In the store.
    pub stored: Intervals,
    /// In the dead letters.
    pub dead: Intervals,
    /// Declared lost by the edge.
    pub lost: Intervals,
}

impl Account {
    /// Notes the time of something of the stream's boot. The earliest stays.
    pub fn note_time(&mut self, at_us: u64) {
        self.started_at_us = Some(self.started_at_us.map_or(at_us, |started| started.min(at_us)));
    }
}

/// One boot of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The device.
    pub device: String,
    /// The boot, in decimal.
    pub boot: String,
    /// Records that the edge accepted.
    pub produced: u64,
    /// Records in the store.
    pub stored: u64,
    /// Dead letters.
    pub dead: u64,
    /// Deliveries dropped because they were there already.
    pub duplicates: u64,
    /// Given up by the edge, and neither stored nor dead.
    pub declared_lost: u64,
    /// Accepted, and nowhere yet.
    pub missing: u64,
    /// Frames that the source gave, as far as reports show.
    pub frames_seen: u64,
    /// Frames dropped before acceptance.
    pub frames_dropped: u64,
    /// When the boot's first record or window was made, in milliseconds since the Unix epoch, if that is known.
    pub started_at_ms: Option<u64>,
}

impl Line {
    /// Adds one of the boot's streams.
    fn add(&mut self, a: &Account) {
        let seen = a.stored.end().max(a.dead.end());
        let produced = a.next.max(seen).saturating_sub(a.since);
        let stored = a.stored.count_from(a.since);
        let dead = a.dead.minus(&a.stored).count_from(a.since);
        let declared = a.lost.minus(&a.stored).minus(&a.dead).count_from(a.since);
        // The journal's windows and losses may be anybody's: what is too much to count stays at the most.
        for (sum, more) in [
            (&mut self.produced, produced),
            (&mut self.stored, stored),
            (&mut self.dead, dead),
            (&mut self.declared_lost, declared),
            (&mut self.missing, produced.saturating_sub(stored.saturating_add(dead).saturating_add(declared))),
            (&mut self.duplicates, a.duplicates),
        ] {
            *sum = sum.saturating_add(more);
        }
        self.frames_seen = self.frames_seen.max(a.frames_seen);
        self.frames_dropped = self.frames_dropped.max(a.frames_dropped);
        let started_at_ms = a.started_at_us.map(|us| us / 1000);
        self.started_at_ms = self.started_at_ms.into_iter().chain(started_at_ms).min();
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} boot {}: produced {} = stored {}, lost {}, missing {}, dead {}, duplicates dropped {}; frames seen {}, dropped {}",
            self.device,
            self.boot,
            self.produced,
            self.stored,
            self.declared_lost,
            self.missing,
            self.dead,
            self.duplicates,
            self.frames_seen,
            self.frames_dropped
        )?;
        match self.started_at_ms {
            Some(ms) => write!(f, "; started {}", clock::rfc3339(ms.saturating_mul(1000))),
            None => Ok(()),
        }
    }
}

/// Accounts by device and stream.
pub type Accounts = BTreeMap<(String, u64), Account>;

/// One line for each boot: a device's boots in the order in which the journal first named them.
pub fn lines(accounts: &Accounts) -> Vec<Line> {
    let mut boots: BTreeMap<(&str, u64), (i64, Line)> = BTreeMap::new();
    for ((device, stream), account) in accounts {
        let boot = stream & !1;
        let (order, line) = boots.entry((device, boot)).or_insert_with(|| {
            let line = Line {
                device: device.clone(),
                boot: boot.to_string(),
                produced: 0,
                stored: 0,
                dead: 0,
                duplicates: 0,
                declared_lost: 0,
                missing: 0,
                frames_seen: 0,
                frames_dropped: 0,
                started_at_ms: None,
            };
            (account.order, line)
        });
        *order = (*order).min(account.order);
        line.add(account);
    }
    let mut all: Vec<(i64, Line)> = boots.into_values().collect();
    all.sort_by(|(a, x), (b, y)| x.device.cmp(&y.device).then(a.cmp(b)));
    // The time of a stream that the store counted before it kept times is not known.
    let known = |line: Line| Line { started_at_ms: line.started_at_ms.filter(|ms| *ms > 0), ..line };
    all.into_iter().map(|(_, line)| known(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(spans: &[(u64, u64)]) -> Intervals {
        let mut s = Intervals::default();
        for &(f, t) in spans {
            s.add(f, t);
        }
        s
    }

    #[test]
    fn produced_is_stored_and_dead_and_declared_lost_and_missing() {
        let data = Account {
            order: 2,
            next: 100,
            duplicates: 3,
            frames_seen: 90,
            frames_dropped: 1,
            stored: set(&[(0, 40), (50, 80)]),
            dead: set(&[(39, 42)]),
            lost: set(&[(41, 55)]),
            ..Account::default()
        };
        let losses = Account { order: 3, next: 1, stored: set(&[(0, 1)]), ..Account::default() };
        let other = Account { order: 1, next: 5, ..Account::default() };
        let accounts = Accounts::from([
            (("pi".to_owned(), 8), data),
            (("pi".to_owned(), 9), losses),
            (("pi".to_owned(), 20), other),
        ]);
        let lines = lines(&accounts);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].boot, "20", "named first");
        let l = &lines[1];
        // Stored 70 + 1; dead 40, 41 (39 is stored); lost 42..50 (50..55 is stored, 41 dead); missing 80..100.
        assert_eq!((l.produced, l.stored, l.dead, l.declared_lost, l.missing), (101, 71, 2, 8, 20));
        assert_eq!((l.duplicates, l.frames_seen, l.frames_dropped), (3, 90, 1));
        assert!(l.to_string().contains("produced 101 = stored 71, lost 8, missing 20, dead 2, duplicates dropped 3"));
    }

    #[test]
    fn what_lies_below_since_is_another_journals_business_and_a_late_window_hides_nothing() {
        let a = Account { since: 10, next: 12, stored: set(&[(5, 20)]), ..Account::default() };
        let l = &lines(&Accounts::from([(("pi".to_owned(), 8), a)]))[0];
        assert_eq!((l.produced, l.stored, l.missing), (10, 10, 0));
    }

    #[test]
    fn a_boot_starts_with_its_first_record_and_one_that_was_counted_before_has_no_time() {
        let at = |us: &[u64]| {
            let mut account = Account { next: 1, ..Account::default() };
            us.iter().for_each(|us| account.note_time(*us));
            account
        };
        let of = |data: Account, losses: Account| {
            let accounts = Accounts::from([(("pi".to_owned(), 8), data), (("pi".to_owned(), 9), losses)]);
            lines(&accounts).remove(0)
        };
        let line = of(at(&[1_795_762_800_500_000, 1_795_762_800_000_000]), at(&[1_795_762_801_000_000]));
        assert_eq!(line.started_at_ms, Some(1_795_762_800_000));
        assert!(line.to_string().ends_with("dropped 0; started 2026-11-27T07:00:00.000000Z"), "{line}");
        assert_eq!(of(at(&[]), at(&[7_000])).started_at_ms, Some(7));
        let unknown = of(at(&[0, 5_000]), at(&[7_000]));
        assert_eq!((unknown.started_at_ms, unknown.to_string().contains("started")), (None, false));
    }

    #[test]
    fn what_is_too_much_to_count_stays_at_the_most() {
        let a = Account { next: u64::MAX, lost: set(&[(0, u64::MAX)]), ..Account::default() };
        let accounts = Accounts::from([(("pi".to_owned(), 8), a.clone()), (("pi".to_owned(), 9), a)]);
        assert_eq!((lines(&accounts)[0].produced, lines(&accounts)[0].declared_lost), (u64::MAX, u64::MAX));
    }
}
