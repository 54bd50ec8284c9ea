//! Events: what changes, as server-sent events, for those who watch the fleet or one device.
//!
//! A listener gets `hello` first, then each change of health, and once a second the cards that changed (fleet), or each event
//! of its device with a number. Events that it was too slow for are named by `missed`; the page then asks for the state. A
//! fleet's cards are bounded by bytes a second, whatever its size.

use super::App;
use super::health::Health;
use super::live;
use crate::clock;
use crate::metrics::store::ledger::Line;
use axum::extract::{Query as Params, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// How often health, ledger and the fleet's cards are looked at.
const TICK: Duration = Duration::from_secs(1);
/// Silence after which a sign of life is sent. The page takes a connection for dead after four of them.
const ALIVE: Duration = Duration::from_secs(10);
/// Bytes of cards in a second. With the thumbnails that are in sight, a page stays below 200 KB/s.
const CARDS_BYTES_MAX: usize = 128 * 1024;

/// What a listener watches.
#[derive(serde::Deserialize)]
pub struct Watched {
    device: Option<String>,
}

struct Listener {
    app: App,
    stop: watch::Receiver<bool>,
    device: Option<(String, broadcast::Receiver<live::Event>)>,
    /// Version of the cards that were sent.
    version: u64,
    health: Option<Health>,
    ledger: Option<Value>,
    queue: VecDeque<Event>,
    tick: tokio::time::Interval,
}

/// The stream of events.
pub async fn events(
    State(app): State<App>,
    Params(watched): Params<Watched>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (last, device) = match watched.device {
        Some(name) => {
            let (last, events) = app.live.watch(&name);
            (last, Some((name, events)))
        }
        None => (0, None),
    };
    let hello = json!({
        "now_ms": clock::now_us() / 1000,
        "last": last,
        "session": app.guard.session(),
        "outages": app.outages.is_some(),
    });
    let queue = VecDeque::from([Event::default().event("hello").data(hello.to_string())]);
    let stop = app.stop.clone();
    let listener = Listener { app, stop, device, version: 0, health: None, ledger: None, queue, tick };
    let stream = futures::stream::unfold(listener, |mut l| async move { l.next().await.map(|e| (Ok(e), l)) });
    // An event and not a comment, so that the page notices a connection that is dead without an end.
    Sse::new(stream).keep_alive(KeepAlive::new().interval(ALIVE).event(Event::default().event("alive").data("{}")))
}

async fn receive(
    device: &mut Option<(String, broadcast::Receiver<live::Event>)>,
) -> Result<live::Event, broadcast::error::RecvError> {
    match device {
        Some((_, events)) => events.recv().await,
        None => std::future::pending().await,
    }
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            let received = tokio::select! {
                _ = self.stop.wait_for(|s| *s) => return None,
                _ = self.tick.tick() => None,
                received = receive(&mut self.device) => Some(received),
            };
            match received {
                None => self.look(),
                Some(Ok(e)) => return Some(Event::default().event(e.name).id(e.n.to_string()).data(&*e.data)),
                Some(Err(broadcast::error::RecvError::Lagged(n))) => {
                    let all = self.app.live.skipped(n);
                    log::debug!("page: a listener is slow and missed {n} events ({all} in all)");
                    return Some(Event::default().event("missed").data(json!({ "events": n }).to_string()));
                }
                Some(Err(broadcast::error::RecvError::Closed)) => return None,
            }
        }
    }

    /// Queues what changed since the last look.
    fn look(&mut self) {
        let live = &self.app.live;
        let health = live.health();
        if self.health.as_ref() != Some(&health) {
            self.queue.push_back(Event::default().event("health").data(json!(health).to_string()));
            self.health = Some(health);
        }
        let lines = live.ledger();
        let ledger = match &self.device {
            Some((name, _)) => json!(lines.iter().filter(|l| l.device == *name).collect::<Vec<_>>()),
            None => totals(&lines),
        };
        if self.ledger.as_ref() != Some(&ledger) {
            self.queue.push_back(Event::default().event("ledger").data(ledger.to_string()));
            self.ledger = Some(ledger);
        }
        if self.device.is_none() {
            let (cards, version) = live.cards_since(self.version, CARDS_BYTES_MAX);
            self.version = version;
            if !cards.is_empty() {
                let data = format!("{{\"now_ms\":{},\"cards\":[{}]}}", clock::now_us() / 1000, cards.join(","));
                self.queue.push_back(Event::default().event("fleet").data(data));
            }
        }
    }
}

/// The sums over all lines of the ledger.
pub fn totals(lines: &[Line]) -> Value {
    let sum = |of: fn(&Line) -> u64| lines.iter().map(of).fold(0, u64::saturating_add);
    json!({
        "boots": lines.len(),
        "produced": sum(|l| l.produced),
        "stored": sum(|l| l.stored),
        "declared_lost": sum(|l| l.declared_lost),
        "missing": sum(|l| l.missing),
        "dead": sum(|l| l.dead),
        "duplicates": sum(|l| l.duplicates),
        "frames_dropped": sum(|l| l.frames_dropped),
    })
}
