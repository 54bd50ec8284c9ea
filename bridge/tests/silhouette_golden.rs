//! The exact silhouette against scikit-learn's, computed once on every pixel of two real stills (`tests/golden/`).
//!
//! The reference is read, not computed again: that takes minutes, and its figures do not change.
#![allow(clippy::unwrap_used)]

use firmware::color::Space;
use hueflow_bridge::metrics::silhouette::{exact, samples};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name)
}

fn read(name: &str) -> Vec<u8> {
    let file = File::open(golden(name)).unwrap();
    let mut reader = png::Decoder::new(BufReader::new(file)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    bytes.truncate(info.buffer_size());
    bytes
}

#[test]
fn score_and_means_equal_scikit_learns_within_a_millionth() {
    let text = std::fs::read_to_string(golden("silhouette.json")).unwrap();
    let reference: serde_json::Value = serde_json::from_str(&text).unwrap();
    for still in ["china", "astronaut"] {
        let want = &reference[still];
        let labels = read(&format!("{still}.labels.png"));
        let got = exact(&samples(&read(&format!("{still}.png")), &labels), Space::Rgb, 2).unwrap();
        let near = |got: f64, want: &serde_json::Value| (got - want.as_f64().unwrap()).abs() < 1e-6;
        assert!(near(got.score, &want["score"]), "{still}: {} {}", got.score, want["score"]);
        assert_eq!(got.pixels, want["pixels"].as_u64().unwrap());
        let clusters = want["clusters"].as_array().unwrap();
        assert_eq!(got.clusters.len(), clusters.len());
        for (got, want) in got.clusters.iter().zip(clusters) {
            assert_eq!(
                (u64::from(got.label), got.pixels),
                (want["label"].as_u64().unwrap(), want["pixels"].as_u64().unwrap())
            );
            assert!(near(got.mean, &want["mean"]), "{still}: {got:?} {want}");
        }
        // In the astronaut one pixel is a cluster of its own: 0 by definition.
        assert_eq!(got.clusters.iter().any(|c| c.pixels == 1 && c.mean == 0.0), still == "astronaut");
    }
}
