//! History: a device's numbers over a range of time, thinned to what a chart can show.
//!
//! A short range comes from the reports themselves, which the store sums in equal steps of time, each with mean, least and
//! greatest; a long one, or one whose reports are deleted, comes from the roll-ups by minute or hour. There is no index by time: within a
//! stream the capture times rise with the sequence numbers, so the range's ends are found by bisection.

use super::StoreError;
use super::reader::{REPORTS_MAX, Reader, StreamRange, Unit};
use super::rollup::{HOUR_US, MINUTE_US, RollUp};
use super::steps::{StepSums, Steps};
use crate::json::PaletteJson;
use serde::Serialize;
use std::collections::BTreeMap;

/// Reports that are summed for one history; with more the roll-ups are. At 30 frames a second this is 11 minutes.
const ROWS_MAX: u64 = 20_000;
/// Roll-ups by minute that are read at most: two and a half days. With more the hours are.
const MINUTES_MAX: u64 = 3_600;
/// Palettes in a history: about one for ten pixels of the strip.
const STRIP_MAX: u64 = 96;
/// Colours of each of them: the largest. The rest is a thin line.
const STRIP_COLOURS_MAX: usize = 12;
/// Streams that are looked at, those of the youngest boots first.
const STREAMS_MAX: u32 = 500;

/// Columns of a history. `None` is what nothing is known of.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct History {
    /// What a point stands for: `reports`, `minute` or `hour`.
    pub unit: &'static str,
    /// Width of a point, in milliseconds.
    pub step_ms: u64,
    /// The points, by time.
    pub points: Vec<HistoryPoint>,
    /// Palettes at times in the range, as far as its reports are kept.
    pub strip: Vec<Stripe>,
}

/// A step of time that has reports.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HistoryPoint {
    /// Its beginning, in milliseconds since the Unix epoch.
    pub t: u64,
    /// Reports.
    pub n: u64,
    /// Mean number of clusters.
    pub k: f64,
    /// Fewest clusters.
    pub k_min: u32,
    /// Most clusters.
    pub k_max: u32,
    /// Mean RMS, in 8-bit levels.
    pub rms: f64,
    /// Highest RMS.
    pub rms_max: f64,
    /// Missed colours of all its reports.
    pub missed: u64,
    /// Mean times of the stages, in milliseconds; roll-ups have only the total.
    pub coreset: Option<f64>,
    /// Coreset to clusters.
    pub cluster: Option<f64>,
    /// Clusters to labels.
    pub label: Option<f64>,
    /// All of it.
    pub total: f64,
    /// The longest.
    pub total_max: f64,
    /// Mean of the silhouette estimates.
    pub silhouette: Option<f64>,
}

/// A palette at a time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stripe {
    /// Milliseconds since the Unix epoch.
    pub t: u64,
    /// The largest clusters: `rrggbb` in hexadecimal and the share of the pixels, 0 to 1.
    pub colours: Vec<(String, f64)>,
}

/// The history of a device from `from_ms` until before `to_ms`, in at most about `points` points.
///
/// # Errors
/// [`StoreError`].
pub fn history(
    reader: &dyn Reader,
    device: &str,
    (from_ms, to_ms): (u64, u64),
    points: u32,
) -> Result<History, StoreError> {
    let (from_us, to_us) = (from_ms.saturating_mul(1000), to_ms.saturating_mul(1000));
    let parts = parts(reader, device, from_us, to_us)?;
    let rows: u64 = parts.iter().map(|p| p.last - p.first + 1).sum();
    let strip = strip(reader, &parts, rows)?;
    let points = u64::from(points.clamp(1, REPORTS_MAX));
    if rows > 0 && rows <= ROWS_MAX {
        let step_us = (to_us.saturating_sub(from_us) / points).max(1);
        let points = from_reports(reader, &parts, (from_us, to_us), step_us)?;
        return Ok(History { unit: "reports", step_ms: step_us.div_ceil(1000), points, strip });
    }
    let is_short = to_us.saturating_sub(from_us) / MINUTE_US <= MINUTES_MAX;
    let (unit, name, unit_us) =
        if is_short { (Unit::Minute, "minute", MINUTE_US) } else { (Unit::Hour, "hour", HOUR_US) };
    let sums = reader.roll_ups(device, unit, from_us / unit_us, to_us.div_ceil(unit_us))?;
    let points = sums.into_iter().map(|(at, r)| HistoryPoint::of(at * (unit_us / 1000), &r, None));
    Ok(History { unit: name, step_ms: unit_us / 1000, points: points.collect(), strip })
}

/// The part of the range in each stream that has reports in it, oldest first.
fn parts(reader: &dyn Reader, device: &str, from_us: u64, to_us: u64) -> Result<Vec<StreamRange>, StoreError> {
    let mut parts = Vec::new();
    for StreamRange { sid, first, last } in reader.stream_ranges(device, STREAMS_MAX)? {
        let from = first_since(reader, sid, (first, last + 1), from_us)?;
        let to = first_since(reader, sid, (first, last + 1), to_us)?;
        if from < to {
            parts.push(StreamRange { sid, first: from, last: to - 1 });
        }
    }
    parts.reverse();
    Ok(parts)
}

/// The first sequence number in `first..end` whose report, or the next one that is stored, was captured at `time_us` or later.
fn first_since(reader: &dyn Reader, sid: i64, (first, end): (u64, u64), time_us: u64) -> Result<u64, StoreError> {
    let (mut low, mut high) = (first, end);
    while low < high {
        let middle = low + (high - low) / 2;
        let captured = reader.captured_at_us(sid, middle)?;
        if captured.is_some_and(|at| at < time_us) { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

fn from_reports(
    reader: &dyn Reader,
    parts: &[StreamRange],
    (from_us, to_us): (u64, u64),
    step_us: u64,
) -> Result<Vec<HistoryPoint>, StoreError> {
    let of = Steps { from_us, to_us, step_us };
    let mut steps: BTreeMap<u64, StepSums> = BTreeMap::new();
    for part in parts {
        for (step, sums) in reader.step_sums(part, &of)? {
            steps.entry(step).or_default().add(&sums);
        }
    }
    let point =
        |(step, s): (u64, StepSums)| HistoryPoint::of((from_us + step * step_us) / 1000, &s.sums, Some(s.stages_us));
    Ok(steps.into_iter().map(point).collect())
}

impl HistoryPoint {
    /// The means of what began at `t`, in milliseconds, with the sums of the stages' times in microseconds if they are known.
    fn of(t: u64, sums: &RollUp, stages_us: Option<[u64; 3]>) -> HistoryPoint {
        let n = sums.reports.max(1) as f64;
        let stages_ms = stages_us.map(|stages| stages.map(|us| us as f64 / n / 1000.0));
        HistoryPoint {
            t,
            n: sums.reports,
            k: sums.clusters_sum as f64 / n,
            k_min: sums.clusters_min,
            k_max: sums.clusters_max,
            rms: sums.rms_sum / n,
            rms_max: sums.rms_max,
            missed: sums.missed_sum,
            coreset: stages_ms.map(|[coreset, ..]| coreset),
            cluster: stages_ms.map(|[_, cluster, _]| cluster),
            label: stages_ms.map(|[.., label]| label),
            total: sums.micros_sum as f64 / n / 1000.0,
            total_max: f64::from(sums.micros_max) / 1000.0,
            silhouette: (sums.silhouettes > 0).then(|| sums.silhouette_sum / sums.silhouettes as f64),
        }
    }
}

/// Palettes at about equal distances among the reports of `parts`.
fn strip(reader: &dyn Reader, parts: &[StreamRange], rows: u64) -> Result<Vec<Stripe>, StoreError> {
    let step = rows.div_ceil(STRIP_MAX).max(1);
    let (mut strip, mut at) = (Vec::new(), 0);
    for part in parts {
        let len = part.last - part.first + 1;
        while at < len {
            let rest = StreamRange { first: part.first + at, ..*part };
            if let Some((captured_at_us, palette)) = reader.first_palette(&rest)? {
                strip.push(Stripe { t: captured_at_us / 1000, colours: largest(&palette) });
            }
            at += step;
        }
        at -= len;
    }
    Ok(strip)
}

/// The largest clusters of a palette.
fn largest(palette: &PaletteJson) -> Vec<(String, f64)> {
    let mut all: Vec<(&[u16; 3], u32)> = palette.rgb_q6.iter().zip(palette.pixels.iter().copied()).collect();
    all.sort_by_key(|(_, pixels)| std::cmp::Reverse(*pixels));
    let pixels = all.iter().map(|(_, n)| f64::from(*n)).sum::<f64>().max(1.0);
    let share = |n: u32| (f64::from(n) / pixels * 10_000.0).round() / 10_000.0;
    let hex = |rgb_q6: &[u16; 3]| firmware::report::rgb8(*rgb_q6).map(|level| format!("{level:02x}")).concat();
    all.into_iter().take(STRIP_COLOURS_MAX).map(|(rgb_q6, n)| (hex(rgb_q6), share(n))).collect()
}
