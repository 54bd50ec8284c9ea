//! Keys and packed pixels, counts by cell, and colours in CIELAB, with AVX2.
//!
//! Inputs are blocks of eight pixels or of X, Y and Z; results equal those of [`super::cells::split_plain`], [`super::count`] and
//! [`super::lab::convert_plain`] bit for bit. The functions are called only if the machine has AVX2.
//! The documentation of `kernel` explains why the unsafe code is sound.

use super::cells::{ColourKey, IN_CELL_BITS, Packed16};
use super::nearest::{BLOCK, Block};
use super::x86::lane_sum;
use crate::color::{BENT_Q16, BENT_STEPS, Features, LEVEL_Q6_MAX, Xyz};
use core::arch::x86_64::*;

/// Pixels of a block: one for each lane of 32 bits.
pub(super) const BLOCK_PX: usize = 8;

/// Splits whole blocks of pixels, as many as the shortest slice has. Requires AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn split_avx2(
    pixels: &[[[u8; 3]; BLOCK_PX]],
    keys: &mut [[ColourKey; BLOCK_PX]],
    packed: &mut [[Packed16; BLOCK_PX]],
) {
    let (low, high) = (_mm256_set1_epi8(7), _mm256_set1_epi8(31));
    // Red times 32 and green to a number of 16 bits, blue to another; then the first times 32 and the second.
    let (high_bytes, high_words) = (_mm256_set1_epi32(0x0001_0120), _mm256_set1_epi32(0x0001_0020));
    // The same with 8.
    let (low_bytes, low_words) = (_mm256_set1_epi32(0x0001_0108), _mm256_set1_epi32(0x0001_0008));
    let one = _mm256_set1_epi32(1 << 24);
    for ((block, keys), packed) in pixels.iter().zip(keys).zip(packed) {
        let v = load(block);
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

/// Eight pixels, each in a lane of 32 bits with the fourth byte empty. Requires AVX2.
#[inline]
#[target_feature(enable = "avx2")]
fn load(block: &[[u8; 3]; BLOCK_PX]) -> __m256i {
    // The second half is loaded 4 bytes early.
    let lanes = _mm256_setr_epi8(
        0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1, 4, 5, 6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15, -1,
    );
    let bytes = block.as_ptr().cast::<u8>();
    // SAFETY: bytes 0 to 23 of the block's 24.
    let raw = unsafe { _mm256_loadu2_m128i(bytes.add(8).cast(), bytes.cast()) };
    _mm256_shuffle_epi8(raw, lanes)
}

/// The Morton keys of eight pixels, as [`super::key5`] has them. Requires AVX2.
#[inline]
#[target_feature(enable = "avx2")]
fn keys5_of(pixels: __m256i) -> __m256i {
    // Bits 3 to 5 of a level to bits 0, 3 and 6, bits 6 and 7 to bits 9 and 12.
    let low_bits = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 8, 9, 64, 65, 72, 73, 0, 0, 0, 0, 0, 0, 0, 0));
    let high_bits = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 2, 16, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    let (channels, ones) = (_mm256_set1_epi32(0x0001_0204), _mm256_set1_epi16(1));
    let (seven, three) = (_mm256_set1_epi8(7), _mm256_set1_epi8(3));
    let low = _mm256_shuffle_epi8(low_bits, _mm256_and_si256(_mm256_srli_epi16::<3>(pixels), seven));
    let high = _mm256_shuffle_epi8(high_bits, _mm256_and_si256(_mm256_srli_epi16::<6>(pixels), three));
    let gather = |bits| _mm256_madd_epi16(_mm256_maddubs_epi16(bits, channels), ones);
    _mm256_add_epi32(gather(low), _mm256_slli_epi32::<8>(gather(high)))
}

/// Writes the Morton keys of whole blocks of pixels, as many as the shorter slice has. Requires AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn keys5_avx2(pixels: &[[[u8; 3]; BLOCK_PX]], keys: &mut [[u16; BLOCK_PX]]) {
    for (block, keys) in pixels.iter().zip(keys) {
        let key = keys5_of(load(block));
        let packed = _mm_packus_epi32(_mm256_castsi256_si128(key), _mm256_extracti128_si256::<1>(key));
        // SAFETY: an unaligned store to the 16 bytes of `keys`.
        unsafe { _mm_storeu_si128(keys.as_mut_ptr().cast(), packed) };
    }
}

/// Counts whole blocks of 8 pixels into histogram cells, and returns the sum of their squares. Requires AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn count_avx2<const BITS: u32, const CELLS: usize>(
    pixels: &[[[u8; 3]; BLOCK_PX]],
    hist: &mut [Features; CELLS],
) -> u64 {
    let (even, one) = (_mm256_set1_epi32(0x00FF_00FF), _mm256_set1_epi32(0x0100_0000));
    let (mut squares, mut sums, zero) = (_mm256_setzero_si256(), 0u64, _mm256_setzero_si256());
    let (mut keys, mut px) = ([0u32; BLOCK_PX], [0u32; BLOCK_PX]);
    for (n, block) in pixels.iter().enumerate() {
        let v = load(block);
        let key = keys5_of(v);
        let (rb, g) = (_mm256_and_si256(v, even), _mm256_srli_epi16::<8>(v));
        squares = _mm256_add_epi32(squares, _mm256_add_epi32(_mm256_madd_epi16(rb, rb), _mm256_madd_epi16(g, g)));
        // SAFETY: unaligned stores to arrays of just that size.
        unsafe {
            _mm256_storeu_si256(keys.as_mut_ptr().cast(), key);
            _mm256_storeu_si256(px.as_mut_ptr().cast(), _mm256_or_si256(v, one));
        }
        for (key, px) in keys.iter().zip(px) {
            if let Some(cell) = hist.get_mut((key >> (3 * (5 - BITS))) as usize) {
                let at = cell.0.as_mut_ptr().cast::<__m128i>();
                // SAFETY: a load and a store of the cell's 16 bytes, unaligned forms.
                unsafe {
                    _mm_storeu_si128(
                        at,
                        _mm_add_epi32(_mm_loadu_si128(at), _mm_cvtepu8_epi32(_mm_cvtsi32_si128(px as i32))),
                    )
                };
            }
        }
        // A block adds at most 195,075 to a lane.
        if n % 8_192 == 8_191 {
            sums += lane_sum(squares);
            squares = zero;
        }
    }
    sums + lane_sum(squares)
}

/// Converts X, Y and Z of as many colours as the block has to twice the coordinates in CIELAB. Requires AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn convert_avx2(xyz_q24: &[Xyz; BLOCK], block: &mut Block) {
    let places = block.rg.as_chunks_mut::<BLOCK_PX>().0.iter_mut().zip(block.b0.as_chunks_mut::<BLOCK_PX>().0);
    let blocks = block.len.div_ceil(BLOCK_PX);
    for (colours, (rg, b0)) in xyz_q24.as_chunks::<BLOCK_PX>().0.iter().zip(places).take(blocks) {
        let [x, y, z] = transposed(colours).map(|t| bent_q18(t));
        // L, a and b as `of_bent` has them: a factor, rounded to 1/64, and an offset.
        let coordinate = |factor, v, offset_q6| {
            let product = _mm256_mullo_epi32(v, _mm256_set1_epi32(factor));
            let v = _mm256_srai_epi32::<12>(_mm256_add_epi32(product, _mm256_set1_epi32(1 << 11)));
            let v = _mm256_add_epi32(v, _mm256_set1_epi32(offset_q6));
            let v = _mm256_max_epi32(v, _mm256_setzero_si256());
            _mm256_min_epi32(v, _mm256_set1_epi32(LEVEL_Q6_MAX.into()))
        };
        let l = coordinate(116, y, -(16 << 6));
        let a = coordinate(500, _mm256_sub_epi32(x, y), 128 << 6);
        let b = coordinate(200, _mm256_sub_epi32(y, z), 128 << 6);
        // Doubled, two in a lane.
        let la = _mm256_or_si256(_mm256_slli_epi32::<1>(l), _mm256_slli_epi32::<17>(a));
        // SAFETY: unaligned stores to the 32 bytes of `rg` and of `b0`.
        unsafe {
            _mm256_storeu_si256(rg.as_mut_ptr().cast(), la);
            _mm256_storeu_si256(b0.as_mut_ptr().cast(), _mm256_slli_epi32::<1>(b));
        }
    }
}

/// X, Y and Z of eight colours, each in a register. Requires AVX2.
#[inline]
#[target_feature(enable = "avx2")]
fn transposed(colours: &[Xyz; BLOCK_PX]) -> [__m256i; 3] {
    let from = colours.as_ptr().cast::<__m128i>();
    // SAFETY: unaligned loads of the 16 bytes of colours n and n + 4 of eight.
    let two = |n: usize| unsafe { _mm256_loadu2_m128i(from.add(n + 4), from.add(n)) };
    let [a, b, c, d] = [two(0), two(1), two(2), two(3)];
    let (xy01, xy23) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
    let (z01, z23) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
    [_mm256_unpacklo_epi64(xy01, xy23), _mm256_unpackhi_epi64(xy01, xy23), _mm256_unpacklo_epi64(z01, z23)]
}

/// CIELAB's f of eight numbers in 1/2^24, in 1/2^18, as [`crate::color::bent_between`] has it. Requires AVX2.
#[inline]
#[target_feature(enable = "avx2")]
fn bent_q18(t_q24: __m256i) -> __m256i {
    let n = _mm256_min_epu32(_mm256_srli_epi32::<12>(t_q24), _mm256_set1_epi32(BENT_STEPS as i32));
    // SAFETY: entries n and n + 1 of 16 bits; n is at most `BENT_STEPS`, and the table has two entries more than that.
    let entries = unsafe { _mm256_i32gather_epi32::<2>(BENT_Q16.as_ptr().cast(), n) };
    let low = _mm256_and_si256(entries, _mm256_set1_epi32(0xFFFF));
    // Both factors fit 15 bits.
    let (step, rest) =
        (_mm256_sub_epi32(_mm256_srli_epi32::<16>(entries), low), _mm256_and_si256(t_q24, _mm256_set1_epi32(4_095)));
    let sum = _mm256_add_epi32(_mm256_slli_epi32::<12>(low), _mm256_madd_epi16(step, rest));
    let rounded = _mm256_srai_epi32::<10>(_mm256_add_epi32(sum, _mm256_set1_epi32(1 << 9)));
    _mm256_add_epi32(rounded, _mm256_set1_epi32(1 << 15))
}
