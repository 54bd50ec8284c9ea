//! Opens the display that a [`DisplaySpec`] names.
//!
//! One call opens one display; for `auto` it is the first that works. `crate::show` decides whether and when a display that cannot be
//! opened is tried again.

use super::look::Look;
use super::{Panel, PanelError, auto, framebuffer, png, preview, terminal};
use crate::config::Config;
use crate::spec::DisplaySpec;

/// Opens a display; none for [`DisplaySpec::None`].
///
/// # Errors
/// [`PanelError`].
pub fn open(spec: &DisplaySpec, config: &Config) -> Result<Option<Box<dyn Panel>>, PanelError> {
    let look = Look { view: config.view, turn: config.turn };
    Ok(Some(match spec {
        DisplaySpec::None => return Ok(None),
        DisplaySpec::Auto => {
            let around = auto::Around::here(config.spi.is_some());
            return auto::open(around, |spec| open(spec, config)).map(Some);
        }
        DisplaySpec::Window => open_window(look)?,
        DisplaySpec::Terminal => Box::new(terminal::Terminal::open(look)?),
        DisplaySpec::Spi => open_spi(config, look)?,
        DisplaySpec::Kms(card) => open_kms(card.as_deref(), look)?,
        DisplaySpec::Framebuffer(device) => Box::new(framebuffer::Framebuffer::open(device, look)?),
        DisplaySpec::Preview(address) => {
            Box::new(preview::Preview::open(address.as_deref().unwrap_or_default(), look)?)
        }
        DisplaySpec::Png(dir) => Box::new(png::Files::open(dir.clone(), look)?),
    }))
}

#[cfg(feature = "window")]
fn open_window(look: Look) -> Result<Box<dyn Panel>, PanelError> {
    Ok(Box::new(super::window::Desktop::open(look)?))
}

#[cfg(not(feature = "window"))]
fn open_window(_: Look) -> Result<Box<dyn Panel>, PanelError> {
    Err(PanelError::Impossible { name: "window", why: "this edge was built without it (feature `window`)".into() })
}

#[cfg(feature = "kms")]
fn open_kms(card: Option<&std::path::Path>, look: Look) -> Result<Box<dyn Panel>, PanelError> {
    let card = card.map(|card| card.to_string_lossy()).unwrap_or_default();
    Ok(Box::new(super::kms::Kms::open(&card, look)?))
}

#[cfg(not(feature = "kms"))]
fn open_kms(_: Option<&std::path::Path>, _: Look) -> Result<Box<dyn Panel>, PanelError> {
    Err(PanelError::Impossible { name: "kms", why: "this edge was built without it (feature `kms`)".into() })
}

#[cfg(feature = "spi")]
fn open_spi(config: &Config, look: Look) -> Result<Box<dyn Panel>, PanelError> {
    let why = || "the configuration names no display: set spi.board".into();
    let board = config.spi.as_ref().ok_or_else(|| PanelError::Impossible { name: "spi", why: why() })?;
    Ok(Box::new(super::spi::Attached::open(board, look)?))
}

#[cfg(not(feature = "spi"))]
fn open_spi(_: &Config, _: Look) -> Result<Box<dyn Panel>, PanelError> {
    Err(PanelError::Impossible { name: "spi", why: "this edge was built without it (feature `spi`)".into() })
}
