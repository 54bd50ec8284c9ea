//! Polygons as spans: which pixels of a row lie inside, in integers.
//!
//! A pixel lies inside a polygon if its centre does, by the even-odd rule: a ray from the left border to the centre
//! crosses an odd number of edges. A centre on an edge counts as right of it, so two polygons that share an edge share no
//! pixel and leave none out. Vertices are fractions of the picture, so a polygon fits every size. Results are the same on
//! every machine.

use super::spans::Span;
use crate::limits::{MASKS_MAX, POLYGON_VERTICES_MAX};
use heapless::Vec;

/// A corner of a polygon, as fractions of the picture's width and height in 1/65,536.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Vertex {
    /// From the left border (0) to the right (65,536).
    pub x_q16: u32,
    /// From the upper border (0) to the lower (65,536).
    pub y_q16: u32,
}

/// One, in 1/65,536.
pub const ONE_Q16: u32 = 1 << 16;

/// Spans of a row at most: each pair of edges of each polygon makes one, and leaving them out makes one more.
pub const ROW_SPANS_MAX: usize = MASKS_MAX * POLYGON_VERTICES_MAX / 2 + 1;

/// The spans of one row.
pub type RowSpans = Vec<Span, ROW_SPANS_MAX>;

/// A picture's size in pixels, 1 to 8,192 columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// The pixels of row `y` that lie in at least one polygon. Of more than [`MASKS_MAX`] polygons or [`POLYGON_VERTICES_MAX`]
/// vertices, the rest is ignored.
pub fn inside(polygons: &[&[Vertex]], size: Size, y: usize) -> RowSpans {
    let mut all = RowSpans::new();
    for polygon in polygons.iter().take(MASKS_MAX) {
        let crossings = crossings(polygon, size, y);
        for pair in crossings.as_chunks::<2>().0 {
            let [start, end] = pair.map(|column| column.min(size.width) as u16);
            if start < end {
                let _ = all.push(Span { start, end });
            }
        }
    }
    all.sort_unstable_by_key(|s| (s.start, s.end));
    let mut joined = RowSpans::new();
    for span in &all {
        match joined.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => {
                let _ = joined.push(*span);
            }
        }
    }
    joined
}

/// The pixels of row `y` that lie in no polygon. Limits as in [`inside`].
pub fn outside(polygons: &[&[Vertex]], size: Size, y: usize) -> RowSpans {
    let (mut rest, mut column) = (RowSpans::new(), 0);
    for span in inside(polygons, size, y) {
        if column < span.start {
            let _ = rest.push(Span { start: column, end: span.start });
        }
        column = span.end;
    }
    if usize::from(column) < size.width {
        let _ = rest.push(Span { start: column, end: size.width as u16 });
    }
    rest
}

/// For each edge that crosses the middle of row `y`, the first column whose centre is not left of it; in ascending order.
fn crossings(polygon: &[Vertex], size: Size, y: usize) -> Vec<usize, POLYGON_VERTICES_MAX> {
    // Pixels in 1/65,536: up to 2^29 in x, and 2^39 in y of the narrowest picture.
    let middle = ((y as i64) << 16) + i64::from(ONE_Q16 / 2);
    let place = |v: &Vertex| (i64::from(v.x_q16) * size.width as i64, i64::from(v.y_q16) * size.height as i64);
    let mut columns = Vec::new();
    let corners = polygon.get(..polygon.len().min(POLYGON_VERTICES_MAX)).unwrap_or(&[]);
    for (a, b) in corners.iter().zip(corners.iter().cycle().skip(1)) {
        let (from, to) = if a.y_q16 <= b.y_q16 { (place(a), place(b)) } else { (place(b), place(a)) };
        if from.1 <= middle && middle < to.1 {
            // The column c with the centre c + 1/2 >= x + (dx / dy) (middle - y), all times dy. Products need up to 69 bits.
            let (dx, dy) = (i128::from(to.0 - from.0), i128::from(to.1 - from.1));
            let right = dx * i128::from(middle - from.1) + i128::from(from.0 - i64::from(ONE_Q16 / 2)) * dy;
            let column = ceil_div(right, dy * i128::from(ONE_Q16));
            let _ = columns.push(column.clamp(0, size.width as i128) as usize);
        }
    }
    columns.sort_unstable();
    columns
}

/// `n / d` rounded up, for a positive `d`.
fn ceil_div(n: i128, d: i128) -> i128 {
    n.checked_div_euclid(d).unwrap_or(0) + i128::from(n.checked_rem_euclid(d).unwrap_or(0) > 0)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn vertex((x, y): (f64, f64)) -> Vertex {
        let q16 = |v: f64| (v * f64::from(ONE_Q16)).round() as u32;
        Vertex { x_q16: q16(x), y_q16: q16(y) }
    }

    /// Whether the centre of a pixel lies inside, as a textbook has it, in rationals of 128 bits.
    fn is_inside(polygon: &[Vertex], size: Size, x: usize, y: usize) -> bool {
        let (cx, cy) = (((2 * x + 1) as i128) << 15, ((2 * y + 1) as i128) << 15);
        let mut inside = false;
        for (i, a) in polygon.iter().enumerate() {
            let b = &polygon[(i + 1) % polygon.len()];
            let at = |v: &Vertex| (i128::from(v.x_q16) * size.width as i128, i128::from(v.y_q16) * size.height as i128);
            let ((ax, ay), (bx, by)) = (at(a), at(b));
            if (ay <= cy) != (by <= cy) {
                // x of the edge at cy is ax + (bx - ax)(cy - ay) / (by - ay); compared without dividing.
                let (left, right) = ((cx - ax) * (by - ay), (bx - ax) * (cy - ay));
                inside ^= if by > ay { left >= right } else { left <= right };
            }
        }
        inside
    }

    proptest! {
        #[test]
        fn a_row_has_the_pixels_whose_centres_lie_inside(
            polygons in prop::collection::vec(prop::collection::vec((0u32..=65_536, 0u32..=65_536), 3..9), 1..4),
            width in 1usize..70, height in 1usize..50,
        ) {
            let size = Size { width, height };
            let polygons: Vec<Vec<Vertex>> = polygons.iter()
                .map(|p| p.iter().map(|&(x_q16, y_q16)| Vertex { x_q16, y_q16 }).collect()).collect();
            let borrowed: Vec<&[Vertex]> = polygons.iter().map(Vec::as_slice).collect();
            for y in 0..height {
                let (inside, outside) = (inside(&borrowed, size, y), outside(&borrowed, size, y));
                for x in 0..width {
                    let has = |spans: &RowSpans| spans.iter().any(|s| s.columns().contains(&x));
                    let want = borrowed.iter().any(|p| is_inside(p, size, x, y));
                    prop_assert_eq!((has(&inside), has(&outside)), (want, !want), "{} {}", x, y);
                }
                prop_assert!(inside.windows(2).all(|s| s[0].end < s[1].start), "joined and in order");
            }
        }
    }

    #[test]
    fn polygons_that_share_an_edge_share_no_pixel_and_leave_none_out() {
        let left = [(0.0, 0.0), (0.5, 0.0), (0.3, 1.0), (0.0, 1.0)].map(vertex);
        let right = [(0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.3, 1.0)].map(vertex);
        for size in [Size { width: 10, height: 10 }, Size { width: 640, height: 480 }, Size { width: 7, height: 3 }] {
            for y in 0..size.height {
                let [l, r] = [&left, &right].map(|p| inside(&[p], size, y));
                assert_eq!((l.len(), r.len(), l[0].start, l[0].end), (1, 1, 0, r[0].start), "{y}");
                assert_eq!(usize::from(r[0].end), size.width);
                assert!(outside(&[&left, &right], size, y).is_empty());
            }
        }
    }

    #[test]
    fn the_whole_picture_of_the_largest_size_is_one_span() {
        let all = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)].map(vertex);
        for size in [Size { width: 8_192, height: 1_024 }, Size { width: 1, height: 8_388_608 }] {
            for y in [0, size.height / 2, size.height - 1] {
                assert_eq!(inside(&[&all], size, y).as_slice(), [Span { start: 0, end: size.width as u16 }]);
                assert!(outside(&[&all], size, y).is_empty());
            }
            assert!(inside(&[&all[..2]], size, 0).is_empty(), "two corners enclose nothing");
        }
    }
}
