//! The connection of a Kafka journal: a producer for a journal that appends, a consumer for one that only reads.
//!
//! [`Connection`] answers questions about the cluster with whichever it has. A reader therefore makes no producer, which
//! would want its own connections and the permission to write.

use super::super::reason::LastFault;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{FutureProducer, Producer};
use std::time::Duration;

/// Events of a consumer that are taken in one turn. A client that cannot connect has a few a second.
const EVENTS_MAX: usize = 32;

/// A connected client.
pub(super) enum Connection {
    /// For appending.
    Producer(Box<FutureProducer<LastFault>>),
    /// For reading.
    Consumer(Box<BaseConsumer<LastFault>>),
}

impl Connection {
    /// A client that appends.
    pub(super) fn producer(config: &ClientConfig, fault: &LastFault) -> KafkaResult<Connection> {
        Ok(Connection::Producer(Box::new(config.create_with_context(fault.clone())?)))
    }

    /// A client that only reads.
    pub(super) fn consumer(config: &ClientConfig, fault: &LastFault) -> KafkaResult<Connection> {
        Ok(Connection::Consumer(Box::new(config.create_with_context(fault.clone())?)))
    }

    /// Topics and brokers; `topic` alone, or all.
    pub(super) fn metadata(&self, topic: Option<&str>, wait: Duration) -> Result<Metadata, KafkaError> {
        match self {
            Connection::Producer(p) => p.client().fetch_metadata(topic, wait),
            Connection::Consumer(c) => c.client().fetch_metadata(topic, wait),
        }
    }

    /// First and next offset of a partition.
    pub(super) fn watermarks(&self, topic: &str, partition: i32, wait: Duration) -> Result<(i64, i64), KafkaError> {
        match self {
            Connection::Producer(p) => p.client().fetch_watermarks(topic, partition, wait),
            Connection::Consumer(c) => c.client().fetch_watermarks(topic, partition, wait),
        }
    }

    /// The cluster's id, if it answers in time.
    pub(super) fn cluster_id(&self, wait: Duration) -> Option<String> {
        match self {
            Connection::Producer(p) => p.client().fetch_cluster_id(wait),
            Connection::Consumer(c) => {
                let id = c.client().fetch_cluster_id(wait);
                // A producer has a thread that reports why it cannot connect; a consumer reports it when it is polled.
                for _ in 0..EVENTS_MAX {
                    if c.poll(Duration::ZERO).is_none() {
                        break;
                    }
                }
                id
            }
        }
    }
}
