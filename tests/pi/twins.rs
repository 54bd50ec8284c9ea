//! Twins: what a grabber and two cameras of the same name give, as the guest's kernel plays them.
//!
//! Inputs are vivid's formats, its unplugging of one camera, and its HDMI signals; results are the guest's console and some of
//! the clustered pictures. Colours are compared with the bars that vivid draws.

use crate::{GUEST_LIMIT, line};
use harness::guest::{Guest, Setup};
use harness::media::{self, BARS};
use harness::output;
use std::collections::HashMap;
use std::time::Duration;
use tempfile::TempDir;

const LOOK_LIMIT: Duration = Duration::from_secs(120);
/// Levels by which a colour may be off: luma and chroma are cut to eight bits.
const LEVELS: u8 = 4;
/// An eighth, less what vivid's text covers of some bars.
const SHARE_MIN: f64 = 0.05;

#[test]
fn a_twin_is_not_taken_for_the_camera_that_was_unplugged_and_grabbers_are_read_and_explained() {
    let dir = TempDir::with_prefix("hueflow-test-").unwrap();
    let given = dir.path().join("none");
    std::fs::create_dir(&given).unwrap();
    let mut guest = Guest::boot(dir.path(), &Setup { job: "twins.sh", files: Some(&given), ..Setup::default() });
    guest.wait_for_line("GUEST look", LOOK_LIMIT);
    let left = dir.path().join("left");
    guest.left(&left);
    for format in ["uyvy", "nv21", "bgr3"] {
        let path = left.join(format).join("000007.png");
        std::fs::copy(&path, output(&format!("pi-{format}.png"))).unwrap();
        let (width, height, rgb) = media::png(&path);
        let mut shares: HashMap<[u8; 3], f64> = HashMap::new();
        for px in rgb.as_chunks::<3>().0 {
            *shares.entry(*px).or_default() += 1.0 / (width * height) as f64;
        }
        println!("{format}: {shares:?}");
        assert_eq!(shares.len(), BARS.len(), "{format}: {shares:?}");
        for (n, (name, bar)) in BARS.iter().enumerate() {
            let off = |c: &[u8; 3]| c.iter().zip(bar).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            let (colour, share) = shares.iter().min_by_key(|(c, _)| off(c)).unwrap();
            assert!(off(colour) <= LEVELS && *share > SHARE_MIN, "{format}: {name} is {colour:?}, {share}");
            // Below the text, each in its place.
            let at = ((height * 7 / 8) * width + width * (2 * n + 1) / 16) * 3;
            assert_eq!(&rgb[at..at + 3], colour, "{format}: {name} is elsewhere");
        }
    }
    guest.go_on();
    let console = guest.wait(GUEST_LIMIT);
    std::fs::write(output("pi-twins.txt"), &console).unwrap();
    for what in ["uyvy", "nv21", "bgr3", "left", "right", "hdmi", "other"] {
        line(&console, &format!("GUEST {what} ended with 0"));
    }
    let of = |who: &str| console.lines().filter(|l| l.starts_with(who)).collect::<Vec<_>>().join("\n");
    let (left, right) = (of("LEFT "), of("RIGHT "));
    line(&left, "there is another camera called vivid; this is the one at platform:vivid-000");
    line(&left, "the camera vivid at platform:vivid-000 is not there; another camera of that name is not taken for it");
    line(&console, "GUEST while it is away: 0 times back");
    line(&left, "camera vivid (/dev/video0) is back after");
    assert!(!left.contains("/dev/video2"), "{left}");
    assert!(!right.contains("back after") && !right.contains("unplugged"), "the other one goes on: {right}");

    line(&console, "/dev/video0: vivid: a camera of several planes of memory");
    let planes = line(&console, "multi-planar interface), which cannot be read here");
    println!("{planes}");
    line(&console, "cameras that can be read: /dev/video2 (vivid)");
    line(&console, "GUEST planes ended with 0");

    line(&console, "the signal is 1280x720 at 60.00 frames per second");
    let other = console.lines().filter(|l| l.contains("the signal is ")).nth(1).expect("a second signal");
    assert!(other.contains("720x480 at 59.94 frames per second"), "{other}");
    line(&console, "there is no signal: is the cable plugged in");
    line(&console, "GUEST dark ended with 0");
}
