//! Still: a PNG as a clip of one picture.
//!
//! Takes a PNG of any kind: palette, grey, 16 bits, with alpha. Gives one RGB or grey picture.
//! Touches the file, once.
//! Never blends: alpha is left out, as most readers of colours do; 16-bit samples keep their upper 8 bits.

use super::jpeg::Rgb;
use super::y4m::open_file;
use super::{Picture, Source, SourceError, check_size};
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// First bytes of a PNG.
pub const MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// 256 colours (PNG specification, 11.2.2).
const PALETTE_BYTES_MAX: usize = 768;

/// A PNG.
pub struct Still {
    path: PathBuf,
    image: Rgb,
    given: bool,
}

impl Still {
    /// Reads the whole picture.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn open(path: PathBuf) -> Result<Still, SourceError> {
        Ok(Still { image: read(&path)?, path, given: false })
    }
}

impl Source for Still {
    fn advance(&mut self) -> Result<bool, SourceError> {
        Ok(!std::mem::replace(&mut self.given, true))
    }

    fn picture(&self) -> Option<Picture<'_>> {
        self.image.picture()
    }

    fn rate(&self) -> Option<f64> {
        None
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        self.given = false;
        Ok(())
    }
}

impl std::fmt::Debug for Still {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Still").field("path", &self.path).finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<Rgb, SourceError> {
    let malformed = |e: png::DecodingError| SourceError::Malformed {
        what: path.display().to_string(),
        why: match e {
            png::DecodingError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                "the PNG is truncated: it ends before its last row".into()
            }
            e => format!("not a PNG that can be read: {e}"),
        },
    };
    let mut decoder = png::Decoder::new(BufReader::new(open_file(path)?));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let info = decoder.read_header_info().map_err(malformed)?;
    let (width, height) = (info.width as usize, info.height as usize);
    check_size(width, height)?;
    let mut reader = decoder.read_info().map_err(malformed)?;
    // The decoder takes any length for granted, and would panic.
    if reader.info().palette.as_ref().is_some_and(|p| p.len() % 3 != 0 || p.len() > PALETTE_BYTES_MAX) {
        let why = "not a PNG that can be read: its palette is not one of whole colours".to_owned();
        return Err(SourceError::Malformed { what: path.display().to_string(), why });
    }
    let mut raw = vec![0; reader.output_buffer_size().unwrap_or(0)];
    let info = reader.next_frame(&mut raw).map_err(malformed)?;
    reader.finish().map_err(malformed)?;
    let samples = info.color_type.samples();
    let mut data = Vec::with_capacity(width * height * 3);
    for row in raw.chunks_exact(info.line_size).take(height) {
        for px in row.chunks_exact(samples).take(width) {
            match px {
                [r, g, b, ..] => data.extend([*r, *g, *b]),
                [grey, ..] => data.extend([*grey; 3]),
                [] => {}
            }
        }
    }
    Ok(Rgb { width, height, data })
}

#[cfg(test)]
mod tests {
    use super::*;
    use png::{BitDepth, ColorType};

    fn png(color: ColorType, depth: BitDepth, palette: Option<&[u8]>, data: &[u8], w: u32, h: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, w, h);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if let Some(p) = palette {
            encoder.set_palette(p.to_vec());
        }
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        out
    }

    #[test]
    fn a_palette_of_odd_length_is_refused() {
        for n in [1, 4, 769, 771] {
            let bytes = png(ColorType::Indexed, BitDepth::Eight, Some(&vec![9; n]), &[0, 0], 2, 1);
            assert!(matches!(load(&bytes), Err(SourceError::Malformed { .. })), "{n} bytes");
        }
    }

    fn load(bytes: &[u8]) -> Result<Vec<u8>, SourceError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read(file.path()).map(|rgb| rgb.data)
    }

    #[test]
    fn every_kind_of_png_becomes_rgb() {
        let palette = [1, 2, 3, 4, 5, 6];
        let cases = [
            (png(ColorType::Rgb, BitDepth::Eight, None, &[1, 2, 3, 4, 5, 6], 2, 1), vec![1, 2, 3, 4, 5, 6]),
            (png(ColorType::Rgba, BitDepth::Eight, None, &[1, 2, 3, 0, 4, 5, 6, 9], 2, 1), vec![1, 2, 3, 4, 5, 6]),
            (png(ColorType::Grayscale, BitDepth::Eight, None, &[7, 8], 2, 1), vec![7, 7, 7, 8, 8, 8]),
            (png(ColorType::GrayscaleAlpha, BitDepth::Eight, None, &[7, 0, 8, 1], 2, 1), vec![7, 7, 7, 8, 8, 8]),
            (png(ColorType::Grayscale, BitDepth::One, None, &[0b0100_0000], 2, 1), vec![0, 0, 0, 255, 255, 255]),
            (png(ColorType::Indexed, BitDepth::Eight, Some(&palette), &[1, 0], 2, 1), vec![4, 5, 6, 1, 2, 3]),
            (png(ColorType::Indexed, BitDepth::One, Some(&palette), &[0b1000_0000], 2, 1), vec![4, 5, 6, 1, 2, 3]),
            (png(ColorType::Rgb, BitDepth::Sixteen, None, &[1, 255, 2, 255, 3, 0], 1, 1), vec![1, 2, 3]),
        ];
        for (i, (bytes, want)) in cases.iter().enumerate() {
            assert_eq!(&load(bytes).unwrap(), want, "case {i}");
        }
    }

    #[test]
    fn a_png_cut_anywhere_is_an_error() {
        let data: Vec<u8> = (0..48 * 3).map(|i| (i * 37) as u8).collect();
        let whole = png(ColorType::Rgb, BitDepth::Eight, None, &data, 8, 6);
        assert!(load(&whole).is_ok());
        for cut in 0..whole.len() {
            assert!(matches!(load(&whole[..cut]), Err(SourceError::Malformed { .. })), "cut at {cut}");
        }
    }
}
