//! Masks: a masked pixel takes part in nothing, whatever colour it has.
//!
//! Frames are drawn from seeds and masked by polygons. The reference is a frame of one row that has only the visible
//! pixels: clustering, labels and census must be the same.
#![allow(clippy::unwrap_used)]

#[path = "common/memory.rs"]
mod memory;

use firmware::frame::polygon::{Size, Vertex, outside};
use firmware::frame::{Frame, FrameError, Span, SpanMap};
use firmware::label::NO_LABEL;
use firmware::node::{HistogramBits, Node, Settings};
use firmware::report::{Method, Refine, Report};
use firmware::wire::census::{Census, read_part};
use firmware::wire::{CensusHead, Payload};
use memory::Memory;
use proptest::prelude::*;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

const W: usize = 90;
const H: usize = 64;

/// Three colours with noise, and a few pixels of a fourth.
fn scene(seed: u64) -> Vec<u8> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let colours = [[200u8, 40, 30], [30, 160, 60], [40, 60, 200], [240, 230, 40]];
    let mut rgb = Vec::with_capacity(W * H * 3);
    for i in 0..W * H {
        let place = if rng.next_u32().is_multiple_of(60) { 3 } else { i / 40 % 3 };
        rgb.extend(colours[place].map(|c| c.saturating_add((rng.next_u32() >> 28) as u8)));
    }
    rgb
}

struct Mask {
    ends: Vec<u32>,
    spans: Vec<Span>,
}

impl Mask {
    fn of(polygons: &[Vec<(u32, u32)>]) -> Mask {
        let vertices: Vec<Vec<Vertex>> =
            polygons.iter().map(|p| p.iter().map(|&(x_q16, y_q16)| Vertex { x_q16, y_q16 }).collect()).collect();
        let borrowed: Vec<&[Vertex]> = vertices.iter().map(Vec::as_slice).collect();
        let mut mask = Mask { ends: Vec::new(), spans: Vec::new() };
        for y in 0..H {
            mask.spans.extend(outside(&borrowed, Size { width: W, height: H }, y));
            mask.ends.push(mask.spans.len() as u32);
        }
        mask
    }

    fn map(&self) -> SpanMap<'_> {
        SpanMap::new(W, &self.ends, &self.spans).unwrap()
    }

    fn is_visible(&self, i: usize) -> bool {
        self.map().row(i / W).iter().any(|s| s.columns().contains(&(i % W)))
    }
}

/// Report and labels of a few frames of a stream.
fn run(settings: Settings, frames: &[Frame<'_>]) -> Vec<(Report, Vec<u8>)> {
    let mut memory = Memory::new(HistogramBits::Five, W * H, W * H, 4_096);
    let mut node = Node::new(settings, memory.lend()).unwrap();
    let step = |frame: &Frame<'_>| {
        let report = node.step(frame, &mut || 0, &mut Xoshiro256PlusPlus::seed_from_u64(1)).unwrap().clone();
        (report, node.labels().to_vec())
    };
    frames.iter().map(step).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_masked_frame_is_clustered_as_its_visible_pixels_alone(
        polygons in prop::collection::vec(prop::collection::vec((0u32..=65_536, 0u32..=65_536), 3..7), 1..4),
        method in prop::sample::select(Method::ALL.to_vec()),
        refine in prop::sample::select(vec![Refine::None, Refine::Lloyd, Refine::Cover, Refine::Mse]),
        lambda in prop::sample::select(vec![20u32, 50]),
        seed in 0u64..1_000,
    ) {
        let mask = Mask::of(&polygons);
        prop_assume!(mask.map().pixels() > 50);
        let settings = Settings { method, refine, lambda_q6: lambda * 64, coreset_size: 300, ..Settings::default() };
        let scenes: Vec<Vec<u8>> = (0..4).map(|i| scene(seed + i)).collect();
        let visible: Vec<usize> = (0..W * H).filter(|&i| mask.is_visible(i)).collect();
        let alone: Vec<Vec<u8>> =
            scenes.iter().map(|rgb| visible.iter().flat_map(|&i| rgb[3 * i..3 * i + 3].to_vec()).collect()).collect();
        // Other colours under the mask.
        let other: Vec<Vec<u8>> = scenes.iter().map(|rgb| {
            let px = |i: usize| if mask.is_visible(i) { [rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]] } else { [255, 0, i as u8] };
            (0..W * H).flat_map(px).collect()
        }).collect();
        let masked = |scenes: &[Vec<u8>]| {
            let frames: Vec<Frame<'_>> =
                scenes.iter().map(|rgb| Frame::rgb(W, H, rgb).unwrap().masked(mask.map()).unwrap()).collect();
            run(settings, &frames)
        };
        let want = run(settings, &alone.iter().map(|rgb| Frame::rgb(visible.len(), 1, rgb).unwrap()).collect::<Vec<_>>());
        let (found, with_others) = (masked(&scenes), masked(&other));
        prop_assert!(found == with_others, "masked pixels take part in nothing");
        for ((mut report, labels), (reference, reference_labels)) in found.into_iter().zip(want) {
            prop_assert_eq!(report.pixels(), visible.len() as u64);
            (report.width, report.height) = (reference.width, reference.height);
            prop_assert_eq!(report, reference);
            prop_assert_eq!(visible.iter().map(|&i| labels[i]).collect::<Vec<_>>(), reference_labels);
            prop_assert_eq!(labels.iter().filter(|&&l| l == NO_LABEL).count(), W * H - visible.len());
        }
        let frame = Frame::rgb(W, H, &other[0]).unwrap().masked(mask.map()).unwrap();
        let row = |y| frame.row(y, &mut [0; 3 * W]).to_vec();
        for (i, px) in (0..H).flat_map(row).collect::<Vec<u8>>().chunks(3).enumerate() {
            let want = if mask.is_visible(i) { &other[0][3 * i..3 * i + 3] } else { &[0, 0, 0] };
            prop_assert_eq!(px, want);
        }
    }
}

#[test]
fn a_census_has_the_visible_pixels_and_a_flip_takes_the_mask_with_it() {
    let mask = Mask::of(&[vec![(0, 0), (40_000, 0), (40_000, 30_000), (0, 30_000)]]);
    let rgb: Vec<u8> = (0..W * H).flat_map(|i| if mask.is_visible(i) { [10, 20, 30] } else { [255, 0, 0] }).collect();
    let frame = Frame::rgb(W, H, &rgb).unwrap().masked(mask.map()).unwrap();
    let head = CensusHead {
        frame: 0,
        pixels: 0,
        colours: 0,
        part: 0,
        parts: 0,
        in_part: 0,
        centroids_q6: Default::default(),
        ids: Default::default(),
        space: Default::default(),
    };
    let (mut scratch, mut row) = (vec![0; W * H], vec![0; 3 * W]);
    let mut census = Census::take(&frame, head, &mut scratch, &mut row).unwrap();
    let mut buf = vec![0; firmware::limits::PAYLOAD_BYTES_MAX];
    assert_eq!(census.parts(), 1);
    let n = census.next_part(&mut buf).unwrap().unwrap();
    let (head, colours) = read_part(CensusHead::VERSION, &buf[..n]).unwrap();
    let pixels = mask.map().pixels() as u32;
    assert_eq!(head.pixels, pixels);
    assert_eq!(colours.map(Result::unwrap).collect::<Vec<_>>(), [(0x0a_141e, pixels)]);
    let flipped = frame.flipped_vertically();
    for y in 0..H {
        let (mut a, mut b) = (vec![0; 3 * W], vec![0; 3 * W]);
        assert_eq!(flipped.row(y, &mut a), frame.row(H - 1 - y, &mut b));
        assert_eq!(flipped.visible_spans(y), frame.visible_spans(H - 1 - y));
    }
    assert_eq!(flipped.visible_px(), mask.map().pixels());
}

#[test]
fn a_mask_of_another_size_over_everything_or_before_a_crop_is_refused() {
    let rgb = scene(1);
    let frame = Frame::rgb(W, H, &rgb).unwrap();
    let mask = Mask::of(&[vec![(0, 0), (1_000, 0), (0, 1_000)]]);
    let short = SpanMap::new(W, &mask.ends[..H - 1], &mask.spans[..mask.ends[H - 2] as usize]).unwrap();
    assert_eq!(frame.masked(short).err(), Some(FrameError::MaskSize));
    let whole = Mask::of(&[vec![(0, 0), (65_536, 0), (65_536, 65_536), (0, 65_536)]]);
    assert_eq!(frame.masked(whole.map()).err(), Some(FrameError::Empty));
    let masked = frame.masked(mask.map()).unwrap();
    assert_eq!(masked.cropped(0, 0, 2, 2).err(), Some(FrameError::Masked));
}
