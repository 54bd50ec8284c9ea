//! When the spool is synced: after so many records, or so long after the first of them.
//!
//! Each sync writes the page of the disk that it ends in once more, and the file system's own notes; SD cards wear out by
//! that. A record waits for its sync before it is sent, so the time is also the longest delay of a live report.

use std::time::{Duration, Instant};

/// When to sync. Time is an argument.
#[derive(Debug, Clone)]
pub struct Cadence {
    records_max: u64,
    every: Duration,
    due: Option<Instant>,
}

impl Cadence {
    /// After `records_max` records, or `every` after the first that is not synced.
    pub fn new(records_max: u64, every: Duration) -> Cadence {
        Cadence { records_max, every, due: None }
    }

    /// A record was appended.
    pub fn appended(&mut self, now: Instant) {
        self.due.get_or_insert(now + self.every);
    }

    /// Returns true if a sync is due; `unsynced` records are not synced.
    pub fn is_due(&self, now: Instant, unsynced: u64) -> bool {
        self.due.is_some_and(|due| now >= due) || unsynced >= self.records_max
    }

    /// Everything is synced.
    pub fn synced(&mut self) {
        self.due = None;
    }

    /// When the next sync is due at the latest; none: nothing is appended.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault;
    use super::super::{Entry, Limits, Spool};
    use super::*;
    use crate::config::{Config, Raw};
    use crate::slot::empty_report;
    use firmware::limits::REPORT_BYTES_MAX;
    use firmware::wire::{self, Swatch};

    /// Bytes of the report of a usual scene of 16 colours.
    fn report() -> Vec<u8> {
        let mut report = empty_report();
        for id in 0..16 {
            report.palette.push(Swatch { id, rgb_q6: [12_345; 3], pixels: 19_200 }).unwrap();
        }
        let mut buf = vec![0; REPORT_BYTES_MAX];
        let n = wire::encode(&report, &mut buf).unwrap();
        buf.truncate(n);
        buf
    }

    /// Ten minutes at 30 frames a second as the configuration has it: syncs, bytes appended, bytes of pages that the disk got.
    fn ten_minutes(config: &Config) -> (u64, u64, u64) {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path(), Limits::of(config.spool_bytes_max), 2).unwrap();
        let mut cadence = Cadence::new(config.sync_records, Duration::from_millis(config.sync_ms));
        let (start, payload) = (Instant::now(), report());
        fault::reset_wear();
        for frame in 0..30 * 600u32 {
            let now = start + Duration::from_secs(1) * frame / 30;
            if cadence.is_due(now, spool.unsynced()) {
                spool.sync().unwrap();
                cadence.synced();
            }
            let entry = Entry { kind: 1, payload_version: 3, captured_at_us: 0, clock_synced: true, payload: &payload };
            spool.append(&entry).unwrap();
            cadence.appended(now);
        }
        spool.sync().unwrap();
        (fault::SYNCS.get(), spool.bytes(), fault::PAGES_WRITTEN.get() * fault::PAGE_BYTES)
    }

    #[test]
    fn at_30_frames_a_second_there_is_one_sync_a_second_and_the_disk_gets_at_most_twice_the_records() {
        let config = Config::check(Raw::default()).unwrap();
        let (syncs, records, pages) = ten_minutes(&config);
        println!("600 s: {syncs} syncs, {records} bytes of records, {pages} bytes of pages");
        assert!(syncs <= 600 + 3 * (records >> 20), "{syncs} syncs; three more for each segment");
        assert!(pages <= 2 * records, "{pages} bytes for {records}");
        let eager = Config { sync_ms: 100, ..config };
        let (syncs, records, pages) = ten_minutes(&eager);
        assert!(syncs > 4000 && pages > 2 * records, "the measure can fail: {syncs} syncs, {pages} for {records}");
    }

    #[test]
    fn a_sync_is_due_after_the_time_or_the_records_whichever_comes_first() {
        let now = Instant::now();
        let mut cadence = Cadence::new(64, Duration::from_millis(1000));
        assert!(!cadence.is_due(now + Duration::from_secs(9), 0), "nothing is appended");
        cadence.appended(now);
        cadence.appended(now + Duration::from_millis(900));
        assert!(!cadence.is_due(now + Duration::from_millis(999), 2));
        assert!(cadence.is_due(now + Duration::from_millis(1000), 2), "counted from the first");
        assert!(cadence.is_due(now, 64));
        cadence.synced();
        assert_eq!(cadence.due(), None);
    }
}
