//! Sums of mean distances with AVX2.
//!
//! Inputs and the result are those of [`Scattered::sum_q7`], bit for bit. The function is called only if the machine has AVX2. The
//! documentation of `kernel` explains why the unsafe code is sound.

use super::distances::{ROOTS, Scattered, TOGETHER};
use super::pair;
use crate::color::Q6;
use crate::limits::SILHOUETTE_POINTS_MAX;
use core::arch::x86_64::*;
use core::ops::Range;

/// The sum over a range of points, which ends at [`SILHOUETTE_POINTS_MAX`] at most. Requires AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn sum_q7_avx2(points: &Scattered, range: Range<usize>, from: Q6, scatter_q12: u32) -> u64 {
    let end = range.end.min(SILHOUETTE_POINTS_MAX);
    let [r, g, b] = from.map(|v| v as i16);
    let (from_rg, from_b0) = (_mm256_set1_epi32(pair([r, g])), _mm256_set1_epi32(pair([b, 0])));
    let scatter = _mm256_set1_epi32(scatter_q12 as i32);
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let mut sums = _mm256_setzero_si256();
    for at in (range.start..end).step_by(TOGETHER) {
        // SAFETY: places `at` to `at + 7`: `at` is below `SILHOUETTE_POINTS_MAX`, and the arrays have 8 more. Unaligned loads.
        let [rg, b0, scatter_of, weight] = unsafe {
            [
                _mm256_loadu_si256(points.rg.as_ptr().add(at).cast()),
                _mm256_loadu_si256(points.b0.as_ptr().add(at).cast()),
                _mm256_loadu_si256(points.scatter_q12.as_ptr().add(at).cast()),
                _mm256_loadu_si256(points.weight.as_ptr().add(at).cast()),
            ]
        };
        // Places behind the range have no weight.
        let weight = _mm256_and_si256(weight, _mm256_cmpgt_epi32(_mm256_set1_epi32((end - at) as i32), lanes));
        // Differences of at most 16,320 fit 16 bits, the sum of three squares 30.
        let (rg, b0) = (_mm256_sub_epi16(rg, from_rg), _mm256_sub_epi16(b0, from_b0));
        let distance2 = _mm256_add_epi32(_mm256_madd_epi16(rg, rg), _mm256_madd_epi16(b0, b0));
        let distance = scattered_q7(_mm256_add_epi32(distance2, _mm256_add_epi32(scatter_of, scatter)));
        let even = _mm256_mul_epu32(distance, weight);
        let odd = _mm256_mul_epu32(_mm256_srli_epi64::<32>(distance), _mm256_srli_epi64::<32>(weight));
        sums = _mm256_add_epi64(sums, _mm256_add_epi64(even, odd));
    }
    let mut lanes = [0u64; 4];
    // SAFETY: an unaligned store to an array of just that size.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sums) };
    lanes.iter().sum()
}

/// The roots of eight sums of squared distance and scatter, as [`super::distances::scattered_q7`] has them. Requires AVX2.
#[inline]
#[target_feature(enable = "avx2")]
fn scattered_q7(sum_q12: __m256i) -> __m256i {
    let sum = _mm256_min_epu32(sum_q12, _mm256_set1_epi32((1 << 30) - 1));
    // The highest bit is the exponent of a float; no two neighbouring bits are left set, so that it is not rounded up.
    let bits = _mm256_castps_si256(_mm256_cvtepi32_ps(_mm256_andnot_si256(_mm256_srli_epi32::<1>(sum), sum)));
    // Leading zeros of four times the sum are 29 less the exponent, which is stored with 127 added. Of 0 they are too many, and
    // all shifts then give 0.
    let zeros = _mm256_sub_epi32(_mm256_set1_epi32(29 + 127), _mm256_srli_epi32::<23>(bits));
    let shift = _mm256_and_si256(zeros, _mm256_set1_epi32(!1));
    let top = _mm256_srli_epi32::<22>(_mm256_sllv_epi32(_mm256_slli_epi32::<2>(sum), shift));
    // SAFETY: entries `top` and `top + 1` of 16 bits; `top` has 10 bits, and the table 1,025 entries.
    let entries = unsafe { _mm256_i32gather_epi32::<2>(ROOTS.as_ptr().cast(), top) };
    let root = _mm256_and_si256(entries, _mm256_set1_epi32(0xFFFF));
    let back = _mm256_srli_epi32::<1>(shift);
    let half = _mm256_srli_epi32::<1>(_mm256_sllv_epi32(_mm256_set1_epi32(1), back));
    _mm256_srlv_epi32(_mm256_add_epi32(root, half), back)
}
