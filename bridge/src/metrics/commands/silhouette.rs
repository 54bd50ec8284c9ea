//! `hueflow-metrics silhouette`: the exact silhouette of a frame, and its diagram.
//!
//! Reads a census of the store, or a picture and its labels. Prints the score and writes the diagram that was asked for.

use crate::cli::SilhouetteFlags;
use crate::config::MetricsConfig;
use crate::failure::Failure;
use crate::metrics::http::diagram;
use crate::metrics::silhouette::census::{self, Colours};
use crate::metrics::silhouette::picture::read_png;
use crate::metrics::silhouette::{self, plot};
use crate::metrics::store;
use crate::metrics::store::reader::{CensusKey, CensusMissing, Reader};
use firmware::color::Space;
use std::io::Write;
use std::path::Path;

/// The exact silhouette of a frame, and its diagram.
///
/// # Errors
/// [`Failure::NoInput`] if there is nothing to compute it from, or it is not defined.
pub fn run(config: &MetricsConfig, flags: &SilhouetteFlags) -> Result<(), Failure> {
    let (colours, title, about) = match (&flags.image, &flags.labels, &flags.device) {
        (Some(image), Some(labels), _) => {
            (from_files(image, labels, flags.space)?, image.display().to_string(), "exact".to_owned())
        }
        (_, _, Some(device)) => {
            let reader = store::open_existing(&config.store)?;
            let from = from_census(reader.as_ref(), device, flags.seq);
            let (key, colours) = from.map_err(|e| Failure::NoInput(e.to_string()))?;
            let lambda = reader.settings_of(&key).ok().flatten().map(|s| format!("lambda {}, ", s.lambda));
            let about = format!("{}exact", lambda.unwrap_or_default());
            let title = format!("{device}, frame {}", colours.frame);
            (colours, title, about)
        }
        _ => return Err(Failure::Usage("name --device, or --image and --labels".to_owned())),
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let s = silhouette::exact(&colours.samples, colours.space, threads)
        .map_err(|e| Failure::NoInput(format!("{title}: {e}")))?;
    if let Some(out) = &flags.out {
        let drawing = plot::Diagram {
            samples: &colours.samples,
            silhouette: &s,
            colours: &colours.palette,
            title: &title,
            about: &about,
            theme: plot::LIGHT,
        };
        let bytes = match out.extension().and_then(|e| e.to_str()) {
            Some("svg") => plot::knife_svg(&drawing).into_bytes(),
            Some("png") => plot::knife_png(&drawing).map_err(|e| Failure::io(&out.display().to_string(), e))?,
            _ => return Err(Failure::Usage(format!("--out: `{}` must end in .svg or .png", out.display()))),
        };
        std::fs::write(out, bytes).map_err(|e| Failure::io(&out.display().to_string(), e))?;
    }
    let text = if flags.json {
        serde_json::to_string(&diagram::SilhouetteJson::new(&colours, &s, None)).unwrap_or_default()
    } else {
        let clusters =
            s.clusters.iter().map(|c| format!("\n  cluster {:3}: {:8} pixels, mean {:+.6}", c.label, c.pixels, c.mean));
        format!("{title}: silhouette {:.6} over {} pixels{}", s.score, s.pixels, clusters.collect::<String>())
    };
    let _ = writeln!(std::io::stdout(), "{text}"); // The reader may have closed its end.
    Ok(())
}

fn from_files(image: &Path, labels: &Path, space: Space) -> Result<Colours, Failure> {
    let (w, h, rgb) = read_png(image, false).map_err(Failure::NoInput)?;
    let (lw, lh, grey) = read_png(labels, true).map_err(Failure::NoInput)?;
    if (w, h) != (lw, lh) {
        return Err(Failure::NoInput(format!(
            "the picture is {w}x{h}, its labels are {lw}x{lh}: they must be of one size"
        )));
    }
    Ok(census::from_picture(&rgb, &grey, space))
}

fn from_census(query: &dyn Reader, device: &str, seq: Option<u64>) -> Result<(CensusKey, Colours), CensusMissing> {
    let key = match seq {
        Some(seq) => query.census_of(device, seq)?,
        None => query.latest_census(device)?,
    };
    let colours = query.census(&key)?;
    Ok((key, colours))
}
