//! The fold: records of the journal and the accounts before them become the changes that a store has to make.
//!
//! [`fold`] is pure. It reads no clock and no database, and it leaves the accounts that it is given as they are: the store
//! takes the changed ones into memory only after it has committed them. A record whose sequence number is in its stream's
//! account already is counted as a duplicate and changes nothing else.

use super::decode::{read_report, version};
use crate::clock;
use crate::journal::{Entry, Marks, Offsets, Record, Topic};
use crate::json::{EventJson, LossJson, ReportJson, WindowJson};
use crate::metrics::store::ledger::{Account, Accounts};
use crate::metrics::store::rollup::{HOUR_US, MINUTE_US, RollUp};
use firmware::wire::census;
use std::collections::BTreeMap;

/// Highest sequence number that a store can hold, since its integers are signed. Higher ones are not Hueflow's.
const SEQ_MAX: u64 = i64::MAX as u64;

/// No edge is older than this (2020): a clock before that was not set yet.
const CLOCK_SET_US: u64 = 1_577_836_800_000_000;

/// What a store has to change for one batch, in one transaction.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// New values of the accounts that the batch touches.
    pub accounts: Accounts,
    /// Rows, in the order of the batch.
    pub rows: Vec<Change>,
    /// What the batch adds to the roll-ups, by device and minute since the Unix epoch.
    pub minutes: BTreeMap<(String, u64), RollUp>,
    /// The same by hour.
    pub hours: BTreeMap<(String, u64), RollUp>,
    /// The next offsets to read.
    pub offsets: Offsets,
    /// Marks of the records before them.
    pub marks: Marks,
}

/// One row to write, or (a picture) something to show that has no row.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A frame's report.
    Report(ReportChange),
    /// A part of a census.
    Census(CensusPart),
    /// A picture or an original. Pictures are not stored.
    Picture(PicturePayload),
    /// What an edge holds.
    Window {
        /// The device.
        device: String,
        /// The boot, in decimal.
        boot: String,
        /// Counts the boot's windows.
        n: u64,
        /// The journal of the last ack that the edge received.
        journal: Option<String>,
        /// Journal's time of the window, microseconds since the Unix epoch.
        heard_at_us: i64,
        /// Its streams, as JSON.
        streams: String,
    },
    /// The state that a device reported.
    Status(DeviceStatus),
    /// Records that an edge gave up.
    Loss {
        /// The device.
        device: String,
        /// The range.
        loss: LossJson,
    },
    /// An event that begins or ends.
    Event(EventChange),
    /// A dead letter.
    Dead(DeadLetter),
}

/// A report and what the store adds to it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportChange {
    /// The stream.
    pub stream: u64,
    /// Place of the boot among the device's boots; (order, seq) orders a device's reports.
    pub order: i64,
    /// Microseconds since the Unix epoch.
    pub captured_at_us: u64,
    /// The report.
    pub report: Box<ReportJson>,
}

/// An event and what the store adds to it.
#[derive(Debug, Clone, PartialEq)]
pub struct EventChange {
    /// Place of the boot among the device's boots, as in [`ReportChange`].
    pub order: i64,
    /// Microseconds since the Unix epoch.
    pub captured_at_us: u64,
    /// The event.
    pub event: EventJson,
}

/// A part of a census.
#[derive(Debug, Clone, PartialEq)]
pub struct CensusPart {
    /// The device.
    pub device: String,
    /// The stream.
    pub stream: u64,
    /// Sequence number in the stream.
    pub seq: u64,
    /// The frame.
    pub frame: u64,
    /// Which part, from 0.
    pub part: u16,
    /// Parts of this census.
    pub parts: u16,
    /// Microseconds since the Unix epoch.
    pub captured_at_us: u64,
    /// Version of the payload.
    pub version: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

/// A picture as the edge sent it.
#[derive(Debug, Clone, PartialEq)]
pub struct PicturePayload {
    /// The device.
    pub device: String,
    /// What the payload is.
    pub content_type: String,
    /// Version of the payload.
    pub version: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

/// The state that a device reported of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceStatus {
    /// The device.
    pub device: String,
    /// `online`, `offline` or `unknown`.
    pub state: String,
    /// Journal's time, milliseconds since the Unix epoch. An older status never replaces a newer one.
    pub at_ms: i64,
    /// The whole status, as JSON.
    pub json: String,
}

/// A record that could not be judged or stored. Its place in the journal identifies it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// What offsets are counted in.
    pub place: String,
    /// Partition of the place.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// The device.
    pub device: String,
    /// The stream, if the record names one.
    pub stream: Option<u64>,
    /// The sequence number, if the record names one.
    pub seq: Option<u64>,
    /// The topic, without prefix.
    pub topic: String,
    /// Why it is dead.
    pub reason: String,
    /// Size of the original payload.
    pub bytes: Option<u64>,
    /// Hash of the original payload, in hexadecimal.
    pub sha256: Option<String>,
    /// Journal's time, milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// The changes that records, in their order, make to a store with `accounts`.
pub fn fold(accounts: &Accounts, records: &[&Record]) -> Changes {
    let mut fold = Fold { before: accounts, next_order: None, changes: Changes::default() };
    for record in records {
        fold.record(record);
        fold.changes.offsets.insert((record.place.clone(), record.partition), record.offset + 1);
    }
    for key in fold.changes.offsets.keys() {
        if let Some(last) = records.iter().rfind(|r| r.place == key.0 && r.partition == key.1) {
            fold.changes.marks.insert(key.clone(), last.mark());
        }
    }
    fold.changes
}

struct Fold<'a> {
    before: &'a Accounts,
    /// Order of the next new stream, once one was needed.
    next_order: Option<i64>,
    changes: Changes,
}

/// The journal's time of an entry, in microseconds since the Unix epoch.
fn journal_us(e: &Entry) -> u64 {
    e.time_ms.unsigned_abs().saturating_mul(1000)
}

/// When a record was made: when it was captured, unless the device's clock was not set then.
fn made_at_us(e: &Entry) -> u64 {
    let captured_at_us = e.header("captured-at").and_then(clock::parse_rfc3339).filter(|us| *us >= CLOCK_SET_US);
    captured_at_us.unwrap_or(u64::MAX).min(journal_us(e))
}

impl Fold<'_> {
    fn record(&mut self, record: &Record) {
        let e = &record.entry;
        if e.dead {
            return self.dead(record, e.header("reason").unwrap_or("unknown"));
        }
        let schema = e.header("schema").unwrap_or("").split('/').next().unwrap_or("");
        match (e.topic, schema) {
            (Topic::Status, "hueflow.window") => self.window(e),
            (Topic::Status, "hueflow.status") => self.status(e),
            _ if e.loose || e.header("stream") == Some("0") => self.picture(e),
            _ => self.custody(record),
        }
    }

    /// A record with a sequence number: stored once.
    fn custody(&mut self, record: &Record) {
        let e = &record.entry;
        let (Some(stream), Some(seq)) = (e.header_u64("stream"), e.header_u64("seq").filter(|s| *s <= SEQ_MAX)) else {
            log::warn!(
                "store: {}/{}/{} has no stream and seq; it is not Hueflow's and is ignored",
                record.place,
                record.partition,
                record.offset
            );
            return;
        };
        let account = self.account(&e.key, stream);
        if account.stored.contains(seq) {
            account.duplicates += 1;
            return;
        }
        let is_readable = match e.topic {
            Topic::Metrics => self.report(e, stream, seq),
            Topic::Census => self.census(e, stream, seq),
            Topic::Video => {
                self.picture(e);
                true
            }
            Topic::Status => self.loss(e),
            Topic::Event => self.event(e, stream, seq),
        };
        if is_readable {
            let at_us = made_at_us(e);
            let account = self.account(&e.key, stream);
            account.stored.insert(seq);
            account.note_time(at_us);
        } else {
            self.dead(record, "store");
        }
    }

    /// The account as it is so far.
    fn current(&self, device: &str, stream: u64) -> Option<&Account> {
        let key = (device.to_owned(), stream);
        self.changes.accounts.get(&key).or_else(|| self.before.get(&key))
    }

    fn account(&mut self, device: &str, stream: u64) -> &mut Account {
        let key = (device.to_owned(), stream);
        if !self.changes.accounts.contains_key(&key) {
            let account = match self.before.get(&key) {
                Some(account) => account.clone(),
                None => Account { order: self.take_order(), ..Account::default() },
            };
            self.changes.accounts.insert(key.clone(), account);
        }
        self.changes.accounts.entry(key).or_default()
    }

    /// An order behind all streams so far.
    fn take_order(&mut self) -> i64 {
        let before = self.before;
        let next =
            self.next_order.unwrap_or_else(|| before.values().map(|a| a.order.saturating_add(1)).max().unwrap_or(0));
        self.next_order = Some(next.saturating_add(1));
        next
    }

    fn report(&mut self, e: &Entry, stream: u64, seq: u64) -> bool {
        let Some(report) = read_report(e, stream, seq) else { return false };
        let captured_at_us =
            clock::parse_rfc3339(&report.captured_at).unwrap_or(e.time_ms.unsigned_abs().saturating_mul(1000));
        let account = self.account(&e.key, stream);
        account.frames_seen = account.frames_seen.max(report.frame.saturating_add(1));
        account.frames_dropped = account.frames_dropped.max(report.dropped);
        let order = account.order;
        for (into, unit_us) in [(&mut self.changes.minutes, MINUTE_US), (&mut self.changes.hours, HOUR_US)] {
            into.entry((e.key.clone(), captured_at_us / unit_us)).or_default().add(&report);
        }
        let report = Box::new(ReportJson { device: e.key.clone(), ..report });
        self.changes.rows.push(Change::Report(ReportChange { stream, order, captured_at_us, report }));
        true
    }

    fn census(&mut self, e: &Entry, stream: u64, seq: u64) -> bool {
        let version = version(e);
        let Ok((head, _)) = census::read_part(version, &e.value) else { return false };
        self.changes.rows.push(Change::Census(CensusPart {
            device: e.key.clone(),
            stream,
            seq,
            frame: head.frame,
            part: head.part,
            parts: head.parts,
            captured_at_us: e.header("captured-at").and_then(clock::parse_rfc3339).unwrap_or(0),
            version,
            payload: e.value.clone(),
        }));
        true
    }

    fn picture(&mut self, e: &Entry) {
        self.changes.rows.push(Change::Picture(PicturePayload {
            device: e.key.clone(),
            content_type: e.header("content-type").unwrap_or_default().to_owned(),
            version: version(e),
            payload: e.value.clone(),
        }));
    }

    /// A device's boots are ordered by their first windows, whatever of their records was read before. A boot that never
    /// sent a window is named by the next boot's, so it comes before that one.
    fn window(&mut self, e: &Entry) {
        let Ok(w) = serde_json::from_slice::<WindowJson>(&e.value) else { return };
        let boot = w.boot.parse::<u64>().unwrap_or_default();
        let is_first = ![boot, boot | 1].iter().any(|&s| self.current(&e.key, s).is_some_and(|a| a.is_named));
        let streams = w.streams.iter().filter_map(|s| Some((s.stream.parse::<u64>().ok()?, s)));
        let (of_boot, older): (Vec<_>, Vec<_>) = streams.partition(|(stream, _)| stream & !1 == boot);
        for (stream, s) in older.into_iter().chain(of_boot) {
            let is_of_boot = stream & !1 == boot;
            let order = (is_first && is_of_boot).then(|| self.take_order());
            let account = self.account(&e.key, stream);
            account.since = account.since.max(s.since);
            account.next = account.next.max(s.next);
            account.order = order.unwrap_or(account.order);
            account.is_named |= is_of_boot;
            if is_of_boot {
                account.note_time(journal_us(e));
            }
        }
        self.changes.rows.push(Change::Window {
            device: e.key.clone(),
            boot: w.boot,
            n: w.n,
            journal: w.journal,
            heard_at_us: e.time_ms.saturating_mul(1000),
            streams: serde_json::to_string(&w.streams).unwrap_or_default(),
        });
    }

    fn status(&mut self, e: &Entry) {
        let json: serde_json::Value = serde_json::from_slice(&e.value).unwrap_or_default();
        let state = json.get("state").and_then(|s| s.as_str()).unwrap_or("unknown").to_owned();
        let json = json.to_string();
        self.changes.rows.push(Change::Status(DeviceStatus { device: e.key.clone(), state, at_ms: e.time_ms, json }));
    }

    fn event(&mut self, e: &Entry, stream: u64, seq: u64) -> bool {
        let Ok(event) = serde_json::from_slice::<EventJson>(&e.value) else { return false };
        let captured_at_us =
            clock::parse_rfc3339(&event.captured_at).unwrap_or(e.time_ms.unsigned_abs().saturating_mul(1000));
        let order = self.account(&e.key, stream).order;
        // The record's key and headers name its device.
        let event = EventJson { device: e.key.clone(), stream: stream.to_string(), seq, ..event };
        self.changes.rows.push(Change::Event(EventChange { order, captured_at_us, event }));
        true
    }

    fn loss(&mut self, e: &Entry) -> bool {
        let Ok(loss) = serde_json::from_slice::<LossJson>(&e.value) else { return false };
        let Ok(stream) = loss.stream.parse() else { return false };
        self.account(&e.key, stream).lost.add(loss.from, loss.to.min(SEQ_MAX));
        self.changes.rows.push(Change::Loss { device: e.key.clone(), loss });
        true
    }

    /// A dead letter. Its place identifies it, so reading it again does not count it twice.
    fn dead(&mut self, record: &Record, reason: &str) {
        let e = &record.entry;
        let stream = e.header_u64("stream").filter(|s| *s != 0);
        let seq = e.header_u64("seq").filter(|s| *s <= SEQ_MAX);
        if let (Some(stream), Some(seq)) = (stream, seq) {
            let account = self.account(&e.key, stream);
            if !account.dead.insert(seq) {
                account.duplicates += 1;
            }
        }
        self.changes.rows.push(Change::Dead(DeadLetter {
            place: record.place.clone(),
            partition: record.partition,
            offset: record.offset,
            device: e.key.clone(),
            stream,
            seq,
            topic: e.topic_name(),
            reason: reason.to_owned(),
            bytes: e.header_u64("bytes"),
            sha256: e.header("sha256").map(str::to_owned),
            at_ms: e.time_ms,
        }));
    }
}
