//! Y4M: uncompressed video as a stream of frames (YUV4MPEG2), from a file, a pipe or a decoder.
//!
//! Results are planar or grey pictures as they lie in the stream, and the frame rate from its header. Two frames are kept in
//! memory. A frame that is not whole is an error that names it, after the whole ones. Samples have the range of
//! `XCOLORRANGE`; without it YCbCr has the limited range and grey the full one. The stream does not name the matrix
//! its YCbCr has: ITU-R BT.601 is taken, as ffmpeg does.

use super::input::Input;
use super::rgb::check_px;
use crate::camera::{Picture, Source, SourceError};
use firmware::frame::{Layout, Yuv};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// First bytes of such a stream.
pub const MAGIC: &[u8] = b"YUV4MPEG2";
/// Longest header line, of the stream or a frame.
const LINE_BYTES_MAX: u64 = 4096;
const READ_BYTES: usize = 256 * 1024;
#[derive(Debug, Clone, Copy, PartialEq)]
struct Head {
    width: usize,
    height: usize,
    rate: f64,
    layout: Layout,
    /// The range in `XCOLORRANGE`.
    full: Option<bool>,
}

/// A Y4M stream.
pub struct Y4m<R: Read + Send = Box<dyn Read + Send>> {
    what: String,
    input: BufReader<R>,
    head: Head,
    /// The matrix and range: the head's, unless the caller's settings have others.
    yuv: Yuv,
    line: Vec<u8>,
    current: Vec<u8>,
    spare: Vec<u8>,
    frames: u64,
}

impl Y4m<Input> {
    /// Reads a file, a FIFO or standard input (`-`). `stop` ends the wait for a silent pipe.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn open(path: &Path, stop: &Arc<AtomicBool>) -> Result<Self, SourceError> {
        let input = Input::open(path, stop)?;
        Y4m::new(input.what().to_owned(), input)
    }
}

impl<R: Read + Send> Y4m<R> {
    /// Reads any reader; `what` is its name in errors.
    ///
    /// # Errors
    /// [`SourceError::Malformed`] if it does not begin with a header that can be used.
    pub fn new(what: String, input: R) -> Result<Self, SourceError> {
        let mut input = BufReader::with_capacity(READ_BYTES, input);
        let mut line = Vec::with_capacity(256);
        let malformed = |why: String| SourceError::Malformed { what: what.clone(), why };
        read_line(&mut input, &mut line).map_err(|error| SourceError::Read { what: what.clone(), error })?;
        let head = parse_head(&line).map_err(malformed)?;
        check_px(head.width, head.height).map_err(malformed)?;
        let bytes = head.layout.frame_bytes(head.width, head.height);
        let yuv = yuv(false, head.full.unwrap_or(false));
        Ok(Y4m { what, input, head, yuv, line, current: Vec::new(), spare: vec![0; bytes], frames: 0 })
    }

    /// Sets what the caller knows of the YCbCr: whether it has the matrix of BT.709, and the range of a stream without one.
    pub fn assume(&mut self, is_bt709: bool, is_full: Option<bool>) {
        self.head.full = self.head.full.or(is_full);
        self.yuv = yuv(is_bt709, self.head.full.unwrap_or(false));
    }

    /// Frames a second, from the header.
    pub fn rate(&self) -> f64 {
        self.head.rate
    }

    /// Frames read so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }
}

impl<R: Read + Send> Y4m<R> {
    /// Reads the next frame; false at the end.
    ///
    /// # Errors
    /// As [`Source::advance`].
    pub fn read_frame(&mut self) -> Result<bool, SourceError> {
        let cut = |what: &str, frame| SourceError::Cut { what: what.into(), frame };
        let read = |what: &str, error| SourceError::Read { what: what.into(), error };
        let whole = read_line(&mut self.input, &mut self.line).map_err(|e| read(&self.what, e))?;
        if self.line.is_empty() && !whole {
            return Ok(false);
        }
        if !self.line.starts_with(b"FRAME") {
            if !whole && b"FRAME".starts_with(&self.line[..]) {
                return Err(cut(&self.what, self.frames));
            }
            let why = format!("frame {} does not begin with FRAME", self.frames);
            return Err(SourceError::Malformed { what: self.what.clone(), why });
        }
        if !whole {
            return Err(cut(&self.what, self.frames));
        }
        match self.input.read_exact(&mut self.spare) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Err(cut(&self.what, self.frames)),
            Err(e) => return Err(read(&self.what, e)),
        }
        if self.head.layout == Layout::Grey && self.head.full == Some(false) {
            self.spare.iter_mut().for_each(|grey| *grey = full_of_limited(*grey));
        }
        std::mem::swap(&mut self.current, &mut self.spare);
        self.spare.resize(self.current.len(), 0);
        self.frames += 1;
        Ok(true)
    }

    /// The frame read last.
    pub fn shown(&self) -> Option<Picture<'_>> {
        let Head { width, height, layout, .. } = self.head;
        let yuv = self.yuv;
        (!self.current.is_empty()).then_some(Picture { layout, yuv, width, height, data: &self.current })
    }
}

impl Source for Y4m<Input> {
    fn advance(&mut self) -> Result<bool, SourceError> {
        self.read_frame()
    }

    fn picture(&self) -> Option<Picture<'_>> {
        self.shown()
    }

    fn rate(&self) -> Option<f64> {
        Some(self.head.rate)
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        *self = Y4m::new(self.what.clone(), self.input.get_ref().reopened()?)?;
        Ok(())
    }
}

/// The core's name for a matrix and a range.
fn yuv(is_bt709: bool, is_full: bool) -> Yuv {
    match (is_bt709, is_full) {
        (false, false) => Yuv::Bt601,
        (false, true) => Yuv::Bt601Full,
        (true, false) => Yuv::Bt709,
        (true, true) => Yuv::Bt709Full,
    }
}

/// Luma of the limited range, 16 to 235, as a level from 0 to 255. The core takes grey as it is.
fn full_of_limited(luma: u8) -> u8 {
    ((u32::from(luma.clamp(16, 235)) - 16) * 255 + 109).div_euclid(219) as u8
}

/// Reads a line without its end; false if the stream ends before the line does.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', line)?;
    Ok(line.pop_if(|b| *b == b'\n').is_some())
}

fn parse_head(line: &[u8]) -> Result<Head, String> {
    let text = String::from_utf8_lossy(line);
    let mut words = text.split(' ').filter(|w| !w.is_empty());
    if words.next() != Some("YUV4MPEG2") {
        return Err("it does not begin with YUV4MPEG2".into());
    }
    let (mut width, mut height, mut rate, mut colours, mut full) = (None, None, 25.0, "420".to_owned(), None);
    for word in words {
        let Some(tag) = word.chars().next() else { continue };
        let rest = &word[tag.len_utf8()..];
        match tag {
            'W' => width = rest.parse().ok(),
            'H' => height = rest.parse().ok(),
            'F' => rate = parse_rate(rest).ok_or_else(|| format!("its frame rate is {rest:?}"))?,
            'C' => colours = rest.to_owned(),
            'X' if rest == "COLORRANGE=FULL" => full = Some(true),
            'X' if rest == "COLORRANGE=LIMITED" => full = Some(false),
            _ => {}
        }
    }
    let layout = match colours.as_str() {
        "420" | "420jpeg" | "420mpeg2" | "420paldv" => Layout::I420,
        "422" => Layout::Planar { h: 1, v: 0 },
        "444" => Layout::Planar { h: 0, v: 0 },
        "411" => Layout::Planar { h: 2, v: 0 },
        "mono" => Layout::Grey,
        other => {
            return Err(format!(
                "its colour space is C{other}; C420jpeg, C420mpeg2, C420paldv, C422, C444, C411 and Cmono \
                 (8 bits a sample) can be read"
            ));
        }
    };
    match (width, height) {
        (Some(width), Some(height)) => Ok(Head { width, height, rate, layout, full }),
        _ => Err("its header does not give width and height".into()),
    }
}

/// `30000:1001` as frames a second; `0:0` means unknown, taken as 25.
fn parse_rate(text: &str) -> Option<f64> {
    let (n, d) = text.split_once(':')?;
    let (n, d): (u32, u32) = (n.parse().ok()?, d.parse().ok()?);
    match (n, d) {
        (0, _) | (_, 0) => Some(25.0),
        _ => Some((f64::from(n) / f64::from(d)).clamp(0.001, 1000.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> (Vec<Vec<u8>>, Result<bool, SourceError>) {
        let mut y4m = Y4m::new("clip".into(), bytes).unwrap();
        let mut frames = Vec::new();
        loop {
            match y4m.read_frame() {
                Ok(true) => frames.push(y4m.shown().unwrap().data.to_vec()),
                end => return (frames, end),
            }
        }
    }

    #[test]
    fn headers_are_understood() {
        let head = |s: &str| parse_head(s.as_bytes());
        let h = head("YUV4MPEG2 W4 H2 F30000:1001 Ip A1:1 C420jpeg XYSCSS=420JPEG XCOLORRANGE=FULL").unwrap();
        assert_eq!((h.width, h.height, h.layout, h.full), (4, 2, Layout::I420, Some(true)));
        assert!((h.rate - 29.97).abs() < 0.001);
        assert_eq!(head("YUV4MPEG2 H2 W4 C444").unwrap().layout, Layout::Planar { h: 0, v: 0 });
        assert_eq!(head("YUV4MPEG2 H2 W4 Cmono F0:0").unwrap().rate, 25.0);
        assert!(head("YUV4MPEG2 W4").unwrap_err().contains("width and height"));
        assert!(head("YUV4MPEG2 W4 H4 C420p10").unwrap_err().contains("C420p10"));
        assert!(head("RIFF").unwrap_err().contains("YUV4MPEG2"));
    }

    #[test]
    fn every_variant_has_the_range_that_it_says() {
        // A grey of luma 81 with neutral chroma, and what it is as RGB in either range.
        let (full, limited) = ([81; 3], [76; 3]);
        let cases = [
            ("420", 6),
            ("420jpeg", 6),
            ("420mpeg2", 6),
            ("420paldv", 6),
            ("422", 8),
            ("444", 12),
            ("411", 8),
            ("mono", 4),
        ];
        for (colours, bytes) in cases {
            let untagged = if colours == "mono" { full } else { limited };
            for (tag, want) in [("", untagged), (" XCOLORRANGE=FULL", full), (" XCOLORRANGE=LIMITED", limited)] {
                let mut clip = format!("YUV4MPEG2 W2 H2 C{colours}{tag}\nFRAME\n").into_bytes();
                clip.extend([81; 4]);
                clip.resize(clip.len() + bytes - 4, 128);
                let mut y4m = Y4m::new("clip".into(), &clip[..]).unwrap();
                assert!(y4m.read_frame().unwrap(), "C{colours}");
                let p = y4m.shown().unwrap();
                let frame = firmware::frame::Frame::new(p.layout, p.yuv, 2, 2, 0, p.data, Default::default()).unwrap();
                assert_eq!(frame.row(1, &mut [0; 6]), [want, want].concat(), "C{colours}{tag}");
            }
        }
        assert_eq!([0, 16, 126, 235, 255].map(full_of_limited), [0, 0, 128, 255, 255]);
    }

    #[test]
    fn a_cut_is_named_after_the_whole_frames_were_given() {
        let mut clip = b"YUV4MPEG2 W2 H2 C420\n".to_vec();
        for n in 0..3u8 {
            clip.extend(b"FRAME Ip\n");
            clip.extend([n; 6]);
        }
        let (frames, end) = all(&clip);
        assert_eq!((frames.len(), &frames[2][..]), (3, &[2; 6][..]));
        assert!(matches!(end, Ok(false)));
        for cut in 1..15 {
            let (frames, end) = all(&clip[..clip.len() - cut]);
            assert_eq!(frames.len(), 2, "cut by {cut}");
            let text = end.unwrap_err().to_string();
            assert!(text.contains("middle of frame 2"), "{text}");
        }
        let (frames, end) = all(&clip[..clip.len() - 15]);
        assert_eq!(frames.len(), 2);
        assert!(matches!(end, Ok(false)));
    }

    #[test]
    fn rubbish_between_frames_is_an_error_not_a_picture() {
        let (frames, end) = all(b"YUV4MPEG2 W2 H2 C420\nGARBAGE-GARBAGE\n");
        assert!(frames.is_empty());
        assert!(matches!(end, Err(SourceError::Malformed { .. })));
    }
}
