//! Spool, one fact a test: damage, segments of any bytes, two owners, losses and floors, a full spool, and a directory that
//! cannot be written.
//!
//! The spools are in temporary directories; records and limits are those of the model's tests.

use super::*;
use firmware::custody::envelope::crc32;
use firmware::limits::SEQ_MAX;

#[test]
fn damage_inside_a_segment_costs_the_record_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { bytes_max: 1 << 20, segment_bytes: 1 << 19, loss_bytes_max: 1 << 10 };
    let mut spool = Spool::open(dir.path(), limits.clone(), 2).unwrap();
    for seq in 0..5 {
        spool.append(&entry(&payload(2, seq, 60))).unwrap();
    }
    spool.sync().unwrap();
    drop(spool);
    let path = dir.path().join(segment::name_of("seg", 0));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[segment::HEAD_BYTES + 100 + 50] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut spool = Spool::open(dir.path(), limits, 4).unwrap();
    assert_eq!((spool.damaged(), spool.older()[0]), (1, Older { stream: 2, since: 0, floor: 0, next: 5 }));
    let mut record = Vec::new();
    let readable: Vec<bool> = (0..5).map(|seq| spool.read(2, seq, &mut record).is_ok()).collect();
    assert_eq!(readable, [true, false, true, true, true]);
}

/// Four records of 100 bytes in a segment.
const FOURS: Limits = Limits { bytes_max: 1 << 20, segment_bytes: 432, loss_bytes_max: 1 << 10 };

/// A spool whose stream 2 has so many records, four in each segment.
fn in_fours(dir: &Path, records: u64) -> Spool {
    let mut spool = Spool::open(dir, FOURS, 2).unwrap();
    for seq in 0..records {
        spool.append(&entry(&payload(2, seq, 60))).unwrap();
    }
    spool.sync().unwrap();
    spool
}

#[test]
fn records_behind_a_damaged_head_and_first_record_are_sent_and_the_damaged_one_is_declared_lost() {
    // Stream 2 has records 0 to 3 in its first segment and 4 to 7 in its second.
    for (number, damaged) in [(0, 0), (1, 4)] {
        let dir = tempfile::tempdir().unwrap();
        drop(in_fours(dir.path(), 8));
        let path = dir.path().join(segment::name_of("seg", number));
        let mut bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), segment::HEAD_BYTES + 400);
        // The head and most of the first record.
        bytes[..segment::HEAD_BYTES + 90].fill(0);
        std::fs::write(&path, bytes).unwrap();
        let mut spool = Spool::open(dir.path(), FOURS, 4).unwrap();
        assert_eq!((spool.older(), spool.damaged()), (&[Older { stream: 2, since: 0, floor: 0, next: 8 }][..], 1));
        let mut record = Vec::new();
        for seq in 0..8 {
            let read = spool.read(2, seq, &mut record);
            assert_eq!(read.is_ok(), seq != damaged, "segment {number}, record {seq}");
            assert_eq!(matches!(read, Err(ReadError::Damaged { stream: 2, seq: s }) if s == seq), seq == damaged);
        }
    }
}

#[test]
fn the_records_of_a_segment_without_one_whole_record_are_declared_lost_if_its_stream_goes_on() {
    // Stream 2 has records 0 to 3, 4 to 7 and 8 to 11 in its segments.
    for destroyed in [&[0][..], &[1], &[0, 1]] {
        let dir = tempfile::tempdir().unwrap();
        drop(in_fours(dir.path(), 12));
        for &number in destroyed {
            std::fs::write(dir.path().join(segment::name_of("seg", number)), [0; 432]).unwrap();
        }
        let mut spool = Spool::open(dir.path(), FOURS, 4).unwrap();
        let older = [Older { stream: 2, since: 0, floor: 0, next: 12 }];
        assert_eq!((spool.older(), spool.damaged()), (&older[..], 4 * destroyed.len() as u64), "{destroyed:?}");
        let mut record = Vec::new();
        for seq in 0..12 {
            assert_eq!(spool.read(2, seq, &mut record).is_ok(), !destroyed.contains(&(seq / 4)), "{destroyed:?} {seq}");
        }
    }
}

#[test]
fn of_a_damaged_front_no_more_records_are_taken_for_lost_than_fit_in_it_or_than_the_state_holds() {
    // Three damaged records of 100 bytes could be seven of 40.
    for floor in [0, 4] {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = in_fours(dir.path(), 8);
        let streams = vec![state::StreamState { stream: 2, since: 0, floor }];
        spool.save_state(State { journal: Some("a".into()), streams }).unwrap();
        spool.trim(|_| Some(4), |_| false).unwrap();
        drop(spool);
        let path = dir.path().join(segment::name_of("seg", 1));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[..segment::HEAD_BYTES + 290].fill(0);
        std::fs::write(&path, bytes).unwrap();
        let mut spool = Spool::open(dir.path(), FOURS, 4).unwrap();
        assert_eq!((spool.older(), spool.damaged()), (&[Older { stream: 2, since: 0, floor, next: 8 }][..], 7));
        assert!(spool.read(2, 7, &mut Vec::new()).is_ok());
    }
}

/// Stream 2 has records 0 and 1 in its first segment, and 2 in its second; of the first `change` changes the bytes.
fn with_a_changed_segment(dir: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Spool {
    let mut spool = Spool::open(dir, TINY, 2).unwrap();
    for seq in 0..3 {
        spool.append(&entry(&payload(2, seq, 60))).unwrap();
    }
    spool.sync().unwrap();
    drop(spool);
    let path = dir.join(segment::name_of("seg", 0));
    let mut bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len(), segment::HEAD_BYTES + 200);
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    Spool::open(dir, TINY, 4).unwrap()
}

#[test]
fn records_damaged_or_cut_off_at_a_segments_end_are_declared_lost_when_it_is_evicted() {
    const SECOND: usize = segment::HEAD_BYTES + 100;
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change, u64); 4] = [
        ("a payload", |b| b[SECOND + 50] ^= 1, 1),
        ("a part of a record is gone", |b| b.truncate(SECOND + 70), 1),
        ("a whole record is gone", |b| b.truncate(SECOND), 1),
        ("all records are gone", |b| b.truncate(segment::HEAD_BYTES), 2),
    ];
    for (what, change, damaged) in changes {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = with_a_changed_segment(dir.path(), change);
        assert_eq!(spool.damaged(), damaged, "{what}");
        assert_eq!(spool.older(), [Older { stream: 2, since: 0, floor: 0, next: 3 }], "{what}");
        let evicted = spool.evict(|_| Some(0), |_, from, to| (from < to).then_some((from, to)), Stamp::default());
        let expected = Evicted { stream: 2, from: 0, to: 2, lost: 2, losses: 1 };
        assert_eq!(evicted.unwrap(), Some(expected), "{what}");
        // A power cut now: what is left does not have to know of them any more.
        drop(spool);
        let spool = Spool::open(dir.path(), TINY, 6).unwrap();
        let data: Vec<_> = spool.older().iter().filter(|o| o.stream == 2).copied().collect();
        assert_eq!(data, [Older { stream: 2, since: 0, floor: 2, next: 3 }], "{what}");
    }
}

#[test]
fn a_segment_with_a_damaged_end_is_not_trimmed_before_the_journal_has_word_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = with_a_changed_segment(dir.path(), |b| b.truncate(segment::HEAD_BYTES + 100));
    let segments = |spool: &Spool| spool.data.segments.len();
    spool.trim(|_| Some(1), |_| false).unwrap();
    assert_eq!(segments(&spool), 2);
    spool.trim(|_| Some(2), |_| false).unwrap();
    assert_eq!(segments(&spool), 1);
}

#[test]
fn a_segment_of_another_version_is_refused_and_left_as_it_is() {
    for prefix in ["seg", "loss"] {
        let dir = tempfile::tempdir().unwrap();
        drop(with_a_changed_segment(dir.path(), |_| {}));
        let path = dir.path().join(segment::name_of(prefix, 9));
        // As a later program could write it: with records that this one cannot read.
        let mut bytes = std::fs::read(dir.path().join(segment::name_of("seg", 0))).unwrap();
        bytes[5] = 2;
        let crc = crc32(0, &bytes[..24]);
        bytes[24..28].copy_from_slice(&crc.to_le_bytes());
        bytes[segment::HEAD_BYTES..].fill(7);
        std::fs::write(&path, &bytes).unwrap();
        let error = Spool::open(dir.path(), TINY, 6).unwrap_err();
        assert!(matches!(error, SpoolError::Version { version: 2, .. }), "{error}");
        assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        // One flipped bit is damage, not another version.
        bytes[5] = 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(Spool::open(dir.path(), TINY, 6).is_ok(), "{prefix}");
    }
}

#[test]
fn two_edges_cannot_share_a_spool_and_a_second_open_finds_the_first_ones_records() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Spool::open(dir.path(), TINY, 2).unwrap();
    assert!(matches!(Spool::open(dir.path(), TINY, 4), Err(SpoolError::InUse(_))));
    first.append(&entry(b"one")).unwrap();
    first.sync().unwrap();
    let streams = vec![state::StreamState { stream: 2, since: 0, floor: 0 }];
    first.save_state(State { journal: Some("j".into()), streams }).unwrap();
    drop(first);
    let second = Spool::open(dir.path(), TINY, 4).unwrap();
    assert_eq!(second.older(), [Older { stream: 2, since: 0, floor: 0, next: 1 }]);
    assert_eq!(second.state().journal.as_deref(), Some("j"));
}

/// A spool of stream 2 with a record in each of its segments, opened again as stream 4.
fn two_then_four(dir: &Path) -> Spool {
    let mut spool = Spool::open(dir, TINY, 2).unwrap();
    for seq in 0..4 {
        spool.append(&entry(&payload(2, seq, 200))).unwrap();
    }
    spool.sync().unwrap();
    drop(spool);
    Spool::open(dir, TINY, 4).unwrap()
}

#[test]
fn a_stream_that_is_through_stays_with_the_earlier_journal_while_its_loss_records_are_here() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = two_then_four(dir.path());
    let state = |journal: &str| State {
        journal: Some(journal.into()),
        streams: vec![state::StreamState { stream: 4, since: 0, floor: 0 }],
    };
    spool.save_state(state("a")).unwrap();
    while spool.evict(|_| Some(0), |_, from, to| Some((from, to)), Stamp::default()).unwrap().is_some() {}
    // Stream 2 is settled and has left the sender's table; then the journal changes, and later it does not.
    spool.save_state(state("b")).unwrap();
    spool.save_state(state("b")).unwrap();
    drop(spool);
    let spool = Spool::open(dir.path(), TINY, 6).unwrap();
    let two = spool.older().iter().find(|o| o.stream == 2);
    assert_eq!(two, Some(&Older { stream: 2, since: 4, floor: 4, next: 4 }));
}

#[test]
fn a_floor_beyond_the_first_loss_does_not_make_later_losses_held() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = two_then_four(dir.path());
    let streams = vec![state::StreamState { stream: 2, since: 0, floor: 3 }];
    spool.save_state(State { journal: Some("a".into()), streams }).unwrap();
    let holds = |_, from, to| (from != 1 && from != 2).then_some((from, to));
    while spool.evict(|_| None, holds, Stamp::default()).unwrap().is_some() {}
    drop(spool);
    let spool = Spool::open(dir.path(), TINY, 6).unwrap();
    let two = spool.older().iter().find(|o| o.stream == 2);
    assert_eq!(two, Some(&Older { stream: 2, since: 0, floor: 4, next: 4 }));
}

#[test]
fn a_full_spool_refuses_and_takes_again_when_the_journal_has_some() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(dir.path(), TINY, 2).unwrap();
    let n = (0..).find(|_| spool.append(&entry(&[0; 100])).is_err()).unwrap();
    spool.sync().unwrap();
    assert!(n > 10, "{n}");
    spool.trim(|_| Some(n), |_| true).unwrap();
    assert!(spool.bytes() <= 400);
    assert_eq!(spool.append(&entry(&[0; 100])).unwrap(), n);
}

#[test]
fn a_directory_that_cannot_be_written_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Spool::open(&file.join("spool"), TINY, 2).unwrap_err();
    assert!(error.to_string().contains("make the directory"), "{error}");
}

#[test]
fn numbers_that_no_edge_ever_gave_are_damage() {
    // Found by fuzzing: sums over them overflowed, and such a `state` made the open look for 2^64 records.
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(dir.path(), TINY, 10).unwrap();
    spool.append(&entry(b"x")).unwrap();
    spool.sync().unwrap();
    let loss = |to| Loss { stream: 6, from: 1, to, reason: LossReason::Full };
    spool.declare(&[loss(3), loss(u64::MAX)], Stamp::default()).unwrap();
    drop(spool);
    let mut bytes = std::fs::read(dir.path().join(segment::name_of("seg", 0))).unwrap();
    std::fs::write(dir.path().join(segment::name_of("seg", u64::MAX)), &bytes).unwrap();
    bytes[16..24].fill(255);
    let crc = firmware::custody::envelope::crc32(0, &bytes[..24]);
    bytes[24..28].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(dir.path().join(segment::name_of("seg", 7)), &bytes).unwrap();
    // A head that says that its stream of loss records goes on far behind the one before.
    let mut bytes =
        std::fs::read(dir.path().join(segment::name_of("loss", 0))).unwrap()[..segment::HEAD_BYTES].to_vec();
    bytes[16..24].copy_from_slice(&SEQ_MAX.to_le_bytes());
    let crc = firmware::custody::envelope::crc32(0, &bytes[..24]);
    bytes[24..28].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(dir.path().join(segment::name_of("loss", 1)), &bytes).unwrap();
    let state = r#"{"journal":null,"streams":[{"stream":11,"since":18446744073709551615,"floor":0}]}"#;
    std::fs::write(dir.path().join("state"), state).unwrap();
    let mut spool = Spool::open(dir.path(), TINY, 20).unwrap();
    let older: Vec<_> = spool.older().iter().map(|o| (o.stream, o.floor, o.next)).collect();
    assert_eq!(older, [(11, 0, SEQ_MAX), (6, 3, 3), (10, 0, 1)]);
    assert_eq!((spool.damaged(), spool.state()), (SEQ_MAX - 2, &State::default()));
    spool.append(&entry(b"y")).unwrap();
    assert!(spool.sync().is_ok() && dir.path().join(segment::name_of("seg", 8)).exists());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn no_bytes_in_a_segment_make_it_panic(at in 0usize..600, with in prop::collection::vec(any::<u8>(), 1..50)) {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path(), TINY, 2).unwrap();
        for seq in 0..9 {
            spool.append(&entry(&payload(2, seq, 40))).unwrap();
        }
        spool.sync().unwrap();
        drop(spool);
        for n in 0..3 {
            let path = dir.path().join(segment::name_of("seg", n));
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at.min(bytes.len());
            bytes.splice(at..(at + with.len()).min(bytes.len()), with.clone());
            std::fs::write(&path, bytes).unwrap();
        }
        let mut spool = Spool::open(dir.path(), TINY, 4).unwrap();
        let mut record = Vec::new();
        for seq in 0..9 {
            if spool.read(2, seq, &mut record).is_ok() {
                prop_assert_eq!(&record[40..], &payload(2, seq, 40)[..]);
            }
        }
    }
}
