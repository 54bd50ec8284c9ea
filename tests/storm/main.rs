//! The real programs under faults, then the count of what became of every record.
//!
//! `./tests/chaos --help` names the options: a seed, and the number of kills. The result is a table and a verdict; the exit
//! code is 0 only if every claim holds. Processes, loopback ports, a temporary folder and a small disk (where one may be
//! mounted) are its own. The same seed makes the same plan.
#![allow(clippy::expect_used, clippy::panic, reason = "a run that cannot go on has failed")]

mod cast;
mod disk;
mod events;
mod judge;
mod outage;
mod plan;
mod storm;
mod table;

use std::process::ExitCode;

/// The command line.
#[derive(Debug, Clone, Copy)]
struct Args {
    kills: usize,
    seed: u64,
    edges: usize,
    house: cast::Middle,
    /// Seconds that Kafka is away: the other experiment.
    outage: Option<u64>,
    only_plan: bool,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args { kills: 100, seed: 1, edges: 0, house: cast::Middle::Kafka, outage: None, only_plan: false };
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().ok_or(format!("{word} wants a number"))?;
            text.parse::<u64>().map_err(|_| format!("{word}: `{text}` is not a number"))
        };
        match word.as_str() {
            "--kills" => args.kills = number()? as usize,
            "--seed" => args.seed = number()?,
            "--edges" => args.edges = number()?.clamp(1, 64) as usize,
            "--outage" => args.outage = Some(number()?),
            "--plan" => args.only_plan = true,
            "--house" => match words.next().as_deref() {
                Some("kafka") => args.house = cast::Middle::Kafka,
                Some("embedded") => args.house = cast::Middle::Embedded,
                _ => return Err("--house: kafka or embedded".to_owned()),
            },
            _ => return Err(format!("unknown argument {word}")),
        }
    }
    if args.edges == 0 {
        args.edges = if args.outage.is_some() { 10 } else { 3 };
    }
    Ok(args)
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(e) => {
            eprintln!("chaos: {e} (see ./tests/chaos --help)");
            return ExitCode::from(2);
        }
    };
    let good = match args.outage {
        Some(seconds) => outage::run(seconds, args.edges),
        None => storm::run(&args),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
