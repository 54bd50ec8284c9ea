//! Ffmpeg: any video that an installed ffmpeg decodes, from a file or a pipe.
//!
//! ffprobe describes the stream, and ffmpeg delivers each frame once through a pipe: as the stream's own planes if the core can read
//! them, otherwise as RGB. The child processes end with the source. ffmpeg's messages become the error if it fails, otherwise a
//! warning.

use super::input::Input;
use super::pam::Pam;
use super::probe::{Delivery, ENTRIES, Stream};
use super::rgb::malformed;
use super::y4m::Y4m;
use crate::camera::{Picture, Source, SourceError};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

/// Bytes of ffmpeg's messages that are kept for the error.
const COMPLAINT_BYTES_MAX: u64 = 2048;
/// Extensions of picture files.
const PICTURE_EXTENSIONS: [&str; 8] = ["png", "jpg", "jpeg", "gif", "bmp", "webp", "tif", "tiff"];
/// Bytes of ffprobe's report that are read; it has about 300.
const REPORT_BYTES_MAX: u64 = 64 * 1024;
/// First bytes of a pipe that ffprobe reads: as many as ffmpeg probes by itself.
const PROBE_BYTES: usize = 5_000_000;

/// A video.
pub struct Ffmpeg {
    what: String,
    /// A regular file, to be opened again.
    path: Option<OsString>,
    stream: Stream,
    child: Child,
    complaint: Option<JoinHandle<String>>,
    frames: Frames,
}

/// The output of ffmpeg.
enum Frames {
    Planes(Y4m<ChildStdout>),
    Rgb(Pam<ChildStdout>),
}

impl Ffmpeg {
    /// Starts it, with a pipe behind a thread that feeds it.
    ///
    /// # Errors
    /// [`SourceError::Missing`] if ffmpeg is not installed, [`SourceError::Malformed`] if it finds no video.
    pub fn open(mut input: Input) -> Result<Ffmpeg, SourceError> {
        let what = input.what().to_owned();
        let path = input.path().map(of_ffmpeg);
        let head = if path.is_none() { input.peek(PROBE_BYTES)?.to_vec() } else { Vec::new() };
        let stream = probe(&what, path.as_ref(), head)?;
        Ffmpeg::start(what, path, stream, Some(input))
    }

    fn start(
        what: String,
        path: Option<OsString>,
        stream: Stream,
        input: Option<Input>,
    ) -> Result<Ffmpeg, SourceError> {
        let delivery = stream.delivery();
        let mut command = command("ffmpeg", path.as_ref());
        // Every frame once.
        command.args(["-map", "0:v:0", "-fps_mode", "passthrough"]);
        match &delivery {
            Delivery::Planes { pix_fmt, .. } => {
                command.args(["-pix_fmt", pix_fmt, "-strict", "-1", "-f", "yuv4mpegpipe", "-"])
            }
            Delivery::Rgb { filter, pix_fmt } => {
                command.args(["-vf", filter, "-pix_fmt", pix_fmt, "-c:v", "pam", "-f", "image2pipe", "-"])
            }
        };
        let mut child = command.stderr(Stdio::piped()).spawn().map_err(|e| not_started(&what, "ffmpeg", &e))?;
        if let (None, Some(stdin), Some(input)) = (&path, child.stdin.take(), input) {
            feed(stdin, input);
        }
        let complaint = listen(&mut child);
        let Some(stdout) = child.stdout.take() else {
            return Err(SourceError::Missing("ffmpeg could not be connected to".into()));
        };
        let frames = match delivery {
            Delivery::Planes { is_bt709, is_full, .. } => match Y4m::new(what.clone(), stdout) {
                Ok(mut y4m) => {
                    y4m.assume(is_bt709, is_full);
                    Frames::Planes(y4m)
                }
                Err(_) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    let why = complaint.join().unwrap_or_default();
                    return Err(malformed(&what, not_readable(&what, &why)));
                }
            },
            Delivery::Rgb { .. } => Frames::Rgb(Pam::new(what.clone(), stdout)),
        };
        Ok(Ffmpeg { what, path, stream, child, complaint: Some(complaint), frames })
    }

    /// Waits for the end of ffmpeg. Returns its message if it failed.
    fn end(&mut self) -> Result<(), SourceError> {
        let status = self.child.wait().map_err(|error| SourceError::Read { what: "ffmpeg".into(), error })?;
        let why = self.complaint.take().and_then(|c| c.join().ok()).unwrap_or_default();
        let frames = match &self.frames {
            Frames::Planes(y4m) => y4m.frames(),
            Frames::Rgb(pam) => pam.frames(),
        };
        match status.success() {
            true if frames == 0 => Err(malformed(&self.what, format!("ffmpeg finds no frame in it: {why}"))),
            true => {
                if !why.is_empty() {
                    log::warn!("{}: ffmpeg reports: {why}", self.what);
                }
                Ok(())
            }
            false => Err(malformed(&self.what, format!("ffmpeg ended with an error after {frames} frames: {why}"))),
        }
    }
}

impl Source for Ffmpeg {
    fn advance(&mut self) -> Result<bool, SourceError> {
        let read = match &mut self.frames {
            Frames::Planes(y4m) => y4m.read_frame(),
            Frames::Rgb(pam) => pam.read_frame(),
        };
        match read {
            Ok(true) => Ok(true),
            Ok(false) => self.end().map(|()| false),
            // A frame that cannot be used has an error of its own; for a stream that ends early, ffmpeg's message is the error.
            Err(error @ SourceError::Malformed { .. }) => Err(error),
            Err(error) => self.end().and(Err(error)),
        }
    }

    fn picture(&self) -> Option<Picture<'_>> {
        match &self.frames {
            Frames::Planes(y4m) => y4m.shown(),
            Frames::Rgb(pam) => pam.rgb().picture(),
        }
    }

    fn rate(&self) -> Option<f64> {
        Some(match &self.frames {
            Frames::Planes(y4m) => y4m.rate(),
            Frames::Rgb(_) => self.stream.rate(),
        })
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        if self.path.is_none() {
            return Err(malformed(&self.what, "it is a pipe and cannot be played from the beginning again"));
        }
        *self = Ffmpeg::start(self.what.clone(), self.path.clone(), self.stream.clone(), None)?;
        Ok(())
    }
}

impl Drop for Ffmpeg {
    fn drop(&mut self) {
        // It may be in the middle of the video, whose remaining frames are not needed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A path in ffmpeg's syntax, for names that begin with any character.
fn of_ffmpeg(path: &Path) -> OsString {
    [std::ffi::OsStr::new("file:"), path.as_os_str()].into_iter().collect()
}

/// ffmpeg or ffprobe on a file, or without one on its standard input.
fn command(program: &str, path: Option<&OsString>) -> Command {
    let mut command = Command::new(program);
    command.args(["-v", "error"]);
    if program == "ffmpeg" {
        command.arg("-nostdin");
    }
    command.arg("-i");
    match path {
        Some(path) => command.arg(path).stdin(Stdio::null()),
        None => command.arg("pipe:0").stdin(Stdio::piped()),
    };
    // Ctrl-C is handled by this process; the child ends when its output is closed.
    command.process_group(0).stdout(Stdio::piped());
    command
}

fn not_started(what: &str, program: &str, e: &std::io::Error) -> SourceError {
    SourceError::Missing(match e.kind() {
        std::io::ErrorKind::NotFound => format!(
            "{what} is not a PNG, JPEG, GIF, BMP, WebP, TIFF or Y4M; to read it as a video, install ffmpeg \
             (apt install ffmpeg)"
        ),
        _ => format!("{program}, needed for {what}, cannot be started: {e}"),
    })
}

/// Asks ffprobe for the first video stream of a file, or of a stream that begins with `head`.
fn probe(what: &str, path: Option<&OsString>, head: Vec<u8>) -> Result<Stream, SourceError> {
    let mut child = command("ffprobe", path)
        .args(["-select_streams", "v:0", "-show_entries", ENTRIES, "-of", "json"])
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| not_started(what, "ffprobe", &e))?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may stop reading before the end.
        std::thread::spawn(move || stdin.write_all(&head));
    }
    let complaint = listen(&mut child);
    let mut report = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let _ = stdout.take(REPORT_BYTES_MAX).read_to_end(&mut report);
    }
    let status = child.wait();
    let complaint = complaint.join().unwrap_or_default();
    match Stream::of_json(&report) {
        Some(stream) if status.as_ref().is_ok_and(ExitStatus::success) => Ok(stream),
        _ if complaint.is_empty() => Err(malformed(what, "ffmpeg finds no video in it")),
        _ => Err(malformed(what, not_readable(what, &complaint))),
    }
}

/// The error for content that neither the decoders of pictures nor ffmpeg can read.
fn not_readable(what: &str, complaint: &str) -> String {
    let extension = Path::new(what).extension().map(|e| e.to_ascii_lowercase());
    let is_named_picture = extension.is_some_and(|e| PICTURE_EXTENSIONS.iter().any(|p| e == *p));
    let is =
        if is_named_picture { "it is not a picture, despite its name" } else { "it is neither a picture nor a video" };
    format!("{is}; ffmpeg reports: {complaint}")
}

/// ffmpeg's message without addresses: `[png @ 0x55...] Invalid` becomes `png: Invalid`.
fn without_addresses(text: &str) -> String {
    let plain = |line: &str| match line.strip_prefix('[').and_then(|l| l.split_once("] ")) {
        Some((part, rest)) => format!("{}: {rest}", part.split_once(" @ ").map_or(part, |(name, _)| name)),
        None => line.to_owned(),
    };
    text.trim().lines().map(plain).collect::<Vec<_>>().join("; ")
}

/// Feeds a pipe into ffmpeg until one of them ends.
fn feed(mut stdin: impl Write + Send + 'static, mut input: Input) {
    std::thread::spawn(move || {
        // ffmpeg reports missing data itself, and an ended ffmpeg needs no more.
        let _ = std::io::copy(&mut input, &mut stdin);
    });
}

/// Collects the beginning of a child's messages.
fn listen(child: &mut Child) -> JoinHandle<String> {
    let stderr = child.stderr.take();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut stderr) = stderr {
            let _ = stderr.by_ref().take(COMPLAINT_BYTES_MAX).read_to_end(&mut text);
            // The rest is read and dropped, so that the child does not block.
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
        }
        without_addresses(&String::from_utf8_lossy(&text))
    })
}
