//! Supervision from outside: what the real binary does when its camera or a display is away, and when it is stopped.
//!
//! Sources and displays are made in temporary directories; systemd is a socket that the test listens at. Nothing waits for
//! a time: every wait is for a condition, with a limit.

// A test that cannot go on panics, which shows where.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "shared with other tests")]
mod scripted;

use firmware::custody::{Envelope, Kind};
use scripted::{Broker, Faults};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// A program under way, whose log can be waited for. It does not outlive the test.
struct Edge {
    child: Child,
    lines: Receiver<String>,
    log: String,
}

impl Edge {
    fn start(command: &mut Command) -> Edge {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            let mut line = String::new();
            while log.read_line(&mut line).is_ok_and(|n| n > 0) {
                let _ = sender.send(std::mem::take(&mut line));
            }
        });
        Edge { child, lines, log: String::new() }
    }

    /// Waits until the log has `text` in a line that was not waited for before.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        let until = Instant::now() + LIMIT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else { panic!("no {text:?} in {}", self.log) };
            self.log.push_str(&line);
            if line.contains(text) {
                return;
            }
        }
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Waits for its end; gives its status and its log.
    #[track_caller]
    fn end(mut self) -> (ExitStatus, String) {
        let until = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "it does not end: {}", self.log);
            std::thread::sleep(Duration::from_millis(5));
        };
        self.log.extend(self.lines.iter());
        (status, std::mem::take(&mut self.log))
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // One that has ended already is no failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hueflow-edge"));
    command.arg("run").args(args.split_whitespace()).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    command
}

/// An `rpicam-vid` in `dir` that gives frames of 64x48 without end.
fn install_rpicam(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let script = "#!/bin/sh\nwhile head -c 4608 /dev/zero; do :; done\n";
    let new = dir.join("new");
    std::fs::write(&new, script).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(new, dir.join("rpicam-vid")).unwrap();
}

#[test]
fn a_camera_whose_program_is_missing_is_waited_for_while_the_spool_drains() {
    let dir = tempfile::tempdir().unwrap();
    let (bin, spool) = (dir.path().join("bin"), dir.path().join("spool"));
    std::fs::create_dir(&bin).unwrap();
    let to = |port: u16| format!("--device d --site s --census-every 0 --mqtt mqtt://127.0.0.1:{port}");
    // Records of an earlier run, without a broker.
    let away = run(&format!("{} --source synthetic:64x48@30 --fast --frames 73 --no-drain", to(1)))
        .arg("--spool")
        .arg(&spool)
        .output()
        .unwrap();
    assert!(away.status.success());
    let broker = Broker::start(Faults::default());
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let source = "--source rpicam:?width=64&height=48&fps=30";
    let mut command = run(&format!("{} {source}", to(broker.port)));
    let mut edge = Edge::start(command.arg("--spool").arg(&spool).env("PATH", path));
    edge.wait_for("rpicam-vid is not installed");
    broker.wait("the records of the earlier run", |h| h.journal.len() >= 74);
    let waiting = |s: &serde_json::Value| {
        let camera = s["health"].as_array().unwrap().iter().find(|c| c["name"] == "camera");
        camera.is_some_and(|c| c["state"] == "waiting" && c["reason"].as_str().unwrap().contains("not installed"))
    };
    broker.wait("a status with that state", |h| h.statuses.iter().any(waiting));
    install_rpicam(&bin);
    broker.wait("records of the camera", |h| h.journal.len() > 90);
    let running = |s: &serde_json::Value| s["health"][1]["state"] == "running" && s["health"][0]["name"] == "custody";
    broker.wait("a status with that state", |h| h.statuses.last().is_some_and(running));
    edge.signal("-TERM");
    let (status, log) = edge.end();
    assert!(status.success(), "{log}");
    assert_eq!(log.matches("is not installed").count(), 1, "logged once: {log}");
    assert_eq!(log.matches("works again").count(), 1, "{log}");
}

#[test]
fn a_display_whose_directory_is_removed_is_opened_again_and_no_record_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let (pictures, spool) = (dir.path().join("pictures"), dir.path().join("spool"));
    let broker = Broker::start(Faults::default());
    let args = format!(
        "--device d --site s --census-every 0 --source synthetic:64x48@100 --mqtt mqtt://127.0.0.1:{}",
        broker.port
    );
    let mut command = run(&args);
    command.arg("--display").arg(format!("png:{}", pictures.display())).arg("--spool").arg(&spool);
    let mut edge = Edge::start(&mut command);
    broker.wait("records", |h| h.journal.len() > 20);
    assert!(pictures.join("000000.png").exists(), "no picture is missed before");
    // A file in its place: the directory cannot be made again until that is gone.
    std::fs::rename(&pictures, dir.path().join("away")).unwrap();
    std::fs::write(&pictures, "").unwrap();
    edge.wait_for("failed, and is tried again");
    let before = broker.received.lock().unwrap().journal.len();
    broker.wait("records without the display", |h| h.journal.len() > before + 50);
    std::fs::remove_file(&pictures).unwrap();
    edge.wait_for("works again");
    edge.signal("-TERM");
    let (status, log) = edge.end();
    assert!(status.success() && log.contains("failed "), "{log}");
    assert!(std::fs::read_dir(&pictures).unwrap().count() > 0, "pictures again");
    let received = broker.received.lock().unwrap();
    let reports = received.journal.values().filter(|r| Envelope::open(r).unwrap().0.kind() == Some(Kind::Report));
    let seqs: Vec<u64> = received.journal.keys().map(|k| k.1).collect();
    assert_eq!(seqs, (0..seqs.len() as u64).collect::<Vec<_>>(), "without a gap");
    assert!(reports.count() > 70);
}

/// A socket in systemd's place, and the messages to it.
struct Systemd {
    socket: UnixDatagram,
    dir: tempfile::TempDir,
}

impl Systemd {
    fn new() -> Systemd {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Systemd { socket, dir }
    }

    fn start(&self, command: &mut Command) -> Edge {
        command.env("NOTIFY_SOCKET", self.dir.path().join("notify")).env("WATCHDOG_USEC", "400000");
        Edge::start(command.env_remove("WATCHDOG_PID"))
    }

    /// The next message that is `text`.
    #[track_caller]
    fn receives(&self, text: &str) {
        let mut buffer = [0; 200];
        loop {
            let n = self.socket.recv(&mut buffer).unwrap_or_else(|e| panic!("no {text}: {e}"));
            if buffer[..n] == *text.as_bytes() || buffer[..n] == *format!("{text}\n").as_bytes() {
                return;
            }
        }
    }
}

#[test]
fn systemd_is_notified_ready_and_the_watchdog_is_fed_while_the_camera_is_away_or_slow_or_a_pipe_is_silent() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for source in ["rpicam:", "synthetic:64x48@0.1", &format!("y4m:{}", fifo.display())] {
        let systemd = Systemd::new();
        let edge = systemd.start(run("--source").arg(source).env("PATH", "/nonexistent"));
        systemd.receives("READY=1");
        // Each of them is a quarter of the time in which the watchdog would bite after the one before.
        for _ in 0..12 {
            systemd.receives("WATCHDOG=1");
        }
        edge.signal("-TERM");
        systemd.receives("STOPPING=1");
        let (status, log) = edge.end();
        assert!(status.success() && !log.contains("no sign of life"), "{source}: {log}");
        assert!(!log.contains("left behind"), "{source}: {log}");
    }
}

#[test]
fn each_signal_stops_cleanly_and_two_at_once_are_one() {
    for signals in [&["-HUP"][..], &["-INT"], &["-TERM"], &["-TERM", "-TERM"], &["-HUP", "-TERM", "-INT"]] {
        let dir = tempfile::tempdir().unwrap();
        // Under nohup a hang-up is ignored from the start, and so it would be by the edge.
        let mut command = Command::new("env");
        command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_hueflow-edge"), "run", "--log-frames"]);
        command.args(["--source", "synthetic:64x48@100", "--spool"]).arg(dir.path().join("spool"));
        let mut edge = Edge::start(&mut command);
        edge.wait_for("frame 3:");
        // One call, so that they come within a second of each other however slow this machine is.
        let pid = edge.child.id();
        let script = signals.iter().map(|s| format!("kill {s} {pid}")).collect::<Vec<_>>().join(";");
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success() || signals.len() > 1);
        let (status, log) = edge.end();
        assert!(status.success() && log.contains("stream interrupted"), "{signals:?}: {status}: {log}");
    }
}

#[test]
fn a_hang_up_that_was_ignored_at_the_start_stays_ignored() {
    let program = env!("CARGO_BIN_EXE_hueflow-edge");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("trap '' HUP; exec {program} run --source synthetic:64x48@100 --log-frames")]);
    let mut edge = Edge::start(&mut command);
    edge.wait_for("frame 3:");
    edge.signal("-HUP");
    // It goes on, frame after frame.
    for _ in 0..20 {
        edge.wait_for("frame ");
    }
    edge.signal("-TERM");
    assert!(edge.end().0.success());
}

#[test]
fn a_fifo_ends_with_a_stop_whether_it_has_a_writer_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for is_written in [false, true] {
        let source = format!("y4m:{}", fifo.display());
        let mut edge = Edge::start(run("--log-frames --source").arg(&source));
        let mut writer = None;
        if is_written {
            let mut file = std::fs::File::options().write(true).open(&fifo).unwrap();
            let mut clip = b"YUV4MPEG2 W64 H48 F30:1 C420jpeg\n".to_vec();
            for _ in 0..2 {
                clip.extend(b"FRAME\n");
                clip.extend([100; 64 * 48 * 3 / 2]);
            }
            file.write_all(&clip).unwrap();
            writer = Some(file);
            edge.wait_for("frame 1:");
        } else {
            edge.wait_for("no records are kept");
        }
        edge.signal("-TERM");
        let (status, log) = edge.end();
        drop(writer);
        assert!(status.success() && log.contains("stream interrupted"), "{log}");
        assert!(!log.contains("left behind"), "{log}");
    }
}

#[test]
fn a_source_that_does_not_end_is_left_behind() {
    // Opening a FIFO as a file waits for a writer, and nothing ends that wait.
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut edge = Edge::start(run("--source").arg(format!("file:{}", fifo.display())));
    edge.wait_for("no records are kept");
    edge.signal("-TERM");
    let (status, log) = edge.end();
    assert!(status.success() && log.contains("stream interrupted"), "{log}");
}

#[test]
fn only_draining_sends_what_the_spool_holds_opens_nothing_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    let with = |args: &str, port: u16| {
        let mut command = run(&format!("--device d --site s --mqtt mqtt://127.0.0.1:{port} {args}"));
        command.arg("--spool").arg(&spool);
        command
    };
    let away = with("--source synthetic:64x48@30 --fast --frames 73 --no-drain", 1).output().unwrap();
    assert!(away.status.success());
    let broker = Broker::start(Faults::default());
    // Neither this source nor this display can be opened.
    let (status, log) =
        Edge::start(&mut with("--drain-only --source file:/nonexistent --display window", broker.port)).end();
    assert!(status.success(), "{log}");
    // 73 reports and a census.
    assert_eq!(broker.received.lock().unwrap().journal.len(), 74, "{log}");
    // Now there is nothing to wait for, and nobody to ask.
    let (status, log) = Edge::start(&mut with("--drain-only", 1)).end();
    assert!(status.success(), "{log}");
    let (status, log) = Edge::start(&mut run("--drain-only")).end();
    assert!(status.code() == Some(78) && log.contains("--drain-only") && log.contains("--mqtt"), "{log}");
}

#[test]
fn without_a_broker_and_a_directory_nothing_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let keeps = |args: &str| {
        let mut command = run(&format!("--source synthetic:64x48@30 --fast --frames 5 {args}"));
        command.env("HOME", home.path()).env_remove("XDG_STATE_HOME").env_remove("STATE_DIRECTORY");
        let (status, log) = Edge::start(&mut command).end();
        assert!(status.success(), "{log}");
        (log.contains("no records are kept"), home.path().join(".local/state/hueflow/spool").exists())
    };
    assert_eq!(keeps(""), (true, false));
    let spool = home.path().join("own");
    assert_eq!(keeps(&format!("--spool {}", spool.display())), (false, false));
    assert!(spool.exists());
    assert_eq!(keeps("--no-drain --device d --mqtt mqtt://127.0.0.1:1"), (false, true));
}

#[test]
fn a_sender_that_cannot_start_ends_the_run_also_while_the_camera_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = run("--source rpicam: --device d --mqtt mqtt://me@127.0.0.1:1");
    command.arg("--spool").arg(dir.path().join("spool")).env("PATH", "/nonexistent");
    let (status, log) = Edge::start(command.env("HUEFLOW_EDGE__MQTT__PASSWORD_FILE", "/nonexistent")).end();
    assert!(status.code() == Some(78) && log.contains("mqtt.password_file"), "{status}: {log}");
}

#[test]
fn names_and_variables_that_are_not_utf_8_are_taken() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9.png"));
    let mut encoder = png::Encoder::new(std::fs::File::create(&odd).unwrap(), 1, 1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&[1, 2, 3]).unwrap();
    let plain = dir.path().join("dot.png");
    std::fs::copy(&odd, &plain).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hueflow-edge"));
    command.arg("cluster").arg(&odd).arg(&plain).arg("--json");
    let odd_text = std::ffi::OsStr::from_bytes(b"\xe9");
    let output = command.env("ODD", odd_text).env(odd_text, "x").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.lines().count() == 2, "{err}");
    let output = run("--frames 1").env("HUEFLOW_EDGE__CAMERA__SOURCE", odd_text).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(78) && err.contains("HUEFLOW_EDGE__CAMERA__SOURCE"), "{err}");
}

#[test]
fn a_display_that_hangs_does_not_stop_clustering() {
    // A PNG whose file is a FIFO: writing it waits for a reader.
    let dir = tempfile::tempdir().unwrap();
    let pictures = dir.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    let fifo = pictures.join("000002.png.new");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // Two seconds are long for a picture of this size, also on a busy machine: none before the FIFO is skipped.
    let args = "--source synthetic:64x48@30 --log-frames --frames 8 --picture-wait-ms 2000 --display";
    let mut edge = Edge::start(run(args).arg(format!("png:{}", pictures.display())));
    edge.wait_for("frame 7:");
    let (status, log) = edge.end();
    assert!(status.success() && log.contains("does not end: left behind"), "{log}");
    // The pipe's other end: what was written into it is nobody's.
    let mut nothing = Vec::new();
    let _ = std::fs::File::open(pictures.join("000000.png")).unwrap().read_to_end(&mut nothing);
    assert!(nothing.starts_with(b"\x89PNG"));
}
