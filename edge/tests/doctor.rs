//! Doctor from outside: the report of the real binary on a machine that lacks what is asked for, and of brokers that refuse.
//!
//! Tests rely only on what no machine has, and on what is made here: temporary directories and free loopback ports.

// A test that cannot go on panics, which shows where.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// Exit code, and lines on standard output.
fn doctor(spool: &Path, args: &[&str]) -> (i32, Vec<String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hueflow-edge"));
    command.args(["doctor", "--site", "s", "--device", "d", "--spool"]).arg(spool).args(args);
    let output = command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY").output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!err.contains("panicked"), "{err}");
    let lines = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    (output.status.code().unwrap(), lines)
}

/// The line of a check.
#[track_caller]
fn line<'a>(lines: &'a [String], check: &str) -> &'a str {
    let is_it = |l: &&String| l.split_whitespace().nth(1) == Some(check);
    lines.iter().find(is_it).unwrap_or_else(|| panic!("no {check} in {lines:#?}"))
}

#[test]
fn a_machine_without_camera_display_and_broker_is_well_if_it_needs_none() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    let (code, lines) = doctor(&spool, &["--source", "synthetic:64x48@5", "--display", "none"]);
    assert_eq!(code, 0, "{lines:#?}");
    for check in ["config", "camera", "video", "display", "groups", "broker", "clock", "spool", "memory"] {
        let word = line(&lines, check).split_whitespace().next().unwrap();
        assert!(["ok", "warning"].contains(&word), "{}", line(&lines, check));
    }
    assert!(line(&lines, "memory").contains("MiB at 64x48 (program "), "{lines:#?}");
    assert!(!spool.exists(), "nothing is made");
}

#[test]
fn what_is_needed_and_missing_is_wrong_and_says_what_to_type() {
    let dir = tempfile::tempdir().unwrap();
    let args =
        ["--source", "v4l2:/dev/video-of-no-machine", "--display", "fb:/dev/fb-of-no-machine", "--display", "window"];
    let (code, lines) = doctor(dir.path(), &args);
    assert_eq!(code, 69, "{lines:#?}");
    let camera = line(&lines, "camera");
    let expected = if cfg!(feature = "camera") { "there is no such camera" } else { "built without V4L2 cameras" };
    assert!(camera.starts_with("wrong ") && camera.contains(expected) && camera.contains("  -> "), "{camera}");
    let displays: Vec<&String> = lines.iter().filter(|l| l.contains(" display ")).collect();
    assert!(displays[0].contains("there is no /dev/fb-of-no-machine  -> attach"), "{}", displays[0]);
    assert!(displays[1].contains("window: "), "{}", displays[1]);
    let (code, lines) = doctor(dir.path(), &["--display", "spi"]);
    assert_eq!((code, line(&lines, "display").starts_with("wrong ")), (78, true), "no board is named: {lines:#?}");
}

#[test]
fn a_configuration_that_is_wrong_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("edge.toml");
    std::fs::write(&file, "[clustering]\nlambda = 900\n").unwrap();
    let (code, lines) = doctor(dir.path(), &["--config", &file.display().to_string()]);
    assert_eq!(code, 78);
    assert!(lines.len() == 1 && lines[0].starts_with("wrong    config ") && lines[0].contains("442"), "{lines:#?}");
}

#[test]
fn a_broker_that_is_not_there_refuses_or_is_none_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let at = |port: u16| format!("mqtt://me@127.0.0.1:{port}");
    let broker = |url: &str| {
        let (code, lines) = doctor(dir.path(), &["--mqtt", url]);
        (code, line(&lines, "broker").to_owned())
    };
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (code, printed) = broker(&at(closed));
    assert!(code == 69 && printed.contains("cannot be reached"), "{code} {printed}");
    let (code, printed) = broker("mqtt://no-such-host.invalid");
    assert!(code == 69 && printed.contains("cannot be resolved"), "{code} {printed}");

    for (answer, code, word) in [
        (&[0x20, 2, 0, 5][..], 78, "refuses"),
        (&[0x20, 2, 0, 4], 78, "refuses"),
        // A broker of MQTT 5 alone: with the answer of version 3.1.1, and with that of version 5.
        (&[0x20, 2, 0, 1], 69, "MQTT 5 only"),
        (&[0x20, 3, 0, 0x84, 0], 69, "MQTT 5 only"),
        (b"HTTP/1.1 400\r\n", 69, "like an MQTT"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = std::thread::spawn(move || {
            // The first knock brings nothing, the second one a CONNECT.
            for _ in 0..2 {
                let (mut socket, _) = listener.accept().unwrap();
                if socket.read(&mut [0; 256]).unwrap_or(0) > 0 {
                    socket.write_all(answer).unwrap();
                }
            }
        });
        let (got, printed) = broker(&at(port));
        assert!(got == code && printed.contains(word), "{got} {printed}");
        answers.join().unwrap();
    }
}

#[test]
fn what_doctor_writes_is_read_back_and_is_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("etc/edge.toml");
    let path = file.display().to_string();
    let args = ["--write", "--config", &path, "--mqtt", "mqtt://127.0.0.1:1", "--lambda", "33"];
    let (_, lines) = doctor(dir.path(), &args);
    assert!(line(&lines, "written").starts_with("ok ") && line(&lines, "written").contains(&path), "{lines:#?}");
    assert!(line(&lines, "config").starts_with("ok ") && line(&lines, "config").contains(&path), "{lines:#?}");
    let text = std::fs::read_to_string(&file).unwrap();
    let print = Command::new(env!("CARGO_BIN_EXE_hueflow-edge"))
        .args(["print-config", "--all", "--config", &path])
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&print.stdout);
    assert!(print.status.success(), "{text}");
    assert!(
        printed.contains("lambda = \"33\"")
            && printed.contains("device = \"d\"")
            && printed.contains("mqtt://127.0.0.1:1"),
        "{printed}"
    );
    let (_, lines) = doctor(dir.path(), &args);
    assert!(line(&lines, "written").contains("edge.toml.new"), "{lines:#?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}
