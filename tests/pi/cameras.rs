//! Raw and compressed pictures of known bars from the guest's kernel to the store, over mosquitto and Kafka.
//!
//! The cameras are vivid, the kernel's test camera, and a loopback camera that is fed with JPEGs. Colours may differ only
//! by what cutting luma and chroma to eight bits costs. The guest's console is left for reading.

use crate::{GUEST_LIMIT, line, say_figures};
use harness::guest::{Guest, Setup};
use harness::media::{self, BARS};
use harness::services::{Kafka, Mosquitto};
use harness::{House, output, root};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

const FRAMES: u64 = 60;
const PIXELS: f64 = 640.0 * 360.0;
const LEDGER_LIMIT: Duration = Duration::from_secs(60);
/// Levels by which a colour may be off. In YCbCr 191 comes out as 188: vivid cuts luma and chroma off where the
/// standard rounds them.
const LEVELS: u8 = 4;
/// An eighth, less what vivid's text covers of some bars.
const SHARE_MIN: f64 = 0.05;
/// Seconds between the frames of the camera under a step that stalls.
const STALL_PERIOD_S: u64 = 1;
/// How often the lamp is switched on or off. The p99 of so few is the slowest.
const CHANGES: u64 = 60;
/// After it is plugged in again, the picture is to be back within this.
const BACK_SECONDS_MAX: f64 = 5.0;

/// A report's clusters: colour and share.
fn palette(json: &Value) -> Vec<([u8; 3], f64)> {
    let level = |v: &Value| (v.as_f64().expect("a level in 1/64") / 64.0).round() as u8;
    let column = |name: &str| json[name].as_array().expect("a column").iter();
    let cluster = |(c, pixels): (&Value, &Value)| {
        let rgb = [level(&c[0]), level(&c[1]), level(&c[2])];
        (rgb, pixels.as_f64().expect("pixels") / PIXELS)
    };
    column("rgb_q6").zip(column("pixels")).map(cluster).collect()
}

/// The clusters of a device's last report as the store has them: colour and share.
fn stored_palette(house: &House, device: &str) -> Vec<([u8; 3], f64)> {
    let last = format!("SELECT max(seq) FROM reports WHERE device = '{device}'");
    let query = format!(
        "SELECT round(red), round(green), round(blue), pixels FROM palette WHERE device = '{device}' AND seq = ({last}) \
         ORDER BY label"
    );
    let number = |word: &str| -> f64 { word.parse().expect("a number") };
    let cluster = |row: &String| {
        let [red, green, blue, pixels] = row.split('|').map(number).collect::<Vec<_>>()[..] else { panic!("{row}") };
        ([red as u8, green as u8, blue as u8], pixels / PIXELS)
    };
    house.query(&query).iter().map(cluster).collect()
}

/// The eight bars, no more and no less.
fn are_the_bars(device: &str, clusters: &[([u8; 3], f64)]) {
    for (name, bar) in BARS {
        let off = |c: &[u8; 3]| c.iter().zip(bar).map(|(a, b)| a.abs_diff(b)).max().unwrap_or(255);
        let near = clusters.iter().map(|(c, share)| (off(c), *share)).min_by_key(|(off, _)| *off).unwrap();
        assert!(near.0 <= LEVELS && near.1 > SHARE_MIN, "{device}: {name} {bar:?} is off by {}: {clusters:?}", near.0);
    }
    // Vivid's text is of the bars' own white and black.
    assert_eq!(clusters.len(), BARS.len(), "{device}: {clusters:?}");
}

/// The driver fills its buffers at the beginning of a stall. None of these pictures is taken after it: all that are stored
/// were captured before the stall, or at its end.
fn no_frame_is_of_the_stall(house: &House, printed: &str) {
    let seconds: Vec<u64> = printed.split_whitespace().filter_map(|w| w.parse().ok()).collect();
    let [since, until] = seconds[..] else { panic!("{printed}") };
    let times = house.query("SELECT captured_at_us FROM reports WHERE device = 'stall' ORDER BY frame");
    let times: Vec<u64> = times.iter().map(|us| us.parse::<u64>().expect("microseconds") / 1_000_000).collect();
    println!("captured at {times:?}, stalled from {since} until {until}");
    assert!(until >= since + 7 && times.len() == 9, "{printed}: {times:?}");
    let is_of_it = |&s: &u64| s > since + STALL_PERIOD_S && s + 2 * STALL_PERIOD_S < until;
    assert!(!times.iter().any(is_of_it), "{printed}: {times:?}");
    assert!(times[0] <= since && times[8] >= until, "the clock is the guest's own: {printed}: {times:?}");
}

#[test]
fn a_pis_cameras_are_clustered_into_kafka_and_one_that_was_unplugged_comes_back_under_another_number() {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    let kafka = Kafka::start("4", house.dir());
    (house.mqtt, house.journal) = (mosquitto.url(), kafka.url());
    let _bridge = house.bridge(&[]);
    let (_metrics, _) = house.metrics();

    let bars = house.path("bars");
    media::bars(&bars, 640, 360, 8);
    let facts = [("mqtt", mosquitto.port.to_string()), ("changes", CHANGES.to_string())];
    let setup = Setup { job: "cameras.sh", facts: &facts, files: Some(&bars), ..Setup::default() };
    let mut guest = Guest::boot(house.dir(), &setup);
    let console = guest.wait(GUEST_LIMIT);
    std::fs::write(output("pi-cameras.txt"), &console).unwrap();
    let ended = |what: &str, code: i32| {
        line(&console, &format!("GUEST {what} ended with {code}"));
    };

    // The core's results, by this kernel and NEON, are those of every machine.
    let golden: Vec<&str> = console.lines().filter_map(|l| l.trim_end().strip_prefix("GOLDEN ")).collect();
    let want = std::fs::read_to_string(root().join("tests/golden/engine.txt")).unwrap();
    assert_eq!(golden, want.lines().collect::<Vec<_>>());

    ended("list-cameras", 0);
    line(&console, "/dev/video0: vivid: a camera");
    line(&console, "  can be locked: gain 0 to 255, now");
    line(&console, "YUYV (YUYV 4:2:2): 320x180@60 640x360@40");
    ended("doctor", 0);
    line(&console, "ok       camera   /dev/video0 (vivid): ");
    line(&console, "640x360 at up to 40, as asked");
    line(&console, "ok       broker   10.0.2.2:");
    line(&console, "ok       device   test/doctor: no edge has used this name yet");
    line(&console, "ok       written  /tmp/edge.toml");
    for device in ["yuyv", "nv12", "rgb3", "mjpg", "replug"] {
        ended(device, 0);
    }
    ended("no-device", 0);
    ended("busy", 0);
    line(&console, "another program is using it");

    let ledger = house.settled_ledger(7, LEDGER_LIMIT);
    ended("stall", 0);
    no_frame_is_of_the_stall(&house, line(&console, "GUEST stalled from"));
    ended("events", 0);
    let changes = house.query("SELECT change FROM events WHERE device = 'events' ORDER BY seq");
    let expected: Vec<&str> = (0..CHANGES).map(|n| if n % 2 == 0 { "begin" } else { "end" }).collect();
    assert_eq!(changes, expected);
    say_figures("vivid and a lamp", &console);
    let records = kafka.consume("metrics", "%k %s\n");
    for device in ["yuyv", "nv12", "rgb3", "mjpg"] {
        let count =
            house.query(&format!("SELECT count(*), count(DISTINCT frame) FROM reports WHERE device = '{device}'"));
        assert_eq!(count, [format!("{FRAMES}|{FRAMES}")], "{device}");
        let stored = stored_palette(&house, device);
        println!("{device}: {stored:?}");
        are_the_bars(device, &stored);
        // The journal has the same reports; a slow guest may have sent one again, which the store dropped.
        let of_device: Vec<Value> = records
            .iter()
            .filter_map(|r| r.strip_prefix(&format!("{device} ")).and_then(|json| serde_json::from_str(json).ok()))
            .collect();
        let frames: BTreeSet<u64> = of_device.iter().filter_map(|r| r["frame"].as_u64()).collect();
        assert_eq!(frames.len() as u64, FRAMES, "{device}");
        are_the_bars(device, &palette(&of_device[of_device.len() - 1]["palette"]));
    }

    // Unplugged for longer than the watchdog waits, and plugged in under another number: the same process goes on.
    line(&console, "GUEST unplugging /dev/video0");
    line(&console, "GUEST plugged in again: /dev/video7");
    line(&console, "it is gone (unplugged?)");
    line(&console, "camera vivid (/dev/video7) is back after");
    line(&console, "GUEST the same process as before");
    // What was locked is locked again, though the camera came back without; what it has not is named.
    line(&console, "GUEST locked:   can be locked: gain 0 to 255, now 77, or auto");
    assert_eq!(console.matches("camera vivid: gain 77").count(), 2, "{console}");
    line(&console, "camera vivid: its exposure cannot be locked");
    let number = |text: &str, after: &str| -> f64 {
        let word = text.split(after).nth(1).and_then(|t| t.split_whitespace().next());
        word.and_then(|w| w.parse().ok()).unwrap_or_else(|| panic!("no number after {after:?} in {text:?}"))
    };
    let back = number(line(&console, "GUEST back within"), "within");
    assert!(back <= BACK_SECONDS_MAX, "{back} s");
    assert!(line(&console, "GUEST watchdog:").ends_with("bit 0 times"), "{}", line(&console, "GUEST watchdog:"));
    let replug: Vec<&Value> = ledger.iter().filter(|l| l["device"] == "replug").collect();
    assert_eq!(replug.len(), 1, "one boot: it was not restarted");
    assert_eq!(replug[0]["frames_seen"], 110);
    let away = number(line(&console, "is back after"), "after");
    let dropped = replug[0]["frames_dropped"].as_u64().expect("a count");
    assert!(dropped >= (away * 10.0) as u64 / 2, "{away} s away, and only {dropped} counted as dropped");
    for row in &ledger {
        println!("{row}");
    }
    println!("plugged in again, the picture was back within {back} s");
    for figure in console.lines().filter(|l| l.contains("fps), ")) {
        println!("emulated: {figure}");
    }
}
