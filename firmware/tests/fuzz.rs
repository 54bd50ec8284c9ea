//! Plays the fuzz targets over their corpus and a fixed number of mutations, as an ordinary test.
//!
//! With `HUEFLOW_BLESS=1` the encoders' part of `tests/fuzz/corpus` is written anew. Nothing is random; `tests/fuzz/run` is
//! the search that is guided by coverage.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../tests/fuzz/targets/feed.rs"]
mod feed;
#[path = "../../tests/fuzz/targets/play.rs"]
mod play;
#[path = "../../tests/fuzz/targets/firmware.rs"]
mod targets;

use firmware::custody::Envelope;
use firmware::wire::label_map;
use play::play;

/// The golden records and control messages, by name.
fn golden(file: &str) -> Vec<(String, Vec<u8>)> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(file);
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        match line.bytes().all(|b| b.is_ascii_hexdigit()) {
            true => {
                let byte = |i| u8::from_str_radix(&line[i..i + 2], 16).unwrap();
                all.last_mut().unwrap().1.extend((0..line.len()).step_by(2).map(byte));
            }
            false => all.push((line.to_owned(), Vec::new())),
        }
    }
    all
}

fn records() -> Vec<Vec<u8>> {
    golden("records.hex").into_iter().map(|r| r.1).collect()
}

/// The golden reports of older versions.
fn old_reports() -> Vec<Vec<u8>> {
    let texts = [include_str!("../../tests/golden/report-1.hex"), include_str!("../../tests/golden/report-2.hex")];
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let digits = texts.map(|t| t.bytes().filter(u8::is_ascii_hexdigit).collect::<Vec<_>>());
    digits.iter().map(|d| d.chunks(2).map(byte).collect()).collect()
}

fn payloads() -> Vec<Vec<u8>> {
    let record = |(which, bytes): (u8, Vec<u8>)| {
        let (envelope, payload) = Envelope::open(&bytes).unwrap();
        [&[which, envelope.payload_version], payload].concat()
    };
    let control = |(which, bytes): (u8, Vec<u8>)| [&[which, 1], &bytes[..]].concat();
    let controls = golden("control.hex").into_iter().map(|r| r.1);
    let old = old_reports().into_iter().map(|bytes| record((0, bytes)));
    (0..5).zip(records()).map(record).chain((5..7).zip(controls).map(control)).chain(old).collect()
}

fn maps() -> Vec<Vec<u8>> {
    let map = |width: u16, labels: &[u8]| {
        let mut packed = vec![0; labels.len() * 2 + 64];
        let n = label_map::pack(usize::from(width), labels, &mut packed).unwrap();
        [&width.to_be_bytes()[..], &(labels.len() as u16).to_be_bytes(), &packed[..n]].concat()
    };
    let blocks: Vec<u8> = (0..32 * 24).map(|i| (i % 32 / 8 + i / 256) as u8).collect();
    let noise: Vec<u8> = (0..300u32).map(|i| (i.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
    vec![map(32, &blocks), map(17, &noise), map(1, &[7; 90]), map(0, &[])]
}

fn frames() -> Vec<Vec<u8>> {
    let settings = |method: u8, refine: u8| [0x0C, 0x80, 0x00, 0xFF, method, refine, 0, 0, 200];
    let frame = |layout: &[u8], size: [u8; 3], how: [u8; 9], bytes: usize| {
        let pixels = (0..bytes as u32).map(|i| ((i / 7 * 41) ^ (i % 3 * 90)) as u8);
        layout.iter().copied().chain(size).chain(how).chain(pixels).collect::<Vec<u8>>()
    };
    vec![
        frame(&[0, 0], [8, 6, 0], settings(0, 2), 144),
        frame(&[1, 0], [5, 5, 16], settings(1, 1), 80),
        frame(&[2, 0], [16, 16, 0], settings(2, 0), 256),
        frame(&[3, 0], [9, 4, 24], settings(3, 2), 96),
        frame(&[4, 1], [9, 5, 10], settings(4, 2), 80),
        frame(&[5, 2], [8, 8, 0], settings(0, 2), 96),
        frame(&[6, 2, 0, 3], [8, 8, 0], settings(0, 1), 128),
        frame(&[0x80, 0], [30, 20, 0], settings(0, 2), 1_200),
        frame(&[0x80, 0], [30, 20, 0], settings(0, 3), 1_200),
    ]
}

#[test]
fn no_bytes_make_a_decoder_panic_and_what_decodes_comes_back() {
    play("wire", targets::wire, payloads(), 20_000);
    let all = records().concat();
    play("envelope", targets::envelope, records().into_iter().chain([all]).collect(), 10_000);
    play("label_map", targets::label_map, maps(), 300);
}

#[test]
fn a_frame_of_any_description_is_refused_or_its_report_is_true() {
    play("frame", targets::frame, frames(), 400);
}

#[test]
fn no_window_no_ack_and_no_order_of_them_makes_custody_panic() {
    let steps = |step: &[u8]| [&[0], &step.repeat(12)[..]].concat();
    let day = [1, 1, 0, 0, 40, 1, 1, 1, 3, 9, 0, 1, 1, 5, 1, 1, 4, 200, 20, 9, 2, 1, 1, 4];
    play("custody", targets::custody, vec![steps(&day), steps(&[9, 9, 6, 2, 2, 2, 3]), vec![0; 40]], 4_000);
}
