//! The reference that the configuration's `[reference]` describes: patches of known colour, and how colours are corrected.
//!
//! A patch is a configured region by its name, or has an outline of its own, and it has a colour. A matrix needs several
//! patches. Anything else in a patch is refused.

use super::Raw;
use super::layers::{ConfigError, show};
use super::tables::{COLOUR, OUTLINE, colour, known_tables, refuse_table, shape};
use crate::spec::{Patch, ReferenceSpec, Region};
use firmware::limits::PATCHES_MAX;
use firmware::reference::{Correct, MATRIX_PATCHES_MIN};
use toml::Table;

const PATCHES: &str = "reference.patches";

impl Raw {
    pub(super) fn reference(&self, regions: &[Region]) -> Result<ReferenceSpec, ConfigError> {
        let (way, word) = (self.look("reference.correct"), self.look(PATCHES));
        let correct = way.value.as_str().and_then(Correct::from_word).ok_or_else(|| way.refuse())?;
        let tables = known_tables(&word, PATCHES_MAX, &["region", "polygon", "rect", "rgb", "lab"])?;
        let place = |number: usize, table: &Table| match table.get("region") {
            None => {
                let outline = shape(table).ok_or_else(|| {
                    refuse_table(&word, PATCHES, table, &format!("region = \"NAME\" of a [[region]], or {OUTLINE}"))
                })?;
                Ok(Region { name: format!("patch {number}"), polygon: outline.polygon })
            }
            Some(name) if !table.contains_key("polygon") && !table.contains_key("rect") => {
                let known = regions.iter().find(|region| name.as_str() == Some(&region.name));
                known.cloned().ok_or_else(|| word.refuse_part("reference.patches.region", show(name), names(regions)))
            }
            Some(_) => Err(refuse_table(&word, PATCHES, table, "either region or an outline of its own")),
        };
        let mut patches = Vec::new();
        for (number, table) in (1..).zip(&tables) {
            let colour = colour(table).ok_or_else(|| refuse_table(&word, PATCHES, table, COLOUR))?;
            patches.push(Patch { region: place(number, table)?, colour });
        }
        let needed = match correct {
            Correct::Off => 0,
            Correct::Gain => 1,
            Correct::Matrix => MATRIX_PATCHES_MIN,
        };
        if patches.len() < needed {
            let why = format!("off, or reference.patches must have at least {needed} (there are {})", patches.len());
            return Err(way.refuse_as(why));
        }
        Ok(ReferenceSpec { correct, patches })
    }
}

/// The names that a patch may use, as a range.
fn names(regions: &[Region]) -> String {
    let names: Vec<&str> = regions.iter().map(|region| region.name.as_str()).collect();
    if names.is_empty() { "left out: there is no [[region]]".into() } else { format!("one of {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::super::check_text::{assert_refused, config};
    use super::super::{Config, Origin};
    use super::*;
    use firmware::color::Lab;
    use toml::Value;

    const SOUND: &str = "
        [[region]]
        name = \"grey-card\"
        rect = [0.0, 0.0, 0.1, 0.1]
        [reference]
        correct = \"gain\"
        patches = [{ region = \"grey-card\", lab = [50.0, 0.0, 0.0] }, { rect = [0.2, 0, 0.1, 0.1], rgb = \"#c8c8c8\" }]";

    #[test]
    fn a_reference_is_read_and_printed_so_that_it_reads_back() {
        let sound = config(SOUND).unwrap();
        let names: Vec<&str> = sound.reference.patches.iter().map(|patch| patch.region.name.as_str()).collect();
        assert_eq!((sound.reference.correct, names), (Correct::Gain, vec!["grey-card", "patch 2"]));
        assert_eq!(sound.reference.patches[0].region, sound.regions[0]);
        assert_eq!(sound.reference.patches[0].colour, Lab { l_q12: 50 << 12, a_q12: 0, b_q12: 0 });
        assert_eq!(sound.reference.patches[1].colour, Lab::of_rgb([200; 3]));
        for printed in [sound.print(), sound.print_all()] {
            assert_eq!(config(&printed).unwrap().reference, sound.reference, "{printed}");
        }
        let tables = SOUND.replace("patches = [{ region = \"grey-card\", lab = [50.0, 0.0, 0.0] }, ", "").replace(
            "{ rect = [0.2, 0, 0.1, 0.1], rgb = \"#c8c8c8\" }]",
            "[[reference.patches]]\nregion = \"grey-card\"\nlab = [50, 0, 0]",
        );
        assert_eq!(config(&tables).unwrap().reference.patches, sound.reference.patches[..1]);
        assert_eq!(config("").unwrap().reference, ReferenceSpec::default());
    }

    #[test]
    fn a_variable_gives_patches_in_one_line() {
        let mut raw = Raw::default();
        let patches: Vec<String> = (0..24)
            .map(|n| format!("{{rect = [0, {}, 0.1, 0.02], rgb = '#0{n:02}0{n:02}'}}", n as f64 / 40.0))
            .collect();
        let origin = Origin::Env("HUEFLOW_EDGE__REFERENCE__PATCHES".into());
        raw.put("reference.patches", Value::String(format!("[{}]", patches.join(","))), origin.clone()).unwrap();
        raw.put("reference.correct", "matrix".into(), origin).unwrap();
        assert_eq!(Config::check(raw).unwrap().reference.patches.len(), 24);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key_value_and_range() {
        let cases = [
            ("\"gain\"", "\"auto\"", ["reference.correct", "\"auto\"", "off, gain or matrix"]),
            ("\"gain\"", "\"matrix\"", ["reference.correct", "at least 6", "there are 2"]),
            (
                "region = \"grey-card\", lab",
                "region = \"card\", lab",
                ["reference.patches.region", "\"card\"", "one of grey-card"],
            ),
            ("region = \"grey-card\", lab", "lab", ["reference.patches", "region = \"NAME\"", "polygon"]),
            (
                "region = \"grey-card\", lab",
                "region = \"grey-card\", rect = [0, 0, 1, 1], lab",
                ["reference.patches", "either", "outline"],
            ),
            ("lab = [50.0, 0.0, 0.0]", "lab = [500, 0, 0]", ["reference.patches", "500", "L from 0 to 100"]),
            (", lab = [50.0, 0.0, 0.0]", "", ["reference.patches", "grey-card", "#rrggbb"]),
            (
                "rgb = \"#c8c8c8\"",
                "rgb = \"#c8c8c8\", tolerance = 3",
                ["reference.patches", "tolerance = 3", "tables of"],
            ),
            ("rect = [0.2, 0, 0.1, 0.1]", "rect = [0.2, 0, 2, 0.1]", ["reference.patches", "0.2", "from 0 to 1"]),
            ("correct = \"gain\"", "mode = \"gain\"", ["reference.mode", "gain", "reference.correct"]),
        ];
        assert_refused(SOUND, &cases);
        let without = config("[reference]\ncorrect = \"gain\"").unwrap_err();
        assert!(without.contains("at least 1") && without.contains("edge.toml"), "{without}");
        let nowhere = config("[reference]\npatches = [{ region = \"card\", lab = [50, 0, 0] }]").unwrap_err();
        assert!(nowhere.contains("there is no [[region]]"), "{nowhere}");
        let many = "{ rect = [0, 0, 0.1, 0.1], lab = [50, 0, 0] },".repeat(25);
        assert!(config(&format!("[reference]\npatches = [{many}]")).unwrap_err().contains("1 to 24"));
    }
}
