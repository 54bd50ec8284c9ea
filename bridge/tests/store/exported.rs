//! Exports of a store: every table in every format, on both databases.
//!
//! The stores hold two boots of one device and one of another, with regions, events, losses and dead letters. CSV, JSON lines
//! and Parquet are read back by other readers than the program's and must have the same content.

use super::batch;
use super::common::{envelope, event, loss, record, report, window};
use super::ground::{Ground, begin};
use firmware::custody::Kind;
use firmware::wire::{EventChange, NamedShare, RegionShare, Report};
use hueflow_bridge::clock::parse_rfc3339;
use hueflow_bridge::journal::Batch;
use hueflow_bridge::metrics::export::parquet::{GROUP_ROWS, Parquet};
use hueflow_bridge::metrics::export::row::{Column, Kind as Of, RowWriter, Value};
use hueflow_bridge::metrics::export::table::Table;
use hueflow_bridge::metrics::export::text::{Csv, JsonLines};
use hueflow_bridge::metrics::export::{Selection, export};
use hueflow_bridge::relay::verdict::seal;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Map, Value as Json, json};
use std::io::{self, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex};

const ALL: [Table; 10] = [
    Table::Reports,
    Table::Palette,
    Table::Regions,
    Table::Named,
    Table::Events,
    Table::Minutes,
    Table::Hours,
    Table::Ledger,
    Table::Losses,
    Table::Dead,
];
const EVER: Range<u64> = 0..i64::MAX as u64;

/// Bytes that are written, shared with the test that reads them.
#[derive(Clone, Default)]
struct Bytes(Arc<Mutex<Vec<u8>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Bytes {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn bytes(g: &Ground, table: Table, which: &Selection, writer: impl FnOnce(Bytes) -> Box<dyn RowWriter>) -> Vec<u8> {
    let bytes = Bytes::default();
    let mut writer = writer(bytes.clone());
    export(g.reader().as_ref(), table, which, writer.as_mut()).unwrap();
    writer.finish().unwrap();
    bytes.take()
}

fn json_rows(g: &Ground, table: Table, which: &Selection) -> Vec<Map<String, Json>> {
    let text = bytes(g, table, which, |out| Box::new(JsonLines::new(out, table.columns())));
    let text = String::from_utf8(text).unwrap();
    let rows: Vec<Map<String, Json>> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for row in &rows {
        let names: Vec<&str> = row.keys().map(String::as_str).collect();
        let mut columns: Vec<&str> = table.columns().iter().map(|c| c.name).collect();
        columns.sort_unstable();
        assert_eq!(names, columns);
    }
    rows
}

/// A field of CSV as JSON has it.
fn of_csv(column: &Column, field: &str) -> Json {
    match column.kind {
        _ if field.is_empty() && column.is_optional => Json::Null,
        Of::Int => field.parse::<i64>().unwrap().into(),
        Of::Real => field.parse::<f64>().unwrap().into(),
        Of::Bool => field.parse::<bool>().unwrap().into(),
        Of::Text | Of::Time => field.into(),
    }
}

fn csv_rows(g: &Ground, table: Table, which: &Selection) -> Vec<Map<String, Json>> {
    let text = bytes(g, table, which, |out| Box::new(Csv::new(out, table.columns()).unwrap()));
    let mut reader = csv::Reader::from_reader(text.as_slice());
    let names: Vec<&str> = table.columns().iter().map(|c| c.name).collect();
    assert_eq!(reader.headers().unwrap(), names);
    let row = |fields: csv::StringRecord| {
        let values = table.columns().iter().zip(&fields);
        values.map(|(column, field)| (column.name.to_owned(), of_csv(column, field))).collect()
    };
    reader.records().map(|r| row(r.unwrap())).collect()
}

/// A value of Parquet as JSON has it.
fn of_parquet(field: &Field) -> Json {
    match field {
        Field::Null => Json::Null,
        Field::Bool(x) => (*x).into(),
        Field::Long(x) => (*x).into(),
        Field::Double(x) => (*x).into(),
        Field::Str(x) => x.as_str().into(),
        Field::TimestampMicros(us) => hueflow_bridge::clock::rfc3339(us.unsigned_abs()).into(),
        other => panic!("{other:?}"),
    }
}

fn parquet_rows(g: &Ground, table: Table, which: &Selection) -> Vec<Map<String, Json>> {
    let file = bytes(g, table, which, |out| Box::new(Parquet::new(out, table.name(), table.columns()).unwrap()));
    let reader = SerializedFileReader::new(parquet_bytes(file)).unwrap();
    let row = |row: parquet::record::Row| {
        row.get_column_iter().map(|(name, field)| (name.clone(), of_parquet(field))).collect()
    };
    reader.get_row_iter(None).unwrap().map(|r| row(r.unwrap())).collect()
}

/// The reader of Parquet wants a file or its own bytes.
fn parquet_bytes(bytes: Vec<u8>) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    file
}

/// A report with two regions of 50 and 46 pixels. Only the first has colour 1, in 2 of 3 frames.
fn with_regions(stream: u64, seq: u64) -> Vec<u8> {
    let named = NamedShare { colour: 1, pixels: 10, de00_q6: 96 };
    let of_first = (!seq.is_multiple_of(3)).then_some(named);
    let regions = [
        RegionShare { region: 0, pixels: 50, named: of_first.into_iter().collect() },
        RegionShare { region: 1, pixels: 46, named: Default::default() },
    ];
    let report = Report {
        scatter_q12: None,
        silhouette_ppm: (seq > 0).then_some(250_000),
        regions: regions.into_iter().collect(),
        ..report(seq)
    };
    seal(&envelope(Kind::Report, stream, seq), &report, &[]).unwrap()
}

fn of_device(device: &str, mut batch: Batch) -> Batch {
    batch.records.iter_mut().for_each(|r| r.entry.key = device.to_owned());
    batch
}

/// pi: boot 8 with 3 reports, 2 events, a loss and a dead letter, then boot 6, which came later, with 1,300 plain reports.
fn fill(g: &Ground) {
    let mut store = g.open();
    begin(&mut store, "j");
    let status = r#"{"state":"online","regions":["bed, \"north\"","path"],"colours":["red","green"]}"#;
    let mut first: Vec<_> = (0..3).map(|seq| ("metrics", with_regions(8, seq))).collect();
    first.push(("event", event(8, 3, "door", EventChange::Begin)));
    first.push(("event", event(8, 4, "door", EventChange::End)));
    first.push(("metrics", loss(9, 0, 8, 10, 15)));
    first.push(("metrics", b"nonsense that is longer than an envelope, by a little".to_vec()));
    first.push(("window", window(8, 1, None, &[(8, 0, 0, 15), (9, 0, 0, 1)])));
    first.push(("status", status.as_bytes().to_vec()));
    store.apply(&batch(1, &first)).unwrap();
    let mut second: Vec<_> = (0..1_300).map(|seq| ("metrics", record(6, seq))).collect();
    second.push(("window", window(6, 1, None, &[(6, 0, 0, 1_300), (7, 0, 0, 0)])));
    store.apply(&batch(100, &second)).unwrap();
    store.apply(&of_device("a", batch(2_000, &[("metrics", record(4, 7))]))).unwrap();
}

fn all() -> Selection {
    Selection { device: None, times_us: EVER }
}

/// The values of a column.
fn column<T: serde::de::DeserializeOwned>(rows: &[Map<String, Json>], name: &str) -> Vec<T> {
    rows.iter().map(|r| serde_json::from_value(r[name].clone()).unwrap()).collect()
}

fn every_format_says_the_same(g: &Ground) {
    fill(g);
    let of_pi = Selection { device: Some("pi".to_owned()), times_us: EVER };
    for (table, rows) in ALL.into_iter().zip([1_304, 2_608, 6, 12, 2, 2, 2, 3, 1, 1]) {
        let json = json_rows(g, table, &all());
        assert_eq!(csv_rows(g, table, &all()), json, "{}", table.name());
        assert_eq!(parquet_rows(g, table, &all()), json, "{}", table.name());
        if matches!(table, Table::Minutes | Table::Hours) {
            let reports: Vec<u64> = column(&json, "reports");
            assert_eq!(reports.iter().sum::<u64>(), 1_304);
        } else {
            assert_eq!(json.len(), rows, "{}", table.name());
        }
        let pi: Vec<_> = json.into_iter().filter(|r| r["device"] == "pi").collect();
        assert_eq!(json_rows(g, table, &of_pi), pi, "{}", table.name());
    }
}

fn reports_are_in_the_order_of_boots_and_within_the_times(g: &Ground) {
    fill(g);
    let rows = json_rows(g, Table::Reports, &all());
    let streams: Vec<String> = column(&rows, "stream");
    let seqs: Vec<u64> = column(&rows, "seq");
    let want = [("4", 7)].into_iter().chain((0..3).map(|n| ("8", n))).chain((0..1_300).map(|n| ("6", n)));
    let want: Vec<(String, u64)> = want.map(|(s, n)| (s.to_owned(), n)).collect();
    assert_eq!(streams.into_iter().zip(seqs).collect::<Vec<_>>(), want);
    let captured: Vec<String> = column(&rows, "captured_at");
    let at_us = |seq: usize| parse_rfc3339(&captured[4 + seq]).unwrap();
    assert_eq!(rows[0]["captured_at"], json!("2023-11-14T22:13:20.233331Z"));
    assert_eq!((&rows[1]["silhouette_estimate"], &rows[1]["scatter"]), (&Json::Null, &Json::Null));
    assert_eq!((&rows[2]["silhouette_estimate"], &rows[2]["converged"]), (&json!(0.25), &json!(true)));
    let times_us = at_us(600)..at_us(1_250);
    let part = json_rows(g, Table::Reports, &Selection { device: Some("pi".to_owned()), times_us });
    assert_eq!(column::<u64>(&part, "seq"), (600..1_250).collect::<Vec<_>>());
}

fn a_named_colour_is_a_row_of_each_region_and_frame_also_where_it_is_absent(g: &Ground) {
    fill(g);
    let rows = json_rows(g, Table::Named, &all());
    let pixels = |region: u64, colour: &str| {
        let its = rows.iter().filter(|r| r["region"] == region && r["colour_name"] == colour);
        its.map(|r| (r["pixels"].as_u64().unwrap(), r["region_pixels"].as_u64().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(pixels(0, "green"), [(0, 50), (10, 50), (10, 50)]);
    assert_eq!(pixels(1, "green"), [(0, 46); 3]);
    assert_eq!(pixels(0, "red"), [(0, 50); 3]);
    assert_eq!((&rows[0]["region_name"], &rows[0]["delta_e"]), (&json!("bed, \"north\""), &Json::Null));
    assert!(rows.iter().any(|r| r["delta_e"] == json!(1.5)));
    let regions = json_rows(g, Table::Regions, &all());
    assert_eq!(column::<u64>(&regions, "pixels"), [50, 46, 50, 46, 50, 46]);
}

on_both!(
    every_format_says_the_same,
    reports_are_in_the_order_of_boots_and_within_the_times,
    a_named_colour_is_a_row_of_each_region_and_frame_also_where_it_is_absent,
);

#[test]
fn parquet_is_written_in_row_groups_of_a_bounded_size() {
    let columns = [Column { name: "n", kind: Of::Int, is_optional: true }];
    let out = Bytes::default();
    let mut writer: Box<dyn RowWriter> = Box::new(Parquet::new(out.clone(), "t", &columns).unwrap());
    let rows = 2 * GROUP_ROWS as i64 + 5;
    for n in 0..rows {
        writer.write(&[if n % 2 == 0 { Value::Null } else { Value::Int(n) }]).unwrap();
    }
    let held = out.0.lock().unwrap().len();
    assert!(held > GROUP_ROWS, "two row groups are written already: {held}");
    writer.finish().unwrap();
    let reader = SerializedFileReader::new(parquet_bytes(out.take())).unwrap();
    let groups = reader.metadata().row_groups().iter().map(|g| g.num_rows());
    assert_eq!(groups.collect::<Vec<_>>(), [GROUP_ROWS as i64, GROUP_ROWS as i64, 5]);
    let mut all = reader.get_row_iter(None).unwrap().map(Result::unwrap);
    let last = all.nth(GROUP_ROWS * 2 + 3).unwrap();
    assert_eq!(of_parquet(last.get_column_iter().next().unwrap().1), json!(GROUP_ROWS * 2 + 3));
}
