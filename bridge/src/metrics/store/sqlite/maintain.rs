//! Maintenance of the store between batches: retention, and the migration of old rows.
//!
//! [`Sqlite::run_slice`] does one bounded slice of work in a transaction of its own and returns how soon it wants to run
//! again. [`Pace`] adapts the rows of a slice to how long the last one took, so that ingest never waits longer than about
//! [`SLICE_MAX`]. Roll-ups and spans are not touched by the retention of reports: spans alone decide what is a duplicate.

use super::rows::{RowKey, columns, uint};
use super::{Sqlite, int, schema, sid_of, write_roll_ups};
use crate::clock;
use crate::json::{MicrosJson, ReportJson};
use crate::metrics::store::rollup::{HOUR_US, MINUTE_US, RollUp};
use firmware::color::Space;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A slice is made smaller if it took longer than this. Ingest may stall for 200 ms; a slice that grows by half from here
/// stays below that.
const SLICE_MAX: Duration = Duration::from_millis(80);
/// A slice is made larger if it took less than this.
const SLICE_MIN: Duration = Duration::from_millis(25);
/// Rows of the first slice: 10 ms of work on a Raspberry Pi's SD card.
const ROWS_FIRST: u32 = 256;
/// Rows of a slice at most: as many as two batches bring, so that retention keeps up with ingest.
const ROWS_MAX: u32 = 8_192;
/// Rows of a slice at least.
const ROWS_MIN: u32 = 16;
/// Bytes of a row of 17 colours with its index, measured by the store's test. Rows that are smaller take more slices.
const ROW_BYTES: u64 = 400;
/// Pages that one slice gives back to the file system.
const VACUUM_PAGES: u32 = 256;
/// How soon the next slice runs if there is nothing more to do.
const IDLE: Duration = Duration::from_secs(5);
/// Dead letters, losses, windows and events kept, each: a tenth of them a day would still be a month. Their spans are kept for ever.
const LETTERS_KEPT: u32 = 100_000;
const DAY_US: u64 = 86_400_000_000;

/// How many rows a slice has.
pub(super) struct Pace {
    rows: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { rows: ROWS_FIRST }
    }
}

impl Pace {
    fn adapt(&mut self, took: Duration) {
        if took > SLICE_MAX {
            self.rows = (self.rows / 2).max(ROWS_MIN);
        } else if took < SLICE_MIN {
            self.rows = (self.rows + self.rows / 2).min(ROWS_MAX);
        }
    }
}

impl Sqlite {
    /// One slice of work. Gives how soon the next one should run.
    pub(super) fn run_slice(&mut self, now_us: u64) -> rusqlite::Result<Duration> {
        let started = Instant::now();
        let is_done =
            if schema::is_table(&self.db, "reports_v1")? { self.move_v1(now_us)? } else { self.prune(now_us)? };
        self.pace.adapt(started.elapsed());
        Ok(if is_done { IDLE } else { Duration::ZERO })
    }

    /// Moves the newest rows of version 1 at once, so that the newest reports are there and new rows get higher numbers.
    pub(super) fn move_newest_of_v1(&mut self) -> rusqlite::Result<()> {
        if schema::is_table(&self.db, "reports_v1")? {
            log::info!("store: the file is of an older version; its reports are moved to the new table from now on");
            self.move_v1(clock::now_us())?;
        }
        Ok(())
    }

    /// Moves a slice of version 1's rows, the newest first. Those that retention would delete are deleted. The table goes
    /// when it is empty.
    fn move_v1(&mut self, now_us: u64) -> rusqlite::Result<bool> {
        let oldest_us = oldest_us(now_us, self.config.keep_days);
        let is_full = self.used_bytes()? > self.config.bytes_max;
        let t = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut moved = Vec::new();
        {
            let mut rows = t.prepare_cached("SELECT * FROM reports_v1 ORDER BY id DESC LIMIT ?1")?;
            let mut rows = rows.query([self.pace.rows])?;
            while let Some(r) = rows.next()? {
                let (id, stored_at_us) = (r.get::<_, i64>("id")?, r.get::<_, i64>("stored_at_us")?.unsigned_abs());
                let captured_at_us = r.get::<_, i64>("captured_at_us")?.unsigned_abs();
                moved.push((id, stored_at_us, captured_at_us, report_v1(r)?));
            }
        }
        let Some(lowest) = moved.last().map(|(id, ..)| *id) else {
            t.execute_batch("DROP TABLE reports_v1")?;
            schema::make_views(&t)?;
            t.commit()?;
            log::info!("store: all reports of the older version are moved");
            return Ok(false);
        };
        let (mut minutes, mut hours) = (BTreeMap::new(), BTreeMap::new());
        for (id, stored_at_us, captured_at_us, report) in moved {
            for (into, unit_us) in [(&mut minutes, MINUTE_US), (&mut hours, HOUR_US)] {
                let sum: &mut RollUp = into.entry((report.device.clone(), captured_at_us / unit_us)).or_default();
                sum.add(&report);
            }
            if stored_at_us >= oldest_us && !is_full {
                let sid = sid_of(&t, &report.device, &report.stream)?;
                self.rows.insert(&t, &RowKey { id: Some(id), sid, stored_at_us, captured_at_us }, &report)?;
            }
        }
        write_roll_ups(&t, "minutes", &minutes)?;
        write_roll_ups(&t, "hours", &hours)?;
        t.execute("DELETE FROM reports_v1 WHERE id >= ?1", [lowest])?;
        t.commit()?;
        Ok(false)
    }

    /// Bytes of the file that are in use.
    fn used_bytes(&self) -> rusqlite::Result<u64> {
        let number = |pragma: &str| {
            let n = self.db.prepare_cached(pragma)?.query_row([], |r| r.get::<_, i64>(0))?;
            Ok::<u64, rusqlite::Error>(n.unsigned_abs())
        };
        let pages = number("PRAGMA page_count")?.saturating_sub(number("PRAGMA freelist_count")?);
        Ok(pages * number("PRAGMA page_size")?)
    }

    /// Deletes a slice of what is not kept any more. Gives whether that was all.
    fn prune(&mut self, now_us: u64) -> rusqlite::Result<bool> {
        let oldest_us = int(oldest_us(now_us, self.config.keep_days));
        let excess = self.used_bytes()?.saturating_sub(self.config.bytes_max);
        let is_full = excess > 0;
        // Too many bytes take no more rows than that. Days may take a whole slice.
        let for_bytes = u32::try_from(excess / ROW_BYTES).unwrap_or(u32::MAX).max(ROWS_MIN);
        let rows = if is_full { self.pace.rows.min(for_bytes) } else { self.pace.rows };
        let minute = int(oldest_us_of_minutes(now_us, self.config.keep_minutes_days) / MINUTE_US);
        let t = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Reports lie in the order in which they were stored, so the oldest are the table's front.
        let last = "SELECT max(id) FROM (SELECT id, stored_at_us FROM report_rows ORDER BY id LIMIT ?1) \
                    WHERE ?2 OR stored_at_us < ?3";
        let last: Option<i64> = t.prepare_cached(last)?.query_row((rows, is_full, oldest_us), |r| r.get(0))?;
        let mut deleted = match last {
            Some(last) => delete(&t, "DELETE FROM report_rows WHERE id <= ?1", last)?,
            None => 0,
        };
        deleted += delete(
            &t,
            "DELETE FROM minutes WHERE (device, unit) IN (SELECT device, unit FROM minutes WHERE unit < ?1 LIMIT 1024)",
            minute,
        )?;
        for sql in [
            "DELETE FROM dead WHERE (journal, place, part, pos) IN (SELECT journal, place, part, pos FROM dead \
             ORDER BY at_ms DESC LIMIT 1024 OFFSET ?1)",
            "DELETE FROM losses WHERE (device, stream, lo, hi) IN (SELECT device, stream, lo, hi FROM losses \
             LIMIT max(0, (SELECT count(*) FROM losses) - ?1))",
            "DELETE FROM windows WHERE (device, boot) IN (SELECT device, boot FROM windows ORDER BY heard_at_us DESC \
             LIMIT 1024 OFFSET ?1)",
            "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id DESC LIMIT 1024 OFFSET ?1)",
        ] {
            // Only when nothing else is left to do: these tables are small, and counting them is not free.
            if deleted == 0 {
                delete(&t, sql, i64::from(LETTERS_KEPT))?;
            }
        }
        t.commit()?;
        let is_shrunk = self.give_back()?;
        Ok(deleted == 0 && is_shrunk)
    }

    /// Gives free pages back to the file system while more than a quarter of the file is free. A file of an older version
    /// cannot: `VACUUM` by hand shrinks it. Gives whether that was all.
    fn give_back(&mut self) -> rusqlite::Result<bool> {
        let number = |pragma: &str| self.db.query_row(pragma, [], |r| r.get::<_, i64>(0));
        let (pages, free) = (number("PRAGMA page_count")?, number("PRAGMA freelist_count")?);
        if number("PRAGMA auto_vacuum")? != 2 || free * 4 <= pages || free <= i64::from(VACUUM_PAGES) {
            return Ok(true);
        }
        let mut step = self.db.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
        let mut step = step.query([])?;
        while step.next()?.is_some() {}
        Ok(false)
    }
}

fn delete(t: &Transaction<'_>, sql: &str, parameter: i64) -> rusqlite::Result<usize> {
    Connection::prepare_cached(t, sql)?.execute([parameter])
}

fn oldest_us(now_us: u64, days: u32) -> u64 {
    now_us.saturating_sub(u64::from(days) * DAY_US)
}

/// Roll-ups have the time of capture. That of a device without a clock is 1970; such roll-ups go at once.
fn oldest_us_of_minutes(now_us: u64, days: u32) -> u64 {
    oldest_us(now_us, days)
}

/// The report of a row of version 1.
fn report_v1(r: &Row<'_>) -> rusqlite::Result<ReportJson> {
    let count = |name: &str| uint(r, r.as_ref().column_index(name)?);
    let list = |name: &str| r.as_ref().column_index(name);
    let report = ReportJson {
        device: r.get("device")?,
        stream: r.get("stream")?,
        seq: count("seq")?,
        frame: count("frame")?,
        captured_at: r.get("captured_at")?,
        dropped: count("dropped")?,
        width: r.get("width")?,
        height: r.get("height")?,
        pixels: r.get("pixels")?,
        lambda: r.get("lambda")?,
        coreset_size: r.get("coreset_size")?,
        method: r.get("method")?,
        refine: r.get("refine")?,
        w_open: r.get("w_open")?,
        seed: r.get("seed")?,
        warm: r.get("warm")?,
        coreset_points: r.get("coreset_points")?,
        scatter: r.get("scatter")?,
        iterations: r.get("iterations")?,
        converged: r.get("converged")?,
        sweeps: r.get("sweeps")?,
        saturated: r.get("saturated")?,
        beyond_px: r.get("beyond_px")?,
        missed: r.get("missed")?,
        clusters: r.get("clusters")?,
        palette: columns(r, list("palette")?)?,
        births: columns(r, list("births")?)?,
        deaths: columns(r, list("deaths")?)?,
        regions: columns(r, list("regions")?)?,
        named: columns(r, list("named")?)?,
        sse: r.get("sse")?,
        rms: r.get("rms")?,
        max_distance: r.get("max_distance")?,
        silhouette_estimate: r.get("silhouette_estimate")?,
        space: Some(Space::Rgb.word().to_owned()),
        de00_mean: None,
        reference_de00: None,
        micros: MicrosJson {
            coreset: r.get("micros_coreset")?,
            cluster: r.get("micros_cluster")?,
            label: r.get("micros_label")?,
            total: r.get("micros_total")?,
        },
    };
    Ok(report.as_written_now())
}
