//! A small disk for a spool, which can be full.
//!
//! A folder becomes a disk of a few MiB in memory, if this user may mount one. It is unmounted when the value goes out of
//! scope.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Room for twice the spool's own bound, so that only the filler makes it full.
const BYTES: u64 = 4 << 20;

/// A disk.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts one at `path`. None: we may not.
    pub fn mount(path: &Path) -> Option<Disk> {
        std::fs::create_dir_all(path).ok()?;
        let size = format!("size={BYTES}");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &size, "hueflow-chaos"]).arg(path).stderr(Stdio::null());
        let done = command.status().ok()?;
        done.success().then(|| Disk { path: path.to_path_buf() })
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Fills the disk.
    pub fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filler()).expect("the filler");
        for bytes in [1 << 16, 1 << 12, 1 << 8, 1] {
            while file.write_all(&vec![0; bytes]).is_ok() {}
        }
    }

    /// Gives it back.
    pub fn clear(&self) {
        // It may not have been filled.
        let _ = std::fs::remove_file(self.filler());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a program that is about to be stopped may still have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
