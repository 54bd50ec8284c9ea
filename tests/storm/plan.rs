//! Which fault comes when, from a seed alone.
//!
//! The plan is an endless list of steps for the given number of edges and brokers. It does not depend on what the run has
//! shown: how long a step takes may differ, what is done may not.

use crate::cast::Middle;
use harness::dice::Dice;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// The edge of this number.
    Edge(usize),
    /// The MQTT broker.
    Mosquitto,
    /// The bridge, with the embedded broker if it has one.
    Bridge,
    /// The journal.
    Kafka,
    /// What fills the store.
    Metrics,
}

impl Victim {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Victim::Edge(_) => "edge",
            Victim::Mosquitto => "mosquitto",
            Victim::Bridge => "bridge",
            Victim::Kafka => "Kafka",
            Victim::Metrics => "metrics",
        }
    }
}

/// A wire with a proxy in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// Between the edges and the broker.
    Edges,
    /// Between the broker and the bridge.
    Bridge,
    /// Between Kafka and those who use it.
    Kafka,
}

/// What else goes wrong around a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// All connections of a wire end.
    Cut(Link),
    /// Nothing passes.
    Hold(Link),
    /// So many bytes a second pass.
    Slow(Link, u64),
    /// The spool's disk of the last edge is full.
    Fill,
}

/// One step: a fault begins, somebody is killed, and comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Who is killed.
    pub victim: Victim,
    /// What goes wrong besides.
    pub fault: Option<Fault>,
    /// Progress before the kill: records, or frames where records cannot pass.
    pub pause: u64,
    /// The victim is stopped first, until so many records are in flight.
    pub freeze: Option<u64>,
    /// Frames that pass while the victim is dead.
    pub dead: u64,
    /// The fault ends only after the victim has come back.
    pub late: bool,
}

/// The plan.
#[derive(Debug)]
pub struct Plan {
    dice: Dice,
    middle: Middle,
    edges: usize,
    victims: Vec<Victim>,
    faults: Vec<Option<Fault>>,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64, middle: Middle, edges: usize) -> Plan {
        Plan { dice: Dice::new(seed), middle, edges, victims: Vec::new(), faults: Vec::new() }
    }

    /// From a bag, so that everybody's turn comes.
    fn victim(&mut self) -> Victim {
        use Victim::{Bridge, Edge, Kafka, Metrics, Mosquitto};
        if self.victims.is_empty() {
            self.victims = match self.middle {
                Middle::Kafka => vec![Edge(0), Edge(0), Mosquitto, Bridge, Kafka, Metrics],
                Middle::Embedded => vec![Edge(0), Edge(0), Bridge, Bridge, Metrics],
            };
            self.dice.shuffle(&mut self.victims);
        }
        match self.victims.pop() {
            Some(Edge(_)) | None => Edge(self.dice.below(self.edges as u64) as usize),
            Some(other) => other,
        }
    }

    fn fault(&mut self) -> Option<Fault> {
        use Fault::{Cut, Fill, Hold, Slow};
        if self.faults.is_empty() {
            self.faults = vec![None, None, Some(Cut(Link::Edges)), Some(Hold(Link::Edges))];
            self.faults.extend([Some(Slow(Link::Edges, 30_000)), Some(Fill)]);
            if self.middle == Middle::Kafka {
                self.faults.extend([Link::Bridge, Link::Kafka].map(|l| Some(Cut(l))));
                self.faults.extend([Link::Bridge, Link::Kafka].map(|l| Some(Hold(l))));
                self.faults.extend([Some(Slow(Link::Bridge, 40_000)), Some(Slow(Link::Kafka, 60_000))]);
            }
            self.dice.shuffle(&mut self.faults);
        }
        self.faults.pop().flatten()
    }
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let (victim, fault) = (self.victim(), self.fault());
        // Nothing gathers at metrics behind a wire that passes nothing.
        let fault = match (victim, fault) {
            (Victim::Metrics, Some(Fault::Hold(link) | Fault::Slow(link, _))) => Some(Fault::Cut(link)),
            _ => fault,
        };
        let d = &mut self.dice;
        let (pause, want, coin) = (d.between(15, 90), d.between(5, 30), d.below(10));
        let freeze = match victim {
            Victim::Edge(_) => None,
            Victim::Metrics => Some(want),
            _ => (coin < 6).then_some(want),
        };
        Some(Step { victim, fault, pause, freeze, dead: d.between(0, 45), late: d.below(2) == 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_one_plan_and_every_program_is_killed() {
        let steps = |seed| Plan::new(seed, Middle::Kafka, 3).take(12).collect::<Vec<_>>();
        assert_eq!(steps(4), steps(4));
        assert_ne!(steps(4), steps(5));
        for word in ["edge", "mosquitto", "bridge", "Kafka", "metrics"] {
            assert!(steps(4).iter().filter(|s| s.victim.word() == word).count() >= 2, "{word}");
        }
        let faults: Vec<_> = steps(4).iter().filter_map(|s| s.fault).collect();
        assert_eq!(faults.len(), 10);
        assert!(faults.contains(&Fault::Fill) && faults.iter().any(|f| matches!(f, Fault::Hold(_))));
        let idle = |s: &Step| s.victim == Victim::Metrics && matches!(s.fault, Some(Fault::Hold(_) | Fault::Slow(..)));
        assert!(!Plan::new(1, Middle::Kafka, 3).take(200).any(|s| idle(&s)));
        assert!(Plan::new(1, Middle::Embedded, 2).take(60).all(|s| match s.victim {
            Victim::Edge(n) => n < 2,
            Victim::Mosquitto | Victim::Kafka => false,
            _ => true,
        }));
    }
}
