//! The store's tables, and how a file that an older version made gets the columns that it does not have.
//!
//! Opening a store must not take longer the more rows it has, so old rows are never rewritten: new columns have a default,
//! and `scatter` loses its NOT NULL in the table's definition alone. What old rows say differently is translated by whoever
//! reads them (`ReportJson::as_written_now`).

use rusqlite::Connection;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS meta (k TEXT PRIMARY KEY, v TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS offsets (place TEXT, part INTEGER, next INTEGER NOT NULL, PRIMARY KEY (place, part)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS streams (
  device TEXT, stream TEXT, ord INTEGER NOT NULL, since INTEGER NOT NULL, next INTEGER NOT NULL,
  duplicates INTEGER NOT NULL, frames_seen INTEGER NOT NULL, frames_dropped INTEGER NOT NULL,
  PRIMARY KEY (device, stream)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spans (
  device TEXT, stream TEXT, what TEXT, lo INTEGER, hi INTEGER NOT NULL,
  PRIMARY KEY (device, stream, what, lo)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reports (
  id INTEGER PRIMARY KEY, device TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL, frame INTEGER NOT NULL,
  stored_at_us INTEGER NOT NULL, captured_at_us INTEGER NOT NULL, captured_at TEXT NOT NULL, dropped INTEGER NOT NULL, width INTEGER NOT NULL,
  height INTEGER NOT NULL, pixels INTEGER NOT NULL, lambda REAL NOT NULL, coreset_size INTEGER NOT NULL,
  method TEXT NOT NULL, w_open INTEGER NOT NULL, seed TEXT NOT NULL, warm INTEGER NOT NULL,
  coreset_points INTEGER NOT NULL, scatter REAL, iterations INTEGER NOT NULL, converged INTEGER NOT NULL,
  saturated INTEGER NOT NULL, clusters INTEGER NOT NULL, sse REAL NOT NULL, rms REAL NOT NULL, max_distance REAL NOT NULL,
  silhouette_estimate REAL, micros_coreset INTEGER NOT NULL, micros_cluster INTEGER NOT NULL,
  micros_label INTEGER NOT NULL, micros_total INTEGER NOT NULL, palette TEXT NOT NULL,
  refine TEXT NOT NULL DEFAULT 'none', births TEXT NOT NULL DEFAULT '[]', deaths TEXT NOT NULL DEFAULT '[]',
  sweeps INTEGER NOT NULL DEFAULT 0, beyond_px INTEGER, missed INTEGER, regions TEXT NOT NULL DEFAULT '{}',
  named TEXT NOT NULL DEFAULT '{}',
  UNIQUE (device, stream, seq));
CREATE INDEX IF NOT EXISTS reports_by_device ON reports (device, id);
CREATE TABLE IF NOT EXISTS census (
  id INTEGER PRIMARY KEY, device TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL, frame INTEGER NOT NULL,
  part INTEGER NOT NULL, parts INTEGER NOT NULL, captured_at_us INTEGER NOT NULL, version INTEGER NOT NULL,
  payload BLOB NOT NULL, UNIQUE (device, stream, seq));
CREATE INDEX IF NOT EXISTS census_by_frame ON census (device, stream, frame);
CREATE TABLE IF NOT EXISTS windows (
  device TEXT, boot TEXT, n INTEGER NOT NULL, journal TEXT, heard_at_us INTEGER NOT NULL, streams TEXT NOT NULL,
  PRIMARY KEY (device, boot)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS losses (
  device TEXT, stream TEXT, lo INTEGER, hi INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (device, stream, lo, hi)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead (
  journal TEXT, place TEXT, part INTEGER, pos INTEGER, device TEXT NOT NULL, stream TEXT, seq INTEGER, topic TEXT NOT NULL,
  reason TEXT NOT NULL, bytes INTEGER, sha256 TEXT, at_ms INTEGER NOT NULL, PRIMARY KEY (journal, place, part, pos)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS statuses (device TEXT PRIMARY KEY, state TEXT NOT NULL, at_ms INTEGER NOT NULL, json TEXT NOT NULL) WITHOUT ROWID;
";

/// Columns of `reports` that older stores do not have, with their definitions.
const ADDED: [(&str, &str); 8] = [
    ("refine", "TEXT NOT NULL DEFAULT 'none'"),
    ("births", "TEXT NOT NULL DEFAULT '[]'"),
    ("deaths", "TEXT NOT NULL DEFAULT '[]'"),
    ("sweeps", "INTEGER NOT NULL DEFAULT 0"),
    ("beyond_px", "INTEGER"),
    ("missed", "INTEGER"),
    ("regions", "TEXT NOT NULL DEFAULT '{}'"),
    ("named", "TEXT NOT NULL DEFAULT '{}'"),
];

/// Makes the tables that are not there, and adds the columns that are not.
pub(super) fn prepare(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(SCHEMA)?;
    for (column, definition) in ADDED {
        if column_of_reports(db, column)?.is_none() {
            db.execute_batch(&format!("ALTER TABLE reports ADD COLUMN {column} {definition}"))?;
        }
    }
    if column_of_reports(db, "scatter")?.is_some_and(|column| column.is_not_null) {
        allow_null_scatter(db)?;
    }
    Ok(())
}

/// What SQLite knows of a column.
struct Column {
    is_not_null: bool,
}

fn column_of_reports(db: &Connection, name: &str) -> rusqlite::Result<Option<Column>> {
    let mut found = db.prepare("SELECT \"notnull\" FROM pragma_table_info('reports') WHERE name = ?1")?;
    let mut rows = found.query_map([name], |r| Ok(Column { is_not_null: r.get(0)? }))?;
    rows.next().transpose()
}

/// Removes NOT NULL from `scatter` as SQLite's documentation of ALTER TABLE describes it: NOT NULL does not affect what is on
/// the disk, so the definition can be edited, and the higher schema version makes every connection read it again.
fn allow_null_scatter(db: &Connection) -> rusqlite::Result<()> {
    let version: i64 = db.query_row("PRAGMA schema_version", [], |r| r.get(0))?;
    let edited = db.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(sql, 'scatter REAL NOT NULL', 'scatter REAL')
           WHERE type = 'table' AND name = 'reports';
         PRAGMA schema_version = {};
         PRAGMA writable_schema = OFF;
         COMMIT;",
        version + 1
    ));
    if edited.is_err() && !db.is_autocommit() {
        db.execute_batch("ROLLBACK; PRAGMA writable_schema = OFF")?;
    }
    edited
}
