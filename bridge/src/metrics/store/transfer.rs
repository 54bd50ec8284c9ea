//! Moving a store from one database to another, row by row.
//!
//! [`move_store`] reads the source in one snapshot and writes the target in one transaction: the target has everything or
//! stays empty. It refuses a target that holds records. Accounts that several instances share are united.

use super::ledger::Account;
use super::postgres::Postgres;
use super::reader::Unit;
use super::rollup::RollUp;
use super::sqlite::Sqlite;
use super::url::StoreUrl;
use super::{StoreError, owner::Ownership};
use crate::config::StoreConfig;
use crate::json::ReportJson;
use crate::metrics::ingest::fold::{CensusPart, Change, DeadLetter};
use std::collections::BTreeMap;

/// One thing that a store holds. The order of the kinds is that in which they are moved.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// The journal that it was filled from.
    Journal(String),
    /// Where to read on in that journal.
    Offset {
        /// What offsets are counted in.
        place: String,
        /// Partition of the place.
        part: i32,
        /// The next offset.
        next: i64,
        /// Mark of the record before it.
        mark: Option<String>,
    },
    /// The account of a device's stream.
    Account {
        /// The device.
        device: String,
        /// The stream.
        stream: u64,
        /// The account.
        account: Box<Account>,
    },
    /// A report.
    Report {
        /// Microseconds since the Unix epoch.
        stored_at_us: u64,
        /// Microseconds since the Unix epoch.
        captured_at_us: u64,
        /// The report.
        report: Box<ReportJson>,
    },
    /// A part of a census.
    Census(CensusPart),
    /// A window, a status, a loss or an event.
    Small(Change),
    /// A dead letter of a journal.
    Dead {
        /// The journal.
        journal: String,
        /// The letter.
        letter: DeadLetter,
    },
    /// A sum over a minute or an hour.
    RollUp {
        /// Which.
        unit: Unit,
        /// The device.
        device: String,
        /// Units since the Unix epoch.
        at: u64,
        /// The sum.
        sums: RollUp,
    },
}

impl Item {
    /// What it is called in the report of a move.
    fn kind(&self) -> &'static str {
        match self {
            Item::Journal(_) => "journals",
            Item::Offset { .. } => "offsets",
            Item::Account { .. } => "accounts",
            Item::Report { .. } => "reports",
            Item::Census(_) => "parts of censuses",
            Item::Small(_) => "windows, states, losses and events",
            Item::Dead { .. } => "dead letters",
            Item::RollUp { .. } => "sums by minute and hour",
        }
    }
}

/// Takes items in their order.
pub type Sink<'a> = dyn FnMut(Item) -> Result<(), StoreError> + 'a;

/// Gives items to a sink.
pub(super) type Fill<'a> = dyn FnMut(&mut Sink<'_>) -> Result<(), StoreError> + 'a;

/// Gives all that a store holds to `sink`.
///
/// # Errors
/// [`StoreError`], the sink's too.
pub fn export(config: &StoreConfig, sink: &mut Sink<'_>) -> Result<(), StoreError> {
    match &config.url {
        StoreUrl::Sqlite(file) => {
            // A mistyped name must not make a store.
            if !file.exists() {
                return Err(StoreError::Unfit(format!("{}: there is no such store", file.display())));
            }
            let _ownership = Ownership::take(file, "store move")?;
            Sqlite::open(file, config)?.export(sink)
        }
        StoreUrl::Postgres(database) => Postgres::open(database, config)?.export(sink),
    }
}

/// Moves all that a store holds to another one. Gives how many of each kind that were.
///
/// # Errors
/// [`StoreError`]; then the target is as it was.
pub fn move_store(from: &StoreConfig, to: &StoreConfig) -> Result<BTreeMap<&'static str, u64>, StoreError> {
    if from.url == to.url {
        return Err(StoreError::Unfit("--from and --to name the same store".to_owned()));
    }
    let mut counts = BTreeMap::new();
    let mut fill = |sink: &mut Sink<'_>| {
        export(from, &mut |item| {
            *counts.entry(item.kind()).or_default() += 1;
            sink(item)
        })
    };
    match &to.url {
        StoreUrl::Sqlite(file) => {
            let _ownership = Ownership::take(file, "store move")?;
            Sqlite::open(file, to)?.import(&mut fill)?;
        }
        StoreUrl::Postgres(database) => Postgres::open(database, to)?.import(&mut fill)?,
    }
    Ok(counts)
}
