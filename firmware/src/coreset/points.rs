//! Points: weighted representatives of pixels, and what a coreset certifies.
//!
//! A [`Point`] carries the sums of the pixels it represents, so that clustering points and clustering the pixels behind
//! them lead to the same means.

use crate::color::{Features, Q6};
use rand::Rng;

/// A weighted point: the mean of the pixels that it represents, and their sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Point {
    /// Sums over the pixels that it represents.
    pub(crate) features: Features,
    /// Their mean in 1/64 levels, or where it lies in CIELAB ([`crate::color::Space::Cielab`]), if that is the space of the clustering.
    pub position_q6: Q6,
    /// The Morton key of its cell at its level, behind a leading 1, whose position is the level: 3 bits a level.
    pub(super) key: u16,
    /// Mean squared distance of its cells to it, in 1/4096 squared levels: 0 for a single cell.
    pub(super) spread_q12: u32,
}

/// What a coreset method reports besides its points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drawn {
    /// Number of points.
    pub points: usize,
    /// The certificate D in 1/4096 squared levels: the cost of moving every pixel to its point. For **any** centroids,
    /// |sqrt(cost of the frame) - sqrt(cost of the coreset)| <= sqrt(D) (the triangle inequality in l2 over the pixels).
    /// None for methods that draw at random, which certify nothing.
    pub scatter_q12: Option<u64>,
}

impl Point {
    /// No pixels, for memory that is static.
    pub const ZERO: Point = Point { features: Features::ZERO, position_q6: [0; 3], key: 0, spread_q12: 0 };

    /// Number of pixels that it represents.
    #[inline]
    pub fn weight(&self) -> u32 {
        self.features.weight()
    }

    /// Mean squared distance of its cells to it, in 1/4096 squared levels.
    pub fn spread_q12(&self) -> u32 {
        self.spread_q12
    }

    /// The same point for another number of pixels, all at its mean.
    pub(super) fn standing_for(&self, pixels: u32) -> Point {
        let [r, g, b] = self.position_q6.map(|v| ((u64::from(v) * u64::from(pixels) + 32) >> 6) as u32);
        Point { features: Features([r, g, b, pixels]), spread_q12: 0, ..*self }
    }

    /// The same pixels where they lie in another space. Sums are rounded to whole units as in `standing_for`, which moves the
    /// mean of a cluster of 20 pixels by less than 1/10.
    pub(crate) fn moved_to(&self, position_q6: Q6) -> Point {
        Point { position_q6, ..*self }.standing_for(self.weight())
    }

    /// The Morton key of the histogram cell that this point is.
    pub(crate) fn cell(&self) -> usize {
        let key = usize::from(self.key);
        key & !(1 << key.checked_ilog2().unwrap_or(0))
    }

    /// The point of these sums, under a key.
    #[inline]
    pub(super) fn of(features: Features, key: u16, spread_q12: u32) -> Point {
        Point { features, position_q6: features.mean_q6(), key, spread_q12 }
    }

    /// A point anywhere on the grid, for tests.
    #[cfg(test)]
    pub(crate) fn at(position_q6: Q6, weight: u32) -> Point {
        Point { position_q6, features: Features([0, 0, 0, weight]), ..Point::default() }
    }

    /// `weight` pixels of one colour.
    pub fn pixel(rgb: [u8; 3], weight: u32) -> Point {
        Point::of(Features::of_pixels(rgb, weight), 0, 0)
    }
}

/// The exact cost of moving every pixel to its point, in 1/4096 squared levels; `squares` is the sum of
/// r^2 + g^2 + b^2 over the pixels that `points` represent.
pub fn scatter_q12(points: &[Point], squares: u64) -> u64 {
    let saved: i64 = points.iter().map(|p| p.features.saved_q12(p.position_q6)).sum();
    (4096 * squares as i64 - saved).max(0) as u64
}

/// The sum of squares with which the cost of `points` at themselves is 0. The sums of points are rounded where they are not
/// those of pixels: near black they may save less than nothing.
pub(crate) fn squares(points: &[Point]) -> u64 {
    points.iter().map(|p| p.features.saved_q12(p.position_q6)).sum::<i64>().max(0) as u64 >> 12
}

/// A random number below `n` (0 for 0). 2^64 is no multiple of `n` but far larger, so the bias is below 2^-40.
pub(super) fn below(rng: &mut impl Rng, n: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(n)) >> 64) as u64
}

/// Copies points; unlike `copy_from_slice` it does not panic if the lengths differ.
pub(super) fn copy(from: &[Point], to: &mut [Point]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}
