//! Clips and stills for the tests, made by ffmpeg from the clip that ships with the project.
//!
//! The functions write into the caller's folder and return paths. No other material is used, so the rights are clear.

use crate::root;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The clip that ships with the project.
pub fn clip() -> PathBuf {
    root().join("deploy/clip/big-buck-bunny.mjpeg")
}

/// A y4m of `frames` frames of the clip, at its size and 30 frames a second.
pub fn y4m(dir: &Path, frames: u32) -> PathBuf {
    let path = dir.join(format!("clip-{frames}.y4m"));
    let n = frames.to_string();
    ffmpeg(
        &[
            "-stream_loop",
            "-1",
            "-framerate",
            "30",
            "-i",
            &clip().to_string_lossy(),
            "-frames:v",
            &n,
            "-pix_fmt",
            "yuv420p",
        ],
        &path,
    );
    path
}

/// A still of the clip as PNG.
pub fn still(dir: &Path) -> PathBuf {
    let path = dir.join("still.png");
    ffmpeg(&["-i", &clip().to_string_lossy(), "-frames:v", "1"], &path);
    path
}

fn ffmpeg(args: &[&str], out: &Path) {
    let run = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(args).arg(out).output().expect("ffmpeg");
    assert!(run.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&run.stderr));
}

/// The names and the colours of the eight bars of [`bars`], and of the kernel's own test picture "75% Colorbar".
pub const BARS: [(&str, [u8; 3]); 8] = [
    ("white", [191, 191, 191]),
    ("yellow", [191, 191, 0]),
    ("cyan", [0, 191, 191]),
    ("green", [0, 191, 0]),
    ("magenta", [191, 0, 191]),
    ("red", [191, 0, 0]),
    ("blue", [0, 0, 191]),
    ("black", [0, 0, 0]),
];
/// The side of the square that moves down in them, in pixels.
const SQUARE_PX: usize = 32;

/// `count` JPEGs of [`BARS`], `width` by `height`, in `dir`: in the black bar a white square moves down.
pub fn bars(dir: &Path, width: usize, height: usize, count: usize) {
    std::fs::create_dir_all(dir).expect("a folder");
    let bar = width / BARS.len();
    for n in 0..count {
        // Edges lie on the JPEG's blocks, so that no colours come of them that the picture has not.
        let top = n * SQUARE_PX % (height - SQUARE_PX);
        let is_square = |x: usize, y: usize| {
            (7 * bar + 16..7 * bar + 16 + SQUARE_PX).contains(&x) && (top..top + SQUARE_PX).contains(&y)
        };
        let colour = |i: usize| BARS[if is_square(i % width, i / width) { 0 } else { i % width / bar }].1;
        let rgb: Vec<u8> = (0..width * height).flat_map(colour).collect();
        let encoder = jpeg_encoder::Encoder::new_file(dir.join(format!("{n:03}.jpg")), 90).expect("a file");
        encoder.encode(&rgb, width as u16, height as u16, jpeg_encoder::ColorType::Rgb).expect("a JPEG");
    }
}

/// Writes a PNG of RGB pixels.
pub fn write_png(path: &Path, width: usize, height: usize, rgb: &[u8]) {
    let file = std::fs::File::create(path).expect("a file");
    let mut encoder = png::Encoder::new(std::io::BufWriter::new(file), width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().expect("a PNG");
    writer.write_image_data(rgb).expect("a PNG");
    writer.finish().expect("a PNG");
}

/// A decoded PNG: width, height, bytes (RGB or grey as the file has it).
pub fn png(path: &Path) -> (usize, usize, Vec<u8>) {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().expect("a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut bytes).expect("a whole PNG");
    bytes.truncate(info.buffer_size());
    (info.width as usize, info.height as usize, bytes)
}
