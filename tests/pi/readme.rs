//! README's "A Pi in five steps", followed as it is written, as far as a guest goes.
//!
//! Commands and keys are taken from README.md; one that this test does not know fails it. Followed here: the package is built
//! (with the tests' profile), the configuration is edited, the package's files are put into the guest, `doctor` and the
//! unit's own command lines run there, and bridge and metrics run here over mosquitto and Kafka. Not followed here: the
//! installation over ssh, which `tests/package/ssh` does in an emulated Debian, systemd, and a real Pi.

use crate::{GUEST_LIMIT, line};
use harness::guest::{Guest, Setup};
use harness::services::{Kafka, Mosquitto};
use harness::{House, Running, bin, output, root, wait_for};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const SECTION: &str = "## A Pi in five steps";
const SERVICE_LIMIT: Duration = Duration::from_secs(120);
/// The groups of Raspberry Pi OS that the unit wants.
const PI_GROUPS: &str = "root:x:0:\nvideo:x:44:\nspi:x:999:\ngpio:x:986:\n";
/// Reports of the guest's camera that are waited for.
const REPORTS_MIN: u64 = 30;

/// The section's steps, each a line.
fn steps(readme: &str) -> Vec<String> {
    let section = readme.split(SECTION).nth(1).expect("README has the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut steps: Vec<String> = Vec::new();
    for text in section.lines().filter(|l| !l.is_empty()) {
        let is_step = text.split_once(". ").is_some_and(|(number, _)| number.parse::<u8>().is_ok());
        match steps.last_mut() {
            _ if is_step => steps.push(text.to_string()),
            Some(last) if text.starts_with("   ") => *last += &format!(" {}", text.trim()),
            _ => {}
        }
    }
    steps
}

/// What stands between backticks.
fn code(step: &str) -> impl Iterator<Item = &str> {
    step.split('`').skip(1).step_by(2)
}

fn commands(step: &str) -> Vec<&str> {
    code(step).filter(|c| c.starts_with("./") || c.starts_with("hueflow-")).collect()
}

/// The configuration with `key`, a section and a name, set to `value`.
fn set(config: &str, key: &str, value: &str) -> String {
    let (section, name) = key.split_once('.').expect("a key has a section");
    let header = format!("[{section}]");
    let (before, after) = config.split_once(&header).unwrap_or_else(|| panic!("no {header} in the configuration"));
    let end = after.find("\n[").unwrap_or(after.len());
    let is_other = |l: &&str| l.split('=').next().is_none_or(|key| key.trim() != name);
    let rest: Vec<&str> = after[..end].lines().filter(is_other).collect();
    format!("{before}{header}\n{name} = {value:?}{}{}", rest.join("\n"), &after[end..])
}

/// Step 1: builds the package, with the tests' profile; gives where its files are.
fn build(house: &House, command: &str, files: &Path) {
    let debs = house.path("deb");
    let script = format!("{command} --edge --profile checked --no-install");
    let mut shell = Command::new("sh");
    shell.args(["-ec", &script]).current_dir(root()).env("HUEFLOW_DEBS", &debs);
    // Build scripts depend on what cargo sets for tests.
    for (name, _) in std::env::vars_os() {
        let of_cargo = name.to_str().is_some_and(|n| n.starts_with("CARGO_PKG_") || n.starts_with("CARGO_MANIFEST_"));
        if of_cargo {
            shell.env_remove(name);
        }
    }
    let built = shell.output().expect("sh");
    assert!(built.status.success(), "{script}\n{}", String::from_utf8_lossy(&built.stderr));
    let deb = std::fs::read_dir(&debs).unwrap().filter_map(Result::ok).map(|e| e.path());
    let deb = deb.into_iter().find(|p| p.to_string_lossy().ends_with("_arm64.deb")).expect("a package for arm64");
    let unpacked = Command::new("dpkg-deb").arg("-x").arg(&deb).arg(files).status();
    assert!(unpacked.is_ok_and(|s| s.success()), "dpkg-deb -x {}", deb.display());
}

#[test]
fn readmes_steps_for_a_pi_lead_from_its_camera_to_the_store() {
    let steps = steps(&std::fs::read_to_string(root().join("README.md")).unwrap());
    assert_eq!(steps.len(), 5, "{steps:#?}");
    let house = House::new("", "");
    let (mosquitto, kafka) = (Mosquitto::start(house.dir()), Kafka::start("4", house.dir()));
    let files = house.path("files");
    std::fs::create_dir(&files).unwrap();

    let [package] = commands(&steps[0])[..] else { panic!("step 1: {}", steps[0]) };
    assert_eq!(package, "./deploy/package arm64");
    build(&house, package, &files);

    let mut copied = code(&steps[1]);
    let template = copied.next().expect("a file to copy");
    let mut config = std::fs::read_to_string(root().join(template)).expect(template);
    for key in copied {
        let value = match key {
            "camera.source" => "v4l2:/dev/video0?width=640&height=360&fps=40".to_string(),
            "mqtt.url" => format!("mqtt://10.0.2.2:{}", mosquitto.port),
            "mqtt.device" => "pi".to_string(),
            other => panic!("step 2 names {other}, which this test does not set"),
        };
        config = set(&config, key, &value);
    }

    let [install] = commands(&steps[2])[..] else { panic!("step 3: {}", steps[2]) };
    let words: Vec<&str> = install.split(' ').collect();
    assert_eq!(words[1..], ["pi@raspberrypi", "--config", "edge.toml"], "tests/package/ssh installs so");
    assert!(root().join(words[0]).is_file(), "{install}");
    std::fs::write(files.join("etc/hueflow/edge.toml"), &config).unwrap();
    std::fs::write(files.join("etc/group"), PI_GROUPS).unwrap();

    let of_guest = commands(&steps[3]);
    assert_eq!(of_guest, ["hueflow-edge doctor"], "step 4");
    std::fs::write(files.join("readme.commands"), of_guest.join("\n") + "\n").unwrap();

    let [bridge, metrics] = commands(&steps[4])[..] else { panic!("step 5: {}", steps[4]) };
    let here = |command: &str| {
        let command = command.replace("mqtt://HOST:1883", &mosquitto.url()).replace("kafka://HOST:9092", &kafka.url());
        assert!(!command.contains("HOST"), "{command}");
        command
    };
    let bridge = here(bridge);
    let journal = bridge.split("--journal ").nth(1).expect("the bridge has a journal");
    // "With the same journal"; store and page are the test's own.
    let store = house.store();
    let metrics = format!("{metrics} --journal {journal} --store {} --listen 127.0.0.1:0", store.display());
    let start = |name: &str, command: &str| {
        let mut words = command.split(' ');
        let program = bin(words.next().expect("a program"));
        Running::start(name, house.dir(), Command::new(program).args(words))
    };
    let (_bridge, _metrics) = (start("bridge", &bridge), start("metrics", &metrics));

    let setup = Setup { job: "readme.sh", files: Some(&files), ..Setup::default() };
    let mut guest = Guest::boot(house.dir(), &setup);
    guest.wait_for_line("GUEST service started", GUEST_LIMIT);
    wait_for("the Pi's reports in the store", SERVICE_LIMIT, || {
        let count = store.exists().then(|| house.query("SELECT count(*) FROM reports WHERE device = 'pi'"))?;
        (count.first()?.parse::<u64>().ok()? >= REPORTS_MIN).then_some(())
    });
    guest.go_on();
    let console = guest.wait(GUEST_LIMIT);
    std::fs::write(output("pi-readme.txt"), &console).unwrap();
    line(&console, "GUEST README's program is /usr/bin/hueflow-edge");
    line(&console, "GUEST README: hueflow-edge doctor: ended with 0");
    line(&console, "ok       camera   /dev/video0 (vivid)");
    line(&console, "ok       broker   10.0.2.2:");
    line(&console, "GUEST ExecStartPre ended with 0");
    line(&console, "GUEST service ended with 0");
}
