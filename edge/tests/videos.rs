//! Videos: the colours of what ffmpeg decodes, for each matrix, range and pixel format, from files and pipes.
//!
//! Clips are encoded here without loss (FFV1) from samples that are computed from the standards' equations, so that the
//! right colour is known. Needs `ffmpeg`, which `./tests/run` installs; without it the tests fail and report it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firmware::frame::{Frame, Stamp};
use hueflow_edge::camera::{SourceError, decode};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// A saturated colour, which a wrong matrix or range moves by more than ten levels.
const COLOUR: [u8; 3] = [201, 60, 40];

/// The colour as 8-bit Y, Cb and Cr by the equations of BT.601 or BT.709.
fn ycbcr([r, g, b]: [u8; 3], is_bt709: bool, is_full: bool) -> [f64; 3] {
    let (kr, kb) = if is_bt709 { (0.2126, 0.0722) } else { (0.299, 0.114) };
    let [r, g, b] = [r, g, b].map(f64::from);
    let y = kr * r + (1.0 - kr - kb) * g + kb * b;
    let (cb, cr) = ((b - y) / (2.0 - 2.0 * kb), (r - y) / (2.0 - 2.0 * kr));
    if is_full {
        [y, cb + 128.0, cr + 128.0]
    } else {
        [16.0 + y * 219.0 / 255.0, 128.0 + cb * 224.0 / 255.0, 128.0 + cr * 224.0 / 255.0]
    }
}

/// Encodes raw frames with ffmpeg.
fn encode(raw: &[u8], pix_fmt: &str, (width, height): (usize, usize), args: &[&str], path: &Path) {
    let size = format!("{width}x{height}");
    let mut child = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", pix_fmt, "-s", &size, "-r", "12.5", "-i", "pipe:0"])
        .args(args)
        .arg(path)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("ffmpeg (apt install ffmpeg): {e}"));
    child.stdin.take().unwrap().write_all(raw).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

type Rgb = (usize, usize, Vec<u8>);

fn frames(path: &Path) -> Result<(Vec<Rgb>, f64), SourceError> {
    let mut source = decode::open(path, None, &Arc::default())?;
    let mut all = Vec::new();
    while source.advance()? {
        let p = source.picture().unwrap();
        let frame = Frame::new(p.layout, p.yuv, p.width, p.height, 0, p.data, Stamp::default()).unwrap();
        let mut row = vec![0; p.width * 3];
        all.push((p.width, p.height, (0..p.height).flat_map(|y| frame.row(y, &mut row).to_vec()).collect()));
    }
    Ok((all, source.rate().unwrap()))
}

#[track_caller]
fn assert_colour(rgb: &Rgb, want: [u8; 3], levels: u8, what: &str) {
    let off = |px: &[u8; 3]| px.iter().zip(want).map(|(a, b)| a.abs_diff(b)).max().unwrap();
    let worst = rgb.2.as_chunks::<3>().0.iter().max_by_key(|px| off(px)).unwrap();
    assert!(off(worst) <= levels, "{what}: {worst:?} instead of {want:?}");
}

#[test]
fn matrix_and_range_are_those_of_the_tags_and_of_the_lines_without_tags() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mkv");
    // Lines, tags of matrix and range, and the matrix and range that are meant.
    let cases = [
        (48, "bt709", "tv", true, false),
        (48, "bt709", "pc", true, true),
        (48, "smpte170m", "tv", false, false),
        (720, "bt470bg", "tv", false, false),
        (48, "", "", false, false),
        (718, "", "", false, false),
        (720, "", "", true, false),
    ];
    for (height, matrix, range, is_bt709, is_full) in cases {
        for (pix_fmt, chroma, bits) in
            [("yuv420p", (2, 2), 8), ("yuv422p", (2, 1), 8), ("yuv444p", (1, 1), 8), ("yuv420p10le", (2, 2), 10)]
        {
            if height > 100 && !pix_fmt.starts_with("yuv420p") {
                continue;
            }
            let width = 16;
            let planes = ycbcr(COLOUR, is_bt709, is_full).into_iter().enumerate();
            let raw: Vec<u8> = planes
                .flat_map(|(i, sample)| {
                    let samples = if i == 0 { width * height } else { width / chroma.0 * (height / chroma.1) };
                    let sample = (sample * f64::from(1 << (bits - 8))).round() as u16;
                    let bytes = if bits == 8 { vec![sample as u8] } else { sample.to_le_bytes().to_vec() };
                    bytes.repeat(samples)
                })
                .collect();
            let tags = if matrix.is_empty() { vec![] } else { vec!["-colorspace", matrix, "-color_range", range] };
            // Tagged on the way in, so that nothing is converted.
            let filter = if range == "pc" { "setparams=range=pc" } else { "null" };
            encode(&raw, pix_fmt, (width, height), &[&["-c:v", "ffv1", "-vf", filter][..], &tags].concat(), &path);
            let what = format!("{pix_fmt}, {height} lines, tags {matrix:?} {range:?}");
            let (all, rate) = frames(&path).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!((all.len(), all[0].0, all[0].1, rate), (1, width, height, 12.5), "{what}");
            assert_colour(&all[0], COLOUR, 2, &what);
        }
    }
}

#[test]
fn rgb_is_exact_and_transparency_is_composed_on_white() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mkv");
    // Columns of red and blue, which shared chroma would turn purple; two frames.
    let stripes: Vec<u8> =
        (0..2 * 16 * 8).flat_map(|i| if i % 2 == 0 { [0, 0, 255, 0] } else { [255, 0, 0, 0] }).collect();
    encode(&stripes, "bgr0", (16, 8), &["-c:v", "ffv1"], &path);
    let (all, rate) = frames(&path).unwrap();
    let want: Vec<u8> = (0..16 * 8).flat_map(|i| if i % 2 == 0 { [255, 0, 0] } else { [0, 0, 255] }).collect();
    assert_eq!((all.len(), rate), (2, 12.5));
    assert!(all.iter().all(|frame| frame.2 == want));
    encode(&[10, 20, 30, 0].repeat(64), "bgra", (8, 8), &["-c:v", "ffv1"], &path);
    assert_colour(&frames(&path).unwrap().0[0], [255; 3], 0, "transparent");
    encode(&(0..=255).collect::<Vec<u8>>(), "gray", (16, 16), &["-c:v", "ffv1"], &path);
    let want: Vec<u8> = (0..=255).flat_map(|grey| [grey; 3]).collect();
    assert_eq!(frames(&path).unwrap().0[0].2, want, "grey");
}

#[test]
fn a_video_from_a_pipe_has_the_frames_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mkv");
    let raw: Vec<u8> = (0..5 * 64 * 48 * 3).map(|i| (i / 997) as u8).collect();
    encode(&raw, "rgb24", (64, 48), &["-c:v", "ffv1", "-pix_fmt", "yuv420p"], &path);
    let want = frames(&path).unwrap();
    assert_eq!(want.0.len(), 5);
    let fifo = dir.path().join("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let (to, bytes) = (fifo.clone(), std::fs::read(&path).unwrap());
    let writer = std::thread::spawn(move || std::fs::write(to, bytes).unwrap());
    assert!(frames(&fifo).unwrap() == want);
    writer.join().unwrap();
}

#[test]
fn what_ffmpeg_cannot_read_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.mp4");
    std::fs::write(&path, b"not a video at all, whatever its name says").unwrap();
    let why = frames(&path).unwrap_err().to_string();
    assert!(why.contains("x.mp4: it is neither a picture nor a video"), "{why}");
    let path = dir.path().join("fake.PNG");
    std::fs::write(&path, b"not a picture at all").unwrap();
    let why = frames(&path).unwrap_err().to_string();
    assert!(why.contains("fake.PNG: it is not a picture, despite its name; ffmpeg reports: "), "{why}");
    assert!(!why.contains(" @ 0x"), "addresses are of no use to a reader: {why}");
    // Sound without a picture.
    let path = dir.path().join("sound.wav");
    let run =
        Command::new("ffmpeg").args(["-v", "error", "-f", "lavfi", "-i", "sine=d=0.1"]).arg(&path).status().unwrap();
    assert!(run.success());
    let why = frames(&path).unwrap_err().to_string();
    assert!(why.contains("sound.wav: ffmpeg finds no video in it"), "{why}");
    let path = dir.path().join("wide.mkv");
    encode(&[0; 8200 * 2 * 3], "rgb24", (8200, 2), &["-c:v", "ffv1", "-pix_fmt", "bgr0"], &path);
    let why = frames(&path).unwrap_err().to_string();
    assert!(why.contains("8200 pixels wide; at most 8,192") && why.matches("wide.mkv").count() == 1, "{why}");
}
