//! A benchmark of the store: how many records a second it takes, how many bytes a row has, and how long the page's queries take.
//!
//! `cargo run --release --example ingest -- [postgres://URL] [RECORDS] [DEVICES] [bytes_max]` writes to a new store in that database,
//! or in the current folder's `ingest-bench/`, which it makes and removes. Batches are as `hueflow-metrics` reads them, as JSON
//! with 17 colours. Decoding, folding, writing, syncing and retention are all measured; the journal is not. A second thread
//! asks what the page asks, all the time, of a store that is being written. It prints a line, and one for each query.
//! Capture times begin six hours ago; `25920000 10` is a day of ten cameras at 30 frames a second.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on has failed")]

use firmware::custody::{Envelope, Kind};
use firmware::wire::{Method, Micros, Payload, Refine, Report, Swatch};
use hueflow_bridge::config::StoreConfig;
use hueflow_bridge::journal::{Batch, Record};
use hueflow_bridge::metrics::store::history::history;
use hueflow_bridge::metrics::store::reader::Reader;
use hueflow_bridge::metrics::store::{Store, open_reader};
use hueflow_bridge::relay::verdict::{ValueFormat, Verdict, judge, seal};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Records in a batch, as ingest reads them.
const BATCH: u64 = 4_096;

fn report(frame: u64) -> Report {
    let palette = (0..17u16).map(|i| Swatch {
        id: u32::from(i) + frame as u32 / 100,
        rgb_q6: [900 * i, 16_000 - 700 * i, 333 * i + (frame % 97) as u16],
        pixels: if i < 16 { 5_000 + frame as u32 % 1_000 } else { 16_000 - 16 * (frame as u32 % 1_000) },
    });
    Report {
        frame,
        dropped: 0,
        width: 400,
        height: 240,
        method: Method::Octree,
        lambda_q6: 3_200,
        coreset_size: 1_000,
        w_open: 19,
        refine: Refine::Cover,
        seed: 1,
        warm: true,
        coreset_points: 990,
        scatter_q12: Some(123_456 + frame),
        iterations: 5,
        converged: true,
        sweeps: 2,
        saturated: false,
        beyond_px: Some(200),
        missed: Some(0),
        sse_q12: 96_000 * 4_096 + 12_345 * frame,
        max_distance2_q12: 4_096 * 2_000,
        births: Default::default(),
        deaths: Default::default(),
        regions: Default::default(),
        colorimetry: Default::default(),
        silhouette_ppm: Some(400_000),
        micros: Micros { coreset: 1_500, cluster: 900, label: 2_100, total: 4_700 },
        palette: palette.collect(),
    }
}

/// Microseconds from a report of a device to its next one: 30 a second.
const FRAME_US: u64 = 33_333;
const HOUR_MS: u64 = 3_600_000;
const REPORTED: &str = "the bench's own query fails";

fn batch(from: u64, devices: u64, begin_us: u64) -> Batch {
    let record = |i: u64| {
        let (device, seq) = (i % devices, i / devices);
        let envelope = Envelope {
            kind: Kind::Report as u8,
            payload_version: Report::VERSION,
            clock_synced: true,
            stream: 8,
            seq,
            captured_at_us: begin_us + seq * FRAME_US,
        };
        let bytes = seal(&envelope, &report(seq), &[]).unwrap();
        let topic = format!("hueflow/home/device-{device}/metrics");
        let Verdict::Keep { entry, .. } = judge(&topic, &bytes, 1, ValueFormat::Json) else {
            return None;
        };
        assert!(!entry.dead, "the bench's own report is refused");
        Some(Record { place: "metrics".to_owned(), partition: 0, offset: i as i64, entry })
    };
    Batch { records: (from..from + BATCH).filter_map(record).collect(), restarted: Vec::new() }
}

/// Times of one query, in milliseconds.
struct Times(&'static str, Vec<f64>);

impl Times {
    fn print(mut self) {
        self.1.sort_by(f64::total_cmp);
        let at =
            |share: f64| self.1.get((self.1.len() as f64 * share) as usize).or(self.1.last()).copied().unwrap_or(0.0);
        println!(
            "{:>24}: {:6} times, median {:.1}, p99 {:.1}, longest {:.1} ms",
            self.0,
            self.1.len(),
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
}

/// Asks what the page asks until it is stopped, ten rounds a second. `at_ms`: the capture time of the newest report.
fn ask(config: &StoreConfig, devices: u64, at_ms: &AtomicU64, stop: &AtomicBool) -> Vec<Times> {
    type Query = fn(&dyn Reader, &str, u64);
    let queries: [(&str, Query); 6] = [
        ("last report", |r, device, _| drop(r.latest(device).expect(REPORTED))),
        ("last 300 reports", |r, device, _| drop(r.points(device, 300).expect(REPORTED))),
        ("10 minutes of history", |r, device, at| {
            drop(history(r, device, (at.saturating_sub(HOUR_MS / 6), at), 600).expect(REPORTED));
        }),
        ("an hour of history", |r, device, at| {
            drop(history(r, device, (at.saturating_sub(HOUR_MS), at), 600).expect(REPORTED));
        }),
        ("a day of history", |r, device, at| {
            drop(history(r, device, (at.saturating_sub(24 * HOUR_MS), at), 600).expect(REPORTED));
        }),
        ("ledger's accounts", |r, _, _| drop(r.accounts().expect(REPORTED))),
    ];
    let reader = open_reader(config).expect(REPORTED);
    let mut times: Vec<Times> = queries.iter().map(|(name, _)| Times(name, Vec::new())).collect();
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let device = format!("device-{}", round % devices);
        for ((_, query), times) in queries.iter().zip(&mut times) {
            let start = Instant::now();
            query(reader.as_ref(), &device, at_ms.load(Ordering::Relaxed));
            times.1.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(reader.points("device-0", 1).expect(REPORTED).len() == 1, "the queries have asked for what is not there");
    times
}

/// This process's highest resident memory, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let url = arguments.iter().position(|a| a.contains("://")).map(|i| arguments.remove(i));
    let mut numbers = arguments.iter().map(|a| a.parse::<u64>().unwrap());
    let (records, devices) = (numbers.next().unwrap_or(400_000), numbers.next().unwrap_or(10));
    let bytes_max = numbers.next().unwrap_or(2 << 30);
    let dir = std::path::Path::new("ingest-bench");
    std::fs::create_dir_all(dir).unwrap();
    let file = dir.join("store.db");
    let mut config =
        StoreConfig { keep_days: 7, keep_minutes_days: 30, bytes_max, ..StoreConfig::of_file(file.clone()) };
    if let Some(url) = &url {
        config.url = url.parse().unwrap();
    }
    let mut store = Store::open(&config).unwrap();
    store.begin("bench").unwrap();
    store.claim(&[("metrics".to_owned(), 0)]).unwrap();
    let (mut applied, mut maintained) = (Duration::ZERO, Duration::ZERO);
    let (mut slowest_batch, mut slowest_slice) = (Duration::ZERO, Duration::ZERO);
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let begin_us = now_us - 6 * HOUR_MS * 1_000;
    let (at_ms, stop) = (&AtomicU64::new(begin_us / 1_000), &AtomicBool::new(false));
    let mut at = 0;
    let times = std::thread::scope(|scope| {
        let asked = scope.spawn(|| ask(&config, devices, at_ms, stop));
        while at < records {
            let batch = batch(at, devices, begin_us);
            at += BATCH;
            at_ms.store((begin_us + at / devices * FRAME_US) / 1_000, Ordering::Relaxed);
            let start = Instant::now();
            store.apply(&batch).unwrap();
            let took = start.elapsed();
            (applied, slowest_batch) = (applied + took, slowest_batch.max(took));
            let start = Instant::now();
            store.maintain().unwrap();
            let took = start.elapsed();
            (maintained, slowest_slice) = (maintained + took, slowest_slice.max(took));
        }
        stop.store(true, Ordering::Relaxed);
        asked.join().unwrap()
    });
    drop(store);
    let bytes = match &url {
        Some(url) => {
            let mut client = postgres::Client::connect(url, postgres::NoTls).unwrap();
            let sql =
                "SELECT sum(pg_total_relation_size(oid))::BIGINT FROM pg_class WHERE relname ~ '^report_rows_[0-9]+$'";
            client.query_one(sql, &[]).unwrap().get::<_, i64>(0) as u64
        }
        None => std::fs::metadata(&file).unwrap().len(),
    };
    std::fs::remove_dir_all(dir).unwrap();
    println!(
        "{at} records of {devices} devices: {:.0} records/s; slowest batch {} ms, slowest slice of retention {} ms; {} bytes of \
         reports, {:.0} for each that was written; {} MiB resident at most",
        at as f64 / (applied + maintained).as_secs_f64(),
        slowest_batch.as_millis(),
        slowest_slice.as_millis(),
        bytes,
        bytes as f64 / at as f64,
        peak_mib()
    );
    times.into_iter().for_each(Times::print);
}
