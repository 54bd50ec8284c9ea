//! Command line: what may be typed, and which code each ending has.
//!
//! Takes the arguments and the environment. Gives an exit code, data on standard output, everything else on standard error.
//! Touches nothing itself.
//! Never decides anything about a frame: it turns words into a configuration and calls the room that does the work.

use crate::budget::Budget;
use crate::config::{Config, Origin, Raw};
use crate::exit::{Failure, Reason};
use crate::{cluster, coreset_size, doctor, live, logs};
use clap::{Args, Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use toml::Value;

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
    /// The tutorial's formula for the size of a coreset, and what a small one guarantees.
    CoresetSize(SizeArgs),
    /// Name every camera with its formats, sizes and rates, and say what each video node is.
    ListCameras {
        /// One JSON object a line and node
        #[arg(long)]
        json: bool,
    },
    /// Say of this machine what works, what does not, and what to type; with --write, write a configuration for it.
    Doctor(Box<DoctorArgs>),
    /// Check the configuration, and say how much memory it needs if it is right.
    CheckConfig(RunArgs),
    /// Print the configuration in force, and where each value came from.
    PrintConfig(RunArgs),
}

/// How frames are clustered.
#[derive(Debug, Args, Default)]
struct Clustering {
    /// Distance in 8-bit RGB beyond which a colour is another colour, above 0 to 442 [default: 50]
    #[arg(long, value_name = "L", allow_negative_numbers = true)]
    lambda: Option<String>,
    /// Coreset points, 1 to 131072 [default: 1000]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    coreset_size: Option<String>,
    /// How the coreset is drawn: octree, uniform, sensitivity, streamkm or lightweight [default: octree]
    #[arg(long, value_name = "M")]
    method: Option<String>,
    /// Start every frame from nothing instead of from the last frame's clusters
    #[arg(long)]
    cold: bool,
    /// Pixels that a point must stand for to open a cluster, or auto (0.02 % of the frame)
    #[arg(long, value_name = "N")]
    w_open: Option<String>,
    /// What to do for the centroids once lambda has decided how many: none, lloyd, cover or mse [default: cover]
    #[arg(long, value_name = "R")]
    refine: Option<String>,
    /// Seed of the methods that draw [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<String>,
    /// tutorial: uniform, 1000 points, cold, w-open 1, as in the notebooks
    #[arg(long, value_name = "P")]
    preset: Option<String>,
}

#[derive(Debug, Args, Default)]
struct RunArgs {
    /// Configuration file [default: /etc/hueflow/edge.toml, if there is one]
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
    /// v4l2:CAMERA, rpicam:, file:PATH, file:-, y4m:PATH, y4m:- or synthetic:WIDTHxHEIGHT@FPS
    #[arg(long, value_name = "S")]
    source: Option<String>,
    #[command(flatten)]
    clustering: Clustering,
    /// none, auto, window, terminal, spi, fb:/dev/fb0, preview[:ADDRESS] or png:DIR; may be given several times
    #[arg(long, value_name = "D")]
    display: Vec<String>,
    /// clustered or side-by-side
    #[arg(long, value_name = "V")]
    view: Option<String>,
    /// mqtt://[USER@]HOST[:PORT], mqtts:// for TLS; with none the edge works alone and spools
    #[arg(long, value_name = "URL")]
    mqtt: Option<String>,
    /// The site's name in topics
    #[arg(long, value_name = "S")]
    site: Option<String>,
    /// This device's name in topics [default: the host's name]
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Directory of the spool
    #[arg(long, value_name = "DIR")]
    spool: Option<String>,
    /// off, latest:FPS or all [default: latest:5]
    #[arg(long, value_name = "V")]
    video: Option<String>,
    /// Send the original too, as a small JPEG
    #[arg(long)]
    original: bool,
    /// Seconds between two censuses; 0: only on request and at the end [default: 10]
    #[arg(long, value_name = "SECONDS")]
    census_every: Option<String>,
    /// End after so many frames, when the journal has them all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    frames: Option<u64>,
    /// End at once and leave what the journal does not have in the spool
    #[arg(long)]
    no_drain: bool,
    /// From the beginning again at the end of the source
    #[arg(long = "loop")]
    rewind: bool,
    /// As fast as it can instead of at the clip's rate
    #[arg(long)]
    fast: bool,
    /// Only warnings and errors
    #[arg(long)]
    quiet: bool,
    /// Log every frame
    #[arg(long)]
    log_frames: bool,
}

#[derive(Debug, Args)]
struct DoctorArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Write what was found, and what else is said here, to the configuration file
    #[arg(long)]
    write: bool,
    /// With --write: overwrite the file; without, the new one is laid beside it as FILE.new
    #[arg(long, requires = "write")]
    force: bool,
}

#[derive(Debug, Args)]
struct ClusterArgs {
    /// Files, FIFOs or - (standard input): png, jpeg, gif, bmp, webp, tiff, y4m, or any video that ffmpeg can read
    ///
    /// The first bytes of an input decide its format. Transparent pixels are composed on white. Exif orientation is applied to
    /// stills; colour profiles are not. Every picture of an animation (gif, webp, apng) and of an .mjpeg is a frame; of other
    /// files with several pictures (tiff, mpo) the first counts. JPEGs laid end to end in a pipe are a clip if a rate is
    /// given: file:-?fps=30. A picture may have 8,192 pixels in a row and 16,777,216 in all. An input that cannot be read is
    /// said and the others are clustered; the exit code is then that of the first one: 66 if it cannot be opened, 69 if
    /// ffmpeg is missing, 74 if it is damaged, too large or of a kind that is not read.
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<String>,
    #[command(flatten)]
    clustering: Clustering,
    /// Cluster each frame N times from cold after one warm-up; times are then medians
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    repeat: Option<u32>,
    /// Write the recoloured frames there, as 000000.png and so on
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the labels there, as 8-bit grey PNGs
    #[arg(long, value_name = "DIR")]
    labels: Option<PathBuf>,
    /// One JSON object a line and frame
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct SizeArgs {
    /// Points in the data
    #[arg(long, value_parser = clap::value_parser!(u64).range(2..))]
    points: u64,
    /// Clusters
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    clusters: u64,
    /// Dimensions
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    dims: u32,
    /// Relative error
    #[arg(long, value_parser = positive, allow_negative_numbers = true)]
    epsilon: f64,
    /// Probability of a larger error
    #[arg(long, value_parser = positive, allow_negative_numbers = true)]
    delta: f64,
}

fn positive(text: &str) -> Result<f64, String> {
    let x: f64 = text.parse().map_err(|_| "not a number")?;
    if x > 0.0 && x <= 1.0 { Ok(x) } else { Err("must be above 0 and at most 1".into()) }
}

impl Clustering {
    fn put(&self, raw: &mut Raw) -> Result<(), Failure> {
        let words = [
            ("clustering.lambda", "--lambda", &self.lambda),
            ("clustering.coreset_size", "--coreset-size", &self.coreset_size),
            ("clustering.method", "--method", &self.method),
            ("clustering.w_open", "--w-open", &self.w_open),
            ("clustering.refine", "--refine", &self.refine),
            ("clustering.seed", "--seed", &self.seed),
            ("clustering.preset", "--preset", &self.preset),
        ];
        put_words(raw, &words)?;
        put_switch(raw, "clustering.cold", "--cold", self.cold)
    }
}

fn put_words(raw: &mut Raw, words: &[(&str, &str, &Option<String>)]) -> Result<(), Failure> {
    for (key, flag, word) in words {
        if let Some(word) = word {
            raw.put(key, Value::String(word.clone()), Origin::Flag((*flag).into()))?;
        }
    }
    Ok(())
}

fn put_switch(raw: &mut Raw, key: &str, flag: &str, on: bool) -> Result<(), Failure> {
    if on {
        raw.put(key, Value::Boolean(true), Origin::Flag(flag.into()))?;
    }
    Ok(())
}

impl RunArgs {
    fn config(&self) -> Result<Config, Failure> {
        let mut raw = Raw::gather(self.config.as_deref(), std::env::vars())?;
        self.clustering.put(&mut raw)?;
        let words = [
            ("camera.source", "--source", &self.source),
            ("display.view", "--view", &self.view),
            ("mqtt.url", "--mqtt", &self.mqtt),
            ("mqtt.site", "--site", &self.site),
            ("mqtt.device", "--device", &self.device),
            ("spool.dir", "--spool", &self.spool),
            ("send.video", "--video", &self.video),
            ("send.census_every", "--census-every", &self.census_every),
        ];
        put_words(&mut raw, &words)?;
        put_switch(&mut raw, "send.original", "--original", self.original)?;
        put_switch(&mut raw, "camera.loop", "--loop", self.rewind)?;
        put_switch(&mut raw, "camera.fast", "--fast", self.fast)?;
        if !self.display.is_empty() {
            let panels = self.display.iter().cloned().map(Value::String).collect();
            raw.put("display.panels", Value::Array(panels), Origin::Flag("--display".into()))?;
        }
        Ok(Config::check(raw)?)
    }
}

impl ClusterArgs {
    fn job(self) -> Result<cluster::Job, Failure> {
        // Files are clustered as the command line says, whatever this machine's camera is set to.
        let mut raw = Raw::default();
        self.clustering.put(&mut raw)?;
        let settings = Config::check(raw)?.settings;
        let ClusterArgs { inputs, repeat, out, labels, json, .. } = self;
        Ok(cluster::Job { inputs, settings, repeat, out, labels, json })
    }
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
            let limits = live::Limits {
                frames: args.frames,
                drain: !args.no_drain,
                quiet: args.quiet,
                log_frames: args.log_frames,
            };
            if args.quiet {
                log::set_max_level(log::LevelFilter::Warn);
            }
            live::run(config, limits)
        }
        Command::Cluster(args) => cluster::run(&args.job()?),
        Command::CoresetSize(a) => {
            let SizeArgs { points, clusters, dims, epsilon, delta } = a;
            data(&coreset_size::Question { points, clusters, dims, epsilon, delta }.answer())
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
            data(&format!("the configuration is sound; memory: {}\n", Budget::asked(&config)))
        }
        Command::PrintConfig(args) => data(&args.config()?.print()),
    }
}

/// Prints the cameras; without any, says so.
#[cfg(feature = "camera")]
fn list_cameras(json: bool) -> Result<(), Failure> {
    use crate::camera::{nodes, v4l};
    let (nodes, silent) = v4l::list();
    for (path, why) in &silent {
        log::warn!("{}: {why}", path.display());
    }
    if nodes.is_empty() {
        log::warn!(
            "there is no video node that can be asked; is a camera plugged in? CSI cameras: use the source rpicam:"
        );
    }
    data(&if json { nodes::json(&nodes) } else { nodes::table(&nodes) })
}

#[cfg(not(feature = "camera"))]
fn list_cameras(_: bool) -> Result<(), Failure> {
    Err(Failure::new(Reason::Unavailable, anyhow::anyhow!("{}", crate::camera::NO_CAMERA)))
}

/// Writes to standard output; a reader that has gone away is no failure.
pub fn data(text: &str) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::io("writing to standard output", e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(config.panels, ["none", "png:/tmp/x"]);
        assert_eq!(config.mqtt.unwrap().user.as_deref(), Some("u"));
    }
}
