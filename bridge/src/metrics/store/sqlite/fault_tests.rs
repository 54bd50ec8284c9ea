//! Faults at every step of a transaction, and rows and ledger compared afterwards.
//!
//! SQLite's progress handler interrupts a statement at its n-th step. Each test lets n run over all steps of a batch's
//! transaction, its COMMIT included, and over the reading of the accounts that follows.

use super::query::Query;
use super::*;
use crate::journal::{Batch, Entry, Record};
use crate::metrics::store::reader::Reader;
use crate::metrics::store::{Store, ledger};
use crate::relay::verdict::{ValueFormat, Verdict, judge, seal};
use crate::sample::report;
use firmware::custody::{Envelope, Kind};
use firmware::wire::{CensusHead, Loss, LossReason, Payload, Report};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A SQLite store whose statements fail while `left` is negative; each step counts it down.
struct Faulty {
    inner: Sqlite,
}

impl Faulty {
    fn open(dir: &Path, left: &Arc<AtomicI64>) -> Faulty {
        let config = StoreConfig { census_kept: 1, ..StoreConfig::of_file(dir.join("store.db")) };
        let mut inner = Sqlite::open(&dir.join("store.db"), &config).unwrap();
        let left = left.clone();
        let step = move || left.fetch_sub(1, Ordering::Relaxed) <= 0;
        inner.db.progress_handler(1, Some(step)).unwrap();
        Faulty { inner }
    }
}

impl Backend for Faulty {
    fn load(&mut self) -> Result<BTreeMap<Scope, Accounts>, StoreError> {
        self.inner.load()
    }
    fn begin(&mut self, journal: &str) -> Result<Offsets, StoreError> {
        self.inner.begin(journal)
    }
    fn marks(&mut self) -> Result<Marks, StoreError> {
        self.inner.marks()
    }
    fn commit(&mut self, parts: &mut [Part<'_>], now_us: u64) -> Result<Vec<bool>, StoreError> {
        self.inner.commit(parts, now_us)
    }
    fn maintain(&mut self, now_us: u64) -> Result<Duration, StoreError> {
        self.inner.maintain(now_us)
    }
}

fn envelope(kind: Kind, stream: u64, seq: u64) -> Envelope {
    let payload_version = if kind == Kind::Report { Report::VERSION } else { 1 };
    Envelope { kind: kind as u8, payload_version, clock_synced: true, stream, seq, captured_at_us: 1_000_000 * seq }
}

fn entry(kind: &str, bytes: &[u8]) -> Entry {
    match judge(&format!("hueflow/home/pi/{kind}"), bytes, 5_000_000, ValueFormat::Json) {
        Verdict::Keep { entry, .. } | Verdict::Picture { entry, .. } => entry,
        Verdict::Ignore => panic!("ignored"),
    }
}

/// Round `n`: two reports, a census, a loss, a dead letter, a status, and one of the last round's reports again.
fn batch(n: u64) -> Batch {
    let frame = |frame| Report { seed: n, ..report(frame) };
    let record = |seq| entry("metrics", &seal(&envelope(Kind::Report, 8, seq), &frame(seq), &[]).unwrap());
    let head = CensusHead {
        frame: 3 * n,
        part: 0,
        parts: 1,
        pixels: 1,
        colours: 1,
        in_part: 1,
        centroids_q6: heapless::Vec::from_slice(&[[0; 3]]).unwrap(),
        ids: heapless::Vec::from_slice(&[4]).unwrap(),
        space: Default::default(),
    };
    let loss = Loss { stream: 8, from: 1 << 40, to: (1 << 40) + n + 1, reason: LossReason::Full };
    let dead = Envelope { payload_version: 200, ..envelope(Kind::Report, 8, (1 << 30) + n) };
    let mut entries = vec![
        record(3 * n),
        entry("census", &seal(&envelope(Kind::Census, 8, 3 * n + 1), &head, &[0, 1]).unwrap()),
        record(3 * n + 2),
        entry("metrics", &seal(&envelope(Kind::Loss, 9, n), &loss, &[]).unwrap()),
        entry("metrics", &seal(&dead, &report(0), &[]).unwrap()),
        entry("status", br#"{"state":"online"}"#),
    ];
    if n > 0 {
        entries.push(record(3 * n - 1));
    }
    let place =
        |(i, entry)| Record { place: "local".to_owned(), partition: 0, offset: (10 * n) as i64 + i as i64, entry };
    Batch { records: entries.into_iter().enumerate().map(place).collect(), restarted: Vec::new() }
}

/// Rows against the ledger after `rounds` batches.
fn check(dir: &Path, store: &mut Store, rounds: u64, retried: u64) {
    let query = Query::open(&dir.join("store.db")).unwrap();
    let db = rusqlite::Connection::open(dir.join("store.db")).unwrap();
    let number = |sql: &str| db.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap() as u64;
    assert_eq!(number("SELECT count(*) FROM reports"), 2 * rounds);
    assert_eq!(number("SELECT count(DISTINCT seq) FROM reports WHERE stream = '8' AND seq % 3 <> 1"), 2 * rounds);
    assert_eq!(number("SELECT sum(reports) FROM minutes"), 2 * rounds);
    assert_eq!((number("SELECT count(*) FROM dead"), number("SELECT count(*) FROM losses")), (rounds, rounds));
    assert_eq!(number("SELECT count(*) FROM reports r LEFT JOIN settings s USING (seed) WHERE s.id IS NULL"), 0);
    let lines = store.ledger().unwrap();
    assert_eq!(lines, ledger::lines(&query.accounts().unwrap()), "memory and file have the same");
    assert_eq!(lines[0].stored, 4 * rounds, "two reports, a census and a loss record each");
    assert_eq!(lines[0].dead, rounds);
    // A commit that happened although it reported an error makes its retry a batch of duplicates.
    assert!(lines[0].duplicates >= rounds - 1 && lines[0].duplicates <= rounds - 1 + 7 * retried);
}

/// Runs rounds in which step `n` of round `n` fails, and everything for `broken` steps after it, until no step is left.
fn run(stride: i64, broken: i64) -> i64 {
    let dir = tempfile::tempdir().unwrap();
    let left = Arc::new(AtomicI64::new(i64::MAX));
    let mut store = Store::new(Box::new(Faulty::open(dir.path(), &left))).unwrap();
    store.begin("j").unwrap();
    let (mut rounds, mut retried, mut step) = (0, 0, 1);
    let all = loop {
        let batch = batch(rounds);
        rounds += 1;
        left.store(step, Ordering::Relaxed);
        if store.apply(&batch).is_ok() {
            break step;
        }
        retried += 1;
        // Reading the accounts fails too, at a step that differs from round to round, until the disk works again.
        left.store(step % broken.max(1), Ordering::Relaxed);
        if broken > 0 && store.apply(&batch).is_ok() {
            panic!("step {step} did not fail");
        }
        left.store(i64::MAX, Ordering::Relaxed);
        store.apply(&batch).unwrap();
        step += stride;
    };
    left.store(i64::MAX, Ordering::Relaxed);
    check(dir.path(), &mut store, rounds, retried);
    drop(store);
    let mut store = Store::new(Box::new(Faulty::open(dir.path(), &left))).unwrap();
    check(dir.path(), &mut store, rounds, retried);
    all
}

#[test]
fn whichever_step_of_a_transaction_fails_rows_and_ledger_agree() {
    let steps = run(1, 0);
    assert!(steps > 100, "{steps} steps: the handler does not see the statements");
}

#[test]
fn the_same_if_the_accounts_cannot_be_read_again_either() {
    run(1, 23);
}

/// Every table that a batch writes, each kind of statement on it made to fail in turn.
#[test]
fn whichever_statement_of_a_transaction_fails_rows_and_ledger_agree() {
    let dir = tempfile::tempdir().unwrap();
    let left = Arc::new(AtomicI64::new(i64::MAX));
    let mut store = Store::new(Box::new(Faulty::open(dir.path(), &left))).unwrap();
    store.begin("j").unwrap();
    let other = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    let tables: Vec<String> = other
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        .unwrap()
        .query_map([], |r| r.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let (mut rounds, mut failed) = (0, std::collections::BTreeSet::new());
    for table in &tables {
        for verb in ["INSERT", "UPDATE", "DELETE"] {
            let trigger =
                format!("CREATE TRIGGER fault AFTER {verb} ON {table} BEGIN SELECT RAISE(FAIL, 'injected'); END");
            other.execute_batch(&trigger).unwrap();
            let batch = batch(rounds);
            rounds += 1;
            let result = store.apply(&batch);
            if result.is_err() {
                failed.insert(table.as_str());
                assert!(store.apply(&batch).is_err(), "{verb} on {table} fails as long as the fault is there");
            }
            other.execute_batch("DROP TRIGGER fault").unwrap();
            if result.is_err() {
                store.apply(&batch).unwrap();
            }
        }
    }
    check(dir.path(), &mut store, rounds, 0);
    let want = [
        "census",
        "dead",
        "hours",
        "losses",
        "minutes",
        "offsets",
        "report_rows",
        "settings",
        "spans",
        "statuses",
        "streams",
    ];
    assert_eq!(failed.into_iter().collect::<Vec<_>>(), want);
}
