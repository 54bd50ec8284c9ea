//! Canvas: a picture in memory, a draw target of embedded-graphics.
//!
//! Inputs are upright drawings. Results are `0x00RRGGBB` words in the device's order, row by row, rotated and flipped by a [`Turn`].
//! Memory grows only with the size of the device. Drawing never fails: pixels outside of the canvas are dropped.

use crate::turn::{Steps, Turn};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use std::convert::Infallible;

/// The picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Canvas {
    width: usize,
    height: usize,
    turn: Turn,
    pixels: Vec<u32>,
}

fn word(c: Rgb888) -> u32 {
    u32::from(c.r()) << 16 | u32::from(c.g()) << 8 | u32::from(c.b())
}

impl Canvas {
    /// A black picture for a device of this size in pixels, shown as it is drawn.
    pub fn new(width: usize, height: usize) -> Canvas {
        Canvas { width, height, turn: Turn::default(), pixels: vec![0; width * height] }
    }

    /// The same picture with another turn, which applies to later drawings.
    #[must_use]
    pub fn turned(self, turn: Turn) -> Canvas {
        Canvas { turn, ..self }
    }

    /// Changes the size of the device and makes the picture black. The same size changes nothing.
    pub fn resize(&mut self, width: usize, height: usize) {
        if (width, height) != (self.width, self.height) {
            (self.width, self.height) = (width, height);
            self.pixels.clear();
            self.pixels.resize(width * height, 0);
        }
    }

    /// Columns of the device.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows of the device.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns and rows of what is drawn, before it is turned.
    pub fn upright(&self) -> (usize, usize) {
        self.turn.size((self.width, self.height))
    }

    /// The words, row by row of the device.
    pub fn words(&self) -> &[u32] {
        &self.pixels
    }

    /// One pixel of the device; black outside.
    pub fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let inside = x < self.width && y < self.height;
        let word = if inside { self.pixels.get(y * self.width + x).copied().unwrap_or(0) } else { 0 };
        [(word >> 16) as u8, (word >> 8) as u8, word as u8]
    }

    fn steps(&self) -> Steps {
        self.turn.steps(self.upright())
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        let (width, height) = self.upright();
        Size::new(width as u32, height as u32)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        let (steps, (width, height)) = (self.steps(), self.upright());
        for Pixel(at, color) in pixels {
            if let (Ok(x), Ok(y)) = (usize::try_from(at.x), usize::try_from(at.y))
                && x < width
                && y < height
                && let Some(px) = self.pixels.get_mut(steps.at(x, y))
            {
                *px = word(color);
            }
        }
        Ok(())
    }

    fn fill_contiguous<I>(&mut self, area: &Rectangle, colors: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Rgb888>,
    {
        let visible = area.intersection(&self.bounding_box());
        if visible.is_zero_sized() {
            return Ok(());
        }
        let steps = self.steps();
        let mut colors = colors.into_iter();
        let (left, right) = (visible.top_left.x - area.top_left.x, visible.size.width as usize);
        let behind = area.size.width as usize - left as usize - right;
        for y in area.rows() {
            if !visible.rows().contains(&y) {
                if area.size.width > 0 {
                    colors.by_ref().nth(area.size.width as usize - 1);
                }
                continue;
            }
            if left > 0 {
                colors.by_ref().nth(left as usize - 1);
            }
            let start = steps.at(visible.top_left.x as usize, y as usize);
            if steps.right == 1 {
                for px in self.pixels.get_mut(start..start + right).unwrap_or(&mut []) {
                    let Some(c) = colors.next() else { return Ok(()) };
                    *px = word(c);
                }
            } else {
                let mut at = start as isize;
                for _ in 0..right {
                    let Some(c) = colors.next() else { return Ok(()) };
                    if let Some(px) = self.pixels.get_mut(at as usize) {
                        *px = word(c);
                    }
                    at += steps.right;
                }
            }
            if behind > 0 {
                colors.by_ref().nth(behind - 1);
            }
        }
        Ok(())
    }

    fn fill_solid(&mut self, area: &Rectangle, color: Rgb888) -> Result<(), Infallible> {
        let visible = area.intersection(&self.bounding_box());
        let (Some(corner), width) = (visible.bottom_right(), self.width) else { return Ok(()) };
        let steps = self.steps();
        let first = steps.at(visible.top_left.x as usize, visible.top_left.y as usize);
        let last = steps.at(corner.x as usize, corner.y as usize);
        // A turned rectangle is a rectangle with the same two opposite corners.
        let (x, y) = ((first % width).min(last % width), (first / width).min(last / width));
        let (right, bottom) = ((first % width).max(last % width), (first / width).max(last / width));
        for row in y..=bottom {
            if let Some(row) = self.pixels.get_mut(row * width + x..=row * width + right) {
                row.fill(word(color));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::tests::{all, oracle};

    /// The reference: pixel by pixel.
    fn plainly(canvas: &mut Canvas, area: &Rectangle, colors: impl Iterator<Item = Rgb888>) {
        canvas.draw_iter(area.points().zip(colors).map(|(p, c)| Pixel(p, c))).unwrap();
    }

    #[test]
    fn the_fast_way_equals_the_plain_way_and_a_turned_canvas_the_upright_one_turned() {
        for (x, y, w, h) in [(0, 0, 5, 4), (-2, -1, 5, 4), (3, 2, 5, 4), (-1, -1, 9, 9), (7, 7, 3, 3), (0, 0, 0, 0)] {
            let area = Rectangle::new(Point::new(x, y), Size::new(w, h));
            let colors = || (1..).map(|i: u32| Rgb888::new(i as u8, (i * 3) as u8, 9));
            for turn in all() {
                let (width, height) = turn.size((5, 4));
                let (mut fast, mut plain) = (Canvas::new(width, height).turned(turn), Canvas::new(5, 4));
                assert_eq!(fast.size(), Size::new(5, 4), "what is drawn on is upright");
                fast.fill_contiguous(&area, colors()).unwrap();
                plainly(&mut plain, &area, colors());
                assert_eq!(fast.words(), oracle(turn, (5, 4), plain.words()), "{area:?} {turn:?}");
                fast.fill_solid(&area, Rgb888::GREEN).unwrap();
                plainly(&mut plain, &area, std::iter::repeat(Rgb888::GREEN));
                assert_eq!(fast.words(), oracle(turn, (5, 4), plain.words()), "{area:?} {turn:?}");
                plainly(&mut fast, &area, colors());
                plainly(&mut plain, &area, colors());
                assert_eq!(fast.words(), oracle(turn, (5, 4), plain.words()), "{area:?} {turn:?}");
            }
        }
    }
}
