//! Spool against a model: whatever is appended, synced, trimmed, torn and reopened, no accepted record is lost.
//!
//! Random actions run on a spool in a temporary directory and on the model. Segments have a few hundred bytes, so that every
//! edge is met in milliseconds.

mod cases;

use super::fault::DISK_BYTES;
use super::*;
use firmware::custody::Envelope;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const TINY: Limits = Limits { bytes_max: 3000, segment_bytes: 300, loss_bytes_max: 600 };

#[derive(Debug, Clone)]
enum Action {
    /// As the edge does it: what is full is made room in.
    Append(u8),
    Sync,
    Evict,
    /// Power fails between loss record and unlink.
    EvictHalf,
    /// Power fails: of what was not synced, the first so many bytes are on the disk, the last of them perhaps wrong.
    Crash(u16, bool),
    /// A clean end and a new start.
    Reopen,
    /// The journal takes so many more records.
    Settle(u8),
    /// The journal takes one out of turn.
    SettleOne(u8),
    /// The journal takes all loss records.
    SettleLosses,
    /// The disk takes so many bytes more, and does not sync when it is full.
    DiskFull(u16),
    DiskFree,
    /// A record's bytes go bad.
    Rot(u8),
    /// While no edge runs, a segment loses its end: of the `.0`th that is not the last of its stream, so many bytes behind
    /// the head stay.
    CutOff(u8, u16),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        16 => (0u8..120).prop_map(Action::Append),
        4 => Just(Action::Sync),
        1 => Just(Action::Evict),
        1 => Just(Action::EvictHalf),
        1 => (0u16..400, any::<bool>()).prop_map(|(n, wrong)| Action::Crash(n, wrong)),
        1 => Just(Action::Reopen),
        2 => (0u8..12).prop_map(Action::Settle),
        2 => any::<u8>().prop_map(Action::SettleOne),
        2 => Just(Action::SettleLosses),
        1 => (0u16..600).prop_map(Action::DiskFull),
        2 => Just(Action::DiskFree),
        1 => any::<u8>().prop_map(Action::Rot),
        1 => (any::<u8>(), 0u16..300).prop_map(|(which, bytes)| Action::CutOff(which, bytes)),
    ]
}

fn entry(payload: &[u8]) -> Entry<'_> {
    Entry { kind: 1, payload_version: 1, captured_at_us: 7, clock_synced: false, payload }
}

fn payload(stream: u64, seq: u64, len: u8) -> Vec<u8> {
    (0..len).map(|i| (stream ^ seq.wrapping_mul(31) ^ u64::from(i)) as u8).collect()
}

type Name = (u64, u64);

struct Model {
    dir: tempfile::TempDir,
    spool: Option<Spool>,
    boot: u64,
    /// Bytes of payload of what is neither settled nor given up.
    held: BTreeMap<Name, u8>,
    rotten: BTreeSet<Name>,
    /// Given up.
    lost: BTreeSet<Name>,
    /// Loss records that the journal does not have, and all that were ever declared.
    losses: BTreeMap<Name, Loss>,
    declared: BTreeSet<Name>,
    /// Records of this open that are accepted; and its active segment's synced length.
    accepted: u64,
    synced_len: u64,
}

fn holds(held: &BTreeMap<Name, u8>, stream: u64, from: u64, to: u64) -> Option<(u64, u64)> {
    let from = (from..to).find(|&q| held.contains_key(&(stream, q)))?;
    Some((from, (from..to).find(|&q| !held.contains_key(&(stream, q))).unwrap_or(to)))
}

fn floor<T>(held: &BTreeMap<Name, T>, stream: u64) -> Option<u64> {
    held.range((stream, 0)..=(stream, u64::MAX)).next().map(|(&(_, seq), _)| seq)
}

impl Model {
    fn new() -> Model {
        DISK_BYTES.set(None);
        let mut model = Model {
            dir: tempfile::tempdir().unwrap(),
            spool: None,
            boot: 100,
            held: BTreeMap::new(),
            rotten: BTreeSet::new(),
            lost: BTreeSet::new(),
            losses: BTreeMap::new(),
            declared: BTreeSet::new(),
            accepted: 0,
            synced_len: 0,
        };
        model.open();
        model
    }

    fn files(&self, prefix: &str) -> Vec<PathBuf> {
        let all = std::fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().path());
        let mut names: Vec<_> = all.filter(|p| segment::number_of(prefix, p.file_name().unwrap()).is_some()).collect();
        names.sort();
        names
    }

    fn active(&self) -> PathBuf {
        self.files("seg").pop().unwrap()
    }

    fn open(&mut self) {
        self.boot += 2;
        let spool = Spool::open(self.dir.path(), TINY, self.boot).unwrap();
        self.accepted = 0;
        self.synced_len = 0;
        // What was not accepted may be there or not, as a prefix; what was accepted must.
        let next = |stream| spool.older().iter().find(|o| o.stream == stream).map_or(0, |o| o.next);
        self.held.retain(|h, _| h.1 < next(h.0));
        for o in spool.older() {
            assert!(floor(&self.held, o.stream).is_none_or(|f| o.floor <= f), "{o:?}");
            assert!(floor(&self.losses, o.stream).is_none_or(|f| o.floor <= f), "{o:?}");
        }
        // A window can speak of whatever a loss record names.
        for loss in self.losses.values() {
            assert!(next(loss.stream) >= loss.to, "{loss:?}");
        }
        assert!(spool.damaged() == 0 || !self.rotten.is_empty());
        self.spool = Some(spool);
    }

    /// What is held can be read, or is declared lost because it is rotten; and each loss record is there.
    fn check(&mut self) {
        let mut record = Vec::new();
        for (name, len) in self.held.clone() {
            let read = self.spool.as_mut().unwrap().read(name.0, name.1, &mut record);
            match read {
                Ok(()) => assert_eq!(record[40..], payload(name.0, name.1, len)),
                Err(ReadError::Damaged { .. }) => {
                    assert!(self.rotten.contains(&name), "{name:?}");
                    let loss = Loss { stream: name.0, from: name.1, to: name.1 + 1, reason: LossReason::Corrupt };
                    if self.declare(&[loss]) {
                        self.give_up(name.0, name.1, name.1 + 1);
                    }
                }
                Err(e) => panic!("{e}"),
            }
        }
        let spool = self.spool.as_mut().unwrap();
        for (&(stream, seq), loss) in &self.losses {
            spool.read(stream, seq, &mut record).unwrap();
            let (envelope, payload) = Envelope::open(&record).unwrap();
            assert_eq!(envelope.kind, Loss::KIND as u8);
            assert_eq!(wire::decode::<Loss>(envelope.payload_version, payload).as_ref(), Ok(loss));
        }
        assert!(self.lost.is_subset(&self.declared));
        let len = |files: Vec<PathBuf>| files.iter().map(|f| std::fs::metadata(f).unwrap().len()).sum::<u64>();
        let (data, losses) = (len(self.files("seg")), len(self.files("loss")));
        assert_eq!(data + losses, self.spool.as_ref().unwrap().bytes());
        assert!(data + losses <= TINY.bytes_max && losses <= TINY.loss_bytes_max, "{data} {losses}");
    }

    fn declare(&mut self, losses: &[Loss]) -> bool {
        let spool = self.spool.as_mut().unwrap();
        let before = spool.losses_next();
        let done = spool.declare(losses, Stamp::default());
        let after = spool.losses_next();
        self.note(before, after, losses);
        match done {
            Ok(next) => assert_eq!((next, next - before), (after, losses.len() as u64)),
            Err(AppendError::Full) => assert!(!self.losses.is_empty()),
            Err(AppendError::Disk(_)) => assert!(DISK_BYTES.get().is_some()),
        }
        after - before == losses.len() as u64
    }

    /// The first of `losses` were appended as `before..after`.
    fn note(&mut self, before: u64, after: u64, losses: &[Loss]) {
        for (seq, loss) in (before..after).zip(losses) {
            self.losses.insert((self.boot | 1, seq), *loss);
            self.declared.extend((loss.from..loss.to).map(|q| (loss.stream, q)));
        }
    }

    fn give_up(&mut self, stream: u64, from: u64, to: u64) {
        for name in (from..to).map(|q| (stream, q)) {
            if self.held.remove(&name).is_some() {
                self.lost.insert(name);
            }
        }
    }

    /// The loss records that dropping the oldest segment needs.
    fn needed(&self) -> Option<(u64, u64, Vec<Loss>)> {
        let oldest = self.spool.as_ref().unwrap().data.oldest()?;
        let (stream, to, mut at, mut losses) = (oldest.stream, oldest.end(), 0, Vec::new());
        while let Some((from, end)) = holds(&self.held, stream, at, to) {
            losses.push(Loss { stream, from, to: end, reason: LossReason::Full });
            at = end;
        }
        Some((stream, to, losses))
    }

    fn evict(&mut self) -> bool {
        // As the edge does: nothing that is not accepted is spoken of.
        self.sync();
        let Some((stream, to, losses)) = self.needed() else { return false };
        let spool = self.spool.as_mut().unwrap();
        let before = spool.losses_next();
        let held = &self.held;
        let evicted = spool.evict(|s| floor(held, s), |s, f, t| holds(held, s, f, t), Stamp::default());
        let after = spool.losses_next();
        self.note(before, after, &losses);
        match evicted {
            Ok(Some(e)) => {
                let count: u64 = losses.iter().map(|l| l.to - l.from).sum();
                assert_eq!((e.stream, e.to, e.lost, e.losses), (stream, to, count, losses.len() as u64));
                assert_eq!(after - before, losses.len() as u64);
                self.give_up(stream, 0, to);
                return true;
            }
            Ok(None) => panic!("it can go"),
            Err(AppendError::Full) => assert!(!self.losses.is_empty()),
            Err(AppendError::Disk(_)) => assert!(DISK_BYTES.get().is_some()),
        }
        false
    }

    fn sync(&mut self) {
        let spool = self.spool.as_mut().unwrap();
        match spool.sync() {
            Ok(next) => {
                self.accepted = next;
                if !self.files("seg").is_empty() && next > 0 {
                    self.synced_len = std::fs::metadata(self.active()).unwrap().len();
                }
            }
            Err(_) => self.refused(),
        }
    }

    /// The disk refused: what was not accepted is not there.
    fn refused(&mut self) {
        assert!(DISK_BYTES.get().is_some());
        let next = self.spool.as_ref().unwrap().next();
        assert!(next >= self.accepted, "{next} {} is accepted", self.accepted);
        let boot = self.boot;
        self.held.retain(|h, _| h.0 != boot || h.1 < next);
    }

    fn append(&mut self, len: u8) {
        let bytes = 40 + u64::from(len);
        while !self.spool.as_ref().unwrap().has_room(bytes) {
            assert!(self.spool.as_ref().unwrap().can_make_room(bytes));
            if !self.evict() {
                break;
            }
        }
        let spool = self.spool.as_mut().unwrap();
        let seq = spool.next();
        let before = spool.unsynced();
        match spool.append(&entry(&payload(self.boot, seq, len))) {
            Ok(given) => {
                assert_eq!(given, seq);
                self.held.insert((self.boot, seq), len);
                // Beginning a new segment syncs the one before.
                self.accepted = self.accepted.max(spool.next() - spool.unsynced());
                if spool.unsynced() == 1 {
                    self.synced_len = std::fs::metadata(self.active()).unwrap().len() - bytes;
                }
            }
            Err(AppendError::Full) => assert!(!spool.has_room(bytes)),
            Err(AppendError::Disk(_)) => {
                if before > 0 && spool.unsynced() == 0 && spool.next() == seq {
                    self.accepted = seq;
                }
                self.refused();
            }
        }
    }

    fn must_survive(&self) -> Vec<Name> {
        self.held.keys().copied().filter(|h| h.0 != self.boot || h.1 < self.accepted).collect()
    }

    fn reopen(&mut self) {
        let survive = self.must_survive();
        self.spool = None;
        self.open();
        for h in survive {
            assert!(self.held.contains_key(&h), "{h:?} was accepted and is lost");
        }
    }

    fn crash(&mut self, kept: u16, wrong: bool) {
        let unsynced = self.spool.as_ref().unwrap().unsynced() > 0;
        if unsynced {
            let active = self.active();
            let mut bytes = std::fs::read(&active).unwrap();
            let synced = self.synced_len as usize;
            bytes.truncate((synced + usize::from(kept)).min(bytes.len()));
            if wrong && bytes.len() > synced {
                *bytes.last_mut().unwrap() ^= 0xFF;
            }
            std::fs::write(&active, bytes).unwrap();
        }
        if let Some(losses) = self.files("loss").pop().filter(|_| wrong) {
            let mut bytes = std::fs::read(&losses).unwrap();
            bytes.extend_from_slice(b"HF\x01\x04 a torn one");
            std::fs::write(&losses, bytes).unwrap();
        }
        self.reopen();
    }

    /// One that has a sound one of its stream behind it: a damaged end looks like a torn one.
    fn rot(&mut self, which: u8) {
        let sound = |h: &Name| !self.rotten.contains(h) && (h.0 != self.boot || h.1 < self.accepted);
        let some: Vec<Name> = self.held.keys().copied().filter(sound).collect();
        let (name, next) = match some.get(usize::from(which) % some.len().max(1)..) {
            Some([a, b, ..]) if a.0 == b.0 => (*a, *b),
            _ => return,
        };
        let needle = payload(name.0, name.1, self.held[&name]);
        if needle.len() < 16 || self.held[&next] < 16 {
            return;
        }
        for file in self.files("seg") {
            let mut bytes = std::fs::read(&file).unwrap();
            let spot =
                bytes.windows(24).position(|w| w[..16] == [name.0.to_le_bytes(), name.1.to_le_bytes()].concat()[..]);
            // In the envelope, stream and seq are 8 bytes behind its front; in a segment's head too, but there is no payload.
            if let Some(at) = spot.filter(|&at| at != 8 && bytes[at + 32..].starts_with(&needle)) {
                bytes[at + 32 + 5] ^= 0x10;
                std::fs::write(&file, bytes).unwrap();
                self.rotten.insert(name);
                return;
            }
        }
    }

    fn cut_off(&mut self, which: u8, kept: u16) {
        self.sync();
        let survive = self.must_survive();
        self.spool = None;
        let files = self.files("seg");
        let stream = |file: &PathBuf| std::fs::read(file).unwrap()[8..16].to_vec();
        let goes_on = |i: &usize| files[i + 1..].iter().any(|later| stream(later) == stream(&files[*i]));
        let some: Vec<usize> = (0..files.len()).filter(goes_on).collect();
        if let Some(&i) = some.get(usize::from(which) % some.len().max(1)) {
            let bytes = std::fs::read(&files[i]).unwrap();
            let keep = (segment::HEAD_BYTES + usize::from(kept)).min(bytes.len());
            let mut at = segment::HEAD_BYTES;
            while let Some(Ok((envelope, len))) = bytes.get(at..).map(Envelope::peek) {
                at += len;
                if at > keep {
                    self.rotten.insert((envelope.stream, envelope.seq));
                }
            }
            std::fs::write(&files[i], &bytes[..keep]).unwrap();
        }
        self.open();
        for h in survive {
            assert!(self.held.contains_key(&h), "{h:?} was accepted and is lost");
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Append(len) => self.append(len),
            Action::Sync => self.sync(),
            Action::Evict => {
                self.evict();
            }
            Action::EvictHalf => {
                self.sync();
                if let Some((_, _, losses)) = self.needed() {
                    self.declare(&losses);
                    self.crash(0, false);
                }
            }
            Action::Crash(kept, wrong) => self.crash(kept, wrong),
            Action::Reopen => {
                self.sync();
                self.reopen();
            }
            Action::Settle(n) => {
                for _ in 0..n {
                    let Some((&h, _)) = self.held.iter().next() else { break };
                    if h.0 == self.boot && h.1 >= self.accepted {
                        break;
                    }
                    self.held.remove(&h);
                }
                self.trim();
            }
            Action::SettleOne(which) => {
                let some = self.must_survive();
                if let Some(h) = some.get(usize::from(which) % some.len().max(1)) {
                    self.held.remove(h);
                }
                self.trim();
            }
            Action::SettleLosses => {
                self.losses.clear();
                self.trim();
            }
            Action::DiskFull(bytes) => DISK_BYTES.set(Some(bytes.into())),
            Action::DiskFree => DISK_BYTES.set(None),
            Action::Rot(which) => self.rot(which),
            Action::CutOff(which, bytes) => self.cut_off(which, bytes),
        }
    }

    fn trim(&mut self) {
        let (held, losses) = (&self.held, &self.losses);
        let floor = |s| floor(held, s).or(floor(losses, s));
        self.spool.as_mut().unwrap().trim(floor, |_| false).unwrap();
    }
}

fn run(actions: impl IntoIterator<Item = Action>) {
    let mut model = Model::new();
    for action in actions {
        model.act(action);
        model.check();
    }
    // In the end, whatever is held when the disk is sound again is still there.
    DISK_BYTES.set(None);
    model.act(Action::Reopen);
    model.check();
}

#[test]
fn a_record_that_rots_at_a_segments_end_while_the_disk_is_full_is_not_forgotten() {
    use Action::{Append, DiskFull, EvictHalf, Rot, Settle, SettleLosses, Sync};
    let begin = [Append(21), Sync, Settle(1), Append(37), Append(91), DiskFull(1), Sync];
    run(begin.into_iter().chain([Rot(30), EvictHalf, SettleLosses, Append(0)]));
}

#[test]
fn a_disk_that_fills_between_two_loss_records_leaves_neither_for_later() {
    use Action::{Append, Crash, DiskFree, DiskFull, Rot, SettleOne};
    let append = |lengths: &[u8]| lengths.iter().map(|&n| Append(n)).collect::<Vec<_>>();
    let begin =
        [append(&[0, 58, 45, 119, 93]), vec![SettleOne(31)], append(&[107, 115, 73, 118, 50]), vec![DiskFull(315)]];
    let full =
        [append(&[27, 9, 95, 0, 0]), vec![Rot(169), DiskFull(351), Crash(0, false)], append(&[89, 42, 18, 0, 0])];
    let end = [vec![DiskFull(325)], append(&[90, 79, 88]), vec![DiskFree], append(&[108])];
    run(begin.into_iter().chain(full).chain(end).flatten());
}

#[test]
fn a_damaged_record_that_has_a_segment_to_itself_is_not_forgotten() {
    use Action::{Append, DiskFull, Evict, EvictHalf, Reopen, Rot, SettleOne};
    let begin = [Append(0), DiskFull(289), Append(39), Append(110), SettleOne(48), Reopen, Append(0), Append(0)];
    run(begin.into_iter().chain([Rot(48), EvictHalf, Evict, Append(0)]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn it_equals_its_model_whatever_happens(actions in prop::collection::vec(action(), 1..120)) {
        run(actions);
    }
}
