//! What if lambda were another: a census clustered again with the core's own code.
//!
//! A census has all colours of a frame with their counts. [`Scene`] spreads them over the rows of a picture, and the engine
//! clusters that from cold with the device's settings. Colours decide everything but where they are, so palette, RMS and missed
//! colours are what the device itself would find in a cold frame. Nothing outside of memory is touched.

use crate::metrics::silhouette::Sample;
use crate::metrics::silhouette::census::{Colours, nearest, positions};
use crate::metrics::store::reader::FrameSettings;
use firmware::coreset::{Features, Merge, Point};
use firmware::frame::{Frame, Span, SpanMap};
use firmware::limits::POINTS_MAX;
use firmware::node::{Capacity, HistogramBits, Node, Settings, Workspace};
use firmware::wire::{Method, Refine, Report, Space, rgb8};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

/// Width of the picture, in pixels.
const WIDTH_PX: usize = 1_024;
/// Pixels that are clustered at most; of a larger frame every second, third ... pixel of each colour is. A million pixels take
/// about 30 ms.
const PIXELS_MAX: u64 = 1 << 20;

/// A census as a picture.
#[derive(Debug)]
pub struct Scene {
    samples: Vec<Sample>,
    rgb: Vec<u8>,
    visible: Vec<Span>,
    ends: Vec<u32>,
    /// One pixel stands for so many.
    pub thinned: u32,
    /// The settings of the frame.
    pub settings: FrameSettings,
    /// The space of the frame, in which the scene is clustered too.
    pub space: Space,
}

/// A scene, clustered.
#[derive(Debug)]
pub struct Clustered {
    /// The engine's report. Numbers of pixels are those of the thinned scene.
    pub report: Report,
    /// The census's colours with their new labels.
    pub colours: Colours,
}

impl Scene {
    /// A scene of the colours of a census.
    pub fn new(colours: &Colours, settings: FrameSettings) -> Scene {
        let samples = colours.samples.clone();
        let pixels: u64 = samples.iter().map(|s| u64::from(s.count)).sum();
        let thinned = pixels.div_ceil(PIXELS_MAX).max(1);
        let (mut rgb, mut seen) = (Vec::with_capacity((pixels / thinned + 1) as usize * 3), 0u64);
        for s in &samples {
            // Running sums, so that many rare colours keep their share.
            let before = seen.div_ceil(thinned);
            seen += u64::from(s.count);
            (before..seen.div_ceil(thinned)).for_each(|_| rgb.extend(s.rgb));
        }
        let count = rgb.len() / 3;
        let rows = count.div_ceil(WIDTH_PX).max(1);
        let span = |y: usize| Span { start: 0, end: WIDTH_PX.min(count - y * WIDTH_PX) as u16 };
        let visible = (0..rows).filter(|y| y * WIDTH_PX < count).map(span).collect();
        rgb.resize(rows * WIDTH_PX * 3, 0);
        let ends = (1..=rows as u32).collect();
        let thinned = u32::try_from(thinned).unwrap_or(u32::MAX);
        Scene { samples, rgb, visible, ends, thinned, settings, space: colours.space }
    }

    /// Clusters the scene with another lambda, in 1/64 of the units of its space.
    ///
    /// # Errors
    /// A sentence, if lambda is out of its range.
    pub fn cluster(&self, lambda_q6: u32) -> Result<Clustered, String> {
        let rows = self.rgb.len() / 3 / WIDTH_PX;
        let method = Method::ALL.into_iter().find(|m| m.word() == self.settings.method).unwrap_or(Method::Octree);
        let settings = Settings {
            space: self.space,
            lambda_q6,
            method,
            coreset_size: self.settings.coreset_size.clamp(1, POINTS_MAX as u32),
            refine: Refine::from_word(&self.settings.refine).unwrap_or(Refine::Cover),
            w_open: Some((self.settings.w_open / self.thinned).max(1)),
            ..Settings::default()
        };
        let capacity = Capacity {
            pixels: rows * WIDTH_PX,
            width_px: WIDTH_PX,
            coreset_size: settings.coreset_size,
            bits: HistogramBits::Five,
        };
        let sizes = capacity.sizes();
        let (mut features, mut points) = (vec![Features::ZERO; sizes.features], vec![Point::ZERO; sizes.points]);
        let (mut merges, mut bytes) = (vec![Merge::ZERO; sizes.merges], vec![0; sizes.bytes]);
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let workspace = Workspace::in_slices(&capacity, &mut features, &mut points, &mut merges, &mut bytes);
        let mut node = Node::new(settings, workspace.map_err(|e| text(&e))?).map_err(|e| text(&e))?;
        let map = SpanMap::new(WIDTH_PX, &self.ends, &self.visible).map_err(|e| text(&e))?;
        let frame = Frame::rgb(WIDTH_PX, rows, &self.rgb).and_then(|f| f.masked(map)).map_err(|e| text(&e))?;
        let started = std::time::Instant::now();
        let mut clock = || started.elapsed().as_micros() as u64;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        let report = node.step(&frame, &mut clock, &mut rng).map_err(|e| text(&e))?.clone();
        let centroids: Vec<[u16; 3]> = report.palette.iter().map(|s| s.rgb_q6).collect();
        let positions = positions(self.space, &centroids);
        // The engine has labelled the pixels of each colour. Colours that a thinned scene leaves out are labelled here.
        let (labels, thinned, mut seen) = (node.labels(), u64::from(self.thinned), 0u64);
        let label = |s: &Sample| {
            let before = seen.div_ceil(thinned);
            seen += u64::from(s.count);
            let engine = labels.get(before as usize).filter(|_| seen.div_ceil(thinned) > before);
            engine.copied().unwrap_or_else(|| nearest(self.space.of_rgb(s.rgb), &positions))
        };
        let samples = self.samples.iter().scan(label, |label, s| Some(Sample { label: label(s), ..*s })).collect();
        let palette = centroids.iter().map(|&c| rgb8(c)).collect();
        let ids = (0..centroids.len() as u32).collect();
        Ok(Clustered { report, colours: Colours { frame: 0, samples, ids, palette, space: self.space } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::silhouette::census::from_picture;

    fn settings() -> FrameSettings {
        FrameSettings { lambda: 50.0, coreset_size: 1_000, method: "octree".into(), refine: "cover".into(), w_open: 20 }
    }

    /// What the edge's engine finds in a frame.
    fn on_the_device(width: usize, rgb: &[u8], space: Space, lambda_q6: u32) -> Report {
        let height = rgb.len() / 3 / width;
        let capacity =
            Capacity { pixels: width * height, width_px: width, coreset_size: 1_000, bits: HistogramBits::Five };
        let sizes = capacity.sizes();
        let (mut features, mut points) = (vec![Features::ZERO; sizes.features], vec![Point::ZERO; sizes.points]);
        let (mut merges, mut bytes) = (vec![Merge::ZERO; sizes.merges], vec![0; sizes.bytes]);
        let lent = Workspace::in_slices(&capacity, &mut features, &mut points, &mut merges, &mut bytes).unwrap();
        let mut node = Node::new(Settings { space, lambda_q6, w_open: Some(20), ..Settings::default() }, lent).unwrap();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        node.step(&Frame::rgb(width, height, rgb).unwrap(), &mut || 0, &mut rng).unwrap().clone()
    }

    #[test]
    fn a_census_gives_the_palette_that_the_device_would_find() {
        let (w, h, rgb) = crate::metrics::silhouette::picture::read_png(
            &std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/astronaut.png"),
            false,
        )
        .unwrap();
        let (w, h) = (w as usize, h as usize);
        let in_rgb = from_picture(&rgb, &vec![0; w * h], Space::Rgb);
        let in_lab = Colours { space: Space::Cielab, ..in_rgb.clone() };
        for (colours, lambda) in [(&in_rgb, 25), (&in_rgb, 50), (&in_rgb, 90), (&in_lab, 9), (&in_lab, 18)] {
            let scene = Scene::new(colours, settings());
            assert_eq!(scene.thinned, 1);
            let want = on_the_device(w, &rgb, colours.space, lambda * 64);
            let got = scene.cluster(lambda * 64).unwrap();
            assert_eq!((got.report.colorimetry, got.colours.space), (want.colorimetry, colours.space));
            assert_eq!(got.report.palette, want.palette, "lambda {lambda}");
            assert_eq!((got.report.sse_q12, got.report.missed), (want.sse_q12, want.missed), "lambda {lambda}");
            // Labels are the core's: each cluster has its pixels.
            for (label, swatch) in want.palette.iter().enumerate() {
                let of = got.colours.samples.iter().filter(|s| usize::from(s.label) == label);
                assert_eq!(of.map(|s| s.count).sum::<u32>(), swatch.pixels, "label {label}");
            }
        }
        assert!(Scene::new(&in_rgb, settings()).cluster(0).is_err());
    }

    #[test]
    fn a_large_frame_is_thinned_and_rare_colours_keep_their_share() {
        let samples: Vec<Sample> = (0..4_000_000u32 / 2)
            .map(|i| Sample { rgb: [(i >> 16) as u8 * 8, (i >> 8) as u8, i as u8], label: 0, count: 2 })
            .collect();
        let scene =
            Scene::new(&Colours { frame: 0, samples, ids: vec![], palette: vec![], space: Space::Rgb }, settings());
        assert_eq!(scene.thinned, 4);
        let shown: usize = scene.visible.iter().map(|s| s.pixels()).sum();
        assert_eq!(shown, 1_000_000);
        let clustered = scene.cluster(50 * 64).unwrap();
        let centroids: Vec<[u16; 3]> = clustered.report.palette.iter().map(|s| s.rgb_q6).collect();
        for s in clustered.colours.samples.iter().step_by(997) {
            assert_eq!(s.label, nearest(Space::Rgb.of_rgb(s.rgb), &centroids), "{s:?}");
        }
    }
}
