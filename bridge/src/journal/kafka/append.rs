//! Appending to Kafka: each entry is sent until the cluster has confirmed it, or has refused that entry itself.
//!
//! Entries travel in batches. A topic whose `max.message.bytes` is smaller than a batch refuses the whole batch, with entries
//! that would fit. So batches are made no larger than the smallest topic allows, and an entry of a refused batch is sent
//! again by a second producer, which sends each entry alone. Only an entry that is refused alone is refused.

use super::super::reason::LastFault;
use super::{QUEUE_KIB_MAX, RETRY};
use crate::journal::{Entry, JournalError, QUEUE_ENTRIES_MAX};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer};
use std::sync::{Arc, OnceLock};

/// librdkafka's own limit of a batch in bytes, if no topic's is smaller.
const BATCH_BYTES_MAX: usize = 1_000_000;
/// What a batch has besides its entries: the record batch's header, and lz4's frame where that makes nothing smaller.
const BATCH_OVERHEAD_BYTES: usize = 1_024;

/// Sends entries, and waits for their confirmation. Each entry under way has a clone, which costs no more than a count.
#[derive(Clone)]
pub(super) struct Appender(Arc<Producers>);

struct Producers {
    batches: FutureProducer<LastFault>,
    /// Sends each entry alone. Made when it is needed first; none if that failed.
    single: OnceLock<Option<FutureProducer<LastFault>>>,
    config: ClientConfig,
    fault: LastFault,
}

impl Appender {
    /// One for the cluster of `client`, whose topics accept batches of `message_bytes_max`.
    pub(super) fn new(
        client: &ClientConfig,
        fault: &LastFault,
        message_bytes_max: Option<usize>,
    ) -> KafkaResult<Appender> {
        let batch_bytes = message_bytes_max.map_or(BATCH_BYTES_MAX, |bytes| bytes.min(BATCH_BYTES_MAX));
        if batch_bytes < BATCH_BYTES_MAX {
            log::info!("Kafka: a topic's max.message.bytes is {batch_bytes}: batches are made no larger");
        }
        let mut config = client.clone();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("message.timeout.ms", "0")
            .set("batch.size", batch_bytes.saturating_sub(BATCH_OVERHEAD_BYTES).max(1).to_string())
            .set("queue.buffering.max.messages", QUEUE_ENTRIES_MAX.to_string())
            .set("queue.buffering.max.kbytes", QUEUE_KIB_MAX.to_string());
        let batches = config.create_with_context(fault.clone())?;
        Ok(Appender(Arc::new(Producers { batches, single: OnceLock::new(), config, fault: fault.clone() })))
    }

    /// Puts the entry into the queue at once, so that entries of one key keep their order. The future waits for the
    /// confirmation.
    pub(super) fn append(
        &self,
        topic: Arc<str>,
        entry: Arc<Entry>,
    ) -> impl Future<Output = Result<(), JournalError>> + use<> {
        let queued = send(&self.0.batches, &topic, &entry);
        let producers = self.0.clone();
        async move {
            let refused = match confirmed(&producers.batches, queued, &topic, &entry).await {
                Err(JournalError::Refused(why)) => why,
                other => return other,
            };
            let Some(single) = producers.single() else { return Err(JournalError::Refused(refused)) };
            log::debug!("Kafka: {topic}: a batch is refused ({refused}); its entries are sent one by one");
            confirmed(single, send(single, &topic, &entry), &topic, &entry).await
        }
    }
}

impl Producers {
    fn single(&self) -> Option<&FutureProducer<LastFault>> {
        let make = || {
            log::warn!(
                "Kafka: a batch of entries is refused: does a topic's max.message.bytes hold one of our batches?"
            );
            let mut config = self.config.clone();
            config.set("batch.num.messages", "1").set("linger.ms", "0");
            config.create_with_context(self.fault.clone()).inspect_err(|e| log::error!("Kafka: {e}")).ok()
        };
        self.single.get_or_init(make).as_ref()
    }
}

/// Waits until the entry is confirmed or refused, and sends it again after any other error.
async fn confirmed(
    producer: &FutureProducer<LastFault>,
    mut queued: KafkaResult<DeliveryFuture>,
    topic: &str,
    entry: &Entry,
) -> Result<(), JournalError> {
    loop {
        let error = match queued {
            Ok(delivery) => match delivery.await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err((e, _))) => e,
                Err(_) => return Err(JournalError::Fatal("the producer has ended".to_owned())),
            },
            Err(e) => e,
        };
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::InvalidTimestamp
                | RDKafkaErrorCode::InvalidRecord,
            ) => {
                return Err(JournalError::Refused(error.to_string()));
            }
            Some(RDKafkaErrorCode::QueueFull) => {}
            _ => match producer.client().fatal_error() {
                Some((_, text)) => return Err(JournalError::Fatal(text)),
                None => log::debug!("Kafka: {topic}: {error}; trying again"),
            },
        }
        tokio::time::sleep(RETRY).await;
        queued = send(producer, topic, entry);
    }
}

fn send(producer: &FutureProducer<LastFault>, topic: &str, entry: &Entry) -> Result<DeliveryFuture, KafkaError> {
    let mut headers = OwnedHeaders::new_with_capacity(entry.headers.len());
    for (key, value) in entry.headers.iter() {
        headers = headers.insert(Header { key, value: Some(value) });
    }
    let record =
        FutureRecord::to(topic).key(&entry.key).payload(&entry.value).timestamp(entry.time_ms).headers(headers);
    producer.send_result(record).map_err(|(e, _)| e)
}
