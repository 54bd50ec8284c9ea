//! How each part of a run does: its state, for the log and the `status` message, and its signs of life, for the watchdog.
//!
//! A [`Child`] is one part: the camera, a display, custody. The thread that does the work sets its state and promises, by
//! [`Child::heartbeat`], how long the next sign of life may take. The supervisor asks [`Health::overdue`]. A state is logged
//! when it changes, not at every attempt. Signs of life take no lock and no memory.

use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The deadline of a child that may take any time.
const NEVER: u64 = u64::MAX;
/// The longest reason that is kept, in bytes: reasons go into one MQTT message and come from drivers and programs.
const REASON_BYTES_MAX: usize = 300;

/// The state of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was started and has produced nothing yet.
    Starting,
    /// It works.
    Running,
    /// It failed, and is tried again.
    Waiting,
    /// It has ended, well or not.
    Ended,
}

impl State {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Waiting => "waiting",
            State::Ended => "ended",
        }
    }
}

/// One child's line in the `status` message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChildReport {
    /// Which child: `camera`, `display`, `custody`.
    pub name: &'static str,
    /// What it works on, such as `v4l2:0` or `png:DIR`.
    pub what: String,
    /// Its state.
    pub state: State,
    /// Why it waits, or why it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Failures since the start, failed attempts to open it included.
    pub failures: u64,
    /// Pictures that a display had no time for.
    #[serde(skip_serializing_if = "is_zero")]
    pub skipped: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// One part of a run.
#[derive(Debug)]
pub struct Child {
    started: Instant,
    deadline_ms: AtomicU64,
    changes: Arc<AtomicU64>,
    report: Mutex<ChildReport>,
    skipped: AtomicU64,
    /// The reason that was logged since it last ran.
    logged: Mutex<Option<String>>,
}

impl Child {
    /// A child without a supervisor, for callers that have none.
    pub fn alone(name: &'static str, what: impl Into<String>) -> Arc<Child> {
        Health::default().add(name, what)
    }

    /// A sign of life. The next one comes within `limit`; without a limit it may take for ever.
    pub fn heartbeat(&self, limit: Option<Duration>) {
        let now = self.started.elapsed();
        let deadline = limit.map_or(NEVER, |limit| (now + limit).as_millis() as u64);
        self.deadline_ms.store(deadline, Ordering::Relaxed);
    }

    fn is_overdue(&self, now: Instant) -> bool {
        let now_ms = now.saturating_duration_since(self.started).as_millis() as u64;
        now_ms > self.deadline_ms.load(Ordering::Relaxed)
    }

    /// It was opened, and has produced nothing yet.
    pub fn starting(&self) {
        self.set(State::Starting, None, false);
    }

    /// It works. Logged if it had failed before.
    pub fn running(&self) {
        let report = lock(&self.report);
        if report.state == State::Running {
            return;
        }
        let (name, what) = (report.name, report.what.clone());
        drop(report);
        if lock(&self.logged).take().is_some() {
            log::info!("{name} {what} works again");
        }
        self.set(State::Running, None, false);
    }

    /// It works again, and the caller has logged it.
    pub fn recovered(&self) {
        *lock(&self.logged) = None;
        self.running();
    }

    /// It failed and is tried again. `why` is logged whole unless it was logged since the child last ran; what is kept is
    /// shortened. Returns true if it was logged.
    pub fn waiting(&self, why: &str) -> bool {
        let kept = shortened(why);
        self.set(State::Waiting, Some(kept), true);
        let mut logged = lock(&self.logged);
        if logged.as_deref() == Some(kept) {
            return false;
        }
        *logged = Some(kept.to_owned());
        let report = lock(&self.report);
        log::warn!("{} {} failed, and is tried again: {why}", report.name, report.what);
        true
    }

    /// It has ended, by itself or because of `why`; it gives no signs of life any more.
    pub fn ended(&self, why: Option<&str>) {
        self.heartbeat(None);
        self.set(State::Ended, why.map(shortened), why.is_some());
    }

    /// A display had no time for a picture.
    pub fn skipped(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    /// The child as it is now.
    pub fn report(&self) -> ChildReport {
        ChildReport { skipped: self.skipped.load(Ordering::Relaxed), ..lock(&self.report).clone() }
    }

    fn set(&self, state: State, reason: Option<&str>, is_failure: bool) {
        let mut report = lock(&self.report);
        report.failures += u64::from(is_failure);
        if report.state == state && report.reason.as_deref() == reason {
            return;
        }
        (report.state, report.reason) = (state, reason.map(str::to_owned));
        self.changes.fetch_add(1, Ordering::Relaxed);
    }
}

/// All children of a run.
#[derive(Debug, Default)]
pub struct Health {
    children: Mutex<Vec<Arc<Child>>>,
    changes: Arc<AtomicU64>,
}

impl Health {
    /// Adds a child, in the state Starting and without a deadline.
    pub fn add(&self, name: &'static str, what: impl Into<String>) -> Arc<Child> {
        let report =
            ChildReport { name, what: what.into(), state: State::Starting, reason: None, failures: 0, skipped: 0 };
        let child = Arc::new(Child {
            started: Instant::now(),
            deadline_ms: AtomicU64::new(NEVER),
            changes: Arc::clone(&self.changes),
            report: Mutex::new(report),
            skipped: AtomicU64::new(0),
            logged: Mutex::new(None),
        });
        lock(&self.children).push(Arc::clone(&child));
        self.changes.fetch_add(1, Ordering::Relaxed);
        child
    }

    /// A number that differs after every change of a state or a reason.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// The children whose sign of life is overdue, if any; none: all are alive.
    pub fn overdue(&self, now: Instant) -> Option<String> {
        let children = lock(&self.children);
        let overdue = children.iter().filter(|c| c.is_overdue(now)).map(|c| {
            let report = lock(&c.report);
            format!("{} {}", report.name, report.what)
        });
        let names: Vec<String> = overdue.collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// Every child as it is now.
    pub fn report(&self) -> Vec<ChildReport> {
        lock(&self.children).iter().map(|c| c.report()).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first [`REASON_BYTES_MAX`] bytes, cut between characters.
fn shortened(why: &str) -> &str {
    let end = (0..=REASON_BYTES_MAX.min(why.len())).rev().find(|&i| why.is_char_boundary(i)).unwrap_or(0);
    why.get(..end).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_child_that_gives_no_sign_of_life_within_its_own_limit_is_overdue() {
        let health = Health::default();
        let (camera, display) = (health.add("camera", "v4l2:0"), health.add("display", "spi"));
        let start = Instant::now();
        assert_eq!(health.overdue(start + 1000 * S), None, "nothing was promised yet");
        camera.heartbeat(Some(10 * S));
        display.heartbeat(Some(30 * S));
        assert_eq!(health.overdue(start + 9 * S), None);
        assert_eq!(health.overdue(start + 20 * S).as_deref(), Some("camera v4l2:0"));
        assert_eq!(health.overdue(start + 40 * S).as_deref(), Some("camera v4l2:0, display spi"));
        camera.heartbeat(Some(60 * S));
        display.ended(None);
        assert_eq!(health.overdue(start + 59 * S), None, "a sign of life, and one that has ended");
        camera.heartbeat(None);
        assert_eq!(health.overdue(start + 100_000 * S), None, "without a limit a pipe may deliver nothing");
    }

    #[test]
    fn a_reason_is_logged_once_until_the_child_has_run_again() {
        let health = Health::default();
        let child = health.add("camera", "rpicam:");
        let before = health.changes();
        assert!(child.waiting("no program"));
        assert!(!child.waiting("no program"), "another attempt, the same reason");
        child.starting();
        assert!(!child.waiting("no program"), "it was opened and failed in the same way");
        assert!(child.waiting("no camera"));
        let report = child.report();
        assert_eq!((report.state, report.reason.as_deref(), report.failures), (State::Waiting, Some("no camera"), 4));
        child.running();
        assert_eq!((child.report().state, child.report().reason), (State::Running, None));
        assert!(child.waiting("no camera"));
        assert!(health.changes() > before + 4);
    }

    #[test]
    fn only_changes_count_as_changes() {
        let health = Health::default();
        let child = health.add("display", "png:x");
        child.waiting("full");
        let before = health.changes();
        child.waiting("full");
        child.heartbeat(Some(S));
        assert_eq!(health.changes(), before);
        child.ended(Some("over"));
        assert_eq!(health.changes(), before + 1);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let child = Child::alone("camera", "x");
        child.waiting(&"é".repeat(400));
        assert_eq!(child.report().reason.unwrap(), "é".repeat(150));
    }

    #[test]
    fn a_report_reads_as_json() {
        let child = Child::alone("camera", "v4l2:0");
        child.waiting("gone");
        let json = serde_json::to_value(child.report()).unwrap();
        let want = serde_json::json!({"name": "camera", "what": "v4l2:0", "state": "waiting", "reason": "gone", "failures": 1});
        assert_eq!(json, want);
    }
}
