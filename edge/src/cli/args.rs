//! The arguments of each command, and the configuration or the job that they become.
//!
//! Help texts are the doc comments here. Numbers that are configuration keys stay text: the configuration checks them, and
//! its errors name the range.

use crate::config::{Config, FILE, Origin, Raw, WHOLE_PICTURE};
use crate::exit::{Failure, Reason};
use crate::learn::Lesson;
use crate::spec::{Region, SourceSpec};
use crate::{cluster, custody};
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;
use toml::Value;

/// How frames are clustered.
#[derive(Debug, Args, Default)]
pub(super) struct Clustering {
    /// Where distances are measured: rgb (8-bit levels) or cielab (Delta E, as people see them) [default: rgb]
    #[arg(long, value_name = "SPACE")]
    pub(super) space: Option<String>,
    /// Distance beyond which a colour is another colour, above 0 to 442 [default: 50, in cielab 18]
    #[arg(long, value_name = "L", allow_negative_numbers = true)]
    pub(super) lambda: Option<String>,
    /// Coreset points, 1 to 131072 [default: 1000]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(super) coreset_size: Option<String>,
    /// How the coreset is drawn: octree, uniform, sensitivity, streamkm or lightweight [default: octree]
    #[arg(long, value_name = "M")]
    pub(super) method: Option<String>,
    /// Start every frame from nothing instead of from the last frame's clusters
    #[arg(long)]
    pub(super) cold: bool,
    /// Pixels that a point must stand for to open a cluster, or auto (0.02 % of the frame)
    #[arg(long, value_name = "N")]
    pub(super) w_open: Option<String>,
    /// What to do for the centroids once lambda has decided how many: none, lloyd, cover or mse [default: cover]
    #[arg(long, value_name = "R")]
    pub(super) refine: Option<String>,
    /// Seed of the methods that draw [default: 1]
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<String>,
    /// tutorial: uniform, 1000 points, cold, w-open 1, as in the notebooks
    #[arg(long, value_name = "P")]
    pub(super) preset: Option<String>,
}

#[derive(Debug, Args, Default)]
pub(super) struct RunArgs {
    /// Configuration file [default: /etc/hueflow/edge.toml, if there is one]
    #[arg(long, value_name = "F")]
    pub(super) config: Option<PathBuf>,
    /// v4l2:CAMERA, rpicam:, file:PATH, file:-, y4m:PATH, y4m:- or synthetic:WIDTHxHEIGHT@FPS
    #[arg(long, value_name = "S")]
    pub(super) source: Option<String>,
    #[command(flatten)]
    pub(super) clustering: Clustering,
    /// none, auto, window, terminal, spi, kms, fb:/dev/fb0, preview[:ADDRESS] or png:DIR; may be given several times
    #[arg(long, value_name = "D")]
    pub(super) display: Vec<String>,
    /// clustered or side-by-side
    #[arg(long, value_name = "V")]
    pub(super) view: Option<String>,
    /// mqtt://[USER@]HOST[:PORT], mqtts:// for TLS; with none the edge works alone, and keeps records only with --spool
    #[arg(long, value_name = "URL")]
    pub(super) mqtt: Option<String>,
    /// The site's name in topics
    #[arg(long, value_name = "S")]
    pub(super) site: Option<String>,
    /// This device's name in topics [default: the host's name]
    #[arg(long, value_name = "ID")]
    pub(super) device: Option<String>,
    /// Directory of the spool; with neither this nor --mqtt no records are kept
    #[arg(long, value_name = "DIR")]
    pub(super) spool: Option<String>,
    /// off, latest:FPS or all [default: latest:5]
    #[arg(long, value_name = "V")]
    pub(super) video: Option<String>,
    /// Send the original too, as a small JPEG
    #[arg(long)]
    pub(super) original: bool,
    /// Seconds between two censuses; 0: only on request and at the end [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub(super) census_every: Option<String>,
    /// End after so many frames, when the journal has them all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) frames: Option<u64>,
    /// End at once and leave what the journal does not have in the spool
    #[arg(long)]
    pub(super) no_drain: bool,
    /// Open neither source nor display: send what the spool holds, end when the journal has it
    #[arg(long, conflicts_with_all = ["no_drain", "frames"])]
    pub(super) drain_only: bool,
    /// From the beginning again at the end of the source
    #[arg(long = "loop")]
    pub(super) rewind: bool,
    /// As fast as it can instead of at the clip's rate
    #[arg(long)]
    pub(super) fast: bool,
    /// Only warnings and errors
    #[arg(long)]
    pub(super) quiet: bool,
    /// Log every frame
    #[arg(long)]
    pub(super) log_frames: bool,
    /// How long to wait for a display that wants every frame, for tests of displays that hang
    #[arg(long, value_name = "MS", hide = true)]
    pub(super) picture_wait_ms: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct PrintArgs {
    #[command(flatten)]
    pub(super) run: RunArgs,
    /// Every key
    #[arg(long)]
    pub(super) all: bool,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    pub(super) run: RunArgs,
    /// Write what was found, and what else is set here, to the configuration file
    #[arg(long)]
    pub(super) write: bool,
    /// With --write: overwrite the file; without, the new one is written beside it as FILE.new
    #[arg(long, requires = "write")]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct LearnArgs {
    /// Configuration file [default: /etc/hueflow/edge.toml, if there is one]
    #[arg(long, value_name = "F")]
    pub(super) config: Option<PathBuf>,
    /// The source, in place of the configured one
    #[arg(long, value_name = "S")]
    pub(super) source: Option<String>,
    /// The configured region that shows the colour; picture: all of it, where no region is configured
    #[arg(long, value_name = "R")]
    pub(super) region: String,
    /// The colour's name: 1 to 24 of a-z 0-9 -
    #[arg(long, value_name = "N")]
    pub(super) name: String,
    /// How long to look, above 0 to 3600
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(super) seconds: f64,
    /// Write the colour to the configuration file, where one of the same name is replaced
    #[arg(long)]
    pub(super) save: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number")?;
    if seconds > 0.0 && seconds <= 3_600.0 { Ok(seconds) } else { Err("must be above 0 and at most 3600".into()) }
}

impl LearnArgs {
    pub(super) fn lesson(self) -> Result<(Config, Lesson), Failure> {
        let mut raw = Raw::gather(self.config.as_deref(), std::env::vars_os())?;
        put_words(&mut raw, &[("camera.source", "--source", &self.source)])?;
        let mut config = Config::check(raw)?;
        // A first colour is learned before there is any, and then the whole picture may be meant.
        if config.regions.is_empty() && self.region == WHOLE_PICTURE {
            config.regions = Region::whole_picture(WHOLE_PICTURE).into_iter().collect();
        }
        let save = self.save.then(|| self.config.unwrap_or_else(|| FILE.into()));
        Ok((config, Lesson { region: self.region, name: self.name, seconds: self.seconds, save }))
    }
}

#[derive(Debug, Args)]
pub(super) struct ClusterArgs {
    /// Files, FIFOs or - (standard input): png, jpeg, gif, bmp, webp, tiff, y4m, or any video that ffmpeg can read
    ///
    /// The first bytes of an input decide its format. Transparent pixels are composed on white. Exif orientation is applied to
    /// stills; colour profiles are not. Every picture of an animation (gif, webp, apng) and of an .mjpeg is a frame; of other
    /// files with several pictures (tiff, mpo) the first counts. JPEGs one after the other in a pipe are a clip if a rate is
    /// given: file:-?fps=30. A picture may have 8,192 pixels in a row and 16,777,216 in all. An input that cannot be read is
    /// reported and the others are clustered; the exit code is then that of the first one: 66 if it cannot be opened, 69 if
    /// ffmpeg is missing, 74 if it is damaged, too large or of a kind that is not read.
    #[arg(required = true, value_name = "INPUT")]
    pub(super) inputs: Vec<OsString>,
    /// Take clustering, masks, regions, named colours and the reference from this configuration file; without, no file is read
    #[arg(long, value_name = "F")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) clustering: Clustering,
    /// Cluster each frame N times from cold after one warm-up; times are then medians
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) repeat: Option<u32>,
    /// Write the recoloured frames there, as 000000.png and so on
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Write the labels there, as 8-bit grey PNGs
    #[arg(long, value_name = "DIR")]
    pub(super) labels: Option<PathBuf>,
    /// One JSON object a line and frame
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct SizeArgs {
    /// Points in the data
    #[arg(long, value_parser = clap::value_parser!(u64).range(2..))]
    pub(super) points: u64,
    /// Clusters
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) clusters: u64,
    /// Dimensions
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) dims: u32,
    /// Relative error
    #[arg(long, value_parser = positive, allow_negative_numbers = true)]
    pub(super) epsilon: f64,
    /// Probability of a larger error
    #[arg(long, value_parser = positive, allow_negative_numbers = true)]
    pub(super) delta: f64,
}

fn positive(text: &str) -> Result<f64, String> {
    let x: f64 = text.parse().map_err(|_| "not a number")?;
    if x > 0.0 && x <= 1.0 { Ok(x) } else { Err("must be above 0 and at most 1".into()) }
}

impl Clustering {
    fn put(&self, raw: &mut Raw) -> Result<(), Failure> {
        let words = [
            ("clustering.space", "--space", &self.space),
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
    pub(super) fn config(&self) -> Result<Config, Failure> {
        let mut raw = Raw::gather(self.config.as_deref(), std::env::vars_os())?;
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
        let config = Config::check(raw.clone())?;
        if !config.keeps_records() {
            return Ok(config);
        }
        raw.add_saved(&custody::spool_dir(&config));
        Ok(Config::check(raw)?)
    }
}

impl ClusterArgs {
    pub(super) fn job(self) -> Result<cluster::Job, Failure> {
        // Files are clustered by the command line's settings, whatever this machine's camera is set to.
        let mut raw = match &self.config {
            Some(file) => Raw::gather(Some(file), [])?,
            None => Raw::default(),
        };
        self.clustering.put(&mut raw)?;
        let Config { settings, masks, regions, colours, reference, .. } = Config::check(raw)?;
        let ClusterArgs { inputs, repeat, out, labels, json, .. } = self;
        let inputs: Result<_, _> = inputs.iter().map(|input| SourceSpec::of_input(input)).collect();
        let inputs = inputs.map_err(|e| Failure::new(Reason::Usage, e))?;
        Ok(cluster::Job { inputs, settings, repeat, out, labels, json, masks, regions, colours, reference })
    }
}
