//! The edge's targets: what is on its disk, what its sources read, and what it receives.
//!
//! Each takes bytes that anyone may have made. More is checked than "no panic": of a damaged spool all must come back that is
//! not damaged, and what is printed must read back.

use super::feed::Feed;
use super::spool;
use firmware::frame::{Frame, Stamp};
use firmware::node::Settings;
use hueflow_edge::camera::decode::input::Input;
use hueflow_edge::camera::decode::mjpeg::Mjpeg;
use hueflow_edge::camera::decode::rgb::Rgb;
use hueflow_edge::camera::decode::still::{Kind, Still};
use hueflow_edge::camera::decode::y4m::Y4m;
use hueflow_edge::camera::{Source, SourceError};
use hueflow_edge::command::Command;
use hueflow_edge::config::{Config, Origin, Raw};
use std::path::Path;
use std::sync::Arc;

/// Most pixels of a picture that is decoded: larger ones only take time.
const PIXELS_MAX: usize = 1 << 16;

/// A spool's folder: even, of any bytes; odd, a sound one that was damaged.
pub fn spool(data: &[u8]) {
    let mut feed = Feed(data);
    if feed.byte() & 1 == 0 { spool::any_files(&mut feed) } else { spool::damaged(&mut feed) }
}

/// A clip of JPEGs.
pub fn mjpeg(data: &[u8]) {
    // The size in a start of frame (FFC0 to FFCF, length, precision, height, width).
    let large = data.windows(9).any(|w| {
        let side = |i: usize| usize::from(w[i]) << 8 | usize::from(w[i + 1]);
        w[0] == 0xFF && (0xC0..=0xCF).contains(&w[1]) && side(5) * side(7) > PIXELS_MAX
    });
    if large {
        return;
    }
    let mut rgb = Rgb::default();
    if rgb.decode(data).is_ok() {
        assert_eq!(rgb.data.len(), rgb.width * rgb.height * 3);
    }
    spool::with_file("clip.mjpeg", data, |path| {
        let open = || Input::open(path, &Arc::default()).unwrap();
        let mut clip = Mjpeg::clip(open(), 30.0);
        let frames = play(&mut clip);
        // The same again.
        clip.rewind().unwrap();
        assert_eq!(play(&mut clip), frames);
        assert!(play(&mut Mjpeg::still(open(), None)) <= 1);
    });
}

/// A PNG, GIF, BMP, WebP or TIFF, whichever it begins like.
pub fn still(data: &[u8]) {
    let Some(kind) = Kind::of(data) else { return };
    let big =
        |at: usize, n: usize| data.get(at..at + n).map_or(0, |b| b.iter().fold(0, |n, &b| n << 8 | usize::from(b)));
    let little = |at: usize, n: usize| {
        data.get(at..at + n).map_or(0, |b| b.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b)))
    };
    let pixels = match kind {
        Kind::Png => big(16, 4).saturating_mul(big(20, 4)),
        Kind::Gif => little(6, 2) * little(8, 2),
        Kind::Bmp => little(18, 4).min(1 << 31).saturating_mul(little(22, 4).min(1 << 31)),
        // Somewhere in the file.
        Kind::WebP | Kind::Tiff => 0,
    };
    if pixels > PIXELS_MAX {
        return;
    }
    match Still::new("still".into(), kind, data.into(), None) {
        Ok(mut still) => {
            let frames = play(&mut still);
            assert!(frames > 0 && still.rate().is_none_or(|r| r > 0.0));
            if frames <= 64 && still.rewind().is_ok() {
                assert_eq!(play(&mut still), frames);
            }
        }
        Err(error) => assert_no_panic(&error),
    }
}

/// Stills are decoded on a thread of their own, whose panic is an error here.
fn assert_no_panic(error: &SourceError) {
    assert!(!error.to_string().contains("please report"), "{error}");
}

/// A Y4M stream.
pub fn y4m(data: &[u8]) {
    spool::with_file("clip.y4m", data, |path| {
        if let Ok(mut clip) = Y4m::open(path, &Arc::default()) {
            assert!((0.001..=1000.0).contains(&clip.rate()));
            play(&mut clip);
        }
    });
}

/// Plays to the end, or to the error. Gives the number of frames.
fn play(source: &mut dyn Source) -> usize {
    let mut frames = 0;
    loop {
        match source.advance() {
            Ok(true) => frames += 1,
            Ok(false) => return frames,
            Err(error) => {
                assert!(!error.to_string().is_empty() && !matches!(error, SourceError::Open { .. }));
                assert_no_panic(&error);
                return frames;
            }
        }
        let p = source.picture().unwrap();
        let frame = Frame::new(p.layout, p.yuv, p.width, p.height, 0, p.data, Stamp::default()).unwrap();
        let mut row = vec![0; p.width * 3];
        assert_eq!(frame.row(p.height - 1, &mut row).len(), p.width * 3);
        if frames > 64 {
            return frames;
        }
    }
}

/// A configuration file, and behind a zero byte `section.key=value` variables.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (toml, vars) = text.split_once('\0').unwrap_or((&text, ""));
    let Ok(mut raw) = Raw::of_toml(toml, Path::new("edge.toml")).map_err(|e| assert!(!e.to_string().is_empty())) else {
        return;
    };
    for (key, value) in vars.lines().filter_map(|l| l.split_once('=')) {
        let _ = raw.put(key, value.to_owned().into(), Origin::Env("HUEFLOW_EDGE__X".into()));
    }
    match Config::check(raw) {
        Ok(config) => {
            let printed = config.print_all();
            let again = Raw::of_toml(&printed, Path::new("edge.toml")).and_then(Config::check);
            let again = again.unwrap_or_else(|e| panic!("{e}\n{printed}"));
            let values = |c: &Config| c.origins.iter().map(|(k, v)| (*k, v.0.clone())).collect::<Vec<_>>();
            assert_eq!(values(&again), values(&config), "{printed}");
            assert_eq!((again.settings, again.mqtt), (config.settings, config.mqtt));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A message on the `cmd` topic.
pub fn command(data: &[u8]) {
    match Command::parse(data) {
        Ok(command) => {
            let settings = command.apply(Settings::default());
            assert!((1..=442 * 64).contains(&settings.lambda_q6) && settings.coreset_size > 0);
            let mut raw = Raw::default();
            for (key, value) in command.changes() {
                raw.put(key, value, Origin::Command).unwrap();
            }
            assert_eq!(Config::check(raw).unwrap().settings.lambda_q6, settings.lambda_q6);
        }
        Err(refusal) => assert!(!refusal.to_string().is_empty()),
    }
}
