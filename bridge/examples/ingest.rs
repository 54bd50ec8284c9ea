//! A benchmark of the store: how many records a second it takes, and how many bytes a row has.
//!
//! `cargo run --release --example ingest -- [postgres://URL] [RECORDS] [DEVICES] [bytes_max]` writes to a new store in that database,
//! or in the current folder's `ingest-bench/`, which it makes and removes. Batches are as `hueflow-metrics` reads them, as JSON with 17 colours. Decoding,
//! folding, writing, syncing and retention are all measured; the journal is not. It prints one line.
#![allow(clippy::unwrap_used)]

use firmware::custody::{Envelope, Kind};
use firmware::wire::{Method, Micros, Payload, Refine, Report, Swatch};
use hueflow_bridge::config::StoreConfig;
use hueflow_bridge::journal::{Batch, Record};
use hueflow_bridge::metrics::store::Store;
use hueflow_bridge::relay::verdict::{ValueFormat, Verdict, judge, seal};
use std::time::{Duration, Instant};

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
        silhouette_ppm: Some(400_000),
        micros: Micros { coreset: 1_500, cluster: 900, label: 2_100, total: 4_700 },
        palette: palette.collect(),
    }
}

fn batch(from: u64, devices: u64) -> Batch {
    let record = |i: u64| {
        let (device, seq) = (i % devices, i / devices);
        let envelope = Envelope {
            kind: Kind::Report as u8,
            payload_version: Report::VERSION,
            clock_synced: true,
            stream: 8,
            seq,
            captured_at_us: 1_790_000_000_000_000 + seq * 33_333,
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
    let mut at = 0;
    while at < records {
        let batch = batch(at, devices);
        at += BATCH;
        let start = Instant::now();
        store.apply(&batch).unwrap();
        let took = start.elapsed();
        (applied, slowest_batch) = (applied + took, slowest_batch.max(took));
        let start = Instant::now();
        store.maintain().unwrap();
        let took = start.elapsed();
        (maintained, slowest_slice) = (maintained + took, slowest_slice.max(took));
    }
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
         reports, {:.0} a record",
        at as f64 / (applied + maintained).as_secs_f64(),
        slowest_batch.as_millis(),
        slowest_slice.as_millis(),
        bytes,
        bytes as f64 / at as f64
    );
}
