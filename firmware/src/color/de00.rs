//! CIEDE2000, the colour difference that agrees best with what people see, in integers.
//!
//! Inputs are two colours in CIELAB, the result is their difference in 1/4096 (Sharma, Wu and Dalal, "The CIEDE2000
//! color-difference formula", 2005, with all weights 1). It is symmetric, and in the gamut of sRGB it differs from double
//! precision by less than 0.02.

use super::lab::Lab;
use super::tables::{ATAN_Q12, HUE_WEIGHT_Q14, ROTATION_Q14};

/// One degree.
const DEGREE_Q12: i64 = 1 << 12;
/// One.
const ONE_Q16: u64 = 1 << 16;
const ONE_Q30: u64 = 1 << 30;

/// The difference of two colours, in 1/4096. One is about the least that people notice.
pub fn de00_q12(one: Lab, other: Lab) -> u32 {
    let mean_chroma_q16 = (chroma_q16(one.a_q12.into(), one) + chroma_q16(other.a_q12.into(), other)) / 2;
    // Greyish colours have their a enlarged, by up to a half.
    let enlarge_q17 = (3 * ONE_Q16 - chroma_weight_q16(mean_chroma_q16)) as i64;
    let [a1, a2] = [one, other].map(|lab| i64::from(lab.a_q12) * enlarge_q17 / (1 << 17));
    let [b1, b2] = [one, other].map(|lab| i64::from(lab.b_q12));
    let (c1, c2) = (chroma_q16(a1, one), chroma_q16(a2, other));
    let mean_chroma_q16 = (c1 + c2) / 2;
    let hue_q12 = mean_hue_q12([(a1, b1, c1), (a2, b2, c2)]);

    let middle = (i64::from(one.l_q12) + i64::from(other.l_q12) - (100 << 12)).unsigned_abs() / 2;
    let root = ((20 << 24) + middle * middle).isqrt();
    let weight_l_q16 = ONE_Q16 + 48 * middle * middle / (200 * root).max(1);
    let weight_c_q16 = ONE_Q16 + 9 * mean_chroma_q16 / 200;
    let weight_h_q16 = ONE_Q16 + ((3 * mean_chroma_q16 * at(&HUE_WEIGHT_Q14, hue_q12) / 200) >> 14);

    let chroma_q16 = c1.abs_diff(c2);
    let chords = a1.abs_diff(a2).pow(2) + b1.abs_diff(b2).pow(2);
    let hue_q16 = (chords << 8).saturating_sub(chroma_q16 * chroma_q16).isqrt();
    let l = (u64::from(one.l_q12.abs_diff(other.l_q12)) << 16) / weight_l_q16.max(1);
    let c = (chroma_q16 << 12) / weight_c_q16.max(1);
    let h = (hue_q16 << 12) / weight_h_q16.max(1);
    // Around blue, a difference in chroma counts more or less by how the hue differs.
    let rotation_q14 = (at(&ROTATION_Q14, hue_q12) * chroma_weight_q16(mean_chroma_q16)) >> 15;
    let rotated = (rotation_q14 * c * h) >> 14;
    let both_grow = (a1 * b2 > a2 * b1) == (c2 > c1);
    let sum = l * l + c * c + h * h;
    (if both_grow { sum.saturating_sub(rotated) } else { sum + rotated }).isqrt() as u32
}

/// What the difference of two colours is at least, in 1/4096, by their lightness alone: without a root or a division.
///
/// The weight of lightness is at most 1.748, and chroma and hue only add to the sum, because the rotation is below 2. Results
/// of [`de00_q12`] are rounded, so a 1/64 is taken off.
pub fn de00_min_q12(one: Lab, other: Lab) -> u32 {
    (one.l_q12.abs_diff(other.l_q12) / 7 * 4).saturating_sub(1 << 6)
}

/// The chroma of a colour whose a is replaced by `a`, in 1/65,536.
fn chroma_q16(a_q12: i64, lab: Lab) -> u64 {
    ((a_q12.unsigned_abs().pow(2) + u64::from(lab.b_q12.unsigned_abs()).pow(2)) << 8).isqrt()
}

/// The square root of C^7 / (C^7 + 25^7), in 1/65,536.
fn chroma_weight_q16(chroma_q16: u64) -> u64 {
    const MIDDLE_Q16: u64 = 25 << 16;
    let power7 = |u: u64| {
        let product = |a: u64, b: u64| (a * b) >> 30;
        let square = product(u, u);
        product(product(product(square, square), square), u)
    };
    let fraction_q30 = if chroma_q16 < MIDDLE_Q16 {
        let power = power7((chroma_q16 << 14) / 25);
        (power << 30) / (ONE_Q30 + power)
    } else {
        (1 << 60) / (ONE_Q30 + power7((MIDDLE_Q16 << 30) / chroma_q16.max(1)))
    };
    (fraction_q30 << 2).isqrt()
}

/// The hue in the middle of the shorter way from one colour to the other, each as a, b and chroma. A grey has no hue: it is
/// then the other's.
fn mean_hue_q12([(a1, b1, c1), (a2, b2, c2)]: [(i64, i64, u64); 2]) -> i64 {
    if c1 == 0 || c2 == 0 {
        return angle_q12(a1 + a2, b1 + b2);
    }
    let (h1, h2) = (angle_q12(a1, b1), angle_q12(a2, b2));
    let mean = (h1 + h2) / 2;
    // Which way is shorter is decided exactly: opposite hues are where the formula jumps.
    let turn = a1 * b2 - a2 * b1;
    let is_other_way = (h1 - h2).abs() > 90 * DEGREE_Q12 && (if h1 < h2 { turn < 0 } else { turn > 0 });
    match mean + if is_other_way { 180 * DEGREE_Q12 } else { 0 } {
        hue if hue > 360 * DEGREE_Q12 => hue - 360 * DEGREE_Q12,
        hue => hue,
    }
}

/// The direction of (x, y), from 0 to 360 degrees, in 1/4096 degrees; 0 for no direction.
fn angle_q12(x: i64, y: i64) -> i64 {
    let (right, up) = (x.unsigned_abs(), y.unsigned_abs());
    let (small, large) = (right.min(up), right.max(up));
    // Both in 42 bits, so that the quotient has 18 bits behind the point.
    let drop = (64 - large.leading_zeros()).saturating_sub(42);
    let quotient_q18 = ((small >> drop) << 18) / (large >> drop).max(1);
    let (n, rest) = ((quotient_q18 >> 12) as usize, (quotient_q18 & 4_095) as i64);
    let entry = |n: usize| i64::from(ATAN_Q12.get(n).copied().unwrap_or(45 << 12));
    let mut angle = entry(n) + (((entry(n + 1) - entry(n)) * rest) >> 12);
    if up > right {
        angle = 90 * DEGREE_Q12 - angle;
    }
    if x < 0 {
        angle = 180 * DEGREE_Q12 - angle;
    }
    if y < 0 { 360 * DEGREE_Q12 - angle } else { angle }
}

/// A table's value at a hue, interpolated.
fn at(table: &[u16; 361], hue_q12: i64) -> u64 {
    let (degree, rest) = ((hue_q12 >> 12) as usize, hue_q12 & (DEGREE_Q12 - 1));
    let entry = |degree: usize| i64::from(table.get(degree).or(table.last()).copied().unwrap_or(0));
    (entry(degree) + (((entry(degree + 1) - entry(degree)) * rest) >> 12)) as u64
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::super::oracle;
    use super::*;
    use std::vec::Vec;

    /// The 34 pairs that Sharma, Wu and Dalal published to test implementations: two colours and their difference.
    const PAIRS: [([f64; 3], [f64; 3], f64); 34] = [
        ([50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485], 2.0425),
        ([50.0, 3.1571, -77.2803], [50.0, 0.0, -82.7485], 2.8615),
        ([50.0, 2.8361, -74.0200], [50.0, 0.0, -82.7485], 3.4412),
        ([50.0, -1.3802, -84.2814], [50.0, 0.0, -82.7485], 1.0000),
        ([50.0, -1.1848, -84.8006], [50.0, 0.0, -82.7485], 1.0000),
        ([50.0, -0.9009, -85.5211], [50.0, 0.0, -82.7485], 1.0000),
        ([50.0, 0.0, 0.0], [50.0, -1.0, 2.0], 2.3669),
        ([50.0, -1.0, 2.0], [50.0, 0.0, 0.0], 2.3669),
        ([50.0, 2.4900, -0.0010], [50.0, -2.4900, 0.0009], 7.1792),
        ([50.0, 2.4900, -0.0010], [50.0, -2.4900, 0.0010], 7.1792),
        ([50.0, 2.4900, -0.0010], [50.0, -2.4900, 0.0011], 7.2195),
        ([50.0, 2.4900, -0.0010], [50.0, -2.4900, 0.0012], 7.2195),
        ([50.0, -0.0010, 2.4900], [50.0, 0.0009, -2.4900], 4.8045),
        ([50.0, -0.0010, 2.4900], [50.0, 0.0010, -2.4900], 4.8045),
        ([50.0, -0.0010, 2.4900], [50.0, 0.0011, -2.4900], 4.7461),
        ([50.0, 2.5, 0.0], [50.0, 0.0, -2.5], 4.3065),
        ([50.0, 2.5, 0.0], [73.0, 25.0, -18.0], 27.1492),
        ([50.0, 2.5, 0.0], [61.0, -5.0, 29.0], 22.8977),
        ([50.0, 2.5, 0.0], [56.0, -27.0, -3.0], 31.9030),
        ([50.0, 2.5, 0.0], [58.0, 24.0, 15.0], 19.4535),
        ([50.0, 2.5, 0.0], [50.0, 3.1736, 0.5854], 1.0000),
        ([50.0, 2.5, 0.0], [50.0, 3.2972, 0.0], 1.0000),
        ([50.0, 2.5, 0.0], [50.0, 1.8634, 0.5757], 1.0000),
        ([50.0, 2.5, 0.0], [50.0, 3.2592, 0.3350], 1.0000),
        ([60.2574, -34.0099, 36.2677], [60.4626, -34.1751, 39.4387], 1.2644),
        ([63.0109, -31.0961, -5.8663], [62.8187, -29.7946, -4.0864], 1.2630),
        ([61.2901, 3.7196, -5.3901], [61.4292, 2.2480, -4.9620], 1.8731),
        ([35.0831, -44.1164, 3.7933], [35.0232, -40.0716, 1.5901], 1.8645),
        ([22.7233, 20.0904, -46.6940], [23.0331, 14.9730, -42.5619], 2.0373),
        ([36.4612, 47.8580, 18.3852], [36.2715, 50.5065, 21.2231], 1.4146),
        ([90.8027, -2.0831, 1.4410], [91.1528, -1.6435, 0.0447], 1.4441),
        ([90.9257, -0.5406, -0.9208], [88.6381, -0.8985, -0.7239], 1.5381),
        ([6.7747, -0.2908, -2.4247], [5.8714, -0.0985, -2.2286], 0.6377),
        ([2.0776, 0.0795, -1.1350], [0.9033, -0.0636, -0.5514], 0.9082),
    ];

    fn lab(coordinates: [f64; 3]) -> Lab {
        let [l_q12, a_q12, b_q12] = coordinates.map(|v| (v * 4_096.0).round() as i32);
        Lab { l_q12, a_q12, b_q12 }
    }

    fn decimals(lab: Lab) -> [f64; 3] {
        [lab.l_q12, lab.a_q12, lab.b_q12].map(|v| f64::from(v) / 4_096.0)
    }

    #[test]
    fn the_published_pairs_have_their_published_differences() {
        for (n, (one, other, want)) in PAIRS.into_iter().enumerate() {
            assert!((oracle::de00(one, other) - want).abs() < 0.000_06, "the oracle at pair {}", n + 1);
            let found = f64::from(de00_q12(lab(one), lab(other))) / 4_096.0;
            assert!((found - want).abs() < 0.002, "pair {}: {found}, not {want}", n + 1);
            assert_eq!(de00_q12(lab(one), lab(other)), de00_q12(lab(other), lab(one)), "pair {}", n + 1);
        }
    }

    #[test]
    fn differences_are_those_of_double_precision() {
        let mut x = 7u32;
        let mut random = || {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            [(x >> 8) as u8, (x >> 16) as u8, (x >> 24) as u8]
        };
        let mut pairs: Vec<([u8; 3], [u8; 3])> = (0..100_000).map(|_| (random(), random())).collect();
        // Neighbours, where named colours are told apart.
        pairs.extend((0..50_000).map(|_| {
            let (rgb, by) = (random(), random());
            (rgb, core::array::from_fn(|i| rgb[i].saturating_add(by[i] % 16)))
        }));
        // Greys, which differ in lightness only.
        pairs.extend((0..=255u8).flat_map(|one| (0..=one).map(move |other| ([one; 3], [other; 3]))));
        // Every cell of 8 levels a side, to a lamp's red.
        pairs.extend(
            (0..32_768u32).map(|i| ([i >> 10, i >> 5 & 31, i & 31].map(|level| (8 * level + 4) as u8), [224, 32, 32])),
        );
        let mut worst: f64 = 0.0;
        for (one, other) in pairs {
            let (one, other) = (Lab::of_rgb(one), Lab::of_rgb(other));
            assert!(de00_min_q12(one, other) <= de00_q12(one, other), "{one:?} {other:?}");
            let found = f64::from(de00_q12(one, other)) / 4_096.0;
            let error = (found - oracle::de00(decimals(one), decimals(other))).abs();
            worst = worst.max(error);
        }
        std::println!("largest difference: {worst}");
        assert!(worst < 0.02, "{worst}");
    }
}
