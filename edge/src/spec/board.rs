//! Board: what must be known of an SPI display, and the common ones ready-made.
//!
//! The input is a board's name, the result is its controller, size, pins and clock, any of which the configuration may change.
//! Pins have the names that the kernel gives them, which do not change as numbers do. This file has no side effects.

/// The chip behind the glass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// 240x320.
    Ili9341,
    /// 240x320.
    St7789,
    /// 132x162.
    St7735,
    /// 320x480.
    St7796,
    /// 320x480, 18 bits a pixel on this bus.
    Ili9488,
}

impl Controller {
    /// Columns and rows of its memory, upright.
    pub fn memory(self) -> (u16, u16) {
        match self {
            Controller::Ili9341 | Controller::St7789 => (240, 320),
            Controller::St7735 => (132, 162),
            Controller::St7796 | Controller::Ili9488 => (320, 480),
        }
    }
}

/// A display and how it is wired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// Its name in the configuration.
    pub name: &'static str,
    /// The chip.
    pub controller: Controller,
    /// Columns, upright.
    pub width: u16,
    /// Rows, upright.
    pub height: u16,
    /// Columns of the chip's memory to the left of the glass.
    pub offset_x: u16,
    /// Rows of it above the glass.
    pub offset_y: u16,
    /// By how much the picture is turned, clockwise: 0, 90, 180 or 270.
    pub rotation_degrees: u16,
    /// Blue comes first.
    pub bgr: bool,
    /// Colours are inverted, as IPS glass needs it.
    pub inverted: bool,
    /// The bus and its select line, which the kernel drives.
    pub device: String,
    /// The bus's mode, 0 to 3. Modules without a select line need 3.
    pub spi_mode: u8,
    /// The bus's clock, most of all that the board stands.
    pub clock_hz: u32,
    /// The line that distinguishes data from commands.
    pub data: String,
    /// The line that resets the chip, if it is wired.
    pub reset: Option<String>,
    /// The line that lights it, if it is wired.
    pub backlight: Option<String>,
}

/// What boards have in common: the wiring that guides show.
const PLAIN: Ready = Ready {
    name: "",
    controller: Controller::St7789,
    size: (240, 320),
    rotation_degrees: 90,
    bgr: false,
    inverted: false,
    device: "/dev/spidev0.0",
    spi_mode: 0,
    clock_hz: 32_000_000,
    data: "GPIO25",
    reset: Some("GPIO24"),
    backlight: None,
};

struct Ready {
    name: &'static str,
    controller: Controller,
    size: (u16, u16),
    rotation_degrees: u16,
    bgr: bool,
    inverted: bool,
    device: &'static str,
    spi_mode: u8,
    clock_hz: u32,
    data: &'static str,
    reset: Option<&'static str>,
    backlight: Option<&'static str>,
}

/// The first six are for glass on wires, by its controller.
const BOARDS: [Ready; 10] = [
    Ready { name: "ili9341", controller: Controller::Ili9341, bgr: true, ..PLAIN },
    Ready { name: "st7789", inverted: true, ..PLAIN },
    Ready { name: "st7735", controller: Controller::St7735, size: (128, 160), clock_hz: 16_000_000, ..PLAIN },
    // Square glass on a module without a select line: what its pins do not have, the bus's mode makes up for.
    Ready { name: "st7789-no-cs", size: (240, 240), inverted: true, spi_mode: 3, ..PLAIN },
    Ready { name: "st7796", controller: Controller::St7796, size: (320, 480), bgr: true, ..PLAIN },
    Ready { name: "ili9488", controller: Controller::Ili9488, size: (320, 480), bgr: true, ..PLAIN },
    // DC and reset as on its header; the touch controller has the other select line.
    Ready { name: "adafruit-pitft-2.8", controller: Controller::Ili9341, bgr: true, reset: None, ..PLAIN },
    // The other select line, and no reset; what would be the bus's input is DC.
    Ready {
        name: "pimoroni-display-hat-mini",
        rotation_degrees: 270,
        inverted: true,
        device: "/dev/spidev0.1",
        clock_hz: 60_000_000,
        data: "GPIO9",
        reset: None,
        backlight: Some("GPIO13"),
        ..PLAIN
    },
    Ready {
        name: "waveshare-2inch",
        inverted: true,
        clock_hz: 40_000_000,
        reset: Some("GPIO27"),
        backlight: Some("GPIO18"),
        ..PLAIN
    },
    Ready {
        name: "waveshare-1.3inch-hat",
        size: (240, 240),
        inverted: true,
        clock_hz: 40_000_000,
        reset: Some("GPIO27"),
        backlight: Some("GPIO24"),
        ..PLAIN
    },
];

/// The board of that name.
pub fn named(name: &str) -> Option<Board> {
    let ready = BOARDS.iter().find(|b| b.name == name)?;
    Some(Board {
        name: ready.name,
        controller: ready.controller,
        width: ready.size.0,
        height: ready.size.1,
        offset_x: 0,
        offset_y: 0,
        rotation_degrees: ready.rotation_degrees,
        bgr: ready.bgr,
        inverted: ready.inverted,
        device: ready.device.into(),
        spi_mode: ready.spi_mode,
        clock_hz: ready.clock_hz,
        data: ready.data.into(),
        reset: ready.reset.map(str::to_owned),
        backlight: ready.backlight.map(str::to_owned),
    })
}

impl Board {
    /// Columns and rows as they are looked at.
    pub fn turned(&self) -> (u16, u16) {
        if self.rotation_degrees.is_multiple_of(180) { (self.width, self.height) } else { (self.height, self.width) }
    }

    /// Whether the chip's memory has the whole glass.
    pub fn fits(&self) -> bool {
        let (width, height) = self.controller.memory();
        let within = |offset: u16, size: u16, most| size > 0 && u32::from(offset) + u32::from(size) <= u32::from(most);
        within(self.offset_x, self.width, width) && within(self.offset_y, self.height, height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_fits_its_controller_and_is_named_where_the_configuration_says_what_it_may_be() {
        let range = crate::config::KEYS.iter().find(|k| k.name == "spi.board").unwrap().range;
        for ready in &BOARDS {
            let board = named(ready.name).unwrap();
            assert!(board.fits() && range.contains(board.name), "{board:?}");
            assert!(board.clock_hz <= 125_000_000 && board.rotation_degrees.is_multiple_of(90), "{board:?}");
        }
        assert_eq!(named("waveshare-2inch").unwrap().turned(), (320, 240));
        assert!(named("").is_none() && named("none").is_none());
    }
}
