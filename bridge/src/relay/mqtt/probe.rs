//! Probes of a broker: whether it answers, and whether a bridge is online for a site. For `doctor` and for a standby.
//!
//! Inputs are the broker's URL and the site. One connection is opened with a client id of its own, so that no client is pushed
//! off; nothing is published.

use super::{BACKOFF_MIN, KEEP_ALIVE, fault};
use crate::failure::Failure;
use crate::mqtt::{options, status_topic};
use crate::settings::Url;
use rumqttc::{AsyncClient, ConnectReturnCode, ConnectionError, Event, Packet, QoS};
use std::time::Duration;

/// Why a look at the broker came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The host's name means nothing here.
    #[error("its name cannot be resolved: {0}")]
    Unresolved(String),
    /// Nobody answers there.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// User or password are wrong, or nobody may come without.
    #[error("it refuses: {0}")]
    Credentials(String),
    /// The two sides do not agree on TLS.
    #[error("{0}")]
    Untrusted(String),
    /// It answers, and not as a broker.
    #[error("it does not answer like an MQTT broker: {0}")]
    Odd(String),
}

/// How long each step of a look may take, and how long a broker that sends nothing more is waited for.
const LOOK: (Duration, Duration) = (Duration::from_secs(4), Duration::from_millis(400));

/// Whether a bridge is online for the site, asked under a name of its own so that it is not pushed off.
///
/// # Errors
/// [`ProbeError`].
pub async fn probe_broker(url: &Url, site: &str) -> Result<bool, ProbeError> {
    let late = || std::io::Error::from(std::io::ErrorKind::TimedOut);
    let at = (url.host.as_str(), url.port);
    let found = tokio::time::timeout(LOOK.0, tokio::net::lookup_host(at)).await.unwrap_or_else(|_| Err(late()));
    found.map(drop).map_err(|e| ProbeError::Unresolved(e.to_string()))?;
    let reached = tokio::time::timeout(LOOK.0, tokio::net::TcpStream::connect(at)).await;
    reached.unwrap_or_else(|_| Err(late())).map(drop).map_err(|e| ProbeError::Unreachable(e.to_string()))?;
    let options =
        options(url, format!("hueflow-doctor-{:08x}", rand::random::<u32>())).map_err(ProbeError::Untrusted)?;
    let (client, mut events) = AsyncClient::new(options, 4);
    let (mut patience, mut subscribed, mut online) = (LOOK.0, false, false);
    loop {
        match tokio::time::timeout(patience, events.poll()).await {
            Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                let _ = client.try_subscribe(status_topic(site), QoS::AtMostOnce);
            }
            Ok(Ok(Event::Incoming(Packet::SubAck(_)))) => (subscribed, patience) = (true, LOOK.1),
            Ok(Ok(Event::Incoming(Packet::Publish(p)))) => {
                let status = serde_json::from_slice::<serde_json::Value>(&p.payload).unwrap_or_default();
                online = status.get("state").and_then(|s| s.as_str()) == Some("online");
            }
            Ok(Ok(_)) => {}
            Ok(Err(ConnectionError::ConnectionRefused(
                code @ (ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized),
            ))) => return Err(ProbeError::Credentials(format!("{code:?}"))),
            Ok(Err(e)) => {
                let odd = || ProbeError::Odd(fault(&e, url, site, false));
                return Err(host::tls::fault(&e, &url.host).map_or_else(odd, ProbeError::Untrusted));
            }
            Err(_) if subscribed => return Ok(online),
            Err(_) => return Err(ProbeError::Odd("it does not answer".into())),
        }
    }
}

/// How long a standby that has connected waits for the active bridge's retained status before it takes it for gone.
const ABSENT: Duration = Duration::from_secs(5);

/// Returns when no other bridge is active for the site: its status is `offline`, or that of `own`, or there is none.
///
/// # Errors
/// [`Failure::Config`] if a certificate cannot be read.
pub async fn wait_for_absence(url: &Url, site: &str, own: Option<&str>) -> Result<(), Failure> {
    let id = format!("hueflow-standby-{site}-{:08x}", rand::random::<u32>());
    let mut options = options(url, id).map_err(Failure::Config)?;
    options.set_keep_alive(KEEP_ALIVE);
    let (client, mut events) = AsyncClient::new(options, 4);
    let (mut standing_by, mut connected, mut is_logged) = (false, false, false);
    // A broker that is away gives no information about the active bridge, and one that has lost the status may yet get it again.
    let mut deadline = None;
    loop {
        let event = match deadline {
            None => events.poll().await,
            Some(at) => match tokio::time::timeout_at(at, events.poll()).await {
                Ok(event) => event,
                Err(_) => break,
            },
        };
        match event {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                connected = true;
                let _ = client.try_subscribe(status_topic(site), QoS::AtLeastOnce);
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => deadline = Some(tokio::time::Instant::now() + ABSENT),
            Ok(Event::Incoming(Packet::Publish(p))) => {
                let status = serde_json::from_slice::<serde_json::Value>(&p.payload).unwrap_or_default();
                let text = |key: &str| status.get(key).and_then(|s| s.as_str());
                if text("state") != Some("online") || own.is_some() && text("id") == own {
                    break;
                }
                deadline = None;
                if !std::mem::replace(&mut standing_by, true) {
                    log::info!("standing by for the active bridge of site {site}");
                }
            }
            Ok(_) => {}
            Err(e) => {
                if !std::mem::replace(&mut is_logged, true) {
                    log::warn!("MQTT: {url}: {}; trying again", fault(&e, url, site, connected));
                }
                (deadline, connected) = (None, false);
                tokio::time::sleep(BACKOFF_MIN * 5).await;
            }
        }
    }
    if standing_by {
        log::info!("the active bridge of site {site} is gone: taking over");
    }
    let _ = client.try_disconnect();
    let _ = tokio::time::timeout(CLOSE, async { while events.poll().await.is_ok() {} }).await;
    Ok(())
}

/// How long saying goodbye may take.
const CLOSE: Duration = Duration::from_millis(500);
