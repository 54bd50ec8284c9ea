//! Flags of the commands that write files of what was measured: `export` and `compare`.
//!
//! Which of them fit together is decided here; what a value means is decided by the command.

use super::{MetricsFlags, StoreFlags};
use crate::failure::Failure;
use crate::metrics::export::table::Table;
use crate::settings::Settings;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Formats of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values with a line of names.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

/// Flags of `export`.
#[derive(Debug, Args)]
pub struct ExportFlags {
    /// Shared flags.
    #[command(flatten)]
    pub shared: StoreFlags,
    /// What to export.
    #[arg(long, value_enum, default_value_t = Table::Reports)]
    pub table: Table,
    /// How to write it.
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    pub format: Format,
    /// Only this device's rows.
    #[arg(long)]
    pub device: Option<String>,
    /// Rows from then on: an RFC 3339 time or a day (UTC), seconds since the epoch, or how long ago (90s, 10m, 2h, 1d).
    #[arg(long, value_name = "TIME", visible_alias = "since")]
    pub from: Option<String>,
    /// Rows before then.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// The file to write; `-` is standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub out: PathBuf,
}

/// Flags of `compare`.
#[derive(Debug, Args)]
pub struct CompareFlags {
    /// Configuration file [/etc/hueflow/metrics.toml, if it is there]: for silhouette.colours_max.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A picture (PNG).
    #[arg(value_name = "PICTURE")]
    pub picture: PathBuf,
    /// The lambdas, in 8-bit levels, with commas between: 0.01 to 442 each.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [20.0, 50.0, 90.0])]
    pub lambda: Vec<f64>,
    /// Draw the clustered pictures and their knives side by side into this file (PNG).
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

impl CompareFlags {
    /// The settings.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn settings(&self) -> Result<Settings, Failure> {
        MetricsFlags { config: self.config.clone(), ..MetricsFlags::default() }.settings()
    }
}
