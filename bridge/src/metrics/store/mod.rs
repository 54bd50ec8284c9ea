//! The store: the journal as rows, each record once.
//!
//! [`Store::apply`] folds a batch with the accounts in memory and has the [`Backend`] commit rows, accounts and offsets in
//! one transaction. The accounts of a SQLite store are one set; those of PostgreSQL are a set for each partition of the journal,
//! since several instances may share them. The accounts in memory change only after the commit. If a commit fails, they are read again before
//! anything else is applied, since a commit that reported an error may have happened all the same.

mod colorimetry;
pub mod history;
pub mod ledger;
pub mod owner;
mod palette;
pub mod postgres;
pub mod reader;
pub mod rollup;
pub mod sqlite;
pub mod steps;
pub mod transfer;
pub mod url;

pub use sqlite::query;

use crate::clock;
use crate::config::StoreConfig;
use crate::failure::Failure;
use crate::journal::{Batch, Marks, Offsets, Record};
use crate::metrics::ingest::fold::{Change, Changes, DeviceStatus, EventChange, PicturePayload, ReportChange, fold};
use ledger::{Accounts, Line};
use owner::{NotOwned, Ownership};
use postgres::Postgres;
use query::Query;
use reader::Reader;
use sqlite::Sqlite;
use std::collections::BTreeMap;
use std::time::Duration;
use url::StoreUrl;

/// Why the store cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite's error.
    #[error("store: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Another process claimed the file since, on a file system without locks.
    #[error("store: another hueflow-metrics writes to this file now")]
    Taken,
    /// PostgreSQL's error.
    #[error("store: {0}")]
    Postgres(String),
    /// Another instance has claimed a partition that this one held. What was read of it must be dropped.
    #[error("store: another hueflow-metrics has taken over a partition of the journal")]
    Fenced,
    /// What was asked for cannot be done with this store.
    #[error("{0}")]
    Unfit(String),
    /// Another process owns the file.
    #[error("store: {0}")]
    NotOwned(#[from] NotOwned),
}

/// What a batch brought, for those who watch.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreEvent {
    /// A report was stored.
    Report(ReportChange),
    /// A picture or an original came.
    Picture(PicturePayload),
    /// A device reported its state, and no newer one is known.
    Status(DeviceStatus),
    /// An event began or ended.
    Event(EventChange),
    /// All parts of a census are in the store.
    Census {
        /// The device.
        device: String,
        /// The frame.
        frame: u64,
    },
}

/// What shares one set of accounts: a partition of the journal, or ([`WHOLE`]) all of it.
pub type Scope = (String, i32);

/// The scope of a store that has one writer.
pub const WHOLE: (&str, i32) = ("", 0);

/// A batch's part of one scope.
pub struct Part<'a> {
    /// The scope.
    pub scope: Scope,
    /// The scope's accounts without the changes.
    pub before: &'a Accounts,
    /// What is to be changed.
    pub changes: Changes,
}

/// A database that holds a store.
pub trait Backend: Send {
    /// The name of the store's group of instances, if several may write to it. Then each has to [`Backend::claim`] what it
    /// reads.
    fn group(&self) -> Option<String> {
        None
    }

    /// Reads the accounts of all scopes that this instance holds, and forgets whatever else is in memory.
    ///
    /// # Errors
    /// [`StoreError`].
    fn load(&mut self) -> Result<BTreeMap<Scope, Accounts>, StoreError>;

    /// Whether the accounts should be loaded again, since they can be kept in fewer rows.
    fn wants_load(&mut self) -> bool {
        false
    }

    /// Whether the last load found that the commit of these offsets happened although it reported an error.
    fn has_committed(&mut self, _offsets: &Offsets) -> bool {
        false
    }

    /// Where to read on in `journal`: from its beginning if the store was filled from another one. A store of several
    /// instances has it for each claim.
    ///
    /// # Errors
    /// [`StoreError`].
    fn begin(&mut self, journal: &str) -> Result<Offsets, StoreError>;

    /// Marks of the records before those offsets.
    ///
    /// # Errors
    /// [`StoreError`].
    fn marks(&mut self) -> Result<Marks, StoreError>;

    /// Claims partitions of the journal instead of those that are held, and gives where to read on.
    ///
    /// # Errors
    /// [`StoreError`].
    fn claim(&mut self, _scopes: &[Scope]) -> Result<Offsets, StoreError> {
        Ok(Offsets::new())
    }

    /// Forgets all claims.
    fn release(&mut self) {}

    /// The accounts of all instances, if there are others.
    ///
    /// # Errors
    /// [`StoreError`].
    fn accounts(&mut self) -> Result<Option<Accounts>, StoreError> {
        Ok(None)
    }

    /// Makes all changes in one transaction, or none. Gives for each row whether it is news: false for a status older than the
    /// stored one, and for a census that is not complete. It may set the orders of streams in the changes.
    ///
    /// # Errors
    /// [`StoreError`].
    fn commit(&mut self, parts: &mut [Part<'_>], now_us: u64) -> Result<Vec<bool>, StoreError>;

    /// Does a bounded slice of maintenance. Gives how soon the next one should run.
    ///
    /// # Errors
    /// [`StoreError`].
    fn maintain(&mut self, now_us: u64) -> Result<Duration, StoreError>;
}

/// The store, opened for writing.
pub struct Store {
    backend: Box<dyn Backend>,
    scopes: BTreeMap<Scope, Accounts>,
    /// The last commit failed: the accounts in memory may not be what is stored.
    is_stale: bool,
    _ownership: Option<Ownership>,
}

impl Store {
    /// Opens the store or makes it. A SQLite file has one writer.
    ///
    /// # Errors
    /// [`StoreError::NotOwned`] if another process writes to the file; the database's.
    pub fn open(config: &StoreConfig) -> Result<Store, StoreError> {
        match &config.url {
            StoreUrl::Sqlite(file) => {
                let who = format!("process {} since {}", std::process::id(), clock::rfc3339(clock::now_us()));
                let ownership = Ownership::take(file, &who)?;
                let mut store = Store::new(Box::new(Sqlite::open(file, config)?))?;
                store._ownership = ownership;
                Ok(store)
            }
            StoreUrl::Postgres(database) => Store::new(Box::new(Postgres::open(database, config)?)),
        }
    }

    /// A store over `backend`.
    ///
    /// # Errors
    /// [`StoreError`] if the accounts cannot be read.
    pub fn new(mut backend: Box<dyn Backend>) -> Result<Store, StoreError> {
        let scopes = backend.load()?;
        Ok(Store { backend, scopes, is_stale: false, _ownership: None })
    }

    /// The name of the group of instances that fill this store together, if it can have more than one.
    pub fn group(&self) -> Option<String> {
        self.backend.group()
    }

    /// Where to read on in `journal`: from the beginning if the store was filled from another one, which is logged. A store
    /// with a [`Store::group`] gives that with each [`Store::claim`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn begin(&mut self, journal: &str) -> Result<Offsets, StoreError> {
        let offsets = self.backend.begin(journal)?;
        if self.backend.group().is_some() {
            self.scopes.clear();
        }
        Ok(offsets)
    }

    /// Marks of the records that were read last from the journal of [`Store::begin`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn marks(&mut self) -> Result<Marks, StoreError> {
        self.backend.marks()
    }

    /// Claims partitions instead of those that are held, and gives where to read on. The former
    /// holder of one can no longer write for it.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing is held.
    pub fn claim(&mut self, scopes: &[Scope]) -> Result<(Offsets, Marks), StoreError> {
        self.scopes.clear();
        let offsets = self.backend.claim(scopes)?;
        self.scopes = self.backend.load()?;
        self.is_stale = false;
        Ok((offsets, self.backend.marks()?))
    }

    /// Forgets all claims and their accounts.
    pub fn release(&mut self) {
        self.backend.release();
        self.scopes.clear();
    }

    /// Stores a batch: rows, accounts and offsets in one transaction, or nothing of it.
    ///
    /// # Errors
    /// [`StoreError`]; the batch can be tried again, except after [`StoreError::Fenced`].
    pub fn apply(&mut self, batch: &Batch) -> Result<Vec<StoreEvent>, StoreError> {
        for place in &batch.restarted {
            log::warn!("store: journal {place}: the next offset does not exist any more; reading from the beginning");
        }
        if batch.records.is_empty() {
            return Ok(Vec::new());
        }
        let is_retried = self.is_stale;
        if self.is_stale {
            self.scopes = self.backend.load()?;
            self.is_stale = false;
        }
        let mut groups: BTreeMap<Scope, Vec<&Record>> = BTreeMap::new();
        let is_shared = self.backend.group().is_some();
        for record in &batch.records {
            let scope = if is_shared { (record.place.clone(), record.partition) } else { whole() };
            groups.entry(scope).or_default().push(record);
        }
        let mut parts = Vec::new();
        for (scope, records) in groups {
            let before = self.scopes.get(&scope).ok_or(StoreError::Fenced)?;
            let changes = fold(before, &records);
            parts.push(Part { scope, before, changes });
        }
        let offsets = parts.iter().flat_map(|p| p.changes.offsets.clone()).collect();
        if is_retried && self.backend.has_committed(&offsets) {
            log::info!("store: the transaction that reported an error had been committed");
            return Ok(Vec::new());
        }
        match self.backend.commit(&mut parts, clock::now_us()) {
            Ok(is_news) => {
                let changed: Vec<(Scope, Changes)> = parts.into_iter().map(|p| (p.scope, p.changes)).collect();
                let mut rows = Vec::new();
                for (scope, mut changes) in changed {
                    self.scopes.entry(scope).or_default().append(&mut changes.accounts);
                    rows.append(&mut changes.rows);
                }
                Ok(events(rows, &is_news))
            }
            Err(e) => {
                self.is_stale = true;
                Err(e)
            }
        }
    }

    /// Does a bounded slice of maintenance: retention, or the migration of an older file. Gives how soon the next one
    /// should run.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is lost, and the next slice tries again.
    pub fn maintain(&mut self) -> Result<Duration, StoreError> {
        let result = self.backend.maintain(clock::now_us());
        self.is_stale |= result.is_err() || self.backend.wants_load();
        result
    }

    /// What became of every record, by this and by all other instances.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn accounts(&mut self) -> Result<Accounts, StoreError> {
        match self.backend.accounts()? {
            Some(all) => Ok(all),
            None => Ok(self.scopes.get(&whole()).cloned().unwrap_or_default()),
        }
    }

    /// The same as lines.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn ledger(&mut self) -> Result<Vec<Line>, StoreError> {
        Ok(ledger::lines(&self.accounts()?))
    }
}

fn whole() -> Scope {
    (WHOLE.0.to_owned(), WHOLE.1)
}

/// Opens the store of a running program for reading.
///
/// # Errors
/// [`StoreError`].
pub fn open_reader(config: &StoreConfig) -> Result<Box<dyn Reader>, StoreError> {
    match &config.url {
        StoreUrl::Sqlite(file) => Ok(Box::new(Query::open(file)?)),
        StoreUrl::Postgres(database) => Ok(Box::new(postgres::query::Query::open(database)?)),
    }
}

/// Opens a store for reading that must exist and be of this version.
///
/// # Errors
/// [`Failure::NoInput`].
pub fn open_existing(config: &StoreConfig) -> Result<Box<dyn Reader>, Failure> {
    match &config.url {
        StoreUrl::Sqlite(file) => Ok(Box::new(Query::of_existing(file)?)),
        StoreUrl::Postgres(database) => match postgres::query::Query::open(database) {
            Ok(query) => Ok(Box::new(query)),
            Err(e) => Err(Failure::NoInput(format!("{}: {e}", config.url))),
        },
    }
}

fn events(rows: Vec<Change>, is_news: &[bool]) -> Vec<StoreEvent> {
    let news = rows.into_iter().zip(is_news).filter(|(_, is_news)| **is_news);
    let event = |change| match change {
        Change::Report(r) => Some(StoreEvent::Report(r)),
        Change::Picture(p) => Some(StoreEvent::Picture(p)),
        Change::Status(s) => Some(StoreEvent::Status(s)),
        Change::Census(c) => Some(StoreEvent::Census { device: c.device, frame: c.frame }),
        Change::Event(e) => Some(StoreEvent::Event(e)),
        Change::Window { .. } | Change::Loss { .. } | Change::Dead(_) => None,
    };
    news.filter_map(|(change, _)| event(change)).collect()
}
