//! `state` and Home Assistant's discovery over mosquitto: retained, taken back, and available according to `status`.
//!
//! `mosquitto_sub` stands for Home Assistant. No bridge runs: none of this needs one.

use harness::services::Mosquitto;
use harness::{House, Running, wait_for};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const DISCOVERY: &str = "homeassistant/device/hueflow-test/pi-1/config";

const CONFIG: &str = "
[[region]]
name = \"left\"
rect = [0, 0, 0.5, 1]
[[colour]]
name = \"red\"
rgb = \"#e02020\"
tolerance = 20
[[event]]
name = \"any\"
when = \"clusters > 0\"
";

/// The retained message of a topic; none if there is none.
fn retained(house: &House, topic: &str) -> Option<Value> {
    let port = house.mqtt.rsplit(':').next().unwrap();
    let out = Command::new("mosquitto_sub").args(["-p", port, "-t", topic, "-C", "1", "-W", "1"]).output();
    serde_json::from_slice(&out.expect("mosquitto_sub").stdout).ok()
}

fn run(house: &House, name: &str, toml: &str) -> Running {
    let config = house.path(&format!("{name}.toml"));
    std::fs::write(&config, toml).unwrap();
    let config = config.display().to_string();
    house.edge(
        "pi-1",
        &["--config", &config, "--source", "synthetic:160x120@30", "--video", "off", "--census-every", "0"],
    )
}

#[test]
fn discovery_and_state_are_retained_follow_the_status_and_are_taken_back() {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    house.mqtt = mosquitto.url();
    let mut edge = run(&house, "on", &format!("[homeassistant]\ndiscovery = true\n{CONFIG}"));
    let payload = wait_for("discovery", LIMIT, || retained(&house, DISCOVERY));
    let of = |key: &str| payload[key].as_str().unwrap().to_owned();
    let keys: Vec<&String> = payload["components"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["clusters", "dominant", "event_any", "fps", "share_left_red"]);
    let state = wait_for("a state with the event", LIMIT, || {
        retained(&house, &of("state_topic")).filter(|state| state["events"]["any"] == "on")
    });
    assert!(
        state["clusters"].as_u64().unwrap() > 0 && state["dominant"]["hex"].as_str().unwrap().len() == 7,
        "{state}"
    );
    assert!(state["regions"]["left"]["red"].is_number(), "{state}");
    let available = || retained(&house, &of("availability_topic")).map(|status| status["state"].clone());
    assert_eq!(available(), Some(payload["payload_available"].clone()));
    // The will does that for an edge that is killed.
    edge.kill();
    wait_for("the will", LIMIT, || (available()? == payload["payload_not_available"]).then_some(()));

    // Without the event: its sensor is named without content, which removes it.
    let without = CONFIG[..CONFIG.find("[[event]]").unwrap()].to_owned();
    let mut edge = run(&house, "fewer", &format!("[homeassistant]\ndiscovery = true\n{without}"));
    wait_for("a sensor that is removed", LIMIT, || {
        let event = retained(&house, DISCOVERY)?["components"]["event_any"].clone();
        (event == serde_json::json!({ "platform": "binary_sensor" })).then_some(())
    });
    edge.kill();

    let mut edge = run(&house, "off", CONFIG);
    wait_for("discovery to be taken back", LIMIT, || retained(&house, DISCOVERY).is_none().then_some(()));
    wait_for("the state of an edge without discovery", LIMIT, || retained(&house, &of("state_topic")));
    assert_eq!(available(), Some("online".into()));
    edge.kill();
    drop(mosquitto);
}
