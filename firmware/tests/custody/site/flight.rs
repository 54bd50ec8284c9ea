//! A second and simpler account of the records in flight, for the planted mistake that probes from it.
//!
//! It applies the packet threshold only, and gives the lowest record that was sent and is still held. The sender under test
//! does not use it.

use super::Name;
use firmware::custody::{Ack, Sender};
use std::collections::VecDeque;

/// The sender's packet threshold.
const PACKET_THRESHOLD: u64 = 3;

#[derive(Default)]
pub struct Flight {
    sent: VecDeque<(u64, Name, bool)>,
    number: u64,
}

impl Flight {
    pub fn sent(&mut self, name: Name) {
        let again = self.sent.iter().any(|s| s.1 == name);
        self.sent.retain(|s| s.1 != name);
        self.number += 1;
        self.sent.push_back((self.number, name, again));
    }

    pub fn acknowledged(&mut self, ack: &Ack, sender: &Sender) {
        let held = |n: Name| sender.unsettled(n.0, n.1, n.1 + 1).is_some();
        let highest = self.sent.iter().filter(|s| !held(s.1) && !s.2).map(|s| s.0).max().unwrap_or(0);
        let beyond = |n: Name| {
            let ranges = ack.streams.iter().find(|s| s.stream == n.0).map(|s| &s.ranges);
            ranges.filter(|r| r.is_full()).and_then(|r| r.last()).is_some_and(|last| n.1 >= last.1)
        };
        self.sent.retain(|s| held(s.1) && (s.0 + PACKET_THRESHOLD > highest || beyond(s.1)));
    }

    pub fn oldest(&self, sender: &Sender) -> Option<Name> {
        let held = |n: Name| sender.unsettled(n.0, n.1, n.1 + 1).is_some();
        self.sent.iter().map(|s| s.1).filter(|n| held(*n)).min()
    }
}
