//! The thread that writes the local journal: group commits, and the deletion of old entries.
//!
//! [`write`] takes entries from the queue until that is closed. It confirms an entry after its commit, and tries a commit
//! that the disk refuses until the disk takes it.

use super::{Retention, Waiting};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Entries in one commit.
const COMMIT_ENTRIES_MAX: usize = 512;
/// Pictures without custody that are kept, for each device.
pub(super) const LOOSE_KEPT: u32 = 64;
/// How often old entries are deleted.
const SWEEP: Duration = Duration::from_secs(20);
/// How long a refused commit waits before it is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Commits what has gathered in the queue and confirms it, until the queue is closed.
pub(super) fn write(
    mut connection: Connection,
    mut queue: mpsc::Receiver<Waiting>,
    keep: Retention,
    healthy: &AtomicBool,
) {
    let mut swept = Instant::now();
    let mut group: Vec<Waiting> = Vec::new();
    while let Some(first) = queue.blocking_recv() {
        group.push(first);
        while group.len() < COMMIT_ENTRIES_MAX {
            let Ok(next) = queue.try_recv() else { break };
            group.push(next);
        }
        while let Err(e) = commit(&mut connection, &group) {
            if healthy.swap(false, Ordering::Relaxed) {
                log::error!("local journal: {e}; trying again until the disk takes it");
            }
            std::thread::sleep(RETRY);
        }
        if !healthy.swap(true, Ordering::Relaxed) {
            log::info!("local journal: the disk takes entries again");
        }
        for (_, done) in group.drain(..) {
            let _ = done.send(()); // The caller may have ended.
        }
        if swept.elapsed() >= SWEEP {
            if let Err(e) = sweep(&mut connection, keep, crate::clock::now_us()) {
                log::warn!("local journal: old entries could not be deleted: {e}");
            }
            swept = Instant::now();
        }
    }
}

pub(super) fn commit(connection: &mut Connection, group: &[Waiting]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let kept_ms = i64::try_from(crate::clock::now_us() / 1000).unwrap_or(i64::MAX);
    {
        let sql =
            "INSERT INTO entries (topic, loose, key, time_ms, kept_ms, headers, value) VALUES (?1,?2,?3,?4,?5,?6,?7)";
        let mut insert = transaction.prepare_cached(sql)?;
        for (e, _) in group {
            let headers = serde_json::to_string(&e.headers).unwrap_or_default();
            insert.execute(params![e.topic_name(), e.loose, e.key, e.time_ms, kept_ms, headers, e.value])?;
        }
    }
    transaction.commit()
}

/// Deletes what the retention does not keep.
pub(super) fn sweep(connection: &mut Connection, keep: Retention, now_us: u64) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let devices: Vec<String> = {
        let mut rows = transaction.prepare_cached("SELECT DISTINCT key FROM entries WHERE loose = 1")?;
        rows.query_map([], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?
    };
    for device in devices {
        let sql = "DELETE FROM entries WHERE loose = 1 AND key = ?1 AND pos <= \
                   (SELECT pos FROM entries WHERE loose = 1 AND key = ?1 ORDER BY pos DESC LIMIT 1 OFFSET ?2)";
        transaction.execute(sql, params![device, LOOSE_KEPT])?;
    }
    // Positions and the time they were kept at rise together: delete the front.
    let oldest = i64::try_from(now_us / 1000).unwrap_or(i64::MAX) - i64::from(keep.days) * 86_400_000;
    let sql = "DELETE FROM entries WHERE pos < (SELECT min(pos) FROM entries WHERE kept_ms >= ?1)";
    transaction.execute(sql, [oldest])?;
    let newest_too_many = "SELECT pos FROM (SELECT pos, sum(length(value)) OVER (ORDER BY pos DESC) AS bytes FROM entries \
                           WHERE topic = 'video' AND loose = 0) WHERE bytes > ?1 ORDER BY pos DESC LIMIT 1";
    let bytes = i64::try_from(keep.video_bytes_max).unwrap_or(i64::MAX);
    if let Some(pos) = transaction.query_row(newest_too_many, [bytes], |r| r.get::<_, i64>(0)).optional()? {
        transaction.execute("DELETE FROM entries WHERE topic = 'video' AND loose = 0 AND pos <= ?1", [pos])?;
    }
    transaction.commit()
}
