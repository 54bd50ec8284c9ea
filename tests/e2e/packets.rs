//! Brokers that take only small packets, that two sites share, and that keep a message larger than the edge reads.
//!
//! Real mosquittos, edges and bridges; what arrives is read from the ledger, what the edge reports from its status and its log.

use harness::services::Mosquitto;
use harness::{House, Running, bin, wait_for};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

/// Programs over a mosquitto with more settings, and the local journal.
fn house(settings: &str) -> (House, Mosquitto) {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start_with(house.dir(), settings);
    house.mqtt = mosquitto.url();
    house.journal = format!("local:{}", house.path("journal.sqlite").display());
    (house, mosquitto)
}

/// The retained status of a device.
fn status(mosquitto: &Mosquitto, site: &str, device: &str) -> Option<Value> {
    let topic = format!("hueflow/{site}/{device}/status");
    let port = mosquitto.port.to_string();
    let out = Command::new("mosquitto_sub").args(["-p", &port, "-t", &topic, "-C", "1", "-W", "5"]).output();
    serde_json::from_slice(&out.expect("mosquitto_sub").stdout).ok()
}

fn sum(ledger: &[Value], key: &str) -> u64 {
    ledger.iter().filter_map(|l| l[key].as_u64()).sum()
}

/// Makes a spool with 73 frames and a census that is larger than a small broker takes, then drains and fills it over one.
fn small_packets(limit: u64) {
    let (house, mosquitto) = house(&format!("max_packet_size {limit}\n"));
    let large = ["--source", "synthetic:640x480@30", "--census-every", "1", "--video", "all"];
    // A backlog of before, when nothing was known of the broker.
    let mut before = Command::new(bin("hueflow-edge"));
    before.args(["run", "--site", "test", "--device", "pi", "--fast", "--frames", "73", "--no-drain", "--mqtt"]);
    before.arg("mqtt://127.0.0.1:1").args(large).arg("--spool").arg(house.path("spool-pi"));
    let mut before = Running::start("before", house.dir(), &mut before);
    assert_eq!(before.wait(LIMIT), 0, "{}", before.stderr());

    let (bridge, (metrics, _)) = (house.bridge(&[]), house.metrics());
    // It ends when the journal has every record that it can have.
    let mut edge = house.edge("pi", &[&large[..], &["--original", "--frames", "450"]].concat());
    let reported = wait_for("a status that names the limit", LIMIT, || {
        status(&mosquitto, "test", "pi").filter(|s| s["broker"]["packet_bytes_max"].is_u64())
    });
    let found = reported["broker"]["packet_bytes_max"].as_u64().unwrap();
    assert!(found <= limit + 4 && found > limit - limit / 50, "{limit}: {found}");
    wait_for("the new run's reports in the store", LIMIT, || {
        let has_reports = |l: &Value| l["frames_seen"].as_u64().is_some_and(|n| n != 73 && n > 100);
        house.ledger().iter().any(has_reports).then_some(())
    });
    let doctor = house.run("hueflow-edge", &["doctor", "--site", "test", "--device", "pi", "--mqtt", &house.mqtt]);
    let printed = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(printed.contains("packets of at most") && printed.contains("max_packet_size"), "{printed}");
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());

    let ledger = house.settled_ledger(2, LIMIT);
    assert_eq!(sum(&ledger, "missing"), 0, "{ledger:?}");
    let log = edge.stderr();
    let connections = log.matches("connected to the broker").count();
    assert!(connections < 8, "{connections} connections: {log}");
    assert_eq!(log.matches("the broker hangs up on packets of more than").count(), 1, "{log}");
    // Declared lost is only what was cut for a large broker: before the limit was known. The earlier run's reports fit.
    let number = |l: &Value, key: &str| l[key].as_u64().unwrap_or_default();
    let (new, old): (Vec<&Value>, Vec<&Value>) = ledger.iter().partition(|l| l["frames_seen"] == 450);
    assert!(number(old[0], "stored") >= 73 && number(old[0], "declared_lost") > 0, "{ledger:?}");
    assert!(number(new[0], "declared_lost") * 4 < number(new[0], "produced"), "{ledger:?}");
    assert!(log.contains("is larger than the broker takes"), "{log}");
    drop((bridge, metrics));
}

#[test]
fn a_broker_of_2048_bytes_takes_what_fits_and_is_named() {
    small_packets(2048);
}

#[test]
fn a_broker_of_16384_bytes_takes_what_fits_and_is_named() {
    small_packets(16_384);
}

#[test]
fn two_sites_with_a_device_of_the_same_name_share_a_broker() {
    let (house, mosquitto) = house("");
    let edge = |site: &str| {
        let mut command = Command::new(bin("hueflow-edge"));
        command.args([
            "run",
            "--site",
            site,
            "--device",
            "pi",
            "--source",
            "synthetic:64x48@30",
            "--mqtt",
            &house.mqtt,
        ]);
        Running::start(site, house.dir(), command.arg("--spool").arg(house.path(&format!("spool-{site}"))))
    };
    let bridge = |site: &str| {
        let mut command = Command::new(bin("hueflow-bridge"));
        let journal = format!("local:{}", house.path(&format!("journal-{site}")).display());
        command.args(["run", "--site", site, "--mqtt", &house.mqtt, "--journal", &journal]);
        Running::start(&format!("bridge-{site}"), house.dir(), &mut command)
    };
    let bridges = (bridge("north"), bridge("south"));
    let mut edges = [edge("north"), edge("south")];
    for site in ["north", "south"] {
        // A journal is named once the first records are acknowledged.
        wait_for("a status of each", LIMIT, || {
            status(&mosquitto, site, "pi").filter(|s| s["state"] == "online" && s["journal"].is_string())
        });
    }
    for edge in &mut edges {
        assert_eq!(edge.stop(), 0, "{}", edge.stderr());
        let log = edge.stderr();
        assert!(!log.contains("no connection to the broker"), "they pushed each other off: {log}");
        assert!(log.contains("records: 0 held"), "{log}");
    }
    drop(bridges);
}

#[test]
fn a_retained_message_that_is_larger_than_is_read_stops_nothing() {
    let (house, mosquitto) = house("max_packet_size 8000000\nmessage_size_limit 8000000\n");
    let junk = house.path("junk");
    std::fs::write(&junk, vec![b'x'; 3 << 20]).unwrap();
    for kind in ["cmd", "ack"] {
        let topic = format!("hueflow/test/pi/{kind}");
        let port = mosquitto.port.to_string();
        let sent =
            Command::new("mosquitto_pub").args(["-p", &port, "-r", "-q", "1", "-t", &topic, "-f"]).arg(&junk).status();
        assert!(sent.expect("mosquitto_pub").success());
    }
    let (bridge, (metrics, _)) = (house.bridge(&[]), house.metrics());
    let mut edge = house.edge("pi", &["--source", "synthetic:64x48@30", "--frames", "200"]);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    let ledger = house.settled_ledger(1, LIMIT);
    assert!(sum(&ledger, "missing") == 0 && sum(&ledger, "declared_lost") == 0, "{ledger:?}");
    let log = edge.stderr();
    assert!(log.contains("hueflow/test/pi/cmd, more than is read"), "{log}");
    assert!(log.matches("connected to the broker").count() < 12, "{log}");
    drop((bridge, metrics));
}
