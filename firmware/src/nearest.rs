//! Nearest: which centroid is nearest to each of a block of colours: the innermost loop of clustering and labelling.
//!
//! Takes a block of colours and the centroids. Gives for each colour its nearest centroid, the lowest on a tie, and the
//! squared distance.
//! Touches the block.
//! Never a float, and never another answer than `find_plain`: the vector versions in `simd` are held to it by test.
//!
//! |x - c|^2 = |x|^2 + (|c|^2 - 2 x c), and |x|^2 is the same for all c, so only the bracket (the key) is compared. In
//! 1/64 levels a channel is at most 16,320, so 2x is at most 32,640 and fits 16 bits; 2 x c is at most 1,598,054,400 and
//! |c|^2 at most 799,027,200, so a key fits 32 bits.

use crate::gather::gather;
use crate::label::Q6;
use crate::limits::CLUSTERS_MAX;
use heapless::Vec;

/// Colours in a block.
pub(crate) const BLOCK: usize = 64;

/// The centroids in the form that the loop wants them in.
pub(crate) type Targets = Vec<Target, CLUSTERS_MAX>;

/// A centroid: red and green, blue and nothing, and |c|^2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) rg: [i16; 2],
    pub(crate) b0: [i16; 2],
    pub(crate) norm: i32,
}

/// Prepares centroids; what does not fit is left out, and cannot be: a frame has no more clusters than that.
pub(crate) fn targets(centroids: impl Iterator<Item = Q6>) -> Targets {
    gather(centroids.map(|c| {
        let [r, g, b] = c.map(|v| v as i16);
        let norm = c.iter().map(|&v| i32::from(v) * i32::from(v)).sum();
        Target { rg: [r, g], b0: [b, 0], norm }
    }))
}

/// Pixels that the vector versions label at a time.
#[cfg(feature = "simd")]
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
}

impl Packed {
    /// Packs targets, if there are some and no more than fit.
    pub(crate) fn of(targets: &Targets) -> Option<Packed> {
        if !(1..=PACKED_MAX).contains(&targets.len()) {
            return None;
        }
        let low7 = |t: &Target| (t.norm & 127) as u8;
        let mut ranked: Vec<(u8, u8), PACKED_MAX> = gather((0..).zip(targets).map(|(l, t)| (low7(t), l)));
        ranked.sort_unstable();
        let mut packed =
            Packed { targets: targets.clone(), label_of_rank: [0; PACKED_MAX], low7_of_label: [0; PACKED_MAX] };
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

/// What labelling pixels in packed form comes to.
pub(crate) struct Tally {
    /// Sum of the squared distances without their low 7 bits, in units of these.
    pub(crate) floors: u64,
    /// The largest squared distance, its low 7 bits a rank.
    pub(crate) max: i32,
}

impl Tally {
    pub(crate) const EMPTY: Tally = Tally { floors: 0, max: 0 };
}

/// A block of colours, twice their value in 1/64 levels, and what was found for each.
pub(crate) struct Block {
    pub(crate) rg: [[i16; 2]; BLOCK],
    pub(crate) b0: [[i16; 2]; BLOCK],
    /// Squared distance to the nearest centroid, in 1/4096 squared levels.
    pub(crate) distance2: [i32; BLOCK],
    /// The nearest centroid.
    pub(crate) nearest: [i32; BLOCK],
}

impl Block {
    pub(crate) const EMPTY: Block =
        Block { rg: [[0; 2]; BLOCK], b0: [[0; 2]; BLOCK], distance2: [0; BLOCK], nearest: [0; BLOCK] };

    /// Fills the block from its first place on.
    #[inline]
    pub(crate) fn fill(&mut self, colours: impl Iterator<Item = Q6>) {
        for ((rg, b0), c) in self.rg.iter_mut().zip(&mut self.b0).zip(colours) {
            let [r, g, b] = c.map(|v| (v << 1) as i16);
            (*rg, *b0) = ([r, g], [b, 0]);
        }
    }

    /// Fills the block from its first place on with 8-bit colours.
    #[inline]
    pub(crate) fn fill_rgb(&mut self, pixels: &[[u8; 3]]) {
        self.fill(pixels.iter().map(|px| px.map(|v| u16::from(v) << 6)));
    }

    /// Finds the nearest target of every colour, by whatever this machine does fastest.
    #[inline]
    pub(crate) fn find(&mut self, targets: &Targets) {
        #[cfg(feature = "simd")]
        if crate::simd::find(self, targets) {
            return;
        }
        self.find_plain(targets);
    }

    /// Finds the nearest target of every colour, plainly: what the others are measured against.
    pub(crate) fn find_plain(&mut self, targets: &Targets) {
        let colours = self.rg.iter().zip(&self.b0).map(|(rg, b0)| [rg[0], rg[1], b0[0]].map(i32::from));
        for ((x, distance2), nearest) in colours.zip(&mut self.distance2).zip(&mut self.nearest) {
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
