//! Rows as CSV and as JSON lines.
//!
//! CSV has a line of names first, and an absent value is an empty field. A JSON line has every column, with null for an absent
//! value. Times are RFC 3339 in UTC. Numbers are written so that reading them gives the same bits.

use super::row::{Column, RowWriter, Value};
use crate::clock::Rfc3339;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::io::{self, Write};

/// The output's own error, by whose kind a closed pipe is known.
fn failed(e: csv::Error) -> io::Error {
    match e.into_kind() {
        csv::ErrorKind::Io(e) => e,
        other => io::Error::other(format!("{other:?}")),
    }
}

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
        out.write_record(columns.iter().map(|c| c.name)).map_err(failed)?;
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
                // As null in JSON: what reads CSV does not agree on a word for it.
                Value::Real(x) if !x.is_finite() => Ok(()),
                Value::Real(x) => write!(self.field, "{x}"),
                Value::Bool(x) => write!(self.field, "{x}"),
                Value::Text(x) => self.field.write_str(x),
                Value::Time(us) => write!(self.field, "{}", Rfc3339(*us)),
            }; // A text takes all.
            self.out.write_field(&self.field).map_err(failed)?;
        }
        self.out.write_record(None::<&[u8]>).map_err(failed)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::export::parquet::Parquet;
    use crate::metrics::export::row::{Kind, always, maybe};

    const COLUMNS: [Column; 3] = [always("a", Kind::Text), maybe("b", Kind::Real), always("c", Kind::Time)];

    /// An output whose reader is gone.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_known_as_one_in_each_format_and_at_each_place() {
        type New = fn() -> io::Result<Box<dyn RowWriter>>;
        let formats: [New; 3] = [
            || Ok(Box::new(Csv::new(Closed, &COLUMNS)?)),
            || Ok(Box::new(JsonLines::new(Closed, &COLUMNS))),
            || Ok(Box::new(Parquet::new(Closed, "t", &COLUMNS)?)),
        ];
        for (format, new) in formats.iter().enumerate() {
            for rows in [0, 1, 100_000] {
                let written = new().and_then(|mut out| {
                    for n in 0..rows {
                        out.write(&[Value::Text("x"), Value::Real(f64::from(n)), Value::Time(5)])?;
                    }
                    out.finish()
                });
                let kind = written.err().map(|e| e.kind());
                let is_empty = rows == 0 && format == 1;
                assert!(is_empty || kind == Some(io::ErrorKind::BrokenPipe), "format {format}, {rows} rows: {kind:?}");
            }
        }
    }

    #[test]
    fn texts_with_quotes_and_ends_of_lines_and_numbers_that_are_none_come_back() {
        let row = [Value::Text("a \"b\", c\r\nd"), Value::Real(f64::NAN), Value::Time(u64::MAX)];
        let file = tempfile::NamedTempFile::new().unwrap();
        let written = |new: &dyn Fn(std::fs::File) -> Box<dyn RowWriter>| {
            file.as_file().set_len(0).unwrap();
            let mut out = new(file.reopen().unwrap());
            out.write(&row).unwrap();
            out.write(&[Value::Text(""), Value::Null, Value::Time(0)]).unwrap();
            out.finish().unwrap();
            std::fs::read_to_string(file.path()).unwrap()
        };
        let csv = written(&|f| Box::new(Csv::new(f, &COLUMNS).unwrap()));
        let mut lines = csv::Reader::from_reader(csv.as_bytes());
        let rows: Vec<csv::StringRecord> = lines.records().collect::<Result<_, _>>().unwrap();
        assert_eq!(rows[0], vec!["a \"b\", c\r\nd", "", "9999-12-30T22:00:00.999999Z"]);
        assert_eq!(rows[1], vec!["", "", "1970-01-01T00:00:00.000000Z"]);
        let json = written(&|f| Box::new(JsonLines::new(f, &COLUMNS)));
        let rows: Vec<serde_json::Value> = json.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(rows[0]["a"], "a \"b\", c\r\nd");
        assert!(rows[0]["b"].is_null() && rows[1]["b"].is_null());
    }
}
