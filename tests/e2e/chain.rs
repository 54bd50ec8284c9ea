//! A clip of 300 frames from the edge to rows, over mosquitto and Kafka, and over the embedded broker and the local
//! journal.
//!
//! Every frame must be in the store and in the topics exactly once.

use harness::services::{Kafka, Mosquitto};
use harness::{House, Running, media};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

const FRAMES: u32 = 300;
const LIMIT: Duration = Duration::from_secs(120);

/// Frame numbers 0 to 299, each once, under one boot.
fn every_frame_once(house: &House) {
    let rows = house.query("SELECT frame, count(*) FROM reports GROUP BY frame ORDER BY frame");
    let want: Vec<String> = (0..FRAMES).map(|n| format!("{n}|1")).collect();
    assert_eq!(rows, want);
}

fn balanced(ledger: &[Value]) {
    for line in ledger {
        assert_eq!(line["produced"], line["stored"], "{line}");
        for nothing in ["missing", "dead", "declared_lost", "frames_dropped"] {
            assert_eq!(line[nothing], 0, "{nothing} in {line}");
        }
        assert_eq!(line["frames_seen"], FRAMES, "{line}");
    }
}

/// Sends the clip with every clustered picture, over mosquitto and `kafka`, and looks at both ends.
fn over_kafka(kafka: &Kafka, house: &House) {
    let bridge = house.bridge(&[]);
    let (metrics, _) = house.metrics();
    let clip = media::y4m(house.dir(), FRAMES);
    let pictures = house.path("pictures");
    let (source, png) = (format!("y4m:{}", clip.display()), format!("png:{}", pictures.display()));
    let n = FRAMES.to_string();
    let args = ["--source", &source, "--frames", &n, "--fast", "--video", "all", "--display", &png];
    let mut edge = house.edge("pi-1", &args);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    balanced(&house.settled_after(1, FRAMES.into(), LIMIT));
    every_frame_once(house);

    // What a plain console consumer sees.
    let records = kafka.consume("metrics", "%k %h %s\n");
    assert_eq!(records.len(), FRAMES as usize);
    let first = &records[0];
    assert!(first.starts_with("pi-1 "), "the key is the device: {first}");
    for header in ["schema=", "content-type=application/json", "device=pi-1", "stream=", "seq=", "captured-at="] {
        assert!(first.contains(header), "{header} in {first}");
    }
    let mut frames: Vec<u64> = records
        .iter()
        .map(|r| {
            let json: Value = serde_json::from_str(&r[r.find('{').expect("JSON")..]).expect("one JSON object");
            for column in ["id", "rgb_q6", "pixels"] {
                let clusters = json["palette"][column].as_array().unwrap().len();
                assert_eq!(json["clusters"].as_u64().unwrap() as usize, clusters, "{column}");
            }
            json["frame"].as_u64().unwrap()
        })
        .collect();
    frames.sort_unstable();
    assert_eq!(frames, (0..u64::from(FRAMES)).collect::<Vec<_>>());
    assert_eq!(kafka.consume("video", "%k\n").len(), FRAMES as usize);

    // The pictures come back as they were.
    let back = house.path("back");
    let out = house.run(
        "hueflow-metrics",
        &["video", "--device", "pi-1", "--journal", &house.journal, "--out", &back.to_string_lossy()],
    );
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    for n in 0..FRAMES {
        let name = format!("{n:06}.png");
        assert_eq!(media::png(&back.join(&name)), media::png(&pictures.join(&name)), "{name}");
    }
    drop((bridge, metrics));
}

#[test]
fn three_hundred_frames_over_mosquitto_and_kafka_4_arrive_once_each_and_the_pictures_come_back() {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    let kafka = Kafka::start("4", house.dir());
    (house.mqtt, house.journal) = (mosquitto.url(), kafka.url());
    over_kafka(&kafka, &house);
}

#[test]
fn three_hundred_frames_over_mosquitto_and_kafka_3_with_zookeeper_arrive_once_each_and_the_pictures_come_back() {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    let kafka = Kafka::start("3.4", house.dir());
    (house.mqtt, house.journal) = (mosquitto.url(), kafka.url());
    over_kafka(&kafka, &house);
}

#[test]
fn three_hundred_frames_over_the_embedded_broker_and_the_local_journal_arrive_once_each() {
    let (house, bridge) = House::embedded();
    let (metrics, _) = house.metrics();
    let clip = media::y4m(house.dir(), FRAMES);
    let source = format!("y4m:{}", clip.display());
    let n = FRAMES.to_string();
    let mut edge = house.edge("laptop", &["--source", &source, "--frames", &n, "--fast", "--log-frames"]);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    balanced(&house.settled_after(1, FRAMES.into(), LIMIT));
    every_frame_once(&house);

    // The tutorial's log lines, from the journal and at the edge, with the same numbers.
    let mut command = Command::new(harness::bin("hueflow-metrics"));
    command.args(["tail", "--journal", &house.journal, "--since", "1h"]);
    let mut tail = Running::start("tail", house.dir(), &mut command);
    tail.wait_for_line("stream interrupted", LIMIT);
    assert_eq!(tail.stop(), 0);
    let tail = tail.stdout();
    let lines: Vec<&str> = tail.lines().filter(|l| l.contains("colours detected")).collect();
    assert_eq!(lines.len(), FRAMES as usize, "{tail}");
    let log = edge.stderr();
    let logged: Vec<&str> = log.lines().filter(|l| l.contains("colours detected")).collect();
    assert_eq!(logged.len(), FRAMES as usize);
    let colours =
        |l: &str| l.split(" colours detected").next().and_then(|s| s.split_whitespace().last()).map(str::to_string);
    for (edge, tail) in logged.iter().zip(&lines) {
        assert_eq!(colours(edge), colours(tail), "{edge} / {tail}");
        assert!(tail.contains("iterations") && tail.contains(" ms"), "{tail}");
    }
    drop((bridge, metrics));
}
