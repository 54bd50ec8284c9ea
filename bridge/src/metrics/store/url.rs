//! Where a store is: a SQLite file or a PostgreSQL database, as the command line and the configuration name it.
//!
//! [`StoreUrl`] is parsed from `sqlite:FILE`, `FILE` or `postgres://USER[:PASSWORD]@HOST[:PORT]/DB[?sslmode=require]`. Its
//! text form never has the password.

use crate::journal::Secret;
use std::path::PathBuf;

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database.
    Postgres(Database),
}

/// A PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// The URL, with its password if it has one.
    pub url: Secret,
    /// The URL without its password, to be shown.
    shown: String,
    /// The password, if it is not in the URL.
    pub password: Option<Secret>,
    /// PEM file with the CA of the server's certificate; none: the system's CAs.
    pub ca_file: Option<PathBuf>,
}

impl Database {
    /// Whether the URL has a password.
    pub fn has_password(&self) -> bool {
        self.url.reveal() != self.shown
    }
}

impl std::str::FromStr for StoreUrl {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        const MUST: &str = "must be sqlite:FILE, FILE or postgres://USER@HOST[:PORT]/DB";
        let Some(rest) = s.strip_prefix("postgres://").or_else(|| s.strip_prefix("postgresql://")) else {
            let file = s.strip_prefix("sqlite:").unwrap_or(s);
            let is_other = file.is_empty() || file.contains("://");
            return if is_other { Err(MUST.to_owned()) } else { Ok(StoreUrl::Sqlite(PathBuf::from(file))) };
        };
        let (login, address) = rest.rsplit_once('@').ok_or(MUST)?;
        let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
        let (host, database) = address.split_once('/').ok_or(MUST)?;
        if user.is_empty() || host.is_empty() || database.is_empty() || database.starts_with('?') {
            return Err(MUST.to_owned());
        }
        let shown = format!("postgres://{user}@{address}");
        let url = match password {
            Some(password) => format!("postgres://{user}:{password}@{address}"),
            None => shown.clone(),
        };
        Ok(StoreUrl::Postgres(Database { url: Secret::new(url), shown, password: None, ca_file: None }))
    }
}

impl std::fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreUrl::Sqlite(file) => write!(f, "{}", file.display()),
            StoreUrl::Postgres(database) => f.write_str(&database.shown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown_without_their_password() {
        for (text, shown) in [
            ("/var/lib/x.db", "/var/lib/x.db"),
            ("sqlite:x.db", "x.db"),
            ("postgres://me@h/db", "postgres://me@h/db"),
            ("postgresql://me:secret@h:5433/db?sslmode=require", "postgres://me@h:5433/db?sslmode=require"),
        ] {
            let url: StoreUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("secret"));
        }
        for bad in ["", "sqlite:", "postgres://h/db", "postgres://me@h", "postgres://me@/db", "mysql://me@h/db"] {
            assert!(bad.parse::<StoreUrl>().is_err(), "{bad}");
        }
    }
}
