//! Metrics: `hueflow-metrics run`, `silhouette` and `ledger`, put together.
//!
//! Takes a checked configuration. Gives a filled store and a page until a signal comes, or one answer.
//! Touches the journal, the store, the page's socket and standard output.
//! Never counts anything itself: that is the store's and the ledger's.

use crate::bridge::stop_signal;
use crate::census::{self, Colours};
use crate::cli::SilhouetteFlags;
use crate::config::MetricsConfig;
use crate::failure::Failure;
use crate::journal::{self, Batch};
use crate::ledger;
use crate::live::Live;
use crate::picture::read_png;
use crate::query::{CensusMissing, Query};
use crate::store::{Store, StoreError};
use crate::{plot, silhouette, web};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Records in one transaction of the store.
const BATCH_MAX: usize = 512;
/// How long the reader waits for records.
const WAIT: Duration = Duration::from_millis(250);
/// How often the ledger is told.
const LEDGER: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(2);

/// Fills the store and shows the page until a signal comes.
///
/// # Errors
/// [`Failure`].
pub fn run(config: MetricsConfig) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Failure::io("runtime", e))?;
    let result = runtime.block_on(serve(config));
    runtime.shutdown_timeout(Duration::from_secs(3));
    result
}

async fn serve(config: MetricsConfig) -> Result<(), Failure> {
    let signal = stop_signal()?;
    let (end, stop) = watch::channel(false);
    let live = Arc::new(Live::default());
    let store = Store::open(&config.store).map_err(|e| Failure::io(&config.store.file.display().to_string(), e))?;
    live.set_ledger(ledger::lines(store.accounts()));
    let (filling, file, listen, gate) = (live.clone(), config.store.file.clone(), config.listen, config.gate.clone());
    let stopped = stop.clone();
    let mut filler = tokio::task::spawn_blocking(move || fill(&config, store, &filling, &stopped));
    let page = web::serve(listen, gate, file, live, stop, |address| {
        println!("http://{address}/");
        let _ = std::io::stdout().flush();
        eprintln!("http://{address}/");
    });
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

/// Reads the journal into the store until told to stop. Blocks.
fn fill(config: &MetricsConfig, mut store: Store, live: &Live, stop: &watch::Receiver<bool>) -> Result<(), Failure> {
    let (mut said, mut told) = (false, Instant::now());
    while !*stop.borrow() {
        let opened = journal::open(&config.journal, false).and_then(|journal| {
            let from = store.begin(&journal.id()).map_err(|e| Failure::io("store", e))?;
            let reader = journal.reader(&from).map_err(|e| Failure::Unavailable(e.to_string()))?;
            Ok((journal, reader))
        });
        let (journal, mut reader) = match opened {
            Ok(opened) => opened,
            Err(e @ Failure::Unavailable(_)) => {
                if !std::mem::replace(&mut said, true) {
                    log::warn!("{e}; trying again until it answers");
                }
                pause(RETRY, stop);
                continue;
            }
            Err(e) => return Err(e),
        };
        log::info!("journal {} ({})", config.journal.url, journal.id());
        said = false;
        while !*stop.borrow() {
            match reader.read(BATCH_MAX, WAIT) {
                Ok(batch) => {
                    if !batch.records.is_empty() && std::mem::replace(&mut said, false) {
                        log::info!("the journal answers again");
                    }
                    put(&mut store, &batch, live, stop)?;
                }
                Err(journal::JournalError::Fatal(e)) => {
                    log::warn!("journal: {e}; opening it again");
                    break;
                }
                Err(e) => {
                    if !std::mem::replace(&mut said, true) {
                        log::warn!("{e}");
                    }
                    pause(WAIT, stop);
                }
            }
            if told.elapsed() >= LEDGER {
                live.set_ledger(ledger::lines(store.accounts()));
                told = Instant::now();
            }
        }
    }
    live.set_ledger(ledger::lines(store.accounts()));
    Ok(())
}

/// Stores a batch, however often that must be tried.
fn put(store: &mut Store, batch: &Batch, live: &Live, stop: &watch::Receiver<bool>) -> Result<(), Failure> {
    let mut said = false;
    loop {
        match store.apply(batch) {
            Ok(happened) => {
                happened.into_iter().for_each(|h| live.take(h));
                return Ok(());
            }
            Err(e @ StoreError::Taken) => return Err(Failure::Unavailable(e.to_string())),
            Err(e) if *stop.borrow() => return Err(Failure::Io(e.to_string())),
            Err(e) => {
                if !std::mem::replace(&mut said, true) {
                    log::error!("{e}; trying again until the disk takes it");
                }
                pause(RETRY, stop);
            }
        }
    }
}

fn pause(time: Duration, stop: &watch::Receiver<bool>) {
    let until = Instant::now() + time;
    while Instant::now() < until && !*stop.borrow() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Opens a store that must exist.
fn query(file: &Path) -> Result<Query, Failure> {
    if !file.exists() {
        return Err(Failure::NoInput(format!("store.file: {}: there is no such store", file.display())));
    }
    Query::open(file).map_err(|e| Failure::NoInput(format!("{}: {e}", file.display())))
}

/// Prints the ledger.
///
/// # Errors
/// [`Failure::NoInput`] if there is no store.
pub fn ledger(config: &MetricsConfig, json: bool) -> Result<(), Failure> {
    let accounts = query(&config.store.file)?.accounts();
    let accounts = accounts.map_err(|e| Failure::NoInput(format!("{}: {e}", config.store.file.display())))?;
    let mut out = std::io::stdout().lock();
    for line in ledger::lines(&accounts) {
        let text = if json { serde_json::to_string(&line).unwrap_or_default() } else { line.to_string() };
        if writeln!(out, "{text}").is_err() {
            break; // Whoever reads has seen enough.
        }
    }
    Ok(())
}

/// The exact silhouette of a frame, and its diagram.
///
/// # Errors
/// [`Failure::NoInput`] if there is nothing to compute it from, or it is not defined.
pub fn silhouette(config: &MetricsConfig, flags: &SilhouetteFlags) -> Result<(), Failure> {
    let (colours, title) = match (&flags.image, &flags.labels, &flags.device) {
        (Some(image), Some(labels), _) => (from_files(image, labels)?, image.display().to_string()),
        (_, _, Some(device)) => {
            let colours = from_census(&query(&config.store.file)?, device, flags.seq)
                .map_err(|e| Failure::NoInput(e.to_string()))?;
            let title = format!("{device}, frame {}", colours.frame);
            (colours, title)
        }
        _ => return Err(Failure::Usage("name --device, or --image and --labels".to_owned())),
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let s = silhouette::exact(&colours.samples, threads).map_err(|e| Failure::NoInput(format!("{title}: {e}")))?;
    if let Some(out) = &flags.out {
        let bytes = match out.extension().and_then(|e| e.to_str()) {
            Some("svg") => plot::knife_svg(&colours.samples, &s, &colours.palette, &title).into_bytes(),
            Some("png") => plot::knife_png(&colours.samples, &s, &colours.palette, &title)
                .map_err(|e| Failure::io(&out.display().to_string(), e))?,
            _ => return Err(Failure::Usage(format!("--out: `{}` must end in .svg or .png", out.display()))),
        };
        std::fs::write(out, bytes).map_err(|e| Failure::io(&out.display().to_string(), e))?;
    }
    let text = if flags.json {
        serde_json::to_string(&web::SilhouetteJson::new(&colours, &s, None)).unwrap_or_default()
    } else {
        let clusters =
            s.clusters.iter().map(|c| format!("\n  cluster {:3}: {:8} pixels, mean {:+.6}", c.label, c.pixels, c.mean));
        format!("{title}: silhouette {:.6} over {} pixels{}", s.score, s.pixels, clusters.collect::<String>())
    };
    let _ = writeln!(std::io::stdout(), "{text}"); // Whoever reads may have seen enough.
    Ok(())
}

fn from_files(image: &Path, labels: &Path) -> Result<Colours, Failure> {
    let (w, h, rgb) = read_png(image, false).map_err(Failure::NoInput)?;
    let (lw, lh, grey) = read_png(labels, true).map_err(Failure::NoInput)?;
    if (w, h) != (lw, lh) {
        return Err(Failure::NoInput(format!(
            "the picture is {w}x{h}, its labels are {lw}x{lh}: they must be of one size"
        )));
    }
    Ok(census::from_picture(&rgb, &grey))
}

fn from_census(query: &Query, device: &str, seq: Option<u64>) -> Result<Colours, CensusMissing> {
    let key = match seq {
        Some(seq) => query.census_of(device, seq)?,
        None => query.latest_census(device)?,
    };
    query.census(&key)
}
