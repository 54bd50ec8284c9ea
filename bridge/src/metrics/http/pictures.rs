//! Pictures: the last clustered picture of a device, a small one of it, and its last original.
//!
//! Pictures are unpacked when somebody asks. They are not kept by browsers: each is soon an old one.

use super::api::Refusal;
use super::{App, blocking};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

/// The longer side of a thumbnail: twice the width of a card's picture, for screens of high density.
const THUMBNAIL_PX_MAX: u16 = 160;

async fn png(app: &App, device: &str, side_px_max: Option<u16>) -> Result<Response, Refusal> {
    let picture = app.live.devices().get(device).and_then(|d| d.picture.clone());
    let picture = picture.ok_or_else(|| Refusal::Missing(format!("device {device} has sent no picture yet")))?;
    let png = blocking(move || {
        let picture = picture.unpack().ok_or("the picture does not unpack to its size")?;
        let picture = side_px_max.map(|side| picture.thumbnail(side)).unwrap_or(picture);
        picture.png().map_err(|e| e.to_string())
    });
    let png = png.await?.map_err(Refusal::Broken)?;
    Ok(([(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, "no-store")], png).into_response())
}

/// `picture.png`.
pub async fn picture(State(app): State<App>, Path(device): Path<String>) -> Result<Response, Refusal> {
    png(&app, &device, None).await
}

/// `thumbnail.png`.
pub async fn thumbnail(State(app): State<App>, Path(device): Path<String>) -> Result<Response, Refusal> {
    png(&app, &device, Some(THUMBNAIL_PX_MAX)).await
}

/// `original.jpg`.
pub async fn original(State(app): State<App>, Path(device): Path<String>) -> Result<Response, Refusal> {
    let jpeg = app.live.devices().get(&device).and_then(|d| d.original.clone());
    let jpeg = jpeg.ok_or_else(|| Refusal::Missing(format!("device {device} sends no originals")))?;
    Ok(([(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-store")], jpeg.as_ref().clone())
        .into_response())
}
