//! The program `hueflow-metrics`: store, page and reports.
//!
//! It parses its arguments, runs the command and ends with an exit code. Nothing that a user types makes it panic.

use clap::Parser;
use hueflow_bridge::cli::{Metrics, MetricsCommand, MetricsFlags, StoreCommand, log_to_stderr};
use hueflow_bridge::config::{MetricsConfig, StoreConfig};
use hueflow_bridge::failure::{Failure, end};
use hueflow_bridge::metrics::commands::{cmd, compare, export, ledger, silhouette, store, tail, video};
use hueflow_bridge::settings::Settings;
use hueflow_bridge::{doctor, metrics};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Metrics::parse();
    log_to_stderr();
    end(run(arguments.command))
}

fn run(command: MetricsCommand) -> Result<(), Failure> {
    let of = |settings: Result<Settings, Failure>| MetricsConfig::check(&settings?);
    let check = |flags: &MetricsFlags| of(flags.settings());
    match command {
        MetricsCommand::Run(flags) => metrics::run(of(flags.settings())?, flags.demo_outages),
        MetricsCommand::Cmd(flags) => cmd::run(&of(flags.settings())?, &flags),
        MetricsCommand::Tail(flags) => {
            tail::run(&of(flags.shared.settings())?, flags.device.as_deref(), flags.since.as_deref())
        }
        MetricsCommand::Silhouette(flags) => silhouette::run(&of(flags.shared.settings())?, &flags),
        MetricsCommand::Compare(flags) => compare::run(&of(flags.settings())?, &flags),
        MetricsCommand::Video(flags) => video::run(&of(flags.shared.settings())?, &flags),
        MetricsCommand::Ledger(flags) => ledger::run(&of(flags.shared.settings())?, flags.json),
        MetricsCommand::Export(flags) => export::run(&of(flags.shared.settings())?, &flags),
        MetricsCommand::Store(StoreCommand::Move(flags)) => {
            let settings = flags.settings()?;
            store::run_move(&StoreConfig::at(&settings, &flags.from)?, &StoreConfig::at(&settings, &flags.to)?)
        }
        MetricsCommand::Doctor(flags) => doctor::metrics(check(&flags)),
        MetricsCommand::CheckConfig(flags) => {
            check(&flags)?;
            println!("the configuration is sound");
            Ok(())
        }
        MetricsCommand::PrintConfig(flags) => {
            let settings = flags.settings()?;
            MetricsConfig::check(&settings)?;
            print!("{}", settings.print());
            Ok(())
        }
    }
}
