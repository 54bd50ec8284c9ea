//! A store as version 1 made it, opened by this version: nothing is lost, counted twice, or out of order meanwhile.
//!
//! `golden/store-1.sql` is the old schema with two boots of a device. The migration runs in slices between batches, and each
//! test looks at the file as anyone could.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{record, window};
use hueflow_bridge::config::StoreConfig;
use hueflow_bridge::journal::{Batch, Record};
use hueflow_bridge::metrics::store::reader::Unit;
use hueflow_bridge::metrics::store::{Store, open_existing, open_reader};
use hueflow_bridge::relay::verdict::{ValueFormat, Verdict, judge};
use std::path::Path;

fn old_store(dir: &Path) -> (StoreConfig, rusqlite::Connection) {
    let file = dir.join("store.db");
    let db = rusqlite::Connection::open(&file).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    db.execute_batch(include_str!("golden/store-1.sql")).unwrap();
    (StoreConfig { census_kept: 2, ..StoreConfig::of_file(file) }, db)
}

fn batch(offset: i64, deliveries: &[(&str, Vec<u8>)]) -> Batch {
    let entry = |(kind, bytes): &(&str, Vec<u8>)| match judge(
        &format!("hueflow/home/pi/{kind}"),
        bytes,
        5_000_000,
        ValueFormat::Json,
    ) {
        Verdict::Keep { entry, .. } | Verdict::Picture { entry, .. } => entry,
        Verdict::Ignore => panic!("ignored"),
    };
    let place = |(i, entry)| Record { place: "local".to_owned(), partition: 0, offset: offset + i as i64, entry };
    Batch { records: deliveries.iter().map(entry).enumerate().map(place).collect(), restarted: Vec::new() }
}

fn number(db: &rusqlite::Connection, sql: &str) -> i64 {
    db.query_row(sql, [], |r| r.get(0)).unwrap()
}

#[test]
fn a_store_of_version_1_is_moved_while_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let (config, db) = old_store(dir.path());
    let sum = "SELECT total(frame) + total(clusters) + total(rms) FROM reports";
    let before: f64 = db.query_row(sum, [], |r| r.get(0)).unwrap();
    let Err(e) = open_existing(&config) else { panic!("an old store was read") };
    assert!(e.to_string().contains("`hueflow-metrics run` updates an older one"), "{e}");
    let mut store = Store::open(&config).unwrap();
    assert!(open_existing(&config).is_ok());
    let after: f64 = db.query_row(sum, [], |r| r.get(0)).unwrap();
    assert!((before - after).abs() < f64::EPSILON, "{before} {after}");
    assert_eq!(store.begin("j").unwrap().into_values().collect::<Vec<_>>(), [3_001], "the offsets are kept");
    let ledger: Vec<_> = store.ledger().unwrap().into_iter().map(|l| (l.boot, l.stored, l.missing)).collect();
    assert_eq!(ledger, [("8".to_owned(), 2_000, 0), ("20".to_owned(), 1_000, 1)]);
    let query = open_reader(&config).unwrap();
    assert!(number(&db, "SELECT count(*) FROM reports_v1") > 0, "one slice is not all");
    let (_, latest) = query.latest("pi").unwrap().unwrap();
    assert_eq!((latest.stream.as_str(), latest.seq), ("20", 999), "the newest are there at once");
    assert_eq!(latest.palette.rgb_q6, [[16_320, 0, 33], [64, 128, 999]]);
    // Old duplicates, a new record and an old boot's window in the middle of it.
    let again = [
        ("metrics", record(8, 3)),
        ("metrics", record(20, 999)),
        ("metrics", record(20, 1_000)),
        ("window", window(8, 6, None, &[(8, 0, 0, 2_000)])),
    ];
    store.apply(&batch(3_001, &again)).unwrap();
    let mut slices = 0;
    while store.maintain().unwrap().is_zero() {
        assert_eq!(number(&db, "SELECT count(*) FROM reports"), 3_001, "slice {slices}");
        slices += 1;
    }
    assert!(slices > 3, "{slices}");
    assert_eq!(number(&db, "SELECT count(*) FROM report_rows"), 3_001);
    assert_eq!(number(&db, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%_v1'"), 0);
    assert_eq!(number(&db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
    let points = query.points("pi", 10_000).unwrap();
    let want: Vec<u64> = (0..2_000).chain(0..1_001).collect();
    assert_eq!(points.iter().map(|p| p.frame).collect::<Vec<_>>(), want, "by boot and seq");
    let sums = query.roll_ups("pi", Unit::Hour, 0, u64::MAX).unwrap();
    assert_eq!(sums.iter().map(|(_, r)| r.reports).sum::<u64>(), 3_001);
    let boots: Vec<_> = store.ledger().unwrap().into_iter().map(|l| (l.boot, l.duplicates)).collect();
    assert_eq!(boots, [("8".to_owned(), 4), ("20".to_owned(), 1)], "the window of boot 8 is not its first");
}

#[test]
fn old_rows_that_retention_would_delete_are_not_moved() {
    let dir = tempfile::tempdir().unwrap();
    let (config, db) = old_store(dir.path());
    db.execute("UPDATE reports SET stored_at_us = 1000 WHERE id <= 2000", []).unwrap();
    let config = StoreConfig { keep_days: 3_650, ..config };
    let mut store = Store::open(&config).unwrap();
    store.begin("j").unwrap();
    while store.maintain().unwrap().is_zero() {}
    assert_eq!(number(&db, "SELECT count(*) FROM reports"), 1_000);
    assert_eq!(number(&db, "SELECT sum(reports) FROM hours"), 3_000, "they are in the sums");
    store.apply(&batch(1, &[("metrics", record(8, 3))])).unwrap();
    assert_eq!(number(&db, "SELECT count(*) FROM reports"), 1_000, "and still no news");
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (config, db) = old_store(dir.path());
    db.execute_batch("PRAGMA user_version = 99").unwrap();
    let Err(e) = Store::open(&config) else { panic!("opened") };
    assert!(e.to_string().contains("version 99"), "{e}");
    assert_eq!(number(&db, "SELECT count(*) FROM reports"), 3_000);
}

#[test]
fn events_of_a_store_of_version_3_have_no_pattern_and_take_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig::of_file(dir.path().join("store.db"));
    let mut store = Store::open(&config).unwrap();
    store.begin("j").unwrap();
    let event = |seq| common::event(8, seq, if seq == 1 { "door" } else { "lamp" }, firmware::wire::EventChange::Begin);
    store.apply(&batch(1, &[("event", event(1))])).unwrap();
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    let older =
        "ALTER TABLE events DROP COLUMN pattern; ALTER TABLE events DROP COLUMN rate_hz; PRAGMA user_version = 3";
    db.execute_batch(older).unwrap();
    let mut store = Store::open(&config).unwrap();
    store.apply(&batch(2, &[("event", event(2))])).unwrap();
    let found = open_reader(&config).unwrap().latest_events("pi").unwrap();
    let patterns: Vec<_> = found.iter().map(|e| (e.event.event.as_str(), e.event.pattern.as_deref())).collect();
    assert_eq!(patterns, [("door", None), ("lamp", Some("blinking"))]);
}
