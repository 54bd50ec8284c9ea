//! The store: the journal as rows, each record once.
//!
//! [`Store::apply`] folds a batch with the accounts in memory and has the [`Backend`] commit rows, accounts and offsets in
//! one transaction. The accounts in memory change only after the commit. If a commit fails, they are read again before
//! anything else is applied, since a commit that reported an error may have happened all the same.

pub mod ledger;
pub mod owner;
pub mod reader;
pub mod rollup;
pub mod sqlite;
pub mod url;

pub use sqlite::query;

use crate::clock;
use crate::config::StoreConfig;
use crate::failure::Failure;
use crate::journal::{Batch, Marks, Offsets};
use crate::metrics::ingest::fold::{Change, Changes, DeviceStatus, PicturePayload, ReportChange, fold};
use ledger::Accounts;
use owner::{NotOwned, Ownership};
use query::Query;
use reader::Reader;
use sqlite::Sqlite;
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
    /// This build has no PostgreSQL.
    #[error("store: this build has no PostgreSQL")]
    Unsupported,
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
    /// All parts of a census are in the store.
    Census {
        /// The device.
        device: String,
        /// The frame.
        frame: u64,
    },
}

/// A database that holds a store.
pub trait Backend: Send {
    /// Reads all accounts, and forgets whatever else is in memory.
    ///
    /// # Errors
    /// [`StoreError`].
    fn load(&mut self) -> Result<Accounts, StoreError>;

    /// Where to read on in `journal`: from its beginning if the store was filled from another one.
    ///
    /// # Errors
    /// [`StoreError`].
    fn begin(&mut self, journal: &str) -> Result<Offsets, StoreError>;

    /// Marks of the records before those offsets.
    ///
    /// # Errors
    /// [`StoreError`].
    fn marks(&mut self) -> Result<Marks, StoreError>;

    /// Makes all changes in one transaction, or none. `before` are the accounts without the changes. Gives for each row
    /// whether it is news: false for a status older than the stored one, and for a census that is not complete.
    ///
    /// # Errors
    /// [`StoreError`].
    fn commit(&mut self, before: &Accounts, changes: &Changes, now_us: u64) -> Result<Vec<bool>, StoreError>;

    /// Does a bounded slice of maintenance. Gives how soon the next one should run.
    ///
    /// # Errors
    /// [`StoreError`].
    fn maintain(&mut self, now_us: u64) -> Result<Duration, StoreError>;
}

/// The store, opened for writing.
pub struct Store {
    backend: Box<dyn Backend>,
    accounts: Accounts,
    /// The last commit failed: `accounts` may not be what is stored.
    is_stale: bool,
    _ownership: Option<Ownership>,
}

impl Store {
    /// Opens the file or makes it, as its one writer.
    ///
    /// # Errors
    /// [`StoreError::NotOwned`] if another process writes to it; SQLite's.
    pub fn open(config: &StoreConfig) -> Result<Store, StoreError> {
        let who = format!("process {} since {}", std::process::id(), clock::rfc3339(clock::now_us()));
        match &config.url {
            StoreUrl::Sqlite(file) => {
                let ownership = Ownership::take(file, &who)?;
                let mut store = Store::new(Box::new(Sqlite::open(file, config)?))?;
                store._ownership = ownership;
                Ok(store)
            }
            StoreUrl::Postgres(_) => Err(StoreError::Unsupported),
        }
    }

    /// A store over `backend`.
    ///
    /// # Errors
    /// [`StoreError`] if the accounts cannot be read.
    pub fn new(mut backend: Box<dyn Backend>) -> Result<Store, StoreError> {
        let accounts = backend.load()?;
        Ok(Store { backend, accounts, is_stale: false, _ownership: None })
    }

    /// Where to read on in `journal`: from the beginning if the store was filled from another one, which is logged.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn begin(&mut self, journal: &str) -> Result<Offsets, StoreError> {
        self.backend.begin(journal)
    }

    /// Marks of the records that were read last from the journal of [`Store::begin`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn marks(&mut self) -> Result<Marks, StoreError> {
        self.backend.marks()
    }

    /// Stores a batch: rows, accounts and offsets in one transaction, or nothing of it.
    ///
    /// # Errors
    /// [`StoreError`]; the batch can be tried again.
    pub fn apply(&mut self, batch: &Batch) -> Result<Vec<StoreEvent>, StoreError> {
        for place in &batch.restarted {
            log::warn!("store: journal {place}: the next offset does not exist any more; reading from the beginning");
        }
        if batch.records.is_empty() {
            return Ok(Vec::new());
        }
        if self.is_stale {
            self.accounts = self.backend.load()?;
            self.is_stale = false;
        }
        let mut changes = fold(&self.accounts, batch);
        match self.backend.commit(&self.accounts, &changes, clock::now_us()) {
            Ok(is_news) => {
                self.accounts.append(&mut changes.accounts);
                Ok(events(changes.rows, &is_news))
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
        self.is_stale |= result.is_err();
        result
    }

    /// What became of every record.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }
}

/// Opens the store of a running program for reading.
///
/// # Errors
/// [`StoreError`].
pub fn open_reader(config: &StoreConfig) -> Result<Box<dyn Reader>, StoreError> {
    match &config.url {
        StoreUrl::Sqlite(file) => Ok(Box::new(Query::open(file)?)),
        StoreUrl::Postgres(_) => Err(StoreError::Unsupported),
    }
}

/// Opens a store for reading that must exist and be of this version.
///
/// # Errors
/// [`Failure::NoInput`].
pub fn open_existing(config: &StoreConfig) -> Result<Box<dyn Reader>, Failure> {
    match &config.url {
        StoreUrl::Sqlite(file) => Ok(Box::new(Query::of_existing(file)?)),
        StoreUrl::Postgres(_) => Err(Failure::NoInput(StoreError::Unsupported.to_string())),
    }
}

fn events(rows: Vec<Change>, is_news: &[bool]) -> Vec<StoreEvent> {
    let news = rows.into_iter().zip(is_news).filter(|(_, is_news)| **is_news);
    let event = |change| match change {
        Change::Report(r) => Some(StoreEvent::Report(r)),
        Change::Picture(p) => Some(StoreEvent::Picture(p)),
        Change::Status(s) => Some(StoreEvent::Status(s)),
        Change::Census(c) => Some(StoreEvent::Census { device: c.device, frame: c.frame }),
        Change::Window { .. } | Change::Loss { .. } | Change::Dead(_) => None,
    };
    news.filter_map(|(change, _)| event(change)).collect()
}
