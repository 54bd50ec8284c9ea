//! Chain: segments one behind the other, of which the last one of this open's stream grows.
//!
//! It gives records back by (stream, seq) and drops segments from the front. When syncing fails, what was not durable is
//! taken back: those records were never there.

use super::segment::scan::{Found, scan};
use super::segment::{self, Segment};
use super::{Entry, Progress, ReadError, SpoolError, disk, sync_dir};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The segments of one name.
#[derive(Debug)]
pub(super) struct Chain {
    dir: PathBuf,
    prefix: &'static str,
    /// This open's stream.
    pub stream: u64,
    segment_bytes: u64,
    pub segments: VecDeque<Segment>,
    /// Segments' running number.
    number: u64,
    /// The last segment takes records.
    active: bool,
    /// One past the highest appended seq, and one past the highest that is durable.
    pub next: u64,
    pub synced: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Records found damaged.
    pub damaged: u64,
    reader: Option<(u64, File)>,
}

/// Completes what is known of segments with a damaged head by their neighbours: a stream's segments have numbers and records
/// that follow one another without a gap.
fn complete_damaged(found: &mut [Found]) {
    for i in (1..found.len()).rev() {
        let (before, from_here) = found.split_at_mut(i);
        let (Some(this), Some(next)) = (before.last_mut(), from_here.first()) else { continue };
        let is_unknown = this.segment.stream == 0 && this.damaged > 0;
        let goes_on = next.segment.stream != 0 && (next.segment.first > 0 || next.front_at_most > 0);
        if is_unknown && goes_on && next.segment.number == this.segment.number + 1 {
            this.ends_before(next.segment.stream, next.segment.first);
        }
    }
    for i in 1..found.len() {
        let (before, from_here) = found.split_at_mut(i);
        if let Some(this) = from_here.first_mut().filter(|f| f.front_at_most > 0) {
            let previous = before.iter().rev().find(|f| f.segment.stream == this.segment.stream);
            this.begin_at(previous.map_or(0, |f| f.segment.end()));
        }
    }
}

impl Chain {
    /// Recovers what is in `dir`; `progress` gets the number of segments read and that of all.
    pub fn open(
        dir: &Path,
        prefix: &'static str,
        (stream, segment_bytes): (u64, u64),
        progress: &mut Progress<'_>,
    ) -> Result<Chain, SpoolError> {
        let mut chain = Chain {
            dir: dir.into(),
            prefix,
            stream,
            segment_bytes,
            segments: VecDeque::new(),
            number: 0,
            active: false,
            next: 0,
            synced: 0,
            bytes: 0,
            damaged: 0,
            reader: None,
        };
        chain.recover(progress)?;
        Ok(chain)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(segment::name_of(self.prefix, number))
    }

    fn recover(&mut self, progress: &mut Progress<'_>) -> Result<(), SpoolError> {
        let mut numbers: Vec<u64> = std::fs::read_dir(&self.dir)
            .map_err(disk("list", &self.dir))?
            .filter_map(|entry| segment::number_of(self.prefix, &entry.ok()?.file_name()))
            .collect();
        numbers.sort_unstable();
        self.number = numbers.last().map_or(0, |n| n + 1);
        let mut found: Vec<Found> = Vec::new();
        for &n in &numbers {
            let path = self.path(n);
            found.push(scan(&path, n)?);
            progress(found.len(), numbers.len());
        }
        complete_damaged(&mut found);
        for i in 0..found.len() {
            // The last segment of a stream may end in a torn record; in any other, a bad record is damage, unless the
            // next one goes on from there: then syncing had failed, and it was begun instead.
            let path = self.path(numbers[i]);
            let stream = found[i].segment.stream;
            let goes_on = found[i + 1..].iter().find(|f| f.segment.stream == stream).map(|f| f.segment.first);
            let (cut, end) = (found[i].torn_bytes, found[i].segment.end());
            if goes_on.is_some() {
                found[i].segment.bytes += cut;
            }
            match goes_on {
                None if cut > 0 => {
                    log::info!("{}: {cut} bytes of an unfinished record at the end were cut off", path.display());
                    segment::truncate(&path, found[i].segment.bytes).map_err(disk("cut", &path))?;
                }
                Some(first) if end < first => {
                    // The segment keeps them, so that evicting it declares them lost.
                    let n = found[i].segment.damaged_up_to(first);
                    log::error!("{}: {n} records at its end are damaged and lost", path.display());
                    self.damaged = self.damaged.saturating_add(n);
                }
                Some(first) => found[i].segment.keep_below(first),
                // What an earlier run appended and did not sync may be in memory only, and from here on it is sent.
                None => File::open(&path).and_then(|f| f.sync_all()).map_err(disk("sync", &path))?,
            }
            if found[i].damaged > 0 {
                let n = found[i].damaged;
                let at_most = if found[i].front_at_most > 0 { "at most " } else { "" };
                log::error!("{}: {at_most}{n} records in it are damaged and lost", path.display());
                self.damaged = self.damaged.saturating_add(n);
            }
        }
        for f in found {
            self.bytes += f.segment.bytes;
            self.segments.push_back(f.segment);
        }
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), SpoolError> {
        let (path, number) = (self.path(self.number), self.number);
        let segment = Segment::create(&path, number, self.stream, self.next).map_err(|e| {
            // An empty one would be found as such; without it the place is free.
            let _ = std::fs::remove_file(&path);
            disk("make", &path)(e)
        })?;
        sync_dir(&self.dir)?;
        self.number += 1;
        self.bytes += segment.bytes;
        self.segments.push_back(segment);
        self.active = true;
        Ok(())
    }

    /// Appends a record to this open's stream. Gives its seq; it is durable only after [`Chain::sync`].
    pub fn append(&mut self, entry: &Entry<'_>) -> Result<u64, SpoolError> {
        let bytes = entry.record_bytes();
        // A disk that is full at the start must not keep older records from leaving it: no segment before the first
        // record needs one.
        let active = self.segments.back().filter(|_| self.active).map(|s| s.bytes);
        if !active.is_some_and(|b| b == segment::HEAD_BYTES as u64 || b + bytes <= self.segment_bytes) {
            self.sync()?;
            self.begin_segment()?;
        }
        let seq = self.next;
        if let Some(active) = self.segments.back_mut() {
            let number = active.number;
            if let Err(error) = active.append(seq, entry) {
                return Err(disk("write to", &self.path(number))(error));
            }
        }
        self.bytes += bytes;
        self.next += 1;
        Ok(seq)
    }

    /// Makes all that is appended durable. Gives one past the highest durable seq. When it fails, what was appended
    /// since the last time is taken back.
    pub fn sync(&mut self) -> Result<u64, SpoolError> {
        if self.synced < self.next
            && let Some(active) = self.segments.back_mut()
        {
            if let Err(error) = active.sync() {
                let number = active.number;
                self.take_back();
                return Err(disk("sync", &self.path(number))(error));
            }
            self.synced = self.next;
        }
        Ok(self.synced)
    }

    /// Takes back what was appended since the last sync.
    pub fn take_back(&mut self) {
        if self.synced < self.next
            && let Some(active) = self.segments.back_mut()
        {
            let before = active.bytes;
            self.active = active.take_back(self.synced);
            self.bytes -= before - active.bytes;
            self.next = self.synced;
        }
    }

    /// Reads a record, envelope and all, into `record`.
    pub fn read(&mut self, stream: u64, seq: u64, record: &mut Vec<u8>) -> Result<(), ReadError> {
        let gone = ReadError::Damaged { stream, seq };
        let holds = |s: &&Segment| s.stream == stream && (s.first..s.end()).contains(&seq);
        let Some(segment) = self.segments.iter().find(holds) else { return Err(gone) };
        if self.reader.as_ref().is_none_or(|(n, _)| *n != segment.number) {
            let path = self.path(segment.number);
            self.reader = Some((segment.number, File::open(&path).map_err(disk("open", &path))?));
        }
        let Some((_, file)) = &self.reader else { return Err(gone) };
        match segment.read(file, seq, record) {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.damaged = self.damaged.saturating_add(1);
                Err(gone)
            }
            Err(error) => Err(disk("read", &self.path(segment.number))(error).into()),
        }
    }

    /// Deletes settled segments from the front: see [`super::Spool::trim`].
    pub fn trim(
        &mut self,
        floor: &impl Fn(u64) -> Option<u64>,
        is_open: &impl Fn(u64) -> bool,
    ) -> Result<(), SpoolError> {
        let mut trimmed = false;
        while let Some(front) = self.segments.front() {
            let done = floor(front.stream).is_none_or(|f| f >= front.end());
            let last = self.segments.iter().skip(1).all(|s| s.stream != front.stream);
            let active = front.stream == self.stream && last;
            if !done || active || (last && is_open(front.stream)) {
                break;
            }
            self.unlink_front()?;
            trimmed = true;
        }
        if trimmed { sync_dir(&self.dir) } else { Ok(()) }
    }

    /// The oldest segment, if it may go: not the one that takes records.
    pub fn oldest(&self) -> Option<&Segment> {
        self.segments.front().filter(|_| !self.active || self.segments.len() > 1)
    }

    /// Deletes the oldest segment, whatever is in it, unless it takes records.
    pub fn drop_oldest(&mut self) -> Result<(), SpoolError> {
        if self.oldest().is_none() {
            return Ok(());
        }
        self.unlink_front()?;
        sync_dir(&self.dir)
    }

    fn unlink_front(&mut self) -> Result<(), SpoolError> {
        let Some(front) = self.segments.front() else { return Ok(()) };
        let path = self.path(front.number);
        // A file that is open keeps its place on the disk.
        self.reader.take_if(|(number, _)| *number == front.number);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(disk("delete", &path)(e)),
            _ => {}
        }
        self.bytes -= front.bytes;
        self.segments.pop_front();
        Ok(())
    }
}
