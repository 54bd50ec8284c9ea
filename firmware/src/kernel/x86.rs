//! The hot loops on x86-64, with AVX2 if the machine has it and with SSE2 otherwise.
//!
//! Inputs are blocks of colours or rows of pixels; results are written to the arrays that the caller lends, and equal
//! those of the plain versions bit for bit. A function for AVX2 is called only if `has_avx2` returned true; the answer
//! is cached in a static. A load or store takes one whole register at a constant stride within an array of a known
//! length, in its unaligned form. The documentation of `kernel` explains why this makes the unsafe code sound.

use super::nearest::{BLOCK, Block, LABEL_BLOCK_PX, Packed, Tally, Targets};
use super::{TILE, Tile, pair};
use core::arch::x86_64::*;
use core::sync::atomic::{AtomicU8, Ordering};

/// Lanes of 32 bits in a register, and registers that a loop processes together so that their latencies overlap.
const LANES_AVX2: usize = 8;
const LANES_SSE2: usize = 4;
const SIDE_BY_SIDE: usize = 4;
const _: () = assert!(TILE.is_multiple_of(LANES_AVX2));
const _: () = assert!(LABEL_BLOCK_PX == LANES_AVX2 * SIDE_BY_SIDE);

const UNKNOWN: u8 = 0;
const ABSENT: u8 = 1;
const PRESENT: u8 = 2;

/// Cached answer of the processor: AVX2 is unknown, absent or present.
static AVX2: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Returns true if the processor and the operating system support AVX2. Queries them once.
#[inline]
pub(super) fn has_avx2() -> bool {
    match AVX2.load(Ordering::Relaxed) {
        UNKNOWN => {
            let has = ask_for_avx2();
            AVX2.store(if has { PRESENT } else { ABSENT }, Ordering::Relaxed);
            has
        }
        known => known == PRESENT,
    }
}

/// Makes `has_avx2` return false from now on.
pub(super) fn forbid_avx2() {
    AVX2.store(ABSENT, Ordering::Relaxed);
}

/// Queries the processor as the Intel SDM, volume 1, 14.7.1 describes: CPUID 1 reports OSXSAVE and AVX, XGETBV 0 the
/// YMM state, and CPUID 7 AVX2.
fn ask_for_avx2() -> bool {
    const OSXSAVE_AND_AVX: u32 = 1 << 27 | 1 << 28;
    const XMM_AND_YMM: u64 = 0b110;
    const AVX2: u32 = 1 << 5;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE_AND_AVX != OSXSAVE_AND_AVX {
        return false;
    }
    // SAFETY: OSXSAVE means that the operating system has enabled XGETBV.
    let state = unsafe { _xgetbv(0) };
    state & XMM_AND_YMM == XMM_AND_YMM && __cpuid_count(7, 0).ebx & AVX2 != 0
}

#[target_feature(enable = "avx2")]
pub(super) fn find_avx2(block: &mut Block, targets: &Targets) {
    const {
        assert!(BLOCK.is_multiple_of(LANES_AVX2 * SIDE_BY_SIDE));
    }
    let (rg, b0) = (block.rg.as_ptr().cast::<__m256i>(), block.b0.as_ptr().cast::<__m256i>());
    let distance2 = block.distance2.as_mut_ptr().cast::<__m256i>();
    let nearest = block.nearest.as_mut_ptr().cast::<__m256i>();
    let one = _mm256_set1_epi32(1);
    for at in (0..block.len.min(BLOCK).div_ceil(LANES_AVX2)).step_by(SIDE_BY_SIDE) {
        // SAFETY: register `at + i` is within the block: see the head of the file.
        let x: [_; SIDE_BY_SIDE] = core::array::from_fn(|i| unsafe { _mm256_loadu_si256(rg.add(at + i)) });
        let y: [_; SIDE_BY_SIDE] = core::array::from_fn(|i| unsafe { _mm256_loadu_si256(b0.add(at + i)) });
        let mut key = [_mm256_set1_epi32(i32::MAX); SIDE_BY_SIDE];
        let mut label = [_mm256_setzero_si256(); SIDE_BY_SIDE];
        let mut this = _mm256_setzero_si256();
        for t in targets {
            let (c_rg, c_b0) = (_mm256_set1_epi32(pair(t.rg)), _mm256_set1_epi32(pair(t.b0)));
            let norm = _mm256_set1_epi32(t.norm);
            for i in 0..SIDE_BY_SIDE {
                let dot = _mm256_add_epi32(_mm256_madd_epi16(x[i], c_rg), _mm256_madd_epi16(y[i], c_b0));
                let k = _mm256_sub_epi32(norm, dot);
                let nearer = _mm256_cmpgt_epi32(key[i], k);
                key[i] = _mm256_min_epi32(key[i], k);
                label[i] = _mm256_blendv_epi8(label[i], this, nearer);
            }
            this = _mm256_add_epi32(this, one);
        }
        for i in 0..SIDE_BY_SIDE {
            // (2r)^2 + (2g)^2 is at most 2,130,739,200; a quarter of it is r^2 + g^2.
            let norm = _mm256_add_epi32(
                _mm256_srli_epi32::<2>(_mm256_madd_epi16(x[i], x[i])),
                _mm256_srli_epi32::<2>(_mm256_madd_epi16(y[i], y[i])),
            );
            // SAFETY: as above.
            unsafe {
                _mm256_storeu_si256(distance2.add(at + i), _mm256_add_epi32(norm, key[i]));
                _mm256_storeu_si256(nearest.add(at + i), label[i]);
            }
        }
    }
}

pub(super) fn find_sse2(block: &mut Block, targets: &Targets) {
    const {
        assert!(BLOCK.is_multiple_of(LANES_SSE2 * SIDE_BY_SIDE));
    }
    let (rg, b0) = (block.rg.as_ptr().cast::<__m128i>(), block.b0.as_ptr().cast::<__m128i>());
    let distance2 = block.distance2.as_mut_ptr().cast::<__m128i>();
    let nearest = block.nearest.as_mut_ptr().cast::<__m128i>();
    for at in (0..block.len.min(BLOCK).div_ceil(LANES_SSE2)).step_by(SIDE_BY_SIDE) {
        // SAFETY: SSE2 is part of x86-64, and register `at + i` is within the block: see the head of the file.
        unsafe {
            let x: [_; SIDE_BY_SIDE] = core::array::from_fn(|i| _mm_loadu_si128(rg.add(at + i)));
            let y: [_; SIDE_BY_SIDE] = core::array::from_fn(|i| _mm_loadu_si128(b0.add(at + i)));
            let mut key = [_mm_set1_epi32(i32::MAX); SIDE_BY_SIDE];
            let mut label = [_mm_setzero_si128(); SIDE_BY_SIDE];
            let mut this = _mm_setzero_si128();
            for t in targets {
                let (c_rg, c_b0) = (_mm_set1_epi32(pair(t.rg)), _mm_set1_epi32(pair(t.b0)));
                let norm = _mm_set1_epi32(t.norm);
                for i in 0..SIDE_BY_SIDE {
                    let dot = _mm_add_epi32(_mm_madd_epi16(x[i], c_rg), _mm_madd_epi16(y[i], c_b0));
                    let k = _mm_sub_epi32(norm, dot);
                    let nearer = _mm_cmpgt_epi32(key[i], k);
                    key[i] = _mm_or_si128(_mm_and_si128(nearer, k), _mm_andnot_si128(nearer, key[i]));
                    label[i] = _mm_or_si128(_mm_and_si128(nearer, this), _mm_andnot_si128(nearer, label[i]));
                }
                this = _mm_add_epi32(this, _mm_set1_epi32(1));
            }
            for i in 0..SIDE_BY_SIDE {
                let norm = _mm_add_epi32(
                    _mm_srli_epi32::<2>(_mm_madd_epi16(x[i], x[i])),
                    _mm_srli_epi32::<2>(_mm_madd_epi16(y[i], y[i])),
                );
                _mm_storeu_si128(distance2.add(at + i), _mm_add_epi32(norm, key[i]));
                _mm_storeu_si128(nearest.add(at + i), label[i]);
            }
        }
    }
}

/// A shuffle control that spreads eight pixels over a register, four bytes a pixel: `of` names the byte of a pixel that
/// each of the four bytes takes, or -1 for zero. The second half of a register is loaded 4 bytes early, so that the
/// last load ends with the block.
const fn spread(of: [i8; 4]) -> [i8; 32] {
    let (mut bytes, mut i) = ([-1; 32], 0);
    while i < 32 {
        let (half, i16) = (i as i8 / 16, i % 16);
        if of[i16 % 4] >= 0 {
            bytes[i] = of[i16 % 4] + 3 * (i16 as i8 / 4) + 4 * half;
        }
        i += 1;
    }
    bytes
}
/// Red and green to the high bytes of 16-bit lanes; blue to the high byte of one lane, and zero in the other.
const TO_RED_GREEN: [i8; 32] = spread([-1, 0, -1, 1]);
const TO_BLUE: [i8; 32] = spread([-1, 2, -1, -1]);

/// The packed squared distance of each pixel of a block to its nearest target.
///
/// This is a separate function so that its loop can use all sixteen registers.
#[inline(never)]
#[target_feature(enable = "avx2")]
fn packed_distances(pixels: &[[u8; 3]; LABEL_BLOCK_PX], targets: &Targets) -> [__m256i; SIDE_BY_SIDE] {
    let zero = _mm256_setzero_si256();
    let (mut x, mut y) = ([zero; SIDE_BY_SIDE], [zero; SIDE_BY_SIDE]);
    let bytes = pixels.as_ptr().cast::<u8>();
    for i in 0..SIDE_BY_SIDE {
        // SAFETY: bytes 24 i to 24 i + 23 of the block's 96, and unaligned loads of the 32 bytes of the tables.
        let (raw, to_rg, to_b) = unsafe {
            (
                _mm256_loadu2_m128i(bytes.add(24 * i + 8).cast(), bytes.add(24 * i).cast()),
                _mm256_loadu_si256(TO_RED_GREEN.as_ptr().cast()),
                _mm256_loadu_si256(TO_BLUE.as_ptr().cast()),
            )
        };
        x[i] = _mm256_srli_epi16::<1>(_mm256_shuffle_epi8(raw, to_rg));
        y[i] = _mm256_srli_epi16::<1>(_mm256_shuffle_epi8(raw, to_b));
    }
    let mut key = [_mm256_set1_epi32(i32::MAX); SIDE_BY_SIDE];
    for t in targets {
        let (c_rg, c_b0) = (_mm256_set1_epi32(pair(t.rg)), _mm256_set1_epi32(pair(t.b0)));
        let norm = _mm256_set1_epi32(t.norm);
        for i in 0..SIDE_BY_SIDE {
            let k = _mm256_sub_epi32(norm, _mm256_madd_epi16(x[i], c_rg));
            key[i] = _mm256_min_epi32(key[i], _mm256_sub_epi32(k, _mm256_madd_epi16(y[i], c_b0)));
        }
    }
    for i in 0..SIDE_BY_SIDE {
        // (2r)^2 + (2g)^2 is at most 2,130,739,200; a quarter of it is r^2 + g^2.
        let red_green = _mm256_srli_epi32::<2>(_mm256_madd_epi16(x[i], x[i]));
        let blue = _mm256_srli_epi32::<2>(_mm256_madd_epi16(y[i], y[i]));
        key[i] = _mm256_add_epi32(key[i], _mm256_add_epi32(red_green, blue));
    }
    key
}

/// A bit mask of the pixels of a block whose packed squared distance is above `far_above`.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx2")]
fn far_pixels(distance2: [__m256i; SIDE_BY_SIDE], far_above: __m256i) -> u32 {
    let mut far = 0;
    for (i, distance2) in distance2.into_iter().enumerate() {
        let lanes = _mm256_castsi256_ps(_mm256_cmpgt_epi32(distance2, far_above));
        far |= (_mm256_movemask_ps(lanes) as u32) << (LANES_AVX2 * i);
    }
    far
}

/// Labels whole blocks of pixels. Requires AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn label_avx2(
    pixels: &[[[u8; 3]; LABEL_BLOCK_PX]],
    packed: &Packed,
    labels: &mut [[u8; LABEL_BLOCK_PX]],
    tally: &mut Tally,
) {
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let (low7, zero) = (_mm256_set1_epi32(127), _mm256_setzero_si256());
    let mut sums = zero;
    let mut max = zero;
    let far_above = _mm256_set1_epi32(packed.far_above);
    for (n, (pixels, labels)) in pixels.iter().zip(labels).enumerate() {
        let distance2 = packed_distances(pixels, &packed.targets);
        let (mut floors, mut block_max) = (zero, zero);
        for distance2 in distance2 {
            block_max = _mm256_max_epi32(block_max, distance2);
            floors = _mm256_add_epi32(floors, _mm256_srli_epi32::<7>(distance2));
        }
        max = _mm256_max_epi32(max, block_max);
        if _mm256_movemask_epi8(_mm256_cmpgt_epi32(block_max, far_above)) != 0 {
            let far = far_pixels(distance2, far_above);
            tally.push_far(n, far);
        }
        // The sum of four numbers of 23 bits fits a lane; sums over a frame do not.
        sums = _mm256_add_epi64(
            sums,
            _mm256_add_epi64(_mm256_unpacklo_epi32(floors, zero), _mm256_unpackhi_epi32(floors, zero)),
        );
        // The norm of a pixel is a multiple of 4,096, so the low 7 bits of the distance are the rank.
        let rank = |i: usize| _mm256_and_si256(distance2[i], low7);
        let (a, b) = (_mm256_packs_epi32(rank(0), rank(1)), _mm256_packs_epi32(rank(2), rank(3)));
        let ranks = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(a, b), order);
        let mut found = zero;
        for (t, table) in
            packed.label_of_rank.as_chunks::<16>().0.iter().enumerate().take(packed.targets.len().div_ceil(16))
        {
            // SAFETY: an unaligned load of the 16 bytes of `table`.
            let table = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast()) });
            // Bit 7 stays clear in ranks of this table. It is set in all others, so the shuffle gives 0 for them.
            let at = _mm256_sub_epi8(ranks, _mm256_set1_epi8(16 * t as i8));
            let at = _mm256_adds_epu8(at, _mm256_set1_epi8(0x70));
            found = _mm256_or_si256(found, _mm256_shuffle_epi8(table, at));
        }
        // SAFETY: an unaligned store to the 32 bytes of `labels`.
        unsafe { _mm256_storeu_si256(labels.as_mut_ptr().cast(), found) };
    }
    let (mut lanes64, mut lanes32) = ([0u64; 4], [0i32; 8]);
    // SAFETY: unaligned stores to arrays of just that size.
    unsafe {
        _mm256_storeu_si256(lanes64.as_mut_ptr().cast(), sums);
        _mm256_storeu_si256(lanes32.as_mut_ptr().cast(), max);
    }
    tally.floors += lanes64.iter().sum::<u64>();
    tally.max = lanes32.iter().copied().fold(tally.max, i32::max);
}

/// Counts how often each of the four labels from `first` on occurs in at most 255 blocks of labels. Requires AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn count_labels_avx2(first: u8, blocks: &[[u8; LABEL_BLOCK_PX]]) -> [u32; 4] {
    let zero = _mm256_setzero_si256();
    let these: [_; 4] = core::array::from_fn(|i| _mm256_set1_epi8(first.wrapping_add(i as u8) as i8));
    let mut counts = [zero; 4];
    for block in blocks {
        // SAFETY: an unaligned load of the block's 32 bytes.
        let labels = unsafe { _mm256_loadu_si256(block.as_ptr().cast()) };
        for (count, this) in counts.iter_mut().zip(these) {
            *count = _mm256_sub_epi8(*count, _mm256_cmpeq_epi8(labels, this));
        }
    }
    // The sums of 8 bytes each are in the low halves of lanes of 64 bits.
    counts.map(|count| lane_sum(_mm256_sad_epu8(count, zero)) as u32)
}

/// The sum of the lanes.
#[target_feature(enable = "avx2")]
pub(super) fn lane_sum(v: __m256i) -> u64 {
    let mut lanes = [0u32; LANES_AVX2];
    // SAFETY: an unaligned store to an array of just that size.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), v) };
    lanes.iter().map(|&v| u64::from(v)).sum()
}

/// Adds the distances between every row colour and every column colour to the sums of both. Requires AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn pair_sums_avx2(rows: &Tile, columns: &Tile, row_sums: &mut [f32; TILE], column_sums: &mut [f32; TILE]) {
    let back = column_sums.as_mut_ptr();
    for (i, row_sum) in row_sums.iter_mut().enumerate() {
        let of = [rows.red[i], rows.green[i], rows.blue[i], rows.weight[i]].map(|v| _mm256_set1_ps(v));
        let mut sum = _mm256_setzero_ps();
        for j in (0..TILE).step_by(LANES_AVX2) {
            // SAFETY: lanes `j` to `j + 7` of arrays of TILE, which is a multiple of 8; unaligned forms.
            unsafe {
                let apart = |channel: &[f32; TILE], of| {
                    let d = _mm256_sub_ps(_mm256_loadu_ps(channel.as_ptr().add(j)), of);
                    _mm256_mul_ps(d, d)
                };
                let red_green = _mm256_add_ps(apart(&columns.red, of[0]), apart(&columns.green, of[1]));
                let distance = _mm256_sqrt_ps(_mm256_add_ps(red_green, apart(&columns.blue, of[2])));
                let weight = _mm256_loadu_ps(columns.weight.as_ptr().add(j));
                sum = _mm256_add_ps(sum, _mm256_mul_ps(weight, distance));
                let more = _mm256_mul_ps(of[3], distance);
                _mm256_storeu_ps(back.add(j), _mm256_add_ps(_mm256_loadu_ps(back.add(j)), more));
            }
        }
        let mut lanes = [0.0; LANES_AVX2];
        // SAFETY: an unaligned store to an array of just that size.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sum) };
        *row_sum = lanes.iter().sum();
    }
}
