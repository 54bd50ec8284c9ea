//! The tables of an export and their columns.
//!
//! Names and columns of [`Table::Reports`] and [`Table::Palette`] are those of the store's views.

use super::row::Kind::{Bool, Int, Real, Text, Time};
use super::row::{Column, always, maybe};
use clap::ValueEnum;

/// What can be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Table {
    /// One row a frame.
    Reports,
    /// One row a cluster of each frame.
    Palette,
    /// One row a configured region of each frame.
    Regions,
    /// One row a named colour of each region of each frame.
    Named,
    /// One row a beginning or an end of an event.
    Events,
    /// Sums by device and minute.
    Minutes,
    /// Sums by device and hour; these are never deleted.
    Hours,
    /// One row a boot: what became of its records.
    Ledger,
    /// Ranges of records that edges gave up.
    Losses,
    /// Dead letters.
    Dead,
}

impl Table {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Table::Reports => "reports",
            Table::Palette => "palette",
            Table::Regions => "regions",
            Table::Named => "named",
            Table::Events => "events",
            Table::Minutes => "minutes",
            Table::Hours => "hours",
            Table::Ledger => "ledger",
            Table::Losses => "losses",
            Table::Dead => "dead",
        }
    }

    /// Its columns.
    pub const fn columns(self) -> &'static [Column] {
        match self {
            Table::Reports => &REPORTS,
            Table::Palette => &PALETTE,
            Table::Regions => &REGIONS,
            Table::Named => &NAMED,
            Table::Events => &EVENTS,
            Table::Minutes | Table::Hours => &SUMS,
            Table::Ledger => &LEDGER,
            Table::Losses => &LOSSES,
            Table::Dead => &DEAD,
        }
    }

    /// Whether its rows have a time.
    pub const fn has_times(self) -> bool {
        !matches!(self, Table::Ledger | Table::Losses)
    }
}

const REPORTS: [Column; 37] = [
    always("device", Text),
    always("stream", Text),
    always("seq", Int),
    always("frame", Int),
    always("captured_at", Time),
    always("dropped", Int),
    always("width", Int),
    always("height", Int),
    always("pixels", Int),
    maybe("space", Text),
    always("lambda", Real),
    always("coreset_size", Int),
    always("method", Text),
    always("refine", Text),
    always("w_open", Int),
    always("seed", Text),
    always("warm", Bool),
    always("coreset_points", Int),
    maybe("scatter", Real),
    always("iterations", Int),
    always("converged", Bool),
    always("sweeps", Int),
    always("saturated", Bool),
    maybe("beyond_px", Int),
    maybe("missed", Int),
    always("clusters", Int),
    always("sse", Real),
    always("rms", Real),
    always("max_distance", Real),
    maybe("silhouette_estimate", Real),
    maybe("de00_mean", Real),
    maybe("reference_de00", Real),
    always("micros_coreset", Int),
    always("micros_cluster", Int),
    always("micros_label", Int),
    always("micros_total", Int),
    always("regions", Int),
];

const PALETTE: [Column; 11] = [
    always("device", Text),
    always("stream", Text),
    always("seq", Int),
    always("frame", Int),
    always("captured_at", Time),
    always("label", Int),
    always("id", Int),
    always("red", Real),
    always("green", Real),
    always("blue", Real),
    always("pixels", Int),
];

const REGIONS: [Column; 8] = [
    always("device", Text),
    always("stream", Text),
    always("seq", Int),
    always("frame", Int),
    always("captured_at", Time),
    always("region", Int),
    maybe("region_name", Text),
    always("pixels", Int),
];

const NAMED: [Column; 12] = [
    always("device", Text),
    always("stream", Text),
    always("seq", Int),
    always("frame", Int),
    always("captured_at", Time),
    always("region", Int),
    maybe("region_name", Text),
    always("colour", Int),
    maybe("colour_name", Text),
    always("pixels", Int),
    always("region_pixels", Int),
    maybe("delta_e", Real),
];

const EVENTS: [Column; 10] = [
    always("device", Text),
    always("stream", Text),
    always("seq", Int),
    always("frame", Int),
    always("captured_at", Time),
    always("event", Text),
    always("change", Text),
    maybe("value", Real),
    maybe("pattern", Text),
    maybe("rate_hz", Real),
];

const SUMS: [Column; 14] = [
    always("device", Text),
    always("begins_at", Time),
    always("reports", Int),
    always("clusters_sum", Int),
    always("clusters_min", Int),
    always("clusters_max", Int),
    always("rms_sum", Real),
    always("rms_max", Real),
    always("missed_sum", Int),
    always("beyond_px_sum", Int),
    always("micros_sum", Int),
    always("micros_max", Int),
    always("silhouette_sum", Real),
    always("silhouettes", Int),
];

const LEDGER: [Column; 10] = [
    always("device", Text),
    always("boot", Text),
    always("produced", Int),
    always("stored", Int),
    always("dead", Int),
    always("duplicates", Int),
    always("declared_lost", Int),
    always("missing", Int),
    always("frames_seen", Int),
    always("frames_dropped", Int),
];

const LOSSES: [Column; 5] = [
    always("device", Text),
    always("stream", Text),
    always("from_seq", Int),
    always("to_seq", Int),
    always("reason", Text),
];

const DEAD: [Column; 12] = [
    always("journal", Text),
    always("place", Text),
    always("partition", Int),
    always("offset", Int),
    always("device", Text),
    maybe("stream", Text),
    maybe("seq", Int),
    always("topic", Text),
    always("reason", Text),
    maybe("bytes", Int),
    maybe("sha256", Text),
    always("at", Time),
];
