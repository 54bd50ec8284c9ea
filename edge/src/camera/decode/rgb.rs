//! Rgb: a decoded picture, and the limits of every picture.
//!
//! Decoders write whole pictures of three bytes a pixel into an [`Rgb`], whose buffer is used again for the next one.
//! Pixels with transparency are composed on [`BACKGROUND`]. A picture that no frame may hold is refused by its header,
//! before memory is taken for it.

use crate::camera::{Picture, SourceError, check_size};
use firmware::frame::{Layout, Yuv};
use firmware::limits::{PIXELS_MAX, WIDTH_PX_MAX};

/// The colour behind transparent pixels: white, as paper and most viewers show them. Half of a pixel's opacity lets half of
/// it through.
pub const BACKGROUND: [u8; 3] = [255; 3];

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
    /// As a source's picture, unless it is empty.
    pub fn picture(&self) -> Option<Picture<'_>> {
        let Rgb { width, height, data } = self;
        let (layout, yuv) = (Layout::Rgb24, Yuv::default());
        (!data.is_empty()).then_some(Picture { layout, yuv, width: *width, height: *height, data })
    }

    /// Takes over pixels of four bytes, the fourth of which is their opacity, composed on [`BACKGROUND`].
    pub fn compose(&mut self, width: usize, height: usize, rgba: &[u8]) {
        (self.width, self.height) = (width, height);
        self.data.clear();
        for &[r, g, b, a] in rgba.as_chunks::<4>().0 {
            let over = |c: u8, behind: u8| {
                ((u32::from(c) * u32::from(a) + u32::from(behind) * u32::from(255 - a) + 127) / 255) as u8
            };
            self.data.extend([over(r, BACKGROUND[0]), over(g, BACKGROUND[1]), over(b, BACKGROUND[2])]);
        }
    }
}

/// Refuses a picture that no frame may hold. The error does not have the file's name.
pub fn check_px(width: usize, height: usize) -> Result<(), String> {
    match check_size(width, height) {
        Ok(()) => Ok(()),
        Err(_) if width == 0 || height == 0 => Err(format!("the picture has no pixels ({width}x{height})")),
        Err(_) if width > WIDTH_PX_MAX => {
            Err(format!("the picture is {width} pixels wide; at most {} can be clustered", grouped(WIDTH_PX_MAX)))
        }
        Err(_) => {
            let most = grouped(PIXELS_MAX);
            Err(format!("the picture has {width}x{height} pixels; at most {most} in all can be clustered"))
        }
    }
}

/// An error of the file `what`.
pub fn malformed(what: &str, why: impl Into<String>) -> SourceError {
    SourceError::Malformed { what: what.into(), why: why.into() }
}

/// `8192` as `8,192`.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let place = |i: usize| (digits.len() - i).is_multiple_of(3) && i > 0;
    digits.char_indices().flat_map(|(i, d)| place(i).then_some(',').into_iter().chain([d])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transparent_pixels_are_composed_on_the_background() {
        let mut rgb = Rgb::default();
        rgb.compose(2, 2, &[10, 20, 30, 255, 10, 20, 30, 0, 0, 0, 0, 128, 200, 100, 0, 51]);
        assert_eq!(rgb.data, [10, 20, 30, 255, 255, 255, 127, 127, 127, 244, 224, 204]);
        assert_eq!((rgb.width, rgb.height), (2, 2));
    }

    #[test]
    fn a_refusal_names_the_size_and_the_limit() {
        assert_eq!(check_px(8192, 1), Ok(()));
        assert_eq!(check_px(1, 65_536), Ok(()));
        assert_eq!(check_px(4_032, 3_024), Ok(()), "a photo of 12 megapixels");
        assert_eq!(check_px(8193, 1).unwrap_err(), "the picture is 8193 pixels wide; at most 8,192 can be clustered");
        let most = "the picture has 8000x6000 pixels; at most 16,777,216 in all can be clustered";
        assert_eq!(check_px(8000, 6000).unwrap_err(), most);
        assert!(check_px(0, 7).unwrap_err().contains("no pixels"));
    }
}
