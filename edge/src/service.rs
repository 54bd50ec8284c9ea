//! Service: what systemd is told. The one door to `sd-notify`.
//!
//! Takes the news that the edge is ready, that there is a sign of life, and that the end has begun. Gives it to systemd.
//! Touches the socket that systemd names in the environment, if it does.
//! Never says that all is well because time has passed: signs of life are a frame, and a look in vain for a camera that
//! is not there. Who hangs, or has a camera that is there and gives nothing, is to be started afresh.

use sd_notify::NotifyState;
use std::time::{Duration, Instant};

/// The watchdog, fed by signs of life.
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
    fn new(limit: Option<Duration>, now: Instant) -> Watchdog {
        Watchdog { every: limit.map(|limit| limit / 4), due: now }
    }

    /// A frame was clustered, or a camera that is away was looked for.
    pub fn alive(&mut self, now: Instant) {
        if self.hungry(now) {
            tell(NotifyState::Watchdog);
        }
    }

    /// Whether it must be fed; four times as often as it would bite, whatever the frame rate.
    fn hungry(&mut self, now: Instant) -> bool {
        let Some(every) = self.every.filter(|_| now >= self.due) else { return false };
        self.due = now + every;
        true
    }
}

/// Cameras, displays and spool are open.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// The stream has ended; what is held is being sent.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(what: NotifyState<'_>) {
    // Without systemd this does nothing; with it, what could not be said will show.
    if let Err(e) = sd_notify::notify(&[what]) {
        log::debug!("systemd does not listen: {e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_signs_of_life_feed_it_and_not_each_of_them() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut watchdog = Watchdog::new(Some(Duration::from_secs(4)), start);
        let fed: Vec<u64> = (0..30).map(|i| i * 100).filter(|&ms| watchdog.hungry(at(ms))).collect();
        assert_eq!(fed, [0, 1000, 2000]);
        assert!(watchdog.hungry(at(60_000)), "after a long pause the first one feeds it");
        assert!(!Watchdog::new(None, start).hungry(at(60_000)), "without systemd");
    }
}
