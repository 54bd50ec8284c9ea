//! Whether a store has read its journal to the end, asked of both.
//!
//! Inputs are the journal's URL and the store's file; both are read by `sqlite3` and `kcat`, not by the programs under test.
//! Nothing is written.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

/// Offsets by partition: a topic and a number, or "local" and 0.
type Offsets = BTreeMap<(String, String), i64>;

/// Whether the store has read every partition that it knows to its end. One that it has not begun has no row; the caller
/// knows how many boots there are. Of a Kafka that asks for TLS or a password the end is not known here, and it is true:
/// such a test waits for its number of frames.
pub fn is_read(journal: &str, store: &Path) -> bool {
    let Some(read) = offsets(store) else { return false };
    let end = match (journal.strip_prefix("local:"), journal.strip_prefix("kafka://")) {
        (Some(file), _) => local_end(Path::new(file)),
        (_, Some(broker)) if !broker.contains('@') => kafka_end(broker, &read),
        _ => return true,
    };
    // The store goes on meanwhile, so it is asked after the journal.
    let (Some(end), Some(read)) = (end, offsets(store)) else { return false };
    !end.is_empty() && end.iter().all(|(partition, end)| read.get(partition).is_some_and(|next| next >= end))
}

/// Rows of a query on a SQLite file.
///
/// # Errors
/// What `sqlite3` prints.
pub fn rows(file: &Path, sql: &str) -> Result<Vec<String>, String> {
    lines(&Command::new("sqlite3").arg("-readonly").arg(file).arg(sql).output().expect("sqlite3"))
}

fn lines(out: &Output) -> Result<Vec<String>, String> {
    if out.status.success() {
        Ok(String::from_utf8_lossy(&out.stdout).lines().map(str::to_string).collect())
    } else {
        Err(String::from_utf8_lossy(&out.stderr).into_owned())
    }
}

fn offsets(store: &Path) -> Option<Offsets> {
    let row = |row: &String| -> Option<_> {
        let [place, partition, next] = row.split('|').collect::<Vec<_>>()[..] else { return None };
        Some(((place.to_string(), partition.to_string()), next.parse().ok()?))
    };
    rows(store, "SELECT place, part, next FROM offsets").ok()?.iter().map(row).collect()
}

fn local_end(file: &Path) -> Option<Offsets> {
    let last = rows(file, "SELECT seq FROM sqlite_sequence WHERE name = 'entries'").ok()?;
    let last: i64 = last.first()?.parse().ok()?;
    Some(Offsets::from([(("local".to_string(), "0".to_string()), last + 1)]))
}

fn kafka_end(broker: &str, read: &Offsets) -> Option<Offsets> {
    let mut kcat = Command::new("kcat");
    kcat.args(["-b", broker, "-Q"]);
    for (topic, partition) in read.keys() {
        // -1 asks for the offset of the next record.
        kcat.args(["-t", &format!("{topic}:{partition}:-1")]);
    }
    // A line: "metrics [0] offset 240".
    let end = |line: &String| -> Option<_> {
        let [topic, partition, "offset", end] = line.split_whitespace().collect::<Vec<_>>()[..] else { return None };
        let partition = partition.trim_matches(['[', ']']);
        Some(((topic.to_string(), partition.to_string()), end.parse().ok()?))
    };
    lines(&kcat.output().expect("kcat")).ok()?.iter().map(end).collect()
}
