//! The command lines of `hueflow-bridge` and `hueflow-metrics`.
//!
//! Inputs are the arguments and the environment; results are what the user typed, and the settings that file, environment
//! and flags give together. What a value means is decided in `config`.

mod bridge;
mod reports;

pub use bridge::{Bridge, BridgeCommand, BridgeFlags, DlqCommand, DlqFlags, ListFlags, ReplayFlags};
pub use reports::{CompareFlags, ExportFlags, Format};

use crate::config::{self, METRICS_KEYS};
use crate::failure::Failure;
use crate::settings::Settings;
use clap::{Args, Parser, Subcommand};
use firmware::color::Space;
use std::io::Write;
use std::path::PathBuf;

const METRICS_FILE: &str = "/etc/hueflow/metrics.toml";

/// The server side's store, page and reports: from the journal to rows, ledgers and diagrams.
#[derive(Debug, Parser)]
#[command(name = "hueflow-metrics", version)]
pub struct Metrics {
    /// What to do.
    #[command(subcommand)]
    pub command: MetricsCommand,
}

/// What `hueflow-metrics` can do.
#[derive(Debug, Subcommand)]
pub enum MetricsCommand {
    /// Fill the store from the journal and show the page, until stopped.
    Run(RunFlags),
    /// Change a running device: space, lambda, coreset size, method, rate of censuses.
    Cmd(CmdFlags),
    /// Check journal, store, page, disk and clock, and print what does not work and what to type.
    Doctor(MetricsFlags),
    /// Print one line a frame as they come.
    Tail(TailFlags),
    /// The exact silhouette of a frame, and its diagram.
    Silhouette(SilhouetteFlags),
    /// One picture with several lambdas side by side: clustered pictures, knives, K, RMS, silhouette.
    Compare(CompareFlags),
    /// The clustered pictures of a device back from the journal.
    Video(VideoFlags),
    /// What became of every record: produced, stored, lost, missing, dead.
    Ledger(LedgerFlags),
    /// A table of the store as CSV, JSON lines or Parquet.
    Export(ExportFlags),
    /// The store as a whole.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Check the configuration, and print what is wrong in it.
    CheckConfig(MetricsFlags),
    /// Print the configuration in force and where each value came from.
    PrintConfig(MetricsFlags),
}

/// What `hueflow-metrics store` can do.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Move all that a store holds to another one, which must be empty. The first one stays as it is.
    Move(MoveFlags),
}

/// Flags of `store move`.
#[derive(Debug, Args)]
pub struct MoveFlags {
    /// Configuration file [/etc/hueflow/metrics.toml, if it is there]: for store.password_file and store.ca_file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The store to be read: sqlite:FILE, FILE or `postgres://USER@HOST[:PORT]/DB`.
    #[arg(long, value_name = "STORE")]
    pub from: String,
    /// The store to be written: sqlite:FILE, FILE or `postgres://USER@HOST[:PORT]/DB`.
    #[arg(long, value_name = "STORE")]
    pub to: String,
}

impl MoveFlags {
    /// The settings.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn settings(&self) -> Result<Settings, Failure> {
        let (file, required) = config::file(self.config.as_deref(), METRICS_FILE);
        Settings::gather(METRICS_KEYS, file, required, "HUEFLOW_METRICS", environment(), &[])
    }
}

/// Flags of the commands that use both the journal and the store.
#[derive(Debug, Default, Args)]
pub struct MetricsFlags {
    /// Configuration file [/etc/hueflow/metrics.toml, if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Journal: kafka://[USER@]HOST:PORT[,HOST:PORT...], kafka+ssl:// for TLS, or local:FILE.
    #[arg(long, value_name = "URL")]
    journal: Option<String>,
    /// Store: sqlite:FILE, FILE or postgres://USER@HOST[:PORT]/DB.
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// Address of the page, or a port of loopback; port 0 is any free one.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// File with the page's token: given as `Authorization: Bearer` or `?token=`. Needed beyond loopback.
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
}

/// Flags of `run`.
#[derive(Debug, Args)]
pub struct RunFlags {
    /// Shared flags.
    #[command(flatten)]
    pub shared: MetricsFlags,
    /// Broker for commands to devices.
    #[command(flatten)]
    pub mqtt: MqttFlags,
    /// For ./deploy/demo: a named pipe. The page gets two buttons, and each press writes `broker 20` or `journal 20` into it.
    #[arg(long, value_name = "PIPE")]
    pub demo_outages: Option<PathBuf>,
}

/// By which broker commands go, and to which site.
#[derive(Debug, Default, Args)]
pub struct MqttFlags {
    /// Broker: mqtt://[USER@]HOST[:PORT], or mqtts:// for TLS.
    #[arg(long, value_name = "URL")]
    mqtt: Option<String>,
    /// Site: the second word of every MQTT topic.
    #[arg(long)]
    site: Option<String>,
}

/// Flags of `cmd`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true)
    .args(["space", "lambda", "coreset_size", "method", "census_every", "snapshot"])))]
pub struct CmdFlags {
    /// The device.
    #[arg(value_name = "DEVICE")]
    pub device: String,
    /// Configuration file [/etc/hueflow/metrics.toml, if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Broker for commands to devices.
    #[command(flatten)]
    mqtt: MqttFlags,
    /// Where distances are measured: rgb or cielab. Without --lambda, lambda becomes 50 or 18.
    #[arg(long)]
    space: Option<String>,
    /// Largest distance of a colour to its palette entry, in 8-bit levels or Delta E: 0.01 to 442.
    #[arg(long)]
    lambda: Option<f64>,
    /// Points of the coreset.
    #[arg(long, value_name = "N")]
    coreset_size: Option<u32>,
    /// Coreset method: octree, uniform, sensitivity, streamkm or lightweight.
    #[arg(long)]
    method: Option<String>,
    /// Seconds between two censuses; 0 for none.
    #[arg(long, value_name = "SECONDS")]
    census_every: Option<f64>,
    /// One census now.
    #[arg(long)]
    snapshot: bool,
    /// Keep the settings after a restart of the device, over its configuration.
    #[arg(long)]
    save: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl CmdFlags {
    /// The settings.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn settings(&self) -> Result<Settings, Failure> {
        MetricsFlags { config: self.config.clone(), ..MetricsFlags::default() }.settings_with(&self.mqtt)
    }

    /// The command, as it goes to the topic `cmd`.
    pub fn command(&self) -> serde_json::Map<String, serde_json::Value> {
        let values = [
            ("space", self.space.clone().map(Into::into)),
            ("lambda", self.lambda.map(Into::into)),
            ("coreset_size", self.coreset_size.map(Into::into)),
            ("method", self.method.clone().map(Into::into)),
            ("census_every", self.census_every.map(Into::into)),
            ("snapshot", self.snapshot.then_some(true.into())),
            ("save", self.save.then_some(true.into())),
        ];
        values.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}

impl RunFlags {
    /// The settings.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn settings(&self) -> Result<Settings, Failure> {
        self.shared.settings_with(&self.mqtt)
    }
}

impl MetricsFlags {
    /// The settings.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn settings(&self) -> Result<Settings, Failure> {
        self.settings_with(&MqttFlags::default())
    }

    fn settings_with(&self, mqtt: &MqttFlags) -> Result<Settings, Failure> {
        let flags = [
            ("site", mqtt.site.clone()),
            ("mqtt.url", mqtt.mqtt.clone()),
            ("journal.url", self.journal.clone()),
            ("store.url", self.store.clone()),
            ("web.listen", self.listen.clone()),
            ("web.token_file", self.token_file.clone()),
        ];
        let (file, required) = config::file(self.config.as_deref(), METRICS_FILE);
        Settings::gather(METRICS_KEYS, file, required, "HUEFLOW_METRICS", environment(), &flags)
    }
}

/// Flags of the commands that read the journal.
#[derive(Debug, Default, Args)]
pub struct JournalFlags {
    /// Configuration file [/etc/hueflow/metrics.toml, if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Journal: kafka://[USER@]HOST:PORT[,HOST:PORT...], kafka+ssl:// for TLS, or local:FILE.
    #[arg(long, value_name = "URL")]
    journal: Option<String>,
}

impl JournalFlags {
    /// The settings.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn settings(&self) -> Result<Settings, Failure> {
        let (config, journal) = (self.config.clone(), self.journal.clone());
        MetricsFlags { config, journal, ..MetricsFlags::default() }.settings()
    }
}

/// Flags of the commands that read the store.
#[derive(Debug, Default, Args)]
pub struct StoreFlags {
    /// Configuration file [/etc/hueflow/metrics.toml, if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Store: sqlite:FILE, FILE or postgres://USER@HOST[:PORT]/DB.
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
}

impl StoreFlags {
    /// The settings.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn settings(&self) -> Result<Settings, Failure> {
        let (config, store) = (self.config.clone(), self.store.clone());
        MetricsFlags { config, store, ..MetricsFlags::default() }.settings()
    }
}

/// Flags of `tail`.
#[derive(Debug, Args)]
pub struct TailFlags {
    /// Shared flags.
    #[command(flatten)]
    pub shared: JournalFlags,
    /// Only this device.
    #[arg(long)]
    pub device: Option<String>,
    /// From then on: an RFC 3339 time (UTC), seconds since the epoch, or how long ago (90s, 10m, 2h, 1d); without it, from now on.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
}

/// Flags of `silhouette`.
#[derive(Debug, Args)]
pub struct SilhouetteFlags {
    /// Shared flags.
    #[command(flatten)]
    pub shared: StoreFlags,
    /// A picture (PNG).
    #[arg(long, value_name = "PNG", requires = "labels", conflicts_with = "device")]
    pub image: Option<PathBuf>,
    /// Its labels (8-bit grey PNG).
    #[arg(long, value_name = "PNG", requires = "image")]
    pub labels: Option<PathBuf>,
    /// A device: from its latest census in the store.
    #[arg(long, required_unless_present = "image")]
    pub device: Option<String>,
    /// The report whose frame it should be.
    #[arg(long, value_name = "N", requires = "device")]
    pub seq: Option<u64>,
    /// Where the picture was clustered, and distances are measured: rgb or cielab. A device's census has its own.
    #[arg(long, value_parser = reports::space, default_value = "rgb", conflicts_with = "device")]
    pub space: Space,
    /// Draw the diagram: a file that ends in .svg or .png.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Flags of `video`.
#[derive(Debug, Args)]
pub struct VideoFlags {
    /// Shared flags.
    #[command(flatten)]
    pub shared: JournalFlags,
    /// The device.
    #[arg(long)]
    pub device: String,
    /// Write `000000.png` and so on, by frame number, into this folder.
    #[arg(long, value_name = "DIR", required_unless_present = "y4m")]
    pub out: Option<PathBuf>,
    /// Write YUV4MPEG2 to this file; `-` is standard output.
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    pub y4m: Option<PathBuf>,
}

/// Flags of `ledger`.
#[derive(Debug, Args)]
pub struct LedgerFlags {
    /// Shared flags.
    #[command(flatten)]
    pub shared: StoreFlags,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// The environment as text; what is not text cannot be ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
}

/// Sets up logging to standard error: `RUST_LOG`, or what our own modules log. The client libraries repeat themselves while
/// their server is away; our modules log it once. Both programs are of one crate, so its name is left out.
pub fn log_to_stderr() {
    let own = concat!(env!("CARGO_CRATE_NAME"), "::");
    env_logger::Builder::from_env(
        env_logger::Env::default().default_filter_or("warn,rumqttd=off,rdkafka=off,librdkafka=off,hueflow_bridge=info"),
    )
    .format(move |out, record| {
        let (time, level) = (out.timestamp_millis(), out.default_level_style(record.level()));
        let module = record.target().strip_prefix(own).unwrap_or(record.target());
        writeln!(out, "[{time} {level}{:<5}{level:#} {module}] {}", record.level(), record.args())
    })
    .init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_lines_are_sound() {
        Bridge::command().debug_assert();
        Metrics::command().debug_assert();
        for bad in [
            &["x", "silhouette"][..],
            &["x", "silhouette", "--image", "a"],
            &["x", "video", "--device", "d"],
            &["x", "video", "--out", "d"],
        ] {
            assert!(Metrics::try_parse_from(bad).is_err(), "{bad:?}");
        }
        for bad in [&["x", "dlq"][..], &["x", "dlq", "replay"], &["x", "dlq", "replay", "--all", "--device", "d"]] {
            assert!(Bridge::try_parse_from(bad).is_err(), "{bad:?}");
        }
        assert!(Bridge::try_parse_from(["x", "dlq", "replay", "--device", "d", "--reason", "r"]).is_ok());
        assert!(Metrics::try_parse_from(["x", "silhouette", "--device", "d", "--seq", "3", "--json"]).is_ok());
        assert!(
            Bridge::try_parse_from(["x", "run", "--mqtt", "embedded", "--journal", "local:x", "--value", "json"])
                .is_ok()
        );
    }
}
