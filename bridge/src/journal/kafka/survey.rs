//! A survey of a Kafka cluster: which of the topics it has, which settings put records at risk, and who cannot be reached.
//!
//! Inputs are the cluster's metadata and the topics' settings. Nothing is made or changed. A broker counts as reachable if
//! the address that it advertises accepts a TCP connection; a cluster may answer at its bootstrap address and yet advertise others that do not.

use super::{ANSWER, KafkaJournal, away, block_on, names};
use crate::journal::JournalError;
use crate::journal::reason::LastFault;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::metadata::{Metadata, MetadataBroker};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A retention below this is worth a warning: an outage may last longer.
const RETENTION_WARN_MS: i64 = 86_400_000;
/// How long a broker has to accept a connection. Brokers of one cluster are tried one after the other.
const CONNECT_WAIT: Duration = Duration::from_secs(3);

/// What a cluster has of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// Number of brokers.
    pub brokers: usize,
    /// Number of the journal's topics that exist.
    pub topics: usize,
    /// Names of those that do not.
    pub missing: Vec<String>,
    /// Settings that put records at risk.
    pub warnings: Vec<String>,
    /// Brokers whose advertised address cannot be reached from here: records of their partitions can be neither written nor
    /// read.
    pub unreachable: Vec<String>,
    /// The cluster is a single broker on this machine.
    pub is_single: bool,
    /// Smallest `max.message.bytes` of the topics, if it could be read.
    pub message_bytes_max: Option<usize>,
}

/// The settings of a topic that matter to the journal, as Kafka writes them; empty if unknown.
#[derive(Debug, Default)]
struct TopicSettings {
    min_insync_replicas: String,
    retention_ms: String,
    unclean_leader_election: String,
    cleanup_policy: String,
}

impl TopicSettings {
    fn warnings(&self, is_single: bool) -> Vec<String> {
        let mut all = Vec::new();
        if !is_single && self.min_insync_replicas.parse::<i64>().is_ok_and(|n| n < 2) {
            all.push("min.insync.replicas is 1: what is acknowledged may be on one disk only".to_owned());
        }
        if self.retention_ms.parse::<i64>().is_ok_and(|ms| (0..RETENTION_WARN_MS).contains(&ms)) {
            all.push(format!("retention.ms is {}: the store may not be away for longer", self.retention_ms));
        }
        if self.unclean_leader_election == "true" {
            all.push("unclean.leader.election.enable is true: what was acknowledged can be lost".to_owned());
        }
        if self.cleanup_policy.split(',').any(|policy| policy.trim() == "compact") {
            all.push(format!(
                "cleanup.policy is {}: compaction keeps only the newest record of each device; set it to delete",
                self.cleanup_policy
            ));
        }
        all
    }
}

impl KafkaJournal {
    /// Looks at the cluster, the topics and their settings. Blocks.
    ///
    /// # Errors
    /// [`JournalError::Away`] if the cluster does not answer.
    pub fn survey(&self) -> Result<Survey, JournalError> {
        let metadata = self.connection.metadata(None, ANSWER).map_err(|e| self.last_fault.away(e))?;
        let is_single = metadata.brokers().len() == 1 && metadata.brokers().iter().all(|b| is_loopback(b.host()));
        let names = names(&self.prefix);
        let (existing, missing): (Vec<_>, Vec<_>) =
            names.iter().map(|(name, ..)| name).partition(|name| metadata.topics().iter().any(|t| t.name() == **name));
        let mut survey = Survey {
            brokers: metadata.brokers().len(),
            topics: existing.len(),
            missing: missing.into_iter().cloned().collect(),
            unreachable: metadata.brokers().iter().filter_map(unreachable).collect(),
            is_single,
            ..Survey::default()
        };
        self.look_at_settings(&existing, &mut survey)?;
        survey.warnings.extend(single_replicas(&metadata, &existing, is_single));
        Ok(survey)
    }

    fn look_at_settings(&self, existing: &[&String], survey: &mut Survey) -> Result<(), JournalError> {
        if existing.is_empty() {
            return Ok(());
        }
        let admin: AdminClient<LastFault> =
            self.client.create_with_context(self.last_fault.clone()).map_err(|e| JournalError::Fatal(e.to_string()))?;
        let options = AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER));
        let resources: Vec<ResourceSpecifier<'_>> = existing.iter().map(|n| ResourceSpecifier::Topic(n)).collect();
        let described = match block_on(admin.describe_configs(&resources, &options))? {
            Ok(described) => described,
            Err(e) => {
                survey.warnings.push(format!("the topics' settings could not be read: {}", away(e)));
                return Ok(());
            }
        };
        for (resource, name) in described.iter().zip(existing) {
            let Ok(resource) = resource else { continue };
            let get = |key: &str| resource.get(key).and_then(|e| e.value.clone()).unwrap_or_default();
            let settings = TopicSettings {
                min_insync_replicas: get("min.insync.replicas"),
                retention_ms: get("retention.ms"),
                unclean_leader_election: get("unclean.leader.election.enable"),
                cleanup_policy: get("cleanup.policy"),
            };
            let warnings = settings.warnings(survey.is_single);
            survey.warnings.extend(warnings.into_iter().map(|w| format!("topic {name}: {w}")));
            if let Ok(bytes) = get("max.message.bytes").parse() {
                survey.message_bytes_max = Some(survey.message_bytes_max.map_or(bytes, |least| least.min(bytes)));
            }
        }
        Ok(())
    }
}

/// Topics with a single copy in a cluster that could hold more.
fn single_replicas(metadata: &Metadata, existing: &[&String], is_single: bool) -> Vec<String> {
    let ours = metadata.topics().iter().filter(|t| !is_single && existing.iter().any(|name| *name == t.name()));
    ours.filter(|t| t.partitions().iter().any(|p| p.replicas().len() < 2))
        .map(|t| format!("topic {}: one replica: what it acknowledged can be lost with that broker", t.name()))
        .collect()
}

/// Why the address that a broker advertises cannot be reached; none if it can.
fn unreachable(broker: &MetadataBroker) -> Option<String> {
    let port = u16::try_from(broker.port()).unwrap_or(0);
    let why = connect(broker.host(), port).err()?;
    Some(format!("broker {} advertises {}:{port}: {why}", broker.id(), broker.host()))
}

/// Connects to any address of the host, and closes the connection.
fn connect(host: &str, port: u16) -> std::io::Result<()> {
    let mut last = std::io::Error::other("the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_WAIT) {
            Ok(_) => return Ok(()),
            Err(e) => last = e,
        }
    }
    Err(last)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(min_insync: &str, retention_ms: &str, unclean: &str, cleanup: &str) -> TopicSettings {
        TopicSettings {
            min_insync_replicas: min_insync.to_owned(),
            retention_ms: retention_ms.to_owned(),
            unclean_leader_election: unclean.to_owned(),
            cleanup_policy: cleanup.to_owned(),
        }
    }

    #[test]
    fn settings_that_put_records_at_risk_are_named() {
        assert!(settings("1", "604800000", "false", "delete").warnings(true).is_empty());
        assert!(settings("2", "-1", "false", "delete").warnings(false).is_empty());
        let all = settings("1", "60000", "true", "compact,delete").warnings(false);
        assert_eq!(all.len(), 4, "{all:?}");
        assert!(all[1].contains("60000") && all[3].contains("newest record of each device"), "{all:?}");
    }

    #[test]
    fn an_address_that_nobody_listens_at_cannot_be_reached() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(connect("127.0.0.1", port).is_ok());
        drop(listener);
        assert!(connect("127.0.0.1", port).is_err());
        assert!(is_loopback("localhost") && is_loopback("::1") && !is_loopback("kafka.example"));
    }
}
