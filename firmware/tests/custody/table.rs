//! Table: the interleavings of CUSTODY by name, each played out step by step.
//!
//! Takes nothing. Gives nothing.
//! Touches a house of its own for each row.
//! Never chance: who acts when is written down.

use super::house::{Bridge, Broker, Edge, Journal, Message, SEGMENT, SEGMENTS, Store};

const S: u64 = 1_000_000;

struct Scene {
    edge: Edge,
    broker: Broker,
    bridge: Bridge,
    journal: Journal,
    store: Store,
    now: u64,
}

impl Scene {
    /// Edge and bridge connected to the broker, nothing accepted yet.
    fn new() -> Scene {
        let journal = Journal::new(0);
        let bridge = Bridge::new(&journal);
        let (broker, edge) = (Broker::new(), Edge::new(8));
        let mut s = Scene { edge, broker, bridge, journal, store: Store::default(), now: 0 };
        s.bridge.connect(&mut s.broker);
        s.edge.connect(&s.broker, 0);
        s
    }

    fn accept(&mut self, records: usize) {
        for _ in 0..records {
            self.edge.append();
            self.edge.sync();
        }
    }

    /// Everything the edge has to say goes to the broker.
    fn say(&mut self) -> usize {
        let mut said = 0;
        while let Some(m) = self.edge.say(self.now) {
            self.broker.publish(m, 1);
            said += 1;
        }
        said
    }

    /// The bridge works its queue off into the journal.
    fn relay(&mut self) {
        while !self.broker.queue.is_empty() || !self.bridge.pending.is_empty() {
            self.bridge.step(&mut self.broker, &mut self.journal, self.now);
        }
    }

    fn ack(&mut self) {
        self.now += S;
        if let Some(ack) = self.bridge.ack(&mut self.broker, self.now) {
            self.edge.on_ack(&ack, self.now);
        }
    }

    /// Time passes, and everyone does what there is to do, until all is settled.
    fn settle(&mut self) {
        for _ in 0..400 {
            self.say();
            self.relay();
            self.ack();
            self.edge.sync();
            if self.edge.evicting.is_some() {
                self.edge.evict();
            }
            if self.edge.settled() && self.broker.queue.is_empty() {
                break;
            }
        }
        assert!(self.edge.settled(), "not settled");
        self.store.read(&self.journal, usize::MAX);
        assert_eq!(self.store.missing(), []);
        assert!(self.store.rows.values().all(|&n| n == 1));
    }

    fn data_rows(&self) -> usize {
        self.store.rows.keys().filter(|n| n.0.is_multiple_of(2)).count()
    }
}

#[test]
fn a_fresh_bridge_gets_an_old_record_again_after_the_edge_has_trimmed() {
    let mut s = Scene::new();
    s.accept(5);
    s.say();
    let old = s.broker.queue.iter().find(|m| matches!(m, Message::Record(_))).cloned();
    s.settle();
    s.bridge = Bridge::new(&s.journal);
    s.bridge.connect(&mut s.broker);
    s.broker.queue.extend(old);
    s.accept(1);
    s.settle();
    assert_eq!((s.data_rows(), s.store.duplicates), (6, 1));
}

#[test]
fn the_bridge_dies_after_the_journals_word_and_before_the_ack() {
    let mut s = Scene::new();
    s.accept(3);
    s.say();
    s.relay();
    s.bridge.crash(&mut s.broker);
    s.bridge = Bridge::new(&s.journal);
    s.bridge.connect(&mut s.broker);
    s.settle();
    assert_eq!(s.data_rows(), 3);
    assert!(s.store.duplicates >= 1, "a probe brought one again, and it was dropped");
}

#[test]
fn a_power_cut_takes_what_was_appended_and_not_synced_and_it_was_never_sent() {
    let mut s = Scene::new();
    s.accept(2);
    s.edge.append();
    s.edge.append();
    assert_eq!(s.say(), 3, "two records and a window");
    s.edge.crash();
    s.edge.start();
    s.edge.connect(&s.broker, s.now);
    s.accept(1);
    s.settle();
    assert_eq!(s.data_rows(), 3);
}

#[test]
fn a_stale_retained_ack_of_an_old_boot_settles_nothing_of_the_new() {
    let mut s = Scene::new();
    s.accept(4);
    s.settle();
    s.edge.crash();
    s.edge.start();
    s.accept(2);
    s.edge.connect(&s.broker, s.now);
    let (sender, boot) = (s.edge.sender.as_ref().unwrap(), s.edge.boot());
    assert_eq!((sender.floor(boot), sender.held()), (Some(0), 3), "two new, and one of a segment that had not ended");
    s.settle();
    assert_eq!(s.data_rows(), 6);
}

#[test]
fn the_broker_dies_with_everything_it_pubacked() {
    let mut s = Scene::new();
    s.accept(4);
    s.say();
    s.broker = Broker::new();
    s.bridge.connected = false;
    s.bridge.connect(&mut s.broker);
    s.edge.connect(&s.broker, s.now);
    s.settle();
    assert_eq!(s.data_rows(), 4);
}

#[test]
fn a_broker_that_dropped_all_before_the_bridge_first_came_is_given_it_again_at_once_and_not_one_by_one() {
    let mut s = Scene::new();
    s.edge = Edge::new(256);
    (s.broker, s.bridge.connected) = (Broker::new(), false);
    s.edge.connect(&s.broker, s.now);
    s.accept(SEGMENT * SEGMENTS);
    assert_eq!(s.say(), SEGMENT * SEGMENTS + 1, "and a window");
    assert!(s.broker.queue.is_empty(), "nobody had subscribed");
    s.now += 60 * S;
    s.bridge.connect(&mut s.broker);
    s.edge.sender.as_mut().unwrap().bridge_status(true, s.now);
    let (before, since) = (s.edge.sends, s.now);
    s.settle();
    assert_eq!(s.data_rows(), SEGMENT * SEGMENTS);
    assert!(s.now - since < 15 * S, "{}", s.now - since);
    assert_eq!((s.edge.sends - before, s.store.duplicates), ((SEGMENT * SEGMENTS) as u64, 0));
}

#[test]
fn the_journal_is_away_for_an_hour_and_no_probes_are_sent_while_the_bridge_says_so() {
    let mut s = Scene::new();
    s.accept(4);
    s.say();
    s.edge.sender.as_mut().unwrap().bridge_status(false, s.now);
    let before = s.edge.sends;
    for _ in 0..3_600 {
        s.now += S;
        s.say();
    }
    assert_eq!(s.edge.sends, before);
    s.edge.sender.as_mut().unwrap().bridge_status(true, s.now);
    s.now += 10 * S;
    s.say();
    assert_eq!(s.edge.sends, before + 1, "one when it is back and no ack has come");
    s.settle();
    assert_eq!(s.data_rows(), 4);
}

#[test]
fn a_crash_between_loss_record_and_unlink_sends_both_and_declared_and_stored_is_stored() {
    let mut s = Scene::new();
    s.accept(SEGMENT * SEGMENTS);
    s.edge.append();
    s.edge.sync();
    assert!(s.edge.evicting.is_some(), "the loss record is on the disk, the segment still there");
    s.edge.crash();
    s.edge.start();
    s.edge.connect(&s.broker, s.now);
    s.settle();
    assert_eq!((s.data_rows(), s.store.lost()), (SEGMENT * SEGMENTS, 0));
}

#[test]
fn an_eviction_while_the_range_is_in_flight_loses_nothing_that_arrived() {
    let mut s = Scene::new();
    s.accept(SEGMENT * SEGMENTS);
    s.say();
    s.edge.append();
    s.edge.sync();
    s.edge.evict();
    s.edge.sync();
    s.settle();
    let arrived = s.data_rows();
    assert_eq!(arrived + s.store.lost(), SEGMENT * SEGMENTS + 1);
    assert!(s.store.lost() <= SEGMENT);
}

#[test]
fn an_eviction_while_older_loss_records_are_held_does_not_hold_down_the_datas_floor() {
    let mut s = Scene::new();
    s.edge.connected = false;
    s.accept(SEGMENT * SEGMENTS);
    for _ in 0..2 {
        for _ in 0..SEGMENT {
            s.edge.append();
            while s.edge.sender.is_some() && s.edge.evicting.is_none() && s.edge.disk.segments.len() == SEGMENTS {
                let before = s.edge.accepted.len();
                s.edge.sync();
                if s.edge.accepted.len() > before {
                    break;
                }
            }
            if s.edge.evicting.is_some() {
                s.edge.evict();
                s.edge.sync();
            }
        }
    }
    assert_eq!(s.edge.disk.losses.len(), 2);
    let boot = s.edge.boot();
    assert_eq!(s.edge.sender.as_ref().unwrap().floor(boot), Some(2 * SEGMENT as u64));
    s.edge.connect(&s.broker, s.now);
    s.settle();
    assert_eq!(s.store.lost(), 2 * SEGMENT);
}

#[test]
fn an_old_boots_backlog_goes_beside_the_new_boots_live_records() {
    let mut s = Scene::new();
    s.edge.connected = false;
    s.accept(6);
    s.edge.crash();
    s.edge.start();
    s.edge.connect(&s.broker, s.now);
    s.accept(2);
    let _window = s.edge.say(s.now);
    let streams: Vec<u64> = std::iter::from_fn(|| s.edge.say(s.now))
        .filter_map(|m| match m {
            Message::Record(r) => Some(r.stream),
            Message::Window(_) => None,
        })
        .collect();
    let boot = s.edge.boot();
    assert_eq!(streams[..2], [boot, boot], "live before backfill");
    assert!(streams[2..].iter().all(|&b| b < boot) && streams.len() > 2);
    s.settle();
    assert_eq!(s.data_rows(), 8);
}

#[test]
fn another_journal_gets_what_was_acknowledged_out_of_turn() {
    let mut s = Scene::new();
    s.accept(6);
    s.say();
    // The first record dies on the way: all after it is acknowledged out of turn.
    let first = s.broker.queue.iter().position(|m| matches!(m, Message::Record(r) if r.seq == 0)).unwrap();
    s.broker.queue.remove(first);
    s.relay();
    s.ack();
    assert!(s.edge.sender.as_ref().unwrap().held() < 6);
    s.bridge.crash(&mut s.broker);
    s.journal = Journal::new(1);
    s.bridge = Bridge::new(&s.journal);
    s.bridge.connect(&mut s.broker);
    s.settle();
    assert_eq!(s.data_rows(), 6, "all of it is in the new journal");
}

#[test]
fn live_records_fill_the_window_while_the_bridge_forgets_and_the_lowest_hole_closes_first() {
    let mut s = Scene::new();
    s.accept(6);
    s.say();
    s.broker.queue.clear();
    s.accept(4);
    s.say();
    s.broker.queue.clear();
    s.settle();
    assert_eq!(s.data_rows(), 10);
}

#[test]
fn a_deleted_store_is_read_again_from_the_beginning() {
    let mut s = Scene::new();
    s.accept(5);
    s.settle();
    s.store = Store::default();
    s.accept(2);
    s.settle();
    assert_eq!(s.data_rows(), 7);
}

#[test]
fn two_edges_of_one_name_lose_nothing_since_their_boots_differ() {
    let mut s = Scene::new();
    let mut twin = Edge::new(8);
    twin.start();
    s.accept(3);
    for _ in 0..3 {
        twin.append();
        twin.sync();
    }
    for turn in 0..40 {
        // They take each other's session: only one of them is connected at a time.
        std::mem::swap(&mut s.edge, &mut twin);
        twin.connected = false;
        s.edge.connect(&s.broker, s.now);
        s.say();
        s.relay();
        s.ack();
        if turn > 30 && s.edge.settled() {
            break;
        }
    }
    s.settle();
    std::mem::swap(&mut s.edge, &mut twin);
    s.edge.connect(&s.broker, s.now);
    s.settle();
    assert_eq!(s.data_rows(), 6);
    assert_ne!(s.edge.boot(), twin.boot());
}
