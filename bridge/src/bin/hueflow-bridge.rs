//! `hueflow-bridge`: the relay's program.
//!
//! Takes arguments. Gives an exit code.
//! Touches nothing itself.
//! Never ends with a panic on what a user typed.

use clap::Parser;
use hueflow_bridge::cli::{Bridge, BridgeCommand, log_to_stderr};
use hueflow_bridge::config::BridgeConfig;
use hueflow_bridge::failure::{Failure, end};
use hueflow_bridge::{bridge, doctor};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Bridge::parse();
    log_to_stderr();
    end(run(arguments.command))
}

fn run(command: BridgeCommand) -> Result<(), Failure> {
    match command {
        BridgeCommand::Run(flags) => bridge::run(BridgeConfig::check(&flags.settings()?)?, flags.standby),
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
