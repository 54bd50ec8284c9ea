//! Reads the local journal in the order of its positions.
//!
//! Inputs are the file, over a connection of its own, and where to begin. It looks for new entries only when another
//! connection has changed the file. As the one member of a group it waits until it is given where to begin.

use super::{PLACE, away, end};
use crate::journal::{BATCH_BYTES_MAX, Batch, Entry, JournalError, Marks, Offsets, Reader, Rebalance, Record, Topic};
use rusqlite::{Connection, OptionalExtension, params};
use std::fs::File;
use std::time::{Duration, Instant};

/// How often a reader looks.
const POLL: Duration = Duration::from_millis(25);

/// Reads entries from a position on, over a connection of its own.
pub(super) struct LocalReader {
    connection: Connection,
    /// Position of the next entry.
    next: i64,
    /// SQLite's `data_version` at the last look; none before the first.
    version: Option<i64>,
    started: bool,
    member: Option<Member>,
}

impl LocalReader {
    /// One that begins at position `next`.
    pub(super) fn at(connection: Connection, next: i64) -> LocalReader {
        LocalReader { connection, next, version: None, started: false, member: None }
    }

    /// The one member of a group, as long as it has `lock`.
    pub(super) fn into_member(mut self, lock: File) -> LocalReader {
        self.member = Some(Member { _lock: lock, is_waiting: true, is_told: false });
        self
    }
}

/// The one member of a group on a local journal, as long as it has the lock.
struct Member {
    _lock: File,
    /// It waits until it is given where to begin.
    is_waiting: bool,
    /// It has asked for that.
    is_told: bool,
}

impl Reader for LocalReader {
    fn read(&mut self, max: usize, wait: Duration) -> Result<Batch, JournalError> {
        let mut batch = Batch::default();
        if self.member.as_ref().is_some_and(|m| m.is_waiting) {
            self.idle(wait.min(POLL));
            return Ok(batch);
        }
        if !self.started {
            let (first, end) = (first(&self.connection).map_err(away)?, end(&self.connection).map_err(away)?);
            // What retention took before it was read counts as out of range, too; pictures without custody do not.
            if self.next > end || (self.next > 1 && self.next < first) {
                batch.restarted.push(PLACE.to_owned());
                self.next = 1;
            }
            self.started = true;
        }
        let deadline = Instant::now() + wait;
        loop {
            let version = self.connection.query_row("PRAGMA data_version", [], |r| r.get(0)).map_err(away)?;
            if self.version != Some(version) {
                let (records, bytes) = self.select(max).map_err(away)?;
                batch.records = records;
                // After a full batch there may be more without another commit.
                let is_full = batch.records.len() >= max || bytes >= BATCH_BYTES_MAX;
                self.version = (!is_full).then_some(version);
            }
            if let Some(last) = batch.records.last() {
                self.next = last.offset + 1;
            }
            if !batch.records.is_empty() || !batch.restarted.is_empty() || Instant::now() >= deadline {
                return Ok(batch);
            }
            std::thread::sleep(POLL.min(deadline.saturating_duration_since(Instant::now())));
        }
    }

    fn rebalance(&mut self) -> Rebalance {
        let Some(m) = self.member.as_mut().filter(|m| m.is_waiting && !m.is_told) else { return Rebalance::default() };
        m.is_told = true;
        Rebalance { is_revoked: false, assigned: Some(vec![(PLACE.to_owned(), 0)]) }
    }

    fn start(&mut self, from: &Offsets, _marks: Marks) -> Result<(), JournalError> {
        if let Some(m) = &mut self.member {
            m.is_waiting = false;
        }
        self.next = from.get(&(PLACE.to_owned(), 0)).copied().unwrap_or(1);
        (self.version, self.started) = (None, false);
        Ok(())
    }

    fn rejoin(&mut self) {
        if let Some(m) = &mut self.member {
            (m.is_waiting, m.is_told) = (true, false);
        }
    }

    fn lag(&mut self) -> Option<u64> {
        let end = end(&self.connection).ok()?;
        u64::try_from(end - self.next).ok()
    }
}

impl LocalReader {
    fn select(&self, max: usize) -> rusqlite::Result<(Vec<Record>, usize)> {
        let sql =
            "SELECT pos, topic, loose, key, time_ms, headers, value FROM entries WHERE pos >= ?1 ORDER BY pos LIMIT ?2";
        let mut rows = self.connection.prepare_cached(sql)?;
        let records = rows.query_map(params![self.next, i64::try_from(max).unwrap_or(i64::MAX)], |r| {
            let name: String = r.get(1)?;
            let (topic, dead) = Topic::parse(&name).unwrap_or((Topic::Status, true));
            let headers: String = r.get(5)?;
            let entry = Entry {
                topic,
                dead,
                loose: r.get(2)?,
                key: r.get(3)?,
                headers: serde_json::from_str(&headers).unwrap_or_default(),
                time_ms: r.get(4)?,
                value: r.get(6)?,
            };
            Ok(Record { place: PLACE.to_owned(), partition: 0, offset: r.get(0)?, entry })
        })?;
        let (mut all, mut bytes) = (Vec::new(), 0);
        for record in records {
            let record = record?;
            bytes += record.entry.value.len();
            all.push(record);
            if bytes >= BATCH_BYTES_MAX {
                break;
            }
        }
        Ok((all, bytes))
    }
}

fn first(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT pos FROM entries WHERE loose = 0 ORDER BY pos LIMIT 1";
    Ok(connection.query_row(sql, [], |r| r.get(0)).optional()?.unwrap_or(1))
}
