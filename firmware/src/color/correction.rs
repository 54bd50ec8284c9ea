//! Correction of 8-bit colours by a matrix on linear light.
//!
//! Input is a matrix of nine integers; the result changes pixels in place, by three tables of levels if the matrix only has
//! gains, else by tables of products. Results are rounded to the nearest level and cut off at black and white. They are those of
//! double precision, except within 2/2^24 of linear light of the middle between two levels. Nothing else is touched.

use super::tables::{LINEAR_Q24, MIDDLE_Q24};

/// A matrix on linear light in 1/2^32: the rows are red, green and blue of the result, the columns those of the input.
pub type MatrixQ32 = [[i64; 3]; 3];

/// One.
pub const ONE_Q32: i64 = 1 << 32;
/// The matrix that changes nothing.
pub const IDENTITY_Q32: MatrixQ32 = [[ONE_Q32, 0, 0], [0, ONE_Q32, 0], [0, 0, ONE_Q32]];
/// The largest coefficient: three stops. With a gain of 8, the levels of 8 bits lie up to 24 apart, and no palette of them is
/// one of the scene. Products with linear light fit 32 bits, and so do sums of three.
pub const COEFFICIENT_MAX_Q32: i64 = 8 * ONE_Q32;

/// The brightest linear light that is distinguished: all above has level 255.
const BRIGHT_Q24: i32 = (1 << 24) - 1;
/// Steps of linear light in [`LOW_LEVELS`]: shorter than from one middle between levels to the next, so a step crosses one at most.
const STEP_BITS: u32 = 12;
/// The nearest level at the start of each step.
const LOW_LEVELS: [u8; 1 << (24 - STEP_BITS)] = {
    let (mut table, mut step, mut level) = ([0; 1 << (24 - STEP_BITS)], 0, 0);
    while step < table.len() {
        while MIDDLE_Q24[level] <= (step as u32) << STEP_BITS {
            assert!(level == 0 || MIDDLE_Q24[level] - MIDDLE_Q24[level - 1] > 1 << STEP_BITS);
            level += 1;
        }
        table[step] = level as u8;
        step += 1;
    }
    table
};

/// A correction, ready to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    matrix_q32: MatrixQ32,
    /// The new level of each level, by channel. For gains only.
    levels: [[u8; 256]; 3],
    /// By channel and level of the input, what it adds to each channel of the result, in 1/2^24; the fourth place makes a vector.
    products_q24: [[[i32; 4]; 256]; 3],
}

impl Correction {
    /// The correction that makes every colour black, for memory that is static.
    pub const ZERO: Correction =
        Correction { matrix_q32: [[0; 3]; 3], levels: [[0; 256]; 3], products_q24: [[[0; 4]; 256]; 3] };

    /// Makes this the correction by a matrix. Coefficients beyond [`COEFFICIENT_MAX_Q32`] count as that.
    pub fn set(&mut self, matrix_q32: &MatrixQ32) {
        let matrix_q32 = matrix_q32.map(|row| row.map(|m| m.clamp(-COEFFICIENT_MAX_Q32, COEFFICIENT_MAX_Q32)));
        if self.matrix_q32 == matrix_q32 {
            return;
        }
        self.matrix_q32 = matrix_q32;
        for input in 0..3 {
            let column = matrix_q32.map(|row| row.get(input).copied().unwrap_or(0));
            let gain = column.get(input).copied().unwrap_or(0);
            let products = self.products_q24.get_mut(input).into_iter().flatten();
            let levels = self.levels.get_mut(input).into_iter().flatten();
            for ((product, level), &linear) in products.zip(levels).zip(&LINEAR_Q24) {
                let [r, g, b] = column.map(|m| times_q24(m, linear.into()) as i32);
                *product = [r, g, b, 0];
                *level = level_of(times_q24(gain, linear.into()) as i32);
            }
        }
    }

    /// The matrix.
    pub fn matrix_q32(&self) -> &MatrixQ32 {
        &self.matrix_q32
    }

    /// Returns true if each channel of the result depends on the same channel of the input alone.
    pub fn has_gains_only(&self) -> bool {
        let [[_, a, b], [c, _, d], [e, f, _]] = self.matrix_q32;
        [a, b, c, d, e, f] == [0; 6]
    }

    /// Corrects pixels, in place.
    pub fn apply(&self, pixels: &mut [[u8; 3]]) {
        if self.has_gains_only() {
            let [r, g, b] = &self.levels;
            for px in pixels {
                *px = [r[usize::from(px[0])], g[usize::from(px[1])], b[usize::from(px[2])]];
            }
        } else {
            let [r, g, b] = &self.products_q24;
            for px in pixels {
                let (r, g, b) = (&r[usize::from(px[0])], &g[usize::from(px[1])], &b[usize::from(px[2])]);
                // Written out: the compiler does not inline a `map` over channels here, and its calls take most of the time.
                *px = [level_of(r[0] + g[0] + b[0]), level_of(r[1] + g[1] + b[1]), level_of(r[2] + g[2] + b[2])];
            }
        }
    }
}

/// What a matrix makes of linear light in 1/2^24, not cut off.
pub fn product_q24(matrix_q32: &MatrixQ32, light_q24: [i64; 3]) -> [i64; 3] {
    matrix_q32.map(|row| row.iter().zip(light_q24).map(|(&m, light)| times_q24(m, light)).sum())
}

/// A product, rounded. Both are small enough: coefficients up to 2^35, light up to 2^26.
fn times_q24(m_q32: i64, light_q24: i64) -> i64 {
    (m_q32 * light_q24 + (1 << 31)) >> 32
}

/// The level nearest to linear light; black below 0, white above 1.
#[inline]
fn level_of(light_q24: i32) -> u8 {
    let light = light_q24.clamp(0, BRIGHT_Q24) as u32;
    let low = LOW_LEVELS[(light >> STEP_BITS) as usize];
    low + u8::from(MIDDLE_Q24[usize::from(low)] <= light)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::boxed::Box;
    use std::vec::Vec;

    fn corrected(matrix_q32: &MatrixQ32, pixels: &[[u8; 3]]) -> Vec<[u8; 3]> {
        let mut correction = Box::new(Correction::ZERO);
        correction.set(matrix_q32);
        let mut pixels = pixels.to_vec();
        correction.apply(&mut pixels);
        pixels
    }

    /// The same in double precision; and, where a channel is so near to the middle of two levels that it may be either, true.
    fn oracle(matrix_q32: &MatrixQ32, px: [u8; 3]) -> [(u8, bool); 3] {
        let light = px.map(|level| {
            let c = f64::from(level) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        });
        matrix_q32.map(|row| {
            let sum: f64 = row.iter().zip(light).map(|(&m, v)| m as f64 / ONE_Q32 as f64 * v).sum();
            let level = |light: f64| {
                let v = light.clamp(0.0, 1.0);
                255.0 * if v <= 0.003_130_8 { v * 12.92 } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 }
            };
            // Each of three entries and three products is rounded, and the entries by a coefficient of up to 8.
            let slack = 3.0 * 8.0 / f64::from(1 << 24);
            (level(sum).round() as u8, level(sum - slack).round() != level(sum + slack).round())
        })
    }

    fn check(matrix_q32: &MatrixQ32, pixels: &[[u8; 3]]) -> Result<(), TestCaseError> {
        for (found, &px) in corrected(matrix_q32, pixels).iter().zip(pixels) {
            for (channel, (want, either)) in found.iter().zip(oracle(matrix_q32, px)) {
                prop_assert!(
                    *channel == want || either && channel.abs_diff(want) == 1,
                    "{matrix_q32:?} {px:?}: {found:?}"
                );
            }
        }
        Ok(())
    }

    fn coefficients() -> impl Strategy<Value = MatrixQ32> {
        prop::array::uniform3(prop::array::uniform3(-COEFFICIENT_MAX_Q32..=COEFFICIENT_MAX_Q32))
    }

    proptest! {
        #[test]
        fn a_matrix_does_what_double_precision_does(
            matrix in coefficients(),
            near in prop::array::uniform3(prop::array::uniform3(-ONE_Q32 / 4..ONE_Q32 / 4)),
            pixels in prop::collection::vec(any::<[u8; 3]>(), 64),
        ) {
            check(&matrix, &pixels)?;
            let near: MatrixQ32 = core::array::from_fn(|i| core::array::from_fn(|j| IDENTITY_Q32[i][j] + near[i][j]));
            check(&near, &pixels)?;
        }

        #[test]
        fn gains_do_what_double_precision_does_at_every_level(gains in prop::array::uniform3(0..=COEFFICIENT_MAX_Q32)) {
            let [r, g, b] = gains;
            let levels: Vec<[u8; 3]> = (0..=255).map(|level| [level; 3]).collect();
            check(&[[r, 0, 0], [0, g, 0], [0, 0, b]], &levels)?;
        }

        #[test]
        fn tables_of_levels_and_of_products_give_the_same_bits(gains in prop::array::uniform3(0..=COEFFICIENT_MAX_Q32), px in any::<[u8; 3]>()) {
            let [r, g, b] = gains;
            let mut correction = Box::new(Correction::ZERO);
            correction.set(&[[r, 0, 0], [0, g, 0], [0, 0, b]]);
            let [mut by_level, mut by_product] = [[px]; 2];
            correction.apply(&mut by_level);
            // A coefficient that adds nothing to any level.
            correction.matrix_q32[0][1] = 1;
            prop_assert!(!correction.has_gains_only());
            correction.apply(&mut by_product);
            prop_assert_eq!(by_level, by_product);
        }
    }

    #[test]
    fn the_identity_changes_no_colour_and_what_is_beyond_the_range_is_cut_off() {
        let every: Vec<[u8; 3]> =
            (0..1u32 << 15).map(|i| [i >> 10, i >> 5 & 31, i & 31].map(|v| (v * 255 / 31) as u8)).collect();
        assert_eq!(corrected(&IDENTITY_Q32, &every), every);
        let mut mixed = IDENTITY_Q32;
        mixed[0][1] = 1;
        assert_eq!(corrected(&mixed, &every), every, "through the products");
        let huge = [[i64::MAX, 0, 0], [0, i64::MIN, 0], [0, 0, ONE_Q32]];
        assert_eq!(corrected(&huge, &[[200, 200, 200], [0, 0, 0]]), [[255, 0, 200], [0, 0, 0]]);
    }
}
