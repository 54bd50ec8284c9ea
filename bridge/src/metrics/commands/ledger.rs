//! `hueflow-metrics ledger`: one line for each boot of each device.
//!
//! Reads the store and prints to standard output. Writes nothing to the store.

use crate::config::MetricsConfig;
use crate::failure::Failure;
use crate::metrics::store::{self, ledger};
use std::io::Write;

/// Prints the ledger.
///
/// # Errors
/// [`Failure::NoInput`] if there is no store.
pub fn run(config: &MetricsConfig, json: bool) -> Result<(), Failure> {
    let accounts = store::open_existing(&config.store)?.accounts();
    let accounts = accounts.map_err(|e| Failure::NoInput(format!("{}: {e}", config.store.url)))?;
    let mut out = std::io::stdout().lock();
    for line in ledger::lines(&accounts) {
        let text = if json { serde_json::to_string(&line).unwrap_or_default() } else { line.to_string() };
        if writeln!(out, "{text}").is_err() {
            break; // The reader has closed its end.
        }
    }
    Ok(())
}
