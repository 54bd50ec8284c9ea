//! The promises that must hold after every step of a simulation.
//!
//! [`Audit::check`] looks at disks and journals, not at what the sender believes, and returns the first broken promise. The
//! audit keeps its own notes of what it has seen.

use super::site::{Broker, Edge, Journal, Message, Name, Segment};
use firmware::custody::{Ack, JournalId};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

/// Maximum number of records in the broker: a window for each of a few boots, twice for repeats, and probes.
const QUEUE_MAX: usize = 150;
/// Maximum number of different windows in the broker: those published until the edge learns that no bridge takes them.
const WINDOWS_MAX: usize = 48;
/// Maximum number of probes in flight, beyond the window.
const PROBES_MAX: usize = 8;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// An accepted record is neither on the disk, nor in the journal that is answerable for it, nor declared lost.
    Nowhere(Name),
    /// The sender settled a record that is neither in a journal that is answerable for it nor declared lost.
    SettledTooEarly(Name),
    /// An ack names a record that the journal does not have.
    AckUntrue(Name),
    /// A record was sent that was not accepted.
    SentUnaccepted(Name),
    /// Two records have one name.
    NameTwice(Name),
    /// A record changed on its way.
    Altered(Name),
    /// The disk does not have a held record.
    Unreadable(Name),
    /// A segment was deleted before one in front of it.
    OutOfTurn(u64),
    /// A probe (first) was not the oldest held record (second).
    WrongProbe(Name, Name),
    /// A probe was sent although by the bridge's status it or its journal is away.
    ProbeUnasked(Name),
    /// A floor or `next` decreased, or the floor is beyond `next`.
    Backwards(u64),
    /// Disk, window or broker hold more than their maximum.
    TooMuch(&'static str, usize),
    /// At the end: a window names a record that the store does not have.
    Missing(Name),
    /// At the end: this many records are still held after the ticks without faults.
    Stalled(u64),
    /// At the end: a run without faults took more transmissions (first) than its records (second) need.
    Storm(u64, u64),
}

#[derive(Default)]
pub struct Audit {
    /// Accepted records that were not yet seen in the present journal.
    open: BTreeSet<Name>,
    /// State that the result of [`Audit::custody`] depends on, at the last check.
    stamp: Option<[u64; 11]>,
    journal: Option<JournalId>,
    read: usize,
    declared: HashSet<Name>,
    earlier: HashSet<Name>,
    starts: u64,
    floors: HashMap<u64, (u64, u64)>,
}

impl Audit {
    /// Checks all promises.
    pub fn check(&mut self, edge: &mut Edge, broker: &Broker, journals: &[Journal]) -> Result<(), Broken> {
        self.read_journal(edge, journals)?;
        self.custody(edge, journals)?;
        self.edge(edge)?;
        if broker.records_max > QUEUE_MAX.max(4 * edge.size.window) {
            return Err(Broken::TooMuch("broker", broker.records_max));
        }
        if broker.windows_max > WINDOWS_MAX {
            return Err(Broken::TooMuch("windows", broker.windows_max));
        }
        Ok(())
    }

    /// Checks an ack that is about to be published.
    pub fn ack(ack: &Ack, journals: &[Journal]) -> Result<(), Broken> {
        let Some(journal) = journals.iter().find(|j| j.id == ack.journal) else { return Ok(()) };
        for s in &ack.streams {
            for seq in s.ranges.iter().flat_map(|r| r.0..r.1) {
                if !journal.has((s.stream, seq)) {
                    return Err(Broken::AckUntrue((s.stream, seq)));
                }
            }
        }
        Ok(())
    }

    fn read_journal(&mut self, edge: &Edge, journals: &[Journal]) -> Result<(), Broken> {
        let Some(present) = journals.last() else { return Ok(()) };
        if self.journal.as_ref() != Some(&present.id) {
            (self.journal, self.read) = (Some(present.id.clone()), 0);
            self.open.extend(edge.accepted.keys());
            self.earlier.extend(edge.accepted.keys().filter(|n| journals.iter().rev().skip(1).any(|j| j.has(**n))));
        }
        for message in present.log.iter().skip(self.read) {
            self.read += 1;
            let Message::Record(r) = message else { continue };
            let Some(accepted) = edge.accepted.get(&r.name()) else { return Err(Broken::SentUnaccepted(r.name())) };
            if accepted != r {
                return Err(Broken::Altered(r.name()));
            }
            self.open.remove(&r.name());
            self.declared.extend(r.loss.into_iter().flat_map(|(s, from, to)| (from..to).map(move |q| (s, q))));
        }
        Ok(())
    }

    /// Checks that each accepted record is somewhere, and that the sender settled none too early.
    fn custody(&mut self, edge: &mut Edge, journals: &[Journal]) -> Result<(), Broken> {
        let Some(present) = journals.last() else { return Ok(()) };
        self.open.extend(edge.fresh.drain(..).filter(|n| !present.has(*n) && !self.earlier.contains(n)));
        let stamp = stamp(edge, journals);
        if self.stamp.replace(stamp) == Some(stamp) {
            return Ok(());
        }
        let losses: Vec<(u64, u64, u64)> = edge.losses.records().filter_map(|r| r.loss).collect();
        let mut done = Vec::new();
        for &name in &self.open {
            let declared = || {
                self.declared.contains(&name) || losses.iter().any(|l| l.0 == name.0 && (l.1..l.2).contains(&name.1))
            };
            let earlier = || self.earlier.contains(&name) && edge.earlier_answers_for(name, &present.id);
            let chain = if name.0 & 1 == 1 { &edge.losses } else { &edge.data };
            if chain.has(name) {
                let floor = edge.sender.as_ref().and_then(|s| s.floor(name.0));
                if floor.is_some_and(|f| name.1 < f) && !declared() && !earlier() {
                    return Err(Broken::SettledTooEarly(name));
                }
            } else if earlier() {
                // It is below `since`, or its stream has left the window. Neither changes any more.
                if edge.sender.as_ref().is_some_and(|s| s.journal() == Some(&present.id)) {
                    done.push(name);
                }
            } else if !declared() {
                return Err(Broken::Nowhere(name));
            }
        }
        done.iter().for_each(|n| _ = self.open.remove(n));
        Ok(())
    }

    fn edge(&mut self, edge: &mut Edge) -> Result<(), Broken> {
        if let Some(name) = edge.renamed {
            return Err(Broken::NameTwice(name));
        }
        if let Some(name) = edge.unreadable {
            return Err(Broken::Unreadable(name));
        }
        for chain in [&edge.data, &edge.losses] {
            let numbers = chain.segments.iter().map(|s| s.number);
            if let Some((_, gap)) = numbers.clone().zip(numbers.skip(1)).find(|(a, b)| a + 1 != *b) {
                return Err(Broken::OutOfTurn(gap));
            }
        }
        if edge.data.segments.len() > edge.size.segments {
            return Err(Broken::TooMuch("disk", edge.data.segments.len()));
        }
        if edge.losses.records().count() > edge.size.losses {
            return Err(Broken::TooMuch("losses", edge.losses.records().count()));
        }
        if let Some((probe, oldest)) = edge.probed.take() {
            if edge.bridge_status.is_some_and(|s| !s.online || !s.journal) {
                return Err(Broken::ProbeUnasked(probe));
            }
            if probe != oldest {
                return Err(Broken::WrongProbe(probe, oldest));
            }
        }
        let Some(sender) = &edge.sender else { return Ok(()) };
        if sender.in_flight() > edge.size.window + PROBES_MAX {
            return Err(Broken::TooMuch("window", sender.in_flight()));
        }
        if edge.starts != self.starts {
            self.starts = edge.starts;
            self.floors.clear();
        }
        for w in sender.streams() {
            let before = self.floors.insert(w.stream, (w.floor, w.next)).unwrap_or_default();
            if w.floor < before.0 || w.next < before.1 || w.floor > w.next || w.since > w.next {
                return Err(Broken::Backwards(w.stream));
            }
        }
        Ok(())
    }
}

/// Returns a value that changes whenever something is appended, deleted, journalled or settled, or a boot begins or ends.
fn stamp(edge: &Edge, journals: &[Journal]) -> [u64; 11] {
    let front = |c: &VecDeque<Segment>| c.front().map_or(0, |s| s.number + 1);
    let windows = edge.sender.as_ref().map(|s| s.streams().map(|w| w.floor + w.since).sum::<u64>() + s.held());
    let received = edge.sender.as_ref().and_then(|s| s.journal()) == journals.last().map(|j| &j.id);
    [
        front(&edge.data.segments),
        edge.data.segments.len() as u64,
        front(&edge.losses.segments),
        edge.losses.records().count() as u64,
        edge.accepted.len() as u64,
        edge.starts,
        windows.map_or(0, |w| w + 1),
        edge.sender.as_ref().map_or(0, |s| s.streams().count() as u64),
        u64::from(received),
        journals.len() as u64,
        journals.last().map_or(0, |j| j.log.len() as u64),
    ]
}
