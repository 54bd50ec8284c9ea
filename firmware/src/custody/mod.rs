//! Custody: how a record gets from the edge's disk into the journal without loss.
//!
//! The edge keeps each accepted record (appended and synced) on its disk until the **journal** has it. The edge's [`Window`]
//! lists what the edge holds; the bridge's [`Ack`] lists what the journal has. MQTT in between may drop, repeat and forget.
//! Loss detection is QUIC's (RFC 9002: packet threshold, time threshold, probe time-out), and acknowledgement ranges are those
//! of its ACK frames.
//!
//! [`Sender`] and [`Receiver`] are pure state machines with bounded tables. The caller passes the time, the accepted records
//! and the received messages, and gets back what to send. Neither uses a clock, a socket or a file. The edge, the bridge and
//! the simulator in `firmware/tests/custody` run the same code; `firmware/model/custody.py` is an executable model of the rules.
//!
//! One record's way, with the first transmission lost:
//!
//! ```
//! use firmware::custody::{JournalId, Receiver, Sender, SenderConfig};
//!
//! const SECOND_US: u64 = 1_000_000;
//! let (boot, mut now_us) = (2, 0);
//! let mut edge = Box::new(Sender::new(boot, SenderConfig::default()));
//! let mut bridge = Receiver::new(JournalId::try_from("journal").unwrap_or_default());
//!
//! // The edge has written the record with seq 0 to its disk, and sends it. MQTT loses it.
//! edge.connected(now_us);
//! edge.accepted(boot, 1);
//! let first = edge.poll(now_us).ok_or("nothing to send")?;
//! edge.sent(first, 0, 100, now_us);
//! assert!(edge.poll(now_us).is_none(), "it is in flight");
//!
//! // No ack comes within the probe time-out, so the edge sends it again, and the bridge writes it to the journal.
//! now_us += 60 * SECOND_US;
//! let second = edge.poll(now_us).ok_or("nothing to send")?;
//! assert!(second.probe && second.seq == first.seq);
//! edge.sent(second, 0, 100, now_us);
//! bridge.journalled(second.stream, second.seq, now_us);
//!
//! // Only now may the edge delete it from its disk.
//! assert_eq!(edge.held(), 1);
//! edge.on_ack(&bridge.ack(), now_us);
//! assert_eq!(edge.held(), 0);
//! # Ok::<(), &str>(())
//! ```
//!
//! | term | meaning |
//! |---|---|
//! | stream | a random number; each open of the spool makes two: the boot (lowest bit 0) for data, and boot + 1 for loss records |
//! | seq | counts the records of a stream from 0 |
//! | held | accepted and not settled |
//! | settled | acknowledged by the journal, or given up with a loss record |
//! | floor | the lowest held seq of a stream, or `next` if none is held |
//! | next | one past the highest accepted seq |
//! | since | the first seq that the present journal is answerable for |

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

/// Name of a journal: Kafka's cluster id and topic prefix, or the UUID in a `local:` file.
pub type JournalId = String<JOURNAL_ID_BYTES_MAX>;

/// Name of one window of one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowId {
    /// The boot that published it.
    pub boot: u64,
    /// Number of the window in that boot, from 1.
    pub n: u64,
}

/// State of one stream in a [`Window`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamWindow {
    /// The stream.
    pub stream: u64,
    /// The first seq that the present journal is answerable for: 0, unless the journal was changed.
    pub since: u64,
    /// The lowest held seq, or `next` if none is held.
    pub floor: u64,
    /// One past the highest accepted seq.
    pub next: u64,
}

/// What the edge holds: a small retained message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Name of this window.
    pub id: WindowId,
    /// The journal id of the last ack; none before the first ack.
    pub journal: Option<JournalId>,
    /// The streams that have records, and the boot.
    pub streams: Vec<StreamWindow, STREAMS_MAX>,
}

/// Ranges of one stream that are in the journal, at or above its floor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamAck {
    /// The stream.
    pub stream: u64,
    /// Half-open ranges `from..to`, ascending and disjoint.
    pub ranges: Vec<(u64, u64), ACK_RANGES_MAX>,
}

/// What the journal has: the bridge's retained message for a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The journal.
    pub journal: JournalId,
    /// The last window in the journal.
    pub window: Option<WindowId>,
    /// The streams with ranges in the journal.
    pub streams: Vec<StreamAck, STREAMS_MAX>,
}
