//! SIGINT, SIGTERM and SIGHUP: the first stops the run cleanly, a later one ends it at once. The only user of `signal-hook`.
//!
//! Signals within a second of the first are one: a terminal sends SIGHUP and SIGTERM together, and impatient tools send
//! SIGTERM twice. A SIGHUP that was ignored when the program started (`nohup`) stays ignored.

use crate::exit::Failure;
use crate::logs;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Signals that arrive within this time after the first belong to it.
const ONE_SIGNAL: Duration = Duration::from_secs(1);
/// The exit code of a run that a second signal has ended: 128 and SIGINT's number, as shells have it.
const EXIT_CODE: i32 = 130;

/// What a signal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Stop cleanly.
    Stop,
    /// It belongs to the one before.
    Repeated,
    /// End at once.
    End,
}

/// Decides what a signal means by when the first one came.
#[derive(Debug, Default)]
struct Policy {
    first: Option<Instant>,
}

impl Policy {
    fn on_signal(&mut self, now: Instant) -> Meaning {
        match self.first {
            None => {
                self.first = Some(now);
                Meaning::Stop
            }
            Some(first) if now.saturating_duration_since(first) <= ONE_SIGNAL => Meaning::Repeated,
            Some(_) => Meaning::End,
        }
    }
}

/// Sets `stop` on the first signal, and ends the process on one that comes more than a second later.
///
/// # Errors
/// [`Failure`] if the signals cannot be listened to.
pub fn listen(stop: &Arc<AtomicBool>) -> Result<(), Failure> {
    let failed = |e| Failure::io("listening for signals", e);
    let own_status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut wanted = vec![SIGINT, SIGTERM];
    if !is_ignored(&own_status, SIGHUP) {
        wanted.push(SIGHUP);
    }
    let mut signals = Signals::new(wanted).map_err(failed)?;
    let stop = Arc::clone(stop);
    let watch = move || {
        let mut policy = Policy::default();
        for _ in signals.forever() {
            match policy.on_signal(Instant::now()) {
                Meaning::Stop => stop.store(true, Ordering::Relaxed),
                Meaning::Repeated => {}
                Meaning::End => {
                    logs::hold(false);
                    std::process::exit(EXIT_CODE);
                }
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).map_err(failed)?;
    Ok(())
}

/// Does nothing on a signal, in a process that ends with the one that started it: a terminal sends its signals to both.
///
/// # Errors
/// [`Failure`] if the signals cannot be listened to.
pub fn leave_to_parent() -> Result<(), Failure> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let noticed = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal, noticed).map_err(|e| Failure::io("listening for signals", e))?;
    }
    Ok(())
}

/// Returns true if `status`, the text of `/proc/PID/status`, reports `signal` as ignored.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|m| u64::from_str_radix(m.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_signals_within_a_second_are_one_and_a_later_one_ends_at_once() {
        let (mut policy, start) = (Policy::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(policy.on_signal(at(0)), Meaning::Stop);
        for ms in [0, 1, 999, 1000] {
            assert_eq!(policy.on_signal(at(ms)), Meaning::Repeated, "{ms}");
        }
        assert_eq!(policy.on_signal(at(1001)), Meaning::End);
    }

    #[test]
    fn a_signal_that_was_ignored_at_the_start_is_known() {
        let nohup = "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert!(is_ignored(nohup, SIGHUP) && !is_ignored(nohup, SIGTERM));
        assert!(!is_ignored("SigIgn:\t0000000000001000\n", SIGHUP) && !is_ignored("", SIGHUP));
    }
}
