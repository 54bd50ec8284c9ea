//! Segment: one file of the spool: a head, then the records of one stream, one behind the other.
//!
//! Takes records. Gives them back by seq, and from a file of unknown state all that is whole in it.
//! Touches its one file.
//! Never trusts what it finds: each record's checksum, stream and seq must be right.
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
//! All integers little endian. A reader refuses versions that it does not know.

use super::Entry;
use firmware::custody::envelope::crc32;
use firmware::custody::{Envelope, EnvelopeError};
use firmware::limits::{ENVELOPE_BYTES, RECORD_BYTES_MAX};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes in front of the first record.
pub const HEAD_BYTES: usize = 32;
const MAGIC: &[u8; 6] = b"HFSEG\x01";
/// In the index, the place of a record that is damaged.
const DAMAGED: u32 = u32::MAX;

/// The file name of segment `number`.
pub fn name_of(number: u64) -> String {
    format!("seg-{number:016x}.log")
}

/// The number in a segment's file name.
pub fn number_of(name: &OsStr) -> Option<u64> {
    let hex = name.to_str()?.strip_prefix("seg-")?.strip_suffix(".log")?;
    (hex.len() == 16).then(|| u64::from_str_radix(hex, 16).ok()).flatten()
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
    /// Bytes up to the end of its last whole record.
    pub bytes: u64,
    offsets: Vec<u32>,
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
}

impl Segment {
    /// Makes the file, with its head synced.
    pub(super) fn create(path: &Path, number: u64, stream: u64, first: u64) -> io::Result<Segment> {
        let file = File::options().create_new(true).write(true).open(path)?;
        file.write_all_at(&head(stream, first), 0)?;
        file.sync_all()?;
        Ok(Segment { number, stream, first, bytes: HEAD_BYTES as u64, offsets: Vec::new(), file: Some(file) })
    }

    /// One past its last record's seq.
    pub fn end(&self) -> u64 {
        self.first + self.offsets.len() as u64
    }

    /// Appends a record. What a failed append has written is overwritten by the next, or cut at the next open.
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
        file.write_all_at(&envelope.seal(entry.payload), self.bytes)?;
        file.write_all_at(entry.payload, self.bytes + ENVELOPE_BYTES as u64)?;
        self.offsets.push(self.bytes as u32);
        self.bytes += (ENVELOPE_BYTES + entry.payload.len()) as u64;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    /// Reads record `seq` from `file`, which is this segment's. False: it is damaged.
    pub(super) fn read(&self, file: &File, seq: u64, record: &mut Vec<u8>) -> io::Result<bool> {
        let place = usize::try_from(seq - self.first).ok().and_then(|i| self.offsets.get(i));
        let Some(&at) = place.filter(|&&at| at != DAMAGED) else { return Ok(false) };
        let mut envelope = [0; ENVELOPE_BYTES];
        file.read_exact_at(&mut envelope, u64::from(at))?;
        let Ok((_, len)) = Envelope::peek(&envelope) else { return Ok(false) };
        record.clear();
        record.resize(len.min(RECORD_BYTES_MAX), 0);
        match file.read_exact_at(record, u64::from(at)) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        Ok(Envelope::open(record).is_ok_and(|(e, _)| (e.stream, e.seq) == (self.stream, seq)))
    }
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

/// Reads a file of unknown state. A segment whose head is damaged has stream 0 and no records.
pub(super) fn scan(path: &Path, number: u64) -> io::Result<Found> {
    let bytes = std::fs::read(path)?;
    let mut segment =
        Segment { number, stream: 0, first: 0, bytes: HEAD_BYTES as u64, offsets: Vec::new(), file: None };
    let Some((stream, first)) = parse_head(&bytes) else {
        segment.bytes = bytes.len() as u64;
        // Shorter than a head: power failed while it was made, and nothing was ever in it.
        return Ok(Found { segment, torn_bytes: 0, damaged: u64::from(bytes.len() > HEAD_BYTES) });
    };
    (segment.stream, segment.first) = (stream, first);
    let (mut at, mut damaged) = (HEAD_BYTES, 0);
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
    Ok(Found { segment, torn_bytes: (bytes.len() - at) as u64, damaged })
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
