//! All rows of a PostgreSQL store out and in, for `store move`.
//!
//! [`Postgres::export`] reads one snapshot, also while instances write. [`Postgres::import`] writes in one transaction. The
//! accounts of a store that is moved here belong to a claim of their own, which no instance takes.

use super::claims::{self, Spans};
use super::rows::{ReportRow, SELECT, bits, report, roll_up, uint};
use super::statements::Statements;
use super::{Postgres, events, int, pages, schema, tables, text};
use crate::json::LossJson;
use crate::json::ReportJson;
use crate::metrics::ingest::fold::{CensusPart, Change, DeviceStatus};
use crate::metrics::store::ledger::{Account, Accounts};
use crate::metrics::store::reader::Unit;
use crate::metrics::store::transfer::{Fill, Item, Sink};
use crate::metrics::store::{StoreError, WHOLE};
use postgres::fallible_iterator::FallibleIterator;
use postgres::{IsolationLevel, Row, Transaction};
use std::collections::{BTreeMap, HashMap};

/// Reports that are written at once.
const BATCH: usize = 4_096;
/// Reports of a chunk: with 17 colours 110 MiB.
const CHUNK_REPORTS: usize = 64 * BATCH;

impl Postgres {
    /// Gives all rows to `sink`.
    pub(in crate::metrics::store) fn export(&mut self, sink: &mut Sink<'_>) -> Result<(), StoreError> {
        let builder = self.client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        let mut t = builder.start()?;
        // A large table takes longer than a batch.
        t.batch_execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")?;
        if let Some(row) = t.query_opt("SELECT v FROM meta WHERE k = 'journal'", &[])? {
            sink(Item::Journal(row.get(0)))?;
        }
        let offsets = "SELECT place, part, next, mark FROM claims WHERE next IS NOT NULL AND \
                       journal = (SELECT v FROM meta WHERE k = 'journal') ORDER BY place, part";
        each(&mut t, offsets, sink, |r| Item::Offset {
            place: r.get(0),
            part: r.get(1),
            next: r.get(2),
            mark: r.get(3),
        })?;
        for ((device, stream), account) in claims::load_all(&mut t)? {
            sink(Item::Account { device, stream, account: Box::new(account) })?;
        }
        let chunks: Vec<i32> =
            t.query("SELECT chunk FROM chunks ORDER BY chunk", &[])?.iter().map(|r| r.get(0)).collect();
        for chunk in chunks {
            let sql =
                SELECT.replacen("\nFROM report_rows r", &format!(", r.stored_at_us\nFROM report_rows_{chunk} r"), 1);
            each(&mut t, &format!("{sql} ORDER BY r.stored_at_us, r.sid, r.seq"), sink, |r| {
                let report = Box::new(report(r));
                Item::Report { stored_at_us: uint(r, 35), captured_at_us: uint(r, 4), report }
            })?;
        }
        let census = "SELECT device, stream, seq, frame, part, parts, captured_at_us, version, payload FROM census";
        each(&mut t, census, sink, |r| {
            Item::Census(CensusPart {
                device: r.get(0),
                stream: r.get::<_, &str>(1).parse().unwrap_or(0),
                seq: uint(r, 2),
                frame: uint(r, 3),
                part: u16::try_from(r.get::<_, i32>(4)).unwrap_or(0),
                parts: u16::try_from(r.get::<_, i32>(5)).unwrap_or(0),
                captured_at_us: uint(r, 6),
                version: u8::try_from(r.get::<_, i32>(7)).unwrap_or(0),
                payload: r.get(8),
            })
        })?;
        each(&mut t, "SELECT device, boot, n, journal, heard_at_us, streams FROM windows", sink, |r| {
            Item::Small(Change::Window {
                device: r.get(0),
                boot: r.get(1),
                n: uint(r, 2),
                journal: r.get(3),
                heard_at_us: r.get(4),
                streams: r.get(5),
            })
        })?;
        each(&mut t, "SELECT device, state, at_ms, json FROM statuses", sink, |r| {
            let status = DeviceStatus { device: r.get(0), state: r.get(1), at_ms: r.get(2), json: r.get(3) };
            Item::Small(Change::Status(status))
        })?;
        each(&mut t, "SELECT device, stream, lo, hi, reason FROM losses", sink, |r| {
            let loss = LossJson { stream: r.get(1), from: uint(r, 2), to: uint(r, 3), reason: r.get(4) };
            Item::Small(Change::Loss { device: r.get(0), loss })
        })?;
        each(&mut t, events::ALL, sink, |r| Item::Small(Change::Event(events::change(r))))?;
        let dead =
            "SELECT journal, place, part, pos, device, stream, seq, topic, reason, bytes, sha256, at_ms FROM dead";
        each(&mut t, dead, sink, |r| {
            let (journal, letter) = pages::dead_letter(r);
            Item::Dead { journal, letter }
        })?;
        for (unit, table) in [(Unit::Minute, "minutes"), (Unit::Hour, "hours")] {
            each(&mut t, &format!("SELECT * FROM {table}"), sink, |r| Item::RollUp {
                unit,
                device: r.get(0),
                at: uint(r, 1),
                sums: roll_up(r, 2, bits),
            })?;
        }
        Ok(t.commit()?)
    }

    /// Writes what `fill` gives. The store must hold no records.
    pub(in crate::metrics::store) fn import(&mut self, fill: &mut Fill<'_>) -> Result<(), StoreError> {
        let Postgres { client, rows, statements, .. } = self;
        let mut t = client.transaction()?;
        t.batch_execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")?;
        let sql = "SELECT EXISTS (SELECT FROM streams) OR EXISTS (SELECT FROM statuses) OR EXISTS (SELECT FROM dead)";
        if t.query_one(sql, &[])?.get(0) {
            return Err(StoreError::Unfit("the store of --to holds records already; name a new one".to_owned()));
        }
        let claim = "INSERT INTO claims (journal, place, part, epoch, next, mark, stamp) VALUES ($1, $2, $3, 0, $4, $5, 0) \
                     RETURNING cid";
        let none = (None::<i64>, None::<String>);
        let cid: i32 = t.query_one(claim, &[&"", &WHOLE.0, &WHOLE.1, &none.0, &none.1])?.get(0);
        let mut journal = String::new();
        let mut sids: HashMap<(String, u64), i32> = HashMap::new();
        let mut reports = Reports::default();
        fill(&mut |item| {
            match item {
                Item::Journal(name) => {
                    t.execute("INSERT INTO meta VALUES ('journal', $1)", &[&text(&name)])?;
                    journal = text(&name);
                }
                Item::Offset { place, part, next, mark } => {
                    t.execute(claim, &[&journal, &text(&place), &part, &Some(next), &mark.as_deref().map(text)])?;
                }
                Item::Account { device, stream, account } => {
                    import_account(&mut t, statements, cid, &mut sids, (device, stream), &account)?;
                }
                Item::Report { stored_at_us, captured_at_us, report } => {
                    reports.waiting.push((stored_at_us, captured_at_us, report));
                    if reports.waiting.len() >= BATCH {
                        reports.write(&mut t, rows, &sids)?;
                    }
                }
                Item::Census(part) => drop(tables::write_census(&mut t, statements, &part, u32::MAX)?),
                Item::Small(change) => drop(tables::write_small(&mut t, statements, &journal, &change)?),
                Item::Dead { journal, letter } => {
                    tables::write_small(&mut t, statements, &text(&journal), &Change::Dead(letter))?;
                }
                Item::RollUp { unit, device, at, sums } => {
                    let table = if unit == Unit::Minute { "minutes" } else { "hours" };
                    tables::write_roll_ups(&mut t, statements, table, &BTreeMap::from([((device, at), sums)]))?;
                }
            }
            Ok(())
        })?;
        reports.write(&mut t, rows, &sids)?;
        t.execute("SELECT setval('stream_order', greatest(0, (SELECT max(ord) + 1 FROM streams)), false)", &[])?;
        Ok(t.commit()?)
    }
}

/// Reports that wait to be written, and what was written.
#[derive(Default)]
struct Reports {
    waiting: Vec<(u64, u64, Box<ReportJson>)>,
    written: usize,
    chunk: i32,
}

impl Reports {
    fn write(
        &mut self,
        t: &mut Transaction<'_>,
        rows: &mut super::rows::Rows,
        sids: &HashMap<(String, u64), i32>,
    ) -> Result<(), StoreError> {
        let Some(&(first_us, ..)) = self.waiting.first() else { return Ok(()) };
        if self.written == 0 {
            t.execute("UPDATE chunks SET started_at_us = $1 WHERE chunk = 0", &[&int(first_us)])?;
        } else if self.written.is_multiple_of(CHUNK_REPORTS) {
            self.chunk += 1;
            schema::make_chunk(t, self.chunk, first_us)?;
        }
        let mut all = Vec::new();
        for (stored_at_us, captured_at_us, report) in &self.waiting {
            let key = (report.device.clone(), report.stream.parse().unwrap_or(0));
            let sid = super::sid_of(sids, &key);
            all.push(ReportRow { sid, stored_at_us: *stored_at_us, captured_at_us: *captured_at_us, report });
        }
        rows.copy(t, self.chunk, &all)?;
        self.written += self.waiting.len();
        self.waiting.clear();
        Ok(())
    }
}

fn import_account(
    t: &mut Transaction<'_>,
    statements: &mut Statements,
    cid: i32,
    sids: &mut HashMap<(String, u64), i32>,
    key: (String, u64),
    account: &Account,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO streams (device, stream, ord, named) VALUES ($1, $2, $3, $4) RETURNING sid";
    let statement = statements.get(t, sql)?;
    let values = (text(&key.0), key.1.to_string());
    let sid = t.query_one(&statement, &[&values.0, &values.1, &account.order, &account.is_named])?.get(0);
    sids.insert(key.clone(), sid);
    let mut spans = Spans::default();
    let none = Account::default();
    spans.add(cid, sid, "stored", &none.stored, &account.stored);
    spans.add(cid, sid, "dead", &none.dead, &account.dead);
    spans.add(cid, sid, "lost", &none.lost, &account.lost);
    spans.write(t, statements)?;
    tables::write_accounts(t, statements, sids, cid, &Accounts::from([(key, account.clone())]))
}

fn each(
    t: &mut Transaction<'_>,
    sql: &str,
    sink: &mut Sink<'_>,
    item: impl Fn(&Row) -> Item,
) -> Result<(), StoreError> {
    let none: [&str; 0] = [];
    let mut rows = t.query_raw(sql, none)?;
    while let Some(row) = rows.next()? {
        sink(item(&row))?;
    }
    Ok(())
}
