//! History: a device's numbers over a range of time, thinned to what a chart can show.
//!
//! A short range is read from the reports themselves and put into equal steps of time, each with mean, least and greatest; a
//! long one, or one whose reports are deleted, comes from the sums by minute or hour. There is no index by time: within a
//! stream the capture times rise with the sequence numbers, so the range's ends are found by bisection.

use super::query::{CensusKey, Query, REPORTS_MAX, Unit};
use super::schema::SWATCH_BYTES;
use super::{int, rows::uint};
use crate::metrics::store::rollup::{HOUR_US, MINUTE_US};
use rusqlite::{OptionalExtension, params};
use serde::Serialize;

/// Reports that are read for one history; with more the roll-ups are. At 30 frames a second this is 11 minutes, and takes 50 ms.
const ROWS_MAX: u64 = 20_000;
/// Sums by minute that are read at most: two and a half days. With more the hours are.
const MINUTES_MAX: u64 = 3_600;
/// Palettes in a history: about one for ten pixels of the strip.
const STRIP_MAX: u64 = 96;
/// Colours of each of them: the largest. The rest is a thin line.
const STRIP_COLOURS_MAX: usize = 12;
/// Boots that are looked at, the youngest first.
const STREAMS_MAX: usize = 500;

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

/// The settings that a frame was clustered with.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameSettings {
    /// Lambda, in 8-bit levels.
    pub lambda: f64,
    /// Coreset size asked for.
    pub coreset_size: u32,
    /// Coreset method, by its word.
    pub method: String,
    /// Refinement, by its word.
    pub refine: String,
    /// Pixels that a colour needs to open a cluster.
    pub w_open: u32,
}

/// Reports of a stream that are in the range.
struct Part {
    sid: i64,
    first: u64,
    last: u64,
}

#[derive(Default)]
struct Sum {
    point: HistoryPoint,
    micros: [u64; 4],
    silhouette: f64,
    silhouettes: u64,
}

impl Query {
    /// The history of a device from `from_ms` until before `to_ms`, in at most about `points` points.
    ///
    /// # Errors
    /// SQLite's.
    pub fn history(&self, device: &str, from_ms: u64, to_ms: u64, points: u32) -> rusqlite::Result<History> {
        let (from_us, to_us) = (from_ms.saturating_mul(1000), to_ms.saturating_mul(1000));
        let parts = self.parts(device, from_us, to_us)?;
        let rows: u64 = parts.iter().map(|p| p.last - p.first + 1).sum();
        let strip = self.strip(&parts, rows)?;
        let points = u64::from(points.clamp(1, REPORTS_MAX));
        if rows > 0 && rows <= ROWS_MAX {
            let step_us = ((to_us - from_us) / points).max(1);
            let found = self.from_reports(&parts, from_us, to_us, step_us)?;
            return Ok(History { unit: "reports", step_ms: step_us.div_ceil(1000), points: found, strip });
        }
        let is_short = (to_us - from_us) / MINUTE_US <= MINUTES_MAX;
        let (unit, name, us) =
            if is_short { (Unit::Minute, "minute", MINUTE_US) } else { (Unit::Hour, "hour", HOUR_US) };
        let sums = self.roll_ups(device, unit, from_us / us, to_us.div_ceil(us))?;
        let points = sums.into_iter().map(|(at, r)| {
            let n = r.reports.max(1) as f64;
            HistoryPoint {
                t: at * (us / 1000),
                n: r.reports,
                k: r.clusters_sum as f64 / n,
                k_min: r.clusters_min,
                k_max: r.clusters_max,
                rms: r.rms_sum / n,
                rms_max: r.rms_max,
                missed: r.missed_sum,
                total: r.micros_sum as f64 / n / 1000.0,
                total_max: f64::from(r.micros_max) / 1000.0,
                silhouette: (r.silhouettes > 0).then(|| r.silhouette_sum / r.silhouettes as f64),
                ..HistoryPoint::default()
            }
        });
        Ok(History { unit: name, step_ms: us / 1000, points: points.collect(), strip })
    }

    /// The settings of a census's frame; None if its report is not in the store (any more).
    ///
    /// # Errors
    /// SQLite's.
    pub fn settings_of(&self, key: &CensusKey) -> rusqlite::Result<Option<FrameSettings>> {
        // Frames are not indexed: the report's sequence number is near that of the census, which follows it.
        let sql = "SELECT s.lambda, s.coreset_size, s.method, s.refine, s.w_open FROM census c \
                   JOIN streams t ON t.device = c.device AND t.stream = c.stream \
                   JOIN report_rows r ON r.sid = t.sid AND r.seq <= c.seq JOIN settings s ON s.id = r.settings \
                   WHERE c.device = ?1 AND c.stream = ?2 AND c.frame = ?3 ORDER BY r.seq DESC LIMIT 1";
        let of = params![key.device, key.stream, int(key.frame)];
        let row = |r: &rusqlite::Row<'_>| {
            let (lambda, coreset_size, method, refine, w_open) =
                (r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?);
            Ok(FrameSettings { lambda, coreset_size, method, refine, w_open })
        };
        self.db.prepare_cached(sql)?.query_row(of, row).optional()
    }

    /// Where the range is in each stream that has a part in it, oldest first.
    fn parts(&self, device: &str, from_us: u64, to_us: u64) -> rusqlite::Result<Vec<Part>> {
        let ends = "SELECT min(seq), max(seq) FROM report_rows WHERE sid = ?1";
        let mut parts = Vec::new();
        for stream in self.streams(device)?.into_iter().take(STREAMS_MAX) {
            let ends: (Option<i64>, Option<i64>) =
                self.db.prepare_cached(ends)?.query_row([stream.sid], |r| Ok((r.get(0)?, r.get(1)?)))?;
            let (Some(first), Some(last)) = ends else { continue };
            let (first, end) = (first.unsigned_abs(), last.unsigned_abs() + 1);
            let from = self.first_since(stream.sid, first, end, from_us)?;
            let to = self.first_since(stream.sid, first, end, to_us)?;
            if from < to {
                parts.push(Part { sid: stream.sid, first: from, last: to - 1 });
            }
        }
        parts.reverse();
        Ok(parts)
    }

    /// The first sequence number in `first..end` whose report, or the next one there is, was captured at `time_us` or later.
    fn first_since(&self, sid: i64, first: u64, end: u64, time_us: u64) -> rusqlite::Result<u64> {
        let sql = "SELECT captured_at_us FROM report_rows WHERE sid = ?1 AND seq >= ?2 ORDER BY seq LIMIT 1";
        let mut next = self.db.prepare_cached(sql)?;
        let (mut low, mut high) = (first, end);
        while low < high {
            let middle = low + (high - low) / 2;
            let captured = next.query_row(params![sid, int(middle)], |r| uint(r, 0)).optional()?;
            if captured.is_some_and(|at| at < time_us) { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    fn from_reports(
        &self,
        parts: &[Part],
        from_us: u64,
        to_us: u64,
        step_us: u64,
    ) -> rusqlite::Result<Vec<HistoryPoint>> {
        let sql = "SELECT captured_at_us, clusters, rms, missed, micros_coreset, micros_cluster, micros_label, micros_total, \
                   silhouette_estimate FROM report_rows WHERE sid = ?1 AND seq >= ?2 AND seq <= ?3";
        let mut steps: std::collections::BTreeMap<u64, Sum> = std::collections::BTreeMap::new();
        for part in parts {
            let mut rows = self.db.prepare_cached(sql)?;
            let mut rows = rows.query(params![part.sid, int(part.first), int(part.last)])?;
            while let Some(r) = rows.next()? {
                let at = uint(r, 0)?;
                if !(from_us..to_us).contains(&at) {
                    continue;
                }
                let (clusters, rms): (u32, f64) = (r.get(1)?, r.get(2)?);
                let s = steps.entry((at - from_us) / step_us).or_default();
                s.point.k_min = if s.point.n == 0 { clusters } else { s.point.k_min.min(clusters) };
                s.point.k_max = s.point.k_max.max(clusters);
                s.point.n += 1;
                s.point.k += f64::from(clusters);
                s.point.rms += rms;
                s.point.rms_max = s.point.rms_max.max(rms);
                s.point.missed += r.get::<_, Option<u32>>(3)?.map_or(0, u64::from);
                for (i, sum) in s.micros.iter_mut().enumerate() {
                    *sum += uint(r, 4 + i)?;
                }
                s.point.total_max = s.point.total_max.max(uint(r, 7)? as f64 / 1000.0);
                if let Some(silhouette) = r.get::<_, Option<f64>>(8)? {
                    s.silhouette += silhouette;
                    s.silhouettes += 1;
                }
            }
        }
        let point = |(step, s): (u64, Sum)| {
            let n = s.point.n.max(1) as f64;
            let [coreset, cluster, label, total] = s.micros.map(|sum| sum as f64 / n / 1000.0);
            HistoryPoint {
                t: (from_us + step * step_us) / 1000,
                k: s.point.k / n,
                rms: s.point.rms / n,
                coreset: Some(coreset),
                cluster: Some(cluster),
                label: Some(label),
                total,
                silhouette: (s.silhouettes > 0).then(|| s.silhouette / s.silhouettes as f64),
                ..s.point
            }
        };
        Ok(steps.into_iter().map(point).collect())
    }

    /// Palettes at about equal distances among the reports of `parts`.
    fn strip(&self, parts: &[Part], rows: u64) -> rusqlite::Result<Vec<Stripe>> {
        let sql = "SELECT captured_at_us, palette FROM report_rows WHERE sid = ?1 AND seq >= ?2 AND seq <= ?3 ORDER BY seq LIMIT 1";
        let step = rows.div_ceil(STRIP_MAX).max(1);
        let (mut strip, mut at) = (Vec::new(), 0);
        for part in parts {
            let len = part.last - part.first + 1;
            while at < len {
                let of = params![part.sid, int(part.first + at), int(part.last)];
                let row = |r: &rusqlite::Row<'_>| Ok((uint(r, 0)?, r.get::<_, Vec<u8>>(1)?));
                if let Some((captured, palette)) = self.db.prepare_cached(sql)?.query_row(of, row).optional()? {
                    strip.push(Stripe { t: captured / 1000, colours: largest(&palette) });
                }
                at += step;
            }
            at -= len;
        }
        Ok(strip)
    }
}

/// The largest clusters of a stored palette.
fn largest(palette: &[u8]) -> Vec<(String, f64)> {
    let level = |b: &[u8]| (u32::from(u16::from_be_bytes([b[0], b[1]])) + 32).min(255 * 64 + 32) / 64;
    let mut all: Vec<(String, u32)> = palette
        .chunks_exact(SWATCH_BYTES)
        .map(|s| {
            let rgb = format!("{:02x}{:02x}{:02x}", level(&s[4..]), level(&s[6..]), level(&s[8..]));
            (rgb, u32::from_be_bytes([s[10], s[11], s[12], s[13]]))
        })
        .collect();
    all.sort_by_key(|(_, pixels)| std::cmp::Reverse(*pixels));
    let pixels = all.iter().map(|(_, n)| f64::from(*n)).sum::<f64>().max(1.0);
    let share = |n: u32| (f64::from(n) / pixels * 10_000.0).round() / 10_000.0;
    all.into_iter().take(STRIP_COLOURS_MAX).map(|(rgb, n)| (rgb, share(n))).collect()
}
