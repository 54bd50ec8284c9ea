//! Reports and their palettes as rows of SQLite, and back.
//!
//! [`Rows::insert`] writes one row within the caller's transaction, [`report`] reads one. [`Rows`] remembers the numbers of
//! settings that it has seen; [`Rows::forget`] must be called after a transaction that was not committed.

use super::int;
use crate::clock;
use crate::json::{MicrosJson, ReportJson};
use crate::metrics::store::colorimetry::Colorimetry;
use crate::metrics::store::palette::{palette, palette_bytes};
use crate::metrics::store::rollup::RollUp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Settings that are remembered: those of as many devices as write to one store at a time, all different.
const SETTINGS_MAX: usize = 256;

const INSERT: &str = "
INSERT INTO report_rows (id, sid, seq, frame, stored_at_us, captured_at_us, settings, dropped, warm, coreset_points,
  scatter, iterations, converged, sweeps, saturated, beyond_px, missed, clusters, sse, rms, max_distance,
  silhouette_estimate, micros_coreset, micros_cluster, micros_label, micros_total, palette, births, deaths, regions, named,
  colorimetry)
VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,?24,?25,?26,?27,?28,?29,?30,?31,?32)
ON CONFLICT (sid, seq) DO NOTHING";

/// What [`report`] reads, in its order, with `FROM` and the joins.
pub(super) const SELECT: &str = "
SELECT s.device, s.stream, r.seq, r.frame, r.captured_at_us, r.dropped, c.width, c.height, c.pixels, c.lambda,
  c.coreset_size, c.method, c.w_open, c.seed, r.warm, r.coreset_points, r.scatter, r.iterations, r.converged, r.saturated,
  r.clusters, r.sse, r.rms, r.max_distance, r.silhouette_estimate, r.micros_coreset, r.micros_cluster, r.micros_label,
  r.micros_total, r.palette, c.refine, r.births, r.deaths, r.sweeps, r.beyond_px, r.missed, r.regions, r.named, r.colorimetry
FROM report_rows r JOIN streams s ON s.sid = r.sid JOIN settings c ON c.id = r.settings";

/// A row's place and times.
pub(super) struct RowKey {
    /// The row's number; none for the next one.
    pub id: Option<i64>,
    /// The stream's number.
    pub sid: i64,
    /// Microseconds since the Unix epoch.
    pub stored_at_us: u64,
    /// Microseconds since the Unix epoch.
    pub captured_at_us: u64,
}

/// The settings of a report.
#[derive(PartialEq)]
struct Settings {
    width: u32,
    height: u32,
    pixels: u32,
    lambda: f64,
    coreset_size: u32,
    method: String,
    refine: String,
    w_open: u32,
    seed: String,
}

impl Settings {
    fn is_of(&self, r: &ReportJson) -> bool {
        (self.width, self.height, self.pixels) == (r.width, r.height, r.pixels)
            && self.lambda.to_bits() == r.lambda.to_bits()
            && (self.coreset_size, self.w_open) == (r.coreset_size, r.w_open)
            && self.method == r.method
            && self.refine == r.refine
            && self.seed == r.seed
    }

    fn of(r: &ReportJson) -> Settings {
        Settings {
            width: r.width,
            height: r.height,
            pixels: r.pixels,
            lambda: r.lambda,
            coreset_size: r.coreset_size,
            method: r.method.clone(),
            refine: r.refine.clone(),
            w_open: r.w_open,
            seed: r.seed.clone(),
        }
    }
}

/// Writes reports.
#[derive(Default)]
pub(super) struct Rows {
    settings: Vec<(Settings, i64)>,
}

impl Rows {
    /// Forgets the numbers of settings, which a transaction that was rolled back may have made.
    pub(super) fn forget(&mut self) {
        self.settings.clear();
    }

    /// Writes a report. A row of the same stream and seq is left as it is.
    pub(super) fn insert(&mut self, db: &Connection, key: &RowKey, r: &ReportJson) -> rusqlite::Result<()> {
        let settings = self.settings_id(db, r)?;
        db.prepare_cached(INSERT)?.execute(params![
            key.id,
            key.sid,
            int(r.seq),
            int(r.frame),
            int(key.stored_at_us),
            int(key.captured_at_us),
            settings,
            int(r.dropped),
            r.warm,
            r.coreset_points,
            r.scatter,
            r.iterations,
            r.converged,
            r.sweeps,
            r.saturated,
            r.beyond_px,
            r.missed,
            r.clusters,
            r.sse,
            r.rms,
            r.max_distance,
            r.silhouette_estimate,
            r.micros.coreset,
            r.micros.cluster,
            r.micros.label,
            r.micros.total,
            palette_bytes(&r.palette),
            list(&r.births, r.births.is_empty()),
            list(&r.deaths, r.deaths.is_empty()),
            list(&r.regions, r.regions.region.is_empty()),
            list(&r.named, r.named.region.is_empty()),
            Colorimetry::of(r).and_then(|c| list(&c, false))
        ])?;
        Ok(())
    }

    fn settings_id(&mut self, db: &Connection, r: &ReportJson) -> rusqlite::Result<i64> {
        if let Some((_, id)) = self.settings.iter().find(|(s, _)| s.is_of(r)) {
            return Ok(*id);
        }
        let values =
            params![r.width, r.height, r.pixels, r.lambda, r.coreset_size, r.method, r.refine, r.w_open, r.seed];
        let find = "SELECT id FROM settings WHERE width = ?1 AND height = ?2 AND pixels = ?3 AND lambda = ?4 AND \
                    coreset_size = ?5 AND method = ?6 AND refine = ?7 AND w_open = ?8 AND seed = ?9";
        let id = match db.prepare_cached(find)?.query_row(values, |r| r.get(0)).optional()? {
            Some(id) => id,
            None => {
                let insert = "INSERT INTO settings (width, height, pixels, lambda, coreset_size, method, refine, w_open, \
                              seed) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)";
                db.prepare_cached(insert)?.insert(values)?
            }
        };
        if self.settings.len() >= SETTINGS_MAX {
            self.settings.clear();
        }
        self.settings.push((Settings::of(r), id));
        Ok(id)
    }
}

/// A list as JSON; none if it is empty.
fn list(value: &impl Serialize, is_empty: bool) -> Option<String> {
    if is_empty { None } else { serde_json::to_string(value).ok() }
}

/// The report of a row of [`SELECT`].
pub(super) fn report(r: &Row<'_>) -> rusqlite::Result<ReportJson> {
    let mut report = ReportJson {
        device: r.get(0)?,
        stream: r.get(1)?,
        seq: uint(r, 2)?,
        frame: uint(r, 3)?,
        captured_at: clock::rfc3339(uint(r, 4)?),
        dropped: uint(r, 5)?,
        width: r.get(6)?,
        height: r.get(7)?,
        pixels: r.get(8)?,
        lambda: r.get(9)?,
        coreset_size: r.get(10)?,
        method: r.get(11)?,
        w_open: r.get(12)?,
        seed: r.get(13)?,
        warm: r.get(14)?,
        coreset_points: r.get(15)?,
        scatter: r.get(16)?,
        iterations: r.get(17)?,
        converged: r.get(18)?,
        saturated: r.get(19)?,
        clusters: r.get(20)?,
        sse: r.get(21)?,
        rms: r.get(22)?,
        max_distance: r.get(23)?,
        silhouette_estimate: r.get(24)?,
        space: None,
        de00_mean: None,
        reference_de00: None,
        micros: MicrosJson { coreset: r.get(25)?, cluster: r.get(26)?, label: r.get(27)?, total: r.get(28)? },
        palette: palette(r.get_ref(29)?.as_blob().unwrap_or_default()),
        refine: r.get(30)?,
        births: columns(r, 31)?,
        deaths: columns(r, 32)?,
        sweeps: r.get(33)?,
        beyond_px: r.get(34)?,
        missed: r.get(35)?,
        regions: columns(r, 36)?,
        named: columns(r, 37)?,
    };
    Colorimetry::restore(columns(r, 38)?, &mut report);
    Ok(report)
}

/// A roll-up, whose twelve columns begin at `first` in the table's order.
pub(super) fn roll_up(r: &Row<'_>, first: usize) -> rusqlite::Result<RollUp> {
    Ok(RollUp {
        reports: uint(r, first)?,
        clusters_sum: uint(r, first + 1)?,
        clusters_min: r.get(first + 2)?,
        clusters_max: r.get(first + 3)?,
        rms_sum: r.get(first + 4)?,
        rms_max: r.get(first + 5)?,
        missed_sum: uint(r, first + 6)?,
        beyond_px_sum: uint(r, first + 7)?,
        micros_sum: uint(r, first + 8)?,
        micros_max: r.get(first + 9)?,
        silhouette_sum: r.get(first + 10)?,
        silhouettes: uint(r, first + 11)?,
    })
}

/// A list that is kept as JSON, or nothing.
pub(super) fn columns<T: DeserializeOwned + Default>(r: &Row<'_>, i: usize) -> rusqlite::Result<T> {
    let text: Option<String> = r.get(i)?;
    Ok(text.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default())
}

/// A count, which is never negative.
pub(super) fn uint(r: &Row<'_>, i: usize) -> rusqlite::Result<u64> {
    Ok(r.get::<_, i64>(i)?.unsigned_abs())
}
