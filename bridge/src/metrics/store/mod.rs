//! Store: the journal as rows, each record once.
//!
//! Takes batches from the journal. Gives rows, and what happened, for those who watch.
//! Touches one SQLite file; rows, intervals and offsets change in one transaction.
//! Never counts a record twice: the intervals are the truth, also when rows are pruned or the journal is read again.

mod accounts;
pub mod ledger;
pub mod query;
mod schema;

pub use accounts::accounts;
use accounts::save;

use crate::clock;
use crate::config::StoreConfig;
use crate::journal::{Batch, Entry, Offsets, Record, Topic};
use crate::json::{LossJson, ReportJson, WindowJson};
use crate::metrics::store::ledger::{Account, Accounts};
use crate::sqlite;
use firmware::custody::{Envelope, Kind};
use firmware::wire::census;
use firmware::wire::{self, Report};
use rusqlite::{Connection, Transaction, params};
use std::collections::BTreeSet;

/// How often old rows are deleted, in microseconds.
const PRUNE_US: u64 = 600_000_000;

/// Why the store cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite's word.
    #[error("store: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Another process has opened it for writing since.
    #[error("store: another hueflow-metrics writes to this file now")]
    Taken,
}

/// What a batch brought, for those who watch.
#[derive(Debug, Clone, PartialEq)]
pub enum Happened {
    /// A report, stored.
    Report(Box<ReportJson>),
    /// A picture or an original: content type, payload version, payload.
    Picture {
        /// The device.
        device: String,
        /// What the payload is.
        content_type: String,
        /// Version of the payload.
        version: u8,
        /// The payload.
        payload: Vec<u8>,
    },
    /// A device said something of itself.
    Status {
        /// The device.
        device: String,
        /// `online`, `offline`.
        state: String,
        /// All it said.
        json: String,
    },
    /// All parts of a census are there.
    Census {
        /// The device.
        device: String,
        /// The frame.
        frame: u64,
    },
}

/// The store, opened for writing.
pub struct Store {
    db: Connection,
    keep: StoreConfig,
    journal: String,
    owner: String,
    accounts: Accounts,
    pruned_us: u64,
}

impl Store {
    /// Opens the file, or makes it, as its one writer.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(keep: &StoreConfig) -> Result<Store, StoreError> {
        let db = sqlite::connect(&keep.file)?;
        schema::prepare(&db)?;
        let owner = format!("{:032x}", rand::random::<u128>());
        db.execute("INSERT OR REPLACE INTO meta VALUES ('owner', ?1)", [&owner])?;
        let accounts = accounts(&db)?;
        Ok(Store { db, keep: keep.clone(), journal: String::new(), owner, accounts, pruned_us: 0 })
    }

    /// Where to read on in `journal`: from the beginning if the store was filled from another one. That is said.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn begin(&mut self, journal: &str) -> Result<Offsets, StoreError> {
        journal.clone_into(&mut self.journal);
        let before: Option<String> =
            self.db.query_row("SELECT max(v) FROM meta WHERE k = 'journal'", [], |r| r.get(0))?;
        if before.as_deref() != Some(journal) {
            if let Some(before) = before {
                log::warn!("store: filled from journal {before} so far, now from {journal}: read from its beginning");
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

    /// Stores a batch: rows, intervals and offsets in one transaction, or nothing of it.
    ///
    /// # Errors
    /// [`StoreError`]; the batch can be tried again.
    pub fn apply(&mut self, batch: &Batch) -> Result<Vec<Happened>, StoreError> {
        for place in &batch.restarted {
            log::warn!("store: journal {place}: the next offset is out of range: read from its beginning");
        }
        if batch.records.is_empty() {
            return Ok(Vec::new());
        }
        let result = self.transact(batch);
        if result.is_err() {
            // What was counted was not committed.
            self.accounts = accounts(&self.db)?;
        }
        result
    }

    fn transact(&mut self, batch: &Batch) -> Result<Vec<Happened>, StoreError> {
        let now_us = clock::now_us();
        let prune = now_us.saturating_sub(self.pruned_us) > PRUNE_US;
        let t = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let owner: String = t.query_row("SELECT v FROM meta WHERE k = 'owner'", [], |r| r.get(0))?;
        if owner != self.owner {
            return Err(StoreError::Taken);
        }
        let mut work = Work {
            t: &t,
            keep: &self.keep,
            now_us,
            journal: &self.journal,
            accounts: &mut self.accounts,
            dirty: BTreeSet::new(),
            happened: Vec::new(),
        };
        for record in &batch.records {
            work.record(record)?;
        }
        let Work { dirty, happened, .. } = work;
        for key in &dirty {
            if let Some(account) = self.accounts.get(key) {
                save(&t, key, account)?;
            }
        }
        let offsets: Offsets = batch.records.iter().map(|r| ((r.place.clone(), r.partition), r.offset + 1)).collect();
        for ((place, part), next) in offsets {
            t.prepare_cached("INSERT OR REPLACE INTO offsets VALUES (?1, ?2, ?3)")?
                .execute(params![place, part, next])?;
        }
        if prune {
            let oldest = now_us.saturating_sub(u64::from(self.keep.keep_days) * 86_400_000_000);
            // By when they were stored: an edge without a clock captures in 1970.
            let sql =
                "DELETE FROM reports WHERE id < (SELECT id FROM reports WHERE stored_at_us >= ?1 ORDER BY id LIMIT 1)";
            t.execute(sql, [int(oldest)])?;
        }
        t.commit()?;
        if prune {
            self.pruned_us = now_us;
        }
        Ok(happened)
    }

    /// What became of every record.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }
}

/// One transaction's work.
struct Work<'a> {
    t: &'a Transaction<'a>,
    keep: &'a StoreConfig,
    now_us: u64,
    journal: &'a str,
    accounts: &'a mut Accounts,
    dirty: BTreeSet<(String, u64)>,
    happened: Vec<Happened>,
}

impl Work<'_> {
    fn record(&mut self, record: &Record) -> rusqlite::Result<()> {
        let e = &record.entry;
        if e.dead {
            return self.dead(record, e.header("reason").unwrap_or("unknown"));
        }
        let schema = e.header("schema").unwrap_or("").split('/').next().unwrap_or("");
        match (e.topic, schema) {
            (Topic::Status, "hueflow.window") => self.window(e),
            (Topic::Status, "hueflow.status") => self.status(e),
            _ if e.loose || e.header("stream") == Some("0") => {
                self.picture(e);
                Ok(())
            }
            _ => self.custody(record),
        }
    }

    /// A record with a sequence number: once.
    fn custody(&mut self, record: &Record) -> rusqlite::Result<()> {
        let e = &record.entry;
        let (Some(stream), Some(seq)) = (e.header_u64("stream"), e.header_u64("seq").filter(|s| *s <= i64::MAX as u64))
        else {
            log::warn!(
                "store: {}/{}/{}: no stream and seq: not Hueflow's",
                record.place,
                record.partition,
                record.offset
            );
            return Ok(());
        };
        let account = self.account(&e.key, stream);
        if account.stored.contains(seq) {
            account.duplicates += 1;
            return Ok(());
        }
        let stored = match e.topic {
            Topic::Metrics => self.report(e, stream, seq)?,
            Topic::Census => self.census(e, stream, seq)?,
            Topic::Video => {
                self.picture(e);
                true
            }
            Topic::Status => self.loss(e)?,
        };
        if stored {
            self.account(&e.key, stream).stored.insert(seq);
            Ok(())
        } else {
            self.dead(record, "store")
        }
    }

    fn account(&mut self, device: &str, stream: u64) -> &mut Account {
        let key = (device.to_owned(), stream);
        self.dirty.insert(key.clone());
        if !self.accounts.contains_key(&key) {
            let order = self.next_order();
            self.accounts.insert(key.clone(), Account { order, ..Account::default() });
        }
        self.accounts.entry(key).or_default()
    }

    /// Behind all that are there.
    fn next_order(&self) -> i64 {
        self.accounts.values().map(|a| a.order + 1).max().unwrap_or(0)
    }

    fn report(&mut self, e: &Entry, stream: u64, seq: u64) -> rusqlite::Result<bool> {
        let Some(r) = read_report(e, stream, seq) else { return Ok(false) };
        let captured_us = clock::parse_rfc3339(&r.captured_at).unwrap_or(e.time_ms.unsigned_abs().saturating_mul(1000));
        let palette = serde_json::to_string(&r.palette).unwrap_or_default();
        let sql = "INSERT OR IGNORE INTO reports (device, stream, seq, frame, stored_at_us, captured_at_us, captured_at, dropped, width, height, \
                   pixels, lambda, coreset_size, method, w_open, seed, warm, coreset_points, scatter, iterations, converged, \
                   saturated, clusters, sse, rms, max_distance, silhouette_estimate, micros_coreset, micros_cluster, \
                   micros_label, micros_total, palette, refine, births, deaths, sweeps, beyond_px, missed, regions, named) VALUES \
                   (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,?24,?25,?26,?27,?28,?29,?30,?31,?32,?33,?34,?35,?36,?37,?38,?39,?40)";
        self.t.prepare_cached(sql)?.execute(params![
            e.key,
            stream.to_string(),
            int(seq),
            int(r.frame),
            int(self.now_us),
            int(captured_us),
            r.captured_at,
            int(r.dropped),
            r.width,
            r.height,
            r.pixels,
            r.lambda,
            r.coreset_size,
            r.method,
            r.w_open,
            r.seed,
            r.warm,
            r.coreset_points,
            r.scatter,
            r.iterations,
            r.converged,
            r.saturated,
            r.clusters,
            r.sse,
            r.rms,
            r.max_distance,
            r.silhouette_estimate,
            r.micros.coreset,
            r.micros.cluster,
            r.micros.label,
            r.micros.total,
            palette,
            r.refine,
            serde_json::to_string(&r.births).unwrap_or_default(),
            serde_json::to_string(&r.deaths).unwrap_or_default(),
            r.sweeps,
            r.beyond_px,
            r.missed,
            serde_json::to_string(&r.regions).unwrap_or_default(),
            serde_json::to_string(&r.named).unwrap_or_default()
        ])?;
        let account = self.account(&e.key, stream);
        account.frames_seen = account.frames_seen.max(r.frame.saturating_add(1));
        account.frames_dropped = account.frames_dropped.max(r.dropped);
        self.happened.push(Happened::Report(Box::new(r)));
        Ok(true)
    }

    fn census(&mut self, e: &Entry, stream: u64, seq: u64) -> rusqlite::Result<bool> {
        let version = version(e);
        let Ok((head, _)) = census::read_part(version, &e.value) else { return Ok(false) };
        let at = e.header("captured-at").and_then(clock::parse_rfc3339).unwrap_or(0);
        let stream = stream.to_string();
        let sql = "INSERT OR IGNORE INTO census (device, stream, seq, frame, part, parts, captured_at_us, version, payload) \
                   VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)";
        self.t.prepare_cached(sql)?.execute(params![
            e.key,
            stream,
            int(seq),
            int(head.frame),
            head.part,
            head.parts,
            int(at),
            version,
            e.value
        ])?;
        let sql = "SELECT count(DISTINCT part) FROM census WHERE device = ?1 AND stream = ?2 AND frame = ?3";
        let there: i64 =
            self.t.prepare_cached(sql)?.query_row(params![e.key, stream, int(head.frame)], |r| r.get(0))?;
        if there == i64::from(head.parts) {
            let sql = "DELETE FROM census WHERE device = ?1 AND id <= (SELECT max(id) FROM census WHERE device = ?1 GROUP BY \
                       stream, frame ORDER BY 1 DESC LIMIT 1 OFFSET ?2)";
            self.t.prepare_cached(sql)?.execute(params![e.key, self.keep.census_kept])?;
            self.happened.push(Happened::Census { device: e.key.clone(), frame: head.frame });
        }
        Ok(true)
    }

    fn picture(&mut self, e: &Entry) {
        self.happened.push(Happened::Picture {
            device: e.key.clone(),
            content_type: e.header("content-type").unwrap_or_default().to_owned(),
            version: version(e),
            payload: e.value.clone(),
        });
    }

    fn window(&mut self, e: &Entry) -> rusqlite::Result<()> {
        let Ok(w) = serde_json::from_slice::<WindowJson>(&e.value) else { return Ok(()) };
        let boot = w.boot.parse::<u64>().unwrap_or_default();
        let streams = w.streams.iter().filter_map(|s| Some((s.stream.parse::<u64>().ok()?, s)));
        let (own, older): (Vec<_>, Vec<_>) = streams.partition(|(stream, _)| stream & !1 == boot);
        // A device's boots are ordered by their first windows, whatever of their records was read before; a boot that never
        // came to say one is named by the next, which is younger.
        let first = !self
            .t
            .prepare_cached("SELECT 1 FROM windows WHERE device = ?1 AND boot = ?2")?
            .exists([&e.key, &w.boot])?;
        for (stream, s) in older.into_iter().chain(own) {
            let order = (first && stream & !1 == boot).then(|| self.next_order());
            let account = self.account(&e.key, stream);
            account.since = account.since.max(s.since);
            account.next = account.next.max(s.next);
            account.order = order.unwrap_or(account.order);
        }
        let streams = serde_json::to_string(&w.streams).unwrap_or_default();
        let sql = "INSERT INTO windows VALUES (?1,?2,?3,?4,?5,?6) ON CONFLICT DO UPDATE SET n = excluded.n, \
                   journal = excluded.journal, heard_at_us = excluded.heard_at_us, streams = excluded.streams WHERE excluded.n > n";
        let heard = e.time_ms.saturating_mul(1000);
        self.t.prepare_cached(sql)?.execute(params![e.key, w.boot, int(w.n), w.journal, heard, streams])?;
        Ok(())
    }

    fn status(&mut self, e: &Entry) -> rusqlite::Result<()> {
        let json: serde_json::Value = serde_json::from_slice(&e.value).unwrap_or_default();
        let state = json.get("state").and_then(|s| s.as_str()).unwrap_or("unknown").to_owned();
        let text = json.to_string();
        self.t
            .prepare_cached("INSERT OR REPLACE INTO statuses VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![e.key, state, e.time_ms, text])?;
        self.happened.push(Happened::Status { device: e.key.clone(), state, json: text });
        Ok(())
    }

    fn loss(&mut self, e: &Entry) -> rusqlite::Result<bool> {
        let Ok(l) = serde_json::from_slice::<LossJson>(&e.value) else { return Ok(false) };
        let Ok(stream) = l.stream.parse() else { return Ok(false) };
        self.account(&e.key, stream).lost.add(l.from, l.to.min(i64::MAX as u64));
        let sql = "INSERT OR IGNORE INTO losses VALUES (?1, ?2, ?3, ?4, ?5)";
        self.t.prepare_cached(sql)?.execute(params![e.key, l.stream, int(l.from), int(l.to), l.reason])?;
        Ok(true)
    }

    /// A dead letter: kept by its place, so that reading again does not count it twice.
    fn dead(&mut self, record: &Record, reason: &str) -> rusqlite::Result<()> {
        let e = &record.entry;
        let (stream, seq) =
            (e.header_u64("stream").filter(|s| *s != 0), e.header_u64("seq").filter(|s| *s <= i64::MAX as u64));
        let sql = "INSERT OR IGNORE INTO dead VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)";
        self.t.prepare_cached(sql)?.execute(params![
            self.journal,
            record.place,
            record.partition,
            record.offset,
            e.key,
            stream.map(|s| s.to_string()),
            seq.map(int),
            e.topic_name(),
            reason,
            e.header_u64("bytes").map(int),
            e.header("sha256"),
            e.time_ms
        ])?;
        if let (Some(stream), Some(seq)) = (stream, seq) {
            let account = self.account(&e.key, stream);
            if !account.dead.insert(seq) {
                account.duplicates += 1;
            }
        }
        Ok(())
    }
}

/// The report of an entry, whatever its value is written in.
pub fn read_report(e: &Entry, stream: u64, seq: u64) -> Option<ReportJson> {
    if e.header("content-type") != Some("application/x-postcard") {
        return ReportJson::read(&e.value);
    }
    let report: Report = wire::decode(version(e), &e.value).ok()?;
    let captured_at_us = e.header("captured-at").and_then(clock::parse_rfc3339).unwrap_or(0);
    let envelope = Envelope {
        kind: Kind::Report as u8,
        payload_version: version(e),
        clock_synced: true,
        stream,
        seq,
        captured_at_us,
    };
    Some(ReportJson::new(&e.key, &envelope, &report))
}

/// The payload's version, from the schema header.
pub fn version(e: &Entry) -> u8 {
    e.header("schema").and_then(|s| s.rsplit_once('/')).and_then(|(_, v)| v.parse().ok()).unwrap_or(1)
}

/// SQLite's integers are signed; all ours are far below where that matters.
pub fn int(x: u64) -> i64 {
    i64::try_from(x).unwrap_or(i64::MAX)
}
