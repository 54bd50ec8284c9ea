//! The sender's rules, one by one.
//!
//! Takes scripted acks and times. Gives nothing.
//! Touches nothing.
//! Never two rules in one test.

use super::*;

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

/// Sends all that may be sent at `now_us`; gives the seqs of the boot.
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
fn live_records_go_in_order_and_an_ack_settles_them() {
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
    // The newest begins a live run; of eight places two are kept for it, and the backlog goes in order.
    assert_eq!(drain(&mut s, 0), [99, 0, 1, 2, 3, 4]);
    s.accepted(10, 101);
    assert_eq!(drain(&mut s, 1), [100], "a live record still finds room");
    s.accepted(10, 103);
    assert_eq!(drain(&mut s, 2), [101], "and then the window is full");
    assert!(s.poll(3).is_none());
}

#[test]
fn a_live_run_goes_on_in_order_and_only_begins_anew_when_it_is_far_behind() {
    let mut s = sender(32, 9);
    // A quarter of the window is 8, and 9 are waiting: the newest four begin a run, the others are backlog.
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
    assert_eq!(drain(&mut s, 0), [4, 0], "two of 100 bytes; the second may go over");
}

#[test]
fn an_ack_far_ahead_declares_what_is_behind_it_lost_and_it_is_sent_again() {
    let mut s = sender(32, 8);
    assert_eq!(drain(&mut s, 0).len(), 8);
    let out = s.on_ack(&ack("j", None, &[(10, &[(6, 8)])]), 10 * MS);
    // Transmission 8 is acknowledged: those before 8 - 3 are lost (numbers count from 1).
    assert_eq!((out.acked, out.lost), (2, 4));
    assert_eq!(drain(&mut s, 11 * MS), [0, 1, 2, 3]);
}

#[test]
fn an_ack_without_room_for_more_ranges_proves_no_loss_beyond_them() {
    // 32 to 39 are sent first, as a live run, then 0 to 31: transmissions 1 to 8 and 9 to 40.
    let mut s = sender(64, 40);
    assert_eq!(drain(&mut s, 0).len(), 40);
    let odd: Vec<(u64, u64), 16> = (0..16).map(|i| (2 * i + 1, 2 * i + 2)).collect();
    let full = s.on_ack(&ack("j", None, &[(10, &odd[..])]), MS);
    // The even ones up to 26 lie more than 3 before transmission 40; 32 to 39 do so too, and may well be there.
    assert_eq!((full.acked, full.lost), (16, 14));
}

#[test]
fn after_a_silence_what_the_ack_had_no_room_for_makes_way_for_the_holes_below_it() {
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
    // One of those that were sent again comes through, and then nothing for a time-out.
    s.on_ack(&ack("j", None, &[(10, &[(0, 2)])]), 3 * MS);
    let probe = s.poll(20_000 * MS).unwrap();
    assert_eq!((probe.seq, probe.probe), (2, true));
    s.sent(probe, 0, 100, 20_000 * MS);
    let sent = drain(&mut s, 20_000 * MS);
    assert!(sent.iter().any(|&seq| seq > 31 && seq < 64), "{sent:?}");
}

#[test]
fn an_ack_of_a_record_that_was_sent_twice_proves_nothing_about_what_was_sent_between() {
    // A probe while all is in flight, and then the first transmission is acknowledged.
    let mut s = sender(64, 16);
    assert_eq!(drain(&mut s, 0).len(), 16);
    let t = s.poll(10_000 * MS).unwrap();
    assert!(t.probe && t.seq == 0);
    s.sent(t, 0, 100, 10_000 * MS);
    assert_eq!(s.on_ack(&ack("j", None, &[(10, &[(0, 1)])]), 10_001 * MS).lost, 0);
    // A record that was called lost and sent again, while its first transmission was only late.
    assert_eq!(s.on_ack(&ack("j", None, &[(10, &[(5, 6)])]), 10_002 * MS).lost, 1, "1 is 4 before 5");
    assert_eq!(drain(&mut s, 10_003 * MS), [1]);
    assert_eq!(s.on_ack(&ack("j", None, &[(10, &[(1, 2)])]), 10_004 * MS).lost, 0);
}

#[test]
fn silence_brings_a_probe_of_the_oldest_held_that_doubles_up_to_a_minute() {
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
fn no_probe_while_the_bridge_is_away_and_one_time_out_after_it_is_back() {
    let mut s = sender(8, 2);
    drain(&mut s, 0);
    s.bridge_status(false, 0);
    assert!(s.poll(3_600_000 * MS).is_none());
    s.bridge_status(true, 3_600_000 * MS);
    assert!(s.poll(3_601_000 * MS).is_none(), "the broker may still have it");
    let t = s.poll(3_607_000 * MS).unwrap();
    assert_eq!((t.seq, t.probe), (0, true));
    s.sent(t, 0, 100, 3_607_000 * MS);
    assert!(s.poll(3_607_001 * MS).is_none(), "one");
}

/// Plays until all is acknowledged: an ack every quarter second has all sent since `from_us` that is at least `delay_us` old.
/// Gives when that was, and how many transmissions it took.
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
        there.for_each(|&(seq, _)| have.insert(seq, seq + 1));
        let first = (have.floor() > 0).then_some((0, have.floor()));
        let ranges: Vec<(u64, u64), 65> = first.into_iter().chain(have.above().iter().copied()).collect();
        s.on_ack(&ack("j", None, &[(10, &ranges[..ranges.len().min(16)])]), now);
    }
    (now - from_us, sends.len())
}

#[test]
fn a_broker_that_dropped_the_whole_window_is_given_it_again_within_a_few_time_outs() {
    let mut s = sender(256, 95);
    let mut sent = 0;
    while let Some(t) = s.poll(0) {
        s.sent(t, 0, 100, 0);
        sent += 1;
    }
    assert_eq!(sent, 95);
    // The bridge comes for the first time. No ack's delay was ever measured, so a time-out is six seconds and jitter.
    s.bridge_status(true, 10_000 * MS);
    let (took_us, sends) = settle(&mut s, 10_000 * MS, 300 * MS);
    assert!(took_us < 10_000 * MS, "{took_us}");
    assert_eq!(sends, 95, "each once more");
}

#[test]
fn a_window_that_is_dropped_again_and_again_is_sent_once_each_time_it_is_known_to_be_lost() {
    let mut s = sender(64, 40);
    assert_eq!(drain(&mut s, 0).len(), 40);
    settle(&mut s, 1_000 * MS, 300 * MS);
    s.accepted(10, 80);
    let (mut now, mut sends) = (300_000 * MS, 0);
    for round in 0..4 {
        // All is lost but the probe.
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
fn a_late_ack_of_a_probed_record_calls_nothing_lost_as_long_as_others_follow() {
    // Everything is on its way and slow: the probe is needless, and its record's ack is the first transmission's.
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
fn the_probe_is_the_oldest_held_even_if_the_window_is_full_of_younger_ones() {
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
    assert_eq!((out.acked, out.ignored), (1, 1), "beyond next there is nothing to settle");
}

#[test]
fn another_journal_gets_everything_above_the_floor_again() {
    let mut s = sender(8, 6);
    drain(&mut s, 0);
    s.on_ack(&ack("old", None, &[(10, &[(0, 2), (3, 5)])]), 0);
    let out = s.on_ack(&ack("new", None, &[]), MS);
    assert!(out.journal_changed);
    assert_eq!(s.streams().next().map(|w| (w.since, w.floor, w.next)), Some((2, 2, 6)));
    assert_eq!(drain(&mut s, 2 * MS), [5, 2, 3, 4]);
}

#[test]
fn an_older_stream_leaves_only_when_a_window_of_this_boot_that_settled_it_is_acknowledged() {
    let mut s = sender(8, 0);
    s.restore(4, 0, 3, 5).unwrap();
    assert_eq!(s.window(0).streams.len(), 2);
    assert_eq!(drain(&mut s, 0), [3, 4]);
    s.on_ack(&ack("j", Some((10, 1)), &[(4, &[(3, 5)])]), 1);
    assert_eq!(s.streams().count(), 2, "window 1 did not say it");
    assert!(!s.settled());
    assert_eq!(s.window(2).id.n, 2);
    s.on_ack(&ack("j", Some((8, 7)), &[]), 3);
    assert_eq!(s.streams().count(), 2, "another boot's window did not say it");
    s.on_ack(&ack("j", Some((10, 2)), &[]), 4);
    assert_eq!(s.streams().count(), 1);
    assert!(s.settled());
}

#[test]
fn windows_are_said_at_connect_and_at_most_once_a_second_while_they_change() {
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
fn while_the_journal_is_away_there_is_a_window_a_minute_unless_an_ack_comes() {
    let mut s = sender(8, 3);
    s.window(0);
    s.bridge_status(false, 0);
    s.accepted(10, 9);
    s.gone(10, 0, 2);
    assert_eq!(s.deadline_us(), Some(60_000 * MS));
    assert!(!s.window_due(59_999 * MS));
    s.on_ack(&ack("j", None, &[(10, &[(0, 4)])]), 60_000 * MS);
    assert!(s.window_due(60_000 * MS), "somebody is there, whatever the status says");
    s.window(60_000 * MS);
    s.accepted(10, 14);
    assert!(!s.window_due(90_000 * MS) && s.window_due(120_000 * MS));
    s.bridge_status(true, 91_000 * MS);
    assert!(s.window_due(91_000 * MS), "what was accepted meanwhile");
}

#[test]
fn an_unanswered_window_is_said_again() {
    let mut s = sender(8, 0);
    s.window(0);
    assert_eq!(s.deadline_us(), Some(6_000 * MS));
    s.window(6_000 * MS);
    assert_eq!(s.deadline_us(), Some(12_000 * MS));
    s.bridge_status(false, 0);
    assert_eq!(s.deadline_us(), None);
}

#[test]
fn after_an_outage_of_hours_an_unanswered_window_is_said_again_within_a_minute() {
    let mut s = sender(8, 1);
    s.window(0);
    drain(&mut s, 0);
    let late = 7_200_000 * MS;
    s.on_ack(&ack("j", None, &[(10, &[(0, 1)])]), late);
    s.window(late);
    assert_eq!(s.deadline_us(), Some(late + 60_000 * MS), "two hours were the outage's, not the way's");
}

#[test]
fn what_is_given_up_is_neither_held_nor_sent() {
    let mut s = sender(8, 6);
    drain(&mut s, 0);
    s.gone(10, 0, 4);
    assert_eq!((s.held(), s.floor(10), s.in_flight()), (2, Some(4), 6));
    assert_eq!(drain(&mut s, MS), []);
}

#[test]
fn what_is_to_be_declared_lost_is_just_what_the_journal_does_not_have() {
    let mut s = sender(16, 20);
    s.on_ack(&ack("j", None, &[(10, &[(0, 3), (5, 8), (12, 13)])]), 0);
    assert_eq!(s.unsettled(10, 0, 10), Some((3, 5)));
    assert_eq!(s.unsettled(10, 5, 10), Some((8, 10)));
    assert_eq!(s.unsettled(10, 5, 8), None);
    assert_eq!((s.unsettled(10, 13, 18), s.unsettled(99, 4, 6)), (Some((13, 18)), Some((4, 6))));
    s.gone(10, 0, 10);
    assert_eq!((s.unsettled(10, 0, 10), s.floor(10), s.held()), (None, Some(10), 9));
}

/// Ten records accepted, and a window of eight that is full.
fn full() -> Sender {
    let mut s = sender(8, 8);
    drain(&mut s, 0);
    s.accepted(10, 10);
    drain(&mut s, 0);
    assert_eq!(s.in_flight(), 8);
    s
}

#[test]
fn what_is_given_up_keeps_its_place_until_the_journal_takes_something() {
    let mut s = full();
    s.bridge_status(false, 0);
    s.accepted(10, 40);
    s.gone(10, 0, 20);
    assert_eq!(drain(&mut s, 2 * MS), [], "the broker's queue is as full as it was");
    assert_eq!((s.in_flight(), s.held()), (8, 20));
    // An ack of what is not in flight shows nothing; one of a record that was given up shows that the journal is back.
    s.on_ack(&ack("j", None, &[(10, &[(50, 60)])]), 3 * MS);
    assert_eq!(drain(&mut s, 3 * MS), []);
    let out = s.on_ack(&ack("j", None, &[(10, &[(2, 4)])]), 4 * MS);
    assert_eq!((out.acked, out.lost), (0, 0), "what was given up proves no loss");
    assert!(drain(&mut s, 4 * MS).len() >= 6);
}

#[test]
fn a_window_full_of_what_was_given_up_and_lost_on_the_way_is_opened_by_a_probe() {
    let mut s = full();
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
