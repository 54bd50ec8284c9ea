//! The bridge's own endpoint: it counts what was sent and what the journal has, and it reports what is wrong.
//!
//! The built bridge gets records from a scripted edge, and junk. The tests check `/metrics` and `/healthz` on free loopback
//! ports. No process is left behind.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::edge::Edge;
use common::record;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BRIDGE: &str = env!("CARGO_BIN_EXE_hueflow-bridge");
const LIMIT: Duration = Duration::from_secs(20);

struct Bridge {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bridge {
    fn start(mqtt: &str, journal: &str) -> Bridge {
        let arguments = ["run", "--mqtt", mqtt, "--journal", journal, "--listen", "0"];
        let mut child = Command::new(BRIDGE).args(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let (tx, lines) = std::sync::mpsc::channel();
        let err = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || err.map_while(Result::ok).for_each(|l| drop(tx.send(l))));
        Bridge { child, lines }
    }

    /// What follows `mark` in a line of its log.
    fn wait_for_text(&self, mark: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("no {mark}"));
            if let Some((_, rest)) = line.split_once(mark) {
                return rest.trim_end_matches('/').to_owned();
            }
        }
    }
}

fn get(port: &str, path: &str) -> (String, String) {
    let mut s = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    write!(s, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut all = String::new();
    s.read_to_string(&mut all).unwrap();
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// The samples of `/metrics`.
fn samples(port: &str) -> BTreeMap<String, f64> {
    let (head, body) = get(port, "/metrics");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    let all = body.lines().filter(|l| !l.starts_with('#')).map(|l| l.rsplit_once(' ').unwrap());
    all.map(|(name, value)| (name.trim_start_matches("hueflow_bridge_").to_owned(), value.parse().unwrap())).collect()
}

/// Waits until a condition holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_counters_agree_with_what_was_sent_and_with_the_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let journal = format!("local:{}", dir.path().join("j.db").display());
    let bridge = Bridge::start("embedded", &journal);
    let page = bridge.wait_for_text("http://127.0.0.1:");
    let mqtt: u16 = bridge.wait_for_text("mqtt://127.0.0.1:").parse().unwrap();
    until("healthy", || get(&page, "/healthz").0.starts_with("HTTP/1.1 200"));
    let mut records: Vec<(&str, u64, Vec<u8>)> = (0..50).map(|seq| ("metrics", seq, record(8, seq))).collect();
    // Two that are dead, and all the same handed over.
    records.extend((50..52).map(|seq| ("census", seq, record(8, seq))));
    let edge = Edge { device: "pi".to_owned(), boot: 8, records, window: 16 };
    let sent = edge.run(mqtt, LIMIT, |_| {});
    until("all counted", || {
        let m = samples(&page);
        let dead = m.get("dead_letters_total{reason=\"kind-topic\"}").copied().unwrap_or(0.0);
        m["records_relayed_total"] + dead >= sent as f64 && m["records_in_flight"] == 0.0
    });
    let m = samples(&page);
    let out = Command::new(BRIDGE).args(["dlq", "list", "--json", "--journal", &journal]).output().unwrap();
    let listed = String::from_utf8(out.stdout).unwrap().lines().filter(|l| l.contains("kind-topic")).count();
    assert_eq!(m["dead_letters_total{reason=\"kind-topic\"}"] as usize, listed);
    assert_eq!(m["records_relayed_total"] as usize + listed, sent);
    // Those that come after the last window are not remembered.
    assert!(m["duplicates_total"] as usize <= sent - 52, "{m:?}");
    assert_eq!((m["devices"], m["mqtt_reconnects_total"]), (1.0, 0.0), "{m:?}");
    assert!(m["acks_sent_total"] >= 1.0 && m["windows_relayed_total"] >= 2.0 && m["relayed_bytes_total"] > 1_000.0);
    assert!(m["last_record_timestamp_seconds"] > 1.6e9, "{m:?}");
    assert_eq!((m["mqtt_connected"], m["journal_reachable"], m["journal_errors_total"]), (1.0, 1.0, 0.0));
}

#[test]
fn without_a_broker_the_endpoint_answers_that_it_is_not_well_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let journal = format!("local:{}", dir.path().join("j.db").display());
    let bridge = Bridge::start("mqtt://127.0.0.1:1", &journal);
    let page = bridge.wait_for_text("http://127.0.0.1:");
    bridge.wait_for_text("trying again");
    until("the journal is there", || samples(&page)["journal_reachable"] == 1.0);
    let (head, body) = get(&page, "/healthz");
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert!(body.starts_with("MQTT: mqtt://127.0.0.1:1: ") && !body.contains("journal:"), "{body}");
    assert_eq!(samples(&page)["mqtt_connected"], 0.0);
}
