//! Choice: the mode of a camera that is nearest to the request, and the meaning of its bytes.
//!
//! Inputs are a device's reports; results are a mode, a layout, a YCbCr variant, and a description of a node that is not a usable
//! camera. Unknown formats are never chosen. This file has no side effects.

use super::ask::Ask;
use firmware::frame::{Layout, Yuv};

/// Formats that can be read, the best first: cheap to convert and rich in colour, then compressed, then grey.
pub const FORMATS: [[u8; 4]; 10] =
    [*b"YUYV", *b"NV12", *b"YU12", *b"UYVY", *b"NV21", *b"RGB3", *b"BGR3", *b"MJPG", *b"JPEG", *b"GREY"];
/// A rate may be lower by this share: 29.97 counts as 30.
const RATE_SLACK: f64 = 0.01;

/// A mode of a camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mode {
    /// Pixel format.
    pub fourcc: [u8; 4],
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Most frames a second; 0: the device does not report it.
    pub fps_max: f64,
}

/// How the bytes of a format are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Uncompressed, in this layout.
    Raw(Layout),
    /// Decoded as JPEG.
    Jpeg,
}

/// How a format is read; none if it is not supported.
pub fn coding(fourcc: [u8; 4]) -> Option<Coding> {
    Some(match &fourcc {
        b"YUYV" => Coding::Raw(Layout::Yuyv),
        b"UYVY" => Coding::Raw(Layout::Uyvy),
        b"NV12" => Coding::Raw(Layout::Nv12),
        b"NV21" => Coding::Raw(Layout::Nv21),
        b"YU12" => Coding::Raw(Layout::I420),
        b"RGB3" => Coding::Raw(Layout::Rgb24),
        b"BGR3" => Coding::Raw(Layout::Bgr24),
        b"GREY" => Coding::Raw(Layout::Grey),
        b"MJPG" | b"JPEG" => Coding::Jpeg,
        _ => return None,
    })
}

/// The mode nearest to what is asked: the right format if one is asked for, colour before grey, then the size, then
/// the rate, then the order of [`FORMATS`].
pub fn choose(modes: &[Mode], ask: &Ask) -> Option<Mode> {
    let cost = |m: &Mode| {
        let rank = FORMATS.iter().position(|f| *f == m.fourcc)?;
        if ask.format.is_some_and(|f| f != m.fourcc) {
            return None;
        }
        let side = |have: u32, want: u32| u64::from(have.abs_diff(want)) * if have < want { 4 } else { 1 };
        let size = side(m.width, ask.width) + side(m.height, ask.height);
        let short = if m.fps_max > 0.0 { (ask.fps * (1.0 - RATE_SLACK) - m.fps_max).max(0.0) } else { 0.0 };
        Some((m.fourcc == *b"GREY", size, (short * 1000.0) as u64, rank))
    };
    modes.iter().filter_map(|m| Some((cost(m)?, *m))).min_by_key(|(cost, _)| *cost).map(|(_, m)| m)
}

/// Returns true for the names of raw Bayer formats: `BA81`, `pBAA`, `RG10` and so on.
pub fn is_bayer(fourcc: [u8; 4]) -> bool {
    match fourcc {
        [b'p', order, _, _] => matches!(order, b'B' | b'G' | b'R' | b'g'),
        // The order of the first two pixels, and the bits of one.
        [b'B', b'A' | b'G', a, b] | [b'G', b'B' | b'R', a, b] | [b'R', b'G', a, b] if a.is_ascii_digit() => {
            b.is_ascii_digit()
        }
        _ => [*b"GBRG", *b"GRBG", *b"RGGB", *b"BYR2"].contains(&fourcc),
    }
}

/// The YCbCr that V4L2's numbers for colour space and quantisation mean, by the kernel's own default rules.
pub fn yuv(colorspace: u32, quantization: u32) -> Yuv {
    const JPEG: u32 = 7;
    const FULL: u32 = 1;
    let full = quantization == FULL || quantization == 0 && colorspace == JPEG;
    // Rec. 709 and DCI-P3 have that matrix; SMPTE 240M and BT.2020 are nearest to it.
    match (matches!(colorspace, 2 | 3 | 10 | 12), full) {
        (false, false) => Yuv::Bt601,
        (false, true) => Yuv::Bt601Full,
        (true, false) => Yuv::Bt709,
        (true, true) => Yuv::Bt709Full,
    }
}

/// The planes of a frame, each as its rows and the bytes of a row with and without padding.
fn planes(layout: Layout, (width, height): (usize, usize), stride: usize) -> [(usize, usize, usize); 3] {
    let row = layout.row_bytes(width);
    match layout {
        Layout::Nv12 | Layout::Nv21 => [
            (height, stride, row),
            (height.div_ceil(2), stride.next_multiple_of(2), row.next_multiple_of(2)),
            (0, 0, 0),
        ],
        Layout::Planar { h, v } => {
            let chroma = (height.div_ceil(1 << v), stride.div_ceil(1 << h), row.div_ceil(1 << h));
            [(height, stride, row), chroma, chroma]
        }
        _ => [(height, stride, row), (0, 0, 0), (0, 0, 0)],
    }
}

/// Removes the padding of a frame's rows and the bytes after the last row. The frame must be complete.
pub fn unpad_in_place(layout: Layout, size: (usize, usize), stride: usize, frame: &mut Vec<u8>) {
    let (mut from, mut to) = (0, 0);
    for (rows, padded, plain) in planes(layout, size, stride) {
        for _ in 0..rows {
            if from + plain <= frame.len() {
                frame.copy_within(from..from + plain, to);
            }
            (from, to) = (from + padded, to + plain);
        }
    }
    frame.truncate(to);
}

/// Copies a frame without the padding of its rows. Returns false if the bytes end before the frame does.
pub fn unpad(layout: Layout, (width, height): (usize, usize), stride: usize, from: &[u8], to: &mut Vec<u8>) -> bool {
    let row = layout.row_bytes(width);
    let stride = stride.max(row);
    to.clear();
    if stride == row {
        let Some(whole) = from.get(..layout.frame_bytes(row, height)) else { return false };
        to.extend_from_slice(whole);
        return true;
    }
    let mut at = 0;
    for (rows, padded, plain) in planes(layout, (width, height), stride) {
        for _ in 0..rows {
            let Some(bytes) = from.get(at..at + plain) else { return false };
            to.extend_from_slice(bytes);
            at += padded;
        }
    }
    true
}

/// The role of a video node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A camera that can be used.
    Camera,
    /// A sensor behind CSI: raw Bayer, without exposure or white balance.
    RawSensor,
    /// A camera that delivers its pictures in several planes of memory.
    MultiPlanar,
    /// Metadata of a camera, no pictures.
    Metadata,
    /// A codec, an image processor or an output.
    Converter,
    /// It delivers pictures, but in no supported format.
    Unreadable,
}

/// The properties that decide a node's role.
#[derive(Debug, Clone, Copy, Default)]
pub struct Abilities {
    /// It captures pictures, in one plane of memory.
    pub captures: bool,
    /// It captures pictures, in several planes of memory.
    pub captures_planes: bool,
    /// Raw Bayer is among its formats, or may be.
    pub bayer: bool,
    /// It captures by streaming.
    pub streams: bool,
    /// It delivers metadata.
    pub metadata: bool,
    /// One of its formats is supported.
    pub readable: bool,
}

/// The role of a node of this driver.
pub fn role(driver: &str, can: Abilities) -> Role {
    let csi = ["unicam", "rp1-cfe", "rp1-csi2", "bcm2835-unicam"].iter().any(|d| driver.starts_with(d));
    let pi_converter = ["bcm2835-codec", "bcm2835-isp", "pispbe", "rpi-hevc-dec"].iter().any(|d| driver.starts_with(d));
    match can {
        // An HDMI grabber behind CSI delivers finished pictures only.
        Abilities { captures: true, streams: true, readable: true, bayer: false, .. } if csi => Role::Camera,
        _ if csi => Role::RawSensor,
        _ if pi_converter => Role::Converter,
        Abilities { metadata: true, captures: false, .. } => Role::Metadata,
        Abilities { captures: true, streams: true, readable: true, .. } => Role::Camera,
        Abilities { captures: true, .. } => Role::Unreadable,
        Abilities { captures_planes: true, .. } => Role::MultiPlanar,
        _ => Role::Converter,
    }
}

impl Role {
    /// The role in words that follow the node's name.
    pub fn words(self) -> &'static str {
        match self {
            Role::Camera => "a camera",
            Role::RawSensor => {
                "a CSI sensor's raw picture, without exposure or white balance; use the source \"rpicam:\" instead"
            }
            Role::MultiPlanar => {
                "a camera of several planes of memory (V4L2's multi-planar interface), which cannot be read here; use the \
                 source \"rpicam:\" for a Raspberry Pi's own camera, or a pipe: ffmpeg -f v4l2 -i NODE -f yuv4mpegpipe - | \
                 hueflow-edge run --source y4m:-"
            }
            Role::Metadata => "a camera's metadata, not pictures; the camera itself is another node",
            Role::Converter => "a codec, an image processor or an output, not a camera",
            Role::Unreadable => {
                "a camera whose pixel formats cannot be read (YUYV, UYVY, NV12, NV21, YU12, RGB3, BGR3, MJPG, GREY can)"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(fourcc: &[u8; 4], width: u32, height: u32, fps_max: f64) -> Mode {
        Mode { fourcc: *fourcc, width, height, fps_max }
    }

    #[test]
    fn yuyv_where_it_is_fast_enough_else_mjpg() {
        let webcam = [
            mode(b"MJPG", 640, 480, 30.0),
            mode(b"YUYV", 640, 480, 30.0),
            mode(b"MJPG", 1280, 720, 30.0),
            mode(b"YUYV", 1280, 720, 10.0),
            mode(b"H264", 1280, 720, 60.0),
            mode(b"GREY", 1280, 720, 60.0),
        ];
        let pick = |width, height, fps, format| {
            choose(&webcam, &Ask { width, height, fps, format, ..Ask::default() }).unwrap()
        };
        assert_eq!(pick(640, 480, 30.0, None), webcam[1]);
        assert_eq!(pick(1280, 720, 30.0, None), webcam[2]);
        assert_eq!(pick(1280, 720, 10.0, None), webcam[3]);
        assert_eq!(pick(1280, 720, 60.0, Some(*b"YUYV")), webcam[3]);
        assert_eq!(pick(800, 600, 30.0, None), webcam[2], "larger rather than smaller");
        assert_eq!(choose(&webcam, &Ask { format: Some(*b"NV12"), ..Ask::default() }), None);
        assert_eq!(choose(&webcam[4..5], &Ask::default()), None);
    }

    #[test]
    fn a_rate_like_29_97_is_30() {
        let modes = [mode(b"MJPG", 640, 480, 60.0), mode(b"YUYV", 640, 480, 30_000.0 / 1001.0)];
        assert_eq!(choose(&modes, &Ask::default()).unwrap().fourcc, *b"YUYV");
    }

    #[test]
    fn the_kernels_rules_for_defaults_hold() {
        let (smpte170m, rec709, jpeg, srgb) = (1, 3, 7, 8);
        assert_eq!(yuv(smpte170m, 0), Yuv::Bt601);
        assert_eq!(yuv(srgb, 0), Yuv::Bt601);
        assert_eq!(yuv(jpeg, 0), Yuv::Bt601Full);
        assert_eq!(yuv(rec709, 0), Yuv::Bt709);
        assert_eq!(yuv(rec709, 1), Yuv::Bt709Full);
        assert_eq!(yuv(jpeg, 2), Yuv::Bt601);
    }

    #[test]
    fn padding_goes_and_a_short_buffer_is_noticed() {
        let mut out = Vec::new();
        let padded = [1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12];
        assert!(unpad(Layout::Rgb24, (2, 2), 8, &padded, &mut out));
        assert_eq!(out, (1..=12).collect::<Vec<u8>>());
        assert!(!unpad(Layout::Rgb24, (2, 2), 8, &padded[..13], &mut out));
        assert!(!unpad(Layout::Yuyv, (2, 2), 4, &padded[..7], &mut out));
        // 3x2 with rows of 4: luma, then chroma.
        let nv12 = [1, 2, 3, 0, 4, 5, 6, 0, 90, 200, 110, 140];
        assert!(unpad(Layout::Nv12, (3, 2), 4, &nv12, &mut out));
        assert_eq!(out, [1, 2, 3, 4, 5, 6, 90, 200, 110, 140]);
        let yu12 = [1, 2, 3, 0, 0, 0, 4, 5, 6, 0, 0, 0, 90, 110, 0, 200, 140, 0];
        assert!(unpad(Layout::I420, (3, 2), 6, &yu12, &mut out));
        assert_eq!(out, [1, 2, 3, 4, 5, 6, 90, 110, 200, 140]);
        let mut moved = yu12.to_vec();
        unpad_in_place(Layout::I420, (3, 2), 6, &mut moved);
        assert_eq!(moved, out, "the same in place");
    }

    #[test]
    fn bayer_is_known_by_its_names() {
        let all = |names: &[&[u8; 4]], want| names.iter().for_each(|n| assert_eq!(is_bayer(**n), want, "{n:?}"));
        all(&[b"BA81", b"GBRG", b"GRBG", b"RGGB", b"pBAA", b"pgAA", b"pRCC", b"BG10", b"RG12", b"BYR2"], true);
        all(&[b"YUYV", b"UYVY", b"RGB3", b"BGR3", b"RGBP", b"BGR4", b"RGB4", b"GREY", b"NV12", b"MJPG"], false);
    }

    #[test]
    fn nodes_that_are_no_camera_are_told_apart() {
        let camera = Abilities { captures: true, streams: true, readable: true, ..Abilities::default() };
        let sensor = Abilities { bayer: true, ..camera };
        assert_eq!(role("uvcvideo", camera), Role::Camera);
        assert_eq!(role("vivid", camera), Role::Camera);
        assert_eq!(role("unicam", sensor), Role::RawSensor);
        assert_eq!(role("unicam", Abilities { readable: false, ..sensor }), Role::RawSensor);
        assert_eq!(role("unicam", camera), Role::Camera, "an HDMI grabber: UYVY and BGR3, no Bayer");
        let planes = Abilities { captures_planes: true, ..Abilities::default() };
        assert_eq!(role("rkisp1", planes), Role::MultiPlanar);
        assert_eq!(role("bcm2835-isp", planes), Role::Converter);
        assert!(role("vivid", planes).words().contains("multi-planar"));
        assert!(role("rp1-cfe", sensor).words().contains("rpicam:"));
        assert_eq!(role("bcm2835-codec-decode", camera), Role::Converter);
        assert_eq!(role("uvcvideo", Abilities { metadata: true, ..Abilities::default() }), Role::Metadata);
        assert_eq!(role("uvcvideo", Abilities { readable: false, ..camera }), Role::Unreadable);
    }
}
