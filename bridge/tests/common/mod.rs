//! Records as an edge makes them, for the bridge's tests.
//!
//! The functions turn numbers into bytes, plainly, as the formats are documented.
#![allow(dead_code, clippy::unwrap_used, missing_docs)]

pub mod edge;

use firmware::custody::{Envelope, JournalId, Kind, StreamWindow, Window, WindowId};
use firmware::limits::CONTROL_BYTES_MAX;
use firmware::wire::{
    self, EventChange, EventRecord, Loss, LossReason, Method, Micros, Pattern, Refine, Report, Swatch,
};
use hueflow_bridge::relay::verdict::seal;

pub fn report(frame: u64) -> Report {
    let swatches = [([16_320, 0, 64], 60), ([64, 128, 64], 36)];
    Report {
        frame,
        dropped: 0,
        width: 12,
        height: 8,
        method: Method::Octree,
        lambda_q6: 3_200,
        coreset_size: 1_000,
        w_open: 4,
        refine: Refine::Cover,
        seed: 1,
        warm: true,
        coreset_points: 90,
        scatter_q12: Some(4_096),
        iterations: 5,
        converged: true,
        sweeps: 0,
        saturated: false,
        beyond_px: Some(0),
        missed: Some(0),
        sse_q12: 96 * 4_096,
        max_distance2_q12: 4_096,
        births: Default::default(),
        deaths: Default::default(),
        regions: Default::default(),
        colorimetry: Default::default(),
        silhouette_ppm: Some(500_000),
        micros: Micros { coreset: 1, cluster: 2, label: 3, total: 6 },
        palette: swatches.iter().zip(0..).map(|(&(rgb_q6, pixels), id)| Swatch { id, rgb_q6, pixels }).collect(),
    }
}

pub fn envelope(kind: Kind, stream: u64, seq: u64) -> Envelope {
    let captured_at_us = 1_700_000_000_000_000 + seq * 33_333;
    let payload_version = match kind {
        Kind::Report => <Report as wire::Payload>::VERSION,
        Kind::Event => <EventRecord as wire::Payload>::VERSION,
        _ => 1,
    };
    Envelope { kind: kind as u8, payload_version, clock_synced: true, stream, seq, captured_at_us }
}

/// A report record; its frame is its seq.
pub fn record(stream: u64, seq: u64) -> Vec<u8> {
    seal(&envelope(Kind::Report, stream, seq), &report(seq), &[]).unwrap()
}

/// An event record; its frame is its seq.
pub fn event(stream: u64, seq: u64, name: &str, change: EventChange) -> Vec<u8> {
    let pattern =
        Some(if change == EventChange::End { Pattern::Off } else { Pattern::Blinking { rate_millihz: 1_250 } });
    let event = EventRecord { frame: seq, name: name.try_into().unwrap(), change, value_micro: Some(500_000), pattern };
    seal(&envelope(Kind::Event, stream, seq), &event, &[]).unwrap()
}

pub fn loss(stream: u64, seq: u64, of: u64, from: u64, to: u64) -> Vec<u8> {
    seal(&envelope(Kind::Loss, stream, seq), &Loss { stream: of, from, to, reason: LossReason::Full }, &[]).unwrap()
}

/// (stream, since, floor, next)
pub fn window(boot: u64, n: u64, journal: Option<&str>, streams: &[(u64, u64, u64, u64)]) -> Vec<u8> {
    let streams = streams.iter().map(|&(stream, since, floor, next)| StreamWindow { stream, since, floor, next });
    let journal = journal.map(|j| JournalId::try_from(j).unwrap());
    let w = Window { id: WindowId { boot, n }, journal, streams: streams.collect() };
    let mut buf = vec![0; CONTROL_BYTES_MAX];
    let n = wire::encode_window(&w, &mut buf).unwrap();
    buf.truncate(n);
    buf
}
