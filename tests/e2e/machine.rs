//! What an edge reports of its machine: a clock that is synchronised later, and a page of metrics.
//!
//! A real edge over a real mosquitto; a folder of the test stands for the directory where services leave marks.

use harness::services::Mosquitto;
use harness::{House, Running, wait_for};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn status(mosquitto: &Mosquitto) -> Option<Value> {
    let port = mosquitto.port.to_string();
    let args = ["-p", &port, "-t", "hueflow/test/pi/status", "-C", "1", "-W", "5"];
    serde_json::from_slice(&Command::new("mosquitto_sub").args(args).output().expect("mosquitto_sub").stdout).ok()
}

/// The values of a metric, by its labels.
fn metric(address: &str, name: &str) -> Vec<(String, f64)> {
    let mut stream = TcpStream::connect(address).expect("the page of metrics");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    let values = page.lines().filter_map(|l| l.strip_prefix(name)?.rsplit_once(' '));
    values.map(|(labels, value)| (labels.to_owned(), value.parse().expect("a number"))).collect()
}

#[test]
fn a_clock_that_is_synchronised_later_is_told_and_so_is_the_machine() {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    house.mqtt = mosquitto.url();
    house.journal = format!("local:{}", house.path("journal.sqlite").display());
    let bridge = house.bridge(&[]);
    let run = house.path("run");
    let mut command = house.edge_command("pi", &["--source", "synthetic:64x48@30"]);
    command.env("HUEFLOW_EDGE__CLOCK__RUN_DIR", &run).env("HUEFLOW_EDGE__METRICS__LISTEN", "127.0.0.1:0");
    let mut edge = Running::start("edge", house.dir(), &mut command);
    let line = edge.wait_for_line("metrics are at http://", LIMIT);
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    wait_for("a status without a clock", LIMIT, || status(&mosquitto).filter(|s| s["clock_synchronised"] == false));
    assert_eq!(metric(&address, "hueflow_edge_clock_synchronised")[0].1, 0.0);

    let marker = run.join("systemd/timesync/synchronized");
    std::fs::create_dir_all(marker.parent().unwrap()).unwrap();
    std::fs::write(&marker, "").unwrap();
    let reported =
        wait_for("a status with one", LIMIT, || status(&mosquitto).filter(|s| s["clock_synchronised"] == true));
    assert!(reported["machine"]["resident_bytes"].as_u64().is_some_and(|b| b > 1 << 20), "{reported}");
    assert_eq!(metric(&address, "hueflow_edge_clock_synchronised")[0].1, 1.0);
    wait_for("frames", LIMIT, || (metric(&address, "hueflow_edge_frames_total")[0].1 > 30.0).then_some(()));
    let states = metric(&address, "hueflow_edge_child_state");
    let is_running = |name: &str| {
        states.iter().any(|(l, v)| *v == 1.0 && l.contains(&format!("name=\"{name}\"")) && l.contains("running"))
    };
    assert!(is_running("camera") && is_running("custody") && is_running("metrics"), "{states:?}");
    assert!(metric(&address, "hueflow_edge_disk_free_bytes")[0].1 > 0.0);
    assert_eq!(edge.stop(), 0, "{}", edge.stderr());
    drop(bridge);
}
