//! The consumer's context: why a cluster cannot be reached, and what a group assigns and revokes.
//!
//! The consumer's poll calls [`Watch`], which notes a change for the reader. What is revoked is given back at once. What is
//! assigned is not read before the reader knows where to begin.

use super::super::Rebalance;
use super::super::reason::LastFault;
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The context of a consumer.
pub(super) struct Watch {
    last_fault: LastFault,
    /// What has changed, with full names of topics.
    change: Mutex<Rebalance>,
}

impl Watch {
    pub(super) fn new(last_fault: LastFault) -> Watch {
        Watch { last_fault, change: Mutex::default() }
    }

    /// What has changed since the last call.
    pub(super) fn take(&self) -> Rebalance {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Rebalance> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Watch {
    fn error(&self, error: KafkaError, reason: &str) {
        ClientContext::error(&self.last_fault, error, reason);
    }

    fn log(&self, level: RDKafkaLogLevel, fac: &str, text: &str) {
        ClientContext::log(&self.last_fault, level, fac, text);
    }
}

impl ConsumerContext for Watch {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let mut change = self.lock();
        match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let partitions = list.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect();
                change.assigned = Some(partitions);
            }
            _ => {
                *change = Rebalance { is_revoked: true, assigned: None };
                if let Err(e) = consumer.unassign() {
                    log::warn!("Kafka: {e}");
                }
            }
        }
    }
}
