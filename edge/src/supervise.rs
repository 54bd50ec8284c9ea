//! The supervisor of a run: custody first and last, the camera and the displays as children in between.
//!
//! Custody (spool and sender) starts first, so that records of earlier runs leave whatever the camera does, and stops
//! last. See and Show open what they need by themselves and try again; here their signs of life are watched, systemd is
//! notified, and the end is brought about. A child that does not end in time is left behind: the process ends without it.

use crate::config::Config;
use crate::counters::{Counters, get};
use crate::custody::{self, Custody, Shared};
use crate::exit::{Failure, Reason};
use crate::health::Health;
#[cfg(feature = "spi")]
use crate::lines::Lines;
use crate::metrics;
#[cfg(feature = "spi")]
use crate::panel::spi::output_pin;
use crate::see::{See, ToCustody};
use crate::service::{self, Watchdog};
use crate::show::Show;
use crate::signals;
use crate::slot::Slots;
use crate::spec::{DisplaySpec, RunOptions};
use crate::vitals::Vitals;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// Children and the stop flag are looked at this often: well below the time in which a person notices a delay.
const TICK: Duration = Duration::from_millis(50);
/// See starts when every display was tried once, or after this: a display that hangs does not stop clustering.
const FIRST_DISPLAYS_MAX: Duration = Duration::from_secs(15);
/// After a stop, See may finish its frame for this long. A read from a pipe that delivers nothing may never return.
const SEE_STOP_MAX: Duration = Duration::from_secs(5);
/// After the last picture, the displays may take this long to show it and let go.
const SHOW_STOP_MAX: Duration = Duration::from_secs(5);

/// After the stream, output lines may take this long to be let go of: they look at the end twice a second.
const LINES_STOP_MAX: Duration = Duration::from_secs(3);

/// A child's result, sent when its thread ends. A thread that panics drops its end.
type Ending<T> = Receiver<T>;

/// Runs the stream to its end.
///
/// # Errors
/// [`Failure`] of the source, of a display that can never work, or of the spool.
pub fn run(config: Config, options: RunOptions) -> Result<(), Failure> {
    if options.drain_only && config.mqtt.is_none() {
        let why = "--drain-only sends what the spool holds to a broker, and mqtt.url names none: give --mqtt URL";
        return Err(Failure::new(Reason::Config, anyhow::anyhow!("{why}")));
    }
    let shared = Shared::default();
    signals::listen(&shared.stop)?;
    shared.clock.watch(&config.run_dir, &shared.stop);
    let mut supervisor = Supervisor {
        config: Arc::new(config),
        options,
        watchdog: Watchdog::of_systemd(Instant::now()),
        lines_closed: Arc::default(),
        logged_overdue: None,
        shared,
    };
    supervisor.run()
}

/// A display's thread.
struct Display {
    /// Its number in the slots.
    number: usize,
    spec: DisplaySpec,
    ending: Ending<()>,
}

struct Supervisor {
    config: Arc<Config>,
    options: RunOptions,
    shared: Shared,
    watchdog: Watchdog,
    /// Set when output lines are to be let go of.
    lines_closed: Arc<AtomicBool>,
    /// The children that were logged as overdue.
    logged_overdue: Option<String>,
}

impl Supervisor {
    fn run(&mut self) -> Result<(), Failure> {
        self.serve_metrics();
        let (custody, to_custody) = self.start_custody()?.unzip();
        service::ready();
        let ended = if self.options.drain_only { Ok(()) } else { self.watch_children(custody.as_ref(), to_custody) };
        service::stopping();
        self.shared.failed.store(ended.is_err(), Ordering::Relaxed);
        self.shared.closed.store(true, Ordering::Relaxed);
        let sent = custody.map_or(Ok(()), |custody| self.finish_custody(custody));
        self.log_end();
        sent.and(ended)
    }

    /// Serves the page of metrics where one is asked for. An address that cannot be had costs only that.
    fn serve_metrics(&self) {
        let Some(listen) = &self.config.metrics_listen else { return };
        let child = self.shared.health.add("metrics", format!("{}:{}", listen.0, listen.1));
        let Shared { counters, health, clock, .. } = self.shared.clone();
        let spool = self.config.keeps_records().then(|| custody::spool_dir(&self.config));
        let config = Arc::clone(&self.config);
        let page = move || {
            let vitals = Vitals::look(Path::new("/"), spool.as_deref());
            let watched = (&config.regions[..], &config.colours[..], &config.events[..]);
            metrics::page(&counters, watched, &health.report(), &vitals, clock.is_synchronised())
        };
        match metrics::serve(listen, page) {
            Ok(_) => child.running(),
            Err(error) => {
                log::error!("no metrics at {}:{}: {error}; choose another metrics.listen", listen.0, listen.1);
                child.ended(Some(&error.to_string()));
            }
        }
    }

    /// Starts custody and waits until the spool is open. None: no records are kept.
    fn start_custody(&mut self) -> Result<Option<(Custody, ToCustody)>, Failure> {
        if !self.config.keeps_records() {
            log::info!(
                "no records are kept: no broker is named (--mqtt URL), nor a directory to keep them in (--spool DIR)"
            );
            return Ok(None);
        }
        let started = custody::start(&self.config, self.options, &self.shared)?;
        loop {
            match started.0.opened.recv_timeout(TICK) {
                Ok(opened) => return opened.map(|()| Some(started)),
                Err(RecvTimeoutError::Disconnected) => return Err(panicked("custody")),
                // Nothing is appended yet, and what is read stays as it is.
                Err(RecvTimeoutError::Timeout) if self.is_stopped() => return Ok(None),
                Err(RecvTimeoutError::Timeout) => self.tick(),
            }
        }
    }

    /// Starts displays and camera, and watches them until the stream ends.
    fn watch_children(&mut self, custody: Option<&Custody>, to_custody: Option<ToCustody>) -> Result<(), Failure> {
        let (slots, mut shown) = self.start_displays()?;
        let lines = self.start_lines()?;
        let seen = self.start_see(&slots, to_custody)?;
        let started = Instant::now();
        let mut stopped_at = None;
        let ended = loop {
            match seen.recv_timeout(TICK) {
                Ok(ended) => break ended,
                Err(RecvTimeoutError::Disconnected) => break Err(panicked("see")),
                Err(RecvTimeoutError::Timeout) => self.tick(),
            }
            if custody.is_some_and(|custody| custody.thread.is_finished()) {
                // Without custody there is no run; its failure is logged when it is joined. See may wait for a camera.
                self.shared.stop.store(true, Ordering::Relaxed);
            }
            shown.retain(|display| {
                let is_lost = display.ending.try_recv() == Err(TryRecvError::Disconnected);
                if is_lost {
                    // See makes no more pictures for it; under systemd the watchdog has the edge restarted.
                    log::error!("{}; going on without display {}", panicked("show"), display.spec);
                    slots.set(display.number, None);
                }
                !is_lost
            });
            if self.is_stopped() && stopped_at.get_or_insert_with(Instant::now).elapsed() > SEE_STOP_MAX {
                log::warn!("the source {} does not end: left behind", self.config.source);
                break Ok(());
            }
        };
        let took = started.elapsed().as_secs_f64();
        stop_displays(&slots, &shown);
        self.lines_closed.store(true, Ordering::Relaxed);
        if lines.is_some_and(|lines| lines.recv_timeout(LINES_STOP_MAX) == Err(RecvTimeoutError::Timeout)) {
            log::warn!("a GPIO line does not end: left behind");
        }
        if ended.is_ok() || get(&self.shared.counters.frames) > 0 {
            self.log_summary(&slots, took);
        }
        ended
    }

    /// Starts the displays, and waits until each was tried once.
    fn start_displays(&mut self) -> Result<(Arc<Slots>, Vec<Display>), Failure> {
        let config = Arc::clone(&self.config);
        let specs: Vec<&DisplaySpec> = config.panels.iter().filter(|spec| **spec != DisplaySpec::None).collect();
        let children: Vec<_> = specs.iter().map(|spec| self.shared.health.add("display", spec.to_string())).collect();
        let slots = Arc::new(Slots::new(children.iter().cloned()));
        let (tell_opened, opened) = sync_channel(specs.len());
        let mut shown = Vec::new();
        for (number, (spec, child)) in specs.iter().zip(children).enumerate() {
            let show = Show {
                config: Arc::clone(&self.config),
                spec: (*spec).clone(),
                number,
                slots: Arc::clone(&slots),
                stop: Arc::clone(&self.shared.stop),
                child,
            };
            let tell_opened = tell_opened.clone();
            // A display is opened on the thread that it stays on.
            let ending = spawn("show", move || show.run(&tell_opened))?;
            shown.push(Display { number, spec: (*spec).clone(), ending });
        }
        drop(tell_opened);
        if let Err(failure) = self.wait_opened(&opened, shown.len()) {
            // The others let go of what they have: a terminal is as it was.
            stop_displays(&slots, &shown);
            return Err(failure);
        }
        Ok((slots, shown))
    }

    fn wait_opened(&mut self, opened: &Receiver<Result<(), Failure>>, displays: usize) -> Result<(), Failure> {
        let until = Instant::now() + FIRST_DISPLAYS_MAX;
        let mut tried = 0;
        while tried < displays && !self.is_stopped() && Instant::now() < until {
            match opened.recv_timeout(TICK) {
                Ok(opened) => opened?,
                Err(RecvTimeoutError::Disconnected) => return Err(panicked("show")),
                Err(RecvTimeoutError::Timeout) => {
                    self.tick();
                    continue;
                }
            }
            tried += 1;
        }
        Ok(())
    }

    /// Starts what drives output lines by events. None: no event has a line.
    #[cfg(feature = "spi")]
    fn start_lines(&self) -> Result<Option<Ending<()>>, Failure> {
        let lines = Lines::new(&self.config.events, &self.shared.health, output_pin);
        let (counters, closed) = (Arc::clone(&self.shared.counters), Arc::clone(&self.lines_closed));
        lines.map(|lines| spawn("lines", move || lines.run(&counters, &closed))).transpose()
    }

    /// Without GPIO no event has a line: the configuration refuses it.
    #[cfg(not(feature = "spi"))]
    fn start_lines(&self) -> Result<Option<Ending<()>>, Failure> {
        Ok(None)
    }

    fn start_see(
        &self,
        slots: &Arc<Slots>,
        custody: Option<ToCustody>,
    ) -> Result<Ending<Result<(), Failure>>, Failure> {
        let RunOptions { quiet, log_frames, .. } = self.options;
        let see = See {
            config: Arc::clone(&self.config),
            options: self.options,
            slots: Arc::clone(slots),
            custody,
            stop: Arc::clone(&self.shared.stop),
            counters: Arc::clone(&self.shared.counters),
            child: self.shared.health.add("camera", self.config.source.to_string()),
            clock: Arc::clone(&self.shared.clock),
            status_line: std::io::stderr().is_terminal() && !quiet && !log_frames,
        };
        spawn("see", move || see.run())
    }

    /// Waits until custody has ended: all is sent, or what is left stays in the spool.
    fn finish_custody(&mut self, custody: Custody) -> Result<(), Failure> {
        while !custody.thread.is_finished() {
            self.tick();
            std::thread::sleep(TICK);
        }
        custody.thread.join().unwrap_or_else(|_| Err(panicked("custody")))
    }

    fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    /// Feeds the watchdog if every child is alive.
    fn tick(&mut self) {
        let overdue = overdue(&self.shared.health, Instant::now(), &mut self.watchdog);
        if overdue.is_some() && overdue != self.logged_overdue {
            let names = overdue.as_deref().unwrap_or_default();
            log::error!("no sign of life from {names}; the watchdog is not fed until there is one");
        }
        self.logged_overdue = overdue;
    }

    fn log_summary(&self, slots: &Slots, took: f64) {
        let c: &Counters = &self.shared.counters;
        let frames = get(&c.frames);
        let more = nonzero(&[
            (get(&c.late), "late"),
            (get(&c.saturated), "saturated"),
            (get(&c.missing), "with missed colours"),
            (get(&c.uncorrected), "not corrected by the reference"),
            (slots.given(), "pictures made for display"),
            (get(&c.pictures_sent), "pictures sent"),
            (get(&c.pictures_unsent), "pictures not sent"),
        ]);
        let (fps, lost) = (frames as f64 / took.max(1e-9), get(&c.lost));
        log::info!("{frames} frames in {took:.1} s ({fps:.1} fps), {lost} lost by the camera{more}");
    }

    fn log_end(&self) {
        let c: &Counters = &self.shared.counters;
        if self.config.keeps_records() {
            let more = nonzero(&[
                (get(&c.evicted), "evicted"),
                (get(&c.damaged), "damaged"),
                (get(&c.losses), "loss records"),
                (get(&c.refused), "frames refused"),
            ]);
            log::info!("records: {} held{more}", get(&c.held));
        }
        if self.is_stopped() {
            log::info!("stream interrupted");
        }
    }
}

/// Ends the displays once they have shown what waits for them.
fn stop_displays(slots: &Slots, shown: &[Display]) {
    slots.close();
    let until = Instant::now() + SHOW_STOP_MAX;
    for display in shown {
        let left = until.saturating_duration_since(Instant::now());
        if display.ending.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            log::warn!("display {} does not end: left behind", display.spec);
        }
    }
}

/// What there is of some things, for a line: those that there are none of are left out.
fn nonzero(counts: &[(u64, &str)]) -> String {
    counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}")).collect()
}

/// Feeds the watchdog if no child is overdue, else names those that are.
fn overdue(health: &Health, now: Instant, watchdog: &mut Watchdog) -> Option<String> {
    let overdue = health.overdue(now);
    if overdue.is_none() {
        watchdog.feed(now);
    }
    overdue
}

/// Runs `work` on a thread of its own; its result can be waited for with a limit.
fn spawn<T, F>(name: &str, work: F) -> Result<Ending<T>, Failure>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (end, ending) = sync_channel(1);
    let run = move || {
        let _ = end.send(work());
    };
    let thread = Builder::new().name(name.into()).spawn(run);
    thread.map(|_| ending).map_err(|e| Failure::io(format!("starting thread {name}"), e))
}

fn panicked(name: &str) -> Failure {
    Failure::new(Reason::Io, anyhow::anyhow!("thread {name} panicked. This is a bug; please report it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_hangs_leaves_the_watchdog_unfed_and_one_that_waits_for_a_camera_does_not() {
        let (health, start) = (Health::default(), Instant::now());
        let at = |s| start + Duration::from_secs(s);
        let mut watchdog = Watchdog::new(Some(Duration::from_secs(60)), start);
        let (camera, display) = (health.add("camera", "v4l2:0"), health.add("display", "spi"));
        camera.heartbeat(Some(Duration::from_secs(120)));
        display.heartbeat(Some(Duration::from_secs(60)));
        assert_eq!(overdue(&health, at(10), &mut watchdog), None);
        assert!(!watchdog.is_due(at(11)), "it was fed a moment ago");
        // The display hangs. The camera is absent, but its thread gives signs of life.
        camera.waiting("there is no such camera");
        camera.heartbeat(Some(Duration::from_secs(600)));
        assert_eq!(overdue(&health, at(70), &mut watchdog).as_deref(), Some("display spi"));
        assert!(watchdog.is_due(at(71)), "it was not fed");
        display.heartbeat(Some(Duration::from_secs(200)));
        assert_eq!(overdue(&health, at(190), &mut watchdog), None);
        assert!(!watchdog.is_due(at(191)));
    }

    #[test]
    fn a_thread_that_panics_is_an_ending_and_no_wait_without_end() {
        let ending = spawn("test", || assert!(std::thread::current().name().is_none(), "planned")).unwrap();
        assert_eq!(ending.recv_timeout(Duration::from_secs(60)), Err(RecvTimeoutError::Disconnected));
    }
}
