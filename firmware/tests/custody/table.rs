//! The interleavings that CUSTODY names, one test each.
//!
//! Each test has a site of its own and fixes the order of all steps.

use super::audit::Audit;
use super::site::{Bridge, Broker, Death, Edge, Journal, Message, Role, Size, Store};

const S: u64 = 1_000_000;
const SEGMENT: usize = 3;
const SEGMENTS: usize = 4;
const SIZE: Size = Size { segment: SEGMENT, segments: SEGMENTS, losses: 6, unsynced: 4, window: 8 };

struct Scene {
    edge: Edge,
    broker: Broker,
    bridge: Bridge,
    journals: Vec<Journal>,
    store: Store,
    audit: Option<Audit>,
    now: u64,
}

impl Scene {
    /// Creates a site with edge and bridge connected to the broker and no records.
    fn new() -> Scene {
        let journal = Journal::new(0);
        let bridge = Bridge::new(0, &journal);
        let (broker, edge) = (Broker::new(), Edge::new(SIZE, None));
        let (store, audit) = (Store::default(), Some(Audit::default()));
        let mut s = Scene { edge, broker, bridge, journals: vec![journal], store, audit, now: 0 };
        s.bridge.connect(&mut s.broker, 0);
        s.edge.connect(&s.broker, 0);
        s
    }

    fn accept(&mut self, records: usize) {
        for _ in 0..records {
            self.edge.append(self.now, None);
            self.edge.sync();
            self.check();
        }
    }

    fn check(&mut self) {
        if let Some(audit) = &mut self.audit {
            assert_eq!(audit.check(&mut self.edge, &self.broker, &self.journals), Ok(()));
        }
    }

    /// Replaces the bridge by one that knows no record.
    fn replace_bridge(&mut self) {
        self.bridge.crash(&mut self.broker);
        self.bridge = Bridge::new(0, self.journals.last().unwrap());
        self.bridge.connect(&mut self.broker, self.now);
    }

    /// Publishes all messages of the edge and returns their number.
    fn publish(&mut self) -> usize {
        let mut published = 0;
        while let Some(m) = self.edge.next_message(self.now) {
            self.broker.publish(m, 1);
            published += 1;
            self.check();
        }
        published
    }

    /// Moves the broker's queue into the journal.
    fn relay(&mut self) {
        while !self.broker.queue.is_empty() || !self.bridge.idle() {
            self.bridge.receive(&mut self.broker, self.now);
            self.bridge.write(self.journals.last_mut().unwrap());
            self.bridge.settle(self.now);
            self.check();
        }
    }

    fn ack(&mut self) {
        self.now += S;
        if let Some(ack) = self.bridge.ack(&mut self.broker, self.now) {
            assert_eq!(Audit::ack(&ack, &self.journals), Ok(()));
            self.edge.on_ack(&ack, self.now, None);
        }
        self.check();
    }

    /// Lets time pass and all parts act until everything is settled.
    fn settle(&mut self) {
        for _ in 0..400 {
            self.publish();
            self.relay();
            self.ack();
            self.edge.sync();
            self.edge.listen(&self.broker, self.now);
            if self.edge.settled() && self.broker.queue.is_empty() {
                break;
            }
        }
        assert!(self.edge.settled(), "not settled");
        self.store.read(self.journals.last().unwrap(), usize::MAX);
        assert_eq!(self.store.missing(), []);
    }

    fn data_rows(&self) -> usize {
        self.store.rows.keys().filter(|n| n.0.is_multiple_of(2)).count()
    }
}

#[test]
fn a_fresh_bridge_gets_an_old_record_again_after_the_edge_has_trimmed() {
    let mut s = Scene::new();
    s.accept(5);
    s.publish();
    let old = s.broker.queue.iter().find(|m| matches!(m, Message::Record(_))).cloned();
    s.settle();
    s.replace_bridge();
    s.broker.queue.extend(old);
    s.accept(1);
    s.settle();
    assert_eq!((s.data_rows(), s.store.duplicates), (6, 1));
}

#[test]
fn a_bridge_dies_between_the_journals_confirmation_and_the_ack() {
    let mut s = Scene::new();
    s.accept(3);
    s.publish();
    s.relay();
    s.replace_bridge();
    s.settle();
    assert_eq!(s.data_rows(), 3);
    assert!(s.store.duplicates >= 1, "a probe repeated one, and the store dropped it");
}

#[test]
fn a_power_cut_takes_only_records_that_were_never_sent() {
    let mut s = Scene::new();
    s.accept(1);
    s.edge.append(0, None);
    s.edge.append(0, None);
    assert_eq!(s.publish(), 2, "a record and a window");
    s.edge.crash(0);
    s.edge.start(s.now);
    s.edge.connect(&s.broker, s.now);
    s.accept(1);
    s.settle();
    assert_eq!(s.data_rows(), 2);
}

#[test]
fn complete_records_after_a_power_cut_are_held_and_sent_by_the_next_boot() {
    let mut s = Scene::new();
    s.accept(1);
    s.edge.append(0, None);
    s.edge.append(0, None);
    s.edge.crash(1);
    s.edge.start(s.now);
    s.edge.connect(&s.broker, s.now);
    s.settle();
    assert_eq!(s.data_rows(), 2);
}

#[test]
fn a_stale_ack_of_an_old_boot_settles_nothing_of_the_new_one() {
    let mut s = Scene::new();
    s.accept(4);
    s.settle();
    s.edge.crash(0);
    s.edge.start(s.now);
    s.accept(2);
    s.edge.connect(&s.broker, s.now);
    let (sender, boot) = (s.edge.sender.as_ref().unwrap(), s.edge.boot());
    assert_eq!((sender.floor(boot), sender.held()), (Some(0), 2), "two new");
    s.settle();
    assert_eq!(s.data_rows(), 6);
}

#[test]
fn a_broker_dies_with_everything_it_acknowledged() {
    let mut s = Scene::new();
    s.accept(4);
    s.publish();
    s.broker.die();
    s.bridge.broker_died();
    s.bridge.connect(&mut s.broker, s.now);
    s.edge.connect(&s.broker, s.now);
    s.settle();
    assert_eq!(s.data_rows(), 4);
}

#[test]
fn a_window_dropped_before_the_bridge_first_connected_is_sent_again_at_once() {
    let mut s = Scene::new();
    s.edge = Edge::new(Size { window: 256, ..SIZE }, None);
    (s.broker, s.bridge) = (Broker::new(), Bridge::new(0, &s.journals[0]));
    s.edge.connect(&s.broker, s.now);
    s.accept(SEGMENT * SEGMENTS);
    assert_eq!(s.publish(), SEGMENT * SEGMENTS + 1, "and a window");
    assert!(s.broker.queue.is_empty(), "there was no session");
    s.now += 60 * S;
    s.bridge.connect(&mut s.broker, s.now);
    s.edge.listen(&s.broker, s.now);
    let (before, since) = (s.edge.sends, s.now);
    s.settle();
    assert_eq!(s.data_rows(), SEGMENT * SEGMENTS);
    assert!(s.now - since < 15 * S, "{}", s.now - since);
    assert_eq!((s.edge.sends - before, s.store.duplicates), ((SEGMENT * SEGMENTS) as u64, 0));
}

#[test]
fn no_probes_are_sent_while_the_journal_is_away_for_an_hour() {
    let mut s = Scene::new();
    s.accept(4);
    s.publish();
    s.edge.sender.as_mut().unwrap().bridge_status(false, s.now);
    let before = s.edge.sends;
    for _ in 0..3_600 {
        s.now += S;
        s.publish();
    }
    assert_eq!(s.edge.sends, before);
    s.edge.sender.as_mut().unwrap().bridge_status(true, s.now);
    s.now += 10 * S;
    s.publish();
    assert_eq!(s.edge.sends, before + 1, "one probe when it is back and no ack has come");
    s.settle();
    assert_eq!(s.data_rows(), 4);
}

#[test]
fn a_crash_between_loss_record_and_unlink_sends_both_and_counts_as_stored() {
    let mut s = Scene::new();
    s.accept(SEGMENT * SEGMENTS);
    assert!(!s.edge.append(s.now, Some(Death::Between)), "the loss record is on the disk, the segment still there");
    assert_eq!((s.edge.losses.records().count(), s.edge.data.segments.len()), (1, SEGMENTS));
    s.check();
    s.edge.start(s.now);
    s.edge.connect(&s.broker, s.now);
    s.settle();
    assert_eq!((s.data_rows(), s.store.lost()), (SEGMENT * SEGMENTS, 0));
}

#[test]
fn an_eviction_while_the_range_is_in_flight_loses_nothing_that_arrived() {
    let mut s = Scene::new();
    s.accept(SEGMENT * SEGMENTS);
    s.publish();
    s.accept(1);
    s.settle();
    let arrived = s.data_rows();
    assert_eq!(arrived + s.store.lost(), SEGMENT * SEGMENTS + 1);
    assert!(s.store.lost() <= SEGMENT);
}

#[test]
fn an_eviction_declares_only_what_the_journal_does_not_have() {
    let mut s = Scene::new();
    s.accept(6);
    s.publish();
    // The first and the third are dropped; the second is acknowledged out of order.
    s.broker.queue.retain(|m| !matches!(m, Message::Record(r) if r.seq == 0 || r.seq == 2));
    s.relay();
    s.ack();
    s.edge.connected = false;
    s.accept(SEGMENT * SEGMENTS - 6 + 1);
    let losses: Vec<_> = s.edge.losses.records().filter_map(|r| r.loss).map(|l| (l.1, l.2)).collect();
    assert_eq!(losses, [(0, 1), (2, 3)]);
    s.edge.connect(&s.broker, s.now);
    s.settle();
    assert_eq!((s.data_rows(), s.store.lost()), (SEGMENT * SEGMENTS - 1, 2));
}

#[test]
fn held_loss_records_do_not_hold_down_the_floor_of_the_data() {
    let mut s = Scene::new();
    s.edge.connected = false;
    s.accept(SEGMENT * (SEGMENTS + 2));
    assert_eq!(s.edge.losses.records().count(), 2);
    let boot = s.edge.boot();
    assert_eq!(s.edge.sender.as_ref().unwrap().floor(boot), Some(2 * SEGMENT as u64));
    s.edge.connect(&s.broker, s.now);
    s.settle();
    assert_eq!(s.store.lost(), 2 * SEGMENT);
}

#[test]
fn records_are_refused_when_the_space_for_loss_records_is_full() {
    let mut s = Scene::new();
    s.edge.connected = false;
    s.accept(SEGMENT * (SEGMENTS + SIZE.losses) + 5);
    assert_eq!((s.edge.refused, s.edge.losses.records().count()), (5, SIZE.losses));
    s.edge.connect(&s.broker, s.now);
    s.settle();
    assert_eq!((s.data_rows(), s.store.lost()), (SEGMENT * SEGMENTS, SEGMENT * SIZE.losses));
}

#[test]
fn a_standby_takes_over_the_session_when_the_active_bridge_dies() {
    let mut s = Scene::new();
    let mut standby = Bridge::standby(1, &s.journals[0], &s.broker, s.now);
    s.accept(4);
    s.publish();
    standby.watch(&s.broker, s.now);
    assert_ne!(standby.role, Role::Active);
    s.bridge.crash(&mut s.broker);
    standby.watch(&s.broker, s.now);
    assert_eq!(standby.role, Role::Active);
    s.bridge = standby;
    s.bridge.connect(&mut s.broker, s.now);
    s.settle();
    assert_eq!((s.data_rows(), s.store.duplicates), (4, 0));
}

#[test]
fn a_standby_takes_over_when_broker_and_active_bridge_die_together() {
    let mut s = Scene::new();
    let mut standby = Bridge::standby(1, &s.journals[0], &s.broker, s.now);
    s.accept(4);
    s.publish();
    s.bridge.crash(&mut s.broker);
    s.broker.die();
    s.edge.connect(&s.broker, s.now);
    standby.watch(&s.broker, s.now);
    assert_ne!(standby.role, Role::Active, "the active bridge may come back");
    s.now += 6 * S;
    standby.watch(&s.broker, s.now);
    assert_eq!(standby.role, Role::Active);
    s.bridge = standby;
    s.bridge.connect(&mut s.broker, s.now);
    s.settle();
    assert_eq!(s.data_rows(), 4);
}

#[test]
fn a_wall_clock_that_jumps_by_hours_neither_stalls_nor_loses() {
    let mut s = Scene::new();
    for hours in [0, 5, -7, 24] {
        s.edge.wall_us = hours * 3_600 * S as i64;
        s.accept(2);
        let since = s.now;
        s.settle();
        assert!(s.now - since < 5 * S, "{hours}");
    }
    assert_eq!((s.data_rows(), s.store.duplicates), (8, 0));
    let stamps: Vec<u64> = s.store.rows.values().map(|r| r.captured_at_us).collect();
    assert!(stamps.windows(2).any(|w| w[0] > w[1]), "captured_at is the wall clock's time");
}

#[test]
fn live_records_go_before_the_backlog_of_an_old_boot() {
    let mut s = Scene::new();
    s.edge.connected = false;
    s.accept(6);
    s.edge.crash(0);
    s.edge.start(s.now);
    s.edge.connect(&s.broker, s.now);
    s.accept(2);
    let _window = s.edge.next_message(s.now);
    let streams: Vec<u64> = std::iter::from_fn(|| s.edge.next_message(s.now))
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
fn another_journal_gets_what_was_acknowledged_out_of_order() {
    let mut s = Scene::new();
    s.accept(6);
    s.publish();
    // The first record is dropped: all after it is acknowledged out of order.
    let first = s.broker.queue.iter().position(|m| matches!(m, Message::Record(r) if r.seq == 0)).unwrap();
    s.broker.queue.remove(first);
    s.relay();
    s.ack();
    assert!(s.edge.sender.as_ref().unwrap().held() < 6);
    s.journals.push(Journal::new(1));
    s.replace_bridge();
    s.settle();
    assert_eq!(s.data_rows(), 6, "all of it is in the new journal");
}

#[test]
fn the_lowest_hole_closes_first_when_live_records_fill_the_window() {
    let mut s = Scene::new();
    s.accept(6);
    s.publish();
    s.broker.queue.clear();
    s.accept(4);
    s.publish();
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
fn two_edges_with_one_name_lose_nothing_because_their_boots_differ() {
    let mut s = Scene::new();
    // The audit supports one edge only.
    s.audit = None;
    let mut twin = Edge::new(SIZE, None);
    twin.crash(0);
    twin.start(0);
    s.accept(3);
    for _ in 0..3 {
        twin.append(0, None);
        twin.sync();
    }
    for turn in 0..40 {
        // Each takes over the other's session: only one is connected at a time.
        std::mem::swap(&mut s.edge, &mut twin);
        twin.connected = false;
        s.edge.connect(&s.broker, s.now);
        s.publish();
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
