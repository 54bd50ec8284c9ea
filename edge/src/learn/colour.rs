//! The colour that covers what is in a region, and how far it may be from its pixels.
//!
//! Inputs are counts of colours, in the region and in the whole picture; the result is a colour in CIELAB with a tolerance. The
//! colour is the median of the region's dominant cluster, so that a rim of something else does not move it. The tolerance
//! covers that cluster, and stops where pixels elsewhere begin. Numbers are floating point: they end as decimals in a file.

use firmware::color::{Lab, de00_q12};

/// Colours are counted in cells of 4 levels a side: finer than a just noticeable difference.
const BITS: u32 = 6;
const CELLS: usize = 1 << (3 * BITS);
/// Within this of a colour are pixels of the same thing: noise and shading. Different paints differ by more.
const SAME_DE00: f64 = 12.0;
/// The cells from which the dominant cluster may start.
const STARTS_MAX: usize = 64;
/// Times that the median is taken again of what is near it; it mostly stays after three.
const ROUNDS: usize = 8;
/// The part of the cluster that the tolerance covers, before the margin.
const COVERED: f64 = 0.99;
/// A margin for light that changes a little: this factor, and one just noticeable difference more.
const MARGIN: (f64, f64) = (1.2, 1.0);
/// Tolerances that make sense: below, the noise of a camera decides; above, another colour is meant.
const TOLERANCE: (f64, f64) = (2.0, 25.0);
/// The part of the pixels elsewhere that may have the colour.
pub const ELSEWHERE_MAX: f64 = 0.002;

/// Counts of colours.
#[derive(Debug)]
pub struct Seen {
    inside: Vec<u64>,
    all: Vec<u64>,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen { inside: vec![0; CELLS], all: vec![0; CELLS] }
    }
}

/// A colour that was learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    /// L, a and b, in hundredths exact.
    pub lab: [f64; 3],
    /// Delta E 2000, in tenths exact.
    pub tolerance: f64,
    /// The part of the region's pixels that have it.
    pub inside: f64,
    /// The part of the other pixels that have it.
    pub elsewhere: f64,
}

fn cell([r, g, b]: [u8; 3]) -> usize {
    let part = |level: u8| usize::from(level >> (8 - BITS));
    part(r) << (2 * BITS) | part(g) << BITS | part(b)
}

/// The colour in the middle of a cell.
fn middle(cell: usize) -> Lab {
    let part = |shift: u32| ((cell >> shift & ((1 << BITS) - 1)) as u16) << (8 - BITS);
    Lab::of_q6([part(2 * BITS), part(BITS), part(0)].map(|low| low * 64 + 96))
}

fn de00(a: Lab, b: Lab) -> f64 {
    f64::from(de00_q12(a, b)) / 4_096.0
}

/// The value below which half of the weight is.
fn median(mut values: Vec<(i32, u64)>) -> i32 {
    values.sort_unstable();
    let half = values.iter().map(|(_, weight)| weight).sum::<u64>() / 2;
    let mut sum = 0;
    let found = values.iter().find(|(_, weight)| {
        sum += weight;
        sum > half
    });
    found.or(values.last()).map_or(0, |(value, _)| *value)
}

impl Seen {
    /// Counts a pixel of the picture.
    pub fn add_any(&mut self, rgb: [u8; 3]) {
        self.all[cell(rgb)] += 1;
    }

    /// Counts it as one of the region too.
    pub fn add_inside(&mut self, rgb: [u8; 3]) {
        self.inside[cell(rgb)] += 1;
    }

    /// The colour of the region; none if it has no pixels.
    pub fn learn(&self) -> Option<Learned> {
        let occupied = |counts: &[u64]| -> Vec<(Lab, u64)> {
            counts.iter().enumerate().filter(|(_, n)| **n > 0).map(|(cell, &n)| (middle(cell), n)).collect()
        };
        let inside = occupied(&self.inside);
        let others: Vec<u64> =
            self.all.iter().zip(&self.inside).map(|(all, inside)| all.saturating_sub(*inside)).collect();
        let centre = rounded(dominant(&inside)?);
        let apart = |cells: &[(Lab, u64)]| -> Vec<(f64, u64)> {
            let mut apart: Vec<_> = cells.iter().map(|&(lab, n)| (de00(centre, lab), n)).collect();
            apart.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            apart
        };
        let (inside, others) = (apart(&inside), apart(&occupied(&others)));
        let cluster: Vec<_> = inside.iter().copied().filter(|(de00, _)| *de00 <= SAME_DE00).collect();
        let covers = (quantile(&cluster, COVERED) * MARGIN.0 + MARGIN.1).clamp(TOLERANCE.0, TOLERANCE.1);
        // The tolerance ends where pixels elsewhere begin, unless the thing itself goes on there.
        let free = quantile(&others, ELSEWHERE_MAX / 2.0);
        let tolerance = if free > quantile(&cluster, 0.9) { covers.min(free) } else { covers };
        let tolerance = (tolerance * 10.0).floor() / 10.0;
        let lab = [centre.l_q12, centre.a_q12, centre.b_q12].map(|v| (f64::from(v) / 40.96).round() / 100.0);
        Some(Learned { lab, tolerance, inside: part(&inside, tolerance), elsewhere: part(&others, tolerance) })
    }
}

/// The colour as the file has it.
fn rounded(lab: Lab) -> Lab {
    let hundredth = |v: i32| ((f64::from(v) / 40.96).round() * 40.96).round() as i32;
    Lab { l_q12: hundredth(lab.l_q12), a_q12: hundredth(lab.a_q12), b_q12: hundredth(lab.b_q12) }
}

/// The median of the colours that most pixels are near to.
fn dominant(cells: &[(Lab, u64)]) -> Option<Lab> {
    let near = |centre: Lab| cells.iter().filter(move |(lab, _)| de00(centre, *lab) <= SAME_DE00);
    let mut starts = cells.to_vec();
    starts.sort_by_key(|&(_, n)| std::cmp::Reverse(n));
    starts.truncate(STARTS_MAX);
    let weight = |centre: Lab| near(centre).map(|(_, n)| n).sum::<u64>();
    let mut centre = starts.iter().map(|(lab, _)| *lab).max_by_key(|&lab| weight(lab))?;
    for _ in 0..ROUNDS {
        let of = |pick: fn(&Lab) -> i32| median(near(centre).map(|(lab, n)| (pick(lab), *n)).collect());
        let next = Lab { l_q12: of(|lab| lab.l_q12), a_q12: of(|lab| lab.a_q12), b_q12: of(|lab| lab.b_q12) };
        if next == centre {
            break;
        }
        centre = next;
    }
    Some(centre)
}

/// The distance within which a part of the weight is; cells are in order of their distances. Infinite without any.
fn quantile(cells: &[(f64, u64)], part: f64) -> f64 {
    let all: u64 = cells.iter().map(|(_, n)| n).sum();
    let mut sum = 0;
    let found = cells.iter().find(|(_, n)| {
        sum += n;
        sum as f64 > part * all as f64
    });
    found.or(cells.last()).map_or(f64::INFINITY, |(de00, _)| *de00)
}

/// The part of the weight within a distance.
fn part(cells: &[(f64, u64)], tolerance: f64) -> f64 {
    let all: u64 = cells.iter().map(|(_, n)| n).sum();
    let near: u64 = cells.iter().filter(|(de00, _)| *de00 <= tolerance).map(|(_, n)| n).sum();
    near as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A red thing with noise and a rim of grey in the region; elsewhere an orange one.
    #[test]
    fn the_colour_is_that_of_the_thing_in_the_region_and_stops_before_others() {
        let mut seen = Seen::default();
        let mut x = 1u32;
        let mut noise = || {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 28) as u8
        };
        for n in 0..9_000 {
            let base = if n % 10 < 3 { [128, 128, 128] } else { [200, 40, 40] };
            let red = base.map(|level| level - 8 + noise());
            seen.add_any(red);
            seen.add_inside(red);
            seen.add_any([210, 90, 40].map(|level| level - 8 + noise()));
        }
        let learned = seen.learn().unwrap();
        let red = Lab::of_rgb([200, 40, 40]);
        let [l, a, b] = learned.lab.map(|v| (v * 4_096.0).round() as i32);
        assert!(de00(red, Lab { l_q12: l, a_q12: a, b_q12: b }) < 1.5, "{learned:?}");
        assert!((0.66..0.72).contains(&learned.inside) && learned.elsewhere <= ELSEWHERE_MAX, "{learned:?}");
        assert_eq!(Seen::default().learn(), None);
    }
}
