//! The program `hueflow-bridge`: the relay.
//!
//! It parses its arguments, runs the command and ends with an exit code. Nothing that a user types makes it panic.

use clap::Parser;
use hueflow_bridge::cli::{Bridge, BridgeCommand, DlqCommand, log_to_stderr};
use hueflow_bridge::config::{BridgeConfig, DlqConfig};
use hueflow_bridge::doctor;
use hueflow_bridge::failure::{Failure, end};
use hueflow_bridge::relay::{self, dlq};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Bridge::parse();
    log_to_stderr();
    end(run(arguments.command))
}

fn run(command: BridgeCommand) -> Result<(), Failure> {
    match command {
        BridgeCommand::Run(flags) => relay::run(BridgeConfig::check(&flags.settings()?)?, flags.standby),
        BridgeCommand::Dlq(DlqCommand::List(flags)) => {
            dlq::list(&DlqConfig::check(&flags.shared.settings()?)?, flags.topic.as_deref(), flags.json)
        }
        BridgeCommand::Dlq(DlqCommand::Replay(flags)) => {
            dlq::replay(&DlqConfig::check(&flags.shared.settings()?)?, &flags)
        }
        BridgeCommand::Doctor(flags) => doctor::bridge(flags.settings().and_then(|s| BridgeConfig::check(&s))),
        BridgeCommand::CheckConfig(flags) => {
            BridgeConfig::check(&flags.settings()?)?;
            println!("the configuration is sound");
            Ok(())
        }
        BridgeCommand::PrintConfig(flags) => {
            let settings = flags.settings()?;
            BridgeConfig::check(&settings)?;
            print!("{}", settings.print());
            Ok(())
        }
    }
}
