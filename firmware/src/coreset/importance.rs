//! Importance sampling: cells are drawn in proportion to their importance, and weighted so that costs are right on
//! average.
//!
//! Inputs are a frame's cells and random numbers; results are points whose weights sum to the frame's pixels. The
//! points' memory serves as scratch before it holds the result. Importances are integers. They form consecutive parts of a
//! line, and a cell is drawn where its interval contains a threshold. Thresholds are evenly spaced behind one random
//! offset (systematic sampling; Madow, 1949), which draws every cell as often on average as independent draws do, with
//! less variance. Cells are drawn instead of pixels because there are about 30 times fewer of them.
//!
//! [`lightweight`] draws half by weight and half by squared distance to the mean (Bachem, Lucic and Krause, 2018).
//! [`sensitivity`] bounds the share that a cell can have in the cost of any solution, starting from a rough one
//! (Bachem, Lucic and Krause, 2015, for DP-means; constants as in their practical coresets of 2017).

use super::points::{Drawn, Point, below, copy};
use crate::color::{Features, distance2_q12};
use crate::limits::CLUSTERS_MAX;
use rand::Rng;

/// Fractional bits of importances, and of weights while they are added up.
const FRACTION: u32 = 16;

/// Draws about `size` of `cells`, half by weight and half by squared distance to the mean of all.
pub fn lightweight(cells: &[Point], size: usize, points: &mut [Point], rng: &mut impl Rng) -> Drawn {
    let features = cells.iter().fold(Features::ZERO, |sum, p| sum.plus(&p.features));
    let mean = features.mean_q6();
    let Some(scratch) = points.get_mut(..cells.len()) else { return Drawn::default() };
    let mut spread = 0;
    for (p, cell) in scratch.iter_mut().zip(cells) {
        *p = Point { spread_q12: distance2_q12(cell.position_q6, mean), ..*cell };
        spread += u64::from(p.spread_q12) * u64::from(p.weight());
    }
    let weight = u64::from(features.weight());
    draw(scratch, size, weight, rng, |p| (1 << FRACTION) + scaled(u64::from(p.spread_q12), weight, spread))
}

/// Draws about `size` of `cells` by their sensitivities, which a rough solution for `lambda_q6` bounds.
pub fn sensitivity(cells: &[Point], size: usize, lambda_q6: u32, points: &mut [Point], rng: &mut impl Rng) -> Drawn {
    let Some(scratch) = points.get_mut(..cells.len()) else { return Drawn::default() };
    copy(cells, scratch);
    let weight: u64 = cells.iter().map(|p| u64::from(p.weight())).sum();
    let mut chosen = below(rng, weight);
    let Some(mut seed) = cells.iter().find(|p| take(&mut chosen, u64::from(p.weight()))) else {
        return Drawn::default();
    };
    scratch.iter_mut().for_each(|p| (p.spread_q12, p.key) = (u32::MAX, 0));
    let lambda2 = u64::from(lambda_q6) * u64::from(lambda_q6);
    let (mut seeds, mut cost) = (0u64, u64::MAX);
    // Draws seeds by squared distance until their cost is low enough for lambda.
    while seeds < CLUSTERS_MAX as u64 && cost > 16 * lambda2 * seeds * (u64::from(seeds.max(1).ilog2()) + 2) {
        cost = 0;
        for p in scratch.iter_mut() {
            let distance2 = distance2_q12(p.position_q6, seed.position_q6);
            if distance2 < p.spread_q12 {
                (p.spread_q12, p.key) = (distance2, seeds as u16);
            }
            cost += u64::from(p.spread_q12) * u64::from(p.weight());
        }
        seeds += 1;
        let mut chosen = below(rng, cost);
        let next =
            scratch.iter().zip(cells).find(|(p, _)| take(&mut chosen, u64::from(p.spread_q12) * u64::from(p.weight())));
        match next {
            Some((_, cell)) => seed = cell,
            None => break,
        }
    }
    let mut of = [(0u64, 0u64); CLUSTERS_MAX];
    for p in scratch.iter() {
        if let Some(of) = of.get_mut(usize::from(p.key)) {
            of.0 += u64::from(p.spread_q12) * u64::from(p.weight());
            of.1 += u64::from(p.weight());
        }
    }
    let alpha = 16 * (u64::from(seeds.max(1).ilog2()) + 2);
    draw(scratch, size, weight, rng, |p| {
        let (cost_b, weight_b) = of.get(usize::from(p.key)).copied().unwrap_or_default();
        let own = scaled(u64::from(p.spread_q12) * alpha, weight, cost);
        let mean = scaled(2 * alpha * (cost_b / weight_b.max(1)), weight, cost);
        own + mean + scaled(4, weight, weight_b)
    })
}

/// `a b / c` in 1/65,536, at most 2^38; 0 if `c` is 0.
fn scaled(a: u64, b: u64, c: u64) -> u64 {
    let value = ((u128::from(a) * u128::from(b)) << FRACTION) / u128::from(c.max(1));
    if c == 0 { 0 } else { value.min(1 << 38) as u64 }
}

/// Returns true if the threshold lies in the next `part` of the line; otherwise subtracts the part from it.
fn take(threshold: &mut u64, part: u64) -> bool {
    if *threshold < part {
        return true;
    }
    *threshold -= part;
    false
}

/// Draws about `size` points, each pixel in proportion to the `importance` of its point, and moves those drawn to the
/// front.
fn draw(
    points: &mut [Point],
    size: usize,
    pixels: u64,
    rng: &mut impl Rng,
    importance: impl Fn(&Point) -> u64,
) -> Drawn {
    let size = size.max(1);
    if points.len() <= size {
        points.iter_mut().for_each(|p| p.spread_q12 = 0);
        return Drawn { points: points.len(), scatter_q12: None };
    }
    let total: u128 = points.iter().map(|p| u128::from(importance(p)) * u128::from(p.weight())).sum();
    let offset = (u128::from(rng.next_u64()) * (total / size as u128)) >> 64;
    // How often a point is drawn. Thresholds are at offset + i total / size.
    let times = |upto: &mut u128, p: &Point| {
        let reached = |at: u128| (at.saturating_sub(offset) * size as u128).div_ceil(total.max(1));
        let before = reached(*upto);
        *upto += u128::from(importance(p)) * u128::from(p.weight());
        (reached(*upto) - before) as u64
    };
    // Each time it is drawn, a point represents total / (size importance) pixels, in 1/65,536.
    let stands_for = |times: u64, p: &Point| {
        u128::from(times) * (total << FRACTION) / (size as u128 * u128::from(importance(p).max(1)))
    };
    let mut upto = 0;
    let sum: u128 = points.iter().map(|p| stands_for(times(&mut upto, p), p)).sum();
    let (mut upto, mut shares, mut given, mut len) = (0, 0, 0, 0);
    for i in 0..points.len() {
        let Some(&p) = points.get(i) else { break };
        shares += stands_for(times(&mut upto, &p), &p);
        // The running sum is rounded, not each weight, so that the weights sum to the pixels.
        let until = (shares * u128::from(pixels) / sum.max(1)) as u64;
        if until > given {
            if let Some(slot) = points.get_mut(len) {
                *slot = p.standing_for((until - given) as u32);
                len += 1;
            }
            given = until;
        }
    }
    Drawn { points: len, scatter_q12: None }
}
