//! The caption: one line of text about a frame, as long as there is room for.
//!
//! Inputs are a report, the frame rate and the width in characters; the result is a string of fixed capacity. The
//! number of colours comes first, then the colours that the palette misses if there are any, then the frame rate and
//! less important numbers. An item that does not fit is left out with all that follow, and no item is cut. On a narrow
//! target the first three are abbreviated (`K13!2 30 fps`: 13 colours, 2 missed).

use crate::report::Report;
use core::fmt::{Arguments, Write};
use heapless::String;

/// Most bytes of a caption.
pub const CAPTION_BYTES_MAX: usize = 128;
/// Rates from 100.0 on, in tenths, are shown without decimals.
const PLAIN_TENTHS: u32 = 1000;

/// The caption of a frame in at most `chars` characters; `fps_tenths` are frames in ten seconds.
pub fn caption(report: &Report, fps_tenths: Option<u32>, chars: usize) -> String<CAPTION_BYTES_MAX> {
    let colours = report.palette.len();
    let fps = |tenths: u32, decimals: bool| Tenths { tenths, decimals: decimals && tenths < PLAIN_TENTHS };
    let ms = Tenths { tenths: report.micros.total.saturating_add(50) / 100, decimals: true };
    let mut line = Line { text: String::new(), chars: chars.min(CAPTION_BYTES_MAX), gap: "  ", full: false };
    let missed = report.missed.filter(|&n| n > 0);
    line.add(format_args!("{colours} colours{}", if report.saturated { " (saturated)" } else { "" }));
    if let Some(missed) = missed {
        line.add(format_args!("{missed} missed"));
    }
    if let Some(tenths) = fps_tenths {
        line.add(format_args!("{} fps", fps(tenths, true)));
    }
    if line.full {
        line = Line { text: String::new(), gap: " ", full: false, ..line };
        let plus = if report.saturated { "+" } else { "" };
        match missed {
            Some(missed) => line.add(format_args!("K{colours}{plus}!{missed}")),
            None => line.add(format_args!("K{colours}{plus}")),
        }
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

/// A number in tenths, shown with one decimal or rounded to a whole number.
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
    /// An item did not fit, so no less important one is added.
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
    fn missed_colours_are_said_wherever_colours_are() {
        let mut r = report();
        (r.missed, r.beyond_px, r.frame, r.iterations, r.micros.total) = (Some(2), Some(4), 1234, 7, 4_149);
        let all = "3 colours  2 missed  29.8 fps  4.1 ms  7 iterations  frame 1234";
        assert_eq!(text(&r, Some(298), 99), all);
        assert_eq!(text(&r, Some(298), 29), "3 colours  2 missed  29.8 fps");
        assert_eq!(text(&r, Some(298), 28), "K3!2 30 fps 4.1 ms");
        assert_eq!(text(&r, Some(298), 13), "K3!2 30 fps");
        assert_eq!(text(&r, None, 19), "3 colours  2 missed");
        assert_eq!(text(&r, None, 18), "K3!2 4.1 ms");
        r.missed = None;
        assert_eq!(text(&r, None, 9), "3 colours");
    }

    #[test]
    fn no_caption_is_longer_than_its_room() {
        let mut r = report();
        (r.missed, r.saturated) = (Some(u32::MAX), true);
        (r.frame, r.iterations, r.micros.total) = (u64::MAX, u32::MAX, u32::MAX);
        for chars in 0..200 {
            let text = text(&r, Some(u32::MAX), chars);
            assert!(text.len() <= chars, "{text}");
            assert!(text.is_empty() || text.contains(&std::format!("{}", u32::MAX)), "{text}");
        }
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
