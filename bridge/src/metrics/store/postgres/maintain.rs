//! Maintenance of the store between batches: retention by bytes and days.
//!
//! [`Upkeep::run`] does a short step and returns how soon it wants to run again. One instance at a time does it. Reports go by
//! the chunk: the newest chunk is closed when it has a sixteenth of the bytes that may be kept, or is a day old, and the oldest is
//! dropped. Accounts, spans and sums by hour are never deleted.

use super::{int, schema};
use crate::config::StoreConfig;
use crate::metrics::store::StoreError;
use crate::metrics::store::rollup::MINUTE_US;
use postgres::{Client, Transaction};
use std::time::Duration;

/// How soon the next step runs if there is nothing more to do.
const IDLE: Duration = Duration::from_secs(5);
/// Chunks that the bytes are divided into: what is deleted at once.
const CHUNKS: u64 = 16;
/// Bytes of a chunk at least: an empty one has two pages.
const CHUNK_BYTES_MIN: u64 = 64 << 10;
/// Rows of a small table that one step deletes.
const ROWS: i64 = 1_024;
/// Dead letters, losses, windows and events kept, each. Their spans are kept for ever.
const LETTERS_KEPT: i64 = 100_000;
const DAY_US: u64 = 86_400_000_000;

/// The state of the maintenance.
#[derive(Default)]
pub(super) struct Upkeep {
    /// Steps so far: the small tables are looked at seldom.
    steps: u64,
}

/// Every so many steps the small tables and the spans are counted: five minutes.
const SMALL_TABLES_EVERY: u64 = 60;

impl Upkeep {
    /// Whether this step counts the small tables.
    pub(super) fn is_counting(&self) -> bool {
        self.steps.is_multiple_of(SMALL_TABLES_EVERY)
    }

    /// One step.
    pub(super) fn run(
        &mut self,
        client: &mut Client,
        config: &StoreConfig,
        now_us: u64,
    ) -> Result<Duration, StoreError> {
        let is_counting = self.is_counting();
        self.steps += 1;
        let mut t = client.transaction()?;
        // A query that reads from a chunk delays its removal; ingest must not wait for that.
        t.batch_execute("SET LOCAL lock_timeout = '100ms'")?;
        let lock = format!("SELECT pg_try_advisory_xact_lock({})", schema::LOCK);
        if !t.query_one(&lock, &[])?.get::<_, bool>(0) {
            return Ok(IDLE);
        }
        let is_done = prune(&mut t, config, now_us)?;
        if is_counting {
            prune_small(&mut t)?;
        }
        match t.commit() {
            Ok(()) => Ok(if is_done { IDLE } else { Duration::ZERO }),
            Err(e) => Err(e.into()),
        }
    }
}

/// Makes a chunk, or drops one. Gives whether that was all.
fn prune(t: &mut Transaction<'_>, config: &StoreConfig, now_us: u64) -> Result<bool, StoreError> {
    let rows = t.query("SELECT chunk, started_at_us FROM chunks ORDER BY chunk", &[])?;
    let chunks: Vec<(i32, u64)> = rows.iter().map(|r| (r.get(0), r.get::<_, i64>(1).unsigned_abs())).collect();
    let Some(&(newest, started_at_us)) = chunks.last() else { return Ok(true) };
    let newest_bytes = bytes_of(t, &format!("report_rows_{newest}"))?;
    let chunk_bytes = (config.bytes_max / CHUNKS).max(CHUNK_BYTES_MIN);
    let is_old = now_us.saturating_sub(started_at_us) > DAY_US && has_rows(t, newest)?;
    if newest_bytes > chunk_bytes || is_old {
        schema::make_chunk(t, newest + 1, now_us)?;
        return Ok(false);
    }
    let mut used_bytes = bytes_of(t, "census")? + bytes_of(t, "minutes")? + bytes_of(t, "hours")?;
    for (chunk, _) in &chunks {
        used_bytes += bytes_of(t, &format!("report_rows_{chunk}"))?;
    }
    let oldest_us = now_us.saturating_sub(u64::from(config.keep_days) * DAY_US);
    // A chunk's last report is older than the start of the chunk behind it.
    let oldest = chunks.first().zip(chunks.get(1)).map(|(oldest, next)| (oldest.0, next.1));
    if let Some((oldest, ended_at_us)) = oldest
        && (used_bytes > config.bytes_max || ended_at_us < oldest_us)
    {
        t.batch_execute(&format!("DROP TABLE report_rows_{oldest}"))?;
        t.execute("DELETE FROM chunks WHERE chunk = $1", &[&oldest])?;
        return Ok(false);
    }
    let minute = int(now_us.saturating_sub(u64::from(config.keep_minutes_days) * DAY_US) / MINUTE_US);
    let sql = "DELETE FROM minutes WHERE (device, unit) IN (SELECT device, unit FROM minutes WHERE unit < $1 LIMIT $2)";
    Ok(t.execute(sql, &[&minute, &ROWS])? == 0)
}

fn bytes_of(t: &mut Transaction<'_>, table: &str) -> Result<u64, StoreError> {
    let row = t.query_one("SELECT coalesce(pg_total_relation_size(to_regclass($1::TEXT)), 0)", &[&table])?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

fn has_rows(t: &mut Transaction<'_>, chunk: i32) -> Result<bool, StoreError> {
    Ok(t.query_one(&format!("SELECT EXISTS (SELECT 1 FROM report_rows_{chunk})"), &[])?.get(0))
}

fn prune_small(t: &mut Transaction<'_>) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM dead WHERE (journal, place, part, pos) IN (SELECT journal, place, part, pos FROM dead \
         ORDER BY at_ms DESC LIMIT $1 OFFSET $2)",
        "DELETE FROM losses WHERE ctid = ANY (ARRAY(SELECT ctid FROM losses LIMIT \
         least($1, greatest(0, (SELECT count(*) FROM losses) - $2))))",
        "DELETE FROM windows WHERE (device, boot) IN (SELECT device, boot FROM windows ORDER BY heard_at_us DESC \
         LIMIT $1 OFFSET $2)",
        "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id DESC LIMIT $1 OFFSET $2)",
    ] {
        t.execute(sql, &[&ROWS, &LETTERS_KEPT])?;
    }
    Ok(())
}
