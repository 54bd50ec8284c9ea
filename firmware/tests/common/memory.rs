//! The memory of a node, for tests: allocated once and lent to a node.
//!
//! [`Memory::new`] makes the slices that a capacity needs, and [`Memory::lend`] divides them into a workspace. It panics if they
//! do not fit, which would be a bug of `Capacity::sizes`.

use firmware::coreset::{Features, Merge, Point};
use firmware::node::{Capacity, HistogramBits, Workspace};

pub struct Memory {
    capacity: Capacity,
    features: Vec<Features>,
    points: Vec<Point>,
    merges: Vec<Merge>,
    bytes: Vec<u8>,
}

impl Memory {
    pub fn new(bits: HistogramBits, pixels: usize, width_px: usize, coreset_size: u32) -> Memory {
        let capacity = Capacity { pixels, width_px, coreset_size, bits };
        let sizes = capacity.sizes();
        Memory {
            capacity,
            features: vec![Features::ZERO; sizes.features],
            points: vec![Point::ZERO; sizes.points],
            merges: vec![Merge::ZERO; sizes.merges],
            bytes: vec![0; sizes.bytes],
        }
    }

    pub fn lend(&mut self) -> Workspace<'_> {
        let Memory { capacity, features, points, merges, bytes } = self;
        Workspace::in_slices(capacity, features, points, merges, bytes).unwrap()
    }
}
