//! The command line of `hueflow-bridge`.
//!
//! Inputs are the arguments; results are the command and its flags, and the settings that file, environment and flags give
//! together.

use super::environment;
use crate::config::{self, BRIDGE_KEYS};
use crate::failure::Failure;
use crate::settings::Settings;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

const BRIDGE_FILE: &str = "/etc/hueflow/bridge.toml";

/// The server side's relay: from MQTT into the journal, without loss.
#[derive(Debug, Parser)]
#[command(name = "hueflow-bridge", version)]
pub struct Bridge {
    /// What to do.
    #[command(subcommand)]
    pub command: BridgeCommand,
}

/// What `hueflow-bridge` can do.
#[derive(Debug, Subcommand)]
pub enum BridgeCommand {
    /// Relay until stopped.
    Run(BridgeFlags),
    /// Check broker, journal, disk and clock, and print what does not work and what to type.
    Doctor(BridgeFlags),
    /// Check the configuration, and print what is wrong in it.
    CheckConfig(BridgeFlags),
    /// Print the configuration in force and where each value came from.
    PrintConfig(BridgeFlags),
    /// The dead letters: what came and could not be kept as it was.
    #[command(subcommand)]
    Dlq(DlqCommand),
}

/// What `hueflow-bridge dlq` can do.
#[derive(Debug, Subcommand)]
pub enum DlqCommand {
    /// Print one line a dead letter.
    List(ListFlags),
    /// Judge dead letters again (for example after an upgrade) and write those that pass to their topics.
    Replay(ReplayFlags),
}

/// Flags that both of `dlq` share.
#[derive(Debug, Clone, Default, Args)]
pub struct DlqFlags {
    /// Configuration file [/etc/hueflow/bridge.toml, if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Journal: kafka://[USER@]HOST:PORT[,HOST:PORT...], kafka+ssl:// for TLS, or local:FILE.
    #[arg(long, value_name = "URL")]
    journal: Option<String>,
}

impl DlqFlags {
    /// The settings.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn settings(&self) -> Result<Settings, Failure> {
        let (file, required) = config::file(self.config.as_deref(), BRIDGE_FILE);
        let flags = [("journal.url", self.journal.clone())];
        Settings::gather(BRIDGE_KEYS, file, required, "HUEFLOW_BRIDGE", environment(), &flags)
    }
}

/// Flags of `dlq list`.
#[derive(Debug, Clone, Args)]
pub struct ListFlags {
    /// Shared flags.
    #[command(flatten)]
    pub shared: DlqFlags,
    /// Only this topic's: metrics, census, video, status or event.
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// Flags of `dlq replay`.
#[derive(Debug, Clone, Default, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true).args(["reason", "device", "all"])))]
pub struct ReplayFlags {
    /// Shared flags.
    #[command(flatten)]
    pub shared: DlqFlags,
    /// Those that are dead for this reason, as `list` names it.
    #[arg(long)]
    pub reason: Option<String>,
    /// Those of this device.
    #[arg(long)]
    pub device: Option<String>,
    /// All of them.
    #[arg(long, conflicts_with_all = ["reason", "device"])]
    pub all: bool,
    /// Print what would become of them, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Flags of `hueflow-bridge`.
#[derive(Debug, Args)]
pub struct BridgeFlags {
    /// Configuration file [/etc/hueflow/bridge.toml, if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Site: the second word of every MQTT topic.
    #[arg(long)]
    site: Option<String>,
    /// Broker: mqtt://[USER@]HOST[:PORT], mqtts:// for TLS, or embedded[:PORT] for one inside the bridge.
    #[arg(long, value_name = "URL")]
    mqtt: Option<String>,
    /// Journal: kafka://[USER@]HOST:PORT[,HOST:PORT...], kafka+ssl:// for TLS, or local:FILE.
    #[arg(long, value_name = "URL")]
    journal: Option<String>,
    /// How values of the topic `metrics` are written: json or postcard.
    #[arg(long, value_name = "FORMAT")]
    value: Option<String>,
    /// Where /healthz and /metrics are: an address and a port, or a port of loopback [nowhere].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Wait until the site's active bridge is gone, then take over; for both of two.
    #[arg(long)]
    pub standby: bool,
}

impl BridgeFlags {
    /// The settings.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn settings(&self) -> Result<Settings, Failure> {
        let flags = [
            ("site", self.site.clone()),
            ("mqtt.url", self.mqtt.clone()),
            ("journal.url", self.journal.clone()),
            ("relay.value", self.value.clone()),
            ("web.listen", self.listen.clone()),
        ];
        let (file, required) = config::file(self.config.as_deref(), BRIDGE_FILE);
        Settings::gather(BRIDGE_KEYS, file, required, "HUEFLOW_BRIDGE", environment(), &flags)
    }
}
