//! The hot loops on aarch64 with NEON, which every such machine has.
//!
//! Inputs are blocks of colours or rows of pixels; results are written to the arrays that the caller lends, and equal
//! those of the plain versions bit for bit. Only instructions of ARMv8-A are used, so nothing has to be detected. The
//! documentation of `kernel` explains why the unsafe code is sound.

use super::nearest::{BLOCK, Block, LABEL_BLOCK_PX, Packed, Tally, Targets};
use core::arch::aarch64::*;

const LANES: usize = 4;

pub(super) fn find(block: &mut Block, targets: &Targets) {
    const {
        assert!(BLOCK.is_multiple_of(2 * LANES));
    }
    let (rg, b0) = (block.rg.as_ptr().cast::<i16>(), block.b0.as_ptr().cast::<i16>());
    let (distance2, nearest) = (block.distance2.as_mut_ptr(), block.nearest.as_mut_ptr());
    for at in (0..block.len.min(BLOCK)).step_by(2 * LANES) {
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

/// Labels whole blocks of pixels.
pub(super) fn label(
    pixels: &[[[u8; 3]; LABEL_BLOCK_PX]],
    packed: &Packed,
    labels: &mut [[u8; LABEL_BLOCK_PX]],
    tally: &mut Tally,
) {
    const HALF_PX: usize = 16;
    // SAFETY: NEON is part of aarch64, and the load is of the array's 16 bytes.
    let (zero, bits) = unsafe { (vdupq_n_s32(0), vld1q_u32([1, 2, 4, 8].as_ptr())) };
    for (n, (pixels, labels)) in pixels.iter().zip(labels).enumerate() {
        let (mut floors, mut max) = (0, 0);
        let mut distances = [zero; LABEL_BLOCK_PX / LANES];
        for half in 0..LABEL_BLOCK_PX / HALF_PX {
            // SAFETY: NEON is part of aarch64; loads and stores stay inside the block: 48 bytes from 48 half, 16 from
            // 16 half, and 64 of the table.
            unsafe {
                let px = vld3q_u8(pixels.as_ptr().cast::<u8>().add(3 * HALF_PX * half));
                let wide = |v: uint8x16_t| {
                    let (low, high) = (vshll_n_u8::<7>(vget_low_u8(v)), vshll_high_n_u8::<7>(v));
                    [vreinterpretq_s16_u16(low), vreinterpretq_s16_u16(high)]
                };
                let (r, g, b) = (wide(px.0), wide(px.1), wide(px.2));
                let mut key = [vdupq_n_s32(i32::MAX); 4];
                for t in &packed.targets {
                    let norm = vdupq_n_s32(t.norm);
                    let c = [t.rg[0], t.rg[1], t.b0[0]].map(|v| vdup_n_s16(v));
                    let c_high = [t.rg[0], t.rg[1], t.b0[0]].map(|v| vdupq_n_s16(v));
                    for i in 0..2 {
                        let k = vmlsl_s16(norm, vget_low_s16(r[i]), c[0]);
                        let k = vmlsl_s16(vmlsl_s16(k, vget_low_s16(g[i]), c[1]), vget_low_s16(b[i]), c[2]);
                        key[2 * i] = vminq_s32(key[2 * i], k);
                        let k = vmlsl_high_s16(norm, r[i], c_high[0]);
                        let k = vmlsl_high_s16(vmlsl_high_s16(k, g[i], c_high[1]), b[i], c_high[2]);
                        key[2 * i + 1] = vminq_s32(key[2 * i + 1], k);
                    }
                }
                for (i, key) in key.iter().enumerate() {
                    let part = |v: [int16x8_t; 2]| {
                        let v = vshrq_n_s16::<1>(v[i / 2]);
                        if i % 2 == 0 { vget_low_s16(v) } else { vget_high_s16(v) }
                    };
                    let (r, g, b) = (part(r), part(g), part(b));
                    let norm = vmlal_s16(vmlal_s16(vmull_s16(r, r), g, g), b, b);
                    let distance2 = vaddq_s32(norm, *key);
                    distances[4 * half + i] = distance2;
                    max = max.max(vmaxvq_s32(distance2));
                    floors += vaddlvq_u32(vreinterpretq_u32_s32(vshrq_n_s32::<7>(distance2)));
                }
                let narrow = |a, b| vcombine_s16(vmovn_s32(a), vmovn_s32(b));
                let (low, high) = (narrow(key[0], key[1]), narrow(key[2], key[3]));
                let bytes = vcombine_u8(vmovn_u16(vreinterpretq_u16_s16(low)), vmovn_u16(vreinterpretq_u16_s16(high)));
                let ranks = vandq_u8(bytes, vdupq_n_u8(127));
                let table = packed.label_of_rank.as_ptr();
                let found = vqtbl4q_u8(vld1q_u8_x4(table), ranks);
                let found = vqtbx4q_u8(found, vld1q_u8_x4(table.add(64)), vsubq_u8(ranks, vdupq_n_u8(64)));
                vst1q_u8(labels.as_mut_ptr().add(HALF_PX * half), found);
            }
        }
        tally.floors += floors;
        tally.max = tally.max.max(max);
        if max > packed.far_above {
            let mut far = 0;
            for (i, distance2) in distances.iter().enumerate() {
                // SAFETY: NEON is part of aarch64.
                let lanes =
                    unsafe { vaddvq_u32(vandq_u32(vcgtq_s32(*distance2, vdupq_n_s32(packed.far_above)), bits)) };
                far |= lanes << (LANES * i);
            }
            tally.push_far(n, far);
        }
    }
}

/// Counts how often each of the four labels from `first` on occurs in at most 255 blocks of labels.
pub(super) fn count_labels(first: u8, blocks: &[[u8; LABEL_BLOCK_PX]]) -> [u32; 4] {
    // SAFETY: NEON is part of aarch64; the loads are of the 32 bytes of a block.
    unsafe {
        let these: [_; 4] = core::array::from_fn(|i| vdupq_n_u8(first.wrapping_add(i as u8)));
        let mut counts = [[vdupq_n_u8(0); 2]; 4];
        for block in blocks {
            let labels = [vld1q_u8(block.as_ptr()), vld1q_u8(block.as_ptr().add(16))];
            for (count, this) in counts.iter_mut().zip(these) {
                *count = core::array::from_fn(|half| vsubq_u8(count[half], vceqq_u8(labels[half], this)));
            }
        }
        counts.map(|[low, high]| u32::from(vaddlvq_u8(low)) + u32::from(vaddlvq_u8(high)))
    }
}
