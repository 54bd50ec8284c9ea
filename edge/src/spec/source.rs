//! A source of frames as a person names it: `v4l2:0?fps=15`, `rpicam:`, `file:PATH`, `y4m:-`, `synthetic:640x480@30`.
//!
//! [`SourceSpec::parse`] reads the text once; printing gives the same text again. A path may have bytes that are not
//! UTF-8. Parsing opens nothing: whether the camera or the file exists is found out when it is opened.

use super::ask::AskOptions;
use super::rpicam;
use firmware::limits::{PIXELS_MAX, WIDTH_PX_MAX};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The forms that a source may have, for messages.
pub const FORMS: &str = "v4l2:CAMERA, rpicam:, file:PATH, file:-, y4m:PATH, y4m:- or synthetic:WIDTHxHEIGHT@FPS";
/// Frames a second of a synthetic source without a rate of its own.
const SYNTHETIC_FPS: f64 = 30.0;
/// What separates a clip's path from its rate, for clips whose file has none.
const FPS_OPTION: &[u8] = b"?fps=";

/// Where frames come from.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceSpec {
    /// A camera by V4L2.
    V4l2 {
        /// A path, a number, or a part of the camera's name.
        camera: String,
        /// What is asked of this camera.
        options: AskOptions,
    },
    /// A Raspberry Pi's CSI camera by `rpicam-vid`.
    Rpicam {
        /// What only this kind of source can be asked for.
        own: rpicam::Options,
        /// What is asked of this camera.
        options: AskOptions,
    },
    /// A picture or a video file.
    File {
        /// The file; `-` is standard input.
        path: PathBuf,
        /// Frames a second, for a clip whose file has no rate.
        fps: Option<f64>,
    },
    /// A Y4M file.
    Y4m(PathBuf),
    /// Y4M on standard input.
    StandardInput,
    /// A drawn scene that moves.
    Synthetic {
        /// Pixels in a row.
        width: usize,
        /// Rows.
        height: usize,
        /// Frames a second.
        fps: f64,
    },
}

/// Why a text is no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// It has none of the forms.
    #[error("source {0:?} is not known; use {FORMS}{1}")]
    Unknown(String, String),
    /// An option or a size is wrong.
    #[error("source {0:?}: {1}")]
    Wrong(String, String),
}

impl SpecError {
    /// What it must be, in words that follow "must be".
    pub fn why(&self) -> String {
        match self {
            SpecError::Unknown(_, hint) => format!("{FORMS}{hint}"),
            SpecError::Wrong(_, why) => format!("a source whose options are right: {why}"),
        }
    }
}

impl SourceSpec {
    /// Reads a source's specification.
    ///
    /// # Errors
    /// [`SpecError`].
    pub fn parse(text: impl AsRef<OsStr>) -> Result<SourceSpec, SpecError> {
        let text = text.as_ref();
        let (kind, rest) = split_once(text.as_bytes(), b":").ok_or_else(|| unknown(text))?;
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let wrong = |why: String| SpecError::Wrong(text.to_string_lossy().into_owned(), why);
        let words = || std::str::from_utf8(rest).map_err(|_| wrong("it is not UTF-8".into()));
        match kind {
            b"v4l2" => {
                let (camera, options) = words()?.split_once('?').unwrap_or((words()?, ""));
                let options = AskOptions::parse(options).map_err(wrong)?;
                Ok(SourceSpec::V4l2 { camera: camera.to_owned(), options })
            }
            b"rpicam" => {
                let (own, rest) = rpicam::Options::taken(words()?).map_err(wrong)?;
                let (camera, options) = rest.split_once('?').unwrap_or((&rest, ""));
                if !camera.is_empty() {
                    return Err(wrong(format!("{camera:?} is not an option; options follow a question mark")));
                }
                Ok(SourceSpec::Rpicam { own, options: AskOptions::parse(options).map_err(wrong)? })
            }
            b"file" => SourceSpec::file(OsStr::from_bytes(rest)).map_err(|why| wrong(why.into())),
            b"y4m" if rest == b"-" => Ok(SourceSpec::StandardInput),
            b"y4m" if !rest.is_empty() => Ok(SourceSpec::Y4m(path(rest))),
            b"synthetic" => synthetic(words()?).map_err(wrong),
            _ => Err(unknown(text)),
        }
    }

    /// Reads `PATH` or `PATH?fps=N`, as `file:` is followed by.
    ///
    /// # Errors
    /// What is wrong.
    pub fn file(text: &OsStr) -> Result<SourceSpec, &'static str> {
        let bytes = text.as_bytes();
        let at = bytes.windows(FPS_OPTION.len()).rposition(|w| w == FPS_OPTION);
        let (path, fps) = match at {
            None => (bytes, None),
            Some(at) => {
                let word = std::str::from_utf8(&bytes[at + FPS_OPTION.len()..]).ok();
                let fps = word.and_then(|w| w.parse().ok()).filter(|fps: &f64| (0.001..=1000.0).contains(fps));
                (&bytes[..at], Some(fps.ok_or("fps must be a number from 0.001 to 1000")?))
            }
        };
        if path.is_empty() {
            return Err("the path is empty");
        }
        Ok(SourceSpec::File { path: OsStr::from_bytes(path).into(), fps })
    }

    /// Reads an input of `cluster`: a path, or a specification of a source that ends.
    ///
    /// # Errors
    /// [`SpecError`].
    pub fn of_input(text: &OsStr) -> Result<SourceSpec, SpecError> {
        let has = |kind: &str| text.as_bytes().starts_with(kind.as_bytes());
        if ["y4m:", "synthetic:", "file:"].into_iter().any(has) {
            return SourceSpec::parse(text);
        }
        let wrong = |why: &str| SpecError::Wrong(text.to_string_lossy().into_owned(), why.into());
        SourceSpec::file(text).map_err(wrong)
    }

    /// Returns true if frames come from a device, which may be absent and come back.
    pub fn is_live(&self) -> bool {
        matches!(self, SourceSpec::V4l2 { .. } | SourceSpec::Rpicam { .. })
    }

    /// The text that [`SourceSpec::parse`] reads, byte for byte.
    pub fn to_os_string(&self) -> OsString {
        let (kind, path, end) = match self {
            SourceSpec::File { path, fps } => ("file:", path, fps.map_or(String::new(), |fps| format!("?fps={fps}"))),
            SourceSpec::Y4m(path) => ("y4m:", path, String::new()),
            other => return other.to_string().into(),
        };
        let mut text = OsString::from(kind);
        text.push(path);
        text.push(end);
        text
    }
}

/// The same with what is not UTF-8 replaced, for messages.
impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceSpec::V4l2 { camera, options } => write!(f, "v4l2:{camera}{options}"),
            SourceSpec::Rpicam { own, options } => {
                // Each has a question mark of its own; there is one in a specification.
                let (own, options) = (own.to_string(), options.to_string());
                let options = if own.is_empty() { options } else { options.replacen('?', "&", 1) };
                write!(f, "rpicam:{own}{options}")
            }
            SourceSpec::StandardInput => f.write_str("y4m:-"),
            SourceSpec::Synthetic { width, height, fps } => write!(f, "synthetic:{width}x{height}@{fps}"),
            SourceSpec::File { .. } | SourceSpec::Y4m(_) => f.write_str(&self.to_os_string().to_string_lossy()),
        }
    }
}

/// The form is unknown; what may be meant is named.
fn unknown(text: &OsStr) -> SpecError {
    let text = text.to_string_lossy();
    let hint = if text.starts_with("/dev/video") {
        format!("; did you mean v4l2:{text}?")
    } else if text.contains(['.', '/']) && !text.contains(':') {
        format!("; did you mean file:{text}?")
    } else {
        String::new()
    };
    SpecError::Unknown(text.into_owned(), hint)
}

fn synthetic(text: &str) -> Result<SourceSpec, String> {
    let parse = || {
        let (size, fps) = text.split_once('@').map_or((text, None), |(size, fps)| (size, Some(fps)));
        let (width, height) = size.split_once('x')?;
        let fps = fps.map_or(Some(SYNTHETIC_FPS), |fps| fps.parse().ok());
        Some((width.parse().ok()?, height.parse().ok()?, fps.filter(|r: &f64| (0.001..=1000.0).contains(r))?))
    };
    let form = "it must be synthetic:WIDTHxHEIGHT@FPS, with 0.001 to 1000 frames a second";
    let (width, height, fps): (usize, usize, f64) = parse().ok_or(form)?;
    let pixels = width.checked_mul(height).filter(|n| (1..=PIXELS_MAX).contains(n) && width <= WIDTH_PX_MAX);
    if pixels.is_none() {
        return Err(format!("a frame has 1 to {PIXELS_MAX} pixels in rows of at most {WIDTH_PX_MAX}"));
    }
    Ok(SourceSpec::Synthetic { width, height, fps })
}

fn split_once<'a>(text: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let i = text.windows(at.len()).position(|w| w == at)?;
    Some((&text[..i], &text[i + at.len()..]))
}

#[cfg(test)]
mod tests {
    use super::super::locks::{Lock, Locks};
    use super::*;
    use proptest::prelude::*;

    fn lock(which: usize) -> impl Strategy<Value = Option<Lock>> {
        let (min, max) = Locks::RANGES[which];
        proptest::option::of(prop_oneof![Just(Lock::AsIs), Just(Lock::Auto), (min..=max).prop_map(Lock::At)])
    }

    prop_compose! {
        fn options()(
            width in proptest::option::of(1..=8192u32),
            height in proptest::option::of(1..=8192u32),
            fps in proptest::option::of(0.01..1000.0f64),
            format in proptest::option::of(proptest::option::of(prop_oneof![Just(*b"YUYV"), Just(*b"NV12")])),
            exposure in lock(0),
            white_balance in lock(1),
            gain in lock(2),
        ) -> AskOptions {
            AskOptions { width, height, fps, format, exposure, white_balance, gain }
        }
    }

    fn rpicam_options() -> impl Strategy<Value = rpicam::Options> {
        let flags = (0..2u8, 0..2u8, 0..16u32, 0.0..0.5f64, 0.01..32.0f64, any::<bool>());
        flags.prop_map(|(h, v, camera, share, gain, all)| {
            let text = if all {
                format!("?camera={camera}&hflip={h}&vflip={v}&roi={share},0,0.5,{gain}&awbgains={gain},1&align=64")
            } else {
                format!("?hflip={h}&vflip={v}")
            };
            rpicam::Options::taken(&text.replace(&format!("0.5,{gain}&"), "0.5,1&")).unwrap().0
        })
    }

    /// Any bytes that a path may have; none that reads as an option of its own.
    fn path() -> impl Strategy<Value = PathBuf> {
        let bytes = proptest::collection::vec(1..=255u8, 1..40);
        bytes
            .prop_map(|b| PathBuf::from(OsStr::from_bytes(&b)))
            .prop_filter("options", |p| !p.to_string_lossy().contains("?fps=") && p.as_os_str() != "-")
    }

    fn spec() -> impl Strategy<Value = SourceSpec> {
        prop_oneof![
            ("[^?]{0,20}", options()).prop_map(|(camera, options)| SourceSpec::V4l2 { camera, options }),
            (rpicam_options(), options()).prop_map(|(own, options)| SourceSpec::Rpicam { own, options }),
            (path(), proptest::option::of(0.001..1000.0f64)).prop_map(|(path, fps)| SourceSpec::File { path, fps }),
            path().prop_map(SourceSpec::Y4m),
            Just(SourceSpec::StandardInput),
            (1..=8192usize, 1..=1024usize, 0.001..1000.0f64).prop_map(|(width, height, fps)| SourceSpec::Synthetic {
                width,
                height,
                fps
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_and_prints_the_same(spec in spec()) {
            let text = spec.to_os_string();
            let read = SourceSpec::parse(&text).unwrap();
            prop_assert_eq!(&read, &spec);
            prop_assert_eq!(read.to_os_string(), text);
        }
    }

    #[test]
    fn what_people_type_is_printed_as_they_typed_it() {
        for text in [
            "v4l2:0",
            "v4l2:usb-HD_Cam-video-index0?width=1280&height=720",
            "rpicam:",
            "rpicam:?fps=15",
            "rpicam:?camera=1&hflip=1&roi=0.25,0.25,0.5,0.5&awbgains=1.8,1.5&width=640",
            "file:clip.mjpeg?fps=10",
            "file:/a b/c.png",
            "y4m:-",
            "y4m:clip.y4m",
            "synthetic:640x480@30",
            "synthetic:640x480@0.1",
        ] {
            assert_eq!(SourceSpec::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(SourceSpec::parse("synthetic:8x8").unwrap().to_string(), "synthetic:8x8@30");
    }

    #[test]
    fn what_is_no_source_is_refused_with_what_may_be_meant() {
        for bad in ["", "nowhere", "x:y", "synthetic:640", "synthetic:640x", "synthetic:0x5@30", "synthetic:640x480@0"]
        {
            assert!(SourceSpec::parse(bad).is_err(), "{bad}");
        }
        for bad in ["synthetic:1x1@nan", "synthetic:99999x99999@30", "synthetic:axb", "y4m:", "file:", "file:a?fps=0"] {
            assert!(SourceSpec::parse(bad).is_err(), "{bad}");
        }
        let hint = |text: &str| SourceSpec::parse(text).unwrap_err().to_string();
        assert!(hint("/dev/video0").contains("did you mean v4l2:/dev/video0?"));
        assert!(hint("photo.png").contains("did you mean file:photo.png?"));
        assert!(hint("v4l2:0?width=0").contains("width=0"));
        assert!(hint("rpicam:front").contains("question mark"));
    }

    #[test]
    fn an_input_is_a_path_unless_it_names_a_kind() {
        let input = |text: &[u8]| SourceSpec::of_input(OsStr::from_bytes(text)).unwrap();
        assert_eq!(
            input(b"caf\xe9.png"),
            SourceSpec::File { path: OsStr::from_bytes(b"caf\xe9.png").into(), fps: None }
        );
        assert_eq!(input(b"a:b.png"), SourceSpec::File { path: "a:b.png".into(), fps: None });
        assert_eq!(input(b"y4m:c"), SourceSpec::Y4m("c".into()));
        assert_eq!(input(b"c.mjpeg?fps=2.5"), SourceSpec::File { path: "c.mjpeg".into(), fps: Some(2.5) });
    }
}
