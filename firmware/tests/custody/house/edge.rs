//! Edge: its disk, and what `edge/src/send.rs` and the spool do with it, around the product's own sender.
//!
//! Takes steps, acks and times from a test. Gives what it says to the broker.
//! Touches its own disk and memory; the first is all that outlives a power cut.
//! Never sends what is not synced; never deletes but from the front (without a planted bug).

use super::chain::Chain;
use super::flight::Flight;
use super::{Bug, Message, Name, Record, Status};
use firmware::custody::{Ack, JournalId, Sender, SenderConfig};
use std::collections::{BTreeMap, HashMap};

/// How large the edge's spool and window are, in records.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub segment: usize,
    pub segments: usize,
    pub losses: usize,
    pub unsynced: u64,
    pub window: usize,
}

/// Where power is cut in the middle of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// Evicting: loss records are written and not synced; so many of them are there all the same.
    LossesTorn(u64),
    /// Evicting: between what is made durable first and what follows.
    Between,
    /// Evicting: the segment is deleted, and the sender was not told.
    AfterUnlink,
    /// An ack is taken and segments are deleted; the journal's id is not kept yet.
    BeforeState,
}

/// What survives the edge's death besides the chains.
#[derive(Debug, Default, Clone)]
struct State {
    journal: Option<JournalId>,
    streams: HashMap<u64, (u64, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Older {
    stream: u64,
    since: u64,
    floor: u64,
    next: u64,
}

pub struct Edge {
    pub size: Size,
    pub bug: Option<Bug>,
    pub data: Chain,
    pub losses: Chain,
    state: State,
    pub sender: Option<Box<Sender>>,
    pub connected: bool,
    /// The bridge's status that was heard last, and how many words of it.
    pub told: Option<Status>,
    heard: u64,
    /// Streams in the order in which their backlog goes.
    order: Vec<u64>,
    boots: u64,
    bodies: u64,
    /// What is held, by name: what was accepted, and what an open found on the disk.
    pub accepted: BTreeMap<Name, Record>,
    /// Those of them that the audit has not seen.
    pub fresh: Vec<Name>,
    /// Two records of one name.
    pub renamed: Option<Name>,
    /// A record that the sender wanted and the disk does not have.
    pub unreadable: Option<Name>,
    /// The last probe, and the oldest that was held then.
    pub probed: Option<(Name, Name)>,
    flight: Flight,
    pub sends: u64,
    pub refused: u64,
    /// How often it was started; when it last was, for its steady clock begins then; and by how much that has leapt.
    pub starts: u64,
    started_us: u64,
    leaps_us: u64,
    /// By how much the clock on the wall differs from the truth, and how many jumps it made.
    pub wall_us: i64,
}

/// The true time at which a simulation begins.
const EPOCH_US: i64 = 1_700_000_000_000_000;

impl Edge {
    pub fn new(size: Size, bug: Option<Bug>) -> Edge {
        let mut edge = Edge {
            size,
            bug,
            data: Chain::new(size.segment),
            losses: Chain::new(2),
            state: State::default(),
            sender: None,
            connected: false,
            told: None,
            heard: 0,
            order: Vec::new(),
            boots: 0,
            bodies: 0,
            accepted: BTreeMap::new(),
            fresh: Vec::new(),
            renamed: None,
            unreadable: None,
            probed: None,
            flight: Flight::default(),
            sends: 0,
            refused: 0,
            starts: 0,
            started_us: 0,
            leaps_us: 0,
            wall_us: 0,
        };
        edge.start(0);
        edge
    }

    /// What the sender is given for the time.
    fn clock(&self, now_us: u64) -> u64 {
        match self.bug {
            Some(Bug::WallClock) => (EPOCH_US + now_us as i64 + self.wall_us) as u64,
            _ => now_us - self.started_us + self.leaps_us,
        }
    }

    /// The machine slept, and its steady clock did not.
    pub fn leap(&mut self, by_us: u64) {
        self.leaps_us += by_us;
    }

    /// Opens the spool and begins a new boot.
    pub fn start(&mut self, now_us: u64) {
        let again = self.bug == Some(Bug::BootReused) && self.boots > 0;
        self.boots += if again { 0 } else { 2 };
        self.starts += 1;
        let boot = self.boots;
        self.data.open(boot);
        self.losses.open(boot + 1);
        let older = self.older();
        let config = SenderConfig { window_records: self.size.window, window_bytes: 1 << 20 };
        let mut sender = Box::new(Sender::new(boot, config));
        sender.set_journal(self.state.journal.clone());
        for o in &older {
            sender.restore(o.stream, o.since, o.floor, o.next).expect("a place for each stream");
        }
        self.order = older.iter().map(|o| o.stream).filter(|s| *s & !1 != boot).chain([boot + 1, boot]).collect();
        if again {
            // It goes on behind what it finds; what it does not find it takes for gone.
            for o in older.iter().filter(|o| o.stream & !1 == boot) {
                sender.accepted(o.stream, o.next);
                sender.gone(o.stream, 0, o.floor);
                let chain = if o.stream == boot { &mut self.data } else { &mut self.losses };
                (chain.next, chain.synced) = (o.next, o.next);
            }
        }
        let known = |s: u64| older.iter().find(|o| o.stream == s).map(|o| o.floor);
        self.data.trim(known, |s| known(s).is_some());
        self.losses.trim(known, |s| known(s).is_some());
        (self.sender, self.connected, self.told, self.heard) = (Some(sender), false, None, 0);
        (self.started_us, self.leaps_us, self.flight) = (now_us, 0, Flight::default());
        // What a power cut left whole is held from here on, although nobody had said so.
        let found: Vec<Record> = self.data.records().chain(self.losses.records()).copied().collect();
        found.into_iter().for_each(|r| self.accept(r));
    }

    fn older(&self) -> Vec<Older> {
        let mut older = Vec::new();
        for s in &self.losses.segments {
            self.find(&mut older, s.stream, s.first, s.end());
        }
        for o in older.clone() {
            for loss in (o.floor..o.next).filter_map(|seq| self.losses.read((o.stream, seq))?.loss) {
                if !self.data.segments.iter().any(|s| s.stream == loss.0 && s.end() > s.first) {
                    self.find(&mut older, loss.0, loss.2, loss.2);
                }
            }
        }
        for s in &self.data.segments {
            self.find(&mut older, s.stream, s.first, s.end());
        }
        older.iter_mut().for_each(|o| o.floor = o.floor.min(o.next));
        older
    }

    fn find(&self, older: &mut Vec<Older>, stream: u64, first: u64, end: u64) {
        if end == 0 {
            return;
        }
        match older.iter_mut().find(|o| o.stream == stream) {
            Some(o) => {
                o.floor = if first == end && o.floor >= o.next { o.floor.max(end) } else { o.floor };
                o.next = o.next.max(end);
            }
            None => {
                let (since, floor) = self.state.streams.get(&stream).copied().unwrap_or_default();
                older.push(Older { stream, since, floor: first.max(floor), next: end.max(since) });
            }
        }
    }

    fn accept(&mut self, record: Record) {
        match self.accepted.insert(record.name(), record) {
            None => self.fresh.push(record.name()),
            Some(old) if old.body != record.body => self.renamed = Some(record.name()),
            Some(_) => {}
        }
    }

    /// Power cut: of what was not synced, `kept` records are on the disk all the same.
    pub fn crash(&mut self, kept: u64) {
        if self.sender.take().is_some() {
            self.data.cut(kept);
            self.losses.cut(kept);
        }
        self.connected = false;
    }

    /// A clean stop: what there is is synced, and the state kept.
    pub fn stop(&mut self) {
        self.sync();
        self.save();
        self.crash(0);
    }

    pub fn boot(&self) -> u64 {
        self.boots
    }

    fn record(&mut self, now_us: u64, loss: Option<(u64, u64, u64)>) -> Record {
        self.bodies += 1;
        let captured_at_us = (EPOCH_US + now_us as i64 + self.wall_us) as u64;
        Record { stream: 0, seq: 0, body: self.bodies, captured_at_us, loss }
    }

    /// Appends a record; a full disk makes room first. False: it is refused.
    pub fn append(&mut self, now_us: u64, death: Option<Death>) -> bool {
        if self.sender.is_none() || self.data.next - self.data.synced >= self.size.unsynced {
            return false;
        }
        while self.data.begins() && self.data.segments.len() >= self.size.segments {
            if !self.evict(now_us, death) {
                self.refused += 1;
                return false;
            }
        }
        let record = self.record(now_us, None);
        // A segment that is full is synced before the next begins.
        if self.data.begins() {
            self.sync();
        }
        self.data.append(record);
        true
    }

    /// Group commit.
    pub fn sync(&mut self) {
        let Some(sender) = &mut self.sender else { return };
        let (boot, from, to) = (self.boots, self.data.synced, self.data.sync());
        sender.accepted(boot, to);
        self.accept_all(boot, from, to);
    }

    fn accept_all(&mut self, stream: u64, from: u64, to: u64) {
        for seq in from..to {
            let chain = if stream & 1 == 1 { &self.losses } else { &self.data };
            chain.read((stream, seq)).into_iter().for_each(|r| self.accept(r));
        }
    }

    /// Appends loss records and syncs them. False: there is no room for all, or it died.
    fn declare(&mut self, now_us: u64, ranges: &[(u64, u64, u64)], death: Option<Death>) -> bool {
        let mut room = true;
        let from = self.losses.synced;
        for &loss in ranges {
            room = self.losses.records().count() < self.size.losses;
            if !room {
                break;
            }
            let record = self.record(now_us, Some(loss));
            self.losses.append(record);
        }
        if let Some(Death::LossesTorn(kept)) = death {
            self.crash(kept);
            return false;
        }
        let to = self.losses.sync();
        self.accept_all(self.boots + 1, from, to);
        if let Some(sender) = &mut self.sender {
            sender.accepted(self.boots + 1, to);
        }
        room
    }

    /// Drops the oldest segment, after declaring lost what is held of its stream below its end.
    fn evict(&mut self, now_us: u64, death: Option<Death>) -> bool {
        self.sync();
        let (Some(oldest), Some(sender)) = (self.data.oldest(), &self.sender) else { return false };
        let (stream, from, to) = (oldest.stream, oldest.first, oldest.end());
        let (mut at, mut ranges) = (sender.floor(stream).map_or(from, |f| f.min(from)), Vec::new());
        while let Some((from, end)) = sender.unsettled(stream, at, to).filter(|r| at <= r.0 && r.0 < r.1 && r.1 <= to) {
            ranges.push((stream, from, end));
            at = end;
        }
        let late = self.bug == Some(Bug::LossAfterUnlink);
        if late {
            self.data.drop_oldest();
        } else if !self.declare(now_us, &ranges, death) {
            return false;
        }
        if death == Some(Death::Between) {
            self.crash(0);
            return false;
        }
        if late {
            self.declare(now_us, &ranges, death);
        } else {
            self.data.drop_oldest();
        }
        if death == Some(Death::AfterUnlink) {
            self.crash(0);
            return false;
        }
        self.sender.as_mut().into_iter().for_each(|s| s.gone(stream, 0, to));
        true
    }

    /// Connects; the broker hands over what it retained.
    pub fn connect(&mut self, broker: &super::Broker, now_us: u64) {
        let clock = self.clock(now_us);
        let Some(sender) = &mut self.sender else { return };
        self.connected = true;
        sender.connected(clock);
        if let Some(ack) = broker.ack.clone() {
            self.on_ack(&ack, now_us, None);
        }
        self.heard = 0;
        self.listen(broker, now_us);
    }

    /// Hears what the bridge says of itself, if it has said anything since.
    pub fn listen(&mut self, broker: &super::Broker, now_us: u64) {
        let clock = self.clock(now_us);
        if let (Some(sender), Some(status), true) = (&mut self.sender, broker.status(), self.connected)
            && std::mem::replace(&mut self.heard, broker.said) != broker.said
        {
            self.told = Some(status);
            sender.bridge_status(status.online && status.journal, clock);
        }
    }

    /// The next thing to say, if there is one.
    pub fn say(&mut self, now_us: u64) -> Option<Message> {
        let clock = self.clock(now_us);
        let oldest = self.oldest_held();
        let sender = self.sender.as_mut().filter(|_| self.connected)?;
        if sender.window_due(clock) {
            return Some(Message::Window(sender.window(clock)));
        }
        let mut t = sender.poll(clock)?;
        if t.probe {
            if self.bug == Some(Bug::ProbeOfTheOldestInFlight)
                && let Some(flying) = self.flight.oldest(sender)
            {
                (t.stream, t.seq) = flying;
            }
            self.probed = oldest.map(|o| ((t.stream, t.seq), o));
        }
        let chain = if t.stream & 1 == 1 { &self.losses } else { &self.data };
        let Some(record) = chain.read((t.stream, t.seq)) else {
            self.unreadable = Some((t.stream, t.seq));
            return None;
        };
        sender.sent(t, 0, 100, clock);
        if self.bug == Some(Bug::ProbeOfTheOldestInFlight) {
            self.flight.sent(record.name());
        }
        self.sends += 1;
        Some(Message::Record(record))
    }

    /// The lowest record that is held, by the order of the backlog: worked out anew, from what the sender says is settled.
    fn oldest_held(&self) -> Option<Name> {
        let sender = self.sender.as_ref()?;
        self.order.iter().filter(|s| sender.floor(**s).is_some()).find_map(|&s| {
            let next = sender.streams().find(|w| w.stream == s)?.next;
            sender.unsettled(s, 0, next).map(|r| (s, r.0))
        })
    }

    pub fn on_ack(&mut self, ack: &Ack, now_us: u64, death: Option<Death>) {
        let clock = self.clock(now_us);
        let Some(sender) = &mut self.sender else { return };
        let changed = sender.on_ack(ack, clock).journal_changed;
        if self.bug == Some(Bug::ProbeOfTheOldestInFlight) {
            self.flight.acknowledged(ack, sender);
        }
        let floor = |s| sender.floor(s);
        if self.bug == Some(Bug::DeletedOutOfTurn) {
            self.data.trim_out_of_turn(|r| sender.unsettled(r.stream, r.seq, r.seq + 1).is_none());
        }
        self.data.trim(floor, |s| floor(s).is_some());
        self.losses.trim(floor, |s| floor(s).is_some());
        if changed && death == Some(Death::BeforeState) {
            self.crash(0);
        } else if changed {
            self.save();
        }
    }

    fn save(&mut self) {
        let Some(sender) = &self.sender else { return };
        let journal = sender.journal().cloned();
        let changed = self.state.journal.is_some() && self.state.journal != journal;
        let mut streams: HashMap<u64, _> = sender.streams().map(|s| (s.stream, (s.since, s.floor))).collect();
        // A stream that is through, and of which loss records are still held: a restart will speak of it again.
        for (stream, _, to) in self.losses.records().filter_map(|r| r.loss) {
            match self.state.streams.get(&stream) {
                _ if sender.floor(stream).is_some() => {}
                _ if changed => _ = streams.insert(stream, (to, to)),
                Some(&old) => _ = streams.insert(stream, old),
                None => {}
            }
        }
        self.state = State { journal, streams };
    }

    /// Whether a journal before `present` is answerable for a record that is not held.
    pub fn earlier_answers_for(&self, name: Name, present: &JournalId) -> bool {
        let Some(sender) = &self.sender else {
            let since = self.state.streams.get(&name.0).map(|s| s.0);
            return self.state.journal.as_ref() != Some(present) || since.is_none_or(|s| name.1 < s);
        };
        // What a window does not claim: below since, or behind the end that a restart knows of.
        let window = sender.streams().find(|w| w.stream == name.0);
        sender.journal() != Some(present) || window.is_none_or(|w| name.1 < w.since || name.1 >= w.next)
    }

    pub fn settled(&self) -> bool {
        self.data.synced == self.data.next && self.sender.as_ref().is_some_and(|s| s.settled())
    }
}
