//! Books: the ledger's accounts as rows.
//!
//! Takes an account, or the file. Gives rows, or all accounts.
//! Touches the tables `streams` and `spans`.
//! Never a transaction of its own: an account and the rows that it counts are written together.

use super::int;
use crate::intervals::Intervals;
use crate::metrics::store::ledger::{Account, Accounts};
use rusqlite::{Connection, Transaction, params};

/// Writes an account in place of what was there.
pub(super) fn save(t: &Transaction<'_>, (device, stream): &(String, u64), a: &Account) -> rusqlite::Result<()> {
    let stream = stream.to_string();
    t.prepare_cached("INSERT OR REPLACE INTO streams VALUES (?1,?2,?3,?4,?5,?6,?7,?8)")?.execute(params![
        device,
        stream,
        a.order,
        int(a.since),
        int(a.next),
        int(a.duplicates),
        int(a.frames_seen),
        int(a.frames_dropped)
    ])?;
    t.prepare_cached("DELETE FROM spans WHERE device = ?1 AND stream = ?2")?.execute(params![device, stream])?;
    let mut insert = t.prepare_cached("INSERT INTO spans VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (what, set) in [("stored", &a.stored), ("dead", &a.dead), ("lost", &a.lost)] {
        for (lo, hi) in set.iter() {
            insert.execute(params![device, stream, what, int(lo), int(hi)])?;
        }
    }
    Ok(())
}

/// Reads all accounts.
///
/// # Errors
/// SQLite's.
pub fn accounts(db: &Connection) -> rusqlite::Result<Accounts> {
    let mut all = Accounts::new();
    let count = |r: &rusqlite::Row<'_>, i: usize| Ok::<u64, rusqlite::Error>(r.get::<_, i64>(i)?.unsigned_abs());
    let key = |r: &rusqlite::Row<'_>| {
        Ok::<(String, u64), rusqlite::Error>((r.get(0)?, r.get::<_, String>(1)?.parse().unwrap_or(0)))
    };
    let mut rows =
        db.prepare("SELECT device, stream, ord, since, next, duplicates, frames_seen, frames_dropped FROM streams")?;
    let mut rows = rows.query([])?;
    while let Some(r) = rows.next()? {
        let account = Account {
            order: r.get(2)?,
            since: count(r, 3)?,
            next: count(r, 4)?,
            duplicates: count(r, 5)?,
            frames_seen: count(r, 6)?,
            frames_dropped: count(r, 7)?,
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
