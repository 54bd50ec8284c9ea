//! Window: a desktop window, X11 or Wayland. The one door to `minifb`.
//!
//! Inputs are pictures, which are scaled to the window's size; the result is a wish to stop when Esc is pressed or the window is
//! closed. Without a desktop this panel is unavailable and says so.

use super::canvas::Canvas;
use super::look::Look;
use super::{Panel, PanelError, Wish, draw};
use crate::slot::Shot;
use crate::spec::ViewChoice;
use minifb::{InputCallback, Key, Window, WindowOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The window's size before anyone drags it.
const SIZE: (usize, usize) = (960, 720);
/// A side-by-side window is wider.
const SIZE_SIDE_BY_SIDE: (usize, usize) = (1280, 560);

/// Notices Esc however short it is pressed: between two looks at the keys it may be down and up again.
struct Keys {
    esc: Arc<AtomicBool>,
}

impl InputCallback for Keys {
    fn add_char(&mut self, _: u32) {}

    fn set_key_state(&mut self, key: Key, down: bool) {
        if key == Key::Escape && down {
            self.esc.store(true, Ordering::Relaxed);
        }
    }
}

/// The window.
pub struct Desktop {
    window: Window,
    esc: Arc<AtomicBool>,
    look: Look,
    canvas: Canvas,
    drawn: bool,
}

impl Desktop {
    /// Opens it.
    ///
    /// # Errors
    /// [`PanelError::Unavailable`] where there is no desktop.
    pub fn open(look: Look, title: &str) -> Result<Desktop, PanelError> {
        let unavailable = |why: String| PanelError::Unavailable { name: "window", why };
        let set = |variable| std::env::var_os(variable).is_some_and(|v| !v.is_empty());
        if !set("DISPLAY") && !set("WAYLAND_DISPLAY") {
            return Err(unavailable("there is no desktop here (neither DISPLAY nor WAYLAND_DISPLAY is set)".into()));
        }
        let (width, height) = look.turn.size(if look.view == ViewChoice::Clustered { SIZE } else { SIZE_SIDE_BY_SIDE });
        let options = WindowOptions { resize: true, ..WindowOptions::default() };
        let mut window = Window::new(title, width, height, options).map_err(|e| unavailable(e.to_string()))?;
        // Show waits for pictures itself.
        window.set_target_fps(0);
        let esc = Arc::new(AtomicBool::new(false));
        window.set_input_callback(Box::new(Keys { esc: Arc::clone(&esc) }));
        Ok(Desktop { window, esc, look, canvas: Canvas::new(width, height).turned(look.turn), drawn: false })
    }
}

impl Panel for Desktop {
    fn show(&mut self, shot: &Shot) -> Result<(), PanelError> {
        let (width, height) = self.window.get_size();
        self.canvas.resize(width.clamp(1, 8192), height.clamp(1, 8192));
        draw(&mut self.canvas, self.look.view, shot);
        self.drawn = true;
        self.update()
    }

    fn tend(&mut self) -> Result<Wish, PanelError> {
        if self.drawn {
            self.update()?;
        } else {
            self.window.update();
        }
        let stop = !self.window.is_open() || self.esc.load(Ordering::Relaxed);
        Ok(if stop { Wish::Stop } else { Wish::GoOn })
    }
}

impl Desktop {
    fn update(&mut self) -> Result<(), PanelError> {
        self.window
            .update_with_buffer(self.canvas.words(), self.canvas.width(), self.canvas.height())
            .map_err(|e| PanelError::Unavailable { name: "window", why: e.to_string() })
    }
}
