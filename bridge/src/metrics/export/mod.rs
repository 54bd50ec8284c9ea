//! Tables of a store as rows, for spreadsheets, pandas, DuckDB and others.
//!
//! [`export`] reads a store a page at a time and gives rows to a writer: [`text`] writes CSV and JSON lines, [`parquet`] writes
//! Parquet. Memory is bounded by a page of reports and one row group, however large the store is. The rows of a device are in the
//! order of its boots and sequence numbers. Each page is consistent; what a running instance stores or deletes between two
//! pages may or may not be in the result.

mod fields;
pub mod parquet;
pub mod row;
mod spread;
pub mod table;
pub mod text;

use super::store::StoreError;
use super::store::ledger;
use super::store::reader::{Known, Page, REPORTS_MAX, Reader, Unit};
use super::store::rollup::{HOUR_US, MINUTE_US};
use row::RowWriter;
use spread::{Names, spread};
use std::io;
use std::ops::Range;
use table::Table;

/// Rows of a page. A report with all its lists takes a few kilobytes.
const PAGE_ROWS: u32 = 512;

/// Why an export ends early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The output refuses.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Which rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Only this device's.
    pub device: Option<String>,
    /// Those captured (or, of sums, begun) within this range, in microseconds since the Unix epoch.
    pub times_us: Range<u64>,
}

impl Selection {
    fn has(&self, device: &str) -> bool {
        self.device.as_deref().is_none_or(|d| d == device)
    }
}

/// Gives the selected rows of a table to `out`.
///
/// # Errors
/// [`ExportError`].
pub fn export(
    reader: &dyn Reader,
    table: Table,
    which: &Selection,
    out: &mut dyn RowWriter,
) -> Result<(), ExportError> {
    let devices: Vec<Known> = reader.devices()?.into_iter().filter(|known| which.has(&known.device)).collect();
    match table {
        Table::Reports | Table::Palette | Table::Regions | Table::Named => {
            devices.iter().try_for_each(|known| reports(reader, table, known, which, out))
        }
        Table::Events => devices.iter().try_for_each(|known| events(reader, &known.device, which, out)),
        Table::Minutes => devices.iter().try_for_each(|d| sums(reader, Unit::Minute, &d.device, which, out)),
        Table::Hours => devices.iter().try_for_each(|d| sums(reader, Unit::Hour, &d.device, which, out)),
        Table::Ledger => boots(reader, which, out),
        Table::Losses => losses(reader, which, out),
        Table::Dead => dead(reader, which, out),
    }
}

fn reports(
    reader: &dyn Reader,
    table: Table,
    known: &Known,
    which: &Selection,
    out: &mut dyn RowWriter,
) -> Result<(), ExportError> {
    let names = Names::of(known);
    for stream in reader.streams(&known.device)?.iter().rev() {
        let mut page = Page { from_seq: 0, times_us: which.times_us.clone(), rows_max: PAGE_ROWS };
        loop {
            let rows = reader.report_page(stream, &page)?;
            for (captured_at_us, report) in &rows {
                spread(table, *captured_at_us, report, &names, out)?;
            }
            match rows.last() {
                Some((_, last)) if rows.len() >= PAGE_ROWS as usize => page.from_seq = last.seq.saturating_add(1),
                _ => break,
            }
        }
    }
    Ok(())
}

fn events(reader: &dyn Reader, device: &str, which: &Selection, out: &mut dyn RowWriter) -> Result<(), ExportError> {
    for stream in reader.streams(device)?.iter().rev() {
        let mut page = Page { from_seq: 0, times_us: which.times_us.clone(), rows_max: PAGE_ROWS };
        loop {
            let rows = reader.event_page(device, stream, &page)?;
            for change in &rows {
                fields::event(&change.event, change.captured_at_us, out)?;
            }
            match rows.last() {
                Some(last) if rows.len() >= PAGE_ROWS as usize => page.from_seq = last.event.seq.saturating_add(1),
                _ => break,
            }
        }
    }
    Ok(())
}

fn sums(
    reader: &dyn Reader,
    unit: Unit,
    device: &str,
    which: &Selection,
    out: &mut dyn RowWriter,
) -> Result<(), ExportError> {
    let unit_us = if unit == Unit::Minute { MINUTE_US } else { HOUR_US };
    let mut from = which.times_us.start.div_ceil(unit_us);
    let to = which.times_us.end.div_ceil(unit_us);
    loop {
        let rows = reader.roll_ups(device, unit, from, to)?;
        for (at, s) in &rows {
            fields::sums(device, at.saturating_mul(unit_us), s, out)?;
        }
        match rows.last() {
            Some((last, _)) if rows.len() >= REPORTS_MAX as usize => from = last.saturating_add(1),
            _ => return Ok(()),
        }
    }
}

/// The ledger is computed from the accounts, which fit into memory: a running instance keeps all of them there.
fn boots(reader: &dyn Reader, which: &Selection, out: &mut dyn RowWriter) -> Result<(), ExportError> {
    for l in ledger::lines(&reader.accounts()?).iter().filter(|l| which.has(&l.device)) {
        fields::boot(l, out)?;
    }
    Ok(())
}

fn losses(reader: &dyn Reader, which: &Selection, out: &mut dyn RowWriter) -> Result<(), ExportError> {
    let mut after = None;
    loop {
        let rows = reader.loss_page(after.as_ref(), PAGE_ROWS)?;
        for l in rows.iter().filter(|l| which.has(&l.device)) {
            fields::loss(l, out)?;
        }
        if rows.len() < PAGE_ROWS as usize {
            return Ok(());
        }
        after = rows.into_iter().next_back();
    }
}

fn dead(reader: &dyn Reader, which: &Selection, out: &mut dyn RowWriter) -> Result<(), ExportError> {
    let mut after = None;
    loop {
        let rows = reader.dead_page(after.as_ref(), PAGE_ROWS)?;
        for (journal, d) in rows.iter().filter(|(_, d)| which.has(&d.device)) {
            let at_us = u64::try_from(d.at_ms).unwrap_or(0).saturating_mul(1000);
            if !which.times_us.contains(&at_us) {
                continue;
            }
            let stream = d.stream.map(|s| s.to_string());
            fields::dead_letter(journal, d, stream.as_deref(), at_us, out)?;
        }
        if rows.len() < PAGE_ROWS as usize {
            return Ok(());
        }
        after = rows.into_iter().next_back();
    }
}
