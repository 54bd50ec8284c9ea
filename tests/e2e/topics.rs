//! Kafka topics that somebody made with settings of their own, and a cluster whose advertised address is wrong.
//!
//! A real broker, relay and edge. Topics that take only small messages keep every record; topics that compact and brokers
//! that cannot be reached are named.

use harness::services::{Kafka, Mosquitto};
use harness::{House, bin, media, wait_for};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
const FRAMES: u64 = 300;

/// More than a report, and less than a batch of all that waits while Kafka is held.
const SMALL_BYTES: &str = "3000";

/// Runs an edge while Kafka is held, so that its records leave in batches as large as the bridge makes them.
fn run(house: &House, kafka: &mut Kafka, device: &str) {
    kafka.signal("STOP");
    let (frames, source) = (FRAMES.to_string(), format!("file:{}", media::clip().display()));
    let arguments = ["--source", &source, "--loop", "--fast", "--frames", &frames, "--census-every", "0"];
    let mut edge = house.edge(device, &arguments);
    edge.wait_for_line("waiting until the journal has the last", LIMIT);
    kafka.signal("CONT");
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
}

/// What a doctor prints, and its exit code.
fn doctor(journal: &str) -> (i32, String) {
    let store = std::env::temp_dir().join("hueflow-store-of-nobody.sqlite");
    let output = Command::new(bin("hueflow-metrics"))
        .args(["doctor", "--listen", "127.0.0.1:0", "--journal", journal, "--store"])
        .arg(store)
        .output()
        .expect("it starts");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn topics_that_take_only_small_messages_keep_every_record() {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    let mut kafka = Kafka::start("4", house.dir());
    (house.mqtt, house.journal) = (mosquitto.url(), kafka.url());
    kafka.create_topic("metrics", &[("max.message.bytes", SMALL_BYTES)]);
    let bridge = house.bridge(&[]);
    bridge.wait_for_line("journal kafka://", LIMIT);
    let (metrics, _) = house.metrics();
    run(&house, &mut kafka, "pi-1");
    house.settled_after(1, FRAMES, LIMIT);
    assert!(!bridge.stderr().contains("a batch of entries is refused"), "batches fit: {}", bridge.stderr());

    // Made smaller under a bridge that runs and has taken the size of its batches from a larger setting.
    drop(bridge);
    kafka.alter_topic("metrics", "max.message.bytes", "1000000");
    let bridge = house.bridge(&[]);
    let opened = || (bridge.stderr().matches("journal kafka://").count() == 2).then_some(());
    wait_for("the second bridge's journal", LIMIT, opened);
    kafka.alter_topic("metrics", "max.message.bytes", SMALL_BYTES);
    run(&house, &mut kafka, "pi-2");
    house.settled_after(2, 2 * FRAMES, LIMIT);
    assert!(bridge.stderr().contains("a batch of entries is refused"), "{}", bridge.stderr());
    let dead = house.ledger().iter().filter_map(|line| line["dead"].as_u64()).sum::<u64>();
    assert_eq!(dead, 0, "{:?}", house.ledger());
    drop((bridge, metrics));
}

#[test]
fn a_record_that_its_topic_refuses_keeps_its_bytes_and_is_replayed_once_there_is_room() {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    let kafka = Kafka::start("4", house.dir());
    (house.mqtt, house.journal) = (mosquitto.url(), kafka.url());
    kafka.create_topic("metrics", &[("max.message.bytes", "300")]);
    let bridge = house.bridge(&[]);
    let (metrics, _) = house.metrics();
    let mut edge = house.edge("pi-1", &["--source", "synthetic:160x120@30", "--fast", "--frames", "20"]);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    // A broker under load may take a record before the topic's setting is in force there; that one is stored.
    let dead = wait_for("twenty reports, dead or stored", LIMIT, || {
        let dead = house.ledger().first()?["dead"].as_u64()?;
        let stored: u64 = house.query("SELECT count(*) FROM reports")[0].parse().unwrap();
        (dead > 0 && dead + stored == 20).then_some(dead)
    });
    kafka.alter_topic("metrics", "max.message.bytes", "1000000");
    let replayed = house.run("hueflow-bridge", &["dlq", "replay", "--all", "--journal", &house.journal]);
    let printed = [replayed.stdout, replayed.stderr].map(|out| String::from_utf8_lossy(&out).into_owned()).concat();
    assert!(printed.starts_with(&format!("replayed {dead}, still dead 0")), "{printed}");
    house.settled_after(1, 20, LIMIT);
    drop((bridge, metrics));
}

#[test]
fn compacted_topics_and_an_advertised_address_that_nobody_listens_at_are_named() {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    let port = harness::free_port();
    let nobody = harness::free_port();
    let kafka = Kafka::start("4", house.dir());
    (house.mqtt, house.journal) = (mosquitto.url(), kafka.url());
    kafka.create_topic("metrics", &[("cleanup.policy", "compact")]);
    let bridge = house.bridge(&[]);
    bridge.wait_for_line("topic metrics: cleanup.policy is compact", LIMIT);
    let (code, printed) = doctor(&house.journal);
    assert!(
        code == 0 && printed.contains("warning  topics   topic metrics: cleanup.policy is compact"),
        "{code} {printed}"
    );
    drop((bridge, kafka));

    let elsewhere = House::new("", "");
    let kafka = Kafka::behind("4", elsewhere.dir(), port, nobody);
    let (code, printed) = doctor(&kafka.url());
    let named = format!("advertises 127.0.0.1:{nobody}: ");
    assert!(code == 69 && printed.contains("wrong    journal ") && printed.contains(&named), "{code} {printed}");
    assert!(printed.contains("advertised.listeners"), "{printed}");
}
