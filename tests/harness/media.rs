//! Media: clips and stills for the tests, made from the clip that ships with the project.
//!
//! Takes a folder. Gives paths.
//! Touches ffmpeg and the folder.
//! Never a clip whose rights are not clear.

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

/// A decoded PNG: width, height, bytes (RGB or grey as the file has it).
pub fn png(path: &Path) -> (usize, usize, Vec<u8>) {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().expect("a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut bytes).expect("a whole PNG");
    bytes.truncate(info.buffer_size());
    (info.width as usize, info.height as usize, bytes)
}
