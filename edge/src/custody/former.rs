//! Sends what the spool holds of names that this device had before.
//!
//! Each former name has a thread with a sender and a connection of its own, and a line among the children; it ends when the
//! journal has all of its records, and its folder is removed then. Nothing is appended. What cannot be sent yet, because
//! the site has no bridge any more or the broker's access list forbids it, stays for the next run.

use super::{new_boot, runtime};
use crate::config::{Config, Origin};
use crate::counters::Counters;
use crate::exit::Failure;
use crate::health::{Child, Health};
use crate::send::{Send, SenderChannels};
use crate::spec::RunOptions;
use crate::spool::{self, Name, Spool, owner};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Threads and the reason to stop are looked at this often at the end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The senders of former names.
#[derive(Debug)]
pub(super) struct Former {
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

/// Starts a sender for each former name whose records the spool in `dir` holds, if there is a broker.
pub(super) fn start(config: &Config, dir: &Path, health: &Arc<Health>) -> Former {
    let stop = Arc::<AtomicBool>::default();
    let names = if config.mqtt.is_some() { owner::former(dir) } else { Vec::new() };
    let mut threads = Vec::new();
    for name in names {
        let child = health.add("former", name.to_string());
        let work = Work {
            config: renamed(config, &name),
            dir: dir.to_owned(),
            name,
            stop: Arc::clone(&stop),
            health: Arc::clone(health),
            child,
        };
        match Builder::new().name("former".into()).spawn(move || work.run()) {
            Ok(thread) => threads.push(thread),
            Err(error) => log::error!("records of a former name stay in the spool: starting thread former: {error}"),
        }
    }
    Former { threads, stop }
}

impl Former {
    /// Waits until all have ended; once `is_over` returns true, only for the last acks.
    pub(super) fn finish(self, is_over: impl Fn() -> bool) {
        while self.threads.iter().any(|thread| !thread.is_finished()) {
            self.stop.fetch_or(is_over(), Ordering::Relaxed);
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// The configuration as it would be under `name`.
fn renamed(config: &Config, name: &Name) -> Config {
    let mut config = config.clone();
    if let Some(mqtt) = &mut config.mqtt {
        (mqtt.site, mqtt.device) = (name.site.clone(), name.device.clone());
    }
    for (key, value) in [("mqtt.site", &name.site), ("mqtt.device", &name.device)] {
        config.origins.insert(key, (toml::Value::String(value.clone()), Origin::Default));
    }
    config
}

/// One former name's.
struct Work {
    config: Config,
    dir: PathBuf,
    name: Name,
    stop: Arc<AtomicBool>,
    health: Arc<Health>,
    child: Arc<Child>,
}

impl Work {
    fn run(self) {
        let end = self.send();
        match &end {
            Ok(true) => log::info!("the journal has all records of the former name {}", self.name),
            Ok(false) => log::info!("records of the former name {} stay in the spool", self.name),
            Err(failure) => log::error!("records of the former name {} stay in the spool: {failure}", self.name),
        }
        self.child.ended(end.err().map(|failure| failure.to_string()).as_deref());
    }

    /// Sends. True: nothing is left.
    fn send(&self) -> Result<bool, Failure> {
        let limits = spool::Limits::of(self.config.spool_bytes_max);
        let spool = Spool::open(&owner::former_dir(&self.dir, &self.name), limits, new_boot()?)?;
        // Neither frames nor commands come.
        let (_, parcels) = tokio::sync::mpsc::channel(1);
        let (empties, _) = sync_channel(1);
        let (commands, _) = sync_channel(1);
        let channels = SenderChannels {
            parcels,
            empties,
            commands,
            outcomes: Arc::default(),
            clock: Arc::default(),
            stop: Arc::clone(&self.stop),
            failed: Arc::default(),
            closed: Arc::new(AtomicBool::new(true)),
            counters: Arc::<Counters>::default(),
            health: Arc::clone(&self.health),
            child: Arc::clone(&self.child),
        };
        let options = RunOptions { drain: true, drain_only: true, ..RunOptions::default() };
        let sender = Send::new(&self.config, options, spool, channels).as_former();
        self.child.running();
        runtime()?.block_on(sender.run(self.config.mqtt.as_ref()))?;
        Ok(owner::forget_former(&self.dir, &self.name)?)
    }
}
