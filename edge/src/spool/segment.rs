//! Segment: one file of the spool: a head, then the records of one stream, one behind the other.
//!
//! It gives records back by seq, and from a file of unknown state all that is whole in it. What is found is not trusted: each
//! record's checksum, stream and seq must be right.
//!
//! | offset | bytes | field |
//! |--:|--:|---|
//! | 0 | 6 | `"HFSEG"` and version 1 |
//! | 6 | 2 | 0 |
//! | 8 | 8 | stream |
//! | 16 | 8 | seq of the first record |
//! | 24 | 4 | CRC-32 of bytes 0..24 |
//! | 28 | 4 | 0 |
//! | 32 | | records: envelope and payload, the same bytes as on the wire |
//!
//! All integers little endian. A damaged head is done without if any record is whole. A reader refuses versions that it does not
//! know.

use super::Entry;
use firmware::custody::envelope::crc32;
use firmware::custody::{Envelope, EnvelopeError};
use firmware::limits::{ENVELOPE_BYTES, RECORD_BYTES_MAX, SEQ_MAX};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes in front of the first record.
pub const HEAD_BYTES: usize = 32;
const MAGIC: &[u8; 6] = b"HFSEG\x01";
/// In the index, the place of a record that is damaged.
const DAMAGED: u32 = u32::MAX;

/// The system's error for a place on the disk that cannot be read: the bytes there are lost, the disk is not.
const EIO: i32 = 5;

/// The file name of segment `number` of the chain `prefix`.
pub fn name_of(prefix: &str, number: u64) -> String {
    format!("{prefix}-{number:016x}.log")
}

/// The number in the file name of a segment of the chain `prefix`.
pub fn number_of(prefix: &str, name: &OsStr) -> Option<u64> {
    let hex = name.to_str()?.strip_prefix(prefix)?.strip_prefix('-')?.strip_suffix(".log")?;
    // One that leaves no numbers for those after it is not ours.
    (hex.len() == 16).then(|| u64::from_str_radix(hex, 16).ok()).flatten().filter(|&n| n <= SEQ_MAX)
}

/// Cuts a file to its first `bytes`, durably.
pub(super) fn truncate(path: &Path, bytes: u64) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.set_len(bytes)?;
    file.sync_all()
}

/// One segment and where its records lie: 4 bytes of memory a record.
#[derive(Debug)]
pub struct Segment {
    /// Its running number.
    pub number: u64,
    /// Its stream.
    pub stream: u64,
    /// The seq of its first record.
    pub first: u64,
    /// Bytes up to the end of its last whole record, or of the file if it is not written to any more.
    pub bytes: u64,
    offsets: Vec<u32>,
    /// Records behind these that are damaged, up to the first one of the stream's next segment. Only in a segment that is
    /// not written to any more.
    damaged_at_end: u64,
    /// Open for writing: only the last one.
    file: Option<File>,
}

/// What a scan found.
#[derive(Debug)]
pub struct Found {
    /// The segment, with all that is whole in it.
    pub segment: Segment,
    /// Bytes behind the last whole record.
    pub torn_bytes: u64,
    /// Records before the last whole one that are damaged.
    pub damaged: u64,
    /// Of these, the ones at the front of a segment with a damaged head, of which only the highest possible number is known:
    /// the segment's first seq may be higher by as many.
    pub front_at_most: u64,
}

impl Found {
    /// Gives a segment without one whole record its stream, by the segment behind it, which begins with record `end`.
    pub(super) fn ends_before(&mut self, stream: u64, end: u64) {
        self.front_at_most = front_at_most(end, self.segment.bytes as usize);
        self.damaged = self.front_at_most;
        (self.segment.stream, self.segment.first) = (stream, end - self.front_at_most);
        self.segment.offsets = vec![DAMAGED; self.front_at_most as usize];
    }

    /// Takes back damaged records at the front that lie below `seq`: they are not this segment's, as the one before it has them.
    pub(super) fn begin_at(&mut self, seq: u64) {
        let records = seq.saturating_sub(self.segment.first).min(self.front_at_most);
        self.segment.offsets.drain(..records as usize);
        self.segment.first += records;
        self.damaged -= records;
        self.front_at_most -= records;
    }
}

impl Segment {
    fn empty(number: u64, stream: u64, first: u64) -> Segment {
        Segment { number, stream, first, bytes: HEAD_BYTES as u64, offsets: Vec::new(), damaged_at_end: 0, file: None }
    }

    /// Makes the file, with its head synced; what a failed attempt has left under this number is overwritten.
    pub(super) fn create(path: &Path, number: u64, stream: u64, first: u64) -> io::Result<Segment> {
        let file = File::options().create(true).truncate(true).write(true).open(path)?;
        write(&file, &head(stream, first), 0)?;
        #[cfg(test)]
        fault::count_sync();
        file.sync_all()?;
        Ok(Segment { file: Some(file), ..Segment::empty(number, stream, first) })
    }

    /// One past its last record's seq, damaged ones included.
    pub fn end(&self) -> u64 {
        self.in_file().end + self.damaged_at_end
    }

    /// The records that its file has a place for: no more than its bytes, whatever the next segment's head says.
    pub(super) fn in_file(&self) -> Range<u64> {
        self.first..self.first + self.offsets.len() as u64
    }

    /// Appends a record. What a failed append has written is cut off, at the latest at the next open.
    pub(super) fn append(&mut self, seq: u64, entry: &Entry<'_>) -> io::Result<()> {
        let envelope = Envelope {
            kind: entry.kind,
            payload_version: entry.payload_version,
            clock_synced: entry.clock_synced,
            stream: self.stream,
            seq,
            captured_at_us: entry.captured_at_us,
        };
        let file = self.file.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let written = write(file, &envelope.seal(entry.payload), self.bytes)
            .and_then(|()| write(file, entry.payload, self.bytes + ENVELOPE_BYTES as u64));
        if let Err(error) = written {
            let _ = file.set_len(self.bytes);
            return Err(error);
        }
        self.offsets.push(self.bytes as u32);
        self.bytes += (ENVELOPE_BYTES + entry.payload.len()) as u64;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        fault::synced()?;
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    /// Forgets the records from `seq` on.
    pub(super) fn keep_below(&mut self, seq: u64) {
        let keep = usize::try_from(seq.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.offsets.truncate(keep);
    }

    /// Counts the records from its end up to `seq` as its own, and as damaged. Gives their number.
    pub(super) fn damaged_up_to(&mut self, seq: u64) -> u64 {
        let records = seq.saturating_sub(self.end());
        self.damaged_at_end += records;
        records
    }

    /// Takes the records from `seq` on out of the file. False: that failed, and it must not be written to any more.
    pub(super) fn take_back(&mut self, seq: u64) -> bool {
        let keep = usize::try_from(seq.saturating_sub(self.first)).unwrap_or(usize::MAX);
        if let Some(&at) = self.offsets.get(keep) {
            self.bytes = u64::from(at);
        }
        self.offsets.truncate(keep);
        self.file.as_ref().is_some_and(|f| f.set_len(self.bytes).is_ok())
    }

    /// Reads record `seq` from `file`, which is this segment's. False: it is damaged.
    pub(super) fn read(&self, file: &File, seq: u64, record: &mut Vec<u8>) -> io::Result<bool> {
        let place = usize::try_from(seq - self.first).ok().and_then(|i| self.offsets.get(i));
        let Some(&at) = place.filter(|&&at| at != DAMAGED) else { return Ok(false) };
        let mut envelope = [0; ENVELOPE_BYTES];
        let lost = |e: &io::Error| e.kind() == io::ErrorKind::UnexpectedEof || e.raw_os_error() == Some(EIO);
        match file.read_exact_at(&mut envelope, u64::from(at)) {
            Err(e) if lost(&e) => return Ok(false),
            other => other?,
        }
        let Ok((_, len)) = Envelope::peek(&envelope) else { return Ok(false) };
        record.clear();
        record.resize(len.min(RECORD_BYTES_MAX), 0);
        match file.read_exact_at(record, u64::from(at)) {
            Err(e) if lost(&e) => return Ok(false),
            other => other?,
        }
        Ok(Envelope::open(record).is_ok_and(|(e, _)| (e.stream, e.seq) == (self.stream, seq)))
    }
}

fn write(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    #[cfg(test)]
    if let Err(error) = fault::disk_takes(bytes.len(), false) {
        file.write_all_at(&bytes[..bytes.len() / 2], at)?;
        return Err(error);
    }
    #[cfg(test)]
    fault::wrote(at, bytes.len());
    file.write_all_at(bytes, at)
}

fn head(stream: u64, first: u64) -> [u8; HEAD_BYTES] {
    let mut b = [0; HEAD_BYTES];
    b[..6].copy_from_slice(MAGIC);
    b[8..16].copy_from_slice(&stream.to_le_bytes());
    b[16..24].copy_from_slice(&first.to_le_bytes());
    let crc = crc32(0, &b[..24]);
    b[24..28].copy_from_slice(&crc.to_le_bytes());
    b
}

/// Stream and first seq from a segment's head.
fn parse_head(bytes: &[u8]) -> Option<(u64, u64)> {
    let b = bytes.first_chunk::<HEAD_BYTES>()?;
    let number = |i: usize| b[i..i + 8].iter().rev().fold(0u64, |n, &x| n << 8 | u64::from(x));
    let (stream, first) = (number(8), number(16));
    (head(stream, first) == *b).then_some((stream, first))
}

/// How many records there are at most before record `seq` in the first `bytes` of a file: each is an envelope at least.
fn front_at_most(seq: u64, bytes: usize) -> u64 {
    seq.min((bytes.saturating_sub(HEAD_BYTES) / ENVELOPE_BYTES) as u64)
}

/// Stream and seq of the first whole record of a file, and its place.
fn first_whole(bytes: &[u8]) -> Option<(u64, u64, usize)> {
    (HEAD_BYTES..bytes.len()).find_map(|at| {
        let (envelope, payload, _) = Envelope::open_first(bytes.get(at..)?).ok()?;
        let fits =
            ENVELOPE_BYTES + payload.len() <= RECORD_BYTES_MAX && envelope.stream != 0 && envelope.seq <= SEQ_MAX;
        fits.then_some((envelope.stream, envelope.seq, at))
    })
}

/// Reads a file of unknown state. A segment whose head is damaged has the stream of its first whole record; with none it has
/// stream 0 and no records ([`Found::ends_before`] may know more).
pub(super) fn scan(path: &Path, number: u64) -> io::Result<Found> {
    let bytes = std::fs::read(path)?;
    let mut segment = Segment::empty(number, 0, 0);
    let head =
        parse_head(&bytes).filter(|&(_, first)| first <= SEQ_MAX).map(|(stream, first)| (stream, first, HEAD_BYTES));
    let Some((stream, seq, mut at)) = head.or_else(|| first_whole(&bytes)) else {
        segment.bytes = bytes.len() as u64;
        // Shorter than a head: power failed while it was made, and nothing was ever in it.
        let damaged = u64::from(bytes.len() > HEAD_BYTES);
        return Ok(Found { segment, torn_bytes: 0, damaged, front_at_most: 0 });
    };
    let front_at_most = front_at_most(seq, at);
    (segment.stream, segment.first) = (stream, seq - front_at_most);
    segment.offsets.resize(front_at_most as usize, DAMAGED);
    let mut damaged = front_at_most;
    while let Some(rest) = bytes.get(at..).filter(|r| !r.is_empty()) {
        let expected = segment.end();
        match whole(rest, stream, |seq| seq == expected) {
            Some((_, len)) => {
                segment.offsets.push(at as u32);
                at += len;
            }
            None => {
                // Either the torn end, or damage with whole records behind it.
                let behind = (1..rest.len()).find_map(|skip| {
                    let possible = expected + 1..expected + (rest.len() / ENVELOPE_BYTES) as u64 + 1;
                    whole(&rest[skip..], stream, |seq| possible.contains(&seq)).map(|(seq, _)| (skip, seq))
                });
                let Some((skip, seq)) = behind else { break };
                damaged += seq - expected;
                segment.offsets.extend((expected..seq).map(|_| DAMAGED));
                at += skip;
            }
        }
    }
    segment.bytes = at as u64;
    Ok(Found { segment, torn_bytes: (bytes.len() - at) as u64, damaged, front_at_most })
}

/// The seq and length of the whole record at the front of `bytes`, if it is one of `stream` and `fits`.
fn whole(bytes: &[u8], stream: u64, fits: impl Fn(u64) -> bool) -> Option<(u64, usize)> {
    let (envelope, len): (Envelope, usize) = Envelope::peek(bytes).ok()?;
    if envelope.stream != stream || !fits(envelope.seq) || len > RECORD_BYTES_MAX {
        return None;
    }
    let opened: Result<_, EnvelopeError> = Envelope::open_first(bytes);
    opened.is_ok().then_some((envelope.seq, len))
}

#[cfg(test)]
pub(super) mod fault {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeSet;
    use std::io;

    /// What a disk is written in.
    pub const PAGE_BYTES: u64 = 4096;

    thread_local! {
        /// Bytes that the disk still takes, for tests; none: as many as it likes. With 0 it does not sync either.
        pub static DISK_BYTES: Cell<Option<usize>> = const { Cell::new(None) };
        /// Files that were synced.
        pub static SYNCS: Cell<u64> = const { Cell::new(0) };
        /// Pages that syncs wrote.
        pub static PAGES_WRITTEN: Cell<u64> = const { Cell::new(0) };
        /// Pages of the segment that takes records, changed since the last sync.
        static CHANGED: RefCell<BTreeSet<u64>> = const { RefCell::new(BTreeSet::new()) };
    }

    /// Counts from here on.
    pub fn reset_wear() {
        SYNCS.set(0);
        PAGES_WRITTEN.set(0);
        CHANGED.take();
    }

    pub fn wrote(at: u64, bytes: usize) {
        let pages = at / PAGE_BYTES..=(at + bytes as u64 - 1) / PAGE_BYTES;
        CHANGED.with_borrow_mut(|changed| changed.extend(pages));
    }

    pub fn synced() -> io::Result<()> {
        disk_takes(0, true)?;
        count_sync();
        Ok(())
    }

    pub fn count_sync() {
        SYNCS.set(SYNCS.get() + 1);
        PAGES_WRITTEN.set(PAGES_WRITTEN.get() + CHANGED.take().len() as u64);
    }

    pub fn disk_takes(bytes: usize, sync: bool) -> io::Result<()> {
        match DISK_BYTES.get() {
            Some(left) if left < bytes || (sync && left == 0) => {
                DISK_BYTES.set(Some(0));
                Err(io::ErrorKind::StorageFull.into())
            }
            left => {
                DISK_BYTES.set(left.map(|left| left - bytes));
                Ok(())
            }
        }
    }
}
