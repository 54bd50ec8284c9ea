//! The store's tables in PostgreSQL, as a numbered list of migrations.
//!
//! [`prepare`] brings a database to the present schema in one transaction; several instances may start at once. The number of
//! migrations that were applied is in `meta`; a database of a newer version is refused.
//!
//! The tables hold the same rows as those of SQLite. Reports lie in chunks: tables `report_rows_N` that inherit from
//! `report_rows`, so that old reports go by dropping a table. Columns are ordered by size, and lists that are seldom there are
//! one text: 20 reports of 17 colours fit into a page. Counts of 32 bits are `INT` with the same bits.

use crate::metrics::store::StoreError;
use postgres::{Client, Transaction};

/// Schema changes in their order. What is in a release is never changed, only added to.
const MIGRATIONS: [&str; 5] = [TABLES, EVENTS, PATTERNS, SPACES, STARTS];
/// The key of the lock that migrations and maintenance take, one for each schema of a database.
pub(super) const LOCK: &str = "hashtextextended('hueflow ' || current_schema(), 0)";

const TABLES: &str = "
CREATE SEQUENCE stream_order MINVALUE 0 START 0;
CREATE TABLE claims (
  cid INT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, journal TEXT NOT NULL, place TEXT NOT NULL, part INT NOT NULL,
  epoch BIGINT NOT NULL, next BIGINT, mark TEXT, stamp BIGINT NOT NULL, UNIQUE (journal, place, part));
CREATE TABLE streams (
  sid INT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, device TEXT NOT NULL, stream TEXT NOT NULL, ord BIGINT NOT NULL,
  named BOOLEAN NOT NULL, UNIQUE (device, stream));
CREATE TABLE accounts (
  cid INT NOT NULL, sid INT NOT NULL, since BIGINT NOT NULL, next BIGINT NOT NULL, duplicates BIGINT NOT NULL,
  frames_seen BIGINT NOT NULL, frames_dropped BIGINT NOT NULL, PRIMARY KEY (cid, sid)) WITH (fillfactor = 70);
CREATE TABLE spans (
  cid INT, sid INT, what TEXT, lo BIGINT, hi BIGINT NOT NULL, PRIMARY KEY (cid, sid, what, lo)) WITH (fillfactor = 70);
CREATE TABLE settings (
  id INT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, width INT NOT NULL, height INT NOT NULL, pixels INT NOT NULL,
  lambda DOUBLE PRECISION NOT NULL, coreset_size INT NOT NULL, method TEXT NOT NULL, refine TEXT NOT NULL, w_open INT NOT NULL,
  seed TEXT NOT NULL, UNIQUE (width, height, pixels, lambda, coreset_size, method, refine, w_open, seed));
CREATE TABLE chunks (chunk INT PRIMARY KEY, started_at_us BIGINT NOT NULL);
CREATE TABLE report_rows (
  seq BIGINT NOT NULL, frame BIGINT NOT NULL, stored_at_us BIGINT NOT NULL, captured_at_us BIGINT NOT NULL,
  dropped BIGINT NOT NULL, scatter DOUBLE PRECISION, sse DOUBLE PRECISION NOT NULL, rms DOUBLE PRECISION NOT NULL,
  max_distance DOUBLE PRECISION NOT NULL, silhouette_estimate DOUBLE PRECISION, sid INT NOT NULL, settings INT NOT NULL,
  coreset_points INT NOT NULL, iterations INT NOT NULL, sweeps INT NOT NULL, beyond_px INT, missed INT,
  clusters INT NOT NULL, micros_coreset INT NOT NULL, micros_cluster INT NOT NULL, micros_label INT NOT NULL,
  micros_total INT NOT NULL, warm BOOLEAN NOT NULL, converged BOOLEAN NOT NULL, saturated BOOLEAN NOT NULL,
  lists TEXT NOT NULL, palette BYTEA NOT NULL);
CREATE TABLE census (
  device TEXT, stream TEXT, seq BIGINT, frame BIGINT NOT NULL, part INT NOT NULL, parts INT NOT NULL,
  captured_at_us BIGINT NOT NULL, version INT NOT NULL, payload BYTEA NOT NULL, PRIMARY KEY (device, stream, seq));
CREATE INDEX census_by_frame ON census (device, stream, frame);
CREATE TABLE windows (
  device TEXT, boot TEXT, n BIGINT NOT NULL, journal TEXT, heard_at_us BIGINT NOT NULL, streams TEXT NOT NULL,
  PRIMARY KEY (device, boot));
CREATE TABLE losses (
  device TEXT, stream TEXT, lo BIGINT, hi BIGINT, reason TEXT NOT NULL, PRIMARY KEY (device, stream, lo, hi));
CREATE TABLE dead (
  journal TEXT, place TEXT, part INT, pos BIGINT, device TEXT NOT NULL, stream TEXT, seq BIGINT, topic TEXT NOT NULL,
  reason TEXT NOT NULL, bytes BIGINT, sha256 TEXT, at_ms BIGINT NOT NULL, PRIMARY KEY (journal, place, part, pos));
CREATE TABLE statuses (device TEXT PRIMARY KEY, state TEXT NOT NULL, at_ms BIGINT NOT NULL, json TEXT NOT NULL);
CREATE TABLE minutes (
  device TEXT, unit BIGINT, reports BIGINT NOT NULL, clusters_sum BIGINT NOT NULL, clusters_min INT NOT NULL,
  clusters_max INT NOT NULL, rms_sum DOUBLE PRECISION NOT NULL, rms_max DOUBLE PRECISION NOT NULL,
  missed_sum BIGINT NOT NULL, beyond_px_sum BIGINT NOT NULL, micros_sum BIGINT NOT NULL, micros_max INT NOT NULL,
  silhouette_sum DOUBLE PRECISION NOT NULL, silhouettes BIGINT NOT NULL, PRIMARY KEY (device, unit));
CREATE TABLE hours (LIKE minutes INCLUDING ALL);
CREATE VIEW reports AS
SELECT s.device, s.stream, r.seq, r.frame, r.stored_at_us, r.captured_at_us,
  to_timestamp(r.captured_at_us / 1000000.0) AS captured_at, r.dropped, c.width, c.height, c.pixels, c.lambda, c.coreset_size,
  c.method, c.refine, c.w_open, c.seed, r.warm, r.coreset_points, r.scatter, r.iterations, r.converged, r.sweeps, r.saturated,
  r.beyond_px, r.missed, r.clusters, r.sse, r.rms, r.max_distance, r.silhouette_estimate, r.micros_coreset, r.micros_cluster,
  r.micros_label, r.micros_total
FROM report_rows r JOIN streams s ON s.sid = r.sid JOIN settings c ON c.id = r.settings;
CREATE VIEW palette AS
SELECT s.device, s.stream, r.seq, r.frame, r.captured_at_us, l AS label,
  (get_byte(p, 0)::BIGINT << 24) + (get_byte(p, 1) << 16) + (get_byte(p, 2) << 8) + get_byte(p, 3) AS id,
  ((get_byte(p, 4) << 8) + get_byte(p, 5)) / 64.0 AS red, ((get_byte(p, 6) << 8) + get_byte(p, 7)) / 64.0 AS green,
  ((get_byte(p, 8) << 8) + get_byte(p, 9)) / 64.0 AS blue,
  (get_byte(p, 10)::BIGINT << 24) + (get_byte(p, 11) << 16) + (get_byte(p, 12) << 8) + get_byte(p, 13) AS pixels
FROM report_rows r JOIN streams s ON s.sid = r.sid, generate_series(0, length(r.palette) / 14 - 1) AS l,
  LATERAL (SELECT substring(r.palette FROM l * 14 + 1 FOR 14) AS p) AS swatch;
";

const EVENTS: &str = "
CREATE TABLE events (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, device TEXT NOT NULL, stream TEXT NOT NULL, seq BIGINT NOT NULL,
  event TEXT NOT NULL, change TEXT NOT NULL, value DOUBLE PRECISION, frame BIGINT NOT NULL, captured_at_us BIGINT NOT NULL,
  UNIQUE (device, stream, seq));
";

const PATTERNS: &str = "ALTER TABLE events ADD COLUMN pattern TEXT, ADD COLUMN rate_hz DOUBLE PRECISION;";

/// The view has a report's space and colour differences, which are among its `lists` where they are not those of RGB.
const SPACES: &str = "
CREATE OR REPLACE VIEW reports AS
SELECT s.device, s.stream, r.seq, r.frame, r.stored_at_us, r.captured_at_us,
  to_timestamp(r.captured_at_us / 1000000.0) AS captured_at, r.dropped, c.width, c.height, c.pixels, c.lambda, c.coreset_size,
  c.method, c.refine, c.w_open, c.seed, r.warm, r.coreset_points, r.scatter, r.iterations, r.converged, r.sweeps, r.saturated,
  r.beyond_px, r.missed, r.clusters, r.sse, r.rms, r.max_distance, r.silhouette_estimate, r.micros_coreset, r.micros_cluster,
  r.micros_label, r.micros_total, coalesce(l.colorimetry ->> 'space', 'rgb') AS space,
  (l.colorimetry ->> 'de00_mean')::DOUBLE PRECISION AS de00_mean,
  (l.colorimetry ->> 'reference_de00')::DOUBLE PRECISION AS reference_de00
FROM report_rows r JOIN streams s ON s.sid = r.sid JOIN settings c ON c.id = r.settings,
  LATERAL (SELECT nullif(r.lists, '')::JSON -> 'colorimetry' AS colorimetry) AS l;
";

/// 0 is the time of what was counted before.
const STARTS: &str = "ALTER TABLE accounts ADD COLUMN started_at_us BIGINT DEFAULT 0;";

/// Brings the database to the present schema.
///
/// # Errors
/// [`StoreError`]: PostgreSQL's, or that the database is of a newer version.
pub(super) fn prepare(client: &mut Client) -> Result<(), StoreError> {
    let mut t = client.transaction()?;
    t.batch_execute(&format!("SELECT pg_advisory_xact_lock({LOCK})"))?;
    t.batch_execute("CREATE TABLE IF NOT EXISTS meta (k TEXT PRIMARY KEY, v TEXT NOT NULL)")?;
    let version = version(&mut t)?;
    if version > MIGRATIONS.len() {
        return Err(newer(version));
    }
    for migration in MIGRATIONS.iter().skip(version) {
        t.batch_execute(migration)?;
    }
    if version == 0 {
        let id = format!("{:032x}", rand::random::<u128>());
        t.execute("INSERT INTO meta VALUES ('id', $1)", &[&id])?;
        make_chunk(&mut t, 0, crate::clock::now_us())?;
    }
    let set = "INSERT INTO meta VALUES ('schema', $1) ON CONFLICT (k) DO UPDATE SET v = excluded.v";
    t.execute(set, &[&MIGRATIONS.len().to_string()])?;
    Ok(t.commit()?)
}

/// Checks that a database that is only read is a store of this version.
///
/// # Errors
/// [`StoreError`].
pub(super) fn check(client: &mut Client) -> Result<(), StoreError> {
    let found = client.query_opt("SELECT to_regclass('meta') IS NOT NULL", &[])?;
    if !found.is_some_and(|r| r.get(0)) {
        return Err(StoreError::Postgres(
            "there is no store in this database; `hueflow-metrics run` makes one".to_owned(),
        ));
    }
    let mut t = client.transaction()?;
    match version(&mut t)? {
        version if version == MIGRATIONS.len() => Ok(()),
        version if version > MIGRATIONS.len() => Err(newer(version)),
        _ => Err(StoreError::Postgres("its schema is an older one; `hueflow-metrics run` updates it".to_owned())),
    }
}

fn newer(version: usize) -> StoreError {
    let known = MIGRATIONS.len();
    StoreError::Postgres(format!(
        "its schema is version {version}; this hueflow-metrics knows versions up to {known}: update hueflow-metrics"
    ))
}

fn version(t: &mut Transaction<'_>) -> Result<usize, StoreError> {
    let row = t.query_opt("SELECT v FROM meta WHERE k = 'schema'", &[])?;
    Ok(row.and_then(|r| r.get::<_, String>(0).parse().ok()).unwrap_or(0))
}

/// Makes a chunk of reports: all reports that are stored from now on go there.
pub(super) fn make_chunk(t: &mut Transaction<'_>, chunk: i32, now_us: u64) -> Result<(), StoreError> {
    t.batch_execute(&format!(
        "CREATE TABLE report_rows_{chunk} () INHERITS (report_rows); \
         CREATE INDEX report_rows_{chunk}_by_seq ON report_rows_{chunk} (sid, seq);"
    ))?;
    t.execute("INSERT INTO chunks VALUES ($1, $2)", &[&chunk, &super::int(now_us)])?;
    Ok(())
}
