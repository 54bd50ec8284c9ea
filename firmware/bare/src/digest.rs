//! Digest: the machine over stills, a clip and a drawn scene, a line of hexadecimal numbers a frame.
//!
//! The caller lends 400 KiB of memory (a histogram of 4 bits a channel, frames of 160x120, coresets of 256 points) and
//! receives the lines. There is no std and no format string: the bare images print the lines, and a test on the host
//! computes them from this same file.
//!
//! A line: what it is, clusters, iterations, the sum of squared distances in 1/4096, and the CRC-32 of the centroids, of
//! the labels and of the report's bytes.

use super::scene;
use firmware::coreset::{Features, Merge, Point};
use firmware::custody::envelope::crc32;
use firmware::frame::polygon::{Size, Vertex, outside};
use firmware::frame::{Frame, Span, SpanMap};
use firmware::limits::REPORT_BYTES_MAX;
use firmware::node::{Capacity, HistogramBits, Node, Settings, Sizes, Workspace};
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
/// Two polygons that overlap, one of them with a dent, in 1/65,536 of the picture.
const MASK: [&[Vertex]; 2] = [
    &[at(5_000, 3_000), at(40_000, 20_001), at(61_000, 9_000), at(50_000, 60_000), at(30_000, 31_000)],
    &[at(0, 40_000), at(45_000, 33_333), at(20_000, 65_536)],
];
/// Spans of a row that [`MASK`] leaves visible, at most.
const ROW_SPANS: usize = 5;

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

/// The memory of a node on a microcontroller.
pub struct Memory {
    features: [Features; SIZES.features],
    points: [Point; SIZES.points],
    merges: [Merge; SIZES.merges],
    bytes: [u8; SIZES.bytes],
    scene: [u8; scene::BYTES],
    ends: [u32; scene::HEIGHT],
    spans: [Span; scene::HEIGHT * ROW_SPANS],
}

impl Memory {
    /// Empty, for a static.
    pub const EMPTY: Memory = Memory {
        features: [Features::ZERO; SIZES.features],
        points: [Point::ZERO; SIZES.points],
        merges: [Merge::ZERO; SIZES.merges],
        bytes: [0; SIZES.bytes],
        scene: [0; scene::BYTES],
        ends: [0; scene::HEIGHT],
        spans: [Span { start: 0, end: 0 }; scene::HEIGHT * ROW_SPANS],
    };
}

/// Computes all lines and passes them to `write`; `None` if a step failed.
pub fn digest(memory: &mut Memory, write: &mut dyn FnMut(&[u8])) -> Option<()> {
    let Memory { features, points, merges, bytes, .. } = memory;
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
    for number in 0..SCENES {
        scene::draw(number, &mut memory.scene);
        line(&mut node, "scene", "cover", &Frame::rgb(scene::WIDTH, scene::HEIGHT, &memory.scene).ok()?, write)?;
    }
    let visible = visible(&mut memory.ends, &mut memory.spans)?;
    node.forget();
    for number in 0..MASKED_SCENES {
        scene::draw(number, &mut memory.scene);
        let frame = Frame::rgb(scene::WIDTH, scene::HEIGHT, &memory.scene).ok()?.masked(visible).ok()?;
        line(&mut node, "masked", "cover", &frame, write)?;
    }
    Some(())
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
    let report = step(node, frame)?;
    let mut bytes = [0; REPORT_BYTES_MAX];
    let n = encode(report, &mut bytes)?;
    let colours = report.palette.iter().flat_map(|s| s.rgb_q6);
    let centroids = colours.fold(0, |crc, v| crc32(crc, &v.to_le_bytes()));
    let numbers = [
        (report.palette.len() as u64, 2),
        (u64::from(report.iterations), 3),
        (report.sse_q12, 14),
        (u64::from(centroids), 8),
        (u64::from(crc32(0, node.labels())), 8),
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
