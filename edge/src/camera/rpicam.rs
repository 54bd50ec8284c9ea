//! Rpicam: a Raspberry Pi's CSI camera, through the program that knows how to expose it.
//!
//! Takes what is asked of the camera. Gives full-range YCbCr 4:2:0 pictures as `rpicam-vid` writes them to its pipe.
//! Touches one child process, which ends with the source.
//! Never half a picture, and never a row with padding: the width is made a multiple of 64, for only then the
//! camera's buffers, which the program writes as they are, have none.

use super::feed::Feed;
use super::locks::Lock;
use super::{Picture, SourceError, check_size};
use crate::spec::Ask;
use firmware::frame::{Layout, Yuv};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{ErrorKind, Read};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The program.
const PROGRAM: &str = "rpicam-vid";
/// Rows of the camera's buffers begin at multiples of this.
const WIDTH_STEP_PX: u32 = 64;
/// How long a picture may take; the program itself starts the camera again after some seconds.
const FRAME_LIMIT: Duration = Duration::from_secs(15);
/// While the pipe is silent, the stop flag is looked at this often.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// Of what the program says, the last bytes are kept.
const WORDS_BYTES_MAX: usize = 2048;

/// A camera behind `rpicam-vid`.
pub struct Rpicam {
    ask: Ask,
    program: String,
    stop: Arc<AtomicBool>,
    running: Option<Running>,
    current: Vec<u8>,
    spare: Vec<u8>,
}

struct Running {
    child: Child,
    pictures: ChildStdout,
    words: Option<ChildStderr>,
    said: Vec<u8>,
}

impl Rpicam {
    /// A camera that is not open yet; `description` may have options, see [`Ask::refined`].
    ///
    /// # Errors
    /// [`SourceError::Malformed`] for a wrong option, [`SourceError::Frame`] for a size that no frame may have.
    pub fn new(description: &str, ask: Ask, stop: Arc<AtomicBool>) -> Result<Rpicam, SourceError> {
        let malformed = |why: String| SourceError::Malformed { what: format!("rpicam:{description}"), why };
        let (name, mut ask) = ask.refined(description).map_err(malformed)?;
        if !name.is_empty() {
            return Err(malformed(format!("{name:?} is not an option; options stand behind a question mark")));
        }
        let (width, height) = (ask.width, ask.height);
        ask.width = width.next_multiple_of(WIDTH_STEP_PX);
        ask.height = height.next_multiple_of(2);
        if (width, height) != (ask.width, ask.height) {
            let (w, h) = (ask.width, ask.height);
            log::info!("rpicam: {width}x{height} becomes {w}x{h}: the rows of other widths would have padding");
        }
        for (name, lock) in [("white balance", ask.locks.white_balance), ("gain", ask.locks.gain)] {
            if matches!(lock, Lock::At(_)) {
                log::warn!("rpicam: the {name} cannot be locked here; the exposure can");
            }
        }
        check_size(ask.width as usize, ask.height as usize)?;
        let bytes = Layout::I420.frame_bytes(ask.width as usize, ask.height as usize);
        let program = PROGRAM.into();
        Ok(Rpicam { ask, program, stop, running: None, current: Vec::new(), spare: vec![0; bytes] })
    }

    fn read_picture(&mut self) -> Result<(), String> {
        let Some(running) = &mut self.running else { return Err("not open".into()) };
        let since = Instant::now();
        let mut at = 0;
        while at < self.spare.len() {
            if self.stop.load(Ordering::Relaxed) {
                return Err("stopped".into());
            }
            if since.elapsed() > FRAME_LIMIT {
                return Err(format!("no picture for {} s", FRAME_LIMIT.as_secs()));
            }
            let Some(ready) = running.wait()? else { continue };
            if !ready {
                continue;
            }
            match running.pictures.read(&mut self.spare[at..]) {
                Ok(0) => return Err(running.last_words(at)),
                Ok(n) => at += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.to_string()),
            }
        }
        Ok(())
    }
}

impl Running {
    /// Waits a little; whether the pipe of pictures can be read. None: nothing came.
    fn wait(&mut self) -> Result<Option<bool>, String> {
        let pictures = || PollFd::new(&self.pictures, PollFlags::IN);
        let words = self.words.as_ref().map(|w| PollFd::new(w, PollFlags::IN));
        let listens = words.is_some();
        let mut fds = [pictures(), words.unwrap_or_else(pictures)];
        match poll(&mut fds, Some(&LOOK_EVERY)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(e) => return Err(e.to_string()),
        }
        let ready = !fds[0].revents().is_empty();
        if listens && !fds[1].revents().is_empty() {
            self.listen();
        }
        Ok(Some(ready))
    }

    /// Takes what the program says, for its last words.
    fn listen(&mut self) {
        let mut bytes = [0; 1024];
        let n = self.words.as_mut().map_or(0, |w| w.read(&mut bytes).unwrap_or(0));
        if n == 0 {
            self.words = None;
        }
        self.said.extend_from_slice(&bytes[..n]);
        let over = self.said.len().saturating_sub(WORDS_BYTES_MAX);
        self.said.drain(..over);
    }

    fn last_words(&mut self, at: usize) -> String {
        // Its end of the pipe is closed: it has said what it had to say.
        while self.words.is_some() && self.said.len() < WORDS_BYTES_MAX {
            self.listen();
        }
        let said = String::from_utf8_lossy(&self.said);
        let last = said.split(['\n', '\r']).map(str::trim).rfind(|l| !l.is_empty() && !l.starts_with('#'));
        let status = self.child.try_wait().ok().flatten().map_or("it has ended".into(), |s| s.to_string());
        let cut = if at > 0 { ", in the middle of a picture" } else { "" };
        format!("{status}{cut}{}", last.map_or(String::new(), |l| format!("; it said: {l}")))
    }
}

impl Feed for Rpicam {
    fn name(&self) -> String {
        self.program.clone()
    }

    fn open(&mut self) -> Result<f64, SourceError> {
        let Ask { width, height, fps, .. } = self.ask;
        let mut command = Command::new(&self.program);
        command.args(["-n", "-t", "0", "--codec", "yuv420"]);
        command.args(["--width", &width.to_string(), "--height", &height.to_string()]);
        command.args(["--framerate", &fps.to_string(), "-o", "-"]);
        if let Lock::At(exposure) = self.ask.locks.exposure {
            command.args(["--shutter", &(u64::from(exposure) * 100).to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| match e.kind() {
            ErrorKind::NotFound => SourceError::Missing(format!(
                "{} is not installed; on Raspberry Pi OS: apt-get install rpicam-apps-lite",
                self.program
            )),
            _ => SourceError::Open { path: self.program.clone().into(), error: e },
        })?;
        let (pictures, words) = (child.stdout.take(), child.stderr.take());
        let Some(pictures) = pictures else { return Err(SourceError::Missing("no pipe".into())) };
        self.running = Some(Running { child, pictures, words, said: Vec::new() });
        Ok(fps)
    }

    fn next(&mut self) -> Result<u64, String> {
        self.read_picture()?;
        std::mem::swap(&mut self.current, &mut self.spare);
        self.spare.resize(self.current.len(), 0);
        Ok(0)
    }

    fn close(&mut self) {
        if let Some(mut running) = self.running.take() {
            // One that has ended already is no failure.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }

    fn picture(&self) -> Option<Picture<'_>> {
        let (width, height) = (self.ask.width as usize, self.ask.height as usize);
        let (layout, yuv) = (Layout::I420, Yuv::Bt601Full);
        (!self.current.is_empty()).then_some(Picture { layout, yuv, width, height, data: &self.current })
    }

    fn captured_at_us(&self) -> Option<u64> {
        None
    }
}

impl Drop for Rpicam {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::Source;
    use crate::camera::feed::Live;
    use std::os::unix::fs::PermissionsExt;

    /// A program that behaves as `script` says.
    fn stand_in(script: &str) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PROGRAM);
        std::fs::write(&path, format!("#!/bin/sh\ncd {}\n{script}", dir.path().display())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let program = path.to_string_lossy().into_owned();
        (dir, program)
    }

    fn start(program: &str, description: &str) -> Result<Live<Rpicam>, SourceError> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut camera = Rpicam::new(description, Ask::default(), Arc::clone(&stop))?;
        camera.program = program.into();
        Ok(Live::start(camera, stop))
    }

    #[test]
    fn odd_sizes_become_ones_without_padding_and_every_picture_is_whole() {
        // 130x3 becomes 192x4: 768 of luma, then 192 and 192 of chroma.
        let script = "printf '%s\\n' \"$*\" > args\n\
                      for n in 1 2; do head -c 768 /dev/zero | tr '\\0' \"$n\"; head -c 384 /dev/zero | tr '\\0' '\\200'; done\n\
                      echo '#0 (30.00 fps)' >&2; exec sleep 60";
        let (dir, program) = stand_in(script);
        let mut live = start(&program, "?width=130&height=3&fps=12.5&exposure=100").unwrap();
        for n in [b'1', b'2'] {
            assert!(live.advance().unwrap());
            let p = live.picture().unwrap();
            assert_eq!((p.width, p.height, p.layout, p.yuv), (192, 4, Layout::I420, Yuv::Bt601Full));
            assert!(p.data[..768].iter().all(|&b| b == n) && p.data[768..].iter().all(|&b| b == 128), "{n}");
        }
        let args = std::fs::read_to_string(dir.path().join("args")).unwrap();
        assert_eq!(args, "-n -t 0 --codec yuv420 --width 192 --height 4 --framerate 12.5 -o - --shutter 10000\n");
    }

    #[test]
    fn a_program_that_ends_in_a_picture_is_started_again() {
        let script = "echo run >> runs; head -c 9216 /dev/zero; head -c 100 /dev/zero; echo 'ERROR: gone' >&2; exit 3";
        let (dir, program) = stand_in(script);
        let mut live = start(&program, "?width=64&height=96").unwrap();
        for _ in 0..3 {
            assert!(live.advance().unwrap());
            assert_eq!(live.picture().unwrap().data.len(), 9216);
        }
        assert_eq!(std::fs::read_to_string(dir.path().join("runs")).unwrap().lines().count(), 3);
    }

    #[test]
    fn its_last_words_are_kept() {
        let (_dir, program) = stand_in("echo 'ERROR: no cameras available' >&2; exit 1");
        let mut camera = Rpicam::new("", Ask::default(), Arc::default()).unwrap();
        camera.program = program;
        camera.open().unwrap();
        let why = camera.next().unwrap_err();
        assert!(why.contains("no cameras available"), "{why}");
    }

    #[test]
    fn a_missing_program_is_explained() {
        let mut camera = Rpicam::new("", Ask::default(), Arc::default()).unwrap();
        camera.program = "/nowhere/rpicam-vid".into();
        let error = camera.open().unwrap_err();
        assert!(error.to_string().contains("rpicam-apps"), "{error}");
        assert!(start("x", "camera0").err().unwrap().to_string().contains("question mark"));
        assert!(matches!(start("x", "?width=8192&height=8000"), Err(SourceError::Frame(_))));
    }
}
