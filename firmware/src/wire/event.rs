//! The event record: a condition that a person named begins or ends to hold.
//!
//! [`EventRecord`] is the payload of version 1. It has its name in itself, since events are few and a name may be given to
//! another condition later. Values are integers in millionths, so that the bytes are the same on every machine.

use super::{Kind, Payload};
use crate::limits::EVENT_NAME_BYTES_MAX;
use heapless::String;
use serde::{Deserialize, Serialize};

/// What happens to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventChange {
    /// It begins.
    Begin,
    /// It ends.
    End,
}

impl EventChange {
    /// The word for it in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            EventChange::Begin => "begin",
            EventChange::End => "end",
        }
    }
}

/// A named condition that begins or ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// The frame with which it begins or ends.
    pub frame: u64,
    /// The event's name: `a-z`, `0-9` and `-`.
    pub name: String<EVENT_NAME_BYTES_MAX>,
    /// Whether it begins or ends.
    pub change: EventChange,
    /// The first measure of the condition in that frame, in millionths. None if the frame has no such value.
    pub value_micro: Option<i64>,
}

/// Returns true if `name` is 1 to [`EVENT_NAME_BYTES_MAX`] of `a-z`, `0-9` and `-`.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
}

impl Payload for EventRecord {
    const KIND: Kind = Kind::Event;
    const VERSION: u8 = 1;

    fn consistent(&self) -> bool {
        is_name(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{WireError, decode, encode};

    #[test]
    fn an_event_comes_back_and_one_without_a_name_contradicts_itself() {
        let named = |name: &str| EventRecord {
            frame: u64::MAX,
            name: String::try_from(name).unwrap_or_default(),
            change: EventChange::End,
            value_micro: Some(i64::MIN),
        };
        let round = |event: &EventRecord| {
            let mut bytes = [0; 64];
            let n = encode(event, &mut bytes)?;
            decode::<EventRecord>(1, bytes.get(..n).unwrap_or(&[]))
        };
        let longest = named("abcdefghijklmnopqrstuv-9");
        assert_eq!(round(&longest), Ok(longest));
        for bad in ["", "Door", "a b", "é"] {
            assert_eq!(round(&named(bad)), Err(WireError::Inconsistent), "{bad}");
        }
    }
}
