//! The bridge's targets: MQTT deliveries, journal entries, and settings of the two programs.
//!
//! The inputs are bytes that anyone may have made. Besides "no panic", each dead letter must have one reason, and a journal
//! that is read twice must count once. A store in memory and a temporary file are used.

use super::feed::Feed;
use firmware::custody::{Envelope, Kind};
use firmware::limits::SEQ_MAX;
use firmware::wire::{self, PictureHead, Report};
use hueflow_bridge::config::{BRIDGE_KEYS, BridgeConfig, DlqConfig, METRICS_KEYS, MetricsConfig, StoreConfig};
use hueflow_bridge::journal::{Batch, Entry, Headers, JournalUrl, Record, TOPICS, Topic};
use hueflow_bridge::json::{LossJson, ReportJson, WindowJson};
use hueflow_bridge::metrics::http::live::Live;
use hueflow_bridge::metrics::ingest::decode::read_report;
use hueflow_bridge::metrics::silhouette;
use hueflow_bridge::metrics::silhouette::census;
use hueflow_bridge::metrics::silhouette::picture::Joiner;
use hueflow_bridge::metrics::store::Store;
use hueflow_bridge::metrics::store::ledger;
use hueflow_bridge::relay::verdict::{DEAD_BYTES_MAX, Effect, ValueFormat, Verdict, is_device, judge};
use hueflow_bridge::settings::{Key, Settings, Url};
use std::str::FromStr;

const NOW_US: u64 = 1_764_000_000_000_000;
/// Most pixels of a picture that is unpacked: larger ones only take time.
const PIXELS_MAX: usize = 1 << 14;

/// A delivery: even, a topic, a line end and a payload; odd, a kind, an envelope's fields and a payload to be sealed.
pub fn verdict(data: &[u8]) {
    let mut feed = Feed(data);
    if feed.byte() & 1 == 0 {
        let at = feed.0.iter().position(|&b| b == b'\n').unwrap_or(feed.0.len());
        let topic = String::from_utf8_lossy(feed.take(at)).into_owned();
        judged(&topic, feed.0.get(1..).unwrap_or(&[]));
    } else {
        let (topic, record) = sealed(&mut feed);
        judged(&topic, &record);
    }
}

fn sealed(feed: &mut Feed<'_>) -> (String, Vec<u8>) {
    let kind = feed.byte() % 8;
    let words = ["metrics", "census", "video", "status", "window", "x", "event"];
    let word = match feed.below(12) {
        i @ 0..7 => words[i],
        _ => Kind::from_byte(kind).map_or("metrics", Kind::mqtt_kind),
    };
    let device = ["pi", "desk", "bridge", "a.b", ".x", ""][feed.below(6)];
    let envelope = Envelope {
        kind,
        payload_version: feed.byte(),
        clock_synced: feed.byte() & 1 == 1,
        stream: feed.number(),
        seq: feed.number(),
        captured_at_us: feed.number(),
    };
    let mut record = envelope.seal(feed.0).to_vec();
    record.extend(feed.0);
    (format!("hueflow/home/{device}/{word}"), record)
}

fn judged(topic: &str, payload: &[u8]) {
    for format in [ValueFormat::Json, ValueFormat::Postcard] {
        let verdict = judge(topic, payload, NOW_US, format);
        assert_eq!(judge(topic, payload, NOW_US, format), verdict);
        let entry = match &verdict {
            Verdict::Keep { entry, effect } => {
                sound(entry, effect, payload);
                entry
            }
            Verdict::Picture { entry } => {
                assert!(entry.loose && !entry.dead && entry.topic == Topic::Video);
                entry
            }
            Verdict::Ignore => continue,
        };
        assert!(is_device(&entry.key));
        let names: std::collections::BTreeSet<_> = entry.headers.iter().map(|h| h.0).collect();
        assert_eq!(names.len(), entry.headers.len(), "a header twice: {:?}", entry.headers);
        // What is kept is understood by who reads it.
        let mut store = store();
        store.apply(&batch(vec![entry.clone()])).unwrap();
        if entry.dead {
            continue;
        }
        match (entry.topic, entry.header("schema").unwrap_or("").split('/').next().unwrap_or("")) {
            (Topic::Metrics, _) if format == ValueFormat::Json => {
                let report = ReportJson::read(&entry.value).unwrap();
                assert_eq!(u64::from(report.pixels), report.palette.pixels.iter().copied().map(u64::from).sum::<u64>());
            }
            (_, "hueflow.window") => drop(serde_json::from_slice::<WindowJson>(&entry.value).unwrap()),
            (_, "hueflow.loss") => drop(serde_json::from_slice::<LossJson>(&entry.value).unwrap()),
            _ => {}
        }
    }
}

fn sound(entry: &Entry, effect: &Effect, payload: &[u8]) {
    assert_eq!(entry.headers.iter().filter(|h| h.0 == "reason").count(), usize::from(entry.dead));
    assert_eq!(entry.header("reason").is_some_and(|r| !r.is_empty()), entry.dead);
    assert!(entry.time_ms >= 0);
    if let Effect::Record { stream, seq } = effect {
        assert!(*stream != 0 && *seq <= SEQ_MAX);
        assert_eq!((entry.header_u64("stream"), entry.header_u64("seq")), (Some(*stream), Some(*seq)));
    }
    if entry.dead {
        assert!(payload.starts_with(&entry.value) && entry.value.len() == payload.len().min(DEAD_BYTES_MAX));
    }
}

fn store() -> Store {
    let mut store = Store::open(&StoreConfig { census_kept: 2, ..StoreConfig::of_file(":memory:") }).unwrap();
    store.begin("a journal").unwrap();
    store
}

fn batch(entries: Vec<Entry>) -> Batch {
    let record = |(i, entry)| Record { place: "local".into(), partition: 0, offset: i as i64, entry };
    Batch { records: entries.into_iter().enumerate().map(record).collect(), restarted: Vec::new() }
}

/// What anyone may have written into the journal's topics, read by the metrics program, twice.
pub fn journal(data: &[u8]) {
    let mut feed = Feed(data);
    let mut entries = Vec::new();
    while !feed.is_empty() && entries.len() < 12 {
        entries.push(if feed.byte() & 1 == 0 { relayed(&mut feed) } else { foreign(&mut feed) });
    }
    let entries: Vec<Entry> = entries.into_iter().flatten().filter(|e| !large(e)).collect();
    for e in &entries {
        if let Some(report) = read_report(e, 2, 1) {
            let text = serde_json::to_string(&report);
            assert!(text.is_ok());
        }
    }
    let (mut store, live, batch) = (store(), Live::default(), batch(entries));
    for happened in store.apply(&batch).unwrap() {
        live.take(happened);
    }
    let lines = store.ledger().unwrap();
    assert!(!serde_json::to_string(&lines).unwrap().is_empty());
    live.set_ledger(lines.clone());
    assert!(hueflow_bridge::metrics::http::exposition::text(&live).contains("hueflow_metrics_"));
    // From the beginning once more: nothing counts twice.
    store.apply(&batch).unwrap();
    let counted = |l: &ledger::Line| (l.device.clone(), l.boot.clone(), l.produced, l.stored, l.dead, l.declared_lost);
    let again = store.ledger().unwrap();
    assert_eq!(again.iter().map(counted).collect::<Vec<_>>(), lines.iter().map(counted).collect::<Vec<_>>());
}

/// What the relay makes of a delivery.
fn relayed(feed: &mut Feed<'_>) -> Option<Entry> {
    let mut body = Feed(feed.stretch(16 * 1024));
    let (topic, record) = sealed(&mut body);
    match judge(&topic, &record, NOW_US, ValueFormat::Json) {
        Verdict::Keep { entry, .. } | Verdict::Picture { entry, .. } => Some(entry),
        Verdict::Ignore => None,
    }
}

/// What somebody else wrote.
fn foreign(feed: &mut Feed<'_>) -> Option<Entry> {
    let topic = TOPICS[feed.below(5)];
    let flags = feed.byte();
    let schema = ["metrics", "census", "video", "original", "loss", "window", "status", "x", "event"][feed.below(9)];
    let mut headers = Headers::new();
    headers.push("schema", format_args!("hueflow.{schema}/{}", feed.byte() % 4));
    for name in ["stream", "seq", "bytes"] {
        match feed.byte() {
            0..40 => {}
            40..60 => headers.push(name, String::from_utf8_lossy(feed.stretch(32))),
            _ => headers.push(name, feed.number()),
        }
    }
    let types = ["application/json", "application/x-postcard", "application/x-hueflow-original", "x"];
    headers.push("content-type", types[feed.below(4)]);
    for name in ["captured-at", "reason"].iter().take(feed.below(3)) {
        headers.push(name, String::from_utf8_lossy(feed.stretch(64)));
    }
    let time_ms = feed.number() as i64;
    let (key, value) = (["pi", "desk", ""][feed.below(3)].to_owned(), feed.stretch(16 * 1024).to_vec());
    Some(Entry { topic, dead: flags & 1 == 1, loose: flags & 2 == 2, key, headers, time_ms, value })
}

fn large(e: &Entry) -> bool {
    large_picture(&e.value)
}

fn large_picture(payload: &[u8]) -> bool {
    wire::decode_head::<PictureHead>(1, payload)
        .is_ok_and(|(h, _)| usize::from(h.width) * usize::from(h.height) > PIXELS_MAX)
}

/// Parts of a picture and of a census, in any order.
pub fn parts(data: &[u8]) {
    let mut feed = Feed(data);
    let (mut joiner, mut parts) = (Joiner::default(), Vec::new());
    while !feed.is_empty() && parts.len() < 16 {
        let (version, payload) = (feed.byte(), feed.stretch(16 * 1024));
        parts.push((version, payload));
        if large_picture(payload) {
            continue;
        }
        if let Some(picture) = joiner.add(version, payload) {
            let pixels = usize::from(picture.width) * usize::from(picture.height);
            assert_eq!(picture.rgb.len(), pixels * 3);
            assert_eq!(picture.y4m().len(), 6 + pixels * 3);
            assert!(picture.png().is_ok());
        }
    }
    if let Ok(colours) = census::join(parts.iter().copied()) {
        assert!(colours.samples.iter().all(|s| usize::from(s.label) < colours.palette.len()));
        if colours.samples.len() < 200 {
            score(&colours);
        }
    }
}

fn score(colours: &census::Colours) {
    if let Ok(s) = silhouette::exact(&colours.samples, colours.space, 1) {
        assert!((-1.0..=1.0).contains(&s.score), "{}", s.score);
    }
}

/// A configuration file of either program, and behind a zero byte variables.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // Files that are named are read: only such as are not there.
    if ["/dev", "/proc", "/sys"].iter().any(|dir| text.contains(dir)) {
        return;
    }
    let (toml, vars) = text.split_once('\0').unwrap_or((&text, ""));
    let vars: Vec<(String, String)> =
        vars.lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (format!("H__{k}"), v.to_owned())).collect();
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let file = dir.path().join("x.toml");
    std::fs::write(&file, toml).unwrap();
    for keys in [BRIDGE_KEYS, METRICS_KEYS] {
        let gather =
            |keys: &'static [Key], vars: Vec<_>| Settings::gather(keys, &file, true, "H", vars.into_iter(), &[]);
        let settings = match gather(keys, vars.clone()) {
            Ok(settings) => settings,
            Err(e) => {
                assert!(!e.to_string().is_empty());
                continue;
            }
        };
        let errors = [
            BridgeConfig::check(&settings).err().map(|e| e.to_string()),
            DlqConfig::check(&settings).err().map(|e| e.to_string()),
            MetricsConfig::check(&settings).err().map(|e| e.to_string()),
        ];
        assert!(errors.iter().flatten().all(|why| !why.is_empty()));
        // What is printed is what is in force, but for passwords.
        let printed = settings.print();
        std::fs::write(&file, &printed).unwrap();
        let again = gather(keys, Vec::new()).unwrap_or_else(|e| panic!("{e}\n{printed}"));
        for key in keys.iter().filter(|k| !settings.text(k.name).contains("://")) {
            assert_eq!(again.text(key.name), settings.text(key.name), "{}\n{printed}", key.name);
        }
        std::fs::write(&file, toml).unwrap();
    }
    if let Ok(url) = JournalUrl::from_str(&text) {
        assert_eq!(url.to_string().parse(), Ok(url));
    }
    if let Ok(url) = Url::from_str(&text) {
        assert!(url.port > 0 && !url.host.is_empty());
    }
}

/// A report as JSON, as the metrics program and everybody else reads it.
pub fn json(data: &[u8]) {
    if let Some(report) = ReportJson::read(data) {
        let text = serde_json::to_vec(&report).unwrap();
        assert_eq!(ReportJson::read(&text), Some(report));
    }
    if let Ok(window) = serde_json::from_slice::<WindowJson>(data) {
        assert_eq!(serde_json::from_slice::<WindowJson>(&serde_json::to_vec(&window).unwrap()).ok(), Some(window));
    }
    if let Ok(loss) = serde_json::from_slice::<LossJson>(data) {
        assert_eq!(serde_json::from_slice::<LossJson>(&serde_json::to_vec(&loss).unwrap()).ok(), Some(loss));
    }
    for payload_version in 1..=3 {
        let Ok(report) = wire::decode::<Report>(payload_version, data) else { continue };
        let envelope = Envelope {
            kind: 1,
            payload_version,
            clock_synced: true,
            stream: u64::MAX,
            seq: SEQ_MAX,
            captured_at_us: u64::MAX,
        };
        let json = ReportJson::new("pi", &envelope, &report);
        let text = serde_json::to_vec(&json).unwrap();
        assert_eq!(serde_json::from_slice::<ReportJson>(&text).ok(), Some(json));
    }
}
