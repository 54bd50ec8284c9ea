//! Random: thousands of seeds of dropped, repeated and forgotten messages, crashes, evictions and journal changes.
//!
//! Takes seeds. Gives the first violation of a seed, with what was violated.
//! Touches a house of its own for each seed.
//! Never forgives: safety is looked at all along, and in the calm at the end everything must settle.

use super::house::{Bridge, Broker, Edge, Journal, Message, Name, Store};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

const TICK_US: u64 = 200_000;
const CHAOS_TICKS: u64 = 900;
const CALM_TICKS: u64 = 12_000;
/// Messages that the broker may hold: the window, twice over for repeats, and probes.
const QUEUE_MAX: usize = 150;

/// What goes wrong in a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mix {
    Calm,
    Crashes,
    Network,
    JournalAway,
    JournalSwap,
    TwoBridges,
    All,
}

const MIXES: [Mix; 7] =
    [Mix::Calm, Mix::Crashes, Mix::Network, Mix::JournalAway, Mix::JournalSwap, Mix::TwoBridges, Mix::All];

struct World {
    rng: Xoshiro256PlusPlus,
    mix: Mix,
    edge: Edge,
    broker: Broker,
    bridges: Vec<Bridge>,
    journals: Vec<Journal>,
    store: Store,
    away: bool,
    loss: f64,
    now_us: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mix = MIXES[(seed % MIXES.len() as u64) as usize];
        let journal = Journal::new(0);
        let bridges = if mix == Mix::TwoBridges || (mix == Mix::All && seed.is_multiple_of(3)) { 2 } else { 1 };
        World {
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            mix,
            edge: Edge::new(6),
            broker: Broker::new(),
            bridges: (0..bridges).map(|_| Bridge::new(&journal)).collect(),
            journals: vec![journal],
            store: Store::default(),
            away: false,
            loss: 0.0,
            now_us: 0,
        }
    }

    fn chance(&mut self, p: f64) -> bool {
        (self.rng.next_u32() as f64) < p * f64::from(u32::MAX)
    }

    fn any(&self, mixes: &[Mix]) -> bool {
        self.mix == Mix::All || mixes.contains(&self.mix)
    }

    fn deaths(&mut self) {
        if self.any(&[Mix::Crashes, Mix::JournalSwap, Mix::TwoBridges]) {
            if self.chance(0.006) {
                self.edge.crash();
            }
            for i in 0..self.bridges.len() {
                if self.chance(0.006) {
                    self.bridges[i].crash(&mut self.broker);
                }
            }
            if self.chance(0.003) {
                // The broker is killed with all that it has PUBACKed.
                self.broker = Broker::forgetful(self.broker.queue_max);
                self.edge.connected = false;
                for b in &mut self.bridges {
                    b.connected = false;
                    b.pending.retain(|p| p.1);
                }
            }
            if self.chance(0.001) {
                self.store = Store::default();
            }
        }
        if self.any(&[Mix::Network]) {
            if self.chance(0.02) {
                self.edge.connected = false;
            }
            for i in 0..self.bridges.len() {
                if self.chance(0.01) {
                    self.bridges[i].disconnect(&mut self.broker);
                }
            }
        }
        if self.any(&[Mix::JournalAway, Mix::Crashes]) && self.chance(0.01) {
            self.away = true;
        }
        if self.any(&[Mix::JournalSwap]) && self.journals.len() < 3 && self.chance(0.0015) {
            self.journals.push(Journal::new(self.journals.len()));
            for b in &mut self.bridges {
                b.crash(&mut self.broker);
            }
        }
    }

    fn recoveries(&mut self, calm: bool) {
        if self.away && self.chance(if calm { 1.0 } else { 0.01 }) {
            self.away = false;
        }
        if self.edge.sender.is_none() && self.chance(0.1) {
            self.edge.start();
        }
        if self.edge.sender.is_some() && !self.edge.connected && self.chance(0.2) {
            self.edge.connect(&self.broker, self.now_us);
        }
        for i in 0..self.bridges.len() {
            if self.bridges[i].receiver.is_none() && self.chance(0.1) {
                self.bridges[i] = Bridge::new(self.journals.last().unwrap());
            }
            if self.bridges[i].receiver.is_some() && !self.bridges[i].connected && self.chance(0.2) {
                self.bridges[i].connect(&mut self.broker);
            }
        }
    }

    fn work(&mut self, calm: bool) {
        if !calm && self.chance(0.25) {
            self.edge.append();
        }
        if self.chance(0.4) {
            self.edge.sync();
        }
        if self.edge.evicting.is_some() && self.chance(0.5) {
            self.edge.evict();
        }
        if self.chance(0.8)
            && let Some(message) = self.edge.say(self.now_us)
            && !self.chance(self.loss)
        {
            let times = if self.chance(self.loss) { 2 } else { 1 };
            self.broker.publish(message, times);
        }
        for i in 0..self.bridges.len() {
            if self.chance(0.8) && !self.away {
                self.bridges[i].step(&mut self.broker, self.journals.last_mut().unwrap(), self.now_us);
            }
            let ack = self.bridges[i].ack(&mut self.broker, self.now_us);
            if let Some(ack) = ack.filter(|_| self.edge.connected)
                && !self.chance(self.loss)
            {
                self.edge.on_ack(&ack, self.now_us);
            }
        }
        if self.chance(0.3) {
            let most = 1 + (self.rng.next_u32() % 5) as usize;
            self.store.read(self.journals.last().unwrap(), most);
        }
    }

    fn tick(&mut self, calm: bool) {
        self.now_us += TICK_US;
        self.loss = if !calm && self.any(&[Mix::Network]) { 0.05 } else { 0.0 };
        if !calm {
            self.deaths();
        }
        self.recoveries(calm);
        self.work(calm);
    }

    /// Every accepted record is on the edge's disk, in the journal that is answerable for it, or named by a loss record
    /// that is in one or the other.
    fn nowhere(&self) -> Option<Name> {
        let journalled = |m: &Message| match m {
            Message::Record(r) => Some(*r),
            Message::Window(_) => None,
        };
        let written = self.journals.iter().flat_map(|j| &j.log).filter_map(journalled);
        let held = self.edge.disk.records().copied();
        let losses: Vec<(u64, u64, u64)> = written.chain(held).filter_map(|r| r.loss).collect();
        let declared = |n: &Name| losses.iter().any(|l| l.0 == n.0 && (l.1..l.2).contains(&n.1));
        // An earlier journal answers for what lies below since, and for all until the edge has heard of the new one.
        let present = &self.journals.last().unwrap().id;
        let earlier = |n: &Name| {
            self.edge.earlier_answers_for(*n, present) && self.journals.iter().rev().skip(1).any(|j| j.has(*n))
        };
        let lost = |n: &&Name| {
            !self.edge.disk.records().any(|r| (r.stream, r.seq) == **n)
                && !self.journals.last().unwrap().has(**n)
                && !declared(n)
                && !earlier(n)
        };
        self.edge.accepted.iter().find(lost).copied()
    }

    fn quiet(&self) -> bool {
        let journal = self.journals.last().unwrap();
        self.edge.settled() && self.broker.queue.is_empty() && self.store.offset == journal.log.len()
    }
}

/// Runs one seed. Gives what was violated, and the records accepted and sent.
fn run(seed: u64) -> Result<(u64, u64), String> {
    let mut w = World::new(seed);
    for tick in 0..CHAOS_TICKS {
        w.tick(false);
        if tick % 5 == 0
            && let Some(name) = w.nowhere()
        {
            return Err(format!("{:?}, tick {tick}: {name:?} is nowhere", w.mix));
        }
    }
    let mut ticks = 0;
    while !w.quiet() {
        w.tick(true);
        ticks += 1;
        if ticks > CALM_TICKS {
            let held = w.edge.sender.as_ref().map_or(0, |s| s.held());
            return Err(format!("{:?}: not settled in the calm, {held} held", w.mix));
        }
    }
    let accepted = w.edge.accepted.len() as u64;
    if let Some(name) = w.nowhere() {
        Err(format!("{:?}, at the end: {name:?} is nowhere", w.mix))
    } else if w.store.rows.values().any(|&n| n > 1) {
        Err(format!("{:?}: a row is twice in the store", w.mix))
    } else if !w.store.missing().is_empty() {
        Err(format!("{:?}: missing {:?}", w.mix, w.store.missing()))
    } else if w.mix == Mix::Calm && w.edge.sends as f64 > 1.05 * accepted as f64 {
        Err(format!("a storm in the calm: {} sends of {accepted} records", w.edge.sends))
    } else if w.broker.queue_max > QUEUE_MAX {
        Err(format!("{:?}: {} messages in the broker", w.mix, w.broker.queue_max))
    } else {
        Ok((accepted, w.edge.sends))
    }
}

#[test]
fn no_seed_loses_repeats_or_strands_a_record() {
    let seeds = std::env::var("HUEFLOW_SIM_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(1_000u64);
    let (mut accepted, mut sends, mut bad) = (0, 0, Vec::new());
    for seed in 0..seeds {
        match run(seed) {
            Ok((a, s)) => (accepted, sends) = (accepted + a, sends + s),
            Err(why) => bad.push((seed, why)),
        }
    }
    assert!(bad.is_empty(), "{} of {seeds} seeds: {:?}", bad.len(), &bad[..bad.len().min(8)]);
    println!("{seeds} seeds, {accepted} records accepted, {:.3} sends a record", sends as f64 / accepted as f64);
}
