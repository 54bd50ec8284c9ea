//! The silhouette diagram, one knife a cluster, as SVG and as PNG.
//!
//! Inputs are samples, their silhouette values, the clusters' colours and what the diagram is called. One layout is written out
//! in both formats. As in the tutorial: label 0 is at the bottom, a knife's values are sorted, its thickness is in proportion to
//! its pixels, negative values are to the left of zero, and a dotted red line is at the mean. A label stands in plain ink beside
//! a patch of its cluster's colour; with many clusters the diagram is higher, and lines lead from labels to their knives.

use super::sheet::Sheet;
use crate::metrics::silhouette::{Sample, Silhouette};
use embedded_graphics::mono_font::ascii::{FONT_6X13, FONT_7X13_BOLD};
use embedded_graphics::text::Alignment;
use std::fmt::Write as _;

/// Width of a diagram.
pub const WIDTH: usize = 760;
/// Height with few clusters.
const HEIGHT_MIN: usize = 600;
const LEFT: usize = 92;
const RIGHT: usize = WIDTH - 24;
const TOP: usize = 60;
/// Room below the knives for ticks and the axis' name.
const BELOW: usize = 48;
/// Height of a label: each cluster has room for one.
const LABEL: usize = 14;
/// Space between knives, if there are few and if there are many.
const GAPS: [usize; 2] = [4, 2];
const GAPS_WIDE_MAX: usize = 40;

/// Colours of paper and ink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// The background.
    pub paper: [u8; 3],
    /// Text and outlines.
    pub ink: [u8; 3],
    grid: [u8; 3],
    mean: [u8; 3],
}

/// For print and light pages.
pub const LIGHT: Theme =
    Theme { paper: [246, 246, 248], ink: [40, 40, 44], grid: [214, 214, 220], mean: [214, 39, 40] };
/// For dark pages.
pub const DARK: Theme = Theme { paper: [29, 31, 38], ink: [232, 232, 236], grid: [62, 66, 80], mean: [255, 110, 100] };

/// What a diagram shows.
#[derive(Debug, Clone, Copy)]
pub struct Diagram<'a> {
    /// The samples.
    pub samples: &'a [Sample],
    /// Their values.
    pub silhouette: &'a Silhouette,
    /// The clusters' colours, by label.
    pub colours: &'a [[u8; 3]],
    /// Its name.
    pub title: &'a str,
    /// The line below the name: lambda, how exact it is.
    pub about: &'a str,
    /// Its paper and ink.
    pub theme: Theme,
}

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
    about: String,
    height: usize,
    theme: Theme,
}

impl Layout {
    fn new(d: &Diagram<'_>) -> Layout {
        let s = d.silhouette;
        let lowest = s.values.iter().copied().fold(0.0, f64::min);
        let low = (lowest * 5.0).floor() / 5.0;
        let ticks = (0..).map(|i| low + 0.2 * f64::from(i)).take_while(|t| *t < 1.01).collect();
        let count = s.clusters.len();
        let height = HEIGHT_MIN.max(TOP + BELOW + LABEL * (count + 1));
        let gap = GAPS[usize::from(count > GAPS_WIDE_MAX)];
        // A row for each knife, and the rest in proportion.
        let room = (height - BELOW - TOP).saturating_sub(gap * (count + 1) + count);
        let mut below = height - BELOW - gap;
        let mut done = 0;
        let knives = s
            .clusters
            .iter()
            .map(|c| {
                // Heights from running sums, so that rounding never adds up.
                let start = (done as f64 / s.pixels as f64 * room as f64).round();
                done += c.pixels;
                let end = (done as f64 / s.pixels as f64 * room as f64).round();
                let rows = (end - start) as usize + 1;
                let top = below.saturating_sub(rows);
                below = top.saturating_sub(gap);
                let ends = quantiles(d.samples, &s.values, c.label, rows);
                let colour = d.colours.get(usize::from(c.label)).copied().unwrap_or(d.theme.ink);
                Knife { label: c.label, colour, top, ends }
            })
            .collect();
        let title = format!("{}: silhouette {:.4}", d.title, s.score);
        let about = format!("K = {count}{}{}", if d.about.is_empty() { "" } else { ", " }, d.about);
        Layout { knives, low, ticks, mean: s.score, title, about, height, theme: d.theme }
    }

    fn bottom(&self) -> usize {
        self.height - BELOW
    }

    fn x(&self, value: f64) -> f64 {
        LEFT as f64 + (value - self.low) / (1.0 - self.low) * (RIGHT - LEFT) as f64
    }

    /// Each knife with the middle of its label: at its own middle where there is room, and never on another label.
    fn labels(&self) -> Vec<(&Knife, usize)> {
        let middle = |k: &Knife| k.top + k.ends.len() / 2;
        // From the top down, each as high as the ones below it allow; then from the bottom up.
        let mut places: Vec<usize> = self.knives.iter().map(middle).collect();
        let mut highest = self.bottom() - LABEL / 2;
        for y in &mut places {
            *y = (*y).min(highest);
            highest = y.saturating_sub(LABEL);
        }
        let mut lowest = TOP + LABEL / 2;
        for y in places.iter_mut().rev() {
            *y = (*y).max(lowest);
            lowest = *y + LABEL;
        }
        self.knives.iter().zip(places).collect()
    }
}

/// The values of a cluster's pixels, largest first, at the middles of `rows` equal shares of its pixels.
fn quantiles(samples: &[Sample], values: &[f64], label: u8, rows: usize) -> Vec<f64> {
    let of = samples.iter().zip(values).filter(|(s, _)| s.label == label);
    let mut sorted: Vec<(f64, u64)> = of.map(|(s, &v)| (v, u64::from(s.count))).collect();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let pixels: u64 = sorted.iter().map(|(_, n)| n).sum();
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

/// The knife diagram as an SVG document.
pub fn knife_svg(diagram: &Diagram<'_>) -> String {
    let layout = Layout::new(diagram);
    let (height, bottom, theme) = (layout.height, layout.bottom(), layout.theme);
    let hex = |[r, g, b]: [u8; 3]| format!("#{r:02x}{g:02x}{b:02x}");
    let (ink, middle) = (hex(theme.ink), TOP.midpoint(bottom));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"{ink}\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"{}\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"15\" font-weight=\"bold\">{}</text>\n<text x=\"16\" y=\"46\">{}</text>\n\
         <text transform=\"translate(16 {middle}) rotate(-90)\" text-anchor=\"middle\">{Y_AXIS}</text>\n",
        hex(theme.paper),
        escape(&layout.title),
        escape(&layout.about)
    );
    // Writing into a String cannot fail.
    for &t in &layout.ticks {
        let x = layout.x(t);
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"{}\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            hex(theme.grid),
            bottom + 18,
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
        let (end, colour) = (k.top + k.ends.len(), hex(k.colour));
        let _ =
            writeln!(svg, "<path d=\"{d}L{zero:.1} {end}Z\" fill=\"{colour}\" stroke=\"{ink}\" stroke-width=\"0.4\"/>");
    }
    for (k, y) in layout.labels() {
        let (from, to) = (LEFT - 14, k.top + k.ends.len() / 2);
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><rect x=\"{}\" y=\"{}\" width=\"10\" height=\"10\" \
             fill=\"{}\" stroke=\"{ink}\" stroke-width=\"0.6\"/><line x1=\"{from}\" y1=\"{y}\" x2=\"{}\" y2=\"{to}\" \
             stroke=\"{ink}\" stroke-width=\"0.5\"/>",
            LEFT - 30,
            y + 4,
            k.label,
            LEFT - 26,
            y - 5,
            hex(k.colour),
            LEFT - 2
        );
    }
    let x = layout.x(layout.mean);
    let _ = write!(
        svg,
        "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"{}\" stroke-width=\"2\" \
         stroke-dasharray=\"2 4\"/>\n<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{X_AXIS}</text>\n</svg>\n",
        hex(theme.mean),
        (LEFT + RIGHT) / 2,
        height - 10
    );
    svg
}

const X_AXIS: &str = "silhouette coefficient (dotted: mean)";
const Y_AXIS: &str = "cluster (thickness: share of pixels)";

fn tick(value: f64) -> String {
    // A tick is never "-0.0".
    format!("{:.1}", if value.abs() < 0.05 { 0.0 } else { value })
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The knife diagram as a PNG file's bytes.
///
/// # Errors
/// Those of the PNG encoder.
pub fn knife_png(diagram: &Diagram<'_>) -> Result<Vec<u8>, png::EncodingError> {
    knife_sheet(diagram).png()
}

/// The knife diagram on a sheet of its own.
pub fn knife_sheet(diagram: &Diagram<'_>) -> Sheet {
    let layout = Layout::new(diagram);
    let (height, bottom, theme) = (layout.height, layout.bottom(), layout.theme);
    let mut sheet = Sheet::new(WIDTH, height, theme.paper);
    for &t in &layout.ticks {
        let x = layout.x(t).round() as usize;
        sheet.fill(x, x + 1, TOP, bottom, theme.grid);
        sheet.text(&tick(t), x, bottom + 6, Alignment::Center, &FONT_6X13, theme.ink);
    }
    for k in &layout.knives {
        let zero = layout.x(0.0).round() as usize;
        // The knife's edge in ink, unbroken, so that near-white clusters are seen on paper.
        let mut last = layout.x(k.ends.first().copied().unwrap_or(0.0)).round() as usize;
        for (y, &v) in (k.top..).zip(&k.ends) {
            let x = layout.x(v).round() as usize;
            sheet.fill(zero.min(x), zero.max(x), y, y + 1, k.colour);
            sheet.fill(x.min(last), x.max(last) + 1, y, y + 1, theme.ink);
            last = x;
        }
    }
    for (k, y) in layout.labels() {
        sheet.text(&k.label.to_string(), LEFT - 30, y - 6, Alignment::Right, &FONT_7X13_BOLD, theme.ink);
        sheet.fill(LEFT - 26, LEFT - 15, y - 5, y + 6, theme.ink);
        sheet.fill(LEFT - 25, LEFT - 16, y - 4, y + 5, k.colour);
        sheet.line((LEFT - 14, y), (LEFT - 2, k.top + k.ends.len() / 2), theme.ink);
    }
    let mean = layout.x(layout.mean).round() as usize;
    for y in (TOP..bottom).filter(|y| y % 6 < 3) {
        sheet.fill(mean, mean + 2, y, y + 1, theme.mean);
    }
    sheet.text(&layout.title, 16, 14, Alignment::Left, &FONT_7X13_BOLD, theme.ink);
    sheet.text(&layout.about, 16, 34, Alignment::Left, &FONT_6X13, theme.ink);
    sheet.text(X_AXIS, LEFT.midpoint(RIGHT), height - 20, Alignment::Center, &FONT_6X13, theme.ink);
    // The font has no upright letters: the name of the axis is above it.
    sheet.text(Y_AXIS, 16, TOP - 12, Alignment::Left, &FONT_6X13, theme.ink);
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::silhouette::{exact, samples};
    use firmware::color::Space;

    fn drawn() -> (Vec<Sample>, Silhouette) {
        let rgb: Vec<u8> = (0..60u8).flat_map(|i| [i * 4, 10, 10]).collect();
        let labels: Vec<u8> = (0..60u8).map(|i| u8::from(i > 20) + u8::from(i > 50)).collect();
        let of = samples(&rgb, &labels);
        let s = exact(&of, Space::Rgb, 1).unwrap();
        (of, s)
    }

    fn diagram<'a>(
        samples: &'a [Sample],
        silhouette: &'a Silhouette,
        colours: &'a [[u8; 3]],
        title: &'a str,
    ) -> Diagram<'a> {
        Diagram { samples, silhouette, colours, title, about: "lambda 50", theme: LIGHT }
    }

    #[test]
    fn eighty_four_knives_stay_inside_and_no_label_is_on_another() {
        let rgb: Vec<u8> = (0..8_400u32).flat_map(|i| [(i % 251) as u8, (i / 84) as u8, 9]).collect();
        // The first cluster has nearly all pixels, so most knives are one row high.
        let labels: Vec<u8> = (0..8_400u32).map(|i| if i % 84 == i / 84 { (i % 84) as u8 } else { 0 }).collect();
        let of = samples(&rgb, &labels);
        let s = exact(&of, Space::Rgb, 1).unwrap();
        let layout = Layout::new(&diagram(&of, &s, &[], "t"));
        assert_eq!(layout.knives.len(), 84);
        assert!(layout.knives.iter().all(|k| k.top >= TOP && k.top + k.ends.len() <= layout.bottom()));
        let labels = layout.labels();
        assert!(labels.windows(2).all(|w| w[0].1 >= w[1].1 + LABEL), "each has its own height");
        assert!(labels.iter().all(|(_, y)| (TOP..layout.bottom()).contains(y)));
        let svg = knife_svg(&diagram(&of, &s, &[], "t"));
        assert!(svg.contains("K = 84, lambda 50") && svg.contains(X_AXIS) && svg.contains(Y_AXIS));
    }

    #[test]
    fn a_knifes_rows_are_its_sorted_values_and_its_height_its_share() {
        let (of, s) = drawn();
        let layout = Layout::new(&diagram(&of, &s, &[[1, 2, 3]; 3], "t"));
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
        let svg = knife_svg(&diagram(&of, &s, &[[1, 2, 3], [250, 0, 0], [9, 9, 9]], "a <b>"));
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(svg.contains(&format!("silhouette {:.4}", s.score)) && svg.contains("a &lt;b&gt;"));
        assert_eq!(svg.matches("<path").count(), 3);
        assert!(svg.contains("#fa0000") && svg.contains("stroke-dasharray"));
    }

    #[test]
    fn the_png_has_the_knives_in_their_colours() {
        let (of, s) = drawn();
        let bytes = knife_png(&diagram(&of, &s, &[[1, 2, 3], [250, 0, 0], [9, 9, 9]], "t")).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut rgb).unwrap();
        let red = rgb.chunks(3).filter(|p| *p == [250, 0, 0]).count();
        assert!(red > 10_000, "{red}");
        assert!(rgb.chunks(3).any(|p| p == LIGHT.mean));
    }
}
