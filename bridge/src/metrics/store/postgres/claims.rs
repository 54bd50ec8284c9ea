//! Claims: which instance writes what of the journal, and the accounts that go with it.
//!
//! A partition of the journal belongs to the instance that claimed it last: [`take`] counts its epoch up and reads where to go
//! on. [`advance`] moves a claim within a batch's transaction, and fails with [`StoreError::Fenced`] if another instance has
//! claimed the partition since. A session that holds a claim for seconds is ended by the one that claims it ([`end_holders`]). [`load`] reads the accounts of the claims that are held. The numbers that any instance has
//! stored of a stream are united there: one sequence runs over several topics, and a journal can be replaced or get more
//! partitions.

use super::statements::Statements;
use super::{int, text};
use crate::intervals::Intervals;
use crate::metrics::store::ledger::{Account, Accounts};
use crate::metrics::store::{Scope, StoreError};
use postgres::error::SqlState;
use postgres::{Client, GenericClient, Row, Transaction};
use std::collections::BTreeMap;

/// A claim that this instance holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// The claim's number in the store.
    pub cid: i32,
    /// Counts the claims on the partition.
    pub epoch: i64,
    /// The next offset to read, once there is one.
    pub next: Option<i64>,
    /// Mark of the record before it.
    pub mark: Option<String>,
    /// A random number of the transaction that moved the claim last.
    pub stamp: i64,
}

/// The claims that this instance holds.
pub(super) type Claims = BTreeMap<Scope, Claim>;

fn claim(r: &Row) -> Claim {
    Claim { cid: r.get(0), epoch: r.get(1), next: r.get(2), mark: r.get(3), stamp: r.get(4) }
}

/// How long another instance's transaction is waited for: a batch takes 0.2 s, and a take-over waits for this. An instance that holds a claim for longer is stopped
/// or cut off, and the group has assigned the partition to another one.
const HELD_UP: &str = "SET LOCAL lock_timeout = '1s'";

/// Claims partitions of `journal`.
///
/// # Errors
/// PostgreSQL's; [`is_held`] tests for the one of a claim that another session holds.
pub(super) fn take(t: &mut Transaction<'_>, journal: &str, scopes: &[Scope]) -> Result<Claims, postgres::Error> {
    t.batch_execute(HELD_UP)?;
    let sql = "INSERT INTO claims (journal, place, part, epoch, stamp) VALUES ($1, $2, $3, 1, 0) \
               ON CONFLICT (journal, place, part) DO UPDATE SET epoch = claims.epoch + 1 \
               RETURNING cid, epoch, next, mark, stamp";
    // In one order, so that two instances never wait for one another.
    let mut scopes = scopes.to_vec();
    scopes.sort();
    let mut held = Claims::new();
    for (place, part) in scopes {
        let row = t.query_one(sql, &[&journal, &place, &part])?;
        held.insert((place, part), claim(&row));
    }
    Ok(held)
}

/// Whether a statement failed because another session's transaction held its rows for too long.
pub(super) fn is_held(e: &postgres::Error) -> bool {
    e.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

/// Ends the sessions whose transactions hold claims of `journal`. An instance that is held up in the middle of a statement would
/// hold them for ever: no time limit of the server applies while it waits for the rest of a message. Gives how many.
pub(super) fn end_holders(client: &mut Client, journal: &str) -> Result<usize, StoreError> {
    let sql = "SELECT pg_terminate_backend(l.pid) FROM claims c JOIN pg_locks l ON l.locktype = 'transactionid' \
               AND l.granted AND l.transactionid = c.xmax WHERE c.journal = $1 AND l.pid <> pg_backend_pid() GROUP BY l.pid";
    Ok(client.query(sql, &[&journal])?.len())
}

/// Reads the claims again. Fails if another instance has taken one.
pub(super) fn verify(t: &mut Transaction<'_>, held: &mut Claims) -> Result<(), StoreError> {
    for claim_held in held.values_mut() {
        let sql = "SELECT cid, epoch, next, mark, stamp FROM claims WHERE cid = $1";
        let found = t.query_opt(sql, &[&claim_held.cid])?.map(|r| claim(&r));
        match found {
            Some(found) if found.epoch == claim_held.epoch => *claim_held = found,
            _ => return Err(StoreError::Fenced),
        }
    }
    Ok(())
}

/// Moves a claim to the next offset.
pub(super) fn advance(
    t: &mut Transaction<'_>,
    statements: &mut Statements,
    claim: &Claim,
    next: Option<i64>,
    mark: Option<&String>,
    stamp: i64,
) -> Result<(), StoreError> {
    let sql = "UPDATE claims SET next = coalesce($1, next), mark = coalesce($2, mark), stamp = $3 \
               WHERE cid = $4 AND epoch = $5 AND next IS NOT DISTINCT FROM $6";
    let mark = mark.map(|m| text(m));
    let statement = statements.get(t, sql)?;
    match t.execute(&statement, &[&next, &mark, &stamp, &claim.cid, &claim.epoch, &claim.next])? {
        1 => Ok(()),
        _ => Err(StoreError::Fenced),
    }
}

/// The accounts of a claim: its own, with what other claims have stored of its topic's streams.
pub(super) fn load(t: &mut Transaction<'_>, scope: &Scope, cid: i32) -> Result<Accounts, StoreError> {
    let mut accounts = own_accounts(t, cid)?;
    let own = "SELECT s.device, s.stream, p.what, p.lo, p.hi FROM spans p JOIN streams s USING (sid) \
               WHERE p.cid = $1 AND p.what <> 'stored'";
    for r in t.query(own, &[&cid])? {
        if let Some(account) = accounts.get_mut(&key(&r)) {
            add_span(account, &r);
        }
    }
    // The claim with an empty place holds the accounts of a store that was moved here.
    let stored = "SELECT s.device, s.stream, p.what, p.lo, p.hi, s.ord, s.named FROM spans p JOIN streams s USING (sid) \
                  WHERE p.what = 'stored' AND p.sid IN (SELECT a.sid FROM accounts a JOIN claims c USING (cid) \
                  WHERE c.place = $1 OR c.place = '')";
    for r in t.query(stored, &[&scope.0])? {
        let account = accounts.entry(key(&r)).or_insert_with(|| Account {
            order: r.get(5),
            is_named: r.get(6),
            ..Account::default()
        });
        add_span(account, &r);
    }
    Ok(accounts)
}

fn own_accounts(t: &mut Transaction<'_>, cid: i32) -> Result<Accounts, StoreError> {
    let sql = "SELECT s.device, s.stream, s.ord, s.named, a.since, a.next, a.duplicates, a.frames_seen, a.frames_dropped, a.started_at_us \
               FROM accounts a JOIN streams s USING (sid) WHERE a.cid = $1";
    let count = |r: &Row, i| r.get::<_, i64>(i).unsigned_abs();
    let account = |r: &Row| Account {
        order: r.get(2),
        is_named: r.get(3),
        since: count(r, 4),
        next: count(r, 5),
        duplicates: count(r, 6),
        frames_seen: count(r, 7),
        frames_dropped: count(r, 8),
        started_at_us: time(r, 9),
        ..Account::default()
    };
    Ok(t.query(sql, &[&cid])?.iter().map(|r| (key(r), account(r))).collect())
}

fn time(r: &Row, i: usize) -> Option<u64> {
    r.get::<_, Option<i64>>(i).map(i64::unsigned_abs)
}

fn key(r: &Row) -> (String, u64) {
    (r.get(0), r.get::<_, &str>(1).parse().unwrap_or(0))
}

fn add_span(account: &mut Account, r: &Row) {
    let (lo, hi) = (r.get::<_, i64>(3).unsigned_abs(), r.get::<_, i64>(4).unsigned_abs());
    match r.get(2) {
        "stored" => account.stored.add(lo, hi),
        "dead" => account.dead.add(lo, hi),
        _ => account.lost.add(lo, hi),
    }
}

/// The accounts of all claims, united.
pub(super) fn load_all(client: &mut impl GenericClient) -> Result<Accounts, StoreError> {
    let sql = "SELECT s.device, s.stream, s.ord, s.named, max(a.since), max(a.next), sum(a.duplicates)::BIGINT, \
               max(a.frames_seen), max(a.frames_dropped), min(a.started_at_us) FROM accounts a JOIN streams s USING (sid) GROUP BY s.sid";
    let mut t = client.transaction()?;
    let count = |r: &Row, i| r.get::<_, i64>(i).unsigned_abs();
    let mut all = Accounts::new();
    for r in t.query(sql, &[])? {
        let account = Account {
            order: r.get(2),
            is_named: r.get(3),
            since: count(&r, 4),
            next: count(&r, 5),
            duplicates: count(&r, 6),
            frames_seen: count(&r, 7),
            frames_dropped: count(&r, 8),
            started_at_us: time(&r, 9),
            ..Account::default()
        };
        all.insert(key(&r), account);
    }
    let sql = "SELECT s.device, s.stream, p.what, p.lo, p.hi FROM spans p JOIN streams s USING (sid)";
    for r in t.query(sql, &[])? {
        if let Some(account) = all.get_mut(&key(&r)) {
            add_span(account, &r);
        }
    }
    Ok(all)
}

/// Spans of a stream in a claim from which on they are united with those of other claims: half a millisecond to load.
const SPANS_MANY: i64 = 256;

/// Whether a claim has many stored spans of a stream.
pub(super) fn is_loose(client: &mut Client, held: &Claims) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT FROM spans WHERE cid = ANY($1) AND what = 'stored' GROUP BY cid, sid HAVING count(*) > $2)";
    let cids: Vec<i32> = held.values().map(|c| c.cid).collect();
    Ok(client.query_one(sql, &[&cids, &SPANS_MANY])?.get(0))
}

/// Rewrites the stored spans of a claim where united ones are fewer rows: the holes in a topic's numbers are other topics'.
pub(super) fn compact(t: &mut Transaction<'_>, cid: i32, accounts: &Accounts) -> Result<(), StoreError> {
    let sql = "SELECT s.device, s.stream, s.sid, count(*) FROM spans p JOIN streams s USING (sid) \
               WHERE p.cid = $1 AND p.what = 'stored' GROUP BY s.sid";
    let mut spans = Spans::default();
    for r in t.query(sql, &[&cid])? {
        let Some(account) = accounts.get(&key(&r)) else { continue };
        if account.stored.iter().count() >= usize::try_from(r.get::<_, i64>(3)).unwrap_or(0) {
            continue;
        }
        let sid: i32 = r.get(2);
        t.execute("DELETE FROM spans WHERE cid = $1 AND sid = $2 AND what = 'stored'", &[&cid, &sid])?;
        spans.add(cid, sid, "stored", &Intervals::default(), &account.stored);
    }
    spans.write(t, &mut Statements::default())
}

/// Spans as columns.
#[derive(Default)]
struct Columns {
    cid: Vec<i32>,
    sid: Vec<i32>,
    what: Vec<&'static str>,
    lo: Vec<i64>,
    hi: Vec<i64>,
}

impl Columns {
    fn push(&mut self, cid: i32, sid: i32, what: &'static str, (lo, hi): (u64, u64)) {
        self.cid.push(cid);
        self.sid.push(sid);
        self.what.push(what);
        self.lo.push(int(lo));
        self.hi.push(int(hi));
    }
}

/// Spans to write and to delete.
#[derive(Default)]
pub(super) struct Spans {
    deleted: Columns,
    written: Columns,
}

impl Spans {
    /// Adds the difference of two sets.
    pub(super) fn add(&mut self, cid: i32, sid: i32, what: &'static str, old: &Intervals, new: &Intervals) {
        let (known, kept): (BTreeMap<u64, u64>, BTreeMap<u64, u64>) = (old.iter().collect(), new.iter().collect());
        for (lo, hi) in known.iter().filter(|(lo, _)| !kept.contains_key(lo)) {
            self.deleted.push(cid, sid, what, (*lo, *hi));
        }
        for (lo, hi) in kept.into_iter().filter(|(lo, hi)| known.get(lo) != Some(hi)) {
            self.written.push(cid, sid, what, (lo, hi));
        }
    }

    /// Writes them.
    pub(super) fn write(self, t: &mut Transaction<'_>, statements: &mut Statements) -> Result<(), StoreError> {
        let Columns { cid, sid, what, lo, .. } = self.deleted;
        if !cid.is_empty() {
            let sql = "DELETE FROM spans s USING unnest($1::INT[], $2::INT[], $3::TEXT[], $4::BIGINT[]) AS d (cid, sid, what, lo) \
                       WHERE s.cid = d.cid AND s.sid = d.sid AND s.what = d.what AND s.lo = d.lo";
            let statement = statements.get(t, sql)?;
            t.execute(&statement, &[&cid, &sid, &what, &lo])?;
        }
        let Columns { cid, sid, what, lo, hi } = self.written;
        if !cid.is_empty() {
            let sql = "INSERT INTO spans SELECT * FROM unnest($1::INT[], $2::INT[], $3::TEXT[], $4::BIGINT[], $5::BIGINT[]) \
                       ON CONFLICT (cid, sid, what, lo) DO UPDATE SET hi = excluded.hi";
            let statement = statements.get(t, sql)?;
            t.execute(&statement, &[&cid, &sid, &what, &lo, &hi])?;
        }
        Ok(())
    }
}
