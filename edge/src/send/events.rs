//! Events become records in the spool: synced at once, and kept in memory until the disk has them.
//!
//! Inputs are the changes in parcels. A change waits here while the disk refuses it or the spool is full, and no longer than
//! until it is synced, so it is neither lost by a refusing disk nor kept twice. At most [`WAITING_MAX`] changes wait; past that
//! the oldest is given up and counted.

use super::Send;
use crate::parcel::Parcel;
use crate::spool::{AppendError, Entry};
use firmware::limits::{ENVELOPE_BYTES, EVENT_BYTES_MAX};
use firmware::wire::{self, EventRecord, Payload};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Changes that may wait for the disk: 16 events that begin and end 16 times each while it refuses.
const WAITING_MAX: usize = 512;

/// A change that is not durable yet.
#[derive(Debug)]
struct Change {
    record: EventRecord,
    captured_at_us: u64,
    clock_synced: bool,
    /// Its seq, once it is appended.
    seq: Option<u64>,
}

/// Changes that are not durable yet, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Waiting(VecDeque<Change>);

impl Waiting {
    /// What is appended before `next` is durable.
    pub fn synced(&mut self, next: u64) {
        self.0.retain(|change| change.seq.is_none_or(|seq| seq >= next));
    }

    /// What is appended from `next` on is gone from the disk.
    pub fn cut(&mut self, next: u64) {
        self.0.iter_mut().for_each(|change| change.seq = change.seq.filter(|seq| *seq < next));
    }
}

impl Send {
    /// Takes the changes of a parcel, and appends and syncs what can be.
    pub(super) fn take_events(&mut self, parcel: &Parcel) {
        for record in &parcel.events {
            if self.events.0.len() >= WAITING_MAX {
                self.events.0.pop_front();
                if self.channels.counters.events_refused.fetch_add(1, Ordering::Relaxed) == 0 {
                    log::error!(
                        "the disk refuses records, and {WAITING_MAX} changes of events wait: the oldest are given up"
                    );
                }
            }
            let (captured_at_us, clock_synced) = (parcel.captured_at_us, parcel.clock_synced);
            self.events.0.push_back(Change { record: record.clone(), captured_at_us, clock_synced, seq: None });
        }
        self.keep_events();
    }

    /// Appends the changes that wait, in order, and makes them durable.
    pub(super) fn keep_events(&mut self) {
        if self.events.0.is_empty() || self.disk_fault.waits() {
            return;
        }
        // Making room may sync what is appended, and with that the places change.
        while let Some(n) = self.events.0.iter().position(|change| change.seq.is_none()) {
            let bytes = (ENVELOPE_BYTES + EVENT_BYTES_MAX) as u64;
            let is_appended = if self.spool.has_room(bytes) { self.append_event(n) } else { self.make_room(bytes) };
            if !is_appended {
                break;
            }
        }
        self.sync();
    }

    /// Appends the change at place `n`. False: not now.
    fn append_event(&mut self, n: usize) -> bool {
        let Some(change) = self.events.0.get_mut(n) else { return false };
        let mut payload = [0; EVENT_BYTES_MAX];
        let length = match wire::encode(&change.record, &mut payload) {
            Ok(length) => length,
            Err(e) => {
                log::error!("event {} of frame {} cannot be encoded: {e}", change.record.name, change.record.frame);
                self.events.0.remove(n);
                return true;
            }
        };
        let entry = Entry {
            kind: EventRecord::KIND as u8,
            payload_version: EventRecord::VERSION,
            captured_at_us: change.captured_at_us,
            clock_synced: change.clock_synced,
            payload: payload.get(..length).unwrap_or(&[]),
        };
        match self.spool.append(&entry) {
            Ok(seq) => {
                change.seq = Some(seq);
                self.cadence.appended(Instant::now());
                true
            }
            Err(AppendError::Full) => false,
            Err(AppendError::Disk(e)) => {
                self.met(&e);
                false
            }
        }
    }
}
