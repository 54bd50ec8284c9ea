//! Whole tables of a SQLite store, a page at a time.
//!
//! Each function reads at most so many rows from a place on, in the order of an index. A reader of a long table therefore
//! holds no transaction between two pages, and the writer's log is never kept from being checkpointed.

use super::rows::{SELECT, report, uint};
use super::{events as event_rows, int};
use crate::json::{LossJson, ReportJson};
use crate::metrics::ingest::fold::{DeadLetter, EventChange};
use crate::metrics::store::reader::{DeviceStream, LossRow, Page};
use rusqlite::{Connection, Result, params};

/// A device's streams, the youngest boot first.
pub(super) fn streams(db: &Connection, device: &str) -> Result<Vec<DeviceStream>> {
    let sql = "SELECT sid, ord, stream FROM streams WHERE device = ?1 ORDER BY ord DESC, sid DESC";
    let mut rows = db.prepare_cached(sql)?;
    rows.query_map([device], |r| Ok(DeviceStream { sid: r.get(0)?, order: r.get(1)?, name: r.get(2)? }))?.collect()
}

/// Reports of a stream.
pub(super) fn reports(db: &Connection, stream: &DeviceStream, page: &Page) -> Result<Vec<(u64, ReportJson)>> {
    let sql = format!(
        "{SELECT} WHERE r.sid = ?1 AND r.seq >= ?2 AND r.captured_at_us >= ?3 AND r.captured_at_us < ?4 ORDER BY r.seq LIMIT ?5"
    );
    let mut rows = db.prepare_cached(&sql)?;
    let (from_us, to_us) = (int(page.times_us.start), int(page.times_us.end));
    let of = params![stream.sid, int(page.from_seq), from_us, to_us, page.rows_max];
    rows.query_map(of, |r| Ok((uint(r, 4)?, report(r)?)))?.collect()
}

/// Events of a stream.
pub(super) fn events(db: &Connection, device: &str, stream: &DeviceStream, page: &Page) -> Result<Vec<EventChange>> {
    let sql = "SELECT device, stream, seq, event, change, value, frame, captured_at_us, ?7, pattern, rate_hz FROM events WHERE device = ?1 AND \
               stream = ?2 AND seq >= ?3 AND captured_at_us >= ?4 AND captured_at_us < ?5 ORDER BY seq LIMIT ?6";
    let mut rows = db.prepare_cached(sql)?;
    let (from_us, to_us) = (int(page.times_us.start), int(page.times_us.end));
    let of = params![device, stream.name, int(page.from_seq), from_us, to_us, page.rows_max, stream.order];
    rows.query_map(of, event_rows::change)?.collect()
}

/// Losses behind `after`.
pub(super) fn losses(db: &Connection, after: Option<&LossRow>, rows_max: u32) -> Result<Vec<LossRow>> {
    let sql = "SELECT device, stream, lo, hi, reason FROM losses WHERE (device, stream, lo, hi) > (?1, ?2, ?3, ?4) \
               ORDER BY device, stream, lo, hi LIMIT ?5";
    let mut rows = db.prepare_cached(sql)?;
    let (device, stream, lo, hi) = match after {
        Some(LossRow { device, loss }) => (device.as_str(), loss.stream.as_str(), int(loss.from), int(loss.to)),
        None => ("", "", i64::MIN, i64::MIN),
    };
    let loss = |r: &rusqlite::Row<'_>| {
        let loss = LossJson { stream: r.get(1)?, from: uint(r, 2)?, to: uint(r, 3)?, reason: r.get(4)? };
        Ok(LossRow { device: r.get(0)?, loss })
    };
    rows.query_map(params![device, stream, lo, hi, rows_max], loss)?.collect()
}

/// Dead letters behind `after`, with their journals.
pub(super) fn dead_letters(
    db: &Connection,
    after: Option<&(String, DeadLetter)>,
    rows_max: u32,
) -> Result<Vec<(String, DeadLetter)>> {
    let sql = "SELECT journal, place, part, pos, device, stream, seq, topic, reason, bytes, sha256, at_ms FROM dead \
               WHERE (journal, place, part, pos) > (?1, ?2, ?3, ?4) ORDER BY journal, place, part, pos LIMIT ?5";
    let mut rows = db.prepare_cached(sql)?;
    let (journal, place, part, offset) = match after {
        Some((journal, d)) => (journal.as_str(), d.place.as_str(), d.partition, d.offset),
        None => ("", "", i32::MIN, i64::MIN),
    };
    rows.query_map(params![journal, place, part, offset, rows_max], dead_letter)?.collect()
}

/// The dead letter of a row, with its journal.
pub(super) fn dead_letter(r: &rusqlite::Row<'_>) -> Result<(String, DeadLetter)> {
    let count = |i| r.get::<_, Option<i64>>(i).map(|n| n.map(i64::unsigned_abs));
    let letter = DeadLetter {
        place: r.get(1)?,
        partition: r.get(2)?,
        offset: r.get(3)?,
        device: r.get(4)?,
        stream: r.get::<_, Option<String>>(5)?.and_then(|s| s.parse().ok()),
        seq: count(6)?,
        topic: r.get(7)?,
        reason: r.get(8)?,
        bytes: count(9)?,
        sha256: r.get(10)?,
        at_ms: r.get(11)?,
    };
    Ok((r.get(0)?, letter))
}
