//! Queries: what the store holds, for the page and for the commands.
//!
//! [`Query`] only reads, whatever instances write meanwhile. It connects again when its connection is lost. A device's reports
//! are ordered by (order of the boot, seq), not by when they were stored.

use super::pages::{self, PageValues};
use super::rows::{SELECT, bits, report, roll_up, uint};
use super::statements::Statements;
use super::steps::sums_sql;
use super::{claims, connect, events, int, schema};
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
use crate::metrics::store::rollup::RollUp;
use crate::metrics::store::steps::{StepSums, Steps};
use crate::metrics::store::url::Database;
use postgres::types::ToSql;
use postgres::{Client, Row};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Frames of which every part is in the store.
const WHOLE: &str = "SELECT c.stream, c.frame, max(s.ord) AS ord FROM census c JOIN streams s USING (device, stream) \
                     WHERE c.device = $1 GROUP BY c.stream, c.frame HAVING count(DISTINCT c.part) = max(c.parts)";

/// A store, opened for reading.
pub struct Query {
    database: Database,
    connection: Mutex<Option<Connection>>,
}

struct Connection {
    client: Client,
    statements: Statements,
}

impl Query {
    /// Opens a store that exists and is of this version.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub fn open(database: &Database) -> Result<Query, StoreError> {
        let mut client = connect::connect(database)?;
        schema::check(&mut client)?;
        client.batch_execute("SET default_transaction_read_only = on")?;
        let connection = Connection { client, statements: Statements::default() };
        Ok(Query { database: database.clone(), connection: Mutex::new(Some(connection)) })
    }

    /// The connection, made again if it was lost.
    fn lock(&self) -> Result<MutexGuard<'_, Option<Connection>>, StoreError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if connection.as_ref().is_none_or(|c| c.client.is_closed()) {
            let mut client = connect::connect(&self.database)?;
            client.batch_execute("SET default_transaction_read_only = on")?;
            *connection = Some(Connection { client, statements: Statements::default() });
        }
        Ok(connection)
    }

    fn rows(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StoreError> {
        let mut guard = self.lock()?;
        let Some(connection) = guard.as_mut() else { return Ok(Vec::new()) };
        let statement = connection.statements.get(&mut connection.client, sql)?;
        Ok(connection.client.query(&statement, values)?)
    }

    fn first(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, values)?.into_iter().next())
    }

    /// The frame of the report or census with `seq`, in the youngest boot that has one.
    fn frame_of(&self, device: &str, seq: u64) -> Result<Option<CensusKey>, StoreError> {
        let report = "SELECT frame FROM report_rows WHERE sid = $1 AND seq = $2";
        let census = "SELECT frame FROM census WHERE device = $1 AND stream = $2 AND seq = $3";
        for stream in self.streams(device)? {
            let found = match self.first(report, &[&sid_of(stream.sid), &int(seq)])? {
                Some(row) => Some(row),
                None => self.first(census, &[&device, &stream.name, &int(seq)])?,
            };
            if let Some(row) = found {
                return Ok(Some(CensusKey { device: device.to_owned(), stream: stream.name, frame: uint(&row, 0) }));
            }
        }
        Ok(None)
    }
}

impl Drop for Query {
    /// Closing a connection blocks, which no thread may that runs async tasks.
    fn drop(&mut self) {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        std::thread::spawn(move || drop(connection));
    }
}

impl Reader for Query {
    fn accounts(&self) -> Result<Accounts, StoreError> {
        let mut guard = self.lock()?;
        let Some(connection) = guard.as_mut() else { return Ok(Accounts::new()) };
        claims::load_all(&mut connection.client)
    }

    fn devices(&self) -> Result<Vec<Known>, StoreError> {
        let sql = "SELECT d.device, s.state, s.json FROM (SELECT device FROM streams UNION SELECT device FROM statuses) d \
                   LEFT JOIN statuses s ON s.device = d.device ORDER BY d.device COLLATE \"C\"";
        let known = |r: &Row| Known { device: r.get(0), state: r.get(1), status: r.get(2) };
        Ok(self.rows(sql, &[])?.iter().map(known).collect())
    }

    fn points(&self, device: &str, n: u32) -> Result<Vec<Point>, StoreError> {
        let sql = "SELECT captured_at_us, frame, clusters, iterations, micros_coreset, micros_cluster, micros_label, \
                   micros_total, sse, rms, silhouette_estimate, dropped, sweeps, beyond_px, missed FROM report_rows \
                   WHERE sid = $1 ORDER BY seq DESC LIMIT $2";
        let wanted = n.min(REPORTS_MAX) as usize;
        let mut points: Vec<Point> = Vec::new();
        for stream in self.streams(device)? {
            let left = (wanted - points.len()) as i64;
            if left == 0 {
                break;
            }
            points.extend(self.rows(sql, &[&sid_of(stream.sid), &left])?.iter().map(point));
        }
        points.reverse();
        Ok(points)
    }

    fn latest(&self, device: &str) -> Result<Option<(i64, ReportJson)>, StoreError> {
        let sql = format!("{SELECT} WHERE r.sid = $1 ORDER BY r.seq DESC LIMIT 1");
        for stream in self.streams(device)? {
            if let Some(row) = self.first(&sql, &[&sid_of(stream.sid)])? {
                return Ok(Some((stream.order, report(&row))));
            }
        }
        Ok(None)
    }

    fn latest_events(&self, device: &str) -> Result<Vec<EventChange>, StoreError> {
        Ok(self.rows(events::LATEST, &[&device])?.iter().map(events::change).collect())
    }

    fn events(&self, device: &str, from_us: u64, to_us: u64) -> Result<Vec<EventChange>, StoreError> {
        let (from, to) = (int(from_us), int(to_us));
        Ok(self.rows(&events::between(), &[&device, &from, &to])?.iter().map(events::change).collect())
    }

    fn roll_ups(&self, device: &str, unit: Unit, from: u64, to: u64) -> Result<Vec<(u64, RollUp)>, StoreError> {
        let table = match unit {
            Unit::Minute => "minutes",
            Unit::Hour => "hours",
        };
        let sql = format!(
            "SELECT unit, reports, clusters_sum, clusters_min, clusters_max, rms_sum, rms_max, missed_sum, beyond_px_sum, \
             micros_sum, micros_max, silhouette_sum, silhouettes FROM {table} WHERE device = $1 AND unit >= $2 AND unit < $3 \
             ORDER BY unit LIMIT {REPORTS_MAX}"
        );
        let rows = self.rows(&sql, &[&device, &int(from), &int(to)])?;
        Ok(rows.iter().map(|r| (uint(r, 0), roll_up(r, 1, bits))).collect())
    }

    fn stream_ranges(&self, device: &str, most: u32) -> Result<Vec<StreamRange>, StoreError> {
        let ends = "SELECT min(seq), max(seq) FROM report_rows WHERE sid = $1";
        let mut ranges = Vec::new();
        for DeviceStream { sid, .. } in self.streams(device)?.into_iter().take(most as usize) {
            let Some(row) = self.first(ends, &[&sid_of(sid)])? else { continue };
            if let (Some(first), Some(last)) = (row.get::<_, Option<i64>>(0), row.get::<_, Option<i64>>(1)) {
                ranges.push(StreamRange { sid, first: first.unsigned_abs(), last: last.unsigned_abs() });
            }
        }
        Ok(ranges)
    }

    fn captured_at_us(&self, sid: i64, seq: u64) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT captured_at_us FROM report_rows WHERE sid = $1 AND seq >= $2 ORDER BY seq LIMIT 1";
        Ok(self.first(sql, &[&sid_of(sid), &int(seq)])?.map(|r| uint(&r, 0)))
    }

    fn step_sums(&self, range: &StreamRange, steps: &Steps) -> Result<Vec<(u64, StepSums)>, StoreError> {
        let numbers = [range.first, range.last, steps.from_us, steps.to_us, steps.step_us].map(int);
        let [first, last, from_us, to_us, step_us] = numbers;
        let of: [&(dyn ToSql + Sync); 6] = [&sid_of(range.sid), &first, &last, &from_us, &to_us, &step_us];
        // The query gives every count as a number of 64 bits.
        let count = |r: &Row, i| u32::try_from(uint(r, i)).unwrap_or(u32::MAX);
        let sums = |r: &Row| StepSums { sums: roll_up(r, 1, count), stages_us: [13, 14, 15].map(|i| uint(r, i)) };
        Ok(self.rows(&sums_sql(), &of)?.iter().map(|r| (uint(r, 0), sums(r))).collect())
    }

    fn first_palette(&self, range: &StreamRange) -> Result<Option<(u64, PaletteJson)>, StoreError> {
        let sql = "SELECT captured_at_us, palette FROM report_rows WHERE sid = $1 AND seq BETWEEN $2 AND $3 \
                   ORDER BY seq LIMIT 1";
        let of: [&(dyn ToSql + Sync); 3] = [&sid_of(range.sid), &int(range.first), &int(range.last)];
        Ok(self.first(sql, &of)?.map(|r| (uint(&r, 0), palette(r.get(1)))))
    }

    fn streams(&self, device: &str) -> Result<Vec<DeviceStream>, StoreError> {
        Ok(self.rows(pages::STREAMS, &[&device])?.iter().map(pages::stream).collect())
    }

    fn report_page(&self, stream: &DeviceStream, page: &Page) -> Result<Vec<(u64, ReportJson)>, StoreError> {
        let PageValues { from_seq, from_us, to_us, rows_max } = PageValues::of(page);
        let of: [&(dyn ToSql + Sync); 5] = [&sid_of(stream.sid), &from_seq, &from_us, &to_us, &rows_max];
        Ok(self.rows(&pages::reports(), &of)?.iter().map(|r| (uint(r, 4), report(r))).collect())
    }

    fn event_page(&self, device: &str, stream: &DeviceStream, page: &Page) -> Result<Vec<EventChange>, StoreError> {
        let PageValues { from_seq, from_us, to_us, rows_max } = PageValues::of(page);
        let of: [&(dyn ToSql + Sync); 7] =
            [&device, &stream.name, &from_seq, &from_us, &to_us, &rows_max, &stream.order];
        Ok(self.rows(pages::EVENTS, &of)?.iter().map(events::change).collect())
    }

    fn loss_page(&self, after: Option<&LossRow>, rows_max: u32) -> Result<Vec<LossRow>, StoreError> {
        let (device, stream, lo, hi) = pages::loss_key(after);
        let of: [&(dyn ToSql + Sync); 5] = [&device, &stream, &lo, &hi, &i64::from(rows_max)];
        Ok(self.rows(pages::LOSSES, &of)?.iter().map(pages::loss).collect())
    }

    fn dead_page(
        &self,
        after: Option<&(String, DeadLetter)>,
        rows_max: u32,
    ) -> Result<Vec<(String, DeadLetter)>, StoreError> {
        let (journal, place, part, offset) = pages::dead_key(after);
        let of: [&(dyn ToSql + Sync); 5] = [&journal, &place, &part, &offset, &i64::from(rows_max)];
        Ok(self.rows(pages::DEAD, &of)?.iter().map(pages::dead_letter).collect())
    }

    fn settings_of(&self, key: &CensusKey) -> Result<Option<FrameSettings>, StoreError> {
        // Frames are not indexed: the report's sequence number is near that of the census, which follows it.
        let sql = "SELECT s.lambda, s.coreset_size, s.method, s.refine, s.w_open FROM census c \
                   JOIN streams t ON t.device = c.device AND t.stream = c.stream \
                   JOIN report_rows r ON r.sid = t.sid AND r.seq <= c.seq JOIN settings s ON s.id = r.settings \
                   WHERE c.device = $1 AND c.stream = $2 AND c.frame = $3 ORDER BY r.seq DESC LIMIT 1";
        let settings = |r: Row| FrameSettings {
            lambda: r.get(0),
            coreset_size: bits(&r, 1),
            method: r.get(2),
            refine: r.get(3),
            w_open: bits(&r, 4),
        };
        Ok(self.first(sql, &[&key.device, &key.stream, &int(key.frame)])?.map(settings))
    }

    fn latest_census(&self, device: &str) -> Result<CensusKey, CensusMissing> {
        let sql = format!("{WHOLE} ORDER BY ord DESC, frame DESC LIMIT 1");
        let found = self.first(&sql, &[&device])?.map(|r| census_key(device, &r));
        found.ok_or_else(|| CensusMissing::None(device.to_owned()))
    }

    fn census_of(&self, device: &str, seq: u64) -> Result<CensusKey, CensusMissing> {
        let key = self.frame_of(device, seq)?;
        let key = key.ok_or_else(|| CensusMissing::NoReport { device: device.to_owned(), seq })?;
        let sql = format!("SELECT stream, frame FROM ({WHOLE}) w WHERE stream = $2 ORDER BY abs(frame - $3) LIMIT 1");
        let nearest = self
            .first(&sql, &[&device, &key.stream, &int(key.frame)])?
            .map(|r| census_key(device, &r))
            .ok_or_else(|| CensusMissing::None(device.to_owned()))?;
        if nearest == key {
            return Ok(key);
        }
        let sql = "SELECT seq FROM report_rows WHERE sid = (SELECT sid FROM streams WHERE device = $1 AND stream = $2) \
                   AND frame = $3 ORDER BY seq LIMIT 1";
        let its = self.first(sql, &[&device, &key.stream, &int(nearest.frame)])?.map(|r| uint(&r, 0));
        Err(CensusMissing::NoneOfFrame {
            device: device.to_owned(),
            seq,
            frame: key.frame,
            nearest: nearest.frame,
            hint: its.map(|s| format!(" (--seq {s})")).unwrap_or_default(),
        })
    }

    fn census(&self, key: &CensusKey) -> Result<Colours, CensusMissing> {
        let sql = "SELECT version, payload FROM census WHERE device = $1 AND stream = $2 AND frame = $3 ORDER BY part";
        let parts = self.rows(sql, &[&key.device, &key.stream, &int(key.frame)])?;
        let version = |r: &Row| u8::try_from(r.get::<_, i32>(0)).unwrap_or(u8::MAX);
        Ok(census::join(parts.iter().map(|r| (version(r), r.get::<_, &[u8]>(1))))?)
    }
}

/// A stream's number as PostgreSQL has it. One that it cannot have is no stream's.
fn sid_of(sid: i64) -> i32 {
    i32::try_from(sid).unwrap_or(-1)
}

fn census_key(device: &str, r: &Row) -> CensusKey {
    CensusKey { device: device.to_owned(), stream: r.get(0), frame: uint(r, 1) }
}

fn point(r: &Row) -> Point {
    Point {
        captured_at_ms: uint(r, 0) / 1000,
        frame: uint(r, 1),
        clusters: bits(r, 2),
        iterations: bits(r, 3),
        micros: MicrosJson { coreset: bits(r, 4), cluster: bits(r, 5), label: bits(r, 6), total: bits(r, 7) },
        sse: r.get(8),
        rms: r.get(9),
        silhouette_estimate: r.get(10),
        dropped: uint(r, 11),
        sweeps: bits(r, 12),
        beyond_px: r.get::<_, Option<i32>>(13).map(|x| x as u32),
        missed: r.get::<_, Option<i32>>(14).map(|x| x as u32),
    }
}
