//! The columns of each table and the values in them, once for both.
//!
//! A table is a list of `always|maybe "column" Kind = value`. [`table!`] makes of it the constant with the columns and the
//! function that writes a row, so a row always has the values of its columns, in their order.

use super::row::Value::{Bool, Null, Real, Text, Time};
use super::row::{Column, Kind, RowWriter, Value, always, int, maybe, or_null};
use crate::json::{EventJson, ReportJson};
use crate::metrics::ingest::fold::DeadLetter;
use crate::metrics::store::ledger::Line;
use crate::metrics::store::reader::LossRow;
use crate::metrics::store::rollup::RollUp;
use std::io;

macro_rules! table {
    ($columns:ident, $write:ident($($row:ident: $Row:ty),*) {
        $($make:ident $name:literal $kind:ident = $value:expr,)*
    }) => {
        pub(super) const $columns: &[Column] = &[$($make($name, Kind::$kind)),*];

        pub(super) fn $write($($row: $Row,)* out: &mut dyn RowWriter) -> io::Result<()> {
            out.write(&[$($value),*])
        }
    };
}

/// A table whose rows begin with the report that they belong to.
macro_rules! table_of_report {
    ($columns:ident, $write:ident($r:ident, $at_us:ident $(, $row:ident: $Row:ty)*) { $($rest:tt)* }) => {
        table! { $columns, $write($r: &ReportJson, $at_us: u64 $(, $row: $Row)*) {
            always "device" Text = Text(&$r.device),
            always "stream" Text = Text(&$r.stream),
            always "seq" Int = int($r.seq),
            always "frame" Int = int($r.frame),
            always "captured_at" Time = Time($at_us),
            $($rest)*
        } }
    };
}

table_of_report! { REPORTS, report(r, at_us) {
    always "dropped" Int = int(r.dropped),
    always "width" Int = int(r.width),
    always "height" Int = int(r.height),
    always "pixels" Int = int(r.pixels),
    maybe "space" Text = r.space.as_deref().map_or(Null, Text),
    always "lambda" Real = Real(r.lambda),
    always "coreset_size" Int = int(r.coreset_size),
    always "method" Text = Text(&r.method),
    always "refine" Text = Text(&r.refine),
    always "w_open" Int = int(r.w_open),
    always "seed" Text = Text(&r.seed),
    always "warm" Bool = Bool(r.warm),
    always "coreset_points" Int = int(r.coreset_points),
    maybe "scatter" Real = or_null(r.scatter, Real),
    always "iterations" Int = int(r.iterations),
    always "converged" Bool = Bool(r.converged),
    always "sweeps" Int = int(r.sweeps),
    always "saturated" Bool = Bool(r.saturated),
    maybe "beyond_px" Int = or_null(r.beyond_px, int),
    maybe "missed" Int = or_null(r.missed, int),
    always "clusters" Int = int(r.clusters),
    always "sse" Real = Real(r.sse),
    always "rms" Real = Real(r.rms),
    always "max_distance" Real = Real(r.max_distance),
    maybe "silhouette_estimate" Real = or_null(r.silhouette_estimate, Real),
    maybe "de00_mean" Real = or_null(r.de00_mean, Real),
    maybe "reference_de00" Real = or_null(r.reference_de00, Real),
    always "micros_coreset" Int = int(r.micros.coreset),
    always "micros_cluster" Int = int(r.micros.cluster),
    always "micros_label" Int = int(r.micros.label),
    always "micros_total" Int = int(r.micros.total),
    always "regions" Int = int(r.regions.region.len() as u64),
} }

/// A cluster of a report.
pub(super) struct Cluster {
    pub label: usize,
    pub id: u32,
    /// In 8-bit levels.
    pub rgb: [f64; 3],
    pub pixels: u32,
}

table_of_report! { PALETTE, cluster(r, at_us, c: &Cluster) {
    always "label" Int = int(c.label),
    always "id" Int = int(c.id),
    always "red" Real = Real(c.rgb[0]),
    always "green" Real = Real(c.rgb[1]),
    always "blue" Real = Real(c.rgb[2]),
    always "pixels" Int = int(c.pixels),
} }

/// A region of a report.
pub(super) struct Region<'a> {
    pub region: u8,
    pub name: Value<'a>,
    pub pixels: u32,
}

table_of_report! { REGIONS, region(r, at_us, region: &Region<'_>) {
    always "region" Int = int(region.region),
    maybe "region_name" Text = region.name,
    always "pixels" Int = int(region.pixels),
} }

/// A named colour in a region of a report.
pub(super) struct Named<'a> {
    pub region: &'a Region<'a>,
    pub colour: u8,
    pub name: Value<'a>,
    pub pixels: u32,
    pub delta_e: Option<f64>,
}

table_of_report! { NAMED, named(r, at_us, n: &Named<'_>) {
    always "region" Int = int(n.region.region),
    maybe "region_name" Text = n.region.name,
    always "colour" Int = int(n.colour),
    maybe "colour_name" Text = n.name,
    always "pixels" Int = int(n.pixels),
    always "region_pixels" Int = int(n.region.pixels),
    maybe "delta_e" Real = or_null(n.delta_e, Real),
} }

table! { EVENTS, event(e: &EventJson, at_us: u64) {
    always "device" Text = Text(&e.device),
    always "stream" Text = Text(&e.stream),
    always "seq" Int = int(e.seq),
    always "frame" Int = int(e.frame),
    always "captured_at" Time = Time(at_us),
    always "event" Text = Text(&e.event),
    always "change" Text = Text(&e.change),
    maybe "value" Real = or_null(e.value, Real),
    maybe "pattern" Text = e.pattern.as_deref().map_or(Null, Text),
    maybe "rate_hz" Real = or_null(e.rate_hz, Real),
} }

table! { SUMS, sums(device: &str, at_us: u64, s: &RollUp) {
    always "device" Text = Text(device),
    always "begins_at" Time = Time(at_us),
    always "reports" Int = int(s.reports),
    always "clusters_sum" Int = int(s.clusters_sum),
    always "clusters_min" Int = int(s.clusters_min),
    always "clusters_max" Int = int(s.clusters_max),
    always "rms_sum" Real = Real(s.rms_sum),
    always "rms_max" Real = Real(s.rms_max),
    always "missed_sum" Int = int(s.missed_sum),
    always "beyond_px_sum" Int = int(s.beyond_px_sum),
    always "micros_sum" Int = int(s.micros_sum),
    always "micros_max" Int = int(s.micros_max),
    always "silhouette_sum" Real = Real(s.silhouette_sum),
    always "silhouettes" Int = int(s.silhouettes),
} }

table! { LEDGER, boot(l: &Line) {
    always "device" Text = Text(&l.device),
    always "boot" Text = Text(&l.boot),
    always "produced" Int = int(l.produced),
    always "stored" Int = int(l.stored),
    always "dead" Int = int(l.dead),
    always "duplicates" Int = int(l.duplicates),
    always "declared_lost" Int = int(l.declared_lost),
    always "missing" Int = int(l.missing),
    always "frames_seen" Int = int(l.frames_seen),
    always "frames_dropped" Int = int(l.frames_dropped),
    maybe "started_at" Time = or_null(l.started_at_ms, |ms| Time(ms.saturating_mul(1000))),
} }

table! { LOSSES, loss(l: &LossRow) {
    always "device" Text = Text(&l.device),
    always "stream" Text = Text(&l.loss.stream),
    always "from_seq" Int = int(l.loss.from),
    always "to_seq" Int = int(l.loss.to),
    always "reason" Text = Text(&l.loss.reason),
} }

table! { DEAD, dead_letter(journal: &str, d: &DeadLetter, stream: Option<&str>, at_us: u64) {
    always "journal" Text = Text(journal),
    always "place" Text = Text(&d.place),
    always "partition" Int = int(d.partition),
    always "offset" Int = int(d.offset),
    always "device" Text = Text(&d.device),
    maybe "stream" Text = or_null(stream, Text),
    maybe "seq" Int = or_null(d.seq, int),
    always "topic" Text = Text(&d.topic),
    always "reason" Text = Text(&d.reason),
    maybe "bytes" Int = or_null(d.bytes, int),
    maybe "sha256" Text = or_null(d.sha256.as_deref(), Text),
    always "at" Time = Time(at_us),
} }
