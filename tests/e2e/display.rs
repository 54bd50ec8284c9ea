//! A window that opens, windows whose X server or compositor is killed, and a terminal that draws.
//!
//! Xvfb, weston and tmux are started for the test; screenshots are left in `target/test-output`. Colours of the clip must be on the
//! screen. Esc ends the stream.

use harness::{House, Running, bin, free_port, media, output, wait_for};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
/// An empty screen has fewer colours, the picture with palette and text more.
const COLOURS_MIN: usize = 12;
/// A picture fills more of the screen than a pointer; the smallest window has 700,000 pixels, some of them black.
const DRAWN_PX_MIN: usize = 200_000;

fn sh(command: &str) -> String {
    let out = Command::new("sh").args(["-c", command]).output().expect("sh");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Starts an X server with this display number, and waits until it answers.
fn x_server(house: &House, display: &str) -> Running {
    let mut xvfb = Command::new("Xvfb");
    // Without -noreset the server starts anew after its first client, and refuses a second that comes in between.
    let x = Running::start(
        "xvfb",
        house.dir(),
        xvfb.args([display, "-screen", "0", "1400x800x24", "-nolisten", "tcp", "-noreset"]),
    );
    wait_for("Xvfb", LIMIT, || {
        let up = Command::new("xdpyinfo").args(["-display", display]).output();
        up.is_ok_and(|o| o.status.success()).then_some(())
    });
    x
}

/// A display number from a free port: unlikely to be taken by another test or a person.
fn free_display() -> String {
    format!(":{}", free_port())
}

/// Waits until the clip's colours are on the screen.
fn wait_for_picture(display: &str, picture: &str) {
    let shot = output(picture);
    let is_there = || {
        sh(&format!("import -display {display} -window root PNG24:{} 2>/dev/null", shot.display()));
        let (_, _, rgb) = media::png(&shot);
        let pixels: Vec<&[u8]> = rgb.chunks(3).collect();
        let drawn = pixels.iter().filter(|&pixel| Some(pixel) != pixels.last()).count();
        drawn > DRAWN_PX_MIN && pixels.iter().collect::<std::collections::HashSet<_>>().len() > COLOURS_MIN
    };
    wait_for("the picture in the window", LIMIT, || is_there().then_some(()));
}

#[test]
fn a_window_opens_shows_the_clustered_picture_and_esc_ends_the_stream() {
    let house = House::new("mqtt://127.0.0.1:1", "");
    let display = free_display();
    let x = x_server(&house, &display);
    let source = format!("file:{}", media::clip().display());
    let args = ["--source", &source, "--loop", "--display", "window", "--view", "side-by-side", "--no-drain"];
    let mut command = house.edge_command("desk", &args);
    let mut edge = Running::start("edge", house.dir(), command.env("DISPLAY", &display).env_remove("WAYLAND_DISPLAY"));
    let window = wait_for("the window", LIMIT, || {
        let ids = sh(&format!("DISPLAY={display} xdotool search --onlyvisible --name Hueflow"));
        ids.lines().next().map(str::to_string)
    });
    wait_for_picture(&display, "window.png");
    sh(&format!("DISPLAY={display} xdotool windowfocus --sync {window} key --window {window} Escape"));
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    assert!(edge.stderr().contains("stream interrupted"), "{}", edge.stderr());
    println!("window under Xvfb: {}", edge.wait_for_line("pictures shown", LIMIT));
    drop(x);
}

/// Frames that the edge has logged.
fn frames(edge: &Running) -> usize {
    edge.stderr().matches("colours detected at lambda").count()
}

/// Runs an edge with a window on what `environment` names, and has its desktop killed and started again.
fn outlives_its_desktop<D>(environment: &[(&str, &str)], display: &str, picture: &str, start: impl Fn(&House) -> D) {
    let house = House::new("mqtt://127.0.0.1:1", "");
    let desktop = start(&house);
    let source = format!("file:{}", media::clip().display());
    let args = ["--source", &source, "--loop", "--display", "window", "--log-frames", "--no-drain"];
    let mut command = house.edge_command("desk", &args);
    command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY").envs(environment.iter().copied());
    let mut edge = Running::start("edge", house.dir(), &mut command);
    wait_for_picture(display, &format!("{picture}-before.png"));
    drop(desktop);
    println!("{}", edge.wait_for_line("display window failed, and is tried again: display window is gone", LIMIT));
    let before = frames(&edge);
    wait_for("frames without the desktop", LIMIT, || (frames(&edge) > before + 20).then_some(()));
    assert!(edge.is_running(), "{}", edge.stderr());
    let desktop = start(&house);
    wait_for_picture(display, &format!("{picture}-after.png"));
    edge.wait_for_line("display window works again", LIMIT);
    assert_eq!(edge.stop(), 0, "{}", edge.stderr());
    drop(desktop);
    let stderr = edge.stderr();
    let number = |what: &str| {
        let head = stderr.lines().find_map(|l| l.split_once(what)).expect("a summary").0;
        head.rsplit(' ').next().and_then(|w| w.parse::<usize>().ok()).expect("a number in the summary")
    };
    assert!(number(" held") >= number(" frames in "), "a report of each frame is kept: {stderr}");
}

#[test]
fn an_x_server_that_dies_costs_pictures_only_and_the_window_comes_back_with_it() {
    let display = free_display();
    outlives_its_desktop(&[("DISPLAY", &display)], &display, "window", |house| x_server(house, &display));
}

#[test]
fn a_compositor_that_dies_costs_pictures_only_and_the_window_comes_back_with_it() {
    let house = House::new("", "");
    let display = free_display();
    let x = x_server(&house, &display);
    // A compositor without a seat has no windows of `minifb`: it draws on an X server.
    let (runtime, socket) = (house.dir().display().to_string(), "wayland-test");
    let config = house.path("weston.ini");
    std::fs::write(&config, "[shell]\nbackground-color=0xff000000\npanel-position=none\nlocking=false\n").unwrap();
    let compositor = |_: &House| {
        let mut weston = Command::new("weston");
        weston.args(["--backend=x11-backend.so", "--use-pixman", "--width=1400", "--height=800", "--idle-time=0"]);
        weston.arg(format!("--config={}", config.display()));
        weston.arg(format!("--socket={socket}")).env("DISPLAY", &display).env("XDG_RUNTIME_DIR", &runtime);
        let weston = Running::start("weston", house.dir(), &mut weston);
        wait_for("the compositor's socket", LIMIT, || house.path(socket).exists().then_some(()));
        weston
    };
    let environment = [("WAYLAND_DISPLAY", socket), ("XDG_RUNTIME_DIR", &*runtime)];
    outlives_its_desktop(&environment, &display, "wayland", compositor);
    drop(x);
}

#[test]
fn a_display_that_blocks_does_not_hold_up_another_one() {
    let house = House::new("mqtt://127.0.0.1:1", "");
    let display = free_display();
    let mut x = x_server(&house, &display);
    let (source, files) = (format!("file:{}", media::clip().display()), house.path("png"));
    let files_spec = format!("png:{}", files.display());
    let args = ["--source", &source, "--loop", "--display", "window", "--display", &files_spec, "--no-drain"];
    let mut command = house.edge_command("desk", &args);
    let mut edge = Running::start("edge", house.dir(), command.env("DISPLAY", &display).env_remove("WAYLAND_DISPLAY"));
    wait_for_picture(&display, "blocked.png");
    x.signal("STOP");
    // The window's pipe and its X connection take a few pictures yet.
    let pictures = || std::fs::read_dir(&files).map_or(0, Iterator::count);
    let before = pictures();
    wait_for("pictures beside a window that hangs", LIMIT, || (pictures() > before + 60).then_some(()));
    x.signal("CONT");
    assert_eq!(edge.stop(), 0, "{}", edge.stderr());
    let stderr = edge.stderr();
    let line =
        |of: &str| stderr.lines().find(|l| l.contains(of) && l.contains("pictures shown")).expect("a line").to_string();
    println!("{}\n{}", line("display window"), line("display png"));
    assert!(line("display png").contains(" 0 skipped"), "it wants every frame: {stderr}");
    assert!(!line("display window").contains(" 0 skipped"), "{stderr}");
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
