//! `hueflow-metrics compare`: one picture, clustered with several lambdas side by side.
//!
//! The engine clusters the picture from cold with the default settings and each lambda. The result is a line a lambda, and a PNG
//! with a column a lambda: K, RMS and silhouette, the clustered picture, and the knives. Pixels beyond a million are thinned,
//! and the silhouette of a picture with many colours is estimated, as on the page; a line below it states that.

use crate::cli::CompareFlags;
use crate::config::MetricsConfig;
use crate::failure::Failure;
use crate::metrics::silhouette::census::{Colours, from_picture};
use crate::metrics::silhouette::picture::read_png;
use crate::metrics::silhouette::plot::{self, Diagram, Theme};
use crate::metrics::silhouette::sheet::Sheet;
use crate::metrics::silhouette::{self, Sample, Silhouette, SilhouetteError, sampled};
use crate::metrics::store::reader::FrameSettings;
use crate::metrics::what_if::Scene;
use embedded_graphics::mono_font::ascii::{FONT_6X13, FONT_10X20};
use embedded_graphics::text::Alignment;
use firmware::color::Space;
use firmware::node::Settings;
use std::io::Write;
use std::sync::atomic::AtomicBool;

/// Pixels that an estimated silhouette draws: a tenth of a second, and a bound of about 0.02.
const DRAWN: usize = 20_000;
/// Lambdas in one picture: a sheet of 12 columns is 9,500 pixels wide.
const LAMBDAS_MAX: usize = 12;
/// Space between columns, and around them.
const GAP: usize = 24;
/// Height of the lines above a column's picture.
const HEAD: usize = 64;
/// Units of a lambda: 1/64 of an 8-bit level or of a Delta E.
const Q6: f64 = 64.0;
/// Units of a squared distance: 1/4096.
const Q12: f64 = 4096.0;

/// What one lambda gives.
struct Column {
    lambda: f64,
    space: Space,
    clusters: usize,
    rms: f64,
    missed: u32,
    scored: Result<Scored, SilhouetteError>,
    palette: Vec<[u8; 3]>,
    /// The picture's colours with their labels, in the order of the colours.
    labelled: Vec<Sample>,
}

struct Scored {
    samples: Vec<Sample>,
    silhouette: Silhouette,
    error_bound: Option<f64>,
}

/// Compares lambdas on a picture.
///
/// # Errors
/// [`Failure::Usage`] for a lambda out of range, [`Failure::NoInput`] for a picture that cannot be read.
pub fn run(config: &MetricsConfig, flags: &CompareFlags) -> Result<(), Failure> {
    if flags.lambdas().len() > LAMBDAS_MAX {
        return Err(Failure::Usage(format!("--lambda: at most {LAMBDAS_MAX} values fit into one picture")));
    }
    let (width, _, rgb) = read_png(&flags.picture, false).map_err(Failure::NoInput)?;
    let pixels = rgb.len() / 3;
    let colours = from_picture(&rgb, &vec![0; pixels], flags.space);
    let defaults = Settings::default();
    let settings = FrameSettings {
        lambda: f64::from(flags.space.default_lambda_q6()) / Q6,
        coreset_size: defaults.coreset_size,
        method: defaults.method.word().to_owned(),
        refine: defaults.refine.word().to_owned(),
        w_open: defaults.w_open_px(pixels as u32),
    };
    let scene = Scene::new(&colours, settings);
    let columns: Vec<Column> =
        flags.lambdas().iter().map(|&lambda| column(&scene, lambda, config.colours_max)).collect::<Result<_, _>>()?;
    if let Some(out) = &flags.out {
        let name = out.display().to_string();
        let title = flags.picture.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let sheet = draw(&title, &columns, &rgb, width as usize);
        let bytes = sheet.png().map_err(|e| Failure::io(&name, e))?;
        std::fs::write(out, bytes).map_err(|e| Failure::io(&name, e))?;
    }
    let mut out = std::io::stdout();
    for column in &columns {
        let line = if flags.json { column.json().to_string() } else { column.line() };
        if writeln!(out, "{line}").is_err() {
            break; // The reader has closed its end.
        }
    }
    Ok(())
}

fn column(scene: &Scene, lambda: f64, colours_max: usize) -> Result<Column, Failure> {
    let clustered = scene.cluster((lambda * Q6).round() as u32).map_err(Failure::Usage)?;
    let report = &clustered.report;
    let pixels: u64 = report.palette.iter().map(|s| u64::from(s.pixels)).sum();
    let Colours { samples, palette, space, .. } = clustered.colours;
    Ok(Column {
        lambda,
        space,
        clusters: report.palette.len(),
        rms: (report.sse_q12 as f64 / Q12 / pixels.max(1) as f64).sqrt(),
        missed: report.missed.unwrap_or(0),
        scored: score(&samples, space, colours_max),
        palette,
        labelled: samples,
    })
}

fn score(samples: &[Sample], space: Space, colours_max: usize) -> Result<Scored, SilhouetteError> {
    if samples.len() > colours_max {
        let e = sampled::estimate(samples, space, DRAWN, &AtomicBool::new(false))?;
        return Ok(Scored { samples: e.samples, silhouette: e.silhouette, error_bound: Some(e.error_bound) });
    }
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let silhouette = silhouette::exact(samples, space, threads)?;
    Ok(Scored { samples: samples.to_vec(), silhouette, error_bound: None })
}

impl Column {
    /// The score in words.
    fn score(&self) -> String {
        match &self.scored {
            Ok(Scored { silhouette, error_bound: None, .. }) => format!("silhouette {:.4}", silhouette.score),
            Ok(Scored { silhouette, error_bound: Some(bound), .. }) => {
                format!("silhouette {:.3} +- {bound:.3}", silhouette.score)
            }
            Err(_) => "silhouette undefined".to_owned(),
        }
    }

    fn line(&self) -> String {
        let missed = if self.missed > 0 { format!(", {} missed", self.missed) } else { String::new() };
        format!("lambda {}: K = {}{missed}, RMS {:.2}, {}", self.lambda, self.clusters, self.rms, self.score())
    }

    fn json(&self) -> serde_json::Value {
        let scored = self.scored.as_ref().ok();
        serde_json::json!({
            "space": self.space.word(),
            "lambda": self.lambda,
            "clusters": self.clusters,
            "missed": self.missed,
            "rms": self.rms,
            "silhouette": scored.map(|s| s.silhouette.score),
            "error_bound": scored.and_then(|s| s.error_bound),
        })
    }

    /// The picture in the colours of its clusters.
    fn picture(&self, rgb: &[u8]) -> Vec<u8> {
        let colour = |px: &[u8; 3]| {
            let found = self.labelled.binary_search_by_key(px, |s| s.rgb).ok().and_then(|i| self.labelled.get(i));
            found.and_then(|s| self.palette.get(usize::from(s.label))).copied().unwrap_or(*px)
        };
        rgb.as_chunks::<3>().0.iter().flat_map(colour).collect()
    }

    fn knives(&self, theme: Theme) -> Result<Sheet, String> {
        let s = self.scored.as_ref().map_err(ToString::to_string)?;
        let about = format!("lambda {}, {}", self.lambda, if s.error_bound.is_none() { "exact" } else { "estimated" });
        Ok(plot::knife_sheet(&Diagram {
            samples: &s.samples,
            silhouette: &s.silhouette,
            colours: &self.palette,
            title: &format!("lambda {}", self.lambda),
            about: &about,
            theme,
        }))
    }
}

/// A column for the original, and one for each lambda.
fn draw(title: &str, columns: &[Column], rgb: &[u8], width: usize) -> Sheet {
    let theme = plot::LIGHT;
    let picture_rows = (rgb.len() / 3 / width.max(1) * plot::WIDTH).div_ceil(width.max(1));
    let knives: Vec<Result<Sheet, String>> = columns.iter().map(|c| c.knives(theme)).collect();
    let highest = knives.iter().flatten().map(Sheet::height).max().unwrap_or(0).max(GAP);
    let step = plot::WIDTH + GAP;
    let below = GAP + HEAD + picture_rows + GAP;
    let mut sheet = Sheet::new(GAP + step * (columns.len() + 1), below + highest + GAP, theme.paper);
    sheet.text(title, GAP, GAP, Alignment::Left, &FONT_10X20, theme.ink);
    sheet.text("the picture as it is", GAP, GAP + 28, Alignment::Left, &FONT_10X20, theme.ink);
    sheet.picture(rgb, width, GAP, GAP + HEAD, plot::WIDTH);
    for (n, (column, knives)) in (1..).zip(columns.iter().zip(&knives)) {
        let x = GAP + step * n;
        sheet.text(&format!("lambda {}", column.lambda), x, GAP, Alignment::Left, &FONT_10X20, theme.ink);
        let missed = if column.missed > 0 { format!("   {} missed", column.missed) } else { String::new() };
        let numbers = format!("K = {}   RMS {:.2}   {}{missed}", column.clusters, column.rms, column.score());
        sheet.text(&numbers, x, GAP + 28, Alignment::Left, &FONT_10X20, theme.ink);
        sheet.picture(&column.picture(rgb), width, x, GAP + HEAD, plot::WIDTH);
        match knives {
            Ok(knives) => sheet.place(knives, x, below),
            Err(why) => sheet.text(why, x, below, Alignment::Left, &FONT_6X13, theme.ink),
        }
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn columns(lambdas: &[f64], space: Space, colours_max: usize) -> (Vec<u8>, usize, Vec<Column>) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/china.png");
        let (width, _, rgb) = read_png(&file, false).unwrap();
        let colours = from_picture(&rgb, &vec![0; rgb.len() / 3], space);
        let w_open = Settings::default().w_open_px(rgb.len() as u32 / 3);
        let (method, refine) = ("octree".to_owned(), "cover".to_owned());
        let settings = FrameSettings { lambda: 50.0, coreset_size: 1_000, method, refine, w_open };
        let scene = Scene::new(&colours, settings);
        let all = lambdas.iter().map(|&l| column(&scene, l, colours_max).unwrap()).collect();
        (rgb, width as usize, all)
    }

    #[test]
    fn a_larger_lambda_gives_fewer_clusters_and_a_larger_rms() {
        let (rgb, width, all) = columns(&[40.0, 90.0, 441.0], Space::Rgb, 1_000_000);
        assert!(all[0].clusters > all[1].clusters && all[0].rms < all[1].rms);
        assert!(all.iter().take(2).all(|c| c.scored.is_ok()));
        assert_eq!((all[2].clusters, all[2].score().as_str()), (1, "silhouette undefined"));
        assert_eq!(all[2].json()["silhouette"], serde_json::Value::Null);
        // Each pixel has a colour of the palette, and each colour its cluster's pixels.
        let drawn = all[1].picture(&rgb);
        for (label, colour) in all[1].palette.iter().enumerate() {
            let same: Vec<usize> = (0..all[1].palette.len()).filter(|&l| all[1].palette[l] == *colour).collect();
            let of = all[1].labelled.iter().filter(|s| same.contains(&usize::from(s.label)));
            let want: u32 = of.map(|s| s.count).sum();
            let got = drawn.as_chunks::<3>().0.iter().filter(|px| *px == colour).count();
            assert_eq!(got, want as usize, "label {label}");
        }
        let sheet = draw("china.png", &all, &rgb, width);
        assert!(sheet.height() > HEAD + 2 * GAP + 600);
    }

    #[test]
    fn in_cielab_pictures_are_clustered_and_scored_there() {
        let (_, _, all) = columns(&[18.0], Space::Cielab, 1_000_000);
        let (column, Ok(scored)) = (&all[0], &all[0].scored) else { panic!("no score") };
        let there = silhouette::exact(&column.labelled, Space::Cielab, 1).unwrap().score;
        let in_rgb = silhouette::exact(&column.labelled, Space::Rgb, 1).unwrap().score;
        assert!((scored.silhouette.score - there).abs() < 1e-9 && (there - in_rgb).abs() > 1e-3, "{there} {in_rgb}");
        assert_eq!(column.json()["space"], "cielab");
        assert!(column.rms < 18.0 && (8..30).contains(&column.clusters), "{} at {}", column.clusters, column.rms);
    }

    #[test]
    fn with_many_colours_the_score_is_an_estimate_with_its_bound() {
        let (_, _, all) = columns(&[50.0], Space::Rgb, 100);
        assert!(all[0].score().contains("+-"), "{}", all[0].score());
        assert!(all[0].json()["error_bound"].as_f64().unwrap() > 0.0);
    }
}
