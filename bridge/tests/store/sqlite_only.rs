//! What only a SQLite store has: one writer, older versions, and retention to the row.
//!
//! Each test has a file of its own, which it also opens as anyone could.

use super::common::{envelope, report};
use super::ground::{Ground, begin};
use super::{batch, busy, frames, line, rows};
use firmware::custody::Kind;
use firmware::wire::Report;
use hueflow_bridge::config::StoreConfig;
use hueflow_bridge::metrics::store::reader::Unit;
use hueflow_bridge::metrics::store::{Store, StoreError, open_reader};
use hueflow_bridge::relay::verdict::seal;

#[test]
fn a_second_writer_is_refused_with_the_owner_s_name_and_the_first_one_goes_on() {
    let g = &Ground::sqlite();
    let mut first = g.open();
    begin(&mut first, "j");
    let Err(e) = Store::open(&g.config()) else { panic!("two writers") };
    assert!(e.to_string().contains(&format!("process {}", std::process::id())), "{e}");
    assert_eq!(first.apply(&batch(1, &frames(0, 1))).unwrap().len(), 1);
    drop(first);
    let mut second = g.open();
    begin(&mut second, "j");
    assert_eq!(second.apply(&batch(2, &frames(1, 2))).unwrap().len(), 1);
    assert_eq!(rows(g), [0, 1]);
}

#[test]
fn a_writer_whose_claim_was_taken_on_a_file_system_without_locks_writes_no_more() {
    let g = &Ground::sqlite();
    let mut store = g.open();
    begin(&mut store, "j");
    let other = rusqlite::Connection::open(g.file()).unwrap();
    other.execute("UPDATE meta SET v = 'another' WHERE k = 'owner'", []).unwrap();
    assert!(matches!(store.apply(&batch(1, &frames(0, 1))), Err(StoreError::Taken)));
    assert!(rows(g).is_empty());
}

const OLD_STORE: &str = "
CREATE TABLE reports (
  id INTEGER PRIMARY KEY, device TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL, frame INTEGER NOT NULL,
  stored_at_us INTEGER NOT NULL, captured_at_us INTEGER NOT NULL, captured_at TEXT NOT NULL, dropped INTEGER NOT NULL, width INTEGER NOT NULL,
  height INTEGER NOT NULL, pixels INTEGER NOT NULL, lambda REAL NOT NULL, coreset_size INTEGER NOT NULL,
  method TEXT NOT NULL, w_open INTEGER NOT NULL, seed TEXT NOT NULL, warm INTEGER NOT NULL,
  coreset_points INTEGER NOT NULL, scatter REAL NOT NULL, iterations INTEGER NOT NULL, converged INTEGER NOT NULL,
  saturated INTEGER NOT NULL, clusters INTEGER NOT NULL, sse REAL NOT NULL, rms REAL NOT NULL, max_distance REAL NOT NULL,
  silhouette_estimate REAL, micros_coreset INTEGER NOT NULL, micros_cluster INTEGER NOT NULL,
  micros_label INTEGER NOT NULL, micros_total INTEGER NOT NULL, palette TEXT NOT NULL,
  refine TEXT NOT NULL DEFAULT 'none', births TEXT NOT NULL DEFAULT '[]', deaths TEXT NOT NULL DEFAULT '[]',
  UNIQUE (device, stream, seq));
INSERT INTO reports VALUES (1, 'pi', '6', 5, 4, 1, 1, '1970-01-01T00:00:00.000001Z', 0, 12, 8, 96, 50.0, 90, 'uniform', 1,
  '7', 1, 90, 0.0, 12, 1, 0, 1, 384.0, 2.0, 5.0, NULL, 1, 2, 3, 6, '[{\"id\":7,\"rgb\":[255.0,0.0,0.515625],\"pixels\":96}]',
  'swap', '[7]', '[]');
";

#[test]
fn a_store_of_an_older_version_keeps_its_rows_readable_and_takes_new_ones() {
    let g = &Ground::sqlite();
    let old = rusqlite::Connection::open(g.file()).unwrap();
    old.execute_batch(OLD_STORE).unwrap();
    let mut store = g.open();
    begin(&mut store, "j");
    let query = g.reader();
    let kept = query.latest("pi").unwrap().unwrap().1;
    assert_eq!((kept.refine.as_str(), kept.scatter, kept.missed), ("mse", None, None));
    assert_eq!((kept.palette.rgb_q6, kept.births), (vec![[16_320, 0, 33]], vec![7]));
    // Without a certificate, which the old table refused.
    let uncertified = Report { scatter_q12: None, missed: Some(1), beyond_px: Some(30), ..report(0) };
    let record = seal(&envelope(Kind::Report, 8, 0), &uncertified, &[]).unwrap();
    assert_eq!(store.apply(&batch(1, &[("metrics", record)])).unwrap().len(), 1);
    let kept = query.latest("pi").unwrap().unwrap().1;
    assert_eq!((kept.seq, kept.scatter, kept.missed, kept.beyond_px), (0, None, Some(1), Some(30)));
    assert_eq!(query.points("pi", 10).unwrap().iter().map(|p| p.missed).collect::<Vec<_>>(), [None, Some(1)]);
    // The sums by minute count old rows and new ones; anyone can read both, and the palette, with SQL.
    let minutes = query.roll_ups("pi", Unit::Minute, 0, u64::MAX).unwrap();
    assert_eq!(minutes.iter().map(|(_, m)| m.reports).collect::<Vec<_>>(), [1, 1]);
    let red: Vec<f64> = old
        .prepare("SELECT red FROM palette WHERE stream = '6' OR label = 1 ORDER BY stream")
        .unwrap()
        .query_map([], |r| r.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(red, [255.0, 1.0]);
    // The old table goes with the next slices.
    while store.maintain().unwrap().is_zero() {}
    let tables: i64 =
        old.query_row("SELECT count(*) FROM sqlite_schema WHERE name LIKE '%_v1'", [], |r| r.get(0)).unwrap();
    assert_eq!(tables, 0);
    // Opened again, and by a connection that was there before.
    drop(store);
    drop(g.open());
    let sound: String = old.query_row("PRAGMA integrity_check", [], |r| r.get(0)).unwrap();
    let rows: i64 = old.query_row("SELECT count(*) FROM reports WHERE scatter IS NULL", [], |r| r.get(0)).unwrap();
    assert_eq!((sound.as_str(), rows), ("ok", 2), "the old row's 0 was no certificate");
}

#[test]
fn retention_by_bytes_deletes_the_oldest_rows_and_lets_no_old_duplicate_in() {
    let g = &Ground::sqlite();
    let config = StoreConfig { bytes_max: 1 << 20, ..g.config() };
    let mut store = Store::open(&config).unwrap();
    begin(&mut store, "j");
    let db = rusqlite::Connection::open(g.file()).unwrap();
    let of = |from: u64| (from..from + 1_000).map(|seq| ("metrics", busy(8, seq))).collect::<Vec<_>>();
    for from in (0..8_000).step_by(1_000) {
        store.apply(&batch(from as i64, &of(from))).unwrap();
    }
    assert!(g.used_bytes() > config.bytes_max);
    while store.maintain().unwrap().is_zero() {}
    assert!(g.used_bytes() <= config.bytes_max, "{}", g.used_bytes());
    let pages: i64 = db.query_row("SELECT page_count FROM pragma_page_count", [], |r| r.get(0)).unwrap();
    assert!(pages * 4096 < 3 << 20, "the file itself shrinks: {pages} pages");
    let kept = rows(g);
    assert!(kept.len() > 1_000 && kept.len() < 3_000, "{}", kept.len());
    assert_eq!(kept, (8_000 - kept.len() as u64..8_000).collect::<Vec<_>>(), "the newest");
    assert_eq!((line(&mut store).stored, line(&mut store).duplicates), (8_000, 0));
    store.apply(&batch(0, &of(0))).unwrap();
    assert_eq!(rows(g), kept);
    assert_eq!((line(&mut store).stored, line(&mut store).duplicates), (8_000, 1_000));
    let query = open_reader(&config).unwrap();
    let sum = |unit| query.roll_ups("pi", unit, 0, u64::MAX).unwrap().iter().map(|(_, r)| r.reports).sum::<u64>();
    assert_eq!((sum(Unit::Minute), sum(Unit::Hour)), (8_000, 8_000), "the sums stay");
}

#[test]
fn retention_by_days_counts_from_when_a_row_was_stored() {
    let g = &Ground::sqlite();
    let config = StoreConfig { keep_days: 7, keep_minutes_days: 30, ..g.config() };
    let mut store = Store::open(&config).unwrap();
    begin(&mut store, "j");
    store.apply(&batch(1, &frames(0, 500))).unwrap();
    let db = rusqlite::Connection::open(g.file()).unwrap();
    while store.maintain().unwrap().is_zero() {}
    assert_eq!(rows(g).len(), 500, "captured in 2023, and stored now");
    let query = open_reader(&config).unwrap();
    assert!(query.roll_ups("pi", Unit::Minute, 0, u64::MAX).unwrap().is_empty(), "minutes of 2023 are too old");
    assert_eq!(query.roll_ups("pi", Unit::Hour, 0, u64::MAX).unwrap().len(), 1);
    db.execute("UPDATE report_rows SET stored_at_us = stored_at_us - 8 * 86400000000 WHERE seq < 300", []).unwrap();
    while store.maintain().unwrap().is_zero() {}
    assert_eq!(rows(g), (300..500).collect::<Vec<_>>());
}
