//! Coresets: one frame in, at most `coreset_size` weighted points out.
//!
//! Every method starts from a histogram of cluster features over cells of 5 (or 4) bits a channel, except `uniform`,
//! which draws pixels as the tutorial did. The histogram is itself a coreset, only not a small one; the methods reduce it.
//! Inputs are a frame's cells or pixels, memory and (for the methods that draw) random numbers. The weights of the points
//! sum to the frame's pixels. All arithmetic is integer: `octree` and the cells give the same bits for any order of the
//! same pixels.

mod exact;
mod histogram;
mod importance;
mod octree;
mod points;
mod streamkm;
mod uniform;

pub use crate::color::Features;
pub use exact::exact_colors;
pub use histogram::{Counted, bits, count};
pub use importance::{lightweight, sensitivity};
pub use octree::{Merge, SCOUT_POINTS_MAX, collapse, octree, parents};
pub(crate) use points::squares;
pub use points::{Drawn, Point, scatter_q12};
pub use streamkm::stream_km;
pub use uniform::uniform;

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::color::Q6;
    use crate::color::distance2_q12;
    use crate::frame::Frame;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::Xoshiro256PlusPlus;
    use std::boxed::Box;
    use std::vec;
    use std::vec::Vec;

    fn count(rgb: &[u8], bits: u32) -> (Vec<Point>, u64) {
        let frame = Frame::rgb(rgb.len() / 3, 1, rgb).unwrap();
        let (mut hist, mut cells) =
            (vec![Features::default(); 1 << (3 * bits)], vec![Point::default(); 1 << (3 * bits)]);
        let counted = super::count(&frame, &mut hist, &mut cells, &mut []);
        assert!(hist.iter().all(|c| *c == Features::default()), "the histogram is clean again");
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
        let pt = points.iter().map(|p| f64::from(near(p.position_q6)) * f64::from(p.weight()));
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
            let d = drawn.scatter_q12.unwrap() as f64;
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
            prop_assert!(points.windows(2).all(|w| w[0].position_q6 < w[1].position_q6), "different, in the frame's order");
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
            let far = points[..drawn.points]
                .iter()
                .filter(|p| p.position_q6 == [255 * 64, 0, 0])
                .map(Point::weight)
                .sum::<u32>();
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
            points.iter().for_each(|p| seen[usize::from(p.position_q6[0] >> 6)] += 1);
        }
        assert!(seen.iter().all(|n| (1_850..2_150).contains(n)), "{seen:?}");
    }

    #[test]
    fn one_colour_is_one_point_without_scatter_at_any_frame_size() {
        for (w, h) in [(1, 1), (640, 480), (1920, 1080), (3840, 2160)] {
            for levels in [0xFF, 0x07, 0x00] {
                let rgb = [levels; 3].repeat(w * h);
                let (points, drawn) = draw_frame(w, h, &rgb);
                assert_eq!(drawn, Drawn { points: 1, scatter_q12: Some(0) });
                assert_eq!((points[0].weight() as usize, points[0].position_q6), (w * h, [u16::from(levels) * 64; 3]));
            }
        }
    }

    fn draw_frame(w: usize, h: usize, rgb: &[u8]) -> (Vec<Point>, Drawn) {
        let frame = Frame::rgb(w, h, rgb).unwrap();
        let (mut hist, mut cells) = (vec![Features::default(); 32_768], vec![Point::default(); 32_768]);
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
            prop_assert_eq!(Features([s, 0, 255 * w, w]).mean_q6(), [want, 0, 16_320]);
        }

        #[test]
        fn the_vectors_count_as_the_plain_loop_does(seed in any::<u64>(), n in 1usize..400) {
            let rgb = noise(seed, n);
            let pixels = rgb.as_chunks::<3>().0;
            let (mut plain, mut fast) = (Box::new([Features::default(); 1 << 15]), vec![Point::default(); 1 << 15]);
            let squares = crate::kernel::count_plain::<5, { 1 << 15 }>(pixels, &mut plain);
            let frame = Frame::rgb(n, 1, &rgb).unwrap();
            let counted = super::count(&frame, &mut vec![Features::default(); 1 << 15], &mut fast, &mut []);
            prop_assert_eq!(counted.squares, squares);
            let want: Vec<Features> = plain.iter().copied().filter(|c| c.weight() > 0).collect();
            prop_assert_eq!(fast[..counted.cells].iter().map(|p| p.features).collect::<Vec<_>>(), want);
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
            prop_assert_eq!(drawn.scatter_q12, Some(scatter_q12(&points, squares)));
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
