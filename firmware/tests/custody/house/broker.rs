//! Broker: MQTT between edge and bridges. What it has PUBACKed is in memory only.
//!
//! Takes what is published. Gives it to the session of the site's bridges, and what is retained to whom connects.
//! Touches its own queue.
//! Never two connections under one name: who comes pushes the other off, and that one's last will is published.

use super::Message;
use firmware::custody::{Ack, Window};
use std::collections::{HashSet, VecDeque};

/// What the bridge says of itself, or its last will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    pub online: bool,
    pub journal: bool,
}

#[derive(Default)]
pub struct Broker {
    /// Counts its lives.
    pub life: u64,
    /// The bridges' session is there.
    pub session: bool,
    pub queue: VecDeque<Message>,
    pub window: Option<Window>,
    pub ack: Option<Ack>,
    status: Option<Status>,
    /// Counts the words of status, so that the edge hears each.
    pub said: u64,
    /// The bridge that is connected.
    pub holder: Option<usize>,
    /// The most records that it ever had to hold at once.
    pub records_max: usize,
    /// The same of windows, each counted once.
    pub windows_max: usize,
}

impl Broker {
    pub fn new() -> Broker {
        Broker::default()
    }

    /// Killed and restarted: all is forgotten, PUBACKed or not.
    pub fn die(&mut self) {
        let (life, records_max, windows_max) = (self.life + 1, self.records_max, self.windows_max);
        *self = Broker { life, said: self.said, records_max, windows_max, ..Broker::default() };
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
        // A bridge that connects is given the retained one again; that is its own doing, and not an edge's.
        let said = |m: &Message| if let Message::Window(w) = m { Some((w.id.boot, w.id.n)) } else { None };
        let windows = self.queue.iter().filter_map(said).collect::<HashSet<_>>().len();
        self.windows_max = self.windows_max.max(windows);
    }

    pub fn say(&mut self, status: Status) {
        self.status = Some(status);
        self.said += 1;
    }

    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// A bridge's connection is gone without a goodbye.
    pub fn last_will(&mut self) {
        self.holder = None;
        self.say(Status { online: false, journal: false });
    }
}
