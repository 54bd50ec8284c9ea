//! Queries: what the store holds, for the page and for the commands.
//!
//! [`Query`] opens a store's file, also while another process writes to it, and only reads. A device's reports are ordered
//! by (order of the boot, seq), not by when they were stored: an old boot's backlog never hides what is newer.

use super::rows::{SELECT, report, roll_up, uint};
use super::{accounts, events, int, pages, schema};
use crate::failure::Failure;
use crate::json::{MicrosJson, PaletteJson, ReportJson};
use crate::metrics::ingest::fold::{DeadLetter, EventChange};
use crate::metrics::silhouette::census::{self, Colours};
use crate::metrics::store::StoreError;
use crate::metrics::store::ledger::Accounts;
use crate::metrics::store::palette::palette;
use crate::metrics::store::reader::{
    CensusKey, CensusMissing, DeviceStream, FrameSettings, Known, LossRow, Page, Point, REPORTS_MAX, Reader,
    StreamRange, Unit,
};
use crate::metrics::store::rollup::{Numbers, RollUp};
use crate::metrics::store::steps::{StepSums, Steps};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;
use std::path::Path;

/// A store, opened for reading.
pub struct Query {
    db: Connection,
}

/// Frames of which every part is in the store.
const WHOLE: &str = "SELECT c.stream, c.frame, max(s.ord) AS ord FROM census c JOIN streams s ON s.device = c.device \
                     AND s.stream = c.stream WHERE c.device = ?1 GROUP BY c.stream, c.frame \
                     HAVING count(DISTINCT c.part) = max(c.parts)";

impl Query {
    /// Opens a store that must exist.
    ///
    /// # Errors
    /// [`Failure::NoInput`] if there is no such file, or it is no store.
    pub fn of_existing(file: &Path) -> Result<Query, Failure> {
        if !file.exists() {
            return Err(Failure::NoInput(format!(
                "store.file: {}: there is no such store. hueflow-metrics run makes it; or name another with --store",
                file.display()
            )));
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

    /// The frame of the report or census with `seq`, in the youngest boot that has one.
    fn frame_of(&self, device: &str, seq: u64) -> rusqlite::Result<Option<CensusKey>> {
        let report = "SELECT frame FROM report_rows WHERE sid = ?1 AND seq = ?2";
        let census = "SELECT frame FROM census WHERE device = ?1 AND stream = ?2 AND seq = ?3";
        for stream in pages::streams(&self.db, device)? {
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
}

impl From<rusqlite::Error> for CensusMissing {
    fn from(e: rusqlite::Error) -> Self {
        CensusMissing::Store(e.into())
    }
}

impl Reader for Query {
    fn accounts(&self) -> Result<Accounts, StoreError> {
        Ok(accounts::load(&self.db)?)
    }

    fn devices(&self) -> Result<Vec<Known>, StoreError> {
        let sql = "SELECT d.device, s.state, s.json FROM (SELECT DISTINCT device FROM streams UNION SELECT device FROM statuses) d \
                   LEFT JOIN statuses s ON s.device = d.device ORDER BY 1";
        let mut rows = self.db.prepare_cached(sql)?;
        let known = rows.query_map([], |r| Ok(Known { device: r.get(0)?, state: r.get(1)?, status: r.get(2)? }))?;
        Ok(known.collect::<rusqlite::Result<_>>()?)
    }

    fn points(&self, device: &str, n: u32) -> Result<Vec<Point>, StoreError> {
        let sql = "SELECT captured_at_us, frame, clusters, iterations, micros_coreset, micros_cluster, micros_label, \
                   micros_total, sse, rms, silhouette_estimate, dropped, sweeps, beyond_px, missed FROM report_rows \
                   WHERE sid = ?1 ORDER BY seq DESC LIMIT ?2";
        let wanted = n.min(REPORTS_MAX) as usize;
        let mut points: Vec<Point> = Vec::new();
        for stream in pages::streams(&self.db, device)? {
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

    fn latest(&self, device: &str) -> Result<Option<(i64, ReportJson)>, StoreError> {
        let sql = format!("{SELECT} WHERE r.sid = ?1 ORDER BY r.seq DESC LIMIT 1");
        for stream in pages::streams(&self.db, device)? {
            if let Some(found) = self.db.prepare_cached(&sql)?.query_row([stream.sid], report).optional()? {
                return Ok(Some((stream.order, found)));
            }
        }
        Ok(None)
    }

    fn latest_events(&self, device: &str) -> Result<Vec<EventChange>, StoreError> {
        let mut rows = self.db.prepare_cached(events::LATEST)?;
        let rows = rows.query_map([device], events::change)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn events(&self, device: &str, from_us: u64, to_us: u64) -> Result<Vec<EventChange>, StoreError> {
        let mut rows = self.db.prepare_cached(&events::between())?;
        let rows = rows.query_map(params![device, int(from_us), int(to_us)], events::change)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn roll_ups(&self, device: &str, unit: Unit, from: u64, to: u64) -> Result<Vec<(u64, RollUp)>, StoreError> {
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
        let rows = rows.query_map(params![device, int(from), int(to)], |r| Ok((uint(r, 0)?, roll_up(r, 1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn stream_ranges(&self, device: &str, most: u32) -> Result<Vec<StreamRange>, StoreError> {
        let ends = "SELECT min(seq), max(seq) FROM report_rows WHERE sid = ?1";
        let mut ranges = Vec::new();
        for DeviceStream { sid, .. } in pages::streams(&self.db, device)?.into_iter().take(most as usize) {
            let ends = self.db.prepare_cached(ends)?.query_row([sid], |r| Ok((r.get(0)?, r.get(1)?)))?;
            if let (Some(first), Some(last)) = ends {
                ranges.push(StreamRange { sid, first: i64::unsigned_abs(first), last: i64::unsigned_abs(last) });
            }
        }
        Ok(ranges)
    }

    fn captured_at_us(&self, sid: i64, seq: u64) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT captured_at_us FROM report_rows WHERE sid = ?1 AND seq >= ?2 ORDER BY seq LIMIT 1";
        Ok(self.db.prepare_cached(sql)?.query_row(params![sid, int(seq)], |r| uint(r, 0)).optional()?)
    }

    fn step_sums(&self, range: &StreamRange, steps: &Steps) -> Result<Vec<(u64, StepSums)>, StoreError> {
        let sql = "SELECT captured_at_us, clusters, rms, missed, beyond_px, micros_total, silhouette_estimate, micros_coreset, \
                   micros_cluster, micros_label FROM report_rows WHERE sid = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq";
        let mut sums: BTreeMap<u64, StepSums> = BTreeMap::new();
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query(params![range.sid, int(range.first), int(range.last)])?;
        while let Some(r) = rows.next()? {
            let Some(step) = steps.step_of(uint(r, 0)?) else { continue };
            let numbers = Numbers {
                clusters: r.get(1)?,
                rms: r.get(2)?,
                missed: r.get(3)?,
                beyond_px: r.get(4)?,
                micros_total: r.get(5)?,
                silhouette_estimate: r.get(6)?,
            };
            sums.entry(step).or_default().add_report(&numbers, [uint(r, 7)?, uint(r, 8)?, uint(r, 9)?]);
        }
        Ok(sums.into_iter().collect())
    }

    fn first_palette(&self, range: &StreamRange) -> Result<Option<(u64, PaletteJson)>, StoreError> {
        let sql = "SELECT captured_at_us, palette FROM report_rows WHERE sid = ?1 AND seq BETWEEN ?2 AND ?3 \
                   ORDER BY seq LIMIT 1";
        let row = |r: &Row<'_>| Ok((uint(r, 0)?, palette(r.get_ref(1)?.as_blob().unwrap_or_default())));
        let of = params![range.sid, int(range.first), int(range.last)];
        Ok(self.db.prepare_cached(sql)?.query_row(of, row).optional()?)
    }

    fn streams(&self, device: &str) -> Result<Vec<DeviceStream>, StoreError> {
        Ok(pages::streams(&self.db, device)?)
    }

    fn report_page(&self, stream: &DeviceStream, page: &Page) -> Result<Vec<(u64, ReportJson)>, StoreError> {
        Ok(pages::reports(&self.db, stream, page)?)
    }

    fn event_page(&self, device: &str, stream: &DeviceStream, page: &Page) -> Result<Vec<EventChange>, StoreError> {
        Ok(pages::events(&self.db, device, stream, page)?)
    }

    fn loss_page(&self, after: Option<&LossRow>, rows_max: u32) -> Result<Vec<LossRow>, StoreError> {
        Ok(pages::losses(&self.db, after, rows_max)?)
    }

    fn dead_page(
        &self,
        after: Option<&(String, DeadLetter)>,
        rows_max: u32,
    ) -> Result<Vec<(String, DeadLetter)>, StoreError> {
        Ok(pages::dead_letters(&self.db, after, rows_max)?)
    }

    fn settings_of(&self, key: &CensusKey) -> Result<Option<FrameSettings>, StoreError> {
        // Frames are not indexed: the report's sequence number is near that of the census, which follows it.
        let sql = "SELECT s.lambda, s.coreset_size, s.method, s.refine, s.w_open FROM census c \
                   JOIN streams t ON t.device = c.device AND t.stream = c.stream \
                   JOIN report_rows r ON r.sid = t.sid AND r.seq <= c.seq JOIN settings s ON s.id = r.settings \
                   WHERE c.device = ?1 AND c.stream = ?2 AND c.frame = ?3 ORDER BY r.seq DESC LIMIT 1";
        let of = params![key.device, key.stream, int(key.frame)];
        let row = |r: &Row<'_>| {
            let (lambda, coreset_size, method, refine, w_open) =
                (r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?);
            Ok(FrameSettings { lambda, coreset_size, method, refine, w_open })
        };
        Ok(self.db.prepare_cached(sql)?.query_row(of, row).optional()?)
    }

    fn latest_census(&self, device: &str) -> Result<CensusKey, CensusMissing> {
        let sql = format!("{WHOLE} ORDER BY ord DESC, frame DESC LIMIT 1");
        let found = self.db.prepare_cached(&sql)?.query_row([device], |r| census_key(device, r)).optional()?;
        found.ok_or_else(|| CensusMissing::None(device.to_owned()))
    }

    fn census_of(&self, device: &str, seq: u64) -> Result<CensusKey, CensusMissing> {
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

    fn census(&self, key: &CensusKey) -> Result<Colours, CensusMissing> {
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
