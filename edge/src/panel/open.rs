//! Opens the display that a [`DisplaySpec`] names.
//!
//! One call opens one display; for `auto` it is the first that works. Whether and when a display that cannot be opened is
//! tried again is decided by `crate::show`.

use super::{Panel, PanelError, auto, framebuffer, png, preview, terminal};
use crate::config::Config;
use crate::spec::DisplaySpec;

/// The title of a window.
const TITLE: &str = "Hueflow";

/// Opens a display; none for [`DisplaySpec::None`].
///
/// # Errors
/// [`PanelError`].
pub fn open(spec: &DisplaySpec, config: &Config) -> Result<Option<Box<dyn Panel>>, PanelError> {
    let view = config.view;
    Ok(Some(match spec {
        DisplaySpec::None => return Ok(None),
        DisplaySpec::Auto => {
            let around = auto::Around::here(config.spi.is_some());
            return auto::open(around, |spec| open(spec, config)).map(Some);
        }
        DisplaySpec::Window => open_window(config)?,
        DisplaySpec::Terminal => Box::new(terminal::Terminal::open(view)?),
        DisplaySpec::Spi => open_spi(config)?,
        DisplaySpec::Framebuffer(device) => Box::new(framebuffer::Framebuffer::open(device, view)?),
        DisplaySpec::Preview(address) => {
            Box::new(preview::Preview::open(address.as_deref().unwrap_or_default(), view)?)
        }
        DisplaySpec::Png(dir) => Box::new(png::Files::open(dir.clone(), view)?),
    }))
}

#[cfg(feature = "window")]
fn open_window(config: &Config) -> Result<Box<dyn Panel>, PanelError> {
    Ok(Box::new(super::window::Desktop::open(config.view, TITLE)?))
}

#[cfg(not(feature = "window"))]
fn open_window(_: &Config) -> Result<Box<dyn Panel>, PanelError> {
    let why = format!("this edge was built without it (feature `window`), so there is no window {TITLE}");
    Err(PanelError::Impossible { name: "window", why })
}

#[cfg(feature = "spi")]
fn open_spi(config: &Config) -> Result<Box<dyn Panel>, PanelError> {
    let why = || "the configuration names no display: set spi.board".into();
    let board = config.spi.as_ref().ok_or_else(|| PanelError::Impossible { name: "spi", why: why() })?;
    Ok(Box::new(super::spi::Attached::open(board, config.view)?))
}

#[cfg(not(feature = "spi"))]
fn open_spi(_: &Config) -> Result<Box<dyn Panel>, PanelError> {
    Err(PanelError::Impossible { name: "spi", why: "this edge was built without it (feature `spi`)".into() })
}
