//! What a live source is asked for: width, height, frame rate, pixel format, exposure, white balance and gain.
//!
//! The configuration's `[camera]` section gives an [`Ask`]; options behind a `?` in a source's specification give
//! [`AskOptions`], which win over it. Both are requests: what the device can do is decided when it is opened.

use super::locks::{Lock, Locks};
use std::fmt;

/// Most pixels in a row or a column that can be asked for.
const SIDE_PX_MAX: u32 = 8192;
/// Most frames a second that can be asked for.
const FPS_MAX: f64 = 1000.0;

/// What is asked of a camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ask {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames a second.
    pub fps: f64,
    /// V4L2's name of a pixel format; none: what fits best.
    pub format: Option<[u8; 4]>,
    /// Exposure, white balance and gain.
    pub locks: Locks,
}

impl Default for Ask {
    fn default() -> Ask {
        Ask { width: 640, height: 480, fps: 30.0, format: None, locks: Locks::default() }
    }
}

impl Ask {
    /// Takes `NAME?width=640&fps=40` apart; what its options leave out stays as in `self`.
    ///
    /// # Errors
    /// As [`AskOptions::parse`].
    pub fn refined(self, text: &str) -> Result<(String, Ask), String> {
        let (name, options) = text.split_once('?').unwrap_or((text, ""));
        Ok((name.to_owned(), AskOptions::parse(options)?.over(self)))
    }
}

/// What one source's specification asks for beside the configuration. None: as in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AskOptions {
    /// Pixels in a row.
    pub width: Option<u32>,
    /// Rows.
    pub height: Option<u32>,
    /// Frames a second.
    pub fps: Option<f64>,
    /// Pixel format; the inner option is none for `auto`.
    pub format: Option<Option<[u8; 4]>>,
    /// Exposure time in units of 100 microseconds.
    pub exposure: Option<Lock>,
    /// White balance in kelvin.
    pub white_balance: Option<Lock>,
    /// Gain in the device's own units.
    pub gain: Option<Lock>,
}

impl AskOptions {
    /// Reads `width=640&height=360&fps=40&format=YUYV`.
    ///
    /// # Errors
    /// A sentence that names the wrong option and the options that exist.
    pub fn parse(text: &str) -> Result<AskOptions, String> {
        let mut options = AskOptions::default();
        for option in text.split('&').filter(|o| !o.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let is_known = match key {
                "width" => put(&mut options.width, side(value)),
                "height" => put(&mut options.height, side(value)),
                "fps" => put(&mut options.fps, value.parse().ok().filter(|f| rate_allowed(*f))),
                "format" => put(&mut options.format, format(value)),
                "exposure" => put(&mut options.exposure, lock(value, 0)),
                "white_balance" => put(&mut options.white_balance, lock(value, 1)),
                "gain" => put(&mut options.gain, lock(value, 2)),
                _ => false,
            };
            if !is_known {
                return Err(format!(
                    "{option:?} is not an option; use width and height (1 to {SIDE_PX_MAX}), fps (above 0 to {FPS_MAX}), \
                     format (auto or four letters such as YUYV), exposure, white_balance and gain (as-is, auto or a number)"
                ));
            }
        }
        Ok(options)
    }

    /// `ask`, changed by these options.
    pub fn over(&self, ask: Ask) -> Ask {
        Ask {
            width: self.width.unwrap_or(ask.width),
            height: self.height.unwrap_or(ask.height),
            fps: self.fps.unwrap_or(ask.fps),
            format: self.format.unwrap_or(ask.format),
            locks: Locks {
                exposure: self.exposure.unwrap_or(ask.locks.exposure),
                white_balance: self.white_balance.unwrap_or(ask.locks.white_balance),
                gain: self.gain.unwrap_or(ask.locks.gain),
            },
        }
    }
}

/// `?width=640&fps=40`, in a fixed order; nothing if there are no options.
impl fmt::Display for AskOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = self.format.map(|f| f.map_or("auto".into(), |f| String::from_utf8_lossy(&f).into_owned()));
        let words = [
            ("width", self.width.map(|n| n.to_string())),
            ("height", self.height.map(|n| n.to_string())),
            ("fps", self.fps.map(|n| n.to_string())),
            ("format", format),
            ("exposure", self.exposure.map(|l| l.to_string())),
            ("white_balance", self.white_balance.map(|l| l.to_string())),
            ("gain", self.gain.map(|l| l.to_string())),
        ];
        let mut separator = '?';
        for (key, value) in words {
            if let Some(value) = value {
                write!(f, "{separator}{key}={value}")?;
                separator = '&';
            }
        }
        Ok(())
    }
}

fn put<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    value.map(|v| *place = Some(v)).is_some()
}

fn lock(word: &str, which: usize) -> Option<Lock> {
    let (min, max) = *Locks::RANGES.get(which)?;
    Lock::parse(word, min, max)
}

fn side(word: &str) -> Option<u32> {
    word.parse().ok().filter(|n| (1..=SIDE_PX_MAX).contains(n))
}

/// Whether a camera may be asked for so many frames a second.
pub fn rate_allowed(fps: f64) -> bool {
    (0.01..=FPS_MAX).contains(&fps)
}

/// `auto` or V4L2's four letters, in either case; the inner option is none for `auto`.
pub fn format(word: &str) -> Option<Option<[u8; 4]>> {
    if word.eq_ignore_ascii_case("auto") {
        return Some(None);
    }
    let letters: [u8; 4] = word.to_ascii_uppercase().as_bytes().try_into().ok()?;
    letters.iter().all(|b| b.is_ascii_graphic() && *b != b'&').then_some(Some(letters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_in_the_specification_win_over_the_configuration() {
        let ask = Ask { fps: 15.0, ..Ask::default() };
        let options = AskOptions::parse("width=640&height=360&format=nv12").unwrap();
        let ask = options.over(ask);
        assert_eq!((ask.width, ask.height, ask.fps, ask.format), (640, 360, 15.0, Some(*b"NV12")));
        let locked = AskOptions::parse("exposure=100&white_balance=auto").unwrap().over(ask);
        assert_eq!((locked.locks.exposure, locked.locks.white_balance), (Lock::At(100), Lock::Auto));
        assert_eq!(locked.locks.gain, Lock::AsIs);
        assert_eq!(AskOptions::parse("").unwrap().over(ask), ask);
        assert_eq!(ask.refined("My Camera?fps=3").unwrap(), ("My Camera".into(), Ask { fps: 3.0, ..ask }));
        assert_eq!(AskOptions::parse("format=auto").unwrap().over(ask).format, None);
    }

    #[test]
    fn a_wrong_option_is_refused_by_name() {
        for bad in [
            "width=0",
            "width=9000",
            "height=x",
            "fps=0",
            "fps=nan",
            "format=YUY",
            "speed=3",
            "width",
            "exposure=0",
            "gain=-1",
        ] {
            let why = AskOptions::parse(bad).unwrap_err();
            assert!(why.contains(bad) && why.contains("fps"), "{why}");
        }
    }
}
