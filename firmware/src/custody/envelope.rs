//! The envelope: the 40 bytes in front of every record, the same in the spool and on MQTT.
//!
//! This module writes the envelope of a payload, and reads envelope and payload back from bytes. It does not look into the
//! payload beyond its checksum, so a relay can pass on payloads that it cannot decode.
//!
//! | offset | bytes | field |
//! |--:|--:|---|
//! | 0 | 2 | `"HF"` |
//! | 2 | 1 | envelope version, 1 |
//! | 3 | 1 | kind ([`Kind`]) |
//! | 4 | 1 | payload version |
//! | 5 | 1 | flags; bit 0: the edge's clock was synchronised |
//! | 6 | 2 | reserved, 0 |
//! | 8 | 8 | stream |
//! | 16 | 8 | seq |
//! | 24 | 8 | captured at, microseconds since the Unix epoch |
//! | 32 | 4 | bytes of the payload |
//! | 36 | 4 | CRC-32 (IEEE 802.3) of bytes 0..36 and the payload |
//!
//! All integers are little endian. The format is frozen: a payload's own version may change, these 40 bytes never do.

pub use crate::wire::Kind;

use crate::limits::{ENVELOPE_BYTES, PICTURE_BYTES_MAX};

const MAGIC: [u8; 2] = *b"HF";
const VERSION: u8 = 1;
const FLAG_CLOCK_SYNCED: u8 = 1;

/// Reasons why bytes are not a valid record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvelopeError {
    /// There are fewer bytes than the envelope needs or than it declares.
    Short,
    /// There are more bytes than the envelope declares, or it declares a payload larger than [`PICTURE_BYTES_MAX`].
    Long,
    /// The bytes do not begin with `HF`.
    Magic,
    /// The envelope's version is not 1.
    Version,
    /// The checksum does not match: the record was damaged on the wire or on the disk.
    Crc,
}

impl EnvelopeError {
    /// Returns a short name for counters and headers.
    pub const fn word(self) -> &'static str {
        match self {
            EnvelopeError::Short => "short",
            EnvelopeError::Long => "long",
            EnvelopeError::Magic => "magic",
            EnvelopeError::Version => "envelope-version",
            EnvelopeError::Crc => "crc",
        }
    }
}

impl core::fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            EnvelopeError::Short => "the record is shorter than its envelope declares",
            EnvelopeError::Long => "the record is longer than its envelope declares, or than a record may be",
            EnvelopeError::Magic => "the bytes are not a Hueflow record: they do not begin with \"HF\"",
            EnvelopeError::Version => "the envelope's version is not 1",
            EnvelopeError::Crc => "the record's checksum does not match",
        })
    }
}

impl core::error::Error for EnvelopeError {}

/// The envelope of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// The byte of a [`Kind`]. It may be one that this version does not know.
    pub kind: u8,
    /// Version of the payload's format.
    pub payload_version: u8,
    /// True if the clock behind `captured_at_us` was synchronised.
    pub clock_synced: bool,
    /// The stream that `seq` counts in: a boot (lowest bit 0) or its loss stream (lowest bit 1). 0 means no custody: a picture
    /// at QoS 0.
    pub stream: u64,
    /// Sequence number in the stream, from 0.
    pub seq: u64,
    /// Microseconds since the Unix epoch.
    pub captured_at_us: u64,
}

impl Envelope {
    /// Returns the bytes to write in front of `payload`.
    pub fn seal(&self, payload: &[u8]) -> [u8; ENVELOPE_BYTES] {
        let mut b = [0; ENVELOPE_BYTES];
        b[0..2].copy_from_slice(&MAGIC);
        b[2] = VERSION;
        b[3] = self.kind;
        b[4] = self.payload_version;
        b[5] = if self.clock_synced { FLAG_CLOCK_SYNCED } else { 0 };
        b[8..16].copy_from_slice(&self.stream.to_le_bytes());
        b[16..24].copy_from_slice(&self.seq.to_le_bytes());
        b[24..32].copy_from_slice(&self.captured_at_us.to_le_bytes());
        b[32..36].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        let crc = crc32(crc32(0, &b[..36]), payload);
        b[36..40].copy_from_slice(&crc.to_le_bytes());
        b
    }

    /// Reads the envelope at the front of `bytes` without checking the checksum. Returns it and the length in bytes of the
    /// whole record. Use it to walk through a log, or to name a damaged record.
    ///
    /// # Errors
    /// Returns `Short` if the envelope itself is incomplete, `Magic`, `Version`, or `Long` if the declared payload is larger than
    /// [`PICTURE_BYTES_MAX`]. It never returns `Crc`. A record that is longer than `bytes` is no error.
    pub fn peek(bytes: &[u8]) -> Result<(Envelope, usize), EnvelopeError> {
        let Some(b) = bytes.first_chunk::<ENVELOPE_BYTES>() else { return Err(EnvelopeError::Short) };
        if b[0..2] != MAGIC {
            return Err(EnvelopeError::Magic);
        }
        if b[2] != VERSION {
            return Err(EnvelopeError::Version);
        }
        let u64_at = |i: usize| {
            let mut v = [0; 8];
            v.copy_from_slice(&b[i..i + 8]);
            u64::from_le_bytes(v)
        };
        let payload = u32::from_le_bytes([b[32], b[33], b[34], b[35]]) as usize;
        if payload > PICTURE_BYTES_MAX {
            return Err(EnvelopeError::Long);
        }
        let envelope = Envelope {
            kind: b[3],
            payload_version: b[4],
            clock_synced: b[5] & FLAG_CLOCK_SYNCED != 0,
            stream: u64_at(8),
            seq: u64_at(16),
            captured_at_us: u64_at(24),
        };
        Ok((envelope, ENVELOPE_BYTES + payload))
    }

    /// Reads and checks the record at the front of `bytes`. Returns its envelope, its payload, and the bytes after it.
    ///
    /// # Errors
    /// Returns any [`EnvelopeError`]; `Short` if the record is incomplete.
    pub fn open_first(bytes: &[u8]) -> Result<(Envelope, &[u8], &[u8]), EnvelopeError> {
        let (envelope, len) = Envelope::peek(bytes)?;
        let (record, rest) = bytes.split_at_checked(len).ok_or(EnvelopeError::Short)?;
        let (head, payload) = record.split_at(ENVELOPE_BYTES);
        let crc = u32::from_le_bytes([head[36], head[37], head[38], head[39]]);
        if crc32(crc32(0, &head[..36]), payload) != crc {
            return Err(EnvelopeError::Crc);
        }
        Ok((envelope, payload, rest))
    }

    /// Reads and checks `bytes`, which must be exactly one record.
    ///
    /// # Errors
    /// Returns any [`EnvelopeError`].
    pub fn open(bytes: &[u8]) -> Result<(Envelope, &[u8]), EnvelopeError> {
        match Envelope::open_first(bytes)? {
            (envelope, payload, []) => Ok((envelope, payload)),
            _ => Err(EnvelopeError::Long),
        }
    }

    /// Returns the [`Kind`], or none if this version does not know it.
    pub fn kind(&self) -> Option<Kind> {
        Kind::from_byte(self.kind)
    }
}

#[cfg(any(test, not(feature = "simd")))]
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut c = i as u32;
        let mut bit = 0;
        while bit < 8 {
            c = if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 };
            bit += 1;
        }
        table[i] = c;
        i += 1;
    }
    table
};

/// Returns the CRC-32 (IEEE 802.3) of `bytes`, continued from `crc` (0 at the start).
#[cfg(feature = "simd")]
pub fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(crc);
    hasher.update(bytes);
    hasher.finalize()
}

/// Returns the CRC-32 (IEEE 802.3) of `bytes`, continued from `crc` (0 at the start). Small rather than fast.
#[cfg(not(feature = "simd"))]
pub fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    crc32_plain(crc, bytes)
}

#[cfg(any(test, not(feature = "simd")))]
fn crc32_plain(crc: u32, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!crc, |c, &b| CRC_TABLE[((c ^ u32::from(b)) & 255) as usize] ^ (c >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    const E: Envelope = Envelope {
        kind: 1,
        payload_version: 2,
        clock_synced: true,
        stream: 0x0102_0304_0506_0708,
        seq: 9,
        captured_at_us: 1_700_000_000_000_000,
    };

    #[test]
    fn the_bytes_are_frozen() {
        assert_eq!(crc32(0, b"123456789"), 0xCBF4_3926);
        assert_eq!(
            E.seal(b"abc"),
            [
                72, 70, 1, 1, 2, 1, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 64, 30, 24, 36, 10, 6, 0,
                3, 0, 0, 0, 144, 104, 9, 227
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn the_fast_checksum_equals_the_plain_one(
            start in proptest::num::u32::ANY,
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        ) {
            proptest::prop_assert_eq!(crc32(start, &bytes), crc32_plain(start, &bytes));
        }
    }

    #[test]
    fn a_damaged_byte_is_an_error() {
        let mut record = [0; 43];
        record[..40].copy_from_slice(&E.seal(b"abc"));
        record[40..].copy_from_slice(b"abc");
        assert_eq!(Envelope::open(&record), Ok((E, &b"abc"[..])));
        for i in 0..record.len() {
            let mut damaged = record;
            damaged[i] ^= 0x10;
            assert!(Envelope::open(&damaged).is_err(), "byte {i}");
            assert!(Envelope::open(&record[..i]).is_err(), "cut at {i}");
        }
        assert_eq!(Envelope::open(&[&record[..], b"x"].concat_for_test()), Err(EnvelopeError::Long));
    }

    #[test]
    fn a_declared_payload_beyond_the_maximum_is_too_long() {
        let mut envelope = E.seal(b"");
        envelope[32..36].copy_from_slice(&(PICTURE_BYTES_MAX as u32).to_le_bytes());
        assert_eq!(
            Envelope::peek(&envelope),
            Ok((E, ENVELOPE_BYTES + PICTURE_BYTES_MAX)),
            "longer than the bytes at hand"
        );
        envelope[32..36].copy_from_slice(&(PICTURE_BYTES_MAX as u32 + 1).to_le_bytes());
        assert_eq!(Envelope::peek(&envelope), Err(EnvelopeError::Long));
        assert_eq!(Envelope::open(&envelope), Err(EnvelopeError::Long));
    }

    trait Concat {
        fn concat_for_test(&self) -> heapless::Vec<u8, 64>;
    }

    impl Concat for [&[u8]; 2] {
        fn concat_for_test(&self) -> heapless::Vec<u8, 64> {
            self.iter().flat_map(|s| s.iter().copied()).collect()
        }
    }
}
