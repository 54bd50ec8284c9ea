//! The latest picture on its way from See to Show.
//!
//! Three pictures' memory goes round: one is being made, one waits, one is being shown. A picture that is replaced before
//! it was taken is counted. See waits only for a display that wants every frame, and for at most [`PUT_WAIT_MAX`].

use firmware::wire::{Method, Micros, Refine, Report};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A display that wants every frame is waited for this long; after that it loses the frame, and is not waited for again
/// until it takes one, so that a display that hangs does not stop clustering. All displays share a thread: a picture on a slow bus of an emulated board takes ten seconds. The
/// watchdog takes a display for hung after a minute, twice as long.
pub const PUT_WAIT_MAX: Duration = Duration::from_secs(30);
/// Pictures that wait at most.
pub const WAITING_MAX: usize = 1;

/// One frame's picture.
#[derive(Debug, Clone)]
pub struct Shot {
    /// Its report.
    pub report: Report,
    /// A label a pixel.
    pub labels: Vec<u8>,
    /// RGB, three bytes a pixel; empty if no panel shows it.
    pub original: Vec<u8>,
    /// When it was captured: microseconds since the Unix epoch.
    pub captured_at_us: u64,
    /// Frames clustered in ten seconds, smoothed; none before there were two.
    pub fps_tenths: Option<u32>,
    /// There is a broker, and it cannot be reached.
    pub is_offline: bool,
}

impl Default for Shot {
    fn default() -> Shot {
        Shot {
            report: empty_report(),
            labels: Vec::new(),
            original: Vec::new(),
            captured_at_us: 0,
            fps_tenths: None,
            is_offline: false,
        }
    }
}

/// A report of no frame, to be overwritten.
pub fn empty_report() -> Report {
    Report {
        frame: 0,
        dropped: 0,
        width: 0,
        height: 0,
        method: Method::Octree,
        lambda_q6: 0,
        coreset_size: 0,
        w_open: 0,
        refine: Refine::Cover,
        seed: 0,
        warm: false,
        coreset_points: 0,
        scatter_q12: Some(0),
        iterations: 0,
        converged: false,
        sweeps: 0,
        saturated: false,
        beyond_px: Some(0),
        missed: Some(0),
        sse_q12: 0,
        max_distance2_q12: 0,
        births: Default::default(),
        deaths: Default::default(),
        regions: Default::default(),
        colorimetry: Default::default(),
        silhouette_ppm: None,
        micros: Micros::default(),
        palette: heapless::Vec::new(),
    }
}

#[derive(Debug, Default)]
struct Inner {
    waiting: Box<Shot>,
    full: bool,
    closed: bool,
    given: u64,
    skipped: u64,
    /// The last wait for a picture to be taken timed out, and none has been taken since.
    is_late: bool,
}

/// The slot.
#[derive(Debug, Default)]
pub struct Slot {
    inner: Mutex<Inner>,
    changed: Condvar,
}

/// What [`Slot::take`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// A picture.
    Picture,
    /// Nothing yet.
    Nothing,
    /// Nothing, and there will be no more.
    Closed,
}

impl Slot {
    /// Puts `shot` there and gives back another to be filled. First waits for at most `wait` until the one before is
    /// taken; one that is not taken is replaced and counted.
    pub fn put(&self, shot: &mut Box<Shot>, wait: Duration) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + if inner.is_late { Duration::ZERO } else { wait };
        while inner.full && !inner.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                inner.is_late = !wait.is_zero();
                break;
            }
            inner = self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if inner.closed {
            return;
        }
        std::mem::swap(&mut inner.waiting, shot);
        inner.given += 1;
        inner.skipped += u64::from(inner.full);
        inner.full = true;
        self.changed.notify_all();
    }

    /// Swaps the picture that waits with `shot`, waiting for one for at most `patience`.
    pub fn take(&self, shot: &mut Box<Shot>, patience: Duration) -> Taken {
        let until = Instant::now() + patience;
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        while !inner.full && !inner.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Nothing;
            }
            inner = self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if !inner.full {
            return Taken::Closed;
        }
        inner.is_late = false;
        std::mem::swap(&mut inner.waiting, shot);
        inner.full = false;
        self.changed.notify_all();
        Taken::Picture
    }

    /// No more pictures: what waits can still be taken; what is put is dropped.
    pub fn close(&self) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.changed.notify_all();
    }

    /// Pictures put there, and those of them that were replaced unseen.
    pub fn counts(&self) -> (u64, u64) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        (inner.given, inner.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn shot(frame: u64) -> Box<Shot> {
        let mut shot = Box::<Shot>::default();
        shot.report.frame = frame;
        shot
    }

    #[test]
    fn only_the_newest_is_taken_and_the_others_are_counted() {
        let (slot, mut seen) = (Slot::default(), shot(99));
        assert_eq!(slot.take(&mut seen, Duration::ZERO), Taken::Nothing);
        for frame in 0..3 {
            slot.put(&mut shot(frame), Duration::ZERO);
        }
        assert_eq!(slot.take(&mut seen, Duration::ZERO), Taken::Picture);
        assert_eq!((seen.report.frame, slot.counts()), (2, (3, 2)));
        slot.put(&mut shot(3), Duration::ZERO);
        slot.close();
        slot.put(&mut shot(4), Duration::ZERO);
        assert_eq!(slot.take(&mut seen, Duration::ZERO), Taken::Picture);
        assert_eq!(seen.report.frame, 3);
        assert_eq!(slot.take(&mut seen, Duration::ZERO), Taken::Closed);
    }

    #[test]
    fn one_that_waits_skips_none() {
        let slot = Arc::new(Slot::default());
        let see = Arc::clone(&slot);
        let thread = std::thread::spawn(move || {
            for frame in 0..50 {
                see.put(&mut shot(frame), PUT_WAIT_MAX);
            }
            see.close();
        });
        let (mut seen, mut frames) = (shot(0), Vec::new());
        while slot.take(&mut seen, Duration::from_secs(5)) == Taken::Picture {
            frames.push(seen.report.frame);
        }
        thread.join().unwrap();
        assert_eq!(frames, (0..50).collect::<Vec<u64>>());
    }
}
