//! Stop signals: SIGINT and SIGTERM end a program cleanly.
//!
//! [`stop_signal`] is for asynchronous programs, [`until_stopped`] runs blocking work with a flag that the signal sets.

use crate::failure::Failure;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Becomes true at SIGINT or SIGTERM.
///
/// # Errors
/// [`Failure::Io`] if the handlers cannot be set.
pub fn stop_signal() -> Result<watch::Receiver<bool>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let (tx, rx) = watch::channel(false);
    let fail = |e| Failure::io("signals", e);
    let (mut int, mut term) =
        (signal(SignalKind::interrupt()).map_err(fail)?, signal(SignalKind::terminate()).map_err(fail)?);
    tokio::spawn(async move {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
        let _ = tx.send(true);
    });
    Ok(rx)
}

/// Runs `work` on a thread that may block; at SIGINT or SIGTERM its flag is set.
///
/// # Errors
/// What `work` gives, or [`Failure::Io`].
pub fn until_stopped(work: impl FnOnce(&AtomicBool) -> Result<(), Failure> + Send + 'static) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| Failure::io("runtime", e))?;
    let flag = Arc::new(AtomicBool::new(false));
    let result = runtime.block_on(async {
        let mut signal = stop_signal()?;
        let seen = flag.clone();
        let mut work = tokio::task::spawn_blocking(move || work(&seen));
        tokio::select! {
            done = &mut work => done.unwrap_or_else(|e| Err(Failure::Io(e.to_string()))),
            _ = signal.wait_for(|s| *s) => {
                flag.store(true, Ordering::Relaxed);
                tokio::time::timeout(Duration::from_secs(2), work).await.map_or(Ok(()), |d| d.unwrap_or(Ok(())))
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}
