//! Scan: what is whole in a segment of unknown state.
//!
//! Input is a file that an earlier run left. Results are a [`Segment`], which knows where each whole record lies, and how many
//! records are damaged. The file is not changed; one of another version is refused. If the head is damaged, stream and first seq are those of the first whole
//! record.

use super::super::{SpoolError, disk};
use super::{DAMAGED, HEAD_BYTES, Segment, VERSION, parse_head};
use firmware::custody::{Envelope, EnvelopeError};
use firmware::limits::{ENVELOPE_BYTES, RECORD_BYTES_MAX, SEQ_MAX};
use std::path::Path;

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
    pub(in super::super) fn ends_before(&mut self, stream: u64, end: u64) {
        self.front_at_most = front_at_most(end, self.segment.bytes as usize);
        self.damaged = self.front_at_most;
        (self.segment.stream, self.segment.first) = (stream, end - self.front_at_most);
        self.segment.offsets = vec![DAMAGED; self.front_at_most as usize];
    }

    /// Takes back damaged records at the front that lie below `seq`: they are not this segment's, as the one before it has them.
    pub(in super::super) fn begin_at(&mut self, seq: u64) {
        let records = seq.saturating_sub(self.segment.first).min(self.front_at_most);
        self.segment.offsets.drain(..records as usize);
        self.segment.first += records;
        self.damaged -= records;
        self.front_at_most -= records;
    }
}

/// Reads a file of unknown state. A segment whose head is damaged has the stream of its first whole record; with none it has
/// stream 0 and no records ([`Found::ends_before`] may know more).
///
/// # Errors
/// The disk's, and [`SpoolError::Version`].
pub(in super::super) fn scan(path: &Path, number: u64) -> Result<Found, SpoolError> {
    let bytes = std::fs::read(path).map_err(disk("read", path))?;
    let mut segment = Segment::empty(number, 0, 0);
    let head = match parse_head(&bytes) {
        Some((VERSION, stream, first)) => (first <= SEQ_MAX).then_some((stream, first, HEAD_BYTES)),
        Some((version, ..)) => return Err(SpoolError::Version { path: path.into(), version }),
        None => None,
    };
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

/// The seq and length of the whole record at the front of `bytes`, if it is one of `stream` and `fits`.
fn whole(bytes: &[u8], stream: u64, fits: impl Fn(u64) -> bool) -> Option<(u64, usize)> {
    let (envelope, len): (Envelope, usize) = Envelope::peek(bytes).ok()?;
    if envelope.stream != stream || !fits(envelope.seq) || len > RECORD_BYTES_MAX {
        return None;
    }
    let opened: Result<_, EnvelopeError> = Envelope::open_first(bytes);
    opened.is_ok().then_some((envelope.seq, len))
}
