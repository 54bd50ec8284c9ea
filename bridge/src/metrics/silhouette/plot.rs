//! Plot: the silhouette diagram, one knife a cluster, as SVG and as PNG.
//!
//! Takes samples, their silhouette values and the clusters' colours. Gives a picture.
//! Touches nothing.
//! Never two drawings: one layout is written out in both formats.
//!
//! As in the tutorial: label 0 at the bottom, a knife's values sorted, its thickness in proportion to its pixels, its
//! label on the y axis in the cluster's own colour, negative values to the left of zero, a dotted red line at the mean.

use crate::metrics::silhouette::{Sample, Silhouette};
use embedded_graphics::mono_font::ascii::{FONT_6X13, FONT_7X13_BOLD};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use embedded_graphics::text::{Alignment, Baseline, Text, TextStyleBuilder};
use std::convert::Infallible;
use std::fmt::Write as _;

const WIDTH: usize = 760;
const HEIGHT: usize = 600;
const LEFT: usize = 48;
const RIGHT: usize = WIDTH - 24;
const TOP: usize = 44;
const BOTTOM: usize = HEIGHT - 48;
const GAP: usize = 4;
const PAPER: [u8; 3] = [246, 246, 248];
const INK: [u8; 3] = [40, 40, 44];
const GRID: [u8; 3] = [214, 214, 220];
const MEAN: [u8; 3] = [214, 39, 40];

struct Knife {
    label: u8,
    colour: [u8; 3],
    top: usize,
    /// Where each row of the knife ends, top to bottom.
    ends: Vec<f64>,
}

struct Layout {
    knives: Vec<Knife>,
    low: f64,
    ticks: Vec<f64>,
    mean: f64,
    title: String,
}

impl Layout {
    fn new(samples: &[Sample], s: &Silhouette, colours: &[[u8; 3]], title: &str) -> Layout {
        let lowest = s.values.iter().copied().fold(0.0, f64::min);
        let low = (lowest * 5.0).floor() / 5.0;
        let ticks = (0..).map(|i| low + 0.2 * f64::from(i)).take_while(|t| *t < 1.01).collect();
        let gaps = GAP * (s.clusters.len() + 1);
        let room = (BOTTOM - TOP).saturating_sub(gaps);
        let mut below = BOTTOM - GAP;
        let mut done = 0;
        let knives = s
            .clusters
            .iter()
            .map(|c| {
                // Heights from running sums, so that rounding never adds up; at least one row each.
                let start = (done as f64 / s.pixels as f64 * room as f64).round();
                done += c.pixels;
                let end = (done as f64 / s.pixels as f64 * room as f64).round();
                let rows = ((end - start) as usize).max(1);
                let top = below.saturating_sub(rows);
                below = top.saturating_sub(GAP);
                let ends = quantiles(samples, &s.values, c.label, c.pixels, rows);
                let colour = colours.get(usize::from(c.label)).copied().unwrap_or(INK);
                Knife { label: c.label, colour, top, ends }
            })
            .collect();
        Layout { knives, low, ticks, mean: s.score, title: format!("{title}: silhouette {:.4}", s.score) }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT as f64 + (value - self.low) / (1.0 - self.low) * (RIGHT - LEFT) as f64
    }

    /// Labels that stand too close to the last one are left out.
    fn labels(&self) -> impl Iterator<Item = (&Knife, usize)> {
        let mut last = usize::MAX;
        self.knives.iter().filter_map(move |k| {
            let y = k.top + k.ends.len() / 2;
            (last == usize::MAX || y + 13 <= last).then(|| {
                last = y;
                (k, y)
            })
        })
    }
}

/// The values of a cluster's pixels, largest first, at the middles of `rows` equal shares of its pixels.
fn quantiles(samples: &[Sample], values: &[f64], label: u8, pixels: u64, rows: usize) -> Vec<f64> {
    let of = samples.iter().zip(values).filter(|(s, _)| s.label == label);
    let mut sorted: Vec<(f64, u64)> = of.map(|(s, &v)| (v, u64::from(s.count))).collect();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut reached = 0;
    let mut at = sorted.iter().map(|&(v, n)| {
        reached += n;
        (v, reached)
    });
    let mut current = at.next().unwrap_or((0.0, 0));
    let row = |r| {
        let wanted = (r as f64 + 0.5) / rows as f64 * pixels as f64;
        while (current.1 as f64) < wanted {
            match at.next() {
                Some(next) => current = next,
                None => break,
            }
        }
        current.0
    };
    (0..rows).map(row).collect()
}

/// The knife diagram as an SVG document. `colours` are the clusters' by label.
pub fn knife_svg(samples: &[Sample], s: &Silhouette, colours: &[[u8; 3]], title: &str) -> String {
    let layout = Layout::new(samples, s, colours, title);
    let hex = |[r, g, b]: [u8; 3]| format!("#{r:02x}{g:02x}{b:02x}");
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"{}\"/>\n",
        hex(PAPER)
    );
    // Writing into a String cannot fail.
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"26\" font-size=\"15\" font-weight=\"bold\" fill=\"{}\">{}</text>",
        hex(INK),
        escape(&layout.title)
    );
    for &t in &layout.ticks {
        let x = layout.x(t);
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{BOTTOM}\" stroke=\"{}\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"{}\">{}</text>",
            hex(GRID),
            BOTTOM + 18,
            hex(INK),
            tick(t)
        );
    }
    for k in &layout.knives {
        let zero = layout.x(0.0);
        let mut d = format!("M{zero:.1} {}", k.top);
        for (y, &v) in (k.top..).zip(&k.ends) {
            let x = layout.x(v);
            let _ = write!(d, "L{x:.1} {y}L{x:.1} {}", y + 1);
        }
        let _ = writeln!(
            svg,
            "<path d=\"{d}L{zero:.1} {}Z\" fill=\"{}\" stroke=\"{}\" stroke-width=\"0.4\"/>",
            k.top + k.ends.len(),
            hex(k.colour),
            hex(INK)
        );
    }
    for (k, y) in layout.labels() {
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" font-weight=\"bold\" fill=\"{}\" stroke=\"{}\" \
             stroke-width=\"1.4\" paint-order=\"stroke\">{}</text>",
            LEFT - 8,
            y + 4,
            hex(k.colour),
            hex(INK),
            k.label
        );
    }
    let x = layout.x(layout.mean);
    let _ = write!(
        svg,
        "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{BOTTOM}\" stroke=\"{}\" stroke-width=\"2\" \
         stroke-dasharray=\"2 4\"/>\n<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"{}\">silhouette coefficient</text>\n</svg>\n",
        hex(MEAN),
        (LEFT + RIGHT) / 2,
        HEIGHT - 10,
        hex(INK)
    );
    svg
}

fn tick(value: f64) -> String {
    // "-0.0" is nobody's tick.
    format!("{:.1}", if value.abs() < 0.05 { 0.0 } else { value })
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The knife diagram as a PNG file's bytes. `colours` are the clusters' by label.
///
/// # Errors
/// Those of the PNG encoder.
pub fn knife_png(
    samples: &[Sample],
    s: &Silhouette,
    colours: &[[u8; 3]],
    title: &str,
) -> Result<Vec<u8>, png::EncodingError> {
    let layout = Layout::new(samples, s, colours, title);
    let mut sheet = Sheet { rgb: PAPER.repeat(WIDTH * HEIGHT) };
    let middle = LEFT.midpoint(RIGHT);
    for &t in &layout.ticks {
        let x = layout.x(t).round() as usize;
        sheet.fill(x, x + 1, TOP, BOTTOM, GRID);
        sheet.text(&tick(t), x, BOTTOM + 8, Alignment::Center, &FONT_6X13, INK);
    }
    for k in &layout.knives {
        let zero = layout.x(0.0).round() as usize;
        // The knife's edge in ink, unbroken, so that near-white clusters are seen on paper.
        let mut last = layout.x(k.ends.first().copied().unwrap_or(0.0)).round() as usize;
        for (y, &v) in (k.top..).zip(&k.ends) {
            let x = layout.x(v).round() as usize;
            sheet.fill(zero.min(x), zero.max(x), y, y + 1, k.colour);
            sheet.fill(x.min(last), x.max(last) + 1, y, y + 1, INK);
            last = x;
        }
    }
    for (k, y) in layout.labels() {
        let label = k.label.to_string();
        for (dx, dy) in [(0, 1), (2, 1), (1, 0), (1, 2)] {
            sheet.text(&label, LEFT - 10 + dx, y - 8 + dy, Alignment::Right, &FONT_7X13_BOLD, INK);
        }
        sheet.text(&label, LEFT - 9, y - 7, Alignment::Right, &FONT_7X13_BOLD, k.colour);
    }
    let mean = layout.x(layout.mean).round() as usize;
    for y in (TOP..BOTTOM).filter(|y| y % 6 < 3) {
        sheet.fill(mean, mean + 2, y, y + 1, MEAN);
    }
    sheet.text(&layout.title, LEFT, 16, Alignment::Left, &FONT_7X13_BOLD, INK);
    sheet.text("silhouette coefficient", middle, HEIGHT - 22, Alignment::Center, &FONT_6X13, INK);
    sheet.png()
}

/// A page of RGB that `embedded-graphics` can write on.
struct Sheet {
    rgb: Vec<u8>,
}

impl Sheet {
    fn fill(&mut self, x0: usize, x1: usize, y0: usize, y1: usize, colour: [u8; 3]) {
        for row in self.rgb.chunks_mut(WIDTH * 3).take(y1).skip(y0) {
            for px in row.as_chunks_mut::<3>().0.iter_mut().take(x1).skip(x0) {
                *px = colour;
            }
        }
    }

    fn text(&mut self, text: &str, x: usize, y: usize, align: Alignment, font: &MonoFont<'_>, [r, g, b]: [u8; 3]) {
        let style = MonoTextStyle::new(font, Rgb888::new(r, g, b));
        let place = TextStyleBuilder::new().alignment(align).baseline(Baseline::Top).build();
        // Infallible: a sheet takes every pixel, and drops those outside.
        let _ = Text::with_text_style(text, Point::new(x as i32, y as i32), style, place).draw(self);
    }

    fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, WIDTH as u32, HEIGHT as u32);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.rgb)?;
        writer.finish()?;
        Ok(bytes)
    }
}

impl OriginDimensions for Sheet {
    fn size(&self) -> Size {
        Size::new(WIDTH as u32, HEIGHT as u32)
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
                self.fill(x, x + 1, y, y + 1, [c.r(), c.g(), c.b()]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::silhouette::{exact, samples};

    fn drawn() -> (Vec<Sample>, Silhouette) {
        let rgb: Vec<u8> = (0..60u8).flat_map(|i| [i * 4, 10, 10]).collect();
        let labels: Vec<u8> = (0..60u8).map(|i| u8::from(i > 20) + u8::from(i > 50)).collect();
        let of = samples(&rgb, &labels);
        let s = exact(&of, 1).unwrap();
        (of, s)
    }

    #[test]
    fn a_knifes_rows_are_its_sorted_values_and_its_height_its_share() {
        let (of, s) = drawn();
        let layout = Layout::new(&of, &s, &[[1, 2, 3]; 3], "t");
        let rows: Vec<usize> = layout.knives.iter().map(|k| k.ends.len()).collect();
        let total: usize = rows.iter().sum();
        for (r, c) in rows.iter().zip(&s.clusters) {
            assert!((*r as f64 / total as f64 - c.pixels as f64 / 60.0).abs() < 0.01, "{rows:?}");
        }
        for k in &layout.knives {
            assert!(k.ends.is_sorted_by(|a, b| a >= b));
        }
        assert!(layout.knives.windows(2).all(|w| w[1].top + w[1].ends.len() < w[0].top), "label 0 is at the bottom");
    }

    #[test]
    fn the_svg_is_whole_and_says_score_labels_and_mean() {
        let (of, s) = drawn();
        let svg = knife_svg(&of, &s, &[[1, 2, 3], [250, 0, 0], [9, 9, 9]], "a <b>");
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(svg.contains(&format!("silhouette {:.4}", s.score)) && svg.contains("a &lt;b&gt;"));
        assert_eq!(svg.matches("<path").count(), 3);
        assert!(svg.contains("#fa0000") && svg.contains("stroke-dasharray"));
    }

    #[test]
    fn the_png_has_the_knives_in_their_colours() {
        let (of, s) = drawn();
        let bytes = knife_png(&of, &s, &[[1, 2, 3], [250, 0, 0], [9, 9, 9]], "t").unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut rgb).unwrap();
        let red = rgb.chunks(3).filter(|p| *p == [250, 0, 0]).count();
        assert!(red > 10_000, "{red}");
        assert!(rgb.chunks(3).any(|p| p == MEAN));
    }
}
