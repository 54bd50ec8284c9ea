//! Rows as CSV and as JSON lines.
//!
//! CSV has a line of names first, and an absent value is an empty field. A JSON line has every column, with null for an absent
//! value. Times are RFC 3339 in UTC. Numbers are written so that reading them gives the same bits.

use super::row::{Column, RowWriter, Value};
use crate::clock::Rfc3339;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::io::{self, Write};

/// CSV, RFC 4180 with line feeds.
pub struct Csv<W: Write> {
    out: csv::Writer<W>,
    field: String,
}

impl<W: Write> Csv<W> {
    /// Writes the line of names.
    ///
    /// # Errors
    /// The output's.
    pub fn new(out: W, columns: &[Column]) -> io::Result<Csv<W>> {
        let mut out = csv::Writer::from_writer(out);
        out.write_record(columns.iter().map(|c| c.name))?;
        Ok(Csv { out, field: String::new() })
    }
}

impl<W: Write> RowWriter for Csv<W> {
    fn write(&mut self, row: &[Value<'_>]) -> io::Result<()> {
        use std::fmt::Write;
        for value in row {
            self.field.clear();
            let _ = match value {
                Value::Null => Ok(()),
                Value::Int(x) => write!(self.field, "{x}"),
                Value::Real(x) => write!(self.field, "{x}"),
                Value::Bool(x) => write!(self.field, "{x}"),
                Value::Text(x) => self.field.write_str(x),
                Value::Time(us) => write!(self.field, "{}", Rfc3339(*us)),
            }; // A text takes all.
            self.out.write_field(&self.field)?;
        }
        Ok(self.out.write_record(None::<&[u8]>)?)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

/// One JSON object a line.
pub struct JsonLines<W: Write> {
    out: W,
    columns: Vec<Column>,
}

impl<W: Write> JsonLines<W> {
    /// A writer of these columns.
    pub fn new(out: W, columns: &[Column]) -> JsonLines<W> {
        JsonLines { out, columns: columns.to_vec() }
    }
}

impl<W: Write> RowWriter for JsonLines<W> {
    fn write(&mut self, row: &[Value<'_>]) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, &Object { columns: &self.columns, row })?;
        self.out.write_all(b"\n")
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

/// A row with its names.
struct Object<'a> {
    columns: &'a [Column],
    row: &'a [Value<'a>],
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.row.len()))?;
        for (column, value) in self.columns.iter().zip(self.row) {
            match value {
                Value::Null => map.serialize_entry(column.name, &())?,
                Value::Int(x) => map.serialize_entry(column.name, x)?,
                Value::Real(x) => map.serialize_entry(column.name, x)?,
                Value::Bool(x) => map.serialize_entry(column.name, x)?,
                Value::Text(x) => map.serialize_entry(column.name, x)?,
                Value::Time(us) => map.serialize_entry(column.name, &format_args!("{}", Rfc3339(*us)))?,
            }
        }
        map.end()
    }
}
