//! Reads a FIFO or another pipe, whose silence a stop can end.
//!
//! A pipe may have no writer yet, and a writer may never send another byte. Opening and reading therefore never block for
//! longer than 50 ms without looking at the stop flag; a stop reads as the end of the pipe.

use super::SourceError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// While the pipe is silent, the stop flag is looked at this often: a person does not notice the delay.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// An open pipe.
#[derive(Debug)]
pub struct Pipe {
    file: File,
    stop: Arc<AtomicBool>,
}

impl Pipe {
    /// Opens it; it need not have a writer yet.
    ///
    /// # Errors
    /// [`SourceError::Open`].
    pub fn open(path: &Path, stop: Arc<AtomicBool>) -> Result<Pipe, SourceError> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file = File::options().read(true).custom_flags(flags).open(path);
        let file = file.map_err(|error| SourceError::Open { path: path.into(), error })?;
        Ok(Pipe { file, stop })
    }
}

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        while !self.stop.load(Ordering::Relaxed) {
            // Without a writer yet, a read would say that the pipe has ended; poll says nothing.
            let mut fds = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut fds, Some(&LOOK_EVERY)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            match self.file.read(buf) {
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                other => return other,
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn fifo() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        (dir, path)
    }

    #[test]
    fn all_that_a_late_writer_sends_is_read_up_to_its_end() {
        let (_dir, path) = fifo();
        let mut pipe = Pipe::open(&path, Arc::default()).unwrap();
        let bytes: Vec<u8> = (0..200_000).map(|i| i as u8).collect();
        let (sent, mut read) = (bytes.clone(), Vec::new());
        let writer = std::thread::spawn(move || File::options().write(true).open(path).unwrap().write_all(&sent));
        pipe.read_to_end(&mut read).unwrap();
        writer.join().unwrap().unwrap();
        assert!(read == bytes);
    }

    #[test]
    fn a_stop_ends_the_wait_for_a_writer() {
        let (_dir, path) = fifo();
        let stop = Arc::new(AtomicBool::new(false));
        let mut pipe = Pipe::open(&path, Arc::clone(&stop)).unwrap();
        let waits = std::thread::spawn(move || pipe.read(&mut [0; 8]).unwrap());
        stop.store(true, Ordering::Relaxed);
        assert_eq!(waits.join().unwrap(), 0);
    }
}
