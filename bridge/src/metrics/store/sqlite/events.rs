//! Events as rows of SQLite.
//!
//! [`write`] writes one within the caller's transaction, [`change`] reads one of [`LATEST`], the last of each name of a device.
//! Which of a device's boots is the later one is in `streams`.

use super::int;
use super::rows::uint;
use crate::clock;
use crate::json::EventJson;
use crate::metrics::ingest::fold::EventChange;
use crate::metrics::store::reader::EVENTS_MAX;
use rusqlite::{Connection, Row, params};

/// The last change of each event of a device.
pub(super) const LATEST: &str =
    "SELECT device, stream, seq, event, change, value, frame, captured_at_us, ord, pattern, rate_hz FROM (
       SELECT e.*, s.ord, row_number() OVER (PARTITION BY e.event ORDER BY s.ord DESC, e.seq DESC) AS n
       FROM events e JOIN streams s ON s.device = e.device AND s.stream = e.stream WHERE e.device = ?1)
     WHERE n = 1 ORDER BY event";
/// The changes of a device in a range of capture times, behind the last one of each event before it, oldest first.
pub(super) fn between() -> String {
    let columns = "device, stream, seq, event, change, value, frame, captured_at_us, 0 AS ord, pattern, rate_hz";
    format!(
        "SELECT {columns} FROM (
           SELECT e.*, row_number() OVER (ORDER BY captured_at_us DESC, id DESC) AS place FROM (
             SELECT events.*, row_number() OVER (PARTITION BY event, captured_at_us < ?2 ORDER BY captured_at_us DESC, id DESC) AS n
             FROM events WHERE device = ?1 AND captured_at_us < ?3) e
           WHERE captured_at_us >= ?2 OR n = 1) x
         WHERE place <= {EVENTS_MAX} ORDER BY captured_at_us, id"
    )
}

/// All events, in the order in which they were stored.
pub(super) const ALL: &str = "SELECT device, stream, seq, event, change, value, frame, captured_at_us, 0, pattern, rate_hz FROM events ORDER BY id";

/// Writes an event. Gives whether it is new: a row of the same stream and seq is left as it is.
pub(super) fn write(db: &Connection, change: &EventChange) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO events (device, stream, seq, event, change, value, frame, captured_at_us, pattern, rate_hz) \
               VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10) ON CONFLICT (device, stream, seq) DO NOTHING";
    let e = &change.event;
    let (seq, frame, at_us) = (int(e.seq), int(e.frame), int(change.captured_at_us));
    let values = params![e.device, e.stream, seq, e.event, e.change, e.value, frame, at_us, e.pattern, e.rate_hz];
    Ok(db.prepare_cached(sql)?.execute(values)? > 0)
}

/// The event of a row of [`LATEST`] or [`ALL`].
pub(super) fn change(r: &Row<'_>) -> rusqlite::Result<EventChange> {
    let captured_at_us = uint(r, 7)?;
    let event = EventJson {
        device: r.get(0)?,
        stream: r.get(1)?,
        seq: uint(r, 2)?,
        captured_at: clock::rfc3339(captured_at_us),
        frame: uint(r, 6)?,
        event: r.get(3)?,
        change: r.get(4)?,
        value: r.get(5)?,
        pattern: r.get(9)?,
        rate_hz: r.get(10)?,
    };
    Ok(EventChange { order: r.get(8)?, captured_at_us, event })
}
