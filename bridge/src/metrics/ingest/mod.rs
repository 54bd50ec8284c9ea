//! Ingest: reads the journal into the store, each batch in one transaction.
//!
//! [`fill`] blocks its thread until it is told to stop. It opens the journal again when that fails, and tries a batch until
//! the store has taken it. What was stored goes to [`Live`], and the ledger once a second.

use crate::config::MetricsConfig;
use crate::failure::Failure;
use crate::journal::{self, Batch};
use crate::metrics::http::live::Live;
use crate::metrics::store::{Store, StoreError, ledger};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Records in one transaction of the store.
const BATCH_MAX: usize = 512;
/// How long the reader waits for records.
const WAIT: Duration = Duration::from_millis(250);
/// How often the ledger is told.
const LEDGER: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(2);

/// Reads the journal into the store until told to stop. Blocks.
///
/// # Errors
/// [`Failure`].
pub fn fill(
    config: &MetricsConfig,
    mut store: Store,
    live: &Live,
    stop: &watch::Receiver<bool>,
) -> Result<(), Failure> {
    let (mut said, mut told) = (false, Instant::now());
    while !*stop.borrow() {
        let opened = journal::open(&config.journal, false).and_then(|journal| {
            let from = store.begin(&journal.id()).map_err(|e| Failure::io("store", e))?;
            let reader = journal.reader(&from).map_err(|e| Failure::Unavailable(e.to_string()))?;
            Ok((journal, reader))
        });
        let (journal, mut reader) = match opened {
            Ok(opened) => opened,
            Err(e @ Failure::Unavailable(_)) => {
                if !std::mem::replace(&mut said, true) {
                    log::warn!("{e}; trying again until it answers");
                }
                pause(RETRY, stop);
                continue;
            }
            Err(e) => return Err(e),
        };
        log::info!("journal {} ({})", config.journal.url, journal.id());
        said = false;
        while !*stop.borrow() {
            match reader.read(BATCH_MAX, WAIT) {
                Ok(batch) => {
                    if !batch.records.is_empty() && std::mem::replace(&mut said, false) {
                        log::info!("the journal answers again");
                    }
                    put(&mut store, &batch, live, stop)?;
                }
                Err(journal::JournalError::Fatal(e)) => {
                    log::warn!("journal: {e}; opening it again");
                    break;
                }
                Err(e) => {
                    if !std::mem::replace(&mut said, true) {
                        log::warn!("{e}");
                    }
                    pause(WAIT, stop);
                }
            }
            if told.elapsed() >= LEDGER {
                live.set_ledger(ledger::lines(store.accounts()));
                told = Instant::now();
            }
        }
    }
    live.set_ledger(ledger::lines(store.accounts()));
    Ok(())
}

/// Stores a batch, however often that must be tried.
fn put(store: &mut Store, batch: &Batch, live: &Live, stop: &watch::Receiver<bool>) -> Result<(), Failure> {
    let mut said = false;
    loop {
        match store.apply(batch) {
            Ok(happened) => {
                happened.into_iter().for_each(|h| live.take(h));
                return Ok(());
            }
            Err(e @ StoreError::Taken) => return Err(Failure::Unavailable(e.to_string())),
            Err(e) if *stop.borrow() => return Err(Failure::Io(e.to_string())),
            Err(e) => {
                if !std::mem::replace(&mut said, true) {
                    log::error!("{e}; trying again until the disk takes it");
                }
                pause(RETRY, stop);
            }
        }
    }
}

fn pause(time: Duration, stop: &watch::Receiver<bool>) {
    let until = Instant::now() + time;
    while Instant::now() < until && !*stop.borrow() {
        std::thread::sleep(Duration::from_millis(20));
    }
}
