//! A world: one site and a random generator that decides who acts, what crashes, what is dropped, and which clocks jump.
//!
//! [`World::new`] takes the seed and a planted mistake; [`Mix`] limits what may go wrong in it. [`World::run`] returns the first
//! broken promise. The audit checks the site after every step. At the end nothing goes wrong any more, and everything must
//! settle.

use super::audit::{Audit, Broken};
use super::site::{Bridge, Broker, Bug, Death, Edge, Journal, Message, Role, Size, Store};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

const TICK_US: u64 = 200_000;
const CHAOS_TICKS: u64 = 900;
const CALM_TICKS: u64 = 6_000;
const HOUR_US: u64 = 3_600_000_000;

const SMALL: Size = Size { segment: 3, segments: 4, losses: 6, unsynced: 4, window: 6 };
/// Room for more holes than an ack has ranges.
const WIDE: Size = Size { segment: 16, segments: 20, losses: 40, unsynced: 16, window: 128 };

/// The default window, and room for more holes than a set has ranges.
const VAST: Size = Size { segment: 32, segments: 40, losses: 40, unsynced: 32, window: 256 };

/// What may go wrong in a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    Calm,
    Crashes,
    Network,
    JournalAway,
    JournalSwap,
    TwoBridges,
    Standby,
    Clocks,
    Holes,
    Scattered,
    All,
}

impl Mix {
    fn size(self) -> Size {
        match self {
            Mix::Holes => WIDE,
            Mix::Scattered => VAST,
            _ => SMALL,
        }
    }

    /// Steps of edge and bridge in a tick. Many steps put many records in flight.
    fn steps(self) -> usize {
        match self {
            Mix::Holes => 4,
            Mix::Scattered => 12,
            _ => 1,
        }
    }

    /// Share of the messages that are dropped.
    fn loss(self) -> f64 {
        match self {
            Mix::Holes => 0.4,
            Mix::Scattered => 0.6,
            Mix::Network | Mix::All => 0.05,
            _ => 0.0,
        }
    }
}

pub const MIXES: [Mix; 11] = [
    Mix::Calm,
    Mix::Crashes,
    Mix::Network,
    Mix::JournalAway,
    Mix::JournalSwap,
    Mix::TwoBridges,
    Mix::Standby,
    Mix::Clocks,
    Mix::Holes,
    Mix::Scattered,
    Mix::All,
];

/// Result of a seed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sums {
    pub accepted: u64,
    pub sends: u64,
    pub declared: u64,
    /// Settled records that the sender forgot because a set of ranges was full.
    pub forgotten: u64,
    pub takeovers: u64,
    pub jumps: u64,
    pub swaps: u64,
    /// Ticks without any fault until everything was settled.
    pub calm_ticks: u64,
}

pub struct World {
    rng: Xoshiro256PlusPlus,
    pub mix: Mix,
    bug: Option<Bug>,
    edge: Edge,
    broker: Broker,
    bridges: Vec<Bridge>,
    /// True if the second bridge is a standby of the first.
    standby: bool,
    /// True if the only fault of a pair is that broker and active bridge die together. With others the standby soon is the
    /// active bridge.
    quiet_pair: bool,
    /// Bridges that are not started again.
    removed: Vec<bool>,
    journals: Vec<Journal>,
    store: Store,
    audit: Audit,
    away: bool,
    loss: f64,
    now_us: u64,
    sums: Sums,
}

impl World {
    pub fn new(seed: u64, bug: Option<Bug>) -> World {
        let mix = MIXES[(seed % MIXES.len() as u64) as usize];
        let journal = Journal::new(0);
        let broker = Broker::new();
        let variant = seed / MIXES.len() as u64 % 3;
        let standby = mix == Mix::Standby || (mix == Mix::All && variant == 1);
        let mut bridges = vec![Bridge::new(0, &journal).with(bug)];
        if standby {
            bridges.push(Bridge::standby(1, &journal, &broker, 0).with(bug));
        } else if mix == Mix::TwoBridges || (mix == Mix::All && variant == 2) {
            bridges.push(Bridge::new(1, &journal).with(bug));
        }
        World {
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            mix,
            bug,
            edge: Edge::new(mix.size(), bug),
            broker,
            removed: vec![false; bridges.len()],
            bridges,
            standby,
            quiet_pair: mix == Mix::Standby && variant == 0,
            journals: vec![journal],
            store: Store::default(),
            audit: Audit::default(),
            away: false,
            loss: 0.0,
            now_us: 0,
            sums: Sums::default(),
        }
    }

    fn chance(&mut self, p: f64) -> bool {
        (self.rng.next_u32() as f64) < p * f64::from(u32::MAX)
    }

    fn below(&mut self, n: u32) -> u32 {
        self.rng.next_u32() % n
    }

    fn any(&self, mixes: &[Mix]) -> bool {
        self.mix == Mix::All || mixes.contains(&self.mix)
    }

    fn check(&mut self) -> Result<(), Broken> {
        self.audit.check(&mut self.edge, &self.broker, &self.journals)
    }

    fn bridge_dies(&mut self, i: usize) {
        self.bridges[i].crash(&mut self.broker);
        // Sometimes the active bridge of a pair does not come back; then the standby must take over.
        if self.standby && i == 0 && self.chance(0.3) {
            self.removed[0] = true;
        }
    }

    fn broker_dies(&mut self) {
        self.broker.die();
        self.edge.connected = false;
        self.bridges.iter_mut().for_each(Bridge::broker_died);
    }

    fn deaths(&mut self) {
        if self.any(&[Mix::Crashes, Mix::JournalSwap, Mix::TwoBridges, Mix::Standby]) {
            if self.chance(0.006) {
                let kept = self.below(4);
                self.edge.crash(u64::from(kept));
            } else if self.chance(0.002) {
                self.edge.stop();
            }
            for i in 0..self.bridges.len() {
                if !self.quiet_pair && self.chance(0.006) {
                    self.bridge_dies(i);
                }
            }
            if self.chance(0.003) {
                self.broker_dies();
            }
            if self.chance(0.001) {
                self.store = Store::default();
            }
        }
        if self.any(&[Mix::Network, Mix::Standby]) {
            if self.chance(0.02) {
                self.edge.connected = false;
            }
            for i in 0..self.bridges.len() {
                if !self.quiet_pair && self.chance(if self.mix == Mix::Standby { 0.002 } else { 0.01 }) {
                    self.bridges[i].disconnect(&mut self.broker);
                }
            }
        }
        if self.standby && self.chance(0.001) {
            // Broker and active bridge share a machine. It comes back without the bridge.
            self.bridge_dies(0);
            self.removed[0] = true;
            self.broker_dies();
        }
        if self.mix == Mix::Scattered {
            // A restarted bridge knows no ranges, so its acks name other ranges than before.
            for i in 0..self.bridges.len() {
                if self.chance(0.02) {
                    self.bridge_dies(i);
                }
            }
        }
        if self.any(&[Mix::JournalAway, Mix::Crashes, Mix::Holes, Mix::Scattered]) && self.chance(0.01) {
            self.away = true;
        }
        if self.any(&[Mix::JournalSwap]) && self.journals.len() < 3 && self.chance(0.0015) {
            self.journals.push(Journal::new(self.journals.len()));
            self.sums.swaps += 1;
            for b in &mut self.bridges {
                b.crash(&mut self.broker);
            }
        }
        if self.any(&[Mix::Clocks]) {
            self.clocks();
        }
    }

    /// Sets the edge's wall clock forwards or back, and lets monotonic clocks jump as after a suspend.
    fn clocks(&mut self) {
        if self.chance(0.02) {
            let hours = i64::from(self.below(49)) - 24;
            self.edge.wall_us += hours * HOUR_US as i64;
            self.sums.jumps += 1;
        }
        if self.chance(0.005) {
            let hours = u64::from(1 + self.below(12));
            self.edge.advance_clock(hours * HOUR_US);
            self.sums.jumps += 1;
        }
        if self.chance(0.005) {
            let (hours, i) = (u64::from(1 + self.below(12)), self.below(self.bridges.len() as u32));
            self.bridges[i as usize].advance_clock(hours * HOUR_US);
            self.sums.jumps += 1;
        }
    }

    fn recoveries(&mut self, calm: bool) {
        if self.away && self.chance(if calm { 1.0 } else { 0.01 }) {
            self.away = false;
        }
        if self.edge.sender.is_none() && self.chance(0.1) {
            self.edge.start(self.now_us);
        }
        if self.edge.sender.is_some() && !self.edge.connected && self.chance(0.2) {
            self.edge.connect(&self.broker, self.now_us);
        }
        for i in 0..self.bridges.len() {
            if self.bridges[i].receiver.is_none() && !self.removed[i] && self.chance(0.1) {
                let journal = self.journals.last().unwrap();
                self.bridges[i] = if self.standby && i == 1 {
                    Bridge::standby(i, journal, &self.broker, self.now_us).with(self.bug)
                } else {
                    Bridge::new(i, journal).with(self.bug)
                };
            }
            self.reconnect(i);
        }
    }

    /// Lets a standby check the active bridge, and an active bridge connect if it is not connected.
    fn reconnect(&mut self, i: usize) {
        if self.bridges[i].receiver.is_none() {
            return;
        }
        if self.bridges[i].role != Role::Active {
            self.bridges[i].watch(&self.broker, self.now_us);
            self.sums.takeovers += u64::from(self.bridges[i].role == Role::Active);
        } else if !self.bridges[i].connected(&self.broker) && self.chance(0.2) {
            if let Some(other) = self.broker.holder {
                self.bridges[other].disconnect(&mut self.broker);
            }
            self.bridges[i].connect(&mut self.broker, self.now_us);
        }
    }

    fn edge_works(&mut self, calm: bool) -> Result<(), Broken> {
        for _ in 1..self.mix.steps() {
            if !calm && self.chance(0.25) {
                self.edge.append(self.now_us, None);
            }
        }
        if !calm && self.chance(0.25) {
            let dies = self.any(&[Mix::Crashes, Mix::JournalSwap, Mix::TwoBridges, Mix::Standby]) && self.chance(0.05);
            let deaths = [Death::LossesTorn(0), Death::LossesTorn(1), Death::Between, Death::AfterUnlink];
            let death = dies.then(|| deaths[self.below(4) as usize]);
            self.edge.append(self.now_us, death);
            self.check()?;
        }
        if self.chance(0.4) {
            self.edge.sync();
        }
        self.edge.listen(&self.broker, self.now_us);
        for _ in 0..self.mix.steps() {
            if self.chance(0.8)
                && let Some(message) = self.edge.next_message(self.now_us)
            {
                if let Message::Record(r) = &message
                    && !self.edge.accepted.contains_key(&r.name())
                {
                    return Err(Broken::SentUnaccepted(r.name()));
                }
                if !self.chance(self.loss) {
                    let times = if self.chance(self.loss.min(0.05)) { 2 } else { 1 };
                    self.broker.publish(message, times);
                }
            }
        }
        self.check()
    }

    fn bridge_works(&mut self, i: usize) -> Result<(), Broken> {
        if self.chance(0.1) {
            self.bridges[i].check_journal(&mut self.broker, !self.away);
        }
        for _ in 0..self.mix.steps() {
            if self.chance(0.8) {
                self.bridges[i].receive(&mut self.broker, self.now_us);
            }
            if !self.away && self.bridges[i].receiver.is_some() {
                if self.chance(0.8) {
                    self.bridges[i].write(self.journals.last_mut().unwrap());
                    self.check()?;
                }
                if self.chance(0.8) {
                    self.bridges[i].settle(self.now_us);
                }
            }
        }
        if let Some(ack) = self.bridges[i].ack(&mut self.broker, self.now_us) {
            Audit::ack(&ack, &self.journals)?;
            if self.edge.connected && !self.chance(self.loss) {
                let dies = self.any(&[Mix::JournalSwap]) && self.chance(0.05);
                self.edge.on_ack(&ack, self.now_us, dies.then_some(Death::BeforeState));
            }
            self.check()?;
        }
        Ok(())
    }

    fn tick(&mut self, calm: bool) -> Result<(), Broken> {
        self.now_us += TICK_US;
        self.loss = if calm { 0.0 } else { self.mix.loss() };
        if !calm {
            self.deaths();
            self.check()?;
        }
        self.recoveries(calm);
        self.check()?;
        self.edge_works(calm)?;
        for i in 0..self.bridges.len() {
            self.bridge_works(i)?;
        }
        if self.chance(0.3) {
            let most = 1 + self.below(5) as usize;
            self.store.read(self.journals.last().unwrap(), most);
        }
        Ok(())
    }

    fn quiet(&self) -> bool {
        let journal = self.journals.last().unwrap();
        self.edge.settled() && self.broker.queue.is_empty() && self.store.offset == journal.log.len()
    }

    /// Runs the world to its end.
    pub fn run(mut self) -> Result<Sums, Broken> {
        for _ in 0..CHAOS_TICKS {
            self.tick(false)?;
        }
        let mut ticks = 0;
        while !self.quiet() {
            self.tick(true)?;
            ticks += 1;
            if ticks > CALM_TICKS {
                return Err(Broken::Stalled(self.edge.sender.as_ref().map_or(0, |s| s.held())));
            }
        }
        self.sums.calm_ticks = ticks;
        self.sums.accepted = self.edge.accepted.len() as u64;
        self.sums.sends = self.edge.sends;
        self.sums.forgotten = self.edge.forgotten;
        self.sums.declared = self.store.lost() as u64;
        if let Some(&name) = self.store.missing().first() {
            return Err(Broken::Missing(name));
        }
        let altered = |(name, row): (&_, &_)| self.edge.accepted.get(name) != Some(row);
        if let Some((name, _)) = self.store.rows.iter().find(|r| altered(*r)) {
            return Err(Broken::Altered(*name));
        }
        if self.mix == Mix::Calm && self.sums.sends as f64 > 1.05 * self.sums.accepted as f64 {
            return Err(Broken::Storm(self.sums.sends, self.sums.accepted));
        }
        Ok(self.sums)
    }
}
