//! Rows: the part of a picture that differs from what the display already shows.
//!
//! The input is a picture; the result is the runs of rows, 16 bits a pixel, that must be sent. The memory of the shown picture is
//! allocated once. Unchanged rows are sent only between changed ones, where starting another run would cost more.

use super::canvas::Canvas;

/// At most this many unchanged rows between two changed ones are sent too, because a run begins with three commands.
const GAP_ROWS_MAX: usize = 2;

/// Most runs of a picture; the last one has all remaining rows.
const RUNS_MAX: usize = 64;

/// What is shown.
#[derive(Debug, Default)]
pub struct Rows {
    shown: Vec<u16>,
    /// The display's contents are unknown.
    fresh: bool,
    /// Rows sent so far.
    sent: u64,
}

impl Rows {
    /// A display whose contents are unknown.
    pub fn new(width: usize, height: usize) -> Rows {
        Rows { shown: vec![0; width * height], fresh: true, sent: 0 }
    }

    /// Rows sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Calls `send` with each run that must be sent: its first row and its pixels.
    ///
    /// # Errors
    /// Those of `send`; the whole picture is sent next time.
    pub fn update<E>(
        &mut self,
        canvas: &Canvas,
        mut send: impl FnMut(usize, &[u16]) -> Result<(), E>,
    ) -> Result<(), E> {
        let width = canvas.width().max(1);
        let fresh = std::mem::replace(&mut self.fresh, true);
        let mut runs: heapless::Vec<(usize, usize), RUNS_MAX> = heapless::Vec::new();
        let rows = self.shown.chunks_exact_mut(width).zip(canvas.words().chunks_exact(width));
        for (row, (shown, words)) in rows.enumerate() {
            if !take_row(shown, words) && !fresh {
                continue;
            }
            let full = runs.is_full();
            match runs.last_mut() {
                Some((_, last)) if full || row - *last <= GAP_ROWS_MAX + 1 => *last = row,
                // It is not full, so there is room.
                _ => drop(runs.push((row, row))),
            }
        }
        for (first, last) in runs {
            send(first, self.shown.get(first * width..(last + 1) * width).unwrap_or_default())?;
            self.sent += (last + 1 - first) as u64;
        }
        self.fresh = false;
        Ok(())
    }
}

/// Copies `words` to `shown`. Returns true if that changed anything.
fn take_row(shown: &mut [u16], words: &[u32]) -> bool {
    let mut changed = false;
    for (shown, &word) in shown.iter_mut().zip(words) {
        let px = super::rgb565(word);
        changed |= *shown != px;
        *shown = px;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_graphics::pixelcolor::Rgb888;
    use embedded_graphics::prelude::*;

    fn paint(canvas: &mut Canvas, rows: &[i32], color: Rgb888) {
        let Ok(()) = canvas.draw_iter(rows.iter().map(|&y| Pixel(Point::new(1, y), color)));
    }

    /// The runs that `canvas` needs, each as its first row and its number of pixels.
    fn runs(rows: &mut Rows, canvas: &Canvas) -> Vec<(usize, usize)> {
        let mut runs = Vec::new();
        let sent: Result<(), ()> = rows.update(canvas, |first, pixels| {
            runs.push((first, pixels.len()));
            Ok(())
        });
        sent.unwrap();
        runs
    }

    #[test]
    fn the_first_picture_is_sent_whole_and_the_same_again_not_at_all() {
        let (mut rows, canvas) = (Rows::new(3, 20), Canvas::new(3, 20));
        assert_eq!(runs(&mut rows, &canvas), [(0, 60)]);
        assert_eq!(runs(&mut rows, &canvas), []);
        assert_eq!(rows.sent(), 20);
    }

    #[test]
    fn changed_rows_are_sent_and_near_ones_together() {
        let (mut rows, mut canvas) = (Rows::new(3, 20), Canvas::new(3, 20));
        runs(&mut rows, &canvas);
        paint(&mut canvas, &[0, 5, 8, 19], Rgb888::RED);
        assert_eq!(runs(&mut rows, &canvas), [(0, 3), (5, 12), (19, 3)]);
        // A change below the precision of 16 bits does not count.
        paint(&mut canvas, &[5], Rgb888::new(255, 3, 7));
        assert_eq!(runs(&mut rows, &canvas), []);
    }

    #[test]
    fn what_is_sent_is_the_picture() {
        let (mut rows, mut canvas) = (Rows::new(2, 9), Canvas::new(2, 9));
        let mut glass = vec![0xaaaa_u16; 18];
        for step in 0..40 {
            paint(&mut canvas, &[(step * 5) % 9, (step * 7) % 9], Rgb888::new((step * 8) as u8, 0, 0));
            let sent: Result<(), ()> = rows.update(&canvas, |first, pixels| {
                glass[first * 2..first * 2 + pixels.len()].copy_from_slice(pixels);
                Ok(())
            });
            sent.unwrap();
            let expected: Vec<u16> = canvas.words().iter().map(|&w| super::super::rgb565(w)).collect();
            assert_eq!(glass, expected, "step {step}");
        }
    }

    #[test]
    fn more_runs_than_are_kept_end_in_one_long_run() {
        let (mut rows, mut canvas) = (Rows::new(2, 500), Canvas::new(2, 500));
        runs(&mut rows, &canvas);
        let far: Vec<i32> = (0..100).map(|i| i * 5).collect();
        paint(&mut canvas, &far, Rgb888::RED);
        let all = runs(&mut rows, &canvas);
        assert_eq!((all.len(), all[62], all[63]), (64, (310, 2), (315, 362)));
    }

    #[test]
    fn after_a_failure_everything_is_sent_again() {
        let (mut rows, mut canvas) = (Rows::new(3, 20), Canvas::new(3, 20));
        runs(&mut rows, &canvas);
        paint(&mut canvas, &[4], Rgb888::RED);
        assert_eq!(rows.update(&canvas, |_, _| Err(())), Err(()));
        assert_eq!(runs(&mut rows, &canvas), [(0, 60)]);
    }
}
