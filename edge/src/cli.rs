//! The command line: what may be typed, and which exit code each ending has.
//!
//! Arguments and environment become a configuration, and the module that does the work is called. Data goes to standard
//! output, everything else to standard error. Nothing about a frame is decided here.

mod args;

use crate::budget::Budget;
use crate::exit::{Failure, Reason};
use crate::spec::RunOptions;
use crate::{cluster, coreset_size, doctor, learn, logs, output, supervise};
use args::{ClusterArgs, DoctorArgs, LearnArgs, PrintArgs, RunArgs, SizeArgs};
use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Live colour clustering at the edge.
#[derive(Debug, Parser)]
#[command(name = "hueflow-edge", version, about, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Cluster a source live: show it, spool it, send it.
    Run(Box<RunArgs>),
    /// Cluster files and print what was found.
    Cluster(ClusterArgs),
    /// Look at a region of the source, and print the named colour that covers what is in it.
    Learn(LearnArgs),
    /// The tutorial's formula for the size of a coreset, and what a small one guarantees.
    CoresetSize(SizeArgs),
    /// List every camera with its formats, sizes and rates, and what each video node is.
    ListCameras {
        /// One JSON object a line and node
        #[arg(long)]
        json: bool,
    },
    /// Check this machine, and print what does not work and what to type; with --write, write a configuration for it.
    Doctor(Box<DoctorArgs>),
    /// Check the configuration, and print how much memory it needs.
    CheckConfig(RunArgs),
    /// Print the configuration in force, and where each value came from: the main keys and what was changed.
    PrintConfig(PrintArgs),
    /// The process that has a run's window; a run starts it.
    #[cfg(feature = "window")]
    #[command(name = crate::panel::window::COMMAND, hide = true)]
    Window,
}

/// The command line as clap knows it: for its manual page and completions.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    logs::start();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap prints both where they belong.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Reason::Usage as u8 } else { 0 });
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            logs::hold(false);
            let _ = writeln!(std::io::stderr(), "hueflow-edge: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => {
            let config = args.config()?;
            let options = RunOptions {
                frames: args.frames,
                drain: !args.no_drain,
                drain_only: args.drain_only,
                quiet: args.quiet,
                log_frames: args.log_frames,
                picture_wait: args.picture_wait_ms.map(Duration::from_millis),
            };
            if args.quiet {
                log::set_max_level(log::LevelFilter::Warn);
            }
            supervise::run(config, options)
        }
        Command::Cluster(args) => cluster::run(&args.job()?),
        Command::Learn(args) => {
            let (config, lesson) = args.lesson()?;
            learn::run(&config, &lesson)
        }
        Command::CoresetSize(a) => {
            let SizeArgs { points, clusters, dims, epsilon, delta } = a;
            output::write(&coreset_size::Question { points, clusters, dims, epsilon, delta }.answer())
        }
        Command::ListCameras { json } => list_cameras(json),
        Command::Doctor(args) => {
            let DoctorArgs { mut run, write, force } = *args;
            let write = write.then(|| doctor::Write { path: run.config.clone(), force });
            if write.is_some() && run.config.as_ref().is_some_and(|path| !path.exists()) {
                // It is yet to be written.
                run.config = Some("/dev/null".into());
            }
            log::set_max_level(log::LevelFilter::Warn);
            doctor::run(run.config(), write.as_ref())
        }
        Command::CheckConfig(args) => {
            let config = args.config()?;
            output::write(&format!("the configuration is sound; memory: {}\n", Budget::asked(&config)))
        }
        Command::PrintConfig(PrintArgs { run, all }) => {
            let config = run.config()?;
            output::write(&if all { config.print_all() } else { config.print() })
        }
        #[cfg(feature = "window")]
        Command::Window => crate::panel::window::surface::run(),
    }
}

/// Prints the cameras, or that there are none.
#[cfg(feature = "camera")]
fn list_cameras(json: bool) -> Result<(), Failure> {
    use crate::camera::{nodes, v4l};
    let (nodes, unreadable) = v4l::list();
    for (path, why) in &unreadable {
        log::warn!("{}: {why}", path.display());
    }
    if nodes.is_empty() {
        log::warn!(
            "there is no video node that can be asked; is a camera plugged in? CSI cameras: use the source rpicam:"
        );
    }
    output::write(&if json { nodes::json(&nodes) } else { nodes::table(&nodes) })
}

#[cfg(not(feature = "camera"))]
fn list_cameras(_: bool) -> Result<(), Failure> {
    Err(Failure::new(Reason::Unavailable, anyhow::anyhow!("{}", crate::camera::NO_CAMERA)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::DisplaySpec;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn bad_numbers_are_usage_errors_that_name_the_range() {
        for (flag, value, range) in [
            ("--lambda", "nan", "442"),
            ("--lambda", "0", "442"),
            ("--lambda", "-3", "442"),
            ("--lambda", "443", "442"),
            ("--coreset-size", "0", "131072"),
            ("--coreset-size", "131073", "131072"),
            ("--coreset-size", "many", "131072"),
            ("--method", "magic", "streamkm or lightweight"),
            ("--refine", "lots", "none, lloyd, cover or mse"),
        ] {
            let cli = Cli::try_parse_from(["hueflow-edge", "cluster", "x.png", flag, value]).unwrap();
            let Command::Cluster(args) = cli.command else { panic!() };
            let failure = args.job().unwrap_err();
            let text = failure.to_string();
            assert!(failure.code() == 2 && text.contains(range) && text.contains(flag), "{text}");
        }
    }

    #[test]
    fn the_largest_coreset_and_every_flag_are_taken() {
        let words = "hueflow-edge run --source synthetic:64x48@5 --lambda 12.5 --coreset-size 131072 --method uniform \
                     --cold --w-open 3 --refine none --seed 18446744073709551615 --display none --display png:/tmp/x \
                     --view side-by-side --mqtt mqtt://u@h:1 --site s --device d --spool /tmp/s --video all --original \
                     --census-every 2.5 --frames 3 --no-drain --loop --fast --quiet --log-frames";
        let cli = Cli::try_parse_from(words.split_whitespace()).unwrap();
        let Command::Run(args) = cli.command else { panic!() };
        let config = args.config().unwrap();
        assert_eq!((config.settings.lambda_q6, config.settings.seed), (800, u64::MAX));
        assert_eq!(config.panels, [DisplaySpec::None, DisplaySpec::Png("/tmp/x".into())]);
        assert_eq!(config.mqtt.unwrap().user.as_deref(), Some("u"));
    }
}
