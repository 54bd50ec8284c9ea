//! `hueflow-bridge`: records from MQTT into the journal, acknowledged only when the journal has them.
//!
//! [`run`] puts the program together: broker, journal, relay and endpoint, until SIGINT or SIGTERM. A broker or a journal
//! that is away is logged once and tried again without end. [`dlq`] lists and replays dead letters.

mod acks;
#[cfg(feature = "embedded-broker")]
pub mod broker;
pub mod dlq;
pub mod endpoint;
pub mod forward;
pub mod mqtt;
pub mod stats;
pub mod verdict;

use crate::config::{BridgeConfig, Broker};
use crate::failure::Failure;
use crate::journal::{self, Journal};
use crate::signals::stop_signal;
use forward::Relay;
use mqtt::{Mqtt, Wire};
use stats::Stats;
use std::sync::Arc;
use std::time::Duration;

/// How often the journal is asked whether it answers.
const PROBE: Duration = Duration::from_secs(2);
/// How long it may take to.
const PROBE_ANSWER: Duration = Duration::from_secs(4);
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Different reasons that are logged until it answers; each once.
const LOGGED_MAX: usize = 8;

/// Relays until a signal comes.
///
/// # Errors
/// [`Failure`]: no runtime, no embedded broker, or a journal's client that has failed for good.
pub fn run(config: BridgeConfig, standby: bool) -> Result<(), Failure> {
    // One thread: each delivery would wake another one twice, which costs more than the work itself. Kafka's client and the
    // local journal have threads of their own.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| Failure::io("runtime", e))?;
    let result = runtime.block_on(relay(config, standby));
    // A blocking question to a cluster that is away must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(500));
    result
}

async fn relay(config: BridgeConfig, standby: bool) -> Result<(), Failure> {
    let mut stop = stop_signal()?;
    journal::check_folder(&config.journal)?;
    let stats = Arc::new(Stats::default());
    if let Some(listen) = config.listen {
        let (address, _) = endpoint::start(listen, stats.clone(), stop.clone()).await?;
        eprintln!("http://{address}/");
    }
    let url = match &config.broker {
        Broker::Remote(url) => url.clone(),
        Broker::Embedded(port) => embedded(*port)?,
    };
    if standby {
        tokio::select! {
            absent = mqtt::wait_for_absence(&url, &config.site, None) => absent?,
            _ = stop.wait_for(|s| *s) => return Ok(()),
        }
    }
    let (mqtt, mut queues) = Mqtt::start(&url, &config.site, standby, &stats)?;
    let mqtt = Arc::new(mqtt);
    let opened = tokio::select! {
        journal = open(&config) => Some(journal),
        _ = stop.wait_for(|s| *s) => None,
    };
    let mut result = Ok(());
    if let Some(journal) = opened {
        log::info!("journal {} ({})", config.journal.url, journal.id());
        let prober = tokio::spawn(probe(journal.clone(), mqtt.clone(), stats.clone()));
        let relay = Relay::new(journal, mqtt.clone(), config.format).watched(stats);
        result = relay.run(&mut queues, stop).await.map(|c| {
            log::info!(
                "relayed {} records, {} windows, {} pictures ({} skipped), {} dead letters; {} acks",
                c.records,
                c.windows,
                c.pictures,
                c.pictures_skipped,
                c.dead,
                c.acks
            );
        });
        prober.abort();
        let _ = prober.await;
    }
    // Read on, so that the last status is not stuck behind deliveries.
    tokio::spawn(async move { while queues.inbound.recv().await.is_some() {} });
    if let Some(mqtt) = Arc::into_inner(mqtt) {
        mqtt.stop().await;
    }
    result
}

/// Opens the journal, however long it takes.
async fn open(config: &BridgeConfig) -> Arc<dyn Journal> {
    // Each reason is logged once.
    let (mut wait, mut logged) = (RETRY_MIN, Vec::new());
    loop {
        let journal = config.journal.clone();
        let opened = tokio::task::spawn_blocking(move || journal::open(&journal)).await;
        match opened {
            Ok(Ok(journal)) => return journal,
            Ok(Err(e)) => {
                let e = e.to_string();
                if logged.len() < LOGGED_MAX && !logged.contains(&e) {
                    log::warn!("{e}; trying again until it answers");
                    logged.push(e);
                }
            }
            Err(e) => log::error!("{e}"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

/// Keeps saying whether the journal answers.
async fn probe(journal: Arc<dyn Journal>, wire: Arc<dyn Wire>, stats: Arc<Stats>) {
    let mut last = None;
    loop {
        let asked = journal.clone();
        let reachable = tokio::task::spawn_blocking(move || asked.reachable(PROBE_ANSWER)).await.unwrap_or(false);
        stats.journal(reachable);
        if last != Some(reachable) {
            match (last, reachable) {
                (Some(_), true) => log::info!("the journal answers again"),
                (_, false) => log::warn!("the journal does not answer; records wait at the edges"),
                (None, true) => {}
            }
            wire.journal(reachable);
            last = Some(reachable);
        }
        tokio::time::sleep(PROBE).await;
    }
}

#[cfg(feature = "embedded-broker")]
fn embedded(port: u16) -> Result<crate::settings::Url, Failure> {
    let port = crate::relay::broker::start(port)?;
    eprintln!("mqtt://127.0.0.1:{port}");
    Ok(crate::settings::Url { host: "127.0.0.1".to_owned(), port, login: None, tls: None })
}

#[cfg(not(feature = "embedded-broker"))]
fn embedded(_: u16) -> Result<crate::settings::Url, Failure> {
    Err(Failure::Config("mqtt.url: this build has no embedded broker".to_owned()))
}
