//! Promise 1 on streams: every colour with support is within lambda of a palette entry, in every frame, whatever changed.
//!
//! Each scenario draws frames and checks after every step that no colour is missed, by a count of its own, that the report
//! agrees, and that a warm stream has at most two clusters more than a cold start of the same frame.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/memory.rs"]
mod memory;

use firmware::frame::Frame;
use firmware::node::{HistogramBits, Node, Settings};
use firmware::report::{Method, Refine, Report};
use memory::Memory;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

const W: usize = 320;
const H: usize = 240;
/// 0.02 % of the frame, rounded up.
const W_OPEN: usize = (W * H).div_ceil(5_000);

/// A grey picture with noise of `range` levels, and coloured patches: a colour and its number of pixels each.
fn scene(seed: u64, range: u32, patches: &[([u8; 3], usize)]) -> Vec<u8> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut noise = |level: u8| {
        let n = if range == 0 { 0 } else { rng.next_u32() % (2 * range + 1) } as i32 - range as i32;
        (i32::from(level) + n).clamp(0, 255) as u8
    };
    let mut rgb: Vec<u8> = (0..W * H * 3).map(|_| noise(128)).collect();
    let mut at = 0;
    for (color, pixels) in patches {
        for _ in 0..*pixels {
            // A stride that is prime to the size spreads the patch, so that no row or block is special.
            let place = at * 7_919 % (W * H);
            rgb[3 * place..3 * place + 3].copy_from_slice(&color.map(&mut noise));
            at += 1;
        }
    }
    rgb
}

/// Colours missed by the definition: cells of 16 levels with at least `W_OPEN` pixels beyond lambda of every centroid.
fn missed(rgb: &[u8], report: &Report) -> (usize, usize) {
    let mut cells: BTreeMap<[u8; 3], usize> = BTreeMap::new();
    let lambda2 = i64::from(report.lambda_q6) * i64::from(report.lambda_q6);
    let centroids: Vec<[i64; 3]> = report.palette.iter().map(|s| s.rgb_q6.map(i64::from)).collect();
    for px in rgb.chunks_exact(3) {
        let far = |c: &[i64; 3]| (0..3).map(|i| (i64::from(px[i]) * 64 - c[i]).pow(2)).sum::<i64>() > lambda2;
        if centroids.iter().all(far) {
            *cells.entry([px[0] >> 4, px[1] >> 4, px[2] >> 4]).or_default() += 1;
        }
    }
    (cells.values().filter(|&&n| n >= W_OPEN).count(), cells.values().sum())
}

struct Stream<'m> {
    warm: Node<'m>,
    cold: Node<'m>,
    frames: u64,
}

impl<'m> Stream<'m> {
    fn new(memory: &'m mut [Memory; 2], settings: Settings) -> Stream<'m> {
        let [warm, cold] = memory;
        let cold_settings = Settings { cold: true, ..settings };
        let (warm, cold) = (Node::new(settings, warm.lend()).unwrap(), Node::new(cold_settings, cold.lend()).unwrap());
        Stream { warm, cold, frames: 0 }
    }

    fn memory() -> [Memory; 2] {
        [0; 2].map(|_| Memory::new(HistogramBits::Five, W * H, W, 8_000))
    }

    /// Steps both nodes and checks the promise. `what` names the scenario in failures.
    fn step(&mut self, rgb: &[u8], what: &str) -> Report {
        let (frame, mut rng) = (Frame::rgb(W, H, rgb).unwrap(), Xoshiro256PlusPlus::seed_from_u64(self.frames));
        let cold = self.cold.step(&frame, &mut || 0, &mut rng).unwrap().clone();
        let report = self.warm.step(&frame, &mut || 0, &mut rng).unwrap().clone();
        for report in [&cold, &report] {
            let (missed, beyond) = missed(rgb, report);
            let reported = (report.missed.unwrap() as usize, report.beyond_px.unwrap() as usize);
            assert_eq!(reported, (missed, beyond), "{what}, frame {}: the report", self.frames);
            assert_eq!(
                missed,
                0,
                "{what}, frame {}: {} clusters, {beyond} px beyond",
                self.frames,
                report.palette.len()
            );
            assert!(!report.saturated);
        }
        let (k, k_cold) = (report.palette.len(), cold.palette.len());
        assert!(k <= k_cold + 2, "{what}, frame {}: {k} clusters, cold {k_cold}", self.frames);
        self.frames += 1;
        report
    }
}

/// The id of the cluster within 20 levels of a colour.
fn id_of(report: &Report, color: [u8; 3]) -> Option<u32> {
    let near = |s: &&firmware::report::Swatch| {
        s.rgb_q6.iter().zip(color).map(|(&c, v)| (i32::from(c) / 64 - i32::from(v)).pow(2)).sum::<i32>() < 400
    };
    report.palette.iter().find(near).map(|s| s.id)
}

const RED: [u8; 3] = [255, 0, 0];

#[test]
fn a_newcomer_opens_in_its_first_frame_in_every_phase_of_the_steering() {
    for pixels in [W_OPEN, 60, 768] {
        for arrival in 1..=32 {
            let mut memory = Stream::memory();
            let mut stream = Stream::new(&mut memory, Settings::default());
            for f in 0..arrival + 3 {
                let patches = if f >= arrival { vec![(RED, pixels)] } else { vec![] };
                let report = stream.step(&scene(f, 3, &patches), &format!("{pixels} px from frame {arrival} on"));
                assert_eq!(report.palette.len(), 1 + usize::from(f >= arrival));
            }
        }
    }
}

#[test]
fn a_colour_that_grows_slowly_opens_as_soon_as_it_has_support() {
    for px_a_frame in [1, 3, 19] {
        let mut memory = Stream::memory();
        let mut stream = Stream::new(&mut memory, Settings::default());
        for f in 0..60 {
            let patch = (RED, f * px_a_frame);
            let report = stream.step(&scene(f as u64, 2, &[patch]), &format!("{px_a_frame} px more a frame"));
            // Noise spreads the patch over a few cells of the histogram.
            assert!(report.palette.len() == 2 || patch.1 < 2 * W_OPEN, "frame {f}: {} px", patch.1);
        }
    }
}

#[test]
fn several_newcomers_of_one_frame_all_open() {
    let colors = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255]];
    for count in 2..=6 {
        for arrival in [8, 9, 13] {
            let mut memory = Stream::memory();
            let mut stream = Stream::new(&mut memory, Settings::default());
            let patches: Vec<_> = colors[..count].iter().map(|&c| (c, 40)).collect();
            for f in 0..arrival + 3 {
                let now = if f >= arrival { &patches[..] } else { &[] };
                let report = stream.step(&scene(f, 3, now), &format!("{count} newcomers"));
                assert_eq!(report.palette.len(), 1 + now.len());
            }
        }
    }
}

#[test]
fn a_newcomer_among_six_colours_opens() {
    let base = [[20, 20, 20], [230, 230, 230], [30, 120, 30], [30, 30, 140], [200, 180, 40], [120, 60, 20]];
    let mut memory = Stream::memory();
    let mut stream = Stream::new(&mut memory, Settings::default());
    for f in 0..40 {
        let mut patches: Vec<_> = base.iter().map(|&c| (c, 9_000)).collect();
        if f >= 16 {
            patches.push((RED, W * H * 75 / 1_000));
        }
        let report = stream.step(&scene(f, 4, &patches), "six colours and red");
        assert_eq!(id_of(&report, RED).is_some(), f >= 16, "frame {f}");
    }
}

#[test]
fn a_newcomer_whose_noise_lies_across_the_corners_of_cells_opens() {
    // 16 levels divide every channel, so that each of eight cells has about an eighth of the pixels.
    let corner = [224, 48, 32];
    let mut memory = Stream::memory();
    let mut stream = Stream::new(&mut memory, Settings::default());
    for f in 0..24 {
        let patches = if f >= 8 { vec![(corner, 60)] } else { vec![] };
        let report = stream.step(&scene(f, 4, &patches), "across corners");
        assert_eq!(id_of(&report, corner).is_some(), f >= 8, "frame {f}");
    }
}

#[test]
fn a_colour_that_goes_and_comes_back_has_its_id_again() {
    let mut memory = Stream::memory();
    let mut stream = Stream::new(&mut memory, Settings::default());
    let mut ids = Vec::new();
    for f in 0..200u64 {
        let there = f / 7 % 2 == 1;
        let patches = if there { vec![(RED, 50), ([0, 0, 255], 3_000)] } else { vec![([0, 0, 255], 3_000)] };
        let report = stream.step(&scene(f, 3, &patches), "comes and goes");
        assert_eq!(report.palette.len(), 2 + usize::from(there), "frame {f}");
        ids.extend(id_of(&report, RED));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[test]
fn a_still_scene_with_camera_noise_keeps_its_clusters_and_ids() {
    let patches = [([200, 40, 30], 4_000), ([30, 160, 60], 9_000), ([40, 60, 200], 300), ([220, 200, 60], 60)];
    let mut memory = Stream::memory();
    let mut stream = Stream::new(&mut memory, Settings::default());
    let first = stream.step(&scene(0, 6, &patches), "noise");
    for f in 1..300 {
        let report = stream.step(&scene(f, 6, &patches), "noise");
        assert!(report.births.is_empty() && report.deaths.is_empty(), "frame {f}");
        assert_eq!(report.palette.len(), first.palette.len());
    }
}

#[test]
fn a_change_of_settings_holds_in_the_next_frame_and_keeps_ids() {
    let patches: Vec<([u8; 3], usize)> = (0..24).map(|i| ([i * 10, 255 - i * 10, 40], 1_000)).collect();
    let still = scene(7, 2, &patches);
    let base = Settings::default();
    let changes = [
        Settings { lambda_q6: 20 * 64, ..base },
        Settings { lambda_q6: 80 * 64, ..base },
        Settings { w_open: Some(2), ..base },
        Settings { method: Method::StreamKm, ..base },
        Settings { refine: Refine::Lloyd, ..base },
        Settings { coreset_size: 50, ..base },
        Settings { clusters_max: 3, ..base },
    ];
    let frame = Frame::rgb(W, H, &still).unwrap();
    for (i, changed) in changes.iter().enumerate() {
        let mut memory = Stream::memory();
        let [warm, cold] = &mut memory;
        let (mut node, mut fresh) = (Node::new(base, warm.lend()).unwrap(), Node::new(*changed, cold.lend()).unwrap());
        let rng = || Xoshiro256PlusPlus::seed_from_u64(1);
        for _ in 0..3 {
            node.step(&frame, &mut || 0, &mut rng()).unwrap();
        }
        let before = node.report().clone();
        node.set(*changed).unwrap();
        let after = node.step(&frame, &mut || 0, &mut rng()).unwrap().clone();
        let want = fresh.step(&frame, &mut || 0, &mut rng()).unwrap();
        let colors = |r: &Report| r.palette.iter().map(|s| (s.rgb_q6, s.pixels)).collect::<Vec<_>>();
        assert_eq!(colors(&after), colors(want), "change {i}: as a cold start with the new settings");
        assert!(!after.warm);
        let kept = after.palette.iter().filter(|s| before.palette.iter().any(|b| b.id == s.id)).count();
        assert!(kept >= before.palette.len().min(after.palette.len()) / 2, "change {i}: {kept} ids kept");
    }
}

#[test]
fn uniform_with_more_points_than_a_colour_needs_pixels_still_opens_clusters() {
    let patches = [([200, 40, 30], 12_000), ([30, 160, 60], 9_000), ([40, 60, 200], 6_000)];
    let rgb = scene(3, 2, &patches);
    for (refine, coreset_size) in [(Refine::None, 1_000), (Refine::None, 6_000), (Refine::Cover, 8_000)] {
        let settings = Settings { method: Method::Uniform, coreset_size, refine, ..Settings::default() };
        let mut memory = Stream::memory();
        let mut node = Node::new(settings, memory[0].lend()).unwrap();
        let (frame, mut rng) = (Frame::rgb(W, H, &rgb).unwrap(), Xoshiro256PlusPlus::seed_from_u64(5));
        let report = node.step(&frame, &mut || 0, &mut rng).unwrap();
        assert_eq!(report.palette.len(), 4, "{coreset_size} points");
    }
}

/// 256 greys as columns. The numbers of clusters are those of DC-DP-means in floating point on single pixels; the ramp is full
/// of equal distances, so another order or rounding of ties gives a few more or fewer.
#[test]
fn a_grey_ramp_has_no_pixel_beyond_a_small_lambda() {
    let rgb: Vec<u8> = (0..H).flat_map(|_| (0..256).flat_map(|x| [x as u8; 3])).collect();
    for (lambda, clusters) in [(30, 9), (20, 13), (15, 18), (10, 25), (5, 59)] {
        let settings = Settings { lambda_q6: lambda * 64, ..Settings::default() };
        let mut memory = Stream::memory();
        let mut node = Node::new(settings, memory[0].lend()).unwrap();
        let (frame, mut rng) = (Frame::rgb(256, H, &rgb).unwrap(), Xoshiro256PlusPlus::seed_from_u64(5));
        for _ in 0..3 {
            let report = node.step(&frame, &mut || 0, &mut rng).unwrap();
            assert_eq!((report.beyond_px, report.missed), (Some(0), Some(0)), "lambda {lambda}");
            let k = report.palette.len();
            assert!(k.abs_diff(clusters) <= clusters / 4, "lambda {lambda}: {k} clusters, {clusters} expected");
        }
    }
}

#[test]
fn a_cap_on_clusters_is_kept_and_what_it_costs_is_reported() {
    let colors = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255]];
    let patches: Vec<_> = colors.iter().map(|&c| (c, 400)).collect();
    let rgb = scene(1, 3, &patches);
    let mut memory = Stream::memory();
    let mut node = Node::new(Settings { clusters_max: 3, ..Settings::default() }, memory[0].lend()).unwrap();
    let (frame, mut rng) = (Frame::rgb(W, H, &rgb).unwrap(), Xoshiro256PlusPlus::seed_from_u64(5));
    for _ in 0..3 {
        let report = node.step(&frame, &mut || 0, &mut rng).unwrap();
        assert_eq!(report.palette.len(), 3);
        assert!(report.saturated && report.missed.unwrap() > 0);
        assert_eq!(missed(&rgb, report).0, report.missed.unwrap() as usize);
    }
}
