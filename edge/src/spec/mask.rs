//! Masks: parts of the picture that must not be seen, as polygons.
//!
//! These are plain values, read from the configuration's `[[mask]]` tables; `camera::masked` applies them. Corners are
//! fractions of the picture that is clustered, after crop, rotation and flip. Nothing here has side effects.

use firmware::frame::polygon::{ONE_Q16, Vertex};
use firmware::limits::POLYGON_VERTICES_MAX;

/// Corners of a polygon at least.
const VERTICES_MIN: usize = 3;

/// A polygon whose pixels are masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// Its corners.
    pub polygon: Vec<Vertex>,
}

impl Mask {
    /// A polygon of 3 to [`POLYGON_VERTICES_MAX`] corners, each a fraction of width and of height from 0 to 1.
    pub fn polygon(corners: &[[f64; 2]]) -> Option<Mask> {
        let is_right = (VERTICES_MIN..=POLYGON_VERTICES_MAX).contains(&corners.len());
        let polygon: Option<Vec<Vertex>> =
            corners.iter().map(|&[x, y]| Some(Vertex { x_q16: q16(x)?, y_q16: q16(y)? })).collect();
        polygon.filter(|_| is_right).map(|polygon| Mask { polygon })
    }

    /// A rectangle: left, top, width and height, all as fractions from 0 to 1. It must not leave the picture.
    pub fn rect([left, top, width, height]: [f64; 4]) -> Option<Mask> {
        // A hundredth of a pixel of the widest picture: decimal fractions that should reach the border may miss it by rounding.
        let slack = 1e-6;
        let end =
            |from: f64, size: f64| Some((from + size).min(1.0)).filter(|_| size > 0.0 && from + size <= 1.0 + slack);
        let (right, bottom) = (end(left, width)?, end(top, height)?);
        Mask::polygon(&[[left, top], [right, top], [right, bottom], [left, bottom]])
    }
}

fn q16(fraction: f64) -> Option<u32> {
    let is_right = (0.0..=1.0).contains(&fraction);
    is_right.then(|| (fraction * f64::from(ONE_Q16)).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_lies_in_the_picture_and_encloses_something() {
        let whole = Mask::rect([0.0, 0.0, 1.0, 1.0]).unwrap();
        assert_eq!(whole.polygon[2], Vertex { x_q16: ONE_Q16, y_q16: ONE_Q16 });
        assert!(Mask::rect([0.7, 0.1, 0.3, 0.2]).is_some(), "0.7 + 0.3 is a little more than 1");
        for bad in [[0.5, 0.0, 0.6, 0.1], [0.0, 0.0, 0.0, 0.5], [-0.1, 0.0, 0.5, 0.5], [f64::NAN, 0.0, 0.5, 0.5]] {
            assert_eq!(Mask::rect(bad), None, "{bad:?}");
        }
        assert!(Mask::polygon(&[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).is_some());
        assert_eq!(Mask::polygon(&[[0.0, 0.0], [1.0, 0.0]]), None, "two corners");
        assert_eq!(Mask::polygon(&[[0.5, 0.5]; POLYGON_VERTICES_MAX + 1]), None);
        assert_eq!(Mask::polygon(&[[0.0, 0.0], [1.5, 0.0], [0.0, 1.0]]), None, "outside");
    }
}
