//! The programs that carry records from MQTT to Kafka, each with its own settings for losing nothing.
//!
//! A contender is started between a broker and a Kafka topic. It gives what the process has used, and what one of its
//! records looks like. Telegraf has the settings that are recommended for at-least-once delivery.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use firmware::custody::Envelope;
use harness::process::{Running, bin};
use harness::services::{Kafka, Mosquitto};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Clock ticks a second in `/proc`: fixed by Linux's interface.
const TICKS: u64 = 100;
const START_LIMIT: Duration = Duration::from_secs(60);

/// A contender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contender {
    /// Our bridge, with JSON or postcard.
    Bridge(&'static str),
    /// Telegraf, at this path.
    Telegraf(PathBuf),
}

/// Where it is to work.
pub struct Place<'a> {
    /// The broker.
    pub mosquitto: &'a Mosquitto,
    /// The journal.
    pub kafka: &'a Kafka,
    /// In front of `metrics` in its topic's name.
    pub prefix: &'a str,
    /// For its files.
    pub dir: &'a Path,
}

impl Contender {
    /// Its name in the table.
    pub fn name(&self) -> String {
        match self {
            Contender::Bridge(value) => format!("hueflow-bridge, {value}"),
            Contender::Telegraf(_) => "Telegraf".to_owned(),
        }
    }

    /// Starts it.
    pub fn start(&self, place: &Place<'_>) -> Running {
        match self {
            Contender::Bridge(value) => {
                let mut command = Command::new(bin("hueflow-bridge"));
                command.args(["run", "--site", "test", "--value", value, "--mqtt", &place.mosquitto.url()]);
                command.args(["--journal", &place.kafka.url()]).env("HUEFLOW_BRIDGE__JOURNAL__PREFIX", place.prefix);
                Running::start("contender", place.dir, &mut command)
            }
            Contender::Telegraf(path) => {
                let conf = place.dir.join("telegraf.conf");
                let text = TELEGRAF
                    .replace("@MQTT@", &place.mosquitto.port.to_string())
                    .replace("@KAFKA@", &place.kafka.port.to_string())
                    .replace("@TOPIC@", &format!("{}metrics", place.prefix));
                std::fs::write(&conf, text).expect("telegraf.conf");
                Running::start("contender", place.dir, Command::new(path).arg("--config").arg(conf))
            }
        }
    }

    /// Starts it and waits until it listens, and knows its Kafka.
    pub fn start_ready(&self, place: &Place<'_>) -> Running {
        let running = self.start(place);
        place.mosquitto.process.wait_for_line("hueflow/test/+/metrics", START_LIMIT);
        if let Contender::Bridge(_) = self {
            running.wait_for_line("journal kafka://", START_LIMIT);
        }
        running
    }

    /// What kcat is to print of a record, for [`Contender::read`].
    pub fn format(&self) -> &'static str {
        match self {
            Contender::Bridge(_) => "%h\n",
            Contender::Telegraf(_) => "%s\n",
        }
    }

    /// Stream and seq of a record as kcat printed it.
    pub fn read(&self, line: &str) -> Option<(u64, u64)> {
        match self {
            Contender::Bridge(_) => {
                let header = |name: &str| line.split(',').find_map(|h| h.strip_prefix(name)?.parse().ok());
                Some((header("stream=")?, header("seq=")?))
            }
            Contender::Telegraf(_) => {
                let record = BASE64_STANDARD.decode(line.split('"').nth(1)?).ok()?;
                Envelope::open(&record).ok().map(|(e, _)| (e.stream, e.seq))
            }
        }
    }
}

/// Sealed records are binary: as a `string` Telegraf would cut the zeros at their end.
const TELEGRAF: &str = r#"
[agent]
  interval = "1s"
  flush_interval = "100ms"
  metric_batch_size = 5000
  metric_buffer_limit = 200000
  omit_hostname = true
[[inputs.mqtt_consumer]]
  servers = ["tcp://127.0.0.1:@MQTT@"]
  topics = ["hueflow/test/+/metrics"]
  qos = 1
  persistent_session = true
  client_id = "telegraf"
  max_undelivered_messages = 10000
  data_format = "value"
  data_type = "base64"
[[outputs.kafka]]
  brokers = ["127.0.0.1:@KAFKA@"]
  topic = "@TOPIC@"
  required_acks = -1
  max_retry = 10
  data_format = "influx"
  routing_tag = "topic"
"#;

/// Microseconds of processor time that a process has used.
pub fn cpu_us(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let behind = stat.rsplit_once(')').map_or("", |(_, b)| b);
    let ticks: u64 = behind.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    ticks * 1_000_000 / TICKS
}

/// KiB that a process has had resident at most.
pub fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
