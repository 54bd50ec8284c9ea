//! Reads a spool on an edge's disk from outside.
//!
//! [`records`] gives each whole record, [`boot`] the boot that had the spool open last. The folder is only read, and not by
//! the edge's code: the format is the one that `edge/src/spool/segment.rs` documents.

use firmware::custody::{Envelope, Kind};
use firmware::wire::{self, Report};
use std::path::Path;

/// Bytes in front of a segment's first record.
const HEAD_BYTES: usize = 32;

/// A record on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Its stream.
    pub stream: u64,
    /// Its seq.
    pub seq: u64,
    /// The frame's number, of a report.
    pub frame: Option<u64>,
}

/// All whole records in `dir`, in order. A torn end is no record.
pub fn records(dir: &Path) -> Vec<Kept> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).map(|d| d.filter_map(|e| Some(e.ok()?.path())).collect()).unwrap_or_else(|_| Vec::new());
    names.retain(|p| p.extension().is_some_and(|e| e == "log"));
    names.sort();
    let mut all = Vec::new();
    for path in names {
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut rest = bytes.get(HEAD_BYTES..).unwrap_or_default();
        while let Ok((envelope, payload, behind)) = Envelope::open_first(rest) {
            let report = (envelope.kind() == Some(Kind::Report))
                .then(|| wire::decode::<Report>(envelope.payload_version, payload));
            let frame = report.and_then(Result::ok).map(|r| r.frame);
            all.push(Kept { stream: envelope.stream, seq: envelope.seq, frame });
            rest = behind;
        }
    }
    all
}

/// The boot of the edge that had the spool in `dir` open last.
pub fn boot(dir: &Path) -> Option<u64> {
    u64::from_str_radix(std::fs::read_to_string(dir.join("lock")).ok()?.trim(), 16).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn whole_records_are_found_and_a_torn_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let record = |seq| {
            let envelope =
                Envelope { kind: 2, payload_version: 1, clock_synced: true, stream: 10, seq, captured_at_us: 5 };
            [&envelope.seal(b"payload")[..], b"payload"].concat()
        };
        let file = [&[0; HEAD_BYTES][..], &record(3), &record(4), &record(5)[..40]].concat();
        std::fs::write(dir.path().join("seg-0000000000000001.log"), file).unwrap();
        std::fs::write(dir.path().join("lock"), "000000000000000a\n").unwrap();
        let kept = |seq| Kept { stream: 10, seq, frame: None };
        assert_eq!(records(dir.path()), [kept(3), kept(4)]);
        assert_eq!(boot(dir.path()), Some(10));
    }
}
