//! All rows of a SQLite store out and in, for `store move`.
//!
//! [`Sqlite::export`] reads in one transaction, [`Sqlite::import`] writes in one.

use super::rows::{RowKey, SELECT, report, roll_up, uint};
use super::{Sqlite, accounts, events, pages, write_census, write_dead, write_roll_ups, write_small};
use crate::json::LossJson;
use crate::metrics::ingest::fold::{CensusPart, Change, DeviceStatus};
use crate::metrics::store::StoreError;
use crate::metrics::store::reader::Unit;
use crate::metrics::store::transfer::{Fill, Item, Sink};
use rusqlite::{Connection, Row, TransactionBehavior, params};
use std::collections::{BTreeMap, HashMap};

impl Sqlite {
    /// Gives all rows to `sink`. Rows of an older version are moved to the present tables first.
    pub(in crate::metrics::store) fn export(&mut self, sink: &mut Sink<'_>) -> Result<(), StoreError> {
        while super::schema::is_table(&self.db, "reports_v1")? {
            self.run_slice(crate::clock::now_us())?;
        }
        let t = self.db.transaction()?;
        let journal: Option<String> = t.query_row("SELECT max(v) FROM meta WHERE k = 'journal'", [], |r| r.get(0))?;
        if let Some(journal) = journal {
            sink(Item::Journal(journal))?;
        }
        each(&t, "SELECT place, part, next, mark FROM offsets", sink, |r| {
            Ok(Item::Offset { place: r.get(0)?, part: r.get(1)?, next: r.get(2)?, mark: r.get(3)? })
        })?;
        for ((device, stream), account) in accounts::load(&t)? {
            sink(Item::Account { device, stream, account: Box::new(account) })?;
        }
        each(&t, &format!("{} ORDER BY r.id", with_times(SELECT)), sink, |r| {
            let captured_at_us = uint(r, 4)?;
            let report = Box::new(report(r)?);
            Ok(Item::Report { stored_at_us: uint(r, 39)?, captured_at_us, report })
        })?;
        let census =
            "SELECT device, stream, seq, frame, part, parts, captured_at_us, version, payload FROM census ORDER BY id";
        each(&t, census, sink, |r| {
            Ok(Item::Census(CensusPart {
                device: r.get(0)?,
                stream: r.get::<_, String>(1)?.parse().unwrap_or(0),
                seq: uint(r, 2)?,
                frame: uint(r, 3)?,
                part: r.get(4)?,
                parts: r.get(5)?,
                captured_at_us: uint(r, 6)?,
                version: r.get(7)?,
                payload: r.get(8)?,
            }))
        })?;
        each(&t, "SELECT device, boot, n, journal, heard_at_us, streams FROM windows", sink, |r| {
            Ok(Item::Small(Change::Window {
                device: r.get(0)?,
                boot: r.get(1)?,
                n: uint(r, 2)?,
                journal: r.get(3)?,
                heard_at_us: r.get(4)?,
                streams: r.get(5)?,
            }))
        })?;
        each(&t, "SELECT device, state, at_ms, json FROM statuses", sink, |r| {
            let status = DeviceStatus { device: r.get(0)?, state: r.get(1)?, at_ms: r.get(2)?, json: r.get(3)? };
            Ok(Item::Small(Change::Status(status)))
        })?;
        each(&t, "SELECT device, stream, lo, hi, reason FROM losses", sink, |r| {
            let loss = LossJson { stream: r.get(1)?, from: uint(r, 2)?, to: uint(r, 3)?, reason: r.get(4)? };
            Ok(Item::Small(Change::Loss { device: r.get(0)?, loss }))
        })?;
        each(&t, events::ALL, sink, |r| Ok(Item::Small(Change::Event(events::change(r)?))))?;
        let dead =
            "SELECT journal, place, part, pos, device, stream, seq, topic, reason, bytes, sha256, at_ms FROM dead";
        each(&t, dead, sink, |r| {
            let (journal, letter) = pages::dead_letter(r)?;
            Ok(Item::Dead { journal, letter })
        })?;
        for (unit, table) in [(Unit::Minute, "minutes"), (Unit::Hour, "hours")] {
            each(&t, &format!("SELECT * FROM {table}"), sink, |r| {
                Ok(Item::RollUp { unit, device: r.get(0)?, at: uint(r, 1)?, sums: roll_up(r, 2)? })
            })?;
        }
        Ok(t.commit()?)
    }

    /// Writes what `fill` gives. The store must hold no records.
    pub(in crate::metrics::store) fn import(&mut self, fill: &mut Fill<'_>) -> Result<(), StoreError> {
        let Sqlite { db, rows, .. } = self;
        let t = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let sql =
            "SELECT (SELECT count(*) FROM streams) + (SELECT count(*) FROM statuses) + (SELECT count(*) FROM dead)";
        if t.query_row(sql, [], |r| r.get::<_, i64>(0))? > 0 {
            return Err(StoreError::Unfit("the store of --to holds records already; name a new one".to_owned()));
        }
        let mut sids = HashMap::new();
        fill(&mut |item| {
            match item {
                Item::Journal(journal) => {
                    t.execute("INSERT OR REPLACE INTO meta VALUES ('journal', ?1)", [journal])?;
                }
                Item::Offset { place, part, next, mark } => {
                    let sql = "INSERT OR REPLACE INTO offsets VALUES (?1, ?2, ?3, ?4)";
                    t.prepare_cached(sql)?.execute(params![place, part, next, mark])?;
                }
                Item::Account { device, stream, account } => {
                    let key = (device, stream);
                    let sid = accounts::save(&t, &key, &account, None)?;
                    sids.insert((key.0, stream.to_string()), sid);
                }
                Item::Report { stored_at_us, captured_at_us, report } => {
                    let sid = sids.get(&(report.device.clone(), report.stream.clone())).copied();
                    let sid = sid.map_or_else(|| super::sid_of(&t, &report.device, &report.stream), Ok)?;
                    rows.insert(&t, &RowKey { id: None, sid, stored_at_us, captured_at_us }, &report)?;
                }
                Item::Census(part) => drop(write_census(&t, &part, u32::MAX)?),
                Item::Small(change) => drop(write_small(&t, &change)?),
                Item::Dead { journal, letter } => drop(write_dead(&t, &journal, &letter)?),
                Item::RollUp { unit, device, at, sums } => {
                    let table = if unit == Unit::Minute { "minutes" } else { "hours" };
                    write_roll_ups(&t, table, &BTreeMap::from([((device, at), sums)]))?;
                }
            }
            Ok(())
        })?;
        Ok(t.commit()?)
    }
}

/// The query of reports with one more column, the time when they were stored.
fn with_times(select: &str) -> String {
    select.replacen("\nFROM", ", r.stored_at_us\nFROM", 1)
}

fn each(
    db: &Connection,
    sql: &str,
    sink: &mut Sink<'_>,
    mut item: impl FnMut(&Row<'_>) -> rusqlite::Result<Item>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        sink(item(row)?)?;
    }
    Ok(())
}
