//! The time of each stage of a frame of 640x480: `cargo bench -p hueflow-firmware --features simd`.
//!
//! The picture is the photograph of the golden tests, drawn twice as large, on one thread. Nothing is judged: `tests/bare`
//! counts the instructions of all of it, without a clock.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on has failed")]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use firmware::cluster::cover::Cover;
use firmware::cluster::{self, Clusters, Params, lloyd, silhouette, swap};
use firmware::color::correction::{IDENTITY_Q32, ONE_Q32};
use firmware::color::{Correction, Lab, Q6};
use firmware::coreset::{self, Counted, Features, Merge, Point, SCOUT_POINTS_MAX};
use firmware::frame::polygon::{Size, Vertex, inside};
use firmware::frame::{Frame, Layout, RegionMap, Span, Stamp, Yuv};
use firmware::label::{self, FarPixels};
use firmware::limits::{CLUSTERS_MAX, NAMED_MAX, REGIONS_MAX};
use firmware::named::{BLOCK_BYTES, NAMES_BYTES_MIN, NamedColour, Names};
use firmware::node::{Capacity, HistogramBits, Node, Settings, Workspace};
use firmware::watch::Watch;
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use std::path::Path;

const WIDTH: usize = 640;
const HEIGHT: usize = 480;
const PIXELS: usize = WIDTH * HEIGHT;
const CELLS: usize = 1 << 15;
const CORESET_SIZE: usize = 1_000;
const LAMBDA_Q6: u32 = 50 * 64;

fn main() {
    divan::main();
}

/// The photograph, every pixel as often as it takes to fill the frame.
fn photo() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/china.png");
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut rgb).unwrap();
    let (w, h) = (info.width as usize, info.height as usize);
    let at = |i: usize| {
        let from = 3 * (i / WIDTH * h / HEIGHT * w + i % WIDTH * w / WIDTH);
        [rgb[from], rgb[from + 1], rgb[from + 2]]
    };
    (0..PIXELS).flat_map(at).collect()
}

/// What the stages before left.
struct Left {
    rgb: Vec<u8>,
    hist: Vec<Features>,
    cells: Vec<Point>,
    counted: Counted,
    parents: Vec<Point>,
    scout: Vec<Point>,
    points: Vec<Point>,
    clusters: Clusters,
}

impl Left {
    fn new() -> Left {
        let rgb = photo();
        let (mut hist, mut cells) = (vec![Features::ZERO; CELLS], vec![Point::default(); CELLS]);
        let counted = coreset::count(&Frame::rgb(WIDTH, HEIGHT, &rgb).unwrap(), &mut hist, &mut cells, &mut []);
        cells.truncate(counted.cells);
        let (mut parents, mut merges) = (vec![Point::default(); CELLS / 8], vec![Merge::default(); CELLS / 8]);
        let n = coreset::parents(&cells, &mut parents);
        parents.truncate(n);
        let mut points = vec![Point::default(); cells.len()];
        let drawn = coreset::octree(&cells, &parents, counted.squares, CORESET_SIZE, &mut points, &mut merges);
        points.truncate(drawn.points);
        let mut scout = parents.clone();
        let n = coreset::collapse(&mut scout, &mut merges, parents.len(), SCOUT_POINTS_MAX);
        scout.truncate(n);
        let mut clusters = Clusters::new();
        cluster::run(&scout, PARAMS, &mut clusters, &mut vec![0; scout.len()]);
        Left { rgb, hist, cells, counted, parents, scout, points, clusters }
    }

    fn frame(&self) -> Frame<'_> {
        Frame::rgb(WIDTH, HEIGHT, &self.rgb).unwrap()
    }
}

const PARAMS: Params = Params {
    lambda_q6: LAMBDA_Q6,
    w_open: PIXELS as u32 / 5_000,
    iterations_max: 1_000,
    clusters_max: 255,
    space: firmware::color::Space::Rgb,
};

#[divan::bench(args = [Layout::Yuyv, Layout::Nv12, Layout::I420, Layout::Bgr24])]
fn a0_rows_to_rgb(bencher: Bencher<'_, '_>, layout: Layout) {
    let data: Vec<u8> = (0..3 * PIXELS).map(|i| (i * 7_919 % 251) as u8).collect();
    let frame = Frame::new(layout, Yuv::Bt601, WIDTH, HEIGHT, 0, &data, Stamp::default()).unwrap();
    let mut row = vec![0; 3 * WIDTH];
    bencher.counter(ItemsCount::new(PIXELS)).bench_local(|| {
        for y in 0..HEIGHT {
            black_box(frame.row(y, &mut row));
        }
    });
}

#[divan::bench]
fn a1_histogram(bencher: Bencher<'_, '_>) {
    let mut left = Left::new();
    let (frame, mut cells) = (Frame::rgb(WIDTH, HEIGHT, &left.rgb).unwrap(), vec![Point::default(); CELLS]);
    bencher
        .counter(ItemsCount::new(PIXELS))
        .bench_local(|| coreset::count(&frame, &mut left.hist, &mut cells, &mut []));
}

#[divan::bench]
fn a2_octree(bencher: Bencher<'_, '_>) {
    let left = Left::new();
    let (mut parents, mut merges) = (vec![Point::default(); CELLS / 8], vec![Merge::default(); CELLS / 8]);
    let mut points = vec![Point::default(); left.cells.len()];
    bencher.counter(ItemsCount::new(left.cells.len())).bench_local(|| {
        let n = coreset::parents(&left.cells, &mut parents);
        coreset::octree(&left.cells, &parents[..n], left.counted.squares, CORESET_SIZE, &mut points, &mut merges)
    });
}

#[divan::bench]
fn a3_scout(bencher: Bencher<'_, '_>) {
    let left = Left::new();
    let mut merges = vec![Merge::default(); CELLS / 8];
    bencher.counter(ItemsCount::new(left.parents.len())).with_inputs(|| left.parents.clone()).bench_local_refs(
        |scout| {
            let n = scout.len();
            coreset::collapse(scout, &mut merges, n, SCOUT_POINTS_MAX)
        },
    );
}

#[divan::bench]
fn b1_dc_dp_means(bencher: Bencher<'_, '_>) {
    let left = Left::new();
    let mut assign = vec![0; left.scout.len()];
    bencher.counter(ItemsCount::new(left.scout.len())).bench_local(|| {
        let mut clusters = Clusters::new();
        cluster::run(&left.scout, PARAMS, &mut clusters, &mut assign)
    });
}

#[divan::bench]
fn b2_swaps(bencher: Bencher<'_, '_>) {
    let left = Left::new();
    let mut assign = vec![0; left.points.len()];
    bencher
        .with_inputs(|| left.clusters.clone())
        .bench_local_refs(|clusters| swap::swap(&left.points, clusters, &mut assign, swap::TRIES_MAX, 0, |_| 0));
}

#[divan::bench]
fn b3_lloyd_on_all_cells(bencher: Bencher<'_, '_>) {
    let left = Left::new();
    let mut assign = vec![0; left.cells.len()];
    bencher
        .counter(ItemsCount::new(left.cells.len()))
        .with_inputs(|| left.clusters.clone())
        .bench_local_refs(|clusters| lloyd::lloyd(&left.cells, left.counted.squares, clusters, &mut assign, 6));
}

#[divan::bench]
fn b4_cover(bencher: Bencher<'_, '_>) {
    let left = Left::new();
    let cover = Cover::new(PARAMS, 4 * 64);
    bencher
        .counter(ItemsCount::new(left.cells.len()))
        .with_inputs(|| left.clusters.clone())
        .bench_local_refs(|clusters| cover.open_missed(&left.cells, clusters));
}

#[divan::bench(args = [4, 16, 64, 255])]
fn c_labels(bencher: Bencher<'_, '_>, clusters: usize) {
    let left = Left::new();
    let spread = left.cells.iter().step_by(left.cells.len() / clusters);
    let centroids: Vec<Q6> = spread.take(clusters).map(|p| p.position_q6).collect();
    let (frame, mut labels) = (left.frame(), vec![0; PIXELS]);
    let mut hist = vec![Features::ZERO; CELLS];
    bencher.counter(ItemsCount::new(PIXELS)).bench_local(|| {
        let mut far = FarPixels::new(&mut hist);
        let found = label::label(&frame, &centroids, LAMBDA_Q6, &mut [], &mut labels, &mut far);
        far.clear();
        found
    });
}

#[divan::bench]
fn d_silhouette_estimate(bencher: Bencher<'_, '_>) {
    let left = Left::new();
    let mut assign = vec![0; left.points.len()];
    cluster::assign(&left.points, &left.clusters, &mut assign);
    bencher.bench_local(|| silhouette::estimate_ppm(&left.points, &assign, left.clusters.len(), 40_000));
}

/// Sixteen triangles that overlap, each about an eighth of the picture.
fn regions() -> (Vec<u32>, Vec<Span>) {
    let (mut ends, mut spans) = (Vec::new(), Vec::new());
    for n in 0..REGIONS_MAX as u32 {
        let (left, top) = (n % 4 * 16_384, n / 4 * 16_384);
        let at = |x: u32, y: u32| Vertex { x_q16: (left + x).min(65_536), y_q16: (top + y).min(65_536) };
        let polygon = [at(0, 0), at(32_768, 8_000), at(8_000, 32_768)];
        for y in 0..HEIGHT {
            spans.extend(inside(&[&polygon], Size { width: WIDTH, height: HEIGHT }, y));
            ends.push(spans.len() as u32);
        }
    }
    (ends, spans)
}

/// Sixteen colours of the photograph, with a tolerance of 8.
fn colours(rgb: &[u8]) -> Vec<NamedColour> {
    let pixels = rgb.as_chunks::<3>().0.iter().step_by(PIXELS / NAMED_MAX + 77);
    pixels.map(|&rgb| NamedColour { lab: Lab::of_rgb(rgb), tolerance_q6: 8 * 64 }).collect()
}

/// A table of sixteen colours: once in a run.
#[divan::bench]
fn f_names(bencher: Bencher<'_, '_>) {
    let colours = colours(&photo());
    let mut memory = vec![0; NAMES_BYTES_MIN];
    bencher.bench_local(|| Names::new(&colours, &mut memory).colours().len());
}

/// A whole frame; cold, or warm as in a video that stands still; with sixteen regions and colours; with a correction.
#[divan::bench(args = ["cold", "warm", "warm, regions", "warm, gains", "warm, matrix"])]
fn e_frame(bencher: Bencher<'_, '_>, start: &str) {
    let left = Left::new();
    let capacity =
        Capacity { pixels: PIXELS, width_px: WIDTH, coreset_size: CORESET_SIZE as u32, bits: HistogramBits::Five };
    let sizes = capacity.sizes();
    let (mut features, mut points) = (vec![Features::ZERO; sizes.features], vec![Point::ZERO; sizes.points]);
    let (mut merges, mut bytes) = (vec![Merge::ZERO; sizes.merges], vec![0; sizes.bytes]);
    let workspace = Workspace::in_slices(&capacity, &mut features, &mut points, &mut merges, &mut bytes).unwrap();
    let settings = Settings { cold: start == "cold", silhouette: false, ..Settings::default() };
    let (mut node, mut frame) = (Node::new(settings, workspace).unwrap(), left.frame());
    let (ends, spans) = regions();
    let mut memory = vec![0; NAMES_BYTES_MIN + 4_096 * BLOCK_BYTES];
    let mut labels = [[0; CLUSTERS_MAX]; REGIONS_MAX];
    let mut correction = Box::new(Correction::ZERO);
    if start.ends_with("gains") || start.ends_with("matrix") {
        // A light that is a tenth weaker in blue; with a matrix, some of it counts as green.
        let mut matrix_q32 = IDENTITY_Q32;
        matrix_q32[2][2] = ONE_Q32 / 9 * 10;
        matrix_q32[2][1] = if start.ends_with("matrix") { -ONE_Q32 / 32 } else { 0 };
        correction.set(&matrix_q32);
        frame = frame.with_correction(Some(&correction), None);
    }
    if start.ends_with("regions") {
        let map = RegionMap::new(WIDTH, HEIGHT, &ends, &spans).unwrap();
        frame = frame.with_regions(map).unwrap();
        node.watch(Watch::new(Names::new(&colours(&left.rgb), &mut memory), &mut labels));
    }
    let (mut rng, mut clock) = (Xoshiro256PlusPlus::seed_from_u64(1), || 0);
    node.step(&frame, &mut clock, &mut rng).unwrap();
    bencher.counter(ItemsCount::new(PIXELS)).bench_local(|| node.step(&frame, &mut clock, &mut rng).is_ok());
}
