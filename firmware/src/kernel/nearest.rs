//! Which centroid is nearest to each of a block of colours: the innermost loop of clustering and labelling.
//!
//! For each colour the result is the nearest centroid, the lowest one on a tie, and the squared distance, all exact.
//!
//! |x - c|^2 = |x|^2 + (|c|^2 - 2 x c), and |x|^2 is the same for all c, so only the bracket (the key) is compared. In
//! 1/64 levels a channel is at most 16,320, so 2x is at most 32,640 and fits 16 bits; 2 x c is at most 1,598,054,400 and
//! |c|^2 at most 799,027,200, so a key fits 32 bits.

use crate::color::Q6;
use crate::gather::gather;
use crate::limits::{CLUSTERS_MAX, WIDTH_PX_MAX};
use heapless::Vec;

/// Colours in a block.
pub(crate) const BLOCK: usize = 64;

/// Centroids prepared for the loop.
pub(crate) type Targets = Vec<Target, CLUSTERS_MAX>;

/// A centroid: red and green, blue and nothing, and |c|^2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) rg: [i16; 2],
    pub(crate) b0: [i16; 2],
    pub(crate) norm: i32,
}

/// Prepares centroids. Centroids beyond [`CLUSTERS_MAX`] are ignored; callers pass at most that many.
pub(crate) fn targets(centroids: impl Iterator<Item = Q6>) -> Targets {
    gather(centroids.map(|c| {
        let [r, g, b] = c.map(|v| v as i16);
        let norm = c.iter().map(|&v| i32::from(v) * i32::from(v)).sum();
        Target { rg: [r, g], b0: [b, 0], norm }
    }))
}

/// Pixels that the vector versions label at a time.
pub(crate) const LABEL_BLOCK_PX: usize = 32;
/// Targets at most in the packed form.
pub(crate) const PACKED_MAX: usize = 128;

/// The centroids for colours of whole levels. There 2 x c is a multiple of 128, so the low 7 bits of a key are those of
/// |c|^2, whatever the colour; they make room for the target's rank in the order of (these bits, label). The smallest
/// packed key then has the nearest target in it, the lowest label on a tie, and no comparison need carry a label along.
pub(crate) struct Packed {
    /// With the rank in place of the low 7 bits of |c|^2.
    pub(crate) targets: Targets,
    pub(crate) label_of_rank: [u8; PACKED_MAX],
    low7_of_label: [u8; PACKED_MAX],
    /// A pixel is farther than lambda from its centroid if its packed squared distance is greater than this.
    #[cfg_attr(
        not(all(feature = "simd", any(target_arch = "x86_64", target_arch = "aarch64"))),
        allow(dead_code, reason = "only the vector versions use it")
    )]
    pub(crate) far_above: i32,
}

impl Packed {
    /// Packs targets, if there are some and no more than fit. `lambda2_q12` is the square of lambda.
    pub(crate) fn of(targets: &Targets, lambda2_q12: u32) -> Option<Packed> {
        if !(1..=PACKED_MAX).contains(&targets.len()) {
            return None;
        }
        let low7 = |t: &Target| (t.norm & 127) as u8;
        let mut ranked: Vec<(u8, u8), PACKED_MAX> = gather((0..).zip(targets).map(|(l, t)| (low7(t), l)));
        ranked.sort_unstable();
        // Ranks are in the order of the low bits, so those within lambda are the first ranks.
        let lambda2 = lambda2_q12.min(i32::MAX as u32) as i32;
        let ranks_within = ranked.iter().filter(|r| i32::from(r.0) <= lambda2 & 127).count() as i32;
        let mut packed = Packed {
            targets: targets.clone(),
            label_of_rank: [0; PACKED_MAX],
            low7_of_label: [0; PACKED_MAX],
            far_above: (lambda2 & !127) + ranks_within - 1,
        };
        for ((rank, &(low7, label)), slot) in (0..).zip(&ranked).zip(&mut packed.label_of_rank) {
            *slot = label;
            let label = usize::from(label);
            if let (Some(t), Some(low)) = (packed.targets.get_mut(label), packed.low7_of_label.get_mut(label)) {
                t.norm = t.norm & !127 | rank;
                *low = low7;
            }
        }
        Some(packed)
    }

    /// The sum of squared distances and the largest of them, of all that was tallied; `pixels` of each label were.
    pub(crate) fn costs(&self, tally: &Tally, pixels: &[u32; CLUSTERS_MAX]) -> (u64, u32) {
        let low: u64 = pixels.iter().zip(self.low7_of_label).map(|(&n, low)| u64::from(n) * u64::from(low)).sum();
        let rank = (tally.max & 127) as usize;
        let label = self.label_of_rank.get(rank).copied().unwrap_or(0);
        let low7 = self.low7_of_label.get(usize::from(label)).copied().unwrap_or(0);
        // Ranks go by these low bits, so the largest packed distance is the largest distance.
        (tally.floors * 128 + low, (tally.max & !127) as u32 + u32::from(low7))
    }
}

/// Blocks in the widest row.
const ROW_BLOCKS: usize = WIDTH_PX_MAX / LABEL_BLOCK_PX;

/// Totals over the pixels labelled in packed form.
pub(crate) struct Tally {
    /// Sum of the squared distances without their low 7 bits, in units of these.
    pub(crate) floors: u64,
    /// The largest squared distance, its low 7 bits a rank.
    pub(crate) max: i32,
    /// Blocks of the row labelled last that have pixels farther than lambda from their centroid: the block's place in the
    /// row, and a bit for each such pixel.
    pub(crate) far_blocks: Vec<(u16, u32), ROW_BLOCKS>,
}

impl Tally {
    pub(crate) const EMPTY: Tally = Tally { floors: 0, max: 0, far_blocks: Vec::new() };

    /// Notes the far pixels of block `n` of the current row.
    #[cfg_attr(
        not(all(feature = "simd", any(target_arch = "x86_64", target_arch = "aarch64"))),
        allow(dead_code, reason = "only the vector versions use it")
    )]
    #[cold]
    #[inline(never)]
    pub(crate) fn push_far(&mut self, n: usize, pixels: u32) {
        let _ = self.far_blocks.push((n as u16, pixels));
    }
}

/// Calls `visit(place, item, nearest target, squared distance)` for every item, in order.
#[inline]
pub(crate) fn for_each_nearest<T>(
    items: &[T],
    color: impl Fn(&T) -> Q6,
    targets: &Targets,
    mut visit: impl FnMut(usize, &T, usize, u32),
) {
    let mut block = Block::EMPTY;
    for (start, items) in (0..).step_by(BLOCK).zip(items.chunks(BLOCK)) {
        block.fill(items.iter().map(&color));
        block.find(targets);
        for (i, ((item, &nearest), &distance2)) in items.iter().zip(&block.nearest).zip(&block.distance2).enumerate() {
            visit(start + i, item, nearest as usize, distance2 as u32);
        }
    }
}

/// Calls `visit(place, item, nearest target, squared distance)` for every item farther than `above_q12`, in order.
#[inline]
pub(crate) fn for_each_beyond<T>(
    items: &[T],
    color: impl Fn(&T) -> Q6,
    targets: &Targets,
    above_q12: u32,
    mut visit: impl FnMut(usize, &T, usize, u32),
) {
    let mut block = Block::EMPTY;
    for (start, items) in (0..).step_by(BLOCK).zip(items.chunks(BLOCK)) {
        block.fill(items.iter().map(&color));
        block.find(targets);
        // Most blocks have nothing beyond, and their maximum is taken in vectors.
        if block.distance2.iter().take(items.len()).copied().max().is_none_or(|max| max as u32 <= above_q12) {
            continue;
        }
        for (i, ((item, &nearest), &distance2)) in items.iter().zip(&block.nearest).zip(&block.distance2).enumerate() {
            if distance2 as u32 > above_q12 {
                visit(start + i, item, nearest as usize, distance2 as u32);
            }
        }
    }
}

/// Writes the nearest target of every item to `labels`, and calls `visit(item, label before, label now)` where it is another.
#[inline]
pub(crate) fn for_each_changed<T>(
    items: &[T],
    color: impl Fn(&T) -> Q6,
    targets: &Targets,
    labels: &mut [u8],
    mut visit: impl FnMut(&T, u8, u8),
) {
    let mut block = Block::EMPTY;
    for (items, labels) in items.chunks(BLOCK).zip(labels.chunks_mut(BLOCK)) {
        block.fill(items.iter().map(&color));
        block.find(targets);
        // In most blocks nothing changes, and they are compared in vectors.
        if labels.iter().zip(&block.nearest).fold(0, |bits, (&label, &nearest)| bits | (label ^ nearest as u8)) == 0 {
            continue;
        }
        for ((item, label), &nearest) in items.iter().zip(labels).zip(&block.nearest) {
            if *label != nearest as u8 {
                visit(item, *label, nearest as u8);
                *label = nearest as u8;
            }
        }
    }
}

/// A block of colours, twice their value in 1/64 levels, and what was found for each.
pub(crate) struct Block {
    pub(crate) rg: [[i16; 2]; BLOCK],
    pub(crate) b0: [[i16; 2]; BLOCK],
    /// Squared distance to the nearest centroid, in 1/4096 squared levels.
    pub(crate) distance2: [i32; BLOCK],
    /// The nearest centroid.
    pub(crate) nearest: [i32; BLOCK],
    /// Number of colours, from the first place on. What was found behind them is not meant.
    pub(crate) len: usize,
}

impl Block {
    pub(crate) const EMPTY: Block =
        Block { rg: [[0; 2]; BLOCK], b0: [[0; 2]; BLOCK], distance2: [0; BLOCK], nearest: [0; BLOCK], len: 0 };

    /// Fills the block anew, from its first place on.
    #[inline]
    pub(crate) fn fill(&mut self, colours: impl Iterator<Item = Q6>) {
        let places = self.rg.iter_mut().zip(&mut self.b0).zip(colours);
        let filled = places.map(|((rg, b0), [r, g, b])| {
            // Two channels in a number, which is one load, one shift and one store.
            let doubled = (u32::from(r) | u32::from(g) << 16) << 1;
            (*rg, *b0) = ([doubled as i16, (doubled >> 16) as i16], [(b << 1) as i16, 0]);
        });
        self.len = filled.count();
    }

    /// Finds the nearest target of every colour, by whatever this machine does fastest.
    #[inline]
    pub(crate) fn find(&mut self, targets: &Targets) {
        if !super::find(self, targets) {
            self.find_plain(targets);
        }
    }

    /// Finds the nearest target of every colour, plainly: what the others are measured against.
    pub(crate) fn find_plain(&mut self, targets: &Targets) {
        let colours = self.rg.iter().zip(&self.b0).map(|(rg, b0)| [rg[0], rg[1], b0[0]].map(i32::from));
        for ((x, distance2), nearest) in colours.zip(&mut self.distance2).zip(&mut self.nearest).take(self.len) {
            let (mut key, mut label) = (i32::MAX, 0);
            for (l, t) in (0..).zip(targets) {
                let [r, g, b] = [t.rg[0], t.rg[1], t.b0[0]].map(i32::from);
                let k = t.norm - (x[0] * r + x[1] * g + x[2] * b);
                if k < key {
                    (key, label) = (k, l);
                }
            }
            let norm: i32 = x.iter().map(|v| (v >> 1) * (v >> 1)).sum();
            // Only with no targets at all is there no key.
            *distance2 = if targets.is_empty() { i32::MAX } else { norm + key };
            *nearest = label;
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::color::q6;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn labels_that_change_are_visited_and_written_and_no_other(
            colours in prop::collection::vec(any::<[u8; 3]>(), 0..200), labels in prop::collection::vec(0u8..4, 0..200),
            centroids in prop::collection::vec(any::<[u8; 3]>(), 1..4),
        ) {
            let targets = targets(centroids.into_iter().map(q6));
            let mut nearest = Vec::new();
            for_each_nearest(&colours, |&rgb| q6(rgb), &targets, |_, _, label, _| nearest.push(label as u8));
            let places = colours.iter().zip(&labels).zip(&nearest);
            let want: Vec<_> = places.filter(|((_, before), now)| before != now).map(|((c, b), n)| (*c, *b, *n)).collect();
            let (mut found, mut now) = (Vec::new(), labels.clone());
            for_each_changed(&colours, |&rgb| q6(rgb), &targets, &mut now, |c, before, now| found.push((*c, before, now)));
            prop_assert_eq!(found, want);
            let written = nearest.len().min(labels.len());
            prop_assert_eq!((&now[..written], &now[written..]), (&nearest[..written], &labels[written..]));
        }
    }
}
