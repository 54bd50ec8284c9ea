//! A live source that may disappear and return: it is opened, read, lost and opened again.
//!
//! The input is a [`Feed`], which reads one kind of device; the result is [`Live`], a source that lasts as long as the run. Every
//! failed attempt to open the device is repeated, also the first one, because a device may be absent, busy or broken only at the
//! start. Failures are reported to the source's [`Child`], and lost frames are counted.

use super::{Picture, Source, SourceError};
use crate::health::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Pause before the second attempt: long enough for a device that resets itself, too short for a person to notice.
const RETRY_MIN: Duration = Duration::from_millis(500);
/// Longest pause between attempts: a camera that is plugged in again delivers pictures soon, even without a hint of the system.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How often the stop flag and the feed's hint are checked during a pause.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A driver that takes longer than this to open a device hangs: a UVC camera takes up to 5 s to answer.
const OPEN_LIMIT: Duration = Duration::from_secs(60);
/// A driver that takes longer than this for a frame, in addition to its periods, hangs: a feed gives up after 15 s.
const FRAME_LIMIT: Duration = Duration::from_secs(60);
/// Periods that are added to the limit for a slow camera: a feed waits for four, and frames may be damaged.
const FRAME_PERIODS: f64 = 8.0;

/// One kind of live device.
pub trait Feed: Send {
    /// Its name in messages.
    fn name(&self) -> String;

    /// Opens the device, so that [`Feed::next`] returns frames. Returns the device's rate.
    ///
    /// # Errors
    /// [`SourceError`].
    fn open(&mut self) -> Result<f64, SourceError>;

    /// Waits for the next frame. Returns the number of frames that were lost just before it.
    ///
    /// # Errors
    /// What happened, in words; the caller then closes the feed.
    fn next(&mut self) -> Result<u64, String>;

    /// Closes the device. The last picture stays.
    fn close(&mut self);

    /// The last complete picture.
    fn picture(&self) -> Option<Picture<'_>>;

    /// When it was captured, if the device reports that: microseconds since the Unix epoch.
    fn captured_at_us(&self) -> Option<u64>;

    /// A number that changes when another attempt should be made at once.
    fn hint(&self) -> u64 {
        0
    }
}

/// A feed as a source.
pub struct Live<F: Feed> {
    feed: F,
    stop: Arc<AtomicBool>,
    child: Arc<Child>,
    rate: f64,
    is_open: bool,
    lost: u64,
    /// When the last frame arrived; none before the first.
    last: Option<Instant>,
    wait: Duration,
    /// The next attempt is delayed, because one immediate attempt has failed since the last frame.
    is_wait_due: bool,
    hint: u64,
}

impl<F: Feed> Live<F> {
    /// A source that opens the feed when its first frame is requested.
    pub fn start(feed: F, stop: Arc<AtomicBool>) -> Live<F> {
        let child = Child::alone("camera", feed.name());
        let hint = feed.hint();
        let (wait, is_wait_due) = (RETRY_MIN, false);
        Live { feed, stop, child, rate: 0.0, is_open: false, lost: 0, last: None, wait, is_wait_due, hint }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Tries until the feed is open. Returns false if the run was stopped.
    fn open(&mut self) -> bool {
        while !self.is_stopped() {
            if self.is_wait_due {
                let from = Instant::now();
                while !self.is_stopped() && from.elapsed() < self.wait && self.feed.hint() == self.hint {
                    // Searching for an absent device is a sign of life.
                    self.child.heartbeat(Some(OPEN_LIMIT));
                    std::thread::sleep(LOOK_EVERY);
                }
                self.wait = (self.wait * 2).min(RETRY_MAX);
            }
            self.is_wait_due = true;
            self.hint = self.feed.hint();
            self.child.heartbeat(Some(OPEN_LIMIT));
            match self.feed.open() {
                Ok(rate) => {
                    (self.rate, self.is_open) = (rate, true);
                    return true;
                }
                Err(error) => self.failed(&error.to_string()),
            }
        }
        false
    }

    fn failed(&mut self, why: &str) {
        self.child.waiting(why);
    }

    /// How long the next frame may take.
    fn frame_limit(&self) -> Duration {
        FRAME_LIMIT + Duration::try_from_secs_f64(FRAME_PERIODS / self.rate).unwrap_or_default()
    }

    /// Counts the frames that were lost before one that has arrived.
    fn arrived(&mut self, gap: bool, lost: u64) {
        let away = self.last.map(|last| last.elapsed().as_secs_f64());
        self.lost += match away.filter(|_| gap) {
            Some(away) => {
                log::info!("{} is back after {away:.1} s", self.feed.name());
                self.child.recovered();
                // The frames that it would have delivered while it was absent.
                ((away * self.rate) as u64).saturating_sub(1)
            }
            None => lost,
        };
        (self.last, self.wait, self.is_wait_due) = (Some(Instant::now()), RETRY_MIN, false);
    }
}

impl<F: Feed> Source for Live<F> {
    fn advance(&mut self) -> Result<bool, SourceError> {
        let mut gap = false;
        loop {
            if self.is_stopped() || !self.is_open && !self.open() {
                return Ok(false);
            }
            self.child.heartbeat(Some(self.frame_limit()));
            match self.feed.next() {
                Ok(lost) => {
                    self.arrived(gap, lost);
                    return Ok(true);
                }
                Err(_) if self.is_stopped() => return Ok(false),
                Err(why) => {
                    self.failed(&why);
                    self.feed.close();
                    (self.is_open, gap) = (false, true);
                }
            }
        }
    }

    fn picture(&self) -> Option<Picture<'_>> {
        self.feed.picture()
    }

    fn rate(&self) -> Option<f64> {
        Some(self.rate).filter(|r| *r > 0.0)
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    fn is_live(&self) -> bool {
        true
    }

    fn lost(&self) -> u64 {
        self.lost
    }

    fn captured_at_us(&self) -> Option<u64> {
        self.feed.captured_at_us()
    }

    fn watched_by(&mut self, child: Arc<Child>) {
        self.child = child;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Health, State};
    use firmware::frame::{Layout, Yuv};
    use std::collections::VecDeque;

    /// Plays a script: `Some(lost)` is a frame, `None` a failure; and fails so many openings after each.
    struct Scripted {
        script: VecDeque<Option<u64>>,
        openings_fail: u32,
        fail_next: u32,
        open: bool,
        tries: u64,
        looks: std::cell::Cell<u64>,
        refusal: fn() -> SourceError,
        rests: bool,
        stop: Arc<AtomicBool>,
    }

    impl Feed for Scripted {
        fn name(&self) -> String {
            "scripted".into()
        }
        fn open(&mut self) -> Result<f64, SourceError> {
            assert!(!self.open);
            self.tries += 1;
            if self.fail_next > 0 {
                self.fail_next -= 1;
                return Err((self.refusal)());
            }
            self.open = true;
            Ok(1000.0)
        }
        fn next(&mut self) -> Result<u64, String> {
            assert!(self.open);
            match self.script.pop_front() {
                Some(Some(lost)) => Ok(lost),
                Some(None) => Err("gone".into()),
                None => {
                    self.stop.store(true, Ordering::Relaxed);
                    Err("over".into())
                }
            }
        }
        fn close(&mut self) {
            self.open = false;
            self.fail_next = self.openings_fail;
        }
        fn picture(&self) -> Option<Picture<'_>> {
            Some(Picture { layout: Layout::Grey, yuv: Yuv::default(), width: 1, height: 1, data: &[7] })
        }
        fn captured_at_us(&self) -> Option<u64> {
            None
        }
        fn hint(&self) -> u64 {
            if self.rests {
                return 0;
            }
            self.looks.set(self.looks.get() + 1);
            self.looks.get()
        }
    }

    fn scripted(script: &[Option<u64>], openings_fail: u32, fail_next: u32) -> Live<Scripted> {
        let stop = Arc::new(AtomicBool::new(false));
        let script = script.iter().copied().collect();
        let feed = Scripted {
            script,
            openings_fail,
            fail_next,
            open: false,
            tries: 0,
            looks: Default::default(),
            refusal: || SourceError::Missing("it does not want".into()),
            rests: false,
            stop: Arc::clone(&stop),
        };
        Live::start(feed, stop)
    }

    #[test]
    fn what_the_device_lost_is_counted() {
        let mut live = scripted(&[Some(0), Some(2), Some(0), Some(5)], 0, 0);
        let mut lost = Vec::new();
        while live.advance().unwrap() {
            lost.push(live.lost());
        }
        assert_eq!(lost, [0, 2, 2, 7]);
    }

    #[test]
    fn a_device_that_goes_is_opened_again_and_the_gap_is_counted() {
        let mut live = scripted(&[Some(0), None, Some(0), Some(1)], 3, 0);
        assert!(live.advance().unwrap());
        live.last = live.last.map(|last| last - Duration::from_millis(200));
        assert!(live.advance().unwrap());
        let gap = live.lost();
        assert!((198..5000).contains(&gap), "{gap}");
        assert!(live.advance().unwrap());
        assert_eq!(live.lost(), gap + 1);
        assert_eq!(live.feed.tries, 5, "one opening, three that failed, one that did not");
        assert_eq!((live.wait, live.is_wait_due), (RETRY_MIN, false), "a frame ends the waiting");
        assert!(!live.advance().unwrap(), "stopping is an end, not an error");
    }

    #[test]
    fn the_first_opening_is_tried_again_whatever_is_wrong_and_that_is_a_sign_of_life() {
        let gone = || SourceError::Open { path: "/dev/video0".into(), error: std::io::ErrorKind::NotFound.into() };
        let busy = || SourceError::Open { path: "/dev/video0".into(), error: std::io::Error::from_raw_os_error(16) };
        for refusal in [gone, busy, || SourceError::Missing("rpicam-vid is not installed".into())] {
            let health = Health::default();
            let child = health.add("camera", "scripted");
            let mut live = scripted(&[Some(0), Some(0)], 0, 3);
            live.feed.refusal = refusal;
            // Its hint does not change, so each attempt waits for its full pause.
            live.feed.rests = true;
            live.hint = 0;
            live.wait = Duration::from_millis(1);
            live.watched_by(Arc::clone(&child));
            child.heartbeat(Some(Duration::ZERO));
            assert!(live.advance().unwrap());
            let report = child.report();
            assert_eq!((report.state, report.failures), (State::Waiting, 3), "the caller reports that it runs");
            assert_eq!(report.reason, Some(refusal().to_string()));
            assert_eq!(health.overdue(Instant::now() + OPEN_LIMIT / 2), None);
            assert_eq!((live.feed.tries, live.lost()), (4, 0));
        }
    }

    #[test]
    fn stopping_ends_the_wait_for_a_device() {
        let mut live = scripted(&[Some(0), None], u32::MAX, 0);
        assert!(live.advance().unwrap());
        let stop = Arc::clone(&live.stop);
        let waits = std::thread::spawn(move || live.advance().unwrap());
        stop.store(true, Ordering::Relaxed);
        assert!(!waits.join().unwrap());
    }
}
