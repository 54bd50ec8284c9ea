//! The MQTT connection to the edges. Only this folder and `mqtt/` use `rumqttc`.
//!
//! [`Mqtt`] sends acks and retained messages. [`Queues`] give deliveries, each with a [`Token`] that acknowledges just that
//! one. A task of its own polls the connection and connects again for ever, with back-off. Nothing is acknowledged by itself,
//! and a token of an old connection acknowledges nothing on a new one.

mod probe;

pub use probe::{ProbeError, probe_broker, wait_for_absence};

use crate::failure::Failure;
use crate::mqtt::{options, status_topic};
use crate::relay::acks::Acks;
use crate::relay::stats::Stats;
use crate::settings::Url;
use firmware::limits::PACKET_BYTES_MAX;
use host::broker::Peer;
use rand::RngExt;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, LastWill, Outgoing, Packet, PubAck, Publish, QoS, SubscribeFilter,
};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Deliveries that wait for the relay. Past it the socket is left alone: the broker keeps them, unacknowledged.
pub const INBOUND_MAX: usize = 1_024;
/// Pictures without custody that wait for the relay. Past it the newest is dropped, and counted.
pub const PICTURES_MAX: usize = 8;
/// Acks and messages that wait for the socket.
pub const OUTBOUND_MAX: usize = 1_024;
/// Messages of ours that the broker has not acknowledged. Past it the client sends nothing at all, MQTT acks neither.
const INFLIGHT_MAX: u16 = 1_000;
/// So custody acks leave room: a broker that empties a long queue answers behind it.
const CUSTODY_INFLIGHT_MAX: usize = INFLIGHT_MAX as usize / 2;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(15);
/// Different reasons that are logged between two connections; each once.
const LOGGED_MAX: usize = 8;
/// How long the socket may take for acks.
const WRITE: Duration = Duration::from_secs(5);
/// How long a clean stop may take.
const STOP: Duration = Duration::from_secs(2);
/// What the bridge subscribes to, below `hueflow/<site>/+/`.
const KINDS: [&str; 6] = ["metrics", "census", "video", "window", "status", "event"];

/// Acknowledges one delivery, on the connection it came by. Small, for a broker may have 65,535 out at once.
#[derive(Debug, Clone, Copy)]
pub struct Token {
    epoch: u64,
    packet: Option<NonZeroU16>,
}

/// A message of an edge.
#[derive(Debug)]
pub struct Delivery {
    /// The MQTT topic.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// The broker kept it from before the subscription, and sends it again with each new one.
    pub is_retained: bool,
    /// Acknowledges it.
    pub token: Token,
}

/// What the poller sends to the relay.
#[derive(Debug)]
pub enum Inbound {
    /// A connection is there, subscribed anew: what was published before may be lost.
    Connected,
    /// A message.
    Delivery(Delivery),
}

/// Why a message could not be handed to the socket; it can be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection's queue is full")]
pub struct Full;

/// The relay's side of the wire: a seam, so that tests need no broker.
pub trait Wire: Send + Sync {
    /// Acknowledges a delivery.
    ///
    /// # Errors
    /// [`Full`].
    fn ack(&self, token: &Token) -> Result<(), Full>;

    /// Publishes the retained ack of a device.
    ///
    /// # Errors
    /// [`Full`].
    fn publish_ack(&self, device: &str, bytes: &[u8]) -> Result<(), Full>;

    /// Publishes whether the journal can be reached.
    fn journal(&self, reachable: bool);
}

impl Token {
    /// A token that acknowledges nothing (QoS 0, and tests).
    pub fn none() -> Token {
        Token { epoch: 0, packet: None }
    }
}

/// What comes in.
pub struct Queues {
    /// Connections and messages that are acknowledged.
    pub inbound: mpsc::Receiver<Inbound>,
    /// Messages at QoS 0.
    pub pictures: mpsc::Receiver<Delivery>,
    /// Messages at QoS 0 that found the queue full.
    pub skipped: Arc<AtomicU64>,
}

/// A handle on the connection.
pub struct Mqtt {
    client: AsyncClient,
    site: String,
    epoch: Arc<AtomicU64>,
    acks: Arc<Acks>,
    unanswered: Arc<AtomicUsize>,
    journal: watch::Sender<bool>,
    stopping: Arc<AtomicBool>,
    poller: tokio::task::JoinHandle<()>,
}

impl Mqtt {
    /// Connects in the background: client id `hueflow-bridge-<site>`, persistent session, manual acks. With `standby` it
    /// stands by again whenever it has lost the connection and another bridge has taken over meanwhile: two that took
    /// the name from each other in turn would relay little.
    ///
    /// # Errors
    /// [`Failure::Config`] if a certificate cannot be read. A broker that cannot be reached is no failure.
    pub fn start(url: &Url, site: &str, standby: bool, stats: &Arc<Stats>) -> Result<(Mqtt, Queues), Failure> {
        let mut options = options(url, client_id(site)).map_err(Failure::Config)?;
        options
            .set_clean_session(false)
            .set_manual_acks(true)
            .set_inflight(INFLIGHT_MAX)
            .set_keep_alive(KEEP_ALIVE)
            .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX)
            .set_last_will(LastWill::new(status_topic(site), r#"{"state":"offline"}"#, QoS::AtLeastOnce, true));
        let (client, mut events) = AsyncClient::new(options, OUTBOUND_MAX);
        events.network_options.set_tcp_nodelay(true);
        let (tx, inbound) = mpsc::channel(INBOUND_MAX);
        let (pictures_tx, pictures) = mpsc::channel(PICTURES_MAX);
        let skipped = Arc::new(AtomicU64::new(0));
        let (epoch, stopping) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (acks, unanswered) = (Arc::new(Acks::default()), Arc::new(AtomicUsize::new(0)));
        let (journal, reachable) = watch::channel(false);
        let (up, connected) = watch::channel(0u64);
        let own = format!("{:016x}", rand::random::<u64>());
        let poller = Poller {
            site: site.to_owned(),
            own: standby.then(|| own.clone()),
            client: client.clone(),
            epoch: epoch.clone(),
            acks: acks.clone(),
            unanswered: unanswered.clone(),
            stopping: stopping.clone(),
            tx,
            pictures: pictures_tx,
            skipped: skipped.clone(),
            up,
            stats: stats.clone(),
        };
        let poller = tokio::spawn(poller.run(events, url.clone()));
        tokio::spawn(announce(client.clone(), site.to_owned(), own, reachable, connected));
        let mqtt = Mqtt { client, site: site.to_owned(), epoch, acks, unanswered, journal, stopping, poller };
        Ok((mqtt, Queues { inbound, pictures, skipped }))
    }

    /// Publishes `offline` and closes the connection.
    pub async fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        let leave = async {
            let offline = r#"{"state":"offline"}"#;
            let _ = self.client.publish(status_topic(&self.site), QoS::AtLeastOnce, true, offline).await;
            let _ = self.client.disconnect().await;
            let _ = self.poller.await;
        };
        let _ = tokio::time::timeout(STOP, leave).await;
    }
}

impl Wire for Mqtt {
    fn ack(&self, token: &Token) -> Result<(), Full> {
        let Some(packet) = token.packet else { return Ok(()) };
        let current = || token.epoch == self.epoch.load(Ordering::Acquire);
        self.acks.push(packet, current, || {
            // The client looks at these two fields only.
            let mut publish = Publish::new("", QoS::AtLeastOnce, "");
            publish.pkid = packet.get();
            self.client.try_ack(&publish).map_err(|_| Full)
        })
    }

    fn publish_ack(&self, device: &str, bytes: &[u8]) -> Result<(), Full> {
        if self.unanswered.load(Ordering::Relaxed) >= CUSTODY_INFLIGHT_MAX {
            return Err(Full);
        }
        let topic = format!("hueflow/{}/{device}/ack", self.site);
        self.client.try_publish(topic, QoS::AtLeastOnce, true, bytes).map_err(|_| Full)?;
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn journal(&self, reachable: bool) {
        self.journal.send_if_modified(|j| std::mem::replace(j, reachable) != reachable);
    }
}

/// Keeps the retained status true: again at each connection, and when the journal comes or goes.
async fn announce(
    client: AsyncClient,
    site: String,
    own: String,
    mut journal: watch::Receiver<bool>,
    mut up: watch::Receiver<u64>,
) {
    loop {
        if *up.borrow_and_update() > 0 {
            let reachable = *journal.borrow_and_update();
            let version = env!("CARGO_PKG_VERSION");
            let status = serde_json::json!({"state": "online", "journal": reachable, "version": version, "id": own});
            let status = status.to_string();
            if client.publish(status_topic(&site), QoS::AtLeastOnce, true, status).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = journal.changed() => if changed.is_err() { return },
            changed = up.changed() => if changed.is_err() { return },
        }
    }
}

struct Poller {
    site: String,
    /// Its id in the status, if it stands by for others.
    own: Option<String>,
    client: AsyncClient,
    epoch: Arc<AtomicU64>,
    acks: Arc<Acks>,
    unanswered: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    tx: mpsc::Sender<Inbound>,
    pictures: mpsc::Sender<Delivery>,
    skipped: Arc<AtomicU64>,
    up: watch::Sender<u64>,
    stats: Arc<Stats>,
}

impl Poller {
    async fn run(self, mut events: EventLoop, url: Url) {
        let (mut backoff, mut connected) = (BACKOFF_MIN, false);
        // Each reason is logged once between two connections.
        let mut logged: Vec<String> = Vec::new();
        loop {
            let mut event = events.poll().await;
            // Those still in the client's queue are left out: they are in what is kept free.
            let unanswered = usize::from(events.state.inflight()) + events.pending.len();
            self.unanswered.store(unanswered, Ordering::Relaxed);
            if let Ok(Event::Outgoing(Outgoing::PubAck(packet))) = event
                && let Err(e) = write(&mut events, self.acks.behind(packet)).await
            {
                event = Err(e);
            }
            match event {
                Ok(Event::Incoming(Packet::ConnAck(ack))) => {
                    log::info!(
                        "MQTT: connected to {url}{}",
                        if ack.session_present { ", session resumed" } else { "" }
                    );
                    (backoff, connected) = (BACKOFF_MIN, true);
                    logged.clear();
                    self.stats.connected();
                    self.epoch.fetch_add(1, Ordering::AcqRel);
                    if self.connected().await.is_err() {
                        return;
                    }
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    let acked = publish.qos != QoS::AtMostOnce;
                    let packet = NonZeroU16::new(publish.pkid).filter(|_| acked);
                    let token = Token { epoch: self.epoch.load(Ordering::Acquire), packet };
                    let (topic, payload, is_retained) = (publish.topic, publish.payload.to_vec(), publish.retain);
                    let delivery = Delivery { topic, payload, is_retained, token };
                    if !acked {
                        if self.pictures.try_send(delivery).is_err() {
                            self.skipped.fetch_add(1, Ordering::Relaxed);
                            self.stats.pictures_skipped.add(1);
                        }
                    } else if self.tx.send(Inbound::Delivery(delivery)).await.is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(_) if self.stopping.load(Ordering::Relaxed) => return,
                Err(e) => {
                    // From here on no token of the old connection may acknowledge.
                    self.epoch.fetch_add(1, Ordering::AcqRel);
                    self.acks.forget();
                    let fault = fault(&e, &url, &self.site, std::mem::take(&mut connected));
                    self.stats.disconnected(&format!("{url}: {fault}"));
                    if logged.len() < LOGGED_MAX && !logged.contains(&fault) {
                        log::warn!("MQTT: {url}: {fault}; trying again");
                        logged.push(fault);
                    }
                    let jitter = rand::rng().random_range(0.5..1.5);
                    tokio::time::sleep(backoff.mul_f64(jitter)).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                    if self.own.is_some() && !self.stopping.load(Ordering::Relaxed) {
                        // The certificates were read before, so there is no error; and if there is one now, try again.
                        let _ = wait_for_absence(&url, &self.site, self.own.as_deref()).await;
                    }
                }
            }
        }
    }

    /// Subscribes on every connection: a broker that forgot the session has forgotten the subscriptions too.
    async fn connected(&self) -> Result<(), ()> {
        let site = &self.site;
        let filters = KINDS.map(|kind| SubscribeFilter::new(format!("hueflow/{site}/+/{kind}"), QoS::AtLeastOnce));
        // The queue was emptied by the reconnect, so there is room; if not, the next connection tries again.
        if let Err(e) = self.client.try_subscribe_many(filters) {
            log::warn!("MQTT: could not subscribe: {e}");
        }
        self.up.send_modify(|n| *n += 1);
        self.tx.send(Inbound::Connected).await.map_err(|_| ())
    }
}

/// Writes acks all at once: the client itself would make a system call of each, and read ten packets between two.
async fn write(events: &mut EventLoop, acks: Vec<NonZeroU16>) -> Result<(), ConnectionError> {
    let Some(network) = events.network.as_mut().filter(|_| !acks.is_empty()) else { return Ok(()) };
    let all = async {
        for packet in acks {
            network.write(Packet::PubAck(PubAck::new(packet.get()))).await?;
        }
        network.flush().await
    };
    let error = match tokio::time::timeout(WRITE, all).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(e)) => ConnectionError::MqttState(e),
        Err(_) => ConnectionError::FlushTimeout,
    };
    events.clean();
    Err(error)
}

/// What is wrong, and what to do if only a person can mend it. `connected`: it was well until now.
fn fault(error: &ConnectionError, url: &Url, site: &str, connected: bool) -> String {
    let client_id = client_id(site);
    let peer = Peer {
        host: &url.host,
        has_tls: url.tls.is_some(),
        client_id: &client_id,
        id_setting: "the site of one of them (--site), or start both with --standby",
    };
    host::broker::fault(error, &peer, connected)
}

fn client_id(site: &str) -> String {
    format!("hueflow-bridge-{site}")
}
