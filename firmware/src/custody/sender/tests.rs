//! The sender's rules, one test each, with scripted acks and times.
//!
//! Each test drives a [`Sender`] by hand: it accepts records, polls, passes acks at chosen times, and checks what is sent. Whole
//! systems with random faults are in `firmware/tests/custody`.

use super::*;
use crate::custody::ranges::Ranges;
use crate::custody::{Ack, StreamAck};
use crate::limits::RANGES_MAX;

const MS: u64 = 1_000;

fn id(s: &str) -> JournalId {
    JournalId::try_from(s).unwrap()
}

fn ack(journal: &str, window: Option<(u64, u64)>, streams: &[(u64, &[(u64, u64)])]) -> Ack {
    Ack {
        journal: id(journal),
        window: window.map(|(boot, n)| WindowId { boot, n }),
        streams: streams
            .iter()
            .map(|&(stream, ranges)| StreamAck { stream, ranges: Vec::from_slice(ranges).unwrap() })
            .collect(),
    }
}

fn sender(window_records: usize, accepted: u64) -> Sender {
    let mut s = Sender::new(10, SenderConfig { window_records, window_bytes: 1 << 20 });
    s.accepted(10, accepted);
    s
}

/// Sends everything that may be sent at `now_us`, or up to a probe. Returns the seqs.
fn drain(s: &mut Sender, now_us: u64) -> Vec<u64, 64> {
    let mut seqs = Vec::new();
    while let Some(t) = s.poll(now_us) {
        s.sent(t, 0, 100, now_us);
        seqs.push(t.seq).unwrap();
        if t.probe {
            break;
        }
    }
    seqs
}

#[test]
fn live_records_are_sent_in_order_and_settled_by_an_ack() {
    let mut s = sender(16, 3);
    assert_eq!(drain(&mut s, 0), [0, 1, 2]);
    assert_eq!((s.held(), s.floor(10)), (3, Some(0)));
    let out = s.on_ack(&ack("j", None, &[(10, &[(0, 2)])]), 5 * MS);
    assert_eq!((out.acked, out.lost, out.journal_changed), (2, 0, true));
    assert_eq!((s.held(), s.floor(10)), (1, Some(2)));
}

#[test]
fn a_quarter_of_the_window_is_kept_for_live_records() {
    let mut s = sender(8, 100);
    // The newest record begins a live run. Two of eight places are kept for live records; the backlog is sent in order.
    assert_eq!(drain(&mut s, 0), [99, 0, 1, 2, 3, 4]);
    s.accepted(10, 101);
    assert_eq!(drain(&mut s, 1), [100], "a live record still finds room");
    s.accepted(10, 103);
    assert_eq!(drain(&mut s, 2), [101], "now the window is full");
    assert!(s.poll(3).is_none());
}

#[test]
fn a_live_run_goes_on_in_order_until_it_is_far_behind() {
    let mut s = sender(32, 9);
    // A quarter of the window is 8, and 9 records wait: the newest four begin a run, the others are backlog.
    assert_eq!(drain(&mut s, 0), [5, 6, 7, 8, 0, 1, 2, 3, 4]);
    s.accepted(10, 12);
    assert_eq!(drain(&mut s, 1), [9, 10, 11]);
    s.accepted(10, 30);
    assert_eq!(drain(&mut s, 2), [26, 27, 28, 29, 12, 13, 14, 15, 16, 17, 18, 19]);
}

#[test]
fn a_full_window_of_bytes_stops_sending() {
    let mut s = Sender::new(10, SenderConfig { window_records: 8, window_bytes: 150 });
    s.accepted(10, 5);
    assert_eq!(drain(&mut s, 0), [4, 0], "two records of 100 bytes; the second may exceed the limit");
}

#[test]
fn an_ack_far_ahead_declares_earlier_transmissions_lost() {
    let mut s = sender(32, 8);
    assert_eq!(drain(&mut s, 0).len(), 8);
    let out = s.on_ack(&ack("j", None, &[(10, &[(6, 8)])]), 10 * MS);
    // Transmission 8 is acknowledged, so those up to 8 - 3 are lost (numbers count from 1).
    assert_eq!((out.acked, out.lost), (2, 5));
    assert_eq!(drain(&mut s, 11 * MS), [0, 1, 2, 3, 4]);
}

#[test]
fn a_full_ack_proves_no_loss_beyond_its_last_range() {
    // 32 to 39 are sent first, as a live run, then 0 to 31: transmissions 1 to 8 and 9 to 40.
    let mut s = sender(64, 40);
    assert_eq!(drain(&mut s, 0).len(), 40);
    let odd: Vec<(u64, u64), 16> = (0..16).map(|i| (2 * i + 1, 2 * i + 2)).collect();
    let full = s.on_ack(&ack("j", None, &[(10, &odd[..])]), MS);
    // The even ones up to 28 lie 3 or more before transmission 40. So do 32 to 39, but the ack has no room for them.
    assert_eq!((full.acked, full.lost), (16, 15));
}

#[test]
fn after_a_time_out_records_beyond_a_full_ack_leave_the_window() {
    let mut s = sender(64, 0);
    for n in 1..=64 {
        s.accepted(10, n);
        drain(&mut s, n);
    }
    s.accepted(10, 200);
    assert!(s.poll(100).is_none(), "the window is full");
    let odd: Vec<(u64, u64), 16> = (0..16).map(|i| (2 * i + 1, 2 * i + 2)).collect();
    s.on_ack(&ack("j", None, &[(10, &odd[..])]), MS);
    drain(&mut s, 2 * MS);
    // One of the records that were sent again arrives, and then nothing for a time-out.
    s.on_ack(&ack("j", None, &[(10, &[(0, 2)])]), 3 * MS);
    let probe = s.poll(20_000 * MS).unwrap();
    assert_eq!((probe.seq, probe.probe), (2, true));
    s.sent(probe, 0, 100, 20_000 * MS);
    let sent = drain(&mut s, 20_000 * MS);
    assert!(sent.iter().any(|&seq| seq > 31 && seq < 64), "{sent:?}");
}

#[test]
fn an_ack_of_a_record_sent_twice_proves_nothing_about_records_sent_between() {
    // A probe while everything is in flight; then the first transmission is acknowledged.
    let mut s = sender(64, 16);
    assert_eq!(drain(&mut s, 0).len(), 16);
    let t = s.poll(10_000 * MS).unwrap();
    assert!(t.probe && t.seq == 0);
    s.sent(t, 0, 100, 10_000 * MS);
    assert_eq!(s.on_ack(&ack("j", None, &[(10, &[(0, 1)])]), 10_001 * MS).lost, 0);
    // Records that were declared lost and sent again, while their first transmissions were only late.
    assert_eq!(s.on_ack(&ack("j", None, &[(10, &[(5, 6)])]), 10_002 * MS).lost, 2, "1 and 2 are at least 3 before 5");
    assert_eq!(drain(&mut s, 10_003 * MS), [1, 2]);
    assert_eq!(s.on_ack(&ack("j", None, &[(10, &[(1, 2)])]), 10_004 * MS).lost, 0);
}

#[test]
fn the_probe_time_out_doubles_up_to_a_minute() {
    let mut s = sender(8, 2);
    drain(&mut s, 0);
    assert!(s.poll(900 * MS).is_none());
    let (mut now, mut gaps) = (0, Vec::<u64, 16>::new());
    for _ in 0..9 {
        let due = s.deadline_us().unwrap().max(s.probe_due_us().unwrap());
        let t = s.poll(due).unwrap();
        assert_eq!((t.seq, t.probe), (0, true));
        s.sent(t, 0, 100, due);
        gaps.push((due - now) / MS).unwrap();
        now = due;
    }
    assert!((6_000..6_800).contains(&gaps[0]) && (12_000..13_600).contains(&gaps[1]), "{gaps:?}");
    assert!((60_000..68_000).contains(&gaps[8]), "{gaps:?}");
}

#[test]
fn no_probe_while_the_bridge_is_away_and_one_a_time_out_after_it_is_back() {
    let mut s = sender(8, 2);
    drain(&mut s, 0);
    s.bridge_status(false, 0);
    assert!(s.poll(3_600_000 * MS).is_none());
    s.bridge_status(true, 3_600_000 * MS);
    assert!(s.poll(3_601_000 * MS).is_none(), "the broker may still have the records");
    let t = s.poll(3_607_000 * MS).unwrap();
    assert_eq!((t.seq, t.probe), (0, true));
    s.sent(t, 0, 100, 3_607_000 * MS);
    assert!(s.poll(3_607_001 * MS).is_none(), "one probe");
}

/// Runs until everything is acknowledged. An ack every quarter second names the records sent since `from_us` at least `delay_us`
/// ago. Returns the time and the number of transmissions that it took.
fn settle(s: &mut Sender, from_us: u64, delay_us: u64) -> (u64, usize) {
    let (mut now, mut sends) = (from_us, Vec::<(u64, u64), 1024>::new());
    while s.held() > 0 {
        assert!(now < from_us + 600_000 * MS, "{} held after ten minutes", s.held());
        while let Some(t) = s.poll(now) {
            s.sent(t, 0, 100, now);
            sends.push((t.seq, now)).unwrap();
        }
        now += 250 * MS;
        let there = sends.iter().filter(|&&(_, at)| at + delay_us <= now);
        let mut have = Ranges::<RANGES_MAX>::below(0);
        there.for_each(|&(seq, _)| _ = have.insert(seq, seq + 1));
        let first = (have.floor() > 0).then_some((0, have.floor()));
        let ranges: Vec<(u64, u64), 65> = first.into_iter().chain(have.above().iter().copied()).collect();
        s.on_ack(&ack("j", None, &[(10, &ranges[..ranges.len().min(16)])]), now);
    }
    (now - from_us, sends.len())
}

#[test]
fn a_dropped_window_is_sent_again_within_a_few_time_outs() {
    let mut s = sender(256, 95);
    let mut sent = 0;
    while let Some(t) = s.poll(0) {
        s.sent(t, 0, 100, 0);
        sent += 1;
    }
    assert_eq!(sent, 95);
    // The bridge connects for the first time. No ack delay was measured yet, so a time-out is six seconds and jitter.
    s.bridge_status(true, 10_000 * MS);
    let (took_us, sends) = settle(&mut s, 10_000 * MS, 300 * MS);
    assert!(took_us < 10_000 * MS, "{took_us}");
    assert_eq!(sends, 95, "each record once more");
}

#[test]
fn a_window_that_is_dropped_repeatedly_is_sent_once_each_time() {
    let mut s = sender(64, 40);
    assert_eq!(drain(&mut s, 0).len(), 40);
    settle(&mut s, 1_000 * MS, 300 * MS);
    s.accepted(10, 80);
    let (mut now, mut sends) = (300_000 * MS, 0);
    for round in 0..4 {
        // Everything is lost except the probe.
        let mut probe = None;
        while probe.is_none() {
            now += 100 * MS;
            while let Some(t) = s.poll(now) {
                s.sent(t, 0, 100, now);
                sends += 1;
                probe = probe.or(t.probe.then_some(t.seq));
            }
        }
        now += 300 * MS;
        let seq = probe.unwrap();
        assert_eq!(s.on_ack(&ack("j", None, &[(10, &[(0, seq + 1)])]), now).acked, 1, "round {round}");
    }
    assert!(sends <= 4 * 41, "{sends}");
}

#[test]
fn a_late_ack_of_a_probed_record_declares_nothing_lost_while_acks_go_on() {
    // All records arrive late: the probe is needless, and the ack of its record is for the first transmission.
    let mut s = sender(64, 0);
    for n in 1..=40 {
        s.accepted(10, n);
        assert_eq!(drain(&mut s, 0), [n - 1]);
    }
    let t = s.poll(7_000 * MS).unwrap();
    assert!(t.probe);
    s.sent(t, 0, 100, 7_000 * MS);
    for seq in 0..40 {
        let now = (8_000 + seq * 900) * MS;
        s.on_ack(&ack("j", None, &[(10, &[(0, seq + 1)])]), now);
        assert!(s.poll(now + 899 * MS).is_none(), "{seq}");
    }
    assert_eq!(s.held(), 0);
}

#[test]
fn the_probe_is_the_oldest_held_record_even_if_the_window_is_full() {
    let mut s = sender(4, 4);
    drain(&mut s, 0);
    s.on_ack(&ack("j", None, &[(10, &[(1, 4)])]), MS);
    s.accepted(10, 100);
    drain(&mut s, 2 * MS);
    let t = s.poll(20_000 * MS).unwrap();
    assert_eq!((t.seq, t.probe), (0, true));
}

#[test]
fn a_stale_or_smaller_ack_takes_nothing_back() {
    let mut s = sender(8, 5);
    s.on_ack(&ack("j", None, &[(10, &[(0, 4)])]), 0);
    let out = s.on_ack(&ack("j", Some((8, 1)), &[(10, &[(1, 2)]), (8, &[(0, 9)])]), 1);
    assert_eq!((out.acked, out.ignored, s.floor(10)), (0, 1, Some(4)));
    let out = s.on_ack(&ack("j", None, &[(10, &[(7, 9), (4, 90)])]), 2);
    assert_eq!((out.acked, out.ignored), (1, 1), "nothing beyond `next` is settled");
}

#[test]
fn another_journal_is_sent_everything_above_the_floor() {
    let mut s = sender(8, 6);
    drain(&mut s, 0);
    s.on_ack(&ack("old", None, &[(10, &[(0, 2), (3, 5)])]), 0);
    let out = s.on_ack(&ack("new", None, &[]), MS);
    assert!(out.journal_changed);
    assert_eq!(s.streams().next().map(|w| (w.since, w.floor, w.next)), Some((2, 2, 6)));
    assert_eq!(drain(&mut s, 2 * MS), [5, 2, 3, 4]);
}

#[test]
fn an_older_stream_leaves_when_a_window_that_settled_it_is_acknowledged() {
    let mut s = sender(8, 0);
    s.restore(4, 0, 3, 5).unwrap();
    assert_eq!(s.window(0).streams.len(), 2);
    assert_eq!(drain(&mut s, 0), [3, 4]);
    s.on_ack(&ack("j", Some((10, 1)), &[(4, &[(3, 5)])]), 1);
    assert_eq!(s.streams().count(), 2, "window 1 did not settle it");
    assert!(!s.settled());
    assert_eq!(s.window(2).id.n, 2);
    s.on_ack(&ack("j", Some((8, 7)), &[]), 3);
    assert_eq!(s.streams().count(), 2, "the window is of another boot");
    s.on_ack(&ack("j", Some((10, 2)), &[]), 4);
    assert_eq!(s.streams().count(), 1);
    assert!(s.settled());
}

#[test]
fn windows_are_due_at_connect_and_at_most_once_a_second_while_they_change() {
    let mut s = sender(8, 1);
    s.connected(0);
    assert!(s.window_due(0));
    s.window(0);
    s.accepted(10, 2);
    assert!(!s.window_due(999 * MS));
    assert!(s.window_due(1_000 * MS));
    let w = s.window(1_000 * MS);
    assert_eq!((w.id.n, w.streams[0].next), (2, 2));
    assert!(!s.window_due(1_500 * MS), "nothing changed");
    s.on_ack(&ack("j", Some((10, 2)), &[(10, &[(0, 2)])]), 1_600 * MS);
    assert!(s.window_due(2_100 * MS), "the floor moved");
    s.window(2_100 * MS);
    assert!(!s.settled());
    s.on_ack(&ack("j", Some((10, 3)), &[]), 2_200 * MS);
    assert!(s.settled() && s.deadline_us().is_none());
}

#[test]
fn while_the_journal_is_away_one_window_a_minute_is_due_unless_an_ack_comes() {
    let mut s = sender(8, 3);
    s.window(0);
    s.bridge_status(false, 0);
    s.accepted(10, 9);
    s.gone(10, 0, 2);
    assert_eq!(s.deadline_us(), Some(60_000 * MS));
    assert!(!s.window_due(59_999 * MS));
    s.on_ack(&ack("j", None, &[(10, &[(0, 4)])]), 60_000 * MS);
    assert!(s.window_due(60_000 * MS), "a bridge is there, whatever the status is");
    s.window(60_000 * MS);
    s.accepted(10, 14);
    assert!(!s.window_due(90_000 * MS) && s.window_due(120_000 * MS));
    s.bridge_status(true, 91_000 * MS);
    assert!(s.window_due(91_000 * MS), "for the records accepted meanwhile");
}

#[test]
fn an_unanswered_window_is_due_again() {
    let mut s = sender(8, 0);
    s.window(0);
    assert_eq!(s.deadline_us(), Some(6_000 * MS));
    s.window(6_000 * MS);
    assert_eq!(s.deadline_us(), Some(12_000 * MS));
    s.bridge_status(false, 0);
    assert_eq!(s.deadline_us(), None);
}

#[test]
fn after_an_outage_of_hours_an_unanswered_window_is_due_within_a_minute() {
    let mut s = sender(8, 1);
    s.window(0);
    drain(&mut s, 0);
    let late = 7_200_000 * MS;
    s.on_ack(&ack("j", None, &[(10, &[(0, 1)])]), late);
    s.window(late);
    assert_eq!(s.deadline_us(), Some(late + 60_000 * MS), "the ack delay of two hours was the outage");
}

#[test]
fn given_up_records_are_neither_held_nor_sent() {
    let mut s = sender(8, 6);
    drain(&mut s, 0);
    s.gone(10, 0, 4);
    assert_eq!((s.held(), s.floor(10), s.in_flight()), (2, Some(4), 6));
    assert_eq!(drain(&mut s, MS), []);
}

#[test]
fn unsettled_returns_the_ranges_that_the_journal_does_not_have() {
    let mut s = sender(16, 20);
    s.on_ack(&ack("j", None, &[(10, &[(0, 3), (5, 8), (12, 13)])]), 0);
    assert_eq!(s.unsettled(10, 0, 10), Some((3, 5)));
    assert_eq!(s.unsettled(10, 5, 10), Some((8, 10)));
    assert_eq!(s.unsettled(10, 5, 8), None);
    assert_eq!((s.unsettled(10, 13, 18), s.unsettled(99, 4, 6)), (Some((13, 18)), Some((4, 6))));
    s.gone(10, 0, 10);
    assert_eq!((s.unsettled(10, 0, 10), s.floor(10), s.held()), (None, Some(10), 9));
}

/// Returns a sender with ten accepted records and a full window of eight.
fn sender_with_a_full_window() -> Sender {
    let mut s = sender(8, 8);
    drain(&mut s, 0);
    s.accepted(10, 10);
    drain(&mut s, 0);
    assert_eq!(s.in_flight(), 8);
    s
}

#[test]
fn given_up_records_keep_their_place_until_the_journal_takes_a_record() {
    let mut s = sender_with_a_full_window();
    s.bridge_status(false, 0);
    s.accepted(10, 40);
    s.gone(10, 0, 20);
    assert_eq!(drain(&mut s, 2 * MS), [], "the broker's queue is still full");
    assert_eq!((s.in_flight(), s.held()), (8, 20));
    // An ack of other records proves nothing. An ack of a given-up record in flight proves that the journal is back.
    s.on_ack(&ack("j", None, &[(10, &[(50, 60)])]), 3 * MS);
    assert_eq!(drain(&mut s, 3 * MS), []);
    let out = s.on_ack(&ack("j", None, &[(10, &[(2, 4)])]), 4 * MS);
    assert_eq!((out.acked, out.lost), (0, 0), "given-up records prove no loss");
    assert!(drain(&mut s, 4 * MS).len() >= 6);
}

#[test]
fn a_probe_opens_a_window_full_of_given_up_records() {
    let mut s = sender_with_a_full_window();
    s.gone(10, 0, 10);
    s.accepted(10, 11);
    assert_eq!(drain(&mut s, 10 * MS), []);
    let due = s.deadline_us().unwrap().max(10_000 * MS);
    let probe = s.poll(due).unwrap();
    assert_eq!((probe.seq, probe.probe), (10, true));
    s.sent(probe, 0, 100, due);
    s.on_ack(&ack("j", None, &[(10, &[(10, 11)])]), due + MS);
    assert_eq!((s.in_flight(), s.held()), (0, 0));
}

/// Sends everything that may be sent at `now_us`, which must be different records. Returns the seqs.
fn drain_distinct(s: &mut Sender, now_us: u64) -> Vec<u64, 1024> {
    let mut seqs = Vec::new();
    while let Some(t) = s.poll(now_us) {
        s.sent(t, 0, 100, now_us);
        assert!(!seqs.contains(&t.seq), "{} is sent twice at once", t.seq);
        seqs.push(t.seq).unwrap();
    }
    seqs
}

#[test]
fn a_forgotten_range_is_held_again_and_sent_again() {
    let mut s = sender(1024, 0);
    for n in 1..=900 {
        s.accepted(10, n);
        let t = s.poll(0).unwrap();
        s.sent(t, 0, 100, 0);
    }
    assert_eq!(s.on_ack(&ack("j", None, &[(10, &[(500, 900)])]), MS).acked, 400);
    // 63 single records fill the set of 64 ranges.
    for i in 0..63 {
        let seq = 253 + 2 * i;
        assert_eq!(s.on_ack(&ack("j", None, &[(10, &[(seq, seq + 1)])]), MS).acked, 1, "{seq}");
    }
    let out = s.on_ack(&ack("j", None, &[(10, &[(251, 252)])]), 2 * MS);
    assert_eq!((out.acked, out.forgotten), (1, 400));
    assert_eq!(s.held(), 900 - 64);
    let sent = drain_distinct(&mut s, 3 * MS);
    // Forgotten records are sent again as far as the window has room. Settled records are not.
    assert!(sent.contains(&500) && sent.contains(&899) && !sent.contains(&251) && !sent.contains(&377));
    // Everything is settled once. A repeated ack settles nothing.
    assert_eq!(s.on_ack(&ack("j", None, &[(10, &[(0, 900)])]), 4 * MS).acked, 900 - 64);
    assert_eq!(s.on_ack(&ack("j", None, &[(10, &[(0, 900)])]), 5 * MS).acked, 0);
}

#[test]
fn no_record_is_sent_twice_at_once_with_more_holes_than_ranges() {
    let mut s = sender(512, 0);
    for n in 1..=256 {
        s.accepted(10, n);
        let t = s.poll(n).unwrap();
        s.sent(t, 0, 100, n);
    }
    // Every second record is lost. Acks of 16 ranges show it from the end to the beginning.
    for i in (0..8).rev() {
        let odd: Vec<(u64, u64), 16> = (0..16).map(|k| (32 * i + 2 * k + 1, 32 * i + 2 * k + 2)).collect();
        s.on_ack(&ack("j", None, &[(10, &odd[..])]), 300 * MS);
    }
    // The next live run begins far from all records that were sent.
    s.accepted(10, 2000);
    drain_distinct(&mut s, 301 * MS);
    assert!(s.in_flight() <= 512);
}
