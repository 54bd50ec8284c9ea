//! Waiting times between attempts: doubling from a least to a greatest, and back to the least after a success.
//!
//! Time is an argument; nothing here sleeps.

use std::time::{Duration, Instant};

/// When the next attempt is due.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    pause: Duration,
    due: Option<Instant>,
}

impl Backoff {
    /// The first attempt is due at once; pauses grow from `min` to `max`.
    pub fn new(min: Duration, max: Duration) -> Backoff {
        Backoff { min, max, pause: min, due: None }
    }

    /// Returns true if an attempt is due.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| now >= due)
    }

    /// An attempt has failed: the next one waits, and the one after it longer.
    pub fn failed(&mut self, now: Instant) {
        self.due = Some(now + self.pause);
        self.pause = (self.pause * 2).min(self.max);
    }

    /// It works: the next pause is the least again.
    pub fn succeeded(&mut self) {
        (self.pause, self.due) = (self.min, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_greatest_and_start_again_after_a_success() {
        let (start, s) = (Instant::now(), Duration::from_secs(1));
        let mut backoff = Backoff::new(s, 4 * s);
        assert!(backoff.is_due(start));
        let mut now = start;
        for pause in [1, 2, 4, 4] {
            backoff.failed(now);
            assert!(!backoff.is_due(now + pause * s - s / 100));
            now += pause * s;
            assert!(backoff.is_due(now), "{pause}");
        }
        backoff.succeeded();
        backoff.failed(now);
        assert!(backoff.is_due(now + s) && !backoff.is_due(now));
    }
}
