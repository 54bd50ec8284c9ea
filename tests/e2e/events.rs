//! Events from a clip through mosquitto and the bridge into the store, once and in order, with an edge killed in between.
//!
//! The clip is grey for a while and red for a while, so it is known which frames begin and end an event. The counts are read
//! from the store's file.

use harness::services::Mosquitto;
use harness::{House, wait_for};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
/// Frames that are grey, and then as many that are red.
const HALF: usize = 10;

const CONFIG: &str = "
[[colour]]
name = \"red-lamp\"
rgb = \"#fe0000\"
tolerance = 15
[[event]]
name = \"lamp\"
when = \"share(red-lamp, picture) > 0.5\"
";

fn draw(path: &Path) {
    let mut clip = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    clip.write_all(b"YUV4MPEG2 W64 H48 F30:1 C420jpeg\n").unwrap();
    for n in 0..2 * HALF {
        let [y, u, v] = if n >= HALF { [76, 85, 255] } else { [128; 3] };
        clip.write_all(b"FRAME\n").unwrap();
        clip.write_all(&[y; 64 * 48]).unwrap();
        clip.write_all(&[u; 32 * 24]).unwrap();
        clip.write_all(&[v; 32 * 24]).unwrap();
    }
    clip.flush().unwrap();
}

#[test]
fn events_are_in_the_store_once_and_in_order_though_edges_are_killed() {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    (house.mqtt, house.journal) = (mosquitto.url(), format!("local:{}", house.path("journal.sqlite").display()));
    let bridge = house.bridge(&[]);
    let (metrics, _) = house.metrics();
    let (clip, config) = (house.path("clip.y4m"), house.path("edge.toml"));
    draw(&clip);
    std::fs::write(&config, CONFIG).unwrap();
    let (source, config) = (format!("y4m:{}", clip.display()), config.display().to_string());
    let args = ["--config", &config, "--source", &source, "--loop", "--video", "off", "--census-every", "0"];
    let rows = || house.query("SELECT count(*) FROM events")[0].parse::<u64>().unwrap();
    for kills in 1..=3 {
        let mut edge = house.edge("pi-1", &args);
        wait_for("events of this boot", LIMIT, || (rows() >= kills * 5).then_some(()));
        edge.kill();
    }
    let mut edge = house.edge("pi-1", &[&args[..], &["--frames", "100"]].concat());
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    let ledger = house.settled_ledger(4, LIMIT);
    assert!(ledger.iter().all(|l| l["missing"] == 0 && l["dead"] == 0), "{ledger:?}");
    let frames = house.query("SELECT stream, max(frame) FROM reports GROUP BY stream");
    assert_eq!(frames.len(), 4);
    for line in frames {
        let (stream, last) = line.split_once('|').unwrap();
        let last: usize = last.parse().unwrap();
        let sql = format!("SELECT frame, change FROM events WHERE stream = '{stream}' ORDER BY seq");
        let stored = house.query(&sql);
        let expected: Vec<String> =
            (1..=last / HALF).map(|n| format!("{}|{}", n * HALF, if n % 2 == 1 { "begin" } else { "end" })).collect();
        // A kill may come between a report and the event of its frame.
        let least = expected.len() - usize::from(last.is_multiple_of(HALF));
        assert!((least..=expected.len()).contains(&stored.len()), "{last}: {stored:?}");
        assert_eq!(stored, expected[..stored.len()]);
    }
    drop((bridge, metrics));
}
