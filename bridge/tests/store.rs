//! The store: each record once, whatever is read twice, and a ledger that adds up.
//!
//! Batches are made as the relay's rules make them. Rows and ledger are read from the file, as any other program could, not
//! from the store's memory.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{envelope, loss, record, report, window};
use firmware::custody::{Envelope, Kind};
use firmware::wire::{CensusHead, Micros, NamedShare, RegionShare, Report, Swatch};
use hueflow_bridge::config::StoreConfig;
use hueflow_bridge::journal::{Batch, Record};
use hueflow_bridge::metrics::http::live::Live;
use hueflow_bridge::metrics::store::ledger::{Line, lines};
use hueflow_bridge::metrics::store::reader::Unit;
use hueflow_bridge::metrics::store::{Store, StoreError, StoreEvent, open_reader};
use hueflow_bridge::relay::verdict::{ValueFormat, Verdict, judge, seal};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;

fn config(dir: &Path) -> StoreConfig {
    StoreConfig { census_kept: 2, ..StoreConfig::of_file(dir.join("store.db")) }
}

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

fn line(store: &Store) -> Line {
    lines(store.accounts()).into_iter().next().unwrap()
}

fn rows(dir: &Path) -> Vec<u64> {
    let query = open_reader(&config(dir)).unwrap();
    query.points("pi", 10_000).unwrap().iter().map(|p| p.frame).collect()
}

#[test]
fn the_same_batch_twice_is_stored_once_and_counted_as_duplicates() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&config(dir.path())).unwrap();
    assert!(store.begin("j").unwrap().is_empty());
    let mut all = frames(0, 300);
    all.push(("window", window(8, 1, None, &[(8, 0, 0, 300), (9, 0, 0, 0)])));
    let b = batch(1, &all);
    assert_eq!(store.apply(&b).unwrap().len(), 300);
    assert_eq!(store.apply(&b).unwrap().len(), 0);
    let l = line(&store);
    assert_eq!((l.produced, l.stored, l.duplicates, l.missing, l.frames_seen), (300, 300, 300, 0, 300));
    assert_eq!(rows(dir.path()), (0..300).collect::<Vec<_>>());
    drop(store);
    let mut store = Store::open(&config(dir.path())).unwrap();
    assert_eq!(store.begin("j").unwrap().values().copied().collect::<Vec<_>>(), [302]);
    assert_eq!(line(&store), l, "the ledger is on the disk");
}

#[test]
fn another_journal_is_read_from_its_beginning_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&config(dir.path())).unwrap();
    store.begin("one").unwrap();
    store.apply(&batch(1, &frames(0, 50))).unwrap();
    assert!(store.begin("two").unwrap().is_empty());
    store.apply(&batch(1, &frames(40, 60))).unwrap();
    assert_eq!((line(&store).stored, line(&store).duplicates), (60, 10));
    assert_eq!(rows(dir.path()).len(), 60);
    assert_eq!(store.begin("two").unwrap().len(), 1);
}

#[test]
fn the_ledger_names_what_is_missing_lost_and_dead() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&config(dir.path())).unwrap();
    store.begin("j").unwrap();
    let newer = Envelope { payload_version: 9, ..envelope(Kind::Report, 8, 20) };
    let mut all = frames(0, 10);
    all.push(("metrics", loss(9, 0, 8, 10, 15)));
    all.push(("metrics", record(8, 12))); // Declared lost, and there all the same.
    all.push(("metrics", seal(&newer, &report(20), &[]).unwrap()));
    all.push(("metrics", b"nonsense that is longer than an envelope, by a little".to_vec()));
    all.push(("window", window(8, 1, None, &[(8, 0, 0, 25), (9, 0, 0, 1)])));
    store.apply(&batch(1, &all)).unwrap();
    let l = line(&store);
    // Data: 0..10 and 12 stored, 10, 11, 13, 14 lost, 20 dead, 15..20 and 21..25 missing. Losses: 1 stored.
    assert_eq!((l.produced, l.stored, l.declared_lost, l.dead, l.missing), (26, 12, 4, 1, 9));
    assert_eq!(l.produced, l.stored + l.declared_lost + l.dead + l.missing);
    let query = open_reader(&config(dir.path())).unwrap();
    assert_eq!(lines(&query.accounts().unwrap()), lines(store.accounts()));
    // A dead letter that is sent again after an upgrade is stored, and dead no more.
    store.apply(&batch(90, &[("metrics", record(8, 20))])).unwrap();
    assert_eq!((line(&store).stored, line(&store).dead), (13, 0));
}

#[test]
fn boots_are_ordered_by_their_first_windows_and_one_without_any_comes_before_the_boot_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&config(dir.path())).unwrap();
    store.begin("j").unwrap();
    let boots = |store: &Store| lines(store.accounts()).into_iter().map(|l| l.boot).collect::<Vec<_>>();
    // The topics are not read in step: a record of boot 20 comes first. Of boot 30 all was lost but what 40 holds of it.
    let first = [
        ("metrics", record(20, 0)),
        ("window", window(8, 1, None, &[(8, 0, 0, 1)])),
        ("window", window(20, 1, None, &[(20, 0, 0, 1), (8, 0, 0, 1)])),
        ("window", window(40, 1, None, &[(40, 0, 0, 1), (41, 0, 0, 0), (20, 0, 0, 1), (30, 0, 0, 1)])),
    ];
    store.apply(&batch(1, &first)).unwrap();
    assert_eq!(boots(&store), ["8", "20", "30", "40"]);
    // Later windows and records change nothing, also after the store was opened again.
    let rest =
        [("window", window(20, 2, None, &[(20, 0, 0, 1)])), ("metrics", record(8, 0)), ("metrics", record(40, 0))];
    drop(store);
    let mut store = Store::open(&config(dir.path())).unwrap();
    store.begin("j").unwrap();
    store.apply(&batch(5, &rest)).unwrap();
    assert_eq!(boots(&store), ["8", "20", "30", "40"]);
}

#[test]
fn a_second_writer_is_refused_with_the_owner_s_name_and_the_first_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Store::open(&config(dir.path())).unwrap();
    first.begin("j").unwrap();
    let Err(e) = Store::open(&config(dir.path())) else { panic!("two writers") };
    assert!(e.to_string().contains(&format!("process {}", std::process::id())), "{e}");
    assert_eq!(first.apply(&batch(1, &frames(0, 1))).unwrap().len(), 1);
    drop(first);
    let mut second = Store::open(&config(dir.path())).unwrap();
    second.begin("j").unwrap();
    assert_eq!(second.apply(&batch(2, &frames(1, 2))).unwrap().len(), 1);
    assert_eq!(rows(dir.path()), [0, 1]);
}

#[test]
fn a_writer_whose_claim_was_taken_on_a_file_system_without_locks_writes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&config(dir.path())).unwrap();
    store.begin("j").unwrap();
    let other = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    other.execute("UPDATE meta SET v = 'another' WHERE k = 'owner'", []).unwrap();
    assert!(matches!(store.apply(&batch(1, &frames(0, 1))), Err(StoreError::Taken)));
    assert!(rows(dir.path()).is_empty());
}

/// A census of one part: colours with a count of 1 each.
fn census(seq: u64, frame: u64) -> Vec<u8> {
    let head = CensusHead {
        frame,
        part: 0,
        parts: 1,
        pixels: 3,
        colours: 3,
        in_part: 3,
        centroids_q6: heapless::Vec::from_slice(&[[0; 3], [6400; 3]]).unwrap(),
        ids: heapless::Vec::from_slice(&[4, 5]).unwrap(),
    };
    // Three colours, 1, 2 and 3 in blue, each once.
    seal(&envelope(Kind::Census, 8, seq), &head, &[1, 1, 1, 1, 1, 1]).unwrap()
}

#[test]
fn a_census_is_told_when_whole_and_the_nearest_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&config(dir.path())).unwrap();
    store.begin("j").unwrap();
    let mut all = frames(0, 30);
    all.push(("census", census(30, 10)));
    all.push(("census", census(31, 20)));
    let happened = store.apply(&batch(1, &all)).unwrap();
    let whole = happened.iter().filter(|h| matches!(h, StoreEvent::Census { .. })).count();
    assert_eq!(whole, 2);
    let query = open_reader(&config(dir.path())).unwrap();
    let latest = query.latest_census("pi").unwrap();
    assert_eq!(latest.frame, 20);
    let colours = query.census(&latest).unwrap();
    assert_eq!((colours.samples.len(), colours.ids.as_slice()), (3, &[4, 5][..]));
    assert_eq!(query.census_of("pi", 10).unwrap().frame, 10);
    let e = query.census_of("pi", 12).unwrap_err().to_string();
    assert_eq!(e, "frame 12 (seq 12) of device pi has no census; the nearest is of frame 10 (--seq 10)");
    assert!(query.census_of("pi", 999).unwrap_err().to_string().contains("no report with seq 999"));
    assert!(query.latest_census("none").is_err());
    // Only the newest are kept.
    store.apply(&batch(99, &[("census", census(40, 29))])).unwrap();
    assert!(query.census_of("pi", 10).unwrap_err().to_string().contains("nearest is of frame 20"));
}

#[test]
fn reports_come_back_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&config(dir.path())).unwrap();
    store.begin("j").unwrap();
    let happened = store.apply(&batch(1, &frames(7, 8))).unwrap();
    let StoreEvent::Report(told) = &happened[0] else { panic!("{happened:?}") };
    let kept = open_reader(&config(dir.path())).unwrap().latest("pi").unwrap().unwrap().1;
    assert_eq!(kept, *told.report);
}

/// A golden report of an older version, as a record of stream 8 with `seq`.
fn old_record(version: u8, seq: u64) -> Vec<u8> {
    let hex = match version {
        1 => include_str!("../../tests/golden/report-1.hex"),
        _ => include_str!("../../tests/golden/report-2.hex"),
    };
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let bytes: Vec<u8> = digits.chunks(2).map(byte).collect();
    let (envelope, payload) = Envelope::open(&bytes).unwrap();
    assert_eq!(envelope.payload_version, version);
    let envelope = Envelope { stream: 8, seq, ..envelope };
    [&envelope.seal(payload)[..], payload].concat()
}

#[test]
fn reports_of_older_edges_are_relayed_stored_and_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&config(dir.path())).unwrap();
    store.begin("j").unwrap();
    let query = open_reader(&config(dir.path())).unwrap();
    for (version, refine) in [(1, "none"), (2, "mse")] {
        let seq = u64::from(version);
        let happened = store.apply(&batch(seq as i64, &[("metrics", old_record(version, seq))])).unwrap();
        assert!(matches!(happened[..], [StoreEvent::Report(_)]), "{happened:?}");
        let kept = query.latest("pi").unwrap().unwrap().1;
        assert_eq!((kept.seq, kept.refine.as_str(), kept.pixels), (seq, refine, 96_000));
        assert_eq!((kept.beyond_px, kept.missed, kept.sweeps), (None, None, 0), "it is not known, which is not 0");
        assert_eq!((kept.palette.id, kept.palette.pixels), (vec![0, 300], vec![95_999, 1]));
    }
    store.apply(&batch(3, &[("metrics", record(8, 3))])).unwrap();
    let points = query.points("pi", 10).unwrap();
    assert_eq!(points.iter().map(|p| p.missed).collect::<Vec<_>>(), [None, None, Some(0)]);
    assert_eq!(line(&store).dead, 0);
}

#[test]
fn regions_beyond_and_missed_come_back_from_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&config(dir.path())).unwrap();
    store.begin("j").unwrap();
    let named = NamedShare { colour: 2, pixels: 7, de00_q6: 100 };
    let region = RegionShare { region: 1, pixels: 50, named: [named].into_iter().collect() };
    let report = Report {
        scatter_q12: None,
        sweeps: 9,
        beyond_px: Some(40),
        missed: Some(2),
        regions: [region].into_iter().collect(),
        ..report(0)
    };
    let record = seal(&envelope(Kind::Report, 8, 0), &report, &[]).unwrap();
    let happened = store.apply(&batch(1, &[("metrics", record)])).unwrap();
    let StoreEvent::Report(told) = &happened[0] else { panic!("{happened:?}") };
    let kept = open_reader(&config(dir.path())).unwrap().latest("pi").unwrap().unwrap().1;
    assert_eq!(kept, *told.report);
    assert_eq!((kept.scatter, kept.sweeps, kept.beyond_px, kept.missed), (None, 9, Some(40), Some(2)));
    assert_eq!((kept.regions.pixels, kept.named.de00_q6), (vec![50], vec![100]));
}

/// The table `reports` as version 0.1.0 made it, with a report of an edge that drew its coreset uniformly.
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
    let dir = tempfile::tempdir().unwrap();
    let old = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    old.execute_batch(OLD_STORE).unwrap();
    let mut store = Store::open(&config(dir.path())).unwrap();
    store.begin("j").unwrap();
    let query = open_reader(&config(dir.path())).unwrap();
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
    drop(Store::open(&config(dir.path())).unwrap());
    let sound: String = old.query_row("PRAGMA integrity_check", [], |r| r.get(0)).unwrap();
    let rows: i64 = old.query_row("SELECT count(*) FROM reports WHERE scatter IS NULL", [], |r| r.get(0)).unwrap();
    assert_eq!((sound.as_str(), rows), ("ok", 2), "the old row's 0 was no certificate");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn whatever_is_read_again_every_record_is_one_row(
        steps in prop::collection::vec((0u64..40, 1u64..12, 0u8..10), 1..12)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&config(dir.path())).unwrap();
        store.begin("j").unwrap();
        let (mut plain, mut deliveries) = (BTreeSet::new(), 0);
        for (from, n, step) in steps {
            match step {
                0 => {
                    drop(store);
                    store = Store::open(&config(dir.path())).unwrap();
                    store.begin("j").unwrap();
                }
                1 => { store.begin("other").unwrap(); }
                _ => {
                    store.apply(&batch(from as i64, &frames(from, from + n))).unwrap();
                    plain.extend(from..from + n);
                    deliveries += n;
                }
            }
        }
        let mut seen = rows(dir.path());
        seen.sort_unstable();
        prop_assert_eq!(seen, plain.iter().copied().collect::<Vec<_>>());
        if deliveries > 0 {
            let l = line(&store);
            prop_assert_eq!(l.stored, plain.len() as u64);
            prop_assert_eq!(l.stored + l.duplicates, deliveries);
            prop_assert_eq!(l.produced, l.stored + l.missing);
        }
    }
}

#[test]
fn a_batch_that_failed_is_stored_by_the_retry_even_if_the_accounts_could_not_be_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&config(dir.path())).unwrap();
    store.begin("j").unwrap();
    store.apply(&batch(1, &frames(0, 10))).unwrap();
    // The last statement of the transaction fails, and so does the reading of the spans.
    let other = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    other.execute_batch("ALTER TABLE spans RENAME TO away").unwrap();
    let next = batch(11, &frames(10, 110));
    assert!(store.apply(&next).is_err());
    assert!(store.apply(&next).is_err(), "still broken");
    other.execute_batch("ALTER TABLE away RENAME TO spans").unwrap();
    store.apply(&next).unwrap();
    assert_eq!(rows(dir.path()), (0..110).collect::<Vec<_>>());
    let l = line(&store);
    assert_eq!((l.produced, l.stored, l.duplicates), (110, 110, 0));
}

/// Bytes of the store that are in use.
fn used_bytes(db: &rusqlite::Connection) -> u64 {
    let number = |pragma: &str| db.query_row(pragma, [], |r| r.get::<_, i64>(0)).unwrap() as u64;
    (number("PRAGMA page_count") - number("PRAGMA freelist_count")) * number("PRAGMA page_size")
}

#[test]
fn a_report_of_17_colours_takes_at_most_450_bytes_with_its_indexes() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&config(dir.path())).unwrap();
    store.begin("j").unwrap();
    let db = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    let empty = used_bytes(&db);
    // Ten streams whose records come in turn, which fills pages worst.
    for from in (0..1_000).step_by(100) {
        let records = (from..from + 100).flat_map(|seq| (4..14).map(move |s| ("metrics", busy(2 * s, seq))));
        store.apply(&batch(from as i64 * 10, &records.collect::<Vec<_>>())).unwrap();
    }
    let rows: i64 = db.query_row("SELECT count(*) FROM report_rows", [], |r| r.get(0)).unwrap();
    assert_eq!(rows, 10_000);
    let each = (used_bytes(&db) - empty) / 10_000;
    assert!((200..=450).contains(&each), "{each} bytes a row");
    eprintln!("{each} bytes a row");
}

#[test]
fn retention_by_bytes_deletes_the_oldest_rows_and_lets_no_old_duplicate_in() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { bytes_max: 1 << 20, ..config(dir.path()) };
    let mut store = Store::open(&config).unwrap();
    store.begin("j").unwrap();
    let db = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    let of = |from: u64| (from..from + 1_000).map(|seq| ("metrics", busy(8, seq))).collect::<Vec<_>>();
    for from in (0..8_000).step_by(1_000) {
        store.apply(&batch(from as i64, &of(from))).unwrap();
    }
    assert!(used_bytes(&db) > config.bytes_max);
    while store.maintain().unwrap().is_zero() {}
    assert!(used_bytes(&db) <= config.bytes_max, "{}", used_bytes(&db));
    let pages: i64 = db.query_row("SELECT page_count FROM pragma_page_count", [], |r| r.get(0)).unwrap();
    assert!(pages * 4096 < 3 << 20, "the file itself shrinks: {pages} pages");
    let kept = rows(dir.path());
    assert!(kept.len() > 1_000 && kept.len() < 3_000, "{}", kept.len());
    assert_eq!(kept, (8_000 - kept.len() as u64..8_000).collect::<Vec<_>>(), "the newest");
    assert_eq!((line(&store).stored, line(&store).duplicates), (8_000, 0));
    store.apply(&batch(0, &of(0))).unwrap();
    assert_eq!(rows(dir.path()), kept);
    assert_eq!((line(&store).stored, line(&store).duplicates), (8_000, 1_000));
    let query = open_reader(&config).unwrap();
    let sum = |unit| query.roll_ups("pi", unit, 0, u64::MAX).unwrap().iter().map(|(_, r)| r.reports).sum::<u64>();
    assert_eq!((sum(Unit::Minute), sum(Unit::Hour)), (8_000, 8_000), "the sums stay");
}

#[test]
fn retention_by_days_counts_from_when_a_row_was_stored() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { keep_days: 7, keep_minutes_days: 30, ..config(dir.path()) };
    let mut store = Store::open(&config).unwrap();
    store.begin("j").unwrap();
    store.apply(&batch(1, &frames(0, 500))).unwrap();
    let db = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    while store.maintain().unwrap().is_zero() {}
    assert_eq!(rows(dir.path()).len(), 500, "captured in 2023, and stored now");
    let query = open_reader(&config).unwrap();
    assert!(query.roll_ups("pi", Unit::Minute, 0, u64::MAX).unwrap().is_empty(), "minutes of 2023 are too old");
    assert_eq!(query.roll_ups("pi", Unit::Hour, 0, u64::MAX).unwrap().len(), 1);
    db.execute("UPDATE report_rows SET stored_at_us = stored_at_us - 8 * 86400000000 WHERE seq < 300", []).unwrap();
    while store.maintain().unwrap().is_zero() {}
    assert_eq!(rows(dir.path()), (300..500).collect::<Vec<_>>());
}

#[test]
fn an_old_boot_s_backlog_stays_behind_what_is_newer() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&config(dir.path())).unwrap();
    store.begin("j").unwrap();
    let live = Live::default();
    let newest = |live: &Live| live.devices()["pi"].report.as_ref().map(|r| (r.stream.clone(), r.seq)).unwrap();
    let mut apply = |offset, deliveries: &[(&str, Vec<u8>)], live: &Live| {
        store.apply(&batch(offset, deliveries)).unwrap().into_iter().for_each(|e| live.take(e));
    };
    let first = [("window", window(8, 1, None, &[(8, 0, 0, 9)])), ("metrics", record(8, 0))];
    apply(1, &first, &live);
    let second = [
        ("window", window(20, 1, None, &[(20, 0, 0, 2), (8, 0, 1, 9)])),
        ("metrics", record(20, 1)),
        ("metrics", record(8, 5)),
        ("metrics", record(20, 0)),
        ("metrics", record(8, 6)),
    ];
    apply(5, &second, &live);
    assert_eq!(newest(&live), ("20".to_owned(), 1));
    let query = open_reader(&config(dir.path())).unwrap();
    let latest = query.latest("pi").unwrap().unwrap().1;
    assert_eq!((latest.stream.as_str(), latest.seq), ("20", 1));
    assert_eq!(rows(dir.path()), [0, 5, 6, 0, 1]);
    // A program that starts in the middle of the backlog knows what is newer.
    let restarted = Live::default();
    let (order, report) = query.latest("pi").unwrap().unwrap();
    restarted.seed(order, report);
    apply(30, &[("metrics", record(8, 7))], &restarted);
    assert_eq!(newest(&restarted), ("20".to_owned(), 1));
}

#[test]
fn an_older_status_never_replaces_a_newer_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&config(dir.path())).unwrap();
    store.begin("j").unwrap();
    let status = |offset, at_ms, state: &str| {
        let mut b = batch(offset, &[("status", format!(r#"{{"state":"{state}"}}"#).into_bytes())]);
        b.records[0].entry.time_ms = at_ms;
        b
    };
    assert_eq!(store.apply(&status(1, 2_000, "online")).unwrap().len(), 1);
    assert_eq!(store.apply(&status(2, 1_000, "offline")).unwrap(), [], "it is no news");
    let query = open_reader(&config(dir.path())).unwrap();
    assert_eq!(query.devices().unwrap()[0].state.as_deref(), Some("online"));
    assert_eq!(store.apply(&status(3, 2_000, "offline")).unwrap().len(), 1, "of two at one time the later one holds");
}
