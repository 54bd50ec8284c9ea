//! `--space cielab`: the fast path by cells against plain oracles over pixels, and promise 1 in this space.
//!
//! Labels, counts, `beyond_px`, `missed` and the largest distance must be those of every pixel converted by the integers, and
//! nearly those of double precision. The cost may differ by what pixels of a cell are apart from its mean.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/colour_oracle.rs"]
mod colour_oracle;
#[path = "common/memory.rs"]
mod memory;

use firmware::color::{Space, distance2_q12};
use firmware::frame::Frame;
use firmware::node::{HistogramBits, Node, Settings};
use firmware::report::{Method, Refine, Report};
use memory::Memory;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

const CIELAB: Settings = Settings {
    space: Space::Cielab,
    lambda_q6: Space::Cielab.default_lambda_q6(),
    coreset_size: 1_000,
    method: Method::Octree,
    cold: false,
    w_open: None,
    iterations_max: 1_000,
    clusters_max: 255,
    refine: Refine::Cover,
    seed: 0,
    silhouette: true,
};

/// The still of the golden tests, as width, height and RGB.
fn still(name: &str) -> (usize, usize, Vec<u8>) {
    let path = format!("{}/../tests/golden/{name}.png", env!("CARGO_MANIFEST_DIR"));
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut rgb).unwrap();
    assert_eq!(info.color_type, png::ColorType::Rgb);
    (info.width as usize, info.height as usize, rgb)
}

/// Noise around a few colours; `w_open` pixels of a rare one in a corner of the space.
fn noisy(seed: u64, width: usize, height: usize, range: u32) -> Vec<u8> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let colours: Vec<[u8; 3]> = (0..9).map(|_| [(); 3].map(|()| (rng.next_u32() >> 24) as u8)).collect();
    let pixel = |i: usize| {
        let colour = if i < width * height / 3_000 { [0, 0, 255] } else { colours[i * 7_919 % 9] };
        colour.map(|v| (u32::from(v) + rng.next_u32() % (range + 1)).saturating_sub(range / 2).min(255) as u8)
    };
    (0..width * height).flat_map(pixel).collect()
}

/// Totals that the report must have, by every pixel.
struct Plain {
    sse_q12: u64,
    max_distance2_q12: u32,
    beyond_px: u32,
    missed: u32,
    pixels: Vec<u32>,
}

/// Labels every pixel by itself, and compares the labels.
fn check_labels(rgb: &[u8], labels: &[u8], report: &Report) -> Plain {
    let points: Vec<_> = report.palette.iter().map(|s| Space::Cielab.of_q6(s.rgb_q6)).collect();
    let lambda2 = report.lambda_q6 * report.lambda_q6;
    let mut cells: BTreeMap<[u8; 3], u32> = BTreeMap::new();
    let mut plain = Plain { sse_q12: 0, max_distance2_q12: 0, beyond_px: 0, missed: 0, pixels: vec![0; points.len()] };
    for (px, &label) in rgb.as_chunks::<3>().0.iter().zip(labels) {
        let x = Space::Cielab.of_rgb(*px);
        let (distance2, nearest) = points.iter().zip(0u8..).map(|(&c, l)| (distance2_q12(x, c), l)).min().unwrap();
        assert_eq!(label, nearest, "{px:?}");
        plain.pixels[usize::from(label)] += 1;
        plain.sse_q12 += u64::from(distance2);
        plain.max_distance2_q12 = plain.max_distance2_q12.max(distance2);
        if distance2 > lambda2 {
            plain.beyond_px += 1;
            *cells.entry(px.map(|v| v >> 4)).or_default() += 1;
        }
    }
    plain.missed = cells.values().filter(|&&n| n >= report.w_open).count() as u32;
    plain
}

fn check(rgb: &[u8], labels: &[u8], report: &Report) {
    let plain = check_labels(rgb, labels, report);
    assert_eq!(report.palette.iter().map(|s| s.pixels).collect::<Vec<_>>(), plain.pixels);
    assert_eq!((report.beyond_px, report.missed), (Some(plain.beyond_px), Some(plain.missed)));
    assert_eq!(report.max_distance2_q12, plain.max_distance2_q12);
    let ratio = report.sse_q12 as f64 / plain.sse_q12.max(1) as f64;
    let per_pixel = plain.sse_q12 as f64 / 4096.0 / labels.len() as f64;
    println!("cost {ratio:.4} of that of every pixel, {per_pixel:.2} a pixel, {} clusters", report.palette.len());
    assert!((0.95..1.05).contains(&ratio), "{ratio}");
}

fn step<'n>(node: &'n mut Node<'_>, width: usize, rgb: &[u8]) -> &'n Report {
    let frame = Frame::rgb(width, rgb.len() / 3 / width, rgb).unwrap();
    node.step(&frame, &mut || 0, &mut Xoshiro256PlusPlus::seed_from_u64(1)).unwrap()
}

#[test]
fn labels_of_stills_are_those_of_every_pixel() {
    for name in ["astronaut", "china"] {
        let (width, height, rgb) = still(name);
        for bits in [HistogramBits::Five, HistogramBits::Four] {
            let mut memory = Memory::new(bits, width * height, width, 4_096);
            let mut node = Node::new(CIELAB, memory.lend()).unwrap();
            for lambda in [5, 9, 18, 40] {
                for method in Method::ALL {
                    let refine = if method == Method::Uniform { Refine::None } else { Refine::Cover };
                    node.set(Settings { lambda_q6: lambda * 64, method, refine, ..CIELAB }).unwrap();
                    node.forget();
                    let report = step(&mut node, width, &rgb).clone();
                    check(&rgb, node.labels(), &report);
                    assert_eq!((report.colorimetry.space, report.scatter_q12), (Space::Cielab, None));
                }
            }
        }
    }
}

#[test]
fn labels_of_noise_are_those_of_every_pixel_masked_rows_and_changes_of_space_included() {
    for (seed, range) in (0..24).zip([0, 3, 12, 40, 120, 255].into_iter().cycle()) {
        let (width, height) = (91 + seed as usize, 80);
        let rgb = noisy(seed, width, height, range);
        let mut memory = Memory::new(HistogramBits::Five, width * height, width, 4_096);
        let mut node = Node::new(Settings { lambda_q6: 64 * (4 + seed as u32), ..CIELAB }, memory.lend()).unwrap();
        let report = step(&mut node, width, &rgb).clone();
        check(&rgb, node.labels(), &report);
    }
}

/// A label for each colour that there is, by cells of a frame that has all of them, and by themselves.
#[test]
fn a_cell_that_is_taken_to_be_one_clusters_is() {
    // 4,096 columns of 4,096 colours each: all 2^24.
    const SIDE: usize = 4_096;
    let rgb: Vec<u8> = (0..1u32 << 24).flat_map(|i| [(i >> 16) as u8, (i >> 8) as u8, i as u8]).collect();
    for (bits, lambda) in [(HistogramBits::Five, 25), (HistogramBits::Five, 90), (HistogramBits::Four, 60)] {
        let mut memory = Memory::new(bits, SIDE * SIDE, SIDE, 4_096);
        let settings = Settings { refine: Refine::Lloyd, lambda_q6: lambda * 64, silhouette: false, ..CIELAB };
        let mut node = Node::new(settings, memory.lend()).unwrap();
        let report = step(&mut node, SIDE, &rgb).clone();
        check(&rgb, node.labels(), &report);
    }
}

/// The report's numbers against double precision: CIELAB by the formulas, every pixel to the nearest palette entry.
#[test]
fn double_precision_finds_the_same_but_for_pixels_between_two_clusters() {
    let (width, height, rgb) = still("astronaut");
    let mut memory = Memory::new(HistogramBits::Five, width * height, width, 4_096);
    let mut node = Node::new(CIELAB, memory.lend()).unwrap();
    let report = step(&mut node, width, &rgb).clone();
    let palette: Vec<[f64; 3]> =
        report.palette.iter().map(|s| colour_oracle::lab(s.rgb_q6.map(|v| f64::from(v) / 64.0))).collect();
    let (mut other, mut de00, mut beyond) = (0, 0.0, 0);
    for (px, &label) in rgb.as_chunks::<3>().0.iter().zip(node.labels()) {
        let x = colour_oracle::lab(px.map(f64::from));
        let distance = |c: &[f64; 3]| x.iter().zip(c).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        let own = distance(&palette[usize::from(label)]);
        let nearest = palette.iter().map(distance).fold(f64::INFINITY, f64::min);
        assert!(own <= nearest + 0.06, "{px:?}: {own}, not {nearest}");
        other += usize::from(own > nearest);
        beyond += usize::from(nearest > 18.0);
        de00 += colour_oracle::de00(x, palette[usize::from(label)]);
    }
    let pixels = (width * height) as f64;
    let (found, want) = (f64::from(report.colorimetry.de00_mean_q6.unwrap()) / 64.0, de00 / pixels);
    println!("{other} of {pixels} pixels have another label; mean Delta E 2000 {want:.3}, estimated {found:.3}");
    assert!((other as f64) < pixels / 500.0, "{other}");
    assert!((beyond as f64 - f64::from(report.beyond_px.unwrap())).abs() <= 1.0 + pixels / 10_000.0, "{beyond}");
    assert!((found - want).abs() < 0.06 * want, "{found}, not {want}");
}

#[test]
fn no_colour_is_missed_cold_or_warm_whatever_changes() {
    const W: usize = 160;
    const H: usize = 120;
    let mut memory = Memory::new(HistogramBits::Five, W * H, W, 4_096);
    let mut node = Node::new(CIELAB, memory.lend()).unwrap();
    for i in 0..120u64 {
        // Every 8th frame another scene; between, newcomers of just the support that a colour needs, of any colour.
        let mut rgb = noisy(i / 8, W, H, 20);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(i);
        let support = (W * H).div_ceil(5_000);
        for _ in 0..3 {
            let colour = [(); 3].map(|()| (rng.next_u32() >> 24) as u8);
            for _ in 0..support {
                let place = rng.next_u32() as usize % (W * H);
                rgb[3 * place..3 * place + 3].copy_from_slice(&colour);
            }
        }
        let report = step(&mut node, W, &rgb).clone();
        check(&rgb, node.labels(), &report);
        assert_eq!((report.missed, report.saturated), (Some(0), false), "frame {i}, warm: {}", report.warm);
    }
}

#[test]
fn a_stream_that_changes_its_space_starts_cold_and_keeps_the_ids() {
    let (width, height, rgb) = still("china");
    let mut memory = Memory::new(HistogramBits::Five, width * height, width, 4_096);
    let mut node = Node::new(Settings::default(), memory.lend()).unwrap();
    let in_rgb = step(&mut node, width, &rgb).clone();
    assert_eq!(in_rgb.colorimetry, Default::default());
    node.set(CIELAB).unwrap();
    let in_lab = step(&mut node, width, &rgb).clone();
    assert!(!in_lab.warm && in_lab.colorimetry.space == Space::Cielab);
    let kept = in_lab.palette.iter().filter(|s| in_rgb.palette.iter().any(|old| old.id == s.id)).count();
    assert!(2 * kept > in_lab.palette.len(), "{kept} of {}", in_lab.palette.len());
    // A scene that does not change keeps its colours to the bit.
    let colours = |r: &Report| r.palette.iter().map(|s| (s.id, s.rgb_q6)).collect::<Vec<_>>();
    let first = colours(step(&mut node, width, &rgb));
    (0..6).for_each(|_| assert_eq!(colours(step(&mut node, width, &rgb)), first));
    let palette: Vec<_> = in_lab.palette.iter().map(|s| s.rgb_q6).collect();
    node.start_from(&palette);
    let warm = step(&mut node, width, &rgb);
    assert!(warm.warm && warm.missed == Some(0));
    let alone = node.palette(&Frame::rgb(width, height, &rgb).unwrap(), &mut Xoshiro256PlusPlus::seed_from_u64(1));
    assert!(alone.unwrap().iter().all(|c| firmware::color::is_colour(&c.position_q6)));
}
