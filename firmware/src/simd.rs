//! SIMD: the innermost loop with the machine's vectors. The one place with unsafe code.
//!
//! Takes a block of colours and prepared centroids. Gives what `Block::find_plain` gives, bit for bit.
//! Touches the block's own arrays, through vector loads and stores of exactly their size.
//! Never an instruction that the machine does not have: AVX2 is asked for at run time, without std; SSE2 is part of
//! x86-64, and NEON of aarch64. Elsewhere the plain version runs.
//!
//! Why the unsafe is sound: a load or store of 8 (4) lanes begins at lane 8n (4n) of an array of 64 lanes of 32 bits,
//! with n below 8 (16), unaligned forms throughout; and an AVX2 function is called only after CPUID and XGETBV said that
//! both the processor and the operating system know those registers.
#![allow(unsafe_code)]

use crate::nearest::{BLOCK, Block, Targets};

/// Finds the nearest target of every colour of the block. False: this machine has no version here.
#[inline]
pub(crate) fn find(block: &mut Block, targets: &Targets) -> bool {
    if targets.is_empty() {
        return false;
    }
    #[cfg(target_arch = "x86_64")]
    {
        if x86::has_avx2() {
            // SAFETY: the processor and the operating system have AVX2.
            unsafe { x86::find_avx2(block, targets) };
        } else {
            x86::find_sse2(block, targets);
        }
        true
    }
    #[cfg(target_arch = "aarch64")]
    {
        neon::find(block, targets);
        true
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = (block, BLOCK);
        false
    }
}

/// Two 16-bit numbers as one of 32 bits, the first in the low half.
#[cfg(target_arch = "x86_64")]
fn pair([low, high]: [i16; 2]) -> i32 {
    i32::from(low as u16) | i32::from(high) << 16
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{BLOCK, Block, Targets, pair};
    use core::arch::x86_64::*;
    use core::sync::atomic::{AtomicU8, Ordering};

    /// Lanes of 32 bits in a register, and registers that are worked on side by side.
    const LANES_AVX2: usize = 8;
    const LANES_SSE2: usize = 4;
    const SIDE_BY_SIDE: usize = 4;

    const UNKNOWN: u8 = 0;
    const ABSENT: u8 = 1;
    const PRESENT: u8 = 2;

    /// Whether processor and operating system have AVX2. Asked once.
    #[inline]
    pub(super) fn has_avx2() -> bool {
        static AVX2: AtomicU8 = AtomicU8::new(UNKNOWN);
        match AVX2.load(Ordering::Relaxed) {
            UNKNOWN => {
                let has = ask_for_avx2();
                AVX2.store(if has { PRESENT } else { ABSENT }, Ordering::Relaxed);
                has
            }
            known => known == PRESENT,
        }
    }

    /// Intel SDM, volume 1, 14.7.1: OSXSAVE and AVX by CPUID 1, YMM state by XGETBV 0, AVX2 by CPUID 7.
    fn ask_for_avx2() -> bool {
        const OSXSAVE_AND_AVX: u32 = 1 << 27 | 1 << 28;
        const XMM_AND_YMM: u64 = 0b110;
        const AVX2: u32 = 1 << 5;
        if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE_AND_AVX != OSXSAVE_AND_AVX {
            return false;
        }
        // SAFETY: OSXSAVE says that the operating system has enabled XGETBV.
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
        for at in (0..BLOCK / LANES_AVX2).step_by(SIDE_BY_SIDE) {
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
        for at in (0..BLOCK / LANES_SSE2).step_by(SIDE_BY_SIDE) {
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
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::{BLOCK, Block, Targets};
    use core::arch::aarch64::*;

    const LANES: usize = 4;

    pub(super) fn find(block: &mut Block, targets: &Targets) {
        const {
            assert!(BLOCK.is_multiple_of(2 * LANES));
        }
        let (rg, b0) = (block.rg.as_ptr().cast::<i16>(), block.b0.as_ptr().cast::<i16>());
        let (distance2, nearest) = (block.distance2.as_mut_ptr(), block.nearest.as_mut_ptr());
        for at in (0..BLOCK).step_by(2 * LANES) {
            // SAFETY: NEON is part of aarch64; a load takes lanes `at` to `at + 7`, which the block has, and splits
            // the pairs; a store writes 4 of them.
            unsafe {
                let (x, y) = (vld2q_s16(rg.add(2 * at)), vld2q_s16(b0.add(2 * at)));
                let halves = [
                    (vget_low_s16(x.0), vget_low_s16(x.1), vget_low_s16(y.0)),
                    (vget_high_s16(x.0), vget_high_s16(x.1), vget_high_s16(y.0)),
                ];
                let (mut key, mut label) = ([vdupq_n_s32(i32::MAX); 2], [vdupq_n_s32(0); 2]);
                let mut this = vdupq_n_s32(0);
                for t in targets {
                    let norm = vdupq_n_s32(t.norm);
                    for i in 0..2 {
                        let (r, g, b) = halves[i];
                        let k = vmlsl_n_s16(norm, r, t.rg[0]);
                        let k = vmlsl_n_s16(vmlsl_n_s16(k, g, t.rg[1]), b, t.b0[0]);
                        let nearer = vcltq_s32(k, key[i]);
                        key[i] = vminq_s32(key[i], k);
                        label[i] = vbslq_s32(nearer, this, label[i]);
                    }
                    this = vaddq_s32(this, vdupq_n_s32(1));
                }
                for i in 0..2 {
                    let [r, g, b] = [halves[i].0, halves[i].1, halves[i].2].map(|c| vshr_n_s16::<1>(c));
                    let norm = vmlal_s16(vmlal_s16(vmull_s16(r, r), g, g), b, b);
                    vst1q_s32(distance2.add(at + LANES * i), vaddq_s32(norm, key[i]));
                    vst1q_s32(nearest.add(at + LANES * i), label[i]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::Q6;
    use crate::nearest::targets;
    use proptest::prelude::*;

    /// Whole levels, coarse ones so that ties are common, and the corners.
    fn colour() -> impl Strategy<Value = Q6> {
        let channel = || prop_oneof![0u16..16_321, (0u16..4).prop_map(|v| v * 64), Just(0), Just(16_320)];
        [channel(), channel(), channel()]
    }

    fn found(block: &Block) -> ([i32; BLOCK], [i32; BLOCK]) {
        (block.distance2, block.nearest)
    }

    proptest! {
        #[test]
        fn every_version_that_this_machine_has_equals_the_plain_one(
            colours in prop::collection::vec(colour(), BLOCK), centroids in prop::collection::vec(colour(), 1..40),
        ) {
            let targets = targets(centroids.into_iter());
            let mut block = Block::EMPTY;
            block.fill(colours.into_iter());
            block.find_plain(&targets);
            let want = found(&block);
            #[cfg(target_arch = "x86_64")]
            {
                block.distance2 = [-1; BLOCK];
                x86::find_sse2(&mut block, &targets);
                prop_assert_eq!(found(&block), want);
                if x86::has_avx2() {
                    block.distance2 = [-1; BLOCK];
                    // SAFETY: the machine has AVX2.
                    unsafe { x86::find_avx2(&mut block, &targets) };
                    prop_assert_eq!(found(&block), want);
                }
            }
            block.distance2 = [-1; BLOCK];
            prop_assert!(find(&mut block, &targets) || cfg!(not(any(target_arch = "x86_64", target_arch = "aarch64"))));
            prop_assert_eq!(found(&block), want);
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_question_for_avx2_agrees_with_stds() {
        extern crate std;
        assert_eq!(x86::has_avx2(), std::is_x86_feature_detected!("avx2"));
    }
}
