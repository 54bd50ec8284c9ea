//! Host: the machine as the checks see it, so that a folder of files can stand in for one in a test.
//!
//! It returns what is there at absolute paths: texts, names, and whether this process may use it. Nothing is written; devices are
//! opened and closed again, and not asked for anything.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What a file system has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Bytes that this process may still write.
    pub free_bytes: u64,
    /// It is in memory, and gone when power is.
    pub is_memory: bool,
}

/// A machine.
pub struct Host {
    pub(super) root: PathBuf,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) open: fn(&Path) -> io::Result<()>,
    pub(super) writable: fn(&Path) -> io::Result<()>,
    pub(super) disk: fn(&Path) -> io::Result<Disk>,
}

impl Host {
    /// This machine.
    pub fn this() -> Host {
        let text =
            |(k, v): (std::ffi::OsString, std::ffi::OsString)| Some((k.into_string().ok()?, v.into_string().ok()?));
        Host {
            root: "/".into(),
            variables: std::env::vars_os().filter_map(text).collect(),
            open: |path| std::fs::File::options().read(true).write(true).open(path).map(drop),
            writable: |path| Ok(rustix::fs::access(path, rustix::fs::Access::WRITE_OK)?),
            disk,
        }
    }

    /// Whether it is this machine, and devices can be asked.
    pub fn is_this(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where a path of the machine is.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A file's text without the white space around it.
    pub fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        std::fs::read_to_string(self.at(path)).ok().map(|t| t.trim().to_owned())
    }

    /// Whether a path is there.
    pub fn has(&self, path: impl AsRef<Path>) -> bool {
        self.at(path).exists()
    }

    /// What is in a folder, sorted: first by length, so that 10 comes after 9.
    pub fn names(&self, dir: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.at(dir)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        names
    }

    /// The devices of a kind: `/dev/` and `prefix` and a number.
    pub fn devices(&self, prefix: &str) -> Vec<String> {
        let numbered = |name: &&String| {
            name.strip_prefix(prefix)
                .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
        };
        self.names("/dev").iter().filter(numbered).map(|n| format!("/dev/{n}")).collect()
    }

    /// Opens a device to read and write, and closes it again.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<()> {
        (self.open)(&self.at(path))
    }

    /// Whether this process may write there.
    ///
    /// # Errors
    /// Why not.
    pub fn may_write(&self, path: impl AsRef<Path>) -> io::Result<()> {
        (self.writable)(&self.at(path))
    }

    /// What the file system at `path` has.
    ///
    /// # Errors
    /// Why it is not known.
    pub fn disk(&self, path: impl AsRef<Path>) -> io::Result<Disk> {
        (self.disk)(&self.at(path))
    }

    /// A variable of the environment that is not empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }
}

fn disk(path: &Path) -> io::Result<Disk> {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    let space = rustix::fs::statvfs(path)?;
    #[allow(clippy::useless_conversion, reason = "the kernel's word has another width on 32-bit machines")]
    let kind = i64::try_from(rustix::fs::statfs(path)?.f_type).unwrap_or(0) & 0xffff_ffff;
    Ok(Disk { free_bytes: space.f_bavail.saturating_mul(space.f_frsize), is_memory: kind == TMPFS || kind == RAMFS })
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fake;
    use super::*;

    #[test]
    fn devices_are_in_the_order_of_their_numbers_and_nothing_else_is_one() {
        let names = ["video10", "video2", "video", "videos", "spidev0.1", "spidev0.0"];
        let fake = names.iter().fold(Fake::new(), |f, n| f.file(&format!("/dev/{n}"), ""));
        assert_eq!(fake.host.devices("video"), ["/dev/video2", "/dev/video10"]);
        assert_eq!(fake.host.devices("spidev"), ["/dev/spidev0.0", "/dev/spidev0.1"]);
        assert!(fake.host.devices("fb").is_empty());
    }

    #[test]
    fn this_machine_has_room_on_a_disk_and_none_where_nothing_is() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::this();
        assert!(host.is_this() && host.disk(dir.path()).unwrap().free_bytes > 0);
        assert!(host.may_write(dir.path()).is_ok());
        assert!(host.disk(dir.path().join("nowhere")).is_err() && host.open(dir.path().join("nowhere")).is_err());
    }
}
