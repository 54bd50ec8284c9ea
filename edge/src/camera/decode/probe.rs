//! Probe: ffprobe's report on a video, and the format in which ffmpeg delivers it.
//!
//! The input is ffprobe's report for [`Stream::of_json`], the result is that of [`Stream::delivery`]: planes that the core can read are
//! passed on unchanged, and all other formats become RGB by ffmpeg's accurate conversion. There are no side effects. Matrix and
//! range are those of the stream's tags; without tags a picture of at least [`BT709_LINES_MIN`] lines has BT.709's matrix.

use serde::Deserialize;

/// Untagged video of at least this many lines is high definition, which has BT.709's matrix.
const BT709_LINES_MIN: u32 = 720;

/// The properties that ffprobe reports.
pub const ENTRIES: &str = "stream=pix_fmt,width,height,color_space,color_range,avg_frame_rate,r_frame_rate";

#[derive(Debug, Deserialize)]
struct Report {
    #[serde(default)]
    streams: Vec<Stream>,
}

/// A video stream, in ffprobe's words.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Stream {
    #[serde(default)]
    pix_fmt: String,
    /// Pixels in a row.
    #[serde(default)]
    pub width: u32,
    /// Rows.
    #[serde(default)]
    pub height: u32,
    color_space: Option<String>,
    color_range: Option<String>,
    avg_frame_rate: Option<String>,
    r_frame_rate: Option<String>,
}

/// How ffmpeg delivers the frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// As planes in a Y4M stream.
    Planes {
        /// ffmpeg's name of the format, the stream's own if that can be read.
        pix_fmt: String,
        /// The matrix is BT.709's, else BT.601's.
        is_bt709: bool,
        /// The range in the stream's tags.
        is_full: Option<bool>,
    },
    /// As RGB, with opacity if the stream has it, in a stream of PAM pictures.
    Rgb {
        /// ffmpeg's filter that converts.
        filter: String,
        /// `rgb24` or `rgba`.
        pix_fmt: &'static str,
    },
}

impl Stream {
    /// The first stream of ffprobe's JSON.
    pub fn of_json(json: &[u8]) -> Option<Stream> {
        serde_json::from_slice::<Report>(json).ok()?.streams.into_iter().next().filter(|s| !s.pix_fmt.is_empty())
    }

    /// Frames a second; 25 if ffprobe does not know.
    pub fn rate(&self) -> f64 {
        let parse = |text: &Option<String>| {
            let (n, d) = text.as_deref()?.split_once('/')?;
            let (n, d): (f64, f64) = (n.parse().ok()?, d.parse().ok()?);
            (n > 0.0 && d > 0.0).then(|| (n / d).clamp(0.001, 1000.0))
        };
        parse(&self.avg_frame_rate).or_else(|| parse(&self.r_frame_rate)).unwrap_or(25.0)
    }

    /// How ffmpeg must deliver it.
    pub fn delivery(&self) -> Delivery {
        let is_full = match self.color_range.as_deref() {
            Some("pc") => Some(true),
            Some("tv") => Some(false),
            _ => self.pix_fmt.starts_with("yuvj").then_some(true),
        };
        let is_high = self.height >= BT709_LINES_MIN;
        let matrix = match self.color_space.as_deref() {
            None | Some("unknown" | "unspecified" | "reserved") => Some(is_high),
            Some("bt709") => Some(true),
            Some("bt470bg" | "smpte170m") => Some(false),
            Some(_) => None,
        };
        let planes = match self.pix_fmt.as_str() {
            "yuv420p" | "yuvj420p" | "yuv422p" | "yuvj422p" | "yuv444p" | "yuvj444p" | "yuv411p" | "gray" => {
                Some(self.pix_fmt.as_str())
            }
            // The same samples, in two planes.
            "nv12" | "nv21" if is_full != Some(true) => Some("yuv420p"),
            _ => None,
        };
        if let (Some(pix_fmt), Some(is_bt709)) = (planes, matrix) {
            return Delivery::Planes { pix_fmt: pix_fmt.into(), is_bt709, is_full };
        }
        let pix_fmt = if self.has_opacity() { "rgba" } else { "rgb24" };
        let mut filter = "scale=flags=accurate_rnd+full_chroma_int+full_chroma_inp+bitexact".to_owned();
        // ffmpeg follows the stream's tags where there are any, but takes BT.601 where there are none.
        if matrix == Some(true) && self.color_space.as_deref() != Some("bt709") && self.is_ycbcr() {
            filter += ":in_color_matrix=bt709";
        }
        Delivery::Rgb { filter: format!("{filter},format={pix_fmt}"), pix_fmt }
    }

    fn is_ycbcr(&self) -> bool {
        ["yuv", "nv", "p0", "p2", "p4", "uyvy", "yvyu", "y2", "xv", "vuy", "ayuv"]
            .iter()
            .any(|p| self.pix_fmt.starts_with(p))
    }

    fn has_opacity(&self) -> bool {
        let names = ["rgba", "bgra", "argb", "abgr", "yuva", "gbrap", "ya8", "ya16", "pal8", "ayuv", "vuya"];
        names.iter().any(|p| self.pix_fmt.starts_with(p))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(pix_fmt: &str, height: u32, space: &str, range: &str) -> Stream {
        let json = format!(
            r#"{{"programs": [], "streams": [{{"width": 16, "height": {height}, "pix_fmt": "{pix_fmt}",
                "color_space": "{space}", "color_range": "{range}", "avg_frame_rate": "30000/1001"}}]}}"#
        );
        Stream::of_json(json.as_bytes()).unwrap()
    }

    fn planes(pix_fmt: &str, is_bt709: bool, is_full: Option<bool>) -> Delivery {
        Delivery::Planes { pix_fmt: pix_fmt.into(), is_bt709, is_full }
    }

    #[test]
    fn planes_that_the_core_reads_are_passed_on_with_the_matrix_of_their_tags() {
        let untagged = |height| stream("yuv420p", height, "unknown", "unknown").delivery();
        assert_eq!(untagged(719), planes("yuv420p", false, None));
        assert_eq!(untagged(720), planes("yuv420p", true, None));
        assert_eq!(stream("yuvj422p", 1080, "bt470bg", "pc").delivery(), planes("yuvj422p", false, Some(true)));
        assert_eq!(stream("yuv444p", 240, "bt709", "tv").delivery(), planes("yuv444p", true, Some(false)));
        assert_eq!(stream("yuvj420p", 240, "", "").color_range.as_deref(), Some(""));
        assert_eq!(stream("nv12", 240, "smpte170m", "tv").delivery(), planes("yuv420p", false, Some(false)));
    }

    #[test]
    fn what_the_core_cannot_read_becomes_rgb() {
        let rgb = |s: Stream| match s.delivery() {
            Delivery::Rgb { filter, pix_fmt } => (filter, pix_fmt),
            other => panic!("{other:?}"),
        };
        let (filter, pix_fmt) = rgb(stream("yuv420p10le", 1080, "unknown", "tv"));
        assert!(filter.contains("in_color_matrix=bt709") && filter.contains("full_chroma_inp") && pix_fmt == "rgb24");
        let (filter, _) = rgb(stream("yuv420p", 1080, "bt2020nc", "tv"));
        assert!(!filter.contains("in_color_matrix"), "the tag is followed: {filter}");
        assert_eq!(rgb(stream("yuva420p", 100, "unknown", "tv")).1, "rgba");
        let (filter, _) = rgb(stream("gbrp", 1080, "gbr", "pc"));
        assert!(!filter.contains("in_color_matrix"), "{filter}");
    }

    #[test]
    fn the_rate_is_ffprobes_or_25() {
        assert!((stream("gray", 8, "", "").rate() - 29.97).abs() < 0.001);
        let none = br#"{"streams": [{"pix_fmt": "gray", "avg_frame_rate": "0/0", "r_frame_rate": "0/0"}]}"#;
        assert_eq!(Stream::of_json(none).unwrap().rate(), 25.0);
        assert_eq!(Stream::of_json(br#"{"streams": []}"#), None);
        assert_eq!(Stream::of_json(b""), None);
    }
}
