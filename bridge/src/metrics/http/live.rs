//! The present, for the page: each device's state, last report and last picture.
//!
//! [`Live`] is shared between the thread that fills the store and the requests of the page. It keeps the latest of each kind
//! for each device. A listener of a device has a channel with numbered events; a device without listeners costs nothing. A
//! listener that is too slow loses the oldest events, which are counted, and gets their number. A listener of the fleet asks
//! for what changed since a version. Pictures stay packed, and all of them together are bounded.

use super::card::{Card, Pace, stripe};
use super::health::Health;
use crate::clock;
use crate::json::{EventJson, ReportJson};
use crate::metrics::ingest::fold::{DeviceStatus, EventChange, PicturePayload, ReportChange};
use crate::metrics::silhouette::picture::{Joiner, Packed};
use crate::metrics::store::StoreEvent;
use crate::metrics::store::ledger::Line;
use firmware::wire::{self, OriginalHead};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// Events of a device that a listener may be behind: two seconds at 30 frames a second. Past it the oldest are lost for it.
pub const EVENTS_MAX: usize = 64;
/// Bytes of packed pictures and originals that are kept, of all devices together. Past it those that are the longest without
/// news go. 1,000 devices with 64 KiB each fit.
pub const PICTURES_BYTES_MAX: usize = 64 << 20;

/// Something that happened to a device, as a server-sent event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Counts the device's events while somebody watches it.
    pub n: u64,
    /// `report`, `picture`, `original`, `status`, `census` or `event`.
    pub name: &'static str,
    /// JSON.
    pub data: Arc<str>,
}

/// A device, now.
#[derive(Default)]
pub struct Device {
    /// Its state: `online`, `offline`, `unknown`.
    pub state: String,
    /// Its last status, as JSON.
    pub status: Option<serde_json::Value>,
    /// Its last report.
    pub report: Option<ReportJson>,
    /// Its last clustered picture.
    pub picture: Option<Arc<Packed>>,
    /// Its last original, a JPEG.
    pub original: Option<Arc<Vec<u8>>>,
    /// From its last report's capture to the store, where its clock and ours allow.
    pub latency_us: Option<u64>,
    /// Its reports a second.
    pub pace: Pace,
    /// Order of its last report's boot.
    order: i64,
    /// Version of its last change.
    version: u64,
    joiner: Joiner,
    /// The last change of each of its events in the sense of `[[event]]`.
    changes: BTreeMap<String, EventChange>,
    events: Option<broadcast::Sender<Event>>,
    events_sent: u64,
}

impl Device {
    /// Its state, `unknown` if it never published one.
    pub fn state_word(&self) -> &str {
        if self.state.is_empty() { "unknown" } else { &self.state }
    }

    /// Its named events, and whether each is active as far as is known: one of an earlier boot is over, whether or not its end
    /// was seen.
    pub fn named_events(&self) -> impl Iterator<Item = (&EventJson, bool)> {
        let is_earlier = |change: &EventChange| {
            self.report.as_ref().is_some_and(|last| last.stream != change.event.stream && change.order < self.order)
        };
        self.changes.values().map(move |change| (&change.event, change.event.is_on() && !is_earlier(change)))
    }

    /// Its card; it is called `name`.
    fn card(&self, name: &str) -> Card {
        let report = self.report.as_ref();
        let captured = report.and_then(|r| clock::parse_rfc3339(&r.captured_at));
        Card {
            device: name.to_owned(),
            state: self.state_word().to_owned(),
            picture: self.picture.as_ref().map(|p| p.frame()),
            clusters: report.map(|r| r.clusters),
            missed: report.and_then(|r| r.missed),
            fps: self.pace.fps(),
            captured_at_ms: captured.map(|us| us / 1000),
            latency_ms: self.latency_us.map(|us| us / 1000),
            lambda: report.map(|r| r.lambda),
            stripe: report.map(|r| stripe(&r.palette.rgb_q6, &r.palette.pixels)).unwrap_or_default(),
        }
    }

    fn picture_bytes(&self) -> usize {
        self.picture.as_ref().map_or(0, |p| p.bytes()) + self.original.as_ref().map_or(0, |o| o.len())
    }

    fn notify_status(&mut self) {
        let (state, status) = (self.state.clone(), self.status.clone());
        self.notify("status", || to_text(&serde_json::json!({ "state": state, "status": status })));
    }

    /// Sends an event to those who watch the device.
    fn notify(&mut self, name: &'static str, data: impl FnOnce() -> Option<String>) {
        let Some(events) = &self.events else { return };
        if events.receiver_count() == 0 {
            self.events = None;
        } else if let Some(data) = data() {
            self.events_sent += 1;
            let _ = events.send(Event { n: self.events_sent, name, data: data.into() }); // The last one may just have gone.
        }
    }
}

/// The present, shared between the store's thread and the page.
#[derive(Default)]
pub struct Live {
    devices: Mutex<BTreeMap<String, Device>>,
    ledger: Mutex<Arc<Vec<Line>>>,
    health: Mutex<Health>,
    version: AtomicU64,
    picture_bytes: AtomicU64,
    skipped: AtomicU64,
    reports: AtomicU64,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    /// The devices.
    pub fn devices(&self) -> MutexGuard<'_, BTreeMap<String, Device>> {
        lock(&self.devices)
    }

    /// The ledger's lines.
    pub fn ledger(&self) -> Arc<Vec<Line>> {
        lock(&self.ledger).clone()
    }

    /// Listens to a device from now on. Gives the number of its last event, too.
    pub fn watch(&self, device: &str) -> (u64, broadcast::Receiver<Event>) {
        let mut devices = self.devices();
        let device = devices.entry(device.to_owned()).or_default();
        let events = device.events.get_or_insert_with(|| broadcast::channel(EVENTS_MAX).0);
        (device.events_sent, events.subscribe())
    }

    /// The cards that changed after `version`, those that wait longest first, up to about `bytes_max` of JSON; and the version
    /// up to which they are complete.
    pub fn cards_since(&self, version: u64, bytes_max: usize) -> (Vec<String>, u64) {
        let devices = self.devices();
        let mut changed: Vec<_> = devices.iter().filter(|(_, d)| d.version > version).collect();
        changed.sort_by_key(|(_, d)| d.version);
        let (mut cards, mut bytes, mut reached) = (Vec::new(), 0, version);
        for (name, device) in changed {
            let Ok(card) = serde_json::to_string(&device.card(name)) else { continue };
            bytes += card.len() + 1;
            if bytes > bytes_max && !cards.is_empty() {
                break;
            }
            reached = device.version;
            cards.push(card);
        }
        (cards, reached)
    }

    /// Counts events that a slow listener lost. Gives how many all have lost.
    pub fn skipped(&self, n: u64) -> u64 {
        self.skipped.fetch_add(n, Ordering::Relaxed) + n
    }

    /// Reports stored since the program started.
    pub fn reports_stored(&self) -> u64 {
        self.reports.load(Ordering::Relaxed)
    }

    /// Whether the services work, and how far the store is behind.
    pub fn health(&self) -> Health {
        lock(&self.health).clone()
    }

    /// Changes the health.
    pub fn set_health(&self, change: impl FnOnce(&mut Health)) {
        change(&mut lock(&self.health));
    }

    /// Sets the ledger.
    pub fn set_ledger(&self, lines: Vec<Line>) {
        let mut ledger = lock(&self.ledger);
        if **ledger != lines {
            *ledger = Arc::new(lines);
        }
    }

    fn next_version(&self) -> u64 {
        self.version.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Sets a device's last report from the store, at the start.
    pub fn seed(&self, order: i64, report: ReportJson) {
        let mut devices = self.devices();
        let device = devices.entry(report.device.clone()).or_default();
        (device.order, device.report, device.version) = (order, Some(report), self.next_version());
    }

    /// Sets a device's last state from the store, at the start.
    pub fn seed_state(&self, device: &str, state: Option<String>, status: Option<&str>) {
        let mut devices = self.devices();
        let device = devices.entry(device.to_owned()).or_default();
        device.state = state.unwrap_or_default();
        device.status = status.and_then(|s| serde_json::from_str(s).ok());
        device.version = self.next_version();
    }

    /// Takes a device's last report of the store, which another instance may have stored, if it is news here.
    pub fn take_stored(&self, order: i64, report: ReportJson) {
        let mut devices = self.devices();
        let device = devices.entry(report.device.clone()).or_default();
        if device.report.as_ref().is_none_or(|last| (order, report.seq) > (device.order, last.seq)) {
            device.notify("report", || to_text(&Summary::of(&report)));
            (device.order, device.report, device.version) = (order, Some(report), self.next_version());
        }
    }

    /// Takes a device's state of the store, which another instance may have stored.
    pub fn take_state(&self, name: &str, state: String, json: &str) {
        let mut devices = self.devices();
        let device = devices.entry(name.to_owned()).or_default();
        let status = serde_json::from_str(json).ok();
        if (&device.state, &device.status) != (&state, &status) {
            (device.state, device.status, device.version) = (state, status, self.next_version());
            device.notify_status();
        }
    }

    /// Takes what a batch brought.
    pub fn take(&self, event: StoreEvent) {
        match event {
            StoreEvent::Report(report) => self.take_report(report),
            StoreEvent::Picture(picture) => self.take_picture(picture),
            StoreEvent::Status(DeviceStatus { device, state, json, .. }) => self.take_state(&device, state, &json),
            StoreEvent::Event(change) => self.take_event(change),
            StoreEvent::Census { device: name, frame } => {
                let mut devices = self.devices();
                let device = devices.entry(name).or_default();
                device.notify("census", || to_text(&serde_json::json!({ "frame": frame })));
            }
        }
    }

    /// A report replaces the device's last one only if it is not older by (order of the boot, seq): while an edge drains
    /// its backlog, the page does not jump back.
    fn take_report(&self, r: ReportChange) {
        self.reports.fetch_add(1, Ordering::Relaxed);
        let mut devices = self.devices();
        let device = devices.entry(r.report.device.clone()).or_default();
        if device.report.as_ref().is_some_and(|last| (r.order, r.report.seq) < (device.order, last.seq)) {
            return;
        }
        device.notify("report", || to_text(&Summary::of(&r.report)));
        device.latency_us = clock::now_us().checked_sub(r.captured_at_us);
        device.pace.add(r.captured_at_us);
        (device.order, device.report, device.version) = (r.order, Some(*r.report), self.next_version());
    }

    /// An event's change replaces the last one only if it is not older, as a report does.
    fn take_event(&self, change: EventChange) {
        let mut devices = self.devices();
        let device = devices.entry(change.event.device.clone()).or_default();
        let is_older = |last: &EventChange| {
            let is_same_stream = last.event.stream == change.event.stream;
            if is_same_stream { change.event.seq < last.event.seq } else { change.order < last.order }
        };
        if !device.changes.get(&change.event.event).is_some_and(is_older) {
            device.notify("event", || to_text(&change.event));
            device.changes.insert(change.event.event.clone(), change);
        }
    }

    fn take_picture(&self, p: PicturePayload) {
        let mut devices = self.devices();
        let device = devices.entry(p.device.clone()).or_default();
        let before = device.picture_bytes();
        if p.content_type == "application/x-hueflow-original" {
            let Ok((_, jpeg)) = wire::decode_head::<OriginalHead>(p.version, &p.payload) else { return };
            device.original = Some(Arc::new(jpeg.to_vec()));
            device.notify("original", || Some("{}".to_owned()));
        } else if let Some(picture) = device.joiner.add_packed(p.version, &p.payload) {
            let frame = picture.frame();
            device.picture = Some(Arc::new(picture));
            device.version = self.next_version();
            device.notify("picture", || to_text(&serde_json::json!({ "frame": frame })));
        }
        let (before, after) = (before as u64, device.picture_bytes() as u64);
        let all = self.picture_bytes.load(Ordering::Relaxed).saturating_sub(before) + after;
        self.picture_bytes.store(all, Ordering::Relaxed);
        if all > PICTURES_BYTES_MAX as u64 {
            self.evict(&mut devices, &p.device);
        }
    }

    /// Forgets pictures until half of what may be kept is left, so that this is rare; never those of `newest`.
    fn evict(&self, devices: &mut BTreeMap<String, Device>, newest: &str) {
        let mut oldest: Vec<_> = devices.iter_mut().filter(|(name, _)| *name != newest).map(|(_, d)| d).collect();
        oldest.sort_by_key(|d| d.version);
        let mut all = self.picture_bytes.load(Ordering::Relaxed);
        for device in oldest {
            if all <= PICTURES_BYTES_MAX as u64 / 2 {
                break;
            }
            all = all.saturating_sub(device.picture_bytes() as u64);
            (device.picture, device.original) = (None, None);
        }
        self.picture_bytes.store(all, Ordering::Relaxed);
    }
}

fn to_text(data: &impl Serialize) -> Option<String> {
    serde_json::to_string(data).ok()
}

/// A report as an event: all of it, and its time in milliseconds.
#[derive(Serialize)]
pub struct Summary<'a> {
    captured_at_ms: u64,
    #[serde(flatten)]
    report: &'a ReportJson,
}

impl Summary<'_> {
    /// The event of `report`.
    pub fn of(report: &ReportJson) -> Summary<'_> {
        Summary { captured_at_ms: clock::parse_rfc3339(&report.captured_at).unwrap_or(0) / 1000, report }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::report;
    use firmware::custody::Envelope;

    fn report_of(device: &str, seq: u64) -> StoreEvent {
        let e = Envelope {
            kind: 1,
            payload_version: 3,
            clock_synced: true,
            stream: 2,
            seq,
            captured_at_us: 1_700_000_000_000_000 + seq * 33_000,
        };
        let report = Box::new(ReportJson::new(device, &e, &report(seq)));
        StoreEvent::Report(ReportChange { stream: 2, order: 1, captured_at_us: e.captured_at_us, report })
    }

    #[test]
    fn events_of_a_device_are_numbered_and_reach_only_those_who_watch_it() {
        let live = Live::default();
        live.take(report_of("a", 0));
        let (last, mut a) = live.watch("a");
        let (_, mut b) = live.watch("b");
        live.take(report_of("a", 1));
        live.take(report_of("a", 2));
        let event = a.try_recv().unwrap();
        assert_eq!((event.n, event.name), (last + 1, "report"));
        assert_eq!(a.try_recv().unwrap().n, last + 2);
        assert!(a.try_recv().is_err() && b.try_recv().is_err());
        // A listener that is too slow gets the number of those that it has lost.
        (3..3 + EVENTS_MAX as u64 + 5).for_each(|seq| live.take(report_of("a", seq)));
        assert!(matches!(a.try_recv(), Err(broadcast::error::TryRecvError::Lagged(5))));
    }

    #[test]
    fn a_fleet_s_changes_fit_the_budget_and_none_is_left_out() {
        let live = Live::default();
        (0..300).for_each(|i| live.take(report_of(&format!("camera-{i:03}"), 0)));
        let (mut version, mut seen) = (0, Vec::new());
        loop {
            let (cards, reached) = live.cards_since(version, 4_000);
            if cards.is_empty() {
                break;
            }
            assert!(cards.iter().map(String::len).sum::<usize>() <= 4_000);
            // Those that change meanwhile wait their turn.
            live.take(report_of("camera-000", 1 + version));
            version = reached;
            seen.extend(cards);
            assert!(seen.len() < 700, "it comes to an end");
            if seen.len() >= 300 && live.cards_since(version, usize::MAX).0.len() <= 1 {
                break;
            }
        }
        let names: std::collections::BTreeSet<String> =
            seen.iter().map(|c| c.chars().take(13).collect::<String>()).collect();
        assert_eq!(names.len(), 300);
    }
}
