//! The view: a frame's picture, palette and caption, drawn on any `embedded-graphics` target.
//!
//! Inputs are a frame's report and labels, the original's RGB if it is shown, the frame rate, and whether the broker is
//! unreachable. The result is drawn on a `DrawTarget`; each picture area is one contiguous fill, and nothing else
//! changes. Pictures are scaled by the nearest pixel, so every colour shown is a colour of the palette or of the
//! original.

pub mod caption;

use crate::limits::CLUSTERS_MAX;
use crate::report::{Report, Swatch};
use caption::caption;
use embedded_graphics::mono_font::iso_8859_1::{FONT_6X10, FONT_10X20};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use embedded_graphics::text::{Baseline, Text};

/// Targets lower than this show only the picture, without bar and text.
const FURNITURE_HEIGHT_MIN: u32 = 64;
/// Targets of at least this height have large text.
const LARGE_TEXT_HEIGHT_MIN: u32 = 400;
const BACKGROUND: Rgb888 = Rgb888::new(16, 16, 18);
const INK: Rgb888 = Rgb888::new(235, 235, 235);
/// The mark of an edge whose broker is unreachable.
const OFFLINE: &str = "offline";
const OFFLINE_GROUND: Rgb888 = Rgb888::new(176, 0, 32);
/// Margin to the left and right of a text.
const MARGIN_PX: u32 = 2;

/// Which pictures are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// The clustered picture.
    #[default]
    Clustered,
    /// The original on the left, the clustered picture on the right.
    SideBySide,
}

/// Everything that a view shows of one frame.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The frame's report.
    pub report: &'a Report,
    /// A label for every pixel: its position in the report's palette.
    pub labels: &'a [u8],
    /// The original as RGB24, if there is one to show.
    pub original: Option<&'a [u8]>,
    /// Frames in ten seconds; `None` until it has been measured.
    pub fps_tenths: Option<u32>,
    /// A broker is configured and cannot be reached; the view shows a mark.
    pub is_offline: bool,
}

/// Draws `scene` over the whole of `target`: the pictures, below them a bar of the palette in proportion to the pixels,
/// and the [caption](caption::caption).
///
/// # Errors
/// The errors of the target.
pub fn draw<D: DrawTarget<Color = Rgb888>>(target: &mut D, view: View, scene: &Scene<'_>) -> Result<(), D::Error> {
    let area = target.bounding_box();
    let Size { width, height } = area.size;
    let font = font(height);
    let (text_height, bar_height) = furniture(height);
    let picture_height = height - text_height - bar_height;
    let strip = |y: u32, h: u32| Rectangle::new(area.top_left + Point::new(0, y as i32), Size::new(width, h));
    pictures(target, strip(0, picture_height), view, scene)?;
    if text_height > 0 {
        bar(target, strip(picture_height, bar_height), &scene.report.palette)?;
        return words(target, strip(picture_height + bar_height, text_height), font, scene);
    }
    if scene.is_offline {
        // There is no room for text: a corner is filled with the mark's colour.
        let side = (width.min(height) / 8).max(1);
        let corner = area.top_left + Point::new((width - side) as i32, 0);
        target.fill_solid(&Rectangle::new(corner, Size::new(side, side)), OFFLINE_GROUND)?;
    }
    Ok(())
}

/// The smallest height of a target on which the pictures have `picture_height` rows.
pub fn target_height(picture_height: u32) -> u32 {
    let fits = |&height: &u32| {
        let (text_height, bar_height) = furniture(height);
        height >= picture_height + text_height + bar_height
    };
    (picture_height..).find(fits).unwrap_or(picture_height)
}

/// Where [`draw`] puts a frame's pictures, in pixels of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// The clustered picture.
    pub clustered: Rectangle,
    /// The original, if it is shown.
    pub original: Option<Rectangle>,
}

/// The places of the pictures of a frame of `frame_px` columns and rows on a target of `size`.
pub fn places(size: Size, view: View, has_original: bool, frame_px: [u32; 2]) -> Places {
    let (text_height, bar_height) = furniture(size.height);
    let area = Rectangle::new(Point::zero(), Size::new(size.width, size.height - text_height - bar_height));
    let (original, clustered) = areas(area, view, has_original);
    Places { clustered: fitted(clustered, frame_px), original: original.map(|a| fitted(a, frame_px)) }
}

fn font(height: u32) -> &'static MonoFont<'static> {
    if height >= LARGE_TEXT_HEIGHT_MIN { &FONT_10X20 } else { &FONT_6X10 }
}

/// The heights of caption and bar on a target of `height`.
fn furniture(height: u32) -> (u32, u32) {
    if height < FURNITURE_HEIGHT_MIN {
        return (0, 0);
    }
    (font(height).character_size.height + 2, (height / 16).max(6))
}

/// Writes the clustered picture in the frame's size to `rgb`, three bytes a pixel.
pub fn recolour(report: &Report, labels: &[u8], rgb: &mut [u8]) {
    let colours = colours(&report.palette);
    for (px, &label) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(labels) {
        *px = colours[usize::from(label)];
    }
}

/// Colours by label; labels without a cluster are black.
fn colours(palette: &[Swatch]) -> [[u8; 3]; CLUSTERS_MAX + 1] {
    let mut colours = [[0; 3]; CLUSTERS_MAX + 1];
    for (c, s) in colours.iter_mut().zip(palette) {
        *c = s.rgb8();
    }
    colours
}

fn pictures<D: DrawTarget<Color = Rgb888>>(
    target: &mut D,
    area: Rectangle,
    view: View,
    scene: &Scene<'_>,
) -> Result<(), D::Error> {
    let colours = colours(&scene.report.palette);
    let clustered = |i: usize| scene.labels.get(i).map(|&l| colours[usize::from(l)]);
    let (left, right) = areas(area, view, scene.original.is_some());
    if let (Some(left), Some(rgb)) = (left, scene.original) {
        picture(target, left, scene.report, |i| rgb.as_chunks::<3>().0.get(i).copied())?;
    }
    picture(target, right, scene.report, clustered)
}

/// The parts of `area` for the original, if it is shown, and for the clustered picture.
fn areas(area: Rectangle, view: View, has_original: bool) -> (Option<Rectangle>, Rectangle) {
    if view == View::Clustered || !has_original {
        return (None, area);
    }
    let half = area.size.width / 2;
    let left = Rectangle::new(area.top_left, Size::new(half, area.size.height));
    let right_size = Size::new(area.size.width - half, area.size.height);
    (Some(left), Rectangle::new(area.top_left + Point::new(half as i32, 0), right_size))
}

/// The largest rectangle of the frame's aspect ratio in the middle of `area`.
fn fitted(area: Rectangle, frame_px: [u32; 2]) -> Rectangle {
    let [fw, fh] = frame_px.map(|n| u64::from(n).max(1));
    let (aw, ah) = (u64::from(area.size.width), u64::from(area.size.height));
    let (w, h) = if aw * fh <= ah * fw { (aw, (aw * fh / fw).max(1)) } else { ((ah * fw / fh).max(1), ah) };
    let (left, top) = (aw.saturating_sub(w) / 2, ah.saturating_sub(h) / 2);
    Rectangle::new(area.top_left + Point::new(left as i32, top as i32), Size::new(w as u32, h as u32))
}

/// Fits a picture into the middle of `area` without changing its aspect ratio, and fills the rest with the background.
fn picture<D: DrawTarget<Color = Rgb888>>(
    target: &mut D,
    area: Rectangle,
    report: &Report,
    pixel: impl Fn(usize) -> Option<[u8; 3]>,
) -> Result<(), D::Error> {
    let place = fitted(area, [report.width, report.height]);
    let [fw, fh] = [report.width, report.height].map(|n| u64::from(n).max(1));
    let at = place.top_left - area.top_left;
    let [left, top, w, h] = [at.x as u32, at.y as u32, place.size.width, place.size.height].map(u64::from);
    let (aw, ah) = (u64::from(area.size.width), u64::from(area.size.height));
    let colours = (0..ah).flat_map(|y| (0..aw).map(move |x| (x, y))).map(|(x, y)| {
        if x < left || y < top || x >= left + w || y >= top + h {
            return BACKGROUND;
        }
        let (sx, sy) = ((x - left) * fw / w, (y - top) * fh / h);
        match pixel((sy * fw + sx) as usize) {
            Some([r, g, b]) => Rgb888::new(r, g, b),
            None => BACKGROUND,
        }
    });
    target.fill_contiguous(&area, colours)
}

/// Draws the palette; the width of each colour is its share of the pixels.
fn bar<D: DrawTarget<Color = Rgb888>>(target: &mut D, area: Rectangle, palette: &[Swatch]) -> Result<(), D::Error> {
    let total: u64 = palette.iter().map(|s| u64::from(s.pixels)).sum::<u64>().max(1);
    let width = u64::from(area.size.width);
    let (mut done, mut x) = (0u64, 0u64);
    for s in palette {
        done += u64::from(s.pixels);
        let end = done * width / total;
        let [r, g, b] = s.rgb8();
        let stripe =
            Rectangle::new(area.top_left + Point::new(x as i32, 0), Size::new((end - x) as u32, area.size.height));
        target.fill_solid(&stripe, Rgb888::new(r, g, b))?;
        x = end;
    }
    Ok(())
}

/// Draws the caption, and to its right the mark of an edge that is offline.
fn words<D: DrawTarget<Color = Rgb888>>(
    target: &mut D,
    area: Rectangle,
    font: &'static MonoFont<'static>,
    scene: &Scene<'_>,
) -> Result<(), D::Error> {
    target.fill_solid(&area, BACKGROUND)?;
    let style = MonoTextStyle::new(font, INK);
    let char_width = font.character_size.width;
    let mut room = area.size.width;
    if scene.is_offline {
        let width = OFFLINE.len() as u32 * char_width + 2 * MARGIN_PX;
        room = room.saturating_sub(width);
        let left = area.top_left + Point::new(room as i32, 0);
        target.fill_solid(&Rectangle::new(left, Size::new(width, area.size.height)), OFFLINE_GROUND)?;
        let at = left + Point::new(MARGIN_PX as i32, 1);
        Text::with_baseline(OFFLINE, at, style, Baseline::Top).draw(target)?;
    }
    let chars = room.saturating_sub(MARGIN_PX) / char_width;
    let text = caption(scene.report, scene.fps_tenths, chars as usize);
    let at = area.top_left + Point::new(MARGIN_PX as i32, 1);
    Text::with_baseline(&text, at, style, Baseline::Top).draw(target)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Settings;
    use crate::report::{Method, Micros};
    use embedded_graphics::mock_display::MockDisplay;

    /// Two by two pixels: red and green above, both blue below.
    pub(super) fn report() -> Report {
        let swatch = |id, rgb: [u16; 3], pixels| Swatch { id, rgb_q6: rgb.map(|c| c * 64), pixels };
        let s = Settings::default();
        Report {
            frame: 0,
            dropped: 0,
            width: 2,
            height: 2,
            method: Method::Octree,
            lambda_q6: s.lambda_q6,
            coreset_size: s.coreset_size,
            w_open: 1,
            refine: crate::report::Refine::Cover,
            seed: 0,
            warm: false,
            coreset_points: 3,
            scatter_q12: Some(0),
            iterations: 1,
            converged: true,
            sweeps: 0,
            saturated: false,
            beyond_px: Some(0),
            missed: Some(0),
            sse_q12: 0,
            max_distance2_q12: 0,
            births: heapless::Vec::new(),
            deaths: heapless::Vec::new(),
            regions: heapless::Vec::new(),
            colorimetry: Default::default(),
            silhouette_ppm: None,
            micros: Micros::default(),
            palette: [swatch(0, [255, 0, 0], 1), swatch(1, [0, 255, 0], 1), swatch(2, [0, 0, 255], 2)]
                .into_iter()
                .collect(),
        }
    }

    fn scene<'a>(report: &'a Report, labels: &'a [u8]) -> Scene<'a> {
        Scene { report, labels, original: None, fps_tenths: None, is_offline: false }
    }

    fn window(
        display: &mut MockDisplay<Rgb888>,
        w: u32,
        h: u32,
    ) -> impl DrawTarget<Color = Rgb888, Error = core::convert::Infallible> {
        display.cropped(&Rectangle::new(Point::zero(), Size::new(w, h)))
    }

    #[test]
    fn the_clustered_picture_keeps_its_shape_in_the_middle() {
        let (report, mut display) = (report(), MockDisplay::new());
        let scene = scene(&report, &[0, 1, 2, 2]);
        draw(&mut window(&mut display, 6, 4), View::Clustered, &scene).unwrap();
        // The background is nearly black: K in these patterns would be pure black, so compare colour by colour.
        let at = |x, y| display.get_pixel(Point::new(x, y)).unwrap();
        assert_eq!((at(0, 0), at(5, 3)), (BACKGROUND, BACKGROUND));
        assert_eq!([at(1, 0), at(2, 1), at(3, 0), at(4, 1)], [Rgb888::RED, Rgb888::RED, Rgb888::GREEN, Rgb888::GREEN]);
        assert_eq!([at(1, 2), at(4, 3)], [Rgb888::BLUE, Rgb888::BLUE]);
    }

    #[test]
    fn side_by_side_has_the_original_on_the_left() {
        let (report, mut display) = (report(), MockDisplay::new());
        let original = [255, 255, 255, 0, 0, 0, 255, 255, 0, 0, 255, 255];
        let scene = Scene { original: Some(&original), ..scene(&report, &[0, 1, 2, 2]) };
        draw(&mut window(&mut display, 4, 2), View::SideBySide, &scene).unwrap();
        display.assert_pattern(&["WKRG", "YCBB"]);
    }

    #[test]
    fn places_are_where_the_pictures_are_drawn() {
        let (report, labels) = (report(), [0; 4]);
        let original = [255; 12];
        for (width, height) in [(6, 4), (64, 32), (33, 64), (64, 60)] {
            for view in [View::Clustered, View::SideBySide] {
                let mut display = MockDisplay::new();
                display.set_allow_overdraw(true);
                let scene = Scene { original: Some(&original), ..scene(&report, &labels) };
                draw(&mut window(&mut display, width, height), view, &scene).unwrap();
                let places = places(Size::new(width, height), view, true, [2, 2]);
                let (text, bar) = furniture(height);
                let above =
                    (0..(height - text - bar) as i32).flat_map(|y| (0..width as i32).map(move |x| Point::new(x, y)));
                for at in above {
                    let expected = match places {
                        Places { clustered, .. } if clustered.contains(at) => Rgb888::RED,
                        Places { original: Some(original), .. } if original.contains(at) => Rgb888::WHITE,
                        _ => BACKGROUND,
                    };
                    assert_eq!(display.get_pixel(at), Some(expected), "{width}x{height} {view:?} {at}");
                }
            }
        }
    }

    #[test]
    fn the_bar_is_in_proportion_and_the_caption_is_below_it() {
        let (report, mut display) = (report(), MockDisplay::new());
        display.set_allow_overdraw(true);
        let scene = scene(&report, &[0, 1, 2, 2]);
        draw(&mut window(&mut display, 64, 64), View::Clustered, &scene).unwrap();
        let row = |y: i32, c: Rgb888| (0..64).filter(|&x| display.get_pixel(Point::new(x, y)) == Some(c)).count();
        for y in 46..52 {
            assert_eq!([Rgb888::RED, Rgb888::GREEN, Rgb888::BLUE].map(|c| row(y, c)), [16, 16, 32]);
        }
        let ink: usize = (52..64).map(|y| row(y, INK)).sum();
        assert!((60..150).contains(&ink), "3 colours, {ink} pixels");
    }

    #[test]
    fn offline_is_marked_on_the_right_of_the_caption_and_in_a_corner_where_there_is_none() {
        let (report, mut display) = (report(), MockDisplay::new());
        display.set_allow_overdraw(true);
        let scene = Scene { is_offline: true, ..scene(&report, &[0, 1, 2, 2]) };
        draw(&mut window(&mut display, 64, 64), View::Clustered, &scene).unwrap();
        let is_mark = |x: i32, y: i32| display.get_pixel(Point::new(x, y)) == Some(OFFLINE_GROUND);
        assert!((18..64).all(|x| is_mark(x, 63)) && !(0..18).any(|x| is_mark(x, 63)));
        assert!(!(0..64).any(|x| (0..52).any(|y| is_mark(x, y))), "the picture and the bar are as they were");
        let mut small = MockDisplay::new();
        small.set_allow_overdraw(true);
        draw(&mut window(&mut small, 32, 32), View::Clustered, &scene).unwrap();
        let marks = |y: i32| (0..32).filter(|&x| small.get_pixel(Point::new(x, y)) == Some(OFFLINE_GROUND)).count();
        assert_eq!([marks(0), marks(3), marks(4)], [4, 4, 0]);
    }

    #[test]
    fn a_target_for_a_picture_has_just_the_rows_it_needs() {
        for rows in [1, 45, 46, 47, 160, 240, 357, 358, 480, 1080] {
            let height = target_height(rows);
            let pictures = |height| height - furniture(height).0 - furniture(height).1;
            assert!(pictures(height) >= rows && (height == rows || pictures(height - 1) < rows), "{rows}");
        }
        assert_eq!((target_height(45), target_height(64), target_height(480)), (45, 82, 535));
    }

    #[test]
    fn recolour_gives_the_palettes_own_bytes() {
        let mut rgb = [9; 12];
        recolour(&report(), &[0, 1, 2, 200], &mut rgb);
        assert_eq!(rgb, [255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0]);
    }
}
