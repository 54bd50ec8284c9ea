//! Spool: records on the disk, from the moment they are accepted until the journal has them.
//!
//! Takes payloads. Gives sequence numbers, records back by (stream, seq), and what an earlier run left behind.
//! Touches one directory, which no other edge may use at the same time.
//! Never more than `bytes_max` bytes of segments, and never deletes but from the front, what the journal has.
//!
//! | file | holds |
//! |---|---|
//! | `lock` | the boot in hexadecimal; locked while the spool is open |
//! | `state` | JSON: the journal's id, and since and floor of each stream; replaced as a whole |
//! | `seg-NNNNNNNNNNNNNNNN.log` | segment N (hexadecimal, counted over all opens): a head and records of one stream ([`segment`]) |
//!
//! Each open is a stream of its own, so a segment's records follow one another without a gap. *Accepted* means
//! appended and synced: [`Spool::sync`] says up to where.

pub mod segment;
pub mod state;

use segment::{Found, Segment};
pub use state::State;
use std::collections::VecDeque;
use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A segment is closed when it has this many bytes.
pub const SEGMENT_BYTES: u64 = 1 << 20;

/// Where the spool is and how large it may become.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most bytes of all segments together.
    pub bytes_max: u64,
    /// Bytes after which a new segment is begun.
    pub segment_bytes: u64,
}

/// Why the spool cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another edge has it open.
    #[error("the spool {0} is in use by another edge; give this one its own with --spool DIR")]
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

fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    move |error| SpoolError::Disk { doing, path: path.into(), error }
}

impl From<SpoolError> for crate::exit::Failure {
    fn from(error: SpoolError) -> Self {
        use crate::exit::Reason;
        let reason = if matches!(error, SpoolError::InUse(_)) { Reason::Unavailable } else { Reason::Io };
        crate::exit::Failure::new(reason, error)
    }
}

/// Why a record was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// There is no room until the journal has taken some.
    #[error("the spool is full")]
    Full,
    /// The spool cannot go on.
    #[error(transparent)]
    Broken(#[from] SpoolError),
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
    /// The spool cannot go on.
    #[error(transparent)]
    Broken(#[from] SpoolError),
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

/// The boot of the edge that has the spool in `dir` open, if one has. The lock is held, shared, for a moment: an edge that
/// starts in that very moment has to start again.
pub fn held_by(dir: &Path) -> Option<u64> {
    let lock = File::open(dir.join("lock")).ok()?;
    if !matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return None;
    }
    u64::from_str_radix(io::read_to_string(lock).ok()?.trim(), 16).ok()
}

/// The spool, open.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    limits: Limits,
    boot: u64,
    segments: VecDeque<Segment>,
    /// Segments' running number.
    number: u64,
    next: u64,
    synced: u64,
    bytes: u64,
    state: State,
    older: Vec<Older>,
    damaged: u64,
    reader: Option<(u64, File)>,
    _lock: File,
}

impl Spool {
    /// Opens (or makes) the spool in `dir`, recovers what is in it, and begins the stream `boot` (lowest bit 0).
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn open(dir: &Path, limits: Limits, boot: u64) -> Result<Spool, SpoolError> {
        std::fs::create_dir_all(dir).map_err(disk("make the directory", dir))?;
        let lock_path = dir.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(disk("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::InUse(dir.into())),
            Err(TryLockError::Error(error)) => return Err(disk("lock", &lock_path)(error)),
        }
        // Only for who asks; a disk that is too full for it is no reason to stay away.
        let said = lock.set_len(0).and_then(|()| (&lock).write_all(format!("{:016x}\n", boot & !1).as_bytes()));
        if let Err(error) = said {
            log::debug!("{}: {error}", lock_path.display());
        }
        let mut spool = Spool {
            dir: dir.into(),
            limits,
            boot: boot & !1,
            segments: VecDeque::new(),
            number: 0,
            next: 0,
            synced: 0,
            bytes: 0,
            state: State::load(&dir.join("state")),
            older: Vec::new(),
            damaged: 0,
            reader: None,
            _lock: lock,
        };
        spool.recover()?;
        Ok(spool)
    }

    fn recover(&mut self) -> Result<(), SpoolError> {
        let mut numbers: Vec<u64> = std::fs::read_dir(&self.dir)
            .map_err(disk("list", &self.dir))?
            .filter_map(|entry| segment::number_of(&entry.ok()?.file_name()))
            .collect();
        numbers.sort_unstable();
        self.number = numbers.last().map_or(0, |n| n + 1);
        let mut found: Vec<Found> = Vec::new();
        for &n in &numbers {
            let path = self.path(n);
            found.push(segment::scan(&path, n).map_err(disk("read", &path))?);
        }
        for i in 0..found.len() {
            // The last segment of a stream may end in a torn record; in any other, a bad record is damage.
            let last = !found[i + 1..].iter().any(|f| f.segment.stream == found[i].segment.stream);
            let path = self.path(numbers[i]);
            let cut = found[i].torn_bytes;
            if last && cut > 0 {
                log::info!("{}: {cut} bytes of an unfinished record at the end were cut off", path.display());
                segment::truncate(&path, found[i].segment.bytes).map_err(disk("cut", &path))?;
            } else if cut > 0 {
                log::error!("{}: {cut} bytes at its end are damaged; their records are lost", path.display());
                self.damaged += 1;
            }
            if found[i].damaged > 0 {
                let n = found[i].damaged;
                log::error!("{}: {n} records in it are damaged and lost", path.display());
                self.damaged += n;
            }
        }
        for f in found {
            self.bytes += f.segment.bytes;
            self.segments.push_back(f.segment);
        }
        self.find_older();
        // What an earlier open left empty, or what the journal has, is of no use; but a stream must be there for as
        // long as a window has to speak of it.
        let older = self.older.clone();
        let find = |stream| older.iter().find(|o| o.stream == stream).map(|o| o.floor);
        self.trim(find, |stream| find(stream).is_some())
    }

    fn find_older(&mut self) {
        for s in &self.segments {
            // Stream 0: a damaged head. End 0: a run that accepted nothing.
            if s.stream == 0 || s.end() == 0 {
                continue;
            }
            match self.older.iter_mut().find(|o| o.stream == s.stream) {
                Some(o) => o.next = o.next.max(s.end()),
                None => {
                    let known = self.state.stream(s.stream);
                    let floor = s.first.max(known.map_or(0, |k| k.floor));
                    let since = known.map_or(0, |k| k.since);
                    self.older.push(Older { stream: s.stream, since, floor, next: s.end() });
                }
            }
        }
        for o in &mut self.older {
            o.floor = o.floor.min(o.next);
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(segment::name_of(number))
    }

    /// This open's stream.
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// Earlier opens' streams that are still here, the oldest first.
    pub fn older(&self) -> &[Older] {
        &self.older
    }

    /// Journal and streams as they were kept on the disk.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Records (or ends of segments) found damaged since the spool was opened.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Bytes in all segments.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// One past the highest appended seq of this open's stream.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Records appended and not yet synced.
    pub fn unsynced(&self) -> u64 {
        self.next - self.synced
    }

    /// Whether records of `bytes` in all, envelopes included, can be appended now.
    pub fn has_room(&self, bytes: u64) -> bool {
        // A new segment's head may come with them.
        self.bytes + bytes + segment::HEAD_BYTES as u64 * 2 <= self.limits.bytes_max
    }

    fn begin_segment(&mut self) -> Result<(), SpoolError> {
        let (path, number) = (self.path(self.number), self.number);
        let segment = Segment::create(&path, number, self.boot, self.next).map_err(disk("make", &path))?;
        sync_dir(&self.dir)?;
        self.number += 1;
        self.bytes += segment.bytes;
        self.segments.push_back(segment);
        Ok(())
    }

    /// Appends a record to this open's stream. Gives its seq; it is accepted only after [`Spool::sync`].
    ///
    /// # Errors
    /// [`AppendError::Full`], also when the disk is; the record is then not there.
    pub fn append(&mut self, entry: &Entry<'_>) -> Result<u64, AppendError> {
        let bytes = (firmware::limits::ENVELOPE_BYTES + entry.payload.len()) as u64;
        if !self.has_room(bytes) {
            return Err(AppendError::Full);
        }
        // A disk that is full at the start must not keep older records from leaving it: no segment before the first
        // record needs one.
        let active = self.segments.back().filter(|s| s.stream == self.boot).map(|s| s.bytes);
        let has_place =
            active.is_some_and(|b| b == segment::HEAD_BYTES as u64 || b + bytes <= self.limits.segment_bytes);
        if !has_place {
            self.sync()?;
            match self.begin_segment() {
                Err(SpoolError::Disk { error, .. }) if is_full(&error) => return Err(AppendError::Full),
                other => other?,
            }
        }
        let (seq, path) = (self.next, self.path(self.number - 1));
        let Some(active) = self.segments.back_mut() else { return Err(AppendError::Full) };
        match active.append(seq, entry) {
            Ok(()) => {}
            Err(error) if is_full(&error) => return Err(AppendError::Full),
            Err(error) => return Err(disk("write to", &path)(error).into()),
        }
        self.bytes += bytes;
        self.next += 1;
        Ok(seq)
    }

    /// Makes all that is appended durable. Gives one past the highest accepted seq of this open's stream.
    ///
    /// # Errors
    /// [`SpoolError`]: what was appended since the last time may be lost.
    pub fn sync(&mut self) -> Result<u64, SpoolError> {
        if self.synced < self.next {
            let path = self.path(self.number - 1);
            if let Some(active) = self.segments.back() {
                active.sync().map_err(disk("sync", &path))?;
            }
            self.synced = self.next;
        }
        Ok(self.synced)
    }

    /// Reads a record, envelope and all, into `record`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&mut self, stream: u64, seq: u64, record: &mut Vec<u8>) -> Result<(), ReadError> {
        let gone = ReadError::Damaged { stream, seq };
        let holds = |s: &&Segment| s.stream == stream && (s.first..s.end()).contains(&seq);
        let Some(segment) = self.segments.iter().find(holds) else { return Err(gone) };
        let path = self.path(segment.number);
        if self.reader.as_ref().is_none_or(|(n, _)| *n != segment.number) {
            self.reader = Some((segment.number, File::open(&path).map_err(disk("open", &path))?));
        }
        let Some((_, file)) = &self.reader else { return Err(gone) };
        match segment.read(file, seq, record) {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.damaged += 1;
                Err(gone)
            }
            Err(error) => Err(disk("read", &path)(error).into()),
        }
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
        let mut trimmed = false;
        while let Some(front) = self.segments.front() {
            let done = floor(front.stream).is_none_or(|f| f >= front.end());
            let last = !self.segments.iter().skip(1).any(|s| s.stream == front.stream);
            let active = front.stream == self.boot && last;
            if !done || active || (last && is_open(front.stream)) {
                break;
            }
            let path = self.path(front.number);
            // A file that is open keeps its place on the disk.
            self.reader.take_if(|(number, _)| *number == front.number);
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(disk("delete", &path)(e)),
                _ => {}
            }
            self.bytes -= front.bytes;
            self.segments.pop_front();
            trimmed = true;
        }
        if trimmed { sync_dir(&self.dir) } else { Ok(()) }
    }

    /// Keeps journal and streams on the disk, as a whole or not at all.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn save_state(&mut self, state: State) -> Result<(), SpoolError> {
        if state != self.state {
            let path = self.dir.join("state");
            state.store(&path).map_err(disk("write", &path))?;
            sync_dir(&self.dir)?;
            self.state = state;
        }
        Ok(())
    }
}

/// New names in a directory are durable only when the directory is.
fn sync_dir(dir: &Path) -> Result<(), SpoolError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(disk("sync", dir))
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests;
