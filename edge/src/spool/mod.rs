//! Spool: records on the disk, from the moment they are accepted until the journal has them.
//!
//! Takes payloads. Gives sequence numbers, records back by (stream, seq), and what an earlier run left behind.
//! Touches one directory, which no other edge may use at the same time.
//! Never more than `bytes_max` bytes of segments. Never deletes but from the front, and there only what the journal has,
//! or what a loss record that is already durable names.
//!
//! | file | holds |
//! |---|---|
//! | `lock` | the boot in hexadecimal; locked while the spool is open |
//! | `state` | JSON: the journal's id, and since and floor of each stream; replaced as a whole |
//! | `seg-NNNNNNNNNNNNNNNN.log` | segment N (hexadecimal, counted over all opens): a head and records of one stream ([`segment`]) |
//! | `loss-NNNNNNNNNNNNNNNN.log` | the same for loss records (`firmware::wire::Loss`); never evicted; [`Limits::loss_bytes_max`] of `bytes_max` are kept for them |
//!
//! Each open is a stream of its own (the boot) for data, and boot + 1 for loss records, so a segment's records follow one
//! another without a gap. *Accepted* means appended and synced: [`Spool::sync`] says up to where.
//!
//! A full spool is made room in by [`Spool::evict`]: loss records for what the oldest segment still holds are appended
//! and synced, then the segment is deleted. After a crash in between both are there and both are sent: stored wins.

mod chain;
pub mod segment;
pub mod state;

use chain::Chain;
use firmware::custody::Envelope;
use firmware::limits::{ENVELOPE_BYTES, SEQ_MAX};
use firmware::wire::{self, Loss, LossReason, Payload};
pub use state::State;
use state::StreamState;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
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
        let reason = if matches!(error, SpoolError::InUse(_)) { Reason::Unavailable } else { Reason::Io };
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

/// The boot of the edge that has the spool in `dir` open, if one has. The lock is held, shared, for a moment: an edge that
/// starts in that very moment has to start again.
pub fn held_by(dir: &Path) -> Option<u64> {
    let lock = File::open(dir.join("lock")).ok()?;
    if !matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return None;
    }
    u64::from_str_radix(io::read_to_string(lock).ok()?.trim(), 16).ok()
}

/// Hears how many segments of how many have been read.
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
    /// Opens (or makes) the spool in `dir`, recovers what is in it, and begins the stream `boot` (lowest bit 0).
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn open(dir: &Path, limits: Limits, boot: u64) -> Result<Spool, SpoolError> {
        Spool::open_with(dir, limits, boot, &mut |_, _| {})
    }

    /// The same; `progress` is called for each segment that was read: a spool of some GiB takes minutes on an SD card.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn open_with(dir: &Path, limits: Limits, boot: u64, progress: &mut Progress<'_>) -> Result<Spool, SpoolError> {
        std::fs::create_dir_all(dir).map_err(disk("make the directory", dir))?;
        let lock_path = dir.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(disk("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::InUse(dir.into())),
            Err(TryLockError::Error(error)) => return Err(disk("lock", &lock_path)(error)),
        }
        let boot = boot & !1;
        // Only for who asks; a disk that is too full for it is no reason to stay away.
        let said = lock.set_len(0).and_then(|()| (&lock).write_all(format!("{:016x}\n", boot).as_bytes()));
        if let Err(error) = said {
            log::debug!("{}: {error}", lock_path.display());
        }
        let mut spool = Spool {
            dir: dir.into(),
            data: Chain::open(dir, "seg", (boot, limits.segment_bytes), progress)?,
            losses: Chain::open(dir, "loss", (boot | 1, limits.loss_bytes_max / 4), progress)?,
            limits,
            state: State::load(&dir.join("state")),
            older: Vec::new(),
            _lock: lock,
        };
        spool.find_older()?;
        // What an earlier open left empty, or what the journal has, is of no use; but a stream must be there for as
        // long as a window has to speak of it.
        let older = spool.older.clone();
        let find = |stream| older.iter().find(|o| o.stream == stream).map(|o| o.floor);
        spool.trim(find, |stream| find(stream).is_some())?;
        Ok(spool)
    }

    /// Streams of loss records first, for they are few; then those of which only they tell; then data.
    fn find_older(&mut self) -> Result<(), SpoolError> {
        for s in &self.losses.segments {
            find_in(&mut self.older, &self.state, s.stream, s.first, s.end());
        }
        let older = self.older.clone();
        // Only what is there is asked for: how far a damaged state says that a stream goes is no guide.
        let held: Vec<_> = self.losses.segments.iter().map(|s| (s.stream, s.first, s.end())).collect();
        for (stream, first, end) in held {
            let floor = older.iter().find(|o| o.stream == stream).map_or(end, |o| o.floor);
            for loss in self.losses_in(stream, first.max(floor)..end)? {
                let known = self.data.segments.iter().any(|s| s.stream == loss.stream && s.end() > s.first);
                if !known && loss.to <= SEQ_MAX {
                    find_in(&mut self.older, &self.state, loss.stream, loss.to, loss.to);
                }
            }
        }
        for s in &self.data.segments {
            find_in(&mut self.older, &self.state, s.stream, s.first, s.end());
        }
        for o in &mut self.older {
            o.floor = o.floor.min(o.next);
        }
        Ok(())
    }

    /// The loss records of a stream that can be read; one that is damaged is found when it is to be sent.
    fn losses_in(&mut self, stream: u64, seqs: std::ops::Range<u64>) -> Result<Vec<Loss>, SpoolError> {
        let (mut losses, mut record) = (Vec::new(), Vec::new());
        for seq in seqs {
            match self.losses.read(stream, seq, &mut record) {
                Ok(()) => {}
                Err(ReadError::Damaged { .. }) => continue,
                Err(ReadError::Disk(e)) => return Err(e),
            }
            let Ok((envelope, payload)) = Envelope::open(&record) else { continue };
            losses.extend(wire::decode::<Loss>(envelope.payload_version, payload).ok());
        }
        Ok(losses)
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

    /// Records (or ends of segments) found damaged since the spool was opened.
    pub fn damaged(&self) -> u64 {
        self.data.damaged + self.losses.damaged
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
    /// [`SpoolError`]: what was appended since the last time is not there any more, and [`Spool::next`] says so.
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
            self.losses.append(&entry)?;
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
    /// stream that nobody knows. The last segment of a stream stays as long as the stream `is_open` (it still has to be
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
        let segments: Vec<_> = self.losses.segments.iter().map(|s| (s.stream, s.first..s.end())).collect();
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

/// Adds what a segment, or a loss record, tells of a stream.
fn find_in(older: &mut Vec<Older>, state: &State, stream: u64, first: u64, end: u64) {
    // Stream 0: a damaged head. End 0: a run that accepted nothing.
    if stream == 0 || end == 0 {
        return;
    }
    match older.iter_mut().find(|o| o.stream == stream) {
        Some(o) => {
            // All below the end of a loss at the end is given up.
            o.floor = if first == end && o.floor >= o.next { o.floor.max(end) } else { o.floor };
            o.next = o.next.max(end);
        }
        None => {
            let known = state.stream(stream);
            let floor = first.max(known.map_or(0, |k| k.floor));
            let since = known.map_or(0, |k| k.since);
            older.push(Older { stream, since, floor, next: end.max(since) });
        }
    }
}

/// New names in a directory are durable only when the directory is.
fn sync_dir(dir: &Path) -> Result<(), SpoolError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(disk("sync", dir))
}

#[cfg(test)]
mod tests;
