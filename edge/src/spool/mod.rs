//! Spool: records on the disk, from the moment they are accepted until the journal has them.
//!
//! It gives sequence numbers, records back by (stream, seq), and what an earlier run left behind. It works in one directory,
//! which no other edge may use at the same time, and never has more than `bytes_max` bytes of segments. Segments are deleted
//! from the front only, and only if the journal has what is in them, or if a loss record that is already durable names it.
//!
//! | file | holds |
//! |---|---|
//! | `owner` | the site and device whose records these are ([`owner`]) |
//! | `of/SITE/DEVICE/` | the same files, of a former name |
//! | `lock` | the boot in hexadecimal; locked while the spool is open |
//! | `state` | JSON: the journal's id, and since and floor of each stream; replaced as a whole |
//! | `seg-NNNNNNNNNNNNNNNN.log` | segment N (hexadecimal, counted over all opens): a head and records of one stream ([`segment`]) |
//! | `loss-NNNNNNNNNNNNNNNN.log` | the same for loss records (`firmware::wire::Loss`); never evicted; [`Limits::loss_bytes_max`] of `bytes_max` are kept for them |
//!
//! Each open is a stream of its own (the boot) for data, and boot + 1 for loss records, so a segment's records follow one
//! another without a gap. *Accepted* means appended and synced: [`Spool::sync`] returns up to where.
//!
//! A full spool is made room in by [`Spool::evict`]: loss records for what the oldest segment still holds are appended
//! and synced, then the segment is deleted. After a crash in between both are there and both are sent: stored wins.

mod cadence;
mod chain;
#[cfg(test)]
mod fault;
mod open;
pub mod owner;
pub mod segment;
pub mod state;

pub use cadence::Cadence;
use chain::Chain;
use firmware::limits::ENVELOPE_BYTES;
use firmware::wire::{self, Loss, LossReason, Payload};
pub use open::held_by;
pub use owner::Name;
pub use state::State;
use state::StreamState;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A segment is closed when it has this many bytes.
pub const SEGMENT_BYTES: u64 = 1 << 20;
/// Most bytes of an encoded [`Loss`]: three numbers of at most 10 bytes, and the reason.
const LOSS_BYTES: usize = 32;
/// Bytes that a loss record may need on the disk.
const LOSS_RECORD_BYTES: u64 = (ENVELOPE_BYTES + LOSS_BYTES) as u64;

/// How large the spool may become.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most bytes of all segments together.
    pub bytes_max: u64,
    /// Bytes after which a new segment is begun.
    pub segment_bytes: u64,
    /// Of `bytes_max`, what only loss records may use.
    pub loss_bytes_max: u64,
}

impl Limits {
    /// What follows from the size of the whole.
    pub fn of(bytes_max: u64) -> Limits {
        Limits { bytes_max, segment_bytes: SEGMENT_BYTES.min(bytes_max / 4), loss_bytes_max: bytes_max / 16 }
    }
}

/// Why the spool cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another edge has it open.
    #[error("the spool {0} is in use by another edge")]
    InUse(PathBuf),
    /// It holds records of too many former names.
    #[error("the spool {0} holds records of {max} former names that the journal does not have", max = owner::FORMER_MAX)]
    TooManyNames(PathBuf),
    /// A segment of it has a version that this program does not know.
    #[error("{path} in the spool has version {version}, and this program reads version {known}", known = segment::VERSION)]
    Version {
        /// The segment's file.
        path: PathBuf,
        /// Its version.
        version: u8,
    },
    /// The disk refused.
    #[error("the spool cannot {doing} {path}: {error}")]
    Disk {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

impl SpoolError {
    /// What a person can do about it.
    pub fn advice(&self) -> &'static str {
        use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        match self {
            SpoolError::InUse(_) => "give this edge a directory of its own with --spool DIR",
            SpoolError::TooManyNames(_) => {
                "start it under one of the names in its folder of/ until its records are sent, or use --spool DIR"
            }
            SpoolError::Version { .. } => {
                "its records are untouched: start the version of hueflow-edge that wrote it, or use --spool DIR"
            }
            SpoolError::Disk { error, .. } => match error.kind() {
                StorageFull | QuotaExceeded => "make room on its disk, or give another one with --spool DIR",
                ReadOnlyFilesystem => "mount it writable (and check the disk), or give another one with --spool DIR",
                PermissionDenied => "let this user write there, or give another directory with --spool DIR",
                _ => "check the disk, or give another one with --spool DIR",
            },
        }
    }
}

fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    move |error| SpoolError::Disk { doing, path: path.into(), error }
}

impl From<SpoolError> for crate::exit::Failure {
    fn from(error: SpoolError) -> Self {
        use crate::exit::Reason;
        let reason = match error {
            SpoolError::InUse(_) | SpoolError::TooManyNames(_) | SpoolError::Version { .. } => Reason::Unavailable,
            SpoolError::Disk { .. } => Reason::Io,
        };
        let advice = error.advice();
        crate::exit::Failure::new(reason, anyhow::anyhow!("{error}; {advice}"))
    }
}

/// Why a record was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// There is no room until the journal has taken some, or the oldest is evicted.
    #[error("the spool is full")]
    Full,
    /// The disk refused. The record is not there, nor, if syncing failed, what was appended since the last sync.
    #[error(transparent)]
    Disk(#[from] SpoolError),
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not there any more, or its bytes are damaged.
    #[error("record {seq} of stream {stream:016x} is damaged or gone")]
    Damaged {
        /// Its stream.
        stream: u64,
        /// Its seq.
        seq: u64,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] SpoolError),
}

/// What an earlier open left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Older {
    /// Its stream.
    pub stream: u64,
    /// The first seq that the journal is answerable for.
    pub since: u64,
    /// The lowest seq that may not be in the journal.
    pub floor: u64,
    /// One past the highest.
    pub next: u64,
}

/// What is appended.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Kind, as a byte of the envelope.
    pub kind: u8,
    /// The payload's own version.
    pub payload_version: u8,
    /// Microseconds since the Unix epoch.
    pub captured_at_us: u64,
    /// The clock was synchronised.
    pub clock_synced: bool,
    /// At most `firmware::limits::PAYLOAD_BYTES_MAX` bytes.
    pub payload: &'a [u8],
}

impl Entry<'_> {
    fn record_bytes(&self) -> u64 {
        (ENVELOPE_BYTES + self.payload.len()) as u64
    }
}

/// When, for records that the spool itself makes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stamp {
    /// Microseconds since the Unix epoch.
    pub at_us: u64,
    /// The clock was synchronised.
    pub clock_synced: bool,
}

/// What an eviction took away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evicted {
    /// The stream.
    pub stream: u64,
    /// The segment's first seq.
    pub from: u64,
    /// One past its last seq.
    pub to: u64,
    /// Records among these that the journal did not have, and that are declared lost.
    pub lost: u64,
    /// Loss records that declare them.
    pub losses: u64,
}

/// Gets the number of segments read and that of all.
pub type Progress<'a> = dyn FnMut(usize, usize) + 'a;

/// The spool, open.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    limits: Limits,
    data: Chain,
    losses: Chain,
    state: State,
    older: Vec<Older>,
    _lock: File,
}

impl Spool {
    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// This open's stream.
    pub fn boot(&self) -> u64 {
        self.data.stream
    }

    /// Earlier opens' streams that are still here.
    pub fn older(&self) -> &[Older] {
        &self.older
    }

    /// Journal and streams as they were kept on the disk.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Records found damaged since the spool was opened.
    pub fn damaged(&self) -> u64 {
        self.data.damaged.saturating_add(self.losses.damaged)
    }

    /// Bytes in all segments.
    pub fn bytes(&self) -> u64 {
        self.data.bytes + self.losses.bytes
    }

    /// One past the highest appended seq of this open's stream.
    pub fn next(&self) -> u64 {
        self.data.next
    }

    /// Records appended and not yet synced.
    pub fn unsynced(&self) -> u64 {
        self.data.next - self.data.synced
    }

    /// Bytes that records of `bytes` in all take, with the heads of the segments that they may begin.
    fn with_heads(&self, bytes: u64) -> u64 {
        bytes + segment::HEAD_BYTES as u64 * (2 + bytes / self.limits.segment_bytes.max(1))
    }

    fn data_bytes_max(&self) -> u64 {
        self.limits.bytes_max.saturating_sub(self.limits.loss_bytes_max)
    }

    /// Whether records of `bytes` in all, envelopes included, can be appended now.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.data.bytes + self.with_heads(bytes) <= self.data_bytes_max()
    }

    /// Whether evicting can make room for records of `bytes` in all.
    pub fn can_make_room(&self, bytes: u64) -> bool {
        self.limits.segment_bytes + self.with_heads(bytes) <= self.data_bytes_max()
    }

    /// Appends a record to this open's stream. Gives its seq; it is accepted only after [`Spool::sync`].
    ///
    /// # Errors
    /// [`AppendError`]; the record is then not there.
    pub fn append(&mut self, entry: &Entry<'_>) -> Result<u64, AppendError> {
        if self.has_room(entry.record_bytes()) { Ok(self.data.append(entry)?) } else { Err(AppendError::Full) }
    }

    /// Makes all that is appended durable. Gives one past the highest accepted seq of this open's stream.
    ///
    /// # Errors
    /// [`SpoolError`]: what was appended since the last time is not there any more, and [`Spool::next`] reports it.
    pub fn sync(&mut self) -> Result<u64, SpoolError> {
        self.data.sync()
    }

    /// Appends and syncs loss records. Gives one past the highest accepted seq of the stream of loss records.
    ///
    /// # Errors
    /// [`AppendError`]: then none of what they name may go.
    pub fn declare(&mut self, losses: &[Loss], stamp: Stamp) -> Result<u64, AppendError> {
        for loss in losses {
            let bytes = LOSS_RECORD_BYTES + segment::HEAD_BYTES as u64;
            if self.losses.bytes + bytes > self.limits.loss_bytes_max {
                // What was appended before stays: stored wins over declared.
                self.losses.sync()?;
                return Err(AppendError::Full);
            }
            let mut buf = [0; LOSS_BYTES];
            let n = wire::encode(loss, &mut buf).unwrap_or(0);
            let entry = Entry {
                kind: Loss::KIND as u8,
                payload_version: Loss::VERSION,
                captured_at_us: stamp.at_us,
                clock_synced: stamp.clock_synced,
                payload: buf.get(..n).unwrap_or(&[]),
            };
            if let Err(error) = self.losses.append(&entry) {
                // A loss record that stayed would be synced by the next declaration, which names other records.
                self.losses.take_back();
                return Err(error.into());
            }
        }
        Ok(self.losses.sync()?)
    }

    /// One past the highest accepted seq of the stream of loss records.
    pub fn losses_next(&self) -> u64 {
        self.losses.synced
    }

    /// Drops the oldest segment, after declaring lost all of its stream that is held below its end. `floor`: the lowest
    /// held seq of a stream; `holds`: the first range within (stream, from, to) that the journal does not have. None:
    /// only the segment that takes records is left.
    ///
    /// # Errors
    /// [`AppendError::Full`], when there is no room for loss records: nothing is dropped. [`AppendError::Disk`].
    pub fn evict(
        &mut self,
        floor: impl Fn(u64) -> Option<u64>,
        holds: impl Fn(u64, u64, u64) -> Option<(u64, u64)>,
        stamp: Stamp,
    ) -> Result<Option<Evicted>, AppendError> {
        let Some(oldest) = self.data.oldest() else { return Ok(None) };
        let (stream, from, to) = (oldest.stream, oldest.first, oldest.end());
        let mut losses = Vec::new();
        // What is held below the segment is damaged: nothing else is before the oldest.
        let mut at = floor(stream).map_or(from, |f| f.min(from));
        while let Some((from, end)) = holds(stream, at, to).filter(|&(f, t)| at <= f && f < t && t <= to) {
            losses.push(Loss { stream, from, to: end, reason: LossReason::Full });
            at = end;
        }
        self.declare(&losses, stamp)?;
        self.data.drop_oldest()?;
        let lost = losses.iter().map(|l| l.to - l.from).sum();
        Ok(Some(Evicted { stream, from, to, lost, losses: losses.len() as u64 }))
    }

    /// Reads a record, envelope and all, into `record`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&mut self, stream: u64, seq: u64, record: &mut Vec<u8>) -> Result<(), ReadError> {
        let chain = if stream & 1 == 1 { &mut self.losses } else { &mut self.data };
        chain.read(stream, seq, record)
    }

    /// Deletes from the front the segments that the journal has all of: those below `floor` of their stream, or of a
    /// stream that is not known. The last segment of a stream stays as long as the stream `is_open` (it still has to be
    /// spoken of).
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn trim(
        &mut self,
        floor: impl Fn(u64) -> Option<u64>,
        is_open: impl Fn(u64) -> bool,
    ) -> Result<(), SpoolError> {
        self.data.trim(&floor, &is_open)?;
        self.losses.trim(&floor, &is_open)
    }

    /// A stream that is through, but of which loss records are still here, is spoken of again after the next open: it must
    /// not be forgotten then for what part of it an earlier journal was answerable.
    fn remember_declared(&mut self, state: &mut State) -> Result<(), SpoolError> {
        let changed = self.state.journal.is_some() && self.state.journal != state.journal;
        let segments: Vec<_> = self.losses.segments.iter().map(|s| (s.stream, s.in_file())).collect();
        let mut through = BTreeMap::new();
        for (stream, seqs) in segments {
            for loss in self.losses_in(stream, seqs)? {
                if state.stream(loss.stream).is_none() {
                    let end = through.entry(loss.stream).or_insert(loss.to);
                    *end = loss.to.max(*end);
                }
            }
        }
        for (stream, end) in through {
            let kept = self.state.stream(stream).copied();
            state.streams.extend(if changed { Some(StreamState { stream, since: end, floor: end }) } else { kept });
        }
        Ok(())
    }

    /// Keeps journal and streams on the disk, as a whole or not at all.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn save_state(&mut self, mut state: State) -> Result<(), SpoolError> {
        self.remember_declared(&mut state)?;
        if state != self.state {
            let path = self.dir.join("state");
            state.store(&path).map_err(disk("write", &path))?;
            sync_dir(&self.dir)?;
            self.state = state;
        }
        Ok(())
    }
}

/// Makes a directory and those above it, each durable: without that a power cut may take away a directory whose files are
/// synced.
fn make_dir(dir: &Path) -> Result<(), SpoolError> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_dir(parent)?;
    }
    match std::fs::create_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(disk("make the directory", dir)(e)),
        _ => {}
    }
    sync_dir(parent.unwrap_or(Path::new(".")))
}

/// New names in a directory are durable only when the directory is.
fn sync_dir(dir: &Path) -> Result<(), SpoolError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(disk("sync", dir))
}

#[cfg(test)]
mod tests;
