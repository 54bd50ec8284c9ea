//! Custody from the edge's side: the real binary against a broker that forgets, cuts and lies.
//!
//! Takes the built program and a scripted broker. Gives nothing.
//! Touches temporary directories and a free loopback port.
//! Never sleeps where it can wait for a condition.

// A test that cannot go on shall say where.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod scripted;

use firmware::custody::{Envelope, Kind};
use firmware::limits::{ENVELOPE_BYTES, PAYLOAD_BYTES_MAX};
use firmware::wire::{self, Payload, Report};
use scripted::{Broker, Faults, Heard};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::Ordering;

fn start(broker: &Broker, spool: &Path, args: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_hueflow-edge"))
        .arg("run")
        .args(args.split_whitespace())
        .args(["--site", "s", "--device", "d", "--mqtt", &format!("mqtt://127.0.0.1:{}", broker.port)])
        .arg("--spool")
        .arg(spool)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[track_caller]
fn ends_well(child: Child) -> String {
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&stderr).into_owned();
    assert!(status.success() && !err.contains("panicked"), "{status}: {err}");
    err
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

fn reports(heard: &Heard) -> Vec<Report> {
    let payloads = heard.journal.values().map(|r| Envelope::open(r).unwrap());
    payloads
        .filter(|(e, _)| e.kind() == Some(Kind::Report))
        .map(|(_, p)| wire::decode(Report::VERSION, p).unwrap())
        .collect()
}

/// Each stream's seqs are 0, 1, 2 ... without a gap; gives how many streams and records there are.
#[track_caller]
fn without_gaps(heard: &Heard) -> (usize, usize) {
    let mut next = std::collections::BTreeMap::new();
    for &(stream, seq) in heard.journal.keys() {
        let n = next.entry(stream).or_insert(0);
        assert_eq!(seq, *n, "a gap in stream {stream:x}");
        *n += 1;
    }
    (next.len(), heard.journal.len())
}

#[test]
fn a_broker_that_forgets_what_it_acknowledged_and_cuts_connections_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(Faults { forget_one_in: 7, cut_after: 150 });
    let edge = start(&broker, dir.path(), "--source synthetic:64x48@30 --fast --frames 150 --video all");
    let err = ends_well(edge);
    let heard = broker.heard.lock().unwrap();
    // 150 reports, 150 pictures of one part, and the census at the end.
    assert_eq!(without_gaps(&heard), (1, 301), "{err}");
    assert!(heard.forgotten > 30 && heard.connections > 2, "{} {}", heard.forgotten, heard.connections);
    let frames: Vec<u64> = reports(&heard).iter().map(|r| r.frame).collect();
    assert_eq!(frames, (0..150).collect::<Vec<_>>());
    let window = heard.window.clone().unwrap();
    assert_eq!((window.streams[0].floor, window.streams[0].next), (301, 301));
    assert!(heard.journal.values().all(|r| r.len() <= ENVELOPE_BYTES + PAYLOAD_BYTES_MAX));
}

#[test]
fn a_stop_says_offline_and_the_next_start_brings_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(Faults::default());
    let edge = start(&broker, dir.path(), "--source synthetic:64x48@100 --census-every 0");
    broker.wait("some records", |h| h.journal.len() > 60);
    signal(&edge, "-TERM");
    let err = ends_well(edge);
    assert!(err.contains("stream interrupted"), "{err}");
    broker.wait("the last word", |h| h.statuses.last().is_some_and(|s| s["state"] == "offline"));
    {
        let heard = broker.heard.lock().unwrap();
        let states: Vec<_> = heard.statuses.iter().map(|s| s["state"].as_str().unwrap()).collect();
        assert_eq!((states.first(), states.last()), (Some(&"online"), Some(&"offline")));
        let last = heard.statuses.last().unwrap();
        assert_eq!(last["config"]["camera.source"]["from"], "--source");
        assert_eq!(last["journal"], "scripted");
        assert!(heard.will.contains(r#""state":"offline""#), "{}", heard.will);
        assert!(heard.pictures.iter().all(|p| Envelope::open(p).is_ok_and(|(e, _)| e.stream == 0)));
        assert!(!heard.pictures.is_empty());
    }
    ends_well(start(&broker, dir.path(), "--source synthetic:64x48@100 --fast --frames 20"));
    let heard = broker.heard.lock().unwrap();
    let (streams, _) = without_gaps(&heard);
    let all = reports(&heard);
    let frames = |n: u64| all.iter().filter(|r| r.frame == n).count();
    assert_eq!((streams, frames(0), frames(19)), (2, 2, 2));
    // Whatever was in the spool has left it: only the second run's active segment is there.
    let segments = std::fs::read_dir(dir.path()).unwrap().filter(|e| {
        let name = e.as_ref().unwrap().file_name();
        name.to_str().unwrap().starts_with("seg-")
    });
    assert!(segments.count() <= 2);
}

#[test]
fn killed_without_warning_again_and_again_no_accepted_record_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(Faults { forget_one_in: 5, cut_after: 0 });
    for kill in 1..=3 {
        let mut edge = start(&broker, dir.path(), "--source synthetic:64x48@200");
        broker.wait("some records", |h| h.journal.len() > kill * 40);
        edge.kill().unwrap();
        edge.wait().unwrap();
    }
    ends_well(start(&broker, dir.path(), "--source synthetic:64x48@200 --fast --frames 5"));
    let heard = broker.heard.lock().unwrap();
    let (streams, records) = without_gaps(&heard);
    assert!(streams == 4 && records > 120, "{streams} {records}");
    // In each run the frames are numbered as the records are.
    let all = reports(&heard);
    assert!(all.iter().all(|r| r.dropped == 0));
}

#[test]
fn commands_are_obeyed_or_refused_and_never_fatal() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(Faults::default());
    let edge = start(&broker, dir.path(), "--source synthetic:64x48@100 --census-every 0");
    broker.wait("a connection", |h| !h.journal.is_empty());
    let commands: [&[u8]; 7] = [
        b"\xff\xfe",
        b"{\"lambda\": -1}",
        b"{\"unknown\": 1}",
        b"{\"coreset_size\": 131072}",
        b"{\"lambda\": 25.5, \"method\": \"uniform\", \"coreset_size\": 500}",
        b"{\"snapshot\": true}",
        b"",
    ];
    broker.commands.lock().unwrap().extend(commands.map(<[u8]>::to_vec));
    broker.wait("the new lambda", |h| reports(h).last().is_some_and(|r| r.lambda_q6 == 1632));
    broker.wait("a census", |h| {
        h.journal.values().any(|r| Envelope::open(r).is_ok_and(|(e, _)| e.kind() == Some(Kind::Census)))
    });
    signal(&edge, "-INT");
    let err = ends_well(edge);
    assert_eq!(err.matches("a command is refused").count(), 5, "{err}");
    let heard = broker.heard.lock().unwrap();
    let last = reports(&heard).pop().unwrap();
    assert_eq!((last.coreset_size, last.method.word()), (500, "uniform"));
    let status = heard.statuses.last().unwrap();
    assert_eq!(status["config"]["clustering.lambda"]["value"], 25.5);
    assert_eq!(status["config"]["clustering.lambda"]["from"], "command");
}

#[test]
fn a_full_spool_refuses_frames_and_the_reports_say_how_many() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("edge.toml");
    std::fs::write(&config, "[spool]\nbytes_max = 1048576\n").unwrap();
    let spool = dir.path().join("spool");
    let broker = Broker::start(Faults::default());
    let begin = |port: u16, more: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hueflow-edge"));
        command.args(["run", "--device", "d", "--video", "all", "--original", "--lambda", "6"]);
        command.args(["--config", config.to_str().unwrap(), "--spool", spool.to_str().unwrap()]);
        command.args(["--mqtt", &format!("mqtt://127.0.0.1:{port}")]).args(more.split(' '));
        command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // Nobody listens on port 1: all stays in the spool, until it is full.
    let err = ends_well(begin(1, "--source synthetic:64x48@30 --fast --frames 900 --no-drain"));
    assert_eq!(err.matches("the spool is full").count(), 1, "{err}");
    // With a broker it is emptied, but only when the journal says that it has the records.
    broker.silent.store(true, Ordering::Relaxed);
    let edge = begin(broker.port, "--source synthetic:64x48@100 --frames 200");
    broker.wait("the original of a later frame", |h| {
        h.pictures.iter().any(|p| Envelope::open(p).is_ok_and(|(e, _)| e.seq > 50))
    });
    broker.silent.store(false, Ordering::Relaxed);
    ends_well(edge);
    let heard = broker.heard.lock().unwrap();
    assert_eq!(without_gaps(&heard).0, 2);
    // At every report of every run: frames seen = accepted + dropped.
    let (mut stream, mut accepted, mut dropped) = (0, 0, 0);
    for (&(of, _), record) in &heard.journal {
        let (envelope, payload) = Envelope::open(record).unwrap();
        if envelope.kind() == Some(Kind::Report) {
            let report: Report = wire::decode(Report::VERSION, payload).unwrap();
            accepted = if of == stream { accepted + 1 } else { 1 };
            stream = of;
            assert_eq!(report.frame + 1, accepted + report.dropped);
            dropped = dropped.max(report.dropped);
        }
    }
    assert!(dropped > 0, "the second run began with a full spool");
}
