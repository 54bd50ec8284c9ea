//! Allocations: in the long run See and Show take no memory for a frame.
//!
//! Inputs are configurations; every allocation of this process is counted, and a folder stands for a screen. Send is not counted:
//! what it holds depends on the broker.

// A test that cannot go on panics, which shows where.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use firmware::reference::{Correct, Outcome};
use hueflow_edge::camera::reference::{Calibrator, TIME_CONSTANT_US};
use hueflow_edge::config::{Config, Origin, Raw, ViewChoice};
use hueflow_edge::counters::Counters;
use hueflow_edge::health::Child;
use hueflow_edge::panel::Panel;
use hueflow_edge::panel::framebuffer::Framebuffer;
use hueflow_edge::panel::look::Look;
use hueflow_edge::parcel::{PARCELS_MAX, Parcel};
use hueflow_edge::see::{See, ToCustody, open_camera};
use hueflow_edge::slot::{Slots, Taken, Taker};
use hueflow_edge::spec::RunOptions;
use stats_alloc::{INSTRUMENTED_SYSTEM, Stats, StatsAlloc};
use std::alloc::System;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use toml::Value;

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Frames that See, Show and the source may take to get all the memory that they will have.
const WARM_UP: u64 = 100;
const FRAMES: u64 = 1000;
/// Frames after these, so that the end of the stream, which takes a census, is not counted.
const AFTER: u64 = 10;
/// See, Show, the thread that takes the parcels, and the test's own.
const THREADS: usize = 4;

/// Runs of which one must take nothing. The counts are the whole process's, and the test runner's own thread allocates when a
/// test ends or begins, on a busy machine while the next one already counts. What a frame takes, it takes in every run.
const RUNS: usize = 3;

/// Held by each test from its start: the counts are the whole process's.
static ALONE: Mutex<()> = Mutex::new(());

/// Waits until no other test counts. A test that failed does not fail the others.
fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config(words: &[(&str, Value)]) -> Config {
    let mut raw = Raw::default();
    for (key, value) in words {
        raw.put(key, value.clone(), Origin::Default).unwrap();
    }
    Config::check(raw).unwrap()
}

/// A screen of 320x240 in a folder, with the rotation of `config`.
fn screen(dir: &Path, config: &Config) -> Framebuffer {
    let sysfs = dir.join("sys/screen");
    std::fs::create_dir_all(&sysfs).unwrap();
    for (name, text) in [("virtual_size", "320,240"), ("bits_per_pixel", "16"), ("stride", "640")] {
        std::fs::write(sysfs.join(name), text).unwrap();
    }
    std::fs::write(dir.join("screen"), []).unwrap();
    let look = Look { view: ViewChoice::SideBySide, turn: config.turn };
    Framebuffer::open_as_described_in(&dir.join("screen"), &dir.join("sys"), look).unwrap()
}

/// Runs See and Show. Returns what the process allocated and freed in [`FRAMES`] frames after [`WARM_UP`].
fn count(config: &Config, dir: &Path) -> Stats {
    let stop = Arc::new(AtomicBool::new(false));
    let slots = Arc::new(Slots::new([Child::alone("display", "test")]));
    slots.set(0, Some(Taker { wants_every_frame: true, fills_terminal: false }));
    let (parcels, mut full) = tokio::sync::mpsc::channel::<Box<Parcel>>(PARCELS_MAX);
    let (empties, empties_out) = sync_channel(PARCELS_MAX);
    for _ in 0..PARCELS_MAX {
        empties.try_send(Box::<Parcel>::default()).unwrap();
    }
    let (_commands, commands) = sync_channel(1);
    let frames = Some(WARM_UP + FRAMES + AFTER);
    let options = RunOptions { frames, quiet: true, ..RunOptions::default() };
    let mut panel = screen(dir, config);
    std::thread::scope(|threads| {
        let slots = &slots;
        // Stands for Send: it only returns the parcels.
        let counted = threads.spawn(move || {
            let (mut before, mut between) = (Stats::default(), None);
            // All parcels are in use at once, as with a slow disk.
            let held: Vec<_> = (0..PARCELS_MAX).map_while(|_| full.blocking_recv()).collect();
            held.into_iter().for_each(|parcel| empties.try_send(parcel).unwrap());
            while let Some(parcel) = full.blocking_recv() {
                match parcel.report.frame {
                    WARM_UP => before = MEMORY.stats(),
                    frame if frame == WARM_UP + FRAMES && between.is_none() => between = Some(MEMORY.stats() - before),
                    _ => {}
                }
                let _ = empties.try_send(parcel);
            }
            between
        });
        threads.spawn(move || {
            loop {
                match slots.take(0, Duration::from_millis(20)) {
                    Taken::Picture(shot) => panel.show(&shot).unwrap(),
                    Taken::Nothing => {}
                    Taken::Closed => break,
                }
            }
        });
        let see = See {
            config: Arc::new(config.clone()),
            options,
            slots: Arc::clone(slots),
            custody: Some(ToCustody { parcels, empties: empties_out, commands, outcomes: Arc::default() }),
            stop,
            counters: Arc::new(Counters::default()),
            child: Child::alone("camera", "test"),
            clock: Arc::default(),
            status_line: false,
        };
        see.run().unwrap();
        slots.close();
        counted.join().unwrap().expect("enough frames")
    })
}

/// Returns true if no frame took memory. A thread that waits for the first time allocates a few bytes for that, once.
fn is_nothing(stats: &Stats) -> bool {
    let few = stats.allocations <= THREADS && stats.bytes_allocated <= 1024;
    few && (stats.reallocations, stats.deallocations) == (0, 0)
}

/// Runs a synthetic scene with these words too, and asserts that its frames take no memory. The view and the pictures are those
/// that take most; there is no census, which takes room where it is larger than any before.
fn assert_takes_nothing(what: &str, more: &[(&str, Value)]) {
    let took_nothing = (0..RUNS).any(|_| {
        let dir = tempfile::tempdir().unwrap();
        let stats = count(&scene(more), dir.path());
        println!("{what}, {FRAMES} frames: {stats:?}");
        is_nothing(&stats)
    });
    assert!(took_nothing, "{what}: frames take memory in each of {RUNS} runs");
}

/// A synthetic scene as fast as it can be, with these words in place of its own.
fn scene(more: &[(&str, Value)]) -> Config {
    let words = [
        ("camera.source", "synthetic:160x120@30".into()),
        ("camera.fast", true.into()),
        ("display.view", "side-by-side".into()),
        ("send.census_every", 0.into()),
        ("send.video", "all".into()),
    ];
    config(&[&words, more].concat())
}

#[test]
fn a_thousand_synthetic_frames_take_no_memory() {
    let _alone = alone();
    for method in ["octree", "uniform", "sensitivity", "streamkm", "lightweight"] {
        assert_takes_nothing(method, &[("clustering.method", method.into())]);
    }
}

#[test]
fn a_thousand_frames_with_sixteen_regions_and_colours_take_no_memory() {
    let _alone = alone();
    let tables = |of: &dyn Fn(i64) -> String| format!("[{}]", (0..16).map(of).collect::<Vec<_>>().join(","));
    let region = |n| format!("{{name = 'r{n}', rect = [{}, 0.1, 0.3, 0.8]}}", n as f64 / 32.0);
    let colour = |n| format!("{{name = 'c{n}', rgb = '#{:06x}', tolerance = 12}}", n * 0x0F_1E_2D % 0x01_00_00_00);
    let words = [
        ("mask", "[{rect = [0.4, 0.4, 0.1, 0.1]}]".into()),
        ("region", tables(&region).into()),
        ("colour", tables(&colour).into()),
    ];
    let scene = scene(&words);
    assert_eq!((scene.regions.len(), scene.colours.len()), (16, 16));
    assert_takes_nothing("regions", &words);
}

#[test]
fn a_thousand_frames_with_sixteen_events_take_no_memory() {
    let _alone = alone();
    // Half of them distinguish blinking. None begins so soon: a record takes memory of custody, not of See.
    let event = |n: i64| {
        let blink = if n % 2 == 0 { ", blink = {}" } else { "" };
        format!(
            "{{name = 'e{n}', when = 'share(c, r) > 0.{n:02} and not (clusters < {n} or de00(c, r) > 90)', for_ms = 600000{blink}}}"
        )
    };
    let words = [
        ("region", "[{name = 'r', rect = [0.1, 0.1, 0.5, 0.5]}]".into()),
        ("colour", "[{name = 'c', rgb = '#20c040', tolerance = 30}]".into()),
        ("event", format!("[{}]", (0..16).map(event).collect::<Vec<_>>().join(",")).into()),
    ];
    assert_eq!(scene(&words).events.len(), 16);
    assert_takes_nothing("events", &words);
}

#[test]
fn a_thousand_frames_with_a_reference_take_no_memory() {
    let _alone = alone();
    // A row of patches on the scene's moving background, with any colours that they can be corrected to.
    let patch = |n: i64| {
        let [r, g, b] = [120 + 13 * (n % 3), 120 + 17 * (n % 4), 150 - 19 * (n % 5)];
        format!("{{rect = [{}, 0.0, 0.04, 0.05], rgb = '#{r:02x}{g:02x}{b:02x}'}}", n as f64 / 24.0)
    };
    let patches = format!("[{}]", (0..24).map(patch).collect::<Vec<_>>().join(","));
    for correct in ["off", "gain", "matrix"] {
        let words = [
            ("mask", "[{rect = [0.4, 0.4, 0.1, 0.1]}]".into()),
            ("reference.patches", patches.clone().into()),
            ("reference.correct", correct.into()),
        ];
        let scene = scene(&words);
        let mut calibrator = Calibrator::new(&scene.reference, TIME_CONSTANT_US);
        let mut camera = open_camera(&scene, &Arc::default(), &Child::alone("camera", "test")).unwrap();
        assert!(camera.advance(&AtomicBool::new(false)).unwrap());
        let outcome = calibrator.see(&camera.frame().unwrap()).unwrap();
        assert_eq!(outcome, Correct::from_word(correct).map(Outcome::Done), "the patches decide a correction");
        assert_takes_nothing(correct, &words);
    }
}

#[test]
fn a_thousand_frames_in_cielab_take_no_memory() {
    let _alone = alone();
    assert_takes_nothing("cielab", &[("clustering.space", "cielab".into())]);
}

#[test]
fn a_thousand_frames_of_a_clip_take_no_memory() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.y4m");
    let mut clip = std::fs::File::create(&path).unwrap();
    clip.write_all(b"YUV4MPEG2 W160 H120 F30:1 C420jpeg\n").unwrap();
    for n in 0..WARM_UP + FRAMES + AFTER + 5 {
        clip.write_all(b"FRAME\n").unwrap();
        let luma: Vec<u8> = (0..160 * 120).map(|i| (40 + (i / 100 + n) % 160) as u8).collect();
        let chroma: Vec<u8> = (0..2 * 80 * 60).map(|i| (90 + (i / 40 + n) % 70) as u8).collect();
        clip.write_all(&[luma, chroma].concat()).unwrap();
    }
    assert_takes_nothing("y4m", &[("camera.source", format!("y4m:{}", path.display()).into())]);
}

#[test]
fn a_thousand_cropped_and_turned_frames_take_no_memory() {
    let _alone = alone();
    for (rotate, flip) in [(90, "horizontal"), (0, "vertical")] {
        let words = [
            ("camera.crop", "11,7,101x99".into()),
            ("camera.rotate", rotate.into()),
            ("camera.flip", flip.into()),
            ("display.rotate", (rotate + 180).into()),
        ];
        assert_takes_nothing("turned", &words);
    }
}

#[test]
fn a_decoder_of_jpegs_gives_back_what_it_takes() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/clip/big-buck-bunny.mjpeg");
    let scene = scene(&[("camera.source", format!("file:{clip}").into()), ("camera.loop", true.into())]);
    let stats = count(&scene, dir.path());
    println!("mjpeg, {FRAMES} frames: {stats:?}");
    let kept = stats.bytes_allocated as i64 - stats.bytes_deallocated as i64;
    // Between two frames the decoder has nothing; what differs is where in a frame the clip's reader was.
    assert!(kept.abs() < 1 << 20, "{kept} bytes more than before: {stats:?}");
}
