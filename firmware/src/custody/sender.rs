//! Sender: the edge's half of custody (see the API in the commit that fills this file).
use super::{Ack, JournalId, Window};

/// Limits of a sender.
#[derive(Debug, Clone, Copy)]
pub struct SenderConfig {
    /// Records that may be sent and not yet acknowledged.
    pub window_records: usize,
    /// Bytes that may be sent and not yet acknowledged.
    pub window_bytes: usize,
}
/// One record to send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmission {
    /// Stream.
    pub stream: u64,
    /// Seq.
    pub seq: u64,
    /// A probe: outside the window's limit.
    pub probe: bool,
}
/// Placeholder until the state machine lands.
pub struct Sender(Option<(Ack, JournalId, Window)>);
