//! The text of `/metrics`, for Prometheus.
//!
//! [`text`] reads what [`Live`] knows at the moment and has no side effects. Each device is a label of its families. What
//! the last frame was like stays when a device goes offline; its events then have no sample, because whether they are active is
//! not known. `device_online` is 0 for a device that is offline.

use super::live::Live;
use crate::prom::{Kind, Prom, seconds};

/// The text of `/metrics`.
pub fn text(live: &Live) -> String {
    use Kind::{Counter, Gauge};
    let mut p = Prom::new("hueflow_metrics_");
    p.each(Gauge, "build_info", "Always 1.", "version", [(env!("CARGO_PKG_VERSION"), 1)]);
    let help = "Reports stored since this program started.";
    p.one(Counter, "reports_stored_total", help, live.reports_stored());
    let mut states = [("produced", 0), ("stored", 0), ("dead", 0), ("declared_lost", 0), ("missing", 0)];
    let mut duplicates = 0;
    for l in live.ledger().iter() {
        for (sum, n) in states.iter_mut().zip([l.produced, l.stored, l.dead, l.declared_lost, l.missing]) {
            sum.1 += n;
        }
        duplicates += l.duplicates;
    }
    p.each(Gauge, "records", "Records of all boots in the ledger, by state.", "state", states);
    p.one(Gauge, "duplicates", "Deliveries dropped because they were there already.", duplicates);
    let devices = live.devices();
    let online = devices.values().filter(|d| d.state == "online").count();
    p.one(Gauge, "devices_live", "Devices whose status is online.", online);
    let known = devices.iter().filter(|(_, d)| d.state == "online" || d.state == "offline");
    let known = known.map(|(name, d)| (name, u8::from(d.state == "online")));
    let help = "1 while the device's status is online, 0 while it is offline; none while it is not known.";
    p.each(Gauge, "device_online", help, "device", known);
    let reports = || devices.iter().filter_map(|(name, d)| Some((name, d.report.as_ref()?)));
    let clusters = reports().map(|(name, r)| (name, r.clusters));
    p.each(Gauge, "clusters", "Clusters in the device's last frame.", "device", clusters);
    let missed = reports().filter_map(|(name, r)| Some((name, r.missed?)));
    let help = "Colours that the palette of the device's last frame misses.";
    p.each(Gauge, "missed_colours", help, "device", missed);
    let beyond = reports().filter_map(|(name, r)| Some((name, r.beyond_px?)));
    let help = "Pixels of the device's last frame farther than lambda from their centroid.";
    p.each(Gauge, "beyond_pixels", help, "device", beyond);
    let events = || {
        devices.iter().filter(|(_, d)| d.state != "offline").flat_map(|(name, d)| {
            d.named_events().map(move |(event, is_active)| (vec![name.clone(), event.event.clone()], event, is_active))
        })
    };
    let active = events().map(|(labels, _, is_active)| (labels, u8::from(is_active)));
    let help = "1 while an event of the device is active; none of a device that is offline.";
    p.labelled(Gauge, "event_active", help, &["device", "event"], active);
    let rates = events().filter(|(_, event, _)| event.pattern.is_some());
    let rates = rates.map(|(labels, event, is_active)| (labels, event.rate_hz.filter(|_| is_active).unwrap_or(0.0)));
    let help = "How fast an event of the device blinks; 0: steady or off.";
    p.labelled(Gauge, "event_blink_hertz", help, &["device", "event"], rates);
    let took = reports().map(|(name, r)| (name, seconds(u64::from(r.micros.total))));
    p.each(Gauge, "frame_processing_seconds", "What the device's last frame took at the edge.", "device", took);
    let latency = devices.iter().filter_map(|(name, d)| Some((name, seconds(d.latency_us?))));
    let help = "From the capture of the device's last frame to the store.";
    p.each(Gauge, "frame_latency_seconds", help, "device", latency);
    let health = live.health();
    let is_up = [("journal", u8::from(health.journal.is_none())), ("store", u8::from(health.store.is_none()))];
    p.each(Gauge, "up", "1 while the journal can be read, and while the store can be written.", "part", is_up);
    if let Some(lag) = health.lag {
        p.one(Gauge, "journal_lag_entries", "Entries of the journal that are not in the store yet.", lag);
    }
    p.text()
}
