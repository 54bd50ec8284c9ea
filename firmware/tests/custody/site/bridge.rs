//! A bridge, as in `bridge/src/relay/`: a message goes to the journal in one step and is confirmed in another.
//!
//! It takes the broker's deliveries in order, writes them to the journal, and publishes acks. It settles them in order, also
//! after its connection is gone.

use super::{Broker, Bug, Journal, Message, Status};
use firmware::custody::{Ack, Receiver, WindowId};
use std::collections::{HashSet, VecDeque};

/// Maximum number of deliveries that wait for the journal's confirmation.
const INFLIGHT_MAX: usize = 5;
/// A standby takes over when the broker has had no retained status for this long.
const ABSENT_US: u64 = 5_000_000;

/// Role of a running bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Active,
    /// Watches the active bridge's status in the broker's `life`, since `since_us`.
    Standby {
        life: u64,
        since_us: u64,
        needs_status: bool,
    },
}

struct Pending {
    message: Message,
    written: bool,
    /// True while the connection that delivered it stands: the broker keeps the message until it is settled.
    owed: bool,
}

pub struct Bridge {
    id: usize,
    bug: Option<Bug>,
    pub receiver: Option<Receiver>,
    pub role: Role,
    pending: VecDeque<Pending>,
    window: Option<WindowId>,
    /// True if the ack must be published again because it may have been lost with a connection.
    stale: bool,
    reachable: bool,
    /// Boots of which a window was taken. For a planted mistake.
    taken: HashSet<u64>,
    clock_us: u64,
}

impl Bridge {
    pub fn new(id: usize, journal: &Journal) -> Bridge {
        Bridge {
            id,
            bug: None,
            receiver: Some(Receiver::new(journal.id.clone())),
            role: Role::Active,
            pending: VecDeque::new(),
            window: None,
            stale: false,
            reachable: true,
            taken: HashSet::new(),
            clock_us: 0,
        }
    }

    /// Creates a standby.
    pub fn standby(id: usize, journal: &Journal, broker: &Broker, now_us: u64) -> Bridge {
        let role = Role::Standby { life: broker.life, since_us: now_us, needs_status: false };
        Bridge { role, ..Bridge::new(id, journal) }
    }

    pub fn with(mut self, bug: Option<Bug>) -> Bridge {
        self.bug = bug;
        self
    }

    pub fn connected(&self, broker: &Broker) -> bool {
        broker.holder == Some(self.id)
    }

    pub fn idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Lets the bridge's monotonic clock jump.
    pub fn advance_clock(&mut self, by_us: u64) {
        self.clock_us += by_us;
    }

    /// Ends the connection. The broker delivers again what was not acknowledged to it.
    pub fn disconnect(&mut self, broker: &mut Broker) {
        if self.connected(broker) {
            broker.last_will();
            self.return_unsettled(broker);
        }
    }

    /// Returns the unsettled deliveries to the broker's queue.
    pub fn return_unsettled(&mut self, broker: &mut Broker) {
        for p in self.pending.iter_mut().rev() {
            if std::mem::replace(&mut p.owed, false) && broker.session {
                broker.queue.push_front(p.message.clone());
            }
        }
    }

    /// The broker died: it keeps no delivery any more.
    pub fn broker_died(&mut self) {
        self.pending.iter_mut().for_each(|p| p.owed = false);
    }

    pub fn crash(&mut self, broker: &mut Broker) {
        self.disconnect(broker);
        self.receiver = None;
        self.pending.clear();
    }

    /// Connects under the site's client id. The bridge that has it must be disconnected before.
    pub fn connect(&mut self, broker: &mut Broker, now_us: u64) {
        if self.receiver.is_some() && self.role == Role::Active {
            (broker.holder, broker.session, self.stale) = (Some(self.id), true, true);
            broker.publish_status(Status { online: true, journal: self.reachable });
            if let Some(window) = broker.window.clone() {
                self.deliver(Message::Window(window), now_us);
            }
        }
    }

    /// Checks whether the active bridge is gone, and takes over then.
    pub fn watch(&mut self, broker: &Broker, now_us: u64) {
        let Role::Standby { life, since_us, needs_status } = &mut self.role else { return };
        if *life != broker.life {
            (*life, *since_us) = (broker.life, now_us);
            *needs_status = self.bug == Some(Bug::StandbyNeedsStatus);
        }
        let gone = match broker.status() {
            Some(status) => !status.online,
            None => !*needs_status && now_us - *since_us > ABSENT_US,
        };
        if gone {
            self.role = Role::Active;
        }
    }

    /// Checks whether the journal can be reached, and publishes a change.
    pub fn check_journal(&mut self, broker: &mut Broker, reachable: bool) {
        if std::mem::replace(&mut self.reachable, reachable) != reachable && self.connected(broker) {
            broker.publish_status(Status { online: true, journal: reachable });
        }
    }

    pub fn receive(&mut self, broker: &mut Broker, now_us: u64) {
        if self.connected(broker)
            && self.pending.len() < INFLIGHT_MAX
            && let Some(message) = broker.queue.pop_front()
        {
            self.deliver(message, now_us);
        }
    }

    fn deliver(&mut self, message: Message, now_us: u64) {
        let now_us = now_us + self.clock_us;
        let Some(receiver) = &mut self.receiver else { return };
        match &message {
            Message::Window(w) if receiver.is_foreign(w) => return receiver.window_foreign(now_us),
            // A new connection delivers the retained window again. It is in the journal already.
            Message::Window(w) if self.window == Some(w.id) => return self.take_window(&w.clone(), now_us),
            Message::Record(r) if self.bug == Some(Bug::AckBeforeDelivery) => {
                receiver.journalled(r.stream, r.seq, now_us);
            }
            _ => {}
        }
        self.pending.push_back(Pending { message, written: false, owed: true });
    }

    fn take_window(&mut self, w: &firmware::custody::Window, now_us: u64) {
        self.window = Some(w.id);
        let known = !self.taken.insert(w.id.boot);
        if let Some(receiver) = self.receiver.as_mut().filter(|_| !known || self.bug != Some(Bug::WindowTakenOnce)) {
            receiver.window_journalled(w, now_us);
        }
    }

    /// Writes the next message to the journal.
    pub fn write(&mut self, journal: &mut Journal) {
        if let Some(p) = self.pending.iter_mut().find(|p| !p.written) {
            p.written = true;
            journal.write(p.message.clone());
        }
    }

    /// Takes the journal's confirmation of the first message.
    pub fn settle(&mut self, now_us: u64) {
        if !self.pending.front().is_some_and(|p| p.written) {
            return;
        }
        let now_us = now_us + self.clock_us;
        match self.pending.pop_front().map(|p| p.message) {
            Some(Message::Record(r)) => {
                self.receiver.as_mut().into_iter().for_each(|x| x.journalled(r.stream, r.seq, now_us));
            }
            Some(Message::Window(w)) => self.take_window(&w, now_us),
            None => {}
        }
    }

    /// Publishes the ack if it is due, and returns it.
    pub fn ack(&mut self, broker: &mut Broker, now_us: u64) -> Option<Ack> {
        let now_us = now_us + self.clock_us;
        if !self.connected(broker) {
            return None;
        }
        let receiver = self.receiver.as_mut()?;
        let due = self.stale || receiver.ack_due_us().is_some_and(|due| due <= now_us);
        let ack = due.then(|| receiver.ack())?;
        self.stale = false;
        broker.ack = Some(ack.clone());
        Some(ack)
    }
}
