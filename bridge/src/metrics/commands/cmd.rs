//! `hueflow-metrics cmd`: changes a running device from the terminal, and prints its answer.
//!
//! Sends one command by MQTT and waits for the device's status. Prints what is in force; a refusal ends with exit code 2, no
//! answer with 69.

use crate::cli::CmdFlags;
use crate::config::MetricsConfig;
use crate::failure::Failure;
use crate::mqtt::commander::{Answer, Commander};
use serde_json::{Map, Value, json};
use std::io::Write;

/// Sends the command.
///
/// # Errors
/// [`Failure`].
pub fn run(config: &MetricsConfig, flags: &CmdFlags) -> Result<(), Failure> {
    let Some(mqtt) = &config.mqtt else {
        return Err(Failure::Config("mqtt.url is not set: name the broker with --mqtt URL".to_owned()));
    };
    let command = flags.command();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.map_err(|e| Failure::io("runtime", e))?.block_on(async {
        let commander = Commander::start(&mqtt.url, &mqtt.site).map_err(Failure::Config)?;
        commander.command(&flags.device, &command).await.map_err(|e| Failure::Unavailable(e.to_string()))
    })?;
    match answer {
        Answer::InForce(in_force) => {
            let _ = writeln!(std::io::stdout(), "{}", text(flags, in_force)); // The reader may have closed its end.
            Ok(())
        }
        Answer::Refused(reason) => Err(Failure::Usage(format!("device {} refuses {reason}", flags.device))),
    }
}

fn text(flags: &CmdFlags, in_force: Map<String, Value>) -> String {
    if flags.json {
        return json!({ "device": flags.device, "outcome": "in force", "in_force": in_force }).to_string();
    }
    let values: Vec<String> = in_force.iter().map(|(key, value)| format!("{key} {value}")).collect();
    let values = if values.is_empty() { "done".to_owned() } else { format!("in force: {}", values.join(", ")) };
    format!("{}: {values}", flags.device)
}
