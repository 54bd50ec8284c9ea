//! The rows of a batch beside its reports: streams, accounts, censuses, roll-ups, and what seldom comes.
//!
//! Every function is part of the caller's transaction. Rows of one kind go in one statement, as arrays.

use super::statements::Statements;
use super::{STREAMS_MAX, events, int, sid_of, text};
use crate::metrics::ingest::fold::{CensusPart, Change};
use crate::metrics::store::ledger::Accounts;
use crate::metrics::store::rollup::RollUp;
use crate::metrics::store::{Part, StoreError};
use postgres::Transaction;
use std::collections::{BTreeMap, HashMap};

/// Numbers the streams of a part, and sets their orders in its changes. The database decides the order of a device's boots,
/// since other instances name them too: a stream gets one when it is first seen, and another one when its boot's first window
/// is read.
pub(super) fn name_streams(
    t: &mut Transaction<'_>,
    statements: &mut Statements,
    sids: &mut HashMap<(String, u64), i32>,
    part: &mut Part<'_>,
) -> Result<(), StoreError> {
    if sids.len() > STREAMS_MAX {
        sids.clear();
    }
    let mut unnamed: Vec<_> = part
        .changes
        .accounts
        .iter()
        .filter(|(key, account)| {
            let is_named_before = part.before.get(key).is_some_and(|a| a.is_named);
            !sids.contains_key(*key) || (account.is_named && !is_named_before)
        })
        .map(|(key, account)| (account.order, key.clone(), account.is_named))
        .collect();
    unnamed.sort();
    let sql = "INSERT INTO streams AS s (device, stream, ord, named) VALUES ($1, $2, nextval('stream_order'), $3) \
               ON CONFLICT (device, stream) DO UPDATE SET \
               ord = CASE WHEN excluded.named AND NOT s.named THEN excluded.ord ELSE s.ord END, \
               named = s.named OR excluded.named RETURNING sid";
    for (_, key, is_named) in unnamed {
        let statement = statements.get(t, sql)?;
        let sid: i32 = t.query_one(&statement, &[&text(&key.0), &key.1.to_string(), &is_named])?.get(0);
        sids.insert(key, sid);
    }
    let touched: Vec<i32> = part.changes.accounts.keys().map(|key| sid_of(sids, key)).collect();
    let statement = statements.get(t, "SELECT sid, ord, named FROM streams WHERE sid = ANY($1)")?;
    let found: HashMap<i32, (i64, bool)> =
        t.query(&statement, &[&touched])?.iter().map(|r| (r.get(0), (r.get(1), r.get(2)))).collect();
    for (key, account) in &mut part.changes.accounts {
        if let Some((order, is_named)) = found.get(&sid_of(sids, key)) {
            (account.order, account.is_named) = (*order, *is_named);
        }
    }
    for change in &mut part.changes.rows {
        if let Change::Report(r) = change
            && let Some((order, _)) = found.get(&sid_of(sids, &(r.report.device.clone(), r.stream)))
        {
            r.order = *order;
        }
    }
    Ok(())
}

/// Writes the counts of accounts; their spans are written apart.
pub(super) fn write_accounts(
    t: &mut Transaction<'_>,
    statements: &mut Statements,
    sids: &HashMap<(String, u64), i32>,
    cid: i32,
    accounts: &Accounts,
) -> Result<(), StoreError> {
    if accounts.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO accounts SELECT $1, * FROM \
               unnest($2::INT[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[], $6::BIGINT[], $7::BIGINT[], $8::BIGINT[]) \
               ON CONFLICT (cid, sid) DO UPDATE SET since = excluded.since, next = excluded.next, \
               duplicates = excluded.duplicates, frames_seen = excluded.frames_seen, frames_dropped = excluded.frames_dropped, \
               started_at_us = excluded.started_at_us";
    let statement = statements.get(t, sql)?;
    let sid: Vec<i32> = accounts.keys().map(|key| sid_of(sids, key)).collect();
    let column = |of: fn(&crate::metrics::store::ledger::Account) -> u64| -> Vec<i64> {
        accounts.values().map(|a| int(of(a))).collect()
    };
    let started_at_us: Vec<Option<i64>> = accounts.values().map(|a| a.started_at_us.map(int)).collect();
    t.execute(
        &statement,
        &[
            &cid,
            &sid,
            &column(|a| a.since),
            &column(|a| a.next),
            &column(|a| a.duplicates),
            &column(|a| a.frames_seen),
            &column(|a| a.frames_dropped),
            &started_at_us,
        ],
    )?;
    Ok(())
}

/// Writes a part. Gives whether it completed its census; then older ones than the newest `kept` of the device are deleted.
pub(super) fn write_census(
    t: &mut Transaction<'_>,
    statements: &mut Statements,
    c: &CensusPart,
    kept: u32,
) -> Result<bool, StoreError> {
    let (device, stream) = (text(&c.device), c.stream.to_string());
    let sql = "INSERT INTO census VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
    let statement = statements.get(t, sql)?;
    let (part, parts, version) = (i32::from(c.part), i32::from(c.parts), i32::from(c.version));
    let (seq, frame, at_us) = (int(c.seq), int(c.frame), int(c.captured_at_us));
    t.execute(&statement, &[&device, &stream, &seq, &frame, &part, &parts, &at_us, &version, &c.payload])?;
    let sql = "SELECT count(DISTINCT part) FROM census WHERE device = $1 AND stream = $2 AND frame = $3";
    let statement = statements.get(t, sql)?;
    let there: i64 = t.query_one(&statement, &[&device, &stream, &frame])?.get(0);
    if there != i64::from(c.parts) {
        return Ok(false);
    }
    let sql = "DELETE FROM census WHERE device = $1 AND (stream, frame) IN (\
               SELECT c.stream, c.frame FROM census c JOIN streams s USING (device, stream) WHERE c.device = $1 \
               GROUP BY c.stream, c.frame ORDER BY max(s.ord) DESC, c.frame DESC OFFSET $2)";
    let statement = statements.get(t, sql)?;
    t.execute(&statement, &[&device, &i64::from(kept)])?;
    Ok(true)
}

/// Writes a window, a status, an event, a loss or a dead letter. Gives whether it is news.
pub(super) fn write_small(
    t: &mut Transaction<'_>,
    statements: &mut Statements,
    journal: &str,
    change: &Change,
) -> Result<bool, StoreError> {
    let whole = |s: &str| s.replace('\0', "\u{fffd}");
    let written = match change {
        Change::Window { device, boot, n, journal, heard_at_us, streams } => {
            let sql = "INSERT INTO windows AS w VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (device, boot) DO UPDATE SET \
                       n = excluded.n, journal = excluded.journal, heard_at_us = excluded.heard_at_us, \
                       streams = excluded.streams WHERE excluded.n > w.n";
            let statement = statements.get(t, sql)?;
            let journal = journal.as_deref().map(text);
            t.execute(&statement, &[&text(device), &text(boot), &int(*n), &journal, heard_at_us, &whole(streams)])?
        }
        Change::Status(s) => {
            let sql = "INSERT INTO statuses AS s VALUES ($1, $2, $3, $4) ON CONFLICT (device) DO UPDATE SET \
                       state = excluded.state, at_ms = excluded.at_ms, json = excluded.json WHERE excluded.at_ms >= s.at_ms";
            let statement = statements.get(t, sql)?;
            t.execute(&statement, &[&text(&s.device), &text(&s.state), &s.at_ms, &whole(&s.json)])?
        }
        Change::Event(change) => events::write(t, statements, change)?,
        Change::Loss { device, loss } => {
            let sql = "INSERT INTO losses VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
            let statement = statements.get(t, sql)?;
            let (lo, hi) = (int(loss.from), int(loss.to));
            t.execute(&statement, &[&text(device), &text(&loss.stream), &lo, &hi, &text(&loss.reason)])?
        }
        Change::Dead(d) => {
            let sql =
                "INSERT INTO dead VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING";
            let statement = statements.get(t, sql)?;
            t.execute(
                &statement,
                &[
                    &journal,
                    &text(&d.place),
                    &d.partition,
                    &d.offset,
                    &text(&d.device),
                    &d.stream.map(|s| s.to_string()),
                    &d.seq.map(int),
                    &text(&d.topic),
                    &text(&d.reason),
                    &d.bytes.map(int),
                    &d.sha256.as_deref().map(text),
                    &d.at_ms,
                ],
            )?
        }
        Change::Report(_) | Change::Census(_) | Change::Picture(_) => 1,
    };
    Ok(written > 0)
}

/// Adds to the roll-ups of `table`, `minutes` or `hours`.
pub(super) fn write_roll_ups(
    t: &mut Transaction<'_>,
    statements: &mut Statements,
    table: &str,
    all: &BTreeMap<(String, u64), RollUp>,
) -> Result<(), StoreError> {
    if all.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO {table} AS r SELECT * FROM unnest($1::TEXT[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::INT[], \
         $6::INT[], $7::FLOAT8[], $8::FLOAT8[], $9::BIGINT[], $10::BIGINT[], $11::BIGINT[], $12::INT[], $13::FLOAT8[], \
         $14::BIGINT[]) ON CONFLICT (device, unit) DO UPDATE SET reports = r.reports + excluded.reports, \
         clusters_sum = r.clusters_sum + excluded.clusters_sum, \
         clusters_min = least(r.clusters_min, excluded.clusters_min), \
         clusters_max = greatest(r.clusters_max, excluded.clusters_max), rms_sum = r.rms_sum + excluded.rms_sum, \
         rms_max = greatest(r.rms_max, excluded.rms_max), missed_sum = r.missed_sum + excluded.missed_sum, \
         beyond_px_sum = r.beyond_px_sum + excluded.beyond_px_sum, micros_sum = r.micros_sum + excluded.micros_sum, \
         micros_max = greatest(r.micros_max, excluded.micros_max), \
         silhouette_sum = r.silhouette_sum + excluded.silhouette_sum, silhouettes = r.silhouettes + excluded.silhouettes"
    );
    let statement = statements.get(t, &sql)?;
    let device: Vec<String> = all.keys().map(|(device, _)| text(device)).collect();
    let unit: Vec<i64> = all.keys().map(|(_, unit)| int(*unit)).collect();
    let counts = |of: fn(&RollUp) -> u64| -> Vec<i64> { all.values().map(|r| int(of(r))).collect() };
    // What is compared in SQL must not change its sign.
    let most = |x: u32| i32::try_from(x).unwrap_or(i32::MAX);
    let small = |of: fn(&RollUp) -> u32| -> Vec<i32> { all.values().map(|r| most(of(r))).collect() };
    let sums = |of: fn(&RollUp) -> f64| -> Vec<f64> { all.values().map(of).collect() };
    t.execute(
        &statement,
        &[
            &device,
            &unit,
            &counts(|r| r.reports),
            &counts(|r| r.clusters_sum),
            &small(|r| r.clusters_min),
            &small(|r| r.clusters_max),
            &sums(|r| r.rms_sum),
            &sums(|r| r.rms_max),
            &counts(|r| r.missed_sum),
            &counts(|r| r.beyond_px_sum),
            &counts(|r| r.micros_sum),
            &small(|r| r.micros_max),
            &sums(|r| r.silhouette_sum),
            &counts(|r| r.silhouettes),
        ],
    )?;
    Ok(())
}
