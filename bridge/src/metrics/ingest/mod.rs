//! Ingest: reads the journal into the store, each batch in one transaction.
//!
//! [`fill`] blocks its thread until `stop` is true. It opens the journal again when that fails, and tries a batch until
//! the store has taken it; `/healthz` reports that meanwhile. Where several instances fill one store, they share the journal as a
//! group: what is assigned to this one is claimed in the store before it is read. What was stored goes to [`Live`], and the ledger once a second.
//! Between batches the store does its maintenance, one bounded slice at a time.

pub mod decode;
pub mod fold;
mod others;

use crate::config::MetricsConfig;
use crate::failure::Failure;
use crate::journal::{self, Batch, Journal, JournalError, Reader};
use crate::metrics::http::live::Live;
use crate::metrics::store::{Store, StoreError, ledger};
use others::Others;
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
/// How long whatever failed waits before it is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// How often a signal and the group are looked at meanwhile.
const IDLE: Duration = Duration::from_millis(50);

/// Reads the journal into the store until `stop` is true. Blocks.
///
/// # Errors
/// [`Failure`]: the store was taken by another process, or cannot be written while the program ends.
pub fn fill(config: &MetricsConfig, store: Store, live: &Live, stop: &watch::Receiver<bool>) -> Result<(), Failure> {
    let mut filler = Filler::new(config, store, live, stop);
    let mut is_logged = false;
    while !filler.is_stopped() {
        let opened = journal::open_existing(&config.journal, false).and_then(|journal| {
            let reader = filler.begin(journal.as_ref())?;
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
    /// What other instances ingest, where there may be some.
    others: Option<Others>,
    live: &'a Live,
    stop: &'a watch::Receiver<bool>,
    ledger_shown: Instant,
    lag_asked: Option<Instant>,
    maintain_at: Instant,
    is_maintenance_broken: bool,
    is_store_broken: bool,
    /// What the group has assigned and is not claimed yet.
    unclaimed: Option<Vec<(String, i32)>>,
    claim_at: Instant,
}

impl<'a> Filler<'a> {
    fn new(config: &MetricsConfig, store: Store, live: &'a Live, stop: &'a watch::Receiver<bool>) -> Self {
        let now = Instant::now();
        let others = store.group().map(|_| Others::new(&config.store));
        Filler {
            others,
            store,
            live,
            stop,
            ledger_shown: now,
            lag_asked: None,
            maintain_at: now,
            is_maintenance_broken: false,
            is_store_broken: false,
            unclaimed: None,
            claim_at: now,
        }
    }

    /// Opens a reader: of all partitions where the store stands, or a member of the store's group.
    fn begin(&mut self, journal: &dyn Journal) -> Result<Box<dyn Reader>, Failure> {
        let away = |e: JournalError| Failure::Unavailable(e.to_string());
        let from = self.store.begin(&journal.id()).map_err(|e| Failure::io("store", e))?;
        self.unclaimed = None;
        if let Some(group) = self.store.group() {
            return journal.member(&group).map_err(away);
        }
        let marks = self.store.marks().map_err(|e| Failure::io("store", e))?;
        let mut reader = journal.reader(&from).map_err(away)?;
        reader.compare(marks);
        Ok(reader)
    }

    /// Takes what the group has changed: forgets the accounts of what was revoked, claims what is assigned. Gives whether
    /// something was revoked.
    fn take_rebalance(&mut self, reader: &mut dyn Reader) -> bool {
        let change = reader.rebalance();
        if change.is_revoked {
            self.store.release();
            self.unclaimed = None;
        }
        if let Some(assigned) = change.assigned {
            self.store.release();
            (self.unclaimed, self.claim_at) = (Some(assigned), Instant::now());
        }
        change.is_revoked
    }

    /// Claims what is assigned and begins to read it. What fails is tried again.
    fn claim(&mut self, reader: &mut dyn Reader) {
        let Some(assigned) = self.unclaimed.take_if(|_| Instant::now() >= self.claim_at) else { return };
        let claimed = self.store.claim(&assigned);
        let started = match claimed {
            Ok((from, marks)) => {
                self.store_answers();
                log::info!("{} partitions of the journal are read here", assigned.len());
                reader.start(&from, marks).map_err(|e| self.live.set_health(|h| h.journal = Some(e.to_string())))
            }
            Err(e) => {
                self.store_fails(&e);
                Err(())
            }
        };
        if started.is_err() {
            (self.unclaimed, self.claim_at) = (Some(assigned), Instant::now() + RETRY);
        }
    }

    fn store_answers(&mut self) {
        if std::mem::replace(&mut self.is_store_broken, false) {
            log::info!("store: it can be written again");
            self.live.set_health(|h| h.store = None);
        }
    }

    fn store_fails(&mut self, e: &StoreError) {
        self.live.set_health(|h| h.store = Some(e.to_string()));
        if !std::mem::replace(&mut self.is_store_broken, true) {
            log::error!("{e}; trying again until the store can be written");
        }
    }

    /// Shows the ledger as the store has it; one that cannot be read now stays as it was.
    fn show_ledger(&mut self) {
        let Ok(accounts) = self.store.accounts() else { return };
        self.live.set_ledger(ledger::lines(&accounts));
        if let Some(others) = &mut self.others {
            others.look(&accounts, self.live);
        }
    }

    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Stores what the reader gives until `stop` is true, or until the journal has to be opened again.
    fn follow(&mut self, reader: &mut dyn Reader) -> Result<(), Failure> {
        let mut is_away = false;
        while !self.is_stopped() {
            match reader.read(BATCH_MAX, WAIT) {
                Ok(batch) => {
                    if !batch.records.is_empty() && std::mem::replace(&mut is_away, false) {
                        log::info!("the journal answers again");
                        self.live.set_health(|h| h.journal = None);
                    }
                    // An empty one is no sign that the store works.
                    let is_something = !batch.records.is_empty() || !batch.restarted.is_empty();
                    if !self.take_rebalance(reader) && is_something {
                        self.store_batch(&batch, reader)?;
                    }
                }
                Err(JournalError::Fatal(e)) => {
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
            self.claim(reader);
            self.between_batches(reader, is_away);
        }
        Ok(())
    }

    fn between_batches(&mut self, reader: &mut dyn Reader, is_away: bool) {
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
                    if std::mem::replace(&mut self.is_maintenance_broken, false) && !self.is_store_broken {
                        self.live.set_health(|h| h.store = None);
                    }
                    pause
                }
                Err(e) => {
                    self.live.set_health(|h| h.store = Some(e.to_string()));
                    if !std::mem::replace(&mut self.is_maintenance_broken, true) {
                        log::warn!("{e}: old rows could not be deleted; trying again");
                    }
                    RETRY
                }
            };
            self.maintain_at = Instant::now() + pause;
        }
    }

    /// Stores a batch, however often that must be tried. Meanwhile nothing is read. A batch is dropped when its partitions go
    /// to another instance, which reads it again.
    fn store_batch(&mut self, batch: &Batch, reader: &mut dyn Reader) -> Result<(), Failure> {
        loop {
            match self.store.apply(batch) {
                Ok(events) => {
                    events.into_iter().for_each(|e| self.live.take(e));
                    self.store_answers();
                    return Ok(());
                }
                Err(e @ StoreError::Taken) => return Err(Failure::Unavailable(e.to_string())),
                Err(e @ StoreError::Fenced) => {
                    log::warn!("{e}");
                    self.store.release();
                    reader.rejoin();
                    return Ok(());
                }
                Err(e) if self.is_stopped() => return Err(Failure::Io(e.to_string())),
                Err(e) => self.store_fails(&e),
            }
            let until = Instant::now() + RETRY;
            while Instant::now() < until && !self.is_stopped() {
                reader.idle(IDLE);
                if self.take_rebalance(reader) {
                    return Ok(());
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
