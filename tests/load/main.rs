//! Hueflow's bridge and Telegraf on the same load, in turn.
//!
//! `./tests/bench/load --help` names the options: messages, devices, rounds. The result is a table, as text and as Markdown
//! in the file that is named. The program judges nothing: times are for people to read.
#![allow(clippy::expect_used, clippy::panic, reason = "a run that cannot go on has failed")]

mod contender;
mod fleet;
mod publish;
mod scene;
mod slider;
mod table;
mod topic;

use contender::Contender;
use harness::services::Kafka;
use scene::{Figures, Stage};
use std::path::PathBuf;
use std::process::ExitCode;
use table::Row;

/// The command line.
#[derive(Debug, Clone)]
pub struct Args {
    messages: u64,
    devices: usize,
    rounds: usize,
    pace: f64,
    /// Seconds at that pace.
    seconds: u64,
    telegraf: Option<PathBuf>,
    out: Option<PathBuf>,
    /// Scenes whose names begin so; empty: all.
    only: String,
    /// Devices of a fleet, which is then all that is run; 0: none.
    fleet: usize,
    /// Moves of the what-if slider, which is then all that is run; 0: none.
    slider: usize,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args {
        messages: 200_000,
        devices: 10,
        rounds: 3,
        pace: 300.0,
        seconds: 10,
        telegraf: None,
        out: None,
        only: String::new(),
        fleet: 0,
        slider: 0,
    };
    while let Some(word) = words.next() {
        let text = words.next().ok_or(format!("{word} wants a value"))?;
        let number = || text.parse::<u64>().map_err(|_| format!("{word}: `{text}` is not a number"));
        match word.as_str() {
            "--messages" => args.messages = number()?,
            "--devices" => args.devices = number()?.clamp(1, 1_000) as usize,
            "--rounds" => args.rounds = number()?.clamp(1, 100) as usize,
            "--pace" => args.pace = number()?.max(1) as f64,
            "--seconds" => args.seconds = number()?.max(1),
            "--telegraf" => args.telegraf = Some(text.into()),
            "--out" => args.out = Some(text.into()),
            "--only" => args.only = text,
            "--fleet" => args.fleet = number()?.clamp(1, 5_000) as usize,
            "--slider" => args.slider = number()?.clamp(1, 1_000) as usize,
            _ => return Err(format!("unknown argument {word}")),
        }
    }
    Ok(args)
}

/// What is measured, by name.
const SCENES: [&str; 4] = ["drain", "live, paced", "live, full speed", "killed in mid-drain"];

fn perform(name: &str, stage: &Stage<'_>, args: &Args) -> Figures {
    match name {
        "drain" => stage.drain(args.messages),
        "live, paced" => stage.live(args.pace as u64 * args.seconds, Some(args.pace)),
        "live, full speed" => stage.live(args.messages / 2, None),
        _ => stage.killed(args.messages),
    }
}

fn run(args: &Args) {
    if args.slider > 0 {
        print!("{}", slider::run(args.slider));
        return;
    }
    let dir = tempfile::TempDir::with_prefix("hueflow-load-").expect("a temporary folder");
    let kafka = Kafka::start("4", dir.path());
    if args.fleet > 0 {
        print!("{}", fleet::run(&kafka, args.fleet, args.seconds));
        return;
    }
    let mut contenders = vec![Contender::Bridge("json"), Contender::Bridge("postcard")];
    contenders.extend(args.telegraf.clone().map(Contender::Telegraf));
    // Java is slow until it has worked for a while: nobody's figures should have that.
    let warm =
        Stage { contender: &contenders[0], kafka: &kafka, dir: &dir.path().join("warm"), prefix: "w.", devices: 10 };
    warm.drain(args.messages / 2);
    let mut rows: Vec<Row> = Vec::new();
    for round in 0..args.rounds {
        for scene in SCENES.into_iter().filter(|s| s.starts_with(&args.only)) {
            for i in 0..contenders.len() {
                // Each is the first in its turn.
                let n = (i + round) % contenders.len();
                let prefix = format!("r{}.", rows.len());
                let stage = Stage {
                    contender: &contenders[n],
                    kafka: &kafka,
                    dir: &dir.path().join(&prefix),
                    prefix: &prefix,
                    devices: args.devices,
                };
                let figures = perform(scene, &stage, args);
                let row = Row { scene, place: n, name: contenders[n].name(), figures };
                eprintln!("{}", row.line());
                rows.push(row);
            }
        }
    }
    let text = table::markdown(&SCENES, &rows, args);
    println!("{text}");
    if let Some(out) = &args.out {
        std::fs::write(out, text).expect("the table's file");
    }
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(args) => run(&args),
        Err(e) => {
            eprintln!("load: {e} (see ./tests/bench/load --help)");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
