//! Json: a report as anyone with kcat, a stream processor or a spreadsheet can read it.
//!
//! Takes a `Report` and its envelope. Gives the JSON object of `deploy/schema/metrics.schema.json`, and back from it.
//! Touches nothing.
//! Never a 64-bit identity as a number: streams and seeds are decimal strings, for JSON's readers stop at 2^53.

use crate::clock;
use firmware::custody::{Envelope, Window};
use firmware::wire::{Loss, Refine, Report};
use serde::{Deserialize, Serialize};

/// `q6` fixed point: 1/64 levels.
const Q6: f64 = 64.0;
/// `q12` fixed point: 1/4096 squared levels.
const Q12: f64 = 4096.0;

/// One cluster of a frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SwatchJson {
    /// Identity over frames.
    pub id: u32,
    /// Centroid in 8-bit levels, exact as decimals.
    pub rgb: [f64; 3],
    /// Pixels nearest to it.
    pub pixels: u32,
}

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
    /// Distance in force, in 8-bit levels.
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
    /// The coreset's certificate, in squared levels.
    pub scatter: f64,
    /// Iterations to convergence.
    pub iterations: u32,
    /// Stopped because nothing changed.
    pub converged: bool,
    /// The cap on clusters was reached.
    pub saturated: bool,
    /// Number of clusters.
    pub clusters: u32,
    /// The clusters, by label.
    pub palette: Vec<SwatchJson>,
    /// Ids of clusters that the frame before did not have.
    #[serde(default)]
    pub births: Vec<u32>,
    /// Ids of clusters that the frame before had and this one has not.
    #[serde(default)]
    pub deaths: Vec<u32>,
    /// Sum of squared distances of all pixels to their centroids.
    pub sse: f64,
    /// Root of the mean squared distance.
    pub rms: f64,
    /// Largest distance of a pixel to its centroid.
    pub max_distance: f64,
    /// From the coreset; none with fewer than two clusters.
    pub silhouette_estimate: Option<f64>,
    /// How long the stages took.
    pub micros: MicrosJson,
}

fn none() -> String {
    Refine::None.word().to_owned()
}

impl ReportJson {
    /// The report of `device` as JSON has it.
    pub fn new(device: &str, envelope: &Envelope, r: &Report) -> ReportJson {
        let pixels = r.pixels() as u32;
        let sse = r.sse_q12 as f64 / Q12;
        let palette = r.palette.iter().map(|s| SwatchJson {
            id: s.id,
            rgb: s.rgb_q6.map(|c| f64::from(c) / Q6),
            pixels: s.pixels,
        });
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
            lambda: f64::from(r.lambda_q6) / Q6,
            coreset_size: r.coreset_size,
            method: r.method.word().to_owned(),
            refine: r.refine.word().to_owned(),
            w_open: r.w_open,
            seed: r.seed.to_string(),
            warm: r.warm,
            coreset_points: r.coreset_points,
            scatter: r.scatter_q12.unwrap_or(0) as f64 / Q12,
            iterations: r.iterations,
            converged: r.converged,
            saturated: r.saturated,
            clusters: r.palette.len() as u32,
            palette: palette.collect(),
            births: r.births.to_vec(),
            deaths: r.deaths.to_vec(),
            sse,
            rms: (sse / f64::from(pixels.max(1))).sqrt(),
            max_distance: (f64::from(r.max_distance2_q12) / Q12).sqrt(),
            silhouette_estimate: r.silhouette_ppm.map(|p| f64::from(p) / 1e6),
            micros: MicrosJson {
                coreset: r.micros.coreset,
                cluster: r.micros.cluster,
                label: r.micros.label,
                total: r.micros.total,
            },
        }
    }
}

/// What a window says of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamJson {
    /// The stream, in decimal.
    pub stream: String,
    /// First seq that this journal is answerable for.
    pub since: u64,
    /// Lowest held seq.
    pub floor: u64,
    /// One past the highest accepted seq.
    pub next: u64,
}

/// A window: what the edge holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowJson {
    /// The boot that said it, in decimal.
    pub boot: String,
    /// Counts that boot's windows.
    pub n: u64,
    /// The journal that the edge last heard of.
    pub journal: Option<String>,
    /// Streams with something to settle.
    pub streams: Vec<StreamJson>,
}

impl WindowJson {
    /// The window as JSON has it.
    pub fn new(w: &Window) -> WindowJson {
        let streams = w.streams.iter().map(|s| StreamJson {
            stream: s.stream.to_string(),
            since: s.since,
            floor: s.floor,
            next: s.next,
        });
        WindowJson {
            boot: w.id.boot.to_string(),
            n: w.id.n,
            journal: w.journal.as_ref().map(|j| j.to_string()),
            streams: streams.collect(),
        }
    }
}

/// Records that the edge gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossJson {
    /// The stream that lost them, in decimal.
    pub stream: String,
    /// The first that is gone.
    pub from: u64,
    /// One past the last that is gone.
    pub to: u64,
    /// `full` or `corrupt`.
    pub reason: String,
}

impl LossJson {
    /// The loss as JSON has it.
    pub fn new(l: &Loss) -> LossJson {
        LossJson { stream: l.stream.to_string(), from: l.from, to: l.to, reason: l.reason.word().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::report;

    #[test]
    fn a_report_reads_as_documented_and_comes_back() {
        let e = Envelope {
            kind: 1,
            payload_version: 2,
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
        assert!(text.contains(r#""palette":[{"id":7,"rgb":[255.0,0.0,0.515625],"pixels":60}"#), "{text}");
        assert!(text.contains(r#""sse":384.0,"rms":2.0,"max_distance":5.0,"silhouette_estimate":0.5"#), "{text}");
        assert_eq!(serde_json::from_str::<ReportJson>(&text).unwrap(), json);
        // Found by fuzzing: read without care, its last digit is another.
        let exact = ReportJson { scatter: 40_159_635.0 / Q12, ..json };
        let text = serde_json::to_string(&exact).unwrap();
        assert_eq!(serde_json::from_str::<ReportJson>(&text).unwrap(), exact);
    }

    #[test]
    fn the_schema_file_names_just_these_keys() {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("../../deploy/schema/metrics.schema.json")).unwrap();
        let e = Envelope { kind: 1, payload_version: 2, clock_synced: true, stream: 2, seq: 9, captured_at_us: 5 };
        let json = serde_json::to_value(ReportJson::new("pi", &e, &report(3))).unwrap();
        let keys =
            |v: &serde_json::Value| v.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(keys(&schema["properties"]), keys(&json));
        let required = schema["required"].as_array().unwrap().iter().map(|k| k.as_str().unwrap().to_owned()).collect();
        assert_eq!(keys(&json), required);
        assert_eq!(keys(&schema["properties"]["micros"]["properties"]), keys(&json["micros"]));
        assert_eq!(keys(&schema["properties"]["palette"]["items"]["properties"]), keys(&json["palette"][0]));
    }
}
