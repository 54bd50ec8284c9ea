//! Reads records from Kafka, from all partitions or as a member of a group.
//!
//! [`KafkaReader`] gives records in the order of each partition, and the partitions whose wanted offset does not exist. It
//! begins at the offsets that the store holds and commits none itself. A member reads what its group assigns, after
//! [`Reader::start`].

use super::super::reason::LastFault;
use super::super::{
    BATCH_BYTES_MAX, Batch, Entry, Headers, JournalError, Marks, Offsets, Reader, Rebalance, Record, Topic,
};
use super::client::{has_no_leader, watermarks};
use super::group::Watch;
use super::{ANSWER, away, names, partitions};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers as _, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// How often a reader looks for partitions that are new.
const DISCOVER: Duration = Duration::from_secs(10);
/// The same while topics are missing: the bridge may be about to make them.
const DISCOVER_MISSING: Duration = Duration::from_millis(500);
/// How long a partition without a leader is asked for its range: an election takes less than a second.
const LEADER_WAIT: Duration = Duration::from_secs(2);
/// How long what another member has claimed is left alone: some of its heartbeats.
const REJOIN: Duration = Duration::from_secs(3);

/// Reads on from where it stands, all partitions of ours.
pub struct KafkaReader {
    consumer: BaseConsumer<Watch>,
    last_fault: LastFault,
    prefix: String,
    next: Offsets,
    assigned: Vec<(String, i32)>,
    looked: Option<Instant>,
    /// Marks of records that are still to be compared; these partitions are read from one record before their offset.
    marks: Marks,
    /// What a member of a group has of it.
    group: Option<Group>,
}

/// The state of a member of a group.
#[derive(Default)]
struct Group {
    /// What has changed and was not returned yet.
    change: Rebalance,
    /// What the group has assigned.
    owned: Vec<(String, i32)>,
    /// [`Reader::start`] was called with where to begin.
    is_started: bool,
    /// Places that are read from their beginning, and were not returned yet.
    restarted: Vec<String>,
    /// Reading pauses.
    is_paused: bool,
    /// When what was given back may be claimed again.
    rejoin_at: Option<Instant>,
}

impl KafkaReader {
    /// One that begins at `next`, and at the beginning of what is not in it.
    pub fn new(consumer: BaseConsumer<Watch>, last_fault: LastFault, prefix: String, next: Offsets) -> KafkaReader {
        let (assigned, marks) = (Vec::new(), Marks::new());
        KafkaReader { consumer, last_fault, prefix, next, assigned, looked: None, marks, group: None }
    }

    /// The same as a member of the consumer's group.
    pub fn in_group(mut self) -> KafkaReader {
        self.group = Some(Group::default());
        self
    }

    /// Notes what the group has changed. Gives whether something was revoked.
    fn note_changes(&mut self) -> bool {
        let Some(group) = &mut self.group else { return false };
        let change = self.consumer.context().take();
        if change.is_revoked {
            *group = Group { change: Rebalance { is_revoked: true, assigned: None }, ..Group::default() };
            (self.assigned, self.next, self.marks) = (Vec::new(), Offsets::new(), Marks::new());
        }
        if let Some(all) = change.assigned {
            let ours = |(topic, partition): (String, i32)| {
                Some((topic.strip_prefix(self.prefix.as_str())?.to_owned(), partition))
            };
            group.owned = all.into_iter().filter_map(ours).collect();
            group.owned.sort();
            group.is_started = false;
            group.change.assigned = Some(group.owned.clone());
        }
        change.is_revoked
    }

    /// Pauses reading, or goes on.
    fn pause(&mut self, is_paused: bool) {
        let Some(group) = self.group.as_mut().filter(|g| g.is_paused != is_paused) else { return };
        let Ok(list) = self.consumer.assignment() else { return };
        let result = if is_paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        match result {
            Ok(()) => group.is_paused = is_paused,
            Err(e) => log::debug!("Kafka: {e}"),
        }
    }

    /// The partitions to read, where they are to be looked for now.
    fn wanted(&mut self) -> Result<Option<Vec<(String, i32)>>, JournalError> {
        if let Some(group) = &self.group {
            return Ok(group.is_started.then(|| group.owned.clone()));
        }
        let every = if self.all_topics() { DISCOVER } else { DISCOVER_MISSING };
        if self.looked.is_some_and(|t| t.elapsed() < every) {
            return Ok(None);
        }
        self.looked = Some(Instant::now());
        let metadata = self.consumer.fetch_metadata(None, ANSWER).map_err(|e| self.last_fault.away(e))?;
        Ok(Some(partitions(&metadata, &self.prefix)))
    }

    fn all_topics(&self) -> bool {
        names("").iter().all(|(name, ..)| self.assigned.iter().any(|(place, _)| place == name))
    }

    /// Looks for partitions that are new and assigns them all, each at its next offset. Gives what is out of range.
    fn discover(&mut self) -> Result<Vec<String>, JournalError> {
        let Some(now) = self.wanted()? else { return Ok(Vec::new()) };
        if now == self.assigned {
            return Ok(Vec::new());
        }
        let (mut list, mut restarted) = (TopicPartitionList::new(), Vec::new());
        for (place, partition) in &now {
            let topic = format!("{}{place}", self.prefix);
            let key = (place.clone(), *partition);
            if let Some(&next) = self.next.get(&key).filter(|_| !self.assigned.contains(&key))
                && let Some((low, high)) = self.range(&topic, *partition)?
            {
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
        if let Some(group) = &mut self.group {
            // A partition that was paused when it was revoked is still paused when it comes back.
            self.consumer.resume(&list).map_err(away)?;
            group.is_paused = false;
        }
        self.assigned = now;
        Ok(restarted)
    }

    /// First and next offset of a partition; none while it has no leader. The other partitions then do not wait, and the
    /// offset is checked by the records that come from it.
    fn range(&self, topic: &str, partition: i32) -> Result<Option<(i64, i64)>, JournalError> {
        match watermarks(self.consumer.client(), topic, partition, LEADER_WAIT) {
            Ok(range) => Ok(Some(range)),
            Err(e) if has_no_leader(&e) => Ok(None),
            Err(e) => Err(away(e)),
        }
    }

    fn poll(&self, wait: Duration) -> Polled {
        match self.consumer.poll(wait) {
            None => Polled::Nothing,
            Some(Ok(message)) => {
                let place = message.topic().strip_prefix(self.prefix.as_str()).unwrap_or_default();
                let Some((topic, dead)) = Topic::parse(place) else { return Polled::Foreign };
                let record = Record {
                    place: place.to_owned(),
                    partition: message.partition(),
                    offset: message.offset(),
                    entry: entry(topic, dead, &message),
                };
                Polled::Record(Box::new(record), format!("{}/{}", message.topic(), message.partition()))
            }
            Some(Err(KafkaError::MessageConsumptionFatal(e))) => Polled::Failed(JournalError::Fatal(e.to_string())),
            Some(Err(KafkaError::PartitionEOF(_))) => Polled::Foreign,
            // A topic that was subscribed to and is not made yet.
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition)))
                if self.group.is_some() =>
            {
                Polled::Foreign
            }
            Some(Err(e)) => Polled::Failed(self.last_fault.away(e)),
        }
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

/// What the consumer gave.
enum Polled {
    Nothing,
    /// Nothing of ours.
    Foreign,
    /// A record, and its partition's name.
    Record(Box<Record>, String),
    Failed(JournalError),
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
        self.pause(false);
        let mut batch = Batch { records: Vec::new(), restarted: self.discover()? };
        if let Some(group) = &mut self.group {
            batch.restarted.append(&mut group.restarted);
        }
        let deadline = Instant::now() + wait;
        let mut bytes = 0;
        while batch.records.len() < max && bytes < BATCH_BYTES_MAX {
            let left = if batch.records.is_empty() {
                deadline.saturating_duration_since(Instant::now())
            } else {
                Duration::ZERO
            };
            let polled = self.poll(left);
            if self.note_changes() {
                // Other members have the partitions now, and read these records themselves.
                batch.records.clear();
                break;
            }
            match polled {
                Polled::Nothing => break,
                Polled::Foreign => {}
                Polled::Record(record, name) => {
                    match self.check_mark(&record) {
                        Seen::New => {}
                        Seen::Before => continue,
                        Seen::Other => {
                            batch.restarted.push(name);
                            break;
                        }
                    }
                    let key = (record.place.clone(), record.partition);
                    if let Some(&next) = self.next.get(&key)
                        && record.offset < next
                    {
                        batch.restarted.push(name);
                    }
                    self.next.insert(key, record.offset + 1);
                    bytes += record.entry.value.len();
                    batch.records.push(*record);
                }
                Polled::Failed(e @ JournalError::Fatal(_)) => return Err(e),
                Polled::Failed(e) => {
                    if batch.records.is_empty() {
                        return Err(e);
                    }
                    break;
                }
            }
        }
        Ok(batch)
    }

    fn rebalance(&mut self) -> Rebalance {
        let Some(group) = &mut self.group else { return Rebalance::default() };
        let is_early = group.rejoin_at.is_some_and(|at| Instant::now() < at);
        let assigned = if is_early { None } else { group.change.assigned.take() };
        Rebalance { is_revoked: std::mem::take(&mut group.change.is_revoked), assigned }
    }

    fn start(&mut self, from: &Offsets, marks: Marks) -> Result<(), JournalError> {
        let Some(group) = &mut self.group else { return Ok(()) };
        group.is_started = true;
        (self.next, self.marks, self.assigned) = (from.clone(), marks, Vec::new());
        let placed = self.discover();
        if let Some(group) = &mut self.group {
            group.is_started = placed.is_ok();
            group.restarted.extend(placed?);
        }
        Ok(())
    }

    fn idle(&mut self, wait: Duration) {
        if self.group.is_none() {
            return std::thread::sleep(wait);
        }
        self.pause(true);
        let polled = self.poll(wait);
        if !self.note_changes() && matches!(polled, Polled::Record(..)) {
            // It came although reading paused: the next read begins at where it stands.
            self.assigned.clear();
        }
    }

    fn rejoin(&mut self) {
        let Some(group) = &mut self.group else { return };
        if let Err(e) = self.consumer.unassign() {
            log::warn!("Kafka: {e}");
        }
        // By then a member that was taken for dead has learned from the group that it has no partitions any more.
        let (owned, rejoin_at) = (std::mem::take(&mut group.owned), Some(Instant::now() + REJOIN));
        let change = Rebalance { is_revoked: false, assigned: Some(owned.clone()) };
        *group = Group { change, owned, rejoin_at, ..Group::default() };
        (self.assigned, self.next, self.marks) = (Vec::new(), Offsets::new(), Marks::new());
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
