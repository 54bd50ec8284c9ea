//! A report spread out as rows: itself, its clusters, its regions, or the named colours of these.
//!
//! Reports have indices of regions and colours. Their names come from what the device last said of itself: a name that was
//! changed since is the new one, and an index without a name has none.

use super::row::Value::{Bool, Null, Real, Text, Time};
use super::row::{RowWriter, Value, int, or_null};
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
    let key = [Text(&r.device), Text(&r.stream), int(r.seq), int(r.frame), Time(captured_at_us)];
    match table {
        Table::Palette => clusters(&key, r, out),
        Table::Regions => regions(&key, r, names, out),
        Table::Named => named_colours(&key, r, names, out),
        _ => report(key, r, out),
    }
}

fn report([device, stream, seq, frame, at]: [Value<'_>; 5], r: &ReportJson, out: &mut dyn RowWriter) -> io::Result<()> {
    out.write(&[
        device,
        stream,
        seq,
        frame,
        at,
        int(r.dropped),
        int(r.width),
        int(r.height),
        int(r.pixels),
        r.space.as_deref().map_or(Null, Text),
        Real(r.lambda),
        int(r.coreset_size),
        Text(&r.method),
        Text(&r.refine),
        int(r.w_open),
        Text(&r.seed),
        Bool(r.warm),
        int(r.coreset_points),
        or_null(r.scatter, Real),
        int(r.iterations),
        Bool(r.converged),
        int(r.sweeps),
        Bool(r.saturated),
        or_null(r.beyond_px, int),
        or_null(r.missed, int),
        int(r.clusters),
        Real(r.sse),
        Real(r.rms),
        Real(r.max_distance),
        or_null(r.silhouette_estimate, Real),
        or_null(r.de00_mean, Real),
        or_null(r.reference_de00, Real),
        int(r.micros.coreset),
        int(r.micros.cluster),
        int(r.micros.label),
        int(r.micros.total),
        int(r.regions.region.len() as u64),
    ])
}

fn clusters(key: &[Value<'_>; 5], r: &ReportJson, out: &mut dyn RowWriter) -> io::Result<()> {
    let p = &r.palette;
    for (label, ((id, rgb_q6), pixels)) in (0i64..).zip(p.id.iter().zip(&p.rgb_q6).zip(&p.pixels)) {
        let [red, green, blue] = rgb_q6.map(|level| Real(f64::from(level) / Q6));
        let [device, stream, seq, frame, at] = *key;
        out.write(&[device, stream, seq, frame, at, int(label), int(*id), red, green, blue, int(*pixels)])?;
    }
    Ok(())
}

fn regions(key: &[Value<'_>; 5], r: &ReportJson, names: &Names, out: &mut dyn RowWriter) -> io::Result<()> {
    for (&region, &pixels) in r.regions.region.iter().zip(&r.regions.pixels) {
        let [device, stream, seq, frame, at] = *key;
        let name = named(&names.regions, region);
        out.write(&[device, stream, seq, frame, at, int(region), name, int(pixels)])?;
    }
    Ok(())
}

/// A report leaves out colours that a region has not. Those that have a name are rows of 0 pixels, or a mean over frames would
/// be too high.
fn named_colours(key: &[Value<'_>; 5], r: &ReportJson, names: &Names, out: &mut dyn RowWriter) -> io::Result<()> {
    let all = &r.named;
    for (&region, &region_pixels) in r.regions.region.iter().zip(&r.regions.pixels) {
        let counted = all.region.iter().zip(&all.colour).zip(all.pixels.iter().zip(&all.de00_q6));
        let mut counted: Vec<_> =
            counted.filter(|((of, _), _)| **of == region).map(|((_, c), (px, de))| (*c, *px, Some(*de))).collect();
        // A device may say more names than there are indices, and leave some empty.
        let absent = (0..=u8::MAX).zip(&names.colours).filter(|(_, name)| !name.is_empty()).map(|(colour, _)| colour);
        let absent: Vec<_> = absent.filter(|c| !counted.iter().any(|(counted, ..)| counted == c)).collect();
        counted.extend(absent.into_iter().map(|colour| (colour, 0, None)));
        counted.sort_unstable_by_key(|(colour, ..)| *colour);
        for (colour, pixels, de00_q6) in counted {
            let [device, stream, seq, frame, at] = *key;
            let (region_name, colour_name) = (named(&names.regions, region), named(&names.colours, colour));
            let delta_e = de00_q6.map_or(Null, |de| Real(f64::from(de) / Q6));
            let (pixels, region_pixels) = (int(pixels), int(region_pixels));
            let which = (int(region), int(colour));
            out.write(&[
                device,
                stream,
                seq,
                frame,
                at,
                which.0,
                region_name,
                which.1,
                colour_name,
                pixels,
                region_pixels,
                delta_e,
            ])?;
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
