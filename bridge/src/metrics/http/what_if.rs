//! What if lambda were another: a device's last census clustered again, for the page's slider.
//!
//! An answer has palette, RMS, missed colours, and the silhouette: estimated from drawn pixels at once, or exact if asked for.
//! What no request waits for any more is cancelled, so a moving slider leaves no work behind. The last scenes are kept.

use super::api::{Refusal, query_store};
use super::diagram::{CancelOnDrop, Scored};
use super::{App, blocking};
use crate::json::PaletteJson;
use crate::metrics::store::reader::{CensusKey, FrameSettings};
use crate::metrics::what_if::{Clustered, Scene};
use axum::Json;
use axum::extract::{Path, Query as Params, State};
use firmware::node::LAMBDA_Q6_MAX;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Scenes that are kept: a million pixels are 3 MiB.
const SCENES_MAX: usize = 4;
/// Pixels that the estimate at once is drawn from: with 96,000 colours it takes about 60 ms.
const DRAWN_PIXELS: usize = 1_000;
/// Values of lambda on the curve in levels: closer where K changes fast.
const CURVE: [u32; 14] = [10, 15, 20, 25, 30, 40, 50, 60, 75, 90, 110, 135, 165, 200];

/// The scenes that are kept.
#[derive(Default)]
pub struct Scenes(Mutex<Vec<(CensusKey, Arc<Scene>)>>);

/// What is asked.
#[derive(serde::Deserialize)]
pub struct Asked {
    lambda: f64,
    exact: Option<u8>,
    dark: Option<u8>,
}

/// The scene of a device's last census.
async fn scene(app: &App, device: String) -> Result<(CensusKey, Arc<Scene>), Refusal> {
    let key = query_store(app, move |q| q.latest_census(&device)).await?;
    let kept = || app.scenes.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, scene)) = kept().iter().find(|s| s.0 == key) {
        return Ok((key, scene.clone()));
    }
    let of = key.clone();
    let (colours, settings) = query_store(app, move |q| Ok((q.census(&of)?, q.settings_of(&of)?))).await?;
    let settings = settings.unwrap_or_else(|| FrameSettings {
        lambda: f64::from(colours.space.default_lambda_q6()) / 64.0,
        coreset_size: 1_000,
        method: "octree".to_owned(),
        refine: "cover".to_owned(),
        w_open: (colours.samples.iter().map(|s| s.count).sum::<u32>() / 5_000).max(1),
    });
    let scene = blocking(move || Arc::new(Scene::new(&colours, settings))).await?;
    let mut kept = kept();
    kept.retain(|s| s.0.device != key.device);
    if kept.len() >= SCENES_MAX {
        kept.remove(0);
    }
    kept.push((key.clone(), scene.clone()));
    Ok((key, scene))
}

/// What every answer has.
fn numbers(scene: &Scene, lambda: f64, c: &Clustered) -> Value {
    let (r, thinned) = (&c.report, u64::from(scene.thinned));
    let pixels: u64 = r.palette.iter().map(|s| u64::from(s.pixels)).sum();
    json!({
        "space": scene.space.word(),
        "lambda": lambda,
        "clusters": r.palette.len(),
        "rms": (r.sse_q12 as f64 / 4096.0 / pixels.max(1) as f64).sqrt(),
        "missed": r.missed,
        "beyond_px": r.beyond_px.map(|n| u64::from(n) * thinned),
        "pixels": pixels * thinned,
        "thinned": thinned,
        "silhouette_estimate": r.silhouette_ppm.map(|p| f64::from(p) / 1e6),
    })
}

/// `what-if?lambda=L[&exact=1]`.
///
/// # Errors
/// [`Refusal`] if there is no census, or lambda is out of its range.
pub async fn what_if(
    State(app): State<App>,
    Path(device): Path<String>,
    Params(asked): Params<Asked>,
) -> Result<Json<Value>, Refusal> {
    let lambda_q6 = (asked.lambda * 64.0).round();
    if !(1.0..=f64::from(LAMBDA_Q6_MAX)).contains(&lambda_q6) {
        return Err(Refusal::Wrong("lambda must be a number from 0.02 to 442".to_owned()));
    }
    let guard = CancelOnDrop::default();
    let (cancel, colours_max) = (guard.flag(), if asked.exact == Some(1) { app.diagrams.colours_max } else { 0 });
    let (key, scene) = scene(&app, device).await?;
    let answer = blocking(move || -> Result<Value, String> {
        let clustered = scene.cluster(lambda_q6 as u32)?;
        let mut answer = numbers(&scene, asked.lambda, &clustered);
        answer["frame"] = json!(key.frame);
        answer["lambda_in_force"] = json!(scene.settings.lambda);
        answer["palette"] = json!(PaletteJson::of(&clustered.report));
        // A single cluster has no silhouette, and all the same a palette.
        match Scored::new(clustered.colours, colours_max, DRAWN_PIXELS, Some(asked.lambda), &cancel) {
            Ok(scored) => {
                answer["silhouette"] = scored.json(key.frame);
                let title = format!("{}, frame {}, what if", key.device, key.frame);
                answer["knife"] = json!(scored.svg(&title, asked.dark == Some(1)));
            }
            Err(why) => answer["no_silhouette"] = json!(why.to_string()),
        }
        Ok(answer)
    });
    let answer = answer.await?.map_err(Refusal::Wrong)?;
    drop(guard);
    Ok(Json(answer))
}

/// `what-if/curve`: K, RMS and silhouette for several lambdas.
///
/// # Errors
/// [`Refusal`] if there is no census.
pub async fn curve(State(app): State<App>, Path(device): Path<String>) -> Result<Json<Value>, Refusal> {
    let guard = CancelOnDrop::default();
    let cancel: Arc<AtomicBool> = guard.flag();
    let (key, scene) = scene(&app, device).await?;
    let points = blocking(move || -> Result<Vec<Value>, String> {
        let mut points = Vec::new();
        for levels in CURVE {
            // Round values in RGB, and what is as long in another space.
            let lambda_q6 = scene.space.length_q6(levels);
            if cancel.load(Ordering::Relaxed) {
                break;
            }
            points.push(numbers(&scene, f64::from(lambda_q6) / 64.0, &scene.cluster(lambda_q6)?));
        }
        Ok(points)
    });
    let points = points.await?.map_err(Refusal::Wrong)?;
    drop(guard);
    Ok(Json(json!({ "frame": key.frame, "points": points })))
}
