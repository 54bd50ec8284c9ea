//! Reports and their palettes as rows of PostgreSQL, and back.
//!
//! [`Rows::copy`] writes the reports of a batch by a binary COPY within the caller's transaction, [`report`] reads one.
//! [`Rows`] remembers the numbers of settings that it has seen; [`Rows::forget`] must be called after a transaction that was
//! not committed.

use super::{int, text};
use crate::clock;
use crate::json::{MicrosJson, NamedJson, RegionsJson, ReportJson};
use crate::metrics::store::StoreError;
use crate::metrics::store::colorimetry::Colorimetry;
use crate::metrics::store::palette::{palette, palette_bytes};
use crate::metrics::store::rollup::RollUp;
use postgres::binary_copy::BinaryCopyInWriter;
use postgres::types::{ToSql, Type};
use postgres::{Row, Transaction};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Settings that are remembered: those of as many devices as write to one store at a time, all different.
const SETTINGS_MAX: usize = 256;

const COPY: &str = "(seq, frame, stored_at_us, captured_at_us, dropped, scatter, sse, rms, max_distance, silhouette_estimate, \
                    sid, settings, coreset_points, iterations, sweeps, beyond_px, missed, clusters, micros_coreset, \
                    micros_cluster, micros_label, micros_total, warm, converged, saturated, lists, palette)";
const TYPES: [Type; 27] = {
    const L: Type = Type::INT8;
    const F: Type = Type::FLOAT8;
    const I: Type = Type::INT4;
    const B: Type = Type::BOOL;
    [L, L, L, L, L, F, F, F, F, F, I, I, I, I, I, I, I, I, I, I, I, I, B, B, B, Type::TEXT, Type::BYTEA]
};

/// What [`report`] reads, in its order, with `FROM` and the joins.
pub(super) const SELECT: &str = "
SELECT s.device, s.stream, r.seq, r.frame, r.captured_at_us, r.dropped, c.width, c.height, c.pixels, c.lambda,
  c.coreset_size, c.method, c.w_open, c.seed, r.warm, r.coreset_points, r.scatter, r.iterations, r.converged, r.saturated,
  r.clusters, r.sse, r.rms, r.max_distance, r.silhouette_estimate, r.micros_coreset, r.micros_cluster, r.micros_label,
  r.micros_total, r.palette, c.refine, r.lists, r.sweeps, r.beyond_px, r.missed
FROM report_rows r JOIN streams s ON s.sid = r.sid JOIN settings c ON c.id = r.settings";

/// A report with its place and times.
pub(super) struct ReportRow<'a> {
    /// The stream's number.
    pub sid: i32,
    /// Microseconds since the Unix epoch.
    pub stored_at_us: u64,
    /// Microseconds since the Unix epoch.
    pub captured_at_us: u64,
    /// The report.
    pub report: &'a ReportJson,
}

/// What a report mostly has not: its lists, and another space than RGB.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Lists {
    births: Vec<u32>,
    deaths: Vec<u32>,
    regions: RegionsJson,
    named: NamedJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    colorimetry: Option<Colorimetry>,
}

/// The settings of a report: width, height, pixels, bits of lambda, coreset size, method, refine, `w_open` and seed.
type Settings = (u32, u32, u32, u64, u32, String, String, u32, String);

/// Writes reports.
#[derive(Default)]
pub(super) struct Rows {
    settings: HashMap<Settings, i32>,
}

impl Rows {
    /// Forgets the numbers of settings, which a transaction that was rolled back may have made.
    pub(super) fn forget(&mut self) {
        self.settings.clear();
    }

    /// Writes reports into a chunk.
    pub(super) fn copy(
        &mut self,
        t: &mut Transaction<'_>,
        chunk: i32,
        rows: &[ReportRow<'_>],
    ) -> Result<(), StoreError> {
        let mut settings = Vec::with_capacity(rows.len());
        for row in rows {
            settings.push(self.settings_id(t, row.report)?);
        }
        let writer = t.copy_in(&format!("COPY report_rows_{chunk} {COPY} FROM STDIN BINARY"))?;
        let mut writer = BinaryCopyInWriter::new(writer, &TYPES);
        for (row, settings) in rows.iter().zip(settings) {
            let r = row.report;
            let bits = |x: u32| x as i32;
            let values: [&(dyn ToSql + Sync); 27] = [
                &int(r.seq),
                &int(r.frame),
                &int(row.stored_at_us),
                &int(row.captured_at_us),
                &int(r.dropped),
                &r.scatter,
                &r.sse,
                &r.rms,
                &r.max_distance,
                &r.silhouette_estimate,
                &row.sid,
                &settings,
                &bits(r.coreset_points),
                &bits(r.iterations),
                &bits(r.sweeps),
                &r.beyond_px.map(bits),
                &r.missed.map(bits),
                &bits(r.clusters),
                &bits(r.micros.coreset),
                &bits(r.micros.cluster),
                &bits(r.micros.label),
                &bits(r.micros.total),
                &r.warm,
                &r.converged,
                &r.saturated,
                &lists(r),
                &palette_bytes(&r.palette),
            ];
            writer.write(&values)?;
        }
        writer.finish()?;
        Ok(())
    }

    fn settings_id(&mut self, t: &mut Transaction<'_>, r: &ReportJson) -> Result<i32, StoreError> {
        let (method, refine, seed) = (text(&r.method), text(&r.refine), text(&r.seed));
        let key: Settings = (
            r.width,
            r.height,
            r.pixels,
            r.lambda.to_bits(),
            r.coreset_size,
            method.clone(),
            refine.clone(),
            r.w_open,
            seed.clone(),
        );
        if let Some(id) = self.settings.get(&key) {
            return Ok(*id);
        }
        let [width, height, pixels, coreset_size, w_open] =
            [r.width, r.height, r.pixels, r.coreset_size, r.w_open].map(|x| x as i32);
        let values: [&(dyn ToSql + Sync); 9] =
            [&width, &height, &pixels, &r.lambda, &coreset_size, &method, &refine, &w_open, &seed];
        let find = "SELECT id FROM settings WHERE width = $1 AND height = $2 AND pixels = $3 AND lambda = $4 AND \
                    coreset_size = $5 AND method = $6 AND refine = $7 AND w_open = $8 AND seed = $9";
        // Another instance may make the same settings at the same time: the update gives their number.
        let insert = "INSERT INTO settings (width, height, pixels, lambda, coreset_size, method, refine, w_open, seed) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (width, height, pixels, lambda, coreset_size, \
                      method, refine, w_open, seed) DO UPDATE SET seed = excluded.seed RETURNING id";
        let id = match t.query_opt(find, &values)? {
            Some(row) => row.get(0),
            None => t.query_one(insert, &values)?.get(0),
        };
        if self.settings.len() >= SETTINGS_MAX {
            self.settings.clear();
        }
        self.settings.insert(key, id);
        Ok(id)
    }
}

/// The lists as one JSON; empty if all of them are.
fn lists(r: &ReportJson) -> String {
    let colorimetry = Colorimetry::of(r);
    let is_empty =
        r.births.is_empty() && r.deaths.is_empty() && r.regions.region.is_empty() && r.named.region.is_empty();
    if is_empty && colorimetry.is_none() {
        return String::new();
    }
    let lists = Lists {
        births: r.births.clone(),
        deaths: r.deaths.clone(),
        regions: r.regions.clone(),
        named: r.named.clone(),
        colorimetry,
    };
    serde_json::to_string(&lists).unwrap_or_default()
}

/// The report of a row of [`SELECT`].
pub(super) fn report(r: &Row) -> ReportJson {
    let lists: Lists = serde_json::from_str(r.get::<_, &str>(31)).unwrap_or_default();
    let mut report = ReportJson {
        device: r.get(0),
        stream: r.get(1),
        seq: uint(r, 2),
        frame: uint(r, 3),
        captured_at: clock::rfc3339(uint(r, 4)),
        dropped: uint(r, 5),
        width: bits(r, 6),
        height: bits(r, 7),
        pixels: bits(r, 8),
        lambda: r.get(9),
        coreset_size: bits(r, 10),
        method: r.get(11),
        w_open: bits(r, 12),
        seed: r.get(13),
        warm: r.get(14),
        coreset_points: bits(r, 15),
        scatter: r.get(16),
        iterations: bits(r, 17),
        converged: r.get(18),
        saturated: r.get(19),
        clusters: bits(r, 20),
        sse: r.get(21),
        rms: r.get(22),
        max_distance: r.get(23),
        silhouette_estimate: r.get(24),
        space: None,
        de00_mean: None,
        reference_de00: None,
        micros: MicrosJson { coreset: bits(r, 25), cluster: bits(r, 26), label: bits(r, 27), total: bits(r, 28) },
        palette: palette(r.get(29)),
        refine: r.get(30),
        births: lists.births,
        deaths: lists.deaths,
        regions: lists.regions,
        named: lists.named,
        sweeps: bits(r, 32),
        beyond_px: r.get::<_, Option<i32>>(33).map(|x| x as u32),
        missed: r.get::<_, Option<i32>>(34).map(|x| x as u32),
    };
    Colorimetry::restore(lists.colorimetry, &mut report);
    report
}

/// A roll-up, whose twelve columns begin at `first` in the table's order; `count` reads a count of 32 bits.
pub(super) fn roll_up(r: &Row, first: usize, count: fn(&Row, usize) -> u32) -> RollUp {
    RollUp {
        reports: uint(r, first),
        clusters_sum: uint(r, first + 1),
        clusters_min: count(r, first + 2),
        clusters_max: count(r, first + 3),
        rms_sum: r.get(first + 4),
        rms_max: r.get(first + 5),
        missed_sum: uint(r, first + 6),
        beyond_px_sum: uint(r, first + 7),
        micros_sum: uint(r, first + 8),
        micros_max: count(r, first + 9),
        silhouette_sum: r.get(first + 10),
        silhouettes: uint(r, first + 11),
    }
}

/// A count of 64 bits, which is never negative.
pub(super) fn uint(r: &Row, i: usize) -> u64 {
    r.get::<_, i64>(i).unsigned_abs()
}

/// A count of 32 bits.
pub(super) fn bits(r: &Row, i: usize) -> u32 {
    r.get::<_, i32>(i) as u32
}
