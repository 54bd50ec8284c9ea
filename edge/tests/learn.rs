//! `learn`: what was learned of an object is found again, and not elsewhere.
//!
//! The scene is the synthetic one; its yellow disc is the object. The program learns from the first frame, where a region lies
//! inside the disc, and the next 300 frames are counted pixel by pixel against the disc's own colour.

#![allow(clippy::unwrap_used)]

use firmware::color::{Lab, de00_q12};
use firmware::named::{BLOCK_BYTES, NAMELESS, NAMES_BYTES_MIN, Names};
use hueflow_edge::config::{Config, Raw};
use hueflow_edge::health::Child;
use hueflow_edge::see::open_camera;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The colour of the synthetic scene's third shape.
const DISC: [u8; 3] = [247, 198, 58];
const SOURCE: &str = "synthetic:320x240@30";

fn config(toml: &str) -> Config {
    Config::check(Raw::of_toml(toml, "edge.toml".as_ref()).unwrap()).unwrap()
}

/// Calls `look` with the pixels of each of the scene's first frames.
fn frames(number: usize, mut look: impl FnMut(usize, &[[u8; 3]])) {
    let config = config(&format!("[camera]\nsource = \"{SOURCE}\"\nfast = true"));
    let (never, child) = (Arc::new(AtomicBool::new(false)), Child::alone("camera", "test"));
    let mut camera = open_camera(&config, &never, &child).unwrap();
    for n in 0..number {
        assert!(camera.advance(&never).unwrap());
        let frame = camera.frame().unwrap();
        let rows: Vec<u8> = (0..frame.height()).flat_map(|y| frame.row(y, &mut []).to_vec()).collect();
        look(n, rows.as_chunks::<3>().0);
    }
}

/// Whether a pixel is of the disc: its noise is a few levels.
fn is_disc(rgb: [u8; 3]) -> bool {
    rgb.iter().zip(DISC).all(|(level, of_disc)| level.abs_diff(of_disc) <= 5)
}

#[test]
fn a_learned_object_is_found_in_the_next_300_frames_and_not_elsewhere() {
    // The middle of the disc in the first frame.
    let (mut x, mut y, mut n) = (0usize, 0usize, 0usize);
    frames(1, |_, pixels| {
        for (i, _) in pixels.iter().enumerate().filter(|(_, rgb)| is_disc(**rgb)) {
            (x, y, n) = (x + i % 320, y + i / 320, n + 1);
        }
    });
    assert!(n > 300, "the disc is in the picture");
    let (x, y) = (x as f64 / n as f64 / 320.0, y as f64 / n as f64 / 240.0);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("edge.toml");
    let (left, top) = ((x - 0.03).max(0.0), (y - 0.04).max(0.0));
    let text = format!(
        "# a scene\n[camera]\nsource = \"{SOURCE}\"\nfast = true\n[[region]]\nname = \"disc\"\nrect = [{left}, {top}, 0.06, 0.08]\n"
    );
    std::fs::write(&file, &text).unwrap();
    let learn = |words: &[&str]| {
        let learn = Command::new(env!("CARGO_BIN_EXE_hueflow-edge"))
            .arg("learn")
            .arg("--config")
            .arg(&file)
            .args(words)
            .output();
        let output = learn.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, table, log) = learn(&["--region", "disc", "--name", "yellow", "--seconds", "0.1", "--save"]);
    assert_eq!(code, Some(0), "{log}");
    let saved = std::fs::read_to_string(&file).unwrap();
    assert!(saved.starts_with("# a scene") && table.starts_with("[[colour]]"), "{saved}{table}");
    let colours: Vec<_> = config(&saved).colours.iter().map(|colour| colour.named).collect();
    assert_eq!(colours, config(&table).colours.iter().map(|colour| colour.named).collect::<Vec<_>>());
    assert!(de00_q12(colours[0].lab, Lab::of_rgb(DISC)) < 2 << 12, "{table}");
    let mut memory = vec![0; NAMES_BYTES_MIN + 2_000 * BLOCK_BYTES];
    let (mut names, mut found_names) = (Names::new(&colours, &mut memory), vec![NAMELESS; 320 * 240]);
    let (mut of_disc, mut found, mut elsewhere, mut false_ones) = (0u64, 0u64, 0u64, 0u64);
    frames(304, |n, pixels| {
        if n < 4 {
            return;
        }
        names.of_pixels(pixels, &mut found_names);
        for (&rgb, &name) in pixels.iter().zip(&found_names) {
            let has = u64::from(name != NAMELESS);
            if is_disc(rgb) {
                (of_disc, found) = (of_disc + 1, found + has);
            } else {
                (elsewhere, false_ones) = (elsewhere + 1, false_ones + has);
            }
        }
    });
    println!("found {found} of {of_disc} pixels; elsewhere {false_ones} of {elsewhere}");
    assert!(found * 100 >= of_disc * 98, "{found} of {of_disc}");
    assert!(false_ones * 1_000 <= elsewhere * 2, "{false_ones} of {elsewhere}");
    // What cannot be learned is reported.
    let (code, _, log) = learn(&["--region", "nowhere", "--name", "yellow"]);
    assert!(code == Some(2) && log.contains("disc"), "{log}");
    let (code, _, log) = learn(&["--region", "disc", "--name", "Yellow"]);
    assert!(code == Some(2) && log.contains("a-z"), "{log}");
}
