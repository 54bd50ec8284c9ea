//! How much memory the real program has, against its promise and its own budget.
//!
//! Inputs are the built program and a scripted broker on a free loopback port; figures are printed. The figure is the
//! kernel's own count, after the stream has run for a while.

// A test that cannot go on shall say where.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code, reason = "shared with other tests")]
mod scripted;

use hueflow_edge::budget::Budget;
use hueflow_edge::config::{Config, Origin, Raw};
use scripted::{Broker, Faults};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use toml::Value;

const MIB: u64 = 1 << 20;
/// By then every buffer has its size: several censuses, and pictures in all their ways.
const FRAMES: u64 = 400;
const LIMIT: Duration = Duration::from_secs(240);

/// A line of `/proc/PID/status`, in bytes.
fn status(child: &Child, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
}

/// Runs it with these displays until it has seen enough; gives what is resident, and the most that ever was.
fn resident(dir: &Path, displays: &[String]) -> (u64, u64) {
    let broker = Broker::start(Faults::default());
    let log = dir.join("log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_hueflow-edge"))
        .args(["run", "--source", "synthetic:640x480@30", "--fast", "--census-every", "0.5", "--log-frames"])
        .args(["--site", "s", "--device", "d", "--mqtt", &format!("mqtt://127.0.0.1:{}", broker.port)])
        .args(displays.iter().flat_map(|d| ["--display", d]))
        .arg("--spool")
        .arg(dir.join("spool"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let last = format!("frame {FRAMES}:");
    let until = Instant::now() + LIMIT;
    while !std::fs::read_to_string(&log).unwrap().contains(&last) {
        assert!(child.try_wait().unwrap().is_none() && Instant::now() < until, "no {last} in {}", log.display());
        broker.wait("anything", |_| true);
    }
    let figures = (status(&child, "VmRSS"), status(&child, "VmHWM"));
    let part = |name: &str| status(&child, name) as f64 / MIB as f64;
    println!(
        "{displays:?}: resident {:.1} MiB (own {:.1}, of files {:.1}), at most {:.1}",
        part("VmRSS"),
        part("RssAnon"),
        part("RssFile"),
        part("VmHWM")
    );
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    figures
}

fn budget(displays: &[String]) -> u64 {
    let mut raw = Raw::default();
    let panels = displays.iter().cloned().map(Value::String).collect();
    for (key, value) in [
        ("mqtt.url", "mqtt://127.0.0.1:1".into()),
        ("mqtt.device", "d".into()),
        ("display.panels", Value::Array(panels)),
    ] {
        raw.put(key, value, Origin::Default).unwrap();
    }
    let budget = Budget::asked(&Config::check(raw).unwrap());
    println!("budget: {budget}");
    budget.bytes()
}

#[test]
fn without_a_display_16_mib_are_enough() {
    let dir = tempfile::tempdir().unwrap();
    let displays = ["none".to_owned()];
    let (now, _) = resident(dir.path(), &displays);
    assert!(now <= 16 * MIB, "{now} bytes are resident");
    assert!(now <= budget(&displays), "{now} bytes are resident: more than the budget");
}

#[test]
fn with_a_display_larger_than_any_on_the_bus_24_mib_are_enough() {
    let dir = tempfile::tempdir().unwrap();
    // In place of a glass of 320x240: every picture drawn in full, at 640x480.
    let displays = [format!("png:{}", dir.path().join("png").display())];
    let (now, _) = resident(dir.path(), &displays);
    assert!(now <= 24 * MIB, "{now} bytes are resident");
    assert!(now <= budget(&displays), "{now} bytes are resident: more than the budget");
}
