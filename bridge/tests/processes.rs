//! Bridge and metrics as processes, a scripted edge, and what is left on the disk.
//!
//! The tests check the ledger, the page and the exit codes, on free loopback ports and in temporary folders. No process is
//! left behind.
#![allow(clippy::unwrap_used, clippy::panic, clippy::zombie_processes)]

mod common;

use common::edge::Edge;
use common::{envelope, record};
use firmware::custody::Kind;
use firmware::wire::PictureHead;
use firmware::wire::label_map;
use hueflow_bridge::journal::Journal;
use hueflow_bridge::journal::local::{LocalJournal, Retention};
use hueflow_bridge::relay::verdict::{ValueFormat, Verdict, judge, seal};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BRIDGE: &str = env!("CARGO_BIN_EXE_hueflow-bridge");
const METRICS: &str = env!("CARGO_BIN_EXE_hueflow-metrics");

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Starts a program and waits for a line on standard error that holds `mark`. Gives what follows it.
    fn start(program: &str, arguments: &[&str], mark: &str) -> (Process, String) {
        let mut child =
            Command::new(program).args(arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let rest = lines
            .by_ref()
            .map(Result::unwrap)
            .inspect(|l| eprintln!("{l}"))
            .find_map(|l| l.split_once(mark).map(|(_, rest)| rest.to_owned()));
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|l| eprintln!("{l}")));
        (Process(child), rest.unwrap())
    }

    fn terminate(mut self) -> Option<i32> {
        Command::new("kill").arg(self.0.id().to_string()).status().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

fn output(arguments: &[&str]) -> (Option<i32>, String, String) {
    let out = Command::new(METRICS).args(arguments).output().unwrap();
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

fn get(port: u16, path: &str) -> (String, Vec<u8>) {
    let mut s = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(s, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut all = Vec::new();
    s.read_to_end(&mut all).unwrap();
    let at = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    (String::from_utf8_lossy(&all[..at]).into_owned(), all[at + 4..].to_vec())
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// 300 reports, and their pictures: an edge's whole clip.
fn clip(device: &str, frames: u64) -> Edge {
    let mut records = Vec::new();
    for frame in 0..frames {
        records.push(("metrics", 2 * frame, {
            let mut r = common::report(frame);
            r.frame = frame;
            seal(&envelope(Kind::Report, 8, 2 * frame), &r, &[]).unwrap()
        }));
        let labels: Vec<u8> = (0..96).map(|i| ((i + frame) % 3) as u8).collect();
        let mut packed = vec![0; 512];
        let n = label_map::pack(12, &labels, &mut packed).unwrap();
        let palette = heapless::Vec::from_slice(&[[1, 2, 3], [40, 50, 60], [200, 100, frame as u8]]).unwrap();
        let head = PictureHead { frame, part: 0, parts: 1, width: 12, height: 8, packed_bytes: n as u32, palette };
        records.push((
            "video",
            2 * frame + 1,
            seal(&envelope(Kind::Picture, 8, 2 * frame + 1), &head, &packed[..n]).unwrap(),
        ));
    }
    Edge { device: device.to_owned(), boot: 8, records, window: 64 }
}

fn ledger(store: &str, stored: u64) -> serde_json::Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (code, out, err) = output(&["ledger", "--store", store, "--json"]);
        let line: serde_json::Value = out.lines().next().and_then(|l| serde_json::from_str(l).ok()).unwrap_or_default();
        if line["stored"].as_u64() >= Some(stored) {
            return line;
        }
        assert!(Instant::now() < deadline, "{code:?} {out} {err}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The whole way, over `mqtt` and `journal`, with the bridge killed in the middle.
fn journey(dir: &Path, mqtt: &str, journal: &str) {
    let store = dir.join("store.db").display().to_string();
    let arguments = ["run", "--mqtt", mqtt, "--journal", journal];
    let (bridge, _) = Process::start(BRIDGE, &arguments, "journal ");
    let (metrics, page) = Process::start(
        METRICS,
        &["run", "--journal", journal, "--store", &store, "--listen", "127.0.0.1:0"],
        "http://127.0.0.1:",
    );
    let page: u16 = page.trim_end_matches('/').parse().unwrap();
    let edge = clip("pi", 300);
    let (mut bridge, mut killed) = (Some(bridge), false);
    let port = mqtt.rsplit_once(':').unwrap().1.parse().unwrap();
    let begun = Instant::now();
    let sent = edge.run(port, Duration::from_secs(60), |acked| {
        if (200..600).contains(&acked) && !std::mem::replace(&mut killed, true) {
            drop(bridge.take()); // kill -9, with records in flight.
            bridge = Some(Process::start(BRIDGE, &arguments, "journal ").0);
        }
    });
    assert!(killed);
    eprintln!("600 records, {sent} transmissions, {:?}", begun.elapsed());
    let line = ledger(&store, 600);
    assert_eq!((line["produced"].as_u64(), line["stored"].as_u64()), (Some(600), Some(600)), "{line}");
    assert_eq!(
        (line["missing"].as_u64(), line["dead"].as_u64(), line["frames_seen"].as_u64()),
        (Some(0), Some(0), Some(300)),
        "{line}"
    );
    let pictures = dir.join("pictures");
    let (code, _, err) =
        output(&["video", "--device", "pi", "--journal", journal, "--out", &pictures.display().to_string()]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(std::fs::read_dir(&pictures).unwrap().count(), 300);
    let (_, _, rgb) =
        hueflow_bridge::metrics::silhouette::picture::read_png(&pictures.join("000007.png"), false).unwrap();
    assert_eq!(&rgb[..6], &[40, 50, 60, 200, 100, 7]);
    for (path, holds) in [
        ("/", "<"),
        ("/healthz", "ok"),
        ("/api/devices", "\"device\":\"pi\""),
        ("/metrics", "\nhueflow_metrics_records{state=\"stored\"} 600\n"),
        ("/metrics", "\nhueflow_metrics_reports_stored_total 300\n"),
        ("/metrics", "\nhueflow_metrics_clusters{device=\"pi\"} 2\n"),
        ("/metrics", "\nhueflow_metrics_missed_colours{device=\"pi\"} 0\n"),
        ("/metrics", "\nhueflow_metrics_beyond_pixels{device=\"pi\"} 0\n"),
        ("/api/devices/pi/reports?last=5", "\"frame\":299"),
        ("/api/devices/pi/latest", "\"palette\""),
        ("/api/ledger", "\"produced\":600"),
        ("/api/devices/pi/picture.png", "PNG"),
    ] {
        // The ledger is published once a second.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let (head, body) = get(page, path);
            assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
            let body = String::from_utf8_lossy(&body);
            if body.contains(holds) {
                break;
            }
            assert!(Instant::now() < deadline, "{path}: no {holds} in {body}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let (head, _) = get(page, "/ HTTP/1.1\r\nX-Rest:");
    assert!(head.contains("frame-ancestors 'none'") && head.contains("x-content-type-options: nosniff"), "{head}");
    let foreign = get(page, "/ HTTP/1.0\r\nHost: rebound.example\r\nX-Rest:").0;
    assert!(foreign.contains(" 421 "), "a foreign name for this address: {foreign}");
    assert!(get(page, "/api/devices/pi/original.jpg").0.starts_with("HTTP/1.1 404"));
    assert!(get(page, "/api/devices/pi/knife.svg").0.starts_with("HTTP/1.1 404"));
    assert_eq!(metrics.terminate(), Some(0));
    assert_eq!(bridge.take().unwrap().terminate(), Some(0));
}

#[test]
fn records_over_the_embedded_broker_survive_a_bridge_that_is_killed_midway() {
    let dir = tempfile::tempdir().unwrap();
    let journal = format!("local:{}", dir.path().join("journal.db").display());
    journey(dir.path(), &format!("embedded:{}", free_port()), &journal);
}

#[test]
fn an_interrupted_stream_is_told_in_the_tail() {
    let dir = tempfile::tempdir().unwrap();
    let journal = format!("local:{}", dir.path().join("journal.db").display());
    let (bridge, port) =
        Process::start(BRIDGE, &["run", "--mqtt", "embedded", "--journal", &journal], "mqtt://127.0.0.1:");
    let deadline = Instant::now() + Duration::from_secs(20);
    let retention = Retention { days: 7, video_bytes_max: 1 << 20 };
    while LocalJournal::open(&dir.path().join("journal.db"), retention, false).is_err() {
        assert!(Instant::now() < deadline, "the bridge makes no journal");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut tail = Command::new(METRICS)
        .args(["tail", "--journal", &journal, "--since", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let tail = Process(tail);
    let records = (0..3).map(|seq| ("metrics", seq, record(8, seq))).collect();
    Edge { device: "pi".to_owned(), boot: 8, records, window: 9 }.run(
        port.parse().unwrap(),
        Duration::from_secs(20),
        |_| {},
    );
    let seen: Vec<String> = lines.map(Result::unwrap).take(5).collect();
    assert!(seen[0].ends_with("pi: stream begins"), "{seen:?}");
    assert!(
        seen[1].ends_with("pi: frame 0: 2 colours detected at lambda 50, DCDP took 5 iterations, 0.0 ms"),
        "{seen:?}"
    );
    assert!(seen[4].ends_with("pi: stream interrupted"), "{seen:?}");
    assert_eq!(tail.terminate(), Some(0));
    assert_eq!(bridge.terminate(), Some(0));
}

#[test]
fn wrong_use_ends_with_the_documented_codes() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = dir.path().join("wrong.toml");
    std::fs::write(&wrong, "sitte = 'x'\n").unwrap();
    let bridge = |arguments: &[&str]| {
        let out = Command::new(BRIDGE).args(arguments).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let wrong = wrong.display().to_string();
    let (code, err) = bridge(&["check-config", "--config", &wrong]);
    assert_eq!(code, Some(78));
    assert!(err.contains("sitte: unknown key (value `x`)"), "{err}");
    assert_eq!(bridge(&["check-config", "--config", "/nonexistent.toml"]).0, Some(66));
    assert_eq!(bridge(&["run", "--mqtt", "nonsense"]).0, Some(2), "a flag is wrong usage");
    assert_eq!(bridge(&["run", "--nonsense"]).0, Some(2));
    assert_eq!(bridge(&["print-config", "--site", "lab"]).0, Some(0));
    let none = dir.path().join("none.db").display().to_string();
    let (code, _, error) = output(&["ledger", "--store", &none]);
    assert!(code == Some(66) && error.contains("hueflow-metrics run makes it"), "{error}");
    let lost = dir.path().join("no-folder/store.db").display().to_string();
    let (code, _, error) = output(&["run", "--store", &lost, "--journal", "local:x", "--listen", "0"]);
    assert!(code == Some(74) && error.contains("no-folder does not exist: make it"), "{error}");
    for (command, flag) in [("tail", "--listen"), ("ledger", "--token-file"), ("silhouette", "--journal")] {
        let (_, help, _) = output(&[command, "--help"]);
        assert!(!help.contains(flag), "{command} takes no {flag}: {help}");
    }
    assert_eq!(output(&["silhouette", "--image", &none, "--labels", &none]).0, Some(66));
    assert_eq!(output(&["silhouette"]).0, Some(2));
    let journal = format!("local:{none}");
    for reader in [&["video", "--device", "x", "--out", &none][..], &["tail"]] {
        let (code, _, error) = output(&[reader, &["--journal", &journal]].concat());
        assert_eq!(code, Some(66), "{error}");
        assert!(error.contains("there is no such journal. hueflow-bridge run makes it"), "{error}");
    }
    assert!(!dir.path().join("none.db").exists(), "a reader makes no journal");
    let nowhere = format!("local:{}/no-folder/j.db", dir.path().display());
    let (code, error) = bridge(&["run", "--mqtt", "embedded", "--journal", &nowhere]);
    assert!(code == Some(74) && error.contains("no-folder does not exist: make it"), "{error}");
    let closed = format!("kafka://127.0.0.1:{}", free_port());
    assert_eq!(output(&["tail", "--journal", &closed]).0, Some(69));
}

#[test]
fn a_page_with_a_token_requires_it_and_no_log_shows_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let token = "b7-Qm2_long~enough.1";
    std::fs::write(path("token"), format!("{token}\n")).unwrap();
    let (journal, log) = (format!("local:{}", path("j.db")), path("log"));
    let arguments = ["run", "--journal", &journal, "--store", &path("s.db"), "--token-file", &path("token")];
    let mut closed = Command::new(METRICS);
    closed.args(arguments).args(["--listen", "127.0.0.1:0"]).env("RUST_LOG", "debug");
    let err = std::fs::File::create(&log).unwrap();
    let metrics = Process(closed.stdout(Stdio::null()).stderr(err).spawn().unwrap());
    let deadline = Instant::now() + Duration::from_secs(20);
    let port: u16 = loop {
        let text = std::fs::read_to_string(&log).unwrap();
        if let Some((_, rest)) = text.split_once("http://127.0.0.1:")
            && let Some((port, _)) = rest.split_once('/')
        {
            break port.parse().unwrap();
        }
        assert!(Instant::now() < deadline, "{text}");
        std::thread::sleep(Duration::from_millis(20));
    };
    for path in ["/", "/metrics", "/api/devices", "/api/devices?token=another-one-as-long", "/nowhere"] {
        let (head, body) = get(port, path);
        assert!(head.starts_with("HTTP/1.1 401"), "{path}: {head}");
        assert!(String::from_utf8_lossy(&body).contains("a token is needed"));
    }
    let (head, _) = get(port, &format!("/?token={token}"));
    assert!(head.starts_with("HTTP/1.1 303") && head.contains("HttpOnly; SameSite=Strict"), "{head}");
    assert!(head.contains("location: /\r\n") && !head.contains("Secure"), "the token leaves the address: {head}");
    let (head, _) = get(port, &format!("/?token={token} HTTP/1.1\r\nX-Forwarded-Proto: https\r\nX-Rest:"));
    assert!(head.contains("; Secure"), "{head}");
    for header in [format!("Authorization: Bearer {token}"), format!("Cookie: hueflow_token={token}")] {
        let (head, _) = get(port, &format!("/api/devices HTTP/1.1\r\n{header}\r\nX-Rest:"));
        assert!(head.starts_with("HTTP/1.1 200"), "{header}: {head}");
    }
    assert_eq!(metrics.terminate(), Some(0));
    assert!(!std::fs::read_to_string(&log).unwrap().contains(token));
    let open = output(&["check-config", "--listen", "0.0.0.0:0"]);
    assert_eq!(open.0, Some(2));
    assert!(open.2.contains("web.token_file"), "{}", open.2);
}

#[test]
fn a_second_start_ends_with_the_owner_s_name_and_the_running_instance_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let journal_file = dir.path().join("journal.db");
    let journal = LocalJournal::open(&journal_file, Retention { days: 7, video_bytes_max: 1 << 20 }, true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let append = |seq: u64| {
        let Verdict::Keep { entry, .. } =
            judge("hueflow/home/pi/metrics", &record(8, seq), 5_000_000, ValueFormat::Json)
        else {
            panic!("not kept")
        };
        runtime.block_on(journal.append(entry.into())).unwrap();
    };
    append(0);
    let url = format!("local:{}", journal_file.display());
    let store = path("store.db");
    let run = |listen: &str| {
        let arguments = ["run", "--journal", &url, "--store", &store, "--listen", listen];
        arguments.map(str::to_owned).to_vec()
    };
    let args: Vec<String> = run("127.0.0.1:0");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (first, rest) = Process::start(METRICS, &args, "http://127.0.0.1:");
    let port = rest.trim_end_matches('/').to_owned();
    let stored = |n: u64| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            let (_, ledger, _) = output(&["ledger", "--json", "--store", &store]);
            if ledger.contains(&format!("\"stored\":{n},")) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    };
    assert!(stored(1));
    // On a port of its own, and on the port that is taken: as two units that are restarted on failure would, again and again.
    for round in 1..4u64 {
        let own = run("127.0.0.1:0");
        let (code, _, error) = output(&own.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(code, Some(69), "{error}");
        assert!(error.contains(&format!("process {}", first.0.id())), "{error}");
        let taken = run(&format!("127.0.0.1:{port}"));
        let (code, _, error) = output(&taken.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(code, Some(74), "{error}");
        assert!(error.contains("web.listen"), "{error}");
        append(round);
        assert!(stored(round + 1), "the first one goes on");
    }
    let (head, body) = get(port.parse().unwrap(), "/healthz");
    assert!(head.starts_with("HTTP/1.1 200") && body.starts_with(b"ok\n"), "{head}");
    // Killed without a chance to clean up, it leaves nothing that holds up the next one.
    drop(first);
    let (next, _) = Process::start(METRICS, &args, "http://127.0.0.1:");
    append(4);
    assert!(stored(5));
    assert_eq!(next.terminate(), Some(0));
}
