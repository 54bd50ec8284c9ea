//! The connection to PostgreSQL: address, password, TLS and time limits.
//!
//! [`connect`] blocks until the server answers or [`CONNECT`] has passed. The server ends what this side has abandoned: a
//! statement after [`STATEMENT`], a transaction of a program that is held or cut off after [`ABANDONED`].

use crate::metrics::store::StoreError;
use crate::metrics::store::url::Database;
use host::tls::Tls;
use postgres::config::SslMode;
use postgres::{Client, Config, NoTls};
use std::time::Duration;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a server may take to answer.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a statement may take: a batch takes 0.2 s, a page's query less.
const STATEMENT: Duration = Duration::from_secs(30);
/// How long a lock is waited for: another instance's transaction takes 0.2 s.
const LOCK: Duration = Duration::from_secs(10);
/// How long a transaction may be idle. Its locks would hold up the instance that took over.
const ABANDONED: Duration = Duration::from_secs(15);
/// How long a connection may deliver nothing although something was sent.
const SILENT: Duration = Duration::from_secs(15);

/// Connects.
///
/// # Errors
/// [`StoreError::Postgres`], without the password.
pub(super) fn connect(database: &Database) -> Result<Client, StoreError> {
    // The parser's words may contain the URL.
    let bad = |_| StoreError::Postgres("the URL of the store cannot be read: store.url".to_owned());
    let mut config: Config = database.url.reveal().parse().map_err(bad)?;
    if let Some(password) = &database.password {
        config.password(password.reveal());
    }
    let more = format!(
        "{} -c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={}",
        config.get_options().unwrap_or_default(),
        STATEMENT.as_millis(),
        LOCK.as_millis(),
        ABANDONED.as_millis()
    );
    config
        .options(more.trim_start())
        .application_name("hueflow-metrics")
        .connect_timeout(CONNECT)
        .keepalives_idle(SILENT)
        .tcp_user_timeout(SILENT);
    if matches!(config.get_ssl_mode(), SslMode::Require) {
        let tls = Tls { ca_file: database.ca_file.clone(), own: None };
        let client = tls.client_of("store").map_err(StoreError::Postgres)?;
        return Ok(config.connect(MakeRustlsConnect::new(client.as_ref().clone()))?);
    }
    Ok(config.connect(NoTls)?)
}

impl From<postgres::Error> for StoreError {
    fn from(e: postgres::Error) -> Self {
        use std::error::Error;
        let text = match (e.as_db_error(), e.source()) {
            (Some(db), _) => format!("PostgreSQL: {}", db.message()),
            (None, Some(source)) => format!("PostgreSQL: {e}: {source}"),
            (None, None) => format!("PostgreSQL: {e}"),
        };
        StoreError::Postgres(text)
    }
}
