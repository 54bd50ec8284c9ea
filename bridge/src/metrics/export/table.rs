//! The tables of an export.
//!
//! Names and columns of [`Table::Reports`] and [`Table::Palette`] are those of the store's views.

use super::fields;
use super::row::Column;
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
            Table::Reports => fields::REPORTS,
            Table::Palette => fields::PALETTE,
            Table::Regions => fields::REGIONS,
            Table::Named => fields::NAMED,
            Table::Events => fields::EVENTS,
            Table::Minutes | Table::Hours => fields::SUMS,
            Table::Ledger => fields::LEDGER,
            Table::Losses => fields::LOSSES,
            Table::Dead => fields::DEAD,
        }
    }

    /// Whether its rows have a time.
    pub const fn has_times(self) -> bool {
        !matches!(self, Table::Ledger | Table::Losses)
    }
}
