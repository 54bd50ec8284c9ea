//! A window that really opens and a terminal that really draws, both ended by Esc.
//!
//! Xvfb and tmux are started for the test; screenshots are left in `target/test-output`. Colours of the clip must be on the
//! screen.

use harness::{House, Running, bin, free_port, media, output, wait_for};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn sh(command: &str) -> String {
    let out = Command::new("sh").args(["-c", command]).output().expect("sh");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn a_window_opens_shows_the_clustered_picture_and_esc_ends_the_stream() {
    let house = House::new("mqtt://127.0.0.1:1", "");
    // A display number from a free port: unlikely to be taken by another test or a person.
    let display = format!(":{}", free_port());
    let mut xvfb = Command::new("Xvfb");
    let x =
        Running::start("xvfb", house.dir(), xvfb.args([&display, "-screen", "0", "1400x800x24", "-nolisten", "tcp"]));
    wait_for("Xvfb", LIMIT, || {
        let up = Command::new("xdpyinfo").args(["-display", &display]).output();
        up.is_ok_and(|o| o.status.success()).then_some(())
    });
    let source = format!("file:{}", media::clip().display());
    let args = ["--source", &source, "--loop", "--display", "window", "--view", "side-by-side", "--no-drain"];
    let mut command = house.edge_command("desk", &args);
    let mut edge = Running::start("edge", house.dir(), command.env("DISPLAY", &display).env_remove("WAYLAND_DISPLAY"));
    let window = wait_for("the window", LIMIT, || {
        let ids = sh(&format!("DISPLAY={display} xdotool search --onlyvisible --name Hueflow"));
        ids.lines().next().map(str::to_string)
    });
    let shot = output("window.png");
    let colours = || {
        sh(&format!("import -display {display} -window root {} 2>/dev/null", shot.display()));
        let (_, _, rgb) = media::png(&shot);
        rgb.chunks(3).collect::<std::collections::HashSet<_>>().len()
    };
    wait_for("the picture in the window", LIMIT, || (colours() > 12).then_some(()));
    sh(&format!("DISPLAY={display} xdotool windowfocus --sync {window} key --window {window} Escape"));
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    assert!(edge.stderr().contains("stream interrupted"), "{}", edge.stderr());
    println!("window under Xvfb: {}", edge.wait_for_line("pictures shown", LIMIT));
    drop(x);
}

#[test]
fn a_terminal_shows_the_picture_in_colour_and_esc_ends_the_stream() {
    let house = House::new("mqtt://127.0.0.1:1", "");
    let socket = house.path("tmux").display().to_string();
    let tmux = |args: &str| sh(&format!("tmux -f /dev/null -S {socket} {args}"));
    let log = house.path("terminal.log");
    let run = format!(
        "{} run --device term --spool {} --source file:{} --loop --display terminal --no-drain 2>{}; echo ended:$?; sleep 600",
        bin("hueflow-edge").display(),
        house.path("spool").display(),
        media::clip().display(),
        log.display()
    );
    tmux(&format!("new-session -d -x 100 -y 40 'env -u HUEFLOW_X COLORTERM=truecolor sh -c \"{run}\"'"));
    wait_for("half blocks in truecolour", LIMIT, || {
        let screen = tmux("capture-pane -p -e");
        (screen.matches('▀').count() > 400 && screen.contains("[38;2;")).then_some(())
    });
    std::fs::write(output("terminal.ansi"), tmux("capture-pane -p -e")).unwrap();
    tmux("resize-window -x 60 -y 24");
    wait_for("the picture after a resize", LIMIT, || {
        let screen = tmux("capture-pane -p");
        let widest = screen.lines().map(|l| l.chars().count()).max().unwrap_or(0);
        (screen.contains('▀') && widest <= 60).then_some(())
    });
    tmux("send-keys Escape");
    let screen =
        wait_for("the shell after Esc", LIMIT, || Some(tmux("capture-pane -p")).filter(|s| s.contains("ended:")));
    tmux("kill-server");
    assert!(screen.contains("ended:0"), "{screen}\n{}", std::fs::read_to_string(&log).unwrap_or_default());
    assert!(!screen.contains('▀'), "the terminal is as it was before");
}
