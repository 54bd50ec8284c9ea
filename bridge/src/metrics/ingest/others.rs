//! What other instances ingest, for this instance's page.
//!
//! [`Others::look`] compares the accounts of all instances with what it saw before, and reads the last report of the devices
//! that have new ones, [`DEVICES_MAX`] at most; the rest waits for the next turn. States of devices are read every
//! [`STATES`]. What this instance has itself is newer and stays.

use crate::config::StoreConfig;
use crate::metrics::http::live::Live;
use crate::metrics::store::ledger::Accounts;
use crate::metrics::store::reader::Reader;
use crate::metrics::store::{StoreError, open_reader};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Devices whose reports are read in one turn. It is a turn a second, and a report takes half a millisecond.
const DEVICES_MAX: usize = 64;
/// How often the states of devices are read.
const STATES: Duration = Duration::from_secs(5);

/// What was seen of the store.
pub(super) struct Others {
    config: StoreConfig,
    reader: Option<Box<dyn Reader>>,
    /// For each device the order and the end of the youngest stream with records.
    seen: BTreeMap<String, (i64, u64)>,
    /// Devices with reports that are not read yet.
    waiting: BTreeSet<String>,
    states_read: Option<Instant>,
}

impl Others {
    pub(super) fn new(config: &StoreConfig) -> Others {
        Others {
            config: config.clone(),
            reader: None,
            seen: BTreeMap::new(),
            waiting: BTreeSet::new(),
            states_read: None,
        }
    }

    /// Shows what is new. A store that cannot be read now is looked at again in the next turn.
    pub(super) fn look(&mut self, accounts: &Accounts, live: &Live) {
        let mut heads: BTreeMap<&str, (i64, u64)> = BTreeMap::new();
        for ((device, _), account) in accounts.iter().filter(|(_, a)| a.stored.end() > 0) {
            let head = heads.entry(device).or_insert((i64::MIN, 0));
            *head = (*head).max((account.order, account.stored.end()));
        }
        for (device, head) in heads {
            if self.seen.get(device) != Some(&head) {
                self.seen.insert(device.to_owned(), head);
                self.waiting.insert(device.to_owned());
            }
        }
        if let Err(e) = self.read(live) {
            log::debug!("{e}");
        }
    }

    fn read(&mut self, live: &Live) -> Result<(), StoreError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(open_reader(&self.config)?),
        };
        for _ in 0..DEVICES_MAX {
            let Some(device) = self.waiting.first().cloned() else { break };
            if let Some((order, report)) = reader.latest(&device)? {
                live.take_stored(order, report);
            }
            self.waiting.remove(&device);
        }
        if self.states_read.is_none_or(|t| t.elapsed() >= STATES) {
            for known in reader.devices()? {
                if let (Some(state), Some(status)) = (known.state, known.status) {
                    live.take_state(&known.device, state, &status);
                }
            }
            self.states_read = Some(Instant::now());
        }
        Ok(())
    }
}
