//! The label map: the picture of labels, packed without loss into a few tenths of a bit to two bits a pixel.
//!
//! A row-major map of label bytes becomes the bytes of an adaptive binary range coder (G. N. N. Martin, 1979, in the
//! carry-less form of LZMA's `rc`), and comes back from them. The coder works in the caller's slices and in 6 KiB of
//! probabilities on the stack, and allocates nothing. Bytes that end early or are not such a map give an error.
//!
//! A pixel is coded by asking, in order: is it its left neighbour? the one above? above right? above left? (candidates
//! that repeat an earlier one are skipped), and else by its eight bits. The first question's context is which of the
//! neighbours agree with one another, so flat areas cost almost nothing and edges that go on are foreseen.

const PROB_BITS: u32 = 12;
const PROB_START: u16 = 1 << (PROB_BITS - 1);
const ADAPT_SHIFT: u32 = 4;
const RANGE_MIN: u32 = 1 << 24;

/// Bytes that the coder moves out after the last decision: the carry's and four of `low`.
const FLUSH_BYTES: usize = 5;

/// Why a label map cannot be packed or unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelMapError {
    /// The output slice is full.
    Full,
    /// The bytes end before the map does, or go on after it.
    Length,
}

impl core::fmt::Display for LabelMapError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            LabelMapError::Full => "the packed label map is larger than its buffer",
            LabelMapError::Length => "the packed label map ends early or goes on after its last pixel",
        })
    }
}

impl core::error::Error for LabelMapError {}

/// Packs `labels`, rows of `width`, into `out`. Gives the number of bytes written.
///
/// # Errors
/// [`LabelMapError::Full`] when `out` is too short; noise needs up to about twice the map's size.
pub fn pack(width: usize, labels: &[u8], out: &mut [u8]) -> Result<usize, LabelMapError> {
    let mut encoder = Encoder { low: 0, range: u32::MAX, cache: 0, pending: 0, first: true, out, len: 0, full: false };
    let mut model = Model::new();
    for i in 0..labels.len() {
        model.code(&mut encoder, width, labels.get(..i).unwrap_or(&[]), labels.get(i).copied());
    }
    encoder.finish()
}

/// Unpacks `bytes` into all of `labels`, rows of `width`.
///
/// # Errors
/// [`LabelMapError::Length`] when `bytes` is not the packing of a map of just this size.
pub fn unpack(width: usize, bytes: &[u8], labels: &mut [u8]) -> Result<(), LabelMapError> {
    let mut decoder = Decoder { code: 0, range: u32::MAX, bytes, at: 0 };
    for _ in 0..4 {
        decoder.code = decoder.code << 8 | u32::from(decoder.next());
    }
    let mut model = Model::new();
    for i in 0..labels.len() {
        let (known, rest) = labels.split_at_mut(i);
        let label = model.code(&mut decoder, width, known, None);
        if let Some(l) = rest.first_mut() {
            *l = label;
        }
    }
    // The encoder's flush is just the decoder's look-ahead, so every byte is read and none is left.
    if decoder.at == bytes.len() { Ok(()) } else { Err(LabelMapError::Length) }
}

/// One binary decision: an encoder is given the bit, a decoder returns it.
trait Coder {
    fn bit(&mut self, prob: &mut u16, bit: Option<bool>) -> bool;
}

struct Model {
    same: [[u16; 4]; 64],
    tree: [u16; 256],
}

impl Model {
    fn new() -> Self {
        Model { same: [[PROB_START; 4]; 64], tree: [PROB_START; 256] }
    }

    /// Codes the label that follows `known`: `label` if it is given (packing), else that of the bytes.
    fn code(&mut self, coder: &mut impl Coder, width: usize, known: &[u8], label: Option<u8>) -> u8 {
        let i = known.len();
        let width = width.max(1);
        let x = i % width;
        let at =
            |back: usize, ok: bool| if ok { i.checked_sub(back).and_then(|j| known.get(j)).copied() } else { None };
        let above = at(width, true).unwrap_or(0);
        let left = at(1, x > 0).unwrap_or(above);
        let above_right = at(width.wrapping_sub(1), x + 1 < width && i >= width).unwrap_or(above);
        let above_left = at(width + 1, x > 0).unwrap_or(left);
        let left2 = at(2, x > 1).unwrap_or(left);
        let above2 = at(2 * width, true).unwrap_or(above);
        let context = usize::from(left == above)
            | usize::from(left == above_left) << 1
            | usize::from(above == above_right) << 2
            | usize::from(above == above_left) << 3
            | usize::from(left == left2) << 4
            | usize::from(above == above2) << 5;
        let candidates = [left, above, above_right, above_left];
        let probs = &mut self.same[context & 63];
        for (n, (&candidate, prob)) in candidates.iter().zip(probs.iter_mut()).enumerate() {
            if candidates.iter().take(n).any(|&c| c == candidate) {
                continue;
            }
            if coder.bit(prob, label.map(|l| l == candidate)) {
                return candidate;
            }
        }
        let mut node = 1usize;
        for shift in (0..8).rev() {
            let bit = label.map(|l| l >> shift & 1 == 1);
            let Some(prob) = self.tree.get_mut(node) else { break };
            node = node << 1 | usize::from(coder.bit(prob, bit));
        }
        (node & 255) as u8
    }
}

/// Moves a probability (of "yes") towards what was seen.
fn adapt(prob: &mut u16, bit: bool) {
    if bit {
        *prob += ((1 << PROB_BITS) - *prob) >> ADAPT_SHIFT;
    } else {
        *prob -= *prob >> ADAPT_SHIFT;
    }
}

struct Encoder<'a> {
    low: u64,
    range: u32,
    cache: u8,
    pending: usize,
    first: bool,
    out: &'a mut [u8],
    len: usize,
    full: bool,
}

impl Encoder<'_> {
    fn put(&mut self, byte: u8) {
        if self.first {
            self.first = false; // The first byte out of the carry chain is always 0.
            return;
        }
        match self.out.get_mut(self.len) {
            Some(b) => *b = byte,
            None => self.full = true,
        }
        self.len += 1;
    }

    fn shift(&mut self) {
        if self.low < 0xFF00_0000 || self.low > u64::from(u32::MAX) {
            let carry = (self.low >> 32) as u8;
            self.put(self.cache.wrapping_add(carry));
            for _ in 0..self.pending {
                self.put(0xFFu8.wrapping_add(carry));
            }
            self.pending = 0;
            self.cache = (self.low >> 24) as u8;
        } else {
            self.pending += 1;
        }
        self.low = (self.low & 0x00FF_FFFF) << 8;
    }

    fn finish(mut self) -> Result<usize, LabelMapError> {
        for _ in 0..FLUSH_BYTES {
            self.shift();
        }
        if self.full { Err(LabelMapError::Full) } else { Ok(self.len) }
    }
}

impl Coder for Encoder<'_> {
    fn bit(&mut self, prob: &mut u16, bit: Option<bool>) -> bool {
        let bit = bit.unwrap_or(false);
        let bound = (self.range >> PROB_BITS) * u32::from(*prob);
        if bit {
            self.range = bound;
        } else {
            self.low += u64::from(bound);
            self.range -= bound;
        }
        adapt(prob, bit);
        while self.range < RANGE_MIN {
            self.range <<= 8;
            self.shift();
        }
        bit
    }
}

struct Decoder<'a> {
    code: u32,
    range: u32,
    bytes: &'a [u8],
    at: usize,
}

impl Decoder<'_> {
    fn next(&mut self) -> u8 {
        let b = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        b
    }
}

impl Coder for Decoder<'_> {
    fn bit(&mut self, prob: &mut u16, _: Option<bool>) -> bool {
        let bound = (self.range >> PROB_BITS) * u32::from(*prob);
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code -= bound;
            self.range -= bound;
        }
        adapt(prob, bit);
        while self.range < RANGE_MIN {
            self.range <<= 8;
            self.code = self.code << 8 | u32::from(self.next());
        }
        bit
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    fn round(width: usize, labels: &[u8]) -> usize {
        let mut packed = vec![0; labels.len() * 2 + 64];
        let n = pack(width, labels, &mut packed).unwrap();
        let mut back = vec![0; labels.len()];
        unpack(width, &packed[..n], &mut back).unwrap();
        assert_eq!(back, labels);
        assert_eq!(unpack(width, &packed[..n + 1], &mut back), Err(LabelMapError::Length));
        assert_eq!(pack(width, labels, &mut packed[..n - 1]), Err(LabelMapError::Full));
        n
    }

    proptest! {
        #[test]
        fn any_map_comes_back(width in 1usize..9, labels in prop::collection::vec(0u8..5, 0..300)) {
            round(width, &labels);
        }

        #[test]
        fn any_bytes_give_a_map_or_an_error_and_never_a_panic(width in 0usize..9, bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = unpack(width, &bytes, &mut [0; 100]);
        }
    }

    #[test]
    fn a_flat_map_costs_next_to_nothing_and_noise_stays_inside_its_bound() {
        assert!(round(320, &vec![7; 96_000]) < 64 * 40);
        let mut x = 1u32;
        let noise: std::vec::Vec<u8> = (0..10_000)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (x >> 24) as u8
            })
            .collect();
        assert!(round(100, &noise) < 2 * noise.len());
    }
}
