//! Ask: what a live source is asked for: width, height, rate, pixel format, and what it is to hold still.
//!
//! Takes the configuration's words, and options behind a `?` in a source's description. Gives numbers within bounds.
//! Touches nothing.
//! Never a promise: what the device can do is decided when it is opened.

use super::locks::{Lock, Locks};

/// Most pixels in a row or a column that can be asked for.
const SIDE_PX_MAX: u32 = 8192;
/// Most frames a second.
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
    /// Takes `NAME?width=640&height=360&fps=40&format=YUYV` apart; what it does not say stays as `self` says.
    ///
    /// # Errors
    /// Which option is wrong, in words.
    pub fn refined(mut self, description: &str) -> Result<(String, Ask), String> {
        let (name, options) = description.split_once('?').unwrap_or((description, ""));
        for option in options.split('&').filter(|o| !o.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let right = match key {
                "width" => put(&mut self.width, side(value)),
                "height" => put(&mut self.height, side(value)),
                "fps" => put(&mut self.fps, value.parse().ok().filter(|f| rate_allowed(*f))),
                "format" => put(&mut self.format, format(value)),
                "exposure" => put(&mut self.locks.exposure, lock(value, 0)),
                "white_balance" => put(&mut self.locks.white_balance, lock(value, 1)),
                "gain" => put(&mut self.locks.gain, lock(value, 2)),
                _ => false,
            };
            if !right {
                return Err(format!(
                    "{option:?} is not an option; use width and height (1 to {SIDE_PX_MAX}), fps (above 0 to {FPS_MAX}), \
                     format (auto or four letters such as YUYV), exposure, white_balance and gain (as-is, auto or a number)"
                ));
            }
        }
        Ok((name.to_owned(), self))
    }
}

fn put<T>(place: &mut T, value: Option<T>) -> bool {
    value.map(|v| *place = v).is_some()
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
    letters.iter().all(u8::is_ascii_graphic).then_some(Some(letters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_in_the_description_win_over_the_configuration() {
        let ask = Ask { fps: 15.0, ..Ask::default() };
        let (name, ask) = ask.refined("/dev/video0?width=640&height=360&format=nv12").unwrap();
        assert_eq!((name.as_str(), ask.width, ask.height, ask.fps), ("/dev/video0", 640, 360, 15.0));
        assert_eq!(ask.format, Some(*b"NV12"));
        let (_, locked) = ask.refined("x?exposure=100&white_balance=auto").unwrap();
        assert_eq!((locked.locks.exposure, locked.locks.white_balance), (Lock::At(100), Lock::Auto));
        assert_eq!(locked.locks.gain, Lock::AsIs);
        let (name, same) = ask.refined("My Camera").unwrap();
        assert_eq!((name.as_str(), same), ("My Camera", ask));
        assert_eq!(ask.refined("x?format=auto").unwrap().1.format, None);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
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
            let why = Ask::default().refined(&format!("/dev/video0?{bad}")).unwrap_err();
            assert!(why.contains(bad) && why.contains("fps"), "{why}");
        }
    }
}
