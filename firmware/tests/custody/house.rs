//! House: an edge with its disk, a broker that forgets, a bridge, a journal and a store, each one step at a time.
//!
//! Takes steps from a test. Gives the state to look at.
//! Touches nothing outside.
//! Never acts by itself: who acts when, and who dies when, is the test's choice.

use firmware::custody::{Ack, JournalId, Receiver, Sender, SenderConfig, StreamWindow, Window, WindowId};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Records in a segment, segments on the disk, loss records on the disk, records appended but not synced.
pub const SEGMENT: usize = 3;
pub const SEGMENTS: usize = 4;
pub const LOSSES: usize = 6;
pub const UNSYNCED: usize = 4;

pub type Name = (u64, u64);

/// A record; a loss record names the range that was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    pub stream: u64,
    pub seq: u64,
    pub loss: Option<(u64, u64, u64)>,
}

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a model: a few hundred of them at most")]
pub enum Message {
    Record(Record),
    Window(Window),
}

/// What survives the edge's death.
#[derive(Debug, Default)]
pub struct Disk {
    pub segments: VecDeque<Vec<Record>>,
    pub losses: Vec<Record>,
    journal: Option<JournalId>,
    since: HashMap<u64, u64>,
}

impl Disk {
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.segments.iter().flatten().chain(&self.losses)
    }
}

pub struct Edge {
    pub disk: Disk,
    pub sender: Option<Box<Sender>>,
    pub connected: bool,
    pub evicting: Option<(Name, u64)>,
    unsynced: VecDeque<Record>,
    next: u64,
    next_loss: u64,
    boots: u64,
    pub accepted: BTreeSet<Name>,
    pub sends: u64,
    pub window_records: usize,
}

impl Edge {
    pub fn new(window_records: usize) -> Edge {
        let mut edge = Edge {
            disk: Disk::default(),
            sender: None,
            connected: false,
            evicting: None,
            unsynced: VecDeque::new(),
            next: 0,
            next_loss: 0,
            boots: 0,
            accepted: BTreeSet::new(),
            sends: 0,
            window_records,
        };
        edge.start();
        edge
    }

    pub fn start(&mut self) {
        self.boots += 2;
        let config = SenderConfig { window_records: self.window_records, window_bytes: 1 << 20 };
        let mut sender = Box::new(Sender::new(self.boots, config));
        let mut streams: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for r in self.disk.records() {
            let s = streams.entry(r.stream).or_insert((r.seq, r.seq + 1));
            *s = (s.0.min(r.seq), s.1.max(r.seq + 1));
        }
        for (stream, (floor, next)) in streams {
            let since = self.disk.since.get(&stream).copied().unwrap_or(0);
            sender.restore(stream, since, floor, next).unwrap();
        }
        sender.set_journal(self.disk.journal.clone());
        (self.sender, self.connected, self.evicting) = (Some(sender), false, None);
        (self.next, self.next_loss) = (0, 0);
        self.unsynced.clear();
    }

    /// Power cut: memory and whatever was not synced is gone.
    pub fn crash(&mut self) {
        (self.sender, self.connected) = (None, false);
        self.unsynced.clear();
    }

    pub fn boot(&self) -> u64 {
        self.boots
    }

    pub fn append(&mut self) {
        if self.sender.is_some() && self.unsynced.len() < UNSYNCED {
            self.unsynced.push_back(Record { stream: self.boots, seq: self.next, loss: None });
            self.next += 1;
        }
    }

    /// Makes one appended record durable; a full disk first starts to evict its oldest segment.
    pub fn sync(&mut self) {
        let Some(sender) = &mut self.sender else { return };
        let Some(&record) = self.unsynced.front() else { return };
        let fits = self.disk.segments.back().is_some_and(|s| s.len() < SEGMENT && s[0].stream == record.stream);
        if !fits {
            if self.disk.segments.len() >= SEGMENTS {
                return self.evict();
            }
            self.disk.segments.push_back(Vec::new());
        }
        self.unsynced.pop_front();
        self.disk.segments.back_mut().unwrap().push(record);
        sender.accepted(record.stream, record.seq + 1);
        self.accepted.insert((record.stream, record.seq));
    }

    /// First call: the loss record is synced. Second call: the segment is unlinked.
    pub fn evict(&mut self) {
        let Some(sender) = &mut self.sender else { return };
        match self.evicting.take() {
            None if self.disk.losses.len() < LOSSES => {
                let Some(oldest) = self.disk.segments.front() else { return };
                let (first, to) = (oldest[0], oldest[oldest.len() - 1].seq + 1);
                let name = (self.boots + 1, self.next_loss);
                self.next_loss += 1;
                let loss = Record { stream: name.0, seq: name.1, loss: Some((first.stream, first.seq, to)) };
                self.disk.losses.push(loss);
                sender.accepted(name.0, name.1 + 1);
                self.accepted.insert(name);
                self.evicting = Some(((first.stream, first.seq), to));
            }
            None => {}
            Some(((stream, from), to)) => {
                let front = self.disk.segments.front().map(|s| (s[0].stream, s[0].seq));
                if front == Some((stream, from)) {
                    self.disk.segments.pop_front();
                    sender.gone(stream, from, to);
                }
            }
        }
    }

    /// Connects; the broker hands over what it retained.
    pub fn connect(&mut self, broker: &Broker, now_us: u64) {
        let Some(sender) = &mut self.sender else { return };
        self.connected = broker.up;
        sender.connected(now_us);
        if let Some(ack) = broker.ack.clone().filter(|_| broker.up) {
            self.on_ack(&ack, now_us);
        }
    }

    /// The next thing to say, if there is one.
    pub fn say(&mut self, now_us: u64) -> Option<Message> {
        let sender = self.sender.as_mut().filter(|_| self.connected)?;
        if sender.window_due(now_us) {
            return Some(Message::Window(sender.window(now_us)));
        }
        let t = sender.poll(now_us)?;
        let record =
            *self.disk.records().find(|r| (r.stream, r.seq) == (t.stream, t.seq)).expect("held is on the disk");
        sender.sent(t, 0, 100, now_us);
        self.sends += 1;
        Some(Message::Record(record))
    }

    pub fn on_ack(&mut self, ack: &Ack, now_us: u64) {
        let Some(sender) = &mut self.sender else { return };
        if sender.on_ack(ack, now_us).journal_changed {
            self.disk.journal = sender.journal().cloned();
            self.disk.since = sender.streams().map(|s| (s.stream, s.since)).collect();
        }
        let floor = |r: &Record| sender.floor(r.stream).is_none_or(|f| r.seq < f);
        while let Some(first) = self.disk.segments.front() {
            let active = self.disk.segments.len() == 1 && first[0].stream == self.boots && first.len() < SEGMENT;
            if active || self.evicting.is_some() || !first.iter().all(floor) {
                break;
            }
            self.disk.segments.pop_front();
        }
        while self.disk.losses.first().is_some_and(floor) {
            self.disk.losses.remove(0);
        }
    }

    /// Whether a journal before `present` is answerable for a record that is not held.
    pub fn earlier_answers_for(&self, name: Name, present: &JournalId) -> bool {
        let since = self.disk.since.get(&name.0).copied();
        let known = self.sender.as_ref().is_some_and(|s| s.streams().any(|w| w.stream == name.0));
        self.disk.journal.as_ref() != Some(present) || !known || since.is_some_and(|s| name.1 < s)
    }

    pub fn settled(&self) -> bool {
        self.unsynced.is_empty() && self.sender.as_ref().is_some_and(|s| s.settled())
    }
}

/// MQTT between them. What it has PUBACKed is in memory only.
#[derive(Default)]
pub struct Broker {
    pub up: bool,
    pub session: bool,
    pub queue: VecDeque<Message>,
    window: Option<Window>,
    pub ack: Option<Ack>,
    pub queue_max: usize,
}

impl Broker {
    pub fn new() -> Broker {
        Broker { up: true, ..Broker::default() }
    }

    /// Killed and restarted: all is forgotten, PUBACKed or not.
    pub fn forgetful(queue_max: usize) -> Broker {
        Broker { queue_max, ..Broker::new() }
    }

    pub fn publish(&mut self, message: Message, times: usize) {
        if let Message::Window(w) = &message {
            self.window = Some(w.clone());
        }
        if self.session {
            self.queue.extend(std::iter::repeat_n(message, times));
        }
        self.queue_max = self.queue_max.max(self.queue.len());
    }
}

pub struct Journal {
    pub id: JournalId,
    pub log: Vec<Message>,
}

impl Journal {
    pub fn new(n: usize) -> Journal {
        Journal { id: JournalId::try_from(format!("journal-{n}").as_str()).unwrap(), log: Vec::new() }
    }

    pub fn has(&self, name: Name) -> bool {
        self.log.iter().any(|m| matches!(m, Message::Record(r) if (r.stream, r.seq) == name))
    }
}

/// A bridge: a message goes into the journal in one step, and is known to be there in the next.
pub struct Bridge {
    pub receiver: Option<Receiver>,
    pub connected: bool,
    pub pending: VecDeque<(Message, bool)>,
}

impl Bridge {
    pub fn new(journal: &Journal) -> Bridge {
        let receiver = Some(Receiver::new(journal.id.clone()));
        Bridge { receiver, connected: false, pending: VecDeque::new() }
    }

    /// What was not acknowledged to the broker is delivered again, if the broker still has the session.
    pub fn disconnect(&mut self, broker: &mut Broker) {
        for (m, _) in self.pending.drain(..).rev() {
            if broker.session {
                broker.queue.push_front(m);
            }
        }
        self.connected = false;
    }

    pub fn crash(&mut self, broker: &mut Broker) {
        self.disconnect(broker);
        self.receiver = None;
    }

    pub fn connect(&mut self, broker: &mut Broker) {
        if self.receiver.is_some() && broker.up {
            (self.connected, broker.session) = (true, true);
            self.pending.extend(broker.window.clone().map(|w| (Message::Window(w), false)));
        }
    }

    pub fn step(&mut self, broker: &mut Broker, journal: &mut Journal, now_us: u64) {
        let Some(receiver) = self.receiver.as_mut().filter(|_| self.connected) else { return };
        if self.pending.len() < 5 {
            self.pending.extend(broker.queue.pop_front().map(|m| (m, false)));
        }
        match self.pending.front_mut() {
            Some((Message::Window(w), _)) if receiver.is_foreign(w) => {
                receiver.window_foreign(now_us);
                self.pending.pop_front();
            }
            Some((message, written @ false)) => {
                journal.log.push(message.clone());
                *written = true;
            }
            Some((Message::Record(r), true)) => {
                receiver.journalled(r.stream, r.seq, now_us);
                self.pending.pop_front();
            }
            Some((Message::Window(w), true)) => {
                let w = w.clone();
                receiver.window_journalled(&w, now_us);
                self.pending.pop_front();
            }
            None => {}
        }
    }

    /// Publishes the ack if it is due. Gives it, for whoever is connected to hear it.
    pub fn ack(&mut self, broker: &mut Broker, now_us: u64) -> Option<Ack> {
        let receiver = self.receiver.as_mut().filter(|_| self.connected && broker.up)?;
        let ack = receiver.ack_due_us().is_some_and(|due| due <= now_us).then(|| receiver.ack())?;
        broker.ack = Some(ack.clone());
        Some(ack)
    }
}

/// The store: rows by name, duplicates dropped, and what the windows said was produced.
#[derive(Default)]
pub struct Store {
    journal: Option<JournalId>,
    pub offset: usize,
    pub rows: BTreeMap<Name, u32>,
    pub duplicates: u64,
    declared: BTreeSet<Name>,
    windows: BTreeMap<u64, StreamWindow>,
    pub last_window: Option<WindowId>,
}

impl Store {
    pub fn read(&mut self, journal: &Journal, most: usize) {
        if self.journal.as_ref() != Some(&journal.id) {
            (self.journal, self.offset) = (Some(journal.id.clone()), 0);
            self.windows.clear();
        }
        for message in journal.log.iter().skip(self.offset).take(most) {
            self.offset += 1;
            match message {
                Message::Window(w) => {
                    self.last_window = Some(w.id);
                    for s in &w.streams {
                        let old = self.windows.entry(s.stream).or_insert(*s);
                        (old.since, old.next) = (old.since.max(s.since), old.next.max(s.next));
                    }
                }
                Message::Record(r) if self.rows.contains_key(&(r.stream, r.seq)) => self.duplicates += 1,
                Message::Record(r) => {
                    *self.rows.entry((r.stream, r.seq)).or_insert(0) += 1;
                    self.declared.extend(r.loss.into_iter().flat_map(|(s, from, to)| (from..to).map(move |q| (s, q))));
                }
            }
        }
    }

    /// Records that the windows claim, and that are neither stored nor declared lost.
    pub fn missing(&self) -> Vec<Name> {
        let claimed = self.windows.values().flat_map(|w| (w.since..w.next).map(|q| (w.stream, q)));
        claimed.filter(|n| !self.rows.contains_key(n) && !self.declared.contains(n)).collect()
    }

    /// Records declared lost that did not get through all the same.
    pub fn lost(&self) -> usize {
        self.declared.iter().filter(|n| !self.rows.contains_key(n)).count()
    }
}
