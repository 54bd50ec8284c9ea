//! A reference from a configuration file: the output for the same scene in another light.
//!
//! The program runs as a person runs it, with the configuration of deploy/examples/shade-drift.md, over drawn pictures of a grey
//! card and a cloth. A change of light is computed in double precision and rounded to 8 bits.

#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const WIDTH: usize = 160;
const HEIGHT: usize = 120;
/// L* 50.
const GREY: [u8; 3] = [119; 3];
/// The cloth of the example, Lab 43.2, 35.6, 11.9, and another dye.
const CLOTH: [u8; 3] = [160, 76, 84];
const OTHER_DYE: [u8; 3] = [172, 84, 72];
/// A lamp of about 5,000 K in place of daylight, and half of the light.
const LAMP: [f64; 3] = [0.62, 0.49, 0.36];

/// The TOML of the example, and a camera that every machine has.
fn example() -> String {
    let document = include_str!("../../deploy/examples/shade-drift.md");
    let blocks = document.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.collect()
}

/// A grey card and a cloth with a weave, on black, under gains of linear light.
fn scene(cloth: [u8; 3], light: [f64; 3]) -> Vec<u8> {
    let seen = |level: u8, gain: f64| {
        let c = f64::from(level) / 255.0;
        let v = gain * if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
        (255.0 * if v <= 0.003_130_8 { v * 12.92 } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 }).round().min(255.0) as u8
    };
    let pixel = |i: usize| {
        let (x, y) = (i % WIDTH, i / WIDTH);
        let colour = match (x, y) {
            (0..24, 3..28) => GREY,
            (30.., _) => cloth.map(|level| level + ((x * 7 + y * 3) % 5) as u8 - 2),
            _ => [9, 9, 9],
        };
        core::array::from_fn::<u8, 3, _>(|c| seen(colour[c], light[c]))
    };
    (0..WIDTH * HEIGHT).flat_map(pixel).collect()
}

fn cluster(dir: &Path, config: &str, rgb: &[u8], options: &[&str]) -> Output {
    let (still, file) = (dir.join("still.png"), dir.join("edge.toml"));
    hueflow_edge::panel::png::write(&still, WIDTH as u32, HEIGHT as u32, png::ColorType::Rgb, rgb).unwrap();
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hueflow-edge"));
    command.arg("cluster").arg(still).arg("--config").arg(file).args(options).output().unwrap()
}

/// What the report of a picture has: `reference_de00`, and of the named colour in the web the share and `de00`.
fn printed(dir: &Path, config: &str, rgb: &[u8]) -> (Option<f64>, f64, f64) {
    let output = cluster(dir, config, rgb, &["--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    let web = line["regions"].as_array().unwrap().iter().find(|region| region["name"] == "web").unwrap();
    let named = web["named"].as_array().unwrap().iter().find(|named| named["colour"] == "shade");
    let share = named.map_or(0.0, |named| named["pixels"].as_f64().unwrap() / web["pixels"].as_f64().unwrap());
    (line["reference_de00"].as_f64(), share, named.map_or(f64::NAN, |named| named["de00"].as_f64().unwrap()))
}

#[test]
fn the_example_tells_another_shade_from_another_light() {
    let dir = tempfile::tempdir().unwrap();
    let (gain, off) = (example(), example().replace("correct = \"gain\"", "correct = \"off\""));
    assert_ne!(gain, off);
    let (day, lamp) = (scene(CLOTH, [1.0; 3]), scene(CLOTH, LAMP));
    let printed = |config: &str, rgb: &[u8]| printed(dir.path(), config, rgb);

    for config in [&gain, &off] {
        let (reference, share, de00) = printed(config, &day);
        assert!(reference.unwrap() < 0.5 && share == 1.0 && de00 < 1.0, "{reference:?} {share} {de00}");
    }
    let (reference, share, de00) = printed(&gain, &lamp);
    println!("corrected: reference {reference:?}, share {share}, de00 {de00}");
    assert!(reference.unwrap() < 0.1 && share == 1.0 && de00 < 1.5, "{reference:?} {share} {de00}");
    let (reference, share, de00) = printed(&off, &lamp);
    println!("as captured: reference {reference:?}, share {share}, de00 {de00}");
    assert!(reference.unwrap() > 10.0 && de00 > 8.0, "{reference:?} {share} {de00}");

    for light in [[1.0; 3], LAMP] {
        let (_, share, de00) = printed(&gain, &scene(OTHER_DYE, light));
        println!("another dye: share {share}, de00 {de00}");
        assert!(share > 0.5 && (7.0..9.0).contains(&de00), "{share} {de00}");
    }
}

#[test]
fn the_recoloured_picture_is_corrected_and_a_clipped_card_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let options = ["--out", out.to_str().unwrap()];
    let cloth = |rgb: &[u8]| {
        let output = cluster(dir.path(), &example(), rgb, &options);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(out.join("000000.png")).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut seen = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut seen).unwrap();
        let at = 3 * (60 * WIDTH + 100);
        ([seen[at], seen[at + 1], seen[at + 2]], String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (corrected, log) = cloth(&scene(CLOTH, LAMP));
    assert!(corrected.iter().zip(CLOTH).all(|(a, b)| a.abs_diff(b) <= 4), "{corrected:?}");
    assert!(!log.contains("not corrected"), "{log}");
    // So bright that the card is white.
    let (_, log) = cloth(&scene(CLOTH, [6.0; 3]));
    assert_eq!(log.matches("the reference patch grey-card is clipped").count(), 1, "{log}");
}
