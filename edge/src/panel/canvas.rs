//! Canvas: a picture in memory that anything of embedded-graphics can be drawn on.
//!
//! Takes pixels and areas. Gives `0x00RRGGBB` words, row by row.
//! Touches its own memory, which grows only when it is given another size.
//! Never fails: what lies outside is not drawn.

use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use std::convert::Infallible;

/// The picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u32>,
}

fn word(c: Rgb888) -> u32 {
    u32::from(c.r()) << 16 | u32::from(c.g()) << 8 | u32::from(c.b())
}

impl Canvas {
    /// A black picture.
    pub fn new(width: usize, height: usize) -> Canvas {
        Canvas { width, height, pixels: vec![0; width * height] }
    }

    /// Another size, black again; nothing happens if it is the same.
    pub fn resize(&mut self, width: usize, height: usize) {
        if (width, height) != (self.width, self.height) {
            (self.width, self.height) = (width, height);
            self.pixels.clear();
            self.pixels.resize(width * height, 0);
        }
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The words, row by row.
    pub fn words(&self) -> &[u32] {
        &self.pixels
    }

    /// One pixel; black outside.
    pub fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let inside = x < self.width && y < self.height;
        let word = if inside { self.pixels.get(y * self.width + x).copied().unwrap_or(0) } else { 0 };
        [(word >> 16) as u8, (word >> 8) as u8, word as u8]
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.width as u32, self.height as u32)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        for Pixel(at, color) in pixels {
            if let (Ok(x), Ok(y)) = (usize::try_from(at.x), usize::try_from(at.y))
                && x < self.width
                && let Some(px) = self.pixels.get_mut(y * self.width + x)
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
            let start = y as usize * self.width + visible.top_left.x as usize;
            let row = self.pixels.get_mut(start..start + right).unwrap_or(&mut []);
            for px in row {
                let Some(c) = colors.next() else { return Ok(()) };
                *px = word(c);
            }
            if behind > 0 {
                colors.by_ref().nth(behind - 1);
            }
        }
        Ok(())
    }

    fn fill_solid(&mut self, area: &Rectangle, color: Rgb888) -> Result<(), Infallible> {
        let visible = area.intersection(&self.bounding_box());
        for y in visible.rows() {
            let start = y as usize * self.width + visible.top_left.x as usize;
            if let Some(row) = self.pixels.get_mut(start..start + visible.size.width as usize) {
                row.fill(word(color));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plain way: pixel by pixel.
    fn plainly(canvas: &mut Canvas, area: &Rectangle, colors: impl Iterator<Item = Rgb888>) {
        canvas.draw_iter(area.points().zip(colors).map(|(p, c)| Pixel(p, c))).unwrap();
    }

    #[test]
    fn the_fast_way_equals_the_plain_way() {
        for (x, y, w, h) in [(0, 0, 5, 4), (-2, -1, 5, 4), (3, 2, 5, 4), (-1, -1, 9, 9), (7, 7, 3, 3), (0, 0, 0, 0)] {
            let area = Rectangle::new(Point::new(x, y), Size::new(w, h));
            let colors = || (1..).map(|i: u32| Rgb888::new(i as u8, (i * 3) as u8, 9));
            let (mut fast, mut plain) = (Canvas::new(5, 4), Canvas::new(5, 4));
            fast.fill_contiguous(&area, colors()).unwrap();
            plainly(&mut plain, &area, colors());
            assert_eq!(fast, plain, "{area:?}");
            fast.fill_solid(&area, Rgb888::GREEN).unwrap();
            plainly(&mut plain, &area, std::iter::repeat(Rgb888::GREEN));
            assert_eq!(fast, plain, "{area:?}");
        }
    }
}
