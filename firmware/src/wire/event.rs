//! The event record: a condition that a person named begins or ends to hold.
//!
//! [`EventRecord`] is the payload of version 2. It has its name in itself, since events are few and a name may be given to
//! another condition later. Values are integers in millionths, so that the bytes are the same on every machine. Version 1 had
//! no [`Pattern`] and no [`EventChange::Turn`]; such records stay readable.

use super::{Kind, Payload, WireError, take};
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
    /// It goes on with another pattern: steady instead of blinking, or another rate.
    Turn,
}

impl EventChange {
    /// The word for it in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            EventChange::Begin => "begin",
            EventChange::End => "end",
            EventChange::Turn => "turn",
        }
    }

    /// The verb for it, for people.
    pub const fn verb(self) -> &'static str {
        match self {
            EventChange::Begin => "begins",
            EventChange::End => "ends",
            EventChange::Turn => "turns",
        }
    }
}

/// How a condition holds over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Pattern {
    /// It does not hold.
    #[default]
    Off,
    /// It holds all the time.
    Steady,
    /// It holds and fails in turns.
    Blinking {
        /// How often in 1,000 s it begins to hold: the rate in thousandths of a hertz.
        rate_millihz: u32,
    },
}

impl Pattern {
    /// The word for it in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Pattern::Off => "off",
            Pattern::Steady => "steady",
            Pattern::Blinking { .. } => "blinking",
        }
    }

    /// The rate of one that blinks, in thousandths of a hertz.
    pub const fn rate_millihz(self) -> Option<u32> {
        match self {
            Pattern::Blinking { rate_millihz } => Some(rate_millihz),
            Pattern::Off | Pattern::Steady => None,
        }
    }
}

impl core::fmt::Display for Pattern {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.word())?;
        match self.rate_millihz() {
            Some(rate) => write!(f, " at {}.{:02} Hz", rate / 1_000, rate % 1_000 / 10),
            None => Ok(()),
        }
    }
}

/// A named condition that begins, ends or goes on with another pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// The frame with which it begins, ends or turns.
    pub frame: u64,
    /// The event's name: `a-z`, `0-9` and `-`.
    pub name: String<EVENT_NAME_BYTES_MAX>,
    /// What happens to it.
    pub change: EventChange,
    /// The first measure of the condition in that frame, in millionths. None if the frame has no such value.
    pub value_micro: Option<i64>,
    /// How the condition holds from now on, of an event that distinguishes blinking from steady; none for another event.
    pub pattern: Option<Pattern>,
}

/// Payload version 1. Its layout never changes.
#[derive(Debug, Deserialize)]
struct EventV1 {
    frame: u64,
    name: String<EVENT_NAME_BYTES_MAX>,
    change: ChangeV1,
    value_micro: Option<i64>,
}

#[derive(Debug, Deserialize)]
enum ChangeV1 {
    Begin,
    End,
}

impl From<EventV1> for EventRecord {
    fn from(old: EventV1) -> EventRecord {
        let change = match old.change {
            ChangeV1::Begin => EventChange::Begin,
            ChangeV1::End => EventChange::End,
        };
        EventRecord { frame: old.frame, name: old.name, change, value_micro: old.value_micro, pattern: None }
    }
}

/// Returns true if `name` is 1 to [`EVENT_NAME_BYTES_MAX`] of `a-z`, `0-9` and `-`.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
}

impl Payload for EventRecord {
    const KIND: Kind = Kind::Event;
    const VERSION: u8 = 2;

    fn consistent(&self) -> bool {
        let is_on = self.pattern.map(|pattern| pattern != Pattern::Off);
        let fits = match self.change {
            EventChange::Begin => is_on != Some(false),
            EventChange::End => is_on != Some(true),
            EventChange::Turn => is_on == Some(true),
        };
        is_name(&self.name) && fits
    }

    fn read(version: u8, bytes: &[u8]) -> Result<(EventRecord, &[u8]), WireError> {
        match version {
            1 => take::<EventV1>(bytes).map(|(old, rest)| (old.into(), rest)),
            2 => take(bytes),
            _ => Err(WireError::Version(version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{decode, encode};

    fn named(name: &str, change: EventChange, pattern: Option<Pattern>) -> EventRecord {
        let name = String::try_from(name).unwrap_or_default();
        EventRecord { frame: u64::MAX, name, change, value_micro: Some(i64::MIN), pattern }
    }

    fn round(event: &EventRecord) -> Result<EventRecord, WireError> {
        let mut bytes = [0; crate::limits::EVENT_BYTES_MAX];
        let n = encode(event, &mut bytes)?;
        decode::<EventRecord>(2, bytes.get(..n).unwrap_or(&[]))
    }

    #[test]
    fn the_longest_event_comes_back_and_one_without_a_name_contradicts_itself() {
        let blinking = Some(Pattern::Blinking { rate_millihz: u32::MAX });
        let longest = named("abcdefghijklmnopqrstuv-9", EventChange::Turn, blinking);
        assert_eq!(round(&longest), Ok(longest));
        for bad in ["", "Door", "a b", "\u{e9}"] {
            assert_eq!(round(&named(bad, EventChange::End, None)), Err(WireError::Inconsistent), "{bad}");
        }
    }

    #[test]
    fn a_change_and_its_pattern_fit_each_other() {
        use EventChange::{Begin, End, Turn};
        let (off, steady) = (Some(Pattern::Off), Some(Pattern::Steady));
        for (change, fits) in [(Begin, [None, steady].as_slice()), (End, &[None, off]), (Turn, &[steady])] {
            for pattern in [None, off, steady] {
                let event = named("a", change, pattern);
                let want = if fits.contains(&pattern) { Ok(event.clone()) } else { Err(WireError::Inconsistent) };
                assert_eq!(round(&event), want);
            }
        }
    }

    #[test]
    fn version_1_has_no_turn_and_no_pattern() {
        // Frame, name, change, no value.
        let old = |change: u8| decode::<EventRecord>(1, &[7, 1, b'a', change, 0]);
        let plain = |change| EventRecord { frame: 7, value_micro: None, ..named("a", change, None) };
        assert_eq!((old(0), old(1)), (Ok(plain(EventChange::Begin)), Ok(plain(EventChange::End))));
        assert_eq!(old(2), Err(WireError::Malformed));
    }
}
