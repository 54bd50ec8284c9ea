//! The store on SQLite and on PostgreSQL.
//!
//! [`both`] holds what is true of any store, and [`migrated`] what becomes of one of an older version. [`sqlite_only`] and
//! [`postgres_only`] hold what one of them has alone: the owner of a file, claims, lost connections and killed backends.
//! PostgreSQL is Debian's, see `deploy/postgres/start`.
#![allow(clippy::unwrap_used, clippy::panic)]

/// Each test, once on SQLite and once on PostgreSQL.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test] fn $name() { super::$name(&super::Ground::sqlite()) })*
        }
        mod on_postgres {
            $(#[test] fn $name() { super::$name(&super::Ground::postgres()) })*
        }
    };
}

mod both;
#[path = "../common/mod.rs"]
mod common;
mod exported;
mod ground;
mod histories;
mod migrated;
mod moved;
mod observed;
mod postgres_only;
mod sqlite_only;

use common::{envelope, record, report};
use firmware::custody::Kind;
use firmware::wire::{Micros, Report, Swatch};
use ground::Ground;
use hueflow_bridge::journal::{Batch, Record};
use hueflow_bridge::metrics::store::Store;
use hueflow_bridge::metrics::store::ledger::Line;
use hueflow_bridge::relay::verdict::{ValueFormat, Verdict, judge, seal};

/// Deliveries of device pi, as the journal would have them, from `offset` on.
fn batch(offset: i64, deliveries: &[(&str, Vec<u8>)]) -> Batch {
    let mut records = Vec::new();
    for (kind, bytes) in deliveries {
        let entry = match judge(&format!("hueflow/home/pi/{kind}"), bytes, 5_000_000, ValueFormat::Json) {
            Verdict::Keep { entry, .. } | Verdict::Picture { entry, .. } => entry,
            Verdict::Ignore => panic!("ignored"),
        };
        let offset = offset + records.len() as i64;
        records.push(Record { place: "local".to_owned(), partition: 0, offset, entry });
    }
    Batch { records, restarted: Vec::new() }
}

/// A report with 17 colours, as of a busy scene.
fn busy(stream: u64, seq: u64) -> Vec<u8> {
    let palette = (0..17u16).map(|i| Swatch {
        id: u32::from(i) + seq as u32 / 100,
        rgb_q6: [900 * i, 16_000 - 700 * i, 333 * i + (seq % 97) as u16],
        pixels: if i < 16 { 5_000 + seq as u32 % 1_000 } else { 16_000 - 16 * (seq as u32 % 1_000) },
    });
    let report = Report {
        width: 400,
        height: 240,
        palette: palette.collect(),
        scatter_q12: Some(123_456 + seq),
        sse_q12: 96_000 * 4_096 + 12_345 * seq,
        silhouette_ppm: Some(400_000 + seq as i32 % 10_000),
        micros: Micros { coreset: 1_500 + seq as u32 % 300, cluster: 900, label: 2_100, total: 4_700 },
        beyond_px: Some(200 + seq as u32 % 50),
        ..report(seq)
    };
    seal(&envelope(Kind::Report, stream, seq), &report, &[]).unwrap()
}

fn frames(from: u64, to: u64) -> Vec<(&'static str, Vec<u8>)> {
    (from..to).map(|seq| ("metrics", record(8, seq))).collect()
}

fn line(store: &mut Store) -> Line {
    store.ledger().unwrap().into_iter().next().unwrap()
}

fn rows(g: &Ground) -> Vec<u64> {
    g.reader().points("pi", 10_000).unwrap().iter().map(|p| p.frame).collect()
}
