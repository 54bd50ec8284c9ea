//! Calibration: palettes under changed light against those of the scene as it was, with and without a reference.
//!
//! Light is changed in double precision: a change of the illuminant by Bradford's adaptation in CIE XYZ, an exposure in linear light,
//! then cut off and rounded to 8 bits. Scenes are the stills of the golden data and drawn ones, each with a grey card or a chart in
//! a corner. More stills are used where they are. Palettes are those of a stream in which light changes over some frames; their entries
//! are matched by id.
#![allow(clippy::unwrap_used)]

#[path = "common/memory.rs"]
mod memory;
#[path = "common/colour_oracle.rs"]
mod oracle;

use firmware::color::Lab;
use firmware::frame::{Frame, RegionMap, Span};
use firmware::node::{HistogramBits, Node, Settings};
use firmware::reference::{Correct, Fault, Outcome, Reference};
use firmware::report::Swatch;
use memory::Memory;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};
use std::path::{Path, PathBuf};

/// A card or the patch of a chart: so many pixels wide and high.
const PATCH_PX: usize = 10;
/// Frames in which light changes.
const CHANGE_FRAMES: u32 = 8;
/// The middle grey of photography: L* 50.
const GREY: [u8; 3] = [119; 3];
/// Twelve patches: greys, and colours from all sides.
const CHART: [[u8; 3]; 12] = [
    [52, 52, 52],
    [85, 85, 85],
    [122, 122, 121],
    [160, 160, 160],
    [115, 82, 68],
    [98, 122, 157],
    [175, 54, 60],
    [70, 148, 73],
    [56, 61, 150],
    [200, 160, 40],
    [187, 86, 149],
    [30, 133, 161],
];

/// A picture with patches in its first rows.
struct Scene {
    name: String,
    width: usize,
    rgb: Vec<[u8; 3]>,
}

impl Scene {
    fn read(path: &Path) -> Scene {
        let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut rgb).unwrap();
        assert_eq!(info.color_type, png::ColorType::Rgb);
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Scene { name, width: info.width as usize, rgb: rgb.as_chunks::<3>().0.to_vec() }
    }

    /// Blocks of colours, each with shading and noise.
    fn drawn(seed: u64) -> Scene {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (width, height) = (160, 120);
        let colours: Vec<[u8; 3]> = (0..12).map(|_| [(); 3].map(|()| 20 + (rng.next_u32() % 200) as u8)).collect();
        let pixel = |i: usize| {
            let (x, y) = (i % width, i / width);
            let shade = (x % 40) as i32 / 4 - 5;
            colours[x / 40 + 4 * (y / 40)].map(|v| (i32::from(v) + shade + (rng.next_u32() % 9) as i32 - 4) as u8)
        };
        Scene { name: format!("drawn {seed}"), width, rgb: (0..width * height).map(pixel).collect() }
    }

    fn with_patches(mut self, patches: &[[u8; 3]]) -> Scene {
        for (n, &colour) in patches.iter().enumerate() {
            for y in 0..PATCH_PX {
                self.rgb[y * self.width + n * PATCH_PX..][..PATCH_PX].fill(colour);
            }
        }
        self
    }

    fn height(&self) -> usize {
        self.rgb.len() / self.width
    }

    fn under(&self, light: &Light) -> Scene {
        Scene { name: self.name.clone(), width: self.width, rgb: self.rgb.iter().map(|&px| light.on(px)).collect() }
    }
}

/// A change of light: a matrix on linear light.
struct Light([[f64; 3]; 3]);

fn linear(level: u8) -> f64 {
    let c = f64::from(level) / 255.0;
    if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
}

const XYZ: [[f64; 3]; 3] = [
    [0.412_456_4, 0.357_576_1, 0.180_437_5],
    [0.212_672_9, 0.715_152_2, 0.072_175],
    [0.019_333_9, 0.119_192, 0.950_304_1],
];
const BRADFORD: [[f64; 3]; 3] = [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]];

fn times(a: &[[f64; 3]; 3], b: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    core::array::from_fn(|i| core::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}

fn on(m: &[[f64; 3]; 3], v: [f64; 3]) -> [f64; 3] {
    m.map(|row| row.iter().zip(v).map(|(m, v)| m * v).sum())
}

fn inverse(m: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    let minor = |i: usize, j: usize| {
        let at = |di: usize, dj: usize| m[(i + di) % 3][(j + dj) % 3];
        at(1, 1) * at(2, 2) - at(1, 2) * at(2, 1)
    };
    let det: f64 = (0..3).map(|j| m[0][j] * minor(0, j)).sum();
    core::array::from_fn(|i| core::array::from_fn(|j| minor(j, i) / det))
}

/// The white of daylight, or below 4,000 K of a black body, at a temperature (Kang et al., 2002), with a luminance of 1.
fn white(kelvin: f64) -> [f64; 3] {
    let t = 1_000.0 / kelvin;
    let x = if kelvin <= 4_000.0 {
        -0.266_123_9 * t.powi(3) - 0.234_358_9 * t.powi(2) + 0.877_695_6 * t + 0.179_91
    } else {
        -3.025_846_9 * t.powi(3) + 2.107_037_9 * t.powi(2) + 0.222_634_7 * t + 0.240_39
    };
    let y = if kelvin <= 2_222.0 {
        -1.106_381_4 * x.powi(3) - 1.348_110_2 * x.powi(2) + 2.185_558_32 * x - 0.202_196_83
    } else if kelvin <= 4_000.0 {
        -0.954_947_6 * x.powi(3) - 1.374_185_93 * x.powi(2) + 2.091_370_15 * x - 0.167_488_67
    } else {
        3.081_758 * x.powi(3) - 5.873_386_7 * x.powi(2) + 3.751_129_97 * x - 0.370_014_83
    };
    [x / y, 1.0, (1.0 - x - y) / y]
}

impl Light {
    /// From 6,500 K to another temperature, and so many stops brighter.
    fn new(kelvin: f64, stops: f64) -> Light {
        let (from, to) = (on(&BRADFORD, white(6_500.0)), on(&BRADFORD, white(kelvin)));
        let mut scaled = BRADFORD;
        (0..3).for_each(|i| scaled[i] = scaled[i].map(|v| v * to[i] / from[i] * 2f64.powf(stops)));
        let adapted = times(&inverse(&BRADFORD), &scaled);
        Light(times(&inverse(&XYZ), &times(&adapted, &XYZ)))
    }

    /// Each channel by itself, as gains undo it.
    fn gains(gains: [f64; 3]) -> Light {
        Light(core::array::from_fn(|i| core::array::from_fn(|j| if i == j { gains[i] } else { 0.0 })))
    }

    fn on(&self, rgb: [u8; 3]) -> [u8; 3] {
        on(&self.0, rgb.map(linear)).map(|v| {
            let v = v.clamp(0.0, 1.0);
            (255.0 * if v <= 0.003_130_8 { v * 12.92 } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 }).round() as u8
        })
    }
}

/// The places of patches in a picture.
struct Places {
    width: usize,
    height: usize,
    ends: Vec<u32>,
    spans: Vec<Span>,
}

impl Places {
    fn of(scene: &Scene, patches: usize) -> Places {
        let (width, height) = (scene.width, scene.height());
        let span = |n: usize| Span { start: (n * PATCH_PX) as u16, end: ((n + 1) * PATCH_PX) as u16 };
        let end = |i: usize| (i / height * PATCH_PX + (i % height + 1).min(PATCH_PX)) as u32;
        let spans = (0..patches).flat_map(|n| [span(n); PATCH_PX]).collect();
        Places { width, height, ends: (0..patches * height).map(end).collect(), spans }
    }

    fn map(&self) -> RegionMap<'_> {
        RegionMap::new(self.width, self.height, &self.ends, &self.spans).unwrap()
    }
}

/// A palette as ids and colours in CIELAB, and the entry of each pixel.
struct Seen {
    palette: Vec<(u32, [f64; 3])>,
    labels: Vec<u8>,
    outcome: Outcome,
    reference_de00: Option<f64>,
}

/// Frames of one stream, seen with a reference that follows at once; results are those of the first and of the last.
fn stream(frames: &[Scene], patches: &[[u8; 3]], correct: Correct) -> [Seen; 2] {
    let places = Places::of(&frames[0], patches.len());
    let (width, height) = (places.width, places.height);
    let colours: Vec<Lab> = patches.iter().map(|&rgb| Lab::of_rgb(rgb)).collect();
    let mut reference = Reference::new(correct, &colours, 0);
    let settings = Settings::default();
    let mut memory = Memory::new(HistogramBits::Five, width * height, width, settings.coreset_size);
    let mut node = Node::new(settings, memory.lend()).unwrap();
    let mut see = |scene: &Scene| {
        let bytes: Vec<u8> = scene.rgb.iter().copied().flatten().collect();
        let frame = Frame::rgb(width, height, &bytes).unwrap();
        let outcome = reference.see(&frame, places.map(), &mut []);
        let frame = reference.corrected(frame);
        let report = node.step(&frame, &mut || 0, &mut Xoshiro256PlusPlus::seed_from_u64(1)).unwrap();
        let reference_de00 = report.colorimetry.reference_de00_q6.map(|v| f64::from(v) / 64.0);
        let entry = |s: &Swatch| (s.id, oracle::lab(s.rgb_q6.map(|v| f64::from(v) / 64.0)));
        let palette = report.palette.iter().map(entry).collect();
        Seen { palette, labels: node.labels().to_vec(), outcome, reference_de00 }
    };
    let first = see(&frames[0]);
    let last = frames[1..].iter().map(see).last().unwrap();
    [first, last]
}

/// The drift of a palette: the mean Delta E 2000 of its entries, by their pixels, to those of the same id. An entry that is gone is
/// compared with the one that most of its pixels have now.
fn drift([before, after]: &[Seen; 2]) -> f64 {
    let mut pixels = vec![vec![0u32; after.palette.len()]; before.palette.len()];
    before.labels.iter().zip(&after.labels).for_each(|(&a, &b)| pixels[usize::from(a)][usize::from(b)] += 1);
    let apart = |((id, lab), counts): (&(u32, [f64; 3]), &Vec<u32>)| {
        let most = (0..counts.len()).max_by_key(|&n| counts[n]).unwrap();
        let same = after.palette.iter().find(|(other, _)| other == id).unwrap_or(&after.palette[most]);
        oracle::de00(*lab, same.1) * f64::from(counts.iter().sum::<u32>())
    };
    before.palette.iter().zip(&pixels).map(apart).sum::<f64>() / before.labels.len() as f64
}

/// A scene while light changes to another, and a while after.
fn frames(scene: &Scene, kelvin: f64, stops: f64) -> Vec<Scene> {
    let part = |n: u32| (f64::from(n) / f64::from(CHANGE_FRAMES)).min(1.0);
    let light = |part: f64| Light::new(6_500.0 + (kelvin - 6_500.0) * part, stops * part);
    (0..=CHANGE_FRAMES + 4).map(|n| scene.under(&light(part(n)))).collect()
}

/// Of the pixels: the mean Delta E 2000 that is left if a change of light is undone by the gains of a grey card in double precision,
/// and the share that a channel of 255 leaves without a colour.
fn floor(scene: &Scene, light: &Light) -> (f64, f64) {
    let (grey, seen) = (GREY.map(linear), light.on(GREY).map(linear));
    let back = Light::gains(core::array::from_fn(|i| grey[i] / seen[i]));
    let lab = |px: [u8; 3]| oracle::lab(px.map(f64::from));
    let changed = || scene.rgb.iter().map(|&px| (px, light.on(px)));
    let left: f64 = changed().map(|(px, seen)| oracle::de00(lab(px), lab(back.on(seen)))).sum();
    let clipped = changed().filter(|(px, seen)| px.iter().zip(seen).any(|(a, b)| *a < 255 && *b == 255)).count();
    (left / scene.rgb.len() as f64, clipped as f64 / scene.rgb.len() as f64)
}

fn stills() -> Vec<Scene> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let mut paths: Vec<PathBuf> = ["astronaut.png", "china.png"].iter().map(|name| golden.join(name)).collect();
    let open = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/stills");
    if let Ok(dir) = std::fs::read_dir(open) {
        paths
            .extend(dir.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "png")));
    }
    paths.sort_by_key(|path| path.file_name().map(|name| name.to_owned()));
    paths.dedup_by_key(|path| path.file_name().map(|name| name.to_owned()));
    paths.iter().map(|path| Scene::read(path)).collect()
}

/// A change of light of a scene with a grey card: the drift of its palette without a correction and with gains, and [`floor`].
struct Change {
    without: f64,
    with: f64,
    left: f64,
}

fn change(scene: &Scene, kelvin: f64, stops: f64) -> Change {
    let frames = frames(scene, kelvin, stops);
    let [off, gain] = [Correct::Off, Correct::Gain].map(|correct| stream(&frames, &[GREY], correct));
    assert_eq!((off[1].outcome, gain[1].outcome), (Outcome::Done(Correct::Off), Outcome::Done(Correct::Gain)));
    assert!(gain[1].reference_de00.unwrap() < 0.1 && off[1].reference_de00.unwrap() > 2.0);
    let (left, clipped) = floor(scene, &Light::new(kelvin, stops));
    let (without, with) = (drift(&off), drift(&gain));
    println!(
        "{:12} {kelvin:5.0} K {stops:+.1} stops: drift {without:5.2} without, {with:.2} with gain; pixels {left:.2}, {:.0} % clipped",
        scene.name,
        clipped * 100.0
    );
    Change { without, with, left }
}

fn mean(changes: &[Change], pick: fn(&Change) -> f64) -> f64 {
    changes.iter().map(pick).sum::<f64>() / changes.len() as f64
}

fn with_cards(scenes: Vec<Scene>) -> Vec<Scene> {
    scenes.into_iter().map(|scene| scene.with_patches(&[GREY])).collect()
}

#[test]
fn palettes_of_stills_stay_under_1500_kelvin_and_a_stop_less_with_a_grey_card_and_drift_without() {
    let scenes = with_cards(stills());
    for kelvin in [5_000.0, 8_000.0] {
        let changes: Vec<Change> = scenes.iter().map(|scene| change(scene, kelvin, -1.0)).collect();
        println!("mean: {:.2} without, {:.2} with gain", mean(&changes, |c| c.without), mean(&changes, |c| c.with));
        assert!(mean(&changes, |c| c.without) > 8.0 && changes.iter().all(|c| c.with <= 2.0));
    }
    // Each change by itself. What 8,000 K clips is lost.
    for (kelvin, stops) in [(5_000.0, 0.0), (8_000.0, 0.0), (6_500.0, -1.0)] {
        let changes: Vec<Change> = scenes.iter().map(|scene| change(scene, kelvin, stops)).collect();
        println!("mean: {:.2} without, {:.2} with gain", mean(&changes, |c| c.without), mean(&changes, |c| c.with));
        assert!(mean(&changes, |c| c.with) <= 2.0 && changes.iter().all(|c| c.with <= c.left + 2.0));
    }
}

#[test]
fn what_a_stop_more_clips_is_lost_and_little_else() {
    let changes: Vec<Change> = with_cards(stills()).iter().map(|scene| change(scene, 5_000.0, 1.0)).collect();
    println!("mean: {:.2} without, {:.2} with gain", mean(&changes, |c| c.without), mean(&changes, |c| c.with));
    assert!(changes.iter().all(|c| c.with <= c.left + 2.5));
    assert!(mean(&changes, |c| c.with) <= mean(&changes, |c| c.left) + 1.5);
}

#[test]
fn drawn_scenes_under_any_light_drift_little_more_than_gains_leave_of_their_pixels() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(15);
    let scenes = with_cards((0..16).map(Scene::drawn).collect());
    let changes: Vec<Change> = scenes
        .iter()
        .map(|scene| {
            let (kelvin, tenths) = (2_500 + rng.next_u32() % 7_500, rng.next_u32() % 11);
            // Below 3,500 K a stop less leaves less blue than three stops of gain bring back.
            let stops = if kelvin < 3_500 { 0.0 } else { f64::from(tenths) / -10.0 };
            change(scene, kelvin.into(), stops)
        })
        .collect();
    println!("mean: {:.2} without, {:.2} with gain", mean(&changes, |c| c.without), mean(&changes, |c| c.with));
    assert!(changes.iter().all(|c| c.with <= c.left + 3.0));
    assert!(mean(&changes, |c| c.with) <= (mean(&changes, |c| c.left) + 1.0).min(mean(&changes, |c| c.without) / 2.0));
}

#[test]
fn a_chart_brings_back_by_a_matrix_what_a_card_leaves_of_a_change_of_illuminant() {
    let (mut by_gain, mut by_matrix) = (Vec::new(), Vec::new());
    for scene in stills().into_iter().chain((0..4).map(Scene::drawn)) {
        let scene = scene.with_patches(&CHART);
        let frames = frames(&scene, 5_000.0, -0.5);
        let [gain, matrix] = [Correct::Gain, Correct::Matrix].map(|correct| stream(&frames, &CHART, correct));
        assert_eq!(
            (gain[1].outcome, matrix[1].outcome),
            (Outcome::Done(Correct::Gain), Outcome::Done(Correct::Matrix))
        );
        let (with_gain, with_matrix) = (drift(&gain), drift(&matrix));
        println!("{:12} chart: drift {with_gain:.2} with gain, {with_matrix:.2} with a matrix", scene.name);
        assert!(matrix[1].reference_de00.unwrap() < gain[1].reference_de00.unwrap());
        assert!(with_matrix <= 1.0);
        by_gain.push(with_gain);
        by_matrix.push(with_matrix);
    }
    assert!(by_matrix.iter().sum::<f64>() < 0.5 * by_gain.iter().sum::<f64>());
}

#[test]
fn a_chart_that_the_light_clips_switches_the_correction_off() {
    let scene = Scene::drawn(1).with_patches(&CHART);
    let [before, after] = stream(&frames(&scene, 6_500.0, 1.0), &CHART, Correct::Matrix);
    assert_eq!(before.outcome, Outcome::Done(Correct::Matrix));
    // The yellow patch.
    assert_eq!((after.outcome, after.reference_de00), (Outcome::Fault(Fault::Clipped, 9), None));
}
