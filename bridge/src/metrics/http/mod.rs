//! Web: the page, its JSON, its pictures and its events. This folder is the one door to `axum`.
//!
//! [`serve`] answers requests on loopback, or at the configured address, with what the store and the present hold. It reads the store's
//! file and writes nothing. A slow listener never holds up others, and nothing outside this program is needed to show the
//! page.

pub mod api;
pub mod assets;
pub mod card;
pub mod command;
pub mod diagram;
pub mod events;
pub mod exposition;
pub mod gate;
pub mod guard;
pub mod health;
pub mod live;
pub mod outage;
pub mod pictures;
pub mod what_if;

use crate::failure::Failure;
use crate::metrics::store::reader::Reader;
use crate::mqtt::commander::Commander;
use api::Refusal;
use axum::routing::{get, post};
use axum::{Router, middleware};
use gate::Gate;
use guard::Guard;
use live::Live;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What all requests share.
pub struct Shared {
    live: Arc<Live>,
    query: Mutex<Box<dyn Reader>>,
    diagrams: diagram::Diagrams,
    scenes: what_if::Scenes,
    guard: Arc<Guard>,
    commander: Option<Commander>,
    outages: Option<outage::Outages>,
    stop: watch::Receiver<bool>,
}

/// A handle on what all requests share.
pub type App = Arc<Shared>;

impl Shared {
    /// None if commands can be sent; otherwise how to switch that on.
    fn commands_hint(&self) -> Option<&'static str> {
        let off = "start hueflow-metrics run with --mqtt URL, or set url in the section [mqtt] of its configuration";
        self.commander.is_none().then_some(off)
    }
}

/// Who may ask for the page, and how much work one request may make.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The token that opens it, if it needs one.
    pub gate: Option<Gate>,
    /// Names that it is reached by, beside this machine's own.
    pub hosts: Vec<String>,
    /// Colours up to which a silhouette is exact.
    pub colours_max: usize,
    /// The demo's named pipe, if the page may take services away.
    pub outages: Option<PathBuf>,
}

/// Listens at an address.
///
/// # Errors
/// [`Failure::Io`] if the address is taken.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(listen).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => Failure::Io(format!(
            "web.listen: {listen} is taken by another program. Choose another: --listen {}:{}",
            listen.ip(),
            listen.port().wrapping_add(1).max(1024)
        )),
        _ => Failure::io(&format!("web.listen: {listen}"), e),
    })
}

/// Runs `work` on a thread that may wait.
///
/// # Errors
/// [`Refusal::Broken`] if it panicked.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Refusal::Broken(e.to_string()))
}

/// Serves the page until `stop` is true.
///
/// # Errors
/// [`Failure::Io`] if the socket fails.
pub async fn serve(
    listener: TcpListener,
    access: Access,
    reader: Box<dyn Reader>,
    live: Arc<Live>,
    commander: Option<Commander>,
    stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let guard = Arc::new(Guard::new(access.gate, access.hosts));
    let diagrams = diagram::Diagrams::new(access.colours_max);
    let shared = Shared {
        live,
        query: Mutex::new(reader),
        diagrams,
        scenes: what_if::Scenes::default(),
        guard: guard.clone(),
        commander,
        outages: access.outages.map(outage::Outages::new),
        stop: stop.clone(),
    };
    let app = Router::new()
        .merge(assets::routes())
        .route("/healthz", get(api::healthz))
        .route("/metrics", get(api::metrics))
        .route("/api/openapi.json", get(api::openapi))
        .route("/api/fleet", get(api::fleet))
        .route("/api/devices", get(api::devices))
        .route("/api/devices/{device}", get(api::device))
        .route("/api/devices/{device}/reports", get(api::reports))
        .route("/api/devices/{device}/history", get(api::history))
        .route("/api/devices/{device}/events", get(api::changes))
        .route("/api/devices/{device}/latest", get(api::latest))
        .route("/api/devices/{device}/picture.png", get(pictures::picture))
        .route("/api/devices/{device}/thumbnail.png", get(pictures::thumbnail))
        .route("/api/devices/{device}/original.jpg", get(pictures::original))
        .route("/api/devices/{device}/knife.svg", get(diagram::knife))
        .route("/api/devices/{device}/silhouette", get(diagram::silhouette))
        .route("/api/devices/{device}/what-if", get(what_if::what_if))
        .route("/api/devices/{device}/what-if/curve", get(what_if::curve))
        .route("/api/devices/{device}/command", post(command::command))
        .route("/api/demo/outage", get(outage::state))
        .route("/api/demo/outage", post(outage::begin))
        .route("/api/ledger", get(api::ledger))
        .route("/api/events", get(events::events))
        .with_state(Arc::new(shared))
        .layer(middleware::from_fn_with_state(guard, guard::judge));
    let mut stopped = stop;
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            let _ = stopped.wait_for(|s| *s).await;
        })
        .await
        .map_err(|e| Failure::io("web", e))
}
