//! Web: the page, its JSON, its pictures and its events. With `endpoint`, the one door to `axum`.
//!
//! Takes requests on loopback (or where it was told). Gives what the store and the present hold.
//! Touches a socket, and the store's file for reading.
//! Never waits for a slow listener, never works on more than one diagram at a time, and needs no internet.

pub mod gate;
pub mod live;

use crate::failure::Failure;
use crate::metrics::http::gate::{Gate, Pass};
use crate::metrics::http::live::Live;
use crate::metrics::silhouette::census::Colours;
use crate::metrics::silhouette::plot;
use crate::metrics::silhouette::{self, Silhouette};
use crate::metrics::store::reader::{CensusKey, CensusMissing, Known, Reader};
use crate::prom;
use axum::extract::{Path, Query as Params, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::Stream;
use serde::Serialize;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};

const PAGE: &str = include_str!("../ui/page.html");
/// Reports in an answer, if nobody says.
const REPORTS_DEFAULT: u32 = 300;
/// Diagrams that are kept.
const KNIVES_MAX: usize = 16;

/// What a diagram shows.
struct Knife {
    key: CensusKey,
    svg: String,
    json: SilhouetteJson,
}

/// What all requests share.
struct Shared {
    live: Arc<Live>,
    query: Mutex<Box<dyn Reader>>,
    knives: tokio::sync::Mutex<Vec<Arc<Knife>>>,
    stop: watch::Receiver<bool>,
}

type App = Arc<Shared>;

/// Listens at an address.
///
/// # Errors
/// [`Failure::Io`] if the address is taken.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(listen).await.map_err(|e| Failure::io(&format!("web.listen: {listen}"), e))
}

/// Serves the page until `stop` says so.
///
/// # Errors
/// [`Failure::Io`] if the socket fails.
pub async fn serve(
    listener: TcpListener,
    gate: Option<Gate>,
    reader: Box<dyn Reader>,
    live: Arc<Live>,
    stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let shared = Shared { live, query: Mutex::new(reader), knives: tokio::sync::Mutex::default(), stop: stop.clone() };
    let mut app = Router::new()
        .route("/", get(|| async { ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], PAGE) }))
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .route("/api/devices", get(devices))
        .route("/api/devices/{device}/reports", get(reports))
        .route("/api/devices/{device}/latest", get(latest))
        .route("/api/devices/{device}/picture.png", get(picture))
        .route("/api/devices/{device}/original.jpg", get(original))
        .route("/api/devices/{device}/knife.svg", get(knife))
        .route("/api/devices/{device}/silhouette", get(silhouette_json))
        .route("/api/ledger", get(|State(app): State<App>| async move { Json(app.live.ledger()) }))
        .route("/api/events", get(events))
        .with_state(Arc::new(shared));
    if let Some(gate) = gate {
        app = app.layer(middleware::from_fn_with_state(Arc::new(gate), require_token));
    }
    let mut stopped = stop;
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            let _ = stopped.wait_for(|s| *s).await;
        })
        .await
        .map_err(|e| Failure::io("web", e))
}

/// Lets a request through that carries the token.
async fn require_token(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let pass = {
        let text = |name| request.headers().get(name).and_then(|v| v.to_str().ok());
        gate.judge(text(header::AUTHORIZATION), request.uri().query(), text(header::COOKIE))
    };
    match pass {
        Pass::Yes => next.run(request).await,
        Pass::Remember => ([(header::SET_COOKIE, gate.cookie())], next.run(request).await).into_response(),
        Pass::No => {
            let say = "a token is needed: Authorization: Bearer TOKEN, or ?token=TOKEN\n";
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], say).into_response()
        }
    }
}

/// 200 while journal and store work, 503 while one does not; the text says which, and how far the store is behind.
async fn healthz(State(app): State<App>) -> Response {
    let health = app.live.health();
    let status = if health.is_good() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, health.to_string()).into_response()
}

async fn metrics(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, prom::CONTENT_TYPE)], app.live.text()).into_response()
}

/// Why there is no answer.
enum Refusal {
    Missing(String),
    Broken(String),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Refusal::Missing(text) => (StatusCode::NOT_FOUND, text),
            Refusal::Broken(text) => (StatusCode::INTERNAL_SERVER_ERROR, text),
        };
        (status, Json(serde_json::json!({ "error": text }))).into_response()
    }
}

impl From<CensusMissing> for Refusal {
    fn from(e: CensusMissing) -> Self {
        match e {
            CensusMissing::Store(e) => Refusal::Broken(e.to_string()),
            other => Refusal::Missing(other.to_string()),
        }
    }
}

/// Asks the store on a thread that may wait.
async fn query_store<T: Send + 'static>(
    app: &App,
    f: impl FnOnce(&dyn Reader) -> Result<T, CensusMissing> + Send + 'static,
) -> Result<T, Refusal> {
    let app = app.clone();
    tokio::task::spawn_blocking(move || f(app.query.lock().unwrap_or_else(PoisonError::into_inner).as_ref()))
        .await
        .map_err(|e| Refusal::Broken(e.to_string()))?
        .map_err(Refusal::from)
}

async fn devices(State(app): State<App>) -> Result<Json<serde_json::Value>, Refusal> {
    let known = query_store(&app, |q| Ok(q.devices()?)).await?;
    let ledger = app.live.ledger();
    let live = app.live.devices();
    let all = known.into_iter().map(|Known { device: name, state, status }| {
        let device = live.get(&name);
        let state = device.map(|d| d.state.clone()).filter(|s| !s.is_empty()).or(state);
        let status = status.and_then(|s| serde_json::from_str::<serde_json::Value>(&s).ok());
        serde_json::json!({
            "device": name,
            "state": state.unwrap_or_else(|| "unknown".to_owned()),
            "status": device.and_then(|d| d.status.clone()).or(status),
            "report": device.and_then(|d| d.report.as_ref()),
            "boot": ledger.iter().rfind(|l| l.device == name).map(|l| l.boot.clone()),
            "picture": device.is_some_and(|d| d.picture.is_some()),
            "original": device.is_some_and(|d| d.original.is_some()),
        })
    });
    Ok(Json(all.collect()))
}

#[derive(serde::Deserialize)]
struct Last {
    last: Option<u32>,
}

async fn reports(
    State(app): State<App>,
    Path(device): Path<String>,
    Params(p): Params<Last>,
) -> Result<Response, Refusal> {
    let last = p.last.unwrap_or(REPORTS_DEFAULT);
    Ok(Json(query_store(&app, move |q| Ok(q.points(&device, last)?)).await?).into_response())
}

async fn latest(State(app): State<App>, Path(device): Path<String>) -> Result<Response, Refusal> {
    let live = app.live.devices().get(&device).and_then(|d| d.report.clone());
    let report = match live {
        Some(report) => Some(report),
        None => {
            query_store(&app, {
                let device = device.clone();
                move |q| Ok(q.latest(&device)?.map(|(_, report)| report))
            })
            .await?
        }
    };
    report.map(|r| Json(r).into_response()).ok_or_else(|| Refusal::Missing(format!("device {device} has no report")))
}

async fn picture(State(app): State<App>, Path(device): Path<String>) -> Result<Response, Refusal> {
    let picture = app.live.devices().get(&device).and_then(|d| d.picture.clone());
    let picture = picture.ok_or_else(|| Refusal::Missing(format!("device {device} has sent no picture yet")))?;
    let png = tokio::task::spawn_blocking(move || picture.png()).await.map_err(|e| Refusal::Broken(e.to_string()))?;
    let png = png.map_err(|e| Refusal::Broken(e.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, "no-store")], png).into_response())
}

async fn original(State(app): State<App>, Path(device): Path<String>) -> Result<Response, Refusal> {
    let jpeg = app.live.devices().get(&device).and_then(|d| d.original.clone());
    let jpeg = jpeg.ok_or_else(|| Refusal::Missing(format!("device {device} sends no originals")))?;
    Ok(([(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-store")], jpeg.as_ref().clone())
        .into_response())
}

async fn knife(State(app): State<App>, Path(device): Path<String>) -> Result<Response, Refusal> {
    let knife = compute_silhouette(&app, device).await?;
    let headers = [(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, knife.svg.clone()).into_response())
}

async fn silhouette_json(State(app): State<App>, Path(device): Path<String>) -> Result<Response, Refusal> {
    Ok(Json(compute_silhouette(&app, device).await?.json.clone()).into_response())
}

/// The diagram of the device's last census: kept, or drawn now; one at a time, the rest waits.
async fn compute_silhouette(app: &App, device: String) -> Result<Arc<Knife>, Refusal> {
    let mut knives = app.knives.lock().await;
    let key = query_store(app, move |q| q.latest_census(&device)).await?;
    if let Some(knife) = knives.iter().find(|k| k.key == key) {
        return Ok(knife.clone());
    }
    let colours = query_store(app, {
        let key = key.clone();
        move |q| q.census(&key)
    })
    .await?;
    let drawn = tokio::task::spawn_blocking(move || draw(key, &colours)).await;
    let knife = Arc::new(drawn.map_err(|e| Refusal::Broken(e.to_string()))?.map_err(Refusal::Missing)?);
    knives.retain(|k| k.key.device != knife.key.device);
    if knives.len() >= KNIVES_MAX {
        knives.remove(0);
    }
    knives.push(knife.clone());
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

async fn events(State(app): State<App>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let (rx, live, stop) = (app.live.listen(), app.live.clone(), app.stop.clone());
    let stream = futures::stream::unfold((rx, live, stop), |(mut rx, live, mut stop)| async move {
        loop {
            let received = tokio::select! {
                received = rx.recv() => received,
                _ = stop.wait_for(|s| *s) => return None,
            };
            match received {
                Ok(e) => {
                    let event = Event::default().event(e.name).data(&e.data);
                    return Some((Ok(event), (rx, live, stop)));
                }
                Err(broadcast::error::RecvError::Lagged(n)) => {
                    let all = live.skipped(n);
                    log::debug!("page: a listener is slow and missed {n} events ({all} in all)");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}
