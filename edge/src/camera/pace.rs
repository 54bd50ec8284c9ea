//! When the next frame of a source without a pace of its own is due.
//!
//! The inputs are a rate and times, the result is when each frame is due. A clip has its own rate, a synthetic scene the requested
//! one. Frames have a schedule, so that small delays do not add up; none is skipped. Nothing here sleeps or reads a clock.

use std::time::{Duration, Instant};

/// Pictures a second of a repeated still. More would only repeat the report. This is the default rate of sent pictures
/// (`send.video = "latest:5"`), and a changed setting shows within a fifth of a second.
pub const STILL_LOOP_FPS: f64 = 5.0;
/// A schedule that is later than this starts again, which avoids a burst of frames.
const LATE_MAX: Duration = Duration::from_secs(1);

/// A schedule of frames.
#[derive(Debug, Clone)]
pub struct Pace {
    period: Duration,
    start: Option<Instant>,
    in_schedule: u32,
    late: u64,
}

impl Pace {
    /// A schedule of `fps` frames a second; none if that is not above 0.
    pub fn new(fps: f64) -> Option<Pace> {
        let period = Duration::try_from_secs_f64(1.0 / fps).ok().filter(|p| !p.is_zero())?;
        Some(Pace { period, start: None, in_schedule: 0, late: 0 })
    }

    /// The time from one frame to the next.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// When the next frame is due; the first one is due at once.
    pub fn due(&mut self, now: Instant) -> Instant {
        *self.start.get_or_insert(now) + self.period * self.in_schedule
    }

    /// Advances the schedule by the frame that is returned at `now`, and counts it if it is late.
    pub fn given(&mut self, now: Instant) {
        let behind = now.saturating_duration_since(self.due(now));
        self.in_schedule += 1;
        self.late += u64::from(behind > self.period);
        if behind > LATE_MAX || self.in_schedule == u32::MAX {
            (self.start, self.in_schedule) = (Some(now), 1);
        }
    }

    /// Frames that were more than a period late.
    pub fn late(&self) -> u64 {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of frames within `length` if each takes `work`.
    fn frames(fps: f64, length: Duration, work: Duration) -> (u32, u64) {
        let (mut pace, start) = (Pace::new(fps).unwrap(), Instant::now());
        let (mut now, mut frames) = (start, 0);
        loop {
            now = now.max(pace.due(now));
            if now - start >= length {
                return (frames, pace.late());
            }
            pace.given(now);
            (frames, now) = (frames + 1, now + work);
        }
    }

    #[test]
    fn frames_keep_the_rate_however_long_each_takes_within_it() {
        let (s, ms) = (Duration::from_secs(1), Duration::from_millis(1));
        assert_eq!(frames(STILL_LOOP_FPS, 3 * s, ms / 10), (15, 0), "a repeated still");
        assert_eq!(frames(30.0, 10 * s - ms, 20 * ms), (300, 0));
        assert_eq!(frames(0.1, 60 * s, ms), (6, 0));
        let (slow, late) = frames(30.0, 10 * s, 50 * ms);
        assert!(slow == 200 && late > 150, "none is skipped: {slow} {late}");
    }

    #[test]
    fn a_long_pause_is_not_caught_up_with() {
        let (mut pace, start) = (Pace::new(10.0).unwrap(), Instant::now());
        pace.given(start);
        let later = start + Duration::from_secs(100);
        pace.given(later);
        assert_eq!(pace.due(later), later + pace.period());
    }

    #[test]
    fn a_rate_that_is_none_has_no_schedule() {
        for fps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Pace::new(fps).is_none(), "{fps}");
        }
    }
}
