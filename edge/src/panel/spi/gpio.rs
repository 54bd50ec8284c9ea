//! GPIO: lines by the names that the kernel gives them, on whichever chip has them.
//!
//! Inputs are names, results are lines that are driven as long as they are held. Chips in `/dev` are opened. A line that another
//! program uses is an error. Errors list the known names.

use super::wire::Line;
use embedded_hal::digital::PinState;
use linux_embedded_hal::CdevPin;
use linux_embedded_hal::gpio_cdev::{self, LineHandle, LineRequestFlags};
use std::io;

/// The name by which the kernel lists the user of the lines.
const CONSUMER: &str = "hueflow-edge";

impl Line for LineHandle {
    fn set(&mut self, high: bool) -> io::Result<()> {
        self.set_value(high.into()).map_err(io::Error::other)
    }
}

/// The line of that name on any chip, driven to `high`.
pub(super) fn take_line(name: &str, high: bool) -> Result<LineHandle, String> {
    let mut seen = Seen::default();
    for chip in gpio_chips() {
        if let Err(e) = std::fs::File::open(&chip) {
            seen.refused.push(format!("{}: {e}", chip.display()));
            continue;
        }
        let Ok(chip) = gpio_cdev::Chip::new(&chip) else { continue };
        for line in chip.lines() {
            let Ok(info) = line.info() else { continue };
            if info.name() != Some(name) {
                seen.names.extend(info.name().map(str::to_owned));
                continue;
            }
            return line.request(LineRequestFlags::OUTPUT, high.into(), CONSUMER).map_err(|e| match info.consumer() {
                Some(other) => format!("GPIO line {name} is in use by {other}"),
                None => format!("GPIO line {name}: {e}"),
            });
        }
    }
    Err(seen.advice(name))
}

/// The line of that name on any chip, driven to a level, as a pin of `embedded-hal`.
///
/// # Errors
/// Why the line cannot be used, and the names of all lines.
pub fn output_pin(name: &str, level: PinState) -> Result<CdevPin, String> {
    CdevPin::new(take_line(name, level == PinState::High)?).map_err(|e| format!("GPIO line {name}: {e}"))
}

/// The names of all GPIO lines with their users, and the chips that cannot be read.
pub fn line_names() -> (Vec<(String, Option<String>)>, Vec<String>) {
    let (mut names, mut refused) = (Vec::new(), Vec::new());
    for path in gpio_chips() {
        if let Err(e) = std::fs::File::open(&path) {
            refused.push(format!("{}: {e}", path.display()));
            continue;
        }
        let Ok(chip) = gpio_cdev::Chip::new(&path) else { continue };
        let infos = chip.lines().filter_map(|line| line.info().ok());
        names.extend(infos.filter_map(|i| Some((i.name()?.to_owned(), i.consumer().map(str::to_owned)))));
    }
    (names, refused)
}

/// Every `/dev/gpiochip*`.
fn gpio_chips() -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().filter_map(Result::ok).map(|e| e.path());
    let is_chip = |p: &std::path::PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("gpiochip"));
    let mut chips: Vec<_> = entries.filter(is_chip).collect();
    chips.sort();
    chips
}

/// The lines and errors that were seen during an unsuccessful search.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) names: Vec<String>,
    pub(super) refused: Vec<String>,
}

impl Seen {
    pub(super) fn advice(&self, name: &str) -> String {
        if let Some(first) = self.refused.first() {
            return format!("{first}; add the user to the group gpio (sudo usermod -aG gpio USER) and log in again");
        }
        if self.names.is_empty() {
            return format!("GPIO line {name}: this machine has no named GPIO lines");
        }
        let mut names: Vec<&str> = self.names.iter().map(String::as_str).filter(|n| !n.is_empty()).collect();
        names.sort_unstable();
        names.dedup();
        format!("no GPIO line is called {name}; there are {}", names.join(", "))
    }
}

/// Resets the chip by its reset line, which is high afterwards.
pub(super) fn reset(name: &str) -> Result<LineHandle, String> {
    let mut line = take_line(name, true)?;
    let failed = |e: io::Error| format!("GPIO line {name}: {e}");
    for high in [false, true] {
        line.set(high).map_err(failed)?;
        // The longest time that a data sheet of a supported controller requires.
        std::thread::sleep(std::time::Duration::from_millis(120));
    }
    Ok(line)
}
