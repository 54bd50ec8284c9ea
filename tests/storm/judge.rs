//! What became of every record, decided by what can be read from outside.
//!
//! After quiet it reads the store, the journal and the ledger, and compares them with what the disks held at the kills. The
//! result is each claim with how it stands. Records themselves are compared wherever possible, not sums.

use crate::cast::{self, Cast, LIMIT, Middle};
use crate::events;
use crate::storm::Found;
use harness::wait_for;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How often the ledger is asked.
const ASK: Duration = Duration::from_millis(200);
/// Cases that are named of what is wrong.
const NAMED_MAX: usize = 5;

/// What was found.
#[derive(Debug)]
pub struct Verdict {
    /// What was counted.
    pub sums: String,
    /// What was claimed, and if it is not so, why.
    pub findings: Vec<(&'static str, Result<(), String>)>,
}

impl Verdict {
    /// Whether all claims hold.
    pub fn holds(&self) -> bool {
        self.findings.iter().all(|(_, found)| found.is_ok())
    }
}

/// A record's name: device, stream, seq.
pub type Name = (String, u64, u64);

/// Sets of seqs by device, stream and what became of them.
#[derive(Debug, Default)]
pub struct Spans(BTreeMap<(String, u64, String), Vec<(u64, u64)>>);

impl Spans {
    fn read(cast: &Cast) -> Spans {
        let mut spans = Spans::default();
        for row in cast.rows("SELECT device, stream, what, lo, hi FROM spans") {
            let w: Vec<&str> = row.split('|').collect();
            if let [device, stream, what, lo, hi] = w[..] {
                let key = (device.to_owned(), number(stream), what.to_owned());
                spans.0.entry(key).or_default().push((number(lo), number(hi)));
            }
        }
        spans
    }

    /// Whether a record is among those.
    pub fn has(&self, (device, stream, seq): &Name, what: &str) -> bool {
        let key = (device.clone(), *stream, what.to_owned());
        self.0.get(&key).is_some_and(|s| s.iter().any(|&(lo, hi)| (lo..hi).contains(seq)))
    }

    /// Whether any record of a stream is among those.
    pub fn has_any(&self, device: &str, stream: u64, what: &str) -> bool {
        self.0.contains_key(&(device.to_owned(), stream, what.to_owned()))
    }

    fn accounts_for(&self, name: &Name) -> bool {
        ["stored", "dead", "lost"].iter().any(|what| self.has(name, what))
    }

    fn count(&self, what: &str) -> u64 {
        self.0.iter().filter(|((_, _, w), _)| w == what).flat_map(|(_, s)| s).map(|(lo, hi)| hi - lo).sum()
    }
}

/// What lies in the journal.
#[derive(Default)]
struct Topics {
    records: Vec<Name>,
    windows: Vec<(String, String)>,
    statuses: u64,
    dead: u64,
    other: Vec<String>,
}

impl Topics {
    fn read(cast: &Cast) -> Topics {
        let mut topics = Topics::default();
        match (cast.middle, &cast.kafka) {
            (Middle::Kafka, Some(kafka)) => {
                for topic in ["metrics", "census", "video", "status", "event"] {
                    for line in kafka.consume(topic, "%k %h\n") {
                        let (key, headers) = line.split_once(' ').unwrap_or_default();
                        let headers = headers.split(',').filter_map(|h| h.split_once('='));
                        topics.entry(topic, key, &headers.collect());
                    }
                    topics.dead += kafka.consume(&format!("{topic}.dlq"), "%k\n").len() as u64;
                }
            }
            _ => {
                let file = cast.house.path("journal.sqlite");
                for row in
                    cast::rows(&file, "SELECT topic || ' ' || key || ' ' || headers FROM entries WHERE loose = 0")
                {
                    let words: Vec<&str> = row.splitn(3, ' ').collect();
                    let [topic, key, headers] = words[..] else { continue };
                    let headers: Vec<(String, String)> = serde_json::from_str(headers).unwrap_or_default();
                    if topic.ends_with(".dlq") {
                        topics.dead += 1;
                    } else {
                        topics.entry(topic, key, &headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect());
                    }
                }
            }
        }
        topics
    }

    fn entry(&mut self, topic: &str, key: &str, headers: &BTreeMap<&str, &str>) {
        let schema = headers.get("schema").and_then(|s| s.split('/').next()).unwrap_or_default();
        match (topic, schema, headers.get("stream"), headers.get("seq")) {
            ("status", "hueflow.window", ..) => self.windows.push((key.to_owned(), schema.to_owned())),
            ("status", "hueflow.status", ..) => self.statuses += 1,
            (_, _, Some(stream), Some(seq)) if *stream != "0" => {
                self.records.push((key.to_owned(), number(stream), number(seq)));
            }
            _ => self.other.push(format!("{topic}: {key} {headers:?}")),
        }
    }
}

/// Judges. Waits for the ledger to come to rest first.
pub fn judge(cast: &Cast, found: &[Found]) -> Verdict {
    let settled = |r: &Value| {
        let there = of(r, "stored") + of(r, "dead") + of(r, "declared_lost");
        of(r, "produced") == there && of(r, "missing") == 0
    };
    let start = Instant::now();
    let (ledger, quiet) = loop {
        // Between two batches of the journal a ledger looks settled too. The journal is asked first.
        let is_read = cast.house.has_read_journal();
        let ledger = cast.house.ledger();
        let done = is_read && !ledger.is_empty() && ledger.iter().all(settled);
        if done || start.elapsed() > LIMIT {
            break (ledger, done);
        }
        std::thread::sleep(ASK);
    };
    let sum = |key: &str| ledger.iter().map(|r| of(r, key)).sum::<u64>();
    let (spans, topics) = (Spans::read(cast), Topics::read(cast));
    let distinct: BTreeSet<&Name> = topics.records.iter().collect();
    let repeats = topics.records.len() - distinct.len();
    let at_kills: usize = found.iter().map(|f| f.records.len()).sum();
    let sent = cast.traffic.sent();
    let sums = format!(
        "records: {} produced = {} stored + {} declared lost + {} dead, {} missing; {} boots, {} frames refused or lost\n\
         sent: {} records, {} times again; topics: {} records of which {repeats} repeats, {} windows, {} statuses; \
         store: {} duplicates dropped; disks at kills: {at_kills} records",
        sum("produced"),
        sum("stored"),
        sum("declared_lost"),
        sum("dead"),
        sum("missing"),
        ledger.len(),
        sum("frames_dropped"),
        sent.len(),
        cast.traffic.again(),
        topics.records.len(),
        topics.windows.len(),
        topics.statuses,
        sum("duplicates"),
    );
    let unsettled = ledger.iter().filter(|r| !settled(r)).map(Value::to_string);
    let dead = (topics.dead + sum("dead") > 0).then(|| format!("{} dead letters", topics.dead.max(sum("dead"))));
    let unsent = sent.iter().filter(|n| !spans.accounts_for(n)).map(|n| format!("{n:?}"));
    let (events, changes) = (none_of(events::wrong(cast, &spans)), events::count(cast));
    let sums = format!("{sums}\nevents: {changes} begins and ends");
    let findings = vec![
        ("after quiet, produced = stored + declared lost + dead, nothing missing, for each device and boot", {
            let none = ledger.is_empty().then(|| "no ledger".to_owned());
            let late = (!quiet).then(|| format!("not within {LIMIT:?}"));
            none_of(none.into_iter().chain(late).chain(unsettled))
        }),
        ("no dead letters", none_of(dead)),
        (
            "every record that was found on a disk at a kill is stored as it was, or declared",
            none_of(on_disks(cast, found, &spans)),
        ),
        ("every record that was sent is stored or declared", none_of(unsent)),
        ("the topics hold just what the ledger has stored", none_of(strangers(&topics, &distinct, &spans))),
        ("no record is in the store twice", none_of(twice(cast))),
        ("no event is lost, doubled or out of order: each frame that differs from the one before has its own", events),
        ("frames rise with seq in each boot", none_of(order(cast))),
        ("frames seen = stored + dropped, exactly where nothing was declared lost", none_of(frames(cast, &ledger))),
        ("what ended cleanly has the same counts of its frames", none_of(summaries(cast, &ledger))),
        ("a device's boots are in the order in which they were started", none_of(boots(cast, &ledger))),
    ];
    Verdict { sums, findings }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(u64::MAX)
}

fn of(r: &Value, key: &str) -> u64 {
    r[key].as_u64().unwrap_or(u64::MAX)
}

fn none_of(wrong: impl IntoIterator<Item = String>) -> Result<(), String> {
    let all: Vec<String> = wrong.into_iter().collect();
    if all.is_empty() {
        return Ok(());
    }
    Err(format!("{} cases: {}", all.len(), all.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join("; ")))
}

/// Reports of the store: device and stream, then seq and frame.
fn reports(cast: &Cast) -> BTreeMap<(String, u64), Vec<(u64, u64)>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in cast.rows("SELECT device, stream, seq, frame FROM reports ORDER BY device, stream, seq") {
        let w: Vec<&str> = row.split('|').collect();
        if let [device, stream, seq, frame] = w[..] {
            all.entry((device.to_owned(), number(stream))).or_default().push((number(seq), number(frame)));
        }
    }
    all
}

fn on_disks(cast: &Cast, found: &[Found], spans: &Spans) -> Vec<String> {
    let reports: BTreeMap<Name, u64> = reports(cast)
        .into_iter()
        .flat_map(|((d, stream), list)| list.into_iter().map(move |(seq, frame)| ((d.clone(), stream, seq), frame)))
        .collect();
    let records = found.iter().flat_map(|f| f.records.iter().map(|r| (&f.device, r)));
    records
        .filter_map(|(device, r)| {
            let name = (device.clone(), r.stream, r.seq);
            if !spans.accounts_for(&name) {
                return Some(format!("{name:?} is nowhere"));
            }
            let differs = r.frame.is_some_and(|f| reports.get(&name).is_some_and(|&stored| stored != f));
            differs.then(|| format!("{name:?} was frame {:?}, is {:?}", r.frame, reports.get(&name)))
        })
        .collect()
}

fn strangers(topics: &Topics, distinct: &BTreeSet<&Name>, spans: &Spans) -> Vec<String> {
    let mut wrong = topics.other.clone();
    wrong.extend(distinct.iter().filter(|n| !spans.has(n, "stored")).map(|n| format!("{n:?} is not stored")));
    let stored = spans.count("stored");
    if stored != distinct.len() as u64 {
        wrong.push(format!("{stored} stored, {} in the topics", distinct.len()));
    }
    wrong
}

fn twice(cast: &Cast) -> Vec<String> {
    cast.rows("SELECT device, stream, frame, count(*) FROM reports GROUP BY device, stream, frame HAVING count(*) > 1")
}

fn order(cast: &Cast) -> Vec<String> {
    let falls = |list: &[(u64, u64)]| list.windows(2).find(|w| w[0].1 >= w[1].1).map(|w| format!("{w:?}"));
    reports(cast).into_iter().filter_map(|(key, list)| Some(format!("{key:?}: {}", falls(&list)?))).collect()
}

fn frames(cast: &Cast, ledger: &[Value]) -> Vec<String> {
    let reports = reports(cast);
    let wrong = |r: &&Value| {
        let key = (r["device"].as_str().unwrap_or_default().to_owned(), number(r["boot"].as_str().unwrap_or_default()));
        let there = reports.get(&key).map_or(0, |l| l.len() as u64) + of(r, "frames_dropped");
        let (seen, lost) = (of(r, "frames_seen"), of(r, "declared_lost"));
        there > seen || there + lost < seen
    };
    ledger.iter().filter(wrong).map(Value::to_string).collect()
}

fn summaries(cast: &Cast, ledger: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    for edge in &cast.edges {
        for run in &edge.runs {
            let (Some(s), boot) = (run.summary, run.boot.to_string()) else { continue };
            let line = ledger.iter().find(|r| r["device"] == edge.name.as_str() && r["boot"] == boot.as_str());
            let seen = line.map_or(0, |r| of(r, "frames_seen"));
            // Frames that were refused last are in no report.
            let good = seen <= s.frames + s.lost && s.frames + s.lost <= seen + s.refused;
            if !good {
                wrong.push(format!("{} boot {boot}: {s:?}, {seen} seen", edge.name));
            }
        }
    }
    wrong
}

fn boots(cast: &Cast, ledger: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    for edge in &cast.edges {
        let lines = ledger.iter().filter(|r| r["device"] == edge.name.as_str());
        let there: Vec<u64> = lines.map(|r| number(r["boot"].as_str().unwrap_or_default())).collect();
        let started: Vec<u64> = edge.runs.iter().map(|r| r.boot).filter(|b| there.contains(b)).collect();
        if started != there {
            wrong.push(format!("{}: started {started:?}, in the ledger {there:?}", edge.name));
        }
    }
    wrong
}

/// For a run that has no kills: waits until the ledger is at rest.
pub fn rest(cast: &Cast) -> bool {
    wait_for("the ledger's rest", LIMIT, || {
        std::thread::sleep(ASK);
        let is_read = cast.house.has_read_journal();
        let ledger = cast.house.ledger();
        let done = |r: &Value| of(r, "missing") == 0 && of(r, "produced") == of(r, "stored") && of(r, "dead") == 0;
        (is_read && !ledger.is_empty() && ledger.iter().all(done)).then_some(true)
    })
}
