//! The present, for the page: each device's state, last report and last picture.
//!
//! [`Live`] is shared between the thread that fills the store and the requests of the page. It keeps the latest of each kind
//! for each device, and sends events to whoever listens. It never waits for a listener: one that is too slow misses events,
//! which is counted. [`Health`] is what `/healthz` answers.

use crate::clock;
use crate::json::ReportJson;
use crate::metrics::ingest::fold::{DeviceStatus, PicturePayload, ReportChange};
use crate::metrics::silhouette::picture::{Joiner, Picture};
use crate::metrics::store::StoreEvent;
use crate::metrics::store::ledger::Line;
use crate::prom::{Kind, Prom, seconds};
use firmware::wire::{self, OriginalHead};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// Events that a listener may be behind; past it the oldest are skipped for it.
pub const EVENTS_MAX: usize = 256;

/// Whether the journal can be read and the store written, and how far the store is behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Why the journal cannot be read, if it cannot.
    pub journal: Option<String>,
    /// Why the store cannot be written, if it cannot.
    pub store: Option<String>,
    /// Entries of the journal that are not in the store yet, if that is known.
    pub lag: Option<u64>,
}

impl Health {
    /// Whether both journal and store work.
    pub fn is_good(&self) -> bool {
        self.journal.is_none() && self.store.is_none()
    }
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_good() {
            writeln!(f, "ok")?;
        }
        for (what, error) in [("journal", &self.journal), ("store", &self.store)] {
            if let Some(error) = error {
                writeln!(f, "{what}: {error}")?;
            }
        }
        match self.lag {
            Some(lag) => writeln!(f, "lag: {lag} entries"),
            None => writeln!(f, "lag: unknown"),
        }
    }
}

/// Something that the page should know, as a server-sent event.
#[derive(Debug, Clone)]
pub struct Event {
    /// `report`, `picture`, `status`, `census` or `ledger`.
    pub name: &'static str,
    /// JSON.
    pub data: Arc<str>,
}

/// A device, now.
#[derive(Default)]
pub struct Device {
    /// Its state: `online`, `offline`, `unknown`.
    pub state: String,
    /// All it said of itself, as JSON.
    pub status: Option<serde_json::Value>,
    /// Its last report.
    pub report: Option<ReportJson>,
    /// Its last clustered picture.
    pub picture: Option<Arc<Picture>>,
    /// Its last original, a JPEG.
    pub original: Option<Arc<Vec<u8>>>,
    /// From its last report's capture to the store, where its clock and ours allow.
    pub latency_us: Option<u64>,
    /// Order of its last report's boot.
    order: i64,
    joiner: Joiner,
}

/// The present, shared between the store's thread and the page.
pub struct Live {
    devices: Mutex<BTreeMap<String, Device>>,
    ledger: Mutex<Vec<Line>>,
    health: Mutex<Health>,
    events: broadcast::Sender<Event>,
    skipped: AtomicU64,
    reports: AtomicU64,
}

impl Default for Live {
    fn default() -> Self {
        let events = broadcast::channel(EVENTS_MAX).0;
        Live {
            devices: Mutex::default(),
            ledger: Mutex::default(),
            health: Mutex::default(),
            events,
            skipped: AtomicU64::new(0),
            reports: AtomicU64::new(0),
        }
    }
}

impl Live {
    /// The devices.
    pub fn devices(&self) -> MutexGuard<'_, BTreeMap<String, Device>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ledger's lines.
    pub fn ledger(&self) -> Vec<Line> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Listens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Counts events that a slow listener missed. Gives how many all have missed.
    pub fn skipped(&self, n: u64) -> u64 {
        self.skipped.fetch_add(n, Ordering::Relaxed) + n
    }

    /// Whether journal and store work, and how far the store is behind.
    pub fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the health.
    pub fn set_health(&self, change: impl FnOnce(&mut Health)) {
        change(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Sets the ledger, and notifies listeners if it changed.
    pub fn set_ledger(&self, lines: Vec<Line>) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        if *ledger != lines {
            self.notify("ledger", &lines);
            *ledger = lines;
        }
    }

    /// Sets a device's last report from the store, at the start.
    pub fn seed(&self, order: i64, report: ReportJson) {
        let mut devices = self.devices();
        let device = devices.entry(report.device.clone()).or_default();
        (device.order, device.report) = (order, Some(report));
    }

    /// Takes a device's last report of the store, which another instance may have stored, if it is news here.
    pub fn take_stored(&self, order: i64, report: ReportJson) {
        let mut devices = self.devices();
        let device = devices.entry(report.device.clone()).or_default();
        if device.report.as_ref().is_none_or(|last| (order, report.seq) > (device.order, last.seq)) {
            self.notify("report", &Summary::of(&report));
            (device.order, device.report) = (order, Some(report));
        }
    }

    /// Takes a device's state of the store, which another instance may have stored.
    pub fn take_state(&self, name: &str, state: String, json: &str) {
        let mut devices = self.devices();
        let device = devices.entry(name.to_owned()).or_default();
        let status = serde_json::from_str(json).ok();
        if device.state != state {
            self.notify("status", &serde_json::json!({"device": name, "state": state}));
        }
        (device.state, device.status) = (state, status);
    }

    /// Takes what a batch brought.
    pub fn take(&self, event: StoreEvent) {
        match event {
            StoreEvent::Report(report) => self.take_report(report),
            StoreEvent::Picture(picture) => self.take_picture(picture),
            StoreEvent::Status(DeviceStatus { device: name, state, json, .. }) => {
                let mut devices = self.devices();
                self.notify("status", &serde_json::json!({"device": name, "state": state}));
                let device = devices.entry(name).or_default();
                (device.state, device.status) = (state, serde_json::from_str(&json).ok());
            }
            StoreEvent::Census { device, frame } => {
                self.notify("census", &serde_json::json!({"device": device, "frame": frame}));
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
        self.notify("report", &Summary::of(&r.report));
        device.latency_us = clock::now_us().checked_sub(r.captured_at_us);
        (device.order, device.report) = (r.order, Some(*r.report));
    }

    fn take_picture(&self, p: PicturePayload) {
        let mut devices = self.devices();
        let device = devices.entry(p.device.clone()).or_default();
        if p.content_type == "application/x-hueflow-original" {
            if let Ok((_, jpeg)) = wire::decode_head::<OriginalHead>(p.version, &p.payload) {
                device.original = Some(Arc::new(jpeg.to_vec()));
            }
        } else if let Some(picture) = device.joiner.add(p.version, &p.payload) {
            self.notify("picture", &serde_json::json!({"device": p.device, "frame": picture.frame}));
            device.picture = Some(Arc::new(picture));
        }
    }

    /// The text of `/metrics`.
    pub fn text(&self) -> String {
        use Kind::{Counter, Gauge};
        let mut p = Prom::new("hueflow_metrics_");
        p.each(Gauge, "build_info", "Always 1.", "version", [(env!("CARGO_PKG_VERSION"), 1)]);
        let help = "Reports stored since this program started.";
        p.one(Counter, "reports_stored_total", help, self.reports.load(Ordering::Relaxed));
        let mut states = [("produced", 0), ("stored", 0), ("dead", 0), ("declared_lost", 0), ("missing", 0)];
        let mut duplicates = 0;
        for l in self.ledger() {
            for (sum, n) in states.iter_mut().zip([l.produced, l.stored, l.dead, l.declared_lost, l.missing]) {
                sum.1 += n;
            }
            duplicates += l.duplicates;
        }
        p.each(Gauge, "records", "Records of all boots in the ledger, by state.", "state", states);
        p.one(Gauge, "duplicates", "Deliveries dropped because they were there already.", duplicates);
        let devices = self.devices();
        let online = devices.values().filter(|d| d.state == "online").count();
        p.one(Gauge, "devices_live", "Devices that say they are online.", online);
        let reports = || devices.iter().filter_map(|(name, d)| Some((name, d.report.as_ref()?)));
        let clusters = reports().map(|(name, r)| (name, r.clusters));
        p.each(Gauge, "clusters", "Clusters in the device's last frame.", "device", clusters);
        let missed = reports().filter_map(|(name, r)| Some((name, r.missed?)));
        let help = "Colours that the palette of the device's last frame misses.";
        p.each(Gauge, "missed_colours", help, "device", missed);
        let beyond = reports().filter_map(|(name, r)| Some((name, r.beyond_px?)));
        let help = "Pixels of the device's last frame farther than lambda from their centroid.";
        p.each(Gauge, "beyond_pixels", help, "device", beyond);
        let took = reports().map(|(name, r)| (name, seconds(u64::from(r.micros.total))));
        p.each(Gauge, "frame_processing_seconds", "What the device's last frame took at the edge.", "device", took);
        let latency = devices.iter().filter_map(|(name, d)| Some((name, seconds(d.latency_us?))));
        let help = "From the capture of the device's last frame to the store.";
        p.each(Gauge, "frame_latency_seconds", help, "device", latency);
        let health = self.health();
        let is_up = [("journal", u8::from(health.journal.is_none())), ("store", u8::from(health.store.is_none()))];
        p.each(Gauge, "up", "1 while the journal can be read, and while the store can be written.", "part", is_up);
        if let Some(lag) = health.lag {
            p.one(Gauge, "journal_lag_entries", "Entries of the journal that are not in the store yet.", lag);
        }
        p.text()
    }

    fn notify(&self, name: &'static str, data: &impl Serialize) {
        if self.events.receiver_count() > 0
            && let Ok(data) = serde_json::to_string(data)
        {
            let _ = self.events.send(Event { name, data: data.into() }); // The last listener may just have gone.
        }
    }
}

/// A report as an event: all of it, and its time in milliseconds.
#[derive(Serialize)]
struct Summary<'a> {
    captured_at_ms: u64,
    #[serde(flatten)]
    report: &'a ReportJson,
}

impl Summary<'_> {
    fn of(report: &ReportJson) -> Summary<'_> {
        Summary { captured_at_ms: clock::parse_rfc3339(&report.captured_at).unwrap_or(0) / 1000, report }
    }
}
