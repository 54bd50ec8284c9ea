//! Caption: what is said of a frame in one line, as much of it as there is room for.
//!
//! Takes a report, and the rate at which frames come. Gives text, the most important first.
//! Touches nothing.
//! Never a word cut in two: what does not fit is left out, and where little fits, colours and rate are abbreviated.

use crate::wire::Report;
use core::fmt::{Arguments, Write};
use heapless::String;

/// Bytes of the longest caption.
pub const CAPTION_BYTES_MAX: usize = 128;
/// A rate from here on has no decimals.
const PLAIN_TENTHS: u32 = 1000;

/// The caption of a frame in at most `chars` characters; `fps_tenths` are frames in ten seconds.
pub fn caption(report: &Report, fps_tenths: Option<u32>, chars: usize) -> String<CAPTION_BYTES_MAX> {
    let colours = report.palette.len();
    let fps = |tenths: u32, decimals: bool| Tenths { tenths, decimals: decimals && tenths < PLAIN_TENTHS };
    let ms = Tenths { tenths: report.micros.total.saturating_add(50) / 100, decimals: true };
    let mut line = Line { text: String::new(), chars: chars.min(CAPTION_BYTES_MAX), gap: "  ", full: false };
    line.add(format_args!("{colours} colours{}", if report.saturated { " (saturated)" } else { "" }));
    if let Some(tenths) = fps_tenths {
        line.add(format_args!("{} fps", fps(tenths, true)));
    }
    if line.full {
        line = Line { text: String::new(), gap: " ", full: false, ..line };
        line.add(format_args!("K{colours}{}", if report.saturated { "+" } else { "" }));
        if let Some(tenths) = fps_tenths {
            line.add(format_args!("{} fps", fps(tenths, false)));
        }
        line.add(format_args!("{ms} ms"));
        return line.text;
    }
    line.add(format_args!("{ms} ms"));
    line.add(format_args!("{} iterations", report.iterations));
    line.add(format_args!("frame {}", report.frame));
    line.text
}

/// A number in tenths; rounded where it is to have no decimals.
struct Tenths {
    tenths: u32,
    decimals: bool,
}

impl core::fmt::Display for Tenths {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.decimals {
            write!(f, "{}.{}", self.tenths / 10, self.tenths % 10)
        } else {
            write!(f, "{}", (self.tenths.saturating_add(5)) / 10)
        }
    }
}

struct Line {
    text: String<CAPTION_BYTES_MAX>,
    chars: usize,
    gap: &'static str,
    /// Something did not fit: nothing less important is added either.
    full: bool,
}

impl Line {
    fn add(&mut self, part: Arguments<'_>) {
        if self.full {
            return;
        }
        let before = self.text.len();
        let gap = if before == 0 { "" } else { self.gap };
        // All of it is ASCII: bytes are characters.
        if write!(self.text, "{gap}{part}").is_err() || self.text.len() > self.chars {
            self.text.truncate(before);
            self.full = true;
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::view::tests::report;

    fn text(report: &Report, fps_tenths: Option<u32>, chars: usize) -> std::string::String {
        caption(report, fps_tenths, chars).as_str().into()
    }

    #[test]
    fn what_matters_least_is_left_out_first() {
        let mut r = report();
        (r.frame, r.iterations, r.micros.total) = (1234, 7, 4_149);
        let all = "3 colours  29.8 fps  4.1 ms  7 iterations  frame 1234";
        assert_eq!(text(&r, Some(298), 99), all);
        assert_eq!(text(&r, Some(298), all.len()), all);
        assert_eq!(text(&r, Some(298), all.len() - 1), "3 colours  29.8 fps  4.1 ms  7 iterations");
        assert_eq!(text(&r, Some(298), 27), "3 colours  29.8 fps  4.1 ms");
        assert_eq!(text(&r, Some(298), 18), "K3 30 fps 4.1 ms");
        assert_eq!(text(&r, Some(298), 13), "K3 30 fps");
        assert_eq!((text(&r, Some(298), 5), text(&r, Some(298), 1)), ("K3".into(), "".into()));
        assert_eq!(text(&r, None, 20), "3 colours  4.1 ms");
        assert_eq!(text(&r, Some(2404), 21), "3 colours  240 fps");
    }

    #[test]
    fn the_largest_numbers_fit_the_smallest_glass() {
        let mut r = report();
        r.saturated = true;
        assert_eq!(text(&r, Some(99_999), 13), "K3+ 10000 fps");
        (r.frame, r.iterations, r.micros.total) = (u64::MAX, u32::MAX, u32::MAX);
        assert!(text(&r, Some(u32::MAX), 128).ends_with("frame 18446744073709551615"));
    }
}
