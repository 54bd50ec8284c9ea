//! Segment: one file of the spool: a head, then the records of one stream, one behind the other.
//!
//! Records are appended, and read by their seq. What is read is not trusted: each record's checksum, stream and seq must be
//! right. A file that an earlier run left is read by `scan`.
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
//! All integers little endian. A segment of another version is refused, and left as it is.

pub(super) mod scan;

use super::Entry;
#[cfg(test)]
use super::fault;
use firmware::custody::Envelope;
use firmware::custody::envelope::crc32;
use firmware::limits::{ENVELOPE_BYTES, RECORD_BYTES_MAX, SEQ_MAX};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes in front of the first record.
pub const HEAD_BYTES: usize = 32;
const MAGIC: &[u8; 5] = b"HFSEG";
/// The version of segments that are read and written.
pub(super) const VERSION: u8 = 1;
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

impl Segment {
    fn empty(number: u64, stream: u64, first: u64) -> Segment {
        Segment { number, stream, first, bytes: HEAD_BYTES as u64, offsets: Vec::new(), damaged_at_end: 0, file: None }
    }

    /// Makes the file, with its head synced; what a failed attempt has left under this number is overwritten.
    pub(super) fn create(path: &Path, number: u64, stream: u64, first: u64) -> io::Result<Segment> {
        let file = File::options().create(true).truncate(true).write(true).open(path)?;
        write(&file, &head(VERSION, stream, first), 0)?;
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

fn head(version: u8, stream: u64, first: u64) -> [u8; HEAD_BYTES] {
    let mut b = [0; HEAD_BYTES];
    b[..5].copy_from_slice(MAGIC);
    b[5] = version;
    b[8..16].copy_from_slice(&stream.to_le_bytes());
    b[16..24].copy_from_slice(&first.to_le_bytes());
    let crc = crc32(0, &b[..24]);
    b[24..28].copy_from_slice(&crc.to_le_bytes());
    b
}

/// Version, stream and first seq from a segment's head; none: it is damaged.
fn parse_head(bytes: &[u8]) -> Option<(u8, u64, u64)> {
    let b = bytes.first_chunk::<HEAD_BYTES>()?;
    let number = |i: usize| b[i..i + 8].iter().rev().fold(0u64, |n, &x| n << 8 | u64::from(x));
    let (version, stream, first) = (b[5], number(8), number(16));
    (head(version, stream, first) == *b).then_some((version, stream, first))
}
