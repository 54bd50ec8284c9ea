//! SPI: a display attached to the board's own bus. The doors to `linux-embedded-hal` and `mipidsi` are here and in `wire`, `gpio`.
//!
//! Inputs are pictures, results are the rows that changed, sent to the controller. One spidev device and up to three GPIO lines,
//! found by their names, are used. Nothing is allocated for a picture.

mod gpio;
mod wire;

pub use gpio::{line_names, output_pin};

use super::board::{Board, Controller};
use super::canvas::Canvas;
use super::look::Look;
use super::rows::Rows;
use super::{Panel, PanelError, Wish, draw};
use crate::slot::Shot;
use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::pixelcolor::raw::RawU16;
use gpio::{reset, take_line};
use linux_embedded_hal::Delay;
use linux_embedded_hal::gpio_cdev::LineHandle;
use mipidsi::interface::InterfacePixelFormat;
use mipidsi::models::{ILI9341Rgb565, ILI9488Rgb666, Model, ST7735s, ST7789, ST7796};
use mipidsi::options::{ColorInversion, ColorOrder, Orientation, Rotation};
use mipidsi::{Builder, InitError};
use std::io;
use std::path::Path;
use wire::{BUFSIZ, Bus, Line, Wire, bus, chunk_bytes};

/// Sends whole rows: the first one's number, how many pixels a row has, the pixels.
type Glass = Box<dyn FnMut(u16, u16, &[u16]) -> io::Result<()>>;

/// Initialises the controller.
fn wake<B: Bus + 'static, L: Line + 'static>(board: &Board, wire: Wire<B, L>) -> Result<Glass, String> {
    match board.controller {
        Controller::Ili9341 => wake_model(ILI9341Rgb565, board, wire),
        Controller::St7789 => wake_model(ST7789, board, wire),
        Controller::St7735 => wake_model(ST7735s, board, wire),
        Controller::St7796 => wake_model(ST7796, board, wire),
        Controller::Ili9488 => wake_model(ILI9488Rgb666, board, wire),
    }
}

fn wake_model<M, B, L>(model: M, board: &Board, wire: Wire<B, L>) -> Result<Glass, String>
where
    M: Model + 'static,
    M::ColorFormat: From<Rgb565> + InterfacePixelFormat<u8>,
    B: Bus + 'static,
    L: Line + 'static,
{
    let rotation = match board.rotation_degrees {
        90 => Rotation::Deg90,
        180 => Rotation::Deg180,
        270 => Rotation::Deg270,
        _ => Rotation::Deg0,
    };
    let mut display = Builder::new(model, wire)
        .display_size(board.width, board.height)
        .display_offset(board.offset_x, board.offset_y)
        .orientation(Orientation::new().rotate(rotation))
        .color_order(if board.bgr { ColorOrder::Bgr } else { ColorOrder::Rgb })
        .invert_colors(if board.inverted { ColorInversion::Inverted } else { ColorInversion::Normal })
        .init(&mut Delay)
        .map_err(|e| match e {
            InitError::Interface(e) => format!("{}: {e}", board.device),
            InitError::ResetPin(_) => "the reset line failed".into(),
            InitError::InvalidConfiguration(what) => format!("the board is described wrongly: {what:?}"),
        })?;
    Ok(Box::new(move |first, width, pixels| {
        let rows = (pixels.len() / usize::from(width).max(1)) as u16;
        if rows == 0 {
            return Ok(());
        }
        let colors = pixels.iter().map(|&px| Rgb565::from(RawU16::new(px)).into());
        display.set_pixels(0, first, width - 1, first + rows - 1, colors)
    }))
}

/// The attached display.
pub struct Attached {
    glass: Glass,
    device: String,
    look: Look,
    canvas: Canvas,
    rows: Rows,
    /// Held because the backlight is on as long as the lines are held.
    _lines: [Option<LineHandle>; 2],
}

impl Attached {
    /// Opens bus and lines, resets the display and switches the backlight on.
    ///
    /// # Errors
    /// [`PanelError::Unavailable`] with what to do.
    pub fn open(board: &Board, look: Look) -> Result<Attached, PanelError> {
        let unavailable = |why| PanelError::Unavailable { name: "spi", why };
        let bus = bus(board).map_err(unavailable)?;
        let data = take_line(&board.data, false).map_err(unavailable)?;
        let reset = board.reset.as_deref().map(reset).transpose().map_err(unavailable)?;
        let light = board.backlight.as_deref().map(|name| take_line(name, true)).transpose().map_err(unavailable)?;
        let wire = Wire::new(bus, data, chunk_bytes(Path::new(BUFSIZ)));
        log::info!(
            "display spi: {} on {} at {} MHz, {} bytes a write",
            board.name,
            board.device,
            f64::from(board.clock_hz) / 1e6,
            wire.chunk_bytes
        );
        let glass = wake(board, wire).map_err(unavailable)?;
        let (width, height) = board.turned();
        let (width, height) = (usize::from(width), usize::from(height));
        Ok(Attached {
            glass,
            device: board.device.clone(),
            look,
            canvas: Canvas::new(width, height).turned(look.turn),
            rows: Rows::new(width, height),
            _lines: [reset, light],
        })
    }
}

impl Panel for Attached {
    fn show(&mut self, shot: &Shot) -> Result<(), PanelError> {
        draw(&mut self.canvas, self.look.view, shot);
        let (width, glass) = (self.canvas.width() as u16, &mut self.glass);
        self.rows
            .update(&self.canvas, |first, pixels| glass(first as u16, width, pixels))
            .map_err(|e| PanelError::Unavailable { name: "spi", why: format!("{}: {e}", self.device) })
    }

    fn tend(&mut self) -> Result<Wish, PanelError> {
        Ok(Wish::GoOn)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        log::debug!("display spi: {} rows of {} were sent in all", self.rows.sent(), self.canvas.width());
    }
}

#[cfg(test)]
mod tests {
    use super::gpio::Seen;
    use super::wire::bus_advice;
    use super::*;
    use crate::config::ViewChoice;
    use crate::panel::board;
    use crate::panel::tests::shot;
    use std::cell::RefCell;
    use std::io::ErrorKind;
    use std::rc::Rc;

    /// A controller that decodes the bus as real ones do: windows and pixels.
    #[derive(Debug, Default)]
    struct Chip {
        is_data: bool,
        command: u8,
        args: Vec<u8>,
        columns: (u16, u16),
        rows: (u16, u16),
        at: (u16, u16),
        /// Bytes of an incomplete pixel.
        part: Vec<u8>,
        /// 18 bits a pixel, in three bytes.
        wide: bool,
        pixels: std::collections::BTreeMap<(u16, u16), u16>,
        commands: Vec<u8>,
        longest_write: usize,
        bytes: usize,
        broken: bool,
    }

    impl Chip {
        fn take(&mut self, byte: u8) {
            if !self.is_data {
                self.command = byte;
                self.args.clear();
                self.part.clear();
                self.commands.push(byte);
                self.at = (self.columns.0, self.rows.0);
                return;
            }
            self.args.push(byte);
            let pair = |a: &[u8]| (u16::from_be_bytes([a[0], a[1]]), u16::from_be_bytes([a[2], a[3]]));
            match (self.command, self.args.len()) {
                (0x2a, 4) => self.columns = pair(&self.args),
                (0x2b, 4) => self.rows = pair(&self.args),
                (0x3a, 1) => self.wide = byte & 7 == 6,
                (0x2c, _) => {
                    self.part.push(byte);
                    let px = match self.part[..] {
                        [r, g, b] => u16::from(r >> 3) << 11 | u16::from(g >> 2) << 5 | u16::from(b >> 3),
                        [upper, lower] if !self.wide => u16::from_be_bytes([upper, lower]),
                        _ => return,
                    };
                    self.part.clear();
                    assert!(self.at.1 <= self.rows.1, "more pixels than the window has");
                    self.pixels.insert(self.at, px);
                    self.at.0 += 1;
                    if self.at.0 > self.columns.1 {
                        self.at = (self.columns.0, self.at.1 + 1);
                    }
                }
                _ => {}
            }
        }
    }

    #[derive(Clone, Default)]
    struct Shared(Rc<RefCell<Chip>>);

    impl Bus for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            let mut chip = self.0.borrow_mut();
            if chip.broken {
                return Err(io::Error::from_raw_os_error(5));
            }
            chip.longest_write = chip.longest_write.max(bytes.len());
            chip.bytes += bytes.len();
            bytes.iter().for_each(|&b| chip.take(b));
            Ok(())
        }
    }

    impl Line for Shared {
        fn set(&mut self, high: bool) -> io::Result<()> {
            self.0.borrow_mut().is_data = high;
            Ok(())
        }
    }

    fn attach(board: &Board, chunk_bytes: usize) -> (Attached, Shared) {
        let chip = Shared::default();
        let glass = wake(board, Wire::new(chip.clone(), chip.clone(), chunk_bytes)).unwrap();
        let (width, height) = board.turned();
        let (width, height) = (usize::from(width), usize::from(height));
        let attached = Attached {
            glass,
            device: board.device.clone(),
            look: ViewChoice::Clustered.into(),
            canvas: Canvas::new(width, height),
            rows: Rows::new(width, height),
            _lines: [None, None],
        };
        (attached, chip)
    }

    #[test]
    fn the_chip_ends_up_with_the_picture_that_was_drawn() {
        for name in ["ili9341", "st7789", "st7735", "st7796", "ili9488"] {
            let mut board = board::named(name).unwrap();
            (board.offset_x, board.offset_y) = if name == "st7735" { (2, 1) } else { (0, 0) };
            let (mut attached, chip) = attach(&board, 4096);
            attached.show(&shot()).unwrap();
            let (width, height) = board.turned();
            // After a quarter turn, the chip's columns are the display's rows.
            let (left, top) = if name == "st7735" { (1, 2) } else { (0, 0) };
            let chip = chip.0.borrow();
            assert_eq!(chip.pixels.len(), usize::from(width) * usize::from(height), "{name}");
            for (&(x, y), &px) in &chip.pixels {
                let [r, g, b] = attached.canvas.at(usize::from(x - left), usize::from(y - top));
                let word = u32::from(r) << 16 | u32::from(g) << 8 | u32::from(b);
                assert_eq!(px, crate::panel::rgb565(word), "{name} {x} {y}");
            }
            assert!(chip.commands.contains(&0x11) && chip.commands.contains(&0x29), "{name} is awake and on");
            assert_eq!(chip.commands.contains(&0x21), board.inverted, "{name}");
        }
    }

    #[test]
    fn only_what_changed_is_sent_again() {
        let (mut attached, chip) = attach(&board::named("st7789").unwrap(), 4096);
        attached.show(&shot()).unwrap();
        let first = std::mem::take(&mut chip.0.borrow_mut().bytes);
        attached.show(&shot()).unwrap();
        assert_eq!(chip.0.borrow().bytes, 0, "the same picture");
        let mut next = shot();
        next.report.frame = 1;
        attached.show(&next).unwrap();
        let caption = chip.0.borrow().bytes;
        assert!(caption > 0 && caption < first / 10, "another number in the caption: {caption} of {first} bytes");
    }

    #[test]
    fn no_write_is_longer_than_the_kernel_takes_nor_cuts_a_pixel() {
        for (bufsiz, longest) in [(4096, 4092), (65536, 65532), (7, 6), (0, 6), (1 << 20, 65532)] {
            let (mut attached, chip) = attach(&board::named("st7789").unwrap(), bufsiz);
            attached.show(&shot()).unwrap();
            assert_eq!(chip.0.borrow().longest_write, longest.max(6), "{bufsiz}");
        }
        let dir = tempfile::tempdir().unwrap();
        let parameter = dir.path().join("bufsiz");
        assert_eq!(chunk_bytes(&parameter), 4096);
        std::fs::write(&parameter, "65536\n").unwrap();
        assert_eq!(chunk_bytes(&parameter), 65536);
    }

    #[test]
    fn a_bus_that_fails_is_named() {
        let (mut attached, chip) = attach(&board::named("ili9341").unwrap(), 4096);
        chip.0.borrow_mut().broken = true;
        let text = attached.show(&shot()).unwrap_err().to_string();
        assert!(text.contains("/dev/spidev0.0") && text.contains("os error 5"), "{text}");
    }

    #[test]
    fn what_is_missing_or_forbidden_says_what_to_do() {
        let spi = |kind: ErrorKind| bus_advice("/dev/spidev0.0", &kind.into());
        assert!(spi(ErrorKind::NotFound).contains("dtparam=spi=on"));
        assert!(spi(ErrorKind::PermissionDenied).contains("group spi"));
        let names = || vec!["GPIO4".to_owned(), String::new(), "GPIO18".to_owned(), "GPIO4".to_owned()];
        let seen = Seen { names: names(), refused: Vec::new() };
        assert_eq!(seen.advice("GPIO99"), "no GPIO line is called GPIO99; there are GPIO18, GPIO4");
        let forbidden = Seen { names: names(), refused: vec!["/dev/gpiochip0: Permission denied".into()] };
        assert!(forbidden.advice("GPIO4").contains("group gpio"));
        assert!(Seen::default().advice("GPIO4").contains("no named GPIO lines"));
        let mut board = board::named("st7789").unwrap();
        board.device = "/dev/spidev-of-no-machine".into();
        let none = Attached::open(&board, ViewChoice::Clustered.into()).err().unwrap().to_string();
        assert!(none.contains("there is no /dev/spidev-of-no-machine"), "{none}");
    }
}
