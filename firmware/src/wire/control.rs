//! The messages of custody: losses, windows and acks.
//!
//! A [`Loss`] is a record like any other. A [`Window`] and an [`Ack`] are retained messages without an envelope: one byte of
//! version, then the value. What [`crate::custody`] could not have written is refused.

use super::{Kind, Payload, WireError, put, take};
use crate::custody::{Ack, Window};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Why records were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LossReason {
    /// The spool was full and its oldest segment went.
    Full,
    /// The bytes on the disk were damaged.
    Corrupt,
    /// The broker takes no packet of this size.
    TooLarge,
}

impl LossReason {
    /// The word for it in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            LossReason::Full => "full",
            LossReason::Corrupt => "corrupt",
            LossReason::TooLarge => "too_large",
        }
    }
}

/// Records that the edge gave up: data, never silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The stream that lost them.
    pub stream: u64,
    /// The first that is gone.
    pub from: u64,
    /// One past the last that is gone.
    pub to: u64,
    /// Why.
    pub reason: LossReason,
}

impl Payload for Loss {
    const KIND: Kind = Kind::Loss;
    const VERSION: u8 = 1;
    fn consistent(&self) -> bool {
        self.from < self.to
    }
}

/// Version of [`Window`] and [`Ack`], their first byte.
pub const CONTROL_VERSION: u8 = 1;

fn encode_control<T: Serialize>(value: &T, buf: &mut [u8]) -> Result<usize, WireError> {
    let (version, rest) = buf.split_first_mut().ok_or(WireError::Full)?;
    *version = CONTROL_VERSION;
    put(value, rest).map(|n| n + 1)
}

fn decode_control<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    match bytes.split_first() {
        Some((&CONTROL_VERSION, rest)) => match take(rest)? {
            (value, []) => Ok(value),
            _ => Err(WireError::Malformed),
        },
        Some((&v, _)) => Err(WireError::Version(v)),
        None => Err(WireError::Malformed),
    }
}

/// Writes a window; [`crate::limits::CONTROL_BYTES_MAX`] bytes always suffice.
///
/// # Errors
/// [`WireError::Full`].
pub fn encode_window(window: &Window, buf: &mut [u8]) -> Result<usize, WireError> {
    encode_control(window, buf)
}

/// Reads a window.
///
/// # Errors
/// [`WireError`].
pub fn decode_window(bytes: &[u8]) -> Result<Window, WireError> {
    let w: Window = decode_control(bytes)?;
    let sound = w.streams.iter().all(|s| s.since <= s.next && s.floor <= s.next);
    if sound { Ok(w) } else { Err(WireError::Inconsistent) }
}

/// Writes an ack; [`crate::limits::CONTROL_BYTES_MAX`] bytes always suffice.
///
/// # Errors
/// [`WireError::Full`].
pub fn encode_ack(ack: &Ack, buf: &mut [u8]) -> Result<usize, WireError> {
    encode_control(ack, buf)
}

/// Reads an ack.
///
/// # Errors
/// [`WireError`].
pub fn decode_ack(bytes: &[u8]) -> Result<Ack, WireError> {
    let a: Ack = decode_control(bytes)?;
    let sound = a.streams.iter().all(|s| s.ranges.iter().all(|&(from, to)| from < to));
    if sound { Ok(a) } else { Err(WireError::Inconsistent) }
}
