//! Coreset: one frame in, at most `coreset_size` weighted points out.
//!
//! Takes a frame's cells or pixels, memory and (to draw) random numbers. Gives points whose weights sum to the pixels.
//! Touches the slices it is lent: a histogram, cells, points, and one mark a pixel.
//! Never a float. `octree` and the cells give the same bits for any order of the same pixels.
//!
//! Everything begins with a histogram of cluster features (Zhang, Ramakrishnan and Livny, BIRCH, 1996) over cells of 5
//! (or 4) bits a channel. It is a coreset itself, only not a small one; the methods thin it, but for `uniform`, which
//! draws from the pixels as the tutorial did.

mod histogram;
mod importance;
mod octree;
mod streamkm;
mod uniform;

pub use histogram::{Cell, Counted, bits, count};
pub use importance::{lightweight, sensitivity};
pub use octree::{Merge, SCOUT_POINTS_MAX, collapse, octree, parents};
pub use streamkm::stream_km;
pub use uniform::uniform;

use crate::label::Q6;
use rand::Rng;

/// A weighted point: the mean of the pixels it stands for, and their sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Point {
    /// Sums of red, green and blue over its pixels in levels, and their number. As one array it is one vector addition.
    pub(crate) mass: [u32; 4],
    /// Their mean, rounded to 1/64 levels.
    pub rgb_q6: Q6,
    /// The Morton key of its cell at its level, behind a leading 1 that tells the level: 3 bits each.
    key: u16,
    /// Mean squared distance of its cells to it, in 1/4096 squared levels: 0 for a single cell.
    spread_q12: u32,
}

/// What a coreset says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drawn {
    /// Points in it.
    pub points: usize,
    /// The certificate D in 1/4096 squared levels: what it costs to move every pixel to its point, so that for **any**
    /// centroids |sqrt(cost of the frame) - sqrt(cost of the coreset)| <= sqrt(D) (the triangle inequality in l2 over
    /// the pixels). 0 and meaningless for methods that draw, unless they took all there is.
    pub scatter_q12: u64,
}

impl Point {
    /// No pixels, for memory that is static.
    pub const ZERO: Point = Point { mass: [0; 4], rgb_q6: [0; 3], key: 0, spread_q12: 0 };

    /// Pixels that it stands for.
    #[inline]
    pub fn weight(&self) -> u32 {
        self.mass[3]
    }

    /// Mean squared distance of its cells to it, in 1/4096 squared levels.
    pub fn spread_q12(&self) -> u32 {
        self.spread_q12
    }

    /// The same point for another number of pixels; its sums become those of so many at its mean.
    fn standing_for(&self, pixels: u32) -> Point {
        let [r, g, b] = self.rgb_q6.map(|v| ((u64::from(v) * u64::from(pixels) + 32) >> 6) as u32);
        Point { mass: [r, g, b, pixels], spread_q12: 0, ..*self }
    }

    /// The point of so many sums, under a key.
    #[inline]
    fn of(mass: [u32; 4], key: u16, spread_q12: u32) -> Point {
        Point { mass, rgb_q6: centroid(&mass), key, spread_q12 }
    }

    /// A point anywhere on the grid, for tests.
    #[cfg(test)]
    pub(crate) fn at(rgb_q6: Q6, weight: u32) -> Point {
        Point { rgb_q6, mass: [0, 0, 0, weight], ..Point::default() }
    }

    /// `weight` pixels of one colour.
    pub fn pixel(px: [u8; 3], weight: u32) -> Point {
        let [r, g, b] = px.map(u32::from);
        Point::of([r * weight, g * weight, b * weight, weight], 0, 0)
    }
}

/// What it costs to move every pixel to its point, exactly, in 1/4096 squared levels; `squares` is the sum of
/// r^2 + g^2 + b^2 over the pixels that `points` stand for.
pub fn scatter_q12(points: &[Point], squares: u64) -> u64 {
    let saved: i64 = points.iter().map(|p| saved_q12(p.rgb_q6, &p.mass)).sum();
    (4096 * squares as i64 - saved).max(0) as u64
}

/// By how much pixels with these sums are nearer, in squared distances summed, to `rgb_q6` than to black.
#[inline]
pub(crate) fn saved_q12(rgb_q6: Q6, mass: &[u32; 4]) -> i64 {
    let [r, g, b] = rgb_q6.map(i64::from);
    let cross = r * i64::from(mass[0]) + g * i64::from(mass[1]) + b * i64::from(mass[2]);
    128 * cross - (r * r + g * g + b * b) * i64::from(mass[3])
}

/// The sums of two sets of pixels as those of one.
#[inline]
pub(crate) fn sum(a: &[u32; 4], b: &[u32; 4]) -> [u32; 4] {
    core::array::from_fn(|i| a[i].wrapping_add(b[i]))
}

/// A number below `n` (0 for 0), without bias that could be seen: 2^64 is no multiple of `n`, but far larger.
fn below(rng: &mut impl Rng, n: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(n)) >> 64) as u64
}

/// Copies points; unlike `copy_from_slice` without a panic for lengths that differ.
fn copy(from: &[Point], to: &mut [Point]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}

/// Numbers of pixels whose reciprocals are kept.
const RECIPROCALS: usize = 512;
/// 2^40 / w, rounded up. With n at most 16,321 w, n times this is off from 2^40 n / w by less than n, so that the shifted
/// product is the quotient as long as n w < 2^40.
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

/// The mean of sums of red, green and blue over a number of pixels, rounded to 1/64 levels (half up).
#[inline]
pub(crate) fn centroid(mass: &[u32; 4]) -> Q6 {
    let [r, g, b, w] = mass.map(u64::from);
    let n = [r, g, b].map(|s| s * 64 + w / 2);
    match RECIPROCAL_Q40.get(w as usize) {
        Some(&reciprocal) => n.map(|n| ((n * reciprocal) >> 40) as u16),
        None => n.map(|n| (n / w.max(1)) as u16),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::frame::Frame;
    use crate::label::distance2_q12;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::Xoshiro256PlusPlus;
    use std::boxed::Box;
    use std::vec;
    use std::vec::Vec;

    fn count(rgb: &[u8], bits: u32) -> (Vec<Point>, u64) {
        let frame = Frame::rgb(rgb.len() / 3, 1, rgb).unwrap();
        let (mut hist, mut cells) = (vec![Cell::default(); 1 << (3 * bits)], vec![Point::default(); 1 << (3 * bits)]);
        let counted = super::count(&frame, &mut hist, &mut cells, &mut []);
        assert!(hist.iter().all(|c| *c == Cell::default()), "the histogram is clean again");
        cells.truncate(counted.cells);
        (cells, counted.squares)
    }

    fn draw(rgb: &[u8], size: usize, bits: u32) -> (Vec<Point>, Drawn) {
        let (cells, squares) = count(rgb, bits);
        let (mut points, mut merges) = (vec![Point::default(); cells.len()], vec![Merge::default(); 4_096]);
        let mut scout = vec![Point::default(); 4_096];
        let parents = parents(&cells, &mut scout);
        let drawn = octree(&cells, &scout[..parents], squares, size, &mut points, &mut merges);
        points.truncate(drawn.points);
        (points, drawn)
    }

    fn noise(seed: u64, n: usize) -> Vec<u8> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        (0..n * 3).map(|_| (rng.next_u32() >> 24) as u8).collect()
    }

    /// The cost of `queries` on pixels and on points, in 1/4096 squared levels.
    fn costs(rgb: &[u8], points: &[Point], queries: &[Q6]) -> (f64, f64) {
        let near = |x: Q6| queries.iter().map(|&q| distance2_q12(x, q)).min().unwrap();
        let px = rgb.chunks(3).map(|p| near([p[0], p[1], p[2]].map(|v| u16::from(v) << 6)));
        let pt = points.iter().map(|p| f64::from(near(p.rgb_q6)) * f64::from(p.weight()));
        (px.map(f64::from).sum(), pt.sum())
    }

    proptest! {
        #[test]
        fn weights_sum_to_the_pixels_and_the_certificate_holds_for_any_centroids(
            seed in any::<u64>(), n in 1usize..2000, size in 1usize..300, fine in any::<bool>(),
            queries in prop::collection::vec([0u16..16_321, 0u16..16_321, 0u16..16_321], 1..9),
        ) {
            let rgb = noise(seed, n);
            let (points, drawn) = draw(&rgb, size, if fine { 5 } else { 4 });
            prop_assert!(points.len() <= size);
            prop_assert_eq!(points.iter().map(|p| p.weight() as usize).sum::<usize>(), n);
            let (px, pt) = costs(&rgb, &points, &queries);
            let d = drawn.scatter_q12 as f64;
            prop_assert!((px.sqrt() - pt.sqrt()).abs() <= d.sqrt() + 1e-6, "{} {} {}", px, pt, d);
            // Parallel-axis identity; the rounding of a mean to 1/64 moves it by at most half a unit a channel.
            let slack = n as f64 * (3.0 + 2.0 * (3.0f64).sqrt() * 28_300.0) * 0.5;
            prop_assert!(px <= pt + d + slack);
        }

        #[test]
        fn the_order_of_pixels_changes_no_bit(seed in any::<u64>(), n in 2usize..800, size in 1usize..200) {
            let rgb = noise(seed, n);
            let mut pixels: Vec<&[u8]> = rgb.chunks(3).collect();
            pixels.reverse();
            pixels.swap(0, n / 2);
            prop_assert_eq!(draw(&rgb, size, 5), draw(&pixels.concat(), size, 5));
        }

        #[test]
        fn uniform_draws_exactly_that_many_different_pixels(seed in any::<u64>(), n in 1usize..500, size in 1usize..700) {
            // Pixel i has colour i, so that different pixels can be told apart.
            let rgb: Vec<u8> = (0..n).flat_map(|i| [(i >> 8) as u8, i as u8, 7]).collect();
            let frame = Frame::rgb(n, 1, &rgb).unwrap();
            let mut points = vec![Point::default(); 700];
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let drawn = uniform(&frame, size, &mut points, &mut vec![9; n], &mut [], &mut rng);
            points.truncate(drawn.points);
            prop_assert_eq!(points.len(), size.min(n));
            prop_assert_eq!(points.iter().map(|p| p.weight() as usize).sum::<usize>(), n);
            let (low, high) = (points.iter().map(|p| p.weight()).min(), points.iter().map(|p| p.weight()).max());
            prop_assert!(high.unwrap() - low.unwrap() <= 1);
            prop_assert!(points.windows(2).all(|w| w[0].rgb_q6 < w[1].rgb_q6), "different, in the frame's order");
        }
    }

    #[test]
    fn a_cell_that_matters_more_is_drawn_more_often_and_weighs_less_each_time() {
        // 600 colours around grey and 20 pixels of a far one.
        let mut rgb: Vec<u8> = noise(7, 600).iter().map(|v| 64 + v / 2).collect();
        rgb.extend([255, 0, 0].repeat(20));
        let (cells, _) = count(&rgb, 5);
        let mut weight = 0.0;
        for seed in 0..400 {
            let mut points = vec![Point::default(); cells.len()];
            let drawn = lightweight(&cells, 60, &mut points, &mut Xoshiro256PlusPlus::seed_from_u64(seed));
            let far =
                points[..drawn.points].iter().filter(|p| p.rgb_q6 == [255 * 64, 0, 0]).map(Point::weight).sum::<u32>();
            assert!(far > 0, "one in sixty is not to be missed, if it is far");
            weight += f64::from(far) / 400.0;
        }
        assert!((19.0..21.0).contains(&weight), "right on average: {weight}");
    }

    #[test]
    fn every_pixel_is_drawn_equally_often() {
        let rgb: Vec<u8> = (0..20u8).flat_map(|i| [i, 0, 0]).collect();
        let frame = Frame::rgb(20, 1, &rgb).unwrap();
        let (mut rng, mut seen) = (Xoshiro256PlusPlus::seed_from_u64(1), [0u32; 20]);
        for _ in 0..8_000 {
            let mut points = [Point::default(); 5];
            uniform(&frame, 5, &mut points, &mut [0; 20], &mut [], &mut rng);
            points.iter().for_each(|p| seen[usize::from(p.rgb_q6[0] >> 6)] += 1);
        }
        assert!(seen.iter().all(|n| (1_850..2_150).contains(n)), "{seen:?}");
    }

    #[test]
    fn one_colour_is_one_point_without_scatter_at_any_frame_size() {
        for (w, h) in [(1, 1), (640, 480), (1920, 1080), (3840, 2160)] {
            for levels in [0xFF, 0x07, 0x00] {
                let rgb = [levels; 3].repeat(w * h);
                let (points, drawn) = draw_frame(w, h, &rgb);
                assert_eq!(drawn, Drawn { points: 1, scatter_q12: 0 });
                assert_eq!((points[0].weight() as usize, points[0].rgb_q6), (w * h, [u16::from(levels) * 64; 3]));
            }
        }
    }

    fn draw_frame(w: usize, h: usize, rgb: &[u8]) -> (Vec<Point>, Drawn) {
        let frame = Frame::rgb(w, h, rgb).unwrap();
        let (mut hist, mut cells) = (vec![Cell::default(); 32_768], vec![Point::default(); 32_768]);
        let counted = super::count(&frame, &mut hist, &mut cells, &mut []);
        let (mut points, mut scout) = (cells.clone(), vec![Point::default(); 4_096]);
        let cells = &cells[..counted.cells];
        let parents = parents(cells, &mut scout);
        let drawn =
            octree(cells, &scout[..parents], counted.squares, 1_000, &mut points, &mut vec![Merge::default(); 4_096]);
        points.truncate(drawn.points);
        (points, drawn)
    }

    proptest! {
        #[test]
        fn the_means_by_reciprocals_are_the_quotients(w in 1u32..2_000, r in 0u32..=255, rest in 0u32..2_000) {
            let s = r * w + rest % w.max(1);
            let s = s.min(255 * w);
            let want = ((u64::from(s) * 64 + u64::from(w) / 2) / u64::from(w)) as u16;
            prop_assert_eq!(centroid(&[s, 0, 255 * w, w]), [want, 0, 16_320]);
        }

        #[test]
        fn the_vectors_count_as_the_plain_loop_does(seed in any::<u64>(), n in 1usize..400) {
            let rgb = noise(seed, n);
            let pixels = rgb.as_chunks::<3>().0;
            let (mut plain, mut fast) = (Box::new([Cell::default(); 1 << 15]), vec![Point::default(); 1 << 15]);
            let squares = histogram::add_plain::<5, { 1 << 15 }>(pixels, &mut plain);
            let frame = Frame::rgb(n, 1, &rgb).unwrap();
            let counted = super::count(&frame, &mut vec![Cell::default(); 1 << 15], &mut fast, &mut []);
            prop_assert_eq!(counted.squares, squares);
            let want: Vec<[u32; 4]> = plain.iter().map(|c| c.0).filter(|m| m[3] > 0).collect();
            prop_assert_eq!(fast[..counted.cells].iter().map(|p| p.mass).collect::<Vec<_>>(), want);
        }

        #[test]
        fn every_method_gives_weights_that_sum_to_the_pixels_and_the_same_for_the_same_seed(
            seed in any::<u64>(), n in 1usize..3000, size in 1usize..400,
        ) {
            let (cells, squares) = count(&noise(seed, n), 5);
            let draw = |method: usize| {
                let mut points = vec![Point::default(); cells.len()];
                let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
                let drawn = match method {
                    0 => lightweight(&cells, size, &mut points, &mut rng),
                    1 => sensitivity(&cells, size, 50 * 64, &mut points, &mut rng),
                    _ => stream_km(&cells, squares, size, &mut points, &mut vec![Merge::default(); 4_096], &mut rng),
                };
                points.truncate(drawn.points);
                (points, drawn)
            };
            for method in 0..3 {
                let (points, drawn) = draw(method);
                prop_assert!(points.len() <= size.max(1) && !points.is_empty(), "{}: {} of {}", method, points.len(), size);
                prop_assert_eq!(points.iter().map(|p| p.weight() as usize).sum::<usize>(), n);
                prop_assert!(points.iter().all(|p| p.weight() > 0));
                prop_assert_eq!(draw(method), (points, drawn));
            }
            // The tree's leaves are at seeds, and its certificate is as exact as the octree's.
            let (points, drawn) = draw(2);
            prop_assert_eq!(drawn.scatter_q12, scatter_q12(&points, squares));
        }

        #[test]
        fn a_scout_is_the_same_for_every_coreset_size_that_is_not_smaller(seed in any::<u64>(), n in 1usize..3000) {
            let (cells, _) = count(&noise(seed, n), 5);
            let scout = |size: usize| {
                let mut scout = vec![Point::default(); 4_096];
                let parents = parents(&cells, &mut scout);
                let len = collapse(&mut scout, &mut vec![Merge::default(); 4_096], parents, size.min(SCOUT_POINTS_MAX));
                scout.truncate(len);
                scout
            };
            prop_assert_eq!(scout(512), scout(4_000));
            prop_assert_eq!(scout(512).iter().map(|p| p.weight() as usize).sum::<usize>(), n);
            prop_assert!(scout(100).len() <= 100);
        }
    }
}
