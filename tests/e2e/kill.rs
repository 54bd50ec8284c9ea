//! A program that is killed while records are in flight loses nothing.
//!
//! The source is a paced clip. A program is killed only once records are known to be in flight.

use harness::services::{Kafka, Mosquitto};
use harness::{House, Running, media, wait_for};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

fn stored(house: &House) -> u64 {
    house.ledger().iter().filter_map(|l| l["stored"].as_u64()).sum()
}

/// Frames that an edge with `--log-frames` has logged.
fn logged(edge: &Running) -> u64 {
    edge.stderr().matches("colours detected").count() as u64
}

/// With nobody relaying, waits until a second of frames more has been logged; gives how many of all are not stored.
fn in_flight(house: &House, edge: &Running) -> u64 {
    let from = logged(edge);
    wait_for("a second of frames that nobody relays", LIMIT, || (logged(edge) >= from + 30).then_some(()));
    let stored: u64 = house.query("SELECT count(*) FROM reports")[0].parse().unwrap();
    logged(edge).saturating_sub(stored)
}

#[test]
fn a_bridge_killed_while_records_are_in_flight_loses_and_repeats_nothing_in_the_store() {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    let kafka = Kafka::start("4", house.dir());
    (house.mqtt, house.journal) = (mosquitto.url(), kafka.url());
    let mut bridge = house.bridge(&[]);
    let (metrics, _) = house.metrics();
    let source = format!("file:{}", media::clip().display());
    let mut edge =
        house.edge("pi-1", &["--source", &source, "--loop", "--frames", "900", "--video", "off", "--log-frames"]);
    for kills in 1..=3u64 {
        wait_for("records to flow", LIMIT, || (stored(&house) > kills * 40).then_some(()));
        // Stopped first, so that it is known to hold deliveries that it will never acknowledge; then killed.
        bridge.signal("STOP");
        let flying = in_flight(&house, &edge);
        assert!(flying >= 20, "only {flying} records in flight at kill {kills}");
        bridge.kill();
        let before = stored(&house);
        bridge = house.bridge(&[]);
        wait_for("the new bridge to relay", LIMIT, || (stored(&house) > before).then_some(()));
    }
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    house.settled_after(1, 900, LIMIT);
    assert_eq!(house.query("SELECT count(*), count(DISTINCT frame) FROM reports"), ["900|900"]);
    drop((bridge, metrics, kafka, mosquitto));
}

#[test]
fn mosquitto_killed_with_everything_it_acknowledged_loses_nothing() {
    let (mut house, mut mosquitto) = {
        let house = House::new("", "");
        let mosquitto = Mosquitto::start(house.dir());
        (house, mosquitto)
    };
    (house.mqtt, house.journal) = (mosquitto.url(), format!("local:{}", house.path("journal.sqlite").display()));
    let mut bridge = house.bridge(&[]);
    let (metrics, _) = house.metrics();
    let source = format!("file:{}", media::clip().display());
    let mut edge = house.edge("pi-1", &["--source", &source, "--loop", "--frames", "240", "--log-frames"]);
    wait_for("records to flow", LIMIT, || (stored(&house) > 40).then_some(()));
    // With the bridge dead the broker fills with records it has acknowledged to the edge; then it dies with them.
    bridge.kill();
    let flying = in_flight(&house, &edge);
    assert!(flying >= 20, "only {flying} records in the broker that dies");
    mosquitto.process.kill();
    let _ = std::fs::remove_file(house.path("mosquitto.db"));
    mosquitto.restart();
    bridge = house.bridge(&[]);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    house.settled_after(1, 240, LIMIT);
    assert_eq!(house.query("SELECT count(*), count(DISTINCT frame) FROM reports"), ["240|240"]);
    drop((bridge, metrics));
}

#[test]
fn an_edge_killed_goes_on_in_a_new_boot_and_what_it_had_accepted_arrives() {
    let (house, bridge) = House::embedded();
    let (metrics, _) = house.metrics();
    let source = format!("file:{}", media::clip().display());
    let args = ["--source", &source, "--loop", "--frames", "100000"];
    let mut edge = house.edge("pi-1", &args);
    wait_for("records to flow", LIMIT, || (stored(&house) > 40).then_some(()));
    edge.kill();
    let mut edge = house.edge("pi-1", &["--source", &source, "--frames", "60"]);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    let ledger = house.settled_ledger(2, LIMIT);
    assert!(ledger.iter().all(|l| l["missing"] == 0), "{ledger:?}");
    drop((bridge, metrics));
}

#[test]
fn records_of_a_run_without_a_broker_wait_in_the_spool_and_arrive_with_the_next() {
    let (house, bridge) = House::embedded();
    let (metrics, _) = house.metrics();
    let source = format!("file:{}", media::clip().display());
    let alone = House::new("mqtt://127.0.0.1:1", "");
    let spool = house.path("spool-pi-1");
    let args = ["--source", &source, "--frames", "50", "--fast", "--no-drain"];
    let mut command = alone.edge_command_with_spool("pi-1", &spool, &args);
    let mut edge = harness::Running::start("alone", house.dir(), &mut command);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    let mut edge = house.edge("pi-1", &["--source", &source, "--frames", "10", "--fast"]);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    house.settled_after(2, 60, LIMIT);
    drop((bridge, metrics));
}
