//! The whole machine on drawn scenes: what `step` promises, frame after frame.
//!
//! The scenes are drawn from seeds. The clock stands still, so that the bytes of reports can be compared.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/memory.rs"]
mod memory;

use firmware::frame::Frame;
use firmware::limits::REPORT_BYTES_MAX;
use firmware::node::{HistogramBits, Node, Settings, SettingsError, StepError};
use firmware::wire::{self, Method, Refine, Report};
use memory::Memory;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

const W: usize = 80;
const H: usize = 60;

/// Five coloured blocks on a grey slope, with noise; `shift` moves them.
fn scene(seed: u64, shift: usize) -> Vec<u8> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let blocks = [[200u8, 40, 30], [30, 160, 60], [40, 60, 200], [220, 200, 60], [240, 240, 240]];
    let mut rgb = Vec::with_capacity(W * H * 3);
    for y in 0..H {
        for x in 0..W {
            let block = (x + shift) / 16;
            let grey = (40 + y) as u8;
            let base = if (y / 12) % 2 == 1 { blocks[block % 5] } else { [grey; 3] };
            let noise = (rng.next_u32() >> 29) as u8;
            rgb.extend(base.map(|c| c.saturating_add(noise)));
        }
    }
    rgb
}

fn step<'n>(node: &'n mut Node<'_>, rgb: &[u8], seed: u64) -> &'n Report {
    let frame = Frame::rgb(W, H, rgb).unwrap();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    node.step(&frame, &mut || 0, &mut rng).unwrap()
}

#[test]
fn a_report_says_what_the_labels_say() {
    for method in Method::ALL {
        let mut memory = Memory::new(HistogramBits::Five, W * H, 64 * 64, 4_096);
        let mut node = Node::new(Settings { method, ..Settings::default() }, memory.lend()).unwrap();
        let rgb = scene(1, 0);
        let report = step(&mut node, &rgb, 1).clone();
        assert!((5..=9).contains(&report.palette.len()), "{method:?}: {} clusters", report.palette.len());
        assert!(report.converged && !report.saturated && !report.warm);
        let (mut sse, mut pixels) = (0u64, vec![0u32; report.palette.len()]);
        for (px, &label) in rgb.chunks(3).zip(node.labels()) {
            pixels[usize::from(label)] += 1;
            let c = report.palette[usize::from(label)].rgb_q6;
            sse += px.iter().zip(c).map(|(&p, c)| (i64::from(p) * 64 - i64::from(c)).pow(2) as u64).sum::<u64>();
        }
        assert_eq!(report.sse_q12, sse);
        assert_eq!(report.palette.iter().map(|s| s.pixels).collect::<Vec<_>>(), pixels);
        assert!(report.silhouette_ppm.unwrap() > 500_000);
    }
}

#[test]
fn the_same_frames_give_the_same_bytes_and_another_seed_changes_only_what_is_drawn() {
    let bytes = |method, seed| {
        let mut memory = Memory::new(HistogramBits::Five, W * H, 64 * 64, 4_096);
        let settings = Settings { method, coreset_size: 200, ..Settings::default() };
        let mut node = Node::new(settings, memory.lend()).unwrap();
        let mut all = Vec::new();
        for i in 0..12 {
            let mut buf = [0; REPORT_BYTES_MAX];
            let n = wire::encode(step(&mut node, &scene(i, i as usize), seed), &mut buf).unwrap();
            all.extend_from_slice(&buf[..n]);
            all.extend_from_slice(node.labels());
        }
        all
    };
    assert_eq!(bytes(Method::Octree, 1), bytes(Method::Octree, 2));
    assert_eq!(bytes(Method::Uniform, 1), bytes(Method::Uniform, 1));
    assert_ne!(bytes(Method::Uniform, 1), bytes(Method::Uniform, 2));
}

#[test]
fn ids_stay_while_the_scene_moves_and_across_a_cut_and_back() {
    let mut memory = Memory::new(HistogramBits::Five, W * H, 64 * 64, 4_096);
    let mut node = Node::new(Settings::default(), memory.lend()).unwrap();
    let ids = |r: &Report| r.palette.iter().map(|s| s.id).collect::<Vec<_>>();
    let first = ids(step(&mut node, &scene(0, 0), 0));
    for i in 1..30 {
        let report = step(&mut node, &scene(i, i as usize), 0);
        assert!(report.warm);
        let kept = ids(report).iter().filter(|id| first.contains(id)).count();
        assert!(kept + 1 >= first.len(), "frame {i}: {:?} of {first:?}", ids(report));
    }
    let night: Vec<u8> = scene(0, 0).iter().map(|c| 255 - c).collect();
    let cut = step(&mut node, &night, 0);
    assert!(!cut.warm, "a scene cut starts cold");
    assert!(ids(cut).iter().any(|id| !first.contains(id)), "and brings new colours");
}

#[test]
fn cold_frames_do_not_know_of_one_another() {
    let mut memory = Memory::new(HistogramBits::Five, W * H, 64 * 64, 4_096);
    let mut node = Node::new(Settings { cold: true, ..Settings::default() }, memory.lend()).unwrap();
    let alone = step(&mut node, &scene(3, 3), 0).clone();
    step(&mut node, &scene(9, 40), 0);
    let again = step(&mut node, &scene(3, 3), 0);
    let without_ids = |r: &Report| r.palette.iter().map(|s| (s.rgb_q6, s.pixels)).collect::<Vec<_>>();
    assert_eq!(without_ids(&alone), without_ids(again));
    assert!(!again.warm);
}

#[test]
fn degenerate_frames_have_their_plain_answers() {
    let mut memory = Memory::new(HistogramBits::Four, 64 * 64, 64 * 64, 4_096);
    let mut node = Node::new(Settings { coreset_size: 1, ..Settings::default() }, memory.lend()).unwrap();
    let one = Frame::rgb(1, 1, &[255, 255, 255]).unwrap();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
    let report = node.step(&one, &mut || 0, &mut rng).unwrap();
    assert_eq!((report.palette.len(), report.palette[0].rgb_q6, report.sse_q12), (1, [255 * 64; 3], 0));
    assert_eq!(report.silhouette_ppm, None);
    let mut noise = vec![0; 64 * 64 * 3];
    noise.iter_mut().for_each(|b| *b = (rng.next_u32() >> 24) as u8);
    let frame = Frame::rgb(64, 64, &noise).unwrap();
    node.set(Settings { coreset_size: 4_096, lambda_q6: 1, w_open: Some(1), ..Settings::default() }).unwrap();
    let report = node.step(&frame, &mut || 0, &mut rng).unwrap();
    assert_eq!((report.palette.len(), report.saturated), (255, true));
    let mut buf = [0; REPORT_BYTES_MAX];
    assert!(wire::encode(report, &mut buf).is_ok(), "the fattest report fits");
}

#[test]
fn a_report_of_64_clusters_fits_768_bytes() {
    let mut memory = Memory::new(HistogramBits::Five, W * H, 64 * 64, 4_096);
    let mut node = Node::new(Settings::default(), memory.lend()).unwrap();
    let mut report = step(&mut node, &scene(1, 0), 1).clone();
    let swatch = wire::Swatch { id: 16_383, rgb_q6: [16_320; 3], pixels: 1 << 20 };
    report.palette = std::iter::repeat_n(swatch, 64).collect();
    let mut buf = [0; 768];
    assert!(wire::encode(&report, &mut buf).is_ok());
}

#[test]
fn settings_and_frames_that_do_not_fit_are_refused_by_name() {
    let mut memory = Memory::new(HistogramBits::Five, 100, 64 * 64, 4_096);
    let refused = |s: Settings, m: &mut Memory| Node::new(s, m.lend()).err();
    let ok = Settings::default();
    assert_eq!(refused(Settings { lambda_q6: 0, ..ok }, &mut memory), Some(SettingsError::Lambda));
    assert_eq!(refused(Settings { lambda_q6: 443 * 64, ..ok }, &mut memory), Some(SettingsError::Lambda));
    assert_eq!(refused(Settings { coreset_size: 0, ..ok }, &mut memory), Some(SettingsError::CoresetSize));
    assert_eq!(refused(Settings { coreset_size: 78_141, ..ok }, &mut memory), Some(SettingsError::Memory));
    assert_eq!(refused(Settings { w_open: Some(0), ..ok }, &mut memory), Some(SettingsError::WOpen));
    let mut node = Node::new(ok, memory.lend()).unwrap();
    let frame = Frame::rgb(101, 1, &[0; 303]).unwrap();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
    assert_eq!(node.step(&frame, &mut || 0, &mut rng).err(), Some(StepError::FrameTooLarge));
}

#[test]
fn iterations_are_those_of_dc_dp_means_and_sweeps_those_of_the_refinement() {
    let counts = |refine| {
        let mut memory = Memory::new(HistogramBits::Five, W * H, 64 * 64, 4_096);
        let mut node = Node::new(Settings { refine, ..Settings::default() }, memory.lend()).unwrap();
        let cold = step(&mut node, &scene(1, 0), 1).clone();
        let warm = step(&mut node, &scene(2, 0), 1).clone();
        [(cold.iterations, cold.sweeps), (warm.iterations, warm.sweeps)]
    };
    let of = [Refine::None, Refine::Lloyd, Refine::Cover, Refine::Mse].map(counts);
    assert!(of[0].iter().all(|&(iterations, sweeps)| iterations > 0 && sweeps == 0), "without refinement: {of:?}");
    // All refinements decide on the same points, so only their sweeps differ.
    assert!(of[1..].iter().all(|c| c[0].0 == of[1][0].0 && c[0].0 > 0), "{of:?}");
    assert!(of[1][0].1 < of[2][0].1 && of[1][0].1 <= of[3][0].1, "more swaps, more sweeps: {of:?}");
    assert!(of[1..].iter().all(|c| c[1].0 == 0 && c[1].1 > 0), "a warm frame runs no DC-DP-means: {of:?}");
}

#[test]
fn a_palette_alone_has_the_steps_colours_and_leaves_the_stream_as_it_was() {
    let mut memory = Memory::new(HistogramBits::Five, W * H, 64 * 64, 4_096);
    let mut node = Node::new(Settings::default(), memory.lend()).unwrap();
    let mut undisturbed = Memory::new(HistogramBits::Five, W * H, 64 * 64, 4_096);
    let mut reference = Node::new(Settings::default(), undisturbed.lend()).unwrap();
    for i in 0..20 {
        let rgb = scene(i, i as usize / 4);
        assert_eq!(step(&mut node, &rgb, 1), step(&mut reference, &rgb, 1), "frame {i}");
        let other = scene(100 + i, 7);
        let frame = Frame::rgb(W, H, &other).unwrap();
        let palette = node.palette(&frame, &mut Xoshiro256PlusPlus::seed_from_u64(1)).unwrap();
        assert!(node.labels().is_empty());
        let mut fresh = Memory::new(HistogramBits::Five, W * H, 64 * 64, 4_096);
        let mut cold = Node::new(Settings::default(), fresh.lend()).unwrap();
        let report = step(&mut cold, &other, 1);
        let colors = |c: &firmware::cluster::Cluster| c.position_q6;
        assert_eq!(
            palette.iter().map(colors).collect::<Vec<_>>(),
            report.palette.iter().map(|s| s.rgb_q6).collect::<Vec<_>>()
        );
        assert_eq!(palette.iter().map(|c| c.weight as usize).sum::<usize>(), W * H);
    }
}
