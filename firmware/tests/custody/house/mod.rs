//! House: an edge with its disk, a broker that forgets, bridges, a journal and a store, each one step at a time.
//!
//! Takes steps from a test. Gives the state to look at.
//! Touches nothing outside.
//! Never acts by itself: who acts when, and who dies when, is the test's choice.

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

/// A mistake that the house makes when it is asked to, to see whether it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The bridge acknowledges a record when it has it, not when the journal has.
    AckBeforeDelivery,
    /// Of each boot the bridge takes one window only.
    WindowTakenOnce,
    /// The segment is deleted before the loss record is durable.
    LossAfterUnlink,
    /// An edge that starts again goes on in its old stream, behind what it finds on the disk.
    BootReused,
    /// A settled segment goes although something in front of it is held.
    DeletedOutOfTurn,
    /// The probe is the oldest record in flight, not the oldest held.
    ProbeOfTheOldestInFlight,
    /// The edge's sender is given the clock on the wall.
    WallClock,
    /// A standby that has once lost the broker waits for a status that nobody may be left to say.
    StandbyWaitsForAWord,
}

/// A record; a loss record names the range that was given up. The body stands for the payload, each its own.
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
