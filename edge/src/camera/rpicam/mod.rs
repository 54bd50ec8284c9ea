//! Rpicam: a Raspberry Pi's CSI camera, through `rpicam-vid`, which controls its exposure.
//!
//! Inputs are the request to the camera and its [`Options`]. Results are full-range YCbCr 4:2:0 pictures as
//! `rpicam-vid` writes them to its standard output, without the padding of their rows, and for each its capture time and the
//! pictures lost before it, from the program's metadata. The one child process ends with the source. A picture that is cut off is
//! not used.

mod metadata;

use super::ask::Ask;
use super::choice::unpad_in_place;
use super::feed::Feed;
use super::{Picture, SourceError, check_size};
use crate::spec::rpicam::{MODEL_PATH, Options};
use firmware::frame::{Layout, Yuv};
use metadata::{Reader, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};
use std::io::{ErrorKind, PipeReader, Read};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// The program.
const PROGRAM: &str = "rpicam-vid";
/// The program's path of the pipe for its metadata. The program does not read its standard input, so that serves as the pipe.
const METADATA: [&str; 4] = ["--metadata", "/dev/stdin", "--metadata-format", "txt"];
/// How long a picture may take; the program restarts the camera by itself after some seconds.
const FRAME_LIMIT: Duration = Duration::from_secs(15);
/// How late the metadata of a picture may be. The program writes it at once.
const RECORD_LIMIT: Duration = Duration::from_millis(100);
/// After this many pictures in a row without metadata, the program is taken to write none.
const RECORDS_MISSED_MAX: u32 = 3;
/// A capture time that is further in the past is from another clock.
const AGE_MAX: Duration = Duration::from_secs(60);
/// The stop flag is checked this often while the pipes deliver nothing.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// The number of last bytes of the program's messages that are kept.
const WORDS_BYTES_MAX: usize = 2048;

/// A camera behind `rpicam-vid`.
pub struct Rpicam {
    ask: Ask,
    options: Options,
    program: String,
    stride_bytes: usize,
    /// False after the program was found to write no metadata.
    has_metadata: bool,
    stop: Arc<AtomicBool>,
    running: Option<Running>,
    captured_at_us: Option<u64>,
    current: Vec<u8>,
    spare: Vec<u8>,
}

struct Running {
    child: Child,
    pictures: ChildStdout,
    words: Option<ChildStderr>,
    messages: Vec<u8>,
    metadata: Option<PipeReader>,
    reader: Reader,
    /// Pictures read so far.
    number: u64,
    /// Pictures in a row without metadata.
    missed: u32,
    last: Record,
}

impl Rpicam {
    /// A camera that is not open yet.
    ///
    /// # Errors
    /// [`SourceError::Frame`] for a size that no frame may have.
    pub fn new(options: Options, mut ask: Ask, stop: Arc<AtomicBool>) -> Result<Rpicam, SourceError> {
        let (width, height) = (ask.width, ask.height);
        // Two pixels share their chroma in each direction.
        (ask.width, ask.height) = (width.next_multiple_of(2), height.next_multiple_of(2));
        if (width, height) != (ask.width, ask.height) {
            log::info!("rpicam: {width}x{height} becomes {}x{}: the camera has even sizes only", ask.width, ask.height);
        }
        if let Some(remark) = options.remark(&ask) {
            log::info!("rpicam: {remark}");
        }
        check_size(ask.width as usize, ask.height as usize)?;
        let model = std::fs::read_to_string(MODEL_PATH).unwrap_or_default();
        let mut camera = Rpicam {
            ask,
            options,
            program: PROGRAM.into(),
            stride_bytes: 0,
            has_metadata: true,
            stop,
            running: None,
            captured_at_us: None,
            current: Vec::new(),
            spare: Vec::new(),
        };
        camera.run_on(&model);
        Ok(camera)
    }

    /// Takes the length of rows from the machine's model.
    fn run_on(&mut self, model: &str) {
        self.stride_bytes = self.options.stride_bytes(self.ask.width as usize, model);
        self.spare = vec![0; self.picture_bytes()];
    }

    /// Bytes of a picture as the program writes it.
    fn picture_bytes(&self) -> usize {
        Layout::I420.frame_bytes(self.stride_bytes, self.ask.height as usize)
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
            if !running.wait()? {
                continue;
            }
            match running.pictures.read(&mut self.spare[at..]) {
                Ok(0) => {
                    let words = running.last_words(at);
                    if self.has_metadata && words.contains("unrecognised option") && words.contains("metadata") {
                        log::warn!("rpicam: this {PROGRAM} has no --metadata: lost pictures are not counted");
                        self.has_metadata = false;
                    }
                    return Err(words);
                }
                Ok(n) => at += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.to_string()),
            }
        }
        Ok(())
    }
}

impl Running {
    /// Waits for a short time and reads the other pipes. Returns true if the pipe of pictures can be read.
    fn wait(&mut self) -> Result<bool, String> {
        let mut fds: heapless::Vec<PollFd<'_>, 3> = heapless::Vec::new();
        let pictures = PollFd::new(&self.pictures, PollFlags::IN);
        let words = self.words.as_ref().map(|w| PollFd::new(w, PollFlags::IN));
        let metadata = self.metadata.as_ref().map(|m| PollFd::new(m, PollFlags::IN));
        let (has_words, has_metadata) = (words.is_some(), metadata.is_some());
        // There is a place for each of the three.
        [Some(pictures), words, metadata].into_iter().flatten().for_each(|fd| drop(fds.push(fd)));
        match poll(&mut fds, Some(&LOOK_EVERY)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(false),
            Ok(_) => {}
            Err(e) => return Err(e.to_string()),
        }
        let ready = |i: usize| fds.get(i).is_some_and(|fd| !fd.revents().is_empty());
        let (pictures, words, metadata) =
            (ready(0), has_words && ready(1), has_metadata && ready(1 + usize::from(has_words)));
        drop(fds);
        if words {
            self.listen();
        }
        if metadata {
            self.learn();
        }
        Ok(pictures)
    }

    /// Takes metadata that can be read.
    fn learn(&mut self) {
        let mut bytes = [0; 4096];
        match self.metadata.as_mut().map_or(Ok(0), |m| m.read(&mut bytes)) {
            Ok(0) => self.metadata = None,
            Ok(n) => self.reader.feed(&bytes[..n]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.metadata = None,
        }
    }

    /// The metadata of the picture that was just read. It may arrive a moment later than the picture.
    fn record(&mut self) -> Option<Record> {
        let (number, since) = (self.number, Instant::now());
        self.number += 1;
        loop {
            if let Some(record) = self.reader.take(number) {
                self.missed = 0;
                return Some(record);
            }
            let left = RECORD_LIMIT.saturating_sub(since.elapsed());
            if self.missed >= RECORDS_MISSED_MAX || left.is_zero() || self.metadata.is_none() {
                self.missed += 1;
                return None;
            }
            let mut fds = [PollFd::new(self.metadata.as_ref()?, PollFlags::IN)];
            let left = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) as _ };
            if matches!(poll(&mut fds, Some(&left)), Ok(1)) {
                self.learn();
            }
        }
    }

    /// Reads the program's messages, of which the last bytes become its error.
    fn listen(&mut self) {
        let mut bytes = [0; 1024];
        let n = self.words.as_mut().map_or(0, |w| w.read(&mut bytes).unwrap_or(0));
        if n == 0 {
            self.words = None;
        }
        self.messages.extend_from_slice(&bytes[..n]);
        let over = self.messages.len().saturating_sub(WORDS_BYTES_MAX);
        self.messages.drain(..over);
    }

    fn last_words(&mut self, at: usize) -> String {
        // The program has closed its end of the pipe.
        while self.words.is_some() && self.messages.len() < WORDS_BYTES_MAX {
            self.listen();
        }
        let text = String::from_utf8_lossy(&self.messages);
        let last = text.split(['\n', '\r']).map(str::trim).rfind(|l| !l.is_empty() && !l.starts_with('#'));
        let status = self.child.try_wait().ok().flatten().map_or("it has ended".into(), |s| s.to_string());
        let cut = if at > 0 { ", in the middle of a picture" } else { "" };
        format!("{status}{cut}{}", last.map_or(String::new(), |l| format!("; its last message: {l}")))
    }
}

/// The wall clock's time of a moment of the clock that counts since the machine was started.
fn captured_at_us(sensor_ns: u64) -> Option<u64> {
    let now = clock_gettime(ClockId::Boottime);
    let now = Duration::new(u64::try_from(now.tv_sec).ok()?, u32::try_from(now.tv_nsec).ok()?);
    let age = now.checked_sub(Duration::from_nanos(sensor_ns)).filter(|age| *age < AGE_MAX)?;
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(wall.saturating_sub(age).as_micros() as u64)
}

impl Feed for Rpicam {
    fn name(&self) -> String {
        self.program.clone()
    }

    fn open(&mut self) -> Result<f64, SourceError> {
        let failed = |e: std::io::Error| SourceError::Open { path: PROGRAM.into(), error: e };
        let mut command = Command::new(&self.program);
        command.args(self.options.arguments(&self.ask));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut metadata = None;
        if self.has_metadata {
            let (reader, writer) = std::io::pipe().map_err(failed)?;
            command.args(METADATA).stdin(writer);
            metadata = Some(reader);
        }
        let mut child = command.spawn().map_err(|e| match e.kind() {
            ErrorKind::NotFound => SourceError::Missing(format!(
                "{} is not installed; on Raspberry Pi OS: apt-get install rpicam-apps-lite",
                self.program
            )),
            _ => SourceError::Open { path: self.program.clone().into(), error: e },
        })?;
        let (pictures, words) = (child.stdout.take(), child.stderr.take());
        let Some(pictures) = pictures else { return Err(SourceError::Missing("no pipe".into())) };
        self.running = Some(Running {
            child,
            pictures,
            words,
            messages: Vec::new(),
            metadata,
            reader: Reader::new(),
            number: 0,
            missed: 0,
            last: Record::default(),
        });
        Ok(self.ask.fps)
    }

    fn next(&mut self) -> Result<u64, String> {
        self.read_picture()?;
        let Some(running) = &mut self.running else { return Err("not open".into()) };
        let record = running.record().unwrap_or_default();
        let lost = record.lost_since(&running.last);
        running.last = record;
        self.captured_at_us = record.sensor_ns.and_then(captured_at_us);
        let size = (self.ask.width as usize, self.ask.height as usize);
        unpad_in_place(Layout::I420, size, self.stride_bytes, &mut self.spare);
        std::mem::swap(&mut self.current, &mut self.spare);
        let bytes = self.picture_bytes();
        self.spare.resize(bytes, 0);
        Ok(lost)
    }

    fn close(&mut self) {
        if let Some(mut running) = self.running.take() {
            // A process that has already ended is not a failure.
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
        self.captured_at_us
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

    /// A program that runs `script`.
    fn stand_in(script: &str) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PROGRAM);
        std::fs::write(&path, format!("#!/bin/sh\ncd {}\n{script}", dir.path().display())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let program = path.to_string_lossy().into_owned();
        (dir, program)
    }

    fn parsed(description: &str, stop: &Arc<AtomicBool>) -> Result<Rpicam, SourceError> {
        let (own, rest) = Options::taken(description).unwrap();
        let (_, ask) = Ask::default().refined(&rest).unwrap();
        Rpicam::new(own, ask, Arc::clone(stop))
    }

    /// A camera with the rows of a Raspberry Pi 5.
    fn start(program: &str, description: &str) -> Result<Live<Rpicam>, SourceError> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut camera = parsed(description, &stop)?;
        camera.program = program.into();
        camera.run_on("Raspberry Pi 5 Model B Rev 1.0");
        Ok(Live::start(camera, stop))
    }

    #[test]
    fn every_picture_is_whole_and_without_the_padding_of_its_rows() {
        // 130x4 on a Raspberry Pi 5: rows of 256 bytes of luma, which end in 126 of padding, and of 128 of chroma.
        let script = "printf '%s\\n' \"$*\" > args\n\
                      row() { head -c $1 /dev/zero | tr '\\0' \"$3\"; head -c $2 /dev/zero | tr '\\0' x; }\n\
                      for n in 1 2; do\n\
                      row 130 126 $n; row 130 126 $n; row 130 126 $n; row 130 126 $n\n\
                      row 65 63 b; row 65 63 b; row 65 63 r; row 65 63 r\n\
                      done\n\
                      echo '#0 (30.00 fps)' >&2; exec sleep 60";
        let (dir, program) = stand_in(script);
        let mut live = start(&program, "?width=129&height=3&fps=12.5&exposure=100&camera=1&hflip").unwrap();
        for n in [b'1', b'2'] {
            assert!(live.advance().unwrap());
            let p = live.picture().unwrap();
            assert_eq!((p.width, p.height, p.layout, p.yuv), (130, 4, Layout::I420, Yuv::Bt601Full));
            let want = [vec![n; 4 * 130], vec![b'b'; 2 * 65], vec![b'r'; 2 * 65]].concat();
            assert_eq!(p.data, want);
        }
        let args = std::fs::read_to_string(dir.path().join("args")).unwrap();
        assert_eq!(
            args,
            "-n -t 0 --codec yuv420 --width 130 --height 4 --framerate 12.5 -o - --shutter 10000 --camera 1 --hflip \
             --metadata /dev/stdin --metadata-format txt\n"
        );
    }

    #[test]
    fn lost_pictures_and_capture_times_come_from_the_metadata() {
        // Captured a second after one another, at a picture in 100 ms: nine were lost before the second, none before the third.
        let script = "picture() { head -c 12288 /dev/zero; }\n\
                      tell() { printf 'ExposureTime=9985\\nSensorTimestamp=%s\\nFrameDuration=100000\\n\\n' $1 >/dev/stdin; }\n\
                      read up _ </proc/uptime; base=$((${up%.*} - 5))\n\
                      picture; tell ${base}000000000; picture; tell $((base + 1))000000000\n\
                      picture; tell $((base + 1))100000000; exec sleep 60";
        let (_dir, program) = stand_in(script);
        let mut live = start(&program, "?width=64&height=64").unwrap();
        let mut seen = Vec::new();
        for _ in 0..3 {
            assert!(live.advance().unwrap());
            seen.push((live.lost(), live.captured_at_us().unwrap()));
        }
        assert_eq!(seen.iter().map(|s| s.0).collect::<Vec<_>>(), [0, 9, 9]);
        // Wall clock and the machine's own are read one after the other.
        assert!(seen[1].1.abs_diff(seen[0].1 + 1_000_000) < 900_000, "{seen:?}");
    }

    #[test]
    fn a_program_without_metadata_is_used_without_it() {
        let script = "case \"$*\" in *--metadata*) echo \"ERROR: *** unrecognised option '--metadata' ***\" >&2; exit 255 ;; esac\n\
                      head -c 12288 /dev/zero; head -c 12288 /dev/zero; exec sleep 60";
        let (_dir, program) = stand_in(script);
        let mut live = start(&program, "?width=64&height=64").unwrap();
        assert!(live.advance().unwrap() && live.advance().unwrap());
        assert_eq!(live.captured_at_us(), None);
    }

    #[test]
    fn a_program_that_writes_no_metadata_is_not_waited_for_in_vain() {
        let script = "for n in 1 2 3 4 5 6; do head -c 12288 /dev/zero; done; exec sleep 60";
        let (_dir, program) = stand_in(script);
        let mut camera = parsed("?width=64&height=64", &Arc::default()).unwrap();
        camera.program = program;
        camera.run_on("Raspberry Pi 5");
        camera.open().unwrap();
        for n in 1..=6 {
            assert_eq!(camera.next(), Ok(0));
            assert_eq!(camera.running.as_ref().unwrap().missed, n);
        }
    }

    #[test]
    fn a_program_that_ends_in_a_picture_is_started_again() {
        let script = "echo run >> runs; head -c 18432 /dev/zero; head -c 100 /dev/zero; echo 'ERROR: gone' >&2; exit 3";
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
        let mut camera = parsed("", &Arc::default()).unwrap();
        camera.program = program;
        camera.open().unwrap();
        let why = camera.next().unwrap_err();
        assert!(why.contains("no cameras available"), "{why}");
    }

    #[test]
    fn a_missing_program_is_explained() {
        let mut camera = parsed("", &Arc::default()).unwrap();
        camera.program = "/nowhere/rpicam-vid".into();
        let error = camera.open().unwrap_err();
        assert!(error.to_string().contains("rpicam-apps"), "{error}");
        assert!(matches!(start("x", "?width=8192&height=8000"), Err(SourceError::Frame(_))));
    }
}
