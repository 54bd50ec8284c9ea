//! Regions: parts of the picture that are reported by themselves, and colours that have a name.
//!
//! These are plain values, read from the configuration's `[[region]]` and `[[colour]]` tables. Corners are fractions of the
//! picture that is clustered, after crop, rotation and flip. Nothing here has side effects.

use super::Mask;
use firmware::color::Lab;
use firmware::frame::polygon::Vertex;
use firmware::named::NamedColour;

/// Most characters of the name of a region or a colour.
pub const NAME_CHARS_MAX: usize = 24;
/// Most that a pixel may differ from a named colour: Delta E 2000 of black and white is 100.
pub const TOLERANCE_MAX: f64 = 100.0;
/// The largest a and b of a named colour: those of sRGB are within 108.
const AB_MAX: f64 = 128.0;

/// A part of the picture with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// The corners of its outline.
    pub polygon: Vec<Vertex>,
}

impl Region {
    /// All of the picture.
    pub fn whole_picture(name: &str) -> Option<Region> {
        Mask::rect([0.0, 0.0, 1.0, 1.0]).map(|mask| Region { name: name.into(), polygon: mask.polygon })
    }
}

/// A colour with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Colour {
    /// Its name.
    pub name: String,
    /// The colour and its tolerance.
    pub named: NamedColour,
}

/// Whether a region or a colour may have this name: 1 to [`NAME_CHARS_MAX`] of a-z, 0-9 and -.
pub fn is_name(name: &str) -> bool {
    let is_right = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(is_right)
}

/// A colour written as `#rrggbb`.
pub fn rgb(text: &str) -> Option<Lab> {
    let digits =
        text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.bytes().all(|c| c.is_ascii_hexdigit()))?;
    let [_, r, g, b] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
    Some(Lab::of_rgb([r, g, b]))
}

/// A colour by its coordinates in CIELAB: L from 0 to 100, a and b from -128 to 128.
pub fn lab([l, a, b]: [f64; 3]) -> Option<Lab> {
    let is_right = (0.0..=100.0).contains(&l) && [a, b].iter().all(|v| (-AB_MAX..=AB_MAX).contains(v));
    let q12 = |v: f64| (v * 4_096.0).round() as i32;
    is_right.then(|| Lab { l_q12: q12(l), a_q12: q12(a), b_q12: q12(b) })
}

/// A tolerance in 1/64, if it is above 0 and at most [`TOLERANCE_MAX`].
pub fn tolerance_q6(tolerance: f64) -> Option<u16> {
    let q6 = (tolerance * 64.0).round();
    (q6 >= 1.0 && tolerance <= TOLERANCE_MAX).then_some(q6 as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_colours_and_tolerances_have_their_ranges() {
        assert!(is_name("stack-1") && is_name(&"a".repeat(24)) && !is_name(&"a".repeat(25)));
        assert!(["", "Stack", "a b", "\u{e4}", "a_b", "a\"b"].iter().all(|name| !is_name(name)));
        assert_eq!(rgb("#e02020"), Some(Lab::of_rgb([224, 32, 32])));
        assert_eq!(["e02020", "#e0202", "#e0202g", "#+02020", "red", ""].map(rgb), [None; 6]);
        assert_eq!(lab([50.0, 0.0, -1.0]), Some(Lab { l_q12: 50 * 4_096, a_q12: 0, b_q12: -4_096 }));
        assert_eq!([[101.0, 0.0, 0.0], [50.0, 129.0, 0.0], [50.0, 0.0, f64::NAN]].map(lab), [None; 3]);
        assert_eq!([15.0, 0.0, 100.0, 100.1, f64::NAN].map(tolerance_q6), [Some(960), None, Some(6_400), None, None]);
    }
}
