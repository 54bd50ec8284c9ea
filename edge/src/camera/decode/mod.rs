//! Decode: files and pipes with pictures, whose format follows from their first bytes.
//!
//! The input is a path, the result of [`open`] is a source that reads its format; the name decides only whether JPEGs are a clip.
//! Nothing seeks, so pipes work like files. Every decoder returns the exact colours of its format, or an error that names the file and
//! the reason, and never a part of a picture. Only videos need an installed ffmpeg.

mod container;
mod ffmpeg;
pub mod input;
pub mod jpeg;
mod markers;
pub mod mjpeg;
mod pam;
mod probe;
pub mod rgb;
pub mod split;
pub mod still;
pub mod y4m;

use super::{Source, SourceError};
use ffmpeg::Ffmpeg;
use input::Input;
use mjpeg::Mjpeg;
use rgb::malformed;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use still::{Kind, Still};
use y4m::Y4m;

/// Number of first bytes that distinguish the formats.
const HEAD_BYTES: usize = 32;

/// Opens a file, a FIFO or standard input (`-`). `fps` is the rate of pictures without one, and makes concatenated JPEGs
/// a clip under any name. While a pipe delivers nothing, `stop` ends it.
///
/// # Errors
/// [`SourceError`].
pub fn open(path: &Path, fps: Option<f64>, stop: &Arc<AtomicBool>) -> Result<Box<dyn Source>, SourceError> {
    let mut input = Input::open(path, stop)?;
    let head = input.peek(HEAD_BYTES)?;
    if head.is_empty() {
        return Err(malformed(input.what(), "it is empty"));
    }
    if let Some(kind) = Kind::of(head) {
        return Ok(Box::new(Still::open(input, kind, fps)?));
    }
    if head.starts_with(&[0xFF, 0xD8]) {
        let is_clip =
            ["mjpeg", "mjpg"].iter().any(|clip| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(clip)));
        return Ok(Box::new(match fps {
            Some(fps) => Mjpeg::clip(input, fps),
            None if is_clip => Mjpeg::clip(input, mjpeg::RATE),
            None => Mjpeg::still(input, None),
        }));
    }
    if head.starts_with(y4m::MAGIC) {
        return Ok(Box::new(Y4m::new(input.what().to_owned(), input)?));
    }
    Ok(Box::new(Ffmpeg::open(input)?))
}
