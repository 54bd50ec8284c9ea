//! Doctor: a device's name that two edges have, over a real broker.
//!
//! Takes mosquitto. Gives nothing.
//! Touches a broker and edges of its own.
//! Never pushes an edge off that runs.

use harness::services::Mosquitto;
use harness::{House, Running, bin, wait_for};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// What doctor says of the device's name, and its exit code.
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
fn a_name_that_two_edges_have_is_said_and_ones_own_edge_is_known() {
    let mut house = House::new("", "");
    let mut mosquitto = Mosquitto::start(house.dir());
    house.mqtt = mosquitto.url();
    let nobody = device(&house, "desk", &house.path("spool-desk"));
    assert!(nobody.0 == 0 && nobody.1.contains("nobody has been here"), "{nobody:?}");

    let args = ["--source", "synthetic:64x48@10", "--census-every", "0"];
    let mut desk = house.edge("desk", &args);
    let mut shelf = house.edge("shelf", &args);
    connected(&desk);
    connected(&shelf);
    // Its own spool tells who it is. The status follows the connection.
    let own = wait_for("desk to be known", LIMIT, || {
        let own = device(&house, "desk", &house.path("spool-desk"));
        own.1.contains("is online").then_some(own)
    });
    assert!(own.0 == 0 && own.1.contains("this machine's own edge"), "{own:?}");
    // Seen from where shelf runs, whoever is desk is another.
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
