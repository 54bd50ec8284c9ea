//! The latest picture on its way from See to the displays.
//!
//! Each display has a seat with room for one picture, and takes from it at its own pace; a picture that is replaced before it
//! was taken is counted for that display. Pictures are made in a fixed number of buffers ([`Pictures`]), which the displays
//! share: none is copied. See waits only for a display that wants every frame, and for at most [`PUT_WAIT_MAX`].

use crate::health::Child;
use firmware::wire::{Method, Micros, Refine, Report};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A display that wants every frame is waited for this long; after that it loses the frame, and is not waited for again
/// until it takes one, so that a display that hangs does not stop clustering. A picture on a slow disk of an emulated board
/// takes ten seconds. The watchdog takes a display for hung after a minute, twice as long.
pub const PUT_WAIT_MAX: Duration = Duration::from_secs(30);
/// Pictures that wait for a display at most.
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

/// What a display that works is to See.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taker {
    /// No frame may be skipped.
    pub wants_every_frame: bool,
    /// It leaves no room for lines on the terminal.
    pub fills_terminal: bool,
}

/// One display's place.
#[derive(Debug)]
struct Seat {
    child: Arc<Child>,
    /// None: the display does not work now, and gets no pictures.
    taker: Option<Taker>,
    waiting: Option<Arc<Shot>>,
    /// The last wait for a picture to be taken timed out, and none has been taken since.
    is_late: bool,
}

impl Seat {
    /// See waits for it.
    fn holds_up(&self) -> bool {
        self.waiting.is_some() && !self.is_late && self.taker.is_some_and(|t| t.wants_every_frame)
    }

    fn skip(&mut self) {
        if self.waiting.take().is_some() {
            self.child.skipped();
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    seats: Vec<Seat>,
    closed: bool,
    given: u64,
}

/// The seats of all displays.
#[derive(Debug, Default)]
pub struct Slots {
    inner: Mutex<Inner>,
    changed: Condvar,
}

/// What [`Slots::take`] found.
#[derive(Debug, Clone)]
pub enum Taken {
    /// A picture.
    Picture(Arc<Shot>),
    /// Nothing yet.
    Nothing,
    /// Nothing, and there will be no more.
    Closed,
}

impl Slots {
    /// A seat for each of these displays, none of which works yet.
    pub fn new(displays: impl IntoIterator<Item = Arc<Child>>) -> Slots {
        let seat = |child| Seat { child, taker: None, waiting: None, is_late: false };
        let seats = displays.into_iter().map(seat).collect();
        Slots { inner: Mutex::new(Inner { seats, ..Inner::default() }), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn any_taker(&self, is: impl Fn(Taker) -> bool) -> bool {
        self.lock().seats.iter().filter_map(|seat| seat.taker).any(is)
    }

    /// There is a display to make pictures for.
    pub fn has_taker(&self) -> bool {
        self.any_taker(|_| true)
    }

    /// A display fills the terminal.
    pub fn fills_terminal(&self) -> bool {
        self.any_taker(|taker| taker.fills_terminal)
    }

    /// Display number `display` works now, or not. What waited for one that does not is skipped.
    pub fn set(&self, display: usize, taker: Option<Taker>) {
        let mut inner = self.lock();
        let Some(seat) = inner.seats.get_mut(display).filter(|seat| seat.taker != taker) else { return };
        seat.taker = taker;
        if taker.is_none() {
            seat.skip();
        }
        drop(inner);
        self.changed.notify_all();
    }

    /// Puts the picture that [`Pictures`] made last before each display that works. First waits for at most `wait` until
    /// those that want every frame have taken the one before; one that is not taken is replaced and counted.
    pub fn put(&self, pictures: &Pictures, wait: Duration) {
        let Some(shot) = pictures.newest() else { return };
        let until = Instant::now() + wait;
        let mut inner = self.lock();
        while !inner.closed && inner.seats.iter().any(Seat::holds_up) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                inner.seats.iter_mut().filter(|seat| seat.holds_up()).for_each(|seat| seat.is_late = true);
                break;
            }
            inner = self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if inner.closed {
            return;
        }
        inner.given += 1;
        for seat in inner.seats.iter_mut().filter(|seat| seat.taker.is_some()) {
            seat.skip();
            seat.waiting = Some(Arc::clone(shot));
        }
        drop(inner);
        self.changed.notify_all();
    }

    /// Takes the picture that waits for display number `display`, waiting for one for at most `patience`.
    pub fn take(&self, display: usize, patience: Duration) -> Taken {
        let until = Instant::now() + patience;
        let mut inner = self.lock();
        loop {
            let is_closed = inner.closed;
            let Some(seat) = inner.seats.get_mut(display) else { return Taken::Closed };
            if let Some(shot) = seat.waiting.take() {
                seat.is_late = false;
                drop(inner);
                self.changed.notify_all();
                return Taken::Picture(shot);
            }
            let left = until.saturating_duration_since(Instant::now());
            if is_closed {
                return Taken::Closed;
            } else if left.is_zero() {
                return Taken::Nothing;
            }
            inner = self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// No more pictures: what waits can still be taken; what is put is dropped.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// How many displays there are, working or not.
    pub fn displays(&self) -> usize {
        self.lock().seats.len()
    }

    /// Pictures put there.
    pub fn given(&self) -> u64 {
        self.lock().given
    }
}

/// The buffers that pictures are made in.
///
/// A display has at most one in its hands, those that wait are all the same one, and one is being made: with two more buffers
/// than displays one is always free.
#[derive(Debug)]
pub struct Pictures {
    buffers: Vec<Arc<Shot>>,
    newest: usize,
}

impl Pictures {
    /// Buffers for so many displays. Each takes its memory when it is filled first, which is soon: they go round.
    pub fn new(displays: usize) -> Pictures {
        Pictures { buffers: (0..displays + WAITING_MAX + 1).map(|_| Arc::default()).collect(), newest: 0 }
    }

    /// A buffer that no display has, to be filled.
    pub fn free(&mut self) -> Option<&mut Shot> {
        let count = self.buffers.len();
        let after = (1..=count).map(|i| (self.newest + i) % count);
        self.newest = after.into_iter().find(|&i| self.buffers.get(i).is_some_and(|b| Arc::strong_count(b) == 1))?;
        self.buffers.get_mut(self.newest).and_then(Arc::get_mut)
    }

    fn newest(&self) -> Option<&Arc<Shot>> {
        self.buffers.get(self.newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots for displays of which each wants every frame or not.
    fn slots(wants_every_frame: &[bool]) -> Slots {
        let slots = Slots::new(wants_every_frame.iter().map(|_| Child::alone("display", "test")));
        for (i, &wants_every_frame) in wants_every_frame.iter().enumerate() {
            slots.set(i, Some(Taker { wants_every_frame, fills_terminal: false }));
        }
        slots
    }

    fn put(slots: &Slots, pictures: &mut Pictures, frame: u64, wait: Duration) {
        pictures.free().unwrap().report.frame = frame;
        slots.put(pictures, wait);
    }

    fn take(slots: &Slots, display: usize, patience: Duration) -> Option<Arc<Shot>> {
        if let Taken::Picture(shot) = slots.take(display, patience) { Some(shot) } else { None }
    }

    fn skipped(slots: &Slots) -> Vec<u64> {
        slots.lock().seats.iter().map(|seat| seat.child.report().skipped).collect()
    }

    #[test]
    fn only_the_newest_is_taken_and_the_others_are_counted_for_each_display() {
        let (slots, mut pictures) = (slots(&[false, false]), Pictures::new(2));
        assert!(matches!(slots.take(0, Duration::ZERO), Taken::Nothing));
        for frame in 0..3 {
            put(&slots, &mut pictures, frame, Duration::ZERO);
            assert_eq!(take(&slots, 1, Duration::ZERO).unwrap().report.frame, frame);
        }
        assert_eq!(take(&slots, 0, Duration::ZERO).unwrap().report.frame, 2);
        assert_eq!((skipped(&slots), slots.given()), (vec![2, 0], 3));
        put(&slots, &mut pictures, 3, Duration::ZERO);
        slots.close();
        put(&slots, &mut pictures, 4, Duration::ZERO);
        assert_eq!(take(&slots, 0, Duration::ZERO).unwrap().report.frame, 3);
        assert!(matches!(slots.take(0, Duration::ZERO), Taken::Closed));
    }

    #[test]
    fn one_that_is_waited_for_skips_none_whatever_another_does() {
        let slots = slots(&[true, false]);
        let frames = std::thread::scope(|threads| {
            threads.spawn(|| {
                let mut pictures = Pictures::new(2);
                (0..50).for_each(|frame| put(&slots, &mut pictures, frame, PUT_WAIT_MAX));
                slots.close();
            });
            let next = || take(&slots, 0, PUT_WAIT_MAX).map(|shot| shot.report.frame);
            std::iter::from_fn(next).collect::<Vec<u64>>()
        });
        assert_eq!(frames, (0..50).collect::<Vec<u64>>());
        assert_eq!(skipped(&slots), [0, 49], "the last one waits");
    }

    #[test]
    fn there_is_a_free_buffer_whatever_the_displays_hold() {
        let (slots, mut pictures) = (slots(&[false; 3]), Pictures::new(3));
        let mut held: Vec<Option<Arc<Shot>>> = vec![None; 3];
        for frame in 0..64 {
            put(&slots, &mut pictures, frame, Duration::ZERO);
            // Each display takes a new one at a pace of its own, after it has let go of the last.
            for (display, held) in held.iter_mut().enumerate().filter(|(i, _)| frame % (*i as u64 + 2) == 0) {
                *held = None;
                *held = take(&slots, display, Duration::ZERO);
            }
        }
        assert!(held.iter().all(|shot| shot.as_ref().is_some_and(|shot| shot.report.frame > 55)));
    }

    #[test]
    fn a_display_that_hangs_is_waited_for_once_and_one_that_fails_not_at_all() {
        let (slots, mut pictures) = (slots(&[true, true]), Pictures::new(2));
        put(&slots, &mut pictures, 0, Duration::ZERO);
        slots.set(1, None);
        assert!(take(&slots, 1, Duration::ZERO).is_none(), "it was skipped");
        let wait = Duration::from_millis(1);
        put(&slots, &mut pictures, 1, wait);
        // This would take a minute if it were waited for again.
        put(&slots, &mut pictures, 2, 2 * PUT_WAIT_MAX);
        assert_eq!(take(&slots, 0, Duration::ZERO).unwrap().report.frame, 2);
        assert_eq!(skipped(&slots), [2, 1]);
        slots.set(1, Some(Taker::default()));
        put(&slots, &mut pictures, 3, wait);
        assert_eq!(take(&slots, 1, Duration::ZERO).unwrap().report.frame, 3);
    }
}
