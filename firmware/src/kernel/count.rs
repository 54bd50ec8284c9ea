//! Counting pixels into histogram cells, and the keys of their cells, without vectors.
//!
//! A cell's index is the Morton key of its colour: the bits of red, green and blue interleaved, so that a parent cell's key
//! is its child's without the last three bits. The vector versions give the same sums, which a test checks.

use crate::color::Features;

/// The top five bits of a level spread out for a Morton key: bit i goes to bit 3 i.
const SPREAD: [u16; 256] = {
    let mut table = [0; 256];
    let mut v = 0;
    while v < 256 {
        let mut bit = 0;
        while bit < 5 {
            table[v] |= ((v as u16 >> (3 + bit)) & 1) << (3 * bit);
            bit += 1;
        }
        v += 1;
    }
    table
};

/// The Morton key of a colour at five bits a channel: a parent's key is its child's without the last three bits.
#[inline]
pub(crate) fn key5([r, g, b]: [u8; 3]) -> usize {
    let s = [r, g, b].map(|v| usize::from(SPREAD[usize::from(v)]));
    s[0] << 2 | s[1] << 1 | s[2]
}

/// Writes the Morton keys of pixels without vectors, as many as the shorter slice has.
pub(crate) fn keys5_plain(pixels: &[[u8; 3]], keys: &mut [u16]) {
    keys.iter_mut().zip(pixels).for_each(|(key, &rgb)| *key = key5(rgb) as u16);
}

/// Counts a row of pixels into their cells without vectors. Returns the sum of their squares.
pub(crate) fn count_plain<const BITS: u32, const CELLS: usize>(
    pixels: &[[u8; 3]],
    hist: &mut [Features; CELLS],
) -> u64 {
    // A row is at most 3 x 8,192 bytes, so its squares fit 32 bits.
    let squares: u32 = pixels.as_flattened().iter().map(|&v| u32::from(v) * u32::from(v)).sum();
    for &px in pixels {
        if let Some(cell) = hist.get_mut(key5(px) >> (3 * (5 - BITS))) {
            let [r, g, b] = px.map(u32::from);
            *cell = cell.plus(&Features([r, g, b, 1]));
        }
    }
    u64::from(squares)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn every_version_has_the_keys_of_the_plain_one(pixels in prop::collection::vec(any::<[u8; 3]>(), 0..300), keys in 0usize..300) {
            let mut keys = std::vec![u16::MAX; keys];
            crate::kernel::keys5(&pixels, &mut keys);
            let beyond = std::iter::repeat(usize::from(u16::MAX));
            let want: Vec<usize> = pixels.iter().map(|&rgb| key5(rgb)).chain(beyond).take(keys.len()).collect();
            prop_assert_eq!(keys.into_iter().map(usize::from).collect::<Vec<_>>(), want);
        }
    }
}
