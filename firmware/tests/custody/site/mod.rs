//! A model of one site: an edge with its disk, a broker, bridges, a journal and a store.
//!
//! Each part advances one step a call. Which part acts or crashes next is the test's choice; nothing here acts by itself.

mod bridge;
mod broker;
mod chain;
mod edge;
mod flight;
mod store;

pub use bridge::{Bridge, Role};
pub use broker::{Broker, Status};
pub use chain::Segment;
pub use edge::{Death, Edge, Size};
pub use store::Store;

use firmware::custody::{JournalId, Window};
use std::collections::HashSet;

/// Stream and seq.
pub type Name = (u64, u64);

/// A deliberate mistake of the model, to see whether the audit finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The bridge acknowledges a record before the journal has it.
    AckBeforeDelivery,
    /// The bridge takes only one window of each boot.
    WindowTakenOnce,
    /// The segment is deleted before the loss record is durable.
    LossAfterUnlink,
    /// A restarted edge continues its old stream after the records on the disk.
    BootReused,
    /// A settled segment is deleted although a record in front of it is held.
    DeletedOutOfTurn,
    /// The probe is the oldest record in flight instead of the oldest held.
    ProbeOfTheOldestInFlight,
    /// The sender is given the wall clock.
    WallClock,
    /// After the broker died, a standby takes over only when it sees a status, which no bridge may be left to publish.
    StandbyNeedsStatus,
}

/// A record. A loss record names the range that was given up. The body stands for the payload and is unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    pub stream: u64,
    pub seq: u64,
    pub body: u64,
    pub captured_at_us: u64,
    pub loss: Option<(u64, u64, u64)>,
}

impl Record {
    pub fn name(&self) -> Name {
        (self.stream, self.seq)
    }
}

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a model: a few hundred of them at most")]
pub enum Message {
    Record(Record),
    Window(Window),
}

pub struct Journal {
    pub id: JournalId,
    pub log: Vec<Message>,
    names: HashSet<Name>,
}

impl Journal {
    pub fn new(n: usize) -> Journal {
        let id = JournalId::try_from(format!("journal-{n}").as_str()).unwrap();
        Journal { id, log: Vec::new(), names: HashSet::new() }
    }

    pub fn write(&mut self, message: Message) {
        if let Message::Record(r) = &message {
            self.names.insert(r.name());
        }
        self.log.push(message);
    }

    pub fn has(&self, name: Name) -> bool {
        self.names.contains(&name)
    }
}
