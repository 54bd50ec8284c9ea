//! Blocks of colours in CIELAB and their nearest targets, from X, Y and Z.
//!
//! Inputs are X, Y and Z of up to [`BLOCK`] colours and the targets; results are where each lies, its nearest target and the
//! squared distance. The loops are plain, without branches, and compiled once more for AVX2, so all versions give the same bits:
//! those of [`crate::color::Space::of_rgb`]. A test compares them.

use super::nearest::{BLOCK, Block, Targets};
use crate::color::{Q6, Xyz, bent_between, bent_steps, of_bent};

/// Colours that are to be converted together.
pub(crate) struct LabBlock {
    xyz_q24: [[u32; BLOCK]; 3],
    len: usize,
    block: Block,
}

impl LabBlock {
    /// Colours that fit.
    pub(crate) const LEN_MAX: usize = BLOCK;

    pub(crate) const EMPTY: LabBlock = LabBlock { xyz_q24: [[0; BLOCK]; 3], len: 0, block: Block::EMPTY };

    /// Number of colours.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a colour; a full block ignores it.
    #[inline]
    pub(crate) fn push(&mut self, [x, y, z, _]: Xyz) {
        let n = self.len;
        for (channel, v) in self.xyz_q24.iter_mut().zip([x, y, z]) {
            if let Some(slot) = channel.get_mut(n) {
                *slot = v;
            }
        }
        self.len = (n + 1).min(BLOCK);
    }

    /// Converts all colours, and empties the block. Results stay until the next time.
    pub(crate) fn convert(&mut self) {
        super::convert(&self.xyz_q24, &mut self.block);
        self.len = 0;
    }

    /// Converts all colours, finds their nearest targets, and empties the block. Results stay until the next time.
    pub(crate) fn find(&mut self, targets: &Targets) {
        self.convert();
        self.block.find(targets);
    }

    /// The nearest target of each colour of the last [`LabBlock::find`], and the squared distance.
    #[inline]
    pub(crate) fn found(&self) -> impl Iterator<Item = (usize, u32)> {
        let found = self.block.nearest.iter().zip(&self.block.distance2);
        found.map(|(&nearest, &distance2)| (nearest as usize, distance2 as u32))
    }

    /// Where a colour of the last [`LabBlock::convert`] lies.
    pub(crate) fn point(&self, n: usize) -> Q6 {
        let (rg, b0) =
            (self.block.rg.get(n).copied().unwrap_or_default(), self.block.b0.get(n).copied().unwrap_or_default());
        [rg[0], rg[1], b0[0]].map(|v| v as u16 >> 1)
    }
}

/// Converts X, Y and Z to twice the coordinates in CIELAB.
#[inline(always)]
pub(super) fn convert_plain(xyz_q24: &[[u32; BLOCK]; 3], block: &mut Block) {
    let mut bent = [[0i32; BLOCK]; 3];
    for (bent, channel) in bent.iter_mut().zip(xyz_q24) {
        let (mut low, mut high) = ([0; BLOCK], [0; BLOCK]);
        for ((low, high), &t) in low.iter_mut().zip(&mut high).zip(channel) {
            (*low, *high) = bent_steps(t);
        }
        for (((bent, low), high), &t) in bent.iter_mut().zip(low).zip(high).zip(channel) {
            *bent = bent_between(low, high, t);
        }
    }
    let [x, y, z] = &bent;
    let places = block.rg.iter_mut().zip(&mut block.b0);
    for (((place, &x), &y), &z) in places.zip(x).zip(y).zip(z) {
        let [l, a, b] = of_bent([x, y, z]);
        (*place.0, *place.1) = ([(l << 1) as i16, (a << 1) as i16], [(b << 1) as i16, 0]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::targets;
    use super::*;
    use crate::color::{Space, distance2_q12, xyz_of_rgb};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn colours_lie_where_each_alone_does_and_the_nearest_is_found(
            colours in prop::collection::vec(any::<[u8; 3]>(), 1..BLOCK + 1), centroids in prop::collection::vec(any::<[u8; 3]>(), 1..20),
        ) {
            let centroids = centroids.into_iter().map(|rgb| Space::Cielab.of_rgb(rgb));
            let mut block = LabBlock::EMPTY;
            colours.iter().for_each(|&rgb| block.push(xyz_of_rgb(rgb)));
            prop_assert_eq!(block.len(), colours.len());
            block.find(&targets(centroids.clone()));
            prop_assert_eq!(block.len(), 0);
            for ((n, &rgb), (nearest, distance2)) in colours.iter().enumerate().zip(block.found()) {
                let point = Space::Cielab.of_rgb(rgb);
                let want = centroids.clone().enumerate().map(|(k, c)| (distance2_q12(point, c), k)).min().unwrap_or_default();
                prop_assert_eq!((block.point(n), (distance2, nearest)), (point, want));
            }
        }
    }
}
