//! Two bridges for one site, of which one relays; when it ends, the other takes over, once.
//!
//! The source is a paced clip. The two must not take the connection from one another in turn.

use harness::proxy::{Mode, Proxy};
use harness::services::Mosquitto;
use harness::{House, Running, bin, media, wait_for};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

fn standby(house: &House, name: &str, port: u16) -> Running {
    let mut command = Command::new(bin("hueflow-bridge"));
    command.args(["run", "--standby", "--site", "test", "--mqtt", &format!("mqtt://127.0.0.1:{port}")]);
    command.args(["--journal", &house.journal]);
    Running::start(name, house.dir(), &mut command)
}

fn stored(house: &House) -> u64 {
    house.ledger().iter().filter_map(|l| l["stored"].as_u64()).sum()
}

fn connections(bridge: &Running) -> usize {
    bridge.stderr().matches("MQTT: connected").count()
}

#[test]
fn a_standby_takes_over_from_a_bridge_that_is_killed_or_cut_off_and_is_not_pushed_off_when_that_is_back() {
    let mut house = House::new("", "");
    house.journal = format!("local:{}", house.path("journal.sqlite").display());
    let mosquitto = Mosquitto::start(house.dir());
    house.mqtt = mosquitto.url();
    let wire = Proxy::start(mosquitto.port, None);
    let first = standby(&house, "first", wire.port);
    first.wait_for_line("MQTT: connected", LIMIT);
    let mut second = standby(&house, "second", mosquitto.port);
    second.wait_for_line("standing by", LIMIT);
    let (metrics, _) = house.metrics();
    let source = format!("file:{}", media::clip().display());
    let mut edge = house.edge("pi-1", &["--source", &source, "--loop", "--frames", "600"]);
    wait_for("the first to relay", LIMIT, || (stored(&house) > 40).then_some(()));

    // Cut off, and nobody answers it: the broker's word of its end brings the second.
    wire.set(Mode::Refuse);
    wire.cut();
    second.wait_for_line("taking over", LIMIT);
    let before = stored(&house);
    wait_for("the second to relay", LIMIT, || (stored(&house) > before).then_some(()));
    // Back, it finds the second there and leaves it alone.
    wire.set(Mode::Open);
    first.wait_for_line("standing by", LIMIT);
    let before = stored(&house);
    wait_for("the second to go on", LIMIT, || (stored(&house) > before + 60).then_some(()));
    assert_eq!((connections(&first), connections(&second)), (1, 1), "{}\n{}", first.stderr(), second.stderr());

    // Killed, it is followed by the first.
    second.kill();
    first.wait_for_line("taking over", LIMIT);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    house.settled_after(1, 600, LIMIT);
    assert_eq!(house.query("SELECT count(*), count(DISTINCT frame) FROM reports"), ["600|600"]);
    assert_eq!(connections(&first), 2, "{}", first.stderr());
    drop((first, metrics));
}
