//! How SQLite files are opened: shared by processes, and durable at each commit.
//!
//! [`connect`] gives a connection in WAL mode with `synchronous=FULL` and makes the file if it is missing. It does not fail
//! because another process opens the same file at the same moment.

use rusqlite::{Connection, ErrorCode};
use std::path::Path;
use std::time::Duration;

/// How long a connection waits for another one's transaction.
const BUSY: Duration = Duration::from_secs(30);
/// Changing to WAL does not wait by itself: so many times it is tried again.
const ATTEMPTS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(25);

/// Opens the file.
///
/// # Errors
/// SQLite's.
pub fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(file)?;
    db.busy_timeout(BUSY)?;
    set_modes(db)
}

/// The same for a file that can give free pages back (`PRAGMA incremental_vacuum`), if it is made now.
///
/// # Errors
/// SQLite's.
pub fn connect_shrinkable(file: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(file)?;
    db.busy_timeout(BUSY)?;
    // This has to come before the first page is written; on a file that exists it changes nothing.
    db.execute_batch("PRAGMA auto_vacuum = INCREMENTAL")?;
    set_modes(db)
}

fn set_modes(db: Connection) -> rusqlite::Result<Connection> {
    let mut attempt = 0;
    loop {
        match db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())) {
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && attempt < ATTEMPTS => {
                attempt += 1;
                std::thread::sleep(PAUSE);
            }
            other => break other?,
        }
    }
    db.execute_batch("PRAGMA synchronous = FULL")?;
    Ok(db)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_open_the_same_new_file_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.db");
        std::thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| {
                    let db = connect(&file).unwrap();
                    db.execute_batch("CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES (1);").unwrap();
                });
            }
        });
        let n: i64 = connect(&file).unwrap().query_row("SELECT count(*) FROM t", [], |r| r.get(0)).unwrap();
        assert_eq!(n, 8);
    }
}
