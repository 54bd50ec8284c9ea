//! Custody of a run: the thread that opens the spool and runs the sender, started first and stopped last.
//!
//! The sender's own work (appending, syncing, packing and encoding pictures) blocks the custody thread. The MQTT
//! connection is a task on a second thread, so a slow disk or a large picture does not keep it from answering the broker.
//! Opening a large spool reports progress, and asks systemd for more time.

mod former;

use crate::clock::Clock;
use crate::command::{COMMANDS_MAX, Outcomes};
use crate::config::Config;
use crate::counters::Counters;

use crate::exit::{Failure, Reason};
use crate::health::{Child, Health};
use crate::parcel::{PARCELS_MAX, Parcel};
use crate::see::ToCustody;
use crate::send::{Send, SenderChannels};
use crate::service;
use crate::spec::RunOptions;
use crate::spool::{self, Name, Spool};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Reading one segment of the spool (1 MiB) takes less than this, or the disk hangs.
const SEGMENT_LIMIT: Duration = Duration::from_secs(60);
/// systemd is asked for more time to start this often while the spool is read; each time for [`SEGMENT_LIMIT`].
const EXTEND_EVERY: Duration = Duration::from_secs(5);

/// What custody shares with the supervisor.
#[derive(Debug, Clone, Default)]
pub struct Shared {
    /// Set when the run is to end.
    pub stop: Arc<AtomicBool>,
    /// Set when See has failed: the end is then a short one.
    pub failed: Arc<AtomicBool>,
    /// Set when no more parcels come.
    pub closed: Arc<AtomicBool>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// The state of every child.
    pub health: Arc<Health>,
    /// Whether this machine's clock is synchronised.
    pub clock: Arc<Clock>,
}

/// Custody under way.
pub struct Custody {
    /// Gets one message: that the spool is open and the sender is about to run, or why not.
    pub opened: Receiver<Result<(), Failure>>,
    /// The thread; it ends after the parcels have, when all is sent or left in the spool.
    pub thread: JoinHandle<Result<(), Failure>>,
}

/// Starts the thread. Gives it, and See's ends of its channels.
///
/// # Errors
/// [`Failure`] if there is no thread to be had.
pub fn start(config: &Arc<Config>, options: RunOptions, shared: &Shared) -> Result<(Custody, ToCustody), Failure> {
    let (parcels_in, parcels) = tokio::sync::mpsc::channel(PARCELS_MAX);
    // As many places as there are parcels: a channel without a bound takes memory as it goes.
    let (empties, empties_out) = sync_channel(PARCELS_MAX);
    for _ in 0..PARCELS_MAX {
        let _ = empties.send(Box::<Parcel>::default());
    }
    let (commands, commands_out) = sync_channel(COMMANDS_MAX);
    let outcomes = Arc::<Outcomes>::default();
    let dir = spool_dir(config);
    let child = shared.health.add("custody", dir.display().to_string());
    let channels = SenderChannels {
        parcels,
        empties,
        commands,
        outcomes: Arc::clone(&outcomes),
        stop: Arc::clone(&shared.stop),
        failed: Arc::clone(&shared.failed),
        closed: Arc::clone(&shared.closed),
        counters: Arc::clone(&shared.counters),
        health: Arc::clone(&shared.health),
        clock: Arc::clone(&shared.clock),
        child,
    };
    let (tell_opened, opened) = sync_channel(1);
    let config = Arc::clone(config);
    let thread = Builder::new()
        .name("custody".into())
        .spawn(move || run(&config, &dir, options, channels, &tell_opened))
        .map_err(|e| Failure::io("starting thread custody", e))?;
    let to_custody = ToCustody { parcels: parcels_in, empties: empties_out, commands: commands_out, outcomes };
    Ok((Custody { opened, thread }, to_custody))
}

fn run(
    config: &Config,
    dir: &Path,
    options: RunOptions,
    channels: SenderChannels,
    opened: &SyncSender<Result<(), Failure>>,
) -> Result<(), Failure> {
    let child = Arc::clone(&channels.child);
    let prepared = open_spool(config, dir, &child).and_then(|spool| Ok((spool, runtime()?)));
    let (stop, options) = (Arc::clone(&channels.stop), options);
    let health = Arc::clone(&channels.health);
    let (spool, runtime) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => {
            child.ended(Some(&failure.to_string()));
            // The supervisor reports it and ends the run.
            let _ = opened.send(Err(failure));
            return Ok(());
        }
    };
    let sender = Send::new(config, options, spool, channels);
    let former = former::start(config, dir, &health);
    child.running();
    let _ = opened.send(Ok(()));
    let end = runtime.block_on(sender.run(config.mqtt.as_ref()));
    // Draining the spool is all that --drain-only is for.
    former.finish(|| !options.drain_only || stop.load(Ordering::Relaxed));
    child.ended(end.as_ref().err().map(ToString::to_string).as_deref());
    end
}

/// The name that the records of this run have: known where there is a broker.
fn name(config: &Config) -> Option<Name> {
    config.mqtt.as_ref().and_then(|mqtt| Name::parse(&format!("{}/{}", mqtt.site, mqtt.device)))
}

/// The sender runs on the thread that calls `block_on`, and what it spawns, the MQTT connection, on one other thread.
fn runtime() -> Result<Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).thread_name("mqtt").enable_all().build();
    runtime.map_err(|e| Failure::io("starting the sender", e))
}

fn open_spool(config: &Config, dir: &Path, child: &Child) -> Result<Spool, Failure> {
    let boot = new_boot()?;
    let limits = spool::Limits::of(config.spool_bytes_max);
    child.heartbeat(Some(SEGMENT_LIMIT));
    let mut due = Instant::now() + EXTEND_EVERY;
    let mut progress = |read: usize, all: usize| {
        child.heartbeat(Some(SEGMENT_LIMIT));
        let now = Instant::now();
        if now >= due {
            due = now + EXTEND_EVERY;
            service::extend_start(SEGMENT_LIMIT);
            log::info!("opening the spool {}: {read} of {all} segments are read", dir.display());
        }
    };
    Ok(Spool::open_as(dir, limits, boot, name(config).as_ref(), &mut progress)?)
}

/// A stream for a spool that is opened.
fn new_boot() -> Result<u64, Failure> {
    use rand::TryRng;
    let boot = rand::rngs::SysRng.try_next_u64();
    let boot = boot.map_err(|e| Failure::new(Reason::Unavailable, anyhow::anyhow!("no random numbers here: {e}")))?;
    // 0 means "no custody" on the wire.
    Ok((boot & !1).max(2))
}

/// The spool's directory.
pub fn spool_dir(config: &Config) -> PathBuf {
    config.spool_dir.clone().unwrap_or_else(default_dir)
}

/// The spool's directory where the configuration names none: systemd's state directory, else the user's.
pub fn default_dir() -> PathBuf {
    let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(dir) = var("STATE_DIRECTORY") {
        return dir.join("spool");
    }
    let state = var("XDG_STATE_HOME").or_else(|| var("HOME").map(|h| h.join(".local/state")));
    state.unwrap_or_else(|| PathBuf::from("/var/lib")).join("hueflow/spool")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_blocks_the_sender_does_not_block_the_connection() {
        let runtime = runtime().unwrap();
        runtime.block_on(async {
            let (ping, mut pings) = tokio::sync::mpsc::channel(1);
            let (pong, pongs) = sync_channel(1);
            // In place of the connection: it answers.
            tokio::spawn(async move {
                while pings.recv().await.is_some() {
                    let _ = pong.send(());
                }
            });
            for _ in 0..3 {
                ping.send(()).await.unwrap();
                // In place of fdatasync or an encoder: this thread is blocked, and nothing here is awaited.
                pongs.recv_timeout(Duration::from_secs(60)).expect("an answer while the sender is blocked");
            }
        });
    }

    #[test]
    fn a_large_spool_tells_of_each_segment_that_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let limits = || spool::Limits { segment_bytes: 1000, ..spool::Limits::of(1 << 20) };
        let mut spool = Spool::open(dir.path(), limits(), 2).unwrap();
        for _ in 0..10 {
            let payload = &[7; 600];
            let entry = spool::Entry { kind: 1, payload_version: 1, captured_at_us: 0, clock_synced: false, payload };
            spool.append(&entry).unwrap();
        }
        spool.sync().unwrap();
        drop(spool);
        let mut progress = Vec::new();
        Spool::open_with(dir.path(), limits(), 4, &mut |read, all| progress.push((read, all))).unwrap();
        assert!(progress.len() >= 5, "{progress:?}");
        assert_eq!(progress, (1..=progress.len()).map(|n| (n, progress.len())).collect::<Vec<_>>());
    }
}
