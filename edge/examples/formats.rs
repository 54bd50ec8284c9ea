//! How long a camera's picture takes from memory to labels, in each format that cameras give.
//!
//! The input is a PNG; results are medians in milliseconds, of frames that show it a little further to the side each time. No
//! disk and no camera is in what is measured. `cargo run --release -p hueflow-edge --example formats`
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "an example that cannot go on has failed")]

use firmware::frame::{Frame, Layout, Stamp, Yuv};
use firmware::node::Settings;
use hueflow_edge::camera::decode::rgb::Rgb;
use hueflow_edge::cluster::{frame_rng, new_node};
use hueflow_edge::memory::Memory;
use std::time::Instant;

const WIDTH: usize = 640;
const HEIGHT: usize = 480;
const FRAMES: usize = 200;
/// From one frame to the next.
const STEP_PX: usize = 2;
const QUALITY: u8 = 85;

/// The picture, as large as a frame, `shift` pixels to the left.
fn rgb(photo: &(usize, usize, Vec<u8>), shift: usize) -> Vec<u8> {
    let (w, h, bytes) = photo;
    let at = |i: usize| {
        let (x, y) = (i % WIDTH, i / WIDTH);
        let from = (y * h / HEIGHT * w + (x + shift) % w) * 3;
        [bytes[from], bytes[from + 1], bytes[from + 2]]
    };
    (0..WIDTH * HEIGHT).flat_map(at).collect()
}

fn ycc(px: &[u8]) -> [u8; 3] {
    let [r, g, b] = [px[0], px[1], px[2]].map(i32::from);
    let y = ((66 * r + 129 * g + 25 * b + 128) >> 8) + 16;
    let cb = ((-38 * r - 74 * g + 112 * b + 128) >> 8) + 128;
    let cr = ((112 * r - 94 * g - 18 * b + 128) >> 8) + 128;
    [y, cb, cr].map(|v| v as u8)
}

fn yuyv(rgb: &[u8]) -> Vec<u8> {
    let pair = |p: &[u8; 6]| {
        let (a, b) = (ycc(&p[..3]), ycc(&p[3..]));
        [a[0], a[1], b[0], a[2]]
    };
    rgb.as_chunks::<6>().0.iter().flat_map(pair).collect()
}

fn nv12(rgb: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = rgb.as_chunks::<3>().0.iter().map(|p| ycc(p)[0]).collect();
    for y in (0..HEIGHT).step_by(2) {
        for x in (0..WIDTH).step_by(2) {
            let at = (y * WIDTH + x) * 3;
            out.extend_from_slice(&ycc(&rgb[at..at + 3])[1..]);
        }
    }
    out
}

fn jpeg(rgb: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut out, QUALITY);
    // As webcams do.
    encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_1);
    encoder.encode(rgb, WIDTH as u16, HEIGHT as u16, jpeg_encoder::ColorType::Rgb).unwrap();
    out
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Clusters all frames, and prints what they took.
fn measure(name: &str, layout: Option<Layout>, frames: &[Vec<u8>]) {
    let settings = Settings::default();
    let mut memory = Memory::new(WIDTH * HEIGHT, WIDTH, settings.coreset_size);
    let mut node = new_node(settings, &mut memory).unwrap();
    let mut decoded = Rgb::default();
    let (mut decodes, mut totals, mut colours) = (Vec::new(), Vec::new(), 0);
    for (number, bytes) in frames.iter().enumerate() {
        let started = Instant::now();
        let stamp = Stamp { number: number as u64, ..Stamp::default() };
        let frame = match layout {
            Some(layout) => Frame::new(layout, Yuv::Bt601, WIDTH, HEIGHT, 0, bytes, stamp).unwrap(),
            None => {
                decoded.decode(bytes).unwrap();
                let p = decoded.picture().unwrap();
                Frame::new(p.layout, p.yuv, p.width, p.height, 0, p.data, stamp).unwrap()
            }
        };
        decodes.push(started.elapsed().as_secs_f64() * 1e3);
        let mut rng = frame_rng(1, stamp.number);
        let report = node.step(&frame, &mut || started.elapsed().as_micros() as u64, &mut rng).unwrap();
        totals.push(started.elapsed().as_secs_f64() * 1e3);
        colours = report.palette.len();
    }
    let kib = frames.iter().map(Vec::len).sum::<usize>() as f64 / frames.len() as f64 / 1024.0;
    let (total, decode) = (median(totals), median(decodes));
    println!("{name:5} {kib:6.0} KiB  {total:6.2} ms, of which decoding {decode:5.2}  ({colours} colours)");
}

fn main() {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/china.png");
    let path = std::env::args().nth(1).unwrap_or_else(|| own.into());
    let file = std::fs::File::open(&path).expect("the picture");
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().expect("a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut bytes).expect("a whole PNG");
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight), "RGB, 8 bits");
    let photo = (info.width as usize, info.height as usize, bytes);
    let frames: Vec<Vec<u8>> = (0..FRAMES).map(|n| rgb(&photo, n * STEP_PX)).collect();
    println!("{path} as {WIDTH}x{HEIGHT}, {FRAMES} frames: medians from memory to labels");
    measure("RGB3", Some(Layout::Rgb24), &frames);
    measure("YUYV", Some(Layout::Yuyv), &frames.iter().map(|f| yuyv(f)).collect::<Vec<_>>());
    measure("NV12", Some(Layout::Nv12), &frames.iter().map(|f| nv12(f)).collect::<Vec<_>>());
    measure("MJPG", None, &frames.iter().map(|f| jpeg(f)).collect::<Vec<_>>());
}
