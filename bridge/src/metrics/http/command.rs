//! Commands from the page: sent to the device by MQTT, answered with its next status.
//!
//! A request must pass [`Guard::check_change`](super::guard::Guard::check_change) first. Keys and ranges are the device's to
//! judge; its refusal is part of the answer.

use super::App;
use super::api::Refusal;
use crate::mqtt::commander::{Answer, CommandError};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// Longest command: a few keys.
const COMMAND_BYTES_MAX: usize = 1_024;

/// `POST /api/devices/{device}/command`: a JSON object as it goes to the topic `cmd`.
///
/// # Errors
/// [`Refusal`] if it is no JSON object.
pub async fn command(
    State(app): State<App>,
    Path(device): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    if let Err((status, why)) = app.guard.check_change(&headers) {
        return Ok((status, Json(json!({ "error": why }))).into_response());
    }
    let Some(commander) = &app.commander else {
        let why = format!("commands are off: {}", app.commands_hint().unwrap_or_default());
        return Ok((StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": why }))).into_response());
    };
    if body.len() > COMMAND_BYTES_MAX || !crate::relay::verdict::is_device(&device) {
        return Err(Refusal::Wrong("the command is too long, or this is no device's name".to_owned()));
    }
    let command: Map<String, Value> =
        serde_json::from_slice(&body).map_err(|e| Refusal::Wrong(format!("a command is a JSON object: {e}")))?;
    log::info!("command to {device}: {}", Value::Object(command.clone()));
    Ok(match commander.command(&device, &command).await {
        Ok(Answer::InForce(in_force)) => Json(json!({ "outcome": "in force", "in_force": in_force })).into_response(),
        Ok(Answer::Refused(reason)) => Json(json!({ "outcome": "refused", "reason": reason })).into_response(),
        Err(e) => {
            let status = match e {
                CommandError::Silent(_) => StatusCode::GATEWAY_TIMEOUT,
                CommandError::Unknown(_) => StatusCode::NOT_FOUND,
                CommandError::Away(_) | CommandError::Offline(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, Json(json!({ "error": e.to_string() }))).into_response()
        }
    })
}
