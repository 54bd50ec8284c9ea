//! Live: the three threads See, Show and Send, started, joined, and what they say at the end.
//!
//! Takes a checked configuration. Gives when the stream has ended, cleanly or not.
//! Touches signals.
//! Never an unbounded queue: a slot of one picture to Show, `PARCELS_MAX` parcels to Send, `COMMANDS_MAX` commands back.

use crate::command::COMMANDS_MAX;
use crate::config::Config;
use crate::exit::{Failure, Reason};
use crate::parcel::{PARCELS_MAX, Parcel};
use crate::see::{See, open_camera};
use crate::send::{Hatch, Send};
use crate::slot::Slot;
use crate::spool::{self, Spool};
use crate::{service, show};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

/// When to end and what to say.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Frames after which to end.
    pub frames: Option<u64>,
    /// At the end, wait until the journal has everything.
    pub drain: bool,
    /// Only warnings and errors.
    pub quiet: bool,
    /// Log every frame.
    pub log_frames: bool,
}

/// What is counted, by whoever does it, for the status line and the summary.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames clustered.
    pub frames: AtomicU64,
    /// Frames whose records were refused because the disk, or the space for loss records, was full.
    pub refused: AtomicU64,
    /// Records that a full spool gave up, each named by a loss record.
    pub evicted: AtomicU64,
    /// Loss records.
    pub losses: AtomicU64,
    /// Frames that the camera lost.
    pub lost: AtomicU64,
    /// Frames that came late.
    pub late: AtomicU64,
    /// Frames that had more colours than clusters are possible.
    pub saturated: AtomicU64,
    /// Frames with a colour that the palette misses.
    pub missing: AtomicU64,
    /// Records not yet acknowledged by the journal.
    pub held: AtomicU64,
    /// Records found damaged on the disk.
    pub damaged: AtomicU64,
    /// Pictures published without custody.
    pub pictures_sent: AtomicU64,
    /// Pictures that could not leave at once and were dropped.
    pub pictures_unsent: AtomicU64,
    /// The broker is connected.
    pub connected: AtomicBool,
}

/// Runs the stream to its end.
///
/// # Errors
/// [`Failure`] of the source, the displays or the spool.
pub fn run(config: Config, limits: Limits) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    listen(&stop)?;
    let camera = open_camera(&config, &stop)?;
    let spool = open_spool(&config)?;
    let (config, slot, counters) = (Arc::new(config), Arc::new(Slot::default()), Arc::new(Counters::default()));
    let (plan, shows) = start_show(&config, &slot, &stop)?;

    let (parcels_in, parcels) = tokio::sync::mpsc::channel(PARCELS_MAX);
    // As many places as there are parcels: a channel without a bound takes memory as it goes.
    let (empties, empties_out) = sync_channel(PARCELS_MAX);
    for _ in 0..PARCELS_MAX {
        let _ = empties.send(Box::<Parcel>::default());
    }
    let (commands, commands_out) = sync_channel(COMMANDS_MAX);
    let failed = Arc::new(AtomicBool::new(false));
    let hatch = Hatch {
        parcels,
        empties,
        commands,
        stop: Arc::clone(&stop),
        failed: Arc::clone(&failed),
        counters: Arc::clone(&counters),
    };
    let sends = start_send(&config, Send::new(&config, limits, spool, hatch))?;

    let started = Instant::now();
    let own_line = std::io::stderr().is_terminal() && !plan.fills_terminal;
    let see = See {
        config: &config,
        limits,
        plan,
        slot: &slot,
        parcels: parcels_in,
        empties: empties_out,
        commands: commands_out,
        stop: &stop,
        counters: &counters,
        status_line: own_line && !limits.quiet && !limits.log_frames,
    };
    service::ready();
    let seen = see.run(camera);
    service::stopping();
    let took = started.elapsed().as_secs_f64();
    failed.store(seen.is_err(), Ordering::Relaxed);
    slot.close();
    let shown = join(shows, "show");
    let sent = join(sends, "send");
    summary(&counters, &slot, took);
    if stop.load(Ordering::Relaxed) {
        log::info!("stream interrupted");
    }
    sent.and(seen).and(shown)
}

/// Sets `stop` on SIGINT and SIGTERM; the second one ends the program at once.
fn listen(stop: &Arc<AtomicBool>) -> Result<(), Failure> {
    let signalled = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&signalled))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&signalled)))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(stop)))
            .map_err(|e| Failure::io("listening for signals", e))?;
    }
    Ok(())
}

type Thread = JoinHandle<Result<(), Failure>>;

/// Starts Show, and waits until the displays are open.
fn start_show(config: &Arc<Config>, slot: &Arc<Slot>, stop: &Arc<AtomicBool>) -> Result<(show::Plan, Thread), Failure> {
    let (opened, plan) = sync_channel(1);
    let (config, slot, stop) = (Arc::clone(config), Arc::clone(slot), Arc::clone(stop));
    let shows = thread("show", move || show::run(&config, &slot, &stop, &opened))?;
    let plan = plan.recv().map_err(|_| lost("show"))??;
    Ok((plan, shows))
}

fn start_send(config: &Arc<Config>, send: Send) -> Result<Thread, Failure> {
    let config = Arc::clone(config);
    thread("send", move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Failure::io("starting the sender", e))?;
        runtime.block_on(send.run(config.mqtt.as_ref()))
    })
}

fn thread<F>(name: &str, run: F) -> Result<Thread, Failure>
where
    F: FnOnce() -> Result<(), Failure> + std::marker::Send + 'static,
{
    Builder::new().name(name.into()).spawn(run).map_err(|e| Failure::io(format!("starting thread {name}"), e))
}

fn lost(name: &str) -> Failure {
    Failure::new(Reason::Io, anyhow::anyhow!("thread {name} has ended without a word; this is a bug"))
}

fn join(thread: Thread, name: &str) -> Result<(), Failure> {
    thread.join().unwrap_or_else(|_| Err(lost(name)))
}

fn open_spool(config: &Config) -> Result<Spool, Failure> {
    use rand::TryRng;
    let dir = config.spool_dir.clone().unwrap_or_else(default_dir);
    let boot = rand::rngs::SysRng.try_next_u64();
    let boot = boot.map_err(|e| Failure::new(Reason::Unavailable, anyhow::anyhow!("no random numbers here: {e}")))?;
    let limits = spool::Limits::of(config.spool_bytes_max);
    // 0 means "no custody" on the wire.
    Ok(Spool::open(&dir, limits, (boot & !1).max(2))?)
}

/// systemd's state directory, else the user's.
pub fn default_dir() -> PathBuf {
    let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(dir) = var("STATE_DIRECTORY") {
        return dir.join("spool");
    }
    let state = var("XDG_STATE_HOME").or_else(|| var("HOME").map(|h| h.join(".local/state")));
    state.unwrap_or_else(|| PathBuf::from("/var/lib")).join("hueflow/spool")
}

fn summary(c: &Counters, slot: &Slot, took: f64) {
    let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
    let frames = get(&c.frames);
    let (given, skipped) = slot.counts();
    log::info!(
        "{frames} frames in {took:.1} s ({:.1} fps), {} lost by the camera, {} refused, {} late, {} saturated, {} with missed colours; \
         pictures: {given} made for display, {skipped} skipped, {} sent, {} not sent; records: {} held, {} evicted, {} damaged, \
         {} loss records",
        frames as f64 / took.max(1e-9),
        get(&c.lost),
        get(&c.refused),
        get(&c.late),
        get(&c.saturated),
        get(&c.missing),
        get(&c.pictures_sent),
        get(&c.pictures_unsent),
        get(&c.held),
        get(&c.evicted),
        get(&c.damaged),
        get(&c.losses),
    );
}
