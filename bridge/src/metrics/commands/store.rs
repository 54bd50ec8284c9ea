//! `hueflow-metrics store move`: a store from one database to another.
//!
//! Prints how many of each kind were moved. The source stays as it is.

use crate::config::StoreConfig;
use crate::failure::Failure;
use crate::metrics::store::StoreError;
use crate::metrics::store::transfer::move_store;
use std::io::Write;

/// Moves all that one store holds to another, which must be empty.
///
/// # Errors
/// [`Failure`]; then the target is as it was.
pub fn run_move(from: &StoreConfig, to: &StoreConfig) -> Result<(), Failure> {
    let counts = move_store(from, to).map_err(|e| match e {
        StoreError::Unfit(text) => Failure::NoInput(text),
        e @ (StoreError::NotOwned(_) | StoreError::Postgres(_)) => Failure::Unavailable(e.to_string()),
        e => Failure::Io(e.to_string()),
    })?;
    let mut out = std::io::stdout().lock();
    for (kind, count) in counts {
        if writeln!(out, "{count:>12} {kind}").is_err() {
            break; // The reader has closed its end.
        }
    }
    Ok(())
}
