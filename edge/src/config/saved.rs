//! What commands have saved: a small file of settings beside the records.
//!
//! The file is a configuration of the few keys that a command can change. It is over the configuration file and the
//! environment, and below flags. It is replaced as a whole and synced with its directory, so after a power cut there is the
//! old one or the new one. One that cannot be read is left out, with a warning in the log.

use super::layers::{Origin, Raw};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use toml::Value;

/// The file's name in the spool's directory.
const NAME: &str = "saved.toml";
/// The file's first line.
const HEAD: &str =
    "# Written by commands with --save. Without this file the configuration's own values are in force again.\n";

/// Where it is, if records are kept in `dir`.
pub fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// The settings that are saved in `dir`; none if there is no file.
fn load(dir: &Path) -> toml::Table {
    let path = path(dir);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                log::warn!("{}: {error}; what commands have saved is not in force", path.display());
            }
            return toml::Table::new();
        }
    };
    toml::from_str(&text).unwrap_or_else(|error| {
        log::warn!("{} is not TOML: {error}; what commands have saved is not in force", path.display());
        toml::Table::new()
    })
}

/// Saves `changes`, keys with their values, over what is saved in `dir`.
///
/// # Errors
/// Those of the disk; what was saved before is then as it was.
pub fn store(dir: &Path, changes: &[(&'static str, Value)]) -> io::Result<()> {
    let mut all = load(dir);
    for (key, value) in changes {
        let (section, name) = key.split_once('.').unwrap_or(("", key));
        let section = all.entry(section).or_insert_with(|| Value::Table(toml::Table::new()));
        if let Value::Table(section) = section {
            section.insert(name.to_owned(), value.clone());
        }
    }
    let path = path(dir);
    let new = path.with_extension("new");
    let written = write(&new, &format!("{HEAD}{all}"));
    let replaced = written.and_then(|()| std::fs::rename(&new, &path));
    if replaced.is_err() {
        // A full disk is no fuller for the attempt.
        let _ = std::fs::remove_file(&new);
    }
    replaced.and_then(|()| File::open(dir)?.sync_all())
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

impl Raw {
    /// Adds what commands have saved in `dir`, over all but flags. What is no key of this version is left out.
    pub fn add_saved(&mut self, dir: &Path) {
        for (section, value) in load(dir) {
            let Value::Table(keys) = value else { continue };
            for (key, value) in keys {
                let key = format!("{section}.{key}");
                if self.is_typed(&key) {
                    log::warn!("{key}: a command has saved {value}, but the command line has another value");
                } else if let Err(error) = self.put(&key, value, Origin::Saved) {
                    log::warn!("{}: {error}; it is not in force", path(dir).display());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_is_saved_beats_the_file_and_the_environment_and_not_a_flag() {
        let dir = tempfile::tempdir().unwrap();
        store(dir.path(), &[("clustering.lambda", Value::Float(30.0)), ("clustering.method", "uniform".into())])
            .unwrap();
        store(dir.path(), &[("clustering.lambda", Value::Float(20.5)), ("send.census_every", Value::Float(0.0))])
            .unwrap();
        let gather = |origin: Origin| {
            let mut raw = Raw::default();
            raw.put("clustering.lambda", "40".into(), origin).unwrap();
            raw.add_saved(dir.path());
            Config::check(raw).unwrap()
        };
        for origin in [Origin::File("f".into()), Origin::Env("E".into())] {
            let config = gather(origin);
            assert_eq!((config.settings.lambda_q6, config.census_every_s), (1312, 0.0));
            let text = config.print();
            assert!(text.contains("lambda = 20.5  # saved command\n"), "{text}");
            assert!(text.contains("method = \"uniform\"  # saved command\n"), "{text}");
        }
        assert_eq!(gather(Origin::Flag("--lambda".into())).settings.lambda_q6, 40 * 64);
    }

    #[test]
    fn a_file_that_is_damaged_or_of_another_version_does_not_stop_the_edge() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["\0\0", "[clustering]\nnew = 1\n", "lambda = 3\n"] {
            std::fs::write(path(dir.path()), text).unwrap();
            let mut raw = Raw::default();
            raw.add_saved(dir.path());
            assert_eq!(Config::check(raw).unwrap().settings.lambda_q6, 50 * 64, "{text}");
        }
        store(dir.path(), &[("clustering.lambda", Value::Integer(9))]).unwrap();
        let text = std::fs::read_to_string(path(dir.path())).unwrap();
        assert!(text.starts_with("# Written by") && text.contains("[clustering]\nlambda = 9\n"), "{text}");
    }

    #[test]
    fn a_disk_that_refuses_leaves_what_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        let change = |lambda| [("clustering.lambda", Value::Integer(lambda))];
        store(dir.path(), &change(9)).unwrap();
        // A directory in place of the new file, for a disk that takes none.
        std::fs::create_dir(path(dir.path()).with_extension("new")).unwrap();
        assert!(store(dir.path(), &change(10)).is_err());
        assert!(std::fs::read_to_string(path(dir.path())).unwrap().contains("lambda = 9\n"));
    }
}
