//! The spool as a fuzz target: two ways to a folder of unknown state, and what must be read back from it.
//!
//! The inputs are choices. The folder is temporary, in memory where possible. No record may come back that was not put in,
//! and none may be lost whose bytes are untouched.

use super::feed::Feed;
use firmware::custody::Envelope;
use firmware::custody::envelope::crc32;
use firmware::limits::ENVELOPE_BYTES;
use firmware::wire::{Loss, LossReason};
use hueflow_edge::spool::segment::{HEAD_BYTES, name_of};
use hueflow_edge::spool::state::StreamState;
use hueflow_edge::spool::{Entry, Limits, ReadError, Spool, Stamp, State};
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

const TINY: Limits = Limits { bytes_max: 64 * 1024, segment_bytes: 300, loss_bytes_max: 4_096 };

/// A folder for one run: in memory if it can be, for a disk's syncs are slow.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Calls `see` with a file that holds `bytes`.
pub fn with_file(name: &str, bytes: &[u8], see: impl FnOnce(&Path)) {
    let dir = folder();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    see(&path);
}

fn entry(payload: &[u8]) -> Entry<'_> {
    Entry { kind: 1, payload_version: 2, captured_at_us: 7, clock_synced: false, payload }
}

/// Up to four files: raw bytes, or heads and records with right checksums and whatever numbers.
pub fn any_files(feed: &mut Feed<'_>) {
    let dir = folder();
    for _ in 0..feed.byte() % 5 {
        let (kind, number) = (feed.below(6), feed.number());
        let (name, bytes) = match kind {
            0 => (name_of("seg", number), feed.stretch(4_096).to_vec()),
            1 => (name_of("loss", number), feed.stretch(4_096).to_vec()),
            2 => ("state".to_owned(), feed.stretch(4_096).to_vec()),
            3 => {
                let state =
                    State { journal: None, streams: (0..feed.byte() % 3).map(|_| stream_state(feed)).collect() };
                ("state".to_owned(), serde_json::to_vec(&state).unwrap())
            }
            4 => (name_of("seg", number), segment(feed)),
            _ => (name_of("loss", number), segment(feed)),
        };
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let Ok(mut spool) = Spool::open(dir.path(), TINY, 1_000_000).map_err(|e| assert!(!e.to_string().is_empty())) else {
        return;
    };
    read_all(&mut spool);
    live_on(&mut spool);
    drop(spool);
    let mut spool = Spool::open(dir.path(), TINY, 2_000_000).unwrap();
    read_all(&mut spool);
}

fn stream_state(feed: &mut Feed<'_>) -> StreamState {
    StreamState { stream: feed.number(), since: feed.number(), floor: feed.number() }
}

fn segment(feed: &mut Feed<'_>) -> Vec<u8> {
    let (stream, first) = (feed.number(), feed.number());
    // Boots are random: no new one has an older one's number.
    let stream = if [1_000_000, 2_000_000].contains(&(stream & !1)) { 7 } else { stream };
    let mut bytes = vec![0; HEAD_BYTES];
    bytes[..6].copy_from_slice(b"HFSEG\x01");
    bytes[8..16].copy_from_slice(&stream.to_le_bytes());
    bytes[16..24].copy_from_slice(&first.to_le_bytes());
    let crc = crc32(0, &bytes[..24]);
    bytes[24..28].copy_from_slice(&crc.to_le_bytes());
    for i in 0..u64::from(feed.byte() % 6) {
        let (step, seq) = (feed.byte(), first.wrapping_add(i));
        let seq = if step > 250 { feed.number() } else { seq.wrapping_add(u64::from(step / 64)) };
        let loss = Loss { stream: feed.number(), from: feed.number(), to: feed.number(), reason: LossReason::Full };
        let mut payload = [0; 32];
        let n = firmware::wire::encode(&loss, &mut payload).unwrap();
        let (kind, payload_version) = (4, 1);
        let e = Envelope { kind, payload_version, clock_synced: true, stream, seq, captured_at_us: feed.number() };
        bytes.extend(e.seal(&payload[..n]));
        bytes.extend(&payload[..n]);
        bytes.extend(feed.stretch(usize::from(feed.0.first().is_some_and(|b| b & 1 == 1)) * 64));
    }
    bytes
}

/// What it lists and can be read is a whole record of that name.
fn read_all(spool: &mut Spool) -> usize {
    let (mut record, mut read) = (Vec::new(), 0);
    for o in spool.older().to_vec() {
        assert!(o.stream != 0 && o.floor <= o.next && o.since <= o.next, "{o:?}");
        for seq in o.next.saturating_sub(400).max(o.floor)..o.next {
            match spool.read(o.stream, seq, &mut record) {
                Ok(()) => {
                    let (envelope, _) = Envelope::open(&record).unwrap();
                    assert_eq!((envelope.stream, envelope.seq), (o.stream, seq));
                    read += 1;
                }
                Err(ReadError::Damaged { .. }) => {}
                Err(ReadError::Disk(e)) => panic!("{e}"),
            }
        }
    }
    read
}

/// It takes records, gives them back, and lets go of all that is older.
fn live_on(spool: &mut Spool) {
    let boot = spool.boot();
    for i in 0..3 {
        let seq = spool.append(&entry(&[i; 200])).unwrap();
        assert_eq!(spool.sync().unwrap(), seq + 1);
    }
    let mut record = Vec::new();
    spool.read(boot, 1, &mut record).unwrap();
    assert_eq!(record[ENVELOPE_BYTES..], [1; 200]);
    let held = |_: u64, from: u64, to: u64| (from < to).then_some((from, to));
    for _ in 0..8 {
        if !matches!(spool.evict(|_| None, held, Stamp::default()), Ok(Some(_))) {
            break;
        }
    }
    spool.trim(|_| None, |_| false).unwrap();
    assert!(spool.bytes() <= TINY.bytes_max);
}

/// A file of the sound spool, and where in it each record lies: (stream, seq, bytes).
type Sound = Vec<(String, Vec<u8>, Vec<(u64, u64, Range<usize>)>)>;

/// A spool of two boots, with several segments and loss records, made once.
fn sound() -> &'static Sound {
    static SOUND: OnceLock<Sound> = OnceLock::new();
    SOUND.get_or_init(|| {
        let dir = folder();
        for boot in [10, 20] {
            let mut spool = Spool::open(dir.path(), TINY, boot).unwrap();
            for i in 0..9u8 {
                spool.append(&entry(&vec![i; usize::from(i) * 13])).unwrap();
            }
            spool.sync().unwrap();
            let loss = |from| Loss { stream: 4, from, to: from + 1, reason: LossReason::Full };
            spool.declare(&[loss(1), loss(5)], Stamp::default()).unwrap();
        }
        let mut names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
        names.retain(|p| p.extension().is_some_and(|e| e == "log"));
        names.sort();
        let file = |p: &std::path::PathBuf| {
            let (bytes, mut records, mut at) = (std::fs::read(p).unwrap(), Vec::new(), HEAD_BYTES);
            while let Ok((e, payload, _)) = Envelope::open_first(&bytes[at..]) {
                let end = at + ENVELOPE_BYTES + payload.len();
                records.push((e.stream, e.seq, at..end));
                at = end;
            }
            (p.file_name().unwrap().to_string_lossy().into_owned(), bytes, records)
        };
        names.iter().map(file).collect()
    })
}

/// The sound spool with bytes changed or a file cut: what is not damaged comes back as it was.
pub fn damaged(feed: &mut Feed<'_>) {
    let sound = sound();
    let dir = folder();
    let mut files: Vec<(Vec<u8>, Vec<Range<usize>>)> = sound.iter().map(|f| (f.1.clone(), Vec::new())).collect();
    for _ in 0..=feed.byte() % 4 {
        let (bytes, hurt) = &mut files[feed.below(sound.len() as u8)];
        if bytes.is_empty() {
            continue;
        }
        let (how, at) = (feed.below(8), usize::from(feed.short()) % bytes.len());
        let end = (at + 1 + feed.below(64)).min(bytes.len());
        match how {
            0..4 => {
                bytes[at] ^= feed.byte().max(1);
                hurt.push(at..at + 1);
            }
            4 => {
                bytes[at..end].fill(feed.byte());
                hurt.push(at..end);
            }
            5 => {
                // A torn page: what was before there is there again.
                bytes[at..end].fill(0);
                hurt.push(at..end);
            }
            6 => {
                bytes.extend(feed.take(64));
            }
            _ => {
                hurt.push(at..usize::MAX);
                bytes.truncate(at);
            }
        }
    }
    for ((name, ..), (bytes, _)) in sound.iter().zip(&files) {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let mut spool = Spool::open(dir.path(), TINY, 1_000_000).unwrap();
    let touched =
        |hurt: &[Range<usize>], place: &Range<usize>| hurt.iter().any(|h| h.start < place.end && place.start < h.end);
    let mut record = Vec::new();
    for ((name, whole, records), (_, hurt)) in sound.iter().zip(&files) {
        for (stream, seq, place) in records.iter().filter(|r| !touched(hurt, &r.2)) {
            let read = spool.read(*stream, *seq, &mut record);
            assert!(read.is_ok(), "{name}: record {seq} of stream {stream} at {place:?}, damage at {hurt:?}");
            assert_eq!(record, whole[place.clone()]);
        }
    }
    read_all(&mut spool);
    live_on(&mut spool);
}
