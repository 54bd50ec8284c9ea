//! Bridge: as `bridge/src/relay.rs` and `mqtt.rs`: a message is handed to the journal in one step, and known to be there in another.
//!
//! Takes deliveries of the broker, in order. Gives entries to the journal, and acks.
//! Touches its own receiver and what it has not settled.
//! Never settles out of turn. What it was delivered it works off, also when its connection is gone.

use super::{Broker, Bug, Journal, Message, Status};
use firmware::custody::{Ack, Receiver, WindowId};
use std::collections::{HashSet, VecDeque};

/// Deliveries that wait for the journal's word.
const INFLIGHT_MAX: usize = 5;
/// How long a standby waits for a retained status before it takes the active bridge for gone.
const ABSENT_US: u64 = 5_000_000;

/// What a running bridge does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Active,
    /// Watches the active one's status in the broker's `life`, since `since_us`.
    Standby {
        life: u64,
        since_us: u64,
        waits_for_a_word: bool,
    },
}

struct Pending {
    message: Message,
    written: bool,
    /// The connection that it came by stands still, so the broker has it too until it is settled.
    owed: bool,
}

pub struct Bridge {
    id: usize,
    bug: Option<Bug>,
    pub receiver: Option<Receiver>,
    pub role: Role,
    pending: VecDeque<Pending>,
    window: Option<WindowId>,
    /// The ack must be said again: it may have been lost with a connection.
    stale: bool,
    reachable: bool,
    /// Boots of which a window was taken: for the planted bug.
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

    /// A standby, started now.
    pub fn standby(id: usize, journal: &Journal, broker: &Broker, now_us: u64) -> Bridge {
        let role = Role::Standby { life: broker.life, since_us: now_us, waits_for_a_word: false };
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

    /// Its steady clock stands still while the machine sleeps, or makes a leap.
    pub fn leap(&mut self, by_us: u64) {
        self.clock_us += by_us;
    }

    /// The connection is gone; the broker delivers again what was not acknowledged to it.
    pub fn disconnect(&mut self, broker: &mut Broker) {
        if self.connected(broker) {
            broker.last_will();
            self.give_back(broker);
        }
    }

    /// The broker, pushing it off or having lost it, has these again.
    pub fn give_back(&mut self, broker: &mut Broker) {
        for p in self.pending.iter_mut().rev() {
            if std::mem::replace(&mut p.owed, false) && broker.session {
                broker.queue.push_front(p.message.clone());
            }
        }
    }

    /// The broker has died: nothing is owed to it any more.
    pub fn forgotten(&mut self) {
        self.pending.iter_mut().for_each(|p| p.owed = false);
    }

    pub fn crash(&mut self, broker: &mut Broker) {
        self.disconnect(broker);
        self.receiver = None;
        self.pending.clear();
    }

    /// Connects under the site's one name. Whoever has it must have been pushed off before.
    pub fn connect(&mut self, broker: &mut Broker, now_us: u64) {
        if self.receiver.is_some() && self.role == Role::Active {
            (broker.holder, broker.session, self.stale) = (Some(self.id), true, true);
            broker.say(Status { online: true, journal: self.reachable });
            if let Some(window) = broker.window.clone() {
                self.deliver(Message::Window(window), now_us);
            }
        }
    }

    /// Looks whether the active bridge is gone.
    pub fn watch(&mut self, broker: &Broker, now_us: u64) {
        let Role::Standby { life, since_us, waits_for_a_word } = &mut self.role else { return };
        if *life != broker.life {
            (*life, *since_us) = (broker.life, now_us);
            *waits_for_a_word = self.bug == Some(Bug::StandbyWaitsForAWord);
        }
        let gone = match broker.status() {
            Some(status) => !status.online,
            None => !*waits_for_a_word && now_us - *since_us > ABSENT_US,
        };
        if gone {
            self.role = Role::Active;
        }
    }

    /// Its question to the journal is answered, or not.
    pub fn ask(&mut self, broker: &mut Broker, reachable: bool) {
        if std::mem::replace(&mut self.reachable, reachable) != reachable && self.connected(broker) {
            broker.say(Status { online: true, journal: reachable });
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
            // A retained window that comes again with a new connection is journalled already.
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

    /// The next message goes into the journal.
    pub fn write(&mut self, journal: &mut Journal) {
        if let Some(p) = self.pending.iter_mut().find(|p| !p.written) {
            p.written = true;
            journal.write(p.message.clone());
        }
    }

    /// The journal's word on the first message comes back.
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

    /// Publishes the ack if it is due. Gives it, for whoever is connected to hear it.
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
