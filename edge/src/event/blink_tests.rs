//! Blinking: lamps that are drawn with a known rate are classified.
//!
//! Inputs are frames of lamps at all rates, phases and duties, with noise and lost frames. Each classification is compared with
//! how the lamp was drawn.

use super::*;
use rand::{Rng, RngExt, SeedableRng};

/// A lamp and the camera that looks at it.
#[derive(Debug, Clone, Copy)]
struct Scene {
    /// 0: it does not blink.
    rate_hz: f64,
    /// The part of a period in which it is lit.
    duty: f64,
    fps: f64,
    /// How far a frame's time may be from where it should be, in frame gaps.
    irregular: f64,
    /// Frames that are lost, of one.
    lost: f64,
    /// Frames in which the truth is the wrong one, of one.
    wrong: f64,
}

/// Frames are exposed so long; one in which the lamp changes shows a part of its light.
const EXPOSURE_S: f64 = 0.01;

impl Scene {
    /// Truths and capture times of the frames of so many seconds.
    fn frames(self, seconds: f64, rng: &mut impl Rng) -> Vec<(bool, u64)> {
        let phase: f64 = rng.random();
        let is_lit = |at_s: f64| match self.rate_hz {
            0.0 => self.duty > 0.5,
            rate_hz => (at_s * rate_hz + phase).fract() < self.duty,
        };
        let mut frames = Vec::new();
        for n in 0..(seconds * self.fps) as u64 {
            let at_s = 100.0 + (n as f64 + self.irregular * rng.random_range(-1.0..1.0)) / self.fps;
            if rng.random_bool(self.lost) {
                continue;
            }
            // The condition compares with half of the light, and the light has noise.
            let exposed = (0..10).filter(|k| is_lit(at_s - EXPOSURE_S * f64::from(*k) / 10.0)).count();
            let light = exposed as f64 / 10.0 + rng.random_range(-0.2..0.2);
            frames.push(((light > 0.5) != rng.random_bool(self.wrong), (at_s * 1e6) as u64));
        }
        frames
    }

    fn is_right(self, pattern: Pattern) -> bool {
        match pattern {
            Pattern::Off => self.rate_hz == 0.0 && self.duty == 0.0,
            Pattern::Steady => self.rate_hz == 0.0 && self.duty == 1.0,
            Pattern::Blinking { rate_millihz } => {
                self.rate_hz > 0.0 && (f64::from(rate_millihz) / 1e3 / self.rate_hz - 1.0).abs() < 0.1
            }
        }
    }
}

/// The part of frames whose pattern is right, once a lamp can be known.
fn right(scenes: impl Iterator<Item = Scene>, seed: u64) -> (f64, u64) {
    const SETTLING_US: u64 = 6_000_000;
    let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(seed);
    let (mut right, mut all) = (0u64, 0u64);
    for scene in scenes {
        let mut blink = Blink::default();
        for (holds, at_us) in scene.frames(20.0, &mut rng) {
            let pattern = blink.step(holds, at_us);
            if at_us >= 100_000_000 + SETTLING_US {
                (right, all) = (right + u64::from(scene.is_right(pattern)), all + 1);
            }
        }
    }
    (right as f64 / all as f64, all)
}

const NOISY: Scene = Scene { rate_hz: 0.0, duty: 0.0, fps: 0.0, irregular: 0.2, lost: 0.04, wrong: 0.003 };

#[test]
fn lamps_of_every_rate_phase_and_duty_are_classified_right_at_15_and_30_frames_a_second() {
    for fps in [15.0, 30.0] {
        let mut worst = 1.0f64;
        for tenths in 5u32..=50 {
            let rate_hz = f64::from(tenths) / 10.0;
            let scene = |n: u32| Scene { rate_hz, fps, duty: 0.4 + 0.02 * f64::from(n % 11), ..NOISY };
            let (part, frames) = right((0..44).map(scene), tenths.into());
            assert!(part >= 0.99 && frames > 8_000, "{fps} frames a second, {rate_hz} Hz: {part} of {frames}");
            worst = worst.min(part);
        }
        println!("{fps} frames a second: at least {:.2} % right at each rate", worst * 100.0);
    }
}

#[test]
fn lamps_that_do_not_blink_are_off_or_steady_and_disturbed_frames_do_not_make_them_blink() {
    for (fps, duty) in [(15.0, 0.0), (15.0, 1.0), (30.0, 0.0), (30.0, 1.0)] {
        let (part, frames) = right((0..100).map(|_| Scene { fps, duty, ..NOISY }), 7);
        println!("{fps} frames a second, {duty}: {:.3} % of {frames} right", part * 100.0);
        assert!(part >= 0.99, "{fps} frames a second, {duty}: {part}");
    }
}

#[test]
fn a_lamp_is_steady_or_off_after_the_time_that_no_blinking_lamp_stays_as_it_is() {
    let mut blink = Blink::default();
    let lit: Vec<_> = (0..400).map(|n| blink.step(n < 200, 5_000_000 + n * 10_000)).collect();
    let first = |pattern| lit.iter().position(|p| *p == pattern);
    // The change lies between two frames.
    assert_eq!((first(Pattern::Steady), lit[343], lit[345]), (Some(145), Pattern::Steady, Pattern::Off));
}

#[test]
fn a_clock_that_is_set_back_and_a_camera_that_was_away_say_nothing() {
    let mut blink = Blink::default();
    for at_us in [9_000_000, 10_000_000, 1_000_000, 2_400_000, 8_000_000, 9_000_000, 9_449_999] {
        assert_eq!(blink.step(true, at_us), Pattern::Off, "{at_us}");
    }
    assert_eq!(blink.step(true, 9_450_000), Pattern::Steady);
}

#[test]
fn frames_with_the_same_capture_time_have_no_rate() {
    let mut blink = Blink::default();
    for i in 0..40 {
        assert_eq!(blink.step(i % 2 == 0, 7_000_000), Pattern::default());
    }
}

#[test]
fn memory_is_bounded_and_a_rate_that_changes_is_found_within_the_history() {
    let mut blink = Blink::default();
    let mut at_us = 0;
    for half_us in [1_000_000u64, 100_000, 1_000_000, 250_000] {
        let start_us = at_us;
        while at_us < start_us + 12_000_000 {
            let pattern = blink.step(((at_us - start_us) / half_us).is_multiple_of(2), at_us);
            assert!(blink.edges_us.len() <= EDGES_MAX);
            if at_us > start_us + HISTORY_US + 1_500_000 {
                let (rate, expected) = (u64::from(pattern.rate_millihz().unwrap_or(0)), 500_000_000 / half_us);
                assert!(rate.abs_diff(expected) * 20 < expected, "{rate} for {expected} at {at_us}");
            }
            at_us += 20_000;
        }
    }
}
