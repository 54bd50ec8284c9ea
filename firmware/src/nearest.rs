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
    centroids
        .take(CLUSTERS_MAX)
        .map(|c| {
            let [r, g, b] = c.map(|v| v as i16);
            let norm = c.iter().map(|&v| i32::from(v) * i32::from(v)).sum();
            Target { rg: [r, g], b0: [b, 0], norm }
        })
        .collect()
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
