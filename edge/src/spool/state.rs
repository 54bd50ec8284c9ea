//! State: what must outlive a restart besides the records: the journal's id, and how far each stream is settled.
//!
//! It is one small file, replaced by renaming. An unreadable one counts as none, with a warning in the log: records are then sent
//! again.

use firmware::limits::{JOURNAL_ID_BYTES_MAX, SEQ_MAX};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// One stream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamState {
    /// The stream.
    pub stream: u64,
    /// The first seq that the journal is answerable for.
    pub since: u64,
    /// All below is in the journal.
    pub floor: u64,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The journal that the last ack named.
    pub journal: Option<String>,
    /// The streams with something in the spool.
    pub streams: Vec<StreamState>,
}

impl State {
    /// What is kept of `stream`.
    pub fn stream(&self, stream: u64) -> Option<&StreamState> {
        self.streams.iter().find(|s| s.stream == stream)
    }

    fn is_sound(&self) -> bool {
        self.journal.as_ref().is_none_or(|j| j.len() <= JOURNAL_ID_BYTES_MAX)
            && self.streams.iter().all(|s| s.since.max(s.floor) <= SEQ_MAX)
    }

    pub(super) fn load(path: &Path) -> State {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return State::default(),
            Err(e) => {
                log::error!("{}: {e}; taking every record as not yet in the journal", path.display());
                return State::default();
            }
        };
        match serde_json::from_str::<State>(&text) {
            Ok(state) if state.is_sound() => state,
            _ => {
                log::error!("{}: damaged; taking every record as not yet in the journal", path.display());
                State::default()
            }
        }
    }

    pub(super) fn store(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        std::fs::rename(new, path)
    }
}
