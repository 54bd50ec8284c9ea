//! Spool against a model: whatever is appended, synced, trimmed, torn and reopened, no accepted record is lost.
//!
//! Takes random actions. Gives nothing.
//! Touches a temporary directory.
//! Never segments of more than a few hundred bytes, so that every edge is met in milliseconds.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

const TINY: Limits = Limits { bytes_max: 3000, segment_bytes: 300 };

#[derive(Debug, Clone)]
enum Action {
    Append(u8),
    Sync,
    /// Power fails: of what was not synced, the first so many bytes are on the disk, the last of them perhaps wrong.
    Crash(u16, bool),
    /// A clean end and a new start.
    Reopen,
    /// The journal takes so many more records.
    Settle(u8),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0u8..120).prop_map(Action::Append),
        2 => Just(Action::Sync),
        1 => (0u16..400, any::<bool>()).prop_map(|(n, wrong)| Action::Crash(n, wrong)),
        1 => Just(Action::Reopen),
        2 => (0u8..30).prop_map(Action::Settle),
    ]
}

fn entry(payload: &[u8]) -> Entry<'_> {
    Entry { kind: 1, payload_version: 1, captured_at_us: 7, clock_synced: false, payload }
}

fn payload(stream: u64, seq: u64, len: u8) -> Vec<u8> {
    (0..len).map(|i| (stream ^ seq.wrapping_mul(31) ^ u64::from(i)) as u8).collect()
}

struct Model {
    dir: tempfile::TempDir,
    spool: Option<Spool>,
    boot: u64,
    /// (stream, seq, bytes of payload) in order, not yet settled.
    held: VecDeque<(u64, u64, u8)>,
    /// Records of this open that are accepted; and its active segment's synced length.
    accepted: u64,
    synced_len: u64,
    floors: BTreeMap<u64, u64>,
}

impl Model {
    fn active(&self) -> PathBuf {
        let mut names: Vec<_> = std::fs::read_dir(self.dir.path())
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| number_of_path(p).is_some())
            .collect();
        names.sort();
        names.pop().unwrap()
    }

    fn open(&mut self) {
        self.boot += 2;
        let spool = Spool::open(self.dir.path(), TINY, self.boot).unwrap();
        self.accepted = 0;
        self.floors.insert(self.boot, 0);
        // What was not accepted may be there or not, as a prefix; what was accepted must.
        for o in spool.older() {
            let floor = self.floors.get(&o.stream).copied().unwrap();
            assert!(o.floor <= floor || o.floor == o.next, "{o:?} {floor}");
            self.held.retain(|h| h.0 != o.stream || h.1 < o.next);
        }
        let kept: Vec<u64> = spool.older().iter().map(|o| o.stream).collect();
        self.held.retain(|h| kept.contains(&h.0));
        assert_eq!(spool.damaged(), 0);
        self.spool = Some(spool);
        self.synced_len = std::fs::metadata(self.active()).unwrap().len();
    }

    fn check(&mut self) {
        let spool = self.spool.as_mut().unwrap();
        let mut record = Vec::new();
        for &(stream, seq, len) in &self.held {
            spool.read(stream, seq, &mut record).unwrap();
            assert_eq!(record[40..], payload(stream, seq, len));
        }
        let on_disk: u64 = std::fs::read_dir(self.dir.path())
            .unwrap()
            .map(|e| e.unwrap())
            .filter(|e| number_of_path(&e.path()).is_some())
            .map(|e| e.metadata().unwrap().len())
            .sum();
        assert_eq!(on_disk, spool.bytes());
        assert!(on_disk <= TINY.bytes_max + 2 * segment::HEAD_BYTES as u64);
    }

    fn must_survive(&self) -> Vec<(u64, u64, u8)> {
        self.held.iter().copied().filter(|h| h.0 != self.boot || h.1 < self.accepted).collect()
    }

    fn act(&mut self, action: Action) {
        let spool = self.spool.as_mut().unwrap();
        match action {
            Action::Append(len) => {
                let seq = spool.next();
                match spool.append(&entry(&payload(self.boot, seq, len))) {
                    Ok(given) => {
                        assert_eq!(given, seq);
                        self.held.push_back((self.boot, seq, len));
                        // Beginning a new segment syncs the one before.
                        self.accepted = self.accepted.max(spool.next() - spool.unsynced());
                        if spool.unsynced() == 1 {
                            let active = self.active();
                            let len_now = std::fs::metadata(active).unwrap().len();
                            self.synced_len = len_now - 40 - u64::from(len);
                        }
                    }
                    Err(AppendError::Full) => assert!(!spool.has_room(40 + u64::from(len))),
                    Err(e) => panic!("{e}"),
                }
            }
            Action::Sync => {
                self.accepted = spool.sync().unwrap();
                self.synced_len = std::fs::metadata(self.active()).unwrap().len();
            }
            Action::Crash(kept, wrong) => {
                let survive = self.must_survive();
                self.spool = None;
                let active = self.active();
                let mut bytes = std::fs::read(&active).unwrap();
                let synced = self.synced_len as usize;
                bytes.truncate((synced + usize::from(kept)).min(bytes.len()));
                if wrong && bytes.len() > synced {
                    *bytes.last_mut().unwrap() ^= 0xFF;
                }
                std::fs::write(&active, bytes).unwrap();
                self.open();
                for h in survive {
                    assert!(self.held.contains(&h), "{h:?} was accepted and is lost");
                }
            }
            Action::Reopen => {
                self.accepted = spool.sync().unwrap();
                let survive = self.must_survive();
                self.spool = None;
                self.open();
                assert_eq!(survive, Vec::from(self.held.clone()));
            }
            Action::Settle(n) => {
                for _ in 0..n {
                    let boot = self.boot;
                    let accepted = self.accepted;
                    let Some(h) = self.held.pop_front_if(|h| h.0 != boot || h.1 < accepted) else { break };
                    self.floors.insert(h.0, h.1 + 1);
                }
                let floors = &self.floors;
                spool.trim(|s| floors.get(&s).copied(), |_| false).unwrap();
            }
        }
    }
}

fn number_of_path(path: &Path) -> Option<u64> {
    segment::number_of(path.file_name()?)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn it_equals_its_model_whatever_happens(actions in prop::collection::vec(action(), 1..80)) {
        let mut model = Model {
            dir: tempfile::tempdir().unwrap(), spool: None, boot: 100, held: VecDeque::new(),
            accepted: 0, synced_len: 0, floors: BTreeMap::new(),
        };
        model.open();
        for action in actions {
            model.act(action);
            model.check();
        }
    }

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
            let path = dir.path().join(segment::name_of(n));
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

#[test]
fn damage_inside_a_segment_costs_the_record_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { bytes_max: 1 << 20, segment_bytes: 1 << 20 };
    let mut spool = Spool::open(dir.path(), limits.clone(), 2).unwrap();
    for seq in 0..5 {
        spool.append(&entry(&payload(2, seq, 60))).unwrap();
    }
    spool.sync().unwrap();
    drop(spool);
    let path = dir.path().join(segment::name_of(0));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[segment::HEAD_BYTES + 100 + 50] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut spool = Spool::open(dir.path(), limits, 4).unwrap();
    assert_eq!((spool.damaged(), spool.older()[0]), (1, Older { stream: 2, since: 0, floor: 0, next: 5 }));
    let mut record = Vec::new();
    let readable: Vec<bool> = (0..5).map(|seq| spool.read(2, seq, &mut record).is_ok()).collect();
    assert_eq!(readable, [true, false, true, true, true]);
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

#[test]
fn a_full_spool_refuses_and_takes_again_when_the_journal_has_some() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(dir.path(), TINY, 2).unwrap();
    let n = (0..).find(|_| spool.append(&entry(&[0; 100])).is_err()).unwrap();
    spool.sync().unwrap();
    assert!(n > 15, "{n}");
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
