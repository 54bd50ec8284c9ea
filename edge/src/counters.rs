//! What the threads of a run count, for the status line, the summary and the `status` message.
//!
//! Each counter has one writer. Reading them together gives no consistent moment, and none is needed.

use crate::event::States;
use firmware::limits::REGIONS_MAX;
use firmware::reference::Outcome;
use firmware::wire::RegionShare;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The counters of one run.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames clustered.
    pub frames: AtomicU64,
    /// Frames whose records were refused because the disk, or the space for loss records, was full.
    pub refused: AtomicU64,
    /// Records that a full spool gave up, each named by a loss record.
    pub evicted: AtomicU64,
    /// Loss records.
    pub losses: AtomicU64,
    /// Frames that the camera lost.
    pub lost: AtomicU64,
    /// Frames that came late.
    pub late: AtomicU64,
    /// Frames that had more colours than clusters are possible.
    pub saturated: AtomicU64,
    /// Frames with a colour that the palette misses.
    pub missing: AtomicU64,
    /// Records not yet acknowledged by the journal.
    pub held: AtomicU64,
    /// Records found damaged on the disk.
    pub damaged: AtomicU64,
    /// Pictures published without custody.
    pub pictures_sent: AtomicU64,
    /// Pictures that could not leave at once and were dropped.
    pub pictures_unsent: AtomicU64,
    /// Records that the broker does not take for their size: each is declared lost.
    pub records_too_large: AtomicU64,
    /// Pictures without custody that the broker does not take for their size: dropped.
    pub pictures_too_large: AtomicU64,
    /// The largest packet that the broker takes; 0: it takes all that is sent.
    pub packet_bytes_max: AtomicU64,
    /// The largest payload of a census that the broker takes; 0: every one.
    pub census_bytes_max: AtomicU64,
    /// The broker is connected.
    pub connected: AtomicBool,
    /// The broker is connected, and no status of a bridge has arrived for too long.
    pub is_bridge_missing: AtomicBool,
    /// Frames a second, in tenths; 0 before the second frame.
    pub fps_tenths: AtomicU64,
    /// Changes of events that were given up because too many waited for the disk.
    pub events_refused: AtomicU64,
    /// The shares of the last frame's regions.
    pub regions: Mutex<heapless::Vec<RegionShare, REGIONS_MAX>>,
    /// The states of events after the last frame.
    pub events: Mutex<States>,
    /// They have changed.
    pub events_changed: Condvar,
    /// What became of the last frame's colours; none without a reference.
    pub correction: Mutex<Option<Outcome>>,
    /// Frames whose colours were not corrected because of a reference patch.
    pub uncorrected: AtomicU64,
}

impl Counters {
    /// Keeps the shares of a frame's regions; nothing for a frame without any.
    pub fn see_regions(&self, regions: &heapless::Vec<RegionShare, REGIONS_MAX>) {
        if !regions.is_empty() {
            self.regions.lock().unwrap_or_else(PoisonError::into_inner).clone_from(regions);
        }
    }

    /// Keeps what became of a frame's colours; nothing without a reference.
    pub fn see_correction(&self, outcome: Option<Outcome>) {
        if outcome.is_some() {
            *self.correction.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
        }
        if matches!(outcome, Some(Outcome::Fault(..))) {
            self.uncorrected.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What became of the last frame's colours.
    pub fn last_correction(&self) -> Option<Outcome> {
        *self.correction.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the states of events; nothing without any.
    pub fn see_events(&self, states: &States) {
        if !states.is_empty() {
            let mut known = self.events.lock().unwrap_or_else(PoisonError::into_inner);
            if *known != *states {
                known.clone_from(states);
                self.events_changed.notify_all();
            }
        }
    }

    /// Waits until the states of events differ from `known`, or for so long. Gives them.
    pub fn wait_for_events(&self, known: &States, limit: Duration) -> States {
        let states = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.events_changed.wait_timeout_while(states, limit, |states| *states == *known);
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// The states of events after the last frame.
    pub fn last_events(&self) -> States {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The shares of the last frame's regions.
    pub fn last_regions(&self) -> heapless::Vec<RegionShare, REGIONS_MAX> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads a counter.
pub fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
