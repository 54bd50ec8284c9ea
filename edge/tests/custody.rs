//! Custody from the edge's side: the real binary against a broker that forgets, cuts and lies.
//!
//! The broker is scripted and listens on a free loopback port. Tests wait for conditions, each with a limit.

// A test that cannot go on panics, which shows where.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod scripted;

use firmware::custody::{Envelope, Kind};
use firmware::limits::{ENVELOPE_BYTES, PAYLOAD_BYTES_MAX};
use firmware::wire::{self, Loss, LossReason, Payload, Report};
use scripted::{Broker, Faults, Received};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

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

fn reports(received: &Received) -> Vec<Report> {
    let payloads = received.journal.values().map(|r| Envelope::open(r).unwrap());
    payloads
        .filter(|(e, _)| e.kind() == Some(Kind::Report))
        .map(|(_, p)| wire::decode(Report::VERSION, p).unwrap())
        .collect()
}

/// Each stream's seqs are 0, 1, 2 ... without a gap; gives how many streams and records there are.
#[track_caller]
fn without_gaps(received: &Received) -> (usize, usize) {
    let mut next = std::collections::BTreeMap::new();
    for &(stream, seq) in received.journal.keys() {
        let n = next.entry(stream).or_insert(0);
        assert_eq!(seq, *n, "a gap in stream {stream:x}");
        *n += 1;
    }
    (next.len(), received.journal.len())
}

#[test]
fn a_broker_that_forgets_what_it_acknowledged_and_cuts_connections_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(Faults { forget_one_in: 7, cut_after: 150 });
    let edge = start(&broker, dir.path(), "--source synthetic:64x48@30 --fast --frames 150 --video all");
    let err = ends_well(edge);
    let received = broker.received.lock().unwrap();
    // 150 reports, 150 pictures of one part, and the census at the end.
    assert_eq!(without_gaps(&received), (1, 301), "{err}");
    assert!(received.forgotten > 30 && received.connections > 2, "{} {}", received.forgotten, received.connections);
    let frames: Vec<u64> = reports(&received).iter().map(|r| r.frame).collect();
    assert_eq!(frames, (0..150).collect::<Vec<_>>());
    let window = received.window.clone().unwrap();
    assert_eq!((window.streams[0].floor, window.streams[0].next), (301, 301));
    assert!(received.journal.values().all(|r| r.len() <= ENVELOPE_BYTES + PAYLOAD_BYTES_MAX));
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
        let received = broker.received.lock().unwrap();
        let states: Vec<_> = received.statuses.iter().map(|s| s["state"].as_str().unwrap()).collect();
        assert_eq!((states.first(), states.last()), (Some(&"online"), Some(&"offline")));
        let last = received.statuses.last().unwrap();
        assert_eq!(last["config"]["camera.source"]["from"], "--source");
        assert_eq!(last["journal"], "scripted");
        assert!(received.will.contains(r#""state":"offline""#), "{}", received.will);
        assert!(received.pictures.iter().all(|p| Envelope::open(p).is_ok_and(|(e, _)| e.stream == 0)));
        assert!(!received.pictures.is_empty());
    }
    ends_well(start(&broker, dir.path(), "--source synthetic:64x48@100 --fast --frames 20"));
    let received = broker.received.lock().unwrap();
    let (streams, _) = without_gaps(&received);
    let all = reports(&received);
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
        // Of this run too: what an earlier one left comes first.
        let streams = |h: &Received| h.journal.keys().map(|k| k.0).collect::<BTreeSet<_>>().len();
        broker.wait("some records", |h| h.journal.len() > kill * 40 && streams(h) >= kill);
        edge.kill().unwrap();
        edge.wait().unwrap();
    }
    ends_well(start(&broker, dir.path(), "--source synthetic:64x48@200 --fast --frames 5"));
    let received = broker.received.lock().unwrap();
    let (streams, records) = without_gaps(&received);
    assert!(streams == 4 && records > 120, "{streams} {records}");
    // In each run the frames are numbered as the records are.
    let all = reports(&received);
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
    let received = broker.received.lock().unwrap();
    let last = reports(&received).pop().unwrap();
    assert_eq!((last.coreset_size, last.method.word()), (500, "uniform"));
    let status = received.statuses.last().unwrap();
    assert_eq!(status["config"]["clustering.lambda"]["value"], 25.5);
    assert_eq!(status["config"]["clustering.lambda"]["from"], "command");
    // What was refused is not in force, and the status has which, and why.
    assert_eq!(status["config"]["clustering.coreset_size"]["value"], 500);
    let refused = status["refused_commands"].as_array().unwrap();
    let mut refused: Vec<_> = refused.iter().map(|r| r["key"].as_str().unwrap()).collect();
    refused.sort_unstable();
    assert_eq!(refused, ["cmd", "cmd", "coreset_size", "lambda", "unknown"]);
}

/// An edge with a spool of the smallest size, that fills it fast.
fn start_small(dir: &Path, port: u16, more: &str, log: Stdio) -> Child {
    let config = dir.join("edge.toml");
    std::fs::write(&config, "[spool]\nbytes_max = 1048576\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hueflow-edge"));
    command.args(["run", "--device", "d", "--video", "all", "--lambda", "6"]).arg("--config").arg(config);
    command.arg("--spool").arg(dir.join("spool")).args(["--mqtt", &format!("mqtt://127.0.0.1:{port}")]);
    command.args(more.split(' ')).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

#[test]
fn a_full_spool_gives_up_its_oldest_records_and_names_each_in_a_loss_record() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(Faults::default());
    // Nobody listens on port 1: all stays in the spool, and what it cannot hold is given up.
    let away = "--source synthetic:64x48@30 --fast --frames 1500 --no-drain";
    let err = ends_well(start_small(dir.path(), 1, away, Stdio::piped()));
    assert_eq!(err.matches("the spool is full").count(), 1, "{err}");
    assert!(!err.contains(" frames refused"), "{err}");
    // With a broker it is emptied, but only when acks name the records.
    broker.silent.store(true, Ordering::Relaxed);
    let back = "--original --source synthetic:64x48@100 --frames 200";
    let edge = start_small(dir.path(), broker.port, back, Stdio::piped());
    broker.wait("the original of a later frame", |h| {
        h.pictures.iter().any(|p| Envelope::open(p).is_ok_and(|(e, _)| e.seq > 50))
    });
    broker.silent.store(false, Ordering::Relaxed);
    ends_well(edge);
    let received = broker.received.lock().unwrap();
    let (mut there, mut lost) = (BTreeMap::<u64, BTreeSet<u64>>::new(), BTreeMap::<u64, BTreeSet<u64>>::new());
    for (&(stream, seq), record) in &received.journal {
        there.entry(stream).or_default().insert(seq);
        let (envelope, payload) = Envelope::open(record).unwrap();
        match envelope.kind() {
            Some(Kind::Loss) => {
                let loss: Loss = wire::decode(Loss::VERSION, payload).unwrap();
                assert_eq!((loss.reason, stream & 1), (LossReason::Full, 1));
                lost.entry(loss.stream).or_default().extend(loss.from..loss.to);
            }
            Some(Kind::Report) => assert_eq!(wire::decode::<Report>(Report::VERSION, payload).unwrap().dropped, 0),
            _ => {}
        }
    }
    assert!(lost.values().map(BTreeSet::len).sum::<usize>() > 100, "{err}");
    // Of each stream each record is there or named, from the first to the last.
    for (stream, seqs) in &there {
        let mut all = seqs.clone();
        all.extend(lost.get(stream).into_iter().flatten());
        assert_eq!((all.first(), all.len() as u64), (Some(&0), all.last().unwrap() + 1), "{stream:x}");
    }
    let window = received.window.clone().unwrap();
    assert!(window.streams.iter().all(|s| s.floor == s.next), "{window:?}");
}

#[test]
fn a_record_whose_bytes_are_damaged_is_declared_lost_and_no_other_is() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    let away = "--source synthetic:64x48@30 --fast --frames 50 --no-drain";
    ends_well(start_small(dir.path(), 1, away, Stdio::piped()));
    let segment = spool.join("seg-0000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    // In the middle of the first record's payload.
    bytes[32 + ENVELOPE_BYTES + 20] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let broker = Broker::start(Faults::default());
    let err = ends_well(start_small(dir.path(), broker.port, "--source synthetic:64x48@30 --frames 1", Stdio::piped()));
    assert!(err.contains("1 damaged, 1 loss records"), "{err}");
    let received = broker.received.lock().unwrap();
    let losses: Vec<Loss> = received
        .journal
        .values()
        .map(|r| Envelope::open(r).unwrap())
        .filter(|(e, _)| e.kind() == Some(Kind::Loss))
        .map(|(_, p)| wire::decode(Loss::VERSION, p).unwrap())
        .collect();
    let [Loss { stream, from: 0, to: 1, reason: LossReason::Corrupt }] = losses[..] else { panic!("{losses:?}") };
    let there: Vec<u64> = received.journal.keys().filter(|k| k.0 == stream).map(|k| k.1).collect();
    // 50 reports and 50 pictures, and the census at the end; without the first.
    assert_eq!(there, (1..101).collect::<Vec<_>>());
}

#[test]
fn a_disk_that_refuses_costs_frames_that_are_counted_and_is_taken_up_again_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let (log, spool, away) = (dir.path().join("log"), dir.path().join("spool"), dir.path().join("away"));
    let more = "--source synthetic:64x48@30 --fast";
    let mut edge = start_small(dir.path(), 1, more, std::fs::File::create(&log).unwrap().into());
    let mut wait = |what: &str, is_so: &dyn Fn(&str) -> bool| {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let err = std::fs::read_to_string(&log).unwrap();
            if is_so(&err) {
                return;
            }
            assert!(Instant::now() < until && edge.try_wait().unwrap().is_none(), "{what} did not come: {err}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    wait("a full spool", &|err| err.contains("the spool is full"));
    std::fs::rename(&spool, &away).unwrap();
    wait("the disk's error", &|err| err.contains("; check the disk") && err.contains("refused and counted"));
    std::fs::rename(&away, &spool).unwrap();
    wait("the disk to be back", &|err| err.contains("takes records again"));
    signal(&edge, "-TERM");
    assert!(edge.wait().unwrap().success());
    let err = std::fs::read_to_string(&log).unwrap();
    assert!(err.contains(" frames refused") && !err.contains("panicked"), "{err}");
}
