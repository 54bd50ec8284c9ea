//! Ingest: reads the journal into the store, each batch in one transaction.
//!
//! [`fill`] blocks its thread until it is told to stop. It opens the journal again when that fails, and tries a batch until
//! the store has taken it; `/healthz` says so meanwhile. What was stored goes to [`Live`], and the ledger once a second.
//! Between batches the store does its maintenance, one bounded slice at a time.

pub mod decode;
pub mod fold;

use crate::config::MetricsConfig;
use crate::failure::Failure;
use crate::journal::{self, Batch};
use crate::metrics::http::live::Live;
use crate::metrics::store::{Store, StoreError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Records in one transaction of the store: enough that syncing the disk costs little for each, and less than 100 ms of
/// work.
const BATCH_MAX: usize = 4_096;
/// How long the reader waits for records.
const WAIT: Duration = Duration::from_millis(250);
/// How often the ledger is shown.
const LEDGER: Duration = Duration::from_secs(1);
/// How often the journal is asked how far the store is behind.
const LAG: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(2);

/// Reads the journal into the store until told to stop. Blocks.
///
/// # Errors
/// [`Failure`]: the store was taken by another process, or cannot be written while the program ends.
pub fn fill(config: &MetricsConfig, store: Store, live: &Live, stop: &watch::Receiver<bool>) -> Result<(), Failure> {
    let mut filler = Filler::new(store, live, stop);
    let mut is_logged = false;
    while !filler.is_stopped() {
        let opened = journal::open_existing(&config.journal, false).and_then(|journal| {
            let from = filler.store.begin(&journal.id()).map_err(|e| Failure::io("store", e))?;
            let marks = filler.store.marks().map_err(|e| Failure::io("store", e))?;
            let mut reader = journal.reader(&from).map_err(|e| Failure::Unavailable(e.to_string()))?;
            reader.compare(marks);
            Ok((journal, reader))
        });
        match opened {
            Ok((journal, mut reader)) => {
                log::info!("journal {} ({})", config.journal.url, journal.id());
                is_logged = false;
                live.set_health(|h| h.journal = None);
                filler.follow(reader.as_mut())?;
            }
            Err(e @ (Failure::Unavailable(_) | Failure::NoInput(_))) => {
                live.set_health(|h| h.journal = Some(e.to_string()));
                if !std::mem::replace(&mut is_logged, true) {
                    log::warn!("{e}; trying again until it is there");
                }
                pause(RETRY, stop);
            }
            Err(e) => return Err(e),
        }
    }
    filler.show_ledger();
    Ok(())
}

struct Filler<'a> {
    store: Store,
    live: &'a Live,
    stop: &'a watch::Receiver<bool>,
    ledger_shown: Instant,
    lag_asked: Option<Instant>,
    maintain_at: Instant,
    is_maintenance_broken: bool,
}

impl<'a> Filler<'a> {
    fn new(store: Store, live: &'a Live, stop: &'a watch::Receiver<bool>) -> Self {
        let now = Instant::now();
        let is_maintenance_broken = false;
        Filler { store, live, stop, ledger_shown: now, lag_asked: None, maintain_at: now, is_maintenance_broken }
    }

    /// Shows the ledger as the store has it; one that cannot be read now stays as it was.
    fn show_ledger(&mut self) {
        if let Ok(lines) = self.store.ledger() {
            self.live.set_ledger(lines);
        }
    }

    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Stores what the reader gives until told to stop, or until the journal has to be opened again.
    fn follow(&mut self, reader: &mut dyn journal::Reader) -> Result<(), Failure> {
        let mut is_away = false;
        while !self.is_stopped() {
            match reader.read(BATCH_MAX, WAIT) {
                Ok(batch) => {
                    if !batch.records.is_empty() && std::mem::replace(&mut is_away, false) {
                        log::info!("the journal answers again");
                        self.live.set_health(|h| h.journal = None);
                    }
                    self.store_batch(&batch)?;
                }
                Err(journal::JournalError::Fatal(e)) => {
                    log::warn!("journal: {e}; opening it again");
                    self.live.set_health(|h| h.journal = Some(e));
                    return Ok(());
                }
                Err(e) => {
                    self.live.set_health(|h| (h.journal, h.lag) = (Some(e.to_string()), None));
                    if !std::mem::replace(&mut is_away, true) {
                        log::warn!("{e}");
                    }
                    pause(WAIT, self.stop);
                }
            }
            self.between_batches(reader, is_away);
        }
        Ok(())
    }

    fn between_batches(&mut self, reader: &mut dyn journal::Reader, is_away: bool) {
        if self.ledger_shown.elapsed() >= LEDGER {
            self.show_ledger();
            self.ledger_shown = Instant::now();
        }
        if !is_away && self.lag_asked.is_none_or(|t| t.elapsed() >= LAG) {
            let lag = reader.lag();
            self.live.set_health(|h| h.lag = lag);
            self.lag_asked = Some(Instant::now());
        }
        if Instant::now() >= self.maintain_at {
            let pause = match self.store.maintain() {
                Ok(pause) => {
                    self.is_maintenance_broken = false;
                    pause
                }
                Err(e) => {
                    if !std::mem::replace(&mut self.is_maintenance_broken, true) {
                        log::warn!("{e}: old rows could not be deleted; trying again");
                    }
                    RETRY
                }
            };
            self.maintain_at = Instant::now() + pause;
        }
    }

    /// Stores a batch, however often that must be tried.
    fn store_batch(&mut self, batch: &Batch) -> Result<(), Failure> {
        let mut is_broken = false;
        loop {
            match self.store.apply(batch) {
                Ok(events) => {
                    events.into_iter().for_each(|e| self.live.take(e));
                    if is_broken {
                        log::info!("store: it can be written again");
                        self.live.set_health(|h| h.store = None);
                    }
                    return Ok(());
                }
                Err(e @ StoreError::Taken) => return Err(Failure::Unavailable(e.to_string())),
                Err(e) if self.is_stopped() => return Err(Failure::Io(e.to_string())),
                Err(e) => {
                    self.live.set_health(|h| h.store = Some(e.to_string()));
                    if !std::mem::replace(&mut is_broken, true) {
                        log::error!("{e}; trying again until the store can be written");
                    }
                    pause(RETRY, self.stop);
                }
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
