//! Exact colours: the distinct colours of a frame that has only a few, each as a point.
//!
//! A cell of 5 bits is up to 12 levels across its diagonal. For a small lambda that is too coarse to decide on, and frames
//! with few colours (charts, ramps, drawings) are where it matters most. The histogram's memory serves as a hash table
//! with open addressing; it is all zeroes before and afterwards. The points are sorted by cell and colour, so their order
//! does not depend on the order of the pixels.

use super::points::Point;
use crate::color::Features;
use crate::frame::Frame;
use crate::kernel::key5;

/// Distinct colours up to which a frame has "few": as many points as a sweep takes about as long for as one over the cells
/// of a natural picture.
const COLORS_MAX: usize = 4_096;

/// Fills `points` with the distinct colours of `frame` and returns how many there are; `None` if there are more than 4,096,
/// more than `points` holds, or more than half of `table`.
pub fn exact_colors(frame: &Frame<'_>, table: &mut [Features], points: &mut [Point], row: &mut [u8]) -> Option<usize> {
    let colors_max = COLORS_MAX.min(points.len()).min(table.len() / 2);
    let colors = insert_all(frame, table, colors_max, row);
    let mut len = 0;
    for slot in table.iter_mut().filter(|slot| slot.weight() > 0) {
        if let (Some(point), true) = (points.get_mut(len), colors.is_some()) {
            let rgb = slot.0.map(|sum| (sum / slot.weight().max(1)) as u8);
            let rgb = [rgb[0], rgb[1], rgb[2]];
            *point = Point::of(*slot, (1 << 15 | key5(rgb)) as u16, 0);
            len += 1;
        }
        *slot = Features::ZERO;
    }
    points.get_mut(..len)?.sort_unstable_by_key(|p| (p.key, p.position_q6));
    colors
}

/// Counts every visible pixel in the hash table. Returns the number of distinct colours, or `None` as soon as it exceeds the limit.
fn insert_all(frame: &Frame<'_>, table: &mut [Features], colors_max: usize, row: &mut [u8]) -> Option<usize> {
    let mut colors = 0;
    for y in 0..frame.height() {
        let mut last = None;
        let pixels = frame.counted_row(y, row).as_chunks::<3>().0;
        let visible = frame.visible_spans(y).iter().flat_map(|span| pixels.get(span.columns()).unwrap_or(&[]));
        for &rgb in visible {
            let place = match last {
                Some((color, place)) if color == rgb => place,
                _ => find(rgb, table)?,
            };
            let slot = table.get_mut(place)?;
            if slot.weight() == 0 {
                colors += 1;
                if colors > colors_max {
                    return None;
                }
            }
            *slot = slot.plus(&Features::of_pixels(rgb, 1));
            last = Some((rgb, place));
        }
    }
    Some(colors)
}

/// The place of a colour in the table, or the empty place where it belongs.
fn find(rgb: [u8; 3], table: &[Features]) -> Option<usize> {
    let [r, g, b] = rgb.map(u32::from);
    // Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3): the golden ratio spreads neighbouring colours.
    let hash = (r << 16 | g << 8 | b).wrapping_mul(0x9E37_79B9) >> 16;
    let mask = table.len().checked_sub(1)?;
    let holds = |slot: &Features| {
        let w = slot.weight();
        w == 0 || slot.0 == [r * w, g * w, b * w, w]
    };
    (0..table.len()).map(|step| (hash as usize + step) & mask).find(|&place| table.get(place).is_some_and(holds))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec;

    proptest! {
        #[test]
        fn every_colour_is_counted_once_in_any_order_of_pixels(colors in prop::collection::vec([0u8..9, 0u8..9, 250u8..255], 1..700)) {
            let found = |colors: &[[u8; 3]]| {
                let rgb = colors.as_flattened();
                let (mut table, mut points) = (vec![Features::ZERO; 4_096], vec![Point::ZERO; 1_000]);
                let n = exact_colors(&Frame::rgb(colors.len(), 1, rgb).unwrap(), &mut table, &mut points, &mut []).unwrap();
                assert!(table.iter().all(|slot| *slot == Features::ZERO));
                points.truncate(n);
                points
            };
            let mut want: BTreeMap<[u16; 3], u32> = BTreeMap::new();
            colors.iter().for_each(|c| *want.entry(crate::color::q6(*c)).or_default() += 1);
            let points = found(&colors);
            prop_assert_eq!(points.iter().map(|p| (p.position_q6, p.weight())).collect::<BTreeMap<_, _>>(), want);
            let reversed: std::vec::Vec<[u8; 3]> = colors.iter().rev().copied().collect();
            prop_assert_eq!(found(&reversed), points);
        }
    }

    #[test]
    fn a_frame_of_more_colours_than_the_limit_has_none() {
        let rgb: std::vec::Vec<u8> = (0..100u8).flat_map(|i| [i, 0, 0]).collect();
        let (mut table, mut points) = (vec![Features::ZERO; 4_096], vec![Point::ZERO; 99]);
        assert_eq!(exact_colors(&Frame::rgb(100, 1, &rgb).unwrap(), &mut table, &mut points, &mut []), None);
        assert!(table.iter().all(|slot| *slot == Features::ZERO));
    }
}
