//! JPEG: one picture from its bytes to RGB, by libjpeg-turbo. The one door to `turbojpeg`.
//!
//! The input is a JPEG, the result is the output of `djpeg` with its defaults, on every architecture: the accurate integer transform, smooth
//! upsampling of chroma, CMYK multiplied out. Frames without Huffman tables take those of the standard (Annex K.3). Any
//! warning of the decoder refuses the picture, because it stands for pixels that are not in the file; so does a scan that is
//! missing, which the decoder does not report. The exceptions are bytes too many in front of the end marker, and scan
//! parameters of a baseline picture that are left zero. Both come from webcams and hide nothing.

use super::markers::{check_scans, with_sequential_scan};
use super::rgb::{Rgb, check_px};
use turbojpeg::{Colorspace, Decompressor, Image, PixelFormat};

/// Most scans of a progressive picture. Real ones have about ten; each costs a pass over the whole picture.
const SCANS_MAX: u32 = 500;
/// The warning that the entropy-coded data are longer than the picture. libjpeg keeps its first warning, and this one comes
/// after the last row, so nothing is missing.
const SPARE_BYTES_BEFORE_END: &str = "extraneous bytes before marker 0xd9";

impl Rgb {
    /// Decodes one JPEG into it; what follows the picture is passed over. The buffer grows only where the picture is larger
    /// than any before. After an error the contents are undefined.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<(), String> {
        let refuse = |e: turbojpeg::Error| format!("not a JPEG that can be read: {}", text_of(&e));
        let bytes = with_sequential_scan(bytes);
        // A decoder that is used again would lend one picture's tables to the next that has none.
        let mut decoder = Decompressor::new().map_err(refuse)?;
        decoder.set_scan_limit(SCANS_MAX).map_err(refuse)?;
        let header = decoder.read_header(&bytes).map_err(refuse)?;
        let (width, height) = (header.width, header.height);
        check_px(width, height)?;
        if header.is_arithmetic {
            return Err("JPEGs with arithmetic coding are not read: where they are cut off cannot be seen".into());
        }
        let has_black = matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK);
        let (format, samples) = if has_black { (PixelFormat::CMYK, 4) } else { (PixelFormat::RGB, 3) };
        self.data.resize(width * height * samples, 0);
        let pixels = Image { pixels: &mut self.data[..], width, pitch: width * samples, height, format };
        match decoder.decompress(&bytes, pixels) {
            Err(e) if !text_of(&e).contains(SPARE_BYTES_BEFORE_END) => return Err(refuse(e)),
            _ => check_scans(&bytes)?,
        }
        if has_black {
            multiply_out(&mut self.data);
        }
        (self.width, self.height) = (width, height);
        Ok(())
    }
}

fn text_of(error: &turbojpeg::Error) -> String {
    match error {
        turbojpeg::Error::TurboJpegError(text) => text.clone(),
        // Its size is unknown.
        turbojpeg::Error::IntegerOverflow(_) => "it has no frame header".into(),
        other => other.to_string(),
    }
}

/// Four bytes a pixel become three. The bytes are light, not ink, as Adobe's programs write them.
fn multiply_out(data: &mut Vec<u8>) {
    let pixels = data.len() / 4;
    for i in 0..pixels {
        let black = u32::from(data[4 * i + 3]);
        for c in 0..3 {
            // Written at or before the place that was read.
            data[3 * i + c] = ((u32::from(data[4 * i + c]) * black + 127) / 255) as u8;
        }
    }
    data.truncate(3 * pixels);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: u16, height: u16) -> Vec<u8> {
        let mut out = Vec::new();
        let data: Vec<u8> = (0..usize::from(width) * usize::from(height)).map(|i| (i * 7) as u8).collect();
        jpeg_encoder::Encoder::new(&mut out, 90).encode(&data, width, height, jpeg_encoder::ColorType::Luma).unwrap();
        out
    }

    fn decoded(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut rgb = Rgb::default();
        rgb.decode(bytes).map(|()| rgb.data)
    }

    /// The place of a marker.
    fn find(bytes: &[u8], marker: u8) -> usize {
        bytes.windows(2).position(|w| w == [0xFF, marker]).unwrap()
    }

    #[test]
    fn what_webcams_do_wrong_and_hides_nothing_is_forgiven() {
        let whole = grey(32, 24);
        let want = decoded(&whole).unwrap();
        let mut padded = whole.clone();
        padded.splice(whole.len() - 2..whole.len() - 2, [0x55; 3]);
        assert_eq!(decoded(&padded).as_ref(), Ok(&want), "bytes too many in front of the end");
        let mut zeros = whole.clone();
        let scan = find(&whole, 0xDA);
        // Length 8 of one component: the parameters are its last three bytes.
        assert_eq!(zeros[scan + 7..scan + 10], [0, 63, 0]);
        zeros[scan + 8] = 0;
        assert_eq!(decoded(&zeros).as_ref(), Ok(&want), "zero scan parameters");
        // Neither hides what is missing.
        zeros.truncate(zeros.len() - 20);
        zeros.extend([0xFF, 0xD9]);
        assert!(decoded(&zeros).unwrap_err().contains("remature end"), "{:?}", decoded(&zeros));
    }

    #[test]
    fn one_pictures_tables_are_not_the_nexts() {
        let whole = grey(16, 16);
        let mut rgb = Rgb::default();
        rgb.decode(&whole).unwrap();
        // The quantization tables become a comment.
        let mut without = whole.clone();
        without[find(&whole, 0xDB) + 1] = 0xFE;
        let why = rgb.decode(&without).unwrap_err();
        assert!(why.contains("uantization table"), "{why}");
    }

    #[test]
    fn too_large_a_picture_is_refused_by_its_header() {
        let mut wide = grey(8, 8);
        let frame = find(&wide, 0xC0);
        wide[frame + 5..frame + 9].copy_from_slice(&[0x20, 0, 0x20, 0]);
        assert!(decoded(&wide).unwrap_err().contains("at most 16,777,216"));
    }
}
