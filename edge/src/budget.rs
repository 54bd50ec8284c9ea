//! How much memory a configuration needs, worked out before any of it is taken.
//!
//! A configuration and the size of a frame give bytes, part by part. Nothing is measured here: a test compares the sum
//! with what the program really has.

use crate::camera::{masked, reference, regions};
use crate::config::{Config, Video, ViewChoice};
use crate::memory::capacity;
use crate::parcel::{ORIGINAL_WIDTH_PX_MAX, PARCELS_MAX, Parcel};
use crate::slot::Shot;
use crate::spec::{Ask, DisplaySpec, SourceSpec};
use crate::spool::SEGMENT_BYTES;
use crate::watch::watch_bytes;
use firmware::custody::Sender;
use firmware::limits::{PACKET_BYTES_MAX, PICTURE_BYTES_MAX, RECORD_BYTES_MAX};
use std::fmt;

/// What is resident of the program itself and its libraries: code that was run, constants, the allocator's own.
pub const PROGRAM_BYTES: u64 = 7 << 20;
/// What six threads have used of their stacks (main, signals, clock, see, custody, mqtt): See's is the deepest.
pub const STACKS_BYTES: u64 = 6 * STACK_BYTES;
/// What a display's thread has used of its stack.
const STACK_BYTES: u64 = 128 << 10;
/// The way between decoder and clip: a clip is read in pieces of this.
const READ_BYTES: u64 = 256 << 10;
/// Pictures whose labels leave that are under way at once: See fills one while Send empties another.
const LEAVING: u64 = 2;
/// Records between spool and broker: places towards the socket, and publishes without PUBACK.
const RECORDS_UNDER_WAY: u64 = 16 + 20;
/// Bytes that the index of a full spool takes, for each MiB of it: a segment's offsets.
const INDEX_BYTES_PER_MIB: u64 = 1 << 10;

/// A frame's size in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// Bytes, part by part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    size: Size,
    parts: [(&'static str, u64); 7],
}

impl Budget {
    /// What `config` needs for frames of `size`.
    pub fn new(config: &Config, size: Size) -> Budget {
        let pixels = (size.width * size.height) as u64;
        let memory = capacity(pixels as usize, size.width, config.settings.coreset_size).sizes();
        Budget {
            size,
            parts: [
                ("program", PROGRAM_BYTES),
                ("stacks", STACKS_BYTES),
                (
                    "camera",
                    camera(&config.source, config.ask, before(config, pixels))
                        + copy(config, pixels)
                        + outlines(config, size)
                        + reference::bytes_max(&config.reference, (size.width, size.height)) as u64,
                ),
                ("clustering", (memory.total_bytes() + watch_bytes(config.regions.len(), config.colours.len())) as u64),
                ("displays", displays(config, size)),
                ("sending", sending(config, pixels, size.width as u64)),
                ("spool", spool(config)),
            ],
        }
    }

    /// What `config` needs for the frames that it asks for. A clip may have larger ones.
    pub fn asked(config: &Config) -> Budget {
        Budget::new(config, asked_size(config))
    }

    /// All of it, in bytes.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }

    /// One part's bytes.
    pub fn part(&self, name: &str) -> u64 {
        self.parts.iter().find(|(n, _)| *n == name).map_or(0, |(_, bytes)| *bytes)
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB at {}x{} (", mib(self.bytes()), self.size.width, self.size.height)?;
        for (i, (name, bytes)) in self.parts.iter().enumerate() {
            write!(f, "{}{name} {}", if i == 0 { "" } else { ", " }, mib(*bytes))?;
        }
        f.write_str(")")
    }
}

/// In MiB with one digit behind the point.
pub fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// Pixels of the source's pictures, if `pixels` are left of each.
fn before(config: &Config, pixels: u64) -> u64 {
    let source = source_size(config);
    if config.transform.crop.is_some() { pixels.max((source.width * source.height) as u64) } else { pixels }
}

/// The RGB buffer for what the transform cannot do without one. A crop may need it, by the layout.
fn copy(config: &Config, pixels: u64) -> u64 {
    let may = config.transform.turns_by_copy() || config.transform.crop.is_some();
    if may { 3 * pixels } else { 0 }
}

/// The spans of masks and regions.
fn outlines(config: &Config, size: Size) -> u64 {
    let regions = config.regions.iter().map(|region| region.polygon.as_slice());
    (masked::bytes_max(&config.masks, size.height) + regions::bytes_max(regions, size.height)) as u64
}

/// The size that the configuration asks for, after crop and rotation.
pub fn asked_size(config: &Config) -> Size {
    let source = source_size(config);
    let (width, height) = config.transform.size((source.width, source.height));
    Size { width, height }
}

/// The size that the source is asked for.
fn source_size(config: &Config) -> Size {
    let of_ask = |ask: Ask| Size { width: ask.width as usize, height: ask.height as usize };
    match &config.source {
        SourceSpec::Synthetic { width, height, .. } => Size { width: *width, height: *height },
        SourceSpec::V4l2 { options, .. } | SourceSpec::Rpicam { options, .. } => of_ask(options.over(config.ask)),
        SourceSpec::File { .. } | SourceSpec::Y4m(_) | SourceSpec::StandardInput => of_ask(config.ask),
    }
}

/// The index of a full spool; nothing where no records are kept.
fn spool(config: &Config) -> u64 {
    if config.keeps_records() { config.spool_bytes_max.div_ceil(SEGMENT_BYTES) * INDEX_BYTES_PER_MIB } else { 0 }
}

/// The buffers between a device or a clip and a frame.
fn camera(source: &SourceSpec, ask: Ask, pixels: u64) -> u64 {
    // Two RGB pictures in turn, the compressed bytes (at most one a pixel is usual), and what the decoder takes for a
    // picture: its coefficients, two bytes each, where the JPEG is progressive.
    let jpeg = 2 * 3 * pixels + pixels + 6 * pixels;
    // Two pictures in turn, and the driver's four where they are this process's.
    let raw = |halves_per_pixel: u64| (2 + 4) * halves_per_pixel * pixels / 2;
    match source {
        SourceSpec::Synthetic { .. } => 3 * pixels,
        SourceSpec::Y4m(_) | SourceSpec::StandardInput => 2 * 3 * pixels + READ_BYTES,
        SourceSpec::Rpicam { .. } => 2 * 3 * pixels / 2 + READ_BYTES,
        SourceSpec::V4l2 { options, .. } => match options.over(ask).format.as_ref() {
            Some(b"YUYV" | b"UYVY") => raw(4),
            Some(b"NV12" | b"NV21" | b"YU12") => raw(3),
            Some(b"GREY") => raw(2),
            Some(b"RGB3" | b"BGR3") => raw(6),
            // Not reported: a webcam that is fast enough only with JPEGs.
            _ => jpeg + 4 * pixels,
        },
        SourceSpec::File { .. } => jpeg + READ_BYTES,
    }
}

/// The pictures that go round, two more than displays, and each display's thread and what it draws on.
fn displays(config: &Config, size: Size) -> u64 {
    let pixels = (size.width * size.height) as u64;
    let panels: Vec<&DisplaySpec> = config.panels.iter().filter(|p| **p != DisplaySpec::None).collect();
    if panels.is_empty() {
        return 0;
    }
    let original = if config.view == ViewChoice::SideBySide { 3 * pixels } else { 0 };
    let both = if config.view == ViewChoice::SideBySide { 2 } else { 1 };
    let count = panels.len() as u64;
    let shots = (count + 2) * (size_of::<Shot>() as u64 + pixels + original) + count * STACK_BYTES;
    // A screen of 1920x1080 at 32 bits, drawn and converted.
    let screen = 2 * 4 * 1920 * 1080;
    let own = |panel: &DisplaySpec| match panel {
        DisplaySpec::Spi => {
            config.spi.as_ref().map_or(0, |b| 6 * u64::from(b.width) * u64::from(b.height) + (64 << 10))
        }
        DisplaySpec::Framebuffer(_) | DisplaySpec::Kms(_) | DisplaySpec::Auto => screen,
        // A process of its own, with the picture as it came and as it is shown.
        DisplaySpec::Window => screen + PROGRAM_BYTES + screen,
        // Drawn, encoded, and kept for those who look.
        DisplaySpec::Preview(_) => both * (4 + 3 + 1) * pixels,
        DisplaySpec::Png(_) => both * 2 * 3 * pixels,
        DisplaySpec::None | DisplaySpec::Terminal => 1 << 20,
    };
    shots + panels.iter().map(|p| own(p)).sum::<u64>()
}

/// Parcels, what a census is made in, and what is on its way to the broker.
fn sending(config: &Config, pixels: u64, width: u64) -> u64 {
    if !config.keeps_records() {
        return 0;
    }
    let parcels = PARCELS_MAX as u64 * size_of::<Parcel>() as u64 + size_of::<Sender>() as u64;
    // A word a pixel to sort, and the census: at most two bytes a pixel in all but noise.
    let census = 4 * pixels + 2 * pixels;
    let Some(_) = config.mqtt else { return parcels + census };
    let pictures = match config.video {
        Video::Off => 0,
        // Labels under way, and room to pack one in.
        Video::Latest(_) => LEAVING * pixels + 2 * pixels + 2 * PICTURE_BYTES_MAX as u64,
        Video::All => PARCELS_MAX as u64 * pixels + 2 * pixels + PICTURE_BYTES_MAX as u64,
    };
    let side = width.min(ORIGINAL_WIDTH_PX_MAX as u64);
    let original = if config.original { 2 * 3 * side * side } else { 0 };
    parcels + census + pictures + original + RECORDS_UNDER_WAY * RECORD_BYTES_MAX as u64 + PACKET_BYTES_MAX as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Origin, Raw};
    use toml::Value;

    fn config(words: &[(&str, &str)]) -> Config {
        let mut raw = Raw::default();
        for (key, value) in words {
            let value = match *key {
                "display.panels" => Value::Array(value.split(' ').map(|p| Value::String(p.into())).collect()),
                _ => Value::String((*value).into()),
            };
            raw.put(key, value, Origin::Default).unwrap();
        }
        Config::check(raw).unwrap()
    }

    #[test]
    fn more_costs_more_and_the_parts_are_the_whole() {
        let plain = Budget::asked(&config(&[("spool.dir", "/s")]));
        assert!(Budget::asked(&config(&[])).bytes() < plain.bytes(), "records are kept nowhere");
        assert_eq!(plain.parts.iter().map(|p| p.1).sum::<u64>(), plain.bytes());
        assert_eq!(plain.part("displays"), 0);
        for words in [
            &[("camera.source", "synthetic:1280x720@30")][..],
            &[("display.panels", "none terminal")],
            &[("clustering.coreset_size", "131072")],
            &[("mqtt.url", "mqtt://h"), ("mqtt.device", "d")],
            &[("camera.source", "v4l2:0")],
            &[("camera.rotate", "90")],
            &[("spool.bytes_max", "1073741824")],
        ] {
            let words = [words, &[("spool.dir", "/s")]].concat();
            assert!(Budget::asked(&config(&words)).bytes() > plain.bytes(), "{words:?}");
        }
        let text = plain.to_string();
        assert!(text.contains("MiB at 640x480 (program 7.0, stacks 0.8, camera 0.9, clustering"), "{text}");
    }

    #[test]
    fn masks_regions_and_a_reference_have_no_more_bytes_than_planned_and_not_much_less() {
        // A comb: each row through its teeth has as many spans as its corners allow.
        let comb: String = (0..8)
            .map(|n| f64::from(n) / 8.0)
            .flat_map(|x| [(x, 0.9), (x + 0.01, 0.1), (x + 0.02, 0.9), (x + 0.03, 0.95)])
            .map(|(x, y)| format!("[{x}, {y}],"))
            .collect();
        let boxes = |n: usize, more: &str| format!("{{rect = [0.{n}, 0.2, 0.05, 0.5]{more}}},");
        let with = |n: usize, more: &dyn Fn(usize) -> String, first: &str| {
            let rest: String = (1..n).map(|n| boxes(n, &more(n))).collect();
            format!("[{{polygon = [{comb}]{first}}},{rest}]")
        };
        let (plain, named) = (|_| String::new(), |n| format!(", name = 'r{n}'"));
        let coloured = |n| format!(", rgb = '#{n}0{n}0{n}0'");
        let (mask, region, patches) =
            (with(3, &plain, ""), with(9, &named, ", name = 'r'"), with(9, &coloured, ", rgb = '#808080'"));
        let config = config(&[("mask", &mask), ("region", &region), ("reference.patches", &patches)]);
        for (width, height) in [(64, 48), (640, 480), (1280, 720)] {
            let rgb = vec![90; 3 * width * height];
            let frame = firmware::frame::Frame::rgb(width, height, &rgb).unwrap();
            let mut masker = masked::Masker::new(&config.masks);
            let mut divider = regions::Divider::new(&config.regions);
            let mut calibrator = reference::Calibrator::new(&config.reference, 0);
            masker.fit((width, height));
            divider.fit((width, height));
            assert!(calibrator.see(&frame).unwrap().is_some());
            let size = Size { width, height };
            for (what, real, planned) in [
                ("outlines", masker.bytes() + divider.bytes(), outlines(&config, size)),
                ("reference", calibrator.bytes(), reference::bytes_max(&config.reference, (width, height)) as u64),
            ] {
                let real = real as u64;
                assert!(real <= planned && planned <= 4 * real, "{what} at {width}x{height}: {real} of {planned}");
            }
            let without = Config { masks: Vec::new(), regions: Vec::new(), ..config.clone() };
            let camera = |config: &Config| Budget::new(config, size).part("camera");
            assert!(camera(&config) >= camera(&without) + (masker.bytes() + divider.bytes()) as u64);
            let without = Config { reference: Default::default(), ..config.clone() };
            let own = calibrator.bytes() - size_of::<firmware::reference::Reference>();
            assert!(camera(&config) >= camera(&without) + own as u64);
        }
        let none = Config::check(Raw::default()).unwrap();
        assert_eq!(outlines(&none, Size { width: 640, height: 480 }), 0);
    }

    #[test]
    fn a_sources_own_size_counts() {
        let size = |source: &str| asked_size(&config(&[("camera.source", source)]));
        assert_eq!(size("synthetic:320x240@5"), Size { width: 320, height: 240 });
        assert_eq!(size("v4l2:0?width=1280&height=720"), Size { width: 1280, height: 720 });
        let part = config(&[
            ("camera.source", "v4l2:0?width=1280&height=720"),
            ("camera.crop", "0,0,300x200"),
            ("camera.rotate", "90"),
        ]);
        assert_eq!(asked_size(&part), Size { width: 200, height: 300 });
        assert!(Budget::asked(&part).part("camera") > 3 * 1280 * 720, "the source's pictures are whole");
        assert_eq!(size("file:clip.mjpeg"), Size { width: 640, height: 480 });
    }

    /// A limit of the unit that the package brings, in bytes.
    fn unit(key: &str) -> u64 {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/systemd/hueflow-edge.service");
        let unit = std::fs::read_to_string(path).unwrap();
        let word = unit.lines().find_map(|l| l.strip_prefix(key)).unwrap();
        word.strip_prefix('=').and_then(|w| w.strip_suffix('M')).unwrap().parse::<u64>().unwrap() << 20
    }

    #[test]
    fn the_units_limits_follow_from_the_budget() {
        let most = Budget::asked(&config(&[
            ("camera.source", "v4l2:0?width=1280&height=720"),
            ("display.panels", "spi fb:/dev/fb0 preview"),
            ("display.view", "side-by-side"),
            ("spi.board", "st7789"),
            ("mqtt.url", "mqtt://h"),
            ("mqtt.device", "d"),
            ("send.original", "true"),
        ]))
        .bytes();
        let (high, max) = (unit("MemoryHigh"), unit("MemoryMax"));
        assert!(high >= most + most / 8, "MemoryHigh is too low for {} MiB", mib(most));
        assert!(max >= most + most / 2 && max <= 2 * most, "MemoryMax does not follow from {} MiB", mib(most));
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/etc/edge.toml");
        let shipped = Config::check(Raw::gather(Some(file.as_ref()), []).unwrap()).unwrap();
        assert!(3 * Budget::asked(&shipped).bytes() <= max, "the configuration as it is brought");
        let attached = [("camera.source", "v4l2:0?format=YUYV"), ("display.panels", "spi"), ("spi.board", "st7789")];
        assert!(Budget::asked(&config(&attached)).bytes() <= 24 << 20, "640x480 and a glass on the bus");
    }
}
