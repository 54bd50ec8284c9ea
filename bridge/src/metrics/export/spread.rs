//! A report spread out as rows: itself, its clusters, its regions, or the named colours of these.
//!
//! Reports have indices of regions and colours. Their names come from the device's last status: a name that was
//! changed since is the new one, and an index without a name has none.

use super::fields::{self, Cluster, Named, Region};
use super::row::Value::Text;
use super::row::{RowWriter, Value, or_null};
use super::table::Table;
use crate::json::ReportJson;
use crate::metrics::store::reader::Known;
use std::io;

/// A centroid's unit: 1/64 of an 8-bit level. Delta E 2000 has the same.
const Q6: f64 = 64.0;

/// Names by index.
#[derive(Default)]
pub(super) struct Names {
    regions: Vec<String>,
    colours: Vec<String>,
}

impl Names {
    /// Those of a device's status.
    pub(super) fn of(known: &Known) -> Names {
        let status = known.status.as_deref().and_then(|s| serde_json::from_str::<serde_json::Value>(s).ok());
        let list = |key: &str| {
            let names = status.as_ref().and_then(|s| s.get(key)?.as_array());
            names.into_iter().flatten().map(|n| n.as_str().unwrap_or_default().to_owned()).collect()
        };
        Names { regions: list("regions"), colours: list("colours") }
    }
}

/// The name at an index.
fn named(names: &[String], index: u8) -> Value<'_> {
    or_null(names.get(usize::from(index)).filter(|n| !n.is_empty()), |n| Text(n))
}

/// Writes the rows of a report.
pub(super) fn spread(
    table: Table,
    captured_at_us: u64,
    r: &ReportJson,
    names: &Names,
    out: &mut dyn RowWriter,
) -> io::Result<()> {
    match table {
        Table::Palette => clusters(captured_at_us, r, out),
        Table::Regions => regions(captured_at_us, r, names, out),
        Table::Named => named_colours(captured_at_us, r, names, out),
        _ => fields::report(r, captured_at_us, out),
    }
}

fn clusters(at_us: u64, r: &ReportJson, out: &mut dyn RowWriter) -> io::Result<()> {
    let p = &r.palette;
    for (label, ((&id, rgb_q6), &pixels)) in p.id.iter().zip(&p.rgb_q6).zip(&p.pixels).enumerate() {
        let rgb = rgb_q6.map(|level| f64::from(level) / Q6);
        fields::cluster(r, at_us, &Cluster { label, id, rgb, pixels }, out)?;
    }
    Ok(())
}

/// The regions of a report, with their names.
fn regions_of<'a>(r: &'a ReportJson, names: &'a Names) -> impl Iterator<Item = Region<'a>> {
    let all = r.regions.region.iter().zip(&r.regions.pixels);
    all.map(|(&region, &pixels)| Region { region, name: named(&names.regions, region), pixels })
}

fn regions(at_us: u64, r: &ReportJson, names: &Names, out: &mut dyn RowWriter) -> io::Result<()> {
    regions_of(r, names).try_for_each(|region| fields::region(r, at_us, &region, out))
}

/// A report leaves out colours that a region has not. Those that have a name are rows of 0 pixels, or a mean over frames would
/// be too high.
fn named_colours(at_us: u64, r: &ReportJson, names: &Names, out: &mut dyn RowWriter) -> io::Result<()> {
    let all = &r.named;
    for region in regions_of(r, names) {
        let counted = all.region.iter().zip(&all.colour).zip(all.pixels.iter().zip(&all.de00_q6));
        let mut counted: Vec<_> = counted
            .filter(|((of, _), _)| **of == region.region)
            .map(|((_, c), (px, de))| (*c, *px, Some(*de)))
            .collect();
        // A device may name more than there are indices, and leave some empty.
        let absent = (0..=u8::MAX).zip(&names.colours).filter(|(_, name)| !name.is_empty()).map(|(colour, _)| colour);
        let absent: Vec<_> = absent.filter(|c| !counted.iter().any(|(counted, ..)| counted == c)).collect();
        counted.extend(absent.into_iter().map(|colour| (colour, 0, None)));
        counted.sort_unstable_by_key(|(colour, ..)| *colour);
        for (colour, pixels, de00_q6) in counted {
            let (name, delta_e) = (named(&names.colours, colour), de00_q6.map(|de| f64::from(de) / Q6));
            fields::named(r, at_us, &Named { region: &region, colour, name, pixels, delta_e }, out)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use firmware::custody::Envelope;
    use firmware::wire::{RegionShare, Report};

    /// Takes the colours of rows.
    struct Colours(Vec<Value<'static>>);

    impl RowWriter for Colours {
        fn write(&mut self, row: &[Value<'_>]) -> io::Result<()> {
            self.0.extend(row.get(7).and_then(|v| if let Value::Int(x) = v { Some(Value::Int(*x)) } else { None }));
            Ok(())
        }

        fn finish(self: Box<Self>) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_device_with_more_names_than_indices_has_a_row_for_each_index() {
        let region = RegionShare { region: 0, pixels: 5, named: Default::default() };
        let report = Report { regions: [region].into_iter().collect(), ..sample::report(0) };
        let envelope =
            Envelope { kind: 1, payload_version: 3, clock_synced: true, stream: 1, seq: 0, captured_at_us: 5 };
        let report = ReportJson::new("pi", &envelope, &report);
        let mut colours = vec!["green".to_owned(); 300];
        colours[1].clear();
        let names = Names { regions: vec![], colours };
        let mut out = Colours(Vec::new());
        spread(Table::Named, 5, &report, &names, &mut out).unwrap();
        let want: Vec<Value<'_>> = (0..256).filter(|c| *c != 1).map(Value::Int).collect();
        assert_eq!(out.0, want);
    }
}
