//! Dead letters over a real Kafka: counted, listed, and replayed into the store.
//!
//! The inputs are junk, and a letter as an older bridge would have left it. No record may be stored twice.

use harness::services::{Kafka, Mosquitto};
use harness::{House, media, wait_for};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

/// Dead letters by reason, as the bridge's endpoint counts them.
fn counted(address: &str) -> BTreeMap<String, u64> {
    let mut s = TcpStream::connect(address).expect("the endpoint");
    write!(s, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    s.read_to_string(&mut text).unwrap();
    let dead = text.lines().filter_map(|l| l.strip_prefix("hueflow_bridge_dead_letters_total{reason=\""));
    dead.filter_map(|l| l.split_once("\"} ")).map(|(reason, n)| (reason.to_string(), n.parse().unwrap())).collect()
}

fn listed(house: &House) -> Vec<Value> {
    let out = house.run("hueflow-bridge", &["dlq", "list", "--json", "--journal", &house.journal]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn replay(house: &House) -> String {
    let out = house.run("hueflow-bridge", &["dlq", "replay", "--all", "--journal", &house.journal]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn letters_in_kafka_are_counted_listed_and_replayed_once() {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    let kafka = Kafka::start("4", house.dir());
    (house.mqtt, house.journal) = (mosquitto.url(), kafka.url());
    let bridge = house.bridge(&["--listen", "0"]);
    let line = bridge.wait_for_line("http://127.0.0.1:", LIMIT);
    let address = line.trim_end_matches('/').trim_start_matches("http://").to_string();
    let (metrics, _) = house.metrics();
    let port = mosquitto.port.to_string();
    for (topic, text) in [("metrics", "HF"), ("census", "HF"), ("window", "x"), ("status", "[1]"), ("video", "")] {
        let topic = format!("hueflow/test/pi-1/{topic}");
        let arguments = ["-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", &topic, "-m", text];
        assert!(Command::new("mosquitto_pub").args(arguments).status().unwrap().success());
    }
    wait_for("four letters", LIMIT, || (counted(&address).values().sum::<u64>() == 4).then_some(()));
    let mut reasons = BTreeMap::new();
    for letter in listed(&house) {
        *reasons.entry(letter["reason"].as_str().unwrap().to_string()).or_insert(0) += 1;
    }
    assert_eq!(reasons, counted(&address), "the counters are what the topics hold");

    // A sound record of pi-1's in the dead letters of pi-9, as if its version had been unknown when it came.
    let raw = house.path("record");
    let file = std::fs::File::create(&raw).unwrap();
    let arguments = ["-h", "127.0.0.1", "-p", &port, "-t", "hueflow/test/pi-1/metrics", "-C", "1", "-N"];
    let mut sub = Command::new("mosquitto_sub").args(arguments).stdout(file).spawn().unwrap();
    let source = format!("file:{}", media::clip().display());
    wait_for("a record on the wire", LIMIT, || {
        let mut edge = house.edge("pi-1", &["--source", &source, "--frames", "3", "--fast"]);
        assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
        sub.try_wait().unwrap()
    });
    let bytes = format!("bytes={}", std::fs::metadata(&raw).unwrap().len());
    let headers = ["reason=payload-version", "device=pi-9", "mqtt-kind=metrics", &bytes];
    let mut arguments = vec!["-P", "-t", "metrics.dlq", "-k", "pi-9"];
    arguments.extend(headers.iter().flat_map(|h| ["-H", h]));
    let raw = raw.to_string_lossy().into_owned();
    arguments.push(&raw);
    kafka.kcat(&arguments).expect("kcat");
    wait_for("the letter", LIMIT, || listed(&house).iter().any(|l| l["device"] == "pi-9").then_some(()));

    let printed = replay(&house);
    assert!(printed.starts_with("replayed 1, still dead 2 (2 short), skipped 2 (2 a window or a status"), "{printed}");
    let rows = || house.query("SELECT count(*) FROM reports WHERE device = 'pi-9'");
    wait_for("the row", LIMIT, || (rows() == ["1"]).then_some(()));
    let printed = replay(&house);
    assert!(printed.starts_with("replayed 0, still dead 2 (2 short), skipped 3 "), "{printed}");
    let theirs = kafka.consume("metrics", "%k\n").into_iter().filter(|k| k == "pi-9").count();
    assert_eq!((theirs, rows()), (1, vec!["1".to_string()]));
    drop(metrics);
}
