//! The store's tables in SQLite, and the migration of a store that an older version made.
//!
//! [`prepare`] brings a file to the present schema in one transaction and takes the same time however many rows it has: an
//! older table of reports is renamed to `reports_v1`, and its rows are moved in small slices later (see `migrate`). The file's
//! `user_version` is [`VERSION`]; a file of a newer version is refused.
//!
//! Reports are kept small: what seldom changes is in `settings`, a stream is a number, and a palette is one blob (see
//! `store/palette.rs`). The view `reports` has one column a value, and the view `palette` one row a cluster.

use crate::metrics::store::palette::SWATCH_BYTES;
use rusqlite::Connection;

/// Version of the schema, in `user_version`.
pub(super) const VERSION: i64 = 5;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS meta (k TEXT PRIMARY KEY, v TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS offsets (place TEXT, part INTEGER, next INTEGER NOT NULL, mark TEXT, PRIMARY KEY (place, part)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS streams (
  sid INTEGER PRIMARY KEY, device TEXT NOT NULL, stream TEXT NOT NULL, ord INTEGER NOT NULL, named INTEGER NOT NULL,
  since INTEGER NOT NULL, next INTEGER NOT NULL, duplicates INTEGER NOT NULL, frames_seen INTEGER NOT NULL,
  frames_dropped INTEGER NOT NULL, started_at_us INTEGER DEFAULT 0, UNIQUE (device, stream));
CREATE TABLE IF NOT EXISTS spans (
  device TEXT, stream TEXT, what TEXT, lo INTEGER, hi INTEGER NOT NULL,
  PRIMARY KEY (device, stream, what, lo)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settings (
  id INTEGER PRIMARY KEY, width INTEGER NOT NULL, height INTEGER NOT NULL, pixels INTEGER NOT NULL, lambda REAL NOT NULL,
  coreset_size INTEGER NOT NULL, method TEXT NOT NULL, refine TEXT NOT NULL, w_open INTEGER NOT NULL, seed TEXT NOT NULL,
  UNIQUE (width, height, pixels, lambda, coreset_size, method, refine, w_open, seed));
CREATE TABLE IF NOT EXISTS report_rows (
  id INTEGER PRIMARY KEY, sid INTEGER NOT NULL, seq INTEGER NOT NULL, frame INTEGER NOT NULL, stored_at_us INTEGER NOT NULL,
  captured_at_us INTEGER NOT NULL, settings INTEGER NOT NULL, dropped INTEGER NOT NULL, warm INTEGER NOT NULL,
  coreset_points INTEGER NOT NULL, scatter REAL, iterations INTEGER NOT NULL, converged INTEGER NOT NULL,
  sweeps INTEGER NOT NULL, saturated INTEGER NOT NULL, beyond_px INTEGER, missed INTEGER, clusters INTEGER NOT NULL,
  sse REAL NOT NULL, rms REAL NOT NULL, max_distance REAL NOT NULL, silhouette_estimate REAL,
  micros_coreset INTEGER NOT NULL, micros_cluster INTEGER NOT NULL, micros_label INTEGER NOT NULL,
  micros_total INTEGER NOT NULL, palette BLOB NOT NULL, births TEXT, deaths TEXT, regions TEXT, named TEXT,
  colorimetry TEXT);
CREATE UNIQUE INDEX IF NOT EXISTS report_rows_by_seq ON report_rows (sid, seq);
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
CREATE TABLE IF NOT EXISTS events (
  id INTEGER PRIMARY KEY, device TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL, event TEXT NOT NULL,
  change TEXT NOT NULL, value REAL, frame INTEGER NOT NULL, captured_at_us INTEGER NOT NULL, pattern TEXT, rate_hz REAL,
  UNIQUE (device, stream, seq));
CREATE TABLE IF NOT EXISTS statuses (device TEXT PRIMARY KEY, state TEXT NOT NULL, at_ms INTEGER NOT NULL, json TEXT NOT NULL) WITHOUT ROWID;
";

/// A table of roll-ups; `unit` counts minutes or hours since the Unix epoch.
const ROLL_UPS: &str = "
CREATE TABLE IF NOT EXISTS {table} (
  device TEXT, unit INTEGER, reports INTEGER NOT NULL, clusters_sum INTEGER NOT NULL, clusters_min INTEGER NOT NULL,
  clusters_max INTEGER NOT NULL, rms_sum REAL NOT NULL, rms_max REAL NOT NULL, missed_sum INTEGER NOT NULL,
  beyond_px_sum INTEGER NOT NULL, micros_sum INTEGER NOT NULL, micros_max INTEGER NOT NULL, silhouette_sum REAL NOT NULL,
  silhouettes INTEGER NOT NULL, PRIMARY KEY (device, unit)) WITHOUT ROWID;
";

/// Columns of the view `reports`, from `report_rows`, `streams` and `settings`.
const REPORTS: &str = "
SELECT r.id, s.device, s.stream, r.seq, r.frame, r.stored_at_us, r.captured_at_us,
  strftime('%Y-%m-%dT%H:%M:%S', r.captured_at_us / 1000000, 'unixepoch')
    || printf('.%06dZ', r.captured_at_us % 1000000) AS captured_at,
  r.dropped, c.width, c.height, c.pixels, c.lambda, c.coreset_size, c.method, c.refine, c.w_open, c.seed, r.warm,
  r.coreset_points, r.scatter, r.iterations, r.converged, r.sweeps, r.saturated, r.beyond_px, r.missed, r.clusters, r.sse,
  r.rms, r.max_distance, r.silhouette_estimate, r.micros_coreset, r.micros_cluster, r.micros_label, r.micros_total,
  coalesce(json_extract(r.colorimetry, '$.space'), 'rgb') AS space, json_extract(r.colorimetry, '$.de00_mean') AS de00_mean,
  json_extract(r.colorimetry, '$.reference_de00') AS reference_de00
FROM report_rows r JOIN streams s ON s.sid = r.sid JOIN settings c ON c.id = r.settings";

/// The same columns from the rows that are not moved yet.
const REPORTS_V1: &str = "
SELECT id, device, stream, seq, frame, stored_at_us, captured_at_us, captured_at, dropped, width, height, pixels, lambda,
  coreset_size, method, refine, w_open, seed, warm, coreset_points, scatter, iterations, converged, sweeps, saturated,
  beyond_px, missed, clusters, sse, rms, max_distance, silhouette_estimate, micros_coreset, micros_cluster, micros_label,
  micros_total, 'rgb', NULL, NULL
FROM reports_v1";

/// Columns of version 1's `reports` that its first stores did not have, with their definitions.
const ADDED_TO_V1: [(&str, &str); 8] = [
    ("refine", "TEXT NOT NULL DEFAULT 'none'"),
    ("births", "TEXT NOT NULL DEFAULT '[]'"),
    ("deaths", "TEXT NOT NULL DEFAULT '[]'"),
    ("sweeps", "INTEGER NOT NULL DEFAULT 0"),
    ("beyond_px", "INTEGER"),
    ("missed", "INTEGER"),
    ("regions", "TEXT NOT NULL DEFAULT '{}'"),
    ("named", "TEXT NOT NULL DEFAULT '{}'"),
];

/// Brings the file to the present schema.
///
/// # Errors
/// SQLite's, or that the file is of a newer version.
pub(super) fn prepare(db: &mut Connection) -> rusqlite::Result<()> {
    let t = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: i64 = t.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    if version > VERSION {
        let text = format!("its schema is version {version}; this hueflow-metrics knows versions up to {VERSION}");
        return Err(rusqlite::Error::ToSqlConversionFailure(text.into()));
    }
    if version < VERSION {
        if is_table(&t, "reports")? {
            rename_v1(&t)?;
        }
        t.execute_batch(TABLES)?;
        for table in ["minutes", "hours"] {
            t.execute_batch(&ROLL_UPS.replace("{table}", table))?;
        }
        if !has_column(&t, "offsets", "mark")? {
            t.execute_batch("ALTER TABLE offsets ADD COLUMN mark TEXT")?;
        }
        if !has_column(&t, "events", "pattern")? {
            t.execute_batch("ALTER TABLE events ADD COLUMN pattern TEXT; ALTER TABLE events ADD COLUMN rate_hz REAL")?;
        }
        if !has_column(&t, "report_rows", "colorimetry")? {
            t.execute_batch("ALTER TABLE report_rows ADD COLUMN colorimetry TEXT")?;
        }
        if !has_column(&t, "streams", "started_at_us")? {
            t.execute_batch("ALTER TABLE streams ADD COLUMN started_at_us INTEGER DEFAULT 0")?;
        }
        if is_table(&t, "streams_v1")? {
            copy_streams(&t)?;
        }
        make_views(&t)?;
        t.execute_batch(&format!("PRAGMA user_version = {VERSION}"))?;
    }
    t.commit()
}

/// Whether there is a table of that name.
pub(super) fn is_table(db: &Connection, name: &str) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")?.exists([name])
}

fn has_column(db: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2")?.exists([table, column])
}

/// Makes the views anew. `reports` includes the rows of version 1 as long as there are any.
pub(super) fn make_views(db: &Connection) -> rusqlite::Result<()> {
    let old = if is_table(db, "reports_v1")? { format!("\nUNION ALL{REPORTS_V1}") } else { String::new() };
    let number = |first: usize, bytes: usize| {
        let digit = |i: usize| format!("(instr('0123456789ABCDEF', substr(swatch, {}, 1)) - 1)", 2 * first + i + 1);
        (0..2 * bytes).map(digit).reduce(|sum, digit| format!("({sum} * 16 + {digit})")).unwrap_or_default()
    };
    let [id, red, green, blue, pixels] = [(0, 4), (4, 2), (6, 2), (8, 2), (10, 4)].map(|(at, n)| number(at, n));
    db.execute_batch(&format!(
        "DROP VIEW IF EXISTS palette; DROP VIEW IF EXISTS reports;
         CREATE VIEW reports AS {REPORTS}{old};
         CREATE VIEW palette AS
         WITH RECURSIVE labels (label) AS (SELECT 0 UNION ALL SELECT label + 1 FROM labels WHERE label < 255),
         swatches AS (
           SELECT s.device, s.stream, r.seq, r.frame, r.captured_at_us, l.label,
             hex(substr(r.palette, l.label * {SWATCH_BYTES} + 1, {SWATCH_BYTES})) AS swatch
           FROM report_rows r JOIN streams s ON s.sid = r.sid JOIN labels l ON l.label < length(r.palette) / {SWATCH_BYTES})
         SELECT device, stream, seq, frame, captured_at_us, label, {id} AS id, {red} / 64.0 AS red, {green} / 64.0 AS green,
           {blue} / 64.0 AS blue, {pixels} AS pixels FROM swatches;"
    ))
}

/// Moves the tables of version 1 out of the way, with every column that version 1 had in the end.
fn rename_v1(db: &Connection) -> rusqlite::Result<()> {
    for (column, definition) in ADDED_TO_V1 {
        if !has_column(db, "reports", column)? {
            db.execute_batch(&format!("ALTER TABLE reports ADD COLUMN {column} {definition}"))?;
        }
    }
    db.execute_batch("DROP INDEX IF EXISTS reports_by_device; ALTER TABLE reports RENAME TO reports_v1")?;
    if is_table(db, "streams")? {
        db.execute_batch("ALTER TABLE streams RENAME TO streams_v1")?;
    }
    Ok(())
}

/// Copies the accounts of version 1, and which of them are of a boot that has sent a window.
fn copy_streams(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(
        "INSERT INTO streams (device, stream, ord, named, since, next, duplicates, frames_seen, frames_dropped)
           SELECT device, stream, ord, 0, since, next, duplicates, frames_seen, frames_dropped FROM streams_v1;
         DROP TABLE streams_v1;",
    )?;
    let mut boots = db.prepare("SELECT device, boot FROM windows")?;
    let mut boots = boots.query([])?;
    while let Some(r) = boots.next()? {
        let (device, boot): (String, String) = (r.get(0)?, r.get(1)?);
        let losses = boot.parse::<u64>().map_or_else(|_| boot.clone(), |b| (b | 1).to_string());
        db.prepare_cached("UPDATE streams SET named = 1 WHERE device = ?1 AND stream IN (?2, ?3)")?
            .execute([device, boot, losses])?;
    }
    Ok(())
}
