//! `hueflow-bridge dlq`: dead letters listed, and judged again.
//!
//! Reads the journal's dead letters, and prints a line for each or appends those that pass now to their topics. Letters stay
//! where they are, and a record that its topic has is not written again: a second replay changes nothing.

use crate::cli::ReplayFlags;
use crate::clock;
use crate::config::DlqConfig;
use crate::failure::Failure;
use crate::intervals::Intervals;
use crate::journal::{self, Entry, Journal, JournalError, Offsets, Topic, topic_name};
use crate::relay::verdict::{self, ValueFormat, Verdict};
use crate::signals::until_stopped;
use futures::future::{BoxFuture, join_all};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const BATCH_MAX: usize = 256;
/// Letters whose confirmations by the journal are waited for together.
const PENDING_MAX: usize = 128;
const WAIT: Duration = Duration::from_millis(200);
/// A journal that answers and delivers nothing for this long has no more (retention may have removed its last entries).
const SILENCE: Duration = Duration::from_secs(4);

/// A dead letter, as `list` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// When it came.
    pub time: String,
    /// The topic that it lies in.
    pub topic: String,
    /// The device.
    pub device: String,
    /// The stream in decimal, if its envelope could be read.
    pub stream: Option<String>,
    /// The sequence number, likewise.
    pub seq: Option<u64>,
    /// Bytes that came, which may be more than are kept.
    pub bytes: Option<u64>,
    /// Why it is dead.
    pub reason: String,
    /// Of all that came.
    pub sha256: Option<String>,
}

impl Letter {
    fn of(e: &Entry) -> Letter {
        Letter {
            time: clock::rfc3339(e.time_ms.unsigned_abs().saturating_mul(1000)),
            topic: e.topic_name(),
            device: device(e).to_owned(),
            stream: e.header("stream").map(str::to_owned),
            seq: e.header_u64("seq"),
            bytes: e.header_u64("bytes"),
            reason: e.header("reason").unwrap_or("unknown").to_owned(),
            sha256: e.header("sha256").map(str::to_owned),
        }
    }
}

impl std::fmt::Display for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        write!(
            f,
            "{} {} {} stream {} seq {} bytes {} reason {} sha256 {}",
            self.time,
            self.topic,
            self.device,
            or(self.stream.clone()),
            or(self.seq.map(|n| n.to_string())),
            or(self.bytes.map(|n| n.to_string())),
            self.reason,
            or(self.sha256.clone())
        )
    }
}

fn device(e: &Entry) -> &str {
    e.header("device").unwrap_or(&e.key)
}

/// Prints the dead letters, of one topic or of all.
///
/// # Errors
/// [`Failure`].
pub fn list(config: &DlqConfig, topic: Option<&str>, json: bool) -> Result<(), Failure> {
    let topic = match topic {
        Some(name) => Some(Topic::parse(name).map(|(t, _)| t).ok_or_else(|| {
            Failure::Usage(format!("--topic: `{name}` must be metrics, census, video, status or event"))
        })?),
        None => None,
    };
    let journal = journal::open_existing(&config.journal, false)?;
    until_stopped(move |stop| {
        let mut out = std::io::stdout().lock();
        let wanted = |place: &str| Topic::parse(place).is_some_and(|(t, dead)| dead && topic.is_none_or(|w| w == t));
        walk(journal.as_ref(), wanted, stop, |e| {
            if !e.dead || topic.is_some_and(|t| t != e.topic) {
                return Ok(true);
            }
            let letter = Letter::of(e);
            let line = if json { serde_json::to_string(&letter).unwrap_or_default() } else { letter.to_string() };
            Ok(writeln!(out, "{line}").is_ok()) // The reader may have closed its end.
        })
    })
}

/// What a replay did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Written to their topics.
    pub replayed: u64,
    /// Dead as before, by reason.
    pub dead: BTreeMap<String, u64>,
    /// Left alone, by why.
    pub skipped: BTreeMap<&'static str, u64>,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        fn part<K: std::fmt::Display>(counts: &BTreeMap<K, u64>) -> String {
            let each: Vec<String> = counts.iter().map(|(why, n)| format!("{n} {why}")).collect();
            let all: u64 = counts.values().sum();
            if each.is_empty() { "0".to_owned() } else { format!("{all} ({})", each.join(", ")) }
        }
        write!(f, "replayed {}, still dead {}, skipped {}", self.replayed, part(&self.dead), part(&self.skipped))
    }
}

/// Judges dead letters again, writes those that pass, and prints what became of them.
///
/// # Errors
/// [`Failure`].
pub fn replay(config: &DlqConfig, flags: &ReplayFlags) -> Result<(), Failure> {
    let journal = journal::open_existing(&config.journal, !flags.dry_run)?;
    let (format, flags) = (config.format, flags.clone());
    until_stopped(move |stop| {
        let tally = replay_letters(journal, format, &flags, stop)?;
        let dry = if flags.dry_run { "dry run, nothing written: " } else { "" };
        let _ = writeln!(std::io::stdout(), "{dry}{tally}"); // The reader may have closed its end.
        Ok(())
    })
}

/// Replays without printing, and gives the counts. Blocks; call it from a thread that may wait for a runtime.
///
/// # Errors
/// [`Failure`].
pub fn replay_letters(
    journal: Arc<dyn Journal>,
    format: ValueFormat,
    flags: &ReplayFlags,
    stop: &AtomicBool,
) -> Result<Tally, Failure> {
    let wanted = |place: &str| Topic::parse(place).is_some_and(|(_, dead)| dead);
    let mut replay = Replay {
        journal: &journal,
        dry_run: flags.dry_run,
        there: HashMap::new(),
        pending: Vec::new(),
        tally: Tally::default(),
    };
    walk(journal.as_ref(), wanted, stop, |e| {
        let asked = e.dead
            && flags.reason.as_deref().is_none_or(|r| e.header("reason") == Some(r))
            && flags.device.as_deref().is_none_or(|d| device(e) == d);
        if asked {
            match judge(e, clock::now_us(), format) {
                ReplayVerdict::Passes(entry) => replay.pass(*entry, stop)?,
                ReplayVerdict::Dead(reason) => *replay.tally.dead.entry(reason).or_default() += 1,
                ReplayVerdict::Skip(why) => *replay.tally.skipped.entry(why).or_default() += 1,
            }
        }
        Ok(true)
    })?;
    replay.settle()?;
    Ok(replay.tally)
}

/// What a letter is by now.
#[derive(Debug, PartialEq, Eq)]
enum ReplayVerdict {
    Passes(Box<Entry>),
    Dead(String),
    Skip(&'static str),
}

/// The verdict on the bytes of a letter, as if they came now.
fn judge(e: &Entry, now_us: u64, format: ValueFormat) -> ReplayVerdict {
    if e.header("reason") == Some("device") {
        return ReplayVerdict::Dead("device".to_owned()); // Its name was not kept.
    }
    let Some(kind) = e.header("mqtt-kind") else { return ReplayVerdict::Skip("without its bytes") };
    if matches!(kind, "window" | "status") {
        return ReplayVerdict::Skip("a window or a status, out of date"); // An old one would undo a newer one.
    }
    if e.header_u64("bytes") != Some(e.value.len() as u64) {
        return ReplayVerdict::Skip("cut");
    }
    if e.header("sha256").is_some_and(|h| h != verdict::sha256(&e.value)) {
        return ReplayVerdict::Skip("other bytes than came");
    }
    match verdict::judge(&format!("hueflow/-/{}/{kind}", device(e)), &e.value, now_us, format) {
        Verdict::Keep { entry, .. } if entry.dead => {
            ReplayVerdict::Dead(entry.header("reason").unwrap_or("unknown").to_owned())
        }
        Verdict::Keep { entry, .. } => ReplayVerdict::Passes(Box::new(entry)),
        Verdict::Picture { .. } => ReplayVerdict::Skip("a picture without custody"),
        Verdict::Ignore => ReplayVerdict::Skip("empty"),
    }
}

/// What a topic has, by device and stream.
type Existing = HashMap<(String, u64), Intervals>;

struct Replay<'a> {
    journal: &'a Arc<dyn Journal>,
    dry_run: bool,
    there: HashMap<Topic, Existing>,
    pending: Vec<BoxFuture<'static, Result<(), JournalError>>>,
    tally: Tally,
}

impl Replay<'_> {
    /// Writes an entry, unless its topic has the record.
    fn pass(&mut self, entry: Entry, stop: &AtomicBool) -> Result<(), Failure> {
        let (Some(stream), Some(seq)) = (entry.header_u64("stream"), entry.header_u64("seq")) else {
            *self.tally.skipped.entry("without stream and seq").or_default() += 1;
            return Ok(());
        };
        let there = match self.there.entry(entry.topic) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                new.insert(read_existing(self.journal.as_ref(), entry.topic, stop)?)
            }
        };
        if !there.entry((entry.key.clone(), stream)).or_default().insert(seq) {
            *self.tally.skipped.entry("in its topic already").or_default() += 1;
        } else if self.dry_run {
            self.tally.replayed += 1;
        } else if !stop.load(Ordering::Relaxed) {
            self.pending.push(self.journal.append(Arc::new(entry)));
            if self.pending.len() >= PENDING_MAX {
                self.settle()?;
            }
        }
        Ok(())
    }

    /// Waits for the journal's confirmations.
    fn settle(&mut self) -> Result<(), Failure> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let runtime = tokio::runtime::Handle::try_current().map_err(|e| Failure::io("runtime", e))?;
        for result in runtime.block_on(join_all(self.pending.drain(..))) {
            match result {
                Ok(()) => self.tally.replayed += 1,
                Err(JournalError::Refused(_)) => *self.tally.dead.entry("refused".to_owned()).or_default() += 1,
                Err(e) => return Err(Failure::Unavailable(e.to_string())),
            }
        }
        Ok(())
    }
}

/// Reads which records a topic has.
fn read_existing(journal: &dyn Journal, topic: Topic, stop: &AtomicBool) -> Result<Existing, Failure> {
    let mut there = Existing::new();
    let name = topic_name(topic, false);
    walk(
        journal,
        |place| place == name,
        stop,
        |e| {
            if !e.dead
                && !e.loose
                && e.topic == topic
                && let (Some(stream), Some(seq)) = (e.header_u64("stream"), e.header_u64("seq"))
            {
                there.entry((e.key.clone(), stream)).or_default().insert(seq);
            }
            Ok(true)
        },
    )?;
    Ok(there)
}

/// Shows `each` the entries of the wanted places (a local journal is one place), up to where they end now, until it returns false.
fn walk(
    journal: &dyn Journal,
    wanted: impl Fn(&str) -> bool,
    stop: &AtomicBool,
    mut each: impl FnMut(&Entry) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let away = |e: JournalError| Failure::Unavailable(e.to_string());
    let end = journal.end().map_err(away)?;
    let is_wanted = |place: &str| place == journal::local::PLACE || wanted(place);
    let from: Offsets = end.iter().filter(|((p, _), _)| !is_wanted(p)).map(|(k, v)| (k.clone(), *v)).collect();
    let mut left = end;
    left.retain(|(place, _), end| is_wanted(place) && *end > i64::from(place == journal::local::PLACE));
    if left.is_empty() {
        return Ok(());
    }
    let mut reader = journal.reader(&from).map_err(away)?;
    let mut last_record_at = Instant::now();
    while !left.is_empty() && !stop.load(Ordering::Relaxed) {
        let batch = match reader.read(BATCH_MAX, WAIT) {
            Ok(batch) => batch,
            Err(JournalError::Fatal(e)) => return Err(Failure::Unavailable(e)),
            Err(_) => journal::Batch::default(),
        };
        for record in &batch.records {
            last_record_at = Instant::now();
            let place = (record.place.clone(), record.partition);
            let Some(&end) = left.get(&place) else { continue };
            if record.offset < end && !each(&record.entry)? {
                return Ok(());
            }
            if record.offset + 1 >= end {
                left.remove(&place);
            }
        }
        if batch.records.is_empty() && last_record_at.elapsed() >= SILENCE {
            if journal.reachable(SILENCE) {
                return Ok(());
            }
            return Err(Failure::Unavailable("the journal does not answer any more".to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::verdict::seal;
    use crate::sample::report;
    use firmware::custody::Envelope;
    use firmware::wire::{Payload, Report};

    fn letter(kind: &str, bytes: &[u8]) -> Entry {
        match verdict::judge(&format!("hueflow/home/pi/{kind}"), bytes, 5, ValueFormat::Json) {
            Verdict::Keep { entry, .. } => entry,
            _ => unreachable!(),
        }
    }

    fn record(version: u8) -> Vec<u8> {
        let e =
            Envelope { kind: 1, payload_version: version, clock_synced: true, stream: 8, seq: 3, captured_at_us: 9 };
        seal(&e, &report(7), &[]).unwrap()
    }

    #[test]
    fn a_letter_says_all_that_is_known_of_it_and_no_more() {
        let l = Letter::of(&letter("metrics", &record(99)));
        assert_eq!((l.topic.as_str(), l.device.as_str(), l.reason.as_str()), ("metrics.dlq", "pi", "payload-version"));
        assert_eq!((l.stream.as_deref(), l.seq), (Some("8"), Some(3)));
        let rubbish = Letter::of(&letter("census", b"x"));
        assert_eq!((rubbish.bytes, rubbish.stream.clone()), (Some(1), None));
        assert!(rubbish.to_string().contains(" census.dlq pi stream - seq - bytes 1 reason short sha256 2d711642"));
    }

    #[test]
    fn what_is_judged_again_passes_stays_dead_or_is_skipped() {
        let newer = letter("metrics", &record(99));
        assert_eq!(judge(&newer, 5, ValueFormat::Json), ReplayVerdict::Dead("payload-version".to_owned()));
        let ReplayVerdict::Passes(e) = judge(&newer, 5, ValueFormat::Postcard) else { unreachable!() };
        assert_eq!((e.topic_name().as_str(), e.key.as_str(), e.header("seq")), ("metrics", "pi", Some("3")));
        let mut old = letter("census", &record(Report::VERSION));
        assert_eq!(judge(&old, 5, ValueFormat::Json), ReplayVerdict::Dead("kind-topic".to_owned()));
        old.value[50] ^= 1;
        assert_eq!(judge(&old, 5, ValueFormat::Json), ReplayVerdict::Skip("other bytes than came"));
        assert_eq!(judge(&letter("video", &[7; 100_000]), 5, ValueFormat::Json), ReplayVerdict::Skip("cut"));
        assert_eq!(
            judge(&letter("status", b"[1]"), 5, ValueFormat::Json),
            ReplayVerdict::Skip("a window or a status, out of date")
        );
        let mut refused = newer.clone();
        refused.headers = refused.headers.iter().filter(|(name, _)| *name != "mqtt-kind").collect();
        assert_eq!(judge(&refused, 5, ValueFormat::Json), ReplayVerdict::Skip("without its bytes"));
    }

    #[test]
    fn a_tally_names_each_reason() {
        let mut t = Tally { replayed: 2, ..Tally::default() };
        assert_eq!(t.to_string(), "replayed 2, still dead 0, skipped 0");
        t.dead.insert("crc".to_owned(), 1);
        t.skipped.insert("cut", 3);
        assert_eq!(t.to_string(), "replayed 2, still dead 1 (1 crc), skipped 3 (3 cut)");
    }
}
