//! Window: a desktop window, X11 or Wayland, in a process of its own.
//!
//! Inputs are pictures, which are drawn at the window's size and written to the process; the result is a wish to stop when Esc
//! is pressed or the window is closed. The window opens no larger than the screen, whose size is read from the kernel. Without a
//! desktop the panel is unavailable. The process is separate because Xlib ends its process when the X server goes away, and no handler
//! can prevent that. Then [`surface`] ends, and the panel reports that the window is gone.
//!
//! The messages in the two pipes, with numbers of 4 bytes, least significant first:
//!
//! | to the process | from the process |
//! |---|---|
//! | width and height of the window, once | `OPEN`, then the window's width and height; or why not, until the end |
//! | width, height and words of a picture | the window's width and height, when the picture is on the screen |

pub mod surface;

use super::canvas::Canvas;
use super::look::Look;
use super::{Panel, PanelError, Wish, draw};
use crate::slot::Shot;
use crate::spec::ViewChoice;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The window's initial size.
const SIZE: (usize, usize) = (960, 720);
/// The initial size of a side-by-side window, which is wider.
const SIZE_SIDE_BY_SIDE: (usize, usize) = (1280, 560);
/// The folder in which the kernel describes screens.
const SCREENS_DIR: &str = "/sys/class/drm";
/// The part of the screen that is left for the desktop's bars and the window's frame, in 1/16 of its width and height.
const LEFT_FREE_16: usize = 2;
/// The longest side of a picture: two 4K screens side by side.
const SIDE_PX_MAX: usize = 8_192;
/// Words of one write: the capacity of a pipe.
const WORDS_AT_ONCE: usize = 16 << 10;
/// This program, even if its file was replaced.
const PROGRAM: &str = "/proc/self/exe";
/// The command of this program that runs [`surface::run`].
pub const COMMAND: &str = "window";
/// The first byte from the process if the window is open.
const OPEN: u8 = b'+';
/// The longest error of a window that does not open, in bytes.
const WHY_BYTES_MAX: u64 = 1_000;

/// The window, from the side of the run.
pub struct Desktop {
    process: Child,
    pictures: ChildStdin,
    answers: ChildStdout,
    look: Look,
    canvas: Canvas,
    /// Words that are written to the pipe.
    bytes: Vec<u8>,
    /// The window's size, in pixels.
    size: (usize, usize),
}

impl Desktop {
    /// Starts the process and opens its window.
    ///
    /// # Errors
    /// [`PanelError::Unavailable`] if there is no desktop.
    pub fn open(look: Look) -> Result<Desktop, PanelError> {
        let set = |variable| std::env::var_os(variable).is_some_and(|v| !v.is_empty());
        if !set("DISPLAY") && !set("WAYLAND_DISPLAY") {
            return Err(unavailable("there is no desktop here (neither DISPLAY nor WAYLAND_DISPLAY is set): try --display terminal or preview".into()));
        }
        let size = look.turn.size(if look.view == ViewChoice::Clustered { SIZE } else { SIZE_SIDE_BY_SIDE });
        let size = smallest_screen(Path::new(SCREENS_DIR)).map_or(size, |screen| fitted(size, screen));
        let mut command = Command::new(PROGRAM);
        Desktop::start(command.arg0("hueflow-edge").arg(COMMAND), look, size)
    }

    /// Starts the process and waits until its window is open.
    fn start(command: &mut Command, look: Look, size: (usize, usize)) -> Result<Desktop, PanelError> {
        // Standard error is inherited, so the process writes to the same log.
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.map_err(|e| unavailable(format!("starting the window's process: {e}")))?;
        let (Some(pictures), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(unavailable("the window's process has no pipes".into()));
        };
        let canvas = Canvas::new(size.0, size.1).turned(look.turn);
        let mut desktop = Desktop { process, pictures, answers, look, canvas, bytes: Vec::new(), size };
        match desktop.wait_open() {
            Ok(None) => Ok(desktop),
            Ok(Some(why)) => Err(unavailable(why)),
            Err(_) => Err(desktop.lost()),
        }
    }

    /// Waits for the process's answer. Returns why there is no window, if there is none.
    fn wait_open(&mut self) -> io::Result<Option<String>> {
        write_size(&mut self.pictures, self.size)?;
        let mut first = [0];
        self.answers.read_exact(&mut first)?;
        if first == [OPEN] {
            self.size = read_size(&mut self.answers)?;
            return Ok(None);
        }
        let mut why = first.to_vec();
        (&mut self.answers).take(WHY_BYTES_MAX).read_to_end(&mut why)?;
        Ok(Some(String::from_utf8_lossy(&why).trim().to_owned()))
    }

    /// Sends the canvas, and waits until it is on the screen.
    fn send(&mut self) -> io::Result<()> {
        write_size(&mut self.pictures, (self.canvas.width(), self.canvas.height()))?;
        for words in self.canvas.words().chunks(WORDS_AT_ONCE) {
            self.bytes.clear();
            self.bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            self.pictures.write_all(&self.bytes)?;
        }
        self.size = read_size(&mut self.answers)?;
        Ok(())
    }

    /// The error for a process that has ended without a wish to stop.
    fn lost(&mut self) -> PanelError {
        let how = match self.process.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        PanelError::Lost {
            name: "window",
            why: format!(
                "its process ended ({how}): the X server or the compositor went away, or closed the connection"
            ),
        }
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        // It may hang in a call to a desktop that does not answer. It has no state that must be kept.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn unavailable(why: String) -> PanelError {
    PanelError::Unavailable { name: "window", why }
}

/// Writes a width and a height.
fn write_size(to: &mut impl Write, (width, height): (usize, usize)) -> io::Result<()> {
    let [a, b, c, d] = (width as u32).to_le_bytes();
    let [e, f, g, h] = (height as u32).to_le_bytes();
    to.write_all(&[a, b, c, d, e, f, g, h])
}

/// Reads a width and a height, each from 1 to [`SIDE_PX_MAX`].
fn read_size(from: &mut impl Read) -> io::Result<(usize, usize)> {
    let mut side = || {
        let mut bytes = [0; 4];
        from.read_exact(&mut bytes)?;
        Ok::<_, io::Error>((u32::from_le_bytes(bytes) as usize).clamp(1, SIDE_PX_MAX))
    };
    Ok((side()?, side()?))
}

/// The smallest of the connected screens, in pixels: a window may open on any of them.
fn smallest_screen(dir: &Path) -> Option<(usize, usize)> {
    let connectors = std::fs::read_dir(dir).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let modes = connectors.filter_map(|connector| {
        let read = |file: &str| std::fs::read_to_string(connector.join(file)).ok();
        let (status, modes) = (read("status")?, read("modes")?);
        let (width, height) = modes.lines().next().filter(|_| status.trim() == "connected")?.split_once('x')?;
        // The name of an interlaced mode ends in i.
        Some((width.parse().ok()?, height.trim_end_matches('i').parse().ok()?))
    });
    modes.min_by_key(|&(width, height): &(usize, usize)| width.saturating_mul(height))
}

/// The size, reduced with its aspect ratio until it fits the screen.
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
        self.canvas.resize(self.size.0, self.size.1);
        draw(&mut self.canvas, self.look.view, shot);
        match self.send() {
            Ok(()) => Ok(()),
            // The window was closed: the next call of `tend` returns the wish to stop.
            Err(_) if self.process.wait().is_ok_and(|status| status.success()) => Ok(()),
            Err(_) => Err(self.lost()),
        }
    }

    fn tend(&mut self) -> Result<Wish, PanelError> {
        match self.process.try_wait() {
            Ok(None) => Ok(Wish::GoOn),
            Ok(Some(status)) if status.success() => Ok(Wish::Stop),
            _ => Err(self.lost()),
        }
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

    /// A shell script in place of the process.
    fn started(script: &str) -> Result<Desktop, PanelError> {
        Desktop::start(Command::new("sh").args(["-c", script]), Look::from(ViewChoice::Clustered), (4, 2))
    }

    /// Reads a picture of 4x2 and answers with a window of 3x2.
    const ANSWER: &str = r"head -c 40 >/dev/null; printf '\003\000\000\000\002\000\000\000'";
    /// Reads the wanted size and answers that the window is open.
    const OPENED: &str = r"head -c 8 >/dev/null; printf '+\004\000\000\000\002\000\000\000'";

    #[test]
    fn a_window_that_does_not_open_says_why_and_one_whose_process_ends_is_gone() {
        let why = |result: Result<Desktop, PanelError>| result.err().map(|e| e.to_string()).unwrap();
        let text = why(started("head -c 8 >/dev/null; echo no display"));
        assert_eq!(text, "display window cannot be opened: no display");
        let text = why(started("exit 3"));
        assert!(text.contains("display window is gone") && text.contains("exit status: 3"), "{text}");
    }

    #[test]
    fn pictures_are_answered_and_the_end_of_the_process_is_a_wish_or_a_failure() {
        for (code, is_wish) in [(0, true), (1, false)] {
            let mut desktop = started(&format!("{OPENED}; {ANSWER}; read -r line; exit {code}")).unwrap();
            let shot = crate::panel::tests::shot();
            desktop.show(&shot).unwrap();
            assert_eq!(desktop.size, (3, 2), "the next picture is made for what the window is now");
            assert_eq!(desktop.tend().unwrap(), Wish::GoOn);
            desktop.pictures.write_all(b"\n").unwrap();
            let ended = desktop.process.wait().unwrap();
            assert_eq!(ended.code(), Some(code));
            assert_eq!(desktop.show(&shot).is_ok(), is_wish);
            assert_eq!(desktop.tend().ok(), is_wish.then_some(Wish::Stop));
        }
    }
}
