//! Blocks of colours in CIELAB and their nearest targets, from X, Y and Z.
//!
//! Inputs are X, Y and Z of up to [`BLOCK`] colours and the targets; results are where each lies, its nearest target and the
//! squared distance. The version for AVX2 gives the same bits as the plain one: those of [`crate::color::Space::of_rgb`]. A test
//! compares them.

use super::nearest::{BLOCK, Block, Targets};
use crate::color::{Q6, Xyz, bent_between, bent_steps, of_bent};

/// Colours that are to be converted together.
pub(crate) struct LabBlock {
    xyz_q24: [Xyz; BLOCK],
    len: usize,
    block: Block,
}

impl LabBlock {
    /// Colours that fit.
    pub(crate) const LEN_MAX: usize = BLOCK;

    pub(crate) const EMPTY: LabBlock = LabBlock { xyz_q24: [[0; 4]; BLOCK], len: 0, block: Block::EMPTY };

    /// Adds colours; a full block ignores the rest.
    #[inline]
    pub(crate) fn extend(&mut self, colours: impl Iterator<Item = Xyz>) {
        let free = self.xyz_q24.get_mut(self.len..).unwrap_or(&mut []);
        self.len += free.iter_mut().zip(colours).map(|(slot, xyz)| *slot = xyz).count();
    }

    /// Converts all colours, and empties the block. Results stay until the next time.
    pub(crate) fn convert(&mut self) {
        self.block.len = core::mem::take(&mut self.len);
        super::convert(&self.xyz_q24, &mut self.block);
    }

    /// Converts all colours, finds their nearest targets, and empties the block. Results stay until the next time.
    pub(crate) fn find(&mut self, targets: &Targets) {
        self.convert();
        self.block.find(targets);
    }

    /// The nearest target of each colour of the last [`LabBlock::find`].
    #[inline]
    pub(crate) fn nearest(&self) -> impl Iterator<Item = u8> {
        self.block.nearest.iter().take(self.block.len).map(|&nearest| nearest as u8)
    }

    /// The squared distances to these.
    #[inline]
    pub(crate) fn distances2(&self) -> impl Iterator<Item = u32> {
        self.block.distance2.iter().take(self.block.len).map(|&distance2| distance2 as u32)
    }

    /// What the last [`LabBlock::find`] found, for `N` colours after `N` others.
    #[inline]
    pub(crate) fn found<const N: usize>(&self) -> impl Iterator<Item = Found<'_, N>> {
        let of_each = self.block.nearest.as_chunks::<N>().0.iter().zip(self.block.distance2.as_chunks::<N>().0);
        of_each.map(|(nearest, distance2)| Found { nearest, distance2 }).take(self.block.len / N)
    }

    /// Where a colour of the last [`LabBlock::convert`] lies.
    pub(crate) fn point(&self, n: usize) -> Q6 {
        let (rg, b0) =
            (self.block.rg.get(n).copied().unwrap_or_default(), self.block.b0.get(n).copied().unwrap_or_default());
        [rg[0], rg[1], b0[0]].map(|v| v as u16 >> 1)
    }
}

/// The nearest targets of some colours, and the squared distances to these.
pub(crate) struct Found<'b, const N: usize> {
    nearest: &'b [i32; N],
    distance2: &'b [i32; N],
}

impl<const N: usize> Found<'_, N> {
    /// The target that is nearest to all of the colours, if there is one and none is farther from it than `within2_q12`.
    #[inline]
    pub(crate) fn label_of_all(&self, within2_q12: u32) -> Option<u8> {
        let first = self.nearest.first().copied().unwrap_or_default();
        let others = self.nearest.iter().fold(0, |bits, &label| bits | (label ^ first));
        let farthest2 = self.distance2.iter().fold(0, |farthest2, &distance2| farthest2.max(distance2 as u32));
        (others == 0 && farthest2 <= within2_q12).then_some(first as u8)
    }
}

/// Colours whose steps are looked up before they are interpolated, so that the compiler does the second in vectors.
const TOGETHER: usize = 16;
const _: () = assert!(BLOCK.is_multiple_of(TOGETHER));

/// Converts X, Y and Z of as many colours as the block has to twice the coordinates in CIELAB.
pub(super) fn convert_plain(xyz_q24: &[Xyz; BLOCK], block: &mut Block) {
    let places = block.rg.as_chunks_mut::<TOGETHER>().0.iter_mut().zip(block.b0.as_chunks_mut::<TOGETHER>().0);
    let blocks = block.len.div_ceil(TOGETHER);
    for (xyz_q24, (rg, b0)) in xyz_q24.as_chunks::<TOGETHER>().0.iter().zip(places).take(blocks) {
        let (mut steps, mut bent) = ([[0; 2]; 4 * TOGETHER], [[0; 4]; TOGETHER]);
        let xyz_q24 = xyz_q24.as_flattened();
        steps.iter_mut().zip(xyz_q24).for_each(|(steps, &t)| *steps = bent_steps(t));
        for ((bent, steps), &t) in bent.as_flattened_mut().iter_mut().zip(steps).zip(xyz_q24) {
            *bent = bent_between(steps, t);
        }
        for ((&[x, y, z, _], rg), b0) in bent.iter().zip(rg).zip(b0) {
            let [l, a, b] = of_bent([x, y, z]);
            (*rg, *b0) = ([(l << 1) as i16, (a << 1) as i16], [(b << 1) as i16, 0]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::targets;
    use super::*;
    use crate::color::{Space, distance2_q12, xyz_of_rgb};
    use proptest::prelude::*;

    #[test]
    fn black_and_white_lie_where_each_alone_does() {
        let mut block = LabBlock::EMPTY;
        block.extend([[0; 3], [255; 3]].into_iter().map(xyz_of_rgb));
        block.convert();
        assert_eq!([block.point(0), block.point(1)], [[0; 3], [255; 3]].map(|rgb| Space::Cielab.of_rgb(rgb)));
    }

    proptest! {
        #[test]
        fn every_version_converts_as_the_plain_one(colours in prop::collection::vec(any::<[u8; 3]>(), 1..BLOCK + 1)) {
            let (mut found, mut want) = (Block::EMPTY, Block::EMPTY);
            let mut xyz_q24 = [[0; 4]; BLOCK];
            xyz_q24.iter_mut().zip(&colours).for_each(|(xyz, &rgb)| *xyz = xyz_of_rgb(rgb));
            (found.len, want.len) = (colours.len(), colours.len());
            crate::kernel::convert(&xyz_q24, &mut found);
            convert_plain(&xyz_q24, &mut want);
            let n = colours.len();
            prop_assert_eq!((&found.rg[..n], &found.b0[..n]), (&want.rg[..n], &want.b0[..n]));
        }

        #[test]
        fn colours_lie_where_each_alone_does_and_the_nearest_is_found(
            colours in prop::collection::vec(any::<[u8; 3]>(), 1..BLOCK + 1), centroids in prop::collection::vec(any::<[u8; 3]>(), 1..20),
        ) {
            let centroids = centroids.into_iter().map(|rgb| Space::Cielab.of_rgb(rgb));
            let mut block = LabBlock::EMPTY;
            let (first, rest) = colours.split_at(colours.len() / 2);
            block.extend(first.iter().map(|&rgb| xyz_of_rgb(rgb)));
            block.extend(rest.iter().map(|&rgb| xyz_of_rgb(rgb)));
            block.find(&targets(centroids.clone()));
            for (((n, &rgb), nearest), distance2) in colours.iter().enumerate().zip(block.nearest()).zip(block.distances2()) {
                let point = Space::Cielab.of_rgb(rgb);
                let want = centroids.clone().enumerate().map(|(k, c)| (distance2_q12(point, c), k)).min().unwrap_or_default();
                prop_assert_eq!((block.point(n), (distance2, usize::from(nearest))), (point, want));
            }
        }
    }
}
