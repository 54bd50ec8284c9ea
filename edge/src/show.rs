//! Show: a thread for each display, which puts the newest picture on it and opens it again when it failed.
//!
//! A display that is slow, hangs or fails costs no other display a picture: each has its own thread, its own place in
//! [`Slots`], its own back-off and counts. One that fails never ends the run; it misses pictures until it works again. See
//! waits only for a display that works and wants every frame.

use crate::backoff::Backoff;
use crate::config::Config;
use crate::exit::Failure;
use crate::gauge::Gauge;
use crate::health::Child;
use crate::panel::open::open;
use crate::panel::{Panel, PanelError, Wish};
use crate::slot::{Shot, Slots, Taken, Taker};
use crate::spec::DisplaySpec;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant, SystemTime};

/// Keys and windows are looked after this often: an Esc is noticed without a delay that a person sees.
const TEND_EVERY: Duration = Duration::from_millis(20);
/// Wait before a display is opened again: a directory or a bus that was gone for a moment loses few pictures.
const RETRY_MIN: Duration = Duration::from_millis(500);
/// Longest wait between attempts: a display that comes back is used soon, and one that does not costs little.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// A picture takes less than this, or the display hangs: an SPI display of 320x240 takes 0.1 s, a PNG to a slow card 1 s.
const PICTURE_LIMIT: Duration = Duration::from_secs(60);

/// What opens a display; a test gives one of its own.
type Open<'a> = dyn FnMut(&DisplaySpec) -> Result<Option<Box<dyn Panel>>, PanelError> + 'a;

/// One display, and what its thread needs.
pub struct Show {
    /// The configuration.
    pub config: Arc<Config>,
    /// The display, and its number in `slots`.
    pub spec: DisplaySpec,
    /// See above.
    pub number: usize,
    /// Where pictures come from.
    pub slots: Arc<Slots>,
    /// Set when somebody at the display wants to end the stream.
    pub stop: Arc<AtomicBool>,
    /// This display's state and signs of life.
    pub child: Arc<Child>,
}

/// The thread's state.
struct Screen {
    show: Show,
    panel: Option<Box<dyn Panel>>,
    backoff: Backoff,
}

impl Show {
    /// Runs until the slots are closed and empty. `opened` gets a message when the display was tried once, or why it can never work:
    /// an impossible one, and a window or a terminal that a person typed where there is none. Those that a service has in
    /// its configuration may come later.
    pub fn run(self, opened: &SyncSender<Result<(), Failure>>) {
        let config = Arc::clone(&self.config);
        let mut open = move |spec: &DisplaySpec| open(spec, &config);
        let mut screen = Screen::new(self);
        let first = screen.open_first(&mut open);
        let is_useless = first.is_err();
        let _ = opened.send(first.map_err(Failure::from));
        if !is_useless {
            screen.run(&mut open);
        }
        screen.end();
    }
}

impl Screen {
    fn new(show: Show) -> Screen {
        Screen { show, panel: None, backoff: Backoff::new(RETRY_MIN, RETRY_MAX) }
    }

    fn open_first(&mut self, open: &mut Open<'_>) -> Result<(), PanelError> {
        self.show.child.heartbeat(Some(PICTURE_LIMIT));
        if self.show.config.displays_are_typed() && self.show.spec.is_interactive() {
            self.panel = open(&self.show.spec)?;
            self.publish_state();
            return Ok(());
        }
        self.open(Instant::now(), open)
    }

    fn run(&mut self, open: &mut Open<'_>) {
        let mut gauge = Gauge::default();
        loop {
            self.show.child.heartbeat(Some(PICTURE_LIMIT));
            match self.show.slots.take(self.show.number, TEND_EVERY) {
                Taken::Picture(shot) => {
                    if self.picture(&shot, Instant::now()) {
                        gauge.add(Instant::now(), age(&shot));
                    }
                }
                Taken::Nothing => {}
                Taken::Closed => return self.summary(&gauge),
            }
            self.tend(Instant::now(), open);
        }
    }

    /// Closes the display. No thread waits for a picture to be taken any more.
    fn end(&mut self) {
        self.panel = None;
        self.publish_state();
        self.show.child.ended(None);
    }

    /// Opens the display if it is closed and an attempt is due.
    ///
    /// # Errors
    /// [`PanelError`] that trying again does not mend.
    fn open(&mut self, now: Instant, open: &mut Open<'_>) -> Result<(), PanelError> {
        if self.panel.is_some() || !self.backoff.is_due(now) {
            return Ok(());
        }
        match open(&self.show.spec) {
            Ok(panel) => {
                self.panel = panel;
                self.show.child.starting();
                self.publish_state();
            }
            Err(error) if error.is_final() => return Err(error),
            Err(error) => self.failed(now, &error),
        }
        Ok(())
    }

    /// Publishes the display's state to See.
    fn publish_state(&self) {
        let taker = self.panel.as_ref().map(|panel| Taker {
            wants_every_frame: panel.wants_every_frame(),
            fills_terminal: panel.fills_terminal(),
        });
        self.show.slots.set(self.show.number, taker);
    }

    fn picture(&mut self, shot: &Shot, now: Instant) -> bool {
        let Some(panel) = &mut self.panel else { return false };
        match panel.show(shot) {
            Ok(()) => {
                self.show.child.running();
                self.backoff.succeeded();
                true
            }
            Err(error) => {
                self.failed(now, &error);
                false
            }
        }
    }

    /// Looks after the display, and opens it if that is due.
    fn tend(&mut self, now: Instant, open: &mut Open<'_>) {
        match self.panel.as_mut().map(|panel| panel.tend()) {
            None | Some(Ok(Wish::GoOn)) => {}
            Some(Ok(Wish::Stop)) => self.show.stop.store(true, Ordering::Relaxed),
            Some(Err(error)) => self.failed(now, &error),
        }
        if let Err(error) = self.open(now, open) {
            // It worked once, so it may again.
            self.failed(now, &error);
        }
    }

    fn failed(&mut self, now: Instant, error: &PanelError) {
        self.panel = None;
        self.publish_state();
        self.backoff.failed(now);
        self.show.child.waiting(&error.to_string());
    }

    fn summary(&self, gauge: &Gauge) {
        let (spec, report) = (&self.show.spec, self.show.child.report());
        if gauge.count() > 0 {
            let (count, rate) = (gauge.count(), gauge.per_second());
            log::info!(
                "display {spec}: {count} pictures shown, {} skipped, {rate:.1} a second; from capture to display {gauge}",
                report.skipped
            );
        }
        if report.failures > 0 {
            log::warn!("display {spec}: failed {} times", report.failures);
        }
    }
}

/// How long ago it was captured.
fn age(shot: &Shot) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_micros(shot.captured_at_us))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Origin, Raw};
    use crate::health::State;

    /// A display that works while `works` is set, and counts its pictures.
    struct Fake {
        works: Arc<AtomicBool>,
        shown: Arc<std::sync::atomic::AtomicU64>,
    }

    fn broken() -> PanelError {
        PanelError::Disk { path: "dir".into(), error: std::io::ErrorKind::NotFound.into() }
    }

    impl Panel for Fake {
        fn show(&mut self, _: &Shot) -> Result<(), PanelError> {
            self.works.load(Ordering::Relaxed).then_some(()).ok_or_else(broken)?;
            self.shown.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        fn tend(&mut self) -> Result<Wish, PanelError> {
            Ok(Wish::GoOn)
        }
        fn wants_every_frame(&self) -> bool {
            true
        }
    }

    fn screen(panels: &str, origin: Origin) -> Screen {
        let mut raw = Raw::default();
        raw.put("display.panels", panels.into(), origin).unwrap();
        let config = Arc::new(Config::check(raw).unwrap());
        let child = Child::alone("display", panels);
        let (spec, slots) = (config.panels[0].clone(), Arc::new(Slots::new([Arc::clone(&child)])));
        Screen::new(Show { config, spec, number: 0, slots, stop: Arc::default(), child })
    }

    #[test]
    fn a_display_that_fails_is_opened_again_with_growing_pauses_and_does_not_hold_see_up() {
        let mut screen = screen("png:x", Origin::Default);
        let (slots, child) = (Arc::clone(&screen.show.slots), Arc::clone(&screen.show.child));
        let (works, shown) = (Arc::new(AtomicBool::new(true)), Arc::default());
        let mut opens = 0;
        let mut open = |_: &DisplaySpec| {
            opens += 1;
            let panel: Box<dyn Panel> = Box::new(Fake { works: Arc::clone(&works), shown: Arc::clone(&shown) });
            Ok(Some(panel))
        };
        screen.open_first(&mut open).unwrap();
        assert!(slots.has_taker());
        let (start, shot) = (Instant::now(), Shot::default());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(screen.picture(&shot, start));
        works.store(false, Ordering::Relaxed);
        assert!(!screen.picture(&shot, start));
        screen.tend(at(100), &mut open);
        assert!(!slots.has_taker(), "See makes no pictures for it");
        assert_eq!((child.report().state, child.report().failures), (State::Waiting, 1));
        // It opens again and fails again: the pauses are 0.5 s, then 1 s.
        screen.tend(at(600), &mut open);
        assert!(slots.has_taker() && !screen.picture(&shot, at(600)));
        screen.tend(at(1500), &mut open);
        assert!(!slots.has_taker());
        works.store(true, Ordering::Relaxed);
        screen.tend(at(1700), &mut open);
        assert!(screen.picture(&shot, at(1700)));
        let report = child.report();
        assert_eq!((report.state, report.reason, report.failures), (State::Running, None, 2));
        assert_eq!((opens, shown.load(Ordering::Relaxed)), (3, 2));
        screen.end();
        assert!(!slots.has_taker());
    }

    #[test]
    fn a_window_that_a_person_typed_must_open_and_one_of_a_service_may_come_later() {
        let unavailable = || PanelError::Unavailable { name: "window", why: "no desktop".into() };
        let first = |panels: &str, origin: Origin| {
            let mut screen = screen(panels, origin);
            (screen.open_first(&mut |_| Err(unavailable())), screen.show.child.report().state)
        };
        let typed = || Origin::Flag("--display".into());
        assert!(first("window", typed()).0.is_err() && first("terminal", typed()).0.is_err());
        for (panels, origin) in [("png:x", typed()), ("fb:/dev/fb0", typed()), ("window", Origin::File("f".into()))] {
            let (opened, state) = first(panels, origin);
            assert!(opened.is_ok() && state == State::Waiting, "{panels}");
        }
        let impossible = |_: &DisplaySpec| Err(PanelError::Impossible { name: "spi", why: "not built".into() });
        assert!(screen("spi", Origin::Default).open_first(&mut { impossible }).is_err());
    }
}
