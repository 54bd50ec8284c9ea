//! Commander: sends commands to devices, and reads from their status what became of each.
//!
//! One connection under a name of its own, opened again for ever. A command goes to the topic `cmd` at QoS 1; the device
//! answers with a new `status` that has the value in force or the refusal. Meanwhile the status is subscribed to, so a fleet's
//! messages are not read when nobody sends anything. Connection and bridge are watched by [`Link`].

use super::{options, status_topic};
use crate::settings::Url;
use host::broker::Peer;
use rand::RngExt;
use rumqttc::{AsyncClient, Event, EventLoop, Packet, QoS};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// How long a device has to answer: it clusters its frame to the end first, and a status is sent at most once a second.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the retained status may take to come after a subscription.
const RETAINED: Duration = Duration::from_secs(3);
/// How long the first connection may take before a command is given up.
const CONNECT: Duration = Duration::from_secs(5);
const BACKOFF_MIN: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(15);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Requests that wait for the socket.
const OUTBOUND_MAX: usize = 32;
/// Statuses that a waiting command may be behind.
const STATUSES_MAX: usize = 64;
/// Largest status that is read. An edge keeps its own below 64 KiB.
const STATUS_BYTES_MAX: usize = 256 * 1024;
/// Keys of a command, and what the configuration in a status calls them.
const KEYS: [(&str, &str); 5] = [
    ("space", "clustering.space"),
    ("lambda", "clustering.lambda"),
    ("coreset_size", "clustering.coreset_size"),
    ("method", "clustering.method"),
    ("census_every", "send.census_every"),
];

/// What is known of broker and bridge. None while all is well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Why there is no connection.
    pub broker: Option<String>,
    /// Why the bridge relays nothing, if its status has a reason.
    pub bridge: Option<String>,
}

/// What a device made of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It obeyed: what is in force now, by key.
    InForce(Map<String, Value>),
    /// It refused, with its reason.
    Refused(String),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no connection.
    #[error("the MQTT broker cannot be reached: {0}")]
    Away(String),
    /// No device of that name has ever been at this broker.
    #[error("no device {0} has a status at this broker: check its name, and the site")]
    Unknown(String),
    /// It is offline.
    #[error("device {0} is offline; a command is not kept for it. Send it again when the device is back")]
    Offline(String),
    /// It has sent no status.
    #[error("device {0} has not answered within 10 s")]
    Silent(String),
}

#[derive(Debug, Clone)]
struct Status {
    device: String,
    is_retained: bool,
    json: Arc<Value>,
}

/// A handle on the connection.
pub struct Commander {
    client: AsyncClient,
    site: String,
    statuses: broadcast::Sender<Status>,
    link: watch::Receiver<Option<Link>>,
    /// One command at a time, so that each has its own answer.
    turn: tokio::sync::Mutex<()>,
    poller: tokio::task::JoinHandle<()>,
}

impl Drop for Commander {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

impl Commander {
    /// Connects in the background, on the runtime of the caller.
    ///
    /// # Errors
    /// A sentence, if a certificate cannot be read. A broker that is away is no error.
    pub fn start(url: &Url, site: &str) -> Result<Commander, String> {
        let mut options = options(url, format!("hueflow-metrics-{site}-{:08x}", rand::random::<u32>()))?;
        options.set_keep_alive(KEEP_ALIVE).set_max_packet_size(STATUS_BYTES_MAX, STATUS_BYTES_MAX);
        let (client, events) = AsyncClient::new(options, OUTBOUND_MAX);
        let statuses = broadcast::channel(STATUSES_MAX).0;
        let (link_sender, link) = watch::channel(None);
        let poller =
            Poller { client: client.clone(), site: site.to_owned(), statuses: statuses.clone(), link: link_sender };
        let poller = tokio::spawn(poller.run(events, url.clone()));
        Ok(Commander { client, site: site.to_owned(), statuses, link, turn: tokio::sync::Mutex::default(), poller })
    }

    /// What is known of broker and bridge; None before the first attempt.
    pub fn link(&self) -> watch::Receiver<Option<Link>> {
        self.link.clone()
    }

    /// Sends a command, and waits for the device's answer.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn command(&self, device: &str, command: &Map<String, Value>) -> Result<Answer, CommandError> {
        let _turn = self.turn.lock().await;
        self.connected().await?;
        let topic = format!("hueflow/{}/{device}/status", self.site);
        let mut statuses = self.statuses.subscribe();
        let away = |e: rumqttc::ClientError| CommandError::Away(e.to_string());
        self.client.subscribe(&topic, QoS::AtLeastOnce).await.map_err(away)?;
        let answer = self.converse(device, command, &mut statuses).await;
        let _ = self.client.try_unsubscribe(&topic); // If the connection is gone, so is the subscription.
        answer
    }

    async fn connected(&self) -> Result<(), CommandError> {
        let mut link = self.link.clone();
        let is_up = |l: &Option<Link>| l.as_ref().is_some_and(|l| l.broker.is_none());
        if tokio::time::timeout(CONNECT, link.wait_for(is_up)).await.is_ok_and(|found| found.is_ok()) {
            return Ok(());
        }
        let reason = link.borrow().as_ref().and_then(|l| l.broker.clone());
        Err(CommandError::Away(reason.unwrap_or_else(|| "it does not answer".to_owned())))
    }

    async fn converse(
        &self,
        device: &str,
        command: &Map<String, Value>,
        statuses: &mut broadcast::Receiver<Status>,
    ) -> Result<Answer, CommandError> {
        let before = tokio::time::timeout(RETAINED, next(statuses, device)).await;
        let before = before.map_err(|_| CommandError::Unknown(device.to_owned()))?;
        if before.json.get("state").and_then(Value::as_str) == Some("offline") {
            return Err(CommandError::Offline(device.to_owned()));
        }
        let payload = Value::Object(command.clone()).to_string();
        let topic = format!("hueflow/{}/{device}/cmd", self.site);
        let published = self.client.publish(topic, QoS::AtLeastOnce, false, payload).await;
        published.map_err(|e| CommandError::Away(e.to_string()))?;
        let answered = async {
            loop {
                let after = next(statuses, device).await;
                if let Some(answer) = judge(&before.json, &after.json, command).filter(|_| !after.is_retained) {
                    return answer;
                }
            }
        };
        tokio::time::timeout(ANSWER, answered).await.map_err(|_| CommandError::Silent(device.to_owned()))
    }
}

/// The next status of `device`.
async fn next(statuses: &mut broadcast::Receiver<Status>, device: &str) -> Status {
    loop {
        match statuses.recv().await {
            Ok(status) if status.device == device => return status,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            // The sender lives as long as the commander, and the caller has a time-out.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// The outcome, in the status `after`, of a command that was sent after `before`; None while it has none.
fn judge(before: &Value, after: &Value, command: &Map<String, Value>) -> Option<Answer> {
    let refusals =
        |status: &Value| status.get("refused_commands").and_then(Value::as_array).cloned().unwrap_or_default();
    let (old, new) = (refusals(before), refusals(after));
    if new != old
        && let Some(last) = new.last()
    {
        let text = |key: &str| last.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        return Some(Answer::Refused(format!("{} = {}: {}", text("key"), text("value"), text("reason"))));
    }
    let is_saved = command.get("save").and_then(Value::as_bool) == Some(true);
    let from = if is_saved { "saved command" } else { "command" };
    let mut in_force = Map::new();
    for (key, name) in KEYS {
        let Some(wanted) = command.get(key) else { continue };
        let entry = after.get("config")?.get(name)?;
        let value = entry.get("value")?;
        if entry.get("from").and_then(Value::as_str) != Some(from) || !is_same(value, wanted) {
            return None;
        }
        in_force.insert(key.to_owned(), value.clone());
    }
    Some(Answer::InForce(in_force))
}

/// Numbers are in force in steps of 1/64.
fn is_same(value: &Value, wanted: &Value) -> bool {
    match (value.as_f64(), wanted.as_f64()) {
        (Some(value), Some(wanted)) => (value - wanted).abs() <= 1.0 / 64.0,
        _ => value == wanted,
    }
}

/// Why a bridge relays nothing, by its status; None if it does.
fn bridge_fault(status: &Value) -> Option<&'static str> {
    if status.get("state").and_then(Value::as_str) != Some("online") {
        return Some("is offline");
    }
    let takes = status.get("journal").and_then(Value::as_bool);
    (takes == Some(false)).then_some("runs, but its journal takes nothing")
}

struct Poller {
    client: AsyncClient,
    site: String,
    statuses: broadcast::Sender<Status>,
    link: watch::Sender<Option<Link>>,
}

impl Poller {
    async fn run(self, mut events: EventLoop, url: Url) {
        let (mut backoff, mut was_connected) = (BACKOFF_MIN, false);
        let client_id = format!("hueflow-metrics-{}", self.site);
        let id_setting = "the site of one of them (--site)";
        let peer = Peer { host: &url.host, has_tls: url.tls.is_some(), client_id: &client_id, id_setting };
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    (backoff, was_connected) = (BACKOFF_MIN, true);
                    let _ = self.client.try_subscribe(status_topic(&self.site), QoS::AtLeastOnce);
                    self.change(|l| l.broker = None);
                }
                Ok(Event::Incoming(Packet::Publish(p))) => {
                    let Ok(json) = serde_json::from_slice::<Value>(&p.payload) else { continue };
                    if p.topic == status_topic(&self.site) {
                        let why = bridge_fault(&json).map(|why| format!("hueflow-bridge of site {} {why}", self.site));
                        self.change(|l| l.bridge = why);
                    } else if let Some(device) = p.topic.split('/').nth(2) {
                        let (device, is_retained) = (device.to_owned(), p.retain);
                        let _ = self.statuses.send(Status { device, is_retained, json: Arc::new(json) }); // Nobody may wait.
                    }
                }
                Ok(_) => {}
                Err(e) => {
                    let why = format!("{url}: {}", host::broker::fault(&e, &peer, std::mem::take(&mut was_connected)));
                    let is_news = self.link.borrow().as_ref().is_none_or(|l| l.broker.as_ref() != Some(&why));
                    if is_news {
                        log::warn!("MQTT: {why}; trying again");
                    }
                    self.change(|l| l.broker = Some(why));
                    let jitter = rand::rng().random_range(0.5..1.5);
                    tokio::time::sleep(backoff.mul_f64(jitter)).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Link)) {
        self.link.send_if_modified(|link| {
            let mut now = link.clone().unwrap_or_default();
            change(&mut now);
            let is_new = link.as_ref() != Some(&now);
            *link = Some(now);
            is_new
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_bridge_that_is_offline_or_whose_journal_takes_nothing_relays_nothing() {
        assert_eq!(bridge_fault(&json!({ "state": "online", "journal": true })), None);
        assert_eq!(bridge_fault(&json!({ "state": "online" })), None, "an older bridge does not report its journal");
        assert_eq!(bridge_fault(&json!({ "state": "offline" })), Some("is offline"));
        let full = bridge_fault(&json!({ "state": "online", "journal": false }));
        assert_eq!(full, Some("runs, but its journal takes nothing"));
    }

    #[test]
    fn a_status_answers_a_command_only_if_it_is_in_force_by_it_or_refused() {
        let command = json!({ "lambda": 60, "snapshot": true });
        let command = command.as_object().unwrap();
        let status = |value: f64, from: &str, refused: Value| json!({ "config": { "clustering.lambda": { "value": value, "from": from } }, "refused_commands": refused });
        let before = status(50.0, "default", json!([]));
        assert_eq!(judge(&before, &before, command), None);
        assert_eq!(judge(&before, &status(60.0, "flag", json!([])), command), None, "it was so before");
        let done = judge(&before, &status(60.0, "command", json!([])), command);
        assert_eq!(done, Some(Answer::InForce(json!({ "lambda": 60.0 }).as_object().unwrap().clone())));
        let save = json!({ "lambda": 60, "save": true });
        let save = save.as_object().unwrap();
        assert_eq!(judge(&before, &status(60.0, "command", json!([])), save), None, "it is not on the disk yet");
        assert!(judge(&before, &status(60.0, "saved command", json!([])), save).is_some());
        let refusal = json!([{ "key": "lambda", "value": "900", "reason": "must be a number from 0.01 to 442" }]);
        let refused = judge(&before, &status(50.0, "default", refusal.clone()), command);
        assert!(matches!(&refused, Some(Answer::Refused(r)) if r.contains("lambda = 900: must be")), "{refused:?}");
        // An earlier refusal is not one of this command.
        let before = status(50.0, "default", refusal.clone());
        assert_eq!(judge(&before, &status(50.0, "default", refusal), command), None);
        assert_eq!(judge(&before, &json!({ "state": "online" }), command), None, "a status without configuration");
    }
}
