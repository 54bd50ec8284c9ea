//! Live: the present, for the page: each device's state, last report and last picture.
//!
//! Takes what happened in the store. Gives the latest of each kind, and events for whoever listens.
//! Touches memory: for each device one report, one picture, one original.
//! Never waits for a listener: who is slow misses events, and that is counted.

use crate::clock;
use crate::json::ReportJson;
use crate::ledger::Line;
use crate::picture::{Joiner, Picture};
use crate::store::Happened;
use firmware::wire::{self, OriginalHead};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// Events that a listener may be behind; past it the oldest are skipped for it.
pub const EVENTS_MAX: usize = 256;

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
    joiner: Joiner,
}

/// The present, shared between the store's thread and the page.
pub struct Live {
    devices: Mutex<BTreeMap<String, Device>>,
    ledger: Mutex<Vec<Line>>,
    events: broadcast::Sender<Event>,
    skipped: AtomicU64,
}

impl Default for Live {
    fn default() -> Self {
        let events = broadcast::channel(EVENTS_MAX).0;
        Live { devices: Mutex::default(), ledger: Mutex::default(), events, skipped: AtomicU64::new(0) }
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

    /// Sets the ledger, and tells it if it changed.
    pub fn set_ledger(&self, lines: Vec<Line>) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        if *ledger != lines {
            self.tell("ledger", &lines);
            *ledger = lines;
        }
    }

    /// Takes what happened.
    pub fn take(&self, happened: Happened) {
        let mut devices = self.devices();
        match happened {
            Happened::Report(report) => {
                self.tell("report", &Summary::of(&report));
                let device = devices.entry(report.device.clone()).or_default();
                device.report = Some(*report);
            }
            Happened::Picture { device: name, content_type, version, payload } => {
                let device = devices.entry(name.clone()).or_default();
                if content_type == "application/x-hueflow-original" {
                    if let Ok((_, jpeg)) = wire::decode_head::<OriginalHead>(version, &payload) {
                        device.original = Some(Arc::new(jpeg.to_vec()));
                    }
                } else if let Some(picture) = device.joiner.add(version, &payload) {
                    self.tell("picture", &serde_json::json!({"device": name, "frame": picture.frame}));
                    device.picture = Some(Arc::new(picture));
                }
            }
            Happened::Status { device: name, state, json } => {
                self.tell("status", &serde_json::json!({"device": name, "state": state}));
                let device = devices.entry(name).or_default();
                (device.state, device.status) = (state, serde_json::from_str(&json).ok());
            }
            Happened::Census { device, frame } => {
                self.tell("census", &serde_json::json!({"device": device, "frame": frame}));
            }
        }
    }

    fn tell(&self, name: &'static str, data: &impl Serialize) {
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
