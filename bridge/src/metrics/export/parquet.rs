//! Rows as Apache Parquet.
//!
//! Values are gathered by column and written as a row group of at most [`GROUP_ROWS`] rows, compressed by snappy. Texts are
//! UTF-8, times are microseconds in UTC, absent values are nulls. Memory is bounded by one row group; the file's footer grows
//! by about a kilobyte a column for each hundred groups.

use super::row::{Column, Kind, RowWriter, Value};
use ::parquet::basic::Compression;
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::parser::parse_message_type;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;

/// Rows of a row group: a few megabytes of reports in memory.
pub const GROUP_ROWS: usize = 16_384;

/// A Parquet file under way.
pub struct Parquet<W: Write + Send> {
    out: SerializedFileWriter<W>,
    columns: Vec<Gathered>,
    rows: usize,
}

/// Values of a column that wait for their row group.
struct Gathered {
    values: Values,
    /// 1 for a row that has a value; empty for a column that always has one.
    levels: Vec<i16>,
    is_optional: bool,
}

enum Values {
    Int(Vec<i64>),
    Real(Vec<f64>),
    Bool(Vec<bool>),
    Text(Vec<ByteArray>),
}

impl<W: Write + Send> Parquet<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// The output's.
    pub fn new(out: W, name: &str, columns: &[Column]) -> io::Result<Parquet<W>> {
        let mut schema = format!("message {name} {{");
        for Column { name, kind, is_optional } in columns {
            let repetition = if *is_optional { "optional" } else { "required" };
            let kind = match kind {
                Kind::Int => format!("int64 {name}"),
                Kind::Real => format!("double {name}"),
                Kind::Bool => format!("boolean {name}"),
                Kind::Text => format!("binary {name} (STRING)"),
                Kind::Time => format!("int64 {name} (TIMESTAMP(MICROS,true))"),
            };
            let _ = write!(schema, " {repetition} {kind};"); // A text takes all.
        }
        let schema = Arc::new(parse_message_type(&(schema + " }")).map_err(failed)?);
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let out = SerializedFileWriter::new(out, schema, Arc::new(properties)).map_err(failed)?;
        let gathered = |c: &Column| Gathered {
            values: match c.kind {
                Kind::Int | Kind::Time => Values::Int(Vec::new()),
                Kind::Real => Values::Real(Vec::new()),
                Kind::Bool => Values::Bool(Vec::new()),
                Kind::Text => Values::Text(Vec::new()),
            },
            levels: Vec::new(),
            is_optional: c.is_optional,
        };
        Ok(Parquet { out, columns: columns.iter().map(gathered).collect(), rows: 0 })
    }

    fn write_group(&mut self) -> io::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.out.next_row_group().map_err(failed)?;
        for Gathered { values, levels, is_optional } in &mut self.columns {
            let of = is_optional.then_some(levels.as_slice());
            match values {
                Values::Int(x) => write_column::<Int64Type, _>(&mut group, x, of),
                Values::Real(x) => write_column::<DoubleType, _>(&mut group, x, of),
                Values::Bool(x) => write_column::<BoolType, _>(&mut group, x, of),
                Values::Text(x) => write_column::<ByteArrayType, _>(&mut group, x, of),
            }
            .map_err(failed)?;
            levels.clear();
        }
        group.close().map_err(failed)?;
        self.rows = 0;
        Ok(())
    }
}

fn write_column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &mut Vec<T::T>,
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    if let Some(mut column) = group.next_column()? {
        column.typed::<T>().write_batch(values, levels, None)?;
        column.close()?;
    }
    values.clear();
    Ok(())
}

fn failed(e: ParquetError) -> io::Error {
    match e {
        ParquetError::External(e) => match e.downcast::<io::Error>() {
            Ok(e) => *e,
            Err(e) => io::Error::other(e),
        },
        e => io::Error::other(e),
    }
}

impl Gathered {
    fn push(&mut self, value: &Value<'_>) -> io::Result<()> {
        match (&mut self.values, value) {
            (_, Value::Null) if self.is_optional => {}
            (Values::Int(all), Value::Int(x)) => all.push(*x),
            (Values::Int(all), Value::Time(us)) => all.push(i64::try_from(*us).unwrap_or(i64::MAX)),
            (Values::Real(all), Value::Real(x)) => all.push(*x),
            (Values::Bool(all), Value::Bool(x)) => all.push(*x),
            // A device's name is the same for many rows: their values share its bytes.
            (Values::Text(all), Value::Text(x)) => match all.last().filter(|last| last.data() == x.as_bytes()) {
                Some(last) => all.push(last.clone()),
                None => all.push(ByteArray::from(x.as_bytes().to_vec())),
            },
            _ => return Err(io::Error::other("a value is not of its column's kind")),
        }
        if self.is_optional {
            self.levels.push(i16::from(*value != Value::Null));
        }
        Ok(())
    }
}

impl<W: Write + Send> RowWriter for Parquet<W> {
    fn write(&mut self, row: &[Value<'_>]) -> io::Result<()> {
        for (column, value) in self.columns.iter_mut().zip(row) {
            column.push(value)?;
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS { self.write_group() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.write_group()?;
        // Flushes too, and gives the output's own error; `into_inner` would hide it.
        self.out.finish().map(drop).map_err(failed)
    }
}
