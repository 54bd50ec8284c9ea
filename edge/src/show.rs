//! Show: the thread that puts the newest picture on the displays, and opens a display that failed again.
//!
//! All displays share this thread: pictures go round in a fixed number of buffers, and a thread for each display would need
//! three more of them. Each display has its own state, back-off and count of failures. A display that fails
//! never ends the run; it misses pictures until it works again. See waits for Show only while a display works that
//! wants every frame.

use crate::backoff::Backoff;
use crate::config::Config;
use crate::exit::Failure;
use crate::gauge::Gauge;
use crate::health::{Child, Health};
use crate::panel::open::open;
use crate::panel::{Panel, PanelError, Wish};
use crate::slot::{Shot, Slot, Taken};
use crate::spec::DisplaySpec;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant, SystemTime};

/// Keys and windows are looked after this often: an Esc is noticed without a delay that a person sees.
const TEND_EVERY: Duration = Duration::from_millis(20);
/// Wait before a display is opened again: a directory or a bus that was gone for a moment loses few pictures.
const RETRY_MIN: Duration = Duration::from_millis(500);
/// Longest wait between attempts: opening may be slow (a bus, a compositor), and holds the other displays up.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// One round over all displays takes less than this, or a display hangs: an SPI display of 320x240 takes 0.1 s, a PNG to a
/// slow card 1 s.
const ROUND_LIMIT: Duration = Duration::from_secs(60);

/// What the displays need of See at this moment.
#[derive(Debug, Default)]
pub struct Plan {
    any: AtomicBool,
    every_frame: AtomicBool,
    fills_terminal: AtomicBool,
}

impl Plan {
    /// A plan of displays that work.
    pub fn new(any: bool, every_frame: bool) -> Plan {
        Plan { any: any.into(), every_frame: every_frame.into(), fills_terminal: false.into() }
    }

    /// There is a display to make pictures for.
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// A display wants every frame.
    pub fn every_frame(&self) -> bool {
        self.every_frame.load(Ordering::Relaxed)
    }

    /// A display fills the terminal.
    pub fn fills_terminal(&self) -> bool {
        self.fills_terminal.load(Ordering::Relaxed)
    }

    fn set(&self, screens: &[Screen]) {
        let has = |is: fn(&dyn Panel) -> bool| screens.iter().filter_map(|s| s.panel.as_deref()).any(is);
        self.any.store(has(|_| true), Ordering::Relaxed);
        self.every_frame.store(has(|p| p.wants_every_frame()), Ordering::Relaxed);
        self.fills_terminal.store(has(|p| p.fills_terminal()), Ordering::Relaxed);
    }
}

/// What opens a display; a test gives one of its own.
type Open<'a> = dyn FnMut(&DisplaySpec) -> Result<Option<Box<dyn Panel>>, PanelError> + 'a;

/// One display of the configuration, open or to be opened.
struct Screen {
    spec: DisplaySpec,
    child: Arc<Child>,
    panel: Option<Box<dyn Panel>>,
    backoff: Backoff,
}

impl Screen {
    fn new(spec: DisplaySpec, health: &Health) -> Screen {
        let child = health.add("display", spec.to_string());
        Screen { spec, child, panel: None, backoff: Backoff::new(RETRY_MIN, RETRY_MAX) }
    }

    /// Opens it if it is closed and an attempt is due. Returns true if an attempt was made.
    ///
    /// # Errors
    /// [`PanelError`] that trying again does not mend.
    fn open(&mut self, now: Instant, open: &mut Open<'_>) -> Result<bool, PanelError> {
        if self.panel.is_some() || !self.backoff.is_due(now) {
            return Ok(false);
        }
        match open(&self.spec) {
            Ok(panel) => {
                self.panel = panel;
                self.child.starting();
            }
            Err(error) if error.is_final() => return Err(error),
            Err(error) => self.failed(now, &error),
        }
        Ok(true)
    }

    fn show(&mut self, shot: &Shot, now: Instant) -> bool {
        let Some(panel) = &mut self.panel else { return false };
        match panel.show(shot) {
            Ok(()) => {
                self.child.running();
                self.backoff.succeeded();
                true
            }
            Err(error) => {
                self.failed(now, &error);
                false
            }
        }
    }

    fn tend(&mut self, now: Instant) -> Wish {
        match self.panel.as_mut().map(|p| p.tend()) {
            None => Wish::GoOn,
            Some(Ok(wish)) => wish,
            Some(Err(error)) => {
                self.failed(now, &error);
                Wish::GoOn
            }
        }
    }

    fn failed(&mut self, now: Instant, error: &PanelError) {
        self.panel = None;
        self.backoff.failed(now);
        self.child.waiting(&error.to_string());
    }
}

/// The thread's state.
pub struct Show {
    config: Arc<Config>,
    slot: Arc<Slot>,
    plan: Arc<Plan>,
    stop: Arc<AtomicBool>,
    screens: Vec<Screen>,
}

impl Show {
    /// A thread to be run. The plan is that of displays that all work until the first attempt to open them.
    pub fn new(
        config: &Arc<Config>,
        slot: &Arc<Slot>,
        plan: &Arc<Plan>,
        stop: &Arc<AtomicBool>,
        health: &Health,
    ) -> Show {
        let specs = config.panels.iter().filter(|spec| **spec != DisplaySpec::None);
        Show {
            screens: specs.map(|spec| Screen::new(spec.clone(), health)).collect(),
            config: Arc::clone(config),
            slot: Arc::clone(slot),
            plan: Arc::clone(plan),
            stop: Arc::clone(stop),
        }
    }

    /// Runs until the slot is closed and empty. `opened` hears when each display was tried once, or which of them can
    /// never work: an impossible one, and a window or a terminal that a person typed where there is none. Those that a
    /// service has in its configuration may come later.
    pub fn run(mut self, opened: &SyncSender<Result<(), Failure>>) {
        let config = Arc::clone(&self.config);
        let mut open = move |spec: &DisplaySpec| open(spec, &config);
        let first = self.open_first(&mut open);
        let is_useless = first.is_err();
        let _ = opened.send(first.map_err(Failure::from));
        if !is_useless {
            self.show(&mut open);
        }
        self.screens.iter().for_each(|s| s.child.ended(None));
        // Nobody may wait for a picture to be taken any more.
        self.slot.close();
    }

    fn open_first(&mut self, open: &mut Open<'_>) -> Result<(), PanelError> {
        let is_typed = self.config.displays_are_typed();
        for screen in &mut self.screens {
            screen.child.heartbeat(Some(ROUND_LIMIT));
            if is_typed && screen.spec.is_interactive() {
                screen.panel = open(&screen.spec)?;
            } else {
                screen.open(Instant::now(), open)?;
            }
        }
        self.plan.set(&self.screens);
        Ok(())
    }

    fn show(&mut self, open: &mut Open<'_>) {
        let mut shot = Box::<Shot>::default();
        let mut gauge = Gauge::default();
        loop {
            self.screens.iter().for_each(|s| s.child.heartbeat(Some(ROUND_LIMIT)));
            match self.slot.take(&mut shot, TEND_EVERY) {
                Taken::Picture => {
                    let now = Instant::now();
                    let mut is_shown = false;
                    for screen in &mut self.screens {
                        is_shown |= screen.show(&shot, now);
                    }
                    if is_shown {
                        gauge.add(Instant::now(), age(&shot));
                    }
                }
                Taken::Nothing => {}
                Taken::Closed => return self.summary(&gauge),
            }
            self.tend(Instant::now(), open);
        }
    }

    /// Looks after each display, and opens those that are due.
    fn tend(&mut self, now: Instant, open: &mut Open<'_>) {
        for screen in &mut self.screens {
            if screen.tend(now) == Wish::Stop {
                self.stop.store(true, Ordering::Relaxed);
            }
            if let Err(error) = screen.open(now, open) {
                // It worked once, so it may again.
                screen.failed(now, &error);
            }
        }
        self.plan.set(&self.screens);
    }

    fn summary(&self, gauge: &Gauge) {
        if gauge.count() > 0 {
            let (count, rate) = (gauge.count(), gauge.per_second());
            log::info!("{count} pictures shown, {rate:.1} a second; from capture to display {gauge}");
        }
        for report in self.screens.iter().map(|s| s.child.report()).filter(|r| r.failures > 0) {
            log::warn!("display {}: failed {} times", report.what, report.failures);
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

    fn show(panels: &str, origin: Origin) -> (Show, Health) {
        let mut raw = Raw::default();
        raw.put("display.panels", panels.into(), origin).unwrap();
        let (config, health) = (Arc::new(Config::check(raw).unwrap()), Health::default());
        (Show::new(&config, &Arc::default(), &Arc::default(), &Arc::default(), &health), health)
    }

    #[test]
    fn a_display_that_fails_is_opened_again_with_growing_pauses_and_does_not_hold_see_up() {
        let (mut show, health) = show("png:x", Origin::Default);
        let (works, shown) = (Arc::new(AtomicBool::new(true)), Arc::default());
        let mut opens = 0;
        let mut open = |_: &DisplaySpec| {
            opens += 1;
            let panel: Box<dyn Panel> = Box::new(Fake { works: Arc::clone(&works), shown: Arc::clone(&shown) });
            Ok(Some(panel))
        };
        show.open_first(&mut open).unwrap();
        assert!(show.plan.any() && show.plan.every_frame());
        let (start, shot) = (Instant::now(), Shot::default());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(show.screens[0].show(&shot, start));
        works.store(false, Ordering::Relaxed);
        assert!(!show.screens[0].show(&shot, start));
        show.tend(at(100), &mut open);
        assert!(!show.plan.any() && !show.plan.every_frame(), "See makes no pictures for it");
        let report = health.report().remove(0);
        assert_eq!((report.state, report.failures), (State::Waiting, 1));
        // It opens again and fails again: the pauses are 0.5 s, then 1 s.
        show.tend(at(600), &mut open);
        assert!(show.plan.any() && !show.screens[0].show(&shot, at(600)));
        show.tend(at(1500), &mut open);
        assert!(!show.plan.any());
        works.store(true, Ordering::Relaxed);
        show.tend(at(1700), &mut open);
        assert!(show.screens[0].show(&shot, at(1700)));
        let report = health.report().remove(0);
        assert_eq!((report.state, report.reason, report.failures), (State::Running, None, 2));
        assert_eq!((opens, shown.load(Ordering::Relaxed)), (3, 2));
    }

    #[test]
    fn a_window_that_a_person_typed_must_open_and_one_of_a_service_may_come_later() {
        let unavailable = || PanelError::Unavailable { name: "window", why: "no desktop".into() };
        let first = |panels: &str, origin: Origin| {
            let (mut show, health) = show(panels, origin);
            (show.open_first(&mut |_| Err(unavailable())), health.report().remove(0).state)
        };
        let typed = || Origin::Flag("--display".into());
        assert!(first("window", typed()).0.is_err() && first("terminal", typed()).0.is_err());
        for (panels, origin) in [("png:x", typed()), ("fb:/dev/fb0", typed()), ("window", Origin::File("f".into()))] {
            let (opened, state) = first(panels, origin);
            assert!(opened.is_ok() && state == State::Waiting, "{panels}");
        }
        let impossible = |_: &DisplaySpec| Err(PanelError::Impossible { name: "spi", why: "not built".into() });
        assert!(show("spi", Origin::Default).0.open_first(&mut { impossible }).is_err());
    }
}
