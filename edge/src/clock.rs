//! Whether this machine's clock is synchronised, looked at again and again.
//!
//! A Pi has no clock of its own, so its time is right only some seconds or minutes after the start. A thread looks for the
//! marker file of systemd-timesyncd once a second, and asks chrony, where it runs, every ten. Frames read one
//! atomic flag. The kernel's own flag (adjtimex) is not read: the unit's `ProtectClock` forbids that call.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// Where services leave marks at run time, unless the configuration names another place.
pub const RUN_DIR: &str = "/run";
/// systemd's time service makes this file, below the run directory, when it has set the clock.
pub const TIMESYNCD_MARKER: &str = "systemd/timesync/synchronized";
/// chrony's daemon has its process id here, below the run directory.
pub const CHRONY_PID: &str = "chrony/chronyd.pid";
/// The marker is looked for this often: one `stat`.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// chrony is asked this often: each time a program is started.
const CHRONY_EVERY: Duration = Duration::from_secs(10);

/// Who synchronised the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// systemd-timesyncd.
    Timesyncd,
    /// chrony.
    Chrony,
}

impl Keeper {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Keeper::Timesyncd => "systemd-timesyncd",
            Keeper::Chrony => "chrony",
        }
    }
}

/// The clock's state, as it was seen last.
#[derive(Debug, Default)]
pub struct Clock {
    is_synchronised: AtomicBool,
}

impl Clock {
    /// Returns true if the clock is synchronised.
    pub fn is_synchronised(&self) -> bool {
        self.is_synchronised.load(Ordering::Relaxed)
    }

    /// Starts a thread that looks after the clock until `stop` is set. A thread that cannot be started is logged: the clock
    /// then counts as not synchronised.
    pub fn watch(self: &Arc<Clock>, run_dir: &Path, stop: &Arc<AtomicBool>) {
        let (clock, run_dir, stop) = (Arc::clone(self), run_dir.to_owned(), Arc::clone(stop));
        // The first look is made here, so that the first frame has its result.
        let mut chrony = Chrony::default();
        clock.set(look(&run_dir, &mut chrony), true);
        let run = move || {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK_EVERY);
                clock.set(look(&run_dir, &mut chrony), false);
            }
        };
        if let Err(error) = Builder::new().name("clock".into()).spawn(run) {
            log::warn!("the clock counts as not synchronised: starting thread clock: {error}");
        }
    }

    fn set(&self, keeper: Option<Keeper>, is_first: bool) {
        let before = self.is_synchronised.swap(keeper.is_some(), Ordering::Relaxed);
        match keeper {
            Some(keeper) if !before => log::info!("the clock is synchronised by {}", keeper.name()),
            None if before || is_first => {
                log::info!("the clock is not known to be synchronised: records get the bridge's time until it is");
            }
            _ => {}
        }
    }
}

/// chrony's last answer.
#[derive(Debug, Default)]
struct Chrony {
    asked: Option<Instant>,
    is_synchronised: bool,
}

/// Who has synchronised the clock; none: it is not known to be.
fn look(run_dir: &Path, chrony: &mut Chrony) -> Option<Keeper> {
    if run_dir.join(TIMESYNCD_MARKER).exists() {
        return Some(Keeper::Timesyncd);
    }
    if !run_dir.join(CHRONY_PID).exists() {
        *chrony = Chrony::default();
        return None;
    }
    if chrony.asked.is_none_or(|asked| asked.elapsed() >= CHRONY_EVERY) {
        chrony.is_synchronised = ask_chrony();
        chrony.asked = Some(Instant::now());
    }
    chrony.is_synchronised.then_some(Keeper::Chrony)
}

/// Asks chrony's daemon whether it has synchronised the clock.
pub fn ask_chrony() -> bool {
    let asked =
        Command::new("chronyc").args(["-n", "-c", "tracking"]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    asked.is_ok_and(|answer| answer.status.success() && is_tracking(&String::from_utf8_lossy(&answer.stdout)))
}

/// Reads the line of `chronyc -c tracking`: fields between commas, the leap status last.
fn is_tracking(line: &str) -> bool {
    let mut fields = line.trim().split(',');
    let leap = fields.next_back().unwrap_or_default();
    fields.count() >= 10 && matches!(leap, "Normal" | "Insert second" | "Delete second")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_synchronised_later_is_seen_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let (clock, stop) = (Arc::<Clock>::default(), Arc::<AtomicBool>::default());
        clock.watch(dir.path(), &stop);
        assert!(!clock.is_synchronised());
        let marker = dir.path().join(TIMESYNCD_MARKER);
        std::fs::create_dir_all(marker.parent().unwrap()).unwrap();
        std::fs::write(&marker, "").unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while !clock.is_synchronised() {
            assert!(Instant::now() < until, "never seen");
            std::thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
    }

    #[test]
    fn chronys_answer_is_read_by_its_leap_status() {
        let line =
            |leap| format!("A29FC801,162.159.200.1,4,1732640000.1,0.0,0.0,0.0,-6.6,0.0,0.1,0.01,0.002,64.4,{leap}\n");
        for (leap, want) in [("Normal", true), ("Insert second", true), ("Not synchronised", false), ("", false)] {
            assert_eq!(is_tracking(&line(leap)), want, "{leap}");
        }
        assert!(!is_tracking("") && !is_tracking("Normal"));
    }

    #[test]
    fn without_a_marker_and_without_chrony_nobody_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path(), &mut Chrony::default()), None);
    }
}
