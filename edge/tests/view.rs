//! Golden pictures of what people look at, on a screen and on the small displays that are sold for a Pi.
//!
//! The input is a frame made here, compared with `tests/golden/view/`. With `HUEFLOW_BLESS=1` the pictures are written anew;
//! look at each before it is committed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firmware::view::{Scene, View, draw};
use firmware::wire::{Report, Swatch};
use hueflow_edge::panel::canvas::Canvas;
use hueflow_edge::slot::empty_report;
use std::path::Path;

const WIDTH: usize = 96;
const HEIGHT: usize = 72;
const COLOURS: [[u8; 3]; 6] =
    [[24, 48, 80], [70, 130, 180], [240, 200, 90], [200, 70, 50], [60, 140, 70], [235, 235, 225]];

/// A landscape of a kind: sky, sun, hills, a house.
fn label(x: usize, y: usize) -> u8 {
    let (dx, dy) = (x.abs_diff(70), y.abs_diff(18));
    let hill = 44 + x.abs_diff(30) / 6;
    match () {
        () if dx * dx + dy * dy < 100 => 2,
        () if (26..30).contains(&x) && (44..54).contains(&y) => 5,
        () if (20..40).contains(&x) && (38..54).contains(&y) => 3,
        () if y >= hill => 4,
        () if y < 12 => 0,
        () => 1,
    }
}

fn frame() -> (Report, Vec<u8>, Vec<u8>) {
    let labels: Vec<u8> = (0..WIDTH * HEIGHT).map(|i| label(i % WIDTH, i / WIDTH)).collect();
    let original = |i: usize| {
        let c = COLOURS[usize::from(labels[i])];
        let shade = ((i % WIDTH) * 7 + (i / WIDTH) * 3) % 24;
        c.map(|v| v.saturating_sub(shade as u8))
    };
    let original = (0..labels.len()).flat_map(original).collect();
    let mut report = empty_report();
    (report.width, report.height, report.frame, report.iterations) = (WIDTH as u32, HEIGHT as u32, 1234, 7);
    report.micros.total = 4149;
    for (id, c) in COLOURS.iter().enumerate() {
        let pixels = labels.iter().filter(|&&l| usize::from(l) == id).count() as u32;
        report.palette.push(Swatch { id: id as u32, rgb_q6: c.map(|v| u16::from(v) * 64), pixels }).unwrap();
    }
    (report, labels, original)
}

fn golden(name: &str, canvas: &Canvas) {
    let (width, height) = (canvas.width(), canvas.height());
    let rgb: Vec<u8> = (0..width * height).flat_map(|i| canvas.at(i % width, i / width)).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/view").join(format!("{name}.png"));
    if std::env::var_os("HUEFLOW_BLESS").is_some() {
        let color = png::ColorType::Rgb;
        hueflow_edge::panel::png::write(&path, width as u32, height as u32, color, &rgb).unwrap();
    }
    let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
    let mut want = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut want).unwrap();
    assert_eq!((info.width as usize, info.height as usize), (width, height), "{name}");
    assert!(want == rgb, "{name} is not what it was: HUEFLOW_BLESS=1 writes it anew, to be looked at");
}

#[test]
fn pictures_on_screens_and_on_small_glasses_are_what_they_were() {
    let (report, labels, original) = frame();
    let (on, off) = (false, true);
    for (width, height, view, is_offline) in [
        (640, 480, View::Clustered, on),
        (320, 240, View::SideBySide, on),
        (240, 320, View::Clustered, off),
        (240, 240, View::Clustered, on),
        (160, 128, View::Clustered, off),
        (160, 128, View::SideBySide, on),
        (128, 160, View::Clustered, on),
        (128, 160, View::Clustered, off),
    ] {
        let original = (view == View::SideBySide).then_some(original.as_slice());
        let scene = Scene { report: &report, labels: &labels, original, fps_tenths: Some(298), is_offline };
        let mut canvas = Canvas::new(width, height);
        let Ok(()) = draw(&mut canvas, view, &scene);
        let (mark, state) =
            (if original.is_some() { "-side-by-side" } else { "" }, if is_offline { "-offline" } else { "" });
        golden(&format!("{width}x{height}{mark}{state}"), &canvas);
    }
}
