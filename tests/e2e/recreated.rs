//! A Kafka topic that was deleted and made anew while `hueflow-metrics` was away, with as many records as before.
//!
//! A real broker, relay and edge. The offsets of the store exist in the new topic as well, so that only the record before
//! them shows that it is another topic.

use harness::services::{Kafka, Mosquitto};
use harness::{House, wait_for};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn a_topic_that_was_made_anew_is_read_from_its_beginning() {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    let kafka = Kafka::start("4", house.dir());
    (house.mqtt, house.journal) = (mosquitto.url(), kafka.url());
    let run = |device: &str, frames: &str| {
        let arguments = ["--source", "synthetic:160x120@30", "--fast", "--frames", frames];
        let mut edge = house.edge(device, &arguments);
        assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    };
    let stored = |device: &str| house.query(&format!("SELECT count(*) FROM reports WHERE device = '{device}'"));
    let bridge = house.bridge(&[]);
    let (mut metrics, _) = house.metrics();
    run("pi-1", "40");
    wait_for("the first topic's records", LIMIT, || (stored("pi-1") == ["40"]).then_some(()));
    metrics.stop();
    drop(bridge);
    kafka.delete_topic("metrics");
    let bridge = house.bridge(&[]);
    // More records than before in each partition, whatever device is in which.
    for device in ["pi-1", "pi-2", "pi-3"] {
        run(device, "80");
    }
    let (metrics, _) = house.metrics();
    wait_for("the new topic's records", LIMIT, || {
        ([stored("pi-1"), stored("pi-2"), stored("pi-3")] == [["120"], ["80"], ["80"]]).then_some(())
    });
    assert!(metrics.stderr().contains("reading from the beginning"), "{}", metrics.stderr());
    drop((bridge, metrics));
}
