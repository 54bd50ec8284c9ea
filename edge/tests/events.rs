//! Events from a configuration file: the real binary, a clip with a lamp, and a broker that forgets and cuts.
//!
//! The clip's frames are red for a while and grey for a while. The broker is scripted. How soon events come is printed, not
//! tested: a machine may be busy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "shared with other tests")]
mod scripted;

use firmware::custody::{Envelope, Kind};
use firmware::wire::{self, EventChange, EventRecord, Payload, Report};
use scripted::{Broker, Faults, Received};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const CONFIG: &str = "
[[region]]
name = \"stack-1\"
rect = [0, 0, 0.5, 1]
[[colour]]
name = \"red-lamp\"
rgb = \"#fe0000\"
tolerance = 15
[[event]]
name = \"lamp\"
when = \"share(red-lamp, stack-1) > 0.5\"
[[event]]
name = \"lamp-for-long\"
when = \"share(red-lamp, stack-1) > 0.5\"
for_ms = 150
clear_ms = 100
[[event]]
name = \"never\"
when = \"not clusters > 0\"
[[event]]
name = \"beacon\"
when = \"share(red-lamp, stack-1) > 0.5\"
[event.blink]
";

/// Frames that are grey, and then as many that are red.
const HALF: usize = 6;

/// A clip of 30 frames a second: `blinks` times grey and red.
fn draw(path: &Path, blinks: usize) {
    let mut clip = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    clip.write_all(b"YUV4MPEG2 W64 H48 F30:1 C420jpeg\n").unwrap();
    for n in 0..blinks * 2 * HALF {
        let [y, u, v] = if n / HALF % 2 == 1 { [76, 85, 255] } else { [128; 3] };
        clip.write_all(b"FRAME\n").unwrap();
        clip.write_all(&[y; 64 * 48]).unwrap();
        clip.write_all(&[u; 32 * 24]).unwrap();
        clip.write_all(&[v; 32 * 24]).unwrap();
    }
    clip.flush().unwrap();
}

fn run(dir: &Path, broker: &Broker, blinks: usize, args: &[&str]) {
    let (clip, file) = (dir.join("clip.y4m"), dir.join("edge.toml"));
    draw(&clip, blinks);
    std::fs::write(&file, CONFIG).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_hueflow-edge"))
        .args(["run", "--site", "s", "--device", "d", "--video", "off", "--census-every", "0"])
        .arg(format!("--mqtt=mqtt://127.0.0.1:{}", broker.port))
        .arg(format!("--source=y4m:{}", clip.display()))
        .arg(format!("--spool={}", dir.join("spool").display()))
        .arg(format!("--config={}", file.display()))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !err.contains("panicked"), "{err}");
    assert!(err.contains("event lamp begins with frame 6, value 1.0000"), "{err}");
}

/// The events of a name in the order of their records, with their capture times.
fn records(received: &Received, name: &str) -> Vec<(EventRecord, u64)> {
    let records = received.journal.values().map(|r| Envelope::open(r).unwrap());
    let events = records.filter(|(e, _)| e.kind() == Some(Kind::Event));
    let read = |payload| wire::decode::<EventRecord>(EventRecord::VERSION, payload).unwrap();
    events.map(|(e, payload)| (read(payload), e.captured_at_us)).filter(|(e, _)| e.name == name).collect()
}

fn timed(received: &Received, name: &str) -> Vec<(u64, EventChange, u64)> {
    records(received, name).into_iter().map(|(e, at_us)| (e.frame, e.change, at_us)).collect()
}

fn events(received: &Received, name: &str) -> Vec<(u64, EventChange)> {
    records(received, name).into_iter().map(|(e, _)| (e.frame, e.change)).collect()
}

#[test]
fn events_begin_and_end_with_their_frames_and_none_is_lost_or_twice() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(Faults { forget_one_in: 5, cut_after: 60 });
    run(dir.path(), &broker, 10, &["--fast"]);
    let received = broker.received.lock().unwrap();
    let expected = |first: usize| {
        (0..10).flat_map(move |n| {
            let at = first + n * 2 * HALF;
            [(at as u64, EventChange::Begin), ((at + HALF) as u64, EventChange::End)]
        })
    };
    // The clip ends while the lamp is on.
    let lamp: Vec<_> = expected(HALF).take(19).collect();
    assert_eq!(events(&received, "lamp"), lamp);
    assert!(events(&received, "never").is_empty());
    let seqs: Vec<u64> = received.journal.keys().map(|key| key.1).collect();
    assert_eq!(seqs, (0..seqs.len() as u64).collect::<Vec<_>>(), "reports and events are one sequence without gaps");
    assert!(received.forgotten > 5 && received.connections > 1);
    let status = received.statuses.iter().find(|s| s["state"] == "online").unwrap();
    assert_eq!(status["events"], serde_json::json!(["lamp", "lamp-for-long", "never", "beacon"]));
    let reports = received.journal.values().filter(|r| Envelope::open(r).unwrap().0.kind == Report::KIND as u8).count();
    assert_eq!(reports, 10 * 2 * HALF);
}

#[test]
fn waits_are_counted_by_capture_times_and_records_leave_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(Faults::default());
    run(dir.path(), &broker, 12, &[]);
    let received = broker.received.lock().unwrap();
    let (lamp, long) = (timed(&received, "lamp"), timed(&received, "lamp-for-long"));
    assert!(!long.is_empty(), "{lamp:?}");
    for (n, (frame, change, at_us)) in long.iter().enumerate() {
        assert_eq!(*change, if n % 2 == 0 { EventChange::Begin } else { EventChange::End });
        let of_lamp = lamp.iter().rfind(|l| l.0 <= *frame && l.1 == *change).unwrap();
        let wait_us = if n % 2 == 0 { 150_000 } else { 100_000 };
        assert!(at_us - of_lamp.2 >= wait_us, "{long:?} {lamp:?}");
    }
    let beacon = records(&received, "beacon");
    let first = beacon.first().map(|(e, _)| (e.change, e.pattern.unwrap().word()));
    assert_eq!(first, Some((EventChange::Begin, "blinking")), "{beacon:?}");
    println!("the clip blinks at 2.5 Hz: {}", beacon[0].0.pattern.unwrap());
    let mut late_us: Vec<u64> = received.event_late_us.clone();
    late_us.sort_unstable();
    assert!(late_us.len() >= 23 + long.len(), "{late_us:?}");
    let p99 = late_us[(late_us.len() * 99).div_ceil(100) - 1];
    println!("{} events, from capture to MQTT: median {} us, p99 {p99} us", late_us.len(), late_us[late_us.len() / 2]);
}
