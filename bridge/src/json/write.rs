//! The JSON of a report, written straight from its binary form.
//!
//! [`write_report`] appends the text that serde writes of a [`ReportJson`](super::ReportJson), byte for byte, without making
//! one: no text and no list is allocated for it. The relay writes one for each frame of each device.

use super::report::{Q6, Q12};
use crate::clock::Rfc3339;
use firmware::custody::Envelope;
use firmware::wire::{Report, Swatch};
use std::io::Write;

/// Bytes of a report without its lists: all numbers at their longest, and a device's name of 64 bytes.
const REPORT_BYTES: usize = 1_024;
/// Bytes of a cluster, a share or an id in a list, at their longest.
const ENTRY_BYTES: usize = 48;

/// Appends the JSON of a report of `device`.
pub fn write_report(out: &mut Vec<u8>, device: &str, envelope: &Envelope, r: &Report) {
    let shares: usize = r.regions.iter().map(|region| 1 + region.named.len()).sum();
    let entries = r.palette.len() + r.births.len() + r.deaths.len() + shares;
    out.reserve(REPORT_BYTES + ENTRY_BYTES * entries);
    let mut w = Writer { out };
    let pixels = r.pixels() as u32;
    let sse = r.sse_q12 as f64 / Q12;
    w.raw("{\"device\":");
    w.text(device);
    w.raw(",\"stream\":\"");
    w.int(envelope.stream);
    w.raw("\",\"seq\":");
    w.int(envelope.seq);
    w.raw(",\"captured_at\":\"");
    let _ = write!(w.out, "{}", Rfc3339(envelope.captured_at_us)); // A vector takes all.
    w.raw("\",\"frame\":");
    w.int(r.frame);
    w.raw(",\"dropped\":");
    w.int(r.dropped);
    w.raw(",\"width\":");
    w.int(r.width);
    w.raw(",\"height\":");
    w.int(r.height);
    w.raw(",\"pixels\":");
    w.int(pixels);
    w.raw(",\"space\":\"");
    w.raw(r.colorimetry.space.word());
    w.raw("\",\"lambda\":");
    w.real(f64::from(r.lambda_q6) / Q6);
    w.raw(",\"coreset_size\":");
    w.int(r.coreset_size);
    w.raw(",\"method\":\"");
    w.raw(r.method.word());
    w.raw("\",\"refine\":\"");
    w.raw(r.refine.word());
    w.raw("\",\"w_open\":");
    w.int(r.w_open);
    w.raw(",\"seed\":\"");
    w.int(r.seed);
    w.raw("\",\"warm\":");
    w.bool(r.warm);
    w.raw(",\"coreset_points\":");
    w.int(r.coreset_points);
    w.raw(",\"scatter\":");
    w.option(r.scatter_q12, |w, s| w.real(s as f64 / Q12));
    w.raw(",\"iterations\":");
    w.int(r.iterations);
    w.raw(",\"converged\":");
    w.bool(r.converged);
    w.raw(",\"sweeps\":");
    w.int(r.sweeps);
    w.raw(",\"saturated\":");
    w.bool(r.saturated);
    w.raw(",\"beyond_px\":");
    w.option(r.beyond_px, Writer::int);
    w.raw(",\"missed\":");
    w.option(r.missed, Writer::int);
    w.raw(",\"clusters\":");
    w.int(r.palette.len() as u32);
    w.palette(r);
    w.raw(",\"births\":");
    w.list(r.births.iter(), |w, id| w.int(*id));
    w.raw(",\"deaths\":");
    w.list(r.deaths.iter(), |w, id| w.int(*id));
    w.shares(r);
    w.raw(",\"sse\":");
    w.real(sse);
    w.raw(",\"rms\":");
    w.real((sse / f64::from(pixels.max(1))).sqrt());
    w.raw(",\"max_distance\":");
    w.real((f64::from(r.max_distance2_q12) / Q12).sqrt());
    w.raw(",\"silhouette_estimate\":");
    w.option(r.silhouette_ppm, |w, ppm| w.real(f64::from(ppm) / 1e6));
    w.raw(",\"de00_mean\":");
    w.option(r.colorimetry.de00_mean_q6, |w, d| w.real(f64::from(d) / Q6));
    w.raw(",\"reference_de00\":");
    w.option(r.colorimetry.reference_de00_q6, |w, d| w.real(f64::from(d) / Q6));
    w.raw(",\"micros\":{\"coreset\":");
    w.int(r.micros.coreset);
    w.raw(",\"cluster\":");
    w.int(r.micros.cluster);
    w.raw(",\"label\":");
    w.int(r.micros.label);
    w.raw(",\"total\":");
    w.int(r.micros.total);
    w.raw("}}");
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    /// What needs no escaping.
    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn text(&mut self, text: &str) {
        let _ = serde_json::to_writer(&mut *self.out, text); // A vector takes all.
    }

    fn int(&mut self, x: impl Into<u64>) {
        let _ = serde_json::to_writer(&mut *self.out, &x.into()); // A vector takes all.
    }

    /// As serde writes it, which is the shortest text that reads back to the same bits.
    fn real(&mut self, x: f64) {
        let _ = serde_json::to_writer(&mut *self.out, &x); // A vector takes all.
    }

    fn bool(&mut self, x: bool) {
        self.raw(if x { "true" } else { "false" });
    }

    fn option<T>(&mut self, x: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match x {
            Some(x) => write(self, x),
            None => self.raw("null"),
        }
    }

    fn list<T>(&mut self, all: impl Iterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        let mut separator = "[";
        for x in all {
            self.raw(separator);
            write(self, x);
            separator = ",";
        }
        self.raw(if separator == "[" { "[]" } else { "]" });
    }

    fn palette(&mut self, r: &Report) {
        let palette: &[Swatch] = &r.palette;
        self.raw(",\"palette\":{\"id\":");
        self.list(palette.iter(), |w, s| w.int(s.id));
        self.raw(",\"rgb_q6\":");
        self.list(palette.iter(), |w, s| {
            let [red, green, blue] = s.rgb_q6;
            w.raw("[");
            w.int(red);
            w.raw(",");
            w.int(green);
            w.raw(",");
            w.int(blue);
            w.raw("]");
        });
        self.raw(",\"pixels\":");
        self.list(palette.iter(), |w, s| w.int(s.pixels));
        if palette.first().is_some_and(|s| r.lab_q6(s).is_some()) {
            self.raw(",\"lab_q6\":");
            self.list(palette.iter().filter_map(|s| r.lab_q6(s)), |w, lab_q6| {
                let _ = serde_json::to_writer(&mut *w.out, &lab_q6); // A vector takes all.
            });
        }
        self.raw("}");
    }

    fn shares(&mut self, r: &Report) {
        let named = || r.regions.iter().flat_map(|region| region.named.iter().map(|share| (region.region, share)));
        self.raw(",\"regions\":{\"region\":");
        self.list(r.regions.iter(), |w, region| w.int(region.region));
        self.raw(",\"pixels\":");
        self.list(r.regions.iter(), |w, region| w.int(region.pixels));
        self.raw("},\"named\":{\"region\":");
        self.list(named(), |w, (region, _)| w.int(region));
        self.raw(",\"colour\":");
        self.list(named(), |w, (_, share)| w.int(share.colour));
        self.raw(",\"pixels\":");
        self.list(named(), |w, (_, share)| w.int(share.pixels));
        self.raw(",\"de00_q6\":");
        self.list(named(), |w, (_, share)| w.int(share.de00_q6));
        self.raw("}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::ReportJson;
    use crate::sample::report;
    use firmware::wire::{Method, NamedShare, Refine, RegionShare};
    use proptest::prelude::*;

    fn check(device: &str, envelope: &Envelope, r: &Report) {
        let mut written = Vec::new();
        write_report(&mut written, device, envelope, r);
        let want = serde_json::to_string(&ReportJson::new(device, envelope, r)).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), want);
    }

    fn envelope(stream: u64, seq: u64, captured_at_us: u64) -> Envelope {
        Envelope { kind: 1, payload_version: 3, clock_synced: true, stream, seq, captured_at_us }
    }

    #[test]
    fn the_text_is_serdes_also_for_the_least_and_the_most() {
        check("pi", &envelope(2, 9, 5), &report(3));
        let none = Report {
            palette: Default::default(),
            scatter_q12: None,
            beyond_px: None,
            missed: None,
            silhouette_ppm: None,
            sse_q12: 0,
            ..report(0)
        };
        check("a\"b\\\u{7}", &envelope(0, 0, 0), &none);
        let most = Report {
            frame: u64::MAX,
            dropped: u64::MAX,
            scatter_q12: Some(u64::MAX),
            sse_q12: u64::MAX,
            max_distance2_q12: u32::MAX,
            silhouette_ppm: Some(-1),
            ..report(0)
        };
        check("pi", &envelope(u64::MAX, u64::MAX, u64::MAX), &most);
    }

    proptest! {
        #[test]
        fn the_text_is_serdes(
            (stream, seq, at_us, frame, seed) in any::<(u64, u64, u64, u64, u64)>(),
            (scatter_q12, sse_q12, lambda_q6) in (any::<Option<u64>>(), any::<u64>(), any::<u16>()),
            (beyond_px, missed, silhouette_ppm, warm) in any::<(Option<u32>, Option<u32>, Option<i32>, bool)>(),
            palette in prop::collection::vec((any::<u32>(), any::<[u16; 3]>(), any::<u32>()), 0..84),
            ids in prop::collection::vec(any::<u32>(), 0..9),
            regions in prop::collection::vec((any::<u8>(), any::<u32>(), 0usize..4), 0..5),
            (method, refine) in (0..Method::ALL.len(), 0usize..4),
        ) {
            let share = NamedShare { colour: 7, pixels: 65_000, de00_q6: 640 };
            let region = |&(region, pixels, n): &(u8, u32, usize)| {
                RegionShare { region, pixels, named: std::iter::repeat_n(share, n).collect() }
            };
            let r = Report {
                frame, seed, warm, scatter_q12, sse_q12, beyond_px, missed, silhouette_ppm,
                lambda_q6: lambda_q6.into(),
                method: Method::ALL[method],
                refine: [Refine::None, Refine::Lloyd, Refine::Cover, Refine::Mse][refine],
                palette: palette.iter().map(|&(id, rgb_q6, pixels)| Swatch { id, rgb_q6, pixels }).collect(),
                births: ids.iter().copied().collect(),
                deaths: ids.iter().skip(1).copied().collect(),
                regions: regions.iter().map(region).collect(),
                ..report(0)
            };
            check("porch", &envelope(stream, seq, at_us), &r);
        }
    }
}
