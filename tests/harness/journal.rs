//! Whether a store has read its journal to the end, asked of both.
//!
//! Inputs are the journal's URL and the rows of the store's offsets. The journal is asked by `sqlite3` or Kafka's own
//! protocol, not by the programs under test. Nothing is written.

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

/// Offsets by partition: a topic and a number, or "local" and 0.
type Offsets = BTreeMap<(String, String), i64>;

/// How long Kafka may take for an answer; who waits asks again.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Whether the store has read every partition of the journal to its end. `offsets` gives the store's: lines of topic,
/// partition and next offset with `|` between them, or none if the store does not answer. Of a Kafka that asks for TLS or a
/// password the end is not known here, and it is true: such a test waits for its number of frames.
pub fn is_read(journal: &str, offsets: impl Fn() -> Option<Vec<String>>) -> bool {
    let end = match (journal.strip_prefix("local:"), journal.strip_prefix("kafka://")) {
        (Some(file), _) => local_end(Path::new(file)),
        (_, Some(broker)) if !broker.contains('@') => kafka_end(broker),
        _ => return true,
    };
    // The store goes on meanwhile, so it is asked after the journal.
    let (Some(end), Some(rows)) = (end, offsets()) else { return false };
    let Some(read) = rows.iter().map(|line| row(line)).collect::<Option<Offsets>>() else { return false };
    !end.is_empty() && end.iter().all(|(partition, end)| read.get(partition).is_some_and(|next| next >= end))
}

fn row(line: &str) -> Option<((String, String), i64)> {
    let [topic, partition, next] = line.split('|').collect::<Vec<_>>()[..] else { return None };
    Some(((topic.to_string(), partition.to_string()), next.parse().ok()?))
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

fn local_end(file: &Path) -> Option<Offsets> {
    let last = rows(file, "SELECT seq FROM sqlite_sequence WHERE name = 'entries'").ok()?;
    let last: i64 = last.first()?.parse().ok()?;
    Some(Offsets::from([(("local".to_string(), "0".to_string()), last + 1)]))
}

/// The ends of all partitions that hold anything, of all topics but Kafka's own. The store's offsets would not do to know
/// them: it has none of a partition whose first record it has not read.
fn kafka_end(broker: &str) -> Option<Offsets> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", broker).create().ok()?;
    let metadata = consumer.fetch_metadata(None, ANSWER_LIMIT).ok()?;
    let mut ends = Offsets::new();
    for topic in metadata.topics().iter().filter(|t| !t.name().starts_with("__")) {
        for partition in topic.partitions().iter().map(|p| p.id()) {
            let (first, end) = consumer.fetch_watermarks(topic.name(), partition, ANSWER_LIMIT).ok()?;
            if first < end {
                ends.insert((topic.name().to_string(), partition.to_string()), end);
            }
        }
    }
    Some(ends)
}
