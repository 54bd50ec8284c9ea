//! What regions are watched for: the named colours with their table, and places for what is counted.
//!
//! The memory is taken once for a configuration and lent to a node. Making the table takes a tenth of a second for each eight
//! colours on a desktop, a second on a small Pi. Without regions no memory is taken.

use crate::spec::{Colour, Region};
use firmware::limits::CLUSTERS_MAX;
use firmware::named::{BLOCK_BYTES, NAMES_BYTES_MIN, NamedColour, Names};
use firmware::watch::{LabelCounts, Watch};

/// Cells of colour on the border of a named colour for which decisions are kept, in 2 MiB. With 16 colours, a picture of very
/// many colours (baboon) has more than 2,048 of them; the pixels of those without a place are decided by the formula in each
/// frame, which takes 50 times as long.
const BLOCKS: usize = 4_096;

/// Memory of a watch.
#[derive(Debug)]
pub struct WatchMemory {
    colours: Vec<NamedColour>,
    names: Vec<u8>,
    labels: Vec<LabelCounts>,
}

impl WatchMemory {
    /// Takes it.
    pub fn new(regions: &[Region], colours: &[Colour]) -> WatchMemory {
        WatchMemory {
            colours: colours.iter().map(|colour| colour.named).collect(),
            names: vec![0; names_bytes(regions.len(), colours.len())],
            labels: vec![[0; CLUSTERS_MAX]; regions.len()],
        }
    }

    /// Lends it, with the table made; none without regions.
    pub fn lend(&mut self) -> Option<Watch<'_>> {
        let WatchMemory { colours, names, labels } = self;
        (!labels.is_empty()).then(|| Watch::new(Names::new(colours, names), labels))
    }
}

fn names_bytes(regions: usize, colours: usize) -> usize {
    if regions == 0 || colours == 0 { 0 } else { NAMES_BYTES_MIN + BLOCKS * BLOCK_BYTES }
}

/// Bytes that a watch takes.
pub fn watch_bytes(regions: usize, colours: usize) -> usize {
    names_bytes(regions, colours) + regions * size_of::<LabelCounts>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Mask;
    use firmware::color::Lab;

    #[test]
    fn a_watch_has_as_many_bytes_as_planned_and_none_without_regions() {
        let polygon = Mask::rect([0.0, 0.0, 1.0, 1.0]).unwrap().polygon;
        let regions = vec![Region { name: "r".into(), polygon }; 3];
        let named = NamedColour { lab: Lab::of_rgb([9, 9, 9]), tolerance_q6: 64 };
        let colours = vec![Colour { name: "c".into(), named }; 2];
        for (regions, colours) in [(&regions[..], &colours[..]), (&regions[..], &[]), (&[], &[])] {
            let mut memory = WatchMemory::new(regions, colours);
            let bytes = memory.names.len() + size_of_val(&*memory.labels);
            assert_eq!(bytes, watch_bytes(regions.len(), colours.len()));
            assert_eq!(memory.lend().is_some(), !regions.is_empty());
        }
    }
}
