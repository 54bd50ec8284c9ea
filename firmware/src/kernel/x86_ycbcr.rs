//! YCbCr to RGB on x86-64 with AVX2.
//!
//! Inputs are the samples of a row; the result is written to the pixels that the caller lends, and equals that of
//! `ycbcr` bit for bit. The caller must have checked that the machine supports AVX2. The documentation of `kernel`
//! explains why the unsafe code is sound.

use super::Sixteen;
use super::ycbcr::{Halved, Matrix};
use core::arch::x86_64::*;

/// Eight lanes of 32 bits, each with two luma samples and their chroma.
struct Pairs {
    y: [__m256i; 2],
    cb: __m256i,
    cr: __m256i,
}

/// Converts whole groups of sixteen pixels, and returns the number of groups. Requires AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn rgb_of_avx2(m: Matrix, row: Halved<'_>, pixels: &mut [Sixteen]) -> usize {
    let byte = _mm256_set1_epi32(0xFF);
    let luma = |luma: &[u8; 16]| {
        // SAFETY: an unaligned load of its 16 bytes.
        let both = _mm256_cvtepu16_epi32(unsafe { _mm_loadu_si128(luma.as_ptr().cast()) });
        [_mm256_and_si256(both, byte), _mm256_srli_epi32::<8>(both)]
    };
    match row {
        Halved::Packed(samples) => convert(m, pixels, samples.as_chunks::<32>().0.iter(), |samples| {
            // SAFETY: an unaligned load of its 32 bytes.
            let all = unsafe { _mm256_loadu_si256(samples.as_ptr().cast()) };
            let (low, high) = (_mm256_srli_epi32::<8>(all), _mm256_srli_epi32::<16>(all));
            Pairs {
                y: [_mm256_and_si256(all, byte), _mm256_and_si256(high, byte)],
                cb: _mm256_and_si256(low, byte),
                cr: _mm256_srli_epi32::<24>(all),
            }
        }),
        Halved::Paired(y, chroma) => {
            convert(m, pixels, y.as_chunks().0.iter().zip(chroma.as_chunks().0), |(y, chroma)| {
                let [cb, cr] = luma(chroma);
                Pairs { y: luma(y), cb, cr }
            })
        }
        Halved::Apart(y, cb, cr) => {
            let chroma = cb.as_chunks::<8>().0.iter().zip(cr.as_chunks::<8>().0);
            convert(m, pixels, y.as_chunks().0.iter().zip(chroma), |(y, (cb, cr))| {
                // SAFETY: loads of 8 bytes each, which need no alignment.
                let wide = |c: &[u8; 8]| _mm256_cvtepu8_epi32(unsafe { _mm_loadl_epi64(c.as_ptr().cast()) });
                Pairs { y: luma(y), cb: wide(cb), cr: wide(cr) }
            })
        }
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn convert<S>(
    m: Matrix,
    pixels: &mut [Sixteen],
    samples: impl Iterator<Item = S>,
    pairs: impl Fn(S) -> Pairs,
) -> usize {
    let times = |v, by| _mm256_mullo_epi32(v, _mm256_set1_epi32(by));
    let (middle, half) = (_mm256_set1_epi32(128), _mm256_set1_epi32(32_768));
    let black = _mm256_set1_epi32(m.black);
    // In each half of a register: red of four even and four odd pixels, then green; blue, and blue again.
    let from = |of: [i8; 16]| _mm256_broadcastsi128_si256(lanes(of));
    let rg_first = from([0, 8, -1, 4, 12, -1, 1, 9, -1, 5, 13, -1, 2, 10, -1, 6]);
    let b_first = from([-1, -1, 0, -1, -1, 4, -1, -1, 1, -1, -1, 5, -1, -1, 2, -1]);
    let rg_last = from([14, -1, 3, 11, -1, 7, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1]);
    let b_last = from([-1, 6, -1, -1, 3, -1, -1, 7, -1, -1, -1, -1, -1, -1, -1, -1]);
    let mut done = 0;
    for (pixels, samples) in pixels.iter_mut().zip(samples) {
        let p = pairs(samples);
        let (cb, cr) = (_mm256_sub_epi32(p.cb, middle), _mm256_sub_epi32(p.cr, middle));
        let even = times(_mm256_sub_epi32(p.y[0], black), m.y);
        let odd = times(_mm256_sub_epi32(p.y[1], black), m.y);
        // A channel fits 16 bits before it is clamped to 8: four even pixels, then the four odd ones. An array's `map`
        // would be slower here: it is compiled without AVX2, so its closure could not be inlined.
        let channel = |chroma| {
            let of = |y| _mm256_srai_epi32::<16>(_mm256_add_epi32(y, chroma));
            _mm256_packs_epi32(of(even), of(odd))
        };
        let r = channel(_mm256_add_epi32(times(cr, m.rv), half));
        let g = channel(_mm256_sub_epi32(_mm256_sub_epi32(half, times(cb, m.gu)), times(cr, m.gv)));
        let b = channel(_mm256_add_epi32(times(cb, m.bu), half));
        let (rg, b) = (_mm256_packus_epi16(r, g), _mm256_packus_epi16(b, b));
        let first = _mm256_or_si256(_mm256_shuffle_epi8(rg, rg_first), _mm256_shuffle_epi8(b, b_first));
        let last = _mm256_or_si256(_mm256_shuffle_epi8(rg, rg_last), _mm256_shuffle_epi8(b, b_last));
        let to = pixels.as_mut_ptr().cast::<u8>();
        // SAFETY: unaligned stores to bytes 0 to 15, 16 to 23, 24 to 39 and 40 to 47 of the 48.
        unsafe {
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(first));
            _mm_storel_epi64(to.add(16).cast(), _mm256_castsi256_si128(last));
            _mm_storeu_si128(to.add(24).cast(), _mm256_extracti128_si256::<1>(first));
            _mm_storel_epi64(to.add(40).cast(), _mm256_extracti128_si256::<1>(last));
        }
        done += 1;
    }
    done
}

fn lanes(of: [i8; 16]) -> __m128i {
    // SAFETY: an unaligned load of its 16 bytes; SSE2 is part of x86-64.
    unsafe { _mm_loadu_si128(of.as_ptr().cast()) }
}
