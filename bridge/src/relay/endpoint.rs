//! The bridge's own `/healthz` and `/metrics`.
//!
//! It answers from what the relay counted, and cannot change anything of the relay. With `metrics::http`, it is the one
//! module that uses `axum`.

use crate::failure::Failure;
use crate::prom;
use crate::relay::stats::Stats;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// Listens. Returns the address, and the task that answers until `stop` is true.
///
/// # Errors
/// [`Failure::Io`] if the address is taken.
pub async fn start(
    listen: SocketAddr,
    stats: Arc<Stats>,
    mut stop: watch::Receiver<bool>,
) -> Result<(SocketAddr, tokio::task::JoinHandle<()>), Failure> {
    let fail = |e| Failure::io(&format!("web.listen: {listen}"), e);
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    let app = Router::new().route("/healthz", get(healthz)).route("/metrics", get(metrics)).with_state(stats);
    let task = tokio::spawn(async move {
        let stopped = async move {
            let _ = stop.wait_for(|s| *s).await;
        };
        if let Err(e) = axum::serve(listener, app).with_graceful_shutdown(stopped).await {
            log::error!("web: {e}");
        }
    });
    Ok((address, task))
}

async fn healthz(State(stats): State<Arc<Stats>>) -> (StatusCode, String) {
    match stats.health() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(faults) => (StatusCode::SERVICE_UNAVAILABLE, faults + "\n"),
    }
}

async fn metrics(State(stats): State<Arc<Stats>>) -> ([(header::HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, prom::CONTENT_TYPE)], stats.text())
}
