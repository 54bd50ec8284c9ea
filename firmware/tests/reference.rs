//! References: what is measured, solved, smoothed and corrected, against double precision and by example.
//!
//! Frames are single rows of patches of four pixels. Gains and matrices must be those of least squares in double precision to within
//! the rounding of 24 bits of light.
#![allow(clippy::unwrap_used)]

use firmware::color::correction::{COEFFICIENT_MAX_Q32, MatrixQ32, ONE_Q32};
use firmware::color::{Lab, de00_q12};
use firmware::frame::{Frame, RegionMap, Span, SpanMap, Stamp};
use firmware::limits::PATCHES_MAX;
use firmware::reference::{Correct, Fault, Outcome, Reference};
use proptest::prelude::*;

/// The 24 patches of the usual colour chart in sRGB.
const CHART: [[u8; 3]; 24] = [
    [115, 82, 68],
    [194, 150, 130],
    [98, 122, 157],
    [87, 108, 67],
    [133, 128, 177],
    [103, 189, 170],
    [214, 126, 44],
    [80, 91, 166],
    [193, 90, 99],
    [94, 60, 108],
    [157, 188, 64],
    [224, 163, 46],
    [56, 61, 150],
    [70, 148, 73],
    [175, 54, 60],
    [231, 199, 31],
    [187, 86, 149],
    [8, 133, 161],
    [243, 243, 242],
    [200, 200, 200],
    [160, 160, 160],
    [122, 122, 121],
    [85, 85, 85],
    [52, 52, 52],
];

/// A frame of one row whose patches are four pixels each, and a correction of it.
fn correct(reference: &mut Reference, patches: &[[u8; 3]], at_us: u64) -> (Outcome, Option<u16>, Vec<[u8; 3]>) {
    let pixels: Vec<u8> = patches.iter().flat_map(|&px| [px; 4]).flatten().collect();
    correct_pixels(reference, &pixels, at_us)
}

fn correct_pixels(reference: &mut Reference, pixels: &[u8], at_us: u64) -> (Outcome, Option<u16>, Vec<[u8; 3]>) {
    let width = pixels.len() / 3;
    let spans: Vec<Span> = (0..width as u16 / 4).map(|n| Span { start: 4 * n, end: 4 * n + 4 }).collect();
    let ends: Vec<u32> = (1..=spans.len() as u32).collect();
    let map = RegionMap::new(width, 1, &ends, &spans).unwrap();
    let mut frame = Frame::rgb(width, 1, pixels).unwrap();
    frame.stamp = Stamp { captured_at_us: at_us, ..Stamp::default() };
    let outcome = reference.see(&frame, map, &mut []);
    let frame = reference.corrected(frame);
    let mut row = vec![0; pixels.len()];
    let seen = frame.counted_row(0, &mut row).as_chunks::<3>().0.to_vec();
    assert_eq!(frame.row(0, &mut []), pixels, "what was captured stays");
    (outcome, frame.reference_de00_q6(), seen)
}

fn labs(colours: &[[u8; 3]]) -> Vec<Lab> {
    colours.iter().map(|&rgb| Lab::of_rgb(rgb)).collect()
}

fn matrix(reference: &Reference) -> MatrixQ32 {
    *reference.correction().unwrap().matrix_q32()
}

fn light(level: u8) -> f64 {
    let c = f64::from(level) / 255.0;
    if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
}

fn level(light: f64) -> u8 {
    let v = light.clamp(0.0, 1.0);
    (255.0 * if v <= 0.003_130_8 { v * 12.92 } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 }).round() as u8
}

/// The least squares of three unknowns in double precision, by the normal equations and Cramer's rule.
fn fitted(found: &[[f64; 3]], targets: &[f64]) -> [f64; 3] {
    let a: [[f64; 3]; 3] = core::array::from_fn(|i| core::array::from_fn(|j| found.iter().map(|f| f[i] * f[j]).sum()));
    let b: [f64; 3] = core::array::from_fn(|i| found.iter().zip(targets).map(|(f, t)| f[i] * t).sum());
    let det = |m: [[f64; 3]; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    core::array::from_fn(|i| {
        let mut with = a;
        (0..3).for_each(|row| with[row][i] = b[row]);
        det(with) / det(a)
    })
}

proptest! {
    #[test]
    fn gains_are_those_of_double_precision(patches in prop::collection::vec(any::<([u8; 3], [u8; 3])>(), 1..=PATCHES_MAX)) {
        let found: Vec<[u8; 3]> = patches.iter().map(|p| p.0.map(|level| level.clamp(1, 254))).collect();
        let targets: Vec<[u8; 3]> = patches.iter().map(|p| p.1).collect();
        let mut reference = Reference::new(Correct::Gain, &labs(&targets), 0);
        let (outcome, ..) = correct(&mut reference, &found, 0);
        let want: [f64; 3] = core::array::from_fn(|c| {
            let (found, targets) = (found.iter().map(|px| light(px[c])), targets.iter().map(|px| light(px[c])));
            let squares: f64 = found.clone().map(|f| f * f).sum();
            found.zip(targets).map(|(f, t)| f * t).sum::<f64>() / squares
        });
        let in_range = |slack: f64| want.iter().all(|gain| (0.125 - slack..=8.0 + slack).contains(gain));
        match outcome {
            Outcome::Done(Correct::Gain) => {
                prop_assert!(in_range(0.01));
                let matrix = matrix(&reference);
                for c in 0..3 {
                    let gain = matrix[c][c] as f64 / ONE_Q32 as f64;
                    // In the darkest levels, 1/2^24 of light is 1/5000 of it.
                    prop_assert!((gain - want[c]).abs() < 2e-3 * want[c].max(1.0), "{} {}", gain, want[c]);
                }
            }
            Outcome::Fault(Fault::Far, patch) => {
                prop_assert!(!in_range(-0.01) && usize::from(patch) < patches.len());
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn a_matrix_is_that_of_double_precision(
        mixing in prop::array::uniform3(prop::array::uniform3(0.0f64..0.25)),
        first in 0usize..13,
        noise in prop::collection::vec(prop::array::uniform3(-2i16..=2), 24),
    ) {
        // Colours of the chart through a matrix, rounded to levels, with noise.
        let seen = |n: usize| -> [u8; 3] {
            let from = CHART[n].map(light);
            core::array::from_fn(|i| {
                let mixed = 0.4 * from[i] + (0..3).map(|j| mixing[i][j] * from[j]).sum::<f64>();
                (i16::from(level(mixed)) + noise[n][i]).clamp(1, 254) as u8
            })
        };
        let found: Vec<[u8; 3]> = (first..24).map(seen).collect();
        let mut reference = Reference::new(Correct::Matrix, &labs(&CHART[first..]), 0);
        let (outcome, ..) = correct(&mut reference, &found, 0);
        let lights: Vec<[f64; 3]> = found.iter().map(|px| px.map(light)).collect();
        let want: [[f64; 3]; 3] = core::array::from_fn(|i| {
            fitted(&lights, &CHART[first..].iter().map(|px| light(px[i])).collect::<Vec<_>>())
        });
        if want.iter().flatten().any(|m| m.abs() > 7.9) || outcome != Outcome::Done(Correct::Matrix) {
            // A matrix that mixes channels evenly is not undone: with it greys are all that is left of the colours.
            let largest = want.iter().flatten().fold(0.0f64, |most, m| most.max(m.abs()));
            prop_assert!(largest > 3.0, "{:?} {:?}", outcome, want);
            return Ok(());
        }
        for (row, want) in matrix(&reference).iter().zip(want) {
            for (found, want) in row.iter().zip(want) {
                let found = *found as f64 / ONE_Q32 as f64;
                prop_assert!((found - want).abs() < 2e-3, "{} {}", found, want);
            }
        }
    }

    #[test]
    fn whatever_is_seen_gives_coefficients_in_range(
        patches in prop::collection::vec(any::<([u8; 3], [i32; 3])>(), 0..=PATCHES_MAX),
        way in 0usize..3,
        times in prop::collection::vec(any::<u64>(), 3),
    ) {
        let found: Vec<[u8; 3]> = patches.iter().map(|p| p.0).collect();
        let colours: Vec<Lab> = patches
            .iter()
            .map(|(_, [l, a, b])| Lab { l_q12: l.rem_euclid(409_601), a_q12: a % 524_289, b_q12: b % 524_289 })
            .collect();
        let mut reference = Reference::new(Correct::ALL[way], &colours, times[0] % 10_000_000);
        for at_us in times {
            // A row has at least a pixel.
            let found = if found.is_empty() { &[[1, 2, 3]][..] } else { &found };
            correct(&mut reference, found, at_us);
            let rows = reference.correction().into_iter().flat_map(|c| c.matrix_q32()).flatten();
            prop_assert!(rows.copied().all(|m| m.abs() <= COEFFICIENT_MAX_Q32));
        }
    }
}

#[test]
fn a_grey_card_brings_the_other_colours_back_and_the_difference_says_how_well() {
    // Half as much red light, a quarter of all blue.
    let seen = |rgb: [u8; 3]| [level(light(rgb[0]) / 2.0), rgb[1], level(light(rgb[2]) / 4.0)];
    let scene = [[119, 119, 119], [200, 80, 120], [30, 160, 90]];
    let found = scene.map(seen);
    let mut reference = Reference::new(Correct::Gain, &labs(&scene[..1]), 0);
    let (outcome, de00_q6, corrected) = correct(&mut reference, &found, 0);
    assert_eq!((outcome, de00_q6), (Outcome::Done(Correct::Gain), Some(0)));
    for (n, want) in scene.iter().enumerate() {
        assert!(corrected[4 * n].iter().zip(want).all(|(a, b)| a.abs_diff(*b) <= 1), "{:?} {want:?}", corrected[4 * n]);
    }
    let mut off = Reference::new(Correct::Off, &labs(&scene[..1]), 0);
    let (outcome, drift_q6, same) = correct(&mut off, &found, 0);
    assert_eq!((outcome, same[0]), (Outcome::Done(Correct::Off), found[0]));
    let want = de00_q12(Lab::of_rgb(scene[0]), Lab::of_rgb(found[0])) / 64;
    assert!(drift_q6.unwrap().abs_diff(want as u16) <= 1 && want > 20 * 64, "{drift_q6:?} {want}");
}

#[test]
fn a_matrix_of_greys_gives_way_to_gains() {
    let greys: Vec<[u8; 3]> = (0..8).map(|n| [40 + 25 * n; 3]).collect();
    let found: Vec<[u8; 3]> = (0..8).map(|n| [39 + 25 * n + n % 3, 41 + 25 * n, 40 + 25 * n]).collect();
    let mut reference = Reference::new(Correct::Matrix, &labs(&greys), 0);
    assert_eq!(correct(&mut reference, &found, 0).0, Outcome::Done(Correct::Gain));
    assert!(reference.correction().unwrap().has_gains_only());
    let mut of_chart = Reference::new(Correct::Matrix, &labs(&CHART), 0);
    assert_eq!(correct(&mut of_chart, &CHART, 0).0, Outcome::Done(Correct::Matrix));
    // Five patches are too few.
    let mut of_five = Reference::new(Correct::Matrix, &labs(&CHART[..5]), 0);
    assert_eq!(correct(&mut of_five, &CHART[..5], 0).0, Outcome::Done(Correct::Gain));
}

#[test]
fn a_patch_that_is_clipped_hidden_or_in_the_dark_switches_the_correction_off() {
    let colours = labs(&[[119; 3], [200; 3]]);
    let mut reference = Reference::new(Correct::Gain, &colours, 2_000_000);
    assert_eq!(correct(&mut reference, &[[100; 3], [170; 3]], 0).0, Outcome::Done(Correct::Gain));
    let (outcome, de00, seen) = correct(&mut reference, &[[100; 3], [170, 255, 170]], 1);
    assert_eq!((outcome, de00, seen[0]), (Outcome::Fault(Fault::Clipped, 1), None, [100; 3]));
    assert_eq!(correct(&mut reference, &[[0, 9, 9], [170; 3]], 2).0, Outcome::Fault(Fault::Clipped, 0));
    let (outcome, de00, seen) = correct(&mut reference, &[[10; 3], [12; 3]], 3);
    assert_eq!((outcome, seen[0]), (Outcome::Fault(Fault::Far, 1), [10; 3]));
    assert!(de00.unwrap() > 40 * 64, "{de00:?}");
    // The second patch has no place, and then a mask is over it.
    assert_eq!(correct(&mut reference, &[[100; 3]], 4).0, Outcome::Fault(Fault::Hidden, 1));
    let spans = [Span { start: 0, end: 4 }, Span { start: 4, end: 8 }];
    let map = RegionMap::new(8, 1, &[1, 2], &spans).unwrap();
    let pixels = [120; 24];
    let visible = SpanMap::new(8, &[1], &spans[..1]).unwrap();
    let frame = Frame::rgb(8, 1, &pixels).unwrap().masked(visible).unwrap();
    assert_eq!(reference.see(&frame, map, &mut []), Outcome::Fault(Fault::Hidden, 1));
}

#[test]
fn one_pixel_in_twenty_may_be_clipped_and_is_left_out() {
    let mut reference = Reference::new(Correct::Off, &labs(&[[119; 3]]), 0);
    let spans = [Span { start: 0, end: 40 }];
    let map = RegionMap::new(40, 1, &[1], &spans).unwrap();
    for (clipped, want) in [(2, Outcome::Done(Correct::Off)), (3, Outcome::Fault(Fault::Clipped, 0))] {
        let mut pixels = [119; 120];
        (0..clipped).for_each(|n| pixels[3 * n] = 255);
        let frame = Frame::rgb(40, 1, &pixels).unwrap();
        let outcome = reference.see(&frame, map, &mut []);
        let frame = reference.corrected(frame);
        assert_eq!(outcome, want);
        let sound = matches!(outcome, Outcome::Done(_));
        assert_eq!(frame.reference_de00_q6(), sound.then_some(0), "the mean of the others");
    }
}

#[test]
fn masked_pixels_are_neither_corrected_nor_read() {
    let (pixels, changed) = ([60; 24], [[60; 12], [9; 12]].concat());
    let spans = [Span { start: 0, end: 8 }];
    let map = RegionMap::new(8, 1, &[1], &spans).unwrap();
    let seen = |pixels: &[u8]| {
        let half = [Span { start: 0, end: 4 }];
        let frame = Frame::rgb(8, 1, pixels).unwrap().masked(SpanMap::new(8, &[1], &half).unwrap()).unwrap();
        let mut reference = Reference::new(Correct::Gain, &labs(&[[119; 3]]), 0);
        let outcome = reference.see(&frame, map, &mut []);
        let frame = reference.corrected(frame);
        let mut row = [0; 24];
        let counted = frame.counted_row(0, &mut row).to_vec();
        assert_eq!((outcome, &counted[..12]), (Outcome::Done(Correct::Gain), &[119; 12][..]));
        assert_eq!(counted[12..], pixels[12..]);
        assert_eq!(frame.row(0, &mut row), [[60; 12], [0; 12]].concat());
        frame.reference_de00_q6()
    };
    assert_eq!(seen(&pixels), seen(&changed));
}

#[test]
fn the_correction_follows_over_time_whatever_the_frame_rate() {
    let run = |period_us: u64| {
        let mut reference = Reference::new(Correct::Gain, &labs(&[[119; 3]]), 2_000_000);
        correct(&mut reference, &[[119; 3]], 1_000);
        let mut gain = 0.0;
        for n in 1..=2_000_000 / period_us {
            // Half of the light is gone.
            let (outcome, ..) = correct(&mut reference, &[[level(light(119) / 2.0); 3]], 1_000 + n * period_us);
            assert_eq!(outcome, Outcome::Done(Correct::Gain));
            gain = matrix(&reference)[0][0] as f64 / ONE_Q32 as f64;
        }
        gain
    };
    let gains = [5_000, 40_000, 500_000, 2_000_000].map(run);
    // A time constant after the change, 1/e of it is left to go.
    let end = light(119) / light(level(light(119) / 2.0));
    let want = end - (end - 1.0) / core::f64::consts::E;
    assert!(gains.iter().all(|gain| (gain - want).abs() < 1e-4), "{gains:?} {want}");
    // Time that goes back moves nothing.
    let mut reference = Reference::new(Correct::Gain, &labs(&[[119; 3]]), 2_000_000);
    correct(&mut reference, &[[119; 3]], 5_000_000);
    let before = matrix(&reference);
    correct(&mut reference, &[[80; 3]], 4_000_000);
    assert_eq!(matrix(&reference), before);
}

#[test]
fn each_word_names_its_way() {
    for correct in Correct::ALL {
        assert_eq!(Correct::from_word(correct.word()), Some(correct));
    }
    assert_eq!(Correct::from_word("auto"), None);
}
