//! Outbox: the edge's MQTT connection. The one door to `rumqttc`.
//!
//! Takes records, windows, pictures and status to publish. Gives what happens on the connection, and what is said to us.
//! Touches one socket, polled by a task of its own so that nothing here can keep it from being read.
//! Never queues: what does not fit into the few places towards the socket is refused, and stays in the spool. A PUBACK
//! only moves the socket; only the journal's ack settles a record.

mod look;

pub use look::{Kept, Unseen, look};

use crate::config::Mqtt;
use crate::exit::{Failure, Reason};
use crate::tls;
use firmware::custody::{Ack, Kind};
use firmware::limits::PACKET_BYTES_MAX;
use firmware::wire;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS,
    StateError, SubscribeFilter,
};
#[cfg(feature = "tls")]
use rumqttc::{TlsConfiguration, Transport};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Places towards the socket; when they are taken, publishing is refused and goes on after progress.
const REQUESTS_MAX: usize = 16;
/// Publishes without PUBACK; mosquitto takes 20 of one client unless told otherwise.
const UNACKED_MAX: u16 = 20;
/// Events that wait for Send; when they are taken, the socket is read later.
const EVENTS_MAX: usize = 64;
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
    /// It stands: say who and what we are.
    Connected,
    /// It is gone, or could not be made.
    Lost(String),
    /// The journal has something.
    Ack(Box<Ack>),
    /// The bridge says whether the journal can be reached.
    Bridge {
        /// It can.
        reachable: bool,
    },
    /// Someone wants something.
    Command(Vec<u8>),
    /// Something that is none of these came in.
    Nonsense(String),
    /// There may be room for more.
    Progress,
    /// Goodbye was said.
    Closed,
}

/// There is no room towards the socket now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

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
    connected: bool,
    state: State,
}

impl Outbox {
    /// Starts connecting, and goes on for ever. `will`: the status that the broker publishes when we go silently.
    ///
    /// # Errors
    /// [`Failure`] if the password or a certificate cannot be read. A broker that cannot be reached is no failure.
    pub fn open(mqtt: &Mqtt, will: &str) -> Result<Outbox, Failure> {
        let base = format!("hueflow/{}/{}", mqtt.site, mqtt.device);
        let topics = Arc::new(Topics {
            ack: format!("{base}/ack"),
            cmd: format!("{base}/cmd"),
            bridge: format!("hueflow/{}/bridge/status", mqtt.site),
            base,
        });
        let mut options = MqttOptions::new(&mqtt.device, &mqtt.host, mqtt.port);
        options.set_clean_session(false);
        options.set_keep_alive(KEEP_ALIVE);
        options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
        options.set_inflight(UNACKED_MAX);
        options.set_last_will(LastWill::new(topics.of("status"), will, QoS::AtLeastOnce, true));
        if let Some(user) = &mqtt.user {
            options.set_credentials(user, password(mqtt)?);
        }
        secure(&mut options, mqtt)?;
        let (client, socket) = AsyncClient::new(options, REQUESTS_MAX);
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(poll(socket, tell, Arc::clone(&topics), mqtt.clone()));
        Ok(Outbox { client, events, topics, connected: false, state: State::Offline })
    }

    /// How we stand.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the connection stands.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Works out the state from what is held; says when it changes.
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

    /// Asks for acks, commands and the bridge's status.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn subscribe(&self) -> Result<(), Busy> {
        let filters = [&self.topics.ack, &self.topics.cmd, &self.topics.bridge];
        let filters = filters.map(|t| SubscribeFilter::new(t.clone(), QoS::AtLeastOnce));
        self.client.try_subscribe_many(filters).map_err(|_| Busy)
    }

    /// Publishes a record under custody.
    ///
    /// # Errors
    /// [`Busy`]: it is not on its way, try again after [`Event::Progress`].
    pub fn record(&self, kind: Option<Kind>, record: Vec<u8>) -> Result<(), Busy> {
        let word = kind.map_or("metrics", Kind::mqtt_kind);
        self.publish(word, QoS::AtLeastOnce, false, record)
    }

    /// Publishes a picture without custody.
    ///
    /// # Errors
    /// [`Busy`]: it is gone.
    pub fn picture(&self, picture: Vec<u8>) -> Result<(), Busy> {
        self.publish(Kind::Picture.mqtt_kind(), QoS::AtMostOnce, false, picture)
    }

    /// Publishes the window.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn window(&self, window: Vec<u8>) -> Result<(), Busy> {
        self.publish("window", QoS::AtLeastOnce, true, window)
    }

    /// Publishes the status.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn status(&self, status: String) -> Result<(), Busy> {
        self.publish("status", QoS::AtLeastOnce, true, status.into_bytes())
    }

    /// Says goodbye; [`Event::Closed`] follows when all that was published before is out.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn close(&mut self) -> Result<(), Busy> {
        self.state = State::Stopping;
        self.client.try_disconnect().map_err(|_| Busy)
    }

    fn publish(&self, word: &str, qos: QoS, retain: bool, payload: Vec<u8>) -> Result<(), Busy> {
        if !self.connected {
            return Err(Busy);
        }
        self.client.try_publish(self.topics.of(word), qos, retain, payload).map_err(|_| Busy)
    }
}

impl Topics {
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

/// Over TLS, where the URL says so.
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

/// Keeps the connection, and tells what happens on it, until goodbye is said.
async fn poll(mut socket: EventLoop, tell: mpsc::Sender<Event>, topics: Arc<Topics>, mqtt: Mqtt) {
    let (mut backoff, mut since) = (BACKOFF_MIN, None::<Instant>);
    loop {
        let event = match socket.poll().await {
            Ok(rumqttc::Event::Outgoing(Outgoing::Disconnect)) => {
                // The broker hangs up when it has read our last words; polling on would connect again.
                let hang_up = async { while socket.poll().await.is_ok() {} };
                let _ = tokio::time::timeout(HANG_UP, hang_up).await;
                let _ = tell.send(Event::Closed).await;
                return;
            }
            Ok(rumqttc::Event::Incoming(Packet::ConnAck(answer))) if answer.code == ConnectReturnCode::Success => {
                since = Some(Instant::now());
                Event::Connected
            }
            Ok(rumqttc::Event::Incoming(Packet::Publish(p))) => read(&topics, &p.topic, &p.payload),
            Ok(
                rumqttc::Event::Incoming(Packet::PubAck(_))
                | rumqttc::Event::Outgoing(Outgoing::Publish(_) | Outgoing::Subscribe(_)),
            ) => {
                // Only a hint: any event that waits already makes the sender look. So hints take no places of events
                // that must not be lost, and a sender that is busy with the disk does not hold the socket up.
                if tell.capacity() == tell.max_capacity() {
                    let _ = tell.try_send(Event::Progress);
                }
                continue;
            }
            Ok(_) => continue,
            Err(error) => {
                let since = since.take();
                backoff = if since.is_some_and(|s| s.elapsed() > STEADY) { BACKOFF_MIN } else { backoff };
                let why = fault(&error, &mqtt, since.is_some());
                if tell.send(Event::Lost(format!("{}:{}: {why}", mqtt.host, mqtt.port))).await.is_err() {
                    return;
                }
                tokio::time::sleep(jitter(backoff)).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
                continue;
            }
        };
        if tell.send(event).await.is_err() {
            return;
        }
    }
}

/// Between half of it and all of it, so that a thousand edges do not come back at the same moment.
fn jitter(backoff: Duration) -> Duration {
    use rand::TryRng;
    let r = rand::rngs::SysRng.try_next_u32().unwrap_or(u32::MAX / 2);
    backoff.mul_f64(0.5 + 0.5 * f64::from(r) / f64::from(u32::MAX))
}

/// What is wrong, and what to do if only a person can mend it. `connected`: it was well until now.
fn fault(error: &ConnectionError, mqtt: &Mqtt, connected: bool) -> String {
    if let ConnectionError::ConnectionRefused(
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized,
    ) = error
    {
        return "refused: check the user in mqtt.url, mqtt.password_file, and the broker's password file".to_owned();
    }
    if let Some(fault) = tls::fault(error, &mqtt.host) {
        return fault;
    }
    match (hung_up(error) && !connected, &mqtt.tls) {
        (true, None) => "it hung up without an answer: does it want TLS there (mqtts://)?".to_owned(),
        (true, Some(_)) => "it hung up without an answer: is that its TLS port, 8883 as a rule?".to_owned(),
        (false, _) => error.to_string(),
    }
}

/// Whether the other side has ended the connection.
fn hung_up(error: &ConnectionError) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(StateError::ConnectionAborted) = error.downcast_ref() {
            return true;
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            return matches!(io.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof);
        }
        next = error.source();
    }
    false
}

#[derive(Deserialize)]
struct BridgeStatus {
    state: String,
    #[serde(default)]
    journal: bool,
}

fn read(topics: &Topics, topic: &str, payload: &[u8]) -> Event {
    if topic == topics.ack {
        return match wire::decode_ack(payload) {
            Ok(ack) => Event::Ack(Box::new(ack)),
            // An empty one only says that the retained ack was cleared.
            Err(_) if payload.is_empty() => Event::Progress,
            Err(e) => Event::Nonsense(format!("an ack that cannot be read: {e}")),
        };
    }
    if topic == topics.bridge {
        if payload.is_empty() {
            return Event::Progress;
        }
        return match serde_json::from_slice::<BridgeStatus>(payload) {
            Ok(s) => Event::Bridge { reachable: s.state == "online" && s.journal },
            Err(e) => Event::Nonsense(format!("a bridge status that cannot be read: {e}")),
        };
    }
    if topic == topics.cmd {
        return Event::Command(payload.to_vec());
    }
    Event::Nonsense(format!("a message on {topic}, which nobody asked for"))
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
        Outbox { client, events, topics: Arc::new(topics()), connected, state }
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
        assert_eq!(outbox(false, State::Offline).window(vec![1]), Err(Busy));
    }

    #[test]
    fn what_comes_in_is_told_apart_and_nonsense_is_said_to_be_so() {
        let t = topics();
        assert!(matches!(read(&t, "s", br#"{"state":"online","journal":true}"#), Event::Bridge { reachable: true }));
        assert!(matches!(read(&t, "s", br#"{"state":"online","journal":false}"#), Event::Bridge { reachable: false }));
        assert!(matches!(read(&t, "s", br#"{"state":"offline"}"#), Event::Bridge { reachable: false }));
        assert!(matches!(read(&t, "c", b"x"), Event::Command(_)));
        for (topic, bytes) in [("s", &b"x"[..]), ("a", b"\xff\xff"), ("a", b"\x01"), ("zzz", b"")] {
            assert!(matches!(read(&t, topic, bytes), Event::Nonsense(_)), "{topic} {bytes:?}");
        }
    }

    #[test]
    fn what_a_person_must_mend_is_said_with_what_to_do() {
        let mut mqtt = Mqtt { host: "h".into(), site: "s".into(), device: "d".into(), ..Mqtt::default() };
        let refused = ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized);
        let said = fault(&refused, &mqtt, false);
        assert!(said.starts_with("refused") && said.contains("mqtt.password_file"), "{said}");
        let hung_up = ConnectionError::MqttState(StateError::ConnectionAborted);
        assert!(fault(&hung_up, &mqtt, false).contains("mqtts://"));
        assert!(!fault(&hung_up, &mqtt, true).contains("mqtts://"), "it was well before");
        mqtt.tls = Some(tls::Tls::default());
        assert!(fault(&hung_up, &mqtt, false).contains("8883"));
    }

    #[test]
    fn a_pause_is_never_longer_than_the_backoff() {
        for _ in 0..50 {
            let d = jitter(BACKOFF_MAX);
            assert!(d >= BACKOFF_MAX / 2 && d <= BACKOFF_MAX);
        }
    }
}
