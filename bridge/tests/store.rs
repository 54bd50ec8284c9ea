//! The store: each record once, whatever is read twice, and a ledger that adds up.
//!
//! Takes batches as the relay's rules make them. Gives assertions on rows and ledger.
//! Touches a temporary file.
//! Never looks into the store's memory: it opens the file as anyone could.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{envelope, loss, record, report, window};
use firmware::custody::{Envelope, Kind};
use firmware::wire::{CensusHead, NamedShare, RegionShare, Report};
use hueflow_bridge::config::StoreConfig;
use hueflow_bridge::journal::{Batch, Record};
use hueflow_bridge::metrics::store::ledger::{Line, lines};
use hueflow_bridge::metrics::store::query::Query;
use hueflow_bridge::metrics::store::{Happened, Store, StoreError};
use hueflow_bridge::relay::verdict::{ValueFormat, Verdict, judge, seal};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;

fn config(dir: &Path) -> StoreConfig {
    StoreConfig { file: dir.join("store.db"), keep_days: 36_500, census_kept: 2 }
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

fn frames(from: u64, to: u64) -> Vec<(&'static str, Vec<u8>)> {
    (from..to).map(|seq| ("metrics", record(8, seq))).collect()
}

fn line(store: &Store) -> Line {
    lines(store.accounts()).into_iter().next().unwrap()
}

fn rows(dir: &Path) -> Vec<u64> {
    let query = Query::open(&config(dir).file).unwrap();
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
    let query = Query::open(&config(dir.path()).file).unwrap();
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
fn a_second_writer_takes_the_file_and_the_first_one_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Store::open(&config(dir.path())).unwrap();
    first.begin("j").unwrap();
    let mut second = Store::open(&config(dir.path())).unwrap();
    second.begin("j").unwrap();
    assert!(matches!(first.apply(&batch(1, &frames(0, 1))), Err(StoreError::Taken)));
    assert_eq!(second.apply(&batch(1, &frames(0, 1))).unwrap().len(), 1);
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
    let whole = happened.iter().filter(|h| matches!(h, Happened::Census { .. })).count();
    assert_eq!(whole, 2);
    let query = Query::open(&config(dir.path()).file).unwrap();
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
    let Happened::Report(told) = &happened[0] else { panic!("{happened:?}") };
    let kept = Query::open(&config(dir.path()).file).unwrap().latest("pi").unwrap().unwrap();
    assert_eq!(kept, **told);
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
    let query = Query::open(&config(dir.path()).file).unwrap();
    for (version, refine) in [(1, "none"), (2, "mse")] {
        let seq = u64::from(version);
        let happened = store.apply(&batch(seq as i64, &[("metrics", old_record(version, seq))])).unwrap();
        assert!(matches!(happened[..], [Happened::Report(_)]), "{happened:?}");
        let kept = query.latest("pi").unwrap().unwrap();
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
    let Happened::Report(told) = &happened[0] else { panic!("{happened:?}") };
    let kept = Query::open(&config(dir.path()).file).unwrap().latest("pi").unwrap().unwrap();
    assert_eq!(kept, **told);
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
    let old = rusqlite::Connection::open(config(dir.path()).file).unwrap();
    old.execute_batch(OLD_STORE).unwrap();
    let mut store = Store::open(&config(dir.path())).unwrap();
    store.begin("j").unwrap();
    let query = Query::open(&config(dir.path()).file).unwrap();
    let kept = query.latest("pi").unwrap().unwrap();
    assert_eq!((kept.refine.as_str(), kept.scatter, kept.missed), ("mse", None, None));
    assert_eq!((kept.palette.rgb_q6, kept.births), (vec![[16_320, 0, 33]], vec![7]));
    // Without a certificate, which the old table refused.
    let uncertified = Report { scatter_q12: None, missed: Some(1), beyond_px: Some(30), ..report(0) };
    let record = seal(&envelope(Kind::Report, 8, 0), &uncertified, &[]).unwrap();
    assert_eq!(store.apply(&batch(1, &[("metrics", record)])).unwrap().len(), 1);
    let kept = query.latest("pi").unwrap().unwrap();
    assert_eq!((kept.seq, kept.scatter, kept.missed, kept.beyond_px), (0, None, Some(1), Some(30)));
    assert_eq!(query.points("pi", 10).unwrap().iter().map(|p| p.missed).collect::<Vec<_>>(), [None, Some(1)]);
    // Opened again, and by a connection that was there before.
    drop(store);
    drop(Store::open(&config(dir.path())).unwrap());
    let sound: String = old.query_row("PRAGMA integrity_check", [], |r| r.get(0)).unwrap();
    let rows: i64 = old.query_row("SELECT count(*) FROM reports WHERE scatter IS NULL", [], |r| r.get(0)).unwrap();
    assert_eq!((sound.as_str(), rows), ("ok", 1));
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
