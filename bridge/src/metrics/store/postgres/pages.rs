//! Whole tables of a PostgreSQL store, a page at a time.
//!
//! The queries read at most so many rows from a place on, in the order of an index, and the functions turn rows into values. A
//! reader of a long table holds no snapshot between two pages, so no chunk is kept from being dropped.

use super::int;
use super::rows::{SELECT, uint};
use crate::json::LossJson;
use crate::metrics::ingest::fold::DeadLetter;
use crate::metrics::store::reader::{DeviceStream, LossRow, Page};
use postgres::Row;

/// A device's streams, the youngest boot first.
pub(super) const STREAMS: &str = "SELECT sid, ord, stream FROM streams WHERE device = $1 ORDER BY ord DESC, sid DESC";
/// Events of a stream.
pub(super) const EVENTS: &str = "SELECT device, stream, seq, event, change, value, frame, captured_at_us, $7::BIGINT, pattern, rate_hz FROM \
                                 events WHERE device = $1 AND stream = $2 AND seq >= $3 AND captured_at_us >= $4 AND \
                                 captured_at_us < $5 ORDER BY seq LIMIT $6";
/// Losses behind a place.
pub(super) const LOSSES: &str = "SELECT device, stream, lo, hi, reason FROM losses WHERE (device, stream, lo, hi) > \
                                 ($1, $2, $3, $4) ORDER BY device, stream, lo, hi LIMIT $5";
/// Dead letters behind a place.
pub(super) const DEAD: &str = "SELECT journal, place, part, pos, device, stream, seq, topic, reason, bytes, sha256, at_ms FROM dead WHERE \
     (journal, place, part, pos) > ($1, $2, $3, $4) ORDER BY journal, place, part, pos LIMIT $5";

/// Reports of a stream.
pub(super) fn reports() -> String {
    format!(
        "{SELECT} WHERE r.sid = $1 AND r.seq >= $2 AND r.captured_at_us >= $3 AND r.captured_at_us < $4 ORDER BY r.seq LIMIT $5"
    )
}

/// A page as PostgreSQL has its numbers.
pub(super) struct PageValues {
    pub from_seq: i64,
    pub from_us: i64,
    pub to_us: i64,
    pub rows_max: i64,
}

impl PageValues {
    pub(super) fn of(page: &Page) -> PageValues {
        PageValues {
            from_seq: int(page.from_seq),
            from_us: int(page.times_us.start),
            to_us: int(page.times_us.end),
            rows_max: page.rows_max.into(),
        }
    }
}

/// The stream of a row of [`STREAMS`].
pub(super) fn stream(r: &Row) -> DeviceStream {
    DeviceStream { sid: r.get::<_, i32>(0).into(), order: r.get(1), name: r.get(2) }
}

/// The place behind which [`LOSSES`] begins.
pub(super) fn loss_key(after: Option<&LossRow>) -> (&str, &str, i64, i64) {
    match after {
        Some(LossRow { device, loss }) => (device, &loss.stream, int(loss.from), int(loss.to)),
        None => ("", "", i64::MIN, i64::MIN),
    }
}

/// The loss of a row of [`LOSSES`].
pub(super) fn loss(r: &Row) -> LossRow {
    let loss = LossJson { stream: r.get(1), from: uint(r, 2), to: uint(r, 3), reason: r.get(4) };
    LossRow { device: r.get(0), loss }
}

/// The place behind which [`DEAD`] begins.
pub(super) fn dead_key(after: Option<&(String, DeadLetter)>) -> (&str, &str, i32, i64) {
    match after {
        Some((journal, d)) => (journal, &d.place, d.partition, d.offset),
        None => ("", "", i32::MIN, i64::MIN),
    }
}

/// The dead letter of a row of [`DEAD`], with its journal.
pub(super) fn dead_letter(r: &Row) -> (String, DeadLetter) {
    let count = |i| r.get::<_, Option<i64>>(i).map(i64::unsigned_abs);
    let letter = DeadLetter {
        place: r.get(1),
        partition: r.get(2),
        offset: r.get(3),
        device: r.get(4),
        stream: r.get::<_, Option<&str>>(5).and_then(|s| s.parse().ok()),
        seq: count(6),
        topic: r.get(7),
        reason: r.get(8),
        bytes: count(9),
        sha256: r.get(10),
        at_ms: r.get(11),
    };
    (r.get(0), letter)
}
