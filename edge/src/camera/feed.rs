//! Feed: a live source that may go away and come back: opened, read, lost, waited for, opened again.
//!
//! Takes a [`Feed`], which knows one kind of device. Gives a source that goes on as long as the stream does.
//! Touches the clock.
//! Never an error after the first opening: what is lost is said, counted, and waited for.

use super::{Picture, Source, SourceError, Tick};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// First and longest wait before another try.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// How often, while waiting, the stop flag and the feed's hint are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One kind of live device.
pub trait Feed: Send {
    /// What to call it in messages.
    fn name(&self) -> String;

    /// Opens it; after this [`Feed::next`] gives frames. Gives the rate that was agreed on.
    ///
    /// # Errors
    /// [`SourceError`].
    fn open(&mut self) -> Result<f64, SourceError>;

    /// Waits for the next frame. Gives how many were lost just before it.
    ///
    /// # Errors
    /// What happened, in words; the feed is then to be closed.
    fn next(&mut self) -> Result<u64, String>;

    /// Lets go of the device. The last picture stays.
    fn close(&mut self);

    /// The last whole picture.
    fn picture(&self) -> Option<Picture<'_>>;

    /// When it was captured, if the device says: microseconds since the Unix epoch.
    fn captured_at_us(&self) -> Option<u64>;

    /// A number that changes when another try is worth while at once.
    fn hint(&self) -> u64 {
        0
    }
}

/// A feed as a source.
pub struct Live<F: Feed> {
    feed: F,
    stop: Arc<AtomicBool>,
    rate: f64,
    open: bool,
    lost: u64,
    last: Instant,
    /// The next wait, and whether it is due: something failed since the last frame, and once is tried at once.
    wait: Duration,
    wait_due: bool,
    hint: u64,
    said: String,
    /// It is known not to be there: its last opening said so.
    away: bool,
    tick: Tick,
}

impl<F: Feed> Live<F> {
    /// Opens the feed.
    ///
    /// # Errors
    /// [`SourceError`]: only this first opening can fail.
    pub fn start(mut feed: F, stop: Arc<AtomicBool>) -> Result<Live<F>, SourceError> {
        let (rate, hint) = (feed.open()?, feed.hint());
        let (wait, said, last) = (BACKOFF.0, String::new(), Instant::now());
        // A feed that opens and then gives nothing is not to be opened again and again without a breath.
        Ok(Live {
            feed,
            stop,
            rate,
            open: true,
            lost: 0,
            last,
            wait,
            wait_due: true,
            hint,
            said,
            away: false,
            tick: Box::new(|| {}),
        })
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Tries until the feed is open again; false if stopped meanwhile.
    fn reopen(&mut self) -> bool {
        while !self.stopped() {
            if self.wait_due {
                let from = Instant::now();
                while !self.stopped() && from.elapsed() < self.wait && self.feed.hint() == self.hint {
                    if self.away {
                        (self.tick)();
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
                self.wait = (self.wait * 2).min(BACKOFF.1);
            }
            self.wait_due = true;
            self.hint = self.feed.hint();
            match self.feed.open() {
                Ok(rate) => {
                    (self.rate, self.open, self.away) = (rate, true, false);
                    return true;
                }
                Err(error) => {
                    self.away = error.is_absence();
                    self.say(&error.to_string());
                }
            }
        }
        false
    }

    /// Says what is wrong, the same words once.
    fn say(&mut self, why: &str) {
        if why != self.said {
            log::warn!("{}: {why}; trying to open it again", self.feed.name());
            why.clone_into(&mut self.said);
        }
    }

    /// Counts what is lost before a frame that has come.
    fn arrived(&mut self, gap: bool, lost: u64) {
        let away = self.last.elapsed().as_secs_f64();
        if gap {
            log::info!("{} is back after {away:.1} s", self.feed.name());
        }
        // While it was away it would have given so many.
        self.lost += if gap { ((away * self.rate) as u64).saturating_sub(1) } else { lost };
        (self.last, self.wait, self.wait_due) = (Instant::now(), BACKOFF.0, false);
        self.said.clear();
    }
}

impl<F: Feed> Source for Live<F> {
    fn advance(&mut self) -> Result<bool, SourceError> {
        let mut gap = false;
        loop {
            if self.stopped() || !self.open && !self.reopen() {
                return Ok(false);
            }
            match self.feed.next() {
                Ok(lost) => {
                    self.arrived(gap, lost);
                    return Ok(true);
                }
                Err(_) if self.stopped() => return Ok(false),
                Err(why) => {
                    self.say(&why);
                    self.feed.close();
                    (self.open, gap) = (false, true);
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

    fn while_away(&mut self, tick: Tick) {
        self.tick = tick;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::ENODEV;
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

    fn scripted(script: &[Option<u64>], openings_fail: u32, fail_next: u32) -> Result<Live<Scripted>, SourceError> {
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
        let mut live = scripted(&[Some(0), Some(2), Some(0), Some(5)], 0, 0).unwrap();
        let mut lost = Vec::new();
        while live.advance().unwrap() {
            lost.push(live.lost());
        }
        assert_eq!(lost, [0, 2, 2, 7]);
    }

    #[test]
    fn a_device_that_goes_is_opened_again_and_the_gap_is_counted() {
        let mut live = scripted(&[Some(0), None, Some(0), Some(1)], 3, 0).unwrap();
        assert!(live.advance().unwrap());
        live.last -= Duration::from_millis(200);
        assert!(live.advance().unwrap());
        let gap = live.lost();
        assert!((198..5000).contains(&gap), "{gap}");
        assert!(live.advance().unwrap());
        assert_eq!(live.lost(), gap + 1);
        assert_eq!(live.feed.tries, 5, "one opening, three that failed, one that did not");
        assert_eq!((live.wait, live.wait_due), (BACKOFF.0, false), "a frame ends the waiting");
        assert!(!live.advance().unwrap(), "stopping is an end, not an error");
    }

    /// How often `tick` was called while the device was gone for some tries, each of which fails with `refusal`.
    fn ticks(refusal: fn() -> SourceError) -> u64 {
        let mut live = scripted(&[Some(0), None, Some(0)], 5, 0).unwrap();
        live.feed.refusal = refusal;
        // Its hint never rests here, so that it is not waited for; at rest there is a tick for each look.
        live.feed.rests = true;
        (live.wait, live.wait_due) = (Duration::from_millis(1), true);
        let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counted = Arc::clone(&count);
        live.while_away(Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        assert!(live.advance().unwrap());
        live.wait = Duration::from_millis(1);
        assert!(live.advance().unwrap());
        count.load(Ordering::Relaxed)
    }

    #[test]
    fn a_device_that_is_not_there_is_no_reason_to_be_started_afresh_but_one_that_does_not_want_is() {
        assert!(ticks(|| SourceError::Absent("it is away".into())) > 0);
        assert!(
            ticks(|| SourceError::Open { path: "/dev/video0".into(), error: std::io::ErrorKind::NotFound.into() }) > 0
        );
        let gone =
            || SourceError::Open { path: "/dev/video0".into(), error: std::io::Error::from_raw_os_error(ENODEV) };
        assert!(ticks(gone) > 0);
        let busy = || SourceError::Open { path: "/dev/video0".into(), error: std::io::Error::from_raw_os_error(16) };
        assert_eq!(ticks(busy), 0);
        assert_eq!(ticks(|| SourceError::Missing("it has not that format".into())), 0);
    }

    #[test]
    fn the_first_opening_may_fail() {
        assert!(matches!(scripted(&[], 0, 1), Err(SourceError::Missing(_))));
    }

    #[test]
    fn stopping_ends_the_wait_for_a_device() {
        let mut live = scripted(&[Some(0), None], u32::MAX, 0).unwrap();
        assert!(live.advance().unwrap());
        let stop = Arc::clone(&live.stop);
        let waits = std::thread::spawn(move || live.advance().unwrap());
        stop.store(true, Ordering::Relaxed);
        assert!(!waits.join().unwrap());
    }
}
