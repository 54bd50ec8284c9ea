//! The ledger's accounts as rows of the tables `streams` and `spans`.
//!
//! [`save`] is part of the caller's transaction: an account and the rows that it counts are written together. It writes
//! only the spans that differ from the account before.

use super::int;
use crate::intervals::Intervals;
use crate::metrics::store::ledger::{Account, Accounts};
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

const SAVE: &str = "
INSERT INTO streams (device, stream, ord, named, since, next, duplicates, frames_seen, frames_dropped, started_at_us)
VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)
ON CONFLICT (device, stream) DO UPDATE SET ord = excluded.ord, named = excluded.named, since = excluded.since,
  next = excluded.next, duplicates = excluded.duplicates, frames_seen = excluded.frames_seen,
  frames_dropped = excluded.frames_dropped, started_at_us = excluded.started_at_us
RETURNING sid";

/// Writes an account that was `before` in the file. Gives the stream's number in the store.
pub(super) fn save(
    db: &Connection,
    (device, stream): &(String, u64),
    a: &Account,
    before: Option<&Account>,
) -> rusqlite::Result<i64> {
    let stream = stream.to_string();
    let sid = db.prepare_cached(SAVE)?.query_row(
        params![
            device,
            stream,
            a.order,
            a.is_named,
            int(a.since),
            int(a.next),
            int(a.duplicates),
            int(a.frames_seen),
            int(a.frames_dropped),
            a.started_at_us.map(int)
        ],
        |r| r.get(0),
    )?;
    let none = Account::default();
    let before = before.unwrap_or(&none);
    for (what, old, new) in
        [("stored", &before.stored, &a.stored), ("dead", &before.dead, &a.dead), ("lost", &before.lost, &a.lost)]
    {
        save_spans(db, device, &stream, what, old, new)?;
    }
    Ok(sid)
}

fn save_spans(
    db: &Connection,
    device: &str,
    stream: &str,
    what: &str,
    old: &Intervals,
    new: &Intervals,
) -> rusqlite::Result<()> {
    let kept: BTreeMap<u64, u64> = new.iter().collect();
    for (lo, _) in old.iter().filter(|(lo, _)| !kept.contains_key(lo)) {
        db.prepare_cached("DELETE FROM spans WHERE device = ?1 AND stream = ?2 AND what = ?3 AND lo = ?4")?
            .execute(params![device, stream, what, int(lo)])?;
    }
    let known: BTreeMap<u64, u64> = old.iter().collect();
    for (lo, hi) in kept.into_iter().filter(|(lo, hi)| known.get(lo) != Some(hi)) {
        db.prepare_cached("INSERT OR REPLACE INTO spans VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
            device,
            stream,
            what,
            int(lo),
            int(hi)
        ])?;
    }
    Ok(())
}

/// Reads all accounts.
///
/// # Errors
/// SQLite's.
pub(super) fn load(db: &Connection) -> rusqlite::Result<Accounts> {
    let mut all = Accounts::new();
    let count = |r: &rusqlite::Row<'_>, i: usize| Ok::<u64, rusqlite::Error>(r.get::<_, i64>(i)?.unsigned_abs());
    let key = |r: &rusqlite::Row<'_>| {
        Ok::<(String, u64), rusqlite::Error>((r.get(0)?, r.get::<_, String>(1)?.parse().unwrap_or(0)))
    };
    let mut rows = db.prepare(
        "SELECT device, stream, ord, since, next, duplicates, frames_seen, frames_dropped, named, \
         started_at_us FROM streams",
    )?;
    let mut rows = rows.query([])?;
    while let Some(r) = rows.next()? {
        let account = Account {
            order: r.get(2)?,
            is_named: r.get(8)?,
            since: count(r, 3)?,
            next: count(r, 4)?,
            duplicates: count(r, 5)?,
            frames_seen: count(r, 6)?,
            frames_dropped: count(r, 7)?,
            started_at_us: r.get::<_, Option<i64>>(9)?.map(i64::unsigned_abs),
            stored: Intervals::default(),
            dead: Intervals::default(),
            lost: Intervals::default(),
        };
        all.insert(key(r)?, account);
    }
    let mut rows = db.prepare("SELECT device, stream, what, lo, hi FROM spans")?;
    let mut rows = rows.query([])?;
    while let Some(r) = rows.next()? {
        if let Some(account) = all.get_mut(&key(r)?) {
            let (lo, hi) = (count(r, 3)?, count(r, 4)?);
            match r.get::<_, String>(2)?.as_str() {
                "stored" => account.stored.add(lo, hi),
                "dead" => account.dead.add(lo, hi),
                _ => account.lost.add(lo, hi),
            }
        }
    }
    Ok(all)
}
