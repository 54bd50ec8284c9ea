//! The local journal: one SQLite file, as durable as `synchronous=FULL` in WAL mode, readable by anyone with `sqlite3`.
//!
//! Entries come over a bounded queue; one thread writes them in group commits and confirms each after its commit. A disk that
//! refuses is tried again until it takes them. Other processes read the file at the same time.

use super::{
    BATCH_BYTES_MAX, Batch, Entry, Journal, JournalConfig, JournalError, Marks, Offsets, QUEUE_ENTRIES_MAX, Reader,
    Rebalance, Record, Topic,
};
use crate::sqlite::connect;
use firmware::custody::JournalId;
use futures::FutureExt;
use futures::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Entries in one commit.
const COMMIT_ENTRIES_MAX: usize = 512;
/// Pictures without custody that are kept, for each device.
const LOOSE_KEPT: u32 = 64;
/// How often a reader looks.
const POLL: Duration = Duration::from_millis(25);
/// How often old entries are deleted.
const SWEEP: Duration = Duration::from_secs(20);
/// How long a refused commit waits before it is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// The one place that offsets of the local journal are counted in.
pub const PLACE: &str = "local";

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS meta (k TEXT PRIMARY KEY, v TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
  pos INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, loose INTEGER NOT NULL, key TEXT NOT NULL,
  time_ms INTEGER NOT NULL, kept_ms INTEGER NOT NULL, headers TEXT NOT NULL, value BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS entries_loose ON entries (key, pos) WHERE loose = 1;
CREATE INDEX IF NOT EXISTS entries_video ON entries (pos, length(value)) WHERE topic = 'video' AND loose = 0;
";

/// What is kept, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Days of records.
    pub days: u32,
    /// Bytes of pictures.
    pub video_bytes_max: u64,
}

impl From<&JournalConfig> for Retention {
    fn from(c: &JournalConfig) -> Self {
        Retention { days: c.retention_days, video_bytes_max: c.video_bytes_max }
    }
}

type Waiting = (Arc<Entry>, oneshot::Sender<()>);

/// The journal in a file.
pub struct LocalJournal {
    id: JournalId,
    file: PathBuf,
    queue: Option<mpsc::Sender<Waiting>>,
    healthy: Arc<AtomicBool>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl LocalJournal {
    /// Opens the file; with `append` it is made if it does not exist, and a writer thread is started.
    ///
    /// # Errors
    /// [`JournalError::Away`] if it is to be read and is not a journal, or not yet; [`JournalError::Fatal`] if SQLite cannot
    /// open or read it.
    pub fn open(file: &Path, retention: Retention, append: bool) -> Result<Self, JournalError> {
        let fatal = |e: rusqlite::Error| JournalError::Fatal(e.to_string());
        let mut connection = connect(file).map_err(fatal)?;
        if append {
            prepare(&mut connection).map_err(fatal)?;
        }
        let id = read_id(&connection).map_err(fatal)?.ok_or_else(|| {
            JournalError::Away(
                "no bridge has made a journal of this file yet; is it the one that the bridge has?".to_owned(),
            )
        })?;
        let id = JournalId::try_from(id.as_str()).map_err(|_| JournalError::Fatal("its id is too long".to_owned()))?;
        let healthy = Arc::new(AtomicBool::new(true));
        let mut journal = LocalJournal { id, file: file.to_owned(), queue: None, healthy, writer: None };
        if append {
            let (tx, rx) = mpsc::channel(QUEUE_ENTRIES_MAX);
            let healthy = journal.healthy.clone();
            let writer = std::thread::Builder::new()
                .name("journal".to_owned())
                .spawn(move || write(connection, rx, retention, &healthy))
                .map_err(|e| JournalError::Fatal(e.to_string()))?;
            journal.queue = Some(tx);
            journal.writer = Some(writer);
        }
        Ok(journal)
    }
}

/// Makes the tables and the journal's id, all or nothing: readers may look at any time.
fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute("INSERT OR IGNORE INTO meta VALUES ('id', ?1)", [uuid()])?;
    transaction.commit()
}

/// The journal's id; none if the file is not a journal, or not yet.
fn read_id(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let is_made = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'meta'";
    if connection.query_row(is_made, [], |r| r.get::<_, u32>(0))? == 0 {
        return Ok(None);
    }
    connection.query_row("SELECT v FROM meta WHERE k = 'id'", [], |r| r.get(0)).optional()
}

impl Drop for LocalJournal {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // A writer that the disk refuses for ever ends with the process.
            if self.healthy.load(Ordering::Relaxed) {
                let _ = writer.join();
            }
        }
    }
}

impl Journal for LocalJournal {
    fn id(&self) -> JournalId {
        self.id.clone()
    }

    fn append(&self, entry: Arc<Entry>) -> BoxFuture<'static, Result<(), JournalError>> {
        let Some(queue) = self.queue.clone() else {
            return futures::future::ready(Err(JournalError::Fatal("opened for reading".to_owned()))).boxed();
        };
        let (done, word) = oneshot::channel();
        // Into the queue at once, so that entries keep the order in which they were given.
        let full = match queue.try_send((entry, done)) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Full(w) | mpsc::error::TrySendError::Closed(w)) => Some(w),
        };
        async move {
            let gone = || JournalError::Fatal("its writer has ended".to_owned());
            if let Some(waiting) = full {
                queue.send(waiting).await.map_err(|_| gone())?;
            }
            word.await.map_err(|_| gone())
        }
        .boxed()
    }

    fn reachable(&self, _: Duration) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    fn reader(&self, from: &Offsets) -> Result<Box<dyn Reader>, JournalError> {
        let connection = connect(&self.file).map_err(away)?;
        let next = from.get(&(PLACE.to_owned(), 0)).copied().unwrap_or(1);
        Ok(Box::new(LocalReader { connection, next, version: None, started: false, member: None }))
    }

    fn member(&self, group: &str) -> Result<Box<dyn Reader>, JournalError> {
        let mut name = self.file.as_os_str().to_owned();
        name.push(format!(".{group}.lock"));
        let lock = File::options().write(true).create(true).truncate(false).open(&name).map_err(away)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = "a hueflow-metrics reads it into this store; this one waits until that one ends";
                return Err(JournalError::Away(text.to_owned()));
            }
            Err(TryLockError::Error(e)) => return Err(away(e)),
        }
        let connection = connect(&self.file).map_err(away)?;
        let member = Some(Member { _lock: lock, is_waiting: true, is_told: false });
        Ok(Box::new(LocalReader { connection, next: 1, version: None, started: false, member }))
    }

    fn end(&self) -> Result<Offsets, JournalError> {
        let connection = connect(&self.file).map_err(away)?;
        Ok(Offsets::from([((PLACE.to_owned(), 0), end(&connection).map_err(away)?)]))
    }
}

struct LocalReader {
    connection: Connection,
    next: i64,
    version: Option<i64>,
    started: bool,
    member: Option<Member>,
}

/// The one member of a group on a local journal, as long as it has the lock.
struct Member {
    _lock: File,
    /// It waits to be told where to begin.
    is_waiting: bool,
    /// It has said so.
    is_told: bool,
}

impl Reader for LocalReader {
    fn read(&mut self, max: usize, wait: Duration) -> Result<Batch, JournalError> {
        let mut batch = Batch::default();
        if self.member.as_ref().is_some_and(|m| m.is_waiting) {
            self.idle(wait.min(POLL));
            return Ok(batch);
        }
        if !self.started {
            let (first, end) = (first(&self.connection).map_err(away)?, end(&self.connection).map_err(away)?);
            // What retention took before it was read counts as out of range, too; pictures without custody do not.
            if self.next > end || (self.next > 1 && self.next < first) {
                batch.restarted.push(PLACE.to_owned());
                self.next = 1;
            }
            self.started = true;
        }
        let deadline = Instant::now() + wait;
        loop {
            let version = self.connection.query_row("PRAGMA data_version", [], |r| r.get(0)).map_err(away)?;
            if self.version != Some(version) {
                let (records, bytes) = self.select(max).map_err(away)?;
                batch.records = records;
                // After a full batch there may be more without another commit.
                let is_full = batch.records.len() >= max || bytes >= BATCH_BYTES_MAX;
                self.version = (!is_full).then_some(version);
            }
            if let Some(last) = batch.records.last() {
                self.next = last.offset + 1;
            }
            if !batch.records.is_empty() || !batch.restarted.is_empty() || Instant::now() >= deadline {
                return Ok(batch);
            }
            std::thread::sleep(POLL.min(deadline.saturating_duration_since(Instant::now())));
        }
    }

    fn rebalance(&mut self) -> Rebalance {
        let Some(m) = self.member.as_mut().filter(|m| m.is_waiting && !m.is_told) else { return Rebalance::default() };
        m.is_told = true;
        Rebalance { is_revoked: false, assigned: Some(vec![(PLACE.to_owned(), 0)]) }
    }

    fn start(&mut self, from: &Offsets, _marks: Marks) -> Result<(), JournalError> {
        if let Some(m) = &mut self.member {
            m.is_waiting = false;
        }
        self.next = from.get(&(PLACE.to_owned(), 0)).copied().unwrap_or(1);
        (self.version, self.started) = (None, false);
        Ok(())
    }

    fn rejoin(&mut self) {
        if let Some(m) = &mut self.member {
            (m.is_waiting, m.is_told) = (true, false);
        }
    }

    fn lag(&mut self) -> Option<u64> {
        let end = end(&self.connection).ok()?;
        u64::try_from(end - self.next).ok()
    }
}

impl LocalReader {
    fn select(&self, max: usize) -> rusqlite::Result<(Vec<Record>, usize)> {
        let sql =
            "SELECT pos, topic, loose, key, time_ms, headers, value FROM entries WHERE pos >= ?1 ORDER BY pos LIMIT ?2";
        let mut rows = self.connection.prepare_cached(sql)?;
        let records = rows.query_map(params![self.next, i64::try_from(max).unwrap_or(i64::MAX)], |r| {
            let name: String = r.get(1)?;
            let (topic, dead) = Topic::parse(&name).unwrap_or((Topic::Status, true));
            let headers: String = r.get(5)?;
            let entry = Entry {
                topic,
                dead,
                loose: r.get(2)?,
                key: r.get(3)?,
                headers: serde_json::from_str(&headers).unwrap_or_default(),
                time_ms: r.get(4)?,
                value: r.get(6)?,
            };
            Ok(Record { place: PLACE.to_owned(), partition: 0, offset: r.get(0)?, entry })
        })?;
        let (mut all, mut bytes) = (Vec::new(), 0);
        for record in records {
            let record = record?;
            bytes += record.entry.value.len();
            all.push(record);
            if bytes >= BATCH_BYTES_MAX {
                break;
            }
        }
        Ok((all, bytes))
    }
}

fn first(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT pos FROM entries WHERE loose = 0 ORDER BY pos LIMIT 1";
    Ok(connection.query_row(sql, [], |r| r.get(0)).optional()?.unwrap_or(1))
}

fn end(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'entries'";
    Ok(connection.query_row(sql, [], |r| r.get::<_, i64>(0)).optional()?.unwrap_or(0) + 1)
}

fn away(e: impl std::fmt::Display) -> JournalError {
    JournalError::Away(e.to_string())
}

/// The writer: takes what has gathered, commits it, gives the word.
fn write(mut connection: Connection, mut queue: mpsc::Receiver<Waiting>, keep: Retention, healthy: &AtomicBool) {
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

fn commit(connection: &mut Connection, group: &[Waiting]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
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
fn sweep(connection: &mut Connection, keep: Retention, now_us: u64) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
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

/// A random UUID (version 4).
fn uuid() -> String {
    let x: u128 = rand::random();
    let x = (x & !(0xF << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let h = format!("{x:032x}");
    [h.get(..8), h.get(8..12), h.get(12..16), h.get(16..20), h.get(20..)].map(Option::unwrap_or_default).join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Retention = Retention { days: 7, video_bytes_max: 1_000 };

    fn entry(topic: Topic, loose: bool, value: &[u8]) -> Entry {
        let headers = [("schema", "x/1")].into_iter().collect();
        Entry { topic, dead: false, loose, key: "pi".to_owned(), headers, time_ms: 5, value: value.to_vec() }
    }

    fn read_all(j: &LocalJournal, from: &Offsets) -> Batch {
        j.reader(from).unwrap().read(10_000, Duration::ZERO).unwrap()
    }

    #[test]
    fn a_reader_makes_no_journal_of_an_empty_or_foreign_file_and_reads_one_as_soon_as_it_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("journal.db");
        let retention = Retention { days: 7, video_bytes_max: 1 << 20 };
        for schema in
            ["", "CREATE TABLE other (x)", "CREATE TABLE meta (k TEXT PRIMARY KEY, v TEXT NOT NULL) WITHOUT ROWID"]
        {
            let foreign = dir.path().join("foreign.db");
            Connection::open(&foreign).unwrap().execute_batch(schema).unwrap();
            let error = LocalJournal::open(&foreign, retention, false).err();
            assert!(matches!(error, Some(JournalError::Away(_))), "{schema}: {error:?}");
            std::fs::remove_file(&foreign).unwrap();
        }
        std::fs::write(&file, "text, and no database at all").unwrap();
        let error = LocalJournal::open(&file, retention, false).err();
        assert!(matches!(error, Some(JournalError::Fatal(_))), "{error:?}");
        std::fs::remove_file(&file).unwrap();
        let journal = LocalJournal::open(&file, retention, true).unwrap();
        assert_eq!(LocalJournal::open(&file, retention, false).unwrap().id(), journal.id());
    }

    #[test]
    fn what_it_gave_its_word_for_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("j.db");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let id = {
            let j = LocalJournal::open(&file, KEEP, true).unwrap();
            let words: Vec<_> =
                (0..300u32).map(|i| j.append(entry(Topic::Metrics, false, &i.to_le_bytes()).into())).collect();
            runtime.block_on(async {
                for w in words {
                    w.await.unwrap();
                }
            });
            j.id()
        };
        let j = LocalJournal::open(&file, KEEP, false).unwrap();
        assert_eq!(j.id(), id);
        let batch = read_all(&j, &Offsets::new());
        assert!(batch.restarted.is_empty());
        let values: Vec<u32> =
            batch.records.iter().map(|r| u32::from_le_bytes(r.entry.value.clone().try_into().unwrap())).collect();
        assert_eq!(values, (0..300).collect::<Vec<_>>());
        assert_eq!(batch.records[0].entry.header("schema"), Some("x/1"));
        let from = Offsets::from([((PLACE.to_owned(), 0), 299)]);
        assert_eq!(read_all(&j, &from).records.len(), 2);
        assert!(read_all(&j, &j.end().unwrap()).records.is_empty());
        let beyond = Offsets::from([((PLACE.to_owned(), 0), 999)]);
        let batch = read_all(&j, &beyond);
        assert_eq!(batch.restarted, [PLACE]);
        assert!(runtime.block_on(j.append(entry(Topic::Status, false, b"").into())).is_err());
    }

    #[test]
    fn a_reader_in_another_connection_sees_new_entries_soon() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("j.db");
        let j = LocalJournal::open(&file, KEEP, true).unwrap();
        let mut reader = j.reader(&Offsets::new()).unwrap();
        assert!(reader.read(10, Duration::ZERO).unwrap().records.is_empty());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(j.append(entry(Topic::Census, false, b"a").into())).unwrap();
        let batch = reader.read(10, Duration::from_secs(2)).unwrap();
        assert_eq!(batch.records.len(), 1);
        assert!(reader.read(10, Duration::from_millis(30)).unwrap().records.is_empty());
    }

    #[test]
    fn the_sweep_keeps_the_newest_pictures_and_the_days_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut c = connect(&dir.path().join("j.db")).unwrap();
        c.execute_batch(SCHEMA).unwrap();
        let put = |c: &mut Connection, e: Entry| commit(c, &[(e.into(), oneshot::channel().0)]).unwrap();
        for _ in 0..100 {
            put(&mut c, entry(Topic::Video, true, b"loose"));
            put(&mut c, entry(Topic::Video, false, &[0; 100]));
        }
        put(&mut c, entry(Topic::Metrics, false, b"m"));
        let count = |c: &Connection, w: &str| {
            c.query_row(&format!("SELECT count(*) FROM entries WHERE {w}"), [], |r| r.get::<_, i64>(0)).unwrap()
        };
        sweep(&mut c, KEEP, crate::clock::now_us()).unwrap();
        assert_eq!(count(&c, "loose = 1"), i64::from(LOOSE_KEPT));
        assert_eq!(count(&c, "topic = 'video' AND loose = 0"), 10);
        assert_eq!(count(&c, "topic = 'metrics'"), 1);
        let e = end(&c).unwrap();
        c.execute("UPDATE entries SET kept_ms = 0", []).unwrap();
        put(&mut c, entry(Topic::Metrics, false, b"n"));
        sweep(&mut c, KEEP, crate::clock::now_us()).unwrap();
        assert_eq!(count(&c, "1"), 1);
        assert_eq!(end(&c).unwrap(), e + 1);
    }

    #[test]
    fn ids_are_uuids() {
        let u = uuid();
        assert_eq!((u.len(), u.as_bytes()[14], u.matches('-').count()), (36, b'4', 4));
    }
}
