//! Tests of the lines and the verdict, and a machine in a folder for the tests of the checks.
//!
//! Inputs are files and their modes; the result is a host. Only a temporary folder is read, never this machine.

use super::host::{Disk, Host};
use super::*;
use ::host::check::State;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A folder with files, and what it takes to be a machine. Files of mode 0 cannot be opened, as if nobody may.
pub struct Fake {
    dir: tempfile::TempDir,
    /// The machine.
    pub host: Host,
}

fn mode(path: &Path) -> io::Result<u32> {
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o777)
}

fn unless_0(path: &Path) -> io::Result<()> {
    if mode(path)? == 0 { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
}

impl Fake {
    /// An empty machine.
    pub fn new() -> Fake {
        let dir = tempfile::tempdir().unwrap();
        let host = Host {
            root: dir.path().into(),
            variables: BTreeMap::new(),
            open: unless_0,
            writable: |path| {
                let full = mode(path)? & 0o200 != 0;
                if full { Ok(()) } else { Err(io::ErrorKind::ReadOnlyFilesystem.into()) }
            },
            disk: |_| Ok(Disk { free_bytes: 1 << 30, is_memory: false }),
        };
        Fake { dir, host }
    }

    /// Adds a file.
    pub fn file(self, path: &str, text: &str) -> Fake {
        let at = self.dir.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(at, text).unwrap();
        self
    }

    /// Nobody may open it, or write into it.
    pub fn locked(self, path: &str, mode: u32) -> Fake {
        let at = self.host.at(path);
        std::fs::set_permissions(at, std::fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    /// Sets a variable of the environment.
    pub fn variable(mut self, name: &str, value: &str) -> Fake {
        self.host.variables.insert(name.into(), value.into());
        self
    }

    /// Says what every file system has.
    pub fn disk(mut self, disk: fn(&Path) -> io::Result<Disk>) -> Fake {
        self.host.disk = disk;
        self
    }
}

#[test]
fn a_line_is_one_line_and_says_what_to_type() {
    let line = Line::wrong("camera", "there is\nnone", "plug one in");
    assert_eq!(line.to_string(), "wrong    camera   there is none  -> plug one in");
    assert_eq!(Line::ok("clock", "right").to_string(), "ok       clock    right");
}

#[test]
fn warnings_are_no_failure_and_the_machine_counts_before_the_configuration() {
    let line = |state| Line::new("x", state, "", "");
    assert!(verdict(&[line(State::Ok), line(State::Warning)]).is_ok());
    let code = |states: &[State]| verdict(&states.iter().map(|s| line(*s)).collect::<Vec<_>>()).unwrap_err().code();
    assert_eq!(code(&[State::Misconfigured, State::Warning]), 78);
    assert_eq!(code(&[State::Misconfigured, State::Wrong]), 69);
}
