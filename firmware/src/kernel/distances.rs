//! Sums of mean distances between sets of pixels, for the silhouette's estimate.
//!
//! Inputs are points, each with the scatter and the number of its pixels, and one more point; the result is the sum of the
//! distances to all pixels of a range of points. The vector version for AVX2 gives the same bits, which a test checks.

use crate::color::{Q6, distance2_q12};
use crate::limits::SILHOUETTE_POINTS_MAX;
use core::ops::Range;

/// Points that a vector version reads together: it may read so many less one behind a range.
pub(super) const TOGETHER: usize = 8;
/// Places for points.
const PLACES: usize = SILHOUETTE_POINTS_MAX + TOGETHER;

/// Points whose pixels scatter around them, a list for each property.
pub(crate) struct Scattered {
    /// Red and green, or L and a, in 1/64.
    pub(super) rg: [[i16; 2]; PLACES],
    /// Blue or b, and 0.
    pub(super) b0: [[i16; 2]; PLACES],
    /// What the scatter adds to a squared distance.
    pub(super) scatter_q12: [u32; PLACES],
    /// Numbers of pixels.
    pub(super) weight: [u32; PLACES],
}

impl Scattered {
    pub(crate) const EMPTY: Scattered =
        Scattered { rg: [[0; 2]; PLACES], b0: [[0; 2]; PLACES], scatter_q12: [0; PLACES], weight: [0; PLACES] };

    /// Sets a point; beyond [`SILHOUETTE_POINTS_MAX`] nothing happens. `scatter_q12` is less than 2^30.
    pub(crate) fn set(&mut self, at: usize, position_q6: Q6, scatter_q12: u32, weight: u32) {
        if at >= SILHOUETTE_POINTS_MAX {
            return;
        }
        let [r, g, b] = position_q6.map(|v| v as i16);
        (self.rg[at], self.b0[at]) = ([r, g], [b, 0]);
        (self.scatter_q12[at], self.weight[at]) = (scatter_q12, weight);
    }

    /// The sum over the pixels of the points in `range` of the root of squared distance and scatter, in 1/128 levels.
    /// `scatter_q12` is what the scatter around `from` adds, less than 2^31.
    #[inline]
    pub(crate) fn sum_q7(&self, range: Range<usize>, from: Q6, scatter_q12: u32) -> u64 {
        let range = range.start..range.end.min(SILHOUETTE_POINTS_MAX);
        super::sum_q7(self, range, from, scatter_q12)
    }

    /// The same without vectors.
    pub(super) fn sum_q7_plain(&self, range: Range<usize>, from: Q6, scatter_q12: u32) -> u64 {
        let of = |at: usize| {
            let ([r, g], [b, _]) = (self.rg[at], self.b0[at]);
            let position_q6 = [r, g, b].map(|v| v as u16);
            let distance_q7 = scattered_q7(distance2_q12(position_q6, from), self.scatter_q12[at] + scatter_q12);
            u64::from(self.weight[at]) * u64::from(distance_q7)
        };
        range.filter(|&at| at < PLACES).map(of).sum()
    }
}

/// The root of a squared distance and of what scatter adds to it, in 1/128 levels. Their sum is less than 2^32.
#[inline]
pub(crate) fn scattered_q7(distance2_q12: u32, scatter_q12: u32) -> u32 {
    root((distance2_q12 + scatter_q12).min((1 << 30) - 1) * 4)
}

/// Square roots by the top 10 bits of a number of 32 bits, for the middle of each interval. The first 256 entries are
/// unused, because the number is at least 2^30; the last is not meant, so that each other can be read with its neighbour.
pub(super) static ROOTS: [u16; 1025] = {
    let mut table = [0; 1025];
    let mut i = 256;
    while i < 1024 {
        table[i] = (((2 * i as u64 + 1) << 21).isqrt()) as u16;
        i += 1;
    }
    table
};

/// The square root from a table, after an even shift that moves the highest bit to the top. It is four times as fast as
/// `isqrt`, and its error of 0.1 % is small enough for an estimate.
#[inline]
pub(crate) fn root(x: u32) -> u32 {
    let shift = x.leading_zeros() & !1;
    let top = x.unbounded_shl(shift) >> 22;
    let root = u32::from(ROOTS[(top & 1023) as usize]);
    let half = (1 << (shift / 2)) >> 1;
    (root + half) >> (shift / 2)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;

    fn position() -> impl Strategy<Value = Q6> {
        [0u16..16_321, 0u16..16_321, 0u16..16_321]
    }

    proptest! {
        #[test]
        fn every_version_sums_as_the_plain_one(
            points in prop::collection::vec((position(), 0u32..1 << 30, 0u32..1 << 24), 0..60), from in position(),
            start in 0usize..30, scatter_q12 in prop_oneof![Just(0), 0u32..1 << 31],
        ) {
            let mut scattered = Scattered::EMPTY;
            for (at, &(position_q6, scatter_q12, weight)) in points.iter().enumerate() {
                // Small ones too, and the point itself.
                let (position_q6, scatter_q12) = if at % 5 == 0 { (from, scatter_q12 >> 26) } else { (position_q6, scatter_q12) };
                scattered.set(at, position_q6, scatter_q12, weight);
            }
            // Places behind the range are not in the sum.
            scattered.set(points.len(), [1; 3], 7, 1 << 20);
            let range = start.min(points.len())..points.len();
            let want = scattered.sum_q7_plain(range.clone(), from, scatter_q12);
            prop_assert_eq!(scattered.sum_q7(range, from, scatter_q12), want);
        }
    }

    #[test]
    fn the_last_places_are_summed_and_those_beyond_them_are_none() {
        let mut scattered = Scattered::EMPTY;
        scattered.set(SILHOUETTE_POINTS_MAX - 1, [64, 0, 0], 0, 3);
        scattered.set(SILHOUETTE_POINTS_MAX, [64, 0, 0], 0, 3);
        assert_eq!(scattered.sum_q7(SILHOUETTE_POINTS_MAX - 1..usize::MAX, [0; 3], 0), 3 * 128);
    }

    #[test]
    fn the_roots_from_the_table_are_right_to_a_part_in_a_thousand() {
        let mut x = 1u32;
        for i in 0..100_000u32 {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223 + i);
            let value = x >> (i % 32);
            let (want, got) = (f64::from(value).sqrt(), f64::from(root(value)));
            assert!((got - want).abs() <= want / 1_000.0 + 0.5, "{value}: {got} {want}");
        }
        assert_eq!((root(0), root(1), root(4)), (0, 1, 2));
    }
}
