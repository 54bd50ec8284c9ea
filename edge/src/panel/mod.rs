//! Displays: where a picture is shown.
//!
//! Each display is a [`Panel`] in a module of its own; [`open`] opens the one that the configuration names. `firmware::view` decides
//! what is drawn, and `crate::show` decides when a display that failed is tried again.

pub mod auto;
pub mod canvas;
pub mod framebuffer;
pub mod interface;
#[cfg(feature = "kms")]
pub mod kms;
pub mod look;
pub mod open;
pub mod png;
pub mod preview;
#[cfg(feature = "spi")]
mod rows;
#[cfg(feature = "spi")]
pub mod spi;
pub mod terminal;
#[cfg(feature = "window")]
pub mod window;

pub use crate::spec::board;
pub use auto::order as auto_order;
pub use interface::{Panel, PanelError, Wish};

use crate::slot::Shot;
use crate::spec::ViewChoice;
use canvas::Canvas;
use firmware::view::{self, Scene, View};

/// A word `0x00RRGGBB` with 5, 6 and 5 bits of it.
fn rgb565(word: u32) -> u16 {
    ((word >> 8 & 0xf800) | (word >> 5 & 0x07e0) | (word >> 3 & 0x001f)) as u16
}

/// Draws picture, palette and caption over all of `canvas`.
fn draw(canvas: &mut Canvas, view: ViewChoice, shot: &Shot) {
    let original = (!shot.original.is_empty()).then_some(shot.original.as_slice());
    let Shot { report, labels, fps_tenths, is_offline, .. } = shot;
    let scene = Scene { report, labels, original, fps_tenths: *fps_tenths, is_offline: *is_offline };
    let view = match view {
        ViewChoice::Clustered => View::Clustered,
        ViewChoice::SideBySide => View::SideBySide,
    };
    let Ok(()) = view::draw(canvas, view, &scene);
}

#[cfg(test)]
mod tests {
    use super::*;
    use firmware::wire::Swatch;

    /// Two pixels in a row, dark red and dark green.
    pub(super) fn shot() -> Shot {
        let mut shot = Shot { labels: vec![0, 1], original: vec![9; 6], ..Shot::default() };
        (shot.report.width, shot.report.height) = (2, 1);
        for rgb_q6 in [[64 * 200, 0, 0], [0, 64 * 100, 0]] {
            shot.report.palette.push(Swatch { id: 0, rgb_q6, pixels: 1 }).unwrap();
        }
        shot
    }

    #[test]
    fn a_word_in_565_keeps_each_colours_upper_bits() {
        assert_eq!([0xff_0000, 0x00_ff00, 0x00_00ff].map(rgb565), [0xf800, 0x07e0, 0x001f]);
        assert_eq!((rgb565(0xff_ffff), rgb565(0), rgb565(0x07_0307)), (0xffff, 0, 0));
    }
}
