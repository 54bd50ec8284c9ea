//! Whose records a spool holds: those of one device of one site.
//!
//! The file `owner` names it. A spool that is opened under another name has its files moved to `of/SITE/DEVICE` first, so that
//! its records keep the name that produced them, and its new owner begins with an empty one. Under the former name again,
//! the files come back. Each step can be interrupted and is done again at the next open. A spool without the file is of an
//! earlier version or of a run without a broker: the next edge that opens it becomes its owner.

use super::segment::number_of;
use super::{SpoolError, disk, make_dir, sync_dir};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Former names whose records a spool keeps at most, each with a sender and a connection of its own while they drain.
pub const FORMER_MAX: usize = 4;
/// The folder of former names.
const FORMER: &str = "of";

/// A device of a site. Both are safe as names of directories.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The site.
    pub site: String,
    /// The device.
    pub device: String,
}

impl Name {
    /// Reads `SITE/DEVICE`; none if a part is not 1 to 64 of A-Z a-z 0-9 _ -.
    pub fn parse(text: &str) -> Option<Name> {
        let (site, device) = text.trim().split_once('/')?;
        let is_part = |p: &str| {
            (1..=64).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        (is_part(site) && is_part(device)).then(|| Name { site: site.to_owned(), device: device.to_owned() })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.site, self.device)
    }
}

/// Where the records of a former name are, in the spool in `dir`.
pub fn former_dir(dir: &Path, name: &Name) -> PathBuf {
    dir.join(FORMER).join(&name.site).join(&name.device)
}

/// The former names whose records are in the spool in `dir`, sorted.
pub fn former(dir: &Path) -> Vec<Name> {
    let names = |dir: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|e| e.path().is_dir()).filter_map(|e| e.file_name().into_string().ok()).collect()
    };
    let of = dir.join(FORMER);
    let sites = names(&of).into_iter();
    let devices =
        sites.flat_map(|site| names(&of.join(&site)).into_iter().map(move |device| format!("{site}/{device}")));
    let mut found: Vec<Name> = devices.filter_map(|name| Name::parse(&name)).collect();
    found.sort();
    found
}

/// Removes the folder of a former name if no segment is left in it. Returns true if it is gone.
///
/// # Errors
/// [`SpoolError`].
pub fn forget_former(dir: &Path, name: &Name) -> Result<bool, SpoolError> {
    let former = former_dir(dir, name);
    if !segments(&former)?.is_empty() {
        return Ok(false);
    }
    std::fs::remove_dir_all(&former).map_err(disk("delete", &former))?;
    // The folders above may have others in them.
    let _ = std::fs::remove_dir(dir.join(FORMER).join(&name.site)).and_then(|()| std::fs::remove_dir(dir.join(FORMER)));
    sync_dir(dir)?;
    Ok(true)
}

/// Makes `name` the owner of the spool in `dir`, which is locked.
pub(super) fn settle(dir: &Path, name: &Name) -> Result<(), SpoolError> {
    let owner = read(dir);
    if owner.as_ref() != Some(name) {
        if let Some(owner) = owner {
            move_out(dir, &owner, name)?;
        }
        write(dir, name)?;
    }
    let former = former_dir(dir, name);
    if former.is_dir() {
        move_files(&former, dir)?;
        forget_former(dir, name)?;
    }
    Ok(())
}

fn move_out(dir: &Path, owner: &Name, name: &Name) -> Result<(), SpoolError> {
    if segments(dir)?.is_empty() {
        // Nothing of it is left; the state is of no use to another.
        return remove_if_there(&dir.join("state"));
    }
    if former(dir).iter().filter(|n| *n != name && *n != owner).count() >= FORMER_MAX {
        return Err(SpoolError::TooManyNames(dir.into()));
    }
    log::warn!("the spool {} holds records of {owner}: they keep that name and are sent under it", dir.display());
    let to = former_dir(dir, owner);
    make_dir(&to)?;
    move_files(dir, &to)
}

/// Moves the segments, then the state.
fn move_files(from: &Path, to: &Path) -> Result<(), SpoolError> {
    let mut names = segments(from)?;
    if from.join("state").exists() {
        names.push("state".into());
    }
    for name in names {
        let path = from.join(&name);
        std::fs::rename(&path, to.join(&name)).map_err(disk("move", &path))?;
    }
    sync_dir(to)?;
    sync_dir(from)
}

/// The names of the files with records.
fn segments(dir: &Path) -> Result<Vec<String>, SpoolError> {
    let entries = std::fs::read_dir(dir).map_err(disk("list", dir))?;
    let is_segment = |name: &String| ["seg", "loss"].iter().any(|prefix| number_of(prefix, name.as_ref()).is_some());
    Ok(entries.flatten().filter_map(|e| e.file_name().into_string().ok()).filter(is_segment).collect())
}

fn remove_if_there(path: &Path) -> Result<(), SpoolError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(disk("delete", path)(e)),
        _ => Ok(()),
    }
}

/// The owner; none: the spool has none yet, or the file cannot be read, which is logged.
fn read(dir: &Path) -> Option<Name> {
    let path = dir.join("owner");
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let name = Name::parse(&text);
            if name.is_none() {
                log::error!("{}: damaged; taking the records for this device's own", path.display());
            }
            name
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => {
            log::error!("{}: {e}; taking the records for this device's own", path.display());
            None
        }
    }
}

fn write(dir: &Path, name: &Name) -> Result<(), SpoolError> {
    let (path, new) = (dir.join("owner"), dir.join("owner.new"));
    let written = std::fs::write(&new, format!("{name}\n")).and_then(|()| std::fs::File::open(&new)?.sync_all());
    written.and_then(|()| std::fs::rename(&new, &path)).map_err(disk("write", &path))?;
    sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, Limits, Spool};
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn open(dir: &Path, owner: &str, boot: u64) -> Result<Spool, SpoolError> {
        Spool::open_as(dir, Limits::of(1 << 20), boot, Some(&name(owner)), &mut |_, _| {})
    }

    fn append(spool: &mut Spool, records: usize) {
        for _ in 0..records {
            let entry = Entry { kind: 1, payload_version: 1, captured_at_us: 0, clock_synced: false, payload: b"x" };
            spool.append(&entry).unwrap();
        }
        spool.sync().unwrap();
    }

    fn streams(spool: &Spool) -> Vec<(u64, u64)> {
        spool.older().iter().map(|o| (o.stream, o.next)).collect()
    }

    #[test]
    fn records_keep_the_name_that_produced_them_and_come_back_with_it() {
        let dir = tempfile::tempdir().unwrap();
        append(&mut open(dir.path(), "home/pi", 2).unwrap(), 3);
        let mut other = open(dir.path(), "home/desk", 4).unwrap();
        assert!(other.older().is_empty(), "none of them is the new name's");
        append(&mut other, 5);
        drop(other);
        assert_eq!(former(dir.path()), [name("home/pi")]);
        let of_pi = Spool::open(&former_dir(dir.path(), &name("home/pi")), Limits::of(1 << 20), 6).unwrap();
        assert_eq!(streams(&of_pi), [(2, 3)]);
        drop(of_pi);
        assert_eq!(streams(&open(dir.path(), "home/pi", 8).unwrap()), [(2, 3)]);
        assert_eq!(former(dir.path()), [name("home/desk")]);
        assert_eq!(streams(&open(dir.path(), "home/desk", 10).unwrap()), [(4, 5)]);
    }

    #[test]
    fn a_spool_without_an_owner_is_of_who_opens_it() {
        let dir = tempfile::tempdir().unwrap();
        append(&mut Spool::open(dir.path(), Limits::of(1 << 20), 2).unwrap(), 3);
        assert_eq!(streams(&open(dir.path(), "home/pi", 4).unwrap()), [(2, 3)]);
        assert!(former(dir.path()).is_empty());
        std::fs::write(dir.path().join("owner"), "../etc\n").unwrap();
        assert_eq!(streams(&open(dir.path(), "home/desk", 6).unwrap()), [(2, 3)], "a damaged file moves nothing");
    }

    #[test]
    fn an_interrupted_move_is_finished_by_either_name() {
        for finisher in ["home/pi", "home/desk"] {
            let dir = tempfile::tempdir().unwrap();
            append(&mut open(dir.path(), "home/pi", 2).unwrap(), 3);
            append(&mut open(dir.path(), "home/pi", 4).unwrap(), 2);
            // The first of two segments was moved when power failed.
            let to = former_dir(dir.path(), &name("home/pi"));
            std::fs::create_dir_all(&to).unwrap();
            let first = segments(dir.path()).unwrap().into_iter().min().unwrap();
            std::fs::rename(dir.path().join(&first), to.join(&first)).unwrap();
            drop(open(dir.path(), finisher, 6).unwrap());
            assert_eq!(streams(&open(dir.path(), "home/pi", 8).unwrap()), [(2, 3), (4, 2)], "{finisher}");
        }
    }

    #[test]
    fn a_former_name_is_forgotten_when_nothing_of_it_is_left_and_there_are_not_too_many() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..=FORMER_MAX as u64 {
            append(&mut open(dir.path(), &format!("home/pi-{i}"), 2 + 2 * i).unwrap(), 1);
        }
        assert_eq!(former(dir.path()).len(), FORMER_MAX);
        assert!(matches!(open(dir.path(), "home/more", 100), Err(SpoolError::TooManyNames(_))));
        let first = name("home/pi-0");
        assert!(!forget_former(dir.path(), &first).unwrap(), "a record is left");
        for file in segments(&former_dir(dir.path(), &first)).unwrap() {
            std::fs::remove_file(former_dir(dir.path(), &first).join(file)).unwrap();
        }
        assert!(forget_former(dir.path(), &first).unwrap());
        assert!(open(dir.path(), "home/more", 100).is_ok());
    }
}
