//! `hueflow-metrics export` as a process: files, standard output, flags that do not fit, and the example in the documents.
//!
//! Stores are SQLite files in temporary folders, filled as ingest fills them. What tables hold is tested in `store/exported.rs`.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{envelope, report};
use firmware::custody::Kind;
use firmware::wire::{NamedShare, RegionShare, Report};
use hueflow_bridge::config::StoreConfig;
use hueflow_bridge::journal::{Batch, Record};
use hueflow_bridge::metrics::store::Store;
use hueflow_bridge::relay::verdict::{ValueFormat, Verdict, judge, seal};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const METRICS: &str = env!("CARGO_BIN_EXE_hueflow-metrics");
/// Microseconds of a day.
const DAY_US: u64 = 86_400_000_000;

/// A report of a frame of 96 pixels: a bed of 50 pixels of which `green_px` are green, and a path without green.
fn garden(seq: u64, green_px: u32) -> Report {
    let named = |pixels| NamedShare { colour: 0, pixels, de00_q6: 200 };
    let regions = [
        RegionShare { region: 0, pixels: 50, named: (green_px > 0).then(|| named(green_px)).into_iter().collect() },
        RegionShare { region: 1, pixels: 46, named: Default::default() },
    ];
    Report { regions: regions.into_iter().collect(), ..report(seq) }
}

/// A store of one device: two days of ten frames. The bed's share of green is 20 % on the first and 40 % on the second.
fn store(dir: &Path) -> PathBuf {
    let file = dir.join("store.db");
    let mut store = Store::open(&StoreConfig::of_file(&file)).unwrap();
    store.begin("j").unwrap();
    let mut deliveries =
        vec![("status", br#"{"state":"online","regions":["bed","path"],"colours":["green"]}"#.to_vec())];
    for seq in 0..20 {
        let mut envelope = envelope(Kind::Report, 8, seq);
        envelope.captured_at_us += seq / 10 * DAY_US;
        let green_px = if seq < 10 { 10 + 10 * (seq % 2) as u32 - 5 } else { 20 };
        deliveries.push(("metrics", seal(&envelope, &garden(seq, green_px), &[]).unwrap()));
    }
    let mut records = Vec::new();
    for (offset, (kind, bytes)) in (1..).zip(&deliveries) {
        let Verdict::Keep { entry, .. } =
            judge(&format!("hueflow/home/garden/{kind}"), bytes, 5_000_000, ValueFormat::Json)
        else {
            panic!("{kind} is not kept")
        };
        records.push(Record { place: "local".to_owned(), partition: 0, offset, entry });
    }
    store.apply(&Batch { records, restarted: Vec::new() }).unwrap();
    file
}

fn export(store: &Path, flags: &[&str]) -> Output {
    Command::new(METRICS).arg("export").arg("--store").arg(store).args(flags).output().unwrap()
}

/// The names of the files in a folder. SQLite's own come and go.
fn files(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|n| !n.starts_with("store.db-")).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_whole_or_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    // A file of a like name is somebody else's. A link leads to the file.
    std::fs::write(dir.path().join("reports.csv.part"), "mine").unwrap();
    let out = dir.path().join("reports.csv");
    let to = out.to_str().unwrap();
    std::os::unix::fs::symlink("real.csv", &out).unwrap();
    std::fs::write(dir.path().join("real.csv"), "old").unwrap();
    let before = files(dir.path());
    assert!(export(&store, &["--out", to]).status.success());
    let text = std::fs::read_to_string(dir.path().join("real.csv")).unwrap();
    assert_eq!(text.lines().count(), 21);
    assert!(out.is_symlink());
    assert_eq!(std::fs::read_to_string(dir.path().join("reports.csv.part")).unwrap(), "mine");
    let piped = export(&store, &["--table", "reports", "--format", "csv", "--device", "garden"]);
    assert_eq!(String::from_utf8(piped.stdout).unwrap(), text);
    // A failure leaves the old file, and no part of a new one.
    let full = Command::new("sh")
        .args(["-c", "ulimit -f 0; trap '' XFSZ; exec \"$@\"", "sh", METRICS, "export", "--store"])
        .arg(&store)
        .args(["--format", "jsonl", "--out", to])
        .output()
        .unwrap();
    assert!(!full.status.success());
    assert_eq!(std::fs::read_to_string(&out).unwrap(), text);
    assert_eq!(files(dir.path()), before);
}

#[test]
fn flags_that_do_not_fit_and_devices_that_are_not_there_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    for (flags, code, expected) in [
        (&["--table", "ledger", "--from", "1h"][..], 2, "--table ledger has no times"),
        (&["--from", "2026-01-02", "--to", "2026-01-01"], 2, "--from must be before --to"),
        (&["--since", "yesterday"], 2, "`yesterday`"),
        (&["--device", "gardn"], 66, "the store has no device gardn; it has: garden"),
        (&["--out", "/nowhere/x.csv"], 74, "/nowhere/x.csv.part-"),
    ] {
        let output = export(&store, flags);
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {printed}");
        assert!(printed.contains(expected), "{flags:?}: {printed}");
    }
    assert_eq!(export(&dir.path().join("none.db"), &[]).status.code(), Some(66));
}

#[test]
fn a_reader_that_closes_its_end_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let mut child = Command::new(METRICS)
        .args(["export", "--table", "palette", "--store"])
        .arg(&store)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut printed = String::new();
    child.stderr.take().unwrap().read_to_string(&mut printed).unwrap();
    assert!(child.wait().unwrap().success(), "{printed}");
}

/// The shell blocks of a document, as one script.
fn script(document: &str) -> String {
    let blocks = document.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_of_greenness_gives_the_shares_and_coordinates_of_a_generated_store() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    let document = include_str!("../../deploy/examples/greenness.md");
    let path = format!("{}:{}", Path::new(METRICS).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script(document)])
        .current_dir(dir.path())
        .env("PATH", path)
        .output()
        .unwrap();
    let (printed, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{wrong}");
    // Green is 5 or 15 of 50 pixels in the frames of the first day, 20 in those of the second.
    for line in
        ["2023-11-14  bed   green  20.0 %", "2023-11-15  bed   green  40.0 %", "2023-11-14  path  green   0.0 %"]
    {
        assert!(printed.lines().any(|l| l.trim_end() == line), "{line} is not in:\n{printed}");
    }
    // 60 pixels of (255, 0, 1) and 36 of (1, 2, 1): green is 72 of 15,504.
    for day in ["2023-11-14", "2023-11-15"] {
        let line = format!("{day}  garden  0.0046");
        assert!(printed.lines().any(|l| l.trim_end() == line), "{line} is not in:\n{printed}");
    }
}
