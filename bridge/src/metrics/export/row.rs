//! Rows of an export: columns, values, and who takes them.
//!
//! A [`Value`] borrows its text, so that a row costs no allocation. A [`RowWriter`] knows the columns from its start and takes
//! rows of just these, in their order.

use std::io;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Int,
    /// A number.
    Real,
    /// Yes or no.
    Bool,
    /// A text.
    Text,
    /// Microseconds since the Unix epoch.
    Time,
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// It may have no value in a row.
    pub is_optional: bool,
}

/// A column that always has a value.
pub(super) const fn always(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, is_optional: false }
}

/// A column that may have no value.
pub(super) const fn maybe(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, is_optional: true }
}

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// None.
    Null,
    /// A whole number.
    Int(i64),
    /// A number.
    Real(f64),
    /// Yes or no.
    Bool(bool),
    /// A text.
    Text(&'a str),
    /// Microseconds since the Unix epoch.
    Time(u64),
}

/// A count. A store holds none above `i64::MAX`; a sum that saturates stays there.
pub(super) fn int(x: impl TryInto<i64>) -> Value<'static> {
    Value::Int(x.try_into().unwrap_or(i64::MAX))
}

/// A value that may be absent.
pub(super) fn or_null<'a, T>(x: Option<T>, value: impl FnOnce(T) -> Value<'a>) -> Value<'a> {
    x.map_or(Value::Null, value)
}

/// Writes rows in one format.
pub trait RowWriter {
    /// Writes a row.
    ///
    /// # Errors
    /// The output's.
    fn write(&mut self, row: &[Value<'_>]) -> io::Result<()>;

    /// Writes what is left, and flushes.
    ///
    /// # Errors
    /// The output's.
    fn finish(self: Box<Self>) -> io::Result<()>;
}
