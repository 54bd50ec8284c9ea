//! `hueflow-metrics`: the journal as rows, and what people look at: page, diagrams, ledger.
//!
//! [`run`] fills the store from the journal and serves the page until a signal comes. [`ingest`] reads the journal,
//! [`store`] keeps rows and accounts, [`http`] serves the page in `ui/`, [`silhouette`] computes scores and diagrams, and
//! [`commands`] are the program's other commands.

pub mod commands;
pub mod export;
pub mod http;
pub mod ingest;
pub mod silhouette;
pub mod store;
pub mod what_if;

use crate::config::{MetricsConfig, StoreConfig};
use crate::failure::{self, Failure};
use crate::journal;
use crate::mqtt::commander::Commander;
use crate::signals::stop_signal;
use http::live::Live;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::owner::NotOwned;
use store::reader::Reader;
use store::url::StoreUrl;
use store::{Store, StoreError, StoreEvent};
use tokio::sync::watch;

/// Fills the store and shows the page until a signal comes. With the named pipe `outages` the page can take services away, as in
/// the demo.
///
/// # Errors
/// [`Failure`].
pub fn run(config: MetricsConfig, outages: Option<PathBuf>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Failure::io("runtime", e))?;
    let result = runtime.block_on(serve(config, outages));
    runtime.shutdown_timeout(Duration::from_secs(3));
    result
}

async fn serve(config: MetricsConfig, outages: Option<PathBuf>) -> Result<(), Failure> {
    let signal = stop_signal()?;
    journal::check_folder(&config.journal)?;
    let (end, stop) = watch::channel(false);
    let live = Arc::new(Live::default());
    // The address first, the store last: a program that cannot start must not disturb the one that runs.
    let listener = http::bind(config.listen).await?;
    let address = listener.local_addr().map_err(|e| Failure::io("web.listen", e))?;
    let (store, reader) = tokio::task::spawn_blocking({
        let (config, live) = (config.store.clone(), live.clone());
        move || open(&config, &live)
    })
    .await
    .map_err(|e| Failure::Io(e.to_string()))??;
    println!("http://{address}/");
    let _ = std::io::stdout().flush();
    eprintln!("http://{address}/");
    let filling = live.clone();
    let (gate, hosts) = (config.gate.clone(), config.hosts.clone());
    let access = http::Access { gate, hosts, colours_max: config.colours_max, outages };
    let commander = commander(&config, &live)?;
    let stopped = stop.clone();
    let mut filler = tokio::task::spawn_blocking(move || ingest::fill(&config, store, &filling, &stopped));
    let page = http::serve(listener, access, reader, live, commander, stop);
    let mut page = std::pin::pin!(page);
    let (mut signal, mut ended) = (signal, None);
    let result = tokio::select! {
        _ = signal.wait_for(|s| *s) => Ok(()),
        page = &mut page => page,
        filled = &mut filler => {
            ended = Some(());
            filled.unwrap_or_else(|e| Err(Failure::Io(e.to_string())))
        }
    };
    let _ = end.send(true);
    if ended.is_none() {
        let _ = tokio::time::timeout(Duration::from_secs(3), filler).await;
    }
    result
}

/// The connection by which commands go, if there is a broker for them. Health has what is known of broker and bridge.
fn commander(config: &MetricsConfig, live: &Arc<Live>) -> Result<Option<Commander>, Failure> {
    let Some(mqtt) = &config.mqtt else { return Ok(None) };
    let commander = Commander::start(&mqtt.url, &mqtt.site).map_err(Failure::Config)?;
    let (mut link, live) = (commander.link(), live.clone());
    tokio::spawn(async move {
        while link.changed().await.is_ok() {
            let now = link.borrow_and_update().clone().unwrap_or_default();
            live.set_health(|h| (h.broker, h.bridge) = (now.broker, now.bridge));
        }
    });
    Ok(Some(commander))
}

/// Opens the store and shows what it holds.
fn open(config: &StoreConfig, live: &Live) -> Result<(Store, Box<dyn Reader>), Failure> {
    let failed = |e| match e {
        StoreError::NotOwned(NotOwned::Held { .. }) | StoreError::Postgres(_) => {
            Failure::Unavailable(format!("{}: {e}", config.url))
        }
        e => Failure::io(&config.url.to_string(), e),
    };
    if let StoreUrl::Sqlite(file) = &config.url {
        failure::check_folder("store.file", file, "--store")?;
    }
    let mut store = Store::open(config).map_err(failed)?;
    live.set_ledger(store.ledger().map_err(failed)?);
    let reader = store::open_reader(config).map_err(failed)?;
    seed(live, reader.as_ref()).map_err(failed)?;
    Ok((store, reader))
}

/// Shows each device's last state, report and events from the store, so that older ones that are read now do not take its place.
fn seed(live: &Live, reader: &dyn Reader) -> Result<(), StoreError> {
    for known in reader.devices()? {
        live.seed_state(&known.device, known.state.clone(), known.status.as_deref());
        if let Some((order, report)) = reader.latest(&known.device)? {
            live.seed(order, report);
        }
        for event in reader.latest_events(&known.device)? {
            live.take(StoreEvent::Event(event));
        }
    }
    Ok(())
}
