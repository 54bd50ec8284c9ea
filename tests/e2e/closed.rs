//! A mosquitto with users and an access list: each user can do what is theirs, and nothing else.
//!
//! Configuration, access list and `add-user` are the shipped ones. No password may be in a log.

use harness::services::Mosquitto;
use harness::{House, Running, bin, media, wait_for};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
const USERS: [&str; 4] = ["pi-1", "pi-2", "hueflow-bridge", "hueflow-control"];

fn house() -> (House, Mosquitto) {
    let mut house = House::new("", "");
    house.journal = format!("local:{}", house.path("journal.sqlite").display());
    let mosquitto = Mosquitto::closed(house.dir(), &USERS);
    house.mqtt = mosquitto.url();
    (house, mosquitto)
}

fn url(mosquitto: &Mosquitto, user: &str) -> String {
    format!("mqtt://{user}@127.0.0.1:{}", mosquitto.port)
}

fn bridge(house: &House, mosquitto: &Mosquitto, password: &Path) -> Running {
    let mut command = Command::new(bin("hueflow-bridge"));
    command.args(["run", "--site", "test", "--mqtt", &url(mosquitto, "hueflow-bridge"), "--journal", &house.journal]);
    command.env("HUEFLOW_BRIDGE__MQTT__PASSWORD_FILE", password);
    Running::start("bridge", house.dir(), &mut command)
}

fn edge(house: &mut House, mosquitto: &Mosquitto, args: &[&str], password: &Path) -> Running {
    house.mqtt = url(mosquitto, "pi-1");
    let source = format!("file:{}", media::clip().display());
    let mut command = house.edge_command("pi-1", &["--source", &source, "--frames", "30", "--fast"]);
    command.args(args).env("HUEFLOW_EDGE__MQTT__PASSWORD_FILE", password);
    Running::start("edge-pi-1", house.dir(), &mut command)
}

/// One of mosquitto's own clients, as `user`.
fn client(program: &str, mosquitto: &Mosquitto, user: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["-h", "127.0.0.1", "-p", &mosquitto.port.to_string(), "-u", user, "-P", &mosquitto.password(user)]);
    command.args(["-q", "1"]).args(args);
    command
}

fn publish(mosquitto: &Mosquitto, user: &str, topic: &str, text: &str) {
    let status = client("mosquitto_pub", mosquitto, user, &["-t", topic, "-m", text]).status().expect("mosquitto_pub");
    assert!(status.success(), "a refused message is dropped in silence, the connection stays");
}

/// A subscriber that hears already: its user publishes, or lets another publish, `marker` until it is there.
fn subscriber(house: &House, mosquitto: &Mosquitto, user: &str, filter: &str, marker: (&str, &str)) -> Running {
    let name = format!("sub-{user}");
    let received =
        Running::start(&name, house.dir(), &mut client("mosquitto_sub", mosquitto, user, &["-v", "-t", filter]));
    wait_for("the subscription", LIMIT, || {
        publish(mosquitto, marker.0, marker.1, "marker");
        received.stdout().contains("marker").then_some(())
    });
    received
}

fn letters(house: &House) -> String {
    let out = house.run("hueflow-bridge", &["dlq", "list", "--journal", &house.journal]);
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn the_chain_works_over_a_closed_broker_and_no_password_is_in_a_log() {
    let (mut house, mosquitto) = house();
    let bridge = bridge(&house, &mosquitto, &house.path("hueflow-bridge.password"));
    bridge.wait_for_line("MQTT: connected", LIMIT);
    let (metrics, _) = house.metrics();
    let password = house.path("pi-1.password");
    let mut edge = edge(&mut house, &mosquitto, &[], &password);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    house.settled_after(1, 30, LIMIT);
    let logs = [&bridge, &metrics, &edge, &mosquitto.process].map(|p| p.stdout() + &p.stderr()).concat();
    for user in USERS {
        assert!(!logs.contains(&mosquitto.password(user)), "the password of {user} is in a log");
    }
}

#[test]
fn a_wrong_password_is_said_by_both_programs() {
    let (mut house, mosquitto) = house();
    let wrong = house.path("pi-2.password"); // Another user's.
    let bridge = bridge(&house, &mosquitto, &wrong);
    let line = bridge.wait_for_line("MQTT: mqtt://127.0.0.1", LIMIT);
    assert!(line.contains("refuses user and password") && line.contains("mqtt.password_file"), "{line}");
    let mut edge = edge(&mut house, &mosquitto, &["--no-drain"], &wrong);
    assert_eq!(edge.wait(LIMIT), 0, "a camera goes on without a broker: {}", edge.stderr());
    let text = edge.stderr();
    let address = format!("127.0.0.1:{}", mosquitto.port);
    assert!(
        text.lines()
            .any(|l| l.contains(&address) && l.contains("refuses user and password: check the user in mqtt.url")),
        "{text}"
    );
    assert!(text.contains("mqtt.password_file"), "{text}");
    let password = mosquitto.password("pi-2");
    assert!(!(text + &bridge.stderr()).contains(&password), "a password is in a log");
}

#[test]
fn a_device_writes_and_hears_only_what_is_its_own_and_acknowledges_nothing() {
    let (house, mosquitto) = house();
    let bridge = bridge(&house, &mosquitto, &house.path("hueflow-bridge.password"));
    bridge.wait_for_line("MQTT: connected", LIMIT);
    // What is sent to a foreign topic is not relayed; what comes after it on its own is.
    publish(&mosquitto, "pi-2", "hueflow/test/pi-1/metrics", "a lie about pi-1");
    publish(&mosquitto, "pi-2", "hueflow/test/pi-2/metrics", "rubbish of its own");
    wait_for("the letter of pi-2", LIMIT, || letters(&house).contains(" metrics.dlq pi-2 ").then_some(()));
    assert!(!letters(&house).contains("pi-1"), "{}", letters(&house));

    let of = |kind: &str| format!("hueflow/test/pi-1/{kind}");
    let (ack, cmd) = (of("ack"), of("cmd"));
    let all = subscriber(&house, &mosquitto, "hueflow-bridge", "hueflow/#", ("hueflow-bridge", &ack));
    let own = subscriber(&house, &mosquitto, "pi-1", "hueflow/#", ("hueflow-bridge", &ack));
    for (user, topic) in [("pi-1", &ack), ("pi-2", &ack), ("hueflow-control", &ack), ("pi-2", &cmd), ("pi-1", &cmd)] {
        publish(&mosquitto, user, topic, "forged");
    }
    // Nor is a device the bridge, or another device.
    for topic in ["bridge/status", "pi-1/status", "pi-1/window", "pi-1/census", "pi-1/video", "pi-1/metrics"] {
        publish(&mosquitto, "pi-2", &format!("hueflow/test/{topic}"), "forged");
    }
    publish(&mosquitto, "hueflow-bridge", "hueflow/test/pi-2/ack", "for pi-2");
    publish(&mosquitto, "hueflow-control", &cmd, "look");
    publish(&mosquitto, "hueflow-bridge", &ack, "the end");
    for received in [&all, &own] {
        received.wait_for_line(&format!("{ack} the end"), LIMIT);
        let text = received.stdout();
        assert!(text.contains(&format!("{cmd} look")) && !text.contains("forged"), "{text}");
    }
    assert!(all.stdout().contains("for pi-2") && !own.stdout().contains("for pi-2"), "{}", own.stdout());
}
