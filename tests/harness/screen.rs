//! Screen: what a display of some size must show of a clustered frame, worked out without the program's own drawing.
//!
//! The input is the frame as `png:` wrote it; results are the pictures' part of the screen, and whether the palette below it is
//! right. The caption is not checked here: that is for eyes, and for the golden pictures.

use std::collections::HashMap;

/// Around a picture that does not fill its part.
const BACKGROUND: [u8; 3] = [16, 16, 18];
const LARGE_TEXT_HEIGHT_MIN: usize = 400;

/// A picture: width, height, and three bytes a pixel.
pub type Rgb = (usize, usize, Vec<u8>);

/// Rows of the picture and of the palette's bar on a screen of `height`.
pub fn parts(height: usize) -> (usize, usize) {
    let text = if height >= LARGE_TEXT_HEIGHT_MIN { 22 } else { 12 };
    let bar = (height / 16).max(6);
    (height - text - bar, bar)
}

/// The upper part of a screen of `width` by `height` that shows `frame`: in its own shape, in the middle.
pub fn picture((fw, fh, rgb): &Rgb, width: usize, height: usize) -> Vec<u8> {
    let rows = parts(height).0;
    let (w, h) = if width * fh <= rows * fw { (width, width * fh / fw) } else { (rows * fw / fh, rows) };
    let (left, top) = ((width - w) / 2, (rows - h) / 2);
    let pixel = |i: usize| {
        let (x, y) = (i % width, i / width);
        if x < left || y < top || x >= left + w || y >= top + h {
            return BACKGROUND;
        }
        let at = ((y - top) * fh / h * fw + (x - left) * fw / w) * 3;
        [rgb[at], rgb[at + 1], rgb[at + 2]]
    };
    (0..width * rows).flat_map(pixel).collect()
}

/// The picture as it was before it was rotated clockwise by so many quarters and then, if `mirrored`, left and right changed
/// places.
pub fn turned_back(picture: &Rgb, quarters: usize, mirrored: bool) -> Rgb {
    let (mut w, mut h, mut pixels) = (picture.0, picture.1, picture.2.as_chunks::<3>().0.to_vec());
    if mirrored {
        pixels.chunks_exact_mut(w).for_each(<[_]>::reverse);
    }
    for _ in 0..(4 - quarters) % 4 {
        pixels = (0..w).flat_map(|x| (0..h).rev().map(move |y| (x, y))).map(|(x, y)| pixels[y * w + x]).collect();
        (w, h) = (h, w);
    }
    (w, h, pixels.into_iter().flatten().collect())
}

/// What is wrong with the bar on `screen`: each of the frame's colours must be as wide as its share of the pixels.
/// `shown` is what the display makes of a colour.
pub fn bar_fault((fw, fh, rgb): &Rgb, screen: &Rgb, shown: impl Fn([u8; 3]) -> [u8; 3]) -> Option<String> {
    let (width, height, pixels) = screen;
    let (rows, bar) = parts(*height);
    let mut want: HashMap<[u8; 3], f64> = HashMap::new();
    for px in rgb.as_chunks::<3>().0 {
        *want.entry(shown(*px)).or_default() += *width as f64 / (fw * fh) as f64;
    }
    for row in rows..rows + bar {
        let mut have: HashMap<[u8; 3], f64> = HashMap::new();
        for px in pixels[row * width * 3..(row + 1) * width * 3].as_chunks::<3>().0 {
            *have.entry(*px).or_default() += 1.0;
        }
        if let Some(px) = have.keys().find(|px| !want.contains_key(*px)) {
            return Some(format!("row {row} has {px:?}, which the frame has not"));
        }
        for (px, w) in &want {
            let h = have.get(px).copied().unwrap_or(0.0);
            if (w - h).abs() > 1.01 {
                return Some(format!("row {row}: {px:?} is {h} wide, not {w:.2}"));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turned_picture_is_turned_back() {
        let letters = |text: &str| text.bytes().flat_map(|b| [b; 3]).collect::<Vec<u8>>();
        // AB over CD and EF: a quarter clockwise is ECA over FDB.
        let upright = (2, 3, letters("ABCDEF"));
        assert_eq!(turned_back(&(3, 2, letters("ECAFDB")), 1, false), upright);
        assert_eq!(turned_back(&(3, 2, letters("ACEBDF")), 1, true), upright);
        assert_eq!(turned_back(&(2, 3, letters("FEDCBA")), 2, false), upright);
    }

    #[test]
    fn a_wide_frame_lies_in_the_middle_of_its_part() {
        let frame = (2, 1, vec![1, 1, 1, 2, 2, 2]);
        // 64 rows: 12 of text, 6 of the bar.
        let got = picture(&frame, 64, 64);
        let at = |x: usize, y: usize| got[(y * 64 + x) * 3];
        assert_eq!((got.len(), at(0, 6), at(31, 7), at(32, 7), at(63, 38), at(0, 39)), (64 * 46 * 3, 16, 1, 2, 2, 16));
    }

    #[test]
    fn a_bar_in_the_wrong_proportion_is_noticed() {
        let frame = (2, 1, vec![1, 1, 1, 2, 2, 2]);
        let screen = |split: usize| {
            let row = (0..64).flat_map(move |x| if x < split { [1; 3] } else { [2; 3] });
            (64, 64, [0; 64 * 46 * 3].into_iter().chain((0..18).flat_map(move |_| row.clone())).collect::<Vec<u8>>())
        };
        assert_eq!(bar_fault(&frame, &screen(32), |px| px), None);
        assert!(bar_fault(&frame, &screen(29), |px| px).is_some());
    }
}
