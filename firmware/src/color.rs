//! Colours in 1/64 levels, and the sums that describe a set of pixels.
//!
//! A level is one step of an 8-bit sRGB channel. Centroids and means are kept in 1/64 levels, squared distances in 1/4096
//! squared levels: all integers, so that every machine computes the same bits. [`Lab`] is a colour as people see it, and
//! [`de00_q12`] how much two of them differ. [`Space`] has the coordinates of a colour for clustering, and
//! [`correction`] changes colours by a matrix on linear light. This module imports nothing of ours.

pub mod correction;
mod de00;
mod lab;
#[cfg(test)]
#[path = "../tests/common/colour_oracle.rs"]
mod oracle;
mod space;
mod tables;

pub use correction::Correction;
pub use de00::{de00_min_q12, de00_q12};
pub use lab::Lab;
#[cfg_attr(
    not(all(feature = "simd", target_arch = "x86_64")),
    allow(unused_imports, reason = "only a vector version reads the table")
)]
pub(crate) use space::{BENT_Q16, BENT_STEPS};
pub use space::{Space, lab_q6};
pub(crate) use space::{Xyz, bent_between, bent_steps, of_bent, plus, xyz_of_levels, xyz_of_q6, xyz_of_rgb};

/// A colour in 1/64 levels: red, green, blue, each from 0 to [`LEVEL_Q6_MAX`].
pub type Q6 = [u16; 3];

/// The largest value of a channel: level 255 in 1/64 levels.
pub const LEVEL_Q6_MAX: u16 = 255 * 64;

/// The squared Euclidean distance of two colours in 1/4096 squared levels, at most 799,027,200.
#[inline]
pub fn distance2_q12(a: Q6, b: Q6) -> u32 {
    let ([ar, ag, ab], [br, bg, bb]) = (a, b);
    let [r, g, b] = [u32::from(ar.abs_diff(br)), u32::from(ag.abs_diff(bg)), u32::from(ab.abs_diff(bb))];
    r * r + g * g + b * b
}

/// An 8-bit colour in 1/64 levels.
#[inline]
pub fn q6(rgb: [u8; 3]) -> Q6 {
    let [r, g, b] = rgb;
    [u16::from(r) << 6, u16::from(g) << 6, u16::from(b) << 6]
}

/// Linear light of an 8-bit level, in 1/2^24.
#[inline]
pub fn linear_q24(level: u8) -> u32 {
    tables::LINEAR_Q24[usize::from(level)]
}

/// Returns true if every channel is at most [`LEVEL_Q6_MAX`].
pub fn is_colour(rgb_q6: &Q6) -> bool {
    rgb_q6.iter().all(|&level| level <= LEVEL_Q6_MAX)
}

/// A set of pixels as its sums: red, green and blue in levels, and the number of pixels.
///
/// This is a cluster feature (Zhang, Ramakrishnan and Livny, BIRCH, 1996) without the sum of squares. Sums of a frame fit
/// 32 bits because a frame has at most 2^23 pixels. As one array of four it is added in one vector instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features(pub(crate) [u32; 4]);

impl Features {
    /// No pixels, for memory that is static.
    pub const ZERO: Features = Features([0; 4]);

    /// `weight` pixels of one 8-bit colour.
    pub fn of_pixels(rgb: [u8; 3], weight: u32) -> Features {
        let [r, g, b] = rgb.map(|level| u32::from(level) * weight);
        Features([r, g, b, weight])
    }

    /// The number of pixels.
    #[inline]
    pub fn weight(&self) -> u32 {
        self.0[3]
    }

    /// The sums of both sets together.
    #[inline]
    #[must_use]
    pub fn plus(&self, other: &Features) -> Features {
        // Written out: as a loop or a closure it is not always one vector addition.
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Features([a.wrapping_add(e), b.wrapping_add(f), c.wrapping_add(g), d.wrapping_add(h)])
    }

    /// The sums of this set without the pixels of `part`, which must be a subset.
    #[inline]
    #[must_use]
    pub fn minus(&self, part: &Features) -> Features {
        Features(core::array::from_fn(|i| self.0[i].saturating_sub(part.0[i])))
    }

    /// The mean colour, rounded to 1/64 levels (half up); black for no pixels.
    #[inline]
    pub fn mean_q6(&self) -> Q6 {
        let [r, g, b, w] = self.0.map(u64::from);
        let n = [r, g, b].map(|s| s * 64 + w / 2);
        match RECIPROCAL_Q40.get(w as usize) {
            Some(&reciprocal) => n.map(|n| ((n * reciprocal) >> 40) as u16),
            None => n.map(|n| (n / w.max(1)) as u16),
        }
    }

    /// By how much the sum of squared distances to `position_q6` is lower than that to black, in 1/4096 squared levels.
    /// With the frame's sum of squares this gives a cost without visiting the pixels again.
    #[inline]
    pub fn saved_q12(&self, position_q6: Q6) -> i64 {
        let [r, g, b] = position_q6.map(i64::from);
        let [sr, sg, sb, w] = self.0.map(i64::from);
        128 * (r * sr + g * sg + b * sb) - (r * r + g * g + b * b) * w
    }
}

/// What it costs to represent two sets by one common mean instead of their own, in 1/4096 squared levels (Ward, 1963).
/// Each set is given as its mean and its number of pixels.
#[inline]
pub fn ward_q12(a: (Q6, u32), b: (Q6, u32)) -> u64 {
    let (wa, wb) = (u64::from(a.1), u64::from(b.1));
    u64::from(distance2_q12(a.0, b.0)) * (wa * wb / (wa + wb).max(1))
}

/// Numbers of pixels whose reciprocals are tabulated: most histogram cells have fewer.
const RECIPROCALS: usize = 512;
/// 2^40 / w, rounded up. With n at most 16,321 w, n times this is off from 2^40 n / w by less than n, so the shifted product
/// is the exact quotient as long as n w < 2^40.
const RECIPROCAL_Q40: [u64; RECIPROCALS] = {
    assert!(16_321 * (RECIPROCALS as u64) * (RECIPROCALS as u64) < 1 << 40);
    let mut table = [0; RECIPROCALS];
    let mut w = 1;
    while w < RECIPROCALS {
        table[w] = (1u64 << 40).div_ceil(w as u64);
        w += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_mean_by_reciprocal_is_the_rounded_quotient(rgb in any::<[u8; 3]>(), rest in any::<[u8; 3]>(), w in 1u32..2_000) {
            let features = Features::of_pixels(rgb, w).plus(&Features::of_pixels(rest, 1));
            let n = u64::from(w) + 1;
            let want = core::array::from_fn(|i| {
                let sum = u64::from(rgb[i]) * u64::from(w) + u64::from(rest[i]);
                ((sum * 64 + n / 2) / n) as u16
            });
            prop_assert_eq!(features.mean_q6(), want);
        }

        #[test]
        fn the_saved_cost_is_that_of_black_less_that_of_the_colour(rgb in any::<[u8; 3]>(), w in 1u32..900, to in any::<[u8; 3]>()) {
            let cost = |c: Q6| i64::from(distance2_q12(q6(rgb), c)) * i64::from(w);
            prop_assert_eq!(Features::of_pixels(rgb, w).saved_q12(q6(to)), cost([0; 3]) - cost(q6(to)));
        }
    }
}
