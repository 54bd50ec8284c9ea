//! The task that keeps the connection to the broker, and reports what happens on it.
//!
//! A connection is *up* when the subscriptions are on their way: before that, packets are probed where the broker may have a
//! limit ([`Packets`]), and topics are subscribed to one by one where a message on one of them is larger than we read. Only
//! then [`Event::Connected`] is reported and data flows. What the last connection left unacknowledged is kept meanwhile.

use super::fault;
use super::inbox::read;
use super::packets::{Packets, publish_bytes, unsubscribe_topic_bytes};
use super::{BACKOFF_MAX, BACKOFF_MIN, Event, HANG_UP, STEADY, Topics, Wire};
use crate::config::Mqtt;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, EventLoop, Outgoing, Packet, QoS, Request, SubscribeFilter,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A probe or a subscription is answered within this, or the broker does not answer such packets. The largest probe takes
/// 10 s at 50 kbit/s.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// A topic with a message that is too large is subscribed to again after this; doubled each time up to [`RETRY_MAX`]. The
/// bridge replaces a retained ack as soon as a record is in the journal, so the first try is early.
const RETRY_MIN: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(600);

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is none.
    Down,
    /// A probe of so many bytes is not acknowledged yet.
    Probing,
    /// This topic is subscribed to, or is about to be, and what is kept on it may still come.
    Subscribing(usize),
    /// Data flows.
    Up,
}

/// Topics whose subscription brings a message that is larger than we read, which ends the connection.
#[derive(Debug, Default)]
struct Oversized {
    /// Since such a message came, topics are subscribed to one by one, to find it.
    is_cautious: bool,
    /// By topic: it is not subscribed to until this.
    left_out: [Option<Instant>; Topics::LISTENED],
    pauses: [Duration; Topics::LISTENED],
}

impl Oversized {
    fn leave_out(&mut self, topic: usize) {
        if let (Some(until), Some(pause)) = (self.left_out.get_mut(topic), self.pauses.get_mut(topic)) {
            *pause = (*pause * 2).clamp(RETRY_MIN, RETRY_MAX);
            *until = Some(Instant::now() + *pause);
        }
    }

    /// The first topic from `from` on that is subscribed to.
    fn next(&self, from: usize) -> usize {
        (from..Topics::LISTENED)
            .find(|&i| self.left_out.get(i).is_some_and(Option::is_none))
            .unwrap_or(Topics::LISTENED)
    }

    /// Topics that may be tried again now are.
    fn due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.left_out.iter().any(|until| until.is_some_and(|until| until <= now));
        if due {
            self.left_out.iter_mut().filter(|until| until.is_some_and(|until| until <= now)).for_each(|u| *u = None);
        }
        due
    }

    fn wakes_at(&self) -> Option<Instant> {
        self.left_out.iter().flatten().min().copied()
    }
}

/// The connection.
pub(super) struct Connection {
    socket: EventLoop,
    client: AsyncClient,
    events: mpsc::Sender<Event>,
    topics: Arc<Topics>,
    mqtt: Mqtt,
    wire: Arc<Wire>,
    phase: Phase,
    /// What is probed or subscribed to must be answered by then. Other packets, such as pings, do not put it off.
    answer_by: Instant,
    packets: Packets,
    oversized: Oversized,
    /// Each connection is a session of its own.
    is_clean: bool,
    /// What the last connection left, while this one is not up.
    kept: VecDeque<Request>,
    backoff: Duration,
    since: Option<Instant>,
}

/// The task is to end.
struct Ended;

impl Connection {
    pub(super) fn new(
        (client, socket): (AsyncClient, EventLoop),
        events: mpsc::Sender<Event>,
        topics: Arc<Topics>,
        mqtt: Mqtt,
        wire: Arc<Wire>,
    ) -> Connection {
        Connection {
            is_clean: socket.mqtt_options.clean_session(),
            socket,
            client,
            events,
            topics,
            mqtt,
            wire,
            phase: Phase::Down,
            answer_by: Instant::now(),
            packets: Packets::default(),
            oversized: Oversized::default(),
            kept: VecDeque::new(),
            backoff: BACKOFF_MIN,
            since: None,
        }
    }

    /// Runs until it is asked to end, or the events' receiver is gone.
    pub(super) async fn run(mut self) {
        while self.turn().await.is_ok() {}
    }

    async fn turn(&mut self) -> Result<(), Ended> {
        let limit = match self.phase {
            Phase::Probing | Phase::Subscribing(_) => Some(self.answer_by),
            Phase::Up => self.oversized.wakes_at(),
            Phase::Down => None,
        };
        let polled = match limit {
            Some(limit) => tokio::time::timeout_at(limit, self.socket.poll()).await,
            None => Ok(self.socket.poll().await),
        };
        match polled {
            Ok(Ok(rumqttc::Event::Outgoing(Outgoing::Disconnect))) => {
                // The broker hangs up when it has read our last words; polling on would connect again.
                let hang_up = async { while self.socket.poll().await.is_ok() {} };
                let _ = tokio::time::timeout(HANG_UP, hang_up).await;
                let _ = self.events.send(Event::Closed).await;
                Err(Ended)
            }
            Ok(Ok(event)) => self.on_event(event).await,
            Ok(Err(error)) => self.on_error(error).await,
            Err(_) => self.on_silence().await,
        }
    }

    async fn on_event(&mut self, event: rumqttc::Event) -> Result<(), Ended> {
        match (event, self.phase) {
            (rumqttc::Event::Incoming(Packet::ConnAck(answer)), _) if answer.code == ConnectReturnCode::Success => {
                self.since = Some(Instant::now());
                self.kept = std::mem::take(&mut self.socket.pending);
                self.go_on(0).await
            }
            (rumqttc::Event::Incoming(Packet::UnsubAck(_)), Phase::Probing) => {
                self.packets.passed(self.wire.largest_bytes.load(Ordering::Relaxed));
                self.go_on(0).await
            }
            // What is kept on the topic comes before the answer to what is asked now.
            (rumqttc::Event::Incoming(Packet::SubAck(_)), Phase::Subscribing(_)) => self.ask(0),
            (rumqttc::Event::Incoming(Packet::UnsubAck(_)), Phase::Subscribing(topic)) => self.go_on(topic + 1).await,
            (rumqttc::Event::Incoming(Packet::Publish(p)), _) => {
                self.report(read(&self.topics, &p.topic, &p.payload)).await
            }
            (
                rumqttc::Event::Incoming(Packet::PubAck(_))
                | rumqttc::Event::Outgoing(Outgoing::Publish(_) | Outgoing::Subscribe(_)),
                Phase::Up,
            ) => {
                // Only a hint: any event that waits already makes the sender look. So hints take no places of events
                // that must not be lost, and a sender that is busy with the disk does not hold the socket up.
                if self.events.capacity() == self.events.max_capacity() {
                    let _ = self.events.try_send(Event::Progress);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The next step towards a connection that is up: a probe, or the subscription of a topic from `topic` on.
    async fn go_on(&mut self, topic: usize) -> Result<(), Ended> {
        self.answer_by = Instant::now() + ANSWER_LIMIT;
        if let Some(bytes) = self.packets.probe() {
            self.phase = Phase::Probing;
            return self.ask(bytes);
        }
        if !self.oversized.is_cautious {
            let filters = self.topics.listened().map(|t| SubscribeFilter::new(t.clone(), QoS::AtLeastOnce));
            // There is room: nothing else is published before the connection is up.
            let _ = self.client.try_subscribe_many(filters);
            return self.up().await;
        }
        let topic = self.oversized.next(topic);
        let Some(name) = self.topics.listened().get(topic).map(|t| t.as_str()) else { return self.up().await };
        self.phase = Phase::Subscribing(topic);
        let _ = self.client.try_subscribe(name, QoS::AtLeastOnce);
        Ok(())
    }

    /// Asks for an answer that changes nothing, with a packet of `bytes`, or of a few.
    fn ask(&self, bytes: usize) -> Result<(), Ended> {
        let _ = self.client.try_unsubscribe(probe_topic(bytes));
        Ok(())
    }

    async fn up(&mut self) -> Result<(), Ended> {
        self.phase = Phase::Up;
        if self.oversized.is_cautious && self.oversized.wakes_at().is_none() {
            self.oversized = Oversized::default();
            self.socket.mqtt_options.set_clean_session(self.is_clean);
        }
        let limit = self.packets.limit();
        // A packet that does not fit is in the spool, or was a picture.
        let mut largest = 0;
        self.kept.retain(|request| match request {
            Request::Publish(p) => {
                let bytes = publish_bytes(&p.topic, p.qos == QoS::AtMostOnce, p.payload.len());
                let fits = limit.is_none_or(|limit| bytes <= limit);
                largest = largest.max(if fits { bytes } else { 0 });
                fits
            }
            Request::Subscribe(_) | Request::Unsubscribe(_) => false,
            _ => true,
        });
        self.socket.pending.append(&mut self.kept);
        self.wire.largest_bytes.store(largest, Ordering::Relaxed);
        self.wire.is_up.store(true, Ordering::Relaxed);
        if self.wire.limit_bytes.swap(limit.unwrap_or(usize::MAX), Ordering::Relaxed) != limit.unwrap_or(usize::MAX) {
            self.report(Event::PacketLimit(limit)).await?;
        }
        self.report(Event::Connected).await
    }

    async fn on_error(&mut self, error: ConnectionError) -> Result<(), Ended> {
        let phase = std::mem::replace(&mut self.phase, Phase::Down);
        self.wire.is_up.store(false, Ordering::Relaxed);
        let lived = self.since.take().map(|since| since.elapsed());
        if phase != Phase::Up {
            // What this connection had not sent again yet.
            self.socket.pending.append(&mut self.kept);
        }
        if let Some(bytes) = host::broker::oversized_bytes(&error).filter(|_| phase != Phase::Down) {
            return self.on_oversized(phase, bytes).await;
        }
        match (phase, lived) {
            (Phase::Probing, _) => {
                log::debug!("a probe of {:?} bytes ended the connection: {error}", self.packets.probe());
                self.packets.broke();
                tokio::time::sleep(jitter(BACKOFF_MIN)).await;
                return Ok(());
            }
            (Phase::Up, Some(lived)) => self.packets.lost(lived, self.wire.largest_bytes.load(Ordering::Relaxed)),
            _ => {}
        }
        if lived.is_some_and(|lived| lived > STEADY) {
            self.backoff = BACKOFF_MIN;
        }
        let why = fault::text(&error, &self.mqtt, lived.is_some());
        self.report(Event::Lost(format!("{}:{}: {why}", self.mqtt.host, self.mqtt.port))).await?;
        tokio::time::sleep(jitter(self.backoff)).await;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        Ok(())
    }

    /// A message came that is larger than we read. The broker would send it again to the same session.
    async fn on_oversized(&mut self, phase: Phase, bytes: usize) -> Result<(), Ended> {
        self.socket.mqtt_options.set_clean_session(true);
        self.oversized.is_cautious = true;
        if let Phase::Subscribing(topic) = phase {
            self.oversized.leave_out(topic);
            let name = self.topics.listened().get(topic).map(|t| (*t).clone()).unwrap_or_default();
            let what = format!(
                "a message of {bytes} bytes is kept on {name}, more than is read; that topic is left out for now. Remove \
                 it: mosquitto_pub -r -n -t {name}"
            );
            self.report(Event::Nonsense(what)).await?;
        }
        self.report(Event::Lost(format!(
            "{}:{}: a message of {bytes} bytes, more than is read, came in",
            self.mqtt.host, self.mqtt.port
        )))
        .await?;
        tokio::time::sleep(jitter(BACKOFF_MIN)).await;
        Ok(())
    }

    /// Nothing came in time: the broker does not answer, or a topic is to be tried again.
    async fn on_silence(&mut self) -> Result<(), Ended> {
        match self.phase {
            Phase::Probing => {
                self.packets.give_up();
                self.go_on(0).await
            }
            Phase::Subscribing(_) => self.up().await,
            Phase::Up if self.oversized.due() => {
                self.wire.is_up.store(false, Ordering::Relaxed);
                self.go_on(0).await
            }
            _ => Ok(()),
        }
    }

    async fn report(&mut self, event: Event) -> Result<(), Ended> {
        self.events.send(event).await.map_err(|_| Ended)
    }
}

/// A topic without a subscriber, so long that its UNSUBSCRIBE packet has `bytes`.
pub(super) fn probe_topic(bytes: usize) -> String {
    let mut topic = "hueflow-size-".to_owned();
    let end = unsubscribe_topic_bytes(bytes);
    topic.extend(std::iter::repeat_n('0', end.saturating_sub(topic.len())));
    topic.truncate(end);
    topic
}

/// Between half of it and all of it, so that a thousand edges do not come back at the same moment.
fn jitter(backoff: Duration) -> Duration {
    use rand::TryRng;
    let r = rand::rngs::SysRng.try_next_u32().unwrap_or(u32::MAX / 2);
    backoff.mul_f64(0.5 + 0.5 * f64::from(r) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_never_longer_than_the_backoff() {
        for _ in 0..50 {
            let d = jitter(BACKOFF_MAX);
            assert!(d >= BACKOFF_MAX / 2 && d <= BACKOFF_MAX);
        }
    }
}
