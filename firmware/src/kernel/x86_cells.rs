//! Keys and packed pixels, and colours in CIELAB, with AVX2.
//!
//! Inputs are blocks of eight pixels or of X, Y and Z; results equal those of [`super::cells::split_plain`] and
//! [`super::lab::convert_plain`] bit for bit. The functions are called only if the machine has AVX2.
//! The documentation of `kernel` explains why the unsafe code is sound.

use super::cells::{ColourKey, IN_CELL_BITS, Packed16};
use super::lab::convert_plain;
use super::nearest::{BLOCK, Block};
use core::arch::x86_64::*;

/// Pixels of a block: one for each lane of 32 bits.
pub(super) const SPLIT_PX: usize = 8;

/// Splits whole blocks of pixels, as many as the shortest slice has. Requires AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn split_avx2(
    pixels: &[[[u8; 3]; SPLIT_PX]],
    keys: &mut [[ColourKey; SPLIT_PX]],
    packed: &mut [[Packed16; SPLIT_PX]],
) {
    // A pixel's bytes to a lane of 32 bits, the fourth byte empty; the second half is loaded 4 bytes early.
    let lanes = _mm256_setr_epi8(
        0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1, 4, 5, 6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15, -1,
    );
    let (low, high) = (_mm256_set1_epi8(7), _mm256_set1_epi8(31));
    // Red times 32 and green to a number of 16 bits, blue to another; then the first times 32 and the second.
    let (high_bytes, high_words) = (_mm256_set1_epi32(0x0001_0120), _mm256_set1_epi32(0x0001_0020));
    // The same with 8.
    let (low_bytes, low_words) = (_mm256_set1_epi32(0x0001_0108), _mm256_set1_epi32(0x0001_0008));
    let one = _mm256_set1_epi32(1 << 24);
    for ((block, keys), packed) in pixels.iter().zip(keys).zip(packed) {
        let bytes = block.as_ptr().cast::<u8>();
        // SAFETY: bytes 0 to 23 of the block's 24.
        let raw = unsafe { _mm256_loadu2_m128i(bytes.add(8).cast(), bytes.cast()) };
        let v = _mm256_shuffle_epi8(raw, lanes);
        let cell = _mm256_and_si256(_mm256_srli_epi16::<3>(v), high);
        let cell = _mm256_madd_epi16(_mm256_maddubs_epi16(cell, high_bytes), high_words);
        let place = _mm256_and_si256(v, low);
        let place = _mm256_madd_epi16(_mm256_maddubs_epi16(place, low_bytes), low_words);
        let key = _mm256_or_si256(_mm256_slli_epi32::<{ IN_CELL_BITS as i32 }>(cell), place);
        let v = _mm256_or_si256(v, one);
        let halves =
            [_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v)].map(|half| _mm256_cvtepu8_epi16(half));
        let to = packed.as_mut_ptr().cast::<__m256i>();
        // SAFETY: unaligned stores to the 32 bytes of `keys` and to the two times 32 of `packed`.
        unsafe {
            _mm256_storeu_si256(keys.as_mut_ptr().cast(), key);
            _mm256_storeu_si256(to, halves[0]);
            _mm256_storeu_si256(to.add(1), halves[1]);
        }
    }
}

/// Converts X, Y and Z to twice the coordinates in CIELAB: the plain loops, compiled for AVX2. Requires AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn convert_avx2(xyz_q24: &[[u32; BLOCK]; 3], block: &mut Block) {
    convert_plain(xyz_q24, block);
}
