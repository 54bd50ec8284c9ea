//! A fuzzer's bytes as the choices that a target makes.
//!
//! A [`Feed`] gives numbers and slices of the bytes, and zeroes when they are used up. Each choice is decided by bytes of
//! its own, so a small change of the input is a small change of the case.

#![allow(dead_code, reason = "the targets of each part use some of it")]

/// Where a number is most likely to be wrong.
const EDGES: [u64; 12] =
    [0, 1, 255, 1 << 16, (1 << 31) - 1, 1 << 32, 1 << 53, 1 << 62, i64::MAX as u64, 1 << 63, u64::MAX - 1, u64::MAX];

/// What is left of the bytes.
pub struct Feed<'a>(pub &'a [u8]);

impl<'a> Feed<'a> {
    /// So many bytes, or as many as there are.
    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// One of `n` choices.
    pub fn below(&mut self, n: u8) -> usize {
        usize::from(self.byte() % n)
    }

    pub fn short(&mut self) -> u16 {
        u16::from(self.byte()) << 8 | u16::from(self.byte())
    }

    /// A number: mostly small, sometimes at an edge, sometimes any.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..160 => u64::from(small),
            edge @ 160..224 => EDGES[usize::from(edge) % EDGES.len()],
            224..240 => u64::from(self.short()),
            _ => (0..8).fold(0, |n, _| n << 8 | u64::from(self.byte())),
        }
    }

    /// A stretch of at most `max` bytes whose length comes first.
    pub fn stretch(&mut self, max: usize) -> &'a [u8] {
        let n = usize::from(self.short());
        self.take(n.min(max))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
