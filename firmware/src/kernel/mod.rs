//! The hot loops: nearest centroid, labelling, counting, keys of cells and colours, CIELAB, YCbCr rows and distance sums.
//!
//! Each loop has a plain version and, with the feature `simd`, vector versions for AVX2, SSE2 and NEON that give the same
//! bits; tests hold them to that. AVX2 is detected at run time without std; SSE2 is part of x86-64, and NEON of aarch64.
//! Elsewhere the plain version runs. This module imports [`crate::color`] only, and it is the one place with unsafe code.
//!
//! Why the unsafe code is sound: a vector load or store accesses only whole arrays of a known length, at constant strides
//! within it, in unaligned form; and an AVX2 function is called only after CPUID and XGETBV have reported that both the
//! processor and the operating system support AVX2. Each unsafe block states which bytes it accesses.
#![cfg_attr(feature = "simd", allow(unsafe_code, reason = "vector intrinsics; see the module documentation"))]

pub(crate) mod cells;
mod count;
pub(crate) mod distances;
mod lab;
mod nearest;
#[cfg(all(feature = "simd", target_arch = "aarch64"))]
mod neon;
#[cfg(all(feature = "simd", target_arch = "aarch64"))]
mod neon_ycbcr;
#[cfg(all(feature = "simd", target_arch = "x86_64"))]
mod x86;
#[cfg(all(feature = "simd", target_arch = "x86_64"))]
mod x86_cells;
#[cfg(all(feature = "simd", target_arch = "x86_64"))]
mod x86_distances;
#[cfg(all(feature = "simd", target_arch = "x86_64"))]
mod x86_ycbcr;
pub(crate) mod ycbcr;

#[cfg(test)]
pub(crate) use count::count_plain;
pub(crate) use count::key5;
pub(crate) use lab::LabBlock;
pub(crate) use nearest::{LABEL_BLOCK_PX, Packed, Tally, Targets, targets};
pub(crate) use nearest::{for_each_beyond, for_each_changed, for_each_nearest};

use crate::color::{Features, Q6, Xyz};
use cells::{ColourKey, Packed16};
use nearest::{BLOCK, Block};
use ycbcr::{Halved, Matrix};

/// Finds the nearest target of every colour of the block. False: this machine has no version here.
#[inline]
pub(crate) fn find(block: &mut Block, targets: &Targets) -> bool {
    if targets.is_empty() {
        return false;
    }
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    {
        if x86::has_avx2() {
            // SAFETY: the processor and the operating system have AVX2.
            unsafe { x86::find_avx2(block, targets) };
        } else {
            x86::find_sse2(block, targets);
        }
        true
    }
    #[cfg(all(feature = "simd", target_arch = "aarch64"))]
    {
        neon::find(block, targets);
        true
    }
    #[cfg(not(all(feature = "simd", any(target_arch = "x86_64", target_arch = "aarch64"))))]
    {
        let _ = block;
        false
    }
}

/// Labels whole blocks of pixels, and adds to `tally` what that costs. False: this machine has no version here.
#[inline]
pub(crate) fn label(
    pixels: &[[[u8; 3]; LABEL_BLOCK_PX]],
    packed: &Packed,
    labels: &mut [[u8; LABEL_BLOCK_PX]],
    tally: &mut Tally,
) -> bool {
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    {
        if !x86::has_avx2() {
            return false;
        }
        // SAFETY: the processor and the operating system have AVX2.
        unsafe { x86::label_avx2(pixels, packed, labels, tally) };
        true
    }
    #[cfg(all(feature = "simd", target_arch = "aarch64"))]
    {
        neon::label(pixels, packed, labels, tally);
        true
    }
    #[cfg(not(all(feature = "simd", any(target_arch = "x86_64", target_arch = "aarch64"))))]
    {
        let _ = (pixels, packed, labels, tally);
        false
    }
}

/// Adds to `counts[l]` how often label l is in `labels`, all but a few at their end, which it gives back; labels of
/// `counts.len()` and above it passes over.
///
/// Four labels at a time over blocks that stay in the nearest cache: with a look at one pixel after the other, neighbours of
/// the same label would wait for one another.
#[inline]
pub(crate) fn count_labels<'l>(labels: &'l [u8], counts: &mut [u32]) -> &'l [u8] {
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    if !x86::has_avx2() {
        return labels;
    }
    #[cfg(all(feature = "simd", any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let (blocks, rest) = labels.as_chunks::<LABEL_BLOCK_PX>();
        // A lane of 8 bits counts to 255.
        for blocks in blocks.chunks(255) {
            for (first, counts) in (0..=u8::MAX).step_by(4).zip(counts.chunks_mut(4)) {
                #[cfg(all(feature = "simd", target_arch = "x86_64"))]
                // SAFETY: the processor and the operating system have AVX2.
                let more = unsafe { x86::count_labels_avx2(first, blocks) };
                #[cfg(all(feature = "simd", target_arch = "aarch64"))]
                let more = neon::count_labels(first, blocks);
                counts.iter_mut().zip(more).for_each(|(n, more)| *n += more);
            }
        }
        rest
    }
    #[cfg(not(all(feature = "simd", any(target_arch = "x86_64", target_arch = "aarch64"))))]
    {
        let _ = counts;
        labels
    }
}

/// Counts a row of pixels into the cells of a histogram with `BITS` bits a channel. Returns the sum of their squares.
#[inline]
pub(crate) fn count<const BITS: u32, const CELLS: usize>(pixels: &[[u8; 3]], hist: &mut [Features; CELLS]) -> u64 {
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    if x86::has_avx2() {
        let (blocks, rest) = pixels.as_chunks();
        // SAFETY: the processor and the operating system have AVX2.
        return unsafe { x86_cells::count_avx2::<BITS, CELLS>(blocks, hist) }
            + count::count_plain::<BITS, CELLS>(rest, hist);
    }
    count::count_plain::<BITS, CELLS>(pixels, hist)
}

/// Writes the Morton key of each pixel's cell at five bits a channel, as many as the shorter slice has.
#[inline]
pub(crate) fn keys5(pixels: &[[u8; 3]], keys: &mut [u16]) {
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    if x86::has_avx2() {
        let len = pixels.len().min(keys.len());
        let whole = len - len % x86_cells::BLOCK_PX;
        let ((pixels, rest), (keys, rest_keys)) = (pixels.split_at(whole), keys.split_at_mut(whole));
        // SAFETY: the processor and the operating system have AVX2.
        unsafe { x86_cells::keys5_avx2(pixels.as_chunks().0, keys.as_chunks_mut().0) };
        return count::keys5_plain(rest, rest_keys);
    }
    count::keys5_plain(pixels, keys);
}

/// Converts X, Y and Z of a block of colours to twice their coordinates in CIELAB.
#[inline]
fn convert(xyz_q24: &[Xyz; BLOCK], block: &mut Block) {
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    if x86::has_avx2() {
        // SAFETY: the processor and the operating system have AVX2.
        return unsafe { x86_cells::convert_avx2(xyz_q24, block) };
    }
    lab::convert_plain(xyz_q24, block);
}

/// The sum over the pixels of a range of points of the distances to one more.
#[inline]
fn sum_q7(points: &distances::Scattered, range: core::ops::Range<usize>, from: Q6, scatter_q12: u32) -> u64 {
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    if x86::has_avx2() {
        // SAFETY: the processor and the operating system have AVX2.
        return unsafe { x86_distances::sum_q7_avx2(points, range, from, scatter_q12) };
    }
    points.sum_q7_plain(range, from, scatter_q12)
}

/// Writes the key of each pixel and its packed form, as many as the shortest slice has.
#[inline]
pub(crate) fn split(pixels: &[[u8; 3]], keys: &mut [ColourKey], packed: &mut [Packed16]) {
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    if x86::has_avx2() {
        let len = pixels.len().min(keys.len()).min(packed.len());
        let whole = len - len % x86_cells::BLOCK_PX;
        let (keys, rest_keys) = keys.split_at_mut(whole);
        let (packed, rest_packed) = packed.split_at_mut(whole);
        let (pixels, rest) = pixels.split_at(whole);
        // SAFETY: the processor and the operating system have AVX2.
        unsafe { x86_cells::split_avx2(pixels.as_chunks().0, keys.as_chunks_mut().0, packed.as_chunks_mut().0) };
        return cells::split_plain(rest, rest_keys, rest_packed);
    }
    cells::split_plain(pixels, keys, packed);
}

/// Pixels that are converted at a time.
const YCBCR_PX: usize = 16;

/// Sixteen pixels.
#[cfg_attr(
    not(all(feature = "simd", any(target_arch = "x86_64", target_arch = "aarch64"))),
    allow(dead_code, reason = "only the vector versions use it")
)]
type Sixteen = [[u8; 3]; YCBCR_PX];

/// Converts samples to RGB, sixteen pixels at a time from the first on; gives how many pixels that were: 0 where this
/// machine has no version here.
#[inline]
pub(crate) fn rgb_of(m: Matrix, row: Halved<'_>, pixels: &mut [[u8; 3]]) -> usize {
    let pixels = pixels.as_chunks_mut::<YCBCR_PX>().0;
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    {
        if !x86::has_avx2() {
            return 0;
        }
        // SAFETY: the processor and the operating system have AVX2.
        YCBCR_PX * unsafe { x86_ycbcr::rgb_of_avx2(m, row, pixels) }
    }
    #[cfg(all(feature = "simd", target_arch = "aarch64"))]
    {
        YCBCR_PX * neon_ycbcr::rgb_of(m, row, pixels)
    }
    #[cfg(not(all(feature = "simd", any(target_arch = "x86_64", target_arch = "aarch64"))))]
    {
        let _ = (m, row, pixels);
        0
    }
}

/// Colours in a tile.
pub const TILE: usize = 128;

/// Colours with weights, channel by channel, for the exact silhouette. Places without a colour have weight 0.
#[derive(Debug, Clone, Copy)]
pub struct Tile {
    /// Red, 0 to 255.
    pub red: [f32; TILE],
    /// Green, 0 to 255.
    pub green: [f32; TILE],
    /// Blue, 0 to 255.
    pub blue: [f32; TILE],
    /// Pixels.
    pub weight: [f32; TILE],
}

/// Sets `row_sums` to the sums over the columns of weight times distance, and adds to `column_sums` those over the rows.
/// Sums run in lanes of 8, as in the plain version, and so do their roundings. False: this machine has no version here.
#[inline]
pub fn pair_sums(rows: &Tile, columns: &Tile, row_sums: &mut [f32; TILE], column_sums: &mut [f32; TILE]) -> bool {
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    {
        if !x86::has_avx2() {
            return false;
        }
        // SAFETY: the processor and the operating system have AVX2.
        unsafe { x86::pair_sums_avx2(rows, columns, row_sums, column_sums) };
        true
    }
    #[cfg(not(all(feature = "simd", target_arch = "x86_64")))]
    {
        let _ = (rows, columns, row_sums, column_sums);
        false
    }
}

/// From now on this process computes as a machine without AVX2 does: for tests and comparisons.
pub fn forbid_avx2() {
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    x86::forbid_avx2();
}

/// Two 16-bit numbers as one of 32 bits, the first in the low half.
#[cfg(all(feature = "simd", target_arch = "x86_64"))]
fn pair([low, high]: [i16; 2]) -> i32 {
    i32::from(low as u16) | i32::from(high) << 16
}

#[cfg(all(test, feature = "simd"))]
mod tests {
    use super::*;
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
