//! The edge's targets: what lies on its disk, what its sources read, and what it is told.
//!
//! Each takes bytes that anyone may have made. More is checked than "no panic": of a damaged spool all must come back that is
//! not damaged, and what is printed must read back.

use super::feed::Feed;
use super::spool;
use firmware::frame::{Frame, Stamp};
use firmware::node::Settings;
use hueflow_edge::camera::jpeg::{Mjpeg, Rgb};
use hueflow_edge::camera::still::Still;
use hueflow_edge::camera::y4m::Y4m;
use hueflow_edge::camera::{Source, SourceError};
use hueflow_edge::command::Command;
use hueflow_edge::config::{Config, Origin, Raw};
use std::io::{Cursor, Read};
use std::path::Path;

/// Most pixels of a picture that is decoded: larger ones only take time.
const PIXELS_MAX: usize = 1 << 16;

/// A spool's folder: even, whatever the bytes say; odd, a sound one that was damaged.
pub fn spool(data: &[u8]) {
    let mut feed = Feed(data);
    if feed.byte() & 1 == 0 { spool::any_files(&mut feed) } else { spool::damaged(&mut feed) }
}

/// A clip of JPEGs.
pub fn mjpeg(data: &[u8]) {
    // The size in a start of frame (FFC0 to FFC2, length, precision, height, width).
    let large = data.windows(9).any(|w| {
        let side = |i: usize| usize::from(w[i]) << 8 | usize::from(w[i + 1]);
        w[0] == 0xFF && (0xC0..=0xC2).contains(&w[1]) && side(5) * side(7) > PIXELS_MAX
    });
    if large {
        return;
    }
    let mut rgb = Rgb::default();
    if rgb.decode(data).is_ok() {
        assert_eq!(rgb.data.len(), rgb.width * rgb.height * 3);
    }
    spool::with_file("clip.mjpeg", data, |path| {
        let mut clip = Mjpeg::open(path.into(), Some(30.0)).unwrap();
        let frames = play(&mut clip);
        // The same again.
        clip.rewind().unwrap();
        assert_eq!(play(&mut clip), frames);
    });
}

/// A PNG.
pub fn png(data: &[u8]) {
    let side = |i: usize| data.get(i..i + 4).map_or(0, |b| b.iter().fold(0usize, |n, &b| n << 8 | usize::from(b)));
    if side(16).saturating_mul(side(20)) > PIXELS_MAX {
        return;
    }
    spool::with_file("still.png", data, |path| {
        if let Ok(mut still) = Still::open(path.into()) {
            assert_eq!(play(&mut still), 1);
        }
    });
}

/// A Y4M stream.
pub fn y4m(data: &[u8]) {
    let input = Box::new(Cursor::new(data.to_vec())) as Box<dyn Read + Send>;
    if let Ok(mut clip) = Y4m::new("clip".into(), input) {
        assert!(clip.rate().is_some_and(|r| (0.001..=1000.0).contains(&r)));
        play(&mut clip);
    }
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
