//! The sender: keeps records until the journal has them.
//!
//! Parcels from See become records in the spool, and from there go to the outbox; acks from the broker settle them. The
//! rules are `firmware::custody`'s. Only accepted records (appended and synced) are sent, and none of these is lost. The
//! sender may wait for the disk: the MQTT connection is served by another thread (see `crate::custody`).

mod events;
mod homeassistant;
mod keep;
mod publish;
mod state;
mod status;

use crate::clock::Clock;
use crate::command::{Command, Outcomes, Refusal};
use crate::config::{Config, Mqtt};
use crate::counters::Counters;
use crate::exit::Failure;
use crate::health::{Child, Health};
use crate::outbox::{Event, Identity, Outbox, Unsent};
use crate::parcel::{Parcel, Parts};
use crate::spec::RunOptions;
use crate::spool::state::StreamState;
use crate::spool::{Cadence, ReadError, Spool, Stamp, State};
use firmware::custody::{Ack, Envelope, JournalId, Kind, Sender, SenderConfig};
use firmware::wire::LossReason;
use keep::DiskFault;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Bytes that may be sent and not yet acknowledged by the journal.
const WINDOW_BYTES: usize = 2 << 20;
/// The stop flag is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// After a stop, goodbye may take this long.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// How long a stop may wait for the journal's last acks.
const STOP_DRAIN_MAX: Duration = Duration::from_secs(3);
/// Last words that were refused are tried again after this.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// Different reasons that are logged between two connections; each once.
const REASONS_LOGGED_MAX: usize = 8;
/// Whatever is overdue, nothing is tried again sooner than this, unless there is progress.
const BUSY_PAUSE_MIN: Duration = Duration::from_millis(1);

/// The status is published this often if nothing but its figures changes: temperature, backlog, frames.
const STATUS_EVERY: Duration = Duration::from_secs(60);
/// After this long with a connection and without a bridge's status, the edge reports that no bridge answers. The status is
/// retained, so it comes at once where there is a bridge.
const BRIDGE_SILENCE: Duration = Duration::from_secs(10);
/// One turn takes less than this, or the disk hangs: a worn SD card takes up to half a minute to sync.
const TURN_LIMIT: Duration = Duration::from_secs(180);

/// The sender's ends of what lies between the threads.
pub struct SenderChannels {
    /// Full parcels.
    pub parcels: mpsc::Receiver<Box<Parcel>>,
    /// Empty ones, back to See.
    pub empties: std_mpsc::SyncSender<Box<Parcel>>,
    /// Commands to See.
    pub commands: std_mpsc::SyncSender<Command>,
    /// What became of commands.
    pub outcomes: Arc<Outcomes>,
    /// Whether this machine's clock is synchronised.
    pub clock: Arc<Clock>,
    /// Set when the stream is to end.
    pub stop: Arc<AtomicBool>,
    /// Set when See has failed: the end is then a short one.
    pub failed: Arc<AtomicBool>,
    /// Set when no more parcels come, though See may hang with its end of the channel.
    pub closed: Arc<AtomicBool>,
    /// Counters for the status line and the summary.
    pub counters: Arc<Counters>,
    /// The state of every child, for the `status` message.
    pub health: Arc<Health>,
    /// Custody's own.
    pub child: Arc<Child>,
}

/// The thread's state.
pub struct Send {
    channels: SenderChannels,
    options: RunOptions,
    sender: Box<Sender>,
    spool: Spool,
    outbox: Option<Outbox>,
    is_former: bool,
    started: Instant,
    cadence: Cadence,
    live_max: u64,
    /// Older streams that did not fit into the sender's table: they wait for the next start.
    unrestored: Vec<u64>,
    config: status::Origins,
    names: status::Names,
    is_hello_due: bool,
    /// Why there was no connection since the last one: each reason is logged once.
    logged_reasons: Vec<String>,
    /// Kinds of messages that were logged as too large for the broker.
    logged_too_large: Vec<String>,
    stopped_at: Option<Instant>,
    full_is_logged: bool,
    /// What had changed when the last status was published.
    status_published: (u64, u64, bool, bool),
    /// When the status is published again, for its figures.
    status_due: Instant,
    /// When the connection was made, until a status of a bridge arrives.
    bridge_awaited: Option<Instant>,
    /// Seqs of reports that are appended and not synced: at most as many as are synced together.
    unsynced_frames: Vec<u64>,
    /// What the camera sees now.
    state: state::State,
    /// Whom Home Assistant's discovery is about; none without a broker.
    subject: Option<homeassistant::Subject>,
    /// Changes of events that are not durable yet.
    events: events::Waiting,
    /// Damaged records that are declared lost, and that the sender has no place for yet.
    given_up: BTreeSet<(u64, u64)>,
    disk_fault: DiskFault,
    unreadable: DiskFault,
    /// When the last parcel was captured.
    stamp: Stamp,
    /// The journal has changed, and that is not on the disk yet.
    unsaved: bool,
    /// Bytes that are free in a spool that is not nearly full.
    roomy: u64,
    parts: Parts,
    scratch: Vec<u8>,
    record: Vec<u8>,
}

impl Send {
    /// Makes ready: restores from the spool what earlier runs left.
    pub fn new(config: &Config, options: RunOptions, spool: Spool, channels: SenderChannels) -> Send {
        let window = SenderConfig { window_records: config.window_records, window_bytes: WINDOW_BYTES };
        let mut sender = Box::new(Sender::new(spool.boot(), window));
        let journal = spool.state().journal.as_deref().and_then(|j| JournalId::try_from(j).ok());
        sender.set_journal(journal);
        let mut unrestored = Vec::new();
        for o in spool.older() {
            if sender.restore(o.stream, o.since, o.floor, o.next).is_err() {
                unrestored.push(o.stream);
            }
        }
        if !spool.older().is_empty() {
            let (n, held) = (spool.older().len(), sender.held());
            log::info!("the spool holds {held} records of {n} earlier runs");
        }
        if !unrestored.is_empty() {
            log::warn!("{} of the earlier runs have to wait until the others are through", unrestored.len());
        }
        Send {
            channels,
            options,
            sender,
            spool,
            outbox: None,
            is_former: false,
            started: Instant::now(),
            cadence: Cadence::new(config.sync_records, Duration::from_millis(config.sync_ms)),
            live_max: config.window_records as u64,
            unrestored,
            config: config.origins.clone(),
            names: status::Names::of(config),
            is_hello_due: false,
            logged_reasons: Vec::new(),
            logged_too_large: Vec::new(),
            stopped_at: None,
            full_is_logged: false,
            status_published: (0, 0, false, false),
            status_due: Instant::now(),
            bridge_awaited: None,
            unsynced_frames: Vec::with_capacity(config.sync_records as usize + 1),
            state: state::State::default(),
            subject: config.mqtt.as_ref().map(|mqtt| homeassistant::Subject {
                site: mqtt.site.clone(),
                device: mqtt.device.clone(),
                is_wanted: config.homeassistant_discovery,
                is_due: false,
            }),
            events: events::Waiting::default(),
            given_up: BTreeSet::new(),
            disk_fault: DiskFault::default(),
            unreadable: DiskFault::default(),
            stamp: Stamp::default(),
            unsaved: false,
            roomy: config.spool_bytes_max / 4,
            parts: Parts::default(),
            scratch: Vec::new(),
            record: Vec::new(),
        }
    }

    /// Sends only what the spool holds of a name that this device does not have any more: no status is published.
    pub fn as_former(mut self) -> Send {
        self.is_former = true;
        self.subject = None;
        self
    }

    /// Runs until See has ended and all is settled, or it is stopped.
    ///
    /// # Errors
    /// [`Failure`] if the broker's password cannot be read.
    pub async fn run(mut self, mqtt: Option<&Mqtt>) -> Result<(), Failure> {
        if let Some(mqtt) = mqtt {
            let boot = self.spool.boot();
            let identity = if self.is_former {
                Identity::Former { boot }
            } else {
                Identity::Device { will: status::json("offline", boot, None, None) }
            };
            self.outbox = Some(Outbox::open(mqtt, &identity)?);
        }
        let mut open = true;
        let mut said_waiting = false;
        while open || self.has_to_drain() {
            self.channels.child.heartbeat(Some(TURN_LIMIT));
            open &= !(self.channels.closed.load(Ordering::Relaxed) && self.channels.parcels.is_empty());
            self.keep_events();
            self.pump();
            self.look_for_bridge();
            if !open
                && self.stopped_at.is_none()
                && !std::mem::replace(&mut said_waiting, true)
                && self.sender.held() > 0
            {
                let held = self.sender.held();
                log::info!("waiting until the journal has the last {held} records (Ctrl-C leaves them in the spool)");
            }
            let wake = self.wake_at();
            tokio::select! {
                parcel = self.channels.parcels.recv(), if open => match parcel {
                    Some(parcel) => self.take(parcel),
                    None => open = false,
                },
                event = next_event(&mut self.outbox) => self.on_event(event),
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            if !open || self.cadence.is_due(Instant::now(), self.spool.unsynced()) {
                self.sync();
            }
            self.count();
        }
        self.sync();
        self.farewell().await;
        self.save_state();
        self.count();
        Ok(())
    }

    /// Whether the end has to wait for the journal: without end if the frames were counted, for a moment if it was
    /// stopped while the broker is there, so that a stop in the middle of a stream leaves nothing behind.
    fn has_to_drain(&mut self) -> bool {
        let stopped = self.channels.stop.load(Ordering::Relaxed) || self.channels.failed.load(Ordering::Relaxed);
        let in_time = !stopped || {
            let since = *self.stopped_at.get_or_insert_with(Instant::now);
            since.elapsed() < STOP_DRAIN_MAX && self.outbox.as_ref().is_some_and(Outbox::is_connected)
        };
        // An empty spool has nothing to send, and no window to be acknowledged.
        let is_empty = self.options.drain_only && self.spool.older().is_empty();
        self.outbox.is_some() && self.options.drain && in_time && !is_empty && !self.sender.settled()
    }

    fn now_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let custody = self.sender.deadline_us().map(|us| self.started + Duration::from_micros(us));
        let custody = custody.filter(|_| self.outbox.as_ref().is_some_and(Outbox::is_connected));
        let wake = [self.cadence.due(), custody].into_iter().flatten().fold(now + LOOK_EVERY, Instant::min);
        // What is due already was tried a moment ago, and refused: the socket needs a moment.
        wake.max(now + BUSY_PAUSE_MIN)
    }

    /// Sends all that may be sent now.
    fn pump(&mut self) {
        let Some(outbox) = &mut self.outbox else { return };
        outbox.settle(self.sender.held(), self.live_max);
        if !outbox.is_connected() {
            return;
        }
        if self.is_hello_due {
            self.is_hello_due = false;
            self.publish_status("online");
            self.subject.iter_mut().for_each(|subject| subject.is_due = true);
        } else if self.status_published != self.changes() || Instant::now() >= self.status_due {
            self.publish_status("online");
        }
        self.publish_window();
        self.announce();
        self.publish_state();
        if self.unreadable.waits() {
            return;
        }
        while let Some(t) = self.sender.poll(self.now_us()) {
            match self.spool.read(t.stream, t.seq, &mut self.record) {
                Ok(()) => self.unreadable.end("gives records"),
                Err(ReadError::Damaged { stream, seq }) => {
                    if self.give_up(stream, seq, LossReason::Corrupt) {
                        continue;
                    }
                    break;
                }
                Err(ReadError::Disk(e)) => {
                    self.unreadable.meet(&e, "what is in it stays there");
                    break;
                }
            }
            let kind = Envelope::peek(&self.record).ok().and_then(|(e, _)| e.kind());
            let topic = match kind.map(Kind::mqtt_kind) {
                Some("census") => 1,
                Some("video") => 2,
                Some("event") => 3,
                _ => 0,
            };
            let bytes = self.record.len();
            let Some(outbox) = &self.outbox else { break };
            match outbox.record(kind, self.record.clone()) {
                Ok(()) => self.sender.sent(t, topic, bytes, self.now_us()),
                Err(Unsent::Busy) => break,
                Err(Unsent::TooLarge { bytes }) => {
                    self.log_too_large(kind.map_or("record", Kind::mqtt_kind), bytes, "declared lost");
                    if !self.give_up(t.stream, t.seq, LossReason::TooLarge) {
                        break;
                    }
                }
            }
        }
    }

    /// What the broker brings.
    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected => {
                log::info!("connected to the broker, {} records held", self.sender.held());
                self.is_hello_due = true;
                self.bridge_awaited = Some(Instant::now());
                self.logged_reasons.clear();
                self.sender.connected(self.now_us());
            }
            Event::Lost(why) => {
                self.bridge_awaited = None;
                if self.logged_reasons.len() < REASONS_LOGGED_MAX && !self.logged_reasons.contains(&why) {
                    log::warn!("no connection to the broker at {why}; going on, records wait in the spool");
                    self.logged_reasons.push(why);
                }
            }
            Event::Ack(ack) => self.on_ack(&ack),
            Event::Bridge { reachable } => {
                self.bridge_awaited = None;
                self.sender.bridge_status(reachable, self.now_us());
            }
            Event::Command(bytes) => self.on_command(&bytes),
            Event::Nonsense(what) => log::warn!("{what}"),
            Event::PacketLimit(limit) => self.on_packet_limit(limit),
            Event::Progress | Event::Closed => {}
        }
    }

    /// Logs once a connection if no bridge answers: the site's name is wrong here or there, or no bridge runs.
    fn look_for_bridge(&mut self) {
        let is_missing = self.bridge_awaited.is_some_and(|since| since.elapsed() > BRIDGE_SILENCE);
        if !self.channels.counters.is_bridge_missing.swap(is_missing, Ordering::Relaxed) && is_missing {
            let site = self.config.get("mqtt.site").and_then(|(v, _)| v.as_str()).unwrap_or_default();
            log::warn!(
                "connected to the broker, but no bridge answers for site {site:?}; records wait in the spool. Compare \
                 --site here and on hueflow-bridge"
            );
        }
    }

    fn on_ack(&mut self, ack: &Ack) {
        let outcome = self.sender.on_ack(ack, self.now_us());
        if outcome.journal_changed {
            log::info!("the journal is {}", ack.journal);
            self.unsaved = true;
            self.publish_status("online");
        }
        // Also when nothing new is acknowledged: a window may have settled an older stream for good.
        let before = self.spool.bytes();
        let (sender, unrestored) = (&self.sender, &self.unrestored);
        let floor = |s| if unrestored.contains(&s) { Some(0) } else { sender.floor(s) };
        keep::later(self.spool.trim(floor, |s| floor(s).is_some()));
        // That it is full is logged again only after it was clearly not.
        if self.spool.bytes() < before && self.spool.has_room(self.roomy) {
            self.full_is_logged = false;
        }
        if self.unsaved {
            self.save_state();
        }
    }

    fn on_command(&mut self, bytes: &[u8]) {
        // Commands under a former name are not for this device.
        if self.is_former {
            return;
        }
        match Command::parse(bytes) {
            // See reports what becomes of it, and the next turn publishes that.
            Ok(command) => {
                if self.channels.commands.try_send(command).is_err() {
                    let why = "too many commands wait already, or no camera runs";
                    self.channels.outcomes.refused(Refusal::new("cmd", String::from_utf8_lossy(bytes), why));
                }
            }
            Err(refusal) => self.channels.outcomes.refused(refusal),
        }
    }

    /// Keeps journal and floors on the disk. A disk that is full gets another chance after the next ack: the records
    /// are safe, and without the state some of them are sent again.
    fn save_state(&mut self) {
        let streams = self.sender.streams();
        let streams = streams.map(|s| StreamState { stream: s.stream, since: s.since, floor: s.floor }).collect();
        let journal = self.sender.journal().map(|j| j.as_str().to_owned());
        match self.spool.save_state(State { journal, streams }) {
            Ok(()) => self.unsaved = false,
            Err(error) => log::error!("{error}"),
        }
    }

    fn count(&self) {
        let c = &self.channels.counters;
        c.held.store(self.sender.held() + self.spool.unsynced(), Ordering::Relaxed);
        let connected = self.outbox.as_ref().is_some_and(Outbox::is_connected);
        c.connected.store(connected, Ordering::Relaxed);
    }
}

async fn next_event(outbox: &mut Option<Outbox>) -> Event {
    match outbox {
        Some(outbox) => outbox.event().await,
        None => std::future::pending().await,
    }
}
