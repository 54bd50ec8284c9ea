//! The MQTT broker between edge and bridges. It keeps messages that it acknowledged (PUBACK) in memory only.
//!
//! It queues published messages for the bridges' session and keeps retained ones. Only one bridge is connected at a time: a
//! second connection under the same client id replaces the first, whose last will is published.

use super::Message;
use firmware::custody::{Ack, Window};
use std::collections::{HashSet, VecDeque};

/// The bridge's retained status, or its last will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    pub online: bool,
    pub journal: bool,
}

#[derive(Default)]
pub struct Broker {
    /// Number of restarts.
    pub life: u64,
    /// True if the bridges' session exists.
    pub session: bool,
    pub queue: VecDeque<Message>,
    pub window: Option<Window>,
    pub ack: Option<Ack>,
    status: Option<Status>,
    /// Number of published statuses. The edge uses it to notice each.
    pub statuses: u64,
    /// The connected bridge.
    pub holder: Option<usize>,
    /// Highest number of records in the queue so far.
    pub records_max: usize,
    /// Highest number of different windows in the queue so far.
    pub windows_max: usize,
}

impl Broker {
    pub fn new() -> Broker {
        Broker::default()
    }

    /// Kills and restarts the broker: it forgets everything.
    pub fn die(&mut self) {
        let (life, records_max, windows_max) = (self.life + 1, self.records_max, self.windows_max);
        *self = Broker { life, statuses: self.statuses, records_max, windows_max, ..Broker::default() };
    }

    pub fn publish(&mut self, message: Message, times: usize) {
        if let Message::Window(w) = &message {
            self.window = Some(w.clone());
        }
        if self.session {
            self.queue.extend(std::iter::repeat_n(message, times));
        }
        let records = self.queue.iter().filter(|m| matches!(m, Message::Record(_))).count();
        self.records_max = self.records_max.max(records);
        // Repeats count once: a bridge that connects is given the retained window again.
        let id = |m: &Message| if let Message::Window(w) = m { Some((w.id.boot, w.id.n)) } else { None };
        let windows = self.queue.iter().filter_map(id).collect::<HashSet<_>>().len();
        self.windows_max = self.windows_max.max(windows);
    }

    pub fn publish_status(&mut self, status: Status) {
        self.status = Some(status);
        self.statuses += 1;
    }

    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// Ends the bridge's connection without a disconnect, which publishes its last will.
    pub fn last_will(&mut self) {
        self.holder = None;
        self.publish_status(Status { online: false, journal: false });
    }
}
