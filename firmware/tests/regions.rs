//! Regions and named colours: shares of frames against counting pixel by pixel, in double precision.
//!
//! Frames are drawn, or stills of the golden data; regions are random polygons, colours random or taken from the picture.
//! More stills are used where they are.
#![allow(clippy::unwrap_used)]

#[path = "common/memory.rs"]
mod memory;
#[path = "common/colour_oracle.rs"]
mod oracle;

use firmware::color::Lab;
use firmware::frame::polygon::{Size, Vertex, inside, outside};
use firmware::frame::{Frame, FrameError, RegionMap, Span, SpanMap};
use firmware::limits::{CLUSTERS_MAX, NAMED_MAX, REGIONS_MAX};
use firmware::named::{BLOCK_BYTES, NAMES_BYTES_MIN, NamedColour, Names};
use firmware::node::{HistogramBits, Node, Settings};
use firmware::report::Report;
use firmware::watch::Watch;
use memory::Memory;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Columns of a picture from a file at most.
const WIDTH_MAX_PX: usize = 300;

/// A picture in memory.
struct Picture {
    name: String,
    size: Size,
    rgb: Vec<u8>,
}

impl Picture {
    fn read(path: &Path) -> Picture {
        let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut rgb).unwrap();
        assert_eq!(info.color_type, png::ColorType::Rgb, "{}", path.display());
        let (width, height) = (info.width as usize, info.height as usize);
        // Of large pictures every nth pixel of every nth row: each colour is decided in double precision.
        let step = width.div_ceil(WIDTH_MAX_PX);
        let size = Size { width: width.div_ceil(step), height: height.div_ceil(step) };
        let kept = (0..height).step_by(step).flat_map(|y| (0..width).step_by(step).map(move |x| 3 * (y * width + x)));
        let rgb = kept.flat_map(|at| [rgb[at], rgb[at + 1], rgb[at + 2]]).collect();
        Picture { name: path.display().to_string(), size, rgb }
    }

    /// Blocks of colour on a slope, with noise.
    fn drawn(seed: u64) -> Picture {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let size = Size { width: 150, height: 110 };
        let blocks: Vec<[u8; 3]> = (0..9).map(|_| [0; 3].map(|_| (rng.next_u32() >> 24) as u8)).collect();
        let mut rgb = Vec::new();
        for i in 0..size.width * size.height {
            let (x, y) = (i % size.width, i / size.width);
            let base = if y / 30 % 2 == 0 { blocks[x / 17 % 9] } else { [(x + y) as u8; 3] };
            rgb.extend(base.map(|level| level.saturating_add((rng.next_u32() >> 28) as u8)));
        }
        Picture { name: format!("drawn from {seed}"), size, rgb }
    }

    fn pixel(&self, i: usize) -> [u8; 3] {
        [self.rgb[3 * i], self.rgb[3 * i + 1], self.rgb[3 * i + 2]]
    }

    fn frame(&self) -> Frame<'_> {
        Frame::rgb(self.size.width, self.size.height, &self.rgb).unwrap()
    }
}

fn pictures() -> Vec<Picture> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let mut files: Vec<PathBuf> = ["china.png", "astronaut.png"].map(|name| golden.join(name)).into();
    let more = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/stills");
    // A photograph with fine detail, and a frame of a drawn film.
    files.extend(["baboon.png", "bbb060.png"].map(|name| more.join(name)).into_iter().filter(|path| path.is_file()));
    files.iter().map(|path| Picture::read(path)).chain((0..3).map(Picture::drawn)).collect()
}

type Polygon = Vec<Vertex>;

fn polygons(rng: &mut impl Rng, n: usize) -> Vec<Polygon> {
    let mut vertex = || Vertex { x_q16: rng.next_u32() % 65_537, y_q16: rng.next_u32() % 65_537 };
    (0..n).map(|i| (0..3 + i % 6).map(|_| vertex()).collect()).collect()
}

#[derive(Default)]
struct Spans {
    ends: Vec<u32>,
    spans: Vec<Span>,
}

impl Spans {
    fn add(&mut self, row: &[Span]) {
        self.spans.extend_from_slice(row);
        self.ends.push(self.spans.len() as u32);
    }

    fn regions(polygons: &[Polygon], size: Size) -> Spans {
        let mut spans = Spans::default();
        polygons.iter().for_each(|p| (0..size.height).for_each(|y| spans.add(&inside(&[p.as_slice()], size, y))));
        spans
    }

    fn mask(polygon: &[Vertex], size: Size) -> Spans {
        let mut spans = Spans::default();
        (0..size.height).for_each(|y| spans.add(&outside(&[polygon], size, y)));
        spans
    }
}

/// Memory of a watch.
struct Room {
    names: Vec<u8>,
    labels: Vec<[u32; CLUSTERS_MAX]>,
}

impl Room {
    fn new(blocks: usize) -> Room {
        Room { names: vec![0; NAMES_BYTES_MIN + blocks * BLOCK_BYTES], labels: vec![[0; CLUSTERS_MAX]; REGIONS_MAX] }
    }

    fn watch(&mut self, colours: &[NamedColour]) -> Watch<'_> {
        Watch::new(Names::new(colours, &mut self.names), &mut self.labels)
    }
}

/// Named colours of a picture: some of its own, some random.
fn colours(rng: &mut impl Rng, picture: &Picture) -> Vec<NamedColour> {
    let colour = |n: usize| {
        let own = picture.pixel(rng.next_u32() as usize % (picture.size.width * picture.size.height));
        let rgb = if n % 3 == 2 { [0; 3].map(|_| (rng.next_u32() >> 24) as u8) } else { own };
        NamedColour { lab: Lab::of_rgb(rgb), tolerance_q6: (3 + rng.next_u32() % 16) as u16 * 64 }
    };
    (0..NAMED_MAX).map(colour).collect()
}

/// Which colour each pixel has, in double precision.
fn named(picture: &Picture, colours: &[NamedColour]) -> Vec<Option<usize>> {
    let labs: Vec<([f64; 3], f64)> = colours
        .iter()
        .map(|c| {
            let lab = [c.lab.l_q12, c.lab.a_q12, c.lab.b_q12].map(|v| f64::from(v) / 4_096.0);
            (lab, f64::from(c.tolerance_q6) / 64.0)
        })
        .collect();
    let decide = |rgb: [u8; 3]| {
        let lab = oracle::lab(rgb.map(f64::from));
        let near = labs.iter().enumerate().map(|(n, &(colour, tolerance))| (oracle::de00(colour, lab), tolerance, n));
        near.filter(|(de00, tolerance, _)| de00 <= tolerance).min_by(|a, b| a.0.total_cmp(&b.0)).map(|found| found.2)
    };
    each_pixel(picture, decide)
}

/// The result of `decide` for each pixel; it is called once for each colour.
fn each_pixel(picture: &Picture, decide: impl Fn([u8; 3]) -> Option<usize>) -> Vec<Option<usize>> {
    let mut known = HashMap::new();
    let pixels = (0..picture.size.width * picture.size.height).map(|i| picture.pixel(i));
    pixels.map(|rgb| *known.entry(rgb).or_insert_with(|| decide(rgb))).collect()
}

fn step(node: &mut Node<'_>, frame: &Frame<'_>) -> Report {
    node.step(frame, &mut || 0, &mut Xoshiro256PlusPlus::seed_from_u64(1)).unwrap().clone()
}

/// Compares what was found of every region with counting.
fn check(
    picture: &Picture,
    report: &Report,
    node: &Node<'_>,
    member: impl Fn(usize, usize) -> bool,
    named: &[Option<usize>],
) {
    let mut worst: f64 = 0.0;
    for (region, share) in report.regions.iter().enumerate() {
        let (mut pixels, mut own, mut labels) = (0u32, [0u32; NAMED_MAX], [0u32; CLUSTERS_MAX]);
        for i in (0..named.len()).filter(|&i| member(region, i)) {
            pixels += 1;
            labels[usize::from(node.labels()[i])] += 1;
            named[i].into_iter().for_each(|n| own[n] += 1);
        }
        assert_eq!((usize::from(share.region), share.pixels), (region, pixels), "{}", picture.name);
        assert_eq!(node.watched().unwrap().label_pixels(region), Some(&labels), "{}", picture.name);
        assert!(share.named.iter().map(|n| n.pixels).sum::<u32>() <= pixels);
        for (n, want) in own.into_iter().enumerate() {
            let found = share.named.iter().find(|s| usize::from(s.colour) == n).map_or(0, |s| s.pixels);
            worst = worst.max(100.0 * f64::from(found.abs_diff(want)) / f64::from(pixels.max(1)));
        }
    }
    println!("{}: {} regions, the farthest share is {worst:.4} points off", picture.name, report.regions.len());
    assert!(worst <= 0.5, "{}: {worst} points", picture.name);
}

#[test]
fn shares_of_sixteen_regions_and_colours_are_those_of_counting_in_double_precision() {
    for (seed, picture) in (0..).zip(pictures()) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (size, colours) = (picture.size, colours(&mut rng, &picture));
        let spans = Spans::regions(&polygons(&mut rng, REGIONS_MAX), size);
        let map = RegionMap::new(size.width, size.height, &spans.ends, &spans.spans).unwrap();
        let mut memory = Memory::new(HistogramBits::Five, size.width * size.height, size.width, 4_096);
        let mut room = Room::new(200);
        let mut node = Node::new(Settings::default(), memory.lend()).unwrap();
        node.watch(room.watch(&colours));
        let report = step(&mut node, &picture.frame().with_regions(map).unwrap());
        assert_eq!(report.regions.len(), REGIONS_MAX);
        assert!(report.regions.iter().map(|r| r.named.len()).sum::<usize>() > 16, "{}", picture.name);
        let member =
            |region, i| map.row(region, i / size.width).iter().any(|s: &Span| s.columns().contains(&(i % size.width)));
        check(&picture, &report, &node, member, &named(&picture, &colours));
        // The drift is that of the mean colour.
        let exact = each_pixel(&picture, |rgb| firmware::named::decide(&colours, Lab::of_rgb(rgb)));
        for (region, share) in report.regions.iter().enumerate() {
            let (mut sums, mut pixels) = ([[0f64; 3]; NAMED_MAX], [0u32; NAMED_MAX]);
            for i in (0..exact.len()).filter(|&i| member(region, i)) {
                let Some(n) = exact[i] else { continue };
                pixels[n] += 1;
                sums[n].iter_mut().zip(picture.pixel(i)).for_each(|(sum, level)| *sum += f64::from(level));
            }
            assert_eq!(share.named.len(), pixels.iter().filter(|&&n| n > 0).count());
            for own in &share.named {
                let n = usize::from(own.colour);
                assert_eq!(own.pixels, pixels[n]);
                let target =
                    [colours[n].lab.l_q12, colours[n].lab.a_q12, colours[n].lab.b_q12].map(|v| f64::from(v) / 4_096.0);
                let want = oracle::de00(oracle::lab(sums[n].map(|sum| sum / f64::from(pixels[n]))), target);
                assert!((f64::from(own.de00_q6) / 64.0 - want).abs() < 0.1, "{own:?}: {want}");
            }
        }
    }
}

#[test]
fn regions_of_many_short_spans_are_counted_too() {
    let (picture, mut rng) = (Picture::drawn(8), Xoshiro256PlusPlus::seed_from_u64(8));
    let (size, colours) = (picture.size, colours(&mut rng, &picture));
    // Combs: columns of 1, 2 and 3 pixels, with as many between them.
    let is_in = |region: usize, i: usize| (i % size.width / (region + 1)).is_multiple_of(2);
    let mut spans = Spans::default();
    for (region, y) in (0..3).flat_map(|region| (0..size.height).map(move |y| (region, y))) {
        let starts = (0..size.width).step_by(2 * (region + 1));
        let end = |start: usize| (start + region + 1).min(size.width) as u16;
        let row: Vec<Span> = starts.map(|start| Span { start: start as u16, end: end(start) }).collect();
        assert!((0..size.width).all(|x| is_in(region, x) == row.iter().any(|s| s.columns().contains(&x))), "{y}");
        spans.add(&row);
    }
    let map = RegionMap::new(size.width, size.height, &spans.ends, &spans.spans).unwrap();
    let mut memory = Memory::new(HistogramBits::Five, size.width * size.height, size.width, 4_096);
    let mut room = Room::new(200);
    let mut node = Node::new(Settings::default(), memory.lend()).unwrap();
    node.watch(room.watch(&colours));
    let report = step(&mut node, &picture.frame().with_regions(map).unwrap());
    check(&picture, &report, &node, is_in, &named(&picture, &colours));
}

#[test]
fn masked_pixels_change_no_bit_of_any_share() {
    for seed in 0..3 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let picture = Picture::drawn(seed);
        let (size, colours) = (picture.size, colours(&mut rng, &picture));
        let regions = Spans::regions(&polygons(&mut rng, 9), size);
        let map = RegionMap::new(size.width, size.height, &regions.ends, &regions.spans).unwrap();
        let hidden = Spans::mask(&polygons(&mut rng, 4)[3], size);
        let visible = SpanMap::new(size.width, &hidden.ends, &hidden.spans).unwrap();
        let is_in = |row: &[Span], i: usize| row.iter().any(|s| s.columns().contains(&(i % size.width)));
        let is_visible = |i: usize| is_in(visible.row(i / size.width), i);
        // Under the mask the other picture has a named colour.
        let other: Vec<u8> = (0..size.width * size.height)
            .flat_map(|i| if is_visible(i) { picture.pixel(i) } else { picture.pixel(0) })
            .collect();
        let mut found = Vec::new();
        for (rgb, blocks) in [(&picture.rgb, 4_000), (&other, 0)] {
            let mut memory = Memory::new(HistogramBits::Five, size.width * size.height, size.width, 4_096);
            let mut room = Room::new(blocks);
            let mut node = Node::new(Settings::default(), memory.lend()).unwrap();
            node.watch(room.watch(&colours));
            let frame =
                Frame::rgb(size.width, size.height, rgb).unwrap().masked(visible).unwrap().with_regions(map).unwrap();
            let report = step(&mut node, &frame);
            let member = |region, i| is_visible(i) && is_in(map.row(region, i / size.width), i);
            check(&picture, &report, &node, member, &named(&picture, &colours));
            found.push((report, (0..9).map(|r| *node.watched().unwrap().label_pixels(r).unwrap()).collect::<Vec<_>>()));
        }
        assert!(found[0] == found[1], "what is under the mask, and how much memory there is, changes nothing");
    }
}

#[test]
fn regions_change_nothing_else_and_without_them_there_are_no_shares() {
    let (picture, mut rng) = (Picture::drawn(3), Xoshiro256PlusPlus::seed_from_u64(3));
    let (size, colours) = (picture.size, colours(&mut rng, &picture));
    let spans = Spans::regions(&polygons(&mut rng, 5), size);
    let map = RegionMap::new(size.width, size.height, &spans.ends, &spans.spans).unwrap();
    let mut memory = Memory::new(HistogramBits::Five, size.width * size.height, size.width, 4_096);
    let mut room = Room::new(10);
    let mut node = Node::new(Settings { cold: true, ..Settings::default() }, memory.lend()).unwrap();
    let plain = step(&mut node, &picture.frame().with_regions(map).unwrap());
    assert!(plain.regions.is_empty(), "nobody watches");
    node.watch(room.watch(&colours));
    node.forget();
    let watched = step(&mut node, &picture.frame().with_regions(map).unwrap());
    assert_eq!(watched.regions.len(), 5);
    assert_eq!(Report { regions: Default::default(), ..watched }, plain.clone());
    node.forget();
    assert_eq!(step(&mut node, &picture.frame()), plain, "a frame without regions");
    assert_eq!(node.watched().unwrap().label_pixels(0), None);
    let wrong = RegionMap::new(size.width, 1, &[0, 0], &[]).unwrap();
    assert_eq!(picture.frame().with_regions(wrong).err(), Some(FrameError::RegionsSize));
}
