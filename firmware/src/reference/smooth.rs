//! Smoothing over time: an exponential in integers that does not depend on the frame rate.
//!
//! Inputs are times and matrices, results are matrices. Many short steps end where one long step does, to within rounding.

use crate::color::correction::MatrixQ32;

/// One.
const ONE_Q30: u64 = 1 << 30;
/// The logarithm of e to the base of 2.
const LOG2_E_Q24: u64 = 24_204_406;
/// After so many time constants nothing is left: e^-21 is less than 1/2^30.
const TIME_CONSTANTS_MAX: u64 = 21;
/// 2^-(1/2), 2^-(1/4), 2^-(1/8), ... to the last bit of an exponent.
const ROOTS_Q30: [u64; 24] = {
    let (mut table, mut n, mut root) = ([0; 24], 0, ONE_Q30 / 2);
    while n < table.len() {
        // Rounded: the root is in 1/2^30, its square in 1/2^60.
        root = ((root << 32).isqrt() + 1) >> 1;
        table[n] = root;
        n += 1;
    }
    table
};

/// The weight that the past keeps after a time: e^(-elapsed/constant). 0 without a time constant.
pub(super) fn keep_q30(elapsed_us: u64, time_constant_us: u64) -> u64 {
    if elapsed_us / TIME_CONSTANTS_MAX >= time_constant_us {
        return 0;
    }
    let halvings_q24 = u128::from(elapsed_us) * u128::from(LOG2_E_Q24) / u128::from(time_constant_us.max(1));
    // Both parts are small: at most 31 halvings.
    let (whole, rest) = ((halvings_q24 >> 24) as u32, halvings_q24 as u32);
    let bits = ROOTS_Q30.iter().zip((0..24).rev()).filter(|(_, bit)| rest >> bit & 1 == 1);
    let kept = bits.fold(ONE_Q30, |kept, (root, _)| (kept * root + ONE_Q30 / 2) >> 30);
    kept.checked_shr(whole).unwrap_or(0)
}

/// The matrix that keeps a part of the one before.
pub(super) fn between(before: &MatrixQ32, after: &MatrixQ32, keep_q30: u64) -> MatrixQ32 {
    let mut matrix = *after;
    for (to, from) in matrix.iter_mut().flatten().zip(before.iter().flatten()) {
        let kept = (i128::from(from - *to) * i128::from(keep_q30) + (1 << 29)) >> 30;
        *to += kept as i64;
    }
    matrix
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::correction::{COEFFICIENT_MAX_Q32, ONE_Q32};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_past_keeps_what_double_precision_says(elapsed_us in 0u64..100_000_000, constant_us in 1u64..50_000_000) {
            let want = (-(elapsed_us as f64) / constant_us as f64).exp();
            let found = keep_q30(elapsed_us, constant_us) as f64 / ONE_Q30 as f64;
            // Exponents are in 1/2^24.
            prop_assert!((found - want).abs() < 1e-7, "{} {}", found, want);
        }

        #[test]
        fn short_steps_end_where_a_long_one_does(
            steps in prop::collection::vec(1_000u64..200_000, 1..400),
            from in -COEFFICIENT_MAX_Q32..COEFFICIENT_MAX_Q32,
            to in -COEFFICIENT_MAX_Q32..COEFFICIENT_MAX_Q32,
        ) {
            let constant_us = 2_000_000;
            let (start, end) = ([[from; 3]; 3], [[to; 3]; 3]);
            let by_steps = steps.iter().fold(start, |at, &us| between(&at, &end, keep_q30(us, constant_us)));
            let at_once = between(&start, &end, keep_q30(steps.iter().sum(), constant_us));
            // 1/100,000 of the way at most.
            let apart = by_steps[0][0].abs_diff(at_once[0][0]);
            prop_assert!(apart <= from.abs_diff(to) / 100_000 + steps.len() as u64, "{} of {}", apart, ONE_Q32);
        }
    }

    #[test]
    fn no_time_keeps_all_and_a_long_time_or_no_constant_nothing() {
        assert_eq!([keep_q30(0, 1), keep_q30(0, u64::MAX), keep_q30(0, 2_000_000)], [ONE_Q30; 3]);
        assert_eq!([keep_q30(0, 0), keep_q30(u64::MAX, 2_000_000), keep_q30(u64::MAX, 1)], [0; 3]);
        let half = keep_q30(u64::MAX / 2, u64::MAX) as f64 / ONE_Q30 as f64;
        assert!((half - f64::exp(-0.5)).abs() < 1e-7, "{half}");
    }
}
