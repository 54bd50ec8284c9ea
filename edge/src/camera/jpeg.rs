//! JPEG: one picture, or a clip of them laid end to end (`.mjpeg`). The one door to `zune-jpeg`.
//!
//! Takes bytes. Gives RGB pictures.
//! Touches the file and three buffers that are used again for every picture.
//! Never half a picture: bytes that end before a picture does are an error that names it.

use super::y4m::open_file;
use super::{Picture, Source, SourceError, check_size};
use firmware::frame::{Layout, Yuv};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// Most bytes of one compressed picture.
const JPEG_BYTES_MAX: usize = 64 << 20;
/// Frames a second of a `.mjpeg`, which does not say.
pub const RATE: f64 = 30.0;

/// A picture's RGB bytes and its size.
#[derive(Debug, Default)]
pub struct Rgb {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Three bytes a pixel.
    pub data: Vec<u8>,
}

impl Rgb {
    /// Decodes one JPEG into it; what follows the picture is passed over.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<(), String> {
        decode(bytes, self).map_err(|why| match why {
            DecodeError::Size(error) => error.to_string(),
            DecodeError::Jpeg(why) => why,
        })
    }

    /// As a source's picture, unless it is empty.
    pub fn picture(&self) -> Option<Picture<'_>> {
        let Rgb { width, height, data } = self;
        let (layout, yuv) = (Layout::Rgb24, Yuv::default());
        (!data.is_empty()).then_some(Picture { layout, yuv, width: *width, height: *height, data })
    }
}

/// A file of concatenated JPEGs.
pub struct Mjpeg {
    path: PathBuf,
    rate: Option<f64>,
    input: BufReader<File>,
    bytes: Vec<u8>,
    current: Rgb,
    spare: Rgb,
    frames: u64,
    only_first: bool,
}

impl Mjpeg {
    /// Opens a clip of pictures at `rate` a second, or with none a still: the file's first picture.
    ///
    /// # Errors
    /// [`SourceError::Open`].
    pub fn open(path: PathBuf, rate: Option<f64>) -> Result<Mjpeg, SourceError> {
        let input = BufReader::with_capacity(64 * 1024, open_file(&path)?);
        let (bytes, current, spare) = (Vec::new(), Rgb::default(), Rgb::default());
        Ok(Mjpeg { path, rate, input, bytes, current, spare, frames: 0, only_first: rate.is_none() })
    }
}

impl Source for Mjpeg {
    fn advance(&mut self) -> Result<bool, SourceError> {
        if self.only_first && self.frames > 0 {
            return Ok(false);
        }
        let what = || self.path.display().to_string();
        match read_one(&mut self.input, &mut self.bytes) {
            Ok(true) => {}
            Ok(false) if self.frames > 0 => return Ok(false),
            Ok(false) => return Err(SourceError::Malformed { what: what(), why: "there is no JPEG in it".into() }),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(SourceError::Cut { what: what(), frame: self.frames });
            }
            Err(error) => return Err(SourceError::Read { what: what(), error }),
        }
        decode(&self.bytes, &mut self.spare).map_err(|why| match why {
            DecodeError::Size(error) => error,
            DecodeError::Jpeg(why) => {
                SourceError::Malformed { what: format!("{}, picture {}", what(), self.frames), why }
            }
        })?;
        std::mem::swap(&mut self.current, &mut self.spare);
        self.frames += 1;
        Ok(true)
    }

    fn picture(&self) -> Option<Picture<'_>> {
        self.current.picture()
    }

    fn rate(&self) -> Option<f64> {
        self.rate
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        self.input = BufReader::with_capacity(64 * 1024, open_file(&self.path)?);
        self.frames = 0;
        Ok(())
    }
}

enum DecodeError {
    Size(SourceError),
    Jpeg(String),
}

/// Decodes one JPEG into `out`, whose buffer grows only where the picture is larger than any before.
fn decode(bytes: &[u8], out: &mut Rgb) -> Result<(), DecodeError> {
    let options = DecoderOptions::new_safe().jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let jpeg = |e: zune_jpeg::errors::DecodeErrors| DecodeError::Jpeg(format!("not a JPEG that can be read: {e:?}"));
    decoder.decode_headers().map_err(jpeg)?;
    let info = decoder.info().ok_or_else(|| DecodeError::Jpeg("it has no header".into()))?;
    (out.width, out.height) = (usize::from(info.width), usize::from(info.height));
    check_size(out.width, out.height).map_err(DecodeError::Size)?;
    let wanted = out.width * out.height * 3;
    if decoder.output_buffer_size() != Some(wanted) {
        return Err(DecodeError::Jpeg("its colours cannot be turned into RGB".into()));
    }
    out.data.resize(wanted, 0);
    decoder.decode_into(&mut out.data).map_err(jpeg)
}

/// Reads the next JPEG, marker by marker, into `out`. False: there is none any more.
fn read_one(input: &mut impl BufRead, out: &mut Vec<u8>) -> std::io::Result<bool> {
    out.clear();
    // What lies between two pictures (padding, line ends) is passed over.
    let mut last = 0;
    loop {
        let Some(b) = next(input)? else { return Ok(false) };
        if last == 0xFF && b == 0xD8 {
            break;
        }
        last = b;
    }
    out.extend([0xFF, 0xD8]);
    let mut marker = marker_after(input, out)?;
    loop {
        match marker {
            0xD9 => return Ok(true),
            0x01 | 0xD0..=0xD7 => marker = marker_after(input, out)?,
            _ => {
                let length = [must(input, out)?, must(input, out)?];
                let rest = usize::from(u16::from_be_bytes(length)).saturating_sub(2);
                let before = out.len();
                input.by_ref().take(rest as u64).read_to_end(out)?;
                if out.len() - before < rest {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                marker = if marker == 0xDA { after_scan(input, out)? } else { marker_after(input, out)? };
            }
        }
        if out.len() > JPEG_BYTES_MAX {
            return Err(std::io::Error::other("a picture of more than 64 MiB"));
        }
    }
}

fn next(input: &mut impl BufRead) -> std::io::Result<Option<u8>> {
    let b = input.fill_buf()?.first().copied();
    if b.is_some() {
        input.consume(1);
    }
    Ok(b)
}

fn must(input: &mut impl BufRead, out: &mut Vec<u8>) -> std::io::Result<u8> {
    let b = next(input)?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    out.push(b);
    Ok(b)
}

/// Reads `FF`, fill bytes, and the marker.
fn marker_after(input: &mut impl BufRead, out: &mut Vec<u8>) -> std::io::Result<u8> {
    while must(input, out)? != 0xFF {
        if out.len() > JPEG_BYTES_MAX {
            return Err(std::io::Error::other("a picture of more than 64 MiB"));
        }
    }
    loop {
        match must(input, out)? {
            0xFF => {}
            0 => return marker_after(input, out),
            marker => return Ok(marker),
        }
    }
}

/// Reads entropy-coded bytes up to the marker behind them; `FF 00` and restart markers belong to them.
fn after_scan(input: &mut impl BufRead, out: &mut Vec<u8>) -> std::io::Result<u8> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() || out.len() > JPEG_BYTES_MAX {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let plain = buffer.iter().position(|&b| b == 0xFF).unwrap_or(buffer.len());
        out.extend_from_slice(&buffer[..plain]);
        let found = plain < buffer.len();
        input.consume(plain);
        if !found {
            continue;
        }
        must(input, out)?;
        let mut b = must(input, out)?;
        while b == 0xFF {
            b = must(input, out)?;
        }
        if !matches!(b, 0 | 0xD0..=0xD7) {
            return Ok(b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jpeg(width: u16, height: u16, rgb: [u8; 3]) -> Vec<u8> {
        let mut out = Vec::new();
        let data: Vec<u8> = rgb.iter().copied().cycle().take(usize::from(width) * usize::from(height) * 3).collect();
        jpeg_encoder::Encoder::new(&mut out, 90).encode(&data, width, height, jpeg_encoder::ColorType::Rgb).unwrap();
        out
    }

    /// Width, height and first pixel.
    type Seen = (usize, usize, [u8; 3]);

    fn clip(bytes: &[u8]) -> (Vec<Seen>, Result<bool, SourceError>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut source = Mjpeg::open(file.path().into(), Some(30.0)).unwrap();
        let mut seen = Vec::new();
        loop {
            match source.advance() {
                Ok(true) => {
                    let p = source.picture().unwrap();
                    seen.push((p.width, p.height, [p.data[0], p.data[1], p.data[2]]));
                }
                end => return (seen, end),
            }
        }
    }

    #[test]
    fn pictures_laid_end_to_end_come_out_one_by_one() {
        let bytes = [jpeg(16, 8, [200, 10, 10]), b"\r\n".to_vec(), jpeg(9, 7, [10, 10, 200])].concat();
        let (seen, end) = clip(&bytes);
        assert_eq!(seen.iter().map(|s| (s.0, s.1)).collect::<Vec<_>>(), [(16, 8), (9, 7)]);
        assert!(seen[0].2[0] > 190 && seen[1].2[2] > 190, "{seen:?}");
        assert!(matches!(end, Ok(false)));
    }

    #[test]
    fn a_picture_cut_anywhere_is_an_error_that_names_it() {
        let (one, two) = (jpeg(16, 8, [200, 10, 10]), jpeg(16, 8, [1, 2, 3]));
        for cut in 3..two.len() {
            let (seen, end) = clip(&[&one[..], &two[..cut]].concat());
            assert_eq!(seen.len(), 1, "cut at {cut}");
            assert!(matches!(end, Err(SourceError::Cut { frame: 1, .. })), "cut at {cut}: {end:?}");
        }
    }

    #[test]
    fn grey_pictures_become_rgb() {
        let mut bytes = Vec::new();
        jpeg_encoder::Encoder::new(&mut bytes, 90).encode(&[77; 64], 8, 8, jpeg_encoder::ColorType::Luma).unwrap();
        let (seen, _) = clip(&bytes);
        assert_eq!(seen, [(8, 8, [77, 77, 77])]);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let whole = jpeg(8, 8, [9, 200, 30]);
        for i in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[i] ^= 0x55;
            let _ = clip(&damaged);
        }
        let (_, end) = clip(b"not a picture");
        assert!(end.unwrap_err().to_string().contains("no JPEG"));
    }
}
