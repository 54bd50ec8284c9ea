//! YCbCr to RGB on aarch64 with NEON.
//!
//! Inputs are the samples of a row; the result is written to the pixels that the caller lends, and equals that of
//! `ycbcr` bit for bit. Only instructions of ARMv8-A are used, so nothing has to be detected. The documentation of
//! `kernel` explains why the unsafe code is sound.

use super::Sixteen;
use super::ycbcr::{Halved, Matrix};
use core::arch::aarch64::*;

/// The even and odd luma samples of sixteen pixels, and the chroma that each pair shares.
struct Pairs {
    y: [uint8x8_t; 2],
    cb: uint8x8_t,
    cr: uint8x8_t,
}

/// Converts whole groups of sixteen pixels, and returns the number of groups.
pub(super) fn rgb_of(m: Matrix, row: Halved<'_>, pixels: &mut [Sixteen]) -> usize {
    // SAFETY, of the three loads: NEON is part of aarch64, and each takes just the bytes of the array that it is given.
    match row {
        Halved::Packed(samples) => convert(m, pixels, samples.as_chunks::<32>().0.iter(), |samples| {
            let all = unsafe { vld4_u8(samples.as_ptr()) };
            Pairs { y: [all.0, all.2], cb: all.1, cr: all.3 }
        }),
        Halved::Paired(y, chroma) => {
            let samples = y.as_chunks::<16>().0.iter().zip(chroma.as_chunks::<16>().0);
            convert(m, pixels, samples, |(y, chroma)| {
                let (y, chroma) = unsafe { (vld2_u8(y.as_ptr()), vld2_u8(chroma.as_ptr())) };
                Pairs { y: [y.0, y.1], cb: chroma.0, cr: chroma.1 }
            })
        }
        Halved::Apart(y, cb, cr) => {
            let chroma = cb.as_chunks::<8>().0.iter().zip(cr.as_chunks::<8>().0);
            convert(m, pixels, y.as_chunks::<16>().0.iter().zip(chroma), |(y, (cb, cr))| {
                let (y, cb, cr) = unsafe { (vld2_u8(y.as_ptr()), vld1_u8(cb.as_ptr()), vld1_u8(cr.as_ptr())) };
                Pairs { y: [y.0, y.1], cb, cr }
            })
        }
    }
}

fn convert<S>(
    m: Matrix,
    pixels: &mut [Sixteen],
    samples: impl Iterator<Item = S>,
    pairs: impl Fn(S) -> Pairs,
) -> usize {
    let mut done = 0;
    for (pixels, samples) in pixels.iter_mut().zip(samples) {
        let p = pairs(samples);
        // SAFETY: NEON is part of aarch64, and the store is of the 48 bytes of sixteen pixels.
        unsafe {
            // Samples minus `zero`, in two registers of four 32-bit lanes.
            let wide = |v: uint8x8_t, zero: i32| {
                let v = vreinterpretq_s16_u16(vmovl_u8(v));
                let v = vsubq_s16(v, vdupq_n_s16(zero as i16));
                [vmovl_s16(vget_low_s16(v)), vmovl_s16(vget_high_s16(v))]
            };
            let (cb, cr) = (wide(p.cb, 128), wide(p.cr, 128));
            let half = vdupq_n_s32(32_768);
            let chroma = [
                cr.map(|cr| vmlaq_n_s32(half, cr, m.rv)),
                [0, 1].map(|i: usize| vmlsq_s32(vmlsq_s32(half, cb[i], vdupq_n_s32(m.gu)), cr[i], vdupq_n_s32(m.gv))),
                cb.map(|cb| vmlaq_n_s32(half, cb, m.bu)),
            ];
            let y = p.y.map(|y| wide(y, m.black).map(|y| vmulq_n_s32(y, m.y)));
            let channel = |c: [int32x4_t; 2]| {
                let [even, odd] = y.map(|y| {
                    let [low, high] = [0, 1].map(|i: usize| vshrn_n_s32::<16>(vaddq_s32(y[i], c[i])));
                    vqmovun_s16(vcombine_s16(low, high))
                });
                vcombine_u8(vzip1_u8(even, odd), vzip2_u8(even, odd))
            };
            let [r, g, b] = chroma.map(channel);
            vst3q_u8(pixels.as_mut_ptr().cast(), uint8x16x3_t(r, g, b));
        }
        done += 1;
    }
    done
}
