//! Gauges: how many a second, and how long each took, in a fixed amount of memory.
//!
//! Inputs are moments and durations; results are a smoothed rate, and the median and the greatest duration. Durations are
//! counted in buckets, so nothing grows with their number.

use std::fmt;
use std::time::{Duration, Instant};

/// A rate forgets what was so long ago.
const MEMORY_S: f64 = 1.0;
/// Buckets of one millisecond; the last one has all that is longer.
const BUCKETS: usize = 2048;

/// A smoothed rate.
#[derive(Debug, Default)]
pub struct Rate {
    last: Option<Instant>,
    interval_s: Option<f64>,
}

impl Rate {
    /// One more, now.
    pub fn tick(&mut self, now: Instant) {
        let Some(last) = self.last.replace(now) else { return };
        let dt = now.saturating_duration_since(last).as_secs_f64();
        let share = 1.0 - (-dt / MEMORY_S).exp();
        self.interval_s = Some(self.interval_s.map_or(dt, |i| i + (dt - i) * share.max(0.05)));
    }

    /// Tenths a second; none before the second tick.
    pub fn tenths(&self) -> Option<u32> {
        self.interval_s.filter(|i| *i > 0.0).map(|i| (10.0 / i).round().min(99_999.0) as u32)
    }
}

/// How often, and after how long.
#[derive(Debug)]
pub struct Gauge {
    first: Option<Instant>,
    last: Option<Instant>,
    count: u64,
    worst: Duration,
    buckets: Vec<u64>,
}

impl Default for Gauge {
    fn default() -> Gauge {
        Gauge { first: None, last: None, count: 0, worst: Duration::ZERO, buckets: vec![0; BUCKETS] }
    }
}

impl Gauge {
    /// One more, at `now`, which took so long.
    pub fn add(&mut self, now: Instant, took: Duration) {
        self.first.get_or_insert(now);
        (self.last, self.count, self.worst) = (Some(now), self.count + 1, self.worst.max(took));
        let bucket = (took.as_millis() as usize).min(BUCKETS - 1);
        if let Some(n) = self.buckets.get_mut(bucket) {
            *n += 1;
        }
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many a second, from the first to the last.
    pub fn per_second(&self) -> f64 {
        let (Some(first), Some(last)) = (self.first, self.last) else { return 0.0 };
        (self.count - 1) as f64 / (last - first).as_secs_f64().max(1e-9)
    }

    /// The median in whole milliseconds.
    pub fn median_ms(&self) -> u64 {
        let (half, mut sum) = (self.count.div_ceil(2), 0);
        let found = self.buckets.iter().position(|n| {
            sum += n;
            sum >= half
        });
        found.unwrap_or(0) as u64
    }
}

impl fmt::Display for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms (median), {} ms (worst)", self.median_ms(), self.worst.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_what_it_is_and_a_change_is_followed() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let mut at = start;
        rate.tick(at);
        assert_eq!(rate.tenths(), None);
        for _ in 0..30 {
            at += Duration::from_millis(40);
            rate.tick(at);
        }
        assert_eq!(rate.tenths(), Some(250));
        for _ in 0..50 {
            at += Duration::from_millis(100);
            rate.tick(at);
        }
        assert!((100..105).contains(&rate.tenths().unwrap()), "{:?}", rate.tenths());
    }

    #[test]
    fn the_median_and_the_worst_are_kept_apart() {
        let (mut gauge, start) = (Gauge::default(), Instant::now());
        for (i, ms) in [10, 12, 11, 3000, 12].into_iter().enumerate() {
            gauge.add(start + Duration::from_millis(100) * i as u32, Duration::from_millis(ms));
        }
        assert_eq!((gauge.count(), gauge.median_ms(), gauge.worst.as_millis()), (5, 12, 3000));
        assert_eq!(gauge.to_string(), "12 ms (median), 3000 ms (worst)");
        assert_eq!(format!("{:.1}", gauge.per_second()), "10.0");
        assert_eq!(Gauge::default().per_second(), 0.0);
    }
}
