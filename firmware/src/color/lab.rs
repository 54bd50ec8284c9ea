//! CIELAB (D65, 2 degrees) from sRGB, in integers.
//!
//! Inputs are 8-bit colours or colours in 1/64 levels, results are lightness, a and b in 1/4096. Greys have exactly a = b = 0.
//! Every machine computes the same bits; the results differ from double precision by less than 0.01.

use super::Q6;
use super::tables::LINEAR_Q24;

/// A colour in CIELAB, each coordinate in 1/4096.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Lab {
    /// Lightness, 0 to 409,600 (100).
    pub l_q12: i32,
    /// From green (negative) to red.
    pub a_q12: i32,
    /// From blue (negative) to yellow.
    pub b_q12: i32,
}

/// Rows of the matrix from linear sRGB to X, Y and Z, each divided by that of the white point, in 1/2^24. Each adds up to 1,
/// so that greys are neutral.
pub(super) const XYZ_Q24: [[u64; 3]; 3] =
    [[7_280_472, 6_311_752, 3_184_992], [3_568_059, 11_998_262, 1_210_895], [297_906, 1_836_568, 14_642_742]];
const _: () = {
    let mut row = 0;
    while row < 3 {
        assert!(XYZ_Q24[row][0] + XYZ_Q24[row][1] + XYZ_Q24[row][2] == 1 << 24);
        row += 1;
    }
};

/// The inverse of [`XYZ_Q24`], in 1/2^20.
const INVERSE_Q20: [[i64; 3]; 3] =
    [[3_229_567, -1_611_807, -569_184], [-966_010, 1_967_140, 47_446], [55_456, -213_937, 1_207_057]];

/// Where CIELAB's cube root becomes a straight line: (6/29)^3 in 1/2^24.
const LINE_END_Q24: u64 = 148_587;
/// What the line has at 0: 4/29 in 1/2^20.
const LINE_START_Q20: u64 = 144_631;

impl Lab {
    /// An 8-bit sRGB colour.
    pub fn of_rgb(rgb: [u8; 3]) -> Lab {
        Lab::of_linear(rgb.map(|level| u64::from(LINEAR_Q24[usize::from(level)])))
    }

    /// An sRGB colour in 1/64 levels; linear light is interpolated between the levels.
    pub fn of_q6(rgb_q6: Q6) -> Lab {
        Lab::of_linear(rgb_q6.map(|level_q6| {
            let (level, rest) = (usize::from(level_q6 >> 6), u64::from(level_q6 & 63));
            let at = |level: usize| LINEAR_Q24.get(level).copied().map_or(1 << 24, u64::from);
            at(level) + ((at(level + 1) - at(level)) * rest + 32) / 64
        }))
    }

    /// A colour by its linear light, each channel in 1/2^24 from 0 to 1.
    pub fn of_linear([r, g, b]: [u64; 3]) -> Lab {
        let [x, y, z] = XYZ_Q24.map(|[mr, mg, mb]| bent_q20((mr * r + mg * g + mb * b + (1 << 23)) >> 24) as i32);
        let q12 = |times: i32, difference_q20: i32| (times * difference_q20 + 128) >> 8;
        Lab { l_q12: q12(116, y) - (16 << 12), a_q12: q12(500, x - y), b_q12: q12(200, y - z) }
    }

    /// The linear light of the colour, each channel in 1/2^24: below 0 or above 1 outside of the gamut of sRGB.
    pub fn linear_q24(self) -> [i64; 3] {
        // f in 1/2^24.
        let y = ((i64::from(self.l_q12) + (16 << 12)) << 12) / 116;
        let x = y + (i64::from(self.a_q12) << 12) / 500;
        let z = y - (i64::from(self.b_q12) << 12) / 200;
        let xyz = [x, y, z].map(|f| {
            let f = f.clamp(0, 1 << 25);
            // Above 6/29 the cube, below it the line 108/841 (f - 4/29).
            if f > 3_471_148 { (((f * f) >> 24) * f) >> 24 } else { (f - 2_314_099) * 108 / 841 }
        });
        INVERSE_Q20.map(|row| row.iter().zip(xyz).map(|(m, v)| m * v).sum::<i64>() >> 20)
    }

    /// The Euclidean distance in CIELAB (Delta E 1976), in 1/4096.
    pub fn distance_q12(self, other: Lab) -> u32 {
        let square = |a: i32, b: i32| u64::from(a.abs_diff(b)).pow(2);
        let sum = square(self.l_q12, other.l_q12) + square(self.a_q12, other.a_q12) + square(self.b_q12, other.b_q12);
        sum.isqrt() as u32
    }
}

/// CIELAB's f: the cube root, or near 0 the line that it continues, in 1/2^20.
fn bent_q20(t_q24: u64) -> u64 {
    if t_q24 < LINE_END_Q24 { (t_q24 * 841 + 864) / 1_728 + LINE_START_Q20 } else { cube_root(t_q24 << 36) }
}

/// The largest whole number whose cube is at most `n`, which is at most 2^60: two steps of Newton's method from a table's value
/// come within one of it.
fn cube_root(n: u64) -> u64 {
    // As many digits of the cube are added as the root loses afterwards.
    let digits = n.leading_zeros().saturating_sub(3) / 3;
    let seed = ROOTS.get((n << (3 * digits) >> ROOTS_SHIFT) as usize).map_or(1 << 20, |&root| u64::from(root));
    let mut root = seed >> digits;
    for _ in 0..2 {
        root = (2 * root + n / (root * root).max(1)) / 3;
    }
    while root * root * root > n {
        root -= 1;
    }
    while (root + 1) * (root + 1) * (root + 1) <= n {
        root += 1;
    }
    root
}

/// A cube of 61 bits starts with an entry of [`ROOTS`].
const ROOTS_SHIFT: u32 = 54;
/// Cube roots of the numbers in the middle of those with the same first digits.
const ROOTS: [u32; 128] = {
    let (mut table, mut n) = ([0; 128], 0);
    while n < table.len() {
        table[n] = cube_root_by_digits((2 * n as u64 + 1) << (ROOTS_SHIFT - 1)) as u32;
        n += 1;
    }
    table
};

/// The same digit by digit.
pub(super) const fn cube_root_by_digits(mut n: u64) -> u64 {
    let (mut root, mut digit) = (0, 21);
    while digit > 0 {
        digit -= 1;
        root *= 2;
        let step = 3 * root * (root + 1) + 1;
        if n >> (3 * digit) >= step {
            n -= step << (3 * digit);
            root += 1;
        }
    }
    root
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::super::oracle;
    use super::*;

    #[test]
    fn every_cell_and_many_colours_are_those_of_double_precision() {
        let mut worst: f64 = 0.0;
        let mut x = 1u32;
        let random = (0..100_000).map(|_| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            [(x >> 8) as u8, (x >> 16) as u8, (x >> 24) as u8]
        });
        let cells = (0..32_768u32).map(|i| [i >> 10, i >> 5 & 31, i & 31].map(|level| (8 * level + 4) as u8));
        for rgb in cells.chain(random) {
            let want = oracle::lab(rgb.map(f64::from));
            let found = Lab::of_rgb(rgb);
            assert_eq!(found, Lab::of_q6(super::super::q6(rgb)));
            let [l, a, b] = [found.l_q12, found.a_q12, found.b_q12].map(|v| f64::from(v) / 4_096.0);
            worst = worst.max((l - want[0]).abs()).max((a - want[1]).abs()).max((b - want[2]).abs());
        }
        std::println!("largest difference of a coordinate: {worst}");
        assert!(worst < 0.01, "{worst}");
    }

    #[test]
    fn the_linear_light_of_a_colour_is_what_it_was_made_of() {
        let mut worst: f64 = 0.0;
        for rgb in (0..1u32 << 15).map(|i| [i >> 10, i >> 5 & 31, i & 31].map(|level| (level * 255 / 31) as u8)) {
            let back = Lab::of_rgb(rgb).linear_q24();
            for (level, light) in rgb.iter().zip(back) {
                let off = light - i64::from(LINEAR_Q24[usize::from(*level)]);
                worst = worst.max(off.abs() as f64 / f64::from(1 << 24));
            }
            assert!(rgb.iter().any(|level| *level != rgb[0]) || back.iter().all(|light| *light == back[0]), "{rgb:?}");
        }
        std::println!("largest difference of linear light: {worst}");
        // A level in the dark is 1/3294.
        assert!(worst < 1e-4, "{worst}");
    }

    #[test]
    fn greys_are_neutral_and_white_is_100() {
        for level in 0..=255 {
            let grey = Lab::of_rgb([level; 3]);
            assert_eq!((grey.a_q12, grey.b_q12), (0, 0), "{level}");
        }
        assert_eq!((Lab::of_rgb([0; 3]).l_q12, Lab::of_rgb([255; 3]).l_q12), (0, 409_600));
    }

    #[test]
    fn cube_roots_are_exact() {
        let mut x = 1u64;
        let random = (0..100_000).map(|i| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 4) >> (i % 60)
        });
        let around_cubes = (1..1_000_000u64).step_by(997).flat_map(|root| [root.pow(3) - 1, root.pow(3)]);
        for n in random.chain(around_cubes).chain(0..2_000).chain([(1 << 60) - 1, 1 << 60]) {
            let root = cube_root(n);
            assert!(root.pow(3) <= n && (root + 1).pow(3) > n, "{n}: {root}");
        }
    }
}
