//! Reader: records out of Kafka, from assigned partitions.
//!
//! Takes the offsets to begin at. Gives records in the order of each partition, and what was out of range.
//! Touches one consumer.
//! Never commits an offset: the store does.

use super::super::reason::LastFault;
use super::super::{BATCH_BYTES_MAX, Batch, Entry, Headers, JournalError, Marks, Offsets, Reader, Record, Topic};
use super::{ANSWER, away, names, partitions};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// How often a reader looks for partitions that are new.
const DISCOVER: Duration = Duration::from_secs(10);
/// The same while topics are missing: the bridge may be about to make them.
const DISCOVER_MISSING: Duration = Duration::from_millis(500);

/// Reads on from where it stands, all partitions of ours.
pub struct KafkaReader {
    consumer: BaseConsumer<LastFault>,
    said: LastFault,
    prefix: String,
    next: Offsets,
    assigned: Vec<(String, i32)>,
    looked: Option<Instant>,
    /// Marks of records that are still to be compared; these partitions are read from one record before their offset.
    marks: Marks,
}

impl KafkaReader {
    /// One that begins at `next`, and at the beginning of what is not in it.
    pub fn new(consumer: BaseConsumer<LastFault>, said: LastFault, prefix: String, next: Offsets) -> KafkaReader {
        KafkaReader { consumer, said, prefix, next, assigned: Vec::new(), looked: None, marks: Marks::new() }
    }

    fn all_topics(&self) -> bool {
        names("").iter().all(|(name, ..)| self.assigned.iter().any(|(place, _)| place == name))
    }

    /// Looks for partitions that are new and assigns them all, each at its next offset. Gives what is out of range.
    fn discover(&mut self) -> Result<Vec<String>, JournalError> {
        let every = if self.all_topics() { DISCOVER } else { DISCOVER_MISSING };
        if self.looked.is_some_and(|t| t.elapsed() < every) {
            return Ok(Vec::new());
        }
        self.looked = Some(Instant::now());
        let metadata = self.consumer.fetch_metadata(None, ANSWER).map_err(|e| self.said.away(e))?;
        let now = partitions(&metadata, &self.prefix);
        if now == self.assigned {
            return Ok(Vec::new());
        }
        let (mut list, mut restarted) = (TopicPartitionList::new(), Vec::new());
        for (place, partition) in &now {
            let topic = format!("{}{place}", self.prefix);
            let key = (place.clone(), *partition);
            if let Some(&next) = self.next.get(&key).filter(|_| !self.assigned.contains(&key)) {
                let (low, high) = self.consumer.fetch_watermarks(&topic, *partition, ANSWER).map_err(away)?;
                if next < low || next > high {
                    restarted.push(format!("{topic}/{partition}"));
                    self.next.remove(&key);
                }
                if next <= low || next > high {
                    self.marks.remove(&key); // The record is gone, so there is nothing to compare.
                }
            }
            let before = i64::from(self.marks.contains_key(&key));
            let offset = self.next.get(&key).map_or(Offset::Beginning, |&o| Offset::Offset(o - before));
            list.add_partition_offset(&topic, *partition, offset).map_err(away)?;
        }
        self.consumer.assign(&list).map_err(away)?;
        self.assigned = now;
        Ok(restarted)
    }

    /// Compares the first record of a partition with the mark of the last one that was read before.
    fn check_mark(&mut self, record: &Record) -> Seen {
        let key = (record.place.clone(), record.partition);
        let (Some(mark), Some(&next)) = (self.marks.remove(&key), self.next.get(&key)) else { return Seen::New };
        if record.offset >= next {
            return Seen::New; // Compaction took the record that was to be compared.
        }
        if record.mark() == mark {
            return Seen::Before;
        }
        // Assigned anew, with every partition where it stands and this one at its beginning.
        self.next.remove(&key);
        self.assigned.clear();
        self.looked = None;
        Seen::Other
    }
}

/// What a record is to its reader.
enum Seen {
    /// One to be given.
    New,
    /// The one that was read last, in an earlier session.
    Before,
    /// Another one in its place: the topic was made anew.
    Other,
}

impl Reader for KafkaReader {
    fn compare(&mut self, marks: Marks) {
        self.marks = marks;
    }

    fn read(&mut self, max: usize, wait: Duration) -> Result<Batch, JournalError> {
        let mut batch = Batch { records: Vec::new(), restarted: self.discover()? };
        let deadline = Instant::now() + wait;
        let mut bytes = 0;
        while batch.records.len() < max && bytes < BATCH_BYTES_MAX {
            let left = if batch.records.is_empty() {
                deadline.saturating_duration_since(Instant::now())
            } else {
                Duration::ZERO
            };
            match self.consumer.poll(left) {
                None => break,
                Some(Ok(message)) => {
                    let place = message.topic().strip_prefix(self.prefix.as_str()).unwrap_or_default();
                    let Some((topic, dead)) = Topic::parse(place) else { continue };
                    let key = (place.to_owned(), message.partition());
                    let record = Record {
                        place: place.to_owned(),
                        partition: message.partition(),
                        offset: message.offset(),
                        entry: entry(topic, dead, &message),
                    };
                    let payload_bytes = message.payload_len();
                    let name = format!("{}/{}", message.topic(), message.partition());
                    drop(message);
                    match self.check_mark(&record) {
                        Seen::New => {}
                        Seen::Before => continue,
                        Seen::Other => {
                            batch.restarted.push(name);
                            break;
                        }
                    }
                    if let Some(&next) = self.next.get(&key)
                        && record.offset < next
                    {
                        batch.restarted.push(name);
                    }
                    self.next.insert(key, record.offset + 1);
                    bytes += payload_bytes;
                    batch.records.push(record);
                }
                Some(Err(KafkaError::MessageConsumptionFatal(e))) => return Err(JournalError::Fatal(e.to_string())),
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(e)) => {
                    if batch.records.is_empty() {
                        return Err(self.said.away(e));
                    }
                    break;
                }
            }
        }
        Ok(batch)
    }

    fn lag(&mut self) -> Option<u64> {
        let mut lag = 0u64;
        for (place, partition) in &self.assigned {
            let topic = format!("{}{place}", self.prefix);
            let (low, high) = self.consumer.fetch_watermarks(&topic, *partition, ANSWER).ok()?;
            let next = self.next.get(&(place.clone(), *partition)).copied().unwrap_or(low);
            lag = lag.saturating_add(u64::try_from(high - next.max(low)).unwrap_or(0));
        }
        Some(lag)
    }
}

fn entry(topic: Topic, dead: bool, message: &impl Message) -> Entry {
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    let headers: Headers = message
        .headers()
        .map(|h| h.iter().map(|h| (h.key, h.value.map(String::from_utf8_lossy).unwrap_or_default())).collect())
        .unwrap_or_default();
    let loose = topic == Topic::Video && !dead && headers.get("stream") == Some("0");
    Entry {
        topic,
        dead,
        loose,
        key: message.key().map(text).unwrap_or_default(),
        headers,
        time_ms: message.timestamp().to_millis().unwrap_or(0),
        value: message.payload().unwrap_or_default().to_vec(),
    }
}
