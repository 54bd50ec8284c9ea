//! Runs of pixels of one name in a part of a row, and sums over them.
//!
//! Inputs are up to [`RUNS_PX_MAX`] pixels and the table of names; results are added to the sums that the caller lends. Names
//! and sums from the left are found once, so that each of several regions costs only a step for each of its runs. All sums
//! are exact.

use super::{NAMELESS, Names};
use crate::color::Features;
use crate::kernel;
use crate::kernel::cells::{ColourKey, PACKED_PX_MAX, Packed16};
use crate::limits::NAMED_MAX;

/// Pixels of which runs are found at once: their levels add up to less than 2^16, and they fill whole words of bits.
pub(crate) const RUNS_PX_MAX: usize = 256;
const _: () = assert!(RUNS_PX_MAX <= PACKED_PX_MAX && RUNS_PX_MAX.is_multiple_of(WORD_PX));

/// Pixels of a word of bits.
const WORD_PX: usize = u64::BITS as usize;

/// Names of neighbouring pixels, and the sums of all pixels from the left.
pub(crate) struct Runs {
    names: [u8; RUNS_PX_MAX],
    keys: [ColourKey; RUNS_PX_MAX],
    /// The sums of the pixels before each, and of all.
    before: [Packed16; RUNS_PX_MAX + 1],
    /// A bit for each pixel whose right neighbour has another name.
    ends: [u64; RUNS_PX_MAX / WORD_PX],
}

impl Runs {
    pub(crate) const NONE: Runs = Runs {
        names: [NAMELESS; RUNS_PX_MAX],
        keys: [0; RUNS_PX_MAX],
        before: [0; RUNS_PX_MAX + 1],
        ends: [0; RUNS_PX_MAX / WORD_PX],
    };

    /// Finds the runs of at most [`RUNS_PX_MAX`] pixels; more are left out.
    pub(crate) fn find(&mut self, pixels: &[[u8; 3]], names: &mut Names<'_>) {
        let Some((_, packed)) = self.before.split_first_mut() else { return };
        kernel::split(pixels, &mut self.keys, packed);
        let mut sum = 0;
        for packed in packed.iter_mut().take(pixels.len()) {
            sum += *packed;
            *packed = sum;
        }
        let keys = self.keys.get(..pixels.len()).unwrap_or(&self.keys);
        names.of_keys(keys, pixels, &mut self.names);
        let words = self.names.as_chunks::<WORD_PX>().0;
        for (n, (ends, names)) in self.ends.iter_mut().zip(words).enumerate() {
            let after = words.get(n + 1).map_or(NAMELESS, |names| names[0]);
            *ends = ends_of(names, after);
        }
    }

    /// Adds the pixels from `start` to before `end` to the sums of their names.
    pub(crate) fn add(&self, start: usize, end: usize, sums: &mut NamedSums) {
        let mut from = start;
        let ends = self.ends.iter().enumerate().skip(start / WORD_PX);
        for (first, &ends) in ends.map(|(n, ends)| (n * WORD_PX, ends)).take_while(|(first, _)| *first < end) {
            let mut ends = ends & u64::MAX << start.saturating_sub(first);
            while ends != 0 {
                let to = first + ends.trailing_zeros() as usize + 1;
                if to >= end {
                    break;
                }
                self.add_run(from, to, sums);
                (from, ends) = (to, ends & (ends - 1));
            }
        }
        self.add_run(from, end, sums);
    }

    #[inline]
    fn add_run(&self, from: usize, to: usize, sums: &mut NamedSums) {
        let before = |at: usize| self.before.get(at).copied().unwrap_or(0);
        // Sums grow from left to right in each of the four numbers, so none borrows from the next.
        let run = before(to).wrapping_sub(before(from));
        if let Some(sum) = self.names.get(from).and_then(|&name| sums.0.get_mut(usize::from(name))) {
            *sum = [sum[0].wrapping_add(run & PAIR), sum[1].wrapping_add(run >> 16 & PAIR)];
        }
    }
}

/// Two of the four packed numbers, with 32 bits each.
const PAIR: u64 = 0x0000_FFFF_0000_FFFF;

/// Bits of the names that differ from the next one, the last from `after`.
fn ends_of(names: &[u8; WORD_PX], after: u8) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    // Puts bit 0 of byte i to bit 56 + i.
    const TOGETHER: u64 = 0x0102_0408_1020_4080;
    let words = names.as_chunks::<8>().0;
    let mut bits = 0;
    for (n, names) in words.iter().enumerate() {
        let next = words.get(n + 1).map_or(after, |names| names[0]);
        let these = u64::from_le_bytes(*names);
        let differ = these ^ (these >> 8 | u64::from(next) << 56);
        // Names are below 128, so that a byte's sum sets its top bit just if it is not 0.
        let differ = (differ + 127 * ONES) >> 7 & ONES;
        bits |= (differ.wrapping_mul(TOGETHER) >> 56) << (8 * n);
    }
    bits
}

/// Sums of the pixels of each named colour, and of those without a name: red and blue, green and the number, 32 bits each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NamedSums([[u64; 2]; NAMED_MAX + 1]);

impl NamedSums {
    pub(crate) const ZERO: NamedSums = NamedSums([[0; 2]; NAMED_MAX + 1]);

    /// The sums of each named colour.
    pub(crate) fn of_colours(&self) -> impl Iterator<Item = Features> {
        let sums = |[rb, gn]: &[u64; 2]| Features([*rb as u32, *gn as u32, (rb >> 32) as u32, (gn >> 32) as u32]);
        self.0.iter().take(NAMED_MAX).map(sums)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::color::Lab;
    use crate::named::{BLOCK_BYTES, NAMES_BYTES_MIN, NamedColour, decide};
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn sums_of_any_part_are_those_of_its_pixels(
            pixels in prop::collection::vec(prop_oneof![Just([255u8; 3]), Just([200, 30, 30]), any::<[u8; 3]>()], 1..RUNS_PX_MAX + 1),
            parts in prop::collection::vec((0usize..RUNS_PX_MAX, 0usize..RUNS_PX_MAX), 1..9),
        ) {
            let colours = [[255; 3], [210, 40, 30], [30, 60, 160]]
                .map(|rgb| NamedColour { lab: Lab::of_rgb(rgb), tolerance_q6: 15 * 64 });
            let mut memory = vec![0; NAMES_BYTES_MIN + 9 * BLOCK_BYTES];
            let (mut names, mut runs) = (Names::new(&colours, &mut memory), Runs::NONE);
            runs.find(&pixels, &mut names);
            for (a, b) in parts {
                let (a, b) = (a.min(b).min(pixels.len() - 1), a.max(b).min(pixels.len() - 1) + 1);
                let (mut found, mut want) = (NamedSums::ZERO, [Features::ZERO; NAMED_MAX]);
                runs.add(a, b, &mut found);
                for &rgb in &pixels[a..b] {
                    if let Some(n) = decide(&colours, Lab::of_rgb(rgb)) {
                        want[n] = want[n].plus(&Features::of_pixels(rgb, 1));
                    }
                }
                prop_assert_eq!(found.of_colours().collect::<Vec<_>>(), want.to_vec());
            }
        }

        #[test]
        fn ends_are_where_the_next_name_differs(names in prop::collection::vec(0u8..4, WORD_PX + 1)) {
            let bits = ends_of(names[..WORD_PX].try_into().unwrap(), names[WORD_PX]);
            for i in 0..WORD_PX {
                prop_assert_eq!(bits >> i & 1 == 1, names[i] != names[i + 1]);
            }
        }
    }
}
