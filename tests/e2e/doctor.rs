//! What `doctor` of the three programs reports of real brokers, and of a name that two edges have.
//!
//! mosquitto and Apache Kafka are the test's own. A check must not disconnect a program that runs.

use harness::services::{Kafka, Mosquitto};
use harness::{House, Running, bin, wait_for};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Doctor's line for the device's name, and its exit code.
fn device(house: &House, device: &str, spool: &Path) -> (i32, String) {
    let mut command = Command::new(bin("hueflow-edge"));
    command.args(["doctor", "--site", "test", "--device", device, "--mqtt", &house.mqtt, "--spool"]).arg(spool);
    let output = command.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|l| l.contains(" device ") || l.contains("wrong    broker"));
    (output.status.code().unwrap_or(-1), line.unwrap_or_else(|| panic!("no such line in {text}")).to_owned())
}

fn connected(edge: &Running) {
    edge.wait_for_line("connected to the broker", LIMIT);
}

#[test]
fn doctor_reports_a_name_that_two_edges_have_and_knows_its_own_edge() {
    let mut house = House::new("", "");
    let mut mosquitto = Mosquitto::start(house.dir());
    house.mqtt = mosquitto.url();
    let nobody = device(&house, "desk", &house.path("spool-desk"));
    assert!(nobody.0 == 0 && nobody.1.contains("no edge has used this name"), "{nobody:?}");

    let args = ["--source", "synthetic:64x48@10", "--census-every", "0"];
    let mut desk = house.edge("desk", &args);
    let mut shelf = house.edge("shelf", &args);
    connected(&desk);
    connected(&shelf);
    // It is identified by its own spool. The status follows the connection.
    let own = wait_for("desk to be known", LIMIT, || {
        let own = device(&house, "desk", &house.path("spool-desk"));
        own.1.contains("is online").then_some(own)
    });
    assert!(own.0 == 0 && own.1.contains("this machine's own edge"), "{own:?}");
    // For the edge shelf, the one named desk is another.
    let other = device(&house, "desk", &house.path("spool-shelf"));
    assert!(other.0 == 78 && other.1.starts_with("wrong ") && other.1.contains("push each other off"), "{other:?}");
    assert!(other.1.contains("mqtt.device = "), "{other:?}");
    // From where nothing is known but that edges run here, it may be one of them.
    let maybe = device(&house, "desk", &house.path("spool-of-nobody"));
    assert!(
        maybe.0 == 0 && maybe.1.starts_with("warning ") && maybe.1.contains("may be this machine's own"),
        "{maybe:?}"
    );
    assert!(!desk.stderr().contains("no connection"), "doctor pushed it off: {}", desk.stderr());

    assert_eq!((desk.stop(), shelf.stop()), (0, 0));
    let gone = device(&house, "desk", &house.path("spool-desk"));
    assert!(gone.0 == 0 && gone.1.contains("is offline now"), "{gone:?}");
    mosquitto.process.kill();
    let away = device(&house, "desk", &house.path("spool-desk"));
    assert!(away.0 == 69 && away.1.contains("cannot be reached"), "{away:?}");
}

/// The output of one of the server side's programs, and its exit code.
fn server(house: &House, program: &str, args: &[&str]) -> (i32, String) {
    let output = house.run(program, args);
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_server_sides_doctors_report_what_they_find_and_create_nothing() {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    let kafka = Kafka::start("4", house.dir());
    (house.mqtt, house.journal) = (mosquitto.url(), kafka.url());
    let (mqtt, journal) = (house.mqtt.clone(), house.journal.clone());
    let bridge_args = ["doctor", "--site", "test", "--mqtt", &mqtt, "--journal", &journal];
    let (code, printed) = server(&house, "hueflow-bridge", &bridge_args);
    assert!(code == 0 && printed.contains("no bridge is online for site test"), "{code} {printed}");
    assert!(printed.contains("warning  topics   missing: metrics"), "{printed}");
    assert!(!kafka.kcat(&["-L"]).unwrap().contains("\"metrics\""), "a topic was made");

    let mut bridge = house.bridge(&[]);
    let (code, printed) = wait_for("the bridge to be online", LIMIT, || {
        let (code, printed) = server(&house, "hueflow-bridge", &bridge_args);
        printed.contains("a bridge is online for site test").then_some((code, printed))
    });
    assert!(code == 0 && printed.contains("ok       topics   10 are there"), "{code} {printed}");
    let store = house.store().display().to_string();
    let args = ["doctor", "--journal", &journal, "--store", &store, "--listen", "127.0.0.1:0"];
    let (code, printed) = server(&house, "hueflow-metrics", &args);
    assert!(
        code == 0 && printed.contains("store.sqlite (will be made)") && printed.contains("10 are there"),
        "{code} {printed}"
    );
    assert!(!house.store().exists(), "nothing is made");
    assert_eq!(bridge.stop(), 0);

    std::fs::write(house.path("text"), "a text, and no folder").unwrap();
    let journal = format!("local:{}/journal.db", house.path("text").display());
    let (code, printed) =
        server(&house, "hueflow-bridge", &["doctor", "--mqtt", "mqtt://127.0.0.1:1", "--journal", &journal]);
    assert!(
        code == 69 && printed.contains("wrong    broker ") && printed.contains("wrong    journal "),
        "{code} {printed}"
    );
}
