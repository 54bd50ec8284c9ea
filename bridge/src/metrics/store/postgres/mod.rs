//! The store in a PostgreSQL database, which several instances may write to.
//!
//! [`Postgres`] writes: [`Backend::commit`] moves the claims of a batch and makes all of its changes in one transaction, or
//! none of them. Each instance holds the accounts of the partitions that it has claimed. A connection that was lost is made
//! again by the next [`Backend::load`]. [`query`] reads. All calls block, and none may be made on a thread that runs async
//! tasks.

mod claims;
mod connect;
mod events;
mod maintain;
mod pages;
pub mod query;
mod rows;
mod schema;
mod statements;
mod steps;
mod tables;
mod transfer;

use super::ledger::Accounts;
use super::url::Database;
use super::{Backend, Part, Scope, StoreError};
use crate::config::StoreConfig;
use crate::journal::{Marks, Offsets};
use crate::metrics::ingest::fold::Change;
use claims::{Claims, Spans};
use maintain::Upkeep;
use postgres::Client;
use rows::{ReportRow, Rows};
use statements::Statements;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Longest text of a key: a b-tree of PostgreSQL takes at most 2,704 bytes.
const TEXT_BYTES_MAX: usize = 512;
/// Streams whose numbers are remembered. Past it all are asked for again.
const STREAMS_MAX: usize = 65_536;

/// The store, opened for writing.
pub struct Postgres {
    database: Database,
    config: StoreConfig,
    client: Client,
    statements: Statements,
    /// The store's own name.
    id: String,
    journal: String,
    claims: Claims,
    /// Numbers of streams.
    sids: HashMap<(String, u64), i32>,
    rows: Rows,
    upkeep: Upkeep,
    /// The stamp of the commit whose outcome is not known, and its offsets.
    unknown: Option<(i64, Offsets)>,
    /// A claim has more spans of a stream than it needs.
    is_loose: bool,
    /// The commit of these offsets happened although it reported an error.
    committed: Option<Offsets>,
}

impl Postgres {
    /// Connects, and brings the database to the present schema.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub fn open(database: &Database, config: &StoreConfig) -> Result<Postgres, StoreError> {
        let mut client = connect::connect(database)?;
        schema::prepare(&mut client)?;
        let id = client.query_one("SELECT v FROM meta WHERE k = 'id'", &[])?.get(0);
        Ok(Postgres {
            database: database.clone(),
            config: config.clone(),
            client,
            statements: Statements::default(),
            id,
            journal: String::new(),
            claims: Claims::new(),
            sids: HashMap::new(),
            rows: Rows::default(),
            upkeep: Upkeep::default(),
            unknown: None,
            is_loose: false,
            committed: None,
        })
    }

    /// Forgets what a transaction that was rolled back may have made, and connects again if the connection is lost.
    fn recover(&mut self) -> Result<(), StoreError> {
        self.sids.clear();
        self.rows.forget();
        if self.client.is_closed() {
            self.statements.forget();
            self.client = connect::connect(&self.database)?;
        }
        Ok(())
    }

    fn try_claim(&mut self, scopes: &[Scope]) -> Result<Claims, postgres::Error> {
        let mut t = self.client.transaction()?;
        let claims = claims::take(&mut t, &self.journal, scopes)?;
        let set = "INSERT INTO meta VALUES ('journal', $1) ON CONFLICT (k) DO UPDATE SET v = excluded.v \
                   WHERE meta.v <> excluded.v";
        t.execute(set, &[&self.journal])?;
        t.commit()?;
        Ok(claims)
    }

    fn commit_parts(&mut self, parts: &mut [Part<'_>], now_us: u64) -> Result<Vec<bool>, StoreError> {
        let stamp: i64 = rand::random();
        let mut t = self.client.transaction()?;
        let mut moved = Vec::new();
        for part in parts.iter() {
            let claim = self.claims.get(&part.scope).ok_or(StoreError::Fenced)?;
            let next = part.changes.offsets.get(&part.scope).copied();
            let mark = part.changes.marks.get(&part.scope);
            claims::advance(&mut t, &mut self.statements, claim, next, mark, stamp)?;
            moved.push((part.scope.clone(), next, mark.cloned()));
        }
        let mut spans = Spans::default();
        for part in parts.iter_mut() {
            let Some(claim) = self.claims.get(&part.scope) else { continue };
            tables::name_streams(&mut t, &mut self.statements, &mut self.sids, part)?;
            tables::write_accounts(&mut t, &mut self.statements, &self.sids, claim.cid, &part.changes.accounts)?;
            let none = super::ledger::Account::default();
            for (key, account) in &part.changes.accounts {
                let (sid, before) = (sid_of(&self.sids, key), part.before.get(key).unwrap_or(&none));
                spans.add(claim.cid, sid, "stored", &before.stored, &account.stored);
                spans.add(claim.cid, sid, "dead", &before.dead, &account.dead);
                spans.add(claim.cid, sid, "lost", &before.lost, &account.lost);
            }
        }
        spans.write(&mut t, &mut self.statements)?;
        let mut is_news = Vec::new();
        let mut reports = Vec::new();
        for part in parts.iter() {
            for change in &part.changes.rows {
                is_news.push(match change {
                    Change::Report(r) => {
                        let sid = sid_of(&self.sids, &(r.report.device.clone(), r.stream));
                        let captured_at_us = r.captured_at_us;
                        reports.push(ReportRow { sid, stored_at_us: now_us, captured_at_us, report: &r.report });
                        true
                    }
                    Change::Picture(_) => true,
                    Change::Census(part) => {
                        tables::write_census(&mut t, &mut self.statements, part, self.config.census_kept)?
                    }
                    other => tables::write_small(&mut t, &mut self.statements, &self.journal, other)?,
                });
            }
        }
        if !reports.is_empty() {
            let chunk: i32 = t.query_one("SELECT max(chunk) FROM chunks", &[])?.get(0);
            self.rows.copy(&mut t, chunk, &reports)?;
        }
        for part in parts.iter() {
            tables::write_roll_ups(&mut t, &mut self.statements, "minutes", &part.changes.minutes)?;
            tables::write_roll_ups(&mut t, &mut self.statements, "hours", &part.changes.hours)?;
        }
        let offsets = parts.iter().flat_map(|p| p.changes.offsets.clone()).collect();
        self.unknown = Some((stamp, offsets));
        t.commit()?;
        self.unknown = None;
        for (scope, next, mark) in moved {
            if let Some(claim) = self.claims.get_mut(&scope) {
                claim.stamp = stamp;
                claim.next = next.or(claim.next);
                claim.mark = mark.or(claim.mark.take());
            }
        }
        Ok(is_news)
    }
}

/// Describes what is in a database, and makes nothing.
///
/// # Errors
/// [`StoreError::Postgres`]: what stands in the way of a store there.
pub fn look(database: &Database) -> Result<String, StoreError> {
    let mut client = connect::connect(database)?;
    let server: String = client.query_one("SHOW server_version", &[])?.get(0);
    let bytes: i64 = client.query_one("SELECT pg_database_size(current_database())", &[])?.get(0);
    let may_create: bool = client.query_one("SELECT has_schema_privilege(current_schema(), 'CREATE')", &[])?.get(0);
    let is_there: bool = client.query_one("SELECT to_regclass('meta') IS NOT NULL", &[])?.get(0);
    let what = match is_there {
        true => {
            schema::check(&mut client)?;
            "a store of this version"
        }
        false if may_create => "no store yet (will be made)",
        false => {
            return Err(StoreError::Postgres("its user may not make tables there: GRANT CREATE ON SCHEMA".to_owned()));
        }
    };
    Ok(format!("PostgreSQL {server}, {what}, {} MiB", bytes >> 20))
}

impl Backend for Postgres {
    fn group(&self) -> Option<String> {
        Some(format!("hueflow-metrics-{}", self.id))
    }

    fn load(&mut self) -> Result<BTreeMap<Scope, Accounts>, StoreError> {
        self.recover()?;
        let mut t = self.client.transaction()?;
        claims::verify(&mut t, &mut self.claims)?;
        let mut all = BTreeMap::new();
        for (scope, claim) in &self.claims {
            let accounts = claims::load(&mut t, scope, claim.cid)?;
            claims::compact(&mut t, claim.cid, &accounts)?;
            all.insert(scope.clone(), accounts);
        }
        t.commit()?;
        if let Some((stamp, offsets)) = self.unknown.take() {
            let is_committed = self.claims.values().any(|c| c.stamp == stamp);
            self.committed = is_committed.then_some(offsets);
        }
        Ok(all)
    }

    fn wants_load(&mut self) -> bool {
        std::mem::take(&mut self.is_loose)
    }

    fn has_committed(&mut self, offsets: &Offsets) -> bool {
        self.committed.take().as_ref() == Some(offsets)
    }

    fn begin(&mut self, journal: &str) -> Result<Offsets, StoreError> {
        self.release();
        text(journal).clone_into(&mut self.journal);
        Ok(Offsets::new())
    }

    fn marks(&mut self) -> Result<Marks, StoreError> {
        Ok(self.claims.iter().filter_map(|(scope, c)| Some((scope.clone(), c.mark.clone()?))).collect())
    }

    fn claim(&mut self, scopes: &[Scope]) -> Result<Offsets, StoreError> {
        self.release();
        self.recover()?;
        let claims = match self.try_claim(scopes) {
            Err(e) if claims::is_held(&e) => {
                let ended = claims::end_holders(&mut self.client, &self.journal)?;
                log::warn!("store: {ended} sessions of an instance that is held up are ended");
                self.try_claim(scopes)?
            }
            claims => claims?,
        };
        self.claims = claims;
        Ok(self.claims.iter().filter_map(|(scope, c)| Some((scope.clone(), c.next?))).collect())
    }

    fn release(&mut self) {
        self.claims.clear();
        (self.unknown, self.committed) = (None, None);
    }

    fn accounts(&mut self) -> Result<Option<Accounts>, StoreError> {
        claims::load_all(&mut self.client).map(Some)
    }

    fn commit(&mut self, parts: &mut [Part<'_>], now_us: u64) -> Result<Vec<bool>, StoreError> {
        self.commit_parts(parts, now_us)
    }

    fn maintain(&mut self, now_us: u64) -> Result<Duration, StoreError> {
        if self.client.is_closed() {
            self.statements.forget();
            self.client = connect::connect(&self.database)?;
        }
        if self.upkeep.is_counting() {
            self.is_loose = claims::is_loose(&mut self.client, &self.claims)?;
        }
        self.upkeep.run(&mut self.client, &self.config, now_us)
    }
}

fn sid_of(sids: &HashMap<(String, u64), i32>, key: &(String, u64)) -> i32 {
    sids.get(key).copied().unwrap_or(0)
}

/// PostgreSQL's integers are signed; every count here is far below where that matters.
fn int(x: u64) -> i64 {
    i64::try_from(x).unwrap_or(i64::MAX)
}

/// A text as PostgreSQL takes it. Anybody may write to a topic, and what the database refuses would hold up all that follows.
/// Different texts stay different.
fn text(s: &str) -> String {
    if s.len() <= TEXT_BYTES_MAX && !s.contains('\0') {
        return s.to_owned();
    }
    let mut end = s.len().min(TEXT_BYTES_MAX / 2);
    while !s.is_char_boundary(end) {
        end -= 1;
    }
    let mut hasher = DefaultHasher::new();
    s.hash(&mut hasher);
    format!("{}~{:016x}", s.get(..end).unwrap_or_default().replace('\0', "\u{fffd}"), hasher.finish())
}
