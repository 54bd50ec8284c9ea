//! Wire: the bus to a display, and the line that selects data or command.
//!
//! Inputs are a controller's commands and pixels; results are writes to spidev no longer than the kernel takes, each of whole
//! pixels. The kernel drives the chip select line. The buffer of a write is allocated once.

use super::super::board::Board;
use linux_embedded_hal::SpidevDevice;
use linux_embedded_hal::spidev::{SpiModeFlags, SpidevOptions};
use mipidsi::interface::{Interface, InterfaceKind};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// The file with the longest write of spidev.
pub(super) const BUFSIZ: &str = "/sys/module/spidev/parameters/bufsiz";
/// The default of spidev.
const BUFSIZ_DEFAULT: usize = 4096;
/// Longer writes are not faster.
const CHUNK_BYTES_MAX: usize = 65536;

/// Bytes on the bus.
pub(super) trait Bus {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}

impl Bus for SpidevDevice {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

/// A line that is driven.
pub(super) trait Line {
    fn set(&mut self, high: bool) -> io::Result<()>;
}

/// The bus, and the line that selects data or command.
pub(super) struct Wire<B, L> {
    bus: B,
    data: L,
    /// The line's level; unknown at first.
    is_data: Option<bool>,
    chunk: Vec<u8>,
    pub(super) chunk_bytes: usize,
}

impl<B: Bus, L: Line> Wire<B, L> {
    /// Writes have at most `chunk_bytes`.
    pub(super) fn new(bus: B, data: L, chunk_bytes: usize) -> Wire<B, L> {
        // Whole pixels of two and of three bytes.
        let chunk_bytes = (chunk_bytes.min(CHUNK_BYTES_MAX) / 6 * 6).max(6);
        Wire { bus, data, is_data: None, chunk: Vec::with_capacity(chunk_bytes), chunk_bytes }
    }

    fn turn(&mut self, is_data: bool) -> io::Result<()> {
        if self.is_data != Some(is_data) {
            self.data.set(is_data)?;
            self.is_data = Some(is_data);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.chunk.is_empty() {
            self.bus.write(&self.chunk)?;
            self.chunk.clear();
        }
        Ok(())
    }
}

impl<B: Bus, L: Line> Interface for Wire<B, L> {
    type Word = u8;
    type Error = io::Error;
    const KIND: InterfaceKind = InterfaceKind::Serial4Line;

    fn send_command(&mut self, command: u8, args: &[u8]) -> io::Result<()> {
        self.turn(false)?;
        self.bus.write(&[command])?;
        if !args.is_empty() {
            self.turn(true)?;
        }
        args.chunks(self.chunk_bytes).try_for_each(|part| self.bus.write(part))
    }

    fn send_pixels<const N: usize>(&mut self, pixels: impl IntoIterator<Item = [u8; N]>) -> io::Result<()> {
        self.turn(true)?;
        self.chunk.clear();
        for pixel in pixels {
            if self.chunk.len() + N > self.chunk_bytes {
                self.flush()?;
            }
            self.chunk.extend_from_slice(&pixel);
        }
        self.flush()
    }

    fn send_repeated_pixel<const N: usize>(&mut self, pixel: [u8; N], count: u32) -> io::Result<()> {
        self.send_pixels(std::iter::repeat_n(pixel, count as usize))
    }
}

/// The longest write in bytes.
pub(super) fn chunk_bytes(parameter: &Path) -> usize {
    let size = std::fs::read_to_string(parameter).ok().and_then(|text| text.trim().parse().ok());
    size.unwrap_or(BUFSIZ_DEFAULT)
}

/// Opens and configures the bus of a board.
pub(super) fn bus(board: &Board) -> Result<SpidevDevice, String> {
    // Opened as a file first, because that error is the most precise.
    std::fs::File::options().read(true).write(true).open(&board.device).map_err(|e| bus_advice(&board.device, &e))?;
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", board.device);
    let mut bus = SpidevDevice::open(&board.device).map_err(|e| failed(&e))?;
    let mode = match board.spi_mode {
        1 => SpiModeFlags::SPI_MODE_1,
        2 => SpiModeFlags::SPI_MODE_2,
        3 => SpiModeFlags::SPI_MODE_3,
        _ => SpiModeFlags::SPI_MODE_0,
    };
    let options = SpidevOptions::new().bits_per_word(8).max_speed_hz(board.clock_hz).mode(mode).build();
    bus.0.configure(&options).map_err(|e| failed(&e))?;
    Ok(bus)
}

/// An error of the bus, with what to do.
pub(super) fn bus_advice(device: &str, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => format!(
            "there is no {device}: switch SPI on (dtparam=spi=on in /boot/firmware/config.txt, or raspi-config) and restart"
        ),
        ErrorKind::PermissionDenied => {
            format!("{device}: {error}; add the user to the group spi (sudo usermod -aG spi USER) and log in again")
        }
        _ => format!("{device}: {error}"),
    }
}
