//! Queries: what the store holds, for the page and for the commands.
//!
//! [`Query`] opens a store's file, also while another process writes to it, and only reads. A device's reports are ordered
//! by (order of the boot, seq), not by when they were stored: an old boot's backlog never hides what is newer.

use super::rows::{SELECT, report, uint};
use super::{accounts, int, schema};
use crate::failure::Failure;
use crate::json::{MicrosJson, ReportJson};
use crate::metrics::silhouette::census::{self, Colours};
use crate::metrics::store::ledger::Accounts;
use crate::metrics::store::rollup::RollUp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
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
    pub(super) db: Connection,
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

/// Frames of which every part is in the store.
const WHOLE: &str = "SELECT c.stream, c.frame, max(s.ord) AS ord FROM census c JOIN streams s ON s.device = c.device \
                     AND s.stream = c.stream WHERE c.device = ?1 GROUP BY c.stream, c.frame \
                     HAVING count(DISTINCT c.part) = max(c.parts)";

/// The unit of a roll-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

/// A stream of a device.
pub(super) struct Stream {
    pub(super) sid: i64,
    /// Order of its boot among the device's.
    order: i64,
    /// The stream, in decimal.
    name: String,
}

impl Query {
    /// Opens a store that must exist.
    ///
    /// # Errors
    /// [`Failure::NoInput`] if there is no such file, or it is no store.
    pub fn of_existing(file: &Path) -> Result<Query, Failure> {
        if !file.exists() {
            return Err(Failure::NoInput(format!("store.file: {}: there is no such store", file.display())));
        }
        let failed = |e| Failure::NoInput(format!("{}: {e}", file.display()));
        let query = Query::open(file).map_err(failed)?;
        let version: i64 = query.db.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(failed)?;
        if version != schema::VERSION {
            return Err(Failure::NoInput(format!(
                "{}: it is no store of this version (its schema is {version}, not {}). `hueflow-metrics run` updates an older \
                 one",
                file.display(),
                schema::VERSION
            )));
        }
        Ok(query)
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
        accounts::load(&self.db)
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

    /// A device's streams, the youngest boot first.
    pub(super) fn streams(&self, device: &str) -> rusqlite::Result<Vec<Stream>> {
        let sql = "SELECT sid, ord, stream FROM streams WHERE device = ?1 ORDER BY ord DESC, sid DESC";
        let mut rows = self.db.prepare_cached(sql)?;
        rows.query_map([device], |r| Ok(Stream { sid: r.get(0)?, order: r.get(1)?, name: r.get(2)? }))?.collect()
    }

    /// The last `n` reports of a device, oldest first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn points(&self, device: &str, n: u32) -> rusqlite::Result<Vec<Point>> {
        let sql = "SELECT captured_at_us, frame, clusters, iterations, micros_coreset, micros_cluster, micros_label, \
                   micros_total, sse, rms, silhouette_estimate, dropped, sweeps, beyond_px, missed FROM report_rows \
                   WHERE sid = ?1 ORDER BY seq DESC LIMIT ?2";
        let wanted = n.min(REPORTS_MAX) as usize;
        let mut points: Vec<Point> = Vec::new();
        for stream in self.streams(device)? {
            let left = wanted - points.len();
            if left == 0 {
                break;
            }
            let mut rows = self.db.prepare_cached(sql)?;
            for p in rows.query_map(params![stream.sid, left as i64], point)? {
                points.push(p?);
            }
        }
        points.reverse();
        Ok(points)
    }

    /// The last report of a device, and the order of its boot.
    ///
    /// # Errors
    /// SQLite's.
    pub fn latest(&self, device: &str) -> rusqlite::Result<Option<(i64, ReportJson)>> {
        let sql = format!("{SELECT} WHERE r.sid = ?1 ORDER BY r.seq DESC LIMIT 1");
        for stream in self.streams(device)? {
            if let Some(found) = self.db.prepare_cached(&sql)?.query_row([stream.sid], report).optional()? {
                return Ok(Some((stream.order, found)));
            }
        }
        Ok(None)
    }

    /// The roll-ups of a device in `from..to`, both in units since the Unix epoch, oldest first, at most
    /// [`REPORTS_MAX`].
    ///
    /// # Errors
    /// SQLite's.
    pub fn roll_ups(&self, device: &str, unit: Unit, from: u64, to: u64) -> rusqlite::Result<Vec<(u64, RollUp)>> {
        let table = match unit {
            Unit::Minute => "minutes",
            Unit::Hour => "hours",
        };
        let sql = format!(
            "SELECT unit, reports, clusters_sum, clusters_min, clusters_max, rms_sum, rms_max, missed_sum, beyond_px_sum, \
             micros_sum, micros_max, silhouette_sum, silhouettes FROM {table} WHERE device = ?1 AND unit >= ?2 AND unit < ?3 \
             ORDER BY unit LIMIT {REPORTS_MAX}"
        );
        let mut rows = self.db.prepare_cached(&sql)?;
        let rows = rows.query_map(params![device, int(from), int(to)], |r| {
            let sums = RollUp {
                reports: uint(r, 1)?,
                clusters_sum: uint(r, 2)?,
                clusters_min: r.get(3)?,
                clusters_max: r.get(4)?,
                rms_sum: r.get(5)?,
                rms_max: r.get(6)?,
                missed_sum: uint(r, 7)?,
                beyond_px_sum: uint(r, 8)?,
                micros_sum: uint(r, 9)?,
                micros_max: r.get(10)?,
                silhouette_sum: r.get(11)?,
                silhouettes: uint(r, 12)?,
            };
            Ok((uint(r, 0)?, sums))
        })?;
        rows.collect()
    }

    /// The latest census that is whole.
    ///
    /// # Errors
    /// [`CensusMissing`].
    pub fn latest_census(&self, device: &str) -> Result<CensusKey, CensusMissing> {
        let sql = format!("{WHOLE} ORDER BY ord DESC, frame DESC LIMIT 1");
        let found = self.db.prepare_cached(&sql)?.query_row([device], |r| census_key(device, r)).optional()?;
        found.ok_or_else(|| CensusMissing::None(device.to_owned()))
    }

    /// The census of the frame whose report has `seq`, in the latest boot that has such a report.
    ///
    /// # Errors
    /// [`CensusMissing`], with the nearest frame that has one.
    pub fn census_of(&self, device: &str, seq: u64) -> Result<CensusKey, CensusMissing> {
        let key = self.frame_of(device, seq)?;
        let key = key.ok_or_else(|| CensusMissing::NoReport { device: device.to_owned(), seq })?;
        let sql = format!("SELECT stream, frame FROM ({WHOLE}) WHERE stream = ?2 ORDER BY abs(frame - ?3) LIMIT 1");
        let nearest = self
            .db
            .prepare_cached(&sql)?
            .query_row(params![device, key.stream, int(key.frame)], |r| census_key(device, r))
            .optional()?
            .ok_or_else(|| CensusMissing::None(device.to_owned()))?;
        if nearest == key {
            return Ok(key);
        }
        let sql = "SELECT seq FROM report_rows WHERE sid = (SELECT sid FROM streams WHERE device = ?1 AND stream = ?2) \
                   AND frame = ?3 ORDER BY seq LIMIT 1";
        let of = params![device, key.stream, int(nearest.frame)];
        let its: Option<i64> = self.db.prepare_cached(sql)?.query_row(of, |r| r.get(0)).optional()?;
        Err(CensusMissing::NoneOfFrame {
            device: device.to_owned(),
            seq,
            frame: key.frame,
            nearest: nearest.frame,
            hint: its.map(|s| format!(" (--seq {s})")).unwrap_or_default(),
        })
    }

    /// The frame of the report or census with `seq`, in the youngest boot that has one.
    fn frame_of(&self, device: &str, seq: u64) -> rusqlite::Result<Option<CensusKey>> {
        let report = "SELECT frame FROM report_rows WHERE sid = ?1 AND seq = ?2";
        let census = "SELECT frame FROM census WHERE device = ?1 AND stream = ?2 AND seq = ?3";
        for stream in self.streams(device)? {
            let of_report = self.db.prepare_cached(report)?.query_row(params![stream.sid, int(seq)], |r| uint(r, 0));
            let frame = match of_report.optional()? {
                Some(frame) => Some(frame),
                None => {
                    let of = params![device, stream.name, int(seq)];
                    self.db.prepare_cached(census)?.query_row(of, |r| uint(r, 0)).optional()?
                }
            };
            if let Some(frame) = frame {
                return Ok(Some(CensusKey { device: device.to_owned(), stream: stream.name, frame }));
            }
        }
        Ok(None)
    }

    /// A census, joined.
    ///
    /// # Errors
    /// [`CensusMissing`].
    pub fn census(&self, key: &CensusKey) -> Result<Colours, CensusMissing> {
        let sql = "SELECT version, payload FROM census WHERE device = ?1 AND stream = ?2 AND frame = ?3 ORDER BY part";
        let mut rows = self.db.prepare_cached(sql)?;
        let parts = rows.query_map(params![key.device, key.stream, int(key.frame)], |r| Ok((r.get(0)?, r.get(1)?)))?;
        let parts: Vec<(u8, Vec<u8>)> = parts.collect::<rusqlite::Result<_>>()?;
        Ok(census::join(parts.iter().map(|(v, p)| (*v, p.as_slice())))?)
    }
}

fn census_key(device: &str, r: &Row<'_>) -> rusqlite::Result<CensusKey> {
    Ok(CensusKey { device: device.to_owned(), stream: r.get(0)?, frame: uint(r, 1)? })
}

fn point(r: &Row<'_>) -> rusqlite::Result<Point> {
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
}
