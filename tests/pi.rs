//! Pi: the edge on an arm64 kernel with a camera, in a guest, and everything behind it on this machine.
//!
//! Takes the kernel's test camera, vivid: eight bars of known colours. Gives the guest's console as a file.
//! Touches one guest and a house of its own.
//! Never a real Pi: speeds are an emulator's; colours, counts and the way back after a cable was pulled are not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use harness::guest::Guest;
use harness::services::Mosquitto;
use harness::{House, output};
use serde_json::Value;
use std::time::Duration;

const FRAMES: u64 = 60;
const PIXELS: f64 = 640.0 * 360.0;
const GUEST_LIMIT: Duration = Duration::from_secs(480);
const LEDGER_LIMIT: Duration = Duration::from_secs(60);
/// Vivid's default picture, "75% Colorbar", has these values in the kernel's v4l2-tpg.
const BARS: [(&str, [u8; 3]); 8] = [
    ("white", [191, 191, 191]),
    ("yellow", [191, 191, 0]),
    ("cyan", [0, 191, 191]),
    ("green", [0, 191, 0]),
    ("magenta", [191, 0, 191]),
    ("red", [191, 0, 0]),
    ("blue", [0, 0, 191]),
    ("black", [0, 0, 0]),
];
/// Levels by which a colour may be off. In YCbCr 191 comes out as 188: vivid cuts luma and chroma off where the
/// standard rounds them.
const LEVELS: u8 = 4;
/// An eighth, less what vivid's text covers of some bars.
const SHARE_MIN: f64 = 0.05;

/// The last report's clusters of a device: colour and share.
fn palette(house: &House, device: &str) -> Vec<([u8; 3], f64)> {
    let rows = house.query(&format!("SELECT palette FROM reports WHERE device = '{device}' ORDER BY id DESC LIMIT 1"));
    let json: Value = serde_json::from_str(&rows[0]).expect("a palette");
    let level = |v: &Value| v.as_f64().expect("a level").round() as u8;
    let cluster = |c: &Value| {
        let rgb = [level(&c["rgb"][0]), level(&c["rgb"][1]), level(&c["rgb"][2])];
        (rgb, c["pixels"].as_f64().expect("pixels") / PIXELS)
    };
    json.as_array().expect("clusters").iter().map(cluster).collect()
}

fn line<'a>(console: &'a str, has: &str) -> &'a str {
    console.lines().find(|l| l.contains(has)).unwrap_or_else(|| panic!("no {has:?} in\n{console}"))
}

#[test]
fn a_pis_camera_is_clustered_and_comes_back_after_it_was_unplugged() {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    house.mqtt = mosquitto.url();
    house.journal = format!("local:{}", house.path("journal.sqlite").display());
    let _bridge = house.bridge(&[]);
    let (_metrics, _) = house.metrics();

    let mut guest = Guest::boot(house.dir(), "cameras.sh", &[("mqtt", mosquitto.port.to_string())]);
    let console = guest.wait(GUEST_LIMIT);
    std::fs::write(output("pi-console.txt"), &console).unwrap();
    let ended = |what: &str, code: i32| {
        line(&console, &format!("GUEST {what} ended with {code}"));
    };

    ended("list-cameras", 0);
    line(&console, "/dev/video0: vivid: a camera");
    line(&console, "YUYV (YUYV 4:2:2): 320x180@60 640x360@40");
    for device in ["yuyv", "nv12", "rgb3", "replug"] {
        ended(device, 0);
    }
    ended("no-device", 66);
    ended("busy", 66);
    line(&console, "another program is using it");

    let ledger = house.settled_ledger(4, LEDGER_LIMIT);
    for device in ["yuyv", "nv12", "rgb3"] {
        let count =
            house.query(&format!("SELECT count(*), count(DISTINCT frame) FROM reports WHERE device = '{device}'"));
        assert_eq!(count, [format!("{FRAMES}|{FRAMES}")], "{device}");
        let clusters = palette(&house, device);
        println!("{device}: {clusters:?}");
        for (name, bar) in BARS {
            let off = |c: &[u8; 3]| c.iter().zip(bar).map(|(a, b)| a.abs_diff(b)).max().unwrap_or(255);
            let near = clusters.iter().map(|(c, share)| (off(c), *share)).min_by_key(|(off, _)| *off).unwrap();
            assert!(
                near.0 <= LEVELS && near.1 > SHARE_MIN,
                "{device}: {name} {bar:?} is off by {}: {clusters:?}",
                near.0
            );
        }
        // Its text is of the bars' own white and black.
        assert_eq!(clusters.len(), BARS.len(), "{device}: {clusters:?}");
    }

    // Unplugged, and plugged in under another number: no restart, a short gap, and the gap is counted.
    line(&console, "GUEST plugged in again: /dev/video7");
    line(&console, "it is gone (unplugged?)");
    let back = line(&console, "camera vivid (/dev/video7) is back after");
    let seconds: f64 = back.rsplit(' ').nth(1).and_then(|s| s.parse().ok()).expect("seconds");
    assert!(seconds <= 5.0, "{back}");
    let replug: Vec<&Value> = ledger.iter().filter(|l| l["device"] == "replug").collect();
    assert_eq!(replug.len(), 1, "one boot: it was not restarted");
    assert_eq!(replug[0]["frames_seen"], 80);
    assert!(replug[0]["frames_dropped"].as_u64() >= Some((seconds * 10.0) as u64 / 2), "{}", replug[0]);
    for row in &ledger {
        println!("{row}");
    }
}
