//! Digest: the machine over stills, a clip and a drawn scene, a line of hexadecimal numbers a frame.
//!
//! The caller lends 410 KiB of memory (a histogram of 4 bits a channel, frames of 160x120, coresets of 256 points, a table of
//! named colours) and receives the lines. There is no std and no format string: the bare images print the lines, and a test on the host
//! computes them from this same file.
//!
//! A line: what it is, clusters, iterations, the sum of squared distances in 1/4096, and the CRC-32 of the centroids, of
//! the labels (of regions: and of how many pixels of each label they have) and of the report's bytes.

use super::scene;
use firmware::color::{Lab, Space};
use firmware::coreset::{Features, Merge, Point};
use firmware::custody::envelope::crc32;
use firmware::frame::polygon::{Size, Vertex, inside, outside};
use firmware::frame::{Frame, RegionMap, Span, SpanMap};
use firmware::limits::{CLUSTERS_MAX, REPORT_BYTES_MAX};
use firmware::named::{BLOCK_BYTES, NAMES_BYTES_MIN, NamedColour, Names};
use firmware::node::{Capacity, HistogramBits, Node, Settings, Sizes, Workspace};
use firmware::reference::{Correct, Outcome, Reference};
use firmware::watch::Watch;
use firmware::wire::{self, Method, Refine, Report};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

const WIDTH: usize = 160;
const HEIGHT: usize = 120;
const CORESET_SIZE: u32 = 256;
const CLIP_WIDTH: usize = 80;
const CLIP_HEIGHT: usize = 60;
const SCENES: u32 = 6;
const MASKED_SCENES: u32 = 2;
/// Stills that are clustered in CIELAB too.
const CIELAB_STILLS: usize = 3;
/// Two polygons that overlap, one of them with a dent, in 1/65,536 of the picture.
const MASK: [&[Vertex]; 2] = [
    &[at(5_000, 3_000), at(40_000, 20_001), at(61_000, 9_000), at(50_000, 60_000), at(30_000, 31_000)],
    &[at(0, 40_000), at(45_000, 33_333), at(20_000, 65_536)],
];
/// Spans of a row that [`MASK`] leaves visible, at most.
const ROW_SPANS: usize = 5;
const REGION_FRAMES: usize = 4;
const REFERENCE_FRAMES: usize = 4;
/// Regions that overlap one another and the mask.
const REGIONS: [&[Vertex]; 3] = [
    &[at(0, 0), at(65_536, 0), at(65_536, 65_536), at(0, 65_536)],
    &[at(4_000, 9_000), at(60_000, 30_000), at(20_000, 64_000)],
    MASK[0],
];
/// Spans of a row in all [`REGIONS`], at most.
const REGION_SPANS: usize = 4;
/// Blocks for mixed cells: fewer than the clip has such cells.
const NAMED_BLOCKS: usize = 1;
const NAMED_BYTES: usize = NAMES_BYTES_MIN + NAMED_BLOCKS * BLOCK_BYTES;
/// Stone, grass, shade and fur of the clip, with their tolerances in whole Delta E.
const NAMED: [([u8; 3], u16); 5] =
    [([60, 70, 80], 7), ([150, 165, 56], 12), ([44, 44, 28], 6), ([120, 120, 120], 9), ([110, 125, 44], 5)];

/// Patches of the clip and the colours that they are to have: sky, grass, stone, shade and fur, in a warmer and brighter light.
const PATCHES: [(&[Vertex], [u8; 3]); 6] = [
    (&block(7, 0), [105, 120, 150]),
    (&block(7, 1), [78, 96, 128]),
    (&block(5, 3), [176, 180, 70]),
    (&block(1, 2), [170, 160, 148]),
    (&block(0, 1), [46, 52, 24]),
    (&block(6, 2), [140, 122, 112]),
];
/// Frames are 40 ms apart, and the correction follows in two seconds.
const FRAME_US: u64 = 40_000;
const TIME_CONSTANT_US: u64 = 2_000_000;

/// A block of ten pixels a side of the clip.
const fn block(column: u32, row: u32) -> [Vertex; 4] {
    let (left, top, right, bottom) = (column * 8_192, row * 10_923, (column + 1) * 8_192, row * 10_923 + 10_922);
    [at(left, top), at(right, top), at(right, bottom), at(left, bottom)]
}

const fn at(x_q16: u32, y_q16: u32) -> Vertex {
    Vertex { x_q16, y_q16 }
}

const STILLS: [(&str, &[u8]); 6] = [
    ("astronaut", include_bytes!("../../../tests/golden/stills/astronaut.rgb")),
    ("rocket", include_bytes!("../../../tests/golden/stills/rocket.rgb")),
    ("china", include_bytes!("../../../tests/golden/stills/china.rgb")),
    ("bunny020", include_bytes!("../../../tests/golden/stills/bunny020.rgb")),
    ("bunny060", include_bytes!("../../../tests/golden/stills/bunny060.rgb")),
    ("bunny110", include_bytes!("../../../tests/golden/stills/bunny110.rgb")),
];
const CLIP: &[u8] = include_bytes!("../../../tests/golden/stills/clip.rgb");

const CAPACITY: Capacity =
    Capacity { pixels: WIDTH * HEIGHT, width_px: WIDTH, coreset_size: CORESET_SIZE, bits: HistogramBits::Four };
const SIZES: Sizes = CAPACITY.sizes();
/// What the clip needs: the memory that is left has room for the table of named colours.
const CLIP_CAPACITY: Capacity = Capacity { pixels: CLIP_WIDTH * CLIP_HEIGHT, width_px: CLIP_WIDTH, ..CAPACITY };
const CLIP_SIZES: Sizes = CLIP_CAPACITY.sizes();
/// Bytes of a node and a drawn scene, or of a node for the clip and named colours.
const SHARED_BYTES: usize = {
    let (scenes, names) = (SIZES.bytes + scene::BYTES, CLIP_SIZES.bytes + NAMED_BYTES);
    if scenes > names { scenes } else { names }
};

/// The memory of a node on a microcontroller.
pub struct Memory {
    features: [Features; SIZES.features],
    points: [Point; SIZES.points],
    merges: [Merge; SIZES.merges],
    bytes: [u8; SHARED_BYTES],
    ends: [u32; scene::HEIGHT],
    spans: [Span; scene::HEIGHT * ROW_SPANS],
    /// Of [`REGIONS`] or [`PATCHES`], which are more.
    region_ends: [u32; CLIP_HEIGHT * PATCHES.len()],
    region_spans: [Span; CLIP_HEIGHT * REGION_SPANS],
    /// Of the first region.
    region_labels: [[u32; CLUSTERS_MAX]; 1],
}

impl Memory {
    /// Empty, for a static.
    pub const EMPTY: Memory = Memory {
        features: [Features::ZERO; SIZES.features],
        points: [Point::ZERO; SIZES.points],
        merges: [Merge::ZERO; SIZES.merges],
        bytes: [0; SHARED_BYTES],
        ends: [0; scene::HEIGHT],
        spans: [Span { start: 0, end: 0 }; scene::HEIGHT * ROW_SPANS],
        region_ends: [0; CLIP_HEIGHT * PATCHES.len()],
        region_spans: [Span { start: 0, end: 0 }; CLIP_HEIGHT * REGION_SPANS],
        region_labels: [[0; CLUSTERS_MAX]; 1],
    };
}

/// Computes all lines and passes them to `write`; `None` if a step failed.
pub fn digest(memory: &mut Memory, write: &mut dyn FnMut(&[u8])) -> Option<()> {
    digest_frames(memory, write)?;
    digest_regions(memory, write)?;
    digest_cielab(memory, write)?;
    digest_reference(memory, write)
}

/// The lines of stills, the clip and scenes.
#[inline(never)]
fn digest_frames(memory: &mut Memory, write: &mut dyn FnMut(&[u8])) -> Option<()> {
    let Memory { features, points, merges, bytes, .. } = memory;
    let (bytes, scene) = bytes.split_at_mut_checked(SIZES.bytes)?;
    let workspace = Workspace::in_slices(&CAPACITY, features, points, merges, bytes).ok()?;
    let settings = Settings { coreset_size: CORESET_SIZE, ..Settings::default() };
    let mut node = Node::new(settings, workspace).ok()?;
    for (name, rgb) in STILLS {
        for (word, refine) in [("cover", Refine::Cover), ("mse", Refine::Mse), ("none", Refine::None)] {
            node.set(Settings { refine, ..settings }).ok()?;
            node.forget();
            line(&mut node, name, word, &Frame::rgb(WIDTH, HEIGHT, rgb).ok()?, write)?;
        }
    }
    let (name, rgb) = STILLS.first()?;
    for method in Method::ALL {
        node.set(Settings { method, refine: Refine::Lloyd, ..settings }).ok()?;
        node.forget();
        line(&mut node, name, method.word(), &Frame::rgb(WIDTH, HEIGHT, rgb).ok()?, write)?;
    }
    node.set(settings).ok()?;
    node.forget();
    for rgb in CLIP.chunks_exact(CLIP_WIDTH * CLIP_HEIGHT * 3) {
        line(&mut node, "clip", "cover", &Frame::rgb(CLIP_WIDTH, CLIP_HEIGHT, rgb).ok()?, write)?;
    }
    node.forget();
    let scene = scene.get_mut(..scene::BYTES)?;
    for number in 0..SCENES {
        scene::draw(number, scene);
        line(&mut node, "scene", "cover", &Frame::rgb(scene::WIDTH, scene::HEIGHT, scene).ok()?, write)?;
    }
    let visible = visible(&mut memory.ends, &mut memory.spans)?;
    node.forget();
    for number in 0..MASKED_SCENES {
        scene::draw(number, scene);
        let frame = Frame::rgb(scene::WIDTH, scene::HEIGHT, scene).ok()?.masked(visible).ok()?;
        line(&mut node, "masked", "cover", &frame, write)?;
    }
    Some(())
}

/// The lines of regions and named colours.
#[inline(never)]
fn digest_regions(memory: &mut Memory, write: &mut dyn FnMut(&[u8])) -> Option<()> {
    let Memory { features, points, merges, bytes, region_ends, region_spans, region_labels, .. } = memory;
    let (bytes, named) = bytes.split_at_mut_checked(CLIP_SIZES.bytes)?;
    let workspace = Workspace::in_slices(&CLIP_CAPACITY, features, points, merges, bytes).ok()?;
    let settings = Settings { coreset_size: CORESET_SIZE, ..Settings::default() };
    let mut node = Node::new(settings, workspace).ok()?;
    let regions = spans_of(REGIONS, region_ends, region_spans)?;
    let colours = NAMED.map(|(rgb, tolerance)| NamedColour { lab: Lab::of_rgb(rgb), tolerance_q6: tolerance * 64 });
    node.watch(Watch::new(Names::new(&colours, named), region_labels));
    for rgb in CLIP.chunks_exact(CLIP_WIDTH * CLIP_HEIGHT * 3).take(REGION_FRAMES) {
        let frame = Frame::rgb(CLIP_WIDTH, CLIP_HEIGHT, rgb).ok()?.with_regions(regions).ok()?;
        line(&mut node, "regions", "cover", &frame, write)?;
    }
    Some(())
}

/// The lines in CIELAB: a still cold in every way that matters, and the clip warm.
#[inline(never)]
fn digest_cielab(memory: &mut Memory, write: &mut dyn FnMut(&[u8])) -> Option<()> {
    let Memory { features, points, merges, bytes, .. } = memory;
    let workspace = Workspace::in_slices(&CAPACITY, features, points, merges, bytes).ok()?;
    let space = Space::Cielab;
    let settings =
        Settings { space, lambda_q6: space.default_lambda_q6(), coreset_size: CORESET_SIZE, ..Settings::default() };
    let mut node = Node::new(settings, workspace).ok()?;
    let fine = Settings { lambda_q6: 5 * 64, ..settings };
    let drawn = Settings { method: Method::Uniform, refine: Refine::None, ..settings };
    for (name, rgb) in STILLS.into_iter().take(CIELAB_STILLS) {
        for (word, settings) in [("cielab", settings), ("cielab-5", fine), ("cielab-uniform", drawn)] {
            node.set(settings).ok()?;
            node.forget();
            line(&mut node, name, word, &Frame::rgb(WIDTH, HEIGHT, rgb).ok()?, write)?;
        }
    }
    node.set(settings).ok()?;
    node.forget();
    for rgb in CLIP.chunks_exact(CLIP_WIDTH * CLIP_HEIGHT * 3) {
        line(&mut node, "clip", "cielab", &Frame::rgb(CLIP_WIDTH, CLIP_HEIGHT, rgb).ok()?, write)?;
    }
    Some(())
}

/// The lines of a clip whose colours are corrected: how is what the correction was.
#[inline(never)]
fn digest_reference(memory: &mut Memory, write: &mut dyn FnMut(&[u8])) -> Option<()> {
    let Memory { features, points, merges, bytes, region_ends, region_spans, .. } = memory;
    let (bytes, row) = bytes.split_at_mut_checked(CLIP_SIZES.bytes)?;
    let workspace = Workspace::in_slices(&CLIP_CAPACITY, features, points, merges, bytes).ok()?;
    let settings = Settings { coreset_size: CORESET_SIZE, ..Settings::default() };
    let mut node = Node::new(settings, workspace).ok()?;
    let patches = spans_of(PATCHES.map(|(polygon, _)| polygon), region_ends, region_spans)?;
    for correct in [Correct::Off, Correct::Gain, Correct::Matrix] {
        // On the stack: a step has room there that it needs only for regions and names.
        let mut reference = Reference::new(correct, &PATCHES.map(|(_, rgb)| Lab::of_rgb(rgb)), TIME_CONSTANT_US);
        node.forget();
        for (n, rgb) in (0..).zip(CLIP.chunks_exact(CLIP_WIDTH * CLIP_HEIGHT * 3)).take(REFERENCE_FRAMES) {
            let mut frame = Frame::rgb(CLIP_WIDTH, CLIP_HEIGHT, rgb).ok()?;
            frame.stamp.captured_at_us = n * FRAME_US;
            let Outcome::Done(done) = reference.see(&frame, patches, row) else { return None };
            line(&mut node, "reference", done.word(), &reference.corrected(frame), write)?;
        }
    }
    Some(())
}

/// The spans of polygons in a frame of the clip.
fn spans_of<'m, const N: usize>(
    polygons: [&[Vertex]; N],
    ends: &'m mut [u32],
    spans: &'m mut [Span],
) -> Option<RegionMap<'m>> {
    let size = Size { width: CLIP_WIDTH, height: CLIP_HEIGHT };
    let rows = polygons.iter().flat_map(|polygon| (0..size.height).map(|y| inside(&[*polygon], size, y)));
    let ends = ends.get_mut(..N * size.height)?;
    let mut len = 0;
    for (row, end) in rows.zip(ends.iter_mut()) {
        spans.get_mut(len..len + row.len())?.copy_from_slice(&row);
        len += row.len();
        *end = len as u32;
    }
    RegionMap::new(size.width, size.height, ends, spans.get(..len)?).ok()
}

/// What [`MASK`] leaves visible of a scene.
fn visible<'m>(ends: &'m mut [u32], spans: &'m mut [Span]) -> Option<SpanMap<'m>> {
    let mut len = 0;
    for (y, end) in ends.iter_mut().enumerate() {
        let row = outside(&MASK, Size { width: scene::WIDTH, height: scene::HEIGHT }, y);
        spans.get_mut(len..len + row.len())?.copy_from_slice(&row);
        len += row.len();
        *end = len as u32;
    }
    SpanMap::new(scene::WIDTH, ends, spans.get(..len)?).ok()
}

fn line(node: &mut Node<'_>, name: &str, how: &str, frame: &Frame<'_>, write: &mut dyn FnMut(&[u8])) -> Option<()> {
    step(node, frame)?;
    describe(node, name, how, write)
}

/// By itself in the image, so that the report's bytes are not on the stack during a step.
#[inline(never)]
fn describe(node: &Node<'_>, name: &str, how: &str, write: &mut dyn FnMut(&[u8])) -> Option<()> {
    let report = node.report();
    let mut bytes = [0; REPORT_BYTES_MAX];
    let n = encode(report, &mut bytes)?;
    let colours = report.palette.iter().flat_map(|s| s.rgb_q6);
    let centroids = colours.fold(0, |crc, v| crc32(crc, &v.to_le_bytes()));
    let of_regions = (0..REGIONS.len()).filter_map(|region| node.watched()?.label_pixels(region)).flatten();
    let labels = of_regions.fold(crc32(0, node.labels()), |crc, pixels| crc32(crc, &pixels.to_le_bytes()));
    let numbers = [
        (report.palette.len() as u64, 2),
        (u64::from(report.iterations), 3),
        (report.sse_q12, 14),
        (u64::from(centroids), 8),
        (u64::from(labels), 8),
        (u64::from(crc32(0, bytes.get(..n)?)), 8),
    ];
    write(name.as_bytes());
    write(b" ");
    write(how.as_bytes());
    for (number, digits) in numbers {
        write(b" ");
        for digit in (0..digits).rev() {
            let nibble = (number >> (4 * digit)) as u8 & 15;
            write(&[if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }]);
        }
    }
    write(b"\n");
    Some(())
}

/// The core's one function, by itself in the image, so that what it calls can be searched.
#[inline(never)]
fn step<'n>(node: &'n mut Node<'_>, frame: &Frame<'_>) -> Option<&'n Report> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    // A clock that stands still: times are no part of a result.
    node.step(frame, &mut || 0, &mut rng).ok()
}

/// The encoder is another's, and checks its bounds by panics that nothing reaches.
#[inline(never)]
fn encode(report: &Report, bytes: &mut [u8]) -> Option<usize> {
    wire::encode(report, bytes).ok()
}
