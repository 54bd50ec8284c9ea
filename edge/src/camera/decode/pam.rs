//! Pam: RGB pictures from a stream of PAM pictures (netpbm's portable arbitrary map), as ffmpeg writes them.
//!
//! The header of each picture has its size and whether it has opacity, so the size may change within a stream. Two pictures are kept in memory.
//! A picture that is not whole is an error that names it.

use super::rgb::{Rgb, check_px, malformed};
use crate::camera::SourceError;
use std::io::{BufRead, BufReader, Read};

/// Longest header; ffmpeg's have about 70 bytes.
const HEAD_BYTES_MAX: u64 = 1024;
const READ_BYTES: usize = 256 * 1024;

/// A stream of pictures.
pub struct Pam<R> {
    what: String,
    input: BufReader<R>,
    raw: Vec<u8>,
    current: Rgb,
    spare: Rgb,
    frames: u64,
}

impl<R: Read> Pam<R> {
    /// Reads a stream whose name in errors is `what`.
    pub fn new(what: String, input: R) -> Pam<R> {
        let input = BufReader::with_capacity(READ_BYTES, input);
        Pam { what, input, raw: Vec::new(), current: Rgb::default(), spare: Rgb::default(), frames: 0 }
    }

    /// Reads the next picture; false at the end.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn read_frame(&mut self) -> Result<bool, SourceError> {
        let Some((width, height, depth)) = self.head()? else { return Ok(false) };
        check_px(width, height).map_err(|why| malformed(&self.what, why))?;
        let bytes = width * height * depth;
        let to = if depth == 4 { &mut self.raw } else { &mut self.spare.data };
        to.resize(bytes, 0);
        self.input.read_exact(to).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => SourceError::Cut { what: self.what.clone(), frame: self.frames },
            _ => SourceError::Read { what: self.what.clone(), error },
        })?;
        if depth == 4 {
            self.spare.compose(width, height, &self.raw);
        }
        (self.spare.width, self.spare.height) = (width, height);
        std::mem::swap(&mut self.current, &mut self.spare);
        self.frames += 1;
        Ok(true)
    }

    /// The picture read last.
    pub fn rgb(&self) -> &Rgb {
        &self.current
    }

    /// Pictures read so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Width, height and bytes a pixel; none at the end.
    fn head(&mut self) -> Result<Option<(usize, usize, usize)>, SourceError> {
        let mut text = Vec::new();
        let mut head = self.input.by_ref().take(HEAD_BYTES_MAX);
        while !text.ends_with(b"ENDHDR\n") {
            let read = head.read_until(b'\n', &mut text);
            if read.map_err(|error| SourceError::Read { what: self.what.clone(), error })? == 0 {
                if text.is_empty() {
                    return Ok(None);
                }
                return Err(SourceError::Cut { what: self.what.clone(), frame: self.frames });
            }
        }
        let text = String::from_utf8_lossy(&text);
        let number = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)?.trim().parse::<usize>().ok());
        match (number("WIDTH "), number("HEIGHT "), number("DEPTH "), number("MAXVAL ")) {
            (Some(width), Some(height), Some(depth @ (3 | 4)), Some(255)) if text.starts_with("P7\n") => {
                Ok(Some((width, height, depth)))
            }
            _ => Err(malformed(&self.what, "ffmpeg delivers pictures that cannot be read")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize, depth: usize, data: &[u8]) -> Vec<u8> {
        let kind = if depth == 4 { "RGB_ALPHA" } else { "RGB" };
        let head = format!("P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH {depth}\nMAXVAL 255\nTUPLTYPE {kind}\nENDHDR\n");
        [head.as_bytes(), data].concat()
    }

    #[test]
    fn pictures_of_any_size_come_out_one_by_one() {
        let bytes = [picture(2, 1, 3, &[1, 2, 3, 4, 5, 6]), picture(1, 2, 4, &[7, 8, 9, 255, 7, 8, 9, 0])].concat();
        let mut pam = Pam::new("clip".into(), &bytes[..]);
        assert!(pam.read_frame().unwrap());
        assert_eq!((pam.rgb().width, &pam.rgb().data[..]), (2, &[1, 2, 3, 4, 5, 6][..]));
        assert!(pam.read_frame().unwrap());
        assert_eq!((pam.rgb().height, &pam.rgb().data[..]), (2, &[7, 8, 9, 255, 255, 255][..]));
        assert!(!pam.read_frame().unwrap() && pam.frames() == 2);
        let second = picture(2, 1, 3, &[0; 6]).len();
        for cut in 1..bytes.len() - second {
            let mut pam = Pam::new("clip".into(), &bytes[..second + cut]);
            assert!(pam.read_frame().unwrap());
            assert!(matches!(pam.read_frame(), Err(SourceError::Cut { frame: 1, .. })), "cut by {cut}");
        }
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        for head in [&b"P6\n2 2\n255\nENDHDR\n"[..], b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 1\nMAXVAL 255\nENDHDR\n"] {
            assert!(matches!(Pam::new("x".into(), head).read_frame(), Err(SourceError::Malformed { .. })));
        }
        let huge = picture(70_000, 70_000, 3, &[]);
        assert!(Pam::new("x".into(), &huge[..]).read_frame().unwrap_err().to_string().contains("at most 8,192"));
    }
}
