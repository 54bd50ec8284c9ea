//! Supervision over a real mosquitto: what is on the disk leaves while the camera is away, and nothing is missing after.
//!
//! The edge's records are followed to the store; its `status` is what `mosquitto_sub` sees. A program in a folder of the
//! test stands for the camera's.

use harness::services::Mosquitto;
use harness::{House, Running, wait_for};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

/// Programs over mosquitto and the local journal.
fn house() -> (House, Mosquitto) {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    house.mqtt = mosquitto.url();
    house.journal = format!("local:{}", house.path("journal.sqlite").display());
    (house, mosquitto)
}

/// The retained status of a device.
fn status(mosquitto: &Mosquitto, device: &str) -> Option<Value> {
    let topic = format!("hueflow/test/{device}/status");
    let port = mosquitto.port.to_string();
    let out = Command::new("mosquitto_sub").args(["-p", &port, "-t", &topic, "-C", "1", "-W", "5"]).output();
    serde_json::from_slice(&out.expect("mosquitto_sub").stdout).ok()
}

/// The state of a child, and its reason.
fn child(status: &Value, name: &str) -> (String, String) {
    let children = status["health"].as_array().cloned().unwrap_or_default();
    let found = children.iter().find(|c| c["name"] == name).cloned().unwrap_or_default();
    let word = |key: &str| found[key].as_str().unwrap_or_default().to_string();
    (word("state"), word("reason"))
}

fn install_rpicam(bin: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let new = bin.join("new");
    std::fs::write(&new, "#!/bin/sh\nwhile head -c 4608 /dev/zero; do :; done\n").unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(new, bin.join("rpicam-vid")).unwrap();
}

fn stored(house: &House) -> u64 {
    house.ledger().iter().filter_map(|l| l["stored"].as_u64()).sum()
}

/// Leaves a spool with 73 frames behind, made while there was no broker.
fn leave_records(house: &House, device: &str) {
    let args =
        ["--source", "synthetic:64x48@30", "--fast", "--frames", "73", "--no-drain", "--mqtt", "mqtt://127.0.0.1:1"];
    let mut command = Command::new(harness::bin("hueflow-edge"));
    command.args(["run", "--site", "test", "--device", device, "--spool"]);
    command.arg(house.path(&format!("spool-{device}"))).args(args);
    let mut edge = Running::start("before", house.dir(), &mut command);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
}

#[test]
fn a_dead_camera_drains_the_spool_and_goes_on_when_it_appears() {
    let (house, mosquitto) = house();
    leave_records(&house, "pi-1");
    let (bridge, (metrics, _)) = (house.bridge(&[]), house.metrics());
    let bin = house.path("bin");
    std::fs::create_dir(&bin).unwrap();
    let mut command = house.edge_command("pi-1", &["--source", "rpicam:?width=64&height=48", "--census-every", "0"]);
    let mut edge = Running::start("edge", house.dir(), command.env("PATH", format!("{}:/usr/bin:/bin", bin.display())));
    // 73 reports and the census of the earlier run's last frame.
    wait_for("the earlier run's records in the store", LIMIT, || (stored(&house) >= 74).then_some(()));
    let (state, reason) = wait_for("a status with the reason", LIMIT, || {
        status(&mosquitto, "pi-1").map(|s| child(&s, "camera")).filter(|c| c.0 == "waiting")
    });
    assert!(reason.contains("rpicam-vid is not installed"), "{state}: {reason}");
    install_rpicam(&bin);
    wait_for("records of the camera", LIMIT, || (stored(&house) > 100).then_some(()));
    wait_for("a status of one that runs", LIMIT, || {
        status(&mosquitto, "pi-1").map(|s| child(&s, "camera")).filter(|c| c.0 == "running")
    });
    assert_eq!(edge.stop(), 0, "{}", edge.stderr());
    let ledger = house.settled_ledger(2, LIMIT);
    assert!(ledger.iter().all(|l| l["missing"] == 0 && l["declared_lost"] == 0), "{ledger:?}");
    drop((bridge, metrics));
}

#[test]
fn a_removed_display_costs_pictures_and_no_record() {
    let (house, mosquitto) = house();
    let (bridge, (metrics, _)) = (house.bridge(&[]), house.metrics());
    let pictures = house.path("pictures");
    let png = format!("png:{}", pictures.display());
    let mut edge = house.edge("desk", &["--source", "synthetic:64x48@100", "--display", &png]);
    wait_for("records", LIMIT, || (stored(&house) > 30).then_some(()));
    std::fs::rename(&pictures, house.path("away")).unwrap();
    // What cannot become a directory keeps the display away.
    std::fs::write(&pictures, "").unwrap();
    wait_for("a status with that state", LIMIT, || {
        status(&mosquitto, "desk").map(|s| child(&s, "display")).filter(|c| c.0 == "waiting")
    });
    let before = stored(&house);
    wait_for("records without the display", LIMIT, || (stored(&house) > before + 100).then_some(()));
    std::fs::remove_file(&pictures).unwrap();
    let is_there = || std::fs::read_dir(&pictures).is_ok_and(|mut d| d.next().is_some());
    wait_for("pictures again", LIMIT, || is_there().then_some(()));
    wait_for("a status with that state", LIMIT, || {
        status(&mosquitto, "desk").map(|s| child(&s, "display")).filter(|c| c.0 == "running")
    });
    assert_eq!(edge.stop(), 0, "{}", edge.stderr());
    let ledger = house.settled_ledger(1, LIMIT);
    assert!(ledger[0]["missing"] == 0 && ledger[0]["frames_dropped"] == 0, "{ledger:?}");
    drop((bridge, metrics));
}

#[test]
fn only_draining_empties_the_spool_into_the_store() {
    let (house, mosquitto) = house();
    leave_records(&house, "pi-2");
    let (bridge, (metrics, _)) = (house.bridge(&[]), house.metrics());
    let mut edge = house.edge("pi-2", &["--drain-only"]);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    wait_for("all records in the store", LIMIT, || (stored(&house) == 74).then_some(()));
    let last = status(&mosquitto, "pi-2").expect("a status");
    assert!(last["state"] == "offline" && child(&last, "camera").0.is_empty(), "{last}");
    drop((bridge, metrics));
}

#[test]
fn a_site_without_a_bridge_is_said_once() {
    let (house, _mosquitto) = house();
    let bridge = house.bridge(&[]);
    let mut edge = house.edge("right", &["--source", "synthetic:64x48@30"]);
    edge.wait_for_line("connected to the broker", LIMIT);
    // This one connects later, so that the other is not mentioned until then.
    let mut wrong = Command::new(harness::bin("hueflow-edge"));
    wrong.args([
        "run",
        "--site",
        "tset",
        "--device",
        "astray",
        "--mqtt",
        &house.mqtt,
        "--source",
        "synthetic:64x48@30",
    ]);
    let mut wrong = Running::start("wrong", house.dir(), wrong.arg("--spool").arg(house.path("spool-astray")));
    wrong.wait_for_line("no bridge answers for site \"tset\"", LIMIT);
    assert!(!edge.stderr().contains("no bridge answers"), "{}", edge.stderr());
    let doctor = |site: &str| {
        let output = house.run("hueflow-edge", &["doctor", "--site", site, "--device", "new", "--mqtt", &house.mqtt]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(doctor("tset").contains("none has ever answered for site tset"), "{}", doctor("tset"));
    assert!(doctor("test").contains("one answers for site test"), "{}", doctor("test"));
    assert_eq!((edge.stop(), wrong.stop()), (0, 0));
    assert_eq!(wrong.stderr().matches("no bridge answers").count(), 1);
    drop(bridge);
}

/// A key in a device's status: its value and where it came from.
fn in_force(mosquitto: &Mosquitto, device: &str, key: &str) -> Option<(Value, String)> {
    let status = status(mosquitto, device)?;
    let entry = &status["config"][key];
    (status["state"] == "online").then(|| (entry["value"].clone(), entry["from"].as_str().unwrap_or_default().into()))
}

#[test]
fn what_a_command_saves_is_in_force_after_a_kill_and_what_it_does_not_save_is_gone() {
    let (house, mosquitto) = house();
    let start = || house.edge("pi-4", &["--source", "synthetic:64x48@30", "--census-every", "0"]);
    let broker = mosquitto.url();
    let cmd = |more: &[&str]| {
        let args = [&["cmd", "pi-4", "--mqtt", &broker, "--site", "test"], more].concat();
        house.run("hueflow-metrics", &args)
    };
    let is = |key: &str, value: Value, from: &str| {
        wait_for(&format!("{key} = {value} ({from})"), LIMIT, || {
            in_force(&mosquitto, "pi-4", key).filter(|found| *found == (value.clone(), from.into())).map(drop)
        });
    };
    let mut edge = start();
    is("clustering.lambda", 50.into(), "default");
    let done = cmd(&["--lambda", "30.5", "--save"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(cmd(&["--coreset-size", "500"]).status.success());
    is("clustering.lambda", 30.5.into(), "saved command");
    is("clustering.coreset_size", 500.into(), "command");
    edge.kill();
    let mut edge = start();
    is("clustering.coreset_size", 1000.into(), "default");
    is("clustering.lambda", 30.5.into(), "saved command");
    let spool = house.path("spool-pi-4");
    let printed = house.run("hueflow-edge", &["print-config", "--spool", &spool.display().to_string()]);
    assert!(String::from_utf8_lossy(&printed.stdout).contains("lambda = 30.5  # saved command\n"));
    // A disk that refuses, as a directory in place of the new file does, is an answer; what was saved before stays.
    std::fs::create_dir(spool.join("saved.new")).unwrap();
    let refused = cmd(&["--lambda", "20", "--save"]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && why.contains("cannot be written to the disk"), "{why}");
    is("clustering.lambda", 20.0.into(), "command");
    edge.kill();
    let mut edge = start();
    is("clustering.lambda", 30.5.into(), "saved command");
    assert_eq!(edge.stop(), 0, "{}", edge.stderr());
}
