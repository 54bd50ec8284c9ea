//! Displays: what a camera's frames look like on the guest's framebuffer, and on a glass at the end of its SPI lines.
//!
//! Inputs are a screendump of QEMU's, and its record of the lines; results are both as PNGs. The expected picture is worked out
//! from the frames that were clustered, without the program's own drawing.

use crate::{GUEST_LIMIT, line, say_figures};
use harness::guest::{Display, Guest, Setup};
use harness::screen::{self, Rgb};
use harness::{glass, media, output, wait_for};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

pub const LOOK_LIMIT: Duration = Duration::from_secs(120);
/// Whole pictures that the recorded lines carry at least: each takes ten seconds, and there is a minute of them.
const WIRED_MIN: usize = 3;

/// The frames that the guest has left as PNGs, by number.
pub fn frames(dir: &Path) -> Vec<Rgb> {
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "png"));
    paths.sort();
    paths.iter().map(|p| media::png(p)).collect()
}

/// In the middle of each bar its colour, as far as JPEG keeps it.
pub fn are_the_bars((width, height, rgb): &Rgb) {
    let rows = screen::parts(*height).0;
    for y in [rows / 4, rows / 2, rows * 3 / 4] {
        for (n, (name, bar)) in media::BARS.iter().enumerate().take(7) {
            let at = (y * width + width * (2 * n + 1) / 16) * 3;
            let off = (0..3).map(|c| rgb[at + c].abs_diff(bar[c])).max().unwrap();
            assert!(off <= 4, "{name} in row {y} is {:?}", &rgb[at..at + 3]);
        }
    }
}

#[test]
fn a_cameras_clustered_pictures_are_on_the_screen_and_move() {
    let (width, height) = (640, 480);
    let dir = TempDir::with_prefix("hueflow-test-").unwrap();
    let bars = dir.path().join("bars");
    media::bars(&bars, 640, 360, 8);
    let display = Display::Screen(width as u32, height as u32);
    let mut guest =
        Guest::boot(dir.path(), &Setup { job: "screen.sh", files: Some(&bars), display, ..Setup::default() });
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for look in 1..=4 {
        guest.wait_for_line(&format!("GUEST look {look}"), LOOK_LIMIT);
        let left = dir.path().join(format!("left-{look}"));
        guest.left(&left);
        let frames = frames(&left);
        let path = output(&format!("pi-screen-{look}.png"));
        let pictures: Vec<Vec<u8>> = frames.iter().map(|f| screen::picture(f, width, height)).collect();
        let upper = screen::parts(height).0 * width * 3;
        // The kernel brings to the screen what was written a moment later.
        let (which, shown) = wait_for("a clustered frame on the screen", LOOK_LIMIT, || {
            guest.screendump(&path);
            let shown = media::png(&path);
            assert_eq!((shown.0, shown.1), (width, height));
            // The newest first: the scene comes round again.
            pictures.iter().rposition(|p| shown.2[..upper] == p[..]).map(|i| (i, shown))
        });
        println!("look {look}: frame {which} of {} is on the screen", frames.len());
        assert!(which + 3 >= frames.len(), "frame {which} of {} is an old one", frames.len());
        assert_eq!(screen::bar_fault(&frames[which], &shown, |px| px), None);
        are_the_bars(&shown);
        seen.push(shown.2[..upper].to_vec());
        guest.go_on();
    }
    assert!(seen.windows(2).all(|looks| looks[0] != looks[1]), "the scene has moved, the screen has not");
    let console = guest.wait(GUEST_LIMIT);
    std::fs::write(output("pi-screen.txt"), &console).unwrap();
    line(&console, "GUEST screen ended with 0");
    line(&console, "GUEST doctor ended with 0");
    line(&console, "ok       display  fb: /dev/fb0: 640x480 pixels of 32 bits");
    say_figures("screen", &console);
}

#[test]
fn a_cameras_clustered_pictures_go_down_the_wires_one_after_the_other() {
    let (width, height) = (320, 240);
    let dir = TempDir::with_prefix("hueflow-test-").unwrap();
    let given = dir.path().join("none");
    std::fs::create_dir(&given).unwrap();
    let display = Display::Wires(width, height);
    let setup = Setup { job: "wires.sh", files: Some(&given), display, ..Setup::default() };
    let mut guest = Guest::boot(dir.path(), &setup);
    guest.wait_for_line("GUEST look", GUEST_LIMIT);
    let left = dir.path().join("left");
    guest.left(&left);
    guest.stop_record();
    guest.go_on();
    let console = guest.wait(GUEST_LIMIT);
    std::fs::write(output("pi-wires.txt"), &console).unwrap();
    line(&console, "GUEST wires ended with 0");
    line(&console, "GUEST doctor ended with 0");
    line(&console, "display  spi: st7789 320x240 on /dev/spidev0.0");
    say_figures("wires", &console);

    let wires = guest.glass();
    println!("{} bytes, {} commands, {} pictures", wires.bytes, wires.commands.len(), wires.pictures.len());
    assert_eq!((wires.cut, wires.outside, wires.resets), (0, 0, 1));
    // Awake, turned by a quarter, 16 bits a pixel, inverted as its board is, and on.
    for command in [0x11, 0x36, 0x3a, 0x21, 0x29] {
        assert!(wires.has_command(command), "command {command:02x}: {:x?}", &wires.commands[..20]);
    }
    let frames = frames(&left);
    assert_eq!(frames.len(), 60);
    let upper = screen::parts(height).0 * width;
    let in_565 = |px: [u8; 3]| {
        let word = u16::from(px[0] >> 3) << 11 | u16::from(px[1] >> 2) << 5 | u16::from(px[2] >> 3);
        [glass::rgb(&[word])[0], glass::rgb(&[word])[1], glass::rgb(&[word])[2]]
    };
    // The display shows the newest frame when it is ready for one. Each whole picture is a frame's, one after the other.
    let (mut from, mut seen) = (0, Vec::new());
    for (n, frame) in frames.iter().enumerate() {
        let expected: Vec<u8> =
            screen::picture(frame, width, height).as_chunks::<3>().0.iter().flat_map(|px| in_565(*px)).collect();
        let shown = |pixels: &[u16]| glass::rgb(pixels);
        let is_it = |p: &Vec<u16>| {
            let whole: Rgb = (width, height, shown(p));
            shown(&p[..upper]) == expected && screen::bar_fault(frame, &whole, in_565).is_none()
        };
        let Some(at) = wires.pictures[from..].iter().position(is_it) else { continue };
        // The caption comes last.
        from += at + wires.pictures[from + at..].iter().take_while(|p| is_it(p)).count() - 1;
        media::write_png(
            &output(&format!("pi-wires-{}.png", seen.len())),
            width,
            height,
            &shown(&wires.pictures[from]),
        );
        println!("frame {n} was on the glass");
        seen.push(wires.pictures[from].clone());
    }
    let last = wires.pictures.last().expect("a picture");
    media::write_png(&output("pi-wires-last.png"), width, height, &glass::rgb(last));
    assert!(seen.len() >= WIRED_MIN, "{} pictures of frames were on the glass; see pi-wires-last.png", seen.len());
    assert!(seen.windows(2).all(|w| w[0] != w[1]), "the scene has moved, the glass has not");
}
