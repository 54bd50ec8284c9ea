//! Dead letters judged again: over the local journal, as a process, with the store behind it.
//!
//! The inputs are letters as an older bridge would have left them, made by the relay's own rules. The tests check the
//! journal, the store and the output.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{envelope, record, report};
use firmware::custody::{Envelope, Kind};
use hueflow_bridge::config::StoreConfig;
use hueflow_bridge::journal::local::{LocalJournal, Retention};
use hueflow_bridge::journal::{Entry, Journal, Offsets};
use hueflow_bridge::metrics::store::Store;
use hueflow_bridge::metrics::store::ledger::Line;
use hueflow_bridge::relay::verdict::{ValueFormat, Verdict, judge, seal};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn open(dir: &Path) -> LocalJournal {
    LocalJournal::open(&dir.join("j.db"), Retention { days: 7, video_bytes_max: 1 << 20 }, true).unwrap()
}

fn put(dir: &Path, entries: Vec<Entry>) {
    let journal = open(dir);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for e in entries {
        runtime.block_on(journal.append(std::sync::Arc::new(e))).unwrap();
    }
}

fn judged(kind: &str, bytes: &[u8]) -> Entry {
    match judge(&format!("hueflow/home/pi/{kind}"), bytes, 5_000_000, ValueFormat::Json) {
        Verdict::Keep { entry, .. } => entry,
        other => panic!("{other:?}"),
    }
}

/// A sound record, as a bridge that could not read its version would have kept it.
fn not_yet_readable(seq: u64) -> Entry {
    let newer = seal(&Envelope { payload_version: 99, ..envelope(Kind::Report, 8, seq) }, &report(seq), &[]).unwrap();
    let (mut letter, value) = (judged("metrics", &newer), record(8, seq));
    let renewed = letter.headers.iter().map(|(name, text)| match name {
        "sha256" => (name, hueflow_bridge::relay::verdict::sha256(&value)),
        "bytes" => (name, value.len().to_string()),
        _ => (name, text.to_owned()),
    });
    letter.headers = renewed.collect();
    letter.value = value;
    letter
}

/// Ten letters that pass by now, one of them twice; one that stays dead; one that is cut; and two records.
fn house(dir: &Path) {
    let mut all: Vec<Entry> = (0..10).map(not_yet_readable).collect();
    all.push(not_yet_readable(3));
    let newer = seal(&Envelope { payload_version: 99, ..envelope(Kind::Report, 8, 10) }, &report(10), &[]).unwrap();
    all.push(judged("metrics", &newer));
    all.push(judged("census", &[7; 100_000]));
    all.extend([judged("metrics", &record(8, 11)), judged("metrics", &record(8, 12))]);
    put(dir, all);
}

fn dlq(dir: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let journal = format!("local:{}", dir.join("j.db").display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_hueflow-bridge"));
    let out = command.arg("dlq").args(arguments).args(["--journal", &journal]).output().unwrap();
    (out.status.code(), String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap())
}

fn topics(dir: &Path) -> Vec<String> {
    let batch = open(dir).reader(&Offsets::new()).unwrap().read(1_000, Duration::ZERO).unwrap();
    batch.records.iter().map(|r| r.entry.topic_name()).collect()
}

/// The store's ledger, filled anew or further.
fn ledger(dir: &Path) -> Line {
    let file = dir.join("store.db");
    let mut store = Store::open(&StoreConfig::of_file(file)).unwrap();
    let journal = open(dir);
    let from = store.begin(&journal.id()).unwrap();
    let batch = journal.reader(&from).unwrap().read(1_000, Duration::ZERO).unwrap();
    store.apply(&batch).unwrap();
    store.ledger().unwrap().into_iter().next().unwrap()
}

#[test]
fn letters_are_listed_with_all_that_is_known_of_them() {
    let dir = tempfile::tempdir().unwrap();
    house(dir.path());
    let (code, out) = dlq(dir.path(), &["list"]);
    assert_eq!((code, out.lines().count()), (Some(0), 13), "{out}");
    assert!(out.lines().next().unwrap().contains(" metrics.dlq pi stream 8 seq 0 bytes "), "{out}");
    let (_, out) = dlq(dir.path(), &["list", "--topic", "census", "--json"]);
    let letter: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&letter["bytes"], &letter["reason"]), (&100_000.into(), &"magic".into()), "{letter}");
    assert_eq!(letter["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(dlq(dir.path(), &["list", "--topic", "other"]).0, Some(2));
    assert_eq!(dlq(&dir.path().join("nowhere"), &["list"]).0, Some(66));
}

#[test]
fn a_replay_writes_what_passes_by_now_once_and_a_second_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    house(dir);
    let before = ledger(dir);
    assert_eq!((before.produced, before.stored, before.dead), (13, 2, 11));
    let (code, out) = dlq(dir, &["replay", "--all", "--dry-run"]);
    let printed = "replayed 10, still dead 1 (1 payload-version), skipped 2 (1 cut, 1 in its topic already)\n";
    assert_eq!((code, out), (Some(0), format!("dry run, nothing written: {printed}")));
    assert_eq!(topics(dir).len(), 15, "nothing written");

    assert_eq!(dlq(dir, &["replay", "--all"]), (Some(0), printed.to_owned()));
    assert_eq!(topics(dir)[15..], vec!["metrics"; 10]);
    let after = ledger(dir);
    assert_eq!((after.produced, after.stored, after.dead, after.missing), (13, 12, 1, 0));

    let (_, again) = dlq(dir, &["replay", "--all"]);
    assert_eq!(again, "replayed 0, still dead 1 (1 payload-version), skipped 12 (1 cut, 11 in its topic already)\n");
    assert_eq!(topics(dir).len(), 25);
    assert_eq!(ledger(dir), after);
}

#[test]
fn only_the_letters_that_were_asked_for_are_replayed() {
    let dir = tempfile::tempdir().unwrap();
    house(dir.path());
    let none = "replayed 0, still dead 0, skipped 0\n";
    assert_eq!(dlq(dir.path(), &["replay", "--device", "other"]).1, none);
    assert_eq!(dlq(dir.path(), &["replay", "--reason", "crc"]).1, none);
    assert_eq!(dlq(dir.path(), &["replay", "--device", "other", "--reason", "payload-version"]).1, none);
    let (_, out) = dlq(dir.path(), &["replay", "--reason", "payload-version", "--device", "pi"]);
    assert!(out.starts_with("replayed 10, still dead 1 (1 payload-version), skipped 1 "), "{out}");
    assert_eq!(dlq(dir.path(), &["replay"]).0, Some(2), "all of them only with --all");
}
