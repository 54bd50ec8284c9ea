//! The store in one SQLite file.
//!
//! [`Sqlite`] writes: [`Backend::commit`] makes all changes of a batch in one transaction, or none of them, and
//! [`Backend::maintain`] prunes and migrates in slices between batches. [`query`] reads, from any process.

mod accounts;
mod events;
mod maintain;
mod pages;
pub mod query;
mod rows;
mod schema;
mod transfer;

use super::ledger::Accounts;
use super::rollup::RollUp;
use super::{Backend, Part, Scope, StoreError, WHOLE};
use crate::config::StoreConfig;
use crate::journal::{Marks, Offsets};
use crate::metrics::ingest::fold::{CensusPart, Change, DeadLetter};
use crate::sqlite;
use maintain::Pace;
use rows::{RowKey, Rows};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

#[cfg(test)]
mod fault_tests;

/// The store, opened for writing.
pub struct Sqlite {
    db: Connection,
    config: StoreConfig,
    journal: String,
    /// This writer's claim. A transaction that finds another one in the file is refused.
    owner: String,
    rows: Rows,
    pace: Pace,
}

impl Sqlite {
    /// Opens the file or makes it, and claims it.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn open(file: &Path, config: &StoreConfig) -> Result<Sqlite, StoreError> {
        let mut db = sqlite::connect_shrinkable(file)?;
        db.set_prepared_statement_cache_capacity(64);
        schema::prepare(&mut db)?;
        let owner = format!("{:032x}", rand::random::<u128>());
        db.execute("INSERT OR REPLACE INTO meta VALUES ('owner', ?1)", [&owner])?;
        let mut store = Sqlite {
            db,
            config: config.clone(),
            journal: String::new(),
            owner,
            rows: Rows::default(),
            pace: Pace::default(),
        };
        store.move_newest_of_v1()?;
        Ok(store)
    }

    /// Ends a transaction that an error left open: a rollback can fail as well, and then SQLite stays in the transaction.
    fn end_transaction(&mut self) -> rusqlite::Result<()> {
        if self.db.is_autocommit() { Ok(()) } else { self.db.execute_batch("ROLLBACK") }
    }

    fn commit_parts(&mut self, parts: &[Part<'_>], now_us: u64) -> Result<Vec<bool>, StoreError> {
        self.end_transaction()?;
        let t = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let owner: String = t.query_row("SELECT v FROM meta WHERE k = 'owner'", [], |r| r.get(0))?;
        if owner != self.owner {
            return Err(StoreError::Taken);
        }
        let mut is_news = Vec::new();
        for Part { before, changes, .. } in parts {
            let mut sids: HashMap<(&str, u64), i64> = HashMap::new();
            for (key, account) in &changes.accounts {
                sids.insert((&key.0, key.1), accounts::save(&t, key, account, before.get(key))?);
            }
            for change in &changes.rows {
                is_news.push(match change {
                    Change::Report(r) => {
                        let sid = *sids.get(&(r.report.device.as_str(), r.stream)).unwrap_or(&0);
                        let key = RowKey { id: None, sid, stored_at_us: now_us, captured_at_us: r.captured_at_us };
                        self.rows.insert(&t, &key, &r.report)?;
                        true
                    }
                    Change::Census(part) => write_census(&t, part, self.config.census_kept)?,
                    Change::Picture(_) => true,
                    Change::Dead(letter) => write_dead(&t, &self.journal, letter)?,
                    other => write_small(&t, other)?,
                });
            }
            write_roll_ups(&t, "minutes", &changes.minutes)?;
            write_roll_ups(&t, "hours", &changes.hours)?;
            for ((place, part), next) in &changes.offsets {
                let mark = changes.marks.get(&(place.clone(), *part));
                t.prepare_cached("INSERT OR REPLACE INTO offsets VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![place, part, next, mark])?;
            }
        }
        t.commit()?;
        Ok(is_news)
    }
}

impl Backend for Sqlite {
    fn load(&mut self) -> Result<BTreeMap<Scope, Accounts>, StoreError> {
        self.end_transaction()?;
        self.rows.forget();
        Ok(BTreeMap::from([((WHOLE.0.to_owned(), WHOLE.1), accounts::load(&self.db)?)]))
    }

    fn begin(&mut self, journal: &str) -> Result<Offsets, StoreError> {
        self.end_transaction()?;
        journal.clone_into(&mut self.journal);
        let before: Option<String> =
            self.db.query_row("SELECT max(v) FROM meta WHERE k = 'journal'", [], |r| r.get(0))?;
        if before.as_deref() != Some(journal) {
            if let Some(before) = before {
                log::warn!(
                    "store: it was filled from journal {before}; {journal} is another one and is read from its beginning"
                );
            }
            let t = self.db.transaction()?;
            t.execute("DELETE FROM offsets", [])?;
            t.execute("INSERT OR REPLACE INTO meta VALUES ('journal', ?1)", [journal])?;
            t.commit()?;
        }
        let mut rows = self.db.prepare("SELECT place, part, next FROM offsets")?;
        let offsets = rows.query_map([], |r| Ok(((r.get(0)?, r.get(1)?), r.get(2)?)))?;
        Ok(offsets.collect::<rusqlite::Result<_>>()?)
    }

    fn marks(&mut self) -> Result<Marks, StoreError> {
        let mut rows = self.db.prepare("SELECT place, part, mark FROM offsets WHERE mark IS NOT NULL")?;
        let marks = rows.query_map([], |r| Ok(((r.get(0)?, r.get(1)?), r.get(2)?)))?;
        Ok(marks.collect::<rusqlite::Result<_>>()?)
    }

    fn commit(&mut self, parts: &mut [Part<'_>], now_us: u64) -> Result<Vec<bool>, StoreError> {
        self.commit_parts(parts, now_us)
    }

    fn maintain(&mut self, now_us: u64) -> Result<Duration, StoreError> {
        self.end_transaction()?;
        Ok(self.run_slice(now_us)?)
    }
}

/// Writes a part. Gives whether it completed its census; then older ones than the newest `kept` of the device are deleted.
fn write_census(db: &Connection, c: &CensusPart, kept: u32) -> rusqlite::Result<bool> {
    let stream = c.stream.to_string();
    let sql = "INSERT INTO census (device, stream, seq, frame, part, parts, captured_at_us, version, payload) \
               VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9) ON CONFLICT (device, stream, seq) DO NOTHING";
    let at_us = int(c.captured_at_us);
    let values = params![c.device, stream, int(c.seq), int(c.frame), c.part, c.parts, at_us, c.version, c.payload];
    db.prepare_cached(sql)?.execute(values)?;
    let sql = "SELECT count(DISTINCT part) FROM census WHERE device = ?1 AND stream = ?2 AND frame = ?3";
    let parts: i64 = db.prepare_cached(sql)?.query_row(params![c.device, stream, int(c.frame)], |r| r.get(0))?;
    if parts != i64::from(c.parts) {
        return Ok(false);
    }
    let sql = "SELECT c.stream, c.frame FROM census c JOIN streams s ON s.device = c.device AND s.stream = c.stream \
               WHERE c.device = ?1 GROUP BY c.stream, c.frame ORDER BY s.ord DESC, c.frame DESC LIMIT -1 OFFSET ?2";
    let old: Vec<(String, i64)> = db
        .prepare_cached(sql)?
        .query_map(params![c.device, kept], |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (stream, frame) in old {
        db.prepare_cached("DELETE FROM census WHERE device = ?1 AND stream = ?2 AND frame = ?3")?
            .execute(params![c.device, stream, frame])?;
    }
    Ok(true)
}

/// Writes a window, a status, an event or a loss. Gives whether it is news.
fn write_small(db: &Connection, change: &Change) -> rusqlite::Result<bool> {
    Ok(match change {
        Change::Window { device, boot, n, journal, heard_at_us, streams } => {
            let sql = "INSERT INTO windows VALUES (?1,?2,?3,?4,?5,?6) ON CONFLICT DO UPDATE SET n = excluded.n, \
                       journal = excluded.journal, heard_at_us = excluded.heard_at_us, \
                       streams = excluded.streams WHERE excluded.n > n";
            let values = params![device, boot, int(*n), journal, heard_at_us, streams];
            db.prepare_cached(sql)?.execute(values)? > 0
        }
        Change::Status(s) => {
            let sql = "INSERT INTO statuses VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET \
                       state = excluded.state, at_ms = excluded.at_ms, json = excluded.json \
                       WHERE excluded.at_ms >= at_ms";
            db.prepare_cached(sql)?.execute(params![s.device, s.state, s.at_ms, s.json])? > 0
        }
        Change::Event(change) => events::write(db, change)?,
        Change::Loss { device, loss } => {
            let sql = "INSERT INTO losses VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
            let values = params![device, loss.stream, int(loss.from), int(loss.to), loss.reason];
            db.prepare_cached(sql)?.execute(values)? > 0
        }
        Change::Report(_) | Change::Census(_) | Change::Picture(_) | Change::Dead(_) => true,
    })
}

fn write_dead(db: &Connection, journal: &str, d: &DeadLetter) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO dead VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12) ON CONFLICT DO NOTHING";
    let written = db.prepare_cached(sql)?.execute(params![
        journal,
        d.place,
        d.partition,
        d.offset,
        d.device,
        d.stream.map(|s| s.to_string()),
        d.seq.map(int),
        d.topic,
        d.reason,
        d.bytes.map(int),
        d.sha256,
        d.at_ms
    ])?;
    Ok(written > 0)
}

/// Adds to the roll-ups of `table`, `minutes` or `hours`.
fn write_roll_ups(db: &Connection, table: &str, all: &BTreeMap<(String, u64), RollUp>) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO {table} VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14) ON CONFLICT DO UPDATE SET
           reports = reports + excluded.reports, clusters_sum = clusters_sum + excluded.clusters_sum,
           clusters_min = min(clusters_min, excluded.clusters_min), clusters_max = max(clusters_max, excluded.clusters_max),
           rms_sum = rms_sum + excluded.rms_sum, rms_max = max(rms_max, excluded.rms_max),
           missed_sum = missed_sum + excluded.missed_sum, beyond_px_sum = beyond_px_sum + excluded.beyond_px_sum,
           micros_sum = micros_sum + excluded.micros_sum, micros_max = max(micros_max, excluded.micros_max),
           silhouette_sum = silhouette_sum + excluded.silhouette_sum, silhouettes = silhouettes + excluded.silhouettes"
    );
    for ((device, unit), r) in all {
        db.prepare_cached(&sql)?.execute(params![
            device,
            int(*unit),
            int(r.reports),
            int(r.clusters_sum),
            r.clusters_min,
            r.clusters_max,
            r.rms_sum,
            r.rms_max,
            int(r.missed_sum),
            int(r.beyond_px_sum),
            int(r.micros_sum),
            r.micros_max,
            r.silhouette_sum,
            int(r.silhouettes)
        ])?;
    }
    Ok(())
}

/// The stream's number; a stream that is not known is made, before all others of the store.
fn sid_of(db: &Connection, device: &str, stream: &str) -> rusqlite::Result<i64> {
    let find = "SELECT sid FROM streams WHERE device = ?1 AND stream = ?2";
    if let Some(sid) = db.prepare_cached(find)?.query_row([device, stream], |r| r.get(0)).optional()? {
        return Ok(sid);
    }
    let make = "INSERT INTO streams (device, stream, ord, named, since, next, duplicates, frames_seen, frames_dropped) \
                VALUES (?1, ?2, (SELECT ifnull(min(ord), 0) - 1 FROM streams), 0, 0, 0, 0, 0, 0)";
    db.prepare_cached(make)?.insert([device, stream])
}

/// SQLite's integers are signed; every count here is far below where that matters.
fn int(x: u64) -> i64 {
    i64::try_from(x).unwrap_or(i64::MAX)
}
