//! Place: maps from points of the shown picture to points of the frame, for drawing regions on the preview.
//!
//! Inputs are the size of the shown picture, the view, the turn and the frame's size. The result is an affine map for each picture
//! that is shown, as JSON. There are no side effects.

use crate::panel::look::Look;
use crate::spec::ViewChoice;
use crate::turn::{Flip, Rotate, Turn};
use embedded_graphics::prelude::Size;
use embedded_graphics::primitives::Rectangle;
use firmware::view::{View, places};
use std::fmt::Write;

/// The shown picture: its size, view, turn and frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub look: Look,
    /// Columns and rows of the shown picture.
    pub shown_px: (usize, usize),
    pub frame_px: [u32; 2],
    pub has_original: bool,
}

/// `x = m[0] u + m[1] v + m[2]` and `y = m[3] u + m[4] v + m[5]`: from fractions of the shown picture to fractions of the frame.
type Map = [f64; 6];

impl Place {
    /// A map for the clustered picture, and then one for the original if it is shown.
    pub fn maps(&self) -> impl Iterator<Item = Map> {
        let (width, height) = self.look.turn.size(self.shown_px);
        let view = if self.look.view == ViewChoice::SideBySide { View::SideBySide } else { View::Clustered };
        let places = places(Size::new(width as u32, height as u32), view, self.has_original, self.frame_px);
        let turn = self.look.turn;
        [Some(places.clustered), places.original]
            .into_iter()
            .flatten()
            .map(move |place| map(turn, (width, height), place))
    }

    /// The maps as JSON.
    pub fn json(&self, text: &mut String) {
        text.clear();
        text.push_str("{\"maps\":[");
        for (i, map) in self.maps().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}{map:?}", if i > 0 { "," } else { "" });
        }
        text.push_str("]}\n");
    }
}

/// The map for a picture at `place` of an upright canvas.
fn map(turn: Turn, (width, height): (usize, usize), place: Rectangle) -> Map {
    let (left, top) = (f64::from(place.top_left.x), f64::from(place.top_left.y));
    let (w, h) = (f64::from(place.size.width.max(1)), f64::from(place.size.height.max(1)));
    // The inverse of the turn: first the flip, then the rotation.
    let (u, v) = match turn.flip {
        Flip::None => ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
        Flip::Horizontal => ([-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]),
        Flip::Vertical => ([1.0, 0.0, 0.0], [0.0, -1.0, 1.0]),
    };
    let rest = |[a, b, c]: [f64; 3]| [-a, -b, 1.0 - c];
    let (p, q) = match turn.rotate {
        Rotate::Deg0 => (u, v),
        Rotate::Deg90 => (v, rest(u)),
        Rotate::Deg180 => (rest(u), rest(v)),
        Rotate::Deg270 => (rest(v), u),
    };
    let fraction = |[a, b, c]: [f64; 3], whole: usize, from: f64, size: f64| {
        let scale = whole as f64 / size;
        [a * scale, b * scale, c * scale - from / size]
    };
    let ([a, b, c], [d, e, f]) = (fraction(p, width, left, w), fraction(q, height, top, h));
    [a, b, c, d, e, f]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panel::canvas::Canvas;
    use crate::panel::draw;
    use crate::slot::Shot;
    use crate::turn::tests::all;
    use firmware::wire::Swatch;

    /// A frame in which each pixel has a colour of its own.
    fn shot(width: u32, height: u32) -> Shot {
        let mut shot = Shot::default();
        (shot.report.width, shot.report.height) = (width, height);
        for i in 0..width * height {
            let rgb_q6 = [64 * (100 + i as u16), 64 * 200, 0];
            shot.report.palette.push(Swatch { id: i, rgb_q6, pixels: 1 }).unwrap();
            shot.labels.push(i as u8);
            shot.original.extend([100 + i as u8, 0, 200]);
        }
        shot
    }

    #[test]
    fn a_point_of_the_shown_picture_leads_to_the_pixel_that_is_drawn_there() {
        for (turn, view) in all().flat_map(|t| [(t, ViewChoice::Clustered), (t, ViewChoice::SideBySide)]) {
            let shot = shot(4, 3);
            let look = Look { turn, view };
            let (width, height) = (120, 90);
            let mut canvas = Canvas::new(width, height).turned(turn);
            draw(&mut canvas, view, &shot);
            let place = Place { look, shown_px: (width, height), frame_px: [4, 3], has_original: true };
            let maps: Vec<Map> = place.maps().collect();
            assert_eq!(maps.len(), if view == ViewChoice::SideBySide { 2 } else { 1 });
            for (kind, [a, b, c, d, e, f]) in maps.into_iter().enumerate() {
                let mut inside = 0;
                for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
                    let (u, v) = ((x as f64 + 0.5) / width as f64, (y as f64 + 0.5) / height as f64);
                    let (at_x, at_y) = (a * u + b * v + c, d * u + e * v + f);
                    // A shown pixel on a border between two of the frame may have either colour.
                    let is_clear = |at: f64| (0.1..0.9).contains(&at.rem_euclid(1.0));
                    let is_inside = (0.0..1.0).contains(&at_x) && (0.0..1.0).contains(&at_y);
                    if is_inside && is_clear(at_x * 4.0) && is_clear(at_y * 3.0) {
                        inside += 1;
                        let i = (at_y * 3.0) as u8 * 4 + (at_x * 4.0) as u8;
                        let colour = if kind == 0 { [100 + i, 200, 0] } else { [100 + i, 0, 200] };
                        assert_eq!(canvas.at(x, y), colour, "{look:?} {x} {y}");
                    }
                }
                assert!(inside > 500, "{look:?}: {inside} pixels");
            }
        }
    }

    #[test]
    fn the_maps_are_json() {
        let (turn, view) = (Turn::default(), ViewChoice::Clustered);
        let mut text = String::new();
        let place = Place { look: Look { turn, view }, shown_px: (40, 30), frame_px: [4, 3], has_original: false };
        place.json(&mut text);
        assert_eq!(text, "{\"maps\":[[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]]}\n");
    }
}
