//! The relay: appends each delivery to the journal, and acknowledges it to the broker and to the edge afterwards.
//!
//! Deliveries come in by the queues of [`Relay::run`]; MQTT acks leave in the order of receipt, custody acks when they are
//! due. In memory are a receiver for each device, at most [`INFLIGHT_MAX`] records of [`INFLIGHT_BYTES_MAX`] bytes that the
//! journal has not confirmed, one picture for each device and content type, and a few bytes for each unacknowledged
//! delivery (65,535 at most). Nothing is acknowledged that the journal has not confirmed. Pictures take turns, and never
//! a record's place.

use crate::clock;
use crate::failure::Failure;
use crate::journal::{Entry, Journal, JournalError, QUEUE_ENTRIES_MAX};
use crate::relay::mqtt::{Delivery, Inbound, Queues, Token, Wire};
use crate::relay::stats::Stats;
use crate::relay::verdict::{self, Effect, ValueFormat, Verdict};
use firmware::custody::{Receiver, WindowId};
use firmware::limits::CONTROL_BYTES_MAX;
use firmware::wire;
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Records that the journal has not confirmed yet. Past it nothing is read. MQTT acks that wait for the socket do not
/// count: the socket is written to only while it is read from, and a broker may send all it has at once, so a relay that
/// waits for these acks before it reads on waits for ever.
pub const INFLIGHT_MAX: usize = 2_048;
/// The bytes of their values and of their payloads, which are kept for a dead letter; the last one may go past it.
pub const INFLIGHT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Deliveries, or confirmations of the journal, that are taken in one turn, before the other queues have theirs.
const TURN_MAX: usize = 64;
/// Pictures on their way to the journal; the rest waits in its device's slot, or is replaced there by a newer one.
pub const PICTURES_INFLIGHT_MAX: usize = 8;
/// Devices that are answered. Records of further devices are journalled, but those devices get no acks and keep their records.
pub const DEVICES_MAX: usize = 4_096;
/// Topics with a retained message that is no record, of which each is named in the log. Past it they are only counted.
const RETAINED_NAMED_MAX: usize = 64;
/// Changes back and forth between two boots of a device that are worth a warning.
const ALTERNATIONS_WARN: u32 = 3;
/// How often due acks are looked for.
const TICK: Duration = Duration::from_millis(20);
/// How long a clean stop waits for the journal's confirmations.
const STOP: Duration = Duration::from_secs(2);

// Entries go into the journal's queue at once, in order.
const _: () = assert!(INFLIGHT_MAX + PICTURES_INFLIGHT_MAX <= QUEUE_ENTRIES_MAX);

/// What was relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Records journalled.
    pub records: u64,
    /// Dead letters journalled.
    pub dead: u64,
    /// Windows journalled.
    pub windows: u64,
    /// Pictures without custody journalled.
    pub pictures: u64,
    /// Pictures replaced by a newer one before there was room.
    pub pictures_skipped: u64,
    /// Acks published.
    pub acks: u64,
    /// Windows that named another journal.
    pub foreign: u64,
    /// Deliveries of devices past [`DEVICES_MAX`].
    pub unanswered: u64,
    /// Retained messages that cannot be read, which were left alone.
    pub retained_unreadable: u64,
}

struct Device {
    receiver: Receiver,
    window: Option<WindowId>,
    /// The boot before the present one, and how often the two have alternated.
    before: u64,
    alternations: u32,
    /// The ack must be published again: it may have been lost with a connection.
    stale: bool,
}

impl Device {
    /// Notes the newest window. Two boots that alternate are two edges under one name.
    fn notice(&mut self, id: WindowId, name: &str) {
        let last = self.window.replace(id).map_or(id.boot, |w| w.boot);
        if last != id.boot {
            self.alternations = if self.before == id.boot { self.alternations + 1 } else { 0 };
            self.before = last;
            if self.alternations == ALTERNATIONS_WARN {
                log::warn!("{name}: boots {last} and {} alternate: two edges have this name", id.boot);
            }
        }
    }
}

struct Appended {
    result: Result<(), JournalError>,
    /// What the journal has; none if it was not asked.
    entry: Option<Arc<Entry>>,
    /// What it counted for among those in flight.
    bytes: usize,
    effect: Effect,
    token: Token,
}

/// The relay of one site.
pub struct Relay {
    journal: Arc<dyn Journal>,
    wire: Arc<dyn Wire>,
    format: ValueFormat,
    devices: HashMap<String, Device>,
    inflight: FuturesOrdered<BoxFuture<'static, Appended>>,
    inflight_bytes: usize,
    unsent: VecDeque<Token>,
    /// The newest picture of each device and content type that is not on its way yet.
    slots: HashMap<(String, String), Entry>,
    /// The slots that are taken, in the order in which they were: each device has its turn.
    turns: VecDeque<(String, String)>,
    pictures: FuturesUnordered<BoxFuture<'static, Result<(), JournalError>>>,
    /// Topics whose retained message was named as unreadable, at most [`RETAINED_NAMED_MAX`].
    retained_named: BTreeSet<String>,
    counters: Counters,
    stats: Arc<Stats>,
}

impl Relay {
    /// A relay from `wire` into `journal`.
    pub fn new(journal: Arc<dyn Journal>, wire: Arc<dyn Wire>, format: ValueFormat) -> Relay {
        Relay {
            journal,
            wire,
            format,
            devices: HashMap::new(),
            inflight: FuturesOrdered::new(),
            inflight_bytes: 0,
            unsent: VecDeque::new(),
            slots: HashMap::new(),
            turns: VecDeque::new(),
            pictures: FuturesUnordered::new(),
            retained_named: BTreeSet::new(),
            counters: Counters::default(),
            stats: Arc::default(),
        }
    }

    /// The same, counting in `stats` as it goes.
    pub fn watched(mut self, stats: Arc<Stats>) -> Relay {
        self.stats = stats;
        self
    }

    /// Relays until `stop` is true, or the wire ends.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] if the journal's client has failed for good: nothing is lost, start again.
    pub async fn run(mut self, queues: &mut Queues, mut stop: watch::Receiver<bool>) -> Result<Counters, Failure> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let room = self.has_room();
            tokio::select! {
                biased;
                _ = stop.wait_for(|s| *s) => break,
                Some(done) = self.inflight.next(), if !self.inflight.is_empty() => self.settle_ready(done)?,
                Some(result) = self.pictures.next(), if !self.pictures.is_empty() => self.pictured(result)?,
                _ = tick.tick() => self.publish_due_acks(),
                inbound = queues.inbound.recv(), if room => match inbound {
                    Some(first) => self.receive(first, &mut queues.inbound),
                    None => break,
                },
                Some(d) = queues.pictures.recv(), if self.slots.len() < DEVICES_MAX => self.deliver(d),
            }
            self.flush();
            self.stats.waiting(self.inflight.len(), false);
            self.stats.devices.set(self.devices.len() as u64);
        }
        let finish = async {
            while let Some(done) = self.inflight.next().await {
                self.settle(done)?;
            }
            Ok(())
        };
        let finished = tokio::time::timeout(STOP, finish).await.unwrap_or(Ok(()));
        for device in self.devices.values_mut() {
            device.stale |= device.receiver.ack_due_us().is_some();
        }
        self.publish_due_acks();
        self.counters.pictures_skipped += queues.skipped.load(std::sync::atomic::Ordering::Relaxed);
        finished.map(|()| self.counters)
    }

    fn has_room(&self) -> bool {
        self.inflight.len() < INFLIGHT_MAX && self.inflight_bytes < INFLIGHT_BYTES_MAX
    }

    /// Takes what is there, `first` first: to wait anew for each would cost as much as a delivery itself.
    fn receive(&mut self, first: Inbound, inbound: &mut mpsc::Receiver<Inbound>) {
        self.take(first);
        for _ in 1..TURN_MAX {
            if !self.has_room() {
                return;
            }
            let Ok(next) = inbound.try_recv() else { return };
            self.take(next);
        }
    }

    fn take(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Delivery(d) => self.deliver(d),
            Inbound::Connected => self.connected(),
        }
    }

    /// Takes the journal's confirmations that are there, likewise.
    fn settle_ready(&mut self, first: Appended) -> Result<(), Failure> {
        self.settle(first)?;
        for _ in 1..TURN_MAX {
            match self.inflight.next().now_or_never().flatten() {
                Some(done) => self.settle(done)?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    fn connected(&mut self) {
        // Tokens of the old connection mean nothing any more; its deliveries come again.
        self.unsent.clear();
        for device in self.devices.values_mut() {
            device.stale = true;
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let Delivery { topic, payload, is_retained, token } = delivery;
        match verdict::judge(&topic, &payload, clock::now_us(), self.format) {
            Verdict::Ignore => self.pass(token),
            Verdict::Keep { entry, .. } if is_retained && entry.dead => self.leave_retained(topic, &entry, token),
            Verdict::Picture { entry } => {
                let kind = entry.header("content-type").unwrap_or_default().to_owned();
                let slot = (entry.key.clone(), kind);
                if self.slots.insert(slot.clone(), entry).is_some() {
                    self.counters.pictures_skipped += 1;
                    self.stats.pictures_skipped.add(1);
                } else {
                    self.turns.push_back(slot);
                }
                self.pass(token);
            }
            Verdict::Keep { entry, effect } => {
                if let Effect::Window(window) = &effect
                    && let Some(d) = device_of(&mut self.devices, &self.journal, &entry.key)
                {
                    if d.receiver.is_foreign(window) {
                        d.receiver.window_foreign(clock::steady_us());
                        self.counters.foreign += 1;
                        return self.pass(token);
                    }
                    // A retained window that comes again with a new connection is journalled already.
                    if d.window == Some(window.id) {
                        d.receiver.window_journalled(window, clock::steady_us());
                        return self.pass(token);
                    }
                }
                self.keep(entry, effect, token, (topic, payload));
            }
        }
    }

    /// Leaves a retained message alone that cannot be read. An edge retains windows and statuses only, never a record, and
    /// the broker sends a retained message again with each subscription: a dead letter each time would add no information.
    fn leave_retained(&mut self, topic: String, entry: &Entry, token: Token) {
        self.counters.retained_unreadable += 1;
        self.stats.retained_unreadable.add(1);
        if self.retained_named.len() < RETAINED_NAMED_MAX && !self.retained_named.contains(&topic) {
            let (reason, named) = (entry.header("reason").unwrap_or("unknown"), topic.escape_debug());
            log::warn!(
                "MQTT: the retained message on {named} cannot be read ({reason}) and is left alone; remove it with: \
                 mosquitto_pub -r -n -t {named}"
            );
            self.retained_named.insert(topic);
        }
        self.pass(token);
    }

    /// Acknowledges without a journal, but in its turn: MQTT wants acks in the order of receipt, and some brokers insist.
    fn pass(&mut self, token: Token) {
        let done = Appended { result: Ok(()), entry: None, bytes: 0, effect: Effect::Nothing, token };
        self.inflight.push_back(Box::pin(std::future::ready(done)));
    }

    /// Appends an entry to the journal, now. A refused one becomes a dead letter with the bytes of its `delivery`, topic and
    /// payload; if the journal refuses that too, without them.
    fn keep(&mut self, entry: Entry, effect: Effect, token: Token, delivery: (String, Vec<u8>)) {
        let mut delivery = (!entry.dead).then_some(delivery);
        let bytes = entry.value.len() + delivery.as_ref().map_or(0, |(_, payload)| payload.len());
        let (mut entry, stats) = (Arc::new(entry), self.stats.clone());
        let (appended, journal) = (self.journal.append(entry.clone()), self.journal.clone());
        self.inflight_bytes += bytes;
        self.inflight.push_back(Box::pin(async move {
            let mut result = appended.await;
            while let Err(JournalError::Refused(why)) = &result {
                let is_empty = entry.dead && entry.value.is_empty();
                log::error!("{}: the journal refuses a record ({why}); it becomes a dead letter", entry.key);
                stats.journal_errors.add(1);
                entry = Arc::new(match delivery.take() {
                    Some((topic, payload)) => verdict::refused(&topic, &payload, clock::now_us()),
                    None if is_empty => break,
                    None => Entry { value: Vec::new(), ..Entry::clone(&entry) },
                });
                result = journal.append(entry.clone()).await;
            }
            Appended { result, entry: Some(entry), bytes, effect, token }
        }));
    }

    fn settle(&mut self, done: Appended) -> Result<(), Failure> {
        if let Err(e) = done.result {
            return Err(Failure::Unavailable(e.to_string()));
        }
        self.inflight_bytes = self.inflight_bytes.saturating_sub(done.bytes);
        let now_us = clock::steady_us();
        let entry = done.entry.as_deref();
        let device = match (&done.effect, entry) {
            (Effect::Nothing, _) | (_, None) => None,
            (_, Some(entry)) => device_of(&mut self.devices, &self.journal, &entry.key),
        };
        match (&done.effect, device) {
            (Effect::Record { stream, seq }, Some(d)) => {
                self.stats.duplicates.add(u64::from(d.receiver.has(*stream, *seq)));
                d.receiver.journalled(*stream, *seq, now_us);
            }
            (Effect::Window(window), Some(d)) => {
                d.receiver.window_journalled(window, now_us);
                d.notice(window.id, entry.map_or("", |e| &e.key));
            }
            (Effect::Nothing, _) => {}
            (_, None) => self.counters.unanswered += 1,
        }
        match (entry.filter(|e| e.dead), done.effect) {
            (Some(letter), _) => {
                self.counters.dead += 1;
                self.stats.dead_letter(letter.headers.last("reason").unwrap_or("unknown"));
            }
            (_, Effect::Record { .. }) => {
                self.counters.records += 1;
                self.stats.record();
            }
            (_, Effect::Window(_)) => {
                self.counters.windows += 1;
                self.stats.windows.add(1);
            }
            _ => {}
        }
        self.stats.bytes.add(entry.map_or(0, |e| e.value.len() as u64));
        self.stats.waiting(self.inflight.len(), true);
        self.unsent.push_back(done.token);
        Ok(())
    }

    fn pictured(&mut self, result: Result<(), JournalError>) -> Result<(), Failure> {
        match result {
            Ok(()) => {
                self.counters.pictures += 1;
                self.stats.pictures.add(1);
            }
            Err(JournalError::Fatal(e)) => return Err(Failure::Unavailable(e)),
            Err(_) => {
                self.counters.pictures_skipped += 1;
                self.stats.pictures_skipped.add(1);
            }
        }
        Ok(())
    }

    /// Sends what waits: MQTT acks in order, and pictures where there is room.
    fn flush(&mut self) {
        while let Some(token) = self.unsent.front() {
            if self.wire.ack(token).is_err() {
                break;
            }
            self.unsent.pop_front();
        }
        while self.pictures.len() < PICTURES_INFLIGHT_MAX && self.inflight.len() < INFLIGHT_MAX / 2 {
            let Some(slot) = self.turns.pop_front() else { break };
            let Some(entry) = self.slots.remove(&slot) else { continue };
            self.pictures.push(self.journal.append(Arc::new(entry)));
        }
    }

    /// Publishes the acks that are due.
    fn publish_due_acks(&mut self) {
        let now_us = clock::steady_us();
        let mut buf = vec![0; CONTROL_BYTES_MAX];
        for (name, device) in &mut self.devices {
            if !device.stale && device.receiver.ack_due_us().is_none_or(|due| due > now_us) {
                continue;
            }
            let ack = device.receiver.ack();
            let Ok(n) = wire::encode_ack(&ack, &mut buf) else { continue };
            device.stale = self.wire.publish_ack(name, buf.get(..n).unwrap_or(&[])).is_err();
            self.counters.acks += u64::from(!device.stale);
            self.stats.acks.add(u64::from(!device.stale));
        }
    }
}

/// The device's entry, made if there is room.
fn device_of<'a>(
    devices: &'a mut HashMap<String, Device>,
    journal: &Arc<dyn Journal>,
    name: &str,
) -> Option<&'a mut Device> {
    if !devices.contains_key(name) {
        if devices.len() >= DEVICES_MAX {
            return None;
        }
        let device =
            Device { receiver: Receiver::new(journal.id()), window: None, before: 0, alternations: 0, stale: false };
        devices.insert(name.to_owned(), device);
    }
    devices.get_mut(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use firmware::custody::JournalId;

    #[test]
    fn two_edges_of_one_name_are_noticed_and_a_restart_is_none() {
        let receiver = Receiver::new(JournalId::new());
        let mut d = Device { receiver, window: None, before: 0, alternations: 0, stale: false };
        let mut notice = |boot, n| {
            d.notice(WindowId { boot, n }, "pi");
            d.alternations
        };
        assert_eq!([notice(2, 1), notice(2, 2), notice(8, 1), notice(8, 2), notice(4, 1)], [0; 5]);
        assert_eq!([notice(6, 1), notice(4, 2), notice(6, 2), notice(4, 3)], [0, 1, 2, 3]);
    }
}
