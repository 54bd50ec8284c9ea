//! The journal, where a record is durable: Apache Kafka, or one SQLite file on one machine.
//!
//! Each appended entry is confirmed once it is durable. A reader gives entries back in batches, from any offset. `kafka`
//! uses a cluster, `local` a file. What was confirmed is kept for the journal's retention.

mod headers;
pub mod kafka;
pub mod local;
mod reason;

pub use headers::Headers;
pub(crate) use reason::names_settings;

use crate::failure::{self, Failure};
use firmware::custody::JournalId;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Entries that may wait in a journal's queue: more than the relay has in flight, so that pictures find room beside records.
pub const QUEUE_ENTRIES_MAX: usize = 4_096;

/// Bytes of values after which a batch ends, so that a batch of censuses or pictures stays small in memory.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Topics that carry records, in the order they are made.
pub const TOPICS: [Topic; 5] = [Topic::Metrics, Topic::Census, Topic::Video, Topic::Status, Topic::Event];

/// A topic of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// One report a frame.
    Metrics,
    /// Parts of colour censuses.
    Census,
    /// Parts of clustered pictures, and originals.
    Video,
    /// Windows, losses, and the status of devices.
    Status,
    /// Events that begin and end.
    Event,
}

impl Topic {
    /// Its name, without the prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Topic::Metrics => "metrics",
            Topic::Census => "census",
            Topic::Video => "video",
            Topic::Status => "status",
            Topic::Event => "event",
        }
    }

    /// The topic of a name, and whether it is the dead letters' one.
    pub fn parse(name: &str) -> Option<(Topic, bool)> {
        let (base, dead) = name.strip_suffix(".dlq").map_or((name, false), |b| (b, true));
        TOPICS.into_iter().find(|t| t.name() == base).map(|t| (t, dead))
    }
}

/// What the journal keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The topic it belongs to.
    pub topic: Topic,
    /// It is a dead letter: kept in `<topic>.dlq`.
    pub dead: bool,
    /// It has no custody (a latest-only picture): the journal may keep just a few of these.
    pub loose: bool,
    /// The device.
    pub key: String,
    /// Headers, as text.
    pub headers: Headers,
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// The bytes.
    pub value: Vec<u8>,
}

impl Entry {
    /// The topic's name, without prefix, `.dlq` included.
    pub fn topic_name(&self) -> String {
        topic_name(self.topic, self.dead)
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// A header as a number.
    pub fn header_u64(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }
}

/// A topic's name without prefix.
pub fn topic_name(topic: Topic, dead: bool) -> String {
    format!("{}{}", topic.name(), if dead { ".dlq" } else { "" })
}

/// An entry and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What offsets are counted in: a topic's name without prefix, or the whole local journal.
    pub place: String,
    /// Partition of the place.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// The entry.
    pub entry: Entry,
}

impl Record {
    /// What distinguishes this record from one at the same offset of a topic that was made anew.
    pub fn mark(&self) -> String {
        let e = &self.entry;
        let of = |name| e.header(name).unwrap_or("-");
        format!("{} {} {}/{}", e.time_ms, e.key, of("stream"), of("seq"))
    }
}

/// The next offset to read, by place and partition.
pub type Offsets = BTreeMap<(String, i32), i64>;

/// [`Record::mark`] of the record before the next offset, by place and partition.
pub type Marks = BTreeMap<(String, i32), String>;

/// What a reader found.
#[derive(Debug, Default)]
pub struct Batch {
    /// Records, in order within each partition.
    pub records: Vec<Record>,
    /// Places whose wanted offset does not exist any more (or not yet): they are read from their beginning.
    pub restarted: Vec<String>,
}

/// Why the journal cannot do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Cannot be reached now; later it may.
    #[error("the journal cannot be reached: {0}")]
    Away(String),
    /// It will never take this entry (for example too large for its settings).
    #[error("the journal refuses the entry: {0}")]
    Refused(String),
    /// This handle is of no use any more; open another.
    #[error("the journal's client has failed for good: {0}")]
    Fatal(String),
}

/// A change of what a member of a group reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebalance {
    /// What it read so far is another member's now, or may be. This came before what is assigned.
    pub is_revoked: bool,
    /// What it is to read from now on, once [`Reader::start`] was called with where to begin.
    pub assigned: Option<Vec<(String, i32)>>,
}

/// Reads on from where it stands.
pub trait Reader: Send {
    /// The next entries, at most `max`; waits up to `wait` for the first.
    ///
    /// # Errors
    /// [`JournalError`].
    fn read(&mut self, max: usize, wait: Duration) -> Result<Batch, JournalError>;

    /// Compares the records before the offsets that it begins at, before it reads. A topic that has another record there was
    /// deleted and made anew: it is read from its beginning, and named as restarted. A journal whose id changes with its
    /// content has nothing to compare.
    fn compare(&mut self, _marks: Marks) {}

    /// What has changed since the last call, for a member of a group. Records that were read before a revocation are not to be
    /// stored.
    fn rebalance(&mut self) -> Rebalance {
        Rebalance::default()
    }

    /// Begins to read what was assigned to a member of a group: at `from`, and at the beginning of what is not in it. `marks`
    /// are as for [`Reader::compare`].
    ///
    /// # Errors
    /// [`JournalError`]; it may be tried again.
    fn start(&mut self, _from: &Offsets, _marks: Marks) -> Result<(), JournalError> {
        Ok(())
    }

    /// Waits, and reads nothing meanwhile. A member of a group stays one.
    fn idle(&mut self, wait: Duration) {
        std::thread::sleep(wait);
    }

    /// Gives back what is assigned, to be assigned anew: another member has taken it over.
    fn rejoin(&mut self) {}

    /// Entries that it has not read yet; none if that cannot be found out now. Blocks.
    fn lag(&mut self) -> Option<u64>;
}

/// A journal, opened.
pub trait Journal: Send + Sync {
    /// Its identity: another id is another journal, to which everything must be sent again.
    fn id(&self) -> JournalId;

    /// Takes an entry into its queue at once. The future ends when the entry is confirmed, or with why it is not.
    fn append(&self, entry: Arc<Entry>) -> BoxFuture<'static, Result<(), JournalError>>;

    /// Whether it answers, waiting at most `wait`. Blocks.
    fn reachable(&self, wait: Duration) -> bool;

    /// A reader that begins at `from`, and at the beginning of what is not in it. Blocks.
    ///
    /// # Errors
    /// [`JournalError`].
    fn reader(&self, from: &Offsets) -> Result<Box<dyn Reader>, JournalError>;

    /// A reader that shares the journal with the other members of `group`; see [`Reader::rebalance`]. Blocks.
    ///
    /// # Errors
    /// [`JournalError`].
    fn member(&self, group: &str) -> Result<Box<dyn Reader>, JournalError>;

    /// Where the next entries will lie. Blocks.
    ///
    /// # Errors
    /// [`JournalError`].
    fn end(&self) -> Result<Offsets, JournalError>;
}

/// A Kafka cluster, as its URL has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Brokers to begin with, with commas between them.
    pub brokers: String,
    /// Over TLS.
    pub tls: bool,
    /// The user, by SASL; none: nobody is asked for.
    pub user: Option<String>,
}

/// Which journal, as in `--journal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalUrl {
    /// `kafka://[USER@]HOST:PORT[,HOST:PORT...]`, or `kafka+ssl://` for TLS.
    Kafka(Cluster),
    /// `local:FILE`.
    Local(PathBuf),
}

impl std::str::FromStr for JournalUrl {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        const MUST: &str = "must be kafka://[USER@]HOST:PORT[,HOST:PORT...], kafka+ssl:// for TLS, or local:FILE";
        if let Some(file) = s.strip_prefix("local:").filter(|f| !f.is_empty()) {
            return Ok(JournalUrl::Local(PathBuf::from(file)));
        }
        let (tls, rest) = match s.strip_prefix("kafka+ssl://") {
            Some(rest) => (true, rest),
            None => (false, s.strip_prefix("kafka://").ok_or(MUST)?),
        };
        let (user, brokers) = rest.rsplit_once('@').map_or((None, rest), |(u, b)| (Some(u), b));
        if user.is_some_and(|u| u.contains(':')) {
            return Err("must have no password: that is in journal.password_file".to_owned());
        }
        let sound =
            |b: &str| b.rsplit_once(':').is_some_and(|(h, p)| !h.is_empty() && p.parse::<u16>().is_ok_and(|p| p > 0));
        if user == Some("") || !brokers.split(',').all(sound) {
            return Err(MUST.to_owned());
        }
        Ok(JournalUrl::Kafka(Cluster { brokers: brokers.to_owned(), tls, user: user.map(str::to_owned) }))
    }
}

impl std::fmt::Display for JournalUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            JournalUrl::Kafka(Cluster { brokers, tls, user }) => {
                let scheme = if *tls { "kafka+ssl" } else { "kafka" };
                let user = user.as_ref().map_or_else(String::new, |u| format!("{u}@"));
                write!(f, "{scheme}://{user}{brokers}")
            }
            JournalUrl::Local(file) => write!(f, "local:{}", file.display()),
        }
    }
}

/// A password: never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps it.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The password itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// How a cluster knows us, and we it.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// How the password is shown to it: librdkafka's name of the mechanism.
    pub mechanism: &'static str,
    /// The user's password.
    pub password: Option<Secret>,
    /// CA certificates; none: the system's.
    pub ca_file: Option<PathBuf>,
    /// This side's certificate and its key.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// How a journal is opened.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// Which.
    pub url: JournalUrl,
    /// TLS and SASL, of a cluster.
    pub access: Access,
    /// In front of each Kafka topic's name.
    pub prefix: String,
    /// Partitions of topics that are made.
    pub partitions: i32,
    /// Replicas of topics that are made.
    pub replication: i32,
    /// Days that the journal keeps records.
    pub retention_days: u32,
    /// Bytes of pictures that the local journal keeps.
    pub video_bytes_max: u64,
}

/// Opens the journal for appending, and makes what is missing: the file, or topics. Blocks.
///
/// # Errors
/// [`Failure::Unavailable`] if Kafka does not answer, [`Failure::Io`] for a file.
pub fn open(config: &JournalConfig) -> Result<Arc<dyn Journal>, Failure> {
    check_folder(config)?;
    open_as(config, true)
}

/// Opens a journal that must exist, for reading, or for appending too. Makes no file and no topic to read from. Blocks.
///
/// # Errors
/// As [`open`], and [`Failure::NoInput`] for a file that does not exist.
pub fn open_existing(config: &JournalConfig, append: bool) -> Result<Arc<dyn Journal>, Failure> {
    if let JournalUrl::Local(file) = &config.url
        && !file.exists()
    {
        return Err(Failure::NoInput(format!(
            "journal.url: {}: there is no such journal. hueflow-bridge run makes it: is the file the one that the bridge has?",
            config.url
        )));
    }
    open_as(config, append)
}

fn open_as(config: &JournalConfig, append: bool) -> Result<Arc<dyn Journal>, Failure> {
    match &config.url {
        JournalUrl::Kafka(_) => kafka::KafkaJournal::open(config, append)
            .map(|j| Arc::new(j) as Arc<dyn Journal>)
            .map_err(|e| Failure::Unavailable(format!("{}: {e}{}", config.url, alternatives(&e)))),
        JournalUrl::Local(file) => local::LocalJournal::open(file, config.into(), append)
            .map(|j| Arc::new(j) as Arc<dyn Journal>)
            .map_err(|e| match e {
                JournalError::Away(why) => Failure::Unavailable(format!("{}: {why}", config.url)),
                JournalError::Refused(why) | JournalError::Fatal(why) => Failure::Io(format!("{}: {why}", config.url)),
            }),
    }
}

/// What else a person can do about a cluster that cannot be reached, unless the error names what to put right.
fn alternatives(error: &JournalError) -> &'static str {
    match error {
        JournalError::Away(what) if !names_settings(what) => {
            " (deploy/kafka/start runs a Kafka on this machine; --journal local:FILE needs none)"
        }
        _ => "",
    }
}

/// Whether the folder of a local journal exists. Without it no waiting helps.
///
/// # Errors
/// [`Failure::Io`].
pub fn check_folder(config: &JournalConfig) -> Result<(), Failure> {
    match &config.url {
        JournalUrl::Local(file) => failure::check_folder("journal.url", file, "--journal"),
        JournalUrl::Kafka(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_written_alike_and_bad_ones_say_what_is_wanted() {
        let tls = "kafka+ssl://me@a:9093,b:9093";
        for good in ["kafka://a:9092", "kafka://a:9092,b:9093", tls, "local:/var/lib/x.db", "local:x"] {
            assert_eq!(good.parse::<JournalUrl>().unwrap().to_string(), good);
        }
        for bad in ["", "kafka://", "kafka://a", "kafka://a:0", "kafka+ssl://@a:1", "local:", "http://x"] {
            assert!(bad.parse::<JournalUrl>().unwrap_err().contains("kafka://[USER@]HOST:PORT"), "{bad}");
        }
        assert!("kafka+ssl://me:secret@a:1".parse::<JournalUrl>().unwrap_err().contains("journal.password_file"));
        assert_eq!(format!("{:?}", Secret::new("x".to_owned())), "***");
        assert_eq!(Topic::parse("census.dlq"), Some((Topic::Census, true)));
        assert_eq!(Topic::parse("other"), None);
    }
}
