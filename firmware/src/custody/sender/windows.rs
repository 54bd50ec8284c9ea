//! When the sender publishes a window, and what the window has.
//!
//! A window is due at connect, at most once a second while it changes, and again while it is not acknowledged.

use super::{PROBE_US_MAX, PROBE_US_MIN, Sender, Window, WindowId};

/// Shortest time between two windows that changed.
const WINDOW_EVERY_US: u64 = 1_000_000;

impl Sender {
    /// Returns true if a window should be published now.
    pub fn window_due(&self, now_us: u64) -> bool {
        self.window_due_us().is_some_and(|due| now_us >= due)
    }

    /// Returns the window to publish now.
    pub fn window(&mut self, now_us: u64) -> Window {
        self.windows += 1;
        self.window_repeats = if self.window_changed { 0 } else { self.window_repeats.saturating_add(1) };
        (self.window_changed, self.window_answers_ack) = (false, false);
        self.window_published_at_us = Some(now_us);
        let n = self.windows;
        for s in self.streams.iter_mut().skip(2) {
            if s.floor() == s.next && s.settled_in_window.is_none() {
                s.settled_in_window = Some(n);
            }
        }
        Window {
            id: WindowId { boot: self.boot(), n },
            journal: self.journal.clone(),
            streams: self.streams().collect(),
        }
    }

    /// Returns when the next window is due.
    ///
    /// While the bridge or its journal is away, changes cause one window a minute: the broker keeps every window for an absent
    /// bridge, from all devices. They do cause one, because the status "away" may be out of date.
    pub(super) fn window_due_us(&self) -> Option<u64> {
        let Some(at) = self.window_published_at_us else { return Some(0) };
        if self.window_changed {
            let is_taken = self.reachable || self.window_answers_ack;
            return Some(at + if is_taken { WINDOW_EVERY_US } else { PROBE_US_MAX });
        }
        let waiting = self.window_acked < self.windows && self.reachable;
        let after = (PROBE_US_MIN << self.window_repeats.min(6)).max(self.ack_delay_us * 3).min(PROBE_US_MAX);
        waiting.then(|| at + after)
    }
}
