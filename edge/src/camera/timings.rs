//! Timings: the size and rate of an HDMI signal, which a grabber must have before it streams.
//!
//! The input is a grabber's node. Its present signal becomes its timings; the result has them, or why there are none. The work
//! is done by `v4l2-ctl` of the package v4l-utils, one short child process for a question and one for a setting.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The program.
pub const PROGRAM: &str = "v4l2-ctl";

/// The result of setting the timings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// The node has no timings, so it is not a grabber.
    NotNeeded,
    /// The grabber follows its signal, such as `1920x1080 at 60.00 frames a second`.
    Followed(String),
    /// There is no usable signal, with what to do.
    None(String),
    /// `v4l2-ctl` is not installed.
    Unknown,
}

/// Returns true if nodes of this driver may be grabbers. USB cameras and grabbers find their signal by themselves.
pub fn may_have(driver: &str) -> bool {
    ["unicam", "bcm2835-unicam", "rp1-cfe", "tc358743", "adv7604", "adv7842", "vivid"]
        .iter()
        .any(|d| driver.starts_with(d))
}

/// Sets the timings of `path` to those of its signal, by the given program.
pub fn follow(program: &str, path: &Path) -> Signal {
    let run = |args: &[&str]| {
        Command::new(program).arg("-d").arg(path).args(args).env("LC_ALL", "C").stdin(Stdio::null()).output()
    };
    match run(&["--query-dv-timings"]) {
        Err(e) if e.kind() == ErrorKind::NotFound => Signal::Unknown,
        Err(e) => Signal::None(format!("{program}: {e}")),
        Ok(asked) => match found(&text(&asked)) {
            Signal::Followed(words) => match run(&["--set-dv-bt-timings", "query"]) {
                Ok(set) if set.status.success() => Signal::Followed(words),
                // An interlaced signal has fields.
                Ok(_) if words.contains("fields") => {
                    Signal::None(format!("the signal is {words}; choose one that is not interlaced at the source"))
                }
                Ok(set) => Signal::None(format!("{words} cannot be set: {}", text(&set).trim())),
                Err(e) => Signal::None(format!("{program}: {e}")),
            },
            other => other,
        },
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The timings, or the kernel's error, from the program's answer.
fn found(answer: &str) -> Signal {
    let value = |name: &str| {
        let line = answer.lines().find_map(|l| l.trim().strip_prefix(name))?;
        line.trim_start().strip_prefix(':').map(|v| v.trim().to_owned())
    };
    if let (Some(width), Some(height)) = (value("Active width"), value("Active height"))
        && width != "0"
    {
        // `148500000 Hz (60.00 frames per second)`
        let clock = value("Pixelclock").unwrap_or_default();
        let rate = clock.split(['(', ')']).nth(1).unwrap_or("an unknown number of frames per second").to_owned();
        return Signal::Followed(format!("{width}x{height} at {rate}"));
    }
    let errors = [
        ("Link has been severed", "there is no signal: is the cable plugged in, and the source switched on?"),
        ("No locks available", "the signal is not stable: try another cable, or a lower resolution at the source"),
        (
            "Numerical result out of range",
            "the grabber cannot follow this signal: choose a lower resolution at the source",
        ),
    ];
    match errors.iter().find(|(error, _)| answer.contains(error)) {
        Some((_, why)) => Signal::None((*why).to_owned()),
        // ENOTTY and ENODATA: the node or its input has no timings.
        None => Signal::NotNeeded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A program that answers as `script` does and records its arguments.
    fn stand_in(script: &str) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PROGRAM);
        let text = format!("#!/bin/sh\nprintf '%s\\n' \"$*\" >>{}/calls\n{script}\n", dir.path().display());
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let program = path.to_string_lossy().into_owned();
        (dir, program)
    }

    const HD: &str = "DV timings:\n\tActive width: 1920\n\tActive height: 1080\n\tTotal width: 2200\n\
                      \tPixelclock: 148500000 Hz (60.00 frames per second)\n";

    #[test]
    fn the_signal_becomes_the_timings() {
        let (dir, program) = stand_in(&format!("printf '%s' '{HD}'"));
        let signal = follow(&program, Path::new("/dev/video0"));
        assert_eq!(signal, Signal::Followed("1920x1080 at 60.00 frames per second".into()));
        let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
        assert_eq!(calls, "-d /dev/video0 --query-dv-timings\n-d /dev/video0 --set-dv-bt-timings query\n");
    }

    #[test]
    fn no_signal_is_explained_and_other_nodes_are_left_alone() {
        let answer = |error: &str| {
            let (dir, program) = stand_in(&format!("echo 'VIDIOC_QUERY_DV_TIMINGS: failed: {error}' >&2; exit 1"));
            let signal = follow(&program, Path::new("/dev/video0"));
            assert_eq!(std::fs::read_to_string(dir.path().join("calls")).unwrap().lines().count(), 1, "nothing is set");
            signal
        };
        assert!(matches!(answer("Link has been severed"), Signal::None(why) if why.contains("no signal")));
        assert!(matches!(answer("No locks available"), Signal::None(why) if why.contains("not stable")));
        assert!(
            matches!(answer("Numerical result out of range"), Signal::None(why) if why.contains("lower resolution"))
        );
        assert_eq!(answer("Inappropriate ioctl for device"), Signal::NotNeeded);
        assert_eq!(answer("No data available"), Signal::NotNeeded);
        assert_eq!(follow("/nowhere/v4l2-ctl", Path::new("/dev/video0")), Signal::Unknown);
    }

    #[test]
    fn a_setting_that_fails_is_said() {
        let script = format!(
            "case $* in *query-dv*) printf '%s' '{HD}' ;; *) echo 'failed: Device or resource busy' >&2; exit 1 ;; esac"
        );
        let (_dir, program) = stand_in(&script);
        let signal = follow(&program, Path::new("/dev/video0"));
        assert!(
            matches!(&signal, Signal::None(why) if why.contains("1920x1080") && why.contains("busy")),
            "{signal:?}"
        );
    }
}
