//! The connection of a Kafka journal that answers questions about the cluster.
//!
//! It is a consumer without partitions, in a journal for reading and in one for appending. A reader therefore makes no
//! producer, which would want its own connections and the permission to write.

use super::super::reason::LastFault;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use std::time::{Duration, Instant};

/// Events of a consumer that are taken in one turn. A client that cannot connect has a few a second.
const EVENTS_MAX: usize = 32;
/// Pause before a question is asked again whose partition has no known leader. librdkafka fetches the metadata meanwhile; a
/// broker answers that in a few milliseconds.
const LEADER_PAUSE: Duration = Duration::from_millis(50);

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
        watermarks(self.0.client(), topic, partition, wait)
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

/// First and next offset of a partition. A partition that was just made, or that moves to another broker, has no leader for a
/// moment: the question is then asked again until `wait` has passed.
pub(super) fn watermarks<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    partition: i32,
    wait: Duration,
) -> Result<(i64, i64), KafkaError> {
    until_led(wait, |left| client.fetch_watermarks(topic, partition, left))
}

/// Asks with the time that is left, and again while the partition has no leader. At least once.
fn until_led<T>(wait: Duration, mut ask: impl FnMut(Duration) -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    let deadline = Instant::now() + wait;
    loop {
        let answer = ask(deadline.saturating_duration_since(Instant::now()));
        match &answer {
            Err(e) if has_no_leader(e) && Instant::now() + LEADER_PAUSE < deadline => std::thread::sleep(LEADER_PAUSE),
            _ => return answer,
        }
    }
}

/// Errors that end by themselves once the cluster has elected a leader and its brokers know of the partition.
pub(super) fn has_no_leader(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::ReplicaNotAvailable
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::FencedLeaderEpoch
                | RDKafkaErrorCode::UnknownLeaderEpoch
                | RDKafkaErrorCode::OffsetNotAvailable
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_without_a_leader_is_asked_for_again_until_it_has_one() {
        let mut answers = [
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::NotLeaderForPartition)),
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition)),
            Ok((3, 7)),
        ]
        .into_iter();
        let answer = until_led(Duration::from_secs(60), |_| answers.next().unwrap());
        assert_eq!(answer, Ok((3, 7)));
        assert_eq!(answers.next(), None);
    }

    #[test]
    fn any_other_error_is_given_at_once_and_no_leader_when_the_time_is_over() {
        let asked = |error: RDKafkaErrorCode, wait| {
            let mut asked = 0;
            let answer: Result<(), _> = until_led(wait, |_| {
                asked += 1;
                Err(KafkaError::MetadataFetch(error))
            });
            (asked, answer.unwrap_err())
        };
        let refused = RDKafkaErrorCode::TopicAuthorizationFailed;
        assert_eq!(asked(refused, Duration::from_secs(60)), (1, KafkaError::MetadataFetch(refused)));
        let unled = RDKafkaErrorCode::LeaderNotAvailable;
        assert_eq!(asked(unled, Duration::ZERO), (1, KafkaError::MetadataFetch(unled)));
    }
}
