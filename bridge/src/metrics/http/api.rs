//! The page's JSON: devices, reports, history and ledger.
//!
//! Answers come from the store and from [`Live`](super::live::Live). What cannot be answered is a [`Refusal`] with a sentence.

use super::events::totals;
use super::live::Summary;
use super::{App, blocking};
use crate::clock;
use crate::metrics::store::history::history as read_history;
use crate::metrics::store::reader::{CensusMissing, Known, Reader};
use crate::prom;
use axum::Json;
use axum::extract::{Path, Query as Params, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::PoisonError;

/// Reports in an answer, if the request names no number.
const REPORTS_DEFAULT: u32 = 300;
/// Points of a history, if the request names no number: about one for two pixels of a chart.
const HISTORY_POINTS_DEFAULT: u32 = 400;

/// Why there is no answer.
#[derive(Debug)]
pub enum Refusal {
    /// What was asked for does not exist.
    Missing(String),
    /// The request makes no sense.
    Wrong(String),
    /// It could not be found out.
    Broken(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Refusal::Missing(text) | Refusal::Wrong(text) | Refusal::Broken(text)) = self;
        f.write_str(text)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Refusal::Missing(text) => (StatusCode::NOT_FOUND, text),
            Refusal::Wrong(text) => (StatusCode::BAD_REQUEST, text),
            Refusal::Broken(text) => (StatusCode::INTERNAL_SERVER_ERROR, text),
        };
        (status, Json(json!({ "error": text }))).into_response()
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
///
/// # Errors
/// [`Refusal`].
pub async fn query_store<T: Send + 'static>(
    app: &App,
    f: impl FnOnce(&dyn Reader) -> Result<T, CensusMissing> + Send + 'static,
) -> Result<T, Refusal> {
    let app = app.clone();
    blocking(move || f(app.query.lock().unwrap_or_else(PoisonError::into_inner).as_ref())).await?.map_err(Refusal::from)
}

/// 200 while journal and store work, 503 while one does not; the text names it, and how far the store is behind.
pub async fn healthz(State(app): State<App>) -> Response {
    let health = app.live.health();
    let status = if health.is_good() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, health.to_string()).into_response()
}

/// The text of `/metrics`.
pub async fn metrics(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, prom::CONTENT_TYPE)], super::exposition::text(&app.live)).into_response()
}

/// The description of all routes below `/api`, as OpenAPI.
pub async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("openapi.json")).into_response()
}

/// What the fleet view shows at first: all cards, health and the sums of the ledger. From memory alone.
pub async fn fleet(State(app): State<App>) -> Response {
    let (cards, _) = app.live.cards_since(0, usize::MAX);
    let (health, sums) = (json!(app.live.health()), totals(&app.live.ledger()));
    let now_ms = clock::now_us() / 1000;
    let text = format!("{{\"now_ms\":{now_ms},\"health\":{health},\"ledger\":{sums},\"cards\":[{}]}}", cards.join(","));
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// All that is known of all devices.
///
/// # Errors
/// [`Refusal`] if the store cannot be read.
pub async fn devices(State(app): State<App>) -> Result<Json<Value>, Refusal> {
    let known = query_store(&app, |q| Ok(q.devices()?)).await?;
    let ledger = app.live.ledger();
    let live = app.live.devices();
    let all = known.into_iter().map(|Known { device: name, state, status }| {
        let device = live.get(&name);
        let state = device.map(|d| d.state.clone()).filter(|s| !s.is_empty()).or(state);
        let status = status.and_then(|s| serde_json::from_str::<Value>(&s).ok());
        json!({
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

/// What the device view shows at first.
///
/// # Errors
/// [`Refusal`] if no such device is known.
pub async fn device(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    let ledger = app.live.ledger();
    let lines: Vec<_> = ledger.iter().filter(|l| l.device == name).collect();
    let live = app.live.devices();
    // A device that is only watched is not known.
    let device = live.get(&name).filter(|d| d.report.is_some() || d.status.is_some() || d.picture.is_some());
    if device.is_none() && lines.is_empty() {
        return Err(Refusal::Missing(format!("nothing of a device {name} is in the journal or the store")));
    }
    Ok(Json(json!({
        "device": name,
        "now_ms": clock::now_us() / 1000,
        "health": app.live.health(),
        "state": device.map_or("unknown", |d| d.state_word()),
        "status": device.and_then(|d| d.status.as_ref()),
        "report": device.and_then(|d| d.report.as_ref()).map(Summary::of),
        "latency_ms": device.and_then(|d| d.latency_us).map(|us| us / 1000),
        "picture": device.and_then(|d| d.picture.as_ref()).map(|p| p.frame()),
        "original": device.is_some_and(|d| d.original.is_some()),
        "commands": app.commands_hint(),
        "ledger": lines,
    })))
}

/// How many of the last reports.
#[derive(serde::Deserialize)]
pub struct Last {
    last: Option<u32>,
}

/// The last reports of a device.
///
/// # Errors
/// [`Refusal`] if the store cannot be read.
pub async fn reports(
    State(app): State<App>,
    Path(device): Path<String>,
    Params(p): Params<Last>,
) -> Result<Response, Refusal> {
    let last = p.last.unwrap_or(REPORTS_DEFAULT);
    Ok(Json(query_store(&app, move |q| Ok(q.points(&device, last)?)).await?).into_response())
}

/// The last report of a device.
///
/// # Errors
/// [`Refusal`] if it has none.
pub async fn latest(State(app): State<App>, Path(device): Path<String>) -> Result<Response, Refusal> {
    let live = app.live.devices().get(&device).and_then(|d| d.report.clone());
    let report = match live {
        Some(report) => Some(report),
        None => {
            let device = device.clone();
            query_store(&app, move |q| Ok(q.latest(&device)?.map(|(_, report)| report))).await?
        }
    };
    report.map(|r| Json(r).into_response()).ok_or_else(|| Refusal::Missing(format!("device {device} has no report")))
}

/// Which part of a device's history.
#[derive(serde::Deserialize)]
pub struct Range {
    from: u64,
    to: u64,
    points: Option<u32>,
}

impl Range {
    /// The range, if it is one.
    fn check(self) -> Result<Range, Refusal> {
        let must = "from must be before to (milliseconds since the Unix epoch)";
        if self.from < self.to { Ok(self) } else { Err(Refusal::Wrong(must.to_owned())) }
    }
}

/// A device's numbers over time, in milliseconds since the Unix epoch.
///
/// # Errors
/// [`Refusal`] if the range is empty, or the store cannot be read.
pub async fn history(
    State(app): State<App>,
    Path(device): Path<String>,
    Params(range): Params<Range>,
) -> Result<Response, Refusal> {
    let range = range.check()?;
    let points = range.points.unwrap_or(HISTORY_POINTS_DEFAULT);
    Ok(Json(query_store(&app, move |q| Ok(read_history(q, &device, (range.from, range.to), points)?)).await?)
        .into_response())
}

/// The changes of a device's events in a range, oldest first, behind the last change of each event before it.
///
/// # Errors
/// [`Refusal`] if the range is empty, or the store cannot be read.
pub async fn changes(
    State(app): State<App>,
    Path(device): Path<String>,
    Params(range): Params<Range>,
) -> Result<Response, Refusal> {
    let range = range.check()?;
    let us = |ms: u64| ms.saturating_mul(1000);
    let found = query_store(&app, move |q| Ok(q.events(&device, us(range.from), us(range.to))?)).await?;
    Ok(Json(found.into_iter().map(|change| change.event).collect::<Vec<_>>()).into_response())
}

/// Whose lines of the ledger.
#[derive(serde::Deserialize)]
pub struct Whose {
    device: Option<String>,
}

/// The ledger, of all devices or of one.
pub async fn ledger(State(app): State<App>, Params(whose): Params<Whose>) -> Response {
    let lines = app.live.ledger();
    let is_wanted = |device: &str| whose.device.as_deref().is_none_or(|d| d == device);
    Json(lines.iter().filter(|l| is_wanted(&l.device)).collect::<Vec<_>>()).into_response()
}
