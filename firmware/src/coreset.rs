//! Coreset: one frame in, at most `coreset_size` weighted points out.
//!
//! Takes a borrowed frame, memory and (to draw) random numbers. Gives points whose weights sum to the frame's pixels.
//! Touches the slices it is lent: a histogram, points, merges, and one mark a pixel.
//! Never a float, and never an order: `octree` gives the same points for any order of the same pixels.
//!
//! `octree` (primary): a histogram of cluster features (Zhang, Ramakrishnan and Livny, BIRCH, 1996: count, sum and sum
//! of squares) over cells of 5 (or 4) bits a channel; then, level by level from the leaves, the groups of sister cells
//! whose merging adds least scatter for each point saved are merged until `coreset_size` is reached.
//! Its certificate: moving every pixel to its point costs exactly the sum of the points' scatter D, so for **any**
//! centroids |sqrt(cost of the frame) - sqrt(cost of the coreset)| <= sqrt(D) (the triangle inequality in l2 over the
//! pixels). `uniform`: pixels drawn without replacement (R. W. Floyd, 1987), as in the tutorial.

use crate::frame::Frame;
use crate::label::Q6;
use rand::Rng;

/// Bits a channel of the finest histogram.
const BITS_MAX: u32 = 5;

/// One cell of the histogram: a cluster feature in 8-bit levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cell {
    weight: u32,
    sum: [u32; 3],
    squares: u64,
}

/// A weighted point: the mean of the pixels it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Point {
    squares: u64,
    sum: [u32; 3],
    /// Pixels that it stands for.
    pub weight: u32,
    key: u32,
    /// Their mean, rounded to 1/64 levels.
    pub rgb_q6: Q6,
    level: u16,
}

/// A group of sister cells that may become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Merge {
    cost_q12: u64,
    start: u32,
    cells: u32,
}

/// What a coreset says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drawn {
    /// Points in it.
    pub points: usize,
    /// The certificate D in 1/4096 squared levels (0 and meaningless for `uniform`, unless it took every pixel).
    pub scatter_q12: u64,
}

/// Where a level's top five bits go in a Morton key: bit i to bit 3i.
const SPREAD: [u16; 256] = {
    let mut table = [0; 256];
    let mut v = 0;
    while v < 256 {
        let mut bit = 0;
        while bit < BITS_MAX {
            table[v] |= ((v as u16 >> (3 + bit)) & 1) << (3 * bit);
            bit += 1;
        }
        v += 1;
    }
    table
};

/// The Morton key of a colour at five bits a channel: a parent's key is its child's without the last three bits.
#[inline]
fn key5(px: [u8; 3]) -> usize {
    let s = px.map(|v| usize::from(SPREAD[usize::from(v)]));
    s[0] << 2 | s[1] << 1 | s[2]
}

impl Point {
    /// The squared distances of its pixels to `rgb_q6`, summed, in 1/4096 squared levels: exact, for all are integers.
    pub fn scatter_q12(&self) -> u64 {
        let mean = self.rgb_q6.map(i64::from);
        let squares = 4096 * self.squares as i64;
        let cross: i64 = mean.iter().zip(self.sum).map(|(m, s)| m * i64::from(s)).sum();
        let norm: i64 = mean.iter().map(|m| m * m).sum();
        (squares - 128 * cross + i64::from(self.weight) * norm).max(0) as u64
    }

    fn round(&mut self) {
        let w = u64::from(self.weight.max(1));
        self.rgb_q6 = self.sum.map(|s| ((u64::from(s) * 64 + w / 2) / w) as u16);
    }

    fn add(&mut self, other: &Point) {
        self.weight += other.weight;
        self.squares += other.squares;
        for (s, o) in self.sum.iter_mut().zip(other.sum) {
            *s += o;
        }
    }

    /// A point anywhere on the grid, for tests.
    #[cfg(test)]
    pub(crate) fn at(rgb_q6: Q6, weight: u32) -> Point {
        Point { rgb_q6, weight, ..Point::default() }
    }

    /// `weight` pixels of one colour.
    pub fn pixel(px: [u8; 3], weight: u32) -> Point {
        let [r, g, b] = px.map(u64::from);
        let (w, sum) = (u64::from(weight), px.map(|v| u32::from(v) * weight));
        let squares = (r * r + g * g + b * b) * w;
        Point { squares, sum, weight, key: key5(px) as u32, rgb_q6: px.map(|v| u16::from(v) << 6), level: 0 }
    }
}

/// Bits a channel of a histogram with so many cells: 4,096 is 4, 32,768 is 5; none for other sizes.
pub const fn bits(cells: usize) -> Option<u32> {
    match cells {
        4_096 => Some(4),
        32_768 => Some(5),
        _ => None,
    }
}

/// Fills `points` with the octree coreset of `frame`. `hist` must be all zeroes and is so again afterwards; `points`
/// and `merges` need a place for each cell of `hist`, or for each occupied one if that is known to be fewer.
pub fn octree(
    frame: &Frame<'_>,
    size: usize,
    hist: &mut [Cell],
    points: &mut [Point],
    merges: &mut [Merge],
    row: &mut [u8],
) -> Drawn {
    let bits = bits(hist.len()).unwrap_or(0);
    let shift = 3 * (BITS_MAX - bits);
    for y in 0..frame.height() {
        for &px in frame.row(y, row).as_chunks::<3>().0 {
            let Some(cell) = hist.get_mut(key5(px) >> shift) else { continue };
            let [r, g, b] = px.map(u32::from);
            cell.weight += 1;
            cell.sum[0] += r;
            cell.sum[1] += g;
            cell.sum[2] += b;
            cell.squares += u64::from(r * r + g * g + b * b);
        }
    }
    let mut len = 0;
    for (key, cell) in (0u32..).zip(hist.iter_mut()).filter(|(_, c)| c.weight > 0) {
        if let Some(p) = points.get_mut(len) {
            let (squares, sum, weight) = (cell.squares, cell.sum, cell.weight);
            *p = Point { squares, sum, weight, key, rgb_q6: [0; 3], level: bits as u16 };
            p.round();
            len += 1;
        }
        *cell = Cell::default();
    }
    let len = collapse(points, merges, len, size.max(1), bits);
    Drawn { points: len, scatter_q12: points.iter().take(len).map(Point::scatter_q12).sum() }
}

/// Merges sister cells, cheapest first, finest level first, until at most `size` points are left.
fn collapse(points: &mut [Point], merges: &mut [Merge], mut len: usize, size: usize, bits: u32) -> usize {
    for level in (1..=bits as u16).rev() {
        if len <= size {
            break;
        }
        let groups = candidates(points.get(..len).unwrap_or(&[]), merges);
        let Some(found) = merges.get_mut(..groups) else { break };
        found.sort_unstable();
        let mut surplus = len - size;
        for m in found.iter() {
            if surplus == 0 {
                break;
            }
            surplus = surplus.saturating_sub(m.cells as usize - 1);
            let (start, end) = (m.start as usize, (m.start + m.cells) as usize);
            if let Some([first, rest @ ..]) = points.get_mut(start..end) {
                for p in rest {
                    first.add(p);
                    p.weight = 0;
                }
                first.round();
                (first.key, first.level) = (first.key >> 3, level - 1);
            }
        }
        len = compact(points, len);
        if surplus > 0 {
            // The level is used up: only children without sisters are left, and they move up as they are.
            for p in points.iter_mut().take(len).filter(|p| p.level == level) {
                (p.key, p.level) = (p.key >> 3, level - 1);
            }
        }
    }
    len
}

/// Lists the groups of at least two sisters among `points`, all of one level and sorted by key.
fn candidates(points: &[Point], merges: &mut [Merge]) -> usize {
    let (mut start, mut n) = (0, 0);
    for sisters in points.chunk_by(|a, b| a.key >> 3 == b.key >> 3) {
        if let ([first, rest @ ..], Some(slot)) = (sisters, merges.get_mut(n))
            && !rest.is_empty()
        {
            let mut merged = *first;
            rest.iter().for_each(|p| merged.add(p));
            merged.round();
            let apart: u64 = sisters.iter().map(Point::scatter_q12).sum();
            let cost_q12 = merged.scatter_q12().saturating_sub(apart) / rest.len() as u64;
            *slot = Merge { cost_q12, start, cells: sisters.len() as u32 };
            n += 1;
        }
        start += sisters.len() as u32;
    }
    n
}

fn compact(points: &mut [Point], len: usize) -> usize {
    let mut kept = 0;
    for i in 0..len {
        if let Some(&p) = points.get(i).filter(|p| p.weight > 0) {
            if let Some(slot) = points.get_mut(kept) {
                *slot = p;
            }
            kept += 1;
        }
    }
    kept
}

/// Fills `points` with `size` pixels of `frame` drawn without replacement, in the frame's order; their weights are equal
/// to within 1 and sum to the frame's pixels. `marks` holds a byte a pixel.
pub fn uniform(
    frame: &Frame<'_>,
    size: usize,
    points: &mut [Point],
    marks: &mut [u8],
    row: &mut [u8],
    rng: &mut impl Rng,
) -> Drawn {
    let Some(marks) = marks.get_mut(..frame.pixels()) else { return Drawn::default() };
    let (n, m) = (frame.pixels() as u32, size.clamp(1, frame.pixels()).min(points.len()) as u32);
    marks.fill(u8::from(m == n));
    if m < n {
        // Floyd's sampling: each j brings one new pixel, so exactly m are marked.
        for j in n - m..n {
            let t = below(rng, j + 1) as usize;
            let chosen = if marks.get(t) == Some(&0) { t } else { j as usize };
            if let Some(mark) = marks.get_mut(chosen) {
                *mark = 1;
            }
        }
    }
    let (share, extra, mut len) = (n / m.max(1), n % m.max(1), 0);
    for (y, marks) in marks.chunks(frame.width()).enumerate() {
        if !marks.contains(&1) {
            continue;
        }
        let pixels = frame.row(y, row).as_chunks::<3>().0;
        for (&px, _) in pixels.iter().zip(marks).filter(|&(_, &mark)| mark == 1) {
            if let Some(p) = points.get_mut(len) {
                *p = Point::pixel(px, share + u32::from((len as u32) < extra));
                len += 1;
            }
        }
    }
    Drawn { points: len, scatter_q12: 0 }
}

/// A number below `n`, without bias (D. Lemire, 2019).
fn below(rng: &mut impl Rng, n: u32) -> u32 {
    let threshold = n.wrapping_neg() % n.max(1);
    loop {
        let product = u64::from(rng.next_u32()) * u64::from(n);
        if product as u32 >= threshold {
            return (product >> 32) as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::label::distance2_q12;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::Xoshiro256PlusPlus;
    use std::vec;
    use std::vec::Vec;

    fn draw(rgb: &[u8], size: usize, cells: usize) -> (Vec<Point>, Drawn) {
        let frame = Frame::rgb(rgb.len() / 3, 1, rgb).unwrap();
        let mut hist = vec![Cell::default(); cells];
        let (mut points, mut merges) = (vec![Point::default(); cells], vec![Merge::default(); cells]);
        let drawn = octree(&frame, size, &mut hist, &mut points, &mut merges, &mut []);
        assert!(hist.iter().all(|c| *c == Cell::default()), "the histogram is clean again");
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
        let pt = points.iter().map(|p| f64::from(near(p.rgb_q6)) * f64::from(p.weight));
        (px.map(f64::from).sum(), pt.sum())
    }

    proptest! {
        #[test]
        fn weights_sum_to_the_pixels_and_the_certificate_holds_for_any_centroids(
            seed in any::<u64>(), n in 1usize..2000, size in 1usize..300, fine in any::<bool>(),
            queries in prop::collection::vec([0u16..16_321, 0u16..16_321, 0u16..16_321], 1..9),
        ) {
            let rgb = noise(seed, n);
            let (points, drawn) = draw(&rgb, size, if fine { 32_768 } else { 4_096 });
            prop_assert!(points.len() <= size);
            prop_assert_eq!(points.iter().map(|p| p.weight as usize).sum::<usize>(), n);
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
            prop_assert_eq!(draw(&rgb, size, 32_768), draw(&pixels.concat(), size, 32_768));
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
            prop_assert_eq!(points.iter().map(|p| p.weight as usize).sum::<usize>(), n);
            let (low, high) = (points.iter().map(|p| p.weight).min(), points.iter().map(|p| p.weight).max());
            prop_assert!(high.unwrap() - low.unwrap() <= 1);
            prop_assert!(points.windows(2).all(|w| w[0].rgb_q6 < w[1].rgb_q6), "different, in the frame's order");
        }
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
            let rgb = [0xFF; 3].repeat(w * h);
            let frame = Frame::rgb(w, h, &rgb).unwrap();
            let mut hist = vec![Cell::default(); 32_768];
            let (mut points, mut merges) = (vec![Point::default(); 32_768], vec![Merge::default(); 32_768]);
            let drawn = octree(&frame, 1_000, &mut hist, &mut points, &mut merges, &mut []);
            assert_eq!(drawn, Drawn { points: 1, scatter_q12: 0 });
            assert_eq!((points[0].weight as usize, points[0].rgb_q6), (w * h, [255 * 64; 3]));
        }
    }
}
