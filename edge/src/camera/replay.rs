//! Replay: any file with pictures in it, by what its first bytes say.
//!
//! Takes a path, with `?fps=N` behind it for clips that do not say their rate. Gives the source that can read it.
//! Touches the file's first bytes, and runs an installed ffmpeg for everything but PNG, JPEG and Y4M.
//! Never needs ffmpeg for those.

use super::jpeg::{self, Mjpeg};
use super::still::{self, Still};
use super::y4m::{self, Y4m, open_file};
use super::{Picture, Source, SourceError};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

/// Bytes of ffmpeg's complaints that are kept for our own error.
const COMPLAINT_BYTES_MAX: u64 = 2048;

/// Opens the file at `path`; `fps` is the rate of a clip that does not say its own.
///
/// # Errors
/// [`SourceError`].
pub fn open(path: &Path, fps: Option<f64>) -> Result<Box<dyn Source>, SourceError> {
    let path = path.to_path_buf();
    let mut first = [0; 16];
    let mut file = open_file(&path)?;
    let n = file.read(&mut first).map_err(|error| SourceError::Read { what: path.display().to_string(), error })?;
    let first = &first[..n];
    if n == 0 {
        return Err(SourceError::Malformed { what: path.display().to_string(), why: "it is empty".into() });
    }
    if still::MAGIC.starts_with(first) || first.starts_with(still::MAGIC) {
        return Ok(Box::new(Still::open(path)?));
    }
    if first.starts_with(&[0xFF, 0xD8]) {
        let clip = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("mjpeg") || e.eq_ignore_ascii_case("mjpg"));
        let rate = clip.then_some(fps.unwrap_or(jpeg::RATE)).or(fps);
        return Ok(Box::new(Mjpeg::open(path, rate)?));
    }
    if first.starts_with(y4m::MAGIC) {
        return Ok(Box::new(Y4m::open(path)?));
    }
    Ok(Box::new(Ffmpeg::open(path)?))
}

/// A video that ffmpeg decodes for us.
struct Ffmpeg {
    path: PathBuf,
    child: Child,
    complaint: Option<JoinHandle<String>>,
    frames: Y4m,
}

impl Ffmpeg {
    fn open(path: PathBuf) -> Result<Ffmpeg, SourceError> {
        let mut child = start(&path)?;
        let stderr = child.stderr.take();
        let complaint = std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stderr) = stderr {
                let _ = stderr.by_ref().take(COMPLAINT_BYTES_MAX).read_to_end(&mut text);
                // Whatever else it says must not stop it from working.
                let _ = std::io::copy(&mut stderr, &mut std::io::sink());
            }
            String::from_utf8_lossy(&text).trim().replace('\n', "; ")
        });
        let Some(stdout) = child.stdout.take() else {
            return Err(SourceError::Missing("ffmpeg could not be connected to".into()));
        };
        let what = path.display().to_string();
        match Y4m::new(what.clone(), Box::new(stdout) as Box<dyn Read + Send>) {
            Ok(frames) => Ok(Ffmpeg { path, child, complaint: Some(complaint), frames }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                let why = complaint.join().unwrap_or_default();
                Err(SourceError::Malformed { what, why: format!("ffmpeg cannot read it as a video: {why}") })
            }
        }
    }

    /// How ffmpeg ended: nothing to say, or its complaint.
    fn end(&mut self) -> Result<(), SourceError> {
        let status = self.child.wait().map_err(|error| SourceError::Read { what: "ffmpeg".into(), error })?;
        let why = self.complaint.take().and_then(|c| c.join().ok()).unwrap_or_default();
        if status.success() {
            if !why.is_empty() {
                log::warn!("{}: ffmpeg says: {why}", self.path.display());
            }
            return Ok(());
        }
        let frames = self.frames.frames();
        let why = format!("ffmpeg ended with an error after {frames} frames: {why}");
        Err(SourceError::Malformed { what: self.path.display().to_string(), why })
    }
}

impl Source for Ffmpeg {
    fn advance(&mut self) -> Result<bool, SourceError> {
        match self.frames.advance() {
            Ok(true) => Ok(true),
            Ok(false) => self.end().map(|()| false),
            Err(error) => self.end().and(Err(error)),
        }
    }

    fn picture(&self) -> Option<Picture<'_>> {
        self.frames.picture()
    }

    fn rate(&self) -> Option<f64> {
        self.frames.rate()
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        *self = Ffmpeg::open(self.path.clone())?;
        Ok(())
    }
}

impl Drop for Ffmpeg {
    fn drop(&mut self) {
        // It may be in the middle of the video: the frames are of no use to anyone any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(path: &Path) -> Result<Child, SourceError> {
    let input = [std::ffi::OsStr::new("file:"), path.as_os_str()].into_iter().collect::<std::ffi::OsString>();
    Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(input)
        // Every frame once, in the YCbCr that our reader takes it for.
        .args(["-map", "0:v:0", "-fps_mode", "passthrough", "-vf", "scale=out_color_matrix=bt601:out_range=tv"])
        .args(["-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-"])
        // Ctrl-C is for us; ffmpeg ends when we no longer read.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| {
            let path = path.display();
            SourceError::Missing(match e.kind() {
                std::io::ErrorKind::NotFound => format!(
                    "{path} is not a PNG, JPEG or Y4M; to read it as a video, install ffmpeg (apt install ffmpeg)"
                ),
                _ => format!("ffmpeg, needed for {path}, cannot be started: {e}"),
            })
        })
}
