//! Diagrams: the silhouette of a device's last census, as a diagram and as JSON.
//!
//! The last few are kept. One is computed at a time; what is kept is found without waiting for it.

use super::api::{Refusal, query_store};
use super::{App, blocking};
use crate::metrics::silhouette::census::Colours;
use crate::metrics::silhouette::{self, Silhouette, plot};
use crate::metrics::store::query::CensusKey;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};

/// Diagrams that are kept.
const KNIVES_MAX: usize = 16;

/// What a diagram shows.
struct Knife {
    key: CensusKey,
    svg: String,
    json: SilhouetteJson,
}

/// The diagrams that are kept.
#[derive(Default)]
pub struct Diagrams {
    kept: Mutex<Vec<Arc<Knife>>>,
    turn: tokio::sync::Mutex<()>,
}

impl Diagrams {
    fn find(&self, key: &CensusKey) -> Option<Arc<Knife>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|k| k.key == *key).cloned()
    }

    fn keep(&self, knife: Arc<Knife>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|k| k.key.device != knife.key.device);
        if kept.len() >= KNIVES_MAX {
            kept.remove(0);
        }
        kept.push(knife);
    }
}

/// `knife.svg`.
///
/// # Errors
/// [`Refusal`] if there is no census, or it has no silhouette.
pub async fn knife(State(app): State<App>, Path(device): Path<String>) -> Result<Response, Refusal> {
    let knife = compute(&app, device).await?;
    let headers = [(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, knife.svg.clone()).into_response())
}

/// `silhouette`.
///
/// # Errors
/// As [`knife`].
pub async fn silhouette(State(app): State<App>, Path(device): Path<String>) -> Result<Response, Refusal> {
    Ok(Json(compute(&app, device).await?.json.clone()).into_response())
}

async fn compute(app: &App, device: String) -> Result<Arc<Knife>, Refusal> {
    let key = query_store(app, move |q| q.latest_census(&device)).await?;
    if let Some(knife) = app.diagrams.find(&key) {
        return Ok(knife);
    }
    let _turn = app.diagrams.turn.lock().await;
    if let Some(knife) = app.diagrams.find(&key) {
        return Ok(knife);
    }
    let of = key.clone();
    let colours = query_store(app, move |q| q.census(&of)).await?;
    let knife = Arc::new(blocking(move || draw(key, &colours)).await?.map_err(Refusal::Missing)?);
    app.diagrams.keep(knife.clone());
    Ok(knife)
}

fn draw(key: CensusKey, colours: &Colours) -> Result<Knife, String> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let s = silhouette::exact(&colours.samples, threads).map_err(|e| e.to_string())?;
    let title = format!("{}, frame {}", key.device, key.frame);
    let svg = plot::knife_svg(&colours.samples, &s, &colours.palette, &title);
    let json = SilhouetteJson::new(colours, &s, Some(key.frame));
    Ok(Knife { key, svg, json })
}

/// A silhouette as JSON.
#[derive(Debug, Clone, Serialize)]
pub struct SilhouetteJson {
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
        SilhouetteJson { score: s.score, pixels: s.pixels, clusters: clusters.collect(), frame }
    }
}
