//! The masks that the configuration's `[[mask]]` tables describe.
//!
//! Each table has either `polygon`, a list of corners, or `rect`; anything else in it is refused.

use super::Raw;
use super::layers::ConfigError;
use super::tables::{shape, tables};
use crate::spec::Mask;
use firmware::limits::MASKS_MAX;

impl Raw {
    pub(super) fn masks(&self) -> Result<Vec<Mask>, ConfigError> {
        let word = self.look("mask");
        let masks = tables(&word.value).and_then(|tables| {
            let alone = tables.iter().filter(|table| table.len() == 1);
            alone.map(shape).collect::<Option<Vec<_>>>().filter(|masks| masks.len() == tables.len())
        });
        masks.filter(|masks| masks.len() <= MASKS_MAX).ok_or_else(|| word.refuse())
    }
}

#[cfg(test)]
mod tests {
    use super::super::check_text::config;
    use super::super::{Config, Raw};

    fn masks(toml: &str) -> Result<usize, String> {
        config(toml).map(|config| config.masks.len())
    }

    #[test]
    fn masks_are_tables_with_a_polygon_or_a_rectangle() {
        assert_eq!(masks(""), Ok(0));
        assert_eq!(
            masks("[[mask]]\nrect = [0, 0, 0.5, 1]\n[[mask]]\npolygon = [[0.1, 0.2], [0.3, 0.2], [0.3, 0.9]]"),
            Ok(2)
        );
        for bad in [
            "[[mask]]\nrect = [0, 0, 0.5]",
            "[[mask]]\nrect = [0, 0, 2, 1]",
            "[[mask]]\npolygon = [[0, 0], [1, 1]]",
            "[[mask]]\nrect = [0, 0, 0.5, 1]\nname = \"door\"",
            "[[mask]]",
            "mask = 5",
        ] {
            let why = masks(bad).unwrap_err();
            assert!(why.contains("mask") && why.contains("polygon"), "{bad}: {why}");
        }
        let many = "[[mask]]\nrect = [0, 0, 0.1, 0.1]\n".repeat(17);
        assert!(masks(&many).unwrap_err().contains("16"));
    }

    #[test]
    fn what_is_printed_reads_back() {
        let toml = "[[mask]]\nrect = [0.25, 0.0, 0.5, 1.0]\n[camera]\nfps = 10";
        let masked = config(toml).unwrap();
        for printed in [masked.print(), masked.print_all()] {
            let again = config(&printed).unwrap();
            assert_eq!((again.masks, again.ask.fps), (masked.masks.clone(), 10.0), "{printed}");
        }
        let mut raw = Raw::default();
        let variable = toml::Value::String("[{rect = [0, 0, 0.5, 0.5]}]".into());
        raw.put("mask", variable, super::super::Origin::Env("HUEFLOW_EDGE__MASK".into())).unwrap();
        assert_eq!(Config::check(raw).unwrap().masks.len(), 1);
    }
}
