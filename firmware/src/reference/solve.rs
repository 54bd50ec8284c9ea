//! The correction that brings patches to their colours: gains, or a matrix by least squares.
//!
//! Inputs are the patches' linear light and what it should be; results are coefficients in 1/2^32. A matrix that the patches do
//! not decide, or that needs too large a coefficient, gives way to gains. Integers throughout, wide enough for all patches.

use super::{Correct, Sample};
use crate::color::correction::{COEFFICIENT_MAX_Q32, MatrixQ32, ONE_Q32};

/// Patches of which a matrix is made at least: twice as many as it has rows, so that noise of one patch is not all of a column.
pub const MATRIX_PATCHES_MIN: usize = 6;

/// The smallest gain, three stops like [`COEFFICIENT_MAX_Q32`].
const GAIN_MIN_Q32: i64 = ONE_Q32 / 8;
/// Patches decide a matrix if the determinant of their second moments is more than 2^-this of what it is for equal moments in all
/// directions. The 24 patches of the usual colour chart have 2^-3.4, any row of six coloured ones at least 2^-3.8, all 24 with a
/// quarter of their saturation 2^-10.6. Greys with a noise of two levels have less than 2^-22.
const DECIDED_BITS: u32 = 12;

/// A gain is out of its range.
pub(super) struct OutOfRange;

/// The correction of a frame and its kind. None: there is none to be made.
pub(super) fn solve(correct: Correct, samples: &[Sample]) -> Option<Result<(Correct, MatrixQ32), OutOfRange>> {
    let by_gain =
        || gains(samples).map(|[r, g, b]| (Correct::Gain, [[r, 0, 0], [0, g, 0], [0, 0, b]])).ok_or(OutOfRange);
    match correct {
        Correct::Off => None,
        Correct::Gain => Some(by_gain()),
        Correct::Matrix => Some(matrix(samples).map_or_else(by_gain, |matrix| Ok((Correct::Matrix, matrix)))),
    }
}

/// The gain of each channel, by least squares. None if one is out of its range.
fn gains(samples: &[Sample]) -> Option<[i64; 3]> {
    let mut gains = [0; 3];
    for (channel, gain) in gains.iter_mut().enumerate() {
        // Light is at most 2^25, so sums of products fit.
        let sum = |product: fn(i64, i64) -> i64| -> i64 {
            let pairs = samples.iter().filter_map(|s| Some((*s.found.get(channel)?, *s.target.get(channel)?)));
            pairs.map(|(found, target)| product(found, target)).sum()
        };
        let (mixed, squares) = (sum(|found, target| found * target), sum(|found, _| found * found));
        let exact = ((i128::from(mixed) << 32) + i128::from(squares) / 2).checked_div(squares.into())?;
        *gain = i64::try_from(exact).ok().filter(|gain| (GAIN_MIN_Q32..=COEFFICIENT_MAX_Q32).contains(gain))?;
    }
    Some(gains)
}

/// The matrix with the least squares of what remains. None if the patches do not decide it or a coefficient is too large.
fn matrix(samples: &[Sample]) -> Option<MatrixQ32> {
    if samples.len() < MATRIX_PATCHES_MIN {
        return None;
    }
    // Mean products of two channels of what was found, and of what should be with what was found.
    let of_found = moments(samples, |s| s.found);
    let of_targets = moments(samples, |s| s.target);
    let cofactors_q64 = cofactors(&of_found);
    let [top, ..] = of_found;
    let [column, ..] = cofactors_q64;
    let determinant_q96: i128 = top.iter().zip(column).map(|(a, c)| a * c).sum();
    let third_q32 = of_found.iter().enumerate().filter_map(|(i, row)| row.get(i)).sum::<i128>() / 3;
    if determinant_q96 <= (third_q32 * third_q32 * third_q32) >> DECIDED_BITS {
        return None;
    }
    let mut matrix = [[0; 3]; 3];
    for (row, target) in matrix.iter_mut().zip(of_targets) {
        for (coefficient, column) in row.iter_mut().zip(cofactors_q64) {
            // At most 2^100; the quotient is taken in 1/2^24, so that the numerator fits.
            let sum: i128 = target.iter().zip(column).map(|(t, c)| t * c).sum();
            let exact_q24 = ((sum << 24) + determinant_q96 / 2).checked_div_euclid(determinant_q96)?;
            let in_range = |m: &i64| (-COEFFICIENT_MAX_Q32..=COEFFICIENT_MAX_Q32).contains(m);
            *coefficient = i64::try_from(exact_q24 << 8).ok().filter(in_range)?;
        }
    }
    Some(matrix)
}

/// The mean products of each channel of `one` with each channel of what was found, in 1/2^32.
fn moments(samples: &[Sample], one: fn(&Sample) -> [i64; 3]) -> [[i128; 3]; 3] {
    let mut sums = [[0i128; 3]; 3];
    for sample in samples {
        for (row, light) in sums.iter_mut().zip(one(sample)) {
            row.iter_mut().zip(sample.found).for_each(|(sum, found)| *sum += i128::from(light) * i128::from(found));
        }
    }
    let count = (samples.len() as i128).max(1);
    sums.map(|row| row.map(|sum| (sum / count + (1 << 15)) >> 16))
}

/// The cofactors of a symmetric matrix.
fn cofactors([[a, b, c], [_, d, e], [_, _, f]]: &[[i128; 3]; 3]) -> [[i128; 3]; 3] {
    let (ab, ac, bc) = (c * e - b * f, b * e - c * d, b * c - a * e);
    [[d * f - e * e, ab, ac], [ab, a * f - c * c, bc], [ac, bc, a * d - b * b]]
}
