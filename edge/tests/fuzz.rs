//! The fuzz targets of `tests/fuzz` over their corpus and a fixed number of mutations, as an ordinary test.
//!
//! The input is the corpus; with `HUEFLOW_BLESS=1` the encoders' part of it is written anew. The mutations are seeded, so that
//! each run is the same; `tests/fuzz/run` has the search that coverage guides.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../tests/fuzz/targets/feed.rs"]
mod feed;
#[path = "../../tests/fuzz/targets/play.rs"]
mod play;
#[path = "../../tests/fuzz/targets/spool.rs"]
mod spool;
#[path = "../../tests/fuzz/targets/edge.rs"]
mod targets;

use hueflow_edge::config::{Config, Raw};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use play::play;

fn picture(width: usize, height: usize, samples: usize) -> Vec<u8> {
    (0..width * height * samples).map(|i| ((i / samples * 29) ^ (i % samples * 70)) as u8).collect()
}

fn jpeg(width: u16, height: u16, kind: ColorType, set: impl Fn(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, 60);
    set(&mut encoder);
    let samples = match kind {
        ColorType::Luma => 1,
        ColorType::CmykAsYcck => 4,
        _ => 3,
    };
    encoder.encode(&picture(width.into(), height.into(), samples), width, height, kind).unwrap();
    out
}

fn clips() -> Vec<Vec<u8>> {
    let one = jpeg(16, 8, ColorType::Rgb, |_| {});
    let two = jpeg(9, 7, ColorType::Rgb, |e| e.set_sampling_factor(SamplingFactor::F_2_2));
    let restarts = jpeg(33, 9, ColorType::Rgb, |e| e.set_restart_interval(1));
    let progressive = jpeg(20, 20, ColorType::Rgb, |e| e.set_progressive(true));
    // The first one lacks its end.
    let interrupted = [&one[..one.len() - 9], &two, &one].concat();
    let inks = jpeg(9, 9, ColorType::CmykAsYcck, |e| e.set_progressive(true));
    vec![
        [&one[..], b"\r\n", &two].concat(),
        restarts,
        progressive,
        jpeg(8, 8, ColorType::Luma, |_| {}),
        interrupted,
        inks,
    ]
}

fn stills() -> Vec<Vec<u8>> {
    let still = |kind: png::ColorType, depth: png::BitDepth, bytes: &[u8]| {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, 8, 4);
        encoder.set_color(kind);
        encoder.set_depth(depth);
        if kind == png::ColorType::Indexed {
            encoder.set_palette(picture(4, 1, 3));
        }
        encoder.write_header().unwrap().write_image_data(bytes).unwrap();
        out
    };
    use png::BitDepth::{Eight, One, Sixteen, Two};
    use png::ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
    vec![
        still(Rgb, Eight, &picture(8, 4, 3)),
        still(Rgba, Eight, &picture(8, 4, 4)),
        still(Grayscale, One, &[0xA5; 4]),
        still(GrayscaleAlpha, Sixteen, &picture(8, 4, 4)),
        still(Indexed, Two, &[0x1B; 8]),
        by_image(image::ImageFormat::Bmp),
        by_image(image::ImageFormat::Tiff),
        by_image(image::ImageFormat::WebP),
        by_image(image::ImageFormat::Gif),
    ]
}

/// An encoding of the crate `image`.
fn by_image(format: image::ImageFormat) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_raw(9, 5, picture(9, 5, 3)).unwrap();
    image::DynamicImage::from(picture).write_to(&mut out, format).unwrap();
    out.into_inner()
}

fn streams() -> Vec<Vec<u8>> {
    let stream = |head: &str, bytes: usize| {
        let frame = [&b"FRAME Ip\n"[..], &picture(bytes, 1, 1)].concat();
        [head.as_bytes(), &frame, &frame].concat()
    };
    vec![
        stream("YUV4MPEG2 W4 H2 F30000:1001 Ip A1:1 C420jpeg XYSCSS=420JPEG XCOLORRANGE=FULL\n", 12),
        stream("YUV4MPEG2 W3 H3 F25:1 C422\n", 21),
        stream("YUV4MPEG2 H2 W2 C444 F0:0\n", 12),
        stream("YUV4MPEG2 W9 H1 C411\n", 15),
        stream("YUV4MPEG2 W5 H2 Cmono\n", 10),
        stream("YUV4MPEG2 W5 H2 Cmono XCOLORRANGE=LIMITED\n", 10),
    ]
}

fn configurations() -> Vec<Vec<u8>> {
    let printed = Config::check(Raw::default()).unwrap().print_all();
    let texts = [
        "[clustering]\nlambda = 12.5\nmethod = 'uniform'\npreset = 'tutorial'\nw_open = 20\nseed = 9\0camera.fps=7.5",
        "[mqtt]\nurl = 'mqtts://me@[::1]:8883'\ndevice = 'desk'\npassword_file = '/x'\n[send]\nvideo = 'latest:0.5'",
        "[spi]\nboard = 'st7735'\nwidth = 80\noffset_x = 26\nrotation = 90\n[display]\npanels = ['png:a', 'none']",
        "[camera]\nsource = 'file:a b'\nexposure = 100\nwhite_balance = 'auto'\ngain = '5'\0spool.dir=/a\nsend.census_every=1",
    ];
    std::iter::once(printed.into_bytes()).chain(texts.iter().map(|t| t.as_bytes().to_vec())).collect()
}

fn folders() -> Vec<Vec<u8>> {
    let damage = |steps: &[u8]| [&[1, steps.len() as u8 / 6], steps].concat();
    let head = [4, 4, 7, 0, 3, 0];
    vec![
        damage(&[0, 0, 0, 50, 0, 9, 2, 7, 0, 90, 0, 0]),
        damage(&[1, 4, 0, 33, 40, 255]),
        [&[0, 2][..], &head, &[1, 4, 0, 2, 7, 9, 0, 0, 4, 0, 3, 7, 9], &[5, 5, 9, 0, 2, 0, 4, 1, 5, 7, 0]].concat(),
        [&[0, 2, 3, 0, 1, 9, 4, 2, 5, 1], &head[..], &[9, 0, 1, 2, 3, 7, 0, 0]].concat(),
        [
            &[0, 1, 2, 0, 0, 90],
            &br#"{"journal":"kafka-cluster:hueflow","streams":[{"stream":7,"since":0,"floor":3}]}"#[..],
        ]
        .concat(),
    ]
}

#[test]
fn no_bytes_on_the_disk_make_the_spool_panic_or_lose_more_than_is_damaged() {
    play("spool", targets::spool, folders(), 1_500);
}

#[test]
fn no_clip_and_no_still_makes_a_source_panic_or_give_half_a_picture() {
    play("mjpeg", targets::mjpeg, clips(), 1_500);
    play("still", targets::still, stills(), 3_000);
    play("y4m", targets::y4m, streams(), 1_500);
}

#[test]
fn no_configuration_and_no_command_makes_the_edge_panic_and_what_it_prints_reads_back() {
    play("config", targets::config, configurations(), 1_500);
    let commands = [
        &br#"{"lambda": 12.5, "method": "uniform", "snapshot": true}"#[..],
        br#"{"coreset_size": 512, "census_every": 0.5}"#,
    ];
    play("command", targets::command, commands.map(<[u8]>::to_vec).to_vec(), 3_000);
}
