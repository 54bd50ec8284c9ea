//! KMS: a camera's frames on the guest's screen by mode setting, upright, rotated and flipped.
//!
//! Inputs are screendumps of QEMU's, results are these as PNGs. The expected pictures come from the frames that were clustered;
//! frames and screendumps are turned back here, and the camera's bars show that the direction is right.

use crate::displays::{LOOK_LIMIT, are_the_bars, frames};
use crate::{GUEST_LIMIT, line, say_figures};
use harness::guest::{Display, Guest, Setup};
use harness::screen::{self, Rgb};
use harness::{media, output, wait_for};
use tempfile::TempDir;

#[test]
fn a_cameras_clustered_pictures_are_on_a_screen_without_a_desktop_upright_and_turned() {
    let (width, height) = (640, 480);
    let dir = TempDir::with_prefix("hueflow-test-").unwrap();
    let bars = dir.path().join("bars");
    media::bars(&bars, 640, 360, 8);
    let display = Display::Screen(width as u32, height as u32);
    let setup = Setup { job: "kms.sh", files: Some(&bars), display, ..Setup::default() };
    let mut guest = Guest::boot(dir.path(), &setup);
    guest.wait_for_line("GUEST console", LOOK_LIMIT);
    let path = output("pi-kms-console.png");
    // Twenty lines of one or two digits.
    let console = wait_for("the console's text", LOOK_LIMIT, || {
        guest.screendump(&path);
        let dump = media::png(&path);
        let bright = dump.2.as_chunks::<3>().0.iter().filter(|px| px.iter().max() > Some(&60)).count();
        (bright > 200).then_some(dump)
    });
    guest.go_on();
    // Quarters clockwise, and whether left and right then change places.
    for (look, (quarters, mirrored)) in [(1, (0, false)), (2, (1, false)), (3, (3, true))] {
        guest.wait_for_line(&format!("GUEST look {look}"), LOOK_LIMIT);
        let left = dir.path().join(format!("left-{look}"));
        guest.left(&left);
        let upright = |picture: &Rgb| screen::turned_back(picture, quarters, mirrored);
        let frames: Vec<Rgb> = frames(&left).iter().map(upright).collect();
        let (w, h) = if quarters % 2 == 0 { (width, height) } else { (height, width) };
        let pictures: Vec<Vec<u8>> = frames.iter().map(|f| screen::picture(f, w, h)).collect();
        let upper = screen::parts(h).0 * w * 3;
        let path = output(&format!("pi-kms-{look}.png"));
        let (which, shown) = wait_for("a clustered frame on the screen", LOOK_LIMIT, || {
            guest.screendump(&path);
            let dump = media::png(&path);
            assert_eq!((dump.0, dump.1), (width, height));
            let shown = upright(&dump);
            pictures.iter().rposition(|p| shown.2[..upper] == p[..]).map(|i| (i, shown))
        });
        println!("look {look}: frame {which} of {} is on the screen", frames.len());
        assert!(which + 3 >= frames.len(), "frame {which} of {} is an old one", frames.len());
        assert_eq!(screen::bar_fault(&frames[which], &shown, |px| px), None);
        are_the_bars(&frames[which]);
        guest.go_on();
    }
    guest.wait_for_line("GUEST nobody draws", LOOK_LIMIT);
    wait_for("the console to have its screen again", LOOK_LIMIT, || {
        guest.screendump(&path);
        (media::png(&path) == console).then_some(())
    });
    guest.go_on();
    let console = guest.wait(GUEST_LIMIT);
    std::fs::write(output("pi-kms.txt"), &console).unwrap();
    for look in 1..=3 {
        line(&console, &format!("GUEST kms {look} ended with 0"));
    }
    line(&console, "display kms: /dev/dri/card0 on Virtual-1, 640x480");
    line(&console, "another program, such as a desktop, drives the screen");
    line(&console, "GUEST second ended with 0");
    line(&console, "ok       display  auto takes kms: /dev/dri/card0 on Virtual-1: 640x480");
    line(&console, "GUEST doctor ended with 0");
    line(&console, "GUEST speed: ");
    line(&console, "display auto: kms");
    say_figures("kms", &console);
}
