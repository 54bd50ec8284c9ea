//! Verdicts on records, states and junk: topic, headers, key, time, effect, and the reason of a dead letter.
//!
//! Inputs are sealed records as an edge sends them, of every version, and damaged ones.

use super::*;
use crate::json::ReportJson;
use crate::sample::report;
use firmware::wire::LossReason;
use proptest::prelude::*;

const E: Envelope = Envelope {
    kind: 1,
    payload_version: Report::VERSION,
    clock_synced: true,
    stream: 8,
    seq: 3,
    captured_at_us: 1_500_000,
};

fn keep(v: Verdict) -> (Entry, Effect) {
    match v {
        Verdict::Keep { entry, effect, .. } => (entry, effect),
        other => panic!("{other:?}"),
    }
}

fn judged(topic: &str, bytes: &[u8]) -> Verdict {
    judge(&format!("hueflow/home/{topic}"), bytes, 9_000_000, ValueFormat::Json)
}

fn reason(topic: &str, bytes: &[u8]) -> (String, Effect) {
    let (entry, effect) = keep(judged(topic, bytes));
    assert!(entry.dead);
    (entry.header("reason").unwrap().to_owned(), effect)
}

#[test]
fn a_report_becomes_json_with_key_headers_and_its_own_time() {
    let bytes = seal(&E, &report(7), &[]).unwrap();
    let (entry, effect) = keep(judged("pi/metrics", &bytes));
    assert_eq!(effect, Effect::Record { stream: 8, seq: 3 });
    assert_eq!((entry.topic_name().as_str(), entry.key.as_str(), entry.time_ms), ("metrics", "pi", 1_500));
    for (name, value) in [
        ("schema", "hueflow.metrics/3"),
        ("content-type", "application/json"),
        ("device", "pi"),
        ("stream", "8"),
        ("seq", "3"),
        ("captured-at", "1970-01-01T00:00:01.500000Z"),
    ] {
        assert_eq!(entry.header(name), Some(value));
    }
    let json: ReportJson = serde_json::from_slice(&entry.value).unwrap();
    assert_eq!((json.frame, json.clusters), (7, 2));
    let unsynced = seal(&Envelope { clock_synced: false, ..E }, &report(7), &[]).unwrap();
    assert_eq!(keep(judged("pi/metrics", &unsynced)).0.time_ms, 9_000);
    let late = judge("hueflow/home/pi/metrics", &bytes, 86_400_000_000, ValueFormat::Json);
    assert_eq!(keep(late).0.time_ms, 86_400_000, "an old backlog is not deleted at once for its age");
    let ahead = seal(&Envelope { captured_at_us: 90_000_000, ..E }, &report(7), &[]).unwrap();
    assert_eq!(keep(judged("pi/metrics", &ahead)).0.time_ms, 9_000);
    let (raw, _) = keep(judge("hueflow/home/pi/metrics", &bytes, 0, ValueFormat::Postcard));
    assert_eq!(raw.header("content-type"), Some("application/x-postcard"));
    assert_eq!(wire::decode::<Report>(3, &raw.value).unwrap(), report(7));
}

#[test]
fn a_report_of_any_version_becomes_json_of_the_present_one_and_stays_what_it_was_as_postcard() {
    for (version, hex) in [
        (1, include_str!("../../../../tests/golden/report-1.hex")),
        (2, include_str!("../../../../tests/golden/report-2.hex")),
    ] {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |d: &[u8]| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap();
        let record: Vec<u8> = digits.chunks(2).map(byte).collect();
        let (entry, _) = keep(judged("pi/metrics", &record));
        assert_eq!(entry.header("schema"), Some("hueflow.metrics/3"));
        let json = ReportJson::read(&entry.value).unwrap();
        assert_eq!((json.frame, json.clusters, json.missed, json.beyond_px), (299, 2, None, None));
        let (raw, _) = keep(judge("hueflow/home/pi/metrics", &record, 0, ValueFormat::Postcard));
        assert_eq!(raw.header("schema"), Some(format!("hueflow.metrics/{version}").as_str()));
        assert!(wire::decode::<Report>(version, &raw.value).is_ok());
    }
}

#[test]
fn dead_letters_say_why_and_count_as_handed_over_only_with_a_whole_envelope() {
    let settled = Effect::Record { stream: 8, seq: 3 };
    let good = seal(&E, &report(7), &[]).unwrap();
    let mut damaged = good.clone();
    damaged[50] ^= 1;
    assert_eq!(reason("pi/metrics", &damaged), ("crc".to_owned(), Effect::Nothing));
    assert_eq!(reason("pi/metrics", &good[..30]), ("short".to_owned(), Effect::Nothing));
    assert_eq!(
        reason("pi/metrics", b"random bytes, and more than forty of them, too"),
        ("magic".to_owned(), Effect::Nothing)
    );
    assert_eq!(reason("pi/census", &good), ("kind-topic".to_owned(), settled.clone()));
    assert_eq!(reason("a b/metrics", &good).0, "device");
    let odd = Envelope { kind: 77, ..E };
    assert_eq!(reason("pi/metrics", &seal(&odd, &report(7), &[]).unwrap()), ("kind".to_owned(), settled.clone()));
    let newer = Envelope { payload_version: 9, ..E };
    assert_eq!(
        reason("pi/metrics", &seal(&newer, &report(7), &[]).unwrap()),
        ("payload-version".to_owned(), settled.clone())
    );
    assert_eq!(
        reason("pi/metrics", &seal(&Envelope { seq: u64::MAX, ..E }, &report(7), &[]).unwrap()),
        ("seq".to_owned(), Effect::Nothing)
    );
    let mut contradicts = report(7);
    // Its palette has more pixels than the frame. Fewer are right: a mask may hide the rest.
    contradicts.width -= 1;
    assert_eq!(reason("pi/metrics", &seal(&E, &contradicts, &[]).unwrap()).0, "inconsistent");
    let long = Envelope { kind: 3, payload_version: 1, ..E };
    let picture =
        PictureHead { frame: 1, part: 0, parts: 1, width: 1, height: 1, packed_bytes: 1, palette: Default::default() };
    assert_eq!(reason("pi/video", &seal(&long, &picture, &[0; 40_000]).unwrap()), ("too-long".to_owned(), settled));
    let (entry, _) = keep(judged("pi/video", &[7; 100_000]));
    assert_eq!((entry.value.len(), entry.header("bytes")), (DEAD_BYTES_MAX, Some("100000")));
    assert_eq!(entry.header("sha256").unwrap().len(), 64);
    assert_eq!(reason("pi/status", b"[1]").0, "status-json");
    assert_eq!(reason("pi/window", &[1, 2]).0, "window-payload");
}

#[test]
fn pictures_without_a_stream_go_to_the_slot_and_with_one_they_are_records() {
    let head =
        PictureHead { frame: 1, part: 2, parts: 3, width: 1, height: 1, packed_bytes: 1, palette: Default::default() };
    let record = seal(&Envelope { kind: 3, payload_version: 1, ..E }, &head, b"x").unwrap();
    let (entry, _) = keep(judged("pi/video", &record));
    assert_eq!((entry.header("part"), entry.header("parts"), entry.loose), (Some("2"), Some("3"), false));
    let loose = seal(&Envelope { kind: 3, payload_version: 1, stream: 0, ..E }, &head, b"x").unwrap();
    assert!(matches!(judged("pi/video", &loose), Verdict::Picture { entry: Entry { loose: true, .. }, .. }));
    assert_eq!(reason("pi/metrics", &seal(&Envelope { stream: 0, ..E }, &report(1), &[]).unwrap()).0, "stream");
    // A newer census is passed on without its part.
    let newer = seal(&Envelope { kind: 3, payload_version: 5, ..E }, &head, b"x").unwrap();
    assert_eq!(keep(judged("pi/video", &newer)).0.header("part"), None);
}

#[test]
fn losses_windows_and_states_go_to_status() {
    let loss = Loss { stream: 8, from: 1, to: 4, reason: LossReason::Full };
    let (entry, effect) = keep(judged(
        "pi/metrics",
        &seal(&Envelope { kind: 4, payload_version: 1, stream: 9, ..E }, &loss, &[]).unwrap(),
    ));
    assert_eq!(effect, Effect::Record { stream: 9, seq: 3 });
    assert_eq!((entry.topic, entry.header("schema")), (Topic::Status, Some("hueflow.loss/1")));
    assert_eq!(entry.value, br#"{"stream":"8","from":1,"to":4,"reason":"full"}"#);
    let (entry, effect) = keep(judged("pi/status", br#"{"state":"online"}"#));
    assert_eq!((entry.header("schema"), effect), (Some("hueflow.status/1"), Effect::Nothing));
    assert_eq!(judged("bridge/status", b"{}"), Verdict::Ignore);
    assert_eq!(judged("pi/window", b""), Verdict::Ignore);
}

proptest! {
    #[test]
    fn any_bytes_on_any_topic_give_a_verdict(topic in "[a-z/]{0,20}", bytes in prop::collection::vec(any::<u8>(), 0..90)) {
        let _ = judge(&topic, &bytes, 0, ValueFormat::Json);
    }
}
