//! Outbox: the edge's MQTT connection. The door to `rumqttc`.
//!
//! It publishes records, windows, pictures and the status, and returns what happens on the connection and what is sent to
//! us. A task of its own polls the socket (`connection`), so nothing here keeps it from being read. Nothing is queued: what
//! does not fit into the few places towards the socket, or is larger than the broker takes, is refused and stays in the
//! spool. A PUBACK only moves the socket; only the journal's ack settles a record.

mod connection;
mod fault;
mod inbox;
mod look;
mod packets;

pub use look::{Kept, Unseen, look, packet_limit};
pub use packets::publish_bytes;

use crate::config::Mqtt;
use crate::exit::{Failure, Reason};
use connection::Connection;
use firmware::custody::{Ack, Kind};
use firmware::limits::PACKET_BYTES_MAX;
use rumqttc::{AsyncClient, LastWill, MqttOptions, QoS};
#[cfg(feature = "tls")]
use rumqttc::{TlsConfiguration, Transport};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Places towards the socket; when they are taken, publishing is refused and goes on after progress.
const REQUESTS_MAX: usize = 16;
/// Publishes without PUBACK; mosquitto takes 20 of one client by default.
const UNACKED_MAX: u16 = 20;
/// Events that wait for Send; when they are taken, the socket is read later.
const EVENTS_MAX: usize = 64;
/// A packet with a payload may need so many more bytes for its length than one without.
const LENGTH_BYTES_MORE: usize = 3;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// After goodbye the broker has this long to hang up.
const HANG_UP: Duration = Duration::from_secs(1);
/// A connection that lasted this long makes the next attempt an early one again.
const STEADY: Duration = Duration::from_secs(10);

/// How the edge stands with the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No connection: records wait in the spool.
    Offline,
    /// Connected, and older records are on their way beside the live ones.
    Draining,
    /// Connected, and only live records are under way.
    Live,
    /// Saying goodbye.
    Stopping,
}

impl State {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            State::Offline => "offline",
            State::Draining => "draining",
            State::Live => "live",
            State::Stopping => "stopping",
        }
    }
}

/// What happens on the connection.
#[derive(Debug)]
pub enum Event {
    /// It is established, and topics are subscribed to: the status is due.
    Connected,
    /// It is gone, or could not be made.
    Lost(String),
    /// The journal has something.
    Ack(Box<Ack>),
    /// The bridge's status: whether the journal can be reached.
    Bridge {
        /// It can.
        reachable: bool,
    },
    /// Someone wants something.
    Command(Vec<u8>),
    /// Something that is none of these came in.
    Nonsense(String),
    /// The broker takes packets of at most so many bytes; none: it takes all that we send.
    PacketLimit(Option<usize>),
    /// There may be room for more.
    Progress,
    /// The connection was closed as asked.
    Closed,
}

/// As whom a connection is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// As the device itself.
    Device {
        /// The status that the broker publishes when we go silently.
        will: String,
    },
    /// As one that sends what it holds of a former name. Another device may have that name by now: the client id is another
    /// one, and the status of that device is left alone.
    Former {
        /// The sender's boot.
        boot: u64,
    },
}

/// Why something was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsent {
    /// There is no connection, or no room towards the socket now: try again after [`Event::Progress`].
    Busy,
    /// The broker does not take packets of its size.
    TooLarge {
        /// The size of its packet.
        bytes: usize,
    },
}

/// What the connection's task and the publishing side share.
#[derive(Debug)]
struct Wire {
    /// Data may be published.
    is_up: AtomicBool,
    /// The largest packet that the broker takes.
    limit_bytes: AtomicUsize,
    /// The largest packet that was published since the connection is up.
    largest_bytes: AtomicUsize,
}

impl Default for Wire {
    fn default() -> Wire {
        let unlimited = AtomicUsize::new(usize::MAX);
        Wire { is_up: AtomicBool::new(false), limit_bytes: unlimited, largest_bytes: AtomicUsize::new(0) }
    }
}

#[derive(Debug)]
struct Topics {
    base: String,
    ack: String,
    cmd: String,
    bridge: String,
}

/// The connection.
#[derive(Debug)]
pub struct Outbox {
    client: AsyncClient,
    events: mpsc::Receiver<Event>,
    topics: Arc<Topics>,
    wire: Arc<Wire>,
    connected: bool,
    state: State,
}

impl Outbox {
    /// Starts connecting, and goes on for ever, as `identity`.
    ///
    /// # Errors
    /// [`Failure`] if the password or a certificate cannot be read. A broker that cannot be reached is no failure.
    pub fn open(mqtt: &Mqtt, identity: &Identity) -> Result<Outbox, Failure> {
        let base = format!("hueflow/{}/{}", mqtt.site, mqtt.device);
        let topics = Arc::new(Topics {
            ack: format!("{base}/ack"),
            cmd: format!("{base}/cmd"),
            bridge: format!("hueflow/{}/bridge/status", mqtt.site),
            base,
        });
        let id = match identity {
            Identity::Device { .. } => fault::client_id(mqtt),
            Identity::Former { boot } => format!("{}:{boot:016x}", fault::client_id(mqtt)),
        };
        let mut options = MqttOptions::new(id, &mqtt.host, mqtt.port);
        options.set_clean_session(matches!(identity, Identity::Former { .. }));
        options.set_keep_alive(KEEP_ALIVE);
        options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
        options.set_inflight(UNACKED_MAX);
        if let Identity::Device { will } = identity {
            options.set_last_will(LastWill::new(topics.of("status"), will.as_str(), QoS::AtLeastOnce, true));
        }
        if let Some(user) = &mqtt.user {
            options.set_credentials(user, password(mqtt)?);
        }
        secure(&mut options, mqtt)?;
        let (client, socket) = AsyncClient::new(options, REQUESTS_MAX);
        let (events_in, events) = mpsc::channel(EVENTS_MAX);
        let wire = Arc::<Wire>::default();
        let ends = (client.clone(), socket);
        let connection = Connection::new(ends, events_in, Arc::clone(&topics), mqtt.clone(), Arc::clone(&wire));
        tokio::spawn(connection.run());
        Ok(Outbox { client, events, topics, wire, connected: false, state: State::Offline })
    }

    /// How we stand.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the connection stands.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Derives the state from what is held, and logs each change.
    pub fn settle(&mut self, held: u64, live_max: u64) {
        let state = match self.state {
            State::Stopping => State::Stopping,
            _ if !self.connected => State::Offline,
            _ if held > live_max => State::Draining,
            // Draining ends when it is done, not when it is nearly done: no flapping.
            State::Draining if held > live_max / 4 => State::Draining,
            _ => State::Live,
        };
        if state != self.state {
            log::debug!("outbox: {} -> {}, {held} records held", self.state.word(), state.word());
            self.state = state;
        }
    }

    /// The next thing that happens. Waiting for it may be broken off.
    pub async fn event(&mut self) -> Event {
        let event = self.events.recv().await.unwrap_or(Event::Closed);
        match &event {
            Event::Connected => self.connected = true,
            Event::Lost(_) | Event::Closed => self.connected = false,
            _ => {}
        }
        event
    }

    /// Publishes a record under custody.
    ///
    /// # Errors
    /// [`Unsent`]: it is not on its way.
    pub fn record(&self, kind: Option<Kind>, record: Vec<u8>) -> Result<(), Unsent> {
        let word = kind.map_or("metrics", Kind::mqtt_kind);
        self.publish(word, QoS::AtLeastOnce, false, record)
    }

    /// Publishes a picture without custody.
    ///
    /// # Errors
    /// [`Unsent`]: it is gone.
    pub fn picture(&self, picture: Vec<u8>) -> Result<(), Unsent> {
        self.publish(Kind::Picture.mqtt_kind(), QoS::AtMostOnce, false, picture)
    }

    /// Publishes the window.
    ///
    /// # Errors
    /// [`Unsent`].
    pub fn window(&self, window: Vec<u8>) -> Result<(), Unsent> {
        self.publish("window", QoS::AtLeastOnce, true, window)
    }

    /// Publishes the status.
    ///
    /// # Errors
    /// [`Unsent`].
    pub fn status(&self, status: String) -> Result<(), Unsent> {
        self.publish("status", QoS::AtLeastOnce, true, status.into_bytes())
    }

    /// Publishes the state: the newest takes the place of the one before.
    ///
    /// # Errors
    /// [`Unsent`]: it is gone.
    pub fn state_message(&self, state: String) -> Result<(), Unsent> {
        self.publish("state", QoS::AtMostOnce, true, state.into_bytes())
    }

    /// Publishes a retained message on a topic of Home Assistant's discovery; an empty one takes it back.
    ///
    /// # Errors
    /// [`Unsent`].
    pub fn discovery(&self, topic: &str, payload: Vec<u8>) -> Result<(), Unsent> {
        self.publish_on(topic.to_owned(), QoS::AtLeastOnce, true, payload)
    }

    /// Asks for the end; [`Event::Closed`] follows when all that was published before is out.
    ///
    /// # Errors
    /// [`Unsent`].
    pub fn close(&mut self) -> Result<(), Unsent> {
        self.state = State::Stopping;
        self.client.try_disconnect().map_err(|_| Unsent::Busy)
    }

    fn publish(&self, word: &str, qos: QoS, retain: bool, payload: Vec<u8>) -> Result<(), Unsent> {
        self.publish_on(self.topics.of(word), qos, retain, payload)
    }

    fn publish_on(&self, topic: String, qos: QoS, retain: bool, payload: Vec<u8>) -> Result<(), Unsent> {
        if !self.connected || !self.wire.is_up.load(Ordering::Relaxed) {
            return Err(Unsent::Busy);
        }
        let bytes = publish_bytes(&topic, qos == QoS::AtMostOnce, payload.len());
        if bytes > self.wire.limit_bytes.load(Ordering::Relaxed) {
            return Err(Unsent::TooLarge { bytes });
        }
        self.wire.largest_bytes.fetch_max(bytes, Ordering::Relaxed);
        self.client.try_publish(topic, qos, retain, payload).map_err(|_| Unsent::Busy)
    }

    /// The largest payload on the topic of `kind` that the broker takes, as far as is known.
    pub fn payload_bytes_max(&self, kind: Kind) -> usize {
        let limit = self.wire.limit_bytes.load(Ordering::Relaxed);
        limit.saturating_sub(publish_bytes(&self.topics.of(kind.mqtt_kind()), false, 0) + LENGTH_BYTES_MORE)
    }
}

impl Topics {
    /// How many topics are listened to.
    const LISTENED: usize = 3;

    fn listened(&self) -> [&String; Topics::LISTENED] {
        [&self.ack, &self.cmd, &self.bridge]
    }

    fn of(&self, word: &str) -> String {
        format!("{}/{word}", self.base)
    }
}

fn password(mqtt: &Mqtt) -> Result<String, Failure> {
    let Some(path) = &mqtt.password_file else { return Ok(String::new()) };
    let text = std::fs::read_to_string(path).map_err(|e| {
        let what = format!("mqtt.password_file = {} cannot be read", path.display());
        Failure::new(Reason::Config, anyhow::Error::new(e).context(what))
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Over TLS, if the URL has it.
#[cfg(feature = "tls")]
fn secure(options: &mut MqttOptions, mqtt: &Mqtt) -> Result<(), Failure> {
    if let Some(tls) = &mqtt.tls {
        let client = tls.client().map_err(|e| Failure::new(Reason::Config, anyhow::anyhow!(e)))?;
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(client)));
    }
    Ok(())
}

#[cfg(not(feature = "tls"))]
fn secure(_: &mut MqttOptions, _: &Mqtt) -> Result<(), Failure> {
    Ok(()) // The configuration has let no mqtts:// through.
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        Topics { base: "b".into(), ack: "a".into(), cmd: "c".into(), bridge: "s".into() }
    }

    fn outbox(connected: bool, state: State) -> Outbox {
        let (client, _) = AsyncClient::new(MqttOptions::new("x", "localhost", 1), 2);
        let (_, events) = mpsc::channel(1);
        let wire = Arc::<Wire>::default();
        wire.is_up.store(connected, Ordering::Relaxed);
        Outbox { client, events, topics: Arc::new(topics()), wire, connected, state }
    }

    #[test]
    fn offline_to_draining_to_live_without_flapping() {
        let mut o = outbox(false, State::Offline);
        o.settle(1000, 100);
        assert_eq!(o.state(), State::Offline);
        o.connected = true;
        for (held, want) in [(1000, State::Draining), (60, State::Draining), (20, State::Live), (60, State::Live)] {
            o.settle(held, 100);
            assert_eq!(o.state(), want, "{held}");
        }
        o.connected = false;
        o.settle(0, 100);
        assert_eq!(o.state(), State::Offline);
        let mut stopping = outbox(true, State::Stopping);
        stopping.settle(5, 100);
        assert_eq!(stopping.state(), State::Stopping);
    }

    #[test]
    fn nothing_is_published_without_a_connection() {
        assert_eq!(outbox(false, State::Offline).window(vec![1]), Err(Unsent::Busy));
    }

    #[test]
    fn what_is_larger_than_the_broker_takes_is_refused_and_counts_for_nothing() {
        let o = outbox(true, State::Live);
        o.wire.limit_bytes.store(2048, Ordering::Relaxed);
        let most = o.payload_bytes_max(Kind::Report);
        assert!((2000..2048).contains(&most), "{most}");
        assert_eq!(o.record(Some(Kind::Report), vec![0; 2048]), Err(Unsent::TooLarge { bytes: 2048 + 3 + 2 + 9 + 2 }));
        assert_eq!(o.wire.largest_bytes.load(Ordering::Relaxed), 0);
    }
}
