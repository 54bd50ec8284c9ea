//! The report as JSON: a value of the topic `metrics`.
//!
//! Numbers are in the units that people read (8-bit levels, squared levels), the palette's colours in 1/64 levels. Streams
//! and seeds are decimal strings, since many JSON readers stop at 2^53. [`ReportJson::read`] reads every version that was
//! ever written.

use super::columns::{NamedJson, PaletteJson, RegionsJson};
use crate::clock;
use firmware::custody::Envelope;
use firmware::wire::{Method, Payload, Refine, Report};
use serde::{Deserialize, Serialize};

/// `q6` fixed point: 1/64 levels.
pub(super) const Q6: f64 = 64.0;
/// `q12` fixed point: 1/4096 squared levels.
pub(super) const Q12: f64 = 4096.0;

/// Version of the JSON that is written, whatever version the edge's payload had.
pub const JSON_VERSION: u8 = Report::VERSION;

/// Microseconds of a frame's stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MicrosJson {
    /// Pixels to coreset.
    pub coreset: u32,
    /// Coreset to clusters.
    pub cluster: u32,
    /// Clusters to labels.
    pub label: u32,
    /// All of it.
    pub total: u32,
}

/// One frame's report: a value of the topic `metrics`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportJson {
    /// The device.
    pub device: String,
    /// The stream, in decimal.
    pub stream: String,
    /// Sequence number in the stream.
    pub seq: u64,
    /// RFC 3339, UTC.
    pub captured_at: String,
    /// The source's frame number.
    pub frame: u64,
    /// Frames lost so far.
    pub dropped: u64,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Pixels in all.
    pub pixels: u32,
    /// Where distances are measured: rgb or cielab. None if it is not known: stores do not keep it, and older records are from
    /// before there was another than rgb.
    #[serde(default)]
    pub space: Option<String>,
    /// Distance in force, in 8-bit levels or Delta E.
    pub lambda: f64,
    /// Coreset size asked for.
    pub coreset_size: u32,
    /// Coreset method.
    pub method: String,
    /// What was done after DC-DP-means; records from before 0.2 have none.
    #[serde(default = "none")]
    pub refine: String,
    /// Pixels a point must stand for to open a cluster.
    pub w_open: u32,
    /// Seed, in decimal.
    pub seed: String,
    /// Started from the last frame's centroids.
    pub warm: bool,
    /// Coreset points used.
    pub coreset_points: u32,
    /// The coreset's certificate, in squared levels; none if the method gives none.
    pub scatter: Option<f64>,
    /// Iterations of DC-DP-means; before version 3 refinement's sweeps too.
    pub iterations: u32,
    /// DC-DP-means stopped because nothing changed.
    pub converged: bool,
    /// Sweeps of the refinement; 0 before version 3.
    #[serde(default)]
    pub sweeps: u32,
    /// The cap on clusters was reached.
    pub saturated: bool,
    /// Pixels farther than lambda from their centroid; none if an older edge did not count them.
    pub beyond_px: Option<u32>,
    /// Colours that the palette misses; none if an older edge did not count them.
    pub missed: Option<u32>,
    /// Number of clusters.
    pub clusters: u32,
    /// The clusters, by label.
    pub palette: PaletteJson,
    /// Ids of clusters that the frame before did not have.
    #[serde(default)]
    pub births: Vec<u32>,
    /// Ids of clusters that the frame before had and this one has not.
    #[serde(default)]
    pub deaths: Vec<u32>,
    /// The configured regions.
    #[serde(default)]
    pub regions: RegionsJson,
    /// The named colours in them.
    #[serde(default)]
    pub named: NamedJson,
    /// Sum of squared distances of all pixels to their centroids.
    pub sse: f64,
    /// Root of the mean squared distance.
    pub rms: f64,
    /// Largest distance of a pixel to its centroid.
    pub max_distance: f64,
    /// From the coreset; none with fewer than two clusters.
    pub silhouette_estimate: Option<f64>,
    /// Mean Delta E 2000 of the pixels to their clusters, estimated from the coreset; none in rgb.
    #[serde(default)]
    pub de00_mean: Option<f64>,
    /// Mean Delta E 2000 of the reference patches after correction; none without a reference.
    #[serde(default)]
    pub reference_de00: Option<f64>,
    /// How long the stages took.
    pub micros: MicrosJson,
}

fn none() -> String {
    Refine::None.word().to_owned()
}

impl ReportJson {
    /// Reads a report of any version.
    pub fn read(bytes: &[u8]) -> Option<ReportJson> {
        serde_json::from_slice::<ReportJson>(bytes).ok().map(ReportJson::as_written_now)
    }

    /// The report as the present version writes it. Older ones wrote a certificate of 0 where the method gives none, and
    /// called the refinement `mse` `swap`.
    pub fn as_written_now(mut self) -> ReportJson {
        let is_certified = Method::ALL.iter().any(|m| m.word() == self.method && m.is_certified());
        // A coreset of all pixels moves none of them.
        let is_zero_true = is_certified || self.coreset_points == self.pixels;
        self.scatter = self.scatter.filter(|&s| s > 0.0 || is_zero_true);
        if let Some(refine) = Refine::from_word(&self.refine) {
            refine.word().clone_into(&mut self.refine);
        }
        self
    }

    /// The report of `device` as JSON has it.
    pub fn new(device: &str, envelope: &Envelope, r: &Report) -> ReportJson {
        let pixels = r.pixels() as u32;
        let sse = r.sse_q12 as f64 / Q12;
        ReportJson {
            device: device.to_owned(),
            stream: envelope.stream.to_string(),
            seq: envelope.seq,
            captured_at: clock::rfc3339(envelope.captured_at_us),
            frame: r.frame,
            dropped: r.dropped,
            width: r.width,
            height: r.height,
            pixels,
            space: Some(r.colorimetry.space.word().to_owned()),
            lambda: f64::from(r.lambda_q6) / Q6,
            coreset_size: r.coreset_size,
            method: r.method.word().to_owned(),
            refine: r.refine.word().to_owned(),
            w_open: r.w_open,
            seed: r.seed.to_string(),
            warm: r.warm,
            coreset_points: r.coreset_points,
            scatter: r.scatter_q12.map(|s| s as f64 / Q12),
            iterations: r.iterations,
            converged: r.converged,
            sweeps: r.sweeps,
            saturated: r.saturated,
            beyond_px: r.beyond_px,
            missed: r.missed,
            clusters: r.palette.len() as u32,
            palette: PaletteJson::of(r),
            births: r.births.to_vec(),
            deaths: r.deaths.to_vec(),
            regions: RegionsJson::new(&r.regions),
            named: NamedJson::new(&r.regions),
            sse,
            rms: (sse / f64::from(pixels.max(1))).sqrt(),
            max_distance: (f64::from(r.max_distance2_q12) / Q12).sqrt(),
            silhouette_estimate: r.silhouette_ppm.map(|p| f64::from(p) / 1e6),
            de00_mean: r.colorimetry.de00_mean_q6.map(|d| f64::from(d) / Q6),
            reference_de00: r.colorimetry.reference_de00_q6.map(|d| f64::from(d) / Q6),
            micros: MicrosJson {
                coreset: r.micros.coreset,
                cluster: r.micros.cluster,
                label: r.micros.label,
                total: r.micros.total,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::report;
    use firmware::wire::Space;

    #[test]
    fn a_report_reads_as_documented_and_comes_back() {
        let e = Envelope {
            kind: 1,
            payload_version: 3,
            clock_synced: true,
            stream: u64::MAX - 1,
            seq: 9,
            captured_at_us: 5,
        };
        let json = ReportJson::new("pi", &e, &report(3));
        let text = serde_json::to_string(&json).unwrap();
        assert!(text.starts_with(
            r#"{"device":"pi","stream":"18446744073709551614","seq":9,"captured_at":"1970-01-01T00:00:00.000005Z","frame":3,"#
        ));
        assert!(
            text.contains(r#""palette":{"id":[7,8],"rgb_q6":[[16320,0,33],[64,128,1]],"pixels":[60,36]},"#),
            "{text}"
        );
        assert!(text.contains(r#""sse":384.0,"rms":2.0,"max_distance":5.0,"silhouette_estimate":0.5"#), "{text}");
        assert_eq!(serde_json::from_str::<ReportJson>(&text).unwrap(), json);
        // Found by fuzzing: read without care, its last digit is another.
        let exact = ReportJson { scatter: Some(40_159_635.0 / Q12), ..json };
        let text = serde_json::to_string(&exact).unwrap();
        assert_eq!(serde_json::from_str::<ReportJson>(&text).unwrap(), exact);
    }

    #[test]
    fn the_schema_file_names_just_these_keys() {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("../../../deploy/schema/metrics.schema.json")).unwrap();
        let e = Envelope { kind: 1, payload_version: 3, clock_synced: true, stream: 2, seq: 9, captured_at_us: 5 };
        let json = serde_json::to_value(ReportJson::new("pi", &e, &report(3))).unwrap();
        let keys =
            |v: &serde_json::Value| v.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(keys(&schema["properties"]), keys(&json));
        let required = schema["required"].as_array().unwrap().iter().map(|k| k.as_str().unwrap().to_owned()).collect();
        assert_eq!(keys(&json), required);
        assert_eq!(keys(&schema["properties"]["micros"]["properties"]), keys(&json["micros"]));
        for columns in ["regions", "named"] {
            assert_eq!(keys(&schema["properties"][columns]["properties"]), keys(&json[columns]), "{columns}");
        }
        let mut in_lab = report(3);
        in_lab.colorimetry.space = Space::Cielab;
        let in_lab = serde_json::to_value(ReportJson::new("pi", &e, &in_lab)).unwrap();
        assert_eq!(keys(&schema["properties"]["palette"]["properties"]), keys(&in_lab["palette"]));
        assert_eq!(in_lab["space"], "cielab");
        // Red is at L 53.24, a 80.09, b 67.20 in CIELAB; its blue of 33/64 levels is all that is added.
        let of_red: [f64; 3] = serde_json::from_value(in_lab["palette"]["lab_q6"][0].clone()).unwrap();
        assert!(of_red.iter().zip([53.24, 80.09, 67.20]).all(|(v, want)| (v / 64.0 - want).abs() < 0.2), "{of_red:?}");
        let palette: PaletteJson = serde_json::from_value(in_lab["palette"].clone()).unwrap();
        assert_eq!(palette.lab_q6.len(), palette.id.len());
        assert_eq!(schema["$id"], format!("hueflow.metrics/{JSON_VERSION}"));
    }

    /// A report as version 2 wrote it.
    const V2: &str = concat!(
        r#"{"device":"pi","stream":"10","seq":9,"captured_at":"1970-01-01T00:00:00.000005Z","frame":3,"dropped":2,"#,
        r#""width":12,"height":8,"pixels":96,"lambda":50.0,"coreset_size":1000,"method":"octree","refine":"swap","w_open":4,"#,
        r#""seed":"18446744073709551615","warm":true,"coreset_points":90,"scatter":1.0,"iterations":36,"converged":true,"#,
        r#""saturated":false,"clusters":2,"palette":[{"id":7,"rgb":[255.0,0.0,0.515625],"pixels":60},"#,
        r#"{"id":8,"rgb":[1.0,2.0,0.015625],"pixels":36}],"births":[7],"deaths":[3],"sse":384.0,"rms":2.0,"#,
        r#""max_distance":5.0,"silhouette_estimate":0.5,"micros":{"coreset":1,"cluster":2,"label":3,"total":4100}}"#
    );

    #[test]
    fn what_older_versions_wrote_is_read_and_what_they_did_not_count_is_unknown() {
        let v2 = ReportJson::read(V2.as_bytes()).unwrap();
        assert_eq!((v2.refine.as_str(), v2.scatter, v2.births.as_slice()), ("mse", Some(1.0), &[7][..]));
        assert_eq!((v2.beyond_px, v2.missed, v2.sweeps), (None, None, 0));
        assert_eq!(v2.palette, PaletteJson::new(&report(3).palette));
        assert_eq!((v2.regions.region.len(), v2.named.region.len()), (0, 0));
        let v1 = V2.replace(r#""refine":"swap","#, "").replace(r#""births":[7],"deaths":[3],"#, "");
        let v1 = ReportJson::read(v1.as_bytes()).unwrap();
        assert_eq!((v1.refine.as_str(), v1.births.len(), v1.deaths.len()), ("none", 0, 0));
    }

    #[test]
    fn a_certificate_of_0_is_kept_only_where_the_method_gives_one() {
        let scatter = |method: &str, points: u32| {
            let text = V2.replace("octree", method).replace(r#""scatter":1.0"#, r#""scatter":0.0"#);
            let text = text.replace(r#""coreset_points":90"#, &format!(r#""coreset_points":{points}"#));
            ReportJson::read(text.as_bytes()).unwrap().scatter
        };
        assert_eq!(
            (scatter("octree", 90), scatter("streamkm", 90), scatter("uniform", 96)),
            (Some(0.0), Some(0.0), Some(0.0))
        );
        assert_eq!(
            (scatter("uniform", 90), scatter("sensitivity", 90), scatter("lightweight", 90)),
            (None, None, None)
        );
    }
}
