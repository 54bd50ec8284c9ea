//! Arrays of tables in the configuration: masks, regions, colours, events and the patches of a reference.
//!
//! Inputs are values of keys, results are tables and what they have. An array of tables may also be one line of TOML in a text,
//! which is how an environment variable gives it. Errors name the table's key, its value and what it must be. Nothing is read here.

use super::layers::{ConfigError, Word, show};
use crate::spec::Mask;
use crate::spec::region::{is_name, lab, rgb};
use firmware::color::Lab;
use toml::{Table, Value};

/// What a table has for a colour.
pub(super) const COLOUR: &str = "rgb = \"#rrggbb\" or lab = [L, a, b] with L from 0 to 100 and a, b from -128 to 128";
/// What a table has for an outline.
pub(super) const OUTLINE: &str = "polygon = [[x, y], ...] (3 to 32 corners) or rect = [x, y, width, height], in fractions of the clustered \
                       picture from 0 to 1";
const NAME: &str = "1 to 24 of a-z 0-9 -, another one in each table";

/// The tables that a key has, if it has tables.
pub(super) fn tables(value: &Value) -> Option<Vec<Table>> {
    match value {
        Value::Array(tables) => tables.iter().map(|table| table.as_table().cloned()).collect(),
        Value::String(text) => {
            let document: Table = toml::from_str(&format!("tables = {text}")).ok()?;
            document.get("tables").filter(|value| value.is_array()).and_then(tables)
        }
        _ => None,
    }
}

/// At most `max` tables with no keys but those that are known.
pub(super) fn known_tables(word: &Word, max: usize, known: &[&str]) -> Result<Vec<Table>, ConfigError> {
    let tables = tables(&word.value).filter(|tables| tables.len() <= max).ok_or_else(|| word.refuse())?;
    let unknown = tables.iter().flatten().find(|(key, _)| !known.contains(&key.as_str()));
    unknown.map_or(Ok(()), |(key, value)| {
        Err(word.refuse_part(
            word.name(),
            format!("{key} = {}", show(value)),
            format!("tables of {}", known.join(", ")),
        ))
    })?;
    Ok(tables)
}

/// As [`known_tables`]; each table has a name of its own under `name`, and `key` is what messages call that.
pub(super) fn named_tables(
    word: &Word,
    max: usize,
    key: &'static str,
    known: &[&str],
) -> Result<Vec<(String, Table)>, ConfigError> {
    let mut named: Vec<(String, Table)> = Vec::new();
    for table in known_tables(word, max, known)? {
        let given = table.get("name");
        let is_free = |name: &&str| is_name(name) && named.iter().all(|(other, _)| other != name);
        let name = given.and_then(Value::as_str).filter(is_free).map(str::to_owned);
        let name = name.ok_or_else(|| word.refuse_part(key, given.map_or("nothing".into(), show), NAME))?;
        named.push((name, table));
    }
    Ok(named)
}

/// Refuses a whole table, which must be one with `range`.
pub(super) fn refuse_table(word: &Word, key: &'static str, table: &Table, range: &str) -> ConfigError {
    word.refuse_part(key, show(&Value::Table(table.clone())), format!("a table with {range}"))
}

/// The outline that a table has under `polygon` or `rect`, if it has one of these.
pub(super) fn shape(table: &Table) -> Option<Mask> {
    match (table.get("polygon"), table.get("rect")) {
        (Some(corners), None) => {
            let corners: Option<Vec<[f64; 2]>> = corners.as_array()?.iter().map(numbers).collect();
            Mask::polygon(&corners?)
        }
        (None, Some(rect)) => Mask::rect(numbers(rect)?),
        _ => None,
    }
}

/// The colour that a table has under `rgb` or `lab`, if it has one of these.
pub(super) fn colour(table: &Table) -> Option<Lab> {
    match (table.get("rgb"), table.get("lab")) {
        (Some(text), None) => text.as_str().and_then(rgb),
        (None, Some(coordinates)) => numbers(coordinates).and_then(lab),
        _ => None,
    }
}

fn numbers<const N: usize>(value: &Value) -> Option<[f64; N]> {
    let number = |value: &Value| value.as_float().or_else(|| value.as_integer().map(|n| n as f64));
    let numbers: Option<Vec<f64>> = value.as_array()?.iter().map(number).collect();
    numbers?.try_into().ok()
}
