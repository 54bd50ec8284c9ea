//! Window: a desktop window, X11 or Wayland. The one door to `minifb`.
//!
//! Inputs are pictures, which are scaled to the window's size; the result is a wish to stop when Esc is pressed or the window is
//! closed. The window opens no larger than the screen, whose size the kernel tells. Without a desktop this panel is
//! unavailable and says so.

use super::canvas::Canvas;
use super::look::Look;
use super::{Panel, PanelError, Wish, draw};
use crate::slot::Shot;
use crate::spec::ViewChoice;
use minifb::{InputCallback, Key, Window, WindowOptions};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The window's size before anyone drags it.
const SIZE: (usize, usize) = (960, 720);
/// A side-by-side window is wider.
const SIZE_SIDE_BY_SIDE: (usize, usize) = (1280, 560);
/// Where the kernel describes screens.
const SCREENS_DIR: &str = "/sys/class/drm";
/// Parts of the screen that are left to the desktop's bars and the window's own frame, in 1/16 of its width and height.
const LEFT_FREE_16: usize = 2;

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
            return Err(unavailable("there is no desktop here (neither DISPLAY nor WAYLAND_DISPLAY is set): try --display terminal or preview".into()));
        }
        let size = look.turn.size(if look.view == ViewChoice::Clustered { SIZE } else { SIZE_SIDE_BY_SIDE });
        let (width, height) = smallest_screen(Path::new(SCREENS_DIR)).map_or(size, |screen| fitted(size, screen));
        let options = WindowOptions { resize: true, ..WindowOptions::default() };
        let mut window = Window::new(title, width, height, options).map_err(|e| unavailable(e.to_string()))?;
        // Show waits for pictures itself.
        window.set_target_fps(0);
        let esc = Arc::new(AtomicBool::new(false));
        window.set_input_callback(Box::new(Keys { esc: Arc::clone(&esc) }));
        Ok(Desktop { window, esc, look, canvas: Canvas::new(width, height).turned(look.turn), drawn: false })
    }
}

/// The smallest of the connected screens, in pixels: a window may open on any of them.
fn smallest_screen(dir: &Path) -> Option<(usize, usize)> {
    let connectors = std::fs::read_dir(dir).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let modes = connectors.filter_map(|connector| {
        let read = |file: &str| std::fs::read_to_string(connector.join(file)).ok();
        let (status, modes) = (read("status")?, read("modes")?);
        let (width, height) = modes.lines().next().filter(|_| status.trim() == "connected")?.split_once('x')?;
        // An interlaced mode ends in an i.
        Some((width.parse().ok()?, height.trim_end_matches('i').parse().ok()?))
    });
    modes.min_by_key(|&(width, height): &(usize, usize)| width.saturating_mul(height))
}

/// The size, made smaller in both directions alike until the screen has room for it.
fn fitted(size: (usize, usize), screen: (usize, usize)) -> (usize, usize) {
    let room = |side: usize| (side * (16 - LEFT_FREE_16) / 16).max(1);
    let (width, height) = (room(screen.0), room(screen.1));
    if size.0 <= width && size.1 <= height {
        size
    } else if size.0 * height > size.1 * width {
        (width, (size.1 * width / size.0.max(1)).max(1))
    } else {
        ((size.0 * height / size.1.max(1)).max(1), height)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_fits_the_smallest_connected_screen() {
        let dir = tempfile::tempdir().unwrap();
        let connector = |name: &str, status: &str, modes: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("status"), status).unwrap();
            std::fs::write(path.join("modes"), modes).unwrap();
        };
        assert_eq!(smallest_screen(dir.path()), None);
        connector("card1-HDMI-A-1", "connected\n", "1920x1080i\n1280x720\n");
        connector("card1-HDMI-A-2", "disconnected\n", "");
        assert_eq!(smallest_screen(dir.path()), Some((1920, 1080)));
        connector("card0-DSI-1", "connected\n", "800x480\n");
        assert_eq!(smallest_screen(dir.path()), Some((800, 480)));
        assert_eq!(fitted(SIZE, (1920, 1080)), SIZE);
        assert_eq!(fitted(SIZE, (800, 480)), (560, 420));
        assert_eq!(fitted(SIZE_SIDE_BY_SIDE, (800, 480)), (700, 306));
        assert_eq!(fitted(SIZE, (1, 1)), (1, 1));
    }
}
