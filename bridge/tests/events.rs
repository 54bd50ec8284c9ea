//! Events in the centre: relayed as JSON, stored once and in order, and active as far as is known.
//!
//! Records are made as an edge makes them and judged by the relay's rules. Rows are read from the store's file.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{envelope, record};
use firmware::custody::Kind;
use firmware::wire::{EventChange, EventRecord};
use hueflow_bridge::config::StoreConfig;
use hueflow_bridge::journal::{Batch, Entry, Record, Topic};
use hueflow_bridge::json::EventJson;
use hueflow_bridge::metrics::http::exposition;
use hueflow_bridge::metrics::http::live::Live;
use hueflow_bridge::metrics::store::{Store, open_reader};
use hueflow_bridge::relay::verdict::{Effect, ValueFormat, Verdict, judge, seal};
use std::path::Path;

fn config(dir: &Path) -> StoreConfig {
    StoreConfig { keep_days: 36_500, keep_minutes_days: 36_500, ..StoreConfig::of_file(dir.join("store.db")) }
}

fn event(stream: u64, seq: u64, name: &str, change: EventChange) -> Vec<u8> {
    let (name, value_micro) = (name.try_into().unwrap(), Some(250_000 + seq as i64));
    let record = EventRecord { frame: seq * 2, name, change, value_micro, pattern: None };
    seal(&envelope(Kind::Event, stream, seq), &record, &[]).unwrap()
}

fn judged(kind: &str, bytes: &[u8]) -> (Entry, Effect) {
    match judge(&format!("hueflow/home/pi/{kind}"), bytes, 5_000_000, ValueFormat::Json) {
        Verdict::Keep { entry, effect } => (entry, effect),
        other => panic!("{other:?}"),
    }
}

fn batch(offset: i64, deliveries: &[(&str, Vec<u8>)]) -> Batch {
    let record = |((kind, bytes), offset): (&(&str, Vec<u8>), i64)| Record {
        place: "local".to_owned(),
        partition: 0,
        offset,
        entry: judged(kind, bytes).0,
    };
    Batch { records: deliveries.iter().zip(offset..).map(record).collect(), restarted: Vec::new() }
}

#[test]
fn an_event_becomes_json_in_its_own_topic_and_settles_its_record() {
    let (entry, effect) = judged("event", &event(8, 3, "line-stopped", EventChange::Begin));
    assert_eq!((entry.topic, entry.dead, effect), (Topic::Event, false, Effect::Record { stream: 8, seq: 3 }));
    assert_eq!((entry.header("schema"), entry.header("seq")), (Some("hueflow.event/2"), Some("3")));
    let json: EventJson = serde_json::from_slice(&entry.value).unwrap();
    assert_eq!((json.event.as_str(), json.change.as_str(), json.frame), ("line-stopped", "begin", 6));
    assert_eq!((json.value, json.captured_at.as_str()), (Some(0.250_003), "2023-11-14T22:13:20.099999Z"));
    // On another topic, or not readable: a dead letter with all its bytes, which can be judged again.
    let wrong = judged("metrics", &event(8, 3, "line-stopped", EventChange::Begin)).0;
    assert_eq!((wrong.dead, wrong.header("reason")), (true, Some("kind-topic")));
    let newer = firmware::custody::Envelope { payload_version: 3, ..envelope(Kind::Event, 8, 4) };
    let (letter, effect) = judged("event", &[&newer.seal(b"x")[..], b"x"].concat());
    assert_eq!((letter.dead, letter.header("reason")), (true, Some("payload-version")));
    assert_eq!((letter.topic, effect), (Topic::Event, Effect::Record { stream: 8, seq: 4 }));
}

#[test]
fn an_event_of_an_older_edge_is_kept_and_a_blinking_one_has_pattern_and_rate() {
    // Version 1: frame, name, begin, no value.
    let old = firmware::custody::Envelope { payload_version: 1, ..envelope(Kind::Event, 8, 3) };
    let payload = [9, 4, b'd', b'o', b'o', b'r', 0, 0];
    let (entry, _) = judged("event", &[&old.seal(&payload)[..], &payload].concat());
    let json: EventJson = serde_json::from_slice(&entry.value).unwrap();
    assert_eq!((json.event.as_str(), json.frame, json.change.as_str(), json.pattern), ("door", 9, "begin", None));
    let (entry, _) = judged("event", &common::event(8, 4, "lamp", EventChange::Turn));
    let json: EventJson = serde_json::from_slice(&entry.value).unwrap();
    let reported = (json.change.as_str(), json.pattern.as_deref(), json.rate_hz);
    assert_eq!(reported, ("turn", Some("blinking"), Some(1.25)));
    let dir = tempfile::tempdir().unwrap();
    let (mut store, live) = (Store::open(&config(dir.path())).unwrap(), Live::default());
    store.begin("j").unwrap();
    let mut rate = |offset, delivery| {
        let batch = batch(offset, &[("event", delivery)]);
        store.apply(&batch).unwrap().into_iter().for_each(|e| live.take(e));
        let start = "hueflow_metrics_event_blink_hertz{device=\"pi\",event=\"lamp\"} ";
        exposition::text(&live).lines().find_map(|l| l.strip_prefix(start).map(str::to_owned))
    };
    assert_eq!(rate(1, common::event(8, 5, "lamp", EventChange::Turn)).as_deref(), Some("1.25"));
    assert_eq!(rate(2, common::event(8, 6, "lamp", EventChange::End)).as_deref(), Some("0"));
}

#[test]
fn an_unknown_kind_is_a_dead_letter_that_is_settled_and_keeps_its_bytes() {
    let unknown = firmware::custody::Envelope { kind: 200, ..envelope(Kind::Event, 8, 3) };
    let bytes = [&unknown.seal(b"later")[..], b"later"].concat();
    let (entry, effect) = judged("event", &bytes);
    assert_eq!((entry.dead, entry.header("reason")), (true, Some("kind")));
    assert_eq!((&entry.value, effect), (&bytes, Effect::Record { stream: 8, seq: 3 }));
}

#[test]
fn events_are_stored_once_in_order_and_one_of_an_earlier_boot_is_over() {
    use EventChange::{Begin, End};
    let dir = tempfile::tempdir().unwrap();
    let (mut store, live) = (Store::open(&config(dir.path())).unwrap(), Live::default());
    store.begin("j").unwrap();
    let take = |store: &mut Store, batch: &Batch| store.apply(batch).unwrap().into_iter().for_each(|e| live.take(e));
    let first = batch(
        1,
        &[
            ("metrics", record(8, 0)),
            ("event", event(8, 1, "door", Begin)),
            ("event", event(8, 2, "lamp", Begin)),
            ("event", event(8, 3, "door", End)),
            ("event", event(8, 1, "door", Begin)),
        ],
    );
    take(&mut store, &first);
    // The same once more, as after a crash of the bridge.
    take(&mut store, &batch(6, &[("event", event(8, 2, "lamp", Begin))]));
    let line = store.ledger().unwrap().into_iter().next().unwrap();
    assert_eq!((line.stored, line.duplicates, line.missing), (4, 2, 0));
    let active = |live: &Live, event: &str| {
        let text = exposition::text(live);
        let start = format!("hueflow_metrics_event_active{{device=\"pi\",event=\"{event}\"}} ");
        text.lines().find_map(|l| l.strip_prefix(&start).map(str::to_owned))
    };
    assert_eq!((active(&live, "door").as_deref(), active(&live, "lamp").as_deref()), (Some("0"), Some("1")));
    let query = open_reader(&config(dir.path())).unwrap();
    let latest = query.latest_events("pi").unwrap();
    let names: Vec<_> = latest.iter().map(|e| (e.event.event.as_str(), e.event.seq, e.event.is_on())).collect();
    assert_eq!(names, [("door", 3, false), ("lamp", 2, true)]);
    assert_eq!(latest[0].event.value, Some(0.250_003));
    // A later boot, in which nothing has begun.
    take(&mut store, &batch(7, &[("metrics", record(10, 0))]));
    assert_eq!(active(&live, "lamp").as_deref(), Some("0"));
    take(&mut store, &batch(8, &[("event", event(10, 1, "lamp", Begin))]));
    assert_eq!(active(&live, "lamp").as_deref(), Some("1"));
    // Of a device that is offline, nobody knows.
    let status = |state: &str| format!("{{\"state\":\"{state}\",\"boot\":\"10\"}}").into_bytes();
    take(&mut store, &batch(20, &[("status", status("offline"))]));
    assert_eq!((active(&live, "lamp"), active(&live, "door")), (None, None));
    assert!(!exposition::text(&live).contains("event_blink_hertz{"));
    take(&mut store, &batch(21, &[("status", status("online"))]));
    assert_eq!(active(&live, "lamp").as_deref(), Some("1"));
    // What comes late of the earlier boot changes nothing.
    take(&mut store, &batch(30, &[("event", event(8, 4, "lamp", End))]));
    assert_eq!(active(&live, "lamp").as_deref(), Some("1"));
    let db = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    let rows =
        "SELECT group_concat(event || ' ' || change, ', ') FROM (SELECT * FROM events WHERE stream = '8' ORDER BY seq)";
    let rows: String = db.query_row(rows, [], |r| r.get(0)).unwrap();
    assert_eq!(rows, "door begin, lamp begin, door end, lamp end");
}
