//! Uniform sampling: pixels drawn without replacement (R. W. Floyd, 1987), as in the tutorial.
//!
//! Inputs are a frame, random numbers and memory for the points and for a mark a pixel. Results are points whose
//! weights are equal to within 1 and sum to the frame's visible pixels. No pixel is drawn twice. There is no certificate unless
//! every pixel is drawn, because a draw knows nothing about the pixels that it left out.

use super::points::{Drawn, Point};
use crate::frame::Frame;
use rand::Rng;

/// Fills `points` with `size` visible pixels of `frame`, drawn without replacement, in the frame's order. `marks` holds a byte
/// a pixel, and `row` three bytes a pixel of a row.
pub fn uniform(
    frame: &Frame<'_>,
    size: usize,
    points: &mut [Point],
    marks: &mut [u8],
    row: &mut [u8],
    rng: &mut impl Rng,
) -> Drawn {
    let visible_px = frame.visible_px();
    let Some(marks) = marks.get_mut(..visible_px) else { return Drawn::default() };
    let (n, m) = (visible_px as u32, size.min(visible_px).max(1).min(points.len()) as u32);
    marks.fill(u8::from(m == n));
    if m < n {
        // Floyd's sampling: each j marks one more pixel, so exactly m are marked.
        for j in n - m..n {
            let t = below(rng, j + 1) as usize;
            let chosen = if marks.get(t) == Some(&0) { t } else { j as usize };
            if let Some(mark) = marks.get_mut(chosen) {
                *mark = 1;
            }
        }
    }
    let (share, extra, mut len) = (n / m.max(1), n % m.max(1), 0);
    let mut marks = &*marks;
    for y in 0..frame.height() {
        let spans = frame.visible_spans(y);
        let in_row = spans.iter().map(|span| span.pixels()).sum();
        let Some((marks_of_row, below)) = marks.split_at_checked(in_row) else { break };
        marks = below;
        if !marks_of_row.contains(&1) {
            continue;
        }
        let pixels = frame.counted_row(y, row).as_chunks::<3>().0;
        let visible = spans.iter().flat_map(|span| pixels.get(span.columns()).unwrap_or(&[]));
        for (&px, _) in visible.zip(marks_of_row).filter(|&(_, &mark)| mark == 1) {
            if let Some(p) = points.get_mut(len) {
                *p = Point::pixel(px, share + u32::from((len as u32) < extra));
                len += 1;
            }
        }
    }
    Drawn { points: len, scatter_q12: (m == n).then_some(0) }
}

/// A random number below `n`, without bias (D. Lemire, 2019).
fn below(rng: &mut impl Rng, n: u32) -> u32 {
    let threshold = n.wrapping_neg() % n.max(1);
    loop {
        let product = u64::from(rng.next_u32()) * u64::from(n);
        if product as u32 >= threshold {
            return (product >> 32) as u32;
        }
    }
}
