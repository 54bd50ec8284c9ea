//! `hueflow-metrics export`: a table of the store as CSV, JSON lines or Parquet.
//!
//! A file is written beside its name, in one that no other has, and renamed when it is whole and on the disk, so that nobody
//! takes a part of it for all. A reader of standard output, or of a named pipe, that closes its end is no failure.

use crate::cli::{ExportFlags, Format};
use crate::clock;
use crate::config::MetricsConfig;
use crate::failure::Failure;
use crate::metrics::export::parquet::Parquet;
use crate::metrics::export::row::RowWriter;
use crate::metrics::export::table::Table;
use crate::metrics::export::text::{Csv, JsonLines};
use crate::metrics::export::{ExportError, Selection, export};
use crate::metrics::store;
use crate::metrics::store::reader::Reader;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Bytes that are written at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Writes a table.
///
/// # Errors
/// [`Failure::Usage`] for flags that do not fit, [`Failure::NoInput`] if there is no such store or device,
/// [`Failure::Io`] if the store or the file fails.
pub fn run(config: &MetricsConfig, flags: &ExportFlags) -> Result<(), Failure> {
    let which = selection(flags)?;
    let to_stdout = flags.out.as_os_str() == "-";
    if to_stdout && flags.format == Format::Parquet && io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "--format parquet is binary: name a file with --out FILE, or use a pipe".to_owned(),
        ));
    }
    let reader = store::open_existing(&config.store)?;
    check_device(reader.as_ref(), flags.device.as_deref())?;
    if to_stdout {
        return match write(reader.as_ref(), flags, &which, io::stdout()) {
            Err(ExportError::Output(e)) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|e| failed("standard output", e)),
        };
    }
    let name = flags.out.display().to_string();
    let (out, file) = Target::create(&flags.out)?;
    match write(reader.as_ref(), flags, &which, file) {
        Err(ExportError::Output(e)) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(e) => Err(failed(&name, e)),
        Ok(()) => out.finish().map_err(|e| Failure::io(&name, e)),
    }
}

fn failed(output: &str, e: ExportError) -> Failure {
    match e {
        ExportError::Store(e) => Failure::Io(e.to_string()),
        ExportError::Output(e) => Failure::io(output, e),
    }
}

/// The rows that the flags name.
fn selection(flags: &ExportFlags) -> Result<Selection, Failure> {
    let now_us = clock::now_us();
    let time = |flag, text: &Option<String>, default| {
        let text = text.as_deref();
        text.map_or(Ok(default), |text| clock::parse_flag(flag, text, now_us)).map_err(Failure::Usage)
    };
    // Stores hold no time beyond this one.
    let end = i64::MAX.unsigned_abs();
    let times_us = time("--from", &flags.from, 0)?..time("--to", &flags.to, end)?;
    if times_us.is_empty() {
        return Err(Failure::Usage("--from must be before --to".to_owned()));
    }
    if !flags.table.has_times() && (flags.from.is_some() || flags.to.is_some()) {
        let table = flags.table.name();
        return Err(Failure::Usage(format!("--table {table} has no times: leave out --from and --to")));
    }
    Ok(Selection { device: flags.device.clone(), times_us })
}

/// An unknown device is most likely a mistyped one.
fn check_device(reader: &dyn Reader, device: Option<&str>) -> Result<(), Failure> {
    let Some(device) = device else { return Ok(()) };
    let known = reader.devices().map_err(|e| Failure::Io(e.to_string()))?;
    if known.iter().any(|k| k.device == device) {
        return Ok(());
    }
    let names: Vec<&str> = known.iter().map(|k| k.device.as_str()).collect();
    Err(Failure::NoInput(format!("the store has no device {device}; it has: {}", names.join(", "))))
}

fn write(
    reader: &dyn Reader,
    flags: &ExportFlags,
    which: &Selection,
    out: impl Write + Send + 'static,
) -> Result<(), ExportError> {
    let out = BufWriter::with_capacity(BUFFER_BYTES, out);
    let mut writer = writer(flags.format, flags.table, out)?;
    export(reader, flags.table, which, writer.as_mut())?;
    Ok(writer.finish()?)
}

/// A writer of a format.
fn writer(format: Format, table: Table, out: impl Write + Send + 'static) -> io::Result<Box<dyn RowWriter>> {
    let columns = table.columns();
    Ok(match format {
        Format::Csv => Box::new(Csv::new(out, columns)?),
        Format::Jsonl => Box::new(JsonLines::new(out, columns)),
        Format::Parquet => Box::new(Parquet::new(out, table.name(), columns)?),
    })
}

/// Where a file is written until it is whole. What is not a plain file, such as a pipe, is written in place.
struct Target {
    path: PathBuf,
    name: Option<PathBuf>,
}

impl Target {
    /// Makes the file that is written first. It has this process's number in its name, and must not be there yet.
    fn create(name: &Path) -> Result<(Target, File), Failure> {
        let failed = |path: &Path, e| Failure::io(&path.display().to_string(), e);
        // What a link leads to is replaced, and not the link.
        let name = std::fs::canonicalize(name).unwrap_or_else(|_| name.to_owned());
        if std::fs::metadata(&name).is_ok_and(|m| !m.is_file()) {
            let file = File::options().write(true).open(&name).map_err(|e| failed(&name, e))?;
            return Ok((Target { path: name, name: None }, file));
        }
        let mut path = name.as_os_str().to_owned();
        path.push(format!(".part-{}", std::process::id()));
        let path = PathBuf::from(path);
        let file = File::create_new(&path).map_err(|e| failed(&path, e))?;
        Ok((Target { path, name: Some(name) }, file))
    }

    fn finish(mut self) -> io::Result<()> {
        if self.name.is_none() {
            return Ok(());
        }
        File::open(&self.path)?.sync_all()?;
        match self.name.take() {
            Some(name) => std::fs::rename(&self.path, name),
            None => Ok(()),
        }
    }
}

impl Drop for Target {
    /// Removes what is not whole.
    fn drop(&mut self) {
        if self.name.is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
