//! Every key of the configuration, with its default and what it may be.
//!
//! Checking, printing and error messages share this table. A test in `config/mod.rs` makes sure that each key is read.

use crate::spec::source::FORMS;
use toml::Value;

/// One key.
#[derive(Debug)]
pub struct Key {
    /// `section.key`.
    pub name: &'static str,
    /// Its value when it is not set.
    pub default: fn() -> Value,
    /// What it may be, in words that follow "must be".
    pub range: &'static str,
    /// It is printed also where it has its default: one of the few that a new user sets.
    pub is_main: bool,
}

const fn key(name: &'static str, default: fn() -> Value, range: &'static str) -> Key {
    Key { name, default, range, is_main: false }
}

const fn main_key(name: &'static str, default: fn() -> Value, range: &'static str) -> Key {
    Key { name, default, range, is_main: true }
}

fn text(s: &str) -> Value {
    Value::String(s.into())
}

/// All of them, in the order in which they are printed.
pub const KEYS: &[Key] = &[
    // Keys without a section come first: behind a section they would belong to it.
    key(
        "mask",
        || Value::Array(Vec::new()),
        "at most 16 tables [[mask]], each with polygon = [[x, y], ...] (3 to 32 corners) or rect = [x, y, width, height], in \
         fractions of the clustered picture from 0 to 1",
    ),
    key(
        "region",
        || Value::Array(Vec::new()),
        "at most 16 tables [[region]], each with name and either polygon = [[x, y], ...] (3 to 32 corners) or rect = [x, y, \
         width, height], in fractions of the clustered picture from 0 to 1",
    ),
    key(
        "colour",
        || Value::Array(Vec::new()),
        "at most 16 tables [[colour]], each with name, either rgb = \"#rrggbb\" or lab = [L, a, b], and tolerance (Delta E 2000)",
    ),
    key(
        "event",
        || Value::Array(Vec::new()),
        "at most 16 tables [[event]], each with name, when = \"share(COLOUR, REGION) > 0.02\" or another condition, for_ms and \
         clear_ms (milliseconds, 0 where left out), [event.blink] to distinguish blinking from steady, and [event.gpio] for a \
         line that follows",
    ),
    main_key("camera.source", || text("synthetic:640x480@30"), FORMS),
    key("camera.width", || Value::Integer(640), "a whole number from 1 to 8192 (pixels; live sources)"),
    key("camera.height", || Value::Integer(480), "a whole number from 1 to 8192 (pixels; live sources)"),
    key("camera.fps", || Value::Integer(30), "a number from 0.01 to 1000 (frames a second; live sources)"),
    key(
        "camera.format",
        || text("auto"),
        "auto, YUYV, UYVY, NV12, NV21, YU12, RGB3, BGR3, MJPG or GREY (live sources)",
    ),
    key(
        "camera.exposure",
        || text("as-is"),
        "as-is, auto or a whole number from 1 to 1000000 (of 100 us; live sources)",
    ),
    key(
        "camera.white_balance",
        || text("as-is"),
        "as-is, auto or a whole number from 1000 to 100000 (kelvin; rpicam: about)",
    ),
    key(
        "camera.gain",
        || text("as-is"),
        "as-is, auto or a whole number from 0 to 1000000 (the camera's units; rpicam: hundredths)",
    ),
    key("camera.crop", || text("none"), "none or X,Y,WIDTHxHEIGHT in pixels of the source, such as 160,0,320x480"),
    key("camera.rotate", || Value::Integer(0), "0, 90, 180 or 270 (degrees clockwise; after camera.crop)"),
    key("camera.flip", || text("none"), "none, horizontal or vertical (after camera.rotate)"),
    key("camera.loop", || Value::Boolean(false), "true or false"),
    key("camera.fast", || Value::Boolean(false), "true or false"),
    key("clustering.preset", || text("none"), "none or tutorial"),
    key("clustering.space", || text("rgb"), "rgb or cielab"),
    main_key(
        "clustering.lambda",
        || Value::Integer(50),
        "a number from 0.01 to 442 (8-bit levels, or Delta E in cielab; kept to 1/64)",
    ),
    main_key("clustering.coreset_size", || Value::Integer(1000), "a whole number from 1 to 131072"),
    main_key("clustering.method", || text("octree"), "octree, uniform, sensitivity, streamkm or lightweight"),
    key("clustering.cold", || Value::Boolean(false), "true or false"),
    key("clustering.w_open", || text("auto"), "auto or a whole number from 1 to 8388608 (pixels)"),
    key("clustering.refine", || text("cover"), "none, lloyd, cover or mse"),
    key("clustering.seed", || Value::Integer(1), "a whole number from 0 to 18446744073709551615"),
    main_key(
        "display.panels",
        || Value::Array(vec![text("none")]),
        "a list of none, auto, window, terminal, spi, kms, kms:CARD, fb:DEVICE, preview:ADDRESS and png:DIR",
    ),
    main_key("display.view", || text("clustered"), "clustered or side-by-side"),
    key("display.rotate", || Value::Integer(0), "0, 90, 180 or 270 (degrees clockwise; every display)"),
    key("display.flip", || text("none"), "none, horizontal or vertical (after display.rotate; every display)"),
    key(
        "spi.board",
        || text("none"),
        "none, ili9341, st7789, st7735, st7789-no-cs, st7796, ili9488, adafruit-pitft-2.8, pimoroni-display-hat-mini, waveshare-2inch or \
         waveshare-1.3inch-hat",
    ),
    key("spi.device", || text("board"), "board or a path such as /dev/spidev0.0"),
    key("spi.mode", || text("board"), "board, 0, 1, 2 or 3 (3: modules without a select line)"),
    key("spi.clock_hz", || text("board"), "board or a whole number from 100000 to 125000000"),
    key("spi.dc", || text("board"), "board or the name of a GPIO line, such as GPIO25"),
    key("spi.reset", || text("board"), "board, none or the name of a GPIO line, such as GPIO27"),
    key("spi.backlight", || text("board"), "board, none or the name of a GPIO line, such as GPIO18"),
    key("spi.width", || text("board"), "board or a whole number from 1 to 480 (upright)"),
    key("spi.height", || text("board"), "board or a whole number from 1 to 480 (upright)"),
    key("spi.offset_x", || text("board"), "board or a whole number from 0 to 479"),
    key("spi.offset_y", || text("board"), "board or a whole number from 0 to 479"),
    key("spi.rotation", || text("board"), "board, 0, 90, 180 or 270 (degrees)"),
    key("spi.colour_order", || text("board"), "board, rgb or bgr"),
    key("spi.inverted", || text("board"), "board, true or false"),
    main_key("mqtt.url", || text(""), "mqtt://[USER@]HOST[:PORT], mqtts:// for TLS, or empty for none"),
    key("mqtt.password_file", || text(""), "the path of a file, or empty for none"),
    key("mqtt.ca_file", || text(""), "the path of a PEM file (mqtts://), or empty for the system's CA certificates"),
    key("mqtt.cert_file", || text(""), "the path of a PEM file where mqtt.key_file is one, else empty"),
    key("mqtt.key_file", || text(""), "the path of a PEM file where mqtt.cert_file is one, else empty"),
    main_key("mqtt.site", || text("home"), "1 to 64 of A-Z a-z 0-9 _ -"),
    main_key("mqtt.device", || text(""), "1 to 64 of A-Z a-z 0-9 _ - but not bridge, or empty for the host's name"),
    main_key(
        "spool.dir",
        || text(""),
        "the path of a directory, or empty: the platform's own where there is a broker, else nothing is kept",
    ),
    key(
        "spool.bytes_max",
        || Value::Integer(256 << 20),
        "a whole number from 1048576 (1 MiB) to 1099511627776 (1 TiB)",
    ),
    key("spool.sync_records", || Value::Integer(64), "a whole number from 1 to 4096"),
    key("spool.sync_ms", || Value::Integer(1000), "a whole number from 1 to 60000"),
    key("clock.run_dir", || text("/run"), "the path of the directory where services leave marks at run time"),
    key(
        "metrics.listen",
        || text(""),
        "HOST:PORT or PORT (127.0.0.1) for a page of Prometheus metrics, or empty for none",
    ),
    key("reference.correct", || text("off"), "off, gain or matrix"),
    key(
        "reference.patches",
        || Value::Array(Vec::new()),
        "1 to 24 tables, each with region = \"NAME\" or an outline of its own (polygon or rect), and lab = [L, a, b] or rgb = \
         \"#rrggbb\"; empty for none",
    ),
    key("homeassistant.discovery", || Value::Boolean(false), "true or false"),
    key("send.window_records", || Value::Integer(256), "a whole number from 4 to 1024"),
    key("send.video", || text("latest:5"), "off, all, or latest:FPS with 0.01 to 240 pictures a second"),
    key("send.original", || Value::Boolean(false), "true or false"),
    key("send.census_every", || Value::Integer(10), "a number of seconds from 0 (only on request) to 86400"),
];
