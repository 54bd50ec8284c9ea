//! Lists of a report as columns: arrays of numbers of one kind, all of one length.
//!
//! jq, pandas, ksqlDB and Flink read such columns as they are, and no key is repeated for each entry. The palette is also
//! read as versions 1 and 2 wrote it, an array of objects. Columns of different lengths are refused.

use firmware::limits::LEVEL_Q6_MAX;
use firmware::wire::{RegionShare, Report, Swatch};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// The clusters of a frame, by label.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PaletteJson {
    /// Identities over frames.
    pub id: Vec<u32>,
    /// Centroids in 1/64 of an 8-bit level: red, green, blue.
    pub rgb_q6: Vec<[u16; 3]>,
    /// Pixels nearest to each.
    pub pixels: Vec<u32>,
    /// L, a and b of the centroids in 1/64; empty in RGB.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lab_q6: Vec<[i16; 3]>,
}

impl PaletteJson {
    /// The columns of `palette`.
    pub fn new(palette: &[Swatch]) -> PaletteJson {
        PaletteJson {
            id: palette.iter().map(|s| s.id).collect(),
            rgb_q6: palette.iter().map(|s| s.rgb_q6).collect(),
            pixels: palette.iter().map(|s| s.pixels).collect(),
            lab_q6: Vec::new(),
        }
    }

    /// The columns of a report's palette, with those of CIELAB where that is its space.
    pub fn of(report: &Report) -> PaletteJson {
        let lab_q6 = report.palette.iter().filter_map(|s| report.lab_q6(s)).collect();
        PaletteJson { lab_q6, ..PaletteJson::new(&report.palette) }
    }
}

/// A palette as version 3 writes it, unchecked.
#[derive(Deserialize)]
struct Columns {
    id: Vec<u32>,
    rgb_q6: Vec<[u16; 3]>,
    pixels: Vec<u32>,
    #[serde(default)]
    lab_q6: Vec<[i16; 3]>,
}

impl Columns {
    fn check(self) -> Result<PaletteJson, &'static str> {
        let Columns { id, rgb_q6, pixels, lab_q6 } = self;
        if id.len() != rgb_q6.len() || id.len() != pixels.len() || !(lab_q6.is_empty() || lab_q6.len() == id.len()) {
            return Err("the palette's columns have different lengths");
        }
        if rgb_q6.iter().flatten().any(|&level| level > LEVEL_Q6_MAX) {
            return Err("a colour of the palette is brighter than white");
        }
        Ok(PaletteJson { id, rgb_q6, pixels, lab_q6 })
    }
}

/// A cluster as versions 1 and 2 wrote it: its colour in 8-bit levels, exact multiples of 1/64.
#[derive(Deserialize)]
struct Object {
    id: u32,
    rgb: [f64; 3],
    pixels: u32,
}

impl Object {
    fn rgb_q6(&self) -> [u16; 3] {
        // What is no level becomes one that the check refuses.
        self.rgb.map(|level| if level < 0.0 { u16::MAX } else { (level * 64.0).round() as u16 })
    }
}

/// Reads a palette of any version: an object of columns, or an array of objects.
struct PaletteVisitor;

impl<'de> Visitor<'de> for PaletteVisitor {
    type Value = PaletteJson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a palette: columns, or an array of clusters")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PaletteJson, A::Error> {
        Columns::deserialize(MapAccessDeserializer::new(map))?.check().map_err(A::Error::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<PaletteJson, A::Error> {
        let objects = Vec::<Object>::deserialize(SeqAccessDeserializer::new(seq))?;
        let columns = Columns {
            id: objects.iter().map(|o| o.id).collect(),
            rgb_q6: objects.iter().map(Object::rgb_q6).collect(),
            pixels: objects.iter().map(|o| o.pixels).collect(),
            lab_q6: Vec::new(),
        };
        columns.check().map_err(A::Error::custom)
    }
}

impl<'de> Deserialize<'de> for PaletteJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PaletteJson, D::Error> {
        deserializer.deserialize_any(PaletteVisitor)
    }
}

/// Pixels of the configured regions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RegionsJson {
    /// Indices of the regions; `status` has their names.
    pub region: Vec<u8>,
    /// Pixels that were counted in each.
    pub pixels: Vec<u32>,
}

impl RegionsJson {
    /// The columns of `regions`.
    pub fn new(regions: &[RegionShare]) -> RegionsJson {
        let (region, pixels) = regions.iter().map(|r| (r.region, r.pixels)).unzip();
        RegionsJson { region, pixels }
    }
}

/// How much of each region has each named colour.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NamedJson {
    /// Indices of the regions; one comes as often as it has named colours.
    pub region: Vec<u8>,
    /// Indices of the colours; `status` has their names.
    pub colour: Vec<u8>,
    /// Pixels of the region that have the colour.
    pub pixels: Vec<u32>,
    /// Delta E 2000 between their mean colour and it, in 1/64.
    pub de00_q6: Vec<u16>,
}

impl NamedJson {
    /// The columns of the named colours of all `regions`.
    pub fn new(regions: &[RegionShare]) -> NamedJson {
        let mut named = NamedJson::default();
        for (region, share) in regions.iter().flat_map(|r| r.named.iter().map(|n| (r.region, n))) {
            named.region.push(region);
            named.colour.push(share.colour);
            named.pixels.push(share.pixels);
            named.de00_q6.push(share.de00_q6);
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firmware::wire::NamedShare;

    fn read(text: &str) -> Result<PaletteJson, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }

    #[test]
    fn a_palette_is_read_as_columns_and_as_the_objects_of_older_versions() {
        let columns = r#"{"id":[7,8],"rgb_q6":[[16320,0,33],[64,128,1]],"pixels":[60,36]}"#;
        let objects =
            r#"[{"id":7,"rgb":[255.0,0.0,0.515625],"pixels":60},{"id":8,"rgb":[1.0,2.0,0.015625],"pixels":36}]"#;
        let palette = read(columns).unwrap();
        assert_eq!(read(objects).unwrap(), palette);
        assert_eq!(serde_json::to_string(&palette).unwrap(), columns);
        assert_eq!(read("[]").unwrap(), PaletteJson::default());
    }

    #[test]
    fn a_palette_that_contradicts_itself_is_refused() {
        for bad in [
            r#"{"id":[7],"rgb_q6":[[0,0,0],[1,1,1]],"pixels":[60]}"#,
            r#"{"id":[7],"rgb_q6":[[0,0,0]],"pixels":[]}"#,
            r#"{"id":[7],"rgb_q6":[[0,0,16321]],"pixels":[1]}"#,
            r#"[{"id":7,"rgb":[255.1,0.0,0.0],"pixels":60}]"#,
            r#"[{"id":7,"rgb":[0.0,-1.0,0.0],"pixels":60}]"#,
            "7",
            r#"{"id":[7]}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn regions_and_their_named_colours_are_columns_each() {
        let named = |colour| NamedShare { colour, pixels: 5, de00_q6: 64 };
        let region = |region, colours: &[u8]| {
            let named = colours.iter().map(|&c| named(c)).collect();
            RegionShare { region, pixels: 90, named }
        };
        let regions = [region(0, &[1, 2]), region(3, &[]), region(4, &[2])];
        let text = serde_json::to_string(&(RegionsJson::new(&regions), NamedJson::new(&regions))).unwrap();
        let want = concat!(
            r#"[{"region":[0,3,4],"pixels":[90,90,90]},"#,
            r#"{"region":[0,0,4],"colour":[1,2,2],"pixels":[5,5,5],"de00_q6":[64,64,64]}]"#
        );
        assert_eq!(text, want);
    }
}
