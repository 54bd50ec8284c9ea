//! Windows and losses as JSON: values of the topic `status`.
//!
//! Streams and boots are 64-bit identities and therefore decimal strings, since many JSON readers stop at 2^53.

use firmware::custody::Window;
use firmware::wire::Loss;
use serde::{Deserialize, Serialize};

/// One stream of a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamJson {
    /// The stream, in decimal.
    pub stream: String,
    /// First seq that this journal is answerable for.
    pub since: u64,
    /// Lowest held seq.
    pub floor: u64,
    /// One past the highest accepted seq.
    pub next: u64,
}

/// A window: what the edge holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowJson {
    /// The boot that published it, in decimal.
    pub boot: String,
    /// Counts that boot's windows.
    pub n: u64,
    /// The journal of the last ack that the edge received.
    pub journal: Option<String>,
    /// Streams with something to settle.
    pub streams: Vec<StreamJson>,
}

impl WindowJson {
    /// The window as JSON has it.
    pub fn new(w: &Window) -> WindowJson {
        let streams = w.streams.iter().map(|s| StreamJson {
            stream: s.stream.to_string(),
            since: s.since,
            floor: s.floor,
            next: s.next,
        });
        WindowJson {
            boot: w.id.boot.to_string(),
            n: w.id.n,
            journal: w.journal.as_ref().map(|j| j.to_string()),
            streams: streams.collect(),
        }
    }
}

/// Records that the edge gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossJson {
    /// The stream that lost them, in decimal.
    pub stream: String,
    /// The first that is gone.
    pub from: u64,
    /// One past the last that is gone.
    pub to: u64,
    /// `full`, `corrupt` or `too_large`.
    pub reason: String,
}

impl LossJson {
    /// The loss as JSON has it.
    pub fn new(l: &Loss) -> LossJson {
        LossJson { stream: l.stream.to_string(), from: l.from, to: l.to, reason: l.reason.word().to_owned() }
    }
}
