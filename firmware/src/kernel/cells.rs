//! Pixels as positions in the table of named colours, and as sums of runs.
//!
//! Inputs are pixels of a row; results are, for each, its [`ColourKey`] and its [`Packed16`], in arrays that the caller lends.
//! The vector version for AVX2 gives the same bits, which a test checks.

/// Bits of a key that say which colour of its cell a pixel has.
pub(crate) const IN_CELL_BITS: u32 = 9;

/// A colour with the upper five bits of each channel first, then the lower three: its cell of 8 levels a side, and its place
/// in it.
pub(crate) type ColourKey = u32;

/// Red, green, blue and the number of pixels in 16 bits each, red in the lowest. Sums of at most [`PACKED_PX_MAX`] fit.
pub(crate) type Packed16 = u64;

/// Pixels whose levels add up to less than 2^16 at most: 257 times 255 is 65,535.
pub(crate) const PACKED_PX_MAX: usize = 257;

/// The key of a colour.
#[inline]
pub(crate) fn colour_key(rgb: [u8; 3]) -> ColourKey {
    let [r, g, b] = rgb.map(u32::from);
    let cell = (r >> 3) << 10 | (g >> 3) << 5 | b >> 3;
    cell << IN_CELL_BITS | (r & 7) << 6 | (g & 7) << 3 | b & 7
}

/// One pixel, packed.
#[inline]
pub(crate) fn packed16([r, g, b]: [u8; 3]) -> Packed16 {
    u64::from(r) | u64::from(g) << 16 | u64::from(b) << 32 | 1 << 48
}

/// Keys and packed pixels without vectors, as many as the shortest slice has.
pub(crate) fn split_plain(pixels: &[[u8; 3]], keys: &mut [ColourKey], packed: &mut [Packed16]) {
    for ((&rgb, key), packed) in pixels.iter().zip(keys).zip(packed) {
        (*key, *packed) = (colour_key(rgb), packed16(rgb));
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    proptest! {
        #[test]
        fn every_version_splits_pixels_as_the_plain_one(pixels in prop::collection::vec(any::<[u8; 3]>(), 0..300)) {
            let (mut keys, mut packed) = (vec![0; pixels.len()], vec![0; pixels.len()]);
            crate::kernel::split(&pixels, &mut keys, &mut packed);
            prop_assert_eq!(keys, pixels.iter().map(|&rgb| colour_key(rgb)).collect::<Vec<_>>());
            prop_assert_eq!(packed, pixels.iter().map(|&rgb| packed16(rgb)).collect::<Vec<_>>());
        }
    }
}
