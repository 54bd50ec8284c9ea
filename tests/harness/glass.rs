//! A display on SPI lines, as its controller sees it: pictures decoded bit by bit from a trace.
//!
//! The input is QEMU's trace of the GPIO lines: clock, data, select, and the line that selects data or command. The
//! results are the pictures in 16 bits a pixel as they were sent. The decoder follows the controllers' data sheets and
//! knows nothing of the sender.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// The lines, by their number on the chip.
const CLOCK: usize = 0;
const DATA: usize = 1;
const SELECT: usize = 4;
const IS_DATA: usize = 5;
const RESET: usize = 6;
/// Pictures that are kept.
const PICTURES_MAX: usize = 400;

/// The display.
#[derive(Debug, Clone)]
pub struct Glass {
    width: usize,
    height: usize,
    lines: [bool; 8],
    bits: u32,
    count: u32,
    command: u8,
    args: Vec<u8>,
    columns: [usize; 2],
    rows: [usize; 2],
    at: (usize, usize),
    pixels: Vec<u16>,
    /// What it showed whenever a window of it was full, the oldest first.
    pub pictures: Vec<Vec<u16>>,
    /// Every command with how many bytes followed.
    pub commands: Vec<(u8, usize)>,
    /// Bytes in all.
    pub bytes: usize,
    /// Times that it was let go in the middle of a byte.
    pub cut: usize,
    /// Times that it was reset.
    pub resets: usize,
    /// Pixels that its memory does not have.
    pub outside: usize,
}

impl Glass {
    /// A display of so many pixels as it is looked at, black.
    pub fn new(width: usize, height: usize) -> Glass {
        let mut lines = [false; 8];
        lines[SELECT] = true;
        Glass {
            width,
            height,
            lines,
            bits: 0,
            count: 0,
            command: 0,
            args: Vec::new(),
            columns: [0, width - 1],
            rows: [0, height - 1],
            at: (0, 0),
            pixels: vec![0; width * height],
            pictures: Vec::new(),
            commands: Vec::new(),
            bytes: 0,
            cut: 0,
            resets: 0,
            outside: 0,
        }
    }

    /// Watches the wires until the pipe ends.
    pub fn watch(pipe: &Path, width: usize, height: usize) -> Glass {
        let mut glass = Glass::new(width, height);
        let mut wires = BufReader::with_capacity(1 << 20, File::open(pipe).expect("the wires"));
        let mut text = Vec::new();
        while wires.read_until(b'\n', &mut text).expect("the wires") > 0 {
            if text.starts_with(b"pl061_set_output") {
                // `pl061_set_output pl061 setting output 5 to 1`
                let mut words = text.trim_ascii().rsplit(|&b| b == b' ');
                let level = words.next() == Some(b"1");
                let line = words.nth(1).and_then(|w| std::str::from_utf8(w).ok()).and_then(|w| w.parse().ok());
                glass.line(line.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&text))), level);
            }
            text.clear();
        }
        glass
    }

    fn line(&mut self, line: usize, level: bool) {
        let was = std::mem::replace(&mut self.lines[line], level);
        match line {
            SELECT if level != was => {
                self.cut += usize::from(self.count > 0);
                (self.bits, self.count) = (0, 0);
            }
            RESET if was && !level => self.resets += 1,
            // Mode 0: a bit is taken at the rising edge.
            CLOCK if level && !was && !self.lines[SELECT] => {
                self.bits = self.bits << 1 | u32::from(self.lines[DATA]);
                self.count += 1;
                if self.count == 8 {
                    self.byte(self.bits as u8);
                    (self.bits, self.count) = (0, 0);
                }
            }
            _ => {}
        }
    }

    fn byte(&mut self, byte: u8) {
        self.bytes += 1;
        if !self.lines[IS_DATA] {
            self.commands.push((byte, 0));
            (self.command, self.at) = (byte, (self.columns[0], self.rows[0]));
            self.args.clear();
            return;
        }
        if let Some(last) = self.commands.last_mut() {
            last.1 += 1;
        }
        self.args.push(byte);
        let pair = |a: &[u8]| [0, 2].map(|i| usize::from(u16::from_be_bytes([a[i], a[i + 1]])));
        match (self.command, self.args.len()) {
            (0x2a, 4) => self.columns = pair(&self.args),
            (0x2b, 4) => self.rows = pair(&self.args),
            (0x2c, 2) => {
                let pixel = u16::from_be_bytes([self.args[0], self.args[1]]);
                self.args.clear();
                self.pixel(pixel);
            }
            _ => {}
        }
    }

    fn pixel(&mut self, pixel: u16) {
        let (x, y) = self.at;
        if x < self.width && y < self.height {
            self.pixels[y * self.width + x] = pixel;
        } else {
            self.outside += 1;
        }
        self.at = if x < self.columns[1] { (x + 1, y) } else { (self.columns[0], y + 1) };
        if self.at.1 > self.rows[1] {
            self.at.1 = self.rows[0];
            assert!(self.pictures.len() < PICTURES_MAX, "more pictures than are kept");
            self.pictures.push(self.pixels.clone());
        }
    }

    /// Whether that command ever came.
    pub fn has_command(&self, command: u8) -> bool {
        self.commands.iter().any(|(c, _)| *c == command)
    }
}

/// A picture of 16 bits a pixel as RGB, each colour spread over all its levels.
pub fn rgb(pixels: &[u16]) -> Vec<u8> {
    let spread = |v: u16, bits: u32| (u32::from(v) * 255 / ((1 << bits) - 1)) as u8;
    pixels.iter().flat_map(|p| [spread(p >> 11, 5), spread(p >> 5 & 63, 6), spread(p & 31, 5)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(glass: &mut Glass, is_data: bool, bytes: &[u8]) {
        glass.line(IS_DATA, is_data);
        glass.line(SELECT, false);
        for byte in bytes {
            for bit in (0..8).rev() {
                glass.line(DATA, byte >> bit & 1 == 1);
                glass.line(CLOCK, true);
                glass.line(CLOCK, false);
            }
        }
        glass.line(SELECT, true);
    }

    #[test]
    fn a_filled_window_of_the_display_is_a_picture() {
        let mut glass = Glass::new(4, 2);
        send(&mut glass, false, &[0x2a]);
        send(&mut glass, true, &[0, 1, 0, 2]);
        send(&mut glass, false, &[0x2b]);
        send(&mut glass, true, &[0, 1, 0, 1]);
        send(&mut glass, false, &[0x2c]);
        send(&mut glass, true, &[0xf8, 0, 0x07]);
        send(&mut glass, true, &[0xe0]);
        assert_eq!(glass.pictures, [[0, 0, 0, 0, 0, 0xf800, 0x07e0, 0]]);
        assert_eq!((glass.cut, glass.outside, glass.bytes), (0, 0, 15));
        assert_eq!(rgb(&[0xf800, 0x07e0, 0x001f, 0xffff]), [255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255]);
    }
}
