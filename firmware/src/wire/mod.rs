//! The wire format: everything that leaves a device, as bytes. The one place that uses `postcard`.
//!
//! Values are encoded into buffers that the caller lends, and decoded from bytes that anyone may have sent: decoding never
//! panics. A layout never changes once a device has sent it. Enums grow only at the end, a new layout gets a new payload
//! version, old versions stay decodable, and the golden bytes in `tests/golden/` check both.
//!
//! A record is a [`crate::custody::Envelope`] and a payload. The envelope has the payload's version:
//!
//! | kind | payload, version 1 (of a report: 1 to 3; of a census in another space than RGB: 2; of an event: 1 and 2) |
//! |---|---|
//! | Report | [`Report`] |
//! | Census | [`CensusHead`], then [`CensusHead::in_part`] times two LEB128 numbers: how far the colour (`0xRRGGBB`) is above the one before (the first: above 0), and how many pixels have it |
//! | Picture | [`PictureHead`], then a part of the packed label map ([`label_map`]) |
//! | Loss | [`Loss`] |
//! | Original | [`OriginalHead`], then a JPEG |
//! | Event | [`EventRecord`] |
//!
//! Windows and acks ([`crate::custody`]) travel without an envelope, behind one byte of version.

pub mod census;
#[cfg(feature = "custody")]
mod control;
mod event;
mod kind;
pub mod label_map;
mod picture;
mod report;
mod report_old;

pub use crate::report::{Colorimetry, Method, Micros, NamedShare, Refine, RegionShare, Report, Space, Swatch, rgb8};
pub use census::CensusHead;
#[cfg(feature = "custody")]
pub use control::{CONTROL_VERSION, Loss, LossReason, decode_ack, decode_window, encode_ack, encode_window};
pub use event::{EventChange, EventRecord, Pattern};
pub use kind::Kind;
pub use picture::{OriginalHead, PictureHead};

use crate::limits::LEVEL_Q6_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes that hold the head of a picture or census part, palette included.
pub const HEAD_BYTES_MAX: usize = 4_096;

/// Why a value cannot be written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    /// The buffer is too short for the value.
    Full,
    /// The bytes are not such a value.
    Malformed,
    /// A version that this build does not know: upgrade it.
    Version(u8),
    /// The value is well-formed but contradicts itself (a part beyond its parts, colours out of order).
    Inconsistent,
    /// A side of the picture is longer than 65,535 pixels, the maximum in the heads of pictures.
    TooTall,
}

impl core::fmt::Display for WireError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            WireError::Full => f.write_str("the value is larger than its buffer"),
            WireError::Malformed => f.write_str("the bytes are not a value of this kind"),
            WireError::Version(v) => write!(f, "version {v} of this kind is not known here; upgrade this program"),
            WireError::Inconsistent => f.write_str("the value contradicts itself"),
            WireError::TooTall => f.write_str("a side of the picture is longer than 65,535 pixels"),
        }
    }
}

impl core::error::Error for WireError {}

/// Returns true if every channel is at most [`LEVEL_Q6_MAX`].
fn is_colour(rgb_q6: &[u16; 3]) -> bool {
    rgb_q6.iter().all(|&level| level <= LEVEL_Q6_MAX)
}

/// A payload, or the head of one.
pub trait Payload: Serialize + DeserializeOwned {
    /// Its kind in the envelope.
    const KIND: Kind;
    /// The version that this build writes.
    const VERSION: u8;

    /// Whether the value makes sense in itself.
    fn consistent(&self) -> bool {
        true
    }

    /// Reads a value of `version` from the front of `bytes`, unchecked. Returns it and the rest of the bytes. A kind with
    /// older versions reads them here.
    ///
    /// # Errors
    /// [`WireError::Version`], [`WireError::Malformed`].
    fn read(version: u8, bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        if version == Self::VERSION { take(bytes) } else { Err(WireError::Version(version)) }
    }

    /// The version that this value is written in.
    fn version(&self) -> u8 {
        Self::VERSION
    }

    /// Writes the value to the front of `buf`. Returns the number of bytes.
    ///
    /// # Errors
    /// [`WireError::Full`].
    fn write(&self, buf: &mut [u8]) -> Result<usize, WireError> {
        put(self, buf)
    }
}

/// Reads a value from the front of `bytes`. Returns it and the rest of the bytes.
fn take<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), WireError> {
    postcard::take_from_bytes(bytes).map_err(|_| WireError::Malformed)
}

/// Writes a value to the front of `buf`. Returns the number of bytes.
fn put<T: Serialize>(value: &T, buf: &mut [u8]) -> Result<usize, WireError> {
    postcard::to_slice(value, buf).map(|b| b.len()).map_err(|_| WireError::Full)
}

/// Writes `value` to the front of `buf`, in the version of [`Payload::version`]. Returns the number of bytes.
///
/// # Errors
/// [`WireError::Full`].
pub fn encode<T: Payload>(value: &T, buf: &mut [u8]) -> Result<usize, WireError> {
    value.write(buf)
}

/// Reads a value of `version` from the front of `bytes`. Returns it and the rest of the bytes.
///
/// # Errors
/// [`WireError::Version`], [`WireError::Malformed`], [`WireError::Inconsistent`].
pub fn decode_head<T: Payload>(version: u8, bytes: &[u8]) -> Result<(T, &[u8]), WireError> {
    let (value, rest) = T::read(version, bytes)?;
    if value.consistent() { Ok((value, rest)) } else { Err(WireError::Inconsistent) }
}

/// Reads a value of `version` from all of `bytes`.
///
/// # Errors
/// As [`decode_head`], and [`WireError::Malformed`] if bytes are left over.
pub fn decode<T: Payload>(version: u8, bytes: &[u8]) -> Result<T, WireError> {
    match decode_head(version, bytes)? {
        (value, []) => Ok(value),
        _ => Err(WireError::Malformed),
    }
}
