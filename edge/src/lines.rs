//! Lines: output lines that follow events.
//!
//! A line is on while its event is active. Inputs are the states that See keeps in [`Counters`]; a thread waits for them to
//! change and drives the lines. A line that cannot be taken or driven is tried again, which is logged once, and holds up neither
//! frames nor other lines. At the end each line is switched off and released.

use crate::backoff::Backoff;
use crate::counters::Counters;
use crate::event::{EventSpec, LineSpec, States};
use crate::health::{Child, Health};
use embedded_hal::digital::{OutputPin, PinState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between the first attempts to take a line: another program may let go of it at any time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Between later attempts: a line that is not there costs nothing to speak of.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// States and attempts are looked at this often if nothing changes.
const TICK: Duration = Duration::from_millis(500);

/// A line that follows an event.
struct Follower<P> {
    /// The place of its event.
    event: usize,
    spec: LineSpec,
    pin: Option<P>,
    /// What was set last.
    is_on: Option<bool>,
    backoff: Backoff,
    child: Arc<Child>,
}

/// The lines of a run. `take` takes one by its name, driven to a level.
pub struct Lines<P, T> {
    followers: Vec<Follower<P>>,
    take: T,
}

impl<P: OutputPin, T: FnMut(&str, PinState) -> Result<P, String>> Lines<P, T> {
    /// The lines that events ask for. None: there are none.
    pub fn new(events: &[EventSpec], health: &Health, take: T) -> Option<Lines<P, T>> {
        let follower = |(event, spec): (usize, &EventSpec)| {
            let line = spec.line.clone()?;
            let child = health.add("gpio", format!("{} ({})", line.name, spec.name));
            let backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
            Some(Follower { event, spec: line, pin: None, is_on: None, backoff, child })
        };
        let followers: Vec<_> = events.iter().enumerate().filter_map(follower).collect();
        (!followers.is_empty()).then_some(Lines { followers, take })
    }

    /// Follows the events until `closed` is set, and lets go of all lines.
    pub fn run(mut self, counters: &Counters, closed: &AtomicBool) {
        let mut states = States::new();
        while !closed.load(Ordering::Relaxed) {
            self.follow(&states, Instant::now());
            states = counters.wait_for_events(&states, TICK);
        }
        self.release();
    }

    /// Sets each line to what its event is.
    fn follow(&mut self, states: &States, now: Instant) {
        for f in &mut self.followers {
            let is_on = states.get(f.event).is_some_and(|state| state.is_active);
            let level = f.spec.level(is_on);
            if f.pin.is_none() && f.backoff.is_due(now) {
                match (self.take)(&f.spec.name, level) {
                    Ok(pin) => {
                        (f.pin, f.is_on) = (Some(pin), Some(is_on));
                        f.backoff.succeeded();
                        f.child.running();
                    }
                    Err(why) => {
                        f.backoff.failed(now);
                        f.child.waiting(&why);
                    }
                }
            }
            if f.is_on == Some(is_on) {
                continue;
            }
            if let Some(Err(e)) = f.pin.as_mut().map(|pin| pin.set_state(level)) {
                f.child.waiting(&format!("GPIO line {}: {e:?}", f.spec.name));
                f.pin = None;
                f.backoff.failed(now);
            }
            f.is_on = f.pin.is_some().then_some(is_on);
        }
    }

    /// Switches all lines off and lets go of them.
    fn release(self) {
        for mut f in self.followers {
            let off = f.spec.level(false);
            match f.pin.as_mut().map(|pin| pin.set_state(off)) {
                Some(Err(e)) => f.child.ended(Some(&format!("GPIO line {} stays as it is: {e:?}", f.spec.name))),
                _ => f.child.ended(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventState;
    use embedded_hal::digital::{ErrorKind, ErrorType};
    use std::sync::Mutex;

    /// What a fake line was set to; it refuses while `is_broken`.
    #[derive(Default)]
    struct Wire {
        levels: Mutex<Vec<PinState>>,
        is_broken: AtomicBool,
        is_held: AtomicBool,
    }

    struct Fake(Arc<Wire>);

    impl Drop for Fake {
        fn drop(&mut self) {
            self.0.is_held.store(false, Ordering::Relaxed);
        }
    }

    impl ErrorType for Fake {
        type Error = ErrorKind;
    }

    impl OutputPin for Fake {
        fn set_low(&mut self) -> Result<(), ErrorKind> {
            self.set_state(PinState::Low)
        }

        fn set_high(&mut self) -> Result<(), ErrorKind> {
            self.set_state(PinState::High)
        }

        fn set_state(&mut self, level: PinState) -> Result<(), ErrorKind> {
            if self.0.is_broken.load(Ordering::Relaxed) {
                return Err(ErrorKind::Other);
            }
            self.0.levels.lock().unwrap().push(level);
            Ok(())
        }
    }

    fn taken(wire: &Arc<Wire>, level: PinState) -> Result<Fake, String> {
        if wire.is_broken.load(Ordering::Relaxed) {
            return Err("GPIO line X is in use by another".into());
        }
        wire.levels.lock().unwrap().push(level);
        wire.is_held.store(true, Ordering::Relaxed);
        Ok(Fake(wire.clone()))
    }

    fn events(active_low: bool) -> Vec<EventSpec> {
        let line = Some(LineSpec { name: "X".into(), active_low });
        vec![EventSpec::default(), EventSpec { name: "lamp".try_into().unwrap(), line, ..EventSpec::default() }]
    }

    fn states(is_active: bool) -> States {
        [EventState { is_active: true, pattern: None }, EventState { is_active, pattern: None }].into_iter().collect()
    }

    use PinState::{High, Low};

    #[test]
    fn a_line_follows_its_event_alone_and_is_off_and_released_at_the_end() {
        for (active_low, levels) in [(false, [Low, High, Low, High, Low]), (true, [High, Low, High, Low, High])] {
            let (wire, health) = (Arc::new(Wire::default()), Health::default());
            let mut lines = Lines::new(&events(active_low), &health, |_: &str, level| taken(&wire, level)).unwrap();
            for is_active in [false, true, true, false, true] {
                lines.follow(&states(is_active), Instant::now());
            }
            assert!(wire.is_held.load(Ordering::Relaxed) && health.report()[0].state.word() == "running");
            lines.release();
            assert_eq!(*wire.levels.lock().unwrap(), levels, "set only when it changes");
            assert!(!wire.is_held.load(Ordering::Relaxed));
        }
    }

    #[test]
    fn a_line_that_cannot_be_had_or_driven_is_tried_again_later_and_then_is_what_the_event_is() {
        let (wire, health, now) = (Arc::new(Wire::default()), Health::default(), Instant::now());
        let mut attempts = 0;
        let take = |_: &str, level| {
            attempts += 1;
            taken(&wire, level)
        };
        let mut lines = Lines::new(&events(false), &health, take).unwrap();
        wire.is_broken.store(true, Ordering::Relaxed);
        lines.follow(&states(true), now);
        lines.follow(&states(true), now);
        let report = &health.report()[0];
        assert!(report.state.word() == "waiting" && report.reason.as_ref().unwrap().contains("in use by another"));
        wire.is_broken.store(false, Ordering::Relaxed);
        lines.follow(&states(true), now + PAUSE_MIN);
        // It breaks while it is driven.
        wire.is_broken.store(true, Ordering::Relaxed);
        lines.follow(&states(false), now + PAUSE_MIN);
        assert_eq!(health.report()[0].state.word(), "waiting");
        wire.is_broken.store(false, Ordering::Relaxed);
        lines.follow(&states(false), now + 3 * PAUSE_MIN);
        lines.release();
        assert_eq!((attempts, &wire.levels.lock().unwrap()[..]), (3, &[High, Low, Low][..]));
    }

    #[test]
    fn the_thread_hears_of_each_change_and_ends_when_it_is_told() {
        let (wire, health) = (Arc::new(Wire::default()), Health::default());
        let (counters, closed) = (Arc::new(Counters::default()), Arc::new(AtomicBool::new(false)));
        let lines = Lines::new(&events(false), &health, {
            let wire = wire.clone();
            move |_: &str, level| taken(&wire, level)
        });
        let (c, stop) = (counters.clone(), closed.clone());
        let thread = std::thread::spawn(move || lines.unwrap().run(&c, &stop));
        let until = |levels: &[PinState]| {
            let start = Instant::now();
            while *wire.levels.lock().unwrap() != levels {
                assert!(start.elapsed() < Duration::from_secs(20), "{:?}", wire.levels.lock().unwrap());
                std::thread::yield_now();
            }
        };
        until(&[Low]);
        counters.see_events(&states(true));
        until(&[Low, High]);
        closed.store(true, Ordering::Relaxed);
        counters.see_events(&states(false));
        thread.join().unwrap();
        assert_eq!(wire.levels.lock().unwrap().last(), Some(&Low));
        assert!(Lines::new(&[EventSpec::default()], &health, |_: &str, level| taken(&wire, level)).is_none());
    }
}
