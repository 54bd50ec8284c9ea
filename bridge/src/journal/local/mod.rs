//! The local journal: one SQLite file, as durable as `synchronous=FULL` in WAL mode, readable by anyone with `sqlite3`.
//!
//! Entries come over a bounded queue; one thread writes them in group commits and confirms each after its commit. A disk that
//! refuses is tried again until it takes them. Other processes read the file at the same time.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

use super::{Entry, Journal, JournalConfig, JournalError, Offsets, QUEUE_ENTRIES_MAX, Reader};
use crate::sqlite::connect;
use firmware::custody::JournalId;
use futures::FutureExt;
use futures::future::BoxFuture;
use reader::LocalReader;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

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
                .spawn(move || writer::write(connection, rx, retention, &healthy))
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
    transaction.execute("INSERT OR IGNORE INTO meta VALUES ('id', ?1)", [new_id()])?;
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
        let (done, confirmed) = oneshot::channel();
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
            confirmed.await.map_err(|_| gone())
        }
        .boxed()
    }

    fn reachable(&self, _: Duration) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    fn reader(&self, from: &Offsets) -> Result<Box<dyn Reader>, JournalError> {
        let connection = connect(&self.file).map_err(away)?;
        let next = from.get(&(PLACE.to_owned(), 0)).copied().unwrap_or(1);
        Ok(Box::new(LocalReader::at(connection, next)))
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
        Ok(Box::new(LocalReader::at(connection, 1).into_member(lock)))
    }

    fn end(&self) -> Result<Offsets, JournalError> {
        let connection = connect(&self.file).map_err(away)?;
        Ok(Offsets::from([((PLACE.to_owned(), 0), end(&connection).map_err(away)?)]))
    }
}

fn end(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'entries'";
    Ok(connection.query_row(sql, [], |r| r.get::<_, i64>(0)).optional()?.unwrap_or(0) + 1)
}

fn away(e: impl std::fmt::Display) -> JournalError {
    JournalError::Away(e.to_string())
}

/// A random UUID (version 4).
fn new_id() -> String {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string()
}
