//! Masks from a configuration file: what nobody may see is in no file that the program writes.
//!
//! The program runs as a person runs it, over a picture with a red half; the mask covers that half.

#![allow(clippy::unwrap_used)]

use std::process::Command;

#[test]
fn a_masked_half_is_black_in_the_pictures_and_has_no_colour() {
    let dir = tempfile::tempdir().unwrap();
    let (still, shown) = (dir.path().join("still.png"), dir.path().join("shown"));
    // The left half is red, the right one green.
    let rgb: Vec<u8> = (0..64 * 48).flat_map(|i| if i % 64 < 32 { [250, 0, 0] } else { [0, 200, 0] }).collect();
    hueflow_edge::panel::png::write(&still, 64, 48, png::ColorType::Rgb, &rgb).unwrap();
    let config = dir.path().join("edge.toml");
    let text = format!(
        "[camera]\nsource = \"file:{}\"\n[display]\npanels = [\"png:{}\"]\nview = \"side-by-side\"\n[[mask]]\nrect = [0, 0, 0.5, 1]\n",
        still.display(),
        shown.display()
    );
    std::fs::write(&config, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_hueflow-edge"))
        .args(["run", "--frames", "1", "--log-frames", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let file = std::fs::File::open(shown.join("000000.png")).unwrap();
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    // Clustered picture and original, side by side.
    assert_eq!((info.width, info.height), (128, 48));
    for (i, px) in pixels.chunks(3).enumerate() {
        let want = if i % 64 < 32 { [0, 0, 0] } else { [0, 200, 0] };
        assert_eq!(px, want, "pixel {i}");
    }
    // A mask over everything is reported.
    let all = std::fs::read_to_string(&config).unwrap().replace("0.5, 1]", "1, 1]");
    std::fs::write(&config, all).unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_hueflow-edge")).args(["run", "--config"]).arg(&config).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(74) && log.contains("[[mask]]"), "{log}");
}
