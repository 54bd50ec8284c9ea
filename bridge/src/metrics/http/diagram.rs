//! Diagrams: the silhouette of a device's last census, as a diagram and as JSON.
//!
//! The last few results are kept, and what is kept is found without waiting. One is computed at a time. Requests for the same
//! census share one computation, which is cancelled when the last of them is gone. Beyond `silhouette.colours_max` colours the
//! score is estimated from drawn pixels, and the answer has its error bound.

use super::api::{Refusal, query_store};
use super::{App, blocking};
use crate::metrics::silhouette::census::Colours;
use crate::metrics::silhouette::{self, Sample, Silhouette, SilhouetteError, plot, sampled};
use crate::metrics::store::reader::CensusKey;
use axum::Json;
use axum::extract::{Path, Query as Params, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::watch;

/// Results that are kept: about 2 MiB each at 100,000 colours.
const KNIVES_MAX: usize = 16;
/// Pixels that an estimate draws: with a million colours it takes two seconds, with a bound of about 0.01.
const DRAWN_PIXELS: usize = 4_000;
/// Pixels of an estimate at once: 60 ms with 96,000 colours.
const QUICK_PIXELS: usize = 1_000;

/// A silhouette, exact or estimated, with what its diagram needs.
#[derive(Debug)]
pub struct Scored {
    samples: Vec<Sample>,
    silhouette: Silhouette,
    palette: Vec<[u8; 3]>,
    ids: Vec<u32>,
    /// Unique colours of the frame.
    colours: usize,
    /// The bound and the number of drawn pixels, if it is an estimate.
    estimated: Option<(f64, u64)>,
    lambda: Option<f64>,
}

impl Scored {
    /// The silhouette of `colours`: exact up to `colours_max` colours, else from `drawn` pixels.
    ///
    /// # Errors
    /// [`SilhouetteError`].
    pub fn new(
        colours: Colours,
        colours_max: usize,
        drawn: usize,
        lambda: Option<f64>,
        cancel: &AtomicBool,
    ) -> Result<Scored, SilhouetteError> {
        let count = colours.samples.len();
        let Colours { samples, ids, palette, space, .. } = colours;
        let (samples, silhouette, estimated) = if count <= colours_max {
            let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            let silhouette = silhouette::exact_until(&samples, space, threads, cancel)?;
            (samples, silhouette, None)
        } else {
            let e = sampled::estimate(&samples, space, drawn, cancel)?;
            (e.samples, e.silhouette, Some((e.error_bound, e.drawn)))
        };
        Ok(Scored { samples, silhouette, palette, ids, colours: count, estimated, lambda })
    }

    /// The score, the means of the clusters, and how exact they are.
    pub fn json(&self, frame: u64) -> Value {
        let s = &self.silhouette;
        let hex = |label: u8| self.palette.get(usize::from(label)).map(|[r, g, b]| format!("#{r:02x}{g:02x}{b:02x}"));
        let id = |label: u8| self.ids.get(usize::from(label)).copied().unwrap_or_else(|| u32::from(label));
        let cluster = |c: &silhouette::ClusterScore| json!({ "label": c.label, "id": id(c.label), "hex": hex(c.label), "pixels": c.pixels, "mean": c.mean });
        json!({
            "frame": frame,
            "score": s.score,
            "pixels": s.pixels,
            "colours": self.colours,
            "lambda": self.lambda,
            "is_exact": self.estimated.is_none(),
            "error_bound": self.estimated.map(|(bound, _)| bound),
            "sampled_pixels": self.estimated.map(|(_, drawn)| drawn),
            "clusters": s.clusters.iter().map(cluster).collect::<Vec<_>>(),
        })
    }

    /// The diagram, as SVG.
    pub fn svg(&self, title: &str, is_dark: bool) -> String {
        let exactness = match self.estimated {
            None => "exact".to_owned(),
            Some((bound, drawn)) => format!("estimated from {drawn} pixels, \u{b1} {bound:.3} (95 %)"),
        };
        let about = self.lambda.map_or(exactness.clone(), |l| format!("lambda {l}, {exactness}"));
        plot::knife_svg(&plot::Diagram {
            samples: &self.samples,
            silhouette: &self.silhouette,
            colours: &self.palette,
            title,
            about: &about,
            theme: if is_dark { plot::DARK } else { plot::LIGHT },
        })
    }
}

/// Sets its flag when it is dropped, which is when the request that waited has ended.
#[derive(Debug, Default)]
pub struct CancelOnDrop(Arc<AtomicBool>);

impl CancelOnDrop {
    /// The flag.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Outcome = Result<Arc<Scored>, String>;

/// A computation that somebody waits for.
struct Job {
    outcome: watch::Receiver<Option<Outcome>>,
    _cancel: CancelOnDrop,
}

/// The results that are kept, and the computations under way.
pub struct Diagrams {
    kept: Mutex<Vec<(CensusKey, Arc<Scored>)>>,
    jobs: Mutex<Vec<(CensusKey, Weak<Job>)>>,
    /// Colours up to which a silhouette is exact.
    pub colours_max: usize,
    turn: tokio::sync::Mutex<()>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Diagrams {
    /// With `silhouette.colours_max`.
    pub fn new(colours_max: usize) -> Diagrams {
        Diagrams { kept: Mutex::default(), jobs: Mutex::default(), colours_max, turn: tokio::sync::Mutex::default() }
    }

    fn find(&self, key: &CensusKey) -> Option<Arc<Scored>> {
        lock(&self.kept).iter().find(|k| k.0 == *key).map(|k| k.1.clone())
    }

    fn keep(&self, key: &CensusKey, scored: &Arc<Scored>) {
        let mut kept = lock(&self.kept);
        kept.retain(|k| k.0.device != key.device);
        if kept.len() >= KNIVES_MAX {
            kept.remove(0);
        }
        kept.push((key.clone(), scored.clone()));
    }
}

/// Joins the computation of a census, or starts it.
fn job(app: &App, key: &CensusKey) -> Arc<Job> {
    let mut jobs = lock(&app.diagrams.jobs);
    jobs.retain(|j| j.1.strong_count() > 0);
    if let Some(job) = jobs.iter().find(|j| j.0 == *key).and_then(|j| j.1.upgrade()) {
        return job;
    }
    let (cancel, (done, outcome)) = (CancelOnDrop::default(), watch::channel(None));
    let (flag, app, of) = (cancel.flag(), app.clone(), key.clone());
    tokio::spawn(async move {
        let _turn = app.diagrams.turn.lock().await;
        if !flag.load(Ordering::Relaxed) {
            let found = score(&app, of, flag).await.map(Arc::new);
            let _ = done.send(Some(found)); // The request may have ended.
        }
    });
    let job = Arc::new(Job { outcome, _cancel: cancel });
    jobs.push((key.clone(), Arc::downgrade(&job)));
    job
}

async fn score(app: &App, key: CensusKey, cancel: Arc<AtomicBool>) -> Result<Scored, String> {
    let (of, colours_max) = (key.clone(), app.diagrams.colours_max);
    let read = query_store(app, move |q| Ok((q.census(&of)?, q.settings_of(&of)?))).await;
    let (colours, settings) = read.map_err(|e| e.to_string())?;
    let lambda = settings.map(|s| s.lambda);
    let scored = blocking(move || Scored::new(colours, colours_max, DRAWN_PIXELS, lambda, &cancel)).await;
    scored.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}

async fn compute(app: &App, device: &str) -> Result<(CensusKey, Arc<Scored>), Refusal> {
    let device = device.to_owned();
    let key = query_store(app, move |q| q.latest_census(&device)).await?;
    if let Some(scored) = app.diagrams.find(&key) {
        return Ok((key, scored));
    }
    let job = job(app, &key);
    let mut outcome = job.outcome.clone();
    let found = outcome.wait_for(Option::is_some).await.map(|o| o.clone());
    let scored = match found {
        Ok(Some(found)) => found.map_err(Refusal::Missing)?,
        _ => return Err(Refusal::Broken(SilhouetteError::Cancelled.to_string())),
    };
    app.diagrams.keep(&key, &scored);
    Ok((key, scored))
}

/// How a silhouette is wanted.
#[derive(serde::Deserialize)]
pub struct Look {
    /// 1 for a diagram on a dark page.
    dark: Option<u8>,
    /// 1 for an estimate at once, unless the exact one is there.
    quick: Option<u8>,
    /// 1 for the diagram in the JSON, too.
    knife: Option<u8>,
}

impl Look {
    fn title(key: &CensusKey) -> String {
        format!("{}, frame {}", key.device, key.frame)
    }
}

/// An estimate of the last census, or what is kept of it.
async fn estimate(app: &App, device: &str) -> Result<(CensusKey, Arc<Scored>), Refusal> {
    let device = device.to_owned();
    let key = query_store(app, move |q| q.latest_census(&device)).await?;
    if let Some(scored) = app.diagrams.find(&key) {
        return Ok((key, scored));
    }
    let (guard, of) = (CancelOnDrop::default(), key.clone());
    let cancel = guard.flag();
    let (colours, settings) = query_store(app, move |q| Ok((q.census(&of)?, q.settings_of(&of)?))).await?;
    let lambda = settings.map(|s| s.lambda);
    let scored = blocking(move || Scored::new(colours, 0, QUICK_PIXELS, lambda, &cancel)).await?;
    drop(guard);
    Ok((key, Arc::new(scored.map_err(|e| Refusal::Missing(e.to_string()))?)))
}

/// `knife.svg`.
///
/// # Errors
/// [`Refusal`] if there is no census, or it has no silhouette.
pub async fn knife(
    State(app): State<App>,
    Path(device): Path<String>,
    Params(look): Params<Look>,
) -> Result<Response, Refusal> {
    let (key, scored) = compute(&app, &device).await?;
    let svg = scored.svg(&Look::title(&key), look.dark == Some(1));
    let headers = [(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, svg).into_response())
}

/// `silhouette`.
///
/// # Errors
/// As [`knife`].
pub async fn silhouette(
    State(app): State<App>,
    Path(device): Path<String>,
    Params(look): Params<Look>,
) -> Result<Response, Refusal> {
    let (key, scored) =
        if look.quick == Some(1) { estimate(&app, &device).await? } else { compute(&app, &device).await? };
    let mut answer = scored.json(key.frame);
    if look.knife == Some(1) {
        answer["knife"] = json!(scored.svg(&Look::title(&key), look.dark == Some(1)));
    }
    Ok(Json(answer).into_response())
}

/// A silhouette as JSON.
#[derive(Debug, Clone, Serialize)]
pub struct SilhouetteJson {
    /// The space of its distances.
    pub space: &'static str,
    /// The mean over all pixels.
    pub score: f64,
    /// Pixels in all.
    pub pixels: u64,
    /// The clusters, by label.
    pub clusters: Vec<ClusterJson>,
    /// The frame, where it is one of a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<u64>,
}

/// One cluster of it.
#[derive(Debug, Clone, Serialize)]
pub struct ClusterJson {
    /// Its label in the frame.
    pub label: u8,
    /// Its identity over frames.
    pub id: u32,
    /// Its pixels.
    pub pixels: u64,
    /// Their mean silhouette.
    pub mean: f64,
}

impl SilhouetteJson {
    /// The silhouette of `colours`.
    pub fn new(colours: &Colours, s: &Silhouette, frame: Option<u64>) -> SilhouetteJson {
        let clusters = s.clusters.iter().map(|c| ClusterJson {
            label: c.label,
            id: colours.ids.get(usize::from(c.label)).copied().unwrap_or_else(|| u32::from(c.label)),
            pixels: c.pixels,
            mean: c.mean,
        });
        let space = colours.space.word();
        SilhouetteJson { space, score: s.score, pixels: s.pixels, clusters: clusters.collect(), frame }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_budget_it_is_an_estimate_and_says_so() {
        let colour =
            |i: u32| Sample { rgb: [(i % 250) as u8, (i / 250) as u8, 0], label: (i % 250 > 120).into(), count: 3 };
        let colours = || Colours {
            frame: 1,
            samples: (0..5_000).map(colour).collect(),
            ids: vec![7, 9],
            palette: vec![[1, 2, 3], [200, 0, 0]],
            space: Default::default(),
        };
        let scored =
            |colours_max| Scored::new(colours(), colours_max, 500, Some(50.0), &AtomicBool::new(false)).unwrap();
        let (exact, estimate) = (scored(5_000).json(1), scored(4_999).json(1));
        assert_eq!((exact["is_exact"].as_bool(), estimate["is_exact"].as_bool()), (Some(true), Some(false)));
        let (score, bound) = (exact["score"].as_f64().unwrap(), estimate["error_bound"].as_f64().unwrap());
        assert!(
            bound > 0.0 && (estimate["score"].as_f64().unwrap() - score).abs() <= 2.0 * bound,
            "{score} {estimate}"
        );
        assert!(
            scored(4_999).svg("t", true).contains("estimated from") && scored(5_000).svg("t", false).contains("exact")
        );
        assert_eq!(exact["clusters"][1]["hex"], "#c80000");
        let flag = CancelOnDrop::default().flag();
        let cancelled = Scored::new(colours(), 5_000, 500, None, &flag).unwrap_err();
        assert_eq!(cancelled, SilhouetteError::Cancelled, "the guard is gone");
    }
}
