//! Surface: the process that has the desktop's window. The one door to `minifb`.
//!
//! Inputs are pictures on standard input, as [`super`] has them; the results are a window that shows the last one, and an
//! answer on standard output for each. It ends without a failure when Esc is pressed, the window is closed, or standard input ends.
//! Xlib ends it when the X server goes away; it ends with a failure when the compositor goes away. The run continues without it.

use super::{OPEN, SIDE_PX_MAX, read_size, write_size};
use crate::exit::{Failure, Reason};
use crate::signals;
use minifb::{InputCallback, Key, Window, WindowOptions};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// The title of the window.
const TITLE: &str = "Hueflow";
/// Keys and window events are handled this often, so that a person notices no delay.
const TEND_EVERY: Duration = Duration::from_millis(20);
/// Pictures between standard input and the window: the run sends the next one after the answer to the last.
const PICTURES_MAX: usize = 1;

/// A compositor that does not answer within this time is taken to be gone.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// A picture as it was received.
#[derive(Debug, Default)]
struct Picture {
    size: (usize, usize),
    bytes: Vec<u8>,
}

/// Detects every press of Esc, even one that is shorter than the time between two polls of the keys.
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

/// Opens the window and shows the pictures from standard input.
///
/// # Errors
/// [`Failure`] if there is no desktop, or it goes away.
pub fn run() -> Result<(), Failure> {
    // The run handles signals and ends this process by closing standard input.
    signals::leave_to_parent()?;
    let failed = |e| Failure::io("the window's pipes", e);
    let (mut input, mut output) = (io::stdin(), take_output().map_err(failed)?);
    let size = read_size(&mut input).map_err(failed)?;
    let is_on_wayland = answers_on_wayland();
    let options = WindowOptions { resize: true, ..WindowOptions::default() };
    let mut window = match Window::new(TITLE, size.0, size.1, options) {
        Ok(window) => window,
        Err(error) => return output.write_all(error.to_string().as_bytes()).map_err(failed),
    };
    // The run sets the pace of pictures.
    window.set_target_fps(0);
    let esc = Arc::new(AtomicBool::new(false));
    window.set_input_callback(Box::new(Keys { esc: Arc::clone(&esc) }));
    output.write_all(&[OPEN]).and_then(|()| answer(&mut output, &window)).map_err(failed)?;
    let (pictures, shown) = sync_channel(PICTURES_MAX);
    let (back, empties) = sync_channel(PICTURES_MAX);
    std::thread::Builder::new()
        .name("pictures".into())
        .spawn(move || read(&mut input, &pictures, &empties))
        .map_err(failed)?;
    show(&mut window, &esc, &mut output, &shown, &back)?;
    if is_on_wayland && !window.is_open() && !answers_on_wayland() {
        // `minifb` does not distinguish a window that a person closed from one whose compositor has gone.
        return Err(Failure::new(Reason::Unavailable, anyhow::anyhow!("the compositor went away")));
    }
    Ok(())
}

/// Reserves standard output for the answers. Other output, such as that of `minifb`, is redirected to standard error.
fn take_output() -> io::Result<File> {
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdout(io::stderr())?;
    Ok(output.into())
}

/// Returns true if a compositor answers at the socket that the environment names.
fn answers_on_wayland() -> bool {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let Some(socket) = variable("WAYLAND_DISPLAY") else { return false };
    // An absolute path replaces the directory.
    answers(&Path::new(&variable("XDG_RUNTIME_DIR").unwrap_or_default()).join(socket)).unwrap_or(false)
}

/// Returns true if a compositor answers at `socket`. A socket may exist for a moment after the compositor has ended.
fn answers(socket: &Path) -> io::Result<bool> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    // Object 1 (`wl_display`), request 1 (`get_registry`) of 12 bytes, the new object 2: its answer is never empty.
    for word in [1, 12 << 16 | 1, 2_u32] {
        stream.write_all(&word.to_ne_bytes())?;
    }
    Ok(stream.read(&mut [0])? == 1)
}

/// Shows pictures until the window is closed or the input ends.
fn show(
    window: &mut Window,
    esc: &AtomicBool,
    output: &mut impl Write,
    pictures: &Receiver<Picture>,
    back: &SyncSender<Picture>,
) -> Result<(), Failure> {
    let mut words = Vec::new();
    let mut size = (0, 0);
    while window.is_open() && !esc.load(Ordering::Relaxed) {
        let is_new = match pictures.recv_timeout(TEND_EVERY) {
            Ok(picture) => {
                size = picture.size;
                words.clear();
                words.extend(picture.bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)));
                // The channel has room for the one picture in use.
                let _ = back.try_send(picture);
                true
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        if words.is_empty() {
            window.update();
        } else {
            let updated = window.update_with_buffer(&words, size.0, size.1);
            updated.map_err(|e| Failure::new(Reason::Unavailable, anyhow::anyhow!("the window: {e}")))?;
        }
        if is_new && answer(output, window).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Writes the window's size.
fn answer(output: &mut impl Write, window: &Window) -> io::Result<()> {
    let (width, height) = window.get_size();
    write_size(output, (width.clamp(1, SIDE_PX_MAX), height.clamp(1, SIDE_PX_MAX)))?;
    output.flush()
}

/// Reads pictures until standard input ends.
fn read(input: &mut impl Read, pictures: &SyncSender<Picture>, empties: &Receiver<Picture>) {
    let mut picture = Picture::default();
    while let Ok(size) = read_size(input) {
        picture.size = size;
        picture.bytes.resize(4 * size.0 * size.1, 0);
        if input.read_exact(&mut picture.bytes).is_err() || pictures.send(picture).is_err() {
            return;
        }
        let Ok(empty) = empties.recv() else { return };
        picture = empty;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_compositor_that_is_gone_or_going_does_not_answer() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("wayland-0");
        assert!(answers(&socket).is_err());
        let listener = UnixListener::bind(&socket).unwrap();
        let compositor = std::thread::spawn(move || {
            let answering = |answer: &[u8]| {
                let mut stream = listener.accept().unwrap().0;
                stream.read_exact(&mut [0; 12]).unwrap();
                stream.write_all(answer).unwrap();
            };
            answering(&[2]);
            answering(&[]);
        });
        assert!(answers(&socket).unwrap());
        assert!(!answers(&socket).unwrap());
        compositor.join().unwrap();
        assert!(answers(&socket).is_err(), "the socket's file is still there");
    }
}
