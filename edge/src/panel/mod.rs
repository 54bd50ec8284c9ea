//! Panel: where a picture is shown.
//!
//! Takes pictures. Gives them to a display, and the wish to stop when someone there presses Esc.
//! Touches one display each.
//! Never decides what is shown: that is `firmware::view`.

pub mod auto;
pub mod board;
pub mod canvas;
pub mod framebuffer;
#[cfg(feature = "kms")]
pub mod kms;
pub mod look;
pub mod png;
pub mod preview;
#[cfg(feature = "spi")]
mod rows;
#[cfg(feature = "spi")]
pub mod spi;
pub mod terminal;
#[cfg(feature = "window")]
pub mod window;

use crate::config::{Config, ViewChoice};
use crate::exit::{Failure, Reason};
use crate::slot::Shot;
use canvas::Canvas;
use firmware::view::{self, Scene, View};
use look::Look;
use std::path::PathBuf;

/// What someone at the display wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To see more.
    GoOn,
    /// To end the stream.
    Stop,
}

/// A display.
pub trait Panel {
    /// Shows a picture.
    ///
    /// # Errors
    /// [`PanelError`]; the panel is then of no more use.
    fn show(&mut self, shot: &Shot) -> Result<(), PanelError>;

    /// Looks after keys and window sizes, many times a second.
    ///
    /// # Errors
    /// As [`Panel::show`].
    fn tend(&mut self) -> Result<Wish, PanelError>;

    /// Whether it leaves no room for lines on the terminal.
    fn fills_terminal(&self) -> bool {
        false
    }

    /// Whether no frame may be skipped.
    fn wants_every_frame(&self) -> bool {
        false
    }
}

/// Why a display cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PanelError {
    /// It is not there.
    #[error("display {name} cannot be opened: {why}")]
    Unavailable {
        /// Which.
        name: &'static str,
        /// Why not.
        why: String,
    },
    /// A picture cannot be written.
    #[error("writing pictures to {path}: {error}")]
    Disk {
        /// Where to.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
}

impl From<PanelError> for Failure {
    fn from(error: PanelError) -> Failure {
        let reason = if matches!(error, PanelError::Disk { .. }) { Reason::Io } else { Reason::Unavailable };
        Failure::new(reason, error)
    }
}

/// Whether `name` is a display's.
pub fn is_known(name: &str) -> bool {
    matches!(name, "none" | "auto" | "window" | "terminal" | "preview" | "spi" | "kms")
        || name.strip_prefix("preview:").is_some_and(preview::is_address)
        || ["png:", "fb:", "kms:"].iter().any(|kind| name.strip_prefix(kind).is_some_and(|path| !path.is_empty()))
}

/// The displays that `auto` tries, in order.
pub fn auto_order(spi: bool, desktop: bool, covered: bool) -> impl Iterator<Item = &'static str> {
    auto::order(spi, desktop, covered)
}

/// Opens the displays that the configuration names; `none` opens none.
///
/// # Errors
/// [`PanelError`].
pub fn open(config: &Config, title: &str) -> Result<Vec<Box<dyn Panel>>, PanelError> {
    let mut panels = Vec::new();
    for name in &config.panels {
        match name.as_str() {
            "none" => {}
            "auto" => panels
                .extend(auto::open(auto::Around::here(config.spi.is_some()), |name| open_one(name, config, title))),
            name => panels.push(open_one(name, config, title)?),
        }
    }
    Ok(panels)
}

fn open_one(name: &str, config: &Config, title: &str) -> Result<Box<dyn Panel>, PanelError> {
    let look = Look { view: config.view, turn: config.turn };
    let (kind, place) = name.split_once(':').unwrap_or((name, ""));
    Ok(match kind {
        "window" => open_window(look, title)?,
        "terminal" => Box::new(terminal::Terminal::open(look)?),
        "preview" => Box::new(preview::Preview::open(place, look)?),
        "png" => Box::new(png::Files::open(place.into(), look)?),
        "kms" => open_kms(place, look)?,
        "spi" => open_spi(config, look)?,
        "fb" => Box::new(framebuffer::Framebuffer::open(place.as_ref(), look)?),
        _ => return Err(PanelError::Unavailable { name: "of that name", why: format!("there is no {name}") }),
    })
}

#[cfg(feature = "window")]
fn open_window(look: Look, title: &str) -> Result<Box<dyn Panel>, PanelError> {
    Ok(Box::new(window::Desktop::open(look, title)?))
}

#[cfg(not(feature = "window"))]
fn open_window(_: Look, _: &str) -> Result<Box<dyn Panel>, PanelError> {
    Err(PanelError::Unavailable { name: "window", why: "this edge was built without it (feature `window`)".into() })
}

#[cfg(feature = "kms")]
fn open_kms(card: &str, look: Look) -> Result<Box<dyn Panel>, PanelError> {
    Ok(Box::new(kms::Kms::open(card, look)?))
}

#[cfg(not(feature = "kms"))]
fn open_kms(_: &str, _: Look) -> Result<Box<dyn Panel>, PanelError> {
    Err(PanelError::Unavailable { name: "kms", why: "this edge was built without it (feature `kms`)".into() })
}

#[cfg(feature = "spi")]
fn open_spi(config: &Config, look: Look) -> Result<Box<dyn Panel>, PanelError> {
    let why = || "the configuration names no display: set spi.board".into();
    let board = config.spi.as_ref().ok_or_else(|| PanelError::Unavailable { name: "spi", why: why() })?;
    Ok(Box::new(spi::Attached::open(board, look)?))
}

#[cfg(not(feature = "spi"))]
fn open_spi(_: &Config, _: Look) -> Result<Box<dyn Panel>, PanelError> {
    Err(PanelError::Unavailable { name: "spi", why: "this edge was built without it (feature `spi`)".into() })
}

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
    pub fn shot() -> Shot {
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

    #[test]
    fn a_display_has_a_known_name_and_says_where() {
        assert!(
            [
                "none",
                "auto",
                "window",
                "terminal",
                "spi",
                "png:d",
                "fb:/dev/fb0",
                "kms",
                "kms:/dev/dri/card1",
                "preview",
                "preview:",
                "preview:8090"
            ]
            .iter()
            .all(|n| is_known(n))
        );
        assert!(["", "png:", "fb:", "fb", "kms:", "preview:x", "screen"].iter().all(|n| !is_known(n)));
    }
}
