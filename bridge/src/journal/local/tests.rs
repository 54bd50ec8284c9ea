//! The local journal: durability, retention, and readers beside the writer.
//!
//! Files are made in a temporary folder.

use super::writer::{LOOSE_KEPT, commit, sweep};
use super::*;
use crate::journal::{Batch, Topic};

const KEEP: Retention = Retention { days: 7, video_bytes_max: 1_000 };

fn entry(topic: Topic, loose: bool, value: &[u8]) -> Entry {
    let headers = [("schema", "x/1")].into_iter().collect();
    Entry { topic, dead: false, loose, key: "pi".to_owned(), headers, time_ms: 5, value: value.to_vec() }
}

fn read_all(j: &LocalJournal, from: &Offsets) -> Batch {
    j.reader(from).unwrap().read(10_000, Duration::ZERO).unwrap()
}

#[test]
fn a_reader_makes_no_journal_of_an_empty_or_foreign_file_and_reads_one_as_soon_as_it_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("journal.db");
    let retention = Retention { days: 7, video_bytes_max: 1 << 20 };
    for schema in
        ["", "CREATE TABLE other (x)", "CREATE TABLE meta (k TEXT PRIMARY KEY, v TEXT NOT NULL) WITHOUT ROWID"]
    {
        let foreign = dir.path().join("foreign.db");
        Connection::open(&foreign).unwrap().execute_batch(schema).unwrap();
        let error = LocalJournal::open(&foreign, retention, false).err();
        assert!(matches!(error, Some(JournalError::Away(_))), "{schema}: {error:?}");
        std::fs::remove_file(&foreign).unwrap();
    }
    std::fs::write(&file, "text, and no database at all").unwrap();
    let error = LocalJournal::open(&file, retention, false).err();
    assert!(matches!(error, Some(JournalError::Fatal(_))), "{error:?}");
    std::fs::remove_file(&file).unwrap();
    let journal = LocalJournal::open(&file, retention, true).unwrap();
    assert_eq!(LocalJournal::open(&file, retention, false).unwrap().id(), journal.id());
}

#[test]
fn what_it_gave_its_word_for_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("j.db");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let id = {
        let j = LocalJournal::open(&file, KEEP, true).unwrap();
        let words: Vec<_> =
            (0..300u32).map(|i| j.append(entry(Topic::Metrics, false, &i.to_le_bytes()).into())).collect();
        runtime.block_on(async {
            for w in words {
                w.await.unwrap();
            }
        });
        j.id()
    };
    let j = LocalJournal::open(&file, KEEP, false).unwrap();
    assert_eq!(j.id(), id);
    let batch = read_all(&j, &Offsets::new());
    assert!(batch.restarted.is_empty());
    let values: Vec<u32> =
        batch.records.iter().map(|r| u32::from_le_bytes(r.entry.value.clone().try_into().unwrap())).collect();
    assert_eq!(values, (0..300).collect::<Vec<_>>());
    assert_eq!(batch.records[0].entry.header("schema"), Some("x/1"));
    let from = Offsets::from([((PLACE.to_owned(), 0), 299)]);
    assert_eq!(read_all(&j, &from).records.len(), 2);
    assert!(read_all(&j, &j.end().unwrap()).records.is_empty());
    let beyond = Offsets::from([((PLACE.to_owned(), 0), 999)]);
    let batch = read_all(&j, &beyond);
    assert_eq!(batch.restarted, [PLACE]);
    assert!(runtime.block_on(j.append(entry(Topic::Status, false, b"").into())).is_err());
}

#[test]
fn a_reader_in_another_connection_sees_new_entries_soon() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("j.db");
    let j = LocalJournal::open(&file, KEEP, true).unwrap();
    let mut reader = j.reader(&Offsets::new()).unwrap();
    assert!(reader.read(10, Duration::ZERO).unwrap().records.is_empty());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(j.append(entry(Topic::Census, false, b"a").into())).unwrap();
    let batch = reader.read(10, Duration::from_secs(2)).unwrap();
    assert_eq!(batch.records.len(), 1);
    assert!(reader.read(10, Duration::from_millis(30)).unwrap().records.is_empty());
}

#[test]
fn the_sweep_keeps_the_newest_pictures_and_the_days_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = connect(&dir.path().join("j.db")).unwrap();
    c.execute_batch(SCHEMA).unwrap();
    let put = |c: &mut Connection, e: Entry| commit(c, &[(e.into(), oneshot::channel().0)]).unwrap();
    for _ in 0..100 {
        put(&mut c, entry(Topic::Video, true, b"loose"));
        put(&mut c, entry(Topic::Video, false, &[0; 100]));
    }
    put(&mut c, entry(Topic::Metrics, false, b"m"));
    let count = |c: &Connection, w: &str| {
        c.query_row(&format!("SELECT count(*) FROM entries WHERE {w}"), [], |r| r.get::<_, i64>(0)).unwrap()
    };
    sweep(&mut c, KEEP, crate::clock::now_us()).unwrap();
    assert_eq!(count(&c, "loose = 1"), i64::from(LOOSE_KEPT));
    assert_eq!(count(&c, "topic = 'video' AND loose = 0"), 10);
    assert_eq!(count(&c, "topic = 'metrics'"), 1);
    let e = end(&c).unwrap();
    c.execute("UPDATE entries SET kept_ms = 0", []).unwrap();
    put(&mut c, entry(Topic::Metrics, false, b"n"));
    sweep(&mut c, KEEP, crate::clock::now_us()).unwrap();
    assert_eq!(count(&c, "1"), 1);
    assert_eq!(end(&c).unwrap(), e + 1);
}

#[test]
fn ids_are_uuids() {
    let u = new_id();
    assert_eq!((u.len(), u.as_bytes()[14], u.matches('-').count()), (36, b'4', 4));
}
