//! The relay against a journal and an MQTT connection that obey the test: nothing is acknowledged before the journal's
//! confirmation.
//!
//! The fake journal can be held back, refuse and fail. No socket and no file is used. The tests wait for conditions, with a
//! limit.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{loss, record, window};
use firmware::custody::{Ack, JournalId};
use firmware::wire;
use futures::FutureExt;
use futures::future::BoxFuture;
use hueflow_bridge::failure::Failure;
use hueflow_bridge::journal::{Entry, Journal, JournalError, Offsets, Reader};
use hueflow_bridge::relay::forward::{Counters, INFLIGHT_BYTES_MAX, INFLIGHT_MAX, PICTURES_INFLIGHT_MAX, Relay};
use hueflow_bridge::relay::mqtt::{Delivery, Full, Inbound, Queues, Token, Wire};
use hueflow_bridge::relay::verdict::{DEAD_BYTES_MAX, ValueFormat};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

struct Fake {
    open: watch::Sender<bool>,
    asked: AtomicUsize,
    kept: Arc<Mutex<Vec<Entry>>>,
    /// Bytes of a value above which the topics refuse it, and those of dead letters.
    refuse_above: usize,
    refuse_dead_above: usize,
    fatal: AtomicBool,
}

impl Fake {
    fn new(open: bool) -> Arc<Fake> {
        let (asked, kept) = (AtomicUsize::new(0), Arc::default());
        Arc::new(Fake {
            open: watch::channel(open).0,
            asked,
            kept,
            refuse_above: usize::MAX,
            refuse_dead_above: usize::MAX,
            fatal: AtomicBool::new(false),
        })
    }

    fn kept(&self) -> Vec<Entry> {
        self.kept.lock().unwrap().clone()
    }
}

impl Journal for Fake {
    fn id(&self) -> JournalId {
        JournalId::try_from("fake").unwrap()
    }

    fn append(&self, entry: Arc<Entry>) -> BoxFuture<'static, Result<(), JournalError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (mut open, kept) = (self.open.subscribe(), self.kept.clone());
        let bytes_max = if entry.dead { self.refuse_dead_above } else { self.refuse_above };
        let (fatal, refused) = (self.fatal.load(Ordering::Relaxed), entry.value.len() > bytes_max);
        async move {
            if fatal {
                return Err(JournalError::Fatal("test".to_owned()));
            }
            open.wait_for(|o| *o).await.unwrap();
            if refused {
                return Err(JournalError::Refused("too large".to_owned()));
            }
            kept.lock().unwrap().push(Entry::clone(&entry));
            Ok(())
        }
        .boxed()
    }

    fn reachable(&self, _: Duration) -> bool {
        true
    }

    fn reader(&self, _: &Offsets) -> Result<Box<dyn Reader>, JournalError> {
        Err(JournalError::Fatal("write only".to_owned()))
    }

    fn member(&self, _: &str) -> Result<Box<dyn Reader>, JournalError> {
        Err(JournalError::Fatal("write only".to_owned()))
    }

    fn end(&self) -> Result<Offsets, JournalError> {
        Ok(Offsets::new())
    }
}

#[derive(Default)]
struct Published {
    acked: AtomicUsize,
    full: AtomicBool,
    acks: Mutex<Vec<(String, Ack)>>,
}

impl Wire for Published {
    fn ack(&self, _: &Token) -> Result<(), Full> {
        if self.full.load(Ordering::Relaxed) {
            return Err(Full);
        }
        self.acked.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn publish_ack(&self, device: &str, bytes: &[u8]) -> Result<(), Full> {
        if self.full.load(Ordering::Relaxed) {
            return Err(Full);
        }
        self.acks.lock().unwrap().push((device.to_owned(), wire::decode_ack(bytes).unwrap()));
        Ok(())
    }

    fn journal(&self, _: bool) {}
}

impl Published {
    /// The ranges of a stream in the last ack of the device.
    fn ranges(&self, device: &str, stream: u64) -> Vec<(u64, u64)> {
        let acks = self.acks.lock().unwrap();
        let last = acks.iter().rfind(|(d, _)| d == device).map(|(_, a)| a.clone());
        let found = last.and_then(|a| a.streams.iter().find(|s| s.stream == stream).map(|s| s.ranges.to_vec()));
        found.unwrap_or_default()
    }
}

struct House {
    journal: Arc<Fake>,
    published: Arc<Published>,
    tx: mpsc::Sender<Inbound>,
    pictures: mpsc::Sender<Delivery>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<Result<Counters, Failure>>,
}

impl House {
    fn new(journal: Arc<Fake>) -> House {
        let published = Arc::new(Published::default());
        let (tx, inbound) = mpsc::channel(4 * INFLIGHT_MAX);
        let (pictures, slot) = mpsc::channel(8);
        let (stop, stopped) = watch::channel(false);
        let relay = Relay::new(journal.clone(), published.clone(), ValueFormat::Json);
        let task = tokio::spawn(async move {
            let mut queues = Queues { inbound, pictures: slot, skipped: Arc::new(AtomicU64::new(0)) };
            relay.run(&mut queues, stopped).await
        });
        House { journal, published, tx, pictures, stop, task }
    }

    async fn give(&self, topic: &str, payload: Vec<u8>) {
        let delivery =
            Delivery { topic: format!("hueflow/home/{topic}"), payload, is_retained: false, token: Token::none() };
        self.tx.send(Inbound::Delivery(delivery)).await.unwrap();
    }

    async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !condition() {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(self) -> Counters {
        self.stop.send(true).unwrap();
        self.task.await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_before_the_journals_confirmation() {
    let h = House::new(Fake::new(false));
    for seq in 0..40 {
        h.give("pi/metrics", record(8, seq)).await;
    }
    h.give("bridge/status", b"{}".to_vec()).await; // Not for the journal, but its ack waits for its turn.
    h.until("asked", || h.journal.asked.load(Ordering::Relaxed) == 40).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(h.published.acked.load(Ordering::Relaxed), 0);
    assert!(h.published.acks.lock().unwrap().is_empty());
    h.journal.open.send(true).unwrap();
    h.until("acked", || h.published.acked.load(Ordering::Relaxed) == 41).await;
    h.until("published", || h.published.ranges("pi", 8) == [(0, 40)]).await;
    assert_eq!(h.journal.kept().len(), 40);
    assert_eq!(h.end().await.records, 40);
}

#[tokio::test]
async fn a_retained_message_that_cannot_be_read_is_no_dead_letter_at_each_connection() {
    let h = House::new(Fake::new(true));
    let retained = |topic: &str, payload: Vec<u8>| {
        let topic = format!("hueflow/home/{topic}");
        h.tx.send(Inbound::Delivery(Delivery { topic, payload, is_retained: true, token: Token::none() }))
    };
    for connection in 1..=3 {
        h.tx.send(Inbound::Connected).await.unwrap();
        retained("pi/metrics", b"junk".to_vec()).await.unwrap();
        retained("pi/window", b"junk".to_vec()).await.unwrap();
        retained("pi/status", b"junk".to_vec()).await.unwrap();
        // A retained record that can be read is kept: it may be the only copy, whichever client set the flag.
        retained("pi/metrics", record(8, 1)).await.unwrap();
        h.until("acked", || h.published.acked.load(Ordering::Relaxed) == 4 * connection).await;
    }
    // Published while the bridge listens, the same bytes are somebody's record that went wrong.
    h.give("pi/metrics", b"junk".to_vec()).await;
    h.until("acked", || h.published.acked.load(Ordering::Relaxed) == 13).await;
    let counters = h.end().await;
    assert_eq!((counters.dead, counters.records, counters.retained_unreadable), (1, 3, 9));
}

#[tokio::test]
async fn with_the_journal_away_the_records_taken_are_bounded() {
    let h = House::new(Fake::new(false));
    for seq in 0..2 * INFLIGHT_MAX as u64 {
        h.give("pi/metrics", record(8, seq)).await;
    }
    h.until("full", || h.journal.asked.load(Ordering::Relaxed) == INFLIGHT_MAX).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(h.journal.asked.load(Ordering::Relaxed), INFLIGHT_MAX);
    h.journal.open.send(true).unwrap();
    h.until("all", || h.published.acked.load(Ordering::Relaxed) == 2 * INFLIGHT_MAX).await;
    h.until("published", || h.published.ranges("pi", 8) == [(0, 2 * INFLIGHT_MAX as u64)]).await;
}

#[tokio::test]
async fn with_the_journal_away_the_bytes_taken_are_bounded() {
    let h = House::new(Fake::new(false));
    // The largest there are: what is too long is kept as far as it goes.
    let dead = vec![7; DEAD_BYTES_MAX];
    let taken = INFLIGHT_BYTES_MAX / DEAD_BYTES_MAX;
    assert!(taken < INFLIGHT_MAX);
    for _ in 0..taken + 10 {
        h.give("pi/video", dead.clone()).await;
    }
    h.until("full", || h.journal.asked.load(Ordering::Relaxed) == taken).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(h.journal.asked.load(Ordering::Relaxed), taken);
    h.journal.open.send(true).unwrap();
    h.until("all", || h.published.acked.load(Ordering::Relaxed) == taken + 10).await;
}

#[tokio::test]
async fn a_full_socket_delays_acks_and_loses_none() {
    let h = House::new(Fake::new(true));
    h.published.full.store(true, Ordering::Relaxed);
    for seq in 0..5 {
        h.give("pi/metrics", record(8, seq)).await;
    }
    h.until("kept", || h.journal.kept().len() == 5).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    h.published.full.store(false, Ordering::Relaxed);
    h.until("acked", || h.published.acked.load(Ordering::Relaxed) == 5).await;
    h.until("published", || h.published.ranges("pi", 8) == [(0, 5)]).await;
}

/// The socket takes acks only while it is read from, and it is read from only while the relay takes what came.
#[tokio::test]
async fn deliveries_are_taken_while_acks_cannot_be_written() {
    let h = House::new(Fake::new(true));
    h.published.full.store(true, Ordering::Relaxed);
    for seq in 0..3 * INFLIGHT_MAX as u64 {
        h.give("pi/metrics", record(8, seq)).await;
    }
    h.until("kept", || h.journal.kept().len() == 3 * INFLIGHT_MAX).await;
    h.published.full.store(false, Ordering::Relaxed);
    h.until("acked", || h.published.acked.load(Ordering::Relaxed) == 3 * INFLIGHT_MAX).await;
}

#[tokio::test]
async fn dead_letters_are_kept_with_their_reason_and_then_acknowledged() {
    let h = House::new(Fake::new(true));
    h.give("pi/metrics", b"random bytes that are no record at all, not even nearly one".to_vec()).await;
    h.give("pi/census", record(8, 0)).await;
    h.give("pi/metrics", record(8, 1)).await;
    h.until("acked", || h.published.acked.load(Ordering::Relaxed) == 3).await;
    let kept = h.journal.kept();
    let reasons: Vec<_> = kept.iter().map(|e| (e.topic_name(), e.header("reason").map(str::to_owned))).collect();
    assert_eq!(reasons[0], ("metrics.dlq".to_owned(), Some("magic".to_owned())));
    assert_eq!(reasons[1], ("census.dlq".to_owned(), Some("kind-topic".to_owned())));
    assert_eq!(reasons[2], ("metrics".to_owned(), None));
    h.until("its envelope could be read: handed over", || h.published.ranges("pi", 8) == [(0, 2)]).await;
    let counters = h.end().await;
    assert_eq!((counters.records, counters.dead), (1, 2));
}

#[tokio::test]
async fn what_the_journal_refuses_becomes_a_dead_letter_with_its_bytes_and_without_them_only_if_that_is_refused_too() {
    for (refuse_dead_above, kept_bytes) in [(usize::MAX, record(8, 0)), (50, Vec::new())] {
        let mut fake = Fake::new(true);
        let settings = Arc::get_mut(&mut fake).unwrap();
        (settings.refuse_above, settings.refuse_dead_above) = (100, refuse_dead_above);
        let h = House::new(fake);
        h.give("pi/metrics", record(8, 0)).await;
        h.until("published", || h.published.ranges("pi", 8) == [(0, 1)]).await;
        let kept = h.journal.kept();
        assert_eq!((kept.len(), kept[0].topic_name().as_str()), (1, "metrics.dlq"));
        assert_eq!(kept[0].value, kept_bytes);
        assert_eq!((kept[0].header("reason"), kept[0].header("seq")), (Some("refused"), Some("0")));
        assert_eq!(kept[0].header_u64("bytes"), Some(record(8, 0).len() as u64));
    }
}

#[tokio::test]
async fn windows_are_journalled_and_acknowledged_but_foreign_ones_only_answered() {
    let h = House::new(Fake::new(true));
    h.give("pi/metrics", record(8, 0)).await;
    h.give("pi/metrics", loss(9, 0, 8, 5, 7)).await;
    h.give("pi/window", window(8, 1, None, &[(8, 0, 0, 9), (9, 0, 0, 1)])).await;
    h.until("window", || h.published.acks.lock().unwrap().iter().any(|(_, a)| a.window.is_some_and(|w| w.n == 1)))
        .await;
    h.give("pi/window", window(8, 1, None, &[(8, 0, 0, 9), (9, 0, 0, 1)])).await;
    h.give("pi/window", window(8, 2, Some("other"), &[(8, 0, 0, 9)])).await;
    h.until("acked", || h.published.acked.load(Ordering::Relaxed) == 5).await;
    let schemas: Vec<_> = h.journal.kept().iter().map(|e| e.header("schema").unwrap().to_owned()).collect();
    assert_eq!(
        schemas,
        ["hueflow.metrics/3", "hueflow.loss/1", "hueflow.window/1"],
        "the repeat and the foreign one are not kept"
    );
    let n = h.published.acks.lock().unwrap().len();
    h.until("answered", || h.published.acks.lock().unwrap().len() >= n.max(2)).await;
    let (_, last) = h.published.acks.lock().unwrap().last().cloned().unwrap();
    assert_eq!((last.journal.as_str(), last.window.unwrap().n), ("fake", 1));
    assert_eq!(h.end().await.foreign, 1);
}

#[tokio::test]
async fn pictures_without_custody_wait_in_one_slot_and_never_hold_up_records() {
    use firmware::custody::Kind;
    use firmware::wire::OriginalHead;
    let h = House::new(Fake::new(false));
    for n in 0..50u64 {
        let head = OriginalHead { frame: n, width: 1, height: 1 };
        let payload =
            hueflow_bridge::relay::verdict::seal(&common::envelope(Kind::Original, 0, 0), &head, b"jpeg").unwrap();
        let delivery =
            Delivery { topic: "hueflow/home/pi/video".to_owned(), payload, is_retained: false, token: Token::none() };
        h.pictures.send(delivery).await.unwrap();
    }
    h.give("pi/metrics", record(8, 0)).await;
    h.until("taken", || h.pictures.capacity() == 8 && h.journal.asked.load(Ordering::Relaxed) >= 9).await;
    h.journal.open.send(true).unwrap();
    h.until("kept", || h.journal.kept().iter().any(|e| !e.loose)).await;
    h.until("the newest", || h.journal.kept().len() == 10).await;
    let c = h.end().await;
    assert_eq!((c.pictures, c.pictures_skipped, c.records), (9, 41, 1));
}

#[tokio::test]
async fn pictures_of_many_devices_take_turns() {
    use firmware::custody::Kind;
    use firmware::wire::OriginalHead;
    let h = House::new(Fake::new(false));
    let give = async |device: &str, frame: u64| {
        let head = OriginalHead { frame, width: 1, height: 1 };
        let envelope = common::envelope(Kind::Original, 0, 0);
        let payload = hueflow_bridge::relay::verdict::seal(&envelope, &head, b"jpeg").unwrap();
        let delivery = Delivery {
            topic: format!("hueflow/home/{device}/video"),
            payload,
            is_retained: false,
            token: Token::none(),
        };
        h.pictures.send(delivery).await.unwrap();
    };
    for frame in 0..PICTURES_INFLIGHT_MAX as u64 {
        give("busy", frame).await;
        h.until("on its way", || h.journal.asked.load(Ordering::Relaxed) as u64 > frame).await;
    }
    // Now there is no room: a busy device, many others, and the busy one and the first again.
    let devices: Vec<String> = (0..30).map(|n| format!("d{n}")).collect();
    for device in devices.iter().map(String::as_str).chain(["busy", "d0", "busy"]) {
        give(device, 99).await;
    }
    h.until("taken", || h.pictures.capacity() == 8).await;
    h.journal.open.send(true).unwrap();
    let all = PICTURES_INFLIGHT_MAX + devices.len() + 1;
    h.until("kept", || h.journal.kept().len() == all).await;
    let kept: Vec<String> = h.journal.kept().into_iter().skip(PICTURES_INFLIGHT_MAX).map(|e| e.key).collect();
    assert_eq!(kept, devices.into_iter().chain(["busy".to_owned()]).collect::<Vec<_>>());
    assert_eq!(h.end().await.pictures_skipped, 2);
}

#[tokio::test]
async fn after_a_reconnect_every_device_hears_its_ack_again() {
    let h = House::new(Fake::new(true));
    h.give("a/metrics", record(8, 0)).await;
    h.give("b/metrics", record(10, 0)).await;
    h.until("published", || h.published.acks.lock().unwrap().len() == 2).await;
    h.tx.send(Inbound::Connected).await.unwrap();
    h.until("again", || h.published.acks.lock().unwrap().len() == 4).await;
    assert_eq!(h.published.ranges("b", 10), [(0, 1)]);
}

#[tokio::test]
async fn a_journal_that_failed_for_good_ends_the_relay_as_unavailable() {
    let h = House::new(Fake::new(true));
    h.journal.fatal.store(true, Ordering::Relaxed);
    h.give("pi/metrics", record(8, 0)).await;
    let end = h.task.await.unwrap();
    assert_eq!(end.unwrap_err().code(), 69);
    assert_eq!(h.published.acked.load(Ordering::Relaxed), 0);
}
