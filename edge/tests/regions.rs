//! Regions and named colours from a configuration file: the output for a picture.
//!
//! The program runs as a person runs it, over a picture with a red half and a masked corner.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

const CONFIG: &str = "
[clustering]
lambda = 40
[[mask]]
rect = [0, 0, 0.25, 0.5]
[[region]]
name = \"left\"
rect = [0, 0, 0.5, 1]
[[region]]
name = \"stack-1\"
polygon = [[0.25, 0.5], [0.75, 0.5], [0.75, 1.0], [0.25, 1.0]]
[[colour]]
name = \"green\"
rgb = \"#00c800\"
tolerance = 10
[[colour]]
name = \"red\"
rgb = \"#f00000\"
tolerance = 10
";

/// A picture whose left half is red and whose right half is green.
fn draw(path: &Path) {
    let rgb: Vec<u8> = (0..64 * 48).flat_map(|i| if i % 64 < 32 { [250, 0, 0] } else { [0, 200, 0] }).collect();
    hueflow_edge::panel::png::write(path, 64, 48, png::ColorType::Rgb, &rgb).unwrap();
}

fn cluster(dir: &Path, config: &str, options: &[&str]) -> Output {
    let (still, file) = (dir.join("still.png"), dir.join("edge.toml"));
    draw(&still);
    std::fs::write(&file, config).unwrap();
    Command::new(env!("CARGO_BIN_EXE_hueflow-edge"))
        .arg("cluster")
        .arg(still)
        .arg("--config")
        .arg(file)
        .args(options)
        .output()
        .unwrap()
}

#[test]
fn a_picture_has_its_shares_by_region_and_colour() {
    let dir = tempfile::tempdir().unwrap();
    let output = cluster(dir.path(), CONFIG, &["--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    // A quarter of the columns and half of the rows are masked.
    let masked = 16 * 24;
    assert_eq!((&line["pixels"], &line["lambda"]), (&json!(64 * 48 - masked), &json!(40.0)));
    let of = |region: usize, key: &str| line["regions"][region][key].clone();
    assert_eq!([of(0, "name"), of(1, "name")], ["left", "stack-1"]);
    assert_eq!([of(0, "pixels"), of(1, "pixels")], [32 * 48 - masked, 32 * 24]);
    let named = |region, n: usize| (of(region, "named")[n]["colour"].clone(), of(region, "named")[n]["pixels"].clone());
    assert_eq!(named(0, 0), (json!("red"), json!(32 * 48 - masked)));
    assert_eq!((named(1, 0), named(1, 1)), ((json!("green"), json!(384)), (json!("red"), json!(384))));
    let apart = of(1, "named");
    assert_eq!(apart[0]["de00"], 0.0, "{apart}");
    assert!((0.5..3.0).contains(&apart[1]["de00"].as_f64().unwrap()), "{apart}");
    let sum: u64 = of(1, "palette").as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(sum, 32 * 24);
    let printed = cluster(dir.path(), CONFIG, &[]);
    let printed = String::from_utf8_lossy(&printed.stdout);
    assert!(printed.contains("; left: red 100.0 %; stack-1: green 50.0 %, red 50.0 %"), "{printed}");
}

#[test]
fn without_regions_the_line_is_as_it_was_and_colours_alone_are_those_of_the_picture() {
    let dir = tempfile::tempdir().unwrap();
    let plain: Value = serde_json::from_slice(&cluster(dir.path(), "", &["--json"]).stdout).unwrap();
    assert!(plain.get("regions").is_none(), "{plain}");
    let colours = &CONFIG[CONFIG.find("[[colour]]").unwrap()..];
    let line: Value = serde_json::from_slice(&cluster(dir.path(), colours, &["--json"]).stdout).unwrap();
    assert_eq!((&line["regions"][0]["name"], &line["regions"][0]["pixels"]), (&json!("picture"), &json!(64 * 48)));
    let wrong = cluster(dir.path(), &CONFIG.replace("#f00000", "red"), &[]);
    let why = String::from_utf8_lossy(&wrong.stderr);
    assert!(wrong.status.code() == Some(78) && why.contains("#rrggbb") && why.contains("red"), "{why}");
}
