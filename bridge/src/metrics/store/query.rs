//! Query: what the store holds, for the page and for the commands.
//!
//! Takes a store's file. Gives reports, censuses and accounts.
//! Touches the file, reading only.
//! Never writes a row: that is the store's.

use crate::failure::Failure;
use crate::json::{MicrosJson, ReportJson};
use crate::metrics::silhouette::census::{self, Colours};
use crate::metrics::store;
use crate::metrics::store::ledger::Accounts;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// Most reports in one answer.
pub const REPORTS_MAX: u32 = 10_000;

/// A report's numbers, for a curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Milliseconds since the Unix epoch.
    pub captured_at_ms: u64,
    /// The frame.
    pub frame: u64,
    /// Clusters.
    pub clusters: u32,
    /// Iterations.
    pub iterations: u32,
    /// Stage times.
    pub micros: MicrosJson,
    /// Sum of squared distances.
    pub sse: f64,
    /// Root of the mean squared distance.
    pub rms: f64,
    /// The estimate, if there is one.
    pub silhouette_estimate: Option<f64>,
    /// Frames dropped so far.
    pub dropped: u64,
    /// Sweeps of the refinement.
    pub sweeps: u32,
    /// Pixels farther than lambda from their centroid, if the edge counted them.
    pub beyond_px: Option<u32>,
    /// Colours that the palette misses, if the edge counted them.
    pub missed: Option<u32>,
}

/// A device that the store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The device.
    pub device: String,
    /// Its last state.
    pub state: Option<String>,
    /// All it said of itself, as JSON.
    pub status: Option<String>,
}

/// Which census.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CensusKey {
    /// The device.
    pub device: String,
    /// The stream, in decimal.
    pub stream: String,
    /// The frame.
    pub frame: u64,
}

/// A store, opened for reading.
pub struct Query {
    db: Connection,
}

/// Why there is no census.
#[derive(Debug, thiserror::Error)]
pub enum CensusMissing {
    /// SQLite's word.
    #[error("store: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The device has none at all.
    #[error("device {0} has no census in the store")]
    None(String),
    /// There is no such report.
    #[error("device {device} has no report with seq {seq} in the store")]
    NoReport {
        /// The device.
        device: String,
        /// The sequence number.
        seq: u64,
    },
    /// That frame has none.
    #[error("frame {frame} (seq {seq}) of device {device} has no census; the nearest is of frame {nearest}{hint}")]
    NoneOfFrame {
        /// The device.
        device: String,
        /// The report's sequence number.
        seq: u64,
        /// Its frame.
        frame: u64,
        /// The nearest frame that has one.
        nearest: u64,
        /// How to ask for it.
        hint: String,
    },
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] census::CensusError),
}

/// Frames of which every part is there.
const WHOLE: &str = "SELECT stream, frame, max(id) AS last FROM census WHERE device = ?1 GROUP BY stream, frame \
                     HAVING count(DISTINCT part) = max(parts)";

impl Query {
    /// Opens a store that must exist.
    ///
    /// # Errors
    /// [`Failure::NoInput`] if there is no such file, or it is no store.
    pub fn of_existing(file: &Path) -> Result<Query, Failure> {
        if !file.exists() {
            return Err(Failure::NoInput(format!("store.file: {}: there is no such store", file.display())));
        }
        Query::open(file).map_err(|e| Failure::NoInput(format!("{}: {e}", file.display())))
    }

    /// Opens a store that exists.
    ///
    /// # Errors
    /// SQLite's.
    pub fn open(file: &Path) -> rusqlite::Result<Query> {
        use rusqlite::OpenFlags;
        // Read-write, since a reader of a WAL may have to make its shared memory.
        let db =
            Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        db.busy_timeout(std::time::Duration::from_secs(10))?;
        db.execute_batch("PRAGMA query_only = ON")?;
        Ok(Query { db })
    }

    /// What became of every record.
    ///
    /// # Errors
    /// SQLite's.
    pub fn accounts(&self) -> rusqlite::Result<Accounts> {
        store::accounts(&self.db)
    }

    /// Devices that the store knows, with their last state.
    ///
    /// # Errors
    /// SQLite's.
    pub fn devices(&self) -> rusqlite::Result<Vec<Known>> {
        let sql = "SELECT d.device, s.state, s.json FROM (SELECT DISTINCT device FROM streams UNION SELECT device FROM statuses) d \
                   LEFT JOIN statuses s ON s.device = d.device ORDER BY 1";
        let mut rows = self.db.prepare_cached(sql)?;
        rows.query_map([], |r| Ok(Known { device: r.get(0)?, state: r.get(1)?, status: r.get(2)? }))?.collect()
    }

    /// The last `n` reports of a device, oldest first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn points(&self, device: &str, n: u32) -> rusqlite::Result<Vec<Point>> {
        let sql = "SELECT captured_at_us, frame, clusters, iterations, micros_coreset, micros_cluster, micros_label, \
                   micros_total, sse, rms, silhouette_estimate, dropped, sweeps, beyond_px, missed FROM reports WHERE device = ?1 ORDER BY id DESC LIMIT ?2";
        let mut rows = self.db.prepare_cached(sql)?;
        let points = rows.query_map(params![device, n.min(REPORTS_MAX)], |r| {
            Ok(Point {
                captured_at_ms: uint(r, 0)? / 1000,
                frame: uint(r, 1)?,
                clusters: r.get(2)?,
                iterations: r.get(3)?,
                micros: MicrosJson { coreset: r.get(4)?, cluster: r.get(5)?, label: r.get(6)?, total: r.get(7)? },
                sse: r.get(8)?,
                rms: r.get(9)?,
                silhouette_estimate: r.get(10)?,
                dropped: uint(r, 11)?,
                sweeps: r.get(12)?,
                beyond_px: r.get(13)?,
                missed: r.get(14)?,
            })
        })?;
        let mut points: Vec<Point> = points.collect::<rusqlite::Result<_>>()?;
        points.reverse();
        Ok(points)
    }

    /// The last report of a device.
    ///
    /// # Errors
    /// SQLite's.
    pub fn latest(&self, device: &str) -> rusqlite::Result<Option<ReportJson>> {
        let sql = "SELECT device, stream, seq, frame, captured_at, dropped, width, height, pixels, lambda, coreset_size, method, \
                   w_open, seed, warm, coreset_points, scatter, iterations, converged, saturated, clusters, sse, rms, max_distance, \
                   silhouette_estimate, micros_coreset, micros_cluster, micros_label, micros_total, palette, refine, births, deaths, sweeps, \
                   beyond_px, missed, regions, named \
                   FROM reports WHERE device = ?1 ORDER BY id DESC LIMIT 1";
        self.db.prepare_cached(sql)?.query_row([device], report).optional()
    }

    /// The latest census that is whole.
    ///
    /// # Errors
    /// [`CensusMissing`].
    pub fn latest_census(&self, device: &str) -> Result<CensusKey, CensusMissing> {
        let sql = format!("{WHOLE} ORDER BY last DESC LIMIT 1");
        let found = self.db.prepare_cached(&sql)?.query_row([device], |r| census_key(device, r)).optional()?;
        found.ok_or_else(|| CensusMissing::None(device.to_owned()))
    }

    /// The census of the frame whose report has `seq`, in the latest boot that has such a report.
    ///
    /// # Errors
    /// [`CensusMissing`], with the nearest frame that has one.
    pub fn census_of(&self, device: &str, seq: u64) -> Result<CensusKey, CensusMissing> {
        let sql = "SELECT stream, frame FROM (SELECT stream, frame, id, seq, device FROM reports UNION ALL \
                   SELECT stream, frame, id, seq, device FROM census) WHERE device = ?1 AND seq = ?2 ORDER BY id DESC LIMIT 1";
        let found = self.db.prepare_cached(sql)?.query_row(params![device, store::int(seq)], |r| census_key(device, r));
        let key = found.optional()?.ok_or(CensusMissing::NoReport { device: device.to_owned(), seq })?;
        let sql = format!("SELECT stream, frame FROM ({WHOLE}) WHERE stream = ?2 ORDER BY abs(frame - ?3) LIMIT 1");
        let nearest = self
            .db
            .prepare_cached(&sql)?
            .query_row(params![device, key.stream, store::int(key.frame)], |r| census_key(device, r))
            .optional()?
            .ok_or_else(|| CensusMissing::None(device.to_owned()))?;
        if nearest == key {
            return Ok(key);
        }
        let sql = "SELECT seq FROM reports WHERE device = ?1 AND stream = ?2 AND frame = ?3";
        let of = params![device, key.stream, store::int(nearest.frame)];
        let its: Option<i64> = self.db.prepare_cached(sql)?.query_row(of, |r| r.get(0)).optional()?;
        Err(CensusMissing::NoneOfFrame {
            device: device.to_owned(),
            seq,
            frame: key.frame,
            nearest: nearest.frame,
            hint: its.map(|s| format!(" (--seq {s})")).unwrap_or_default(),
        })
    }

    /// A census, joined.
    ///
    /// # Errors
    /// [`CensusMissing`].
    pub fn census(&self, key: &CensusKey) -> Result<Colours, CensusMissing> {
        let sql = "SELECT version, payload FROM census WHERE device = ?1 AND stream = ?2 AND frame = ?3 ORDER BY part";
        let mut rows = self.db.prepare_cached(sql)?;
        let parts =
            rows.query_map(params![key.device, key.stream, store::int(key.frame)], |r| Ok((r.get(0)?, r.get(1)?)))?;
        let parts: Vec<(u8, Vec<u8>)> = parts.collect::<rusqlite::Result<_>>()?;
        Ok(census::join(parts.iter().map(|(v, p)| (*v, p.as_slice())))?)
    }
}

fn census_key(device: &str, r: &Row<'_>) -> rusqlite::Result<CensusKey> {
    Ok(CensusKey { device: device.to_owned(), stream: r.get(0)?, frame: uint(r, 1)? })
}

fn uint(r: &Row<'_>, i: usize) -> rusqlite::Result<u64> {
    Ok(r.get::<_, i64>(i)?.unsigned_abs())
}

fn report(r: &Row<'_>) -> rusqlite::Result<ReportJson> {
    let report = ReportJson {
        device: r.get(0)?,
        stream: r.get(1)?,
        seq: uint(r, 2)?,
        frame: uint(r, 3)?,
        captured_at: r.get(4)?,
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
        micros: MicrosJson { coreset: r.get(25)?, cluster: r.get(26)?, label: r.get(27)?, total: r.get(28)? },
        palette: columns(r, 29)?,
        refine: r.get(30)?,
        births: columns(r, 31)?,
        deaths: columns(r, 32)?,
        sweeps: r.get(33)?,
        beyond_px: r.get(34)?,
        missed: r.get(35)?,
        regions: columns(r, 36)?,
        named: columns(r, 37)?,
    };
    // The row may be older than the columns that it has now.
    Ok(report.as_written_now())
}

/// A list that is kept as JSON.
fn columns<T: DeserializeOwned + Default>(r: &Row<'_>, i: usize) -> rusqlite::Result<T> {
    Ok(serde_json::from_str(&r.get::<_, String>(i)?).unwrap_or_default())
}
