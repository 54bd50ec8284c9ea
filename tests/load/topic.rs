//! What has arrived in a Kafka topic, read by kcat.
//!
//! The results are the number of records, which of them are there twice or not at all, and when each arrived. What a
//! contender reports of itself is not used.

use crate::contender::Contender;
use crate::publish::{Times, now_us};
use harness::process::wait_for;
use harness::services::Kafka;
use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// As `deploy/kafka` makes topics.
const PARTITIONS: usize = 4;
const LIMIT: Duration = Duration::from_secs(60);

/// Makes a topic and waits until it can be written to: a client that asks for it gets it made.
pub fn make(kafka: &Kafka, topic: &str) {
    wait_for("the topic", LIMIT, || {
        let _ = kafka.kcat(&["-L", "-t", topic]);
        end(kafka, topic)
    });
}

/// How many records it has.
pub fn end(kafka: &Kafka, topic: &str) -> Option<u64> {
    let mut args = vec!["-Q".to_owned()];
    for partition in 0..PARTITIONS {
        args.extend(["-t".to_owned(), format!("{topic}:{partition}:-1")]);
    }
    let text = kafka.kcat(&args.iter().map(String::as_str).collect::<Vec<_>>()).ok()?;
    let ends: Vec<u64> = text.lines().filter_map(|l| l.rsplit(' ').next()?.parse().ok()).collect();
    (ends.len() == PARTITIONS).then(|| ends.iter().sum())
}

/// What became of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Records in the topic.
    pub there: u64,
    /// Those that are there once already.
    pub duplicates: u64,
    /// Messages that are not there.
    pub lost: u64,
    /// Records that are none of ours as we published them.
    pub damaged: u64,
}

/// Reads the whole topic and counts.
pub fn count(kafka: &Kafka, topic: &str, contender: &Contender, times: &Times) -> Count {
    let mut count = Count::default();
    let mut seen = HashSet::new();
    for line in kafka.consume(topic, contender.format()).iter().filter(|l| !l.is_empty()) {
        count.there += 1;
        match contender.read(line).filter(|(stream, seq)| times.published_us(*stream, *seq).is_some()) {
            None => count.damaged += 1,
            Some(id) => count.duplicates += u64::from(!seen.insert(id)),
        }
    }
    count.lost = times.messages() - seen.len() as u64;
    count
}

/// A reader beside the run, that notes when each record can be read.
pub struct Watch {
    child: Child,
    lines: Option<BufReader<std::process::ChildStdout>>,
}

impl Watch {
    /// Starts one.
    pub fn start(kafka: &Kafka, topic: &str, contender: &Contender) -> Watch {
        let broker = format!("127.0.0.1:{}", kafka.port);
        let mut command = Command::new("kcat");
        command.args(["-b", &broker, "-C", "-u", "-q", "-t", topic, "-o", "beginning", "-f", contender.format()]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("kcat starts");
        let lines = child.stdout.take().map(BufReader::new);
        Watch { child, lines }
    }

    /// Reads on until `n` records have come that were not seen before; gives microseconds from publishing of each.
    pub fn lags(&mut self, n: usize, contender: &Contender, times: &Times) -> Vec<u64> {
        let (mut lags, mut line) = (Vec::with_capacity(n), String::new());
        let mut seen = HashSet::with_capacity(n);
        let Some(lines) = self.lines.as_mut() else { return lags };
        while lags.len() < n {
            line.clear();
            if lines.read_line(&mut line).unwrap_or(0) == 0 {
                break;
            }
            let now = now_us();
            let Some(id) = contender.read(line.trim_end()) else { continue };
            if let (Some(at), true) = (times.published_us(id.0, id.1), seen.insert(id)) {
                lags.push(now.saturating_sub(at));
            }
        }
        lags
    }

    /// Its process id, for one who must end it from beside.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
