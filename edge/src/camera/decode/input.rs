//! Input: the bytes of a file, a FIFO, a pipe or standard input, of which the first can be read in advance.
//!
//! The input is a path, the result is a reader. [`Input::open`] never seeks and opens nothing twice, so pipes work like files. Reading
//! from a silent pipe ends when the stop flag is set. Only a regular file can be read from the beginning again.

use crate::camera::SourceError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The name of standard input as a path.
pub const STANDARD_INPUT: &str = "-";
/// The stop flag is checked this often while a pipe is silent.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Bytes to be decoded.
#[derive(Debug)]
pub struct Input {
    what: String,
    path: Option<PathBuf>,
    /// Bytes that were read in advance; `at` of them are consumed.
    head: Vec<u8>,
    at: usize,
    file: File,
    stop: Option<Arc<AtomicBool>>,
}

impl Input {
    /// Opens `path`; `-` is standard input. Opening does not wait for a FIFO's writer; reading does, until `stop` is set.
    ///
    /// # Errors
    /// [`SourceError::Open`], also for a directory.
    pub fn open(path: &Path, stop: &Arc<AtomicBool>) -> Result<Input, SourceError> {
        if path == Path::new(STANDARD_INPUT) {
            let what = "standard input".to_owned();
            let file = io::stdin()
                .as_fd()
                .try_clone_to_owned()
                .map_err(|error| SourceError::Read { what: what.clone(), error })?;
            return Ok(Input {
                what,
                path: None,
                head: Vec::new(),
                at: 0,
                file: file.into(),
                stop: Some(stop.clone()),
            });
        }
        let refuse = |error| SourceError::Open { path: path.into(), error };
        let kind = std::fs::metadata(path).map_err(refuse)?.file_type();
        if kind.is_dir() {
            return Err(refuse(io::ErrorKind::IsADirectory.into()));
        }
        let mut options = OpenOptions::new();
        options.read(true);
        if !kind.is_file() {
            // Opening a FIFO would wait for its writer.
            options.custom_flags(OFlags::NONBLOCK.bits() as i32);
        }
        let file = options.open(path).map_err(refuse)?;
        let (path_again, stop) = if kind.is_file() { (Some(path.into()), None) } else { (None, Some(stop.clone())) };
        Ok(Input { what: path.display().to_string(), path: path_again, head: Vec::new(), at: 0, file, stop })
    }

    /// Its name in messages.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The path, if it is a regular file.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The next `bytes` bytes without consuming them; fewer only at the end.
    ///
    /// # Errors
    /// [`SourceError::Read`].
    pub fn peek(&mut self, bytes: usize) -> Result<&[u8], SourceError> {
        let mut buffer = [0; 4096];
        while self.head.len() - self.at < bytes {
            let room = (bytes - (self.head.len() - self.at)).min(buffer.len());
            match self.fetch(&mut buffer[..room]) {
                Ok(0) => break,
                Ok(n) => self.head.extend_from_slice(&buffer[..n]),
                Err(error) => return Err(SourceError::Read { what: self.what.clone(), error }),
            }
        }
        let end = self.head.len().min(self.at + bytes);
        Ok(&self.head[self.at..end])
    }

    /// The remaining bytes.
    ///
    /// # Errors
    /// [`SourceError::Read`], [`SourceError::Malformed`] if it is more than `bytes_max`.
    pub fn read_all(mut self, bytes_max: usize) -> Result<Vec<u8>, SourceError> {
        let mut bytes = Vec::new();
        let what = self.what.clone();
        let read = self.by_ref().take(bytes_max as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| SourceError::Read { what: what.clone(), error })?;
        if bytes.len() > bytes_max {
            let why = format!("it has more than the {} MiB that a picture's file may have", bytes_max >> 20);
            return Err(SourceError::Malformed { what, why });
        }
        Ok(bytes)
    }

    /// Opens it again, at its beginning.
    ///
    /// # Errors
    /// [`SourceError::Malformed`] if it is a pipe, which has no beginning any more.
    pub fn reopened(&self) -> Result<Input, SourceError> {
        let Some(path) = &self.path else {
            let why = "it is a pipe and cannot be played from the beginning again".into();
            return Err(SourceError::Malformed { what: self.what.clone(), why });
        };
        Input::open(path, &Arc::default())
    }

    fn fetch(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(stop) = &self.stop else { return self.file.read(buf) };
        while !stop.load(Ordering::Relaxed) {
            // A FIFO that has had no writer yet is silent, not at its end.
            match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&LOOK_EVERY)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            match self.file.read(buf) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                result => return result,
            }
        }
        Ok(0)
    }
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let head = &self.head[self.at..];
        if head.is_empty() {
            return self.fetch(buf);
        }
        let n = head.len().min(buf.len());
        buf[..n].copy_from_slice(&head[..n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn fifo(dir: &Path) -> PathBuf {
        let path = dir.join("fifo");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        path
    }

    #[test]
    fn what_was_looked_at_is_read_all_the_same() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"0123456789").unwrap();
        let mut input = Input::open(file.path(), &Arc::default()).unwrap();
        assert_eq!(input.peek(4).unwrap(), b"0123");
        assert_eq!(input.peek(2).unwrap(), b"01");
        assert_eq!(input.peek(99).unwrap(), b"0123456789");
        let mut two = [0; 2];
        input.read_exact(&mut two).unwrap();
        assert_eq!((&two, input.peek(3).unwrap()), (b"01", &b"234"[..]));
        assert_eq!(input.reopened().unwrap().read_all(10).unwrap(), b"0123456789");
        assert_eq!(input.read_all(8).unwrap(), b"23456789");
        let long = Input::open(file.path(), &Arc::default()).unwrap().read_all(9);
        assert!(long.unwrap_err().to_string().contains("more than the 0 MiB"));
    }

    #[test]
    fn a_fifo_waits_for_its_writer_and_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = fifo(dir.path());
        let mut input = Input::open(&path, &Arc::default()).unwrap();
        let writer = std::thread::spawn(move || {
            let mut writer = OpenOptions::new().write(true).open(path).unwrap();
            writer.write_all(b"abc").unwrap();
        });
        assert_eq!(input.peek(8).unwrap(), b"abc");
        writer.join().unwrap();
        assert!(input.reopened().unwrap_err().to_string().contains("cannot be played from the beginning"));
        assert_eq!(input.read_all(100).unwrap(), b"abc");
    }

    #[test]
    fn a_silent_fifo_ends_when_it_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let mut input = Input::open(&fifo(dir.path()), &stop).unwrap();
        let reader = std::thread::spawn(move || input.peek(1).unwrap().len());
        stop.store(true, Ordering::Relaxed);
        assert_eq!(reader.join().unwrap(), 0);
    }
}
