//! Ownership of a store's file: one process writes to it at a time.
//!
//! [`Ownership::take`] locks the file `<store>.lock`. The kernel releases the lock when its process ends, however that ends,
//! so a restart never waits and a running owner is never evicted. The file holds one line that names the owner, for
//! the error that a second process gets.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct Ownership {
    _lock: File,
}

/// Why the store cannot be owned.
#[derive(Debug, thiserror::Error)]
pub enum NotOwned {
    /// Another process owns it.
    #[error(
        "{} belongs to a running hueflow-metrics ({owner}). Stop that one, or give this one another store.file",
        store.display()
    )]
    Held {
        /// The store.
        store: PathBuf,
        /// Who has it.
        owner: String,
    },
    /// The lock's file cannot be opened or locked.
    #[error("{}: {error}", file.display())]
    Io {
        /// The lock's file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

impl Ownership {
    /// Takes the ownership of the store in `file`, as `who`. A store in memory needs none.
    ///
    /// # Errors
    /// [`NotOwned`].
    pub fn take(file: &Path, who: &str) -> Result<Option<Ownership>, NotOwned> {
        if file == Path::new(":memory:") {
            return Ok(None);
        }
        let mut name = file.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let failed = |error| NotOwned::Io { file: path.clone(), error };
        let mut lock =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                let _ = lock.read_to_string(&mut owner); // It only adds to the error.
                let owner = if owner.trim().is_empty() { "of unknown process" } else { owner.trim() }.to_owned();
                return Err(NotOwned::Held { store: file.to_owned(), owner });
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        let write = |lock: &mut File| {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{who}")
        };
        write(&mut lock).map_err(failed)?;
        Ok(Some(Ownership { _lock: lock }))
    }
}
