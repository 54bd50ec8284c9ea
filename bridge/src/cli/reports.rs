//! Flags of the commands that write files of what was measured: `export` and `compare`.
//!
//! Which of them fit together is decided here; what a value means is decided by the command.

use super::{MetricsFlags, StoreFlags};
use crate::failure::Failure;
use crate::metrics::export::table::Table;
use crate::settings::Settings;
use clap::{Args, ValueEnum};
use firmware::color::Space;
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
    /// Where distances are measured: rgb or cielab.
    #[arg(long, value_parser = space, default_value = "rgb")]
    pub space: Space,
    /// The lambdas, in 8-bit levels or Delta E, with commas between: 0.01 to 442 each [20,50,90; in cielab 7,18,32].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    lambda: Vec<f64>,
    /// Draw the clustered pictures and their knives side by side into this file (PNG).
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// The space that a word names.
pub(super) fn space(word: &str) -> Result<Space, String> {
    Space::from_word(word).ok_or_else(|| "it is rgb or cielab".to_owned())
}

impl CompareFlags {
    /// The lambdas, or those of the space if none is given.
    pub fn lambdas(&self) -> &[f64] {
        match (self.lambda.as_slice(), self.space) {
            ([], Space::Rgb) => &[20.0, 50.0, 90.0],
            ([], Space::Cielab) => &[7.0, 18.0, 32.0],
            (given, _) => given,
        }
    }

    /// The settings.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn settings(&self) -> Result<Settings, Failure> {
        MetricsFlags { config: self.config.clone(), ..MetricsFlags::default() }.settings()
    }
}
