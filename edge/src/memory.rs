//! The memory of a node, allocated once for a size of frame.
//!
//! A larger frame than planned needs a new [`Memory`]; no frame allocates.

use firmware::coreset::{Features, Merge, Point};
use firmware::limits::POINTS_MAX;
use firmware::node::{Capacity, HistogramBits, SettingsError, Workspace};

/// What a memory must hold for frames of at most `pixels` pixels in rows of at most `width`, and coresets of at most
/// `coreset_size` points.
pub fn capacity(pixels: usize, width: usize, coreset_size: u32) -> Capacity {
    let coreset_size = coreset_size.min(POINTS_MAX as u32);
    Capacity { pixels, width_px: width, coreset_size, bits: HistogramBits::Five }
}

/// A node's memory.
#[derive(Debug)]
pub struct Memory {
    capacity: Capacity,
    features: Vec<Features>,
    points: Vec<Point>,
    merges: Vec<Merge>,
    bytes: Vec<u8>,
}

impl Memory {
    /// Allocates it; see [`capacity`].
    pub fn new(pixels: usize, width: usize, coreset_size: u32) -> Memory {
        let capacity = capacity(pixels, width, coreset_size);
        let sizes = capacity.sizes();
        Memory {
            capacity,
            features: vec![Features::ZERO; sizes.features],
            points: vec![Point::ZERO; sizes.points],
            merges: vec![Merge::ZERO; sizes.merges],
            bytes: vec![0; sizes.bytes],
        }
    }

    /// Returns true if such frames fit.
    pub fn fits(&self, pixels: usize, width: usize) -> bool {
        pixels <= self.capacity.pixels && width <= self.capacity.width_px
    }

    /// Coreset points that fit.
    pub fn points(&self) -> usize {
        (self.capacity.coreset_size as usize).max(self.capacity.bits.cells())
    }

    /// Lends it to a node.
    ///
    /// # Errors
    /// None in practice: the slices have the lengths that the capacity asks for.
    pub fn workspace(&mut self) -> Result<Workspace<'_>, SettingsError> {
        Workspace::in_slices(&self.capacity, &mut self.features, &mut self.points, &mut self.merges, &mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_has_as_many_bytes_as_planned_and_can_be_lent() {
        for (pixels, width, coreset_size) in [(1, 1, 1), (640 * 480, 640, 1000), (1920 * 1080, 1920, 131_072)] {
            let mut m = Memory::new(pixels, width, coreset_size);
            let bytes = size_of_val(&*m.features) + size_of_val(&*m.points) + size_of_val(&*m.merges) + m.bytes.len();
            assert_eq!(capacity(pixels, width, coreset_size).sizes().total_bytes(), bytes);
            assert!(m.workspace().is_ok());
        }
    }
}
