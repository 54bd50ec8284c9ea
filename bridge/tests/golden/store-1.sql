-- The schema of a store of version 1 (user_version 0), and what is in one.
CREATE TABLE meta (k TEXT PRIMARY KEY, v TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE offsets (place TEXT, part INTEGER, next INTEGER NOT NULL, PRIMARY KEY (place, part)) WITHOUT ROWID;
CREATE TABLE streams (
  device TEXT, stream TEXT, ord INTEGER NOT NULL, since INTEGER NOT NULL, next INTEGER NOT NULL,
  duplicates INTEGER NOT NULL, frames_seen INTEGER NOT NULL, frames_dropped INTEGER NOT NULL,
  PRIMARY KEY (device, stream)) WITHOUT ROWID;
CREATE TABLE spans (
  device TEXT, stream TEXT, what TEXT, lo INTEGER, hi INTEGER NOT NULL,
  PRIMARY KEY (device, stream, what, lo)) WITHOUT ROWID;
CREATE TABLE reports (
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
CREATE INDEX reports_by_device ON reports (device, id);
CREATE TABLE census (
  id INTEGER PRIMARY KEY, device TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL, frame INTEGER NOT NULL,
  part INTEGER NOT NULL, parts INTEGER NOT NULL, captured_at_us INTEGER NOT NULL, version INTEGER NOT NULL,
  payload BLOB NOT NULL, UNIQUE (device, stream, seq));
CREATE INDEX census_by_frame ON census (device, stream, frame);
CREATE TABLE windows (
  device TEXT, boot TEXT, n INTEGER NOT NULL, journal TEXT, heard_at_us INTEGER NOT NULL, streams TEXT NOT NULL,
  PRIMARY KEY (device, boot)) WITHOUT ROWID;
CREATE TABLE losses (
  device TEXT, stream TEXT, lo INTEGER, hi INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (device, stream, lo, hi)) WITHOUT ROWID;
CREATE TABLE dead (
  journal TEXT, place TEXT, part INTEGER, pos INTEGER, device TEXT NOT NULL, stream TEXT, seq INTEGER, topic TEXT NOT NULL,
  reason TEXT NOT NULL, bytes INTEGER, sha256 TEXT, at_ms INTEGER NOT NULL, PRIMARY KEY (journal, place, part, pos)) WITHOUT ROWID;
CREATE TABLE statuses (device TEXT PRIMARY KEY, state TEXT NOT NULL, at_ms INTEGER NOT NULL, json TEXT NOT NULL) WITHOUT ROWID;
-- Two boots of device pi: 8 with 2,000 reports, 20 with 1,000 that were stored in between (from the 1,500th of boot 8 on).
INSERT INTO meta VALUES ('owner', 'x'), ('journal', 'j');
INSERT INTO offsets VALUES ('local', 0, 3001);
INSERT INTO streams VALUES ('pi', '8', 0, 0, 2000, 3, 2000, 4), ('pi', '9', 1, 0, 0, 0, 0, 0), ('pi', '20', 2, 0, 1001, 0, 1000, 0);
INSERT INTO spans VALUES ('pi', '8', 'stored', 0, 2000), ('pi', '20', 'stored', 0, 1000);
INSERT INTO windows VALUES ('pi', '8', 5, 'j', 1000000, '[]'), ('pi', '20', 1, 'j', 2000000, '[]');
INSERT INTO statuses VALUES ('pi', 'online', 1000, '{"state":"online"}');
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 2999),
rows AS (
  SELECT i, CASE WHEN i < 1500 THEN '8' WHEN i % 3 = 0 THEN '8' ELSE '20' END AS stream,
    CASE WHEN i < 1500 THEN i WHEN i % 3 = 0 THEN 1500 + (i - 1500) / 3 ELSE (i - 1500) - (i - 1500) / 3 - 1 END AS seq
  FROM n)
INSERT INTO reports (device, stream, seq, frame, stored_at_us, captured_at_us, captured_at, dropped, width, height, pixels, lambda,
  coreset_size, method, w_open, seed, warm, coreset_points, scatter, iterations, converged, saturated, clusters, sse, rms,
  max_distance, silhouette_estimate, micros_coreset, micros_cluster, micros_label, micros_total, palette)
SELECT 'pi', stream, seq, seq, 1790000000000000 + i, 1790000000000000 + seq * 33333, '2026-09-21T14:13:20.000000Z', 0, 12, 8, 96,
  50.0, 1000, 'octree', 4, '7', 1, 90, 1.0, 5, 1, 0, 2, 384.0, 2.0, 5.0, 0.5, 1, 2, 3, 6,
  '{"id":[7,8],"rgb_q6":[[16320,0,33],[64,128,' || (seq % 1000) || ']],"pixels":[60,36]}'
FROM rows;
