//! Look: what a broker keeps of our device and its bridge, and which packets it takes, for `doctor`.
//!
//! Each look has a connection under a client id of its own, so that no other client is disconnected, and publishes nothing: sizes are
//! probed with UNSUBSCRIBE packets.

use super::connection::probe_topic;
use super::fault;
use super::packets::Packets;
use super::{HANG_UP, REQUESTS_MAX, password, secure};
use crate::config::Mqtt;
use crate::exit::Failure;
use firmware::custody::Envelope;
use firmware::limits::PACKET_BYTES_MAX;
use rumqttc::{AsyncClient, ConnectReturnCode, ConnectionError, MqttOptions, Packet, QoS, SubscribeFilter};
use std::time::Duration;
use tokio::time::Instant;

/// Why a look at the broker came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unseen {
    /// The host's name means nothing here.
    #[error("the name {0} cannot be resolved: {1}")]
    Unresolved(String, String),
    /// There is no answer.
    #[error("{0} cannot be reached: {1}")]
    Unreachable(String, String),
    /// User or password are wrong, or are required.
    #[error("{0} refuses: {1}")]
    Credentials(String, String),
    /// The two sides do not agree on TLS.
    #[error("{0}: {1}")]
    Untrusted(String, String),
    /// It does not take this version of MQTT, this client id, or anybody now.
    #[error("{0}: {1}")]
    Refused(String, String),
    /// It answers, and not as a broker.
    #[error("{0} does not answer like an MQTT broker: {1}")]
    Odd(String, String),
}

/// What the broker keeps of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its status, if one is kept.
    pub status: Option<Vec<u8>>,
    /// The status of its site's bridge, if one is kept.
    pub bridge: Option<Vec<u8>>,
    /// Streams of which records came while we listened.
    pub streams: Vec<u64>,
}

/// Connections that a search for the largest packet may take: each size that is too large ends one.
const SEARCH_CONNECTIONS_MAX: u32 = 16;
/// Most streams that a look distinguishes.
const LOOK_STREAMS_MAX: usize = 8;
/// What is kept comes at once; a broker that has sent nothing for this long has nothing more.
const LOOK_QUIET: Duration = Duration::from_millis(400);

/// Looks at what the broker keeps of our device, under a name of its own, so that no other client is disconnected; if `listen` wants
/// it after a look at that, also at which records come, for that long.
///
/// # Errors
/// [`Unseen`], and [`Failure`] if the password or a certificate cannot be read.
pub async fn look(
    mqtt: &Mqtt,
    patience: Duration,
    listen: impl Fn(&Kept) -> Option<Duration>,
) -> Result<Result<Kept, Unseen>, Failure> {
    let address = format!("{}:{}", mqtt.host, mqtt.port);
    if let Err(unseen) = knock(mqtt, &address, patience).await {
        return Ok(Err(unseen));
    }
    let (client, mut socket) = AsyncClient::new(options(mqtt)?, REQUESTS_MAX);
    let base = format!("hueflow/{}/{}", mqtt.site, mqtt.device);
    let bridge = format!("hueflow/{}/bridge/status", mqtt.site);
    let mut kept = Kept::default();
    let mut until = Instant::now() + patience;
    let (mut subscribed, mut listening) = (false, false);
    loop {
        let event = match tokio::time::timeout_at(until, socket.poll()).await {
            Ok(Ok(event)) => event,
            Ok(Err(error)) => return Ok(Err(unseen(address, &error, mqtt))),
            Err(_) if !subscribed => return Ok(Err(Unseen::Odd(address, "it does not answer".into()))),
            Err(_) => match listen(&kept).filter(|_| !listening) {
                Some(time) => {
                    listening = client.try_subscribe(format!("{base}/metrics"), QoS::AtMostOnce).is_ok();
                    until = Instant::now() + time;
                    continue;
                }
                None => break,
            },
        };
        match event {
            rumqttc::Event::Incoming(Packet::ConnAck(_)) => {
                // There is room: nothing was asked before.
                let topics = [format!("{base}/status"), bridge.clone()];
                let _ = client.try_subscribe_many(topics.map(|t| SubscribeFilter::new(t, QoS::AtMostOnce)));
            }
            rumqttc::Event::Incoming(Packet::SubAck(_)) if !subscribed => {
                (subscribed, until) = (true, Instant::now() + LOOK_QUIET);
            }
            rumqttc::Event::Incoming(Packet::Publish(p)) if p.topic == bridge => {
                kept.bridge = Some(p.payload.to_vec()).filter(|s| !s.is_empty());
            }
            rumqttc::Event::Incoming(Packet::Publish(p)) if p.topic.ends_with("/status") => {
                kept.status = Some(p.payload.to_vec()).filter(|s| !s.is_empty());
            }
            rumqttc::Event::Incoming(Packet::Publish(p)) => {
                let stream = Envelope::peek(&p.payload).map_or(0, |(e, _)| e.stream);
                if kept.streams.len() < LOOK_STREAMS_MAX && !kept.streams.contains(&stream) {
                    kept.streams.push(stream);
                }
            }
            _ => {}
        }
    }
    let _ = client.try_disconnect();
    let _ = tokio::time::timeout(HANG_UP, async { while socket.poll().await.is_ok() {} }).await;
    Ok(Ok(kept))
}

/// The connection's settings, under a client id of its own.
fn options(mqtt: &Mqtt) -> Result<MqttOptions, Failure> {
    use rand::TryRng;
    let id = format!("hueflow-doctor-{:08x}", rand::rngs::SysRng.try_next_u32().unwrap_or(std::process::id()));
    let mut options = MqttOptions::new(id, &mqtt.host, mqtt.port);
    options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
    if let Some(user) = &mqtt.user {
        options.set_credentials(user, password(mqtt)?);
    }
    secure(&mut options, mqtt)?;
    Ok(options)
}

/// The largest packet that the broker takes; none: it takes all that are probed, or does not answer probes.
///
/// # Errors
/// [`Failure`] if the password or a certificate cannot be read.
pub async fn packet_limit(mqtt: &Mqtt, patience: Duration) -> Result<Option<usize>, Failure> {
    let mut packets = Packets::searching();
    let mut connections = 0;
    while packets.probe().is_some() && connections < SEARCH_CONNECTIONS_MAX {
        connections += 1;
        let (client, mut socket) = AsyncClient::new(options(mqtt)?, REQUESTS_MAX);
        let mut is_probing = false;
        while let Some(bytes) = packets.probe() {
            match tokio::time::timeout(patience, socket.poll()).await {
                Ok(Ok(rumqttc::Event::Incoming(Packet::ConnAck(_)))) => {
                    is_probing = client.try_unsubscribe(probe_topic(bytes)).is_ok();
                }
                Ok(Ok(rumqttc::Event::Incoming(Packet::UnsubAck(_)))) => {
                    packets.passed(0);
                    let Some(bytes) = packets.probe() else { break };
                    is_probing = client.try_unsubscribe(probe_topic(bytes)).is_ok();
                }
                Ok(Ok(_)) => {}
                Ok(Err(_)) if is_probing => {
                    packets.broke();
                    break;
                }
                // It went away, or does not answer: nothing is known of its sizes.
                Ok(Err(_)) | Err(_) => return Ok(None),
            }
        }
        let _ = client.try_disconnect();
        let _ = tokio::time::timeout(HANG_UP, async { while socket.poll().await.is_ok() {} }).await;
    }
    Ok(packets.limit())
}

/// Whether the name means something, and somebody answers.
async fn knock(mqtt: &Mqtt, address: &str, patience: Duration) -> Result<(), Unseen> {
    let late = || std::io::Error::from(std::io::ErrorKind::TimedOut);
    let found = tokio::time::timeout(patience, tokio::net::lookup_host((mqtt.host.as_str(), mqtt.port))).await;
    let found = found.unwrap_or_else(|_| Err(late()));
    let mut hosts = found.map_err(|e| Unseen::Unresolved(mqtt.host.clone(), e.to_string()))?;
    if hosts.next().is_none() {
        return Err(Unseen::Unresolved(mqtt.host.clone(), "it has no address".into()));
    }
    drop(hosts);
    // As rumqttc does: whichever of its addresses answers.
    let reached = tokio::time::timeout(patience, tokio::net::TcpStream::connect((mqtt.host.as_str(), mqtt.port))).await;
    let reached = reached.unwrap_or_else(|_| Err(late()));
    reached.map(drop).map_err(|e| Unseen::Unreachable(address.to_owned(), e.to_string()))
}

fn unseen(address: String, error: &ConnectionError, mqtt: &Mqtt) -> Unseen {
    match error {
        ConnectionError::ConnectionRefused(
            code @ (ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized),
        ) => Unseen::Credentials(address, format!("{code:?}")),
        other if host::broker::refusal(other).is_some() => Unseen::Refused(address, fault::text(other, mqtt, false)),
        other => match host::tls::fault(other, &mqtt.host) {
            Some(why) => Unseen::Untrusted(address, why),
            None => Unseen::Odd(address, fault::text(other, mqtt, false)),
        },
    }
}
