//! The regions and named colours that the configuration's `[[region]]` and `[[colour]]` tables describe.
//!
//! A region has a name and either `polygon` or `rect`; a colour has a name, either `rgb` or `lab`, and a tolerance. Anything
//! else in a table is refused, and so are two of one name.
//! Colours without any region are looked for in the whole picture.

use super::Raw;
use super::layers::{ConfigError, show};
use super::tables::{COLOUR, OUTLINE, colour, named_tables, refuse_table, shape};
use crate::spec::region::tolerance_q6;
use crate::spec::{Colour, Region};
use firmware::limits::{NAMED_MAX, REGIONS_MAX};
use firmware::named::NamedColour;

/// The name of the region that is the whole picture, where there are colours and no regions.
pub const WHOLE_PICTURE: &str = "picture";

const TOLERANCE: &str = "a number above 0 and at most 100 (Delta E 2000)";

impl Raw {
    pub(super) fn regions(&self, colours: &[Colour]) -> Result<Vec<Region>, ConfigError> {
        let word = self.look("region");
        let mut regions: Vec<Region> = Vec::new();
        for (name, table) in named_tables(&word, REGIONS_MAX, "region.name", &["name", "polygon", "rect"])? {
            let outline = shape(&table).ok_or_else(|| refuse_table(&word, "region", &table, OUTLINE))?;
            regions.push(Region { name, polygon: outline.polygon });
        }
        if regions.is_empty() && !colours.is_empty() {
            regions.extend(Region::whole_picture(WHOLE_PICTURE));
        }
        Ok(regions)
    }

    pub(super) fn colours(&self) -> Result<Vec<Colour>, ConfigError> {
        let word = self.look("colour");
        let mut colours: Vec<Colour> = Vec::new();
        for (name, table) in named_tables(&word, NAMED_MAX, "colour.name", &["name", "rgb", "lab", "tolerance"])? {
            let lab = colour(&table).ok_or_else(|| refuse_table(&word, "colour", &table, COLOUR))?;
            let tolerance = table.get("tolerance");
            let number = tolerance.and_then(|value| value.as_float().or(value.as_integer().map(|n| n as f64)));
            let tolerance_q6 = number.and_then(tolerance_q6).ok_or_else(|| {
                word.refuse_part("colour.tolerance", tolerance.map_or("nothing".into(), show), TOLERANCE)
            })?;
            colours.push(Colour { name, named: NamedColour { lab, tolerance_q6 } });
        }
        Ok(colours)
    }
}

#[cfg(test)]
mod tests {
    use super::super::check_text::{assert_refused, config};
    use super::*;
    use firmware::color::Lab;

    const SOUND: &str = "
        [[region]]
        name = \"stack-1\"
        polygon = [[0.1, 0.2], [0.25, 0.2], [0.25, 0.6]]
        [[region]]
        name = \"all\"
        rect = [0, 0, 1, 1]
        [[colour]]
        name = \"red-lamp\"
        rgb = \"#e02020\"
        tolerance = 15
        [[colour]]
        name = \"grey\"
        lab = [50, 0.5, -1]
        tolerance = 2.5";

    #[test]
    fn regions_and_colours_are_read_and_printed_so_that_they_read_back() {
        let sound = config(SOUND).unwrap();
        assert_eq!(sound.regions.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["stack-1", "all"]);
        assert_eq!(sound.colours[0].named, NamedColour { lab: Lab::of_rgb([224, 32, 32]), tolerance_q6: 960 });
        assert_eq!(sound.colours[1].named.lab, Lab { l_q12: 50 << 12, a_q12: 2_048, b_q12: -4_096 });
        let again = config(&sound.print_all()).unwrap();
        assert_eq!((again.regions, again.colours), (sound.regions, sound.colours));
    }

    #[test]
    fn colours_without_regions_are_those_of_the_whole_picture() {
        let only_colours = config("[[colour]]\nname = \"red\"\nrgb = \"#ff0000\"\ntolerance = 10").unwrap();
        assert_eq!((only_colours.regions.len(), only_colours.regions[0].name.as_str()), (1, WHOLE_PICTURE));
        assert!(config("").unwrap().regions.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_table_key_value_and_range() {
        let cases = [
            ("\"stack-1\"", "\"Stack\"", ["region.name", "\"Stack\"", "a-z"]),
            ("\"all\"", "\"stack-1\"", ["region.name", "\"stack-1\"", "another"]),
            ("name = \"all\"", "", ["region.name", "nothing", "24"]),
            ("rect = [0, 0, 1, 1]", "rect = [0, 0, 2, 1]", ["region", "2, 1", "from 0 to 1"]),
            ("rect = [0, 0, 1, 1]", "", ["region", "all", "polygon"]),
            ("rect = [0, 0, 1, 1]", "rect = [0, 0, 1, 1]\nhue = 3", ["region", "hue = 3", "polygon"]),
            ("#e02020", "red", ["colour", "red", "#rrggbb"]),
            ("lab = [50, 0.5, -1]", "lab = [50, 0.5]", ["colour", "grey", "L from 0 to 100"]),
            ("lab = [50", "rgb = \"#000000\"\nlab = [50", ["colour", "grey", "or lab"]),
            ("tolerance = 15", "tolerance = 0", ["colour.tolerance", "0", "at most 100"]),
            ("tolerance = 2.5", "", ["colour.tolerance", "nothing", "Delta E"]),
        ];
        assert_refused(SOUND, &cases);
        let many = |key: &str, rest: &str| {
            (0..17).map(|n| format!("[[{key}]]\nname = \"n{n}\"\n{rest}\n")).collect::<String>()
        };
        for many in [many("region", "rect = [0, 0, 1, 1]"), many("colour", "rgb = \"#123456\"\ntolerance = 3")] {
            assert!(config(&many).unwrap_err().contains("at most 16"), "{many}");
        }
        assert!(config("region = 3").unwrap_err().contains("[[region]]"));
    }
}
