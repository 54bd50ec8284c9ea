//! The connection of a Kafka journal that answers questions about the cluster.
//!
//! It is a consumer without partitions, in a journal for reading and in one for appending. A reader therefore makes no
//! producer, which would want its own connections and the permission to write.

use super::super::reason::LastFault;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::metadata::Metadata;
use std::time::Duration;

/// Events of a consumer that are taken in one turn. A client that cannot connect has a few a second.
const EVENTS_MAX: usize = 32;

/// A connected client.
pub(super) struct Connection(Box<BaseConsumer<LastFault>>);

impl Connection {
    /// A client of the cluster that `config` names.
    pub(super) fn new(config: &ClientConfig, fault: &LastFault) -> KafkaResult<Connection> {
        Ok(Connection(Box::new(config.create_with_context(fault.clone())?)))
    }

    /// Topics and brokers; `topic` alone, or all.
    pub(super) fn metadata(&self, topic: Option<&str>, wait: Duration) -> Result<Metadata, KafkaError> {
        let metadata = self.0.client().fetch_metadata(topic, wait);
        self.report_events();
        metadata
    }

    /// First and next offset of a partition.
    pub(super) fn watermarks(&self, topic: &str, partition: i32, wait: Duration) -> Result<(i64, i64), KafkaError> {
        self.0.client().fetch_watermarks(topic, partition, wait)
    }

    /// The cluster's id, if it answers in time.
    pub(super) fn cluster_id(&self, wait: Duration) -> Option<String> {
        let id = self.0.client().fetch_cluster_id(wait);
        self.report_events();
        id
    }

    /// Has the client report why it cannot connect: a consumer reports it when it is polled.
    fn report_events(&self) {
        for _ in 0..EVENTS_MAX {
            if self.0.poll(Duration::ZERO).is_none() {
                return;
            }
        }
    }
}
