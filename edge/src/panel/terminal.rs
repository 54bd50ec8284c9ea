//! Terminal: the picture in half blocks, two pixels a character, in true colour.
//!
//! Inputs are pictures; results are characters on the terminal of this process, and a wish to stop when Esc or q is pressed. The
//! terminal is opened separately, because standard output is for data, and its state is restored at the end. Rotation and flip apply
//! to the picture; palette and caption are text and stay upright.

use super::canvas::Canvas;
use super::look::Look;
use super::{Panel, PanelError, Wish};
use crate::logs;
use crate::slot::Shot;
use crate::spec::ViewChoice;
use firmware::view::caption::caption;
use firmware::wire::rgb8;
use rustix::termios::{self, OptionalActions, SpecialCodeIndex, Termios};
use std::fs::File;
use std::io::{Read, Write};

const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";
/// The mark of an edge that is offline, and the keys that end it.
const OFFLINE: &str = " offline ";
const HINT: &str = "  (Esc ends)";
const ESC: u8 = 0x1b;
const CTRL_C: u8 = 3;

/// The terminal.
pub struct Terminal {
    tty: File,
    before: Termios,
    look: Look,
    canvas: Canvas,
    size: (usize, usize),
    out: Vec<u8>,
}

impl Terminal {
    /// Takes over the terminal.
    ///
    /// # Errors
    /// [`PanelError::Unavailable`] where there is none.
    pub fn open(look: Look) -> Result<Terminal, PanelError> {
        let unavailable = |error: std::io::Error| {
            let why = format!("this is not run from a terminal ({error}): over ssh use ssh -t, or --display preview");
            PanelError::Unavailable { name: "terminal", why }
        };
        let mut tty = File::options().read(true).write(true).open("/dev/tty").map_err(unavailable)?;
        let before = termios::tcgetattr(&tty).map_err(|e| unavailable(e.into()))?;
        let mut raw = before.clone();
        raw.make_raw();
        // Line ends and Ctrl-C still work; reading returns at once with the characters typed so far.
        raw.output_modes |= before.output_modes;
        raw.local_modes |= termios::LocalModes::ISIG;
        raw.special_codes[SpecialCodeIndex::VMIN] = 0;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        termios::tcsetattr(&tty, OptionalActions::Flush, &raw).map_err(|e| unavailable(e.into()))?;
        logs::hold(true);
        tty.write_all(ENTER).map_err(unavailable)?;
        Ok(Terminal { tty, before, look, canvas: Canvas::default().turned(look.turn), size: (0, 0), out: Vec::new() })
    }

    fn window_size(&self) -> (usize, usize) {
        let size = termios::tcgetwinsize(&self.tty);
        let (columns, rows) = size.map_or((80, 24), |s| (usize::from(s.ws_col), usize::from(s.ws_row)));
        (columns.clamp(1, 500), rows.clamp(3, 300))
    }
}

impl Panel for Terminal {
    fn show(&mut self, shot: &Shot) -> Result<(), PanelError> {
        let (columns, rows) = self.window_size();
        self.out.clear();
        if self.size != (columns, rows) {
            self.size = (columns, rows);
            self.out.extend_from_slice(b"\x1b[0m\x1b[2J");
        }
        // Palette and caption are lines of text; the picture has the other lines, two pixels high each.
        self.canvas.resize(columns, (rows - 2) * 2);
        picture(&mut self.canvas, self.look.view, shot);
        self.out.extend_from_slice(b"\x1b[H");
        half_blocks(&self.canvas, &mut self.out);
        palette(shot, columns, &mut self.out);
        words(shot, columns, &mut self.out);
        self.tty.write_all(&self.out).map_err(|e| PanelError::Unavailable { name: "terminal", why: e.to_string() })
    }

    fn tend(&mut self) -> Result<Wish, PanelError> {
        let mut keys = [0; 32];
        let n = self.tty.read(&mut keys).unwrap_or(0);
        Ok(if wants_end(&keys[..n]) { Wish::Stop } else { Wish::GoOn })
    }

    fn fills_terminal(&self) -> bool {
        true
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tty.write_all(LEAVE);
        let _ = termios::tcsetattr(&self.tty, OptionalActions::Flush, &self.before);
        logs::hold(false);
    }
}

/// The caption, the mark of an edge that is offline, and the keys that end it, as far as they fit.
fn words(shot: &Shot, columns: usize, out: &mut Vec<u8>) {
    let mark = if shot.is_offline && columns > OFFLINE.len() { OFFLINE } else { "" };
    let text = caption(&shot.report, shot.fps_tenths, columns - mark.len());
    let hint = if text.len() + HINT.len() + mark.len() <= columns { HINT } else { "" };
    let (on, off) = if mark.is_empty() { ("", "") } else { ("\x1b[41;97m", "\x1b[0m") };
    out.extend_from_slice(format!("\x1b[0m{text}{hint}{on}{mark}{off}\x1b[K").as_bytes());
}

/// Esc alone (an arrow key is Esc and more), q, or Ctrl-C.
fn wants_end(keys: &[u8]) -> bool {
    keys == [ESC] || keys.starts_with(&[ESC, ESC]) || keys.iter().any(|k| matches!(*k, b'q' | b'Q' | CTRL_C))
}

/// The picture alone, scaled into `canvas` with its shape kept (nearest pixel).
fn picture(canvas: &mut Canvas, view: ViewChoice, shot: &Shot) {
    use embedded_graphics::pixelcolor::Rgb888;
    use embedded_graphics::prelude::*;
    use embedded_graphics::primitives::Rectangle;
    let (width, height) = (shot.report.width as usize, shot.report.height as usize);
    let Ok(()) = canvas.clear(Rgb888::BLACK);
    if width == 0 || height == 0 || shot.labels.len() < width * height {
        return;
    }
    let palette: heapless::Vec<[u8; 3], 255> = shot.report.palette.iter().map(|s| rgb8(s.rgb_q6)).collect();
    let clustered = |i: usize| palette.get(usize::from(shot.labels[i])).copied().unwrap_or_default();
    let original =
        |i: usize| shot.original.get(i * 3..).and_then(|b| b.first_chunk::<3>()).copied().unwrap_or_default();
    let halves = if view == ViewChoice::SideBySide { 2 } else { 1 };
    let (room_w, room_h) = canvas.upright();
    let room_w = room_w / halves;
    // The smaller of the two scales fits, in whole pixels.
    let (w, h) = if room_w * height <= room_h * width {
        (room_w, (room_w * height / width).max(1))
    } else {
        ((room_h * width / height).max(1), room_h)
    };
    for half in 0..halves {
        let left = half * room_w + (room_w - w.min(room_w)) / 2;
        let top = (room_h - h.min(room_h)) / 2;
        let area = Rectangle::new(Point::new(left as i32, top as i32), Size::new(w as u32, h as u32));
        let source = (0..h).flat_map(|y| (0..w).map(move |x| y * height / h * width + x * width / w));
        let colors = source.map(|i| if halves == 2 && half == 0 { original(i) } else { clustered(i) });
        let Ok(()) = canvas.fill_contiguous(&area, colors.map(|[r, g, b]| Rgb888::new(r, g, b)));
    }
}

/// Two rows of pixels a line: the upper is the colour of the half block, the lower that behind it.
fn half_blocks(canvas: &Canvas, out: &mut Vec<u8>) {
    for y in (0..canvas.height()).step_by(2) {
        let mut last = None;
        for x in 0..canvas.width() {
            let (upper, lower) = (canvas.at(x, y), canvas.at(x, y + 1));
            if last != Some((upper, lower)) {
                let ([r, g, b], [br, bg, bb]) = (upper, lower);
                // Writing to a vector cannot fail.
                let _ = write!(out, "\x1b[38;2;{r};{g};{b};48;2;{br};{bg};{bb}m");
                last = Some((upper, lower));
            }
            out.extend_from_slice("▀".as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// A line of the palette's colours, each as wide as its share.
fn palette(shot: &Shot, columns: usize, out: &mut Vec<u8>) {
    let all: u64 = shot.report.palette.iter().map(|s| u64::from(s.pixels)).sum();
    let (mut seen, mut drawn) = (0u64, 0);
    for s in &shot.report.palette {
        seen += u64::from(s.pixels);
        let end = (seen * columns as u64 / all.max(1)) as usize;
        if end > drawn {
            let [r, g, b] = s.rgb8();
            let _ = write!(out, "\x1b[48;2;{r};{g};{b}m{:1$}", "", end - drawn);
            drawn = end;
        }
    }
    out.extend_from_slice(b"\x1b[0m\x1b[K\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panel::tests::shot;

    #[test]
    fn a_picture_keeps_its_shape_and_is_centred() {
        let mut canvas = Canvas::new(4, 6);
        picture(&mut canvas, ViewChoice::Clustered, &shot());
        let row = |y| (0..4).map(|x| canvas.at(x, y)).collect::<Vec<_>>();
        assert_eq!(row(1), [[0; 3]; 4]);
        assert_eq!(row(2), [[200, 0, 0], [200, 0, 0], [0, 100, 0], [0, 100, 0]]);
        assert_eq!(row(3), row(2));
        assert_eq!(row(4), [[0; 3]; 4]);
        picture(&mut canvas, ViewChoice::SideBySide, &shot());
        assert_eq!((canvas.at(0, 2), canvas.at(3, 2)), ([9; 3], [0, 100, 0]));
    }

    #[test]
    fn lines_are_half_blocks_and_the_palette_is_as_wide_as_the_screen() {
        let mut canvas = Canvas::new(3, 2);
        picture(&mut canvas, ViewChoice::Clustered, &shot());
        let mut out = Vec::new();
        half_blocks(&canvas, &mut out);
        assert_eq!(String::from_utf8_lossy(&out).matches('▀').count(), 3);
        out.clear();
        palette(&shot(), 10, &mut out);
        assert_eq!(String::from_utf8_lossy(&out).matches(' ').count(), 10);
    }

    #[test]
    fn the_line_below_is_never_longer_than_the_screen_and_says_when_it_is_offline() {
        for (is_offline, columns) in [(false, 100), (false, 20), (true, 100), (true, 20), (true, 3), (false, 1)] {
            let mut out = Vec::new();
            words(&Shot { is_offline, fps_tenths: Some(298), ..shot() }, columns, &mut out);
            let text = String::from_utf8(out).unwrap();
            let bare: String =
                text.split('\x1b').map(|part| part.split_once(['m', 'K']).map_or(part, |(_, t)| t)).collect();
            assert!(bare.len() <= columns, "{bare:?} in {columns}");
            assert_eq!(bare.contains("offline"), is_offline && columns > 3, "{bare:?}");
            assert_eq!(bare.contains("29.8 fps") && bare.contains("Esc"), columns == 100, "{bare:?}");
        }
    }

    #[test]
    fn esc_ends_and_an_arrow_does_not() {
        assert!(wants_end(b"\x1b") && wants_end(b"q") && wants_end(b"xxq") && wants_end(b"\x03"));
        assert!(!wants_end(b"\x1b[A") && !wants_end(b"") && !wants_end(b"a"));
    }
}
