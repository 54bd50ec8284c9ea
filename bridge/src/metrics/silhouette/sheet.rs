//! A sheet of RGB pixels that shapes, texts and pictures are drawn on.
//!
//! What lies outside of the sheet is dropped. A sheet becomes a PNG file.

use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{Line, PrimitiveStyle, Rectangle};
use embedded_graphics::text::{Alignment, Baseline, Text, TextStyleBuilder};
use std::convert::Infallible;

/// A page of RGB that `embedded-graphics` can write on.
pub struct Sheet {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl Sheet {
    /// An empty sheet of a colour, its sides in pixels.
    pub fn new(width: usize, height: usize, paper: [u8; 3]) -> Sheet {
        Sheet { width, height, rgb: paper.repeat(width * height) }
    }

    /// Its height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Fills a rectangle; `x1` and `y1` are the first column and row behind it.
    pub fn fill(&mut self, x0: usize, x1: usize, y0: usize, y1: usize, colour: [u8; 3]) {
        for row in self.rgb.chunks_mut((self.width * 3).max(1)).take(y1).skip(y0) {
            for px in row.as_chunks_mut::<3>().0.iter_mut().take(x1).skip(x0) {
                *px = colour;
            }
        }
    }

    /// Draws a line one pixel wide.
    pub fn line(&mut self, from: (usize, usize), to: (usize, usize), [r, g, b]: [u8; 3]) {
        let point = |(x, y): (usize, usize)| Point::new(x as i32, y as i32);
        let style = PrimitiveStyle::with_stroke(Rgb888::new(r, g, b), 1);
        let _ = Line::new(point(from), point(to)).into_styled(style).draw(self); // As for texts.
    }

    /// Writes a text whose top is at `y`.
    pub fn text(&mut self, text: &str, x: usize, y: usize, align: Alignment, font: &MonoFont<'_>, [r, g, b]: [u8; 3]) {
        let style = MonoTextStyle::new(font, Rgb888::new(r, g, b));
        let place = TextStyleBuilder::new().alignment(align).baseline(Baseline::Top).build();
        // Infallible: a sheet takes every pixel, and drops those outside.
        let _ = Text::with_text_style(text, Point::new(x as i32, y as i32), style, place).draw(self);
    }

    /// Copies another sheet onto this one, its upper left corner at `x` and `y`.
    pub fn place(&mut self, other: &Sheet, x: usize, y: usize) {
        let rows = other.rgb.chunks((other.width * 3).max(1));
        for (to, from) in self.rgb.chunks_mut((self.width * 3).max(1)).skip(y).zip(rows) {
            to.iter_mut().skip(x * 3).zip(from).for_each(|(to, from)| *to = *from);
        }
    }

    /// Draws a picture of `width` pixels a row, scaled so that it fills `box_px` across. Pixels are repeated or left out.
    pub fn picture(&mut self, rgb: &[u8], width: usize, x: usize, y: usize, box_px: usize) -> usize {
        let pixels = rgb.as_chunks::<3>().0;
        let height = pixels.len() / width.max(1);
        let rows = (height * box_px).div_ceil(width.max(1));
        for row in 0..rows {
            let from = pixels.get(row * height / rows.max(1) * width..).unwrap_or_default();
            for column in 0..box_px {
                if let Some(&colour) = from.get(column * width / box_px) {
                    self.fill(x + column, x + column + 1, y + row, y + row + 1, colour);
                }
            }
        }
        rows
    }

    /// The sheet as a PNG file.
    ///
    /// # Errors
    /// The encoder's.
    pub fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.rgb)?;
        writer.finish()?;
        Ok(bytes)
    }
}

impl OriginDimensions for Sheet {
    fn size(&self) -> Size {
        Size::new(self.width as u32, self.height as u32)
    }
}

impl DrawTarget for Sheet {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        let page = Rectangle::new(Point::zero(), self.size());
        for Pixel(at, c) in pixels {
            if page.contains(at) {
                let (x, y) = (at.x as usize, at.y as usize);
                let colour = self.rgb.as_chunks_mut::<3>().0.get_mut(y * self.width + x);
                colour.into_iter().for_each(|px| *px = [c.r(), c.g(), c.b()]);
            }
        }
        Ok(())
    }
}
