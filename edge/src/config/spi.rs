//! The attached display that the configuration's `[spi]` section describes.
//!
//! It is a ready-made board, changed by the keys of the section. A size or an offset that the controller's memory does
//! not have is refused.

use super::Raw;
use super::layers::{ConfigError, Word};
use crate::spec::board::{self, Board};

/// The value that leaves the board as it is.
const AS_BOARD: &str = "board";

impl Raw {
    /// The attached display, if there is one.
    pub(super) fn spi(&self) -> Result<Option<Board>, ConfigError> {
        let name = self.look("spi.board");
        let text = name.text()?;
        let wanted = if text == "none" { None } else { Some(board::named(&text).ok_or_else(|| name.refuse())?) };
        // The other keys are checked even if there is no board to change.
        let any = wanted.clone().or_else(|| board::named("st7789")).ok_or_else(|| name.refuse())?;
        let board = self.change(any)?;
        Ok(wanted.map(|_| board))
    }

    fn change(&self, mut board: Board) -> Result<Board, ConfigError> {
        let given = |key| Some(self.look(key)).filter(|word| word.value.as_str() != Some(AS_BOARD));
        let number = |key, min, max, to: &mut u16| match given(key) {
            Some(word) => word.whole(min, max).map(|n| *to = n as u16),
            None => Ok(()),
        };
        number("spi.width", 1, 480, &mut board.width)?;
        number("spi.height", 1, 480, &mut board.height)?;
        number("spi.offset_x", 0, 479, &mut board.offset_x)?;
        number("spi.offset_y", 0, 479, &mut board.offset_y)?;
        number("spi.rotation", 0, 270, &mut board.rotation_degrees)?;
        if !board.rotation_degrees.is_multiple_of(90) {
            return Err(self.look("spi.rotation").refuse());
        }
        if !board.fits() {
            let (width, height) = board.controller.memory();
            let mut refused = self.look("spi.width").refuse();
            if let ConfigError::Value { range, .. } = &mut refused {
                *range =
                    format!("such that the display with its offsets lies in the controller's {width}x{height} pixels");
            }
            return Err(refused);
        }
        if let Some(word) = given("spi.clock_hz") {
            board.clock_hz = word.whole(100_000, 125_000_000)? as u32;
        }
        if let Some(word) = given("spi.mode") {
            board.spi_mode = word.whole(0, 3)? as u8;
        }
        if let Some(word) = given("spi.device") {
            board.device = word.text().and_then(|t| if t.starts_with('/') { Ok(t) } else { Err(word.refuse()) })?;
        }
        if let Some(word) = given("spi.dc") {
            board.data = line(&word)?.ok_or_else(|| word.refuse())?;
        }
        if let Some(word) = given("spi.reset") {
            board.reset = line(&word)?;
        }
        if let Some(word) = given("spi.backlight") {
            board.backlight = line(&word)?;
        }
        if let Some(word) = given("spi.colour_order") {
            board.bgr = match word.text()?.as_str() {
                "rgb" => false,
                "bgr" => true,
                _ => return Err(word.refuse()),
            };
        }
        if let Some(word) = given("spi.inverted") {
            board.inverted = word.flag()?;
        }
        Ok(board)
    }
}

/// A GPIO line's name; none if it is not wired.
fn line(word: &Word) -> Result<Option<String>, ConfigError> {
    let name = word.text()?;
    // The kernel's names have at most 31 characters.
    if name.is_empty() || name.len() > 31 {
        return Err(word.refuse());
    }
    Ok((name != "none").then_some(name))
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Origin};
    use super::*;
    use toml::Value;

    fn check(words: &[(&str, &str)]) -> Result<Option<Board>, String> {
        let mut raw = Raw::default();
        for (key, value) in words {
            raw.put(&format!("spi.{key}"), Value::String((*value).into()), Origin::Default).unwrap();
        }
        Config::check(raw).map(|c| c.spi).map_err(|e| e.to_string())
    }

    #[test]
    fn a_board_is_enough_and_each_key_changes_it() {
        assert_eq!(check(&[]), Ok(None));
        assert_eq!(check(&[("board", "waveshare-2inch")]).unwrap(), board::named("waveshare-2inch"));
        let words = [
            ("board", "st7735"),
            ("device", "/dev/spidev1.2"),
            ("mode", "3"),
            ("clock_hz", "8000000"),
            ("dc", "PIN_22"),
            ("reset", "none"),
            ("backlight", "GPIO12"),
            ("width", "80"),
            ("height", "160"),
            ("offset_x", "26"),
            ("offset_y", "1"),
            ("rotation", "270"),
            ("colour_order", "bgr"),
            ("inverted", "true"),
        ];
        let board = check(&words).unwrap().unwrap();
        assert_eq!((board.width, board.height, board.offset_x, board.offset_y), (80, 160, 26, 1));
        assert_eq!((board.rotation_degrees, board.turned()), (270, (160, 80)));
        assert_eq!(
            (board.device.as_str(), board.clock_hz, board.data.as_str()),
            ("/dev/spidev1.2", 8_000_000, "PIN_22")
        );
        assert_eq!((board.reset, board.backlight.as_deref()), (None, Some("GPIO12")));
        assert!(board.bgr && board.inverted && board.spi_mode == 3);
        let tall = check(&[("board", "st7796")]).unwrap().unwrap();
        assert_eq!(tall.turned(), (480, 320));
    }

    #[test]
    fn what_no_display_can_be_is_refused() {
        for (key, value) in [
            ("board", "vga"),
            ("device", "spidev0.0"),
            ("dc", "none"),
            ("dc", ""),
            ("rotation", "45"),
            ("rotation", "360"),
            ("width", "0"),
            ("clock_hz", "1"),
            ("mode", "4"),
            ("colour_order", "grb"),
            ("inverted", "maybe"),
        ] {
            let refused = check(&[(key, value)]).unwrap_err();
            assert!(refused.contains(&format!("spi.{key} = {value:?}")), "{refused}");
        }
        let outside = check(&[("board", "st7735"), ("offset_x", "5")]).unwrap_err();
        assert!(outside.contains("132x162"), "{outside}");
    }
}
