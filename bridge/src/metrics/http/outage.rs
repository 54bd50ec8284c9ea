//! Outages for the demo: takes the broker or the journal away for a while, and reports what became of the records.
//!
//! The routes exist only if `run` was started with `--demo-outages PIPE`; the page then has two buttons. A request names a part,
//! and one line `PART SECONDS` goes into the named pipe. `deploy/demo` reads the pipe, stops that service and starts it
//! again. Nothing of the request but one of two fixed words gets there. One outage at a time; it is over when each online
//! device has a later report in the store, all services answer and no record is missing in the ledger.

use super::api::{Refusal, query_store};
use super::events::totals;
use super::{App, blocking};
use crate::clock;
use crate::metrics::store::history::history;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long a service is away: long enough to watch what waits.
const OUTAGE_S: u64 = 20;
/// Longest request: one short key.
const REQUEST_BYTES_MAX: usize = 256;
/// `O_NONBLOCK` of Linux: opening a pipe without a reader fails instead of waiting.
const NONBLOCK: i32 = 0o4000;

/// What can be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The MQTT broker.
    Broker,
    /// The journal.
    Journal,
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Part::Broker => "broker",
            Part::Journal => "journal",
        }
    }
}

/// An outage that was asked for.
#[derive(Debug, Clone, Copy)]
struct Outage {
    part: Part,
    from_ms: u64,
    /// When the service is started again.
    until_ms: u64,
    /// Reports that were captured meanwhile, once all are stored.
    stored_after: Option<u64>,
}

/// The named pipe, and the last outage.
#[derive(Debug)]
pub struct Outages {
    pipe: PathBuf,
    last: Mutex<Option<Outage>>,
}

impl Outages {
    /// Outages by way of a named pipe.
    pub fn new(pipe: PathBuf) -> Outages {
        Outages { pipe, last: Mutex::new(None) }
    }

    fn last(&self) -> MutexGuard<'_, Option<Outage>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an outage; None if one is under way.
    fn begin(&self, part: Part) -> std::io::Result<Option<Outage>> {
        let mut last = self.last();
        if last.is_some_and(|o| o.stored_after.is_none()) {
            return Ok(None);
        }
        request(&self.pipe, part)?;
        let from_ms = clock::now_us() / 1000;
        *last = Some(Outage { part, from_ms, until_ms: from_ms + OUTAGE_S * 1000, stored_after: None });
        Ok(*last)
    }
}

/// Writes the line. A line is shorter than a pipe's atomic write, so that it comes whole.
fn request(pipe: &Path, part: Part) -> std::io::Result<()> {
    let mut file = std::fs::File::options().write(true).custom_flags(NONBLOCK).open(pipe)?;
    if !file.metadata()?.file_type().is_fifo() {
        return Err(std::io::Error::other("it is no named pipe"));
    }
    file.write_all(format!("{} {OUTAGE_S}\n", part.word()).as_bytes())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    part: Part,
}

/// The outages, if they are switched on.
fn outages(app: &App) -> Result<&Outages, Refusal> {
    let off = "outages are for the demo: ./deploy/demo starts hueflow-metrics run with --demo-outages";
    app.outages.as_ref().ok_or_else(|| Refusal::Missing(off.to_owned()))
}

/// `POST /api/demo/outage`: `{"part": "broker"}` or `{"part": "journal"}`.
///
/// # Errors
/// [`Refusal`] if outages are off, another part is named, or the pipe has no reader.
pub async fn begin(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    outages(&app)?;
    if let Err((status, why)) = app.guard.check_change(&headers) {
        return Ok((status, Json(json!({ "error": why }))).into_response());
    }
    let asked = body.get(..REQUEST_BYTES_MAX.min(body.len())).unwrap_or_default();
    let Asked { part } = serde_json::from_slice(asked)
        .map_err(|_| Refusal::Wrong("name a part: {\"part\": \"broker\"} or {\"part\": \"journal\"}".to_owned()))?;
    let asking = app.clone();
    let begun = blocking(move || outages(&asking).map(|outages| outages.begin(part))).await??;
    match begun {
        Ok(Some(_)) => {
            log::warn!("demo: the {} goes away for {OUTAGE_S} s", part.word());
            state(State(app)).await.map(IntoResponse::into_response)
        }
        Ok(None) => {
            let why = "an outage is under way; wait until its records are stored";
            Ok((StatusCode::CONFLICT, Json(json!({ "error": why }))).into_response())
        }
        Err(e) => {
            let why = format!("the demo does not listen any more ({e}); start it again");
            Ok((StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": why }))).into_response())
        }
    }
}

/// `GET /api/demo/outage`: the last outage, how far the recovery is, and the ledger's sums.
///
/// # Errors
/// [`Refusal`] if outages are off, or the store cannot be read.
pub async fn state(State(app): State<App>) -> Result<Json<Value>, Refusal> {
    let mut last = *outages(&app)?.last();
    if let Some(outage) = last.filter(|o| o.stored_after.is_none() && is_over(&app, o)) {
        let stored = stored_between(&app, outage.from_ms, outage.until_ms).await?;
        let ended = Outage { stored_after: Some(stored), ..outage };
        *outages(&app)?.last() = Some(ended);
        last = Some(ended);
    }
    let now_ms = clock::now_us() / 1000;
    let phase = match last {
        None => "none",
        Some(o) if o.stored_after.is_some() => "recovered",
        Some(o) if now_ms < o.until_ms => "away",
        Some(_) => "recovering",
    };
    Ok(Json(json!({
        "seconds": OUTAGE_S,
        "phase": phase,
        "part": last.map(|o| o.part),
        "from_ms": last.map(|o| o.from_ms),
        "until_ms": last.map(|o| o.until_ms),
        "now_ms": now_ms,
        "stored_after": last.and_then(|o| o.stored_after),
        "ledger": totals(&app.live.ledger()),
    })))
}

/// Whether all is stored that was captured during an outage. A later report of a device has a higher number, so that nothing
/// missing means that nothing before it is.
fn is_over(app: &App, outage: &Outage) -> bool {
    let health = app.live.health();
    let answers = health.is_good() && health.broker.is_none() && health.bridge.is_none();
    let is_later = |at: &str| clock::parse_rfc3339(at).is_some_and(|us| us / 1000 >= outage.until_ms);
    let devices = app.live.devices();
    let mut online = devices.values().filter(|d| d.state_word() == "online").peekable();
    answers
        && online.peek().is_some()
        && online.all(|d| d.report.as_ref().is_some_and(|r| is_later(&r.captured_at)))
        && app.live.ledger().iter().all(|line| line.missing == 0)
}

/// Reports in the store that were captured in a range.
async fn stored_between(app: &App, from_ms: u64, until_ms: u64) -> Result<u64, Refusal> {
    query_store(app, move |q| {
        let mut stored = 0;
        for known in q.devices()? {
            stored += history(q, &known.device, (from_ms, until_ms), 1)?.points.iter().map(|p| p.n).sum::<u64>();
        }
        Ok(stored)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_press_and_one_outage_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let outages = Outages::new(pipe.clone());
        assert!(outages.begin(Part::Broker).is_err(), "nobody reads the pipe");
        assert!(outages.last().is_none());
        let mut reader = std::fs::File::options().read(true).custom_flags(NONBLOCK).open(&pipe).unwrap();
        assert_eq!(outages.begin(Part::Journal).unwrap().unwrap().part, Part::Journal);
        assert!(outages.begin(Part::Broker).unwrap().is_none(), "one is under way");
        let mut text = [0; 64];
        let n = std::io::Read::read(&mut reader, &mut text).unwrap();
        assert_eq!(&text[..n], b"journal 20\n");
        // A file is left as it is.
        let file = dir.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        assert!(Outages::new(file.clone()).begin(Part::Broker).is_err());
        assert_eq!(std::fs::read_to_string(file).unwrap(), "precious");
    }
}
