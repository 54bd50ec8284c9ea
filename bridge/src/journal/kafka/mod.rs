//! The journal in Apache Kafka, 3.4 with ZooKeeper and 4.x alike. Only this folder uses `rdkafka`.
//!
//! Entries are appended by an idempotent producer (`acks=all`, lz4, no time limit: the relay decides), and confirmed by its
//! delivery report. Records are read from the offsets that the store holds: from all partitions, or by the members of a consumer
//! group from those that the group assigns. Kafka keeps no offsets, there is no transaction, and a journal that is opened for
//! reading makes no producer.

mod append;
mod client;
mod group;
mod reader;
mod survey;

pub use survey::Survey;

use super::reason::LastFault;
use super::{Access, Cluster, Entry, Journal, JournalConfig, JournalError, JournalUrl, Offsets, Reader, TOPICS, Topic};
use append::Appender;
use client::Connection;
use firmware::custody::JournalId;
use futures::FutureExt;
use futures::future::BoxFuture;
use group::Watch;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use reader::KafkaReader;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes that may wait there.
const QUEUE_KIB_MAX: usize = 64 * 1024;
/// How long the cluster has to answer a question.
const ANSWER: Duration = Duration::from_secs(10);
/// How often the last fault is read meanwhile, to end early if it is one that waiting does not mend.
const FAULT_POLL: Duration = Duration::from_millis(250);
/// How long a refused entry waits before it is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How long a member of a group may send nothing before its partitions go to others: what Kafka allows at least by default, since
/// a takeover waits for it.
const SESSION: Duration = Duration::from_secs(6);
/// How often a member of a group sends a heartbeat. The answer reports that others are gone, and the group waits until all members have it.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// The journal in Kafka.
pub struct KafkaJournal {
    id: JournalId,
    prefix: String,
    /// Their full names: of each topic, and behind it that of its dead letters.
    topics: [(Arc<str>, Arc<str>); TOPICS.len()],
    client: ClientConfig,
    connection: Connection,
    /// None in a journal that is opened for reading.
    appender: Option<Appender>,
    last_fault: LastFault,
}

impl KafkaJournal {
    /// Connects; with `append` the topics that are missing are made, and settings that break the promise are named.
    /// Blocks.
    ///
    /// # Errors
    /// [`JournalError::Away`] if no broker answers.
    pub fn open(config: &JournalConfig, append: bool) -> Result<Self, JournalError> {
        let JournalUrl::Kafka(cluster) = &config.url else {
            return Err(JournalError::Fatal("not a Kafka journal".to_owned()));
        };
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &cluster.brokers)
            .set("client.id", "hueflow")
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.max.ms", "2000")
            .set_log_level(RDKafkaLogLevel::Info);
        secure(&mut client, cluster, &config.access);
        let last_fault = LastFault::default();
        let fatal = |e: KafkaError| JournalError::Fatal(e.to_string());
        let connection = Connection::new(&client, &last_fault).map_err(fatal)?;
        let cluster = cluster_id(&connection, &last_fault)?;
        let id = JournalId::try_from(format!("{cluster}:{}", config.prefix).as_str())
            .map_err(|_| JournalError::Fatal("cluster id and prefix are too long together".to_owned()))?;
        let topics = TOPICS.map(|t| {
            let of = |dead| format!("{}{}", config.prefix, super::topic_name(t, dead)).into();
            (of(false), of(true))
        });
        let prefix = config.prefix.clone();
        let mut journal = KafkaJournal { id, prefix, topics, client, connection, appender: None, last_fault };
        if append {
            let survey = journal.prepare(config)?;
            let appender = Appender::new(&journal.client, &journal.last_fault, survey.message_bytes_max);
            journal.appender = Some(appender.map_err(fatal)?);
        }
        Ok(journal)
    }

    /// A consumer that reads the partitions that it is assigned, from given offsets.
    fn consumer(&self, group: &str) -> Result<BaseConsumer<Watch>, JournalError> {
        self.client
            .clone()
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "false")
            .set("fetch.wait.max.ms", "50")
            .set("queued.max.messages.kbytes", "8192")
            // Spread one by one: a topic's partitions would otherwise all begin with the same member.
            .set("partition.assignment.strategy", "roundrobin")
            .set("session.timeout.ms", SESSION.as_millis().to_string())
            .set("heartbeat.interval.ms", HEARTBEAT.as_millis().to_string())
            // Topics that are made later are noticed so soon.
            .set("topic.metadata.refresh.interval.ms", "5000")
            .create_with_context(Watch::new(self.last_fault.clone()))
            .map_err(|e| JournalError::Fatal(e.to_string()))
    }

    /// Makes the topics that are missing, and logs what puts records at risk.
    fn prepare(&self, config: &JournalConfig) -> Result<Survey, JournalError> {
        let admin: AdminClient<LastFault> =
            self.client.create_with_context(self.last_fault.clone()).map_err(|e| JournalError::Fatal(e.to_string()))?;
        let names = names(&self.prefix);
        let metadata = self.connection.metadata(None, ANSWER).map_err(|e| self.last_fault.away(e))?;
        let there: Vec<&str> = metadata.topics().iter().map(|t| t.name()).collect();
        let retention = (i64::from(config.retention_days) * 86_400_000).to_string();
        let missing: Vec<NewTopic<'_>> = names
            .iter()
            .filter(|(name, ..)| !there.contains(&name.as_str()))
            .map(|(name, _, dead)| {
                let partitions = if *dead { 1 } else { config.partitions };
                NewTopic::new(name, partitions, TopicReplication::Fixed(config.replication))
                    .set("retention.ms", &retention)
            })
            .collect();
        let options = AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER));
        if !missing.is_empty() {
            for made in block_on(admin.create_topics(&missing, &options))?.map_err(away)? {
                match made {
                    Ok(name) => log::info!("Kafka: topic {name} made"),
                    Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                    Err((name, e)) => {
                        return Err(JournalError::Away(format!("topic {name} is missing and could not be made: {e}")));
                    }
                }
            }
        }
        let survey = self.survey()?;
        for warning in survey.warnings.iter().chain(&survey.unreachable) {
            log::warn!("Kafka: {warning}");
        }
        if survey.is_single {
            log::info!("Kafka: a single broker on this machine: its disk is the only copy");
        }
        Ok(survey)
    }

    fn topic_of(&self, entry: &Entry) -> Arc<str> {
        let [metrics, census, video, status, event] = &self.topics;
        let of = match entry.topic {
            Topic::Metrics => metrics,
            Topic::Census => census,
            Topic::Video => video,
            Topic::Status => status,
            Topic::Event => event,
        };
        if entry.dead { of.1.clone() } else { of.0.clone() }
    }
}

impl Journal for KafkaJournal {
    fn id(&self) -> JournalId {
        self.id.clone()
    }

    fn append(&self, entry: Arc<Entry>) -> BoxFuture<'static, Result<(), JournalError>> {
        match &self.appender {
            Some(appender) => appender.append(self.topic_of(&entry), entry).boxed(),
            None => futures::future::ready(Err(JournalError::Fatal("opened for reading".to_owned()))).boxed(),
        }
    }

    fn reachable(&self, wait: Duration) -> bool {
        let answers = self.connection.metadata(Some(&format!("{}metrics", self.prefix)), wait).is_ok();
        if answers {
            self.last_fault.forget();
        }
        answers
    }

    fn reader(&self, from: &Offsets) -> Result<Box<dyn Reader>, JournalError> {
        let consumer = self.consumer("hueflow-metrics")?;
        Ok(Box::new(KafkaReader::new(consumer, self.last_fault.clone(), self.prefix.clone(), from.clone())))
    }

    fn member(&self, group: &str) -> Result<Box<dyn Reader>, JournalError> {
        let consumer = self.consumer(group)?;
        let names = names(&self.prefix);
        let topics: Vec<&str> = names.iter().map(|(name, ..)| name.as_str()).collect();
        consumer.subscribe(&topics).map_err(|e| JournalError::Fatal(e.to_string()))?;
        Ok(Box::new(
            KafkaReader::new(consumer, self.last_fault.clone(), self.prefix.clone(), Offsets::new()).in_group(),
        ))
    }

    fn end(&self) -> Result<Offsets, JournalError> {
        let metadata = self.connection.metadata(None, ANSWER).map_err(|e| self.last_fault.away(e))?;
        let mut offsets = Offsets::new();
        for (place, partition) in partitions(&metadata, &self.prefix) {
            let topic = format!("{}{place}", self.prefix);
            let (_, high) = self.connection.watermarks(&topic, partition, ANSWER).map_err(away)?;
            offsets.insert((place, partition), high);
        }
        Ok(offsets)
    }
}

/// TLS and SASL, as the configuration has checked them.
fn secure(client: &mut ClientConfig, cluster: &Cluster, access: &Access) {
    let protocol = match (cluster.tls, &cluster.user) {
        (false, None) => return, // Nothing is set that a librdkafka without TLS does not know.
        (true, None) => "ssl",
        (true, Some(_)) => "sasl_ssl",
        (false, Some(_)) => "sasl_plaintext",
    };
    client.set("security.protocol", protocol);
    if let (Some(user), Some(password)) = (&cluster.user, &access.password) {
        client.set("sasl.mechanism", access.mechanism);
        client.set("sasl.username", user).set("sasl.password", password.reveal());
    }
    if let Some(file) = &access.ca_file {
        client.set("ssl.ca.location", file.to_string_lossy());
    }
    if let Some((certificate, key)) = &access.own {
        client.set("ssl.certificate.location", certificate.to_string_lossy());
        client.set("ssl.key.location", key.to_string_lossy());
    }
}

/// Waits for the cluster's id. Ends early after a fault that waiting does not mend.
fn cluster_id(connection: &Connection, last_fault: &LastFault) -> Result<String, JournalError> {
    let until = Instant::now() + ANSWER;
    loop {
        if let Some(cluster) = connection.cluster_id(FAULT_POLL) {
            last_fault.forget();
            return Ok(cluster);
        }
        if last_fault.is_final() || Instant::now() >= until {
            return Err(last_fault.away(format!("no answer within {} s", ANSWER.as_secs())));
        }
    }
}

impl ClientContext for LastFault {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            return; // The reason was logged before.
        }
        LastFault::error(self, reason);
    }

    fn log(&self, level: RDKafkaLogLevel, fac: &str, text: &str) {
        match level {
            // That a broker closed the connection is logged here alone.
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice | RDKafkaLogLevel::Debug if fac == "FAIL" => {
                self.hint(text)
            }
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice | RDKafkaLogLevel::Debug => {}
            _ => log::warn!(target: "librdkafka", "librdkafka: {fac} {text}"),
        }
    }
}

impl ConsumerContext for LastFault {}

/// All topics' full names.
fn names(prefix: &str) -> Vec<(String, Topic, bool)> {
    let of = |t: Topic, dead| (format!("{prefix}{}", super::topic_name(t, dead)), t, dead);
    TOPICS.into_iter().flat_map(|t| [of(t, false), of(t, true)]).collect()
}

/// Our partitions, in order.
fn partitions(metadata: &Metadata, prefix: &str) -> Vec<(String, i32)> {
    let mut all: Vec<(String, i32)> = metadata
        .topics()
        .iter()
        .filter_map(|t| Some((t.name().strip_prefix(prefix).filter(|n| Topic::parse(n).is_some())?, t)))
        .flat_map(|(place, t)| t.partitions().iter().map(move |p| (place.to_owned(), p.id())))
        .collect();
    all.sort();
    all
}

fn away(e: impl std::fmt::Display) -> JournalError {
    JournalError::Away(e.to_string())
}

/// Waits for an admin answer from a thread of its own kind: `open` runs on a blocking thread.
fn block_on<F: Future>(future: F) -> Result<F::Output, JournalError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(away)?;
    Ok(runtime.block_on(future))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_topics_with_their_prefix() {
        let all = names("x.");
        assert_eq!(all.len(), 10);
        assert_eq!(all[1].0, "x.metrics.dlq");
    }
}
