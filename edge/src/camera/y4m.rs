//! Y4M: uncompressed video as a stream of frames (YUV4MPEG2), from a file, a pipe or a decoder.
//!
//! Takes bytes. Gives planar or grey pictures, and the frame rate from the header.
//! Touches what it reads and two frames' worth of memory.
//! Never a frame that is not whole: a stream cut in one is an error that names it, after the whole ones.
//!
//! The stream does not say which matrix its YCbCr has; ITU-R BT.601 is taken, as ffmpeg does without a word on it.

use super::{Picture, Source, SourceError, check_size};
use firmware::frame::{Layout, Yuv};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Stdin};
use std::path::PathBuf;

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
    yuv: Yuv,
}

/// A Y4M stream.
pub struct Y4m<R: Read + Send = Box<dyn Read + Send>> {
    what: String,
    path: Option<PathBuf>,
    input: BufReader<R>,
    head: Head,
    line: Vec<u8>,
    current: Vec<u8>,
    spare: Vec<u8>,
    frames: u64,
}

impl Y4m {
    /// From a file.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn open(path: PathBuf) -> Result<Y4m, SourceError> {
        let file = open_file(&path)?;
        let mut y4m = Y4m::new(path.display().to_string(), Box::new(file) as Box<dyn Read + Send>)?;
        y4m.path = Some(path);
        Ok(y4m)
    }

    /// From standard input.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn standard_input() -> Result<Y4m, SourceError> {
        let input: Stdin = std::io::stdin();
        Y4m::new("standard input".into(), Box::new(input) as Box<dyn Read + Send>)
    }
}

/// Opens a file, or says that it cannot be.
pub(super) fn open_file(path: &std::path::Path) -> Result<File, SourceError> {
    let refuse = |error| SourceError::Open { path: path.into(), error };
    let file = File::open(path).map_err(refuse)?;
    if file.metadata().map_err(refuse)?.is_dir() {
        return Err(refuse(std::io::ErrorKind::IsADirectory.into()));
    }
    Ok(file)
}

impl<R: Read + Send> Y4m<R> {
    /// From anything that can be read; `what` names it in errors.
    ///
    /// # Errors
    /// [`SourceError::Malformed`] if it does not begin with a header that can be used.
    pub fn new(what: String, input: R) -> Result<Self, SourceError> {
        let mut input = BufReader::with_capacity(READ_BYTES, input);
        let mut line = Vec::with_capacity(256);
        let malformed = |why: String| SourceError::Malformed { what: what.clone(), why };
        read_line(&mut input, &mut line).map_err(|error| SourceError::Read { what: what.clone(), error })?;
        let head = parse_head(&line).map_err(malformed)?;
        check_size(head.width, head.height)?;
        let bytes = head.layout.frame_bytes(head.width, head.height);
        Ok(Y4m { what, path: None, input, head, line, current: Vec::new(), spare: vec![0; bytes], frames: 0 })
    }

    /// Frames read so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }
}

impl<R: Read + Send> Y4m<R> {
    fn read_frame(&mut self) -> Result<bool, SourceError> {
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
        std::mem::swap(&mut self.current, &mut self.spare);
        self.spare.resize(self.current.len(), 0);
        self.frames += 1;
        Ok(true)
    }

    fn shown(&self) -> Option<Picture<'_>> {
        let Head { width, height, layout, yuv, .. } = self.head;
        (!self.current.is_empty()).then_some(Picture { layout, yuv, width, height, data: &self.current })
    }
}

impl Source for Y4m {
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
        let Some(path) = self.path.clone() else {
            let why = "it cannot be played from the beginning again".into();
            return Err(SourceError::Malformed { what: self.what.clone(), why });
        };
        *self = Y4m::open(path)?;
        Ok(())
    }
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
    let (mut width, mut height, mut rate, mut colours, mut full) = (None, None, 25.0, "420".to_owned(), false);
    for word in words {
        let Some(tag) = word.chars().next() else { continue };
        let rest = &word[tag.len_utf8()..];
        match tag {
            'W' => width = rest.parse().ok(),
            'H' => height = rest.parse().ok(),
            'F' => rate = parse_rate(rest).ok_or_else(|| format!("its frame rate is {rest:?}"))?,
            'C' => colours = rest.to_owned(),
            'X' if rest == "COLORRANGE=FULL" => full = true,
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
    let yuv = if full { Yuv::Bt601Full } else { Yuv::Bt601 };
    match (width, height) {
        (Some(width), Some(height)) => Ok(Head { width, height, rate, layout, yuv }),
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
        let mut y4m = Y4m::new("clip".into(), Box::new(std::io::Cursor::new(bytes.to_vec())) as _).unwrap();
        let mut frames = Vec::new();
        loop {
            match y4m.advance() {
                Ok(true) => frames.push(y4m.picture().unwrap().data.to_vec()),
                end => return (frames, end),
            }
        }
    }

    #[test]
    fn headers_are_understood() {
        let head = |s: &str| parse_head(s.as_bytes());
        let h = head("YUV4MPEG2 W4 H2 F30000:1001 Ip A1:1 C420jpeg XYSCSS=420JPEG XCOLORRANGE=FULL").unwrap();
        assert_eq!((h.width, h.height, h.layout, h.yuv), (4, 2, Layout::I420, Yuv::Bt601Full));
        assert!((h.rate - 29.97).abs() < 0.001);
        assert_eq!(head("YUV4MPEG2 H2 W4 C444").unwrap().layout, Layout::Planar { h: 0, v: 0 });
        assert_eq!(head("YUV4MPEG2 H2 W4 Cmono F0:0").unwrap().rate, 25.0);
        assert!(head("YUV4MPEG2 W4").unwrap_err().contains("width and height"));
        assert!(head("YUV4MPEG2 W4 H4 C420p10").unwrap_err().contains("C420p10"));
        assert!(head("RIFF").unwrap_err().contains("YUV4MPEG2"));
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
