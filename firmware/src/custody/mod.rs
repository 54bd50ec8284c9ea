//! Custody: whoever holds a record is answerable for it until the next holder has said, durably, "I have it".
//!
//! Takes what was accepted, what the other side said, and the time. Gives what to send now, and what to say.
//! Touches its own bounded tables. Both sides' rules are pure state machines, run alike by the edge, the bridge and the
//! simulator in `firmware/tests/custody`; `firmware/model/custody.py` is an executable model of the same rules.
//! Never a clock, a socket or a file: MQTT in between may forget, repeat and die.
//!
//! The edge holds a record (accepted: appended and synced) until the **journal** has it. The edge's [`Window`] says what
//! it holds; the bridge's [`Ack`] says what the journal has. Loss detection is QUIC's (RFC 9002: packet threshold, time
//! threshold, probe time-out), acknowledgement ranges are those of its ACK frames.
//!
//! Words: a *stream* is a random number, two new ones each time the edge opens its spool: the *boot* (lowest bit 0) for
//! data and boot + 1 for loss records. *seq* counts in a stream from 0. *floor* is the lowest held seq of a stream,
//! *next* one past the highest accepted, *since* the first that the present journal is answerable for.

pub mod envelope;
pub mod ranges;
pub mod receiver;
pub mod sender;

pub use envelope::{Envelope, EnvelopeError, Kind};
pub use receiver::Receiver;
pub use sender::{Sender, SenderConfig, Transmission};

use crate::limits::{ACK_RANGES_MAX, JOURNAL_ID_BYTES_MAX, STREAMS_MAX};
use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

/// Names a journal: Kafka's cluster id and topic prefix, or the UUID in a `local:` file.
pub type JournalId = String<JOURNAL_ID_BYTES_MAX>;

/// Names one window of one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowId {
    /// The boot that said it.
    pub boot: u64,
    /// Counts windows of that boot, from 1.
    pub n: u64,
}

/// What the edge says of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamWindow {
    /// The stream.
    pub stream: u64,
    /// The first seq that the present journal is answerable for (0, unless the journal was changed under way).
    pub since: u64,
    /// The lowest held seq, or `next` if none is held.
    pub floor: u64,
    /// One past the highest accepted seq.
    pub next: u64,
}

/// What the edge holds: its small retained message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Which window this is.
    pub id: WindowId,
    /// The journal id that the edge last heard; none before the first ack ever.
    pub journal: Option<JournalId>,
    /// The streams with something to settle, and the boot itself.
    pub streams: Vec<StreamWindow, STREAMS_MAX>,
}

/// What the journal has of one stream, at or above its floor, as half-open ranges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamAck {
    /// The stream.
    pub stream: u64,
    /// Ascending, disjoint `from..to`.
    pub ranges: Vec<(u64, u64), ACK_RANGES_MAX>,
}

/// What the bridge knows to be in the journal: its retained message for a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The journal that has it.
    pub journal: JournalId,
    /// The last window that was journalled.
    pub window: Option<WindowId>,
    /// Per stream, what is there.
    pub streams: Vec<StreamAck, STREAMS_MAX>,
}
