//! The store: each record once, whatever is read twice, and a ledger that adds up.
//!
//! The tests run on both databases, on batches as the relay's rules make them. They look at rows and ledger as anyone could.

use super::common::{envelope, event, loss, record, report, window};
use super::ground::{Ground, begin};
use super::{batch, busy, frames, line, rows};
use firmware::custody::{Envelope, Kind};
use firmware::wire::{CensusHead, EventChange, NamedShare, RegionShare, Report};
use hueflow_bridge::metrics::http::live::Live;
use hueflow_bridge::metrics::store::ledger::{Line, lines};
use hueflow_bridge::metrics::store::{Store, StoreEvent, open_reader};
use hueflow_bridge::relay::verdict::seal;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::collections::{BTreeMap, BTreeSet};

on_both!(
    the_same_batch_twice_is_stored_once_and_counted_as_duplicates,
    another_journal_is_read_from_its_beginning_and_doubles_nothing,
    the_ledger_names_what_is_missing_lost_and_dead,
    boots_are_ordered_by_their_first_windows_and_one_without_any_comes_before_the_boot_that_names_it,
    a_census_is_told_when_whole_and_the_nearest_one_is_named,
    reports_come_back_as_they_were,
    events_are_one_row_each_and_the_last_of_each_name_is_found,
    reports_of_older_edges_are_relayed_stored_and_found,
    regions_beyond_and_missed_come_back_from_the_store,
    a_batch_that_failed_is_stored_by_the_retry_even_if_the_accounts_could_not_be_read_again,
    a_report_of_17_colours_takes_at_most_450_bytes_with_its_indexes,
    an_old_boot_s_backlog_stays_behind_what_is_newer,
    an_older_status_never_replaces_a_newer_one,
    whatever_is_read_again_every_record_is_one_row,
    a_boot_starts_with_its_first_record_or_window,
);

fn a_boot_starts_with_its_first_record_or_window(g: &Ground) {
    let mut store = g.open();
    begin(&mut store, "j");
    let at = |stream, seq, captured_at_us| {
        let envelope = Envelope { captured_at_us, ..envelope(Kind::Report, stream, seq) };
        ("metrics", seal(&envelope, &report(seq), &[]).unwrap())
    };
    // Boot 8 out of order, boot 10 with a clock that was not set, boot 12 with a window alone.
    let deliveries = [
        at(8, 1, 1_700_000_002_000_000),
        at(8, 0, 1_700_000_001_000_000),
        at(10, 0, 7_000_000),
        ("window", window(12, 1, None, &[(12, 0, 0, 9), (8, 0, 0, 2)])),
    ];
    let relay_ms = 1_700_000_010_000;
    let received = |offset: i64, deliveries: &[(&str, Vec<u8>)]| {
        let mut batch = batch(offset, deliveries);
        batch.records.iter_mut().for_each(|r| r.entry.time_ms = relay_ms);
        batch
    };
    store.apply(&received(1, &deliveries)).unwrap();
    let starts = |lines: Vec<Line>| lines.into_iter().map(|l| (l.boot, l.started_at_ms)).collect::<BTreeMap<_, _>>();
    let of = |first: u64| {
        let all = [("8", first), ("10", relay_ms as u64), ("12", relay_ms as u64)];
        BTreeMap::from(all.map(|(boot, ms)| (boot.to_owned(), Some(ms))))
    };
    let want = of(1_700_000_001_000);
    assert_eq!(starts(store.ledger().unwrap()), want);
    drop(store);
    let mut store = g.open();
    begin(&mut store, "j");
    // A record that comes late is of an earlier time.
    store.apply(&received(10, &[at(8, 2, 1_700_000_000_500_000)])).unwrap();
    assert_eq!(starts(lines(&g.reader().accounts().unwrap())), of(1_700_000_000_500));
}

fn events_are_one_row_each_and_the_last_of_each_name_is_found(g: &Ground) {
    let mut store = g.open();
    begin(&mut store, "j");
    let deliveries = [event(8, 0, "door", EventChange::Begin), event(8, 1, "lamp", EventChange::Begin)];
    let later = [event(10, 0, "door", EventChange::Begin), event(8, 2, "door", EventChange::End)];
    for (offset, delivery) in (1..).zip(deliveries.iter().chain(&later).chain(&deliveries)) {
        store.apply(&batch(offset, &[("event", delivery.clone())])).unwrap();
    }
    let found = open_reader(&g.config()).unwrap().latest_events("pi").unwrap();
    let words = found.iter().map(|e| (e.event.event.as_str(), e.event.stream.as_str(), e.event.seq, e.event.is_on()));
    assert_eq!(words.collect::<Vec<_>>(), [("door", "10", 0, true), ("lamp", "8", 1, true)]);
    assert_eq!((found[1].event.value, found[1].event.frame), (Some(0.5), 1));
    assert_eq!((found[1].event.pattern.as_deref(), found[1].event.rate_hz), (Some("blinking"), Some(1.25)));
    let reader = open_reader(&g.config()).unwrap();
    let first_us = found.iter().map(|e| e.captured_at_us).min().unwrap();
    let of = |from_us, to_us| {
        let found = reader.events("pi", from_us, to_us).unwrap();
        found.into_iter().map(|e| format!("{} {}", e.event.event, e.event.change)).collect::<Vec<_>>()
    };
    assert_eq!(of(0, u64::MAX / 2).len(), 4, "{:?}", of(0, u64::MAX / 2));
    // Of what was before the range, the last change of each event.
    let mut before = of(u64::MAX / 2 - 1, u64::MAX / 2);
    before.sort();
    assert_eq!((before.len(), of(0, first_us).len()), (2, 0), "{before:?}");
    assert!(before[0].starts_with("door ") && before[1] == "lamp begin", "{before:?}");
    let line = store.ledger().unwrap();
    assert_eq!(line.iter().map(|l| (l.stored, l.duplicates)).collect::<Vec<_>>(), [(3, 2), (1, 0)]);
}

fn the_same_batch_twice_is_stored_once_and_counted_as_duplicates(g: &Ground) {
    let mut store = g.open();
    assert!(begin(&mut store, "j").is_empty());
    let mut all = frames(0, 300);
    all.push(("window", window(8, 1, None, &[(8, 0, 0, 300), (9, 0, 0, 0)])));
    let b = batch(1, &all);
    assert_eq!(store.apply(&b).unwrap().len(), 300);
    assert_eq!(store.apply(&b).unwrap().len(), 0);
    let l = line(&mut store);
    assert_eq!((l.produced, l.stored, l.duplicates, l.missing, l.frames_seen), (300, 300, 300, 0, 300));
    assert_eq!(rows(g), (0..300).collect::<Vec<_>>());
    drop(store);
    let mut store = g.open();
    assert_eq!(begin(&mut store, "j").values().copied().collect::<Vec<_>>(), [302]);
    assert_eq!(line(&mut store), l, "the ledger is on the disk");
}

fn another_journal_is_read_from_its_beginning_and_doubles_nothing(g: &Ground) {
    let mut store = g.open();
    begin(&mut store, "one");
    store.apply(&batch(1, &frames(0, 50))).unwrap();
    assert!(begin(&mut store, "two").is_empty());
    store.apply(&batch(1, &frames(40, 60))).unwrap();
    assert_eq!((line(&mut store).stored, line(&mut store).duplicates), (60, 10));
    assert_eq!(rows(g).len(), 60);
    assert_eq!(begin(&mut store, "two").len(), 1);
}

fn the_ledger_names_what_is_missing_lost_and_dead(g: &Ground) {
    let mut store = g.open();
    begin(&mut store, "j");
    let newer = Envelope { payload_version: 9, ..envelope(Kind::Report, 8, 20) };
    let mut all = frames(0, 10);
    all.push(("metrics", loss(9, 0, 8, 10, 15)));
    all.push(("metrics", record(8, 12))); // Declared lost, and there all the same.
    all.push(("metrics", seal(&newer, &report(20), &[]).unwrap()));
    all.push(("metrics", b"nonsense that is longer than an envelope, by a little".to_vec()));
    all.push(("window", window(8, 1, None, &[(8, 0, 0, 25), (9, 0, 0, 1)])));
    store.apply(&batch(1, &all)).unwrap();
    let l = line(&mut store);
    // Data: 0..10 and 12 stored, 10, 11, 13, 14 lost, 20 dead, 15..20 and 21..25 missing. Losses: 1 stored.
    assert_eq!((l.produced, l.stored, l.declared_lost, l.dead, l.missing), (26, 12, 4, 1, 9));
    assert_eq!(l.produced, l.stored + l.declared_lost + l.dead + l.missing);
    let query = g.reader();
    assert_eq!(lines(&query.accounts().unwrap()), store.ledger().unwrap());
    // A dead letter that is sent again after an upgrade is stored, and dead no more.
    store.apply(&batch(90, &[("metrics", record(8, 20))])).unwrap();
    assert_eq!((line(&mut store).stored, line(&mut store).dead), (13, 0));
}

fn boots_are_ordered_by_their_first_windows_and_one_without_any_comes_before_the_boot_that_names_it(g: &Ground) {
    let mut store = g.open();
    begin(&mut store, "j");
    let boots = |store: &mut Store| store.ledger().unwrap().into_iter().map(|l| l.boot).collect::<Vec<_>>();
    // The topics are not read in step: a record of boot 20 comes first. Of boot 30 all was lost but what 40 holds of it.
    let first = [
        ("metrics", record(20, 0)),
        ("window", window(8, 1, None, &[(8, 0, 0, 1)])),
        ("window", window(20, 1, None, &[(20, 0, 0, 1), (8, 0, 0, 1)])),
        ("window", window(40, 1, None, &[(40, 0, 0, 1), (41, 0, 0, 0), (20, 0, 0, 1), (30, 0, 0, 1)])),
    ];
    store.apply(&batch(1, &first)).unwrap();
    assert_eq!(boots(&mut store), ["8", "20", "30", "40"]);
    // Later windows and records change nothing, also after the store was opened again.
    let rest =
        [("window", window(20, 2, None, &[(20, 0, 0, 1)])), ("metrics", record(8, 0)), ("metrics", record(40, 0))];
    drop(store);
    let mut store = g.open();
    begin(&mut store, "j");
    store.apply(&batch(5, &rest)).unwrap();
    assert_eq!(boots(&mut store), ["8", "20", "30", "40"]);
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
        space: Default::default(),
    };
    // Three colours, 1, 2 and 3 in blue, each once.
    seal(&envelope(Kind::Census, 8, seq), &head, &[1, 1, 1, 1, 1, 1]).unwrap()
}

fn a_census_is_told_when_whole_and_the_nearest_one_is_named(g: &Ground) {
    let mut store = g.open();
    begin(&mut store, "j");
    let mut all = frames(0, 30);
    all.push(("census", census(30, 10)));
    all.push(("census", census(31, 20)));
    let happened = store.apply(&batch(1, &all)).unwrap();
    let whole = happened.iter().filter(|h| matches!(h, StoreEvent::Census { .. })).count();
    assert_eq!(whole, 2);
    let query = g.reader();
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

fn reports_come_back_as_they_were(g: &Ground) {
    let mut store = g.open();
    begin(&mut store, "j");
    let happened = store.apply(&batch(1, &frames(7, 8))).unwrap();
    let StoreEvent::Report(reported) = &happened[0] else { panic!("{happened:?}") };
    let kept = g.reader().latest("pi").unwrap().unwrap().1;
    assert_eq!(kept, *reported.report);
}

/// A golden report of an older version, as a record of stream 8 with `seq`.
fn old_record(version: u8, seq: u64) -> Vec<u8> {
    let hex = match version {
        1 => include_str!("../../../tests/golden/report-1.hex"),
        _ => include_str!("../../../tests/golden/report-2.hex"),
    };
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let bytes: Vec<u8> = digits.chunks(2).map(byte).collect();
    let (envelope, payload) = Envelope::open(&bytes).unwrap();
    assert_eq!(envelope.payload_version, version);
    let envelope = Envelope { stream: 8, seq, ..envelope };
    [&envelope.seal(payload)[..], payload].concat()
}

fn reports_of_older_edges_are_relayed_stored_and_found(g: &Ground) {
    let mut store = g.open();
    begin(&mut store, "j");
    let query = g.reader();
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
    assert_eq!(line(&mut store).dead, 0);
}

fn regions_beyond_and_missed_come_back_from_the_store(g: &Ground) {
    let mut store = g.open();
    begin(&mut store, "j");
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
    let StoreEvent::Report(reported) = &happened[0] else { panic!("{happened:?}") };
    let kept = g.reader().latest("pi").unwrap().unwrap().1;
    assert_eq!(kept, *reported.report);
    assert_eq!((kept.scatter, kept.sweeps, kept.beyond_px, kept.missed), (None, 9, Some(40), Some(2)));
    assert_eq!((kept.regions.pixels, kept.named.de00_q6), (vec![50], vec![100]));
}

/// The table `reports` as version 0.1.0 made it, with a report of an edge that drew its coreset uniformly.
fn whatever_is_read_again_every_record_is_one_row(g: &Ground) {
    let steps = prop::collection::vec((0u64..40, 1u64..12, 0u8..10), 1..12);
    // One ground for all cases: each has a boot of its own.
    let boots = std::cell::Cell::new(8);
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) });
    let result = runner.run(&steps, |steps| {
        boots.set(boots.get() + 2);
        let of = |from, to| (from..to).map(|seq| ("metrics", record(boots.get(), seq))).collect::<Vec<_>>();
        let mut store = g.open();
        begin(&mut store, "j");
        let (mut plain, mut deliveries) = (BTreeSet::new(), 0);
        for (from, n, step) in steps {
            match step {
                0 => {
                    drop(store);
                    store = g.open();
                    begin(&mut store, "j");
                }
                1 => drop(begin(&mut store, "other")),
                _ => {
                    store.apply(&batch(from as i64, &of(from, from + n))).unwrap();
                    plain.extend(from..from + n);
                    deliveries += n;
                }
            }
        }
        let stream = boots.get();
        let of_boot =
            format!("SELECT count(*) FROM report_rows r JOIN streams s ON s.sid = r.sid WHERE s.stream = '{stream}'");
        prop_assert_eq!(g.number(&of_boot), plain.len() as u64);
        prop_assert_eq!(g.number(&of_boot.replace("*", "DISTINCT seq")), plain.len() as u64);
        if let Some(l) = store.ledger().unwrap().into_iter().find(|l| l.boot == stream.to_string()) {
            prop_assert_eq!(l.stored, plain.len() as u64);
            prop_assert_eq!(l.stored + l.duplicates, deliveries);
            prop_assert_eq!(l.produced, l.stored + l.missing);
        }
        Ok(())
    });
    result.unwrap();
}

fn a_batch_that_failed_is_stored_by_the_retry_even_if_the_accounts_could_not_be_read_again(g: &Ground) {
    let mut store = g.open();
    begin(&mut store, "j");
    store.apply(&batch(1, &frames(0, 10))).unwrap();
    // The last statement of the transaction fails, and so does the reading of the spans.
    g.execute("ALTER TABLE spans RENAME TO away");
    let next = batch(11, &frames(10, 110));
    assert!(store.apply(&next).is_err());
    assert!(store.apply(&next).is_err(), "still broken");
    g.execute("ALTER TABLE away RENAME TO spans");
    store.apply(&next).unwrap();
    assert_eq!(rows(g), (0..110).collect::<Vec<_>>());
    let l = line(&mut store);
    assert_eq!((l.produced, l.stored, l.duplicates), (110, 110, 0));
}

/// Bytes of the store that are in use.
fn a_report_of_17_colours_takes_at_most_450_bytes_with_its_indexes(g: &Ground) {
    let mut store = g.open();
    begin(&mut store, "j");
    let empty = g.used_bytes();
    // Ten streams whose records come in turn, which fills pages worst.
    for from in (0..1_000).step_by(100) {
        let records = (from..from + 100).flat_map(|seq| (4..14).map(move |s| ("metrics", busy(2 * s, seq))));
        store.apply(&batch(from as i64 * 10, &records.collect::<Vec<_>>())).unwrap();
    }
    assert_eq!(g.number("SELECT count(*) FROM report_rows"), 10_000);
    let each = (g.used_bytes() - empty) / 10_000;
    assert!((200..=450).contains(&each), "{each} bytes a row");
    eprintln!("{each} bytes a row");
}

fn an_old_boot_s_backlog_stays_behind_what_is_newer(g: &Ground) {
    let mut store = g.open();
    begin(&mut store, "j");
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
    let query = g.reader();
    let latest = query.latest("pi").unwrap().unwrap().1;
    assert_eq!((latest.stream.as_str(), latest.seq), ("20", 1));
    assert_eq!(rows(g), [0, 5, 6, 0, 1]);
    // A program that starts in the middle of the backlog knows what is newer.
    let restarted = Live::default();
    let (order, report) = query.latest("pi").unwrap().unwrap();
    restarted.seed(order, report);
    apply(30, &[("metrics", record(8, 7))], &restarted);
    assert_eq!(newest(&restarted), ("20".to_owned(), 1));
}

fn an_older_status_never_replaces_a_newer_one(g: &Ground) {
    let mut store = g.open();
    begin(&mut store, "j");
    let status = |offset, at_ms, state: &str| {
        let mut b = batch(offset, &[("status", format!(r#"{{"state":"{state}"}}"#).into_bytes())]);
        b.records[0].entry.time_ms = at_ms;
        b
    };
    assert_eq!(store.apply(&status(1, 2_000, "online")).unwrap().len(), 1);
    assert_eq!(store.apply(&status(2, 1_000, "offline")).unwrap(), [], "it is no news");
    let query = g.reader();
    assert_eq!(query.devices().unwrap()[0].state.as_deref(), Some("online"));
    assert_eq!(store.apply(&status(3, 2_000, "offline")).unwrap().len(), 1, "of two at one time the later one holds");
}
