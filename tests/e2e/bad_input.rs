//! What is sent to the bridge by mistake or by malice is kept apart and counted, and delays no other device.
//!
//! Junk must cause no panic and no stall, and each piece must be reported.

use harness::services::{Kafka, Mosquitto};
use harness::{House, media};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

fn publish(port: u16, topic: &str, payload: &[u8]) {
    let port = port.to_string();
    let mut child = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", topic, "-s"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("mosquitto_pub");
    child.stdin.take().unwrap().write_all(payload).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn random_bytes_on_the_metrics_topic_become_dead_letters_with_a_reason_and_nobody_waits() {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    let kafka = Kafka::start("4", house.dir());
    (house.mqtt, house.journal) = (mosquitto.url(), kafka.url());
    let mut bridge = house.bridge(&[]);
    let (metrics, _) = house.metrics();
    let rubbish: Vec<u8> = (0..5_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    publish(mosquitto.port, "hueflow/test/pi-1/metrics", &rubbish);
    publish(mosquitto.port, "hueflow/test/pi-1/metrics", b"HF");
    publish(mosquitto.port, "hueflow/test/pi-1/window", &[9, 9, 9]);
    publish(mosquitto.port, "hueflow/test/pi-1/census", &vec![7; 200_000]);
    let source = format!("file:{}", media::clip().display());
    let mut edge = house.edge("pi-1", &["--source", &source, "--frames", "30", "--fast"]);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    let ledger = house.settled_ledger(1, LIMIT);
    assert_eq!((&ledger[0]["dead"], &ledger[0]["missing"]), (&0.into(), &0.into()), "{ledger:?}");
    let dead = kafka.consume("metrics.dlq", "%h\n");
    assert_eq!(dead.len(), 2, "{dead:?}");
    assert!(dead.iter().all(|h| h.contains("reason=")), "{dead:?}");
    assert_eq!(kafka.consume("census.dlq", "%S\n"), ["65536"], "cut at 64 KiB");
    assert_eq!(kafka.consume("metrics", "%k\n").len(), 30);
    assert!(bridge.is_running());
    drop(metrics);
}

#[test]
fn an_unreachable_broker_is_said_once_and_the_run_goes_on() {
    let house = House::new("mqtt://127.0.0.1:1", "");
    let source = format!("file:{}", media::clip().display());
    let mut edge = house.edge("pi-1", &["--source", &source, "--frames", "60", "--no-drain"]);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    let text = edge.stderr();
    let complaints = text.lines().filter(|l| l.contains("127.0.0.1:1") && (l.contains("WARN") || l.contains("ERROR")));
    assert_eq!(complaints.count(), 1, "{text}");
    assert!(text.contains("60 frames"), "{text}");
}
