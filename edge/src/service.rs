//! Messages to systemd: ready, alive, more time to start, stopping. The only user of `sd-notify`.
//!
//! The supervisor feeds the watchdog as long as every child is within the limit that it has set itself (`crate::health`).
//! Without systemd, which names its socket in the environment, nothing happens here.

use sd_notify::NotifyState;
use std::time::{Duration, Instant};

/// The watchdog, fed while every child is alive.
#[derive(Debug)]
pub struct Watchdog {
    every: Option<Duration>,
    due: Instant,
}

impl Watchdog {
    /// The watchdog that systemd set up for this process, or one that wants nothing.
    pub fn of_systemd(now: Instant) -> Watchdog {
        Watchdog::new(sd_notify::watchdog_enabled(), now)
    }

    /// A watchdog that bites after `limit`.
    pub(crate) fn new(limit: Option<Duration>, now: Instant) -> Watchdog {
        Watchdog { every: limit.map(|limit| limit / 4), due: now }
    }

    /// Every child is alive.
    pub fn feed(&mut self, now: Instant) {
        if self.is_due(now) {
            notify(NotifyState::Watchdog);
        }
    }

    /// Returns true if it must be fed: four times as often as it would bite.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let Some(every) = self.every.filter(|_| now >= self.due) else { return false };
        self.due = now + every;
        true
    }
}

/// The supervisor and custody are up; cameras and displays may still be waited for.
pub fn ready() {
    notify(NotifyState::Ready);
}

/// The start takes longer, but goes on: `limit` more from now.
pub fn extend_start(limit: Duration) {
    notify(NotifyState::ExtendTimeoutUsec(limit.as_micros() as u32));
}

/// The stream has ended; what is held is being sent.
pub fn stopping() {
    notify(NotifyState::Stopping);
}

fn notify(what: NotifyState<'_>) {
    // Without systemd this does nothing; with it, a failure shows in its log.
    if let Err(e) = sd_notify::notify(&[what]) {
        log::debug!("systemd does not listen: {e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_fed_four_times_as_often_as_it_bites_and_no_oftener() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut watchdog = Watchdog::new(Some(Duration::from_secs(4)), start);
        let fed: Vec<u64> = (0..30).map(|i| i * 100).filter(|&ms| watchdog.is_due(at(ms))).collect();
        assert_eq!(fed, [0, 1000, 2000]);
        assert!(watchdog.is_due(at(60_000)), "after a long pause at once");
        assert!(!Watchdog::new(None, start).is_due(at(60_000)), "without systemd");
    }
}
