//! The edge: its disk, and what `edge/src/send.rs` and the spool do with it, around the product's sender.
//!
//! The test appends records, delivers acks and cuts the power; the edge returns its next message. Only the disk survives a
//! power cut. Without a planted mistake the edge sends only synced records and deletes only from the front.

use super::chain::Chain;
use super::flight::Flight;
use super::{Bug, Message, Name, Record, Status};
use firmware::custody::{Ack, JournalId, Sender, SenderConfig};
use std::collections::{BTreeMap, HashMap};

/// Sizes of the edge's spool and window, in records.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub segment: usize,
    pub segments: usize,
    pub losses: usize,
    pub unsynced: u64,
    pub window: usize,
}

/// Where the power is cut within a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// During an eviction, with the loss records written and not synced. This many of them are on the disk all the same.
    LossesTorn(u64),
    /// During an eviction, between its first durable step and the next.
    Between,
    /// During an eviction, after the segment was deleted and before the sender was notified.
    AfterUnlink,
    /// After an ack and the deletion of segments, before the journal's id was written.
    BeforeState,
}

/// State on the disk besides the chains.
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
    /// The last status of the bridge, and the number of statuses published until then.
    pub bridge_status: Option<Status>,
    statuses: u64,
    /// Streams in the order in which their backlog is sent.
    order: Vec<u64>,
    boots: u64,
    bodies: u64,
    /// All accepted records by name, including those that an open found on the disk.
    pub accepted: BTreeMap<Name, Record>,
    /// Accepted records that the audit has not seen.
    pub fresh: Vec<Name>,
    /// Name of two different records.
    pub renamed: Option<Name>,
    /// Name of a record that the sender asked for and the disk does not have.
    pub unreadable: Option<Name>,
    /// The last probe, and the oldest held record at that time.
    pub probed: Option<(Name, Name)>,
    flight: Flight,
    pub sends: u64,
    /// Settled records that the sender forgot, because their stream had too many ranges.
    pub forgotten: u64,
    pub refused: u64,
    /// Number of starts. Time of the last one, when the monotonic clock began, and the sum of its jumps.
    pub starts: u64,
    started_us: u64,
    leaps_us: u64,
    /// Difference of the wall clock from the true time.
    pub wall_us: i64,
}

/// True time at which a simulation begins.
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
            bridge_status: None,
            statuses: 0,
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
            forgotten: 0,
            refused: 0,
            starts: 0,
            started_us: 0,
            leaps_us: 0,
            wall_us: 0,
        };
        edge.start(0);
        edge
    }

    /// Returns the time for the sender.
    fn clock(&self, now_us: u64) -> u64 {
        match self.bug {
            Some(Bug::WallClock) => (EPOCH_US + now_us as i64 + self.wall_us) as u64,
            _ => now_us - self.started_us + self.leaps_us,
        }
    }

    /// Lets the monotonic clock jump, as after a suspend.
    pub fn advance_clock(&mut self, by_us: u64) {
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
            // It continues after the records it finds and gives up those it does not find.
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
        (self.sender, self.connected, self.bridge_status, self.statuses) = (Some(sender), false, None, 0);
        (self.started_us, self.leaps_us, self.flight) = (now_us, 0, Flight::default());
        // Complete records that were not synced before a power cut are held from now on.
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

    /// Cuts the power. The first `kept` records that were not synced are on the disk all the same.
    pub fn crash(&mut self, kept: u64) {
        if self.sender.take().is_some() {
            self.data.cut(kept);
            self.losses.cut(kept);
        }
        self.connected = false;
    }

    /// Stops cleanly: syncs, and writes the state.
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

    /// Appends a record. A full disk evicts its oldest segment first. Returns false if the record is refused.
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
        // A full segment is synced before the next begins.
        if self.data.begins() {
            self.sync();
        }
        self.data.append(record);
        true
    }

    /// Syncs what was appended.
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

    /// Appends loss records and syncs them. Returns false if there is no room for all of them or the power was cut.
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

    /// Deletes the oldest segment after declaring lost what is held of its stream below its end.
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
        self.statuses = 0;
        self.listen(broker, now_us);
    }

    /// Takes the bridge's status if a new one was published.
    pub fn listen(&mut self, broker: &super::Broker, now_us: u64) {
        let clock = self.clock(now_us);
        if let (Some(sender), Some(status), true) = (&mut self.sender, broker.status(), self.connected)
            && std::mem::replace(&mut self.statuses, broker.statuses) != broker.statuses
        {
            self.bridge_status = Some(status);
            sender.bridge_status(status.online && status.journal, clock);
        }
    }

    /// Returns the next message to publish, if there is one.
    pub fn next_message(&mut self, now_us: u64) -> Option<Message> {
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

    /// Returns the oldest held record in the order of the backlog, computed from what the sender has settled.
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
        let outcome = sender.on_ack(ack, clock);
        let changed = outcome.journal_changed;
        self.forgotten += outcome.forgotten;
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
        // A stream that left the window and has held loss records: a restart will name it again.
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

    /// Returns true if a journal before `present` is answerable for a record that is not held.
    pub fn earlier_answers_for(&self, name: Name, present: &JournalId) -> bool {
        let Some(sender) = &self.sender else {
            let since = self.state.streams.get(&name.0).map(|s| s.0);
            return self.state.journal.as_ref() != Some(present) || since.is_none_or(|s| name.1 < s);
        };
        // Records that a window does not name: below `since`, or after the end that a restart knows.
        let window = sender.streams().find(|w| w.stream == name.0);
        sender.journal() != Some(present) || window.is_none_or(|w| name.1 < w.since || name.1 >= w.next)
    }

    pub fn settled(&self) -> bool {
        self.data.synced == self.data.next && self.sender.as_ref().is_some_and(|s| s.settled())
    }
}
