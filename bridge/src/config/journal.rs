//! The journal's settings, which both programs have: URL, TLS and user.
//!
//! Settings come in as text; the result needs no further checks. A password file is read, certificates are only opened.

use crate::failure::Failure;
use crate::journal::{Access, JournalConfig, JournalUrl, Secret};
use crate::settings::Settings;
use std::path::PathBuf;

/// A certificate and its key: both, or neither.
pub(super) fn own_certificate(s: &Settings, cert: &str, key: &str) -> Result<Option<(PathBuf, PathBuf)>, Failure> {
    match (s.some(cert), s.some(key)) {
        (Some(cert), Some(key)) => Ok(Some((cert.into(), key.into()))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(s.wrong(key, &format!("must name a file where {cert} does"))),
        (None, Some(_)) => Err(s.wrong(cert, &format!("must name a file where {key} does"))),
    }
}

pub(super) fn journal(s: &Settings) -> Result<JournalConfig, Failure> {
    let url: JournalUrl = s.text("journal.url").parse().map_err(|e: String| s.wrong("journal.url", &e))?;
    let prefix = s.text("journal.prefix").to_owned();
    if prefix.len() > 32 || !prefix.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) {
        return Err(s.wrong("journal.prefix", "must be at most 32 letters, digits, `.`, `-` or `_`"));
    }
    let access = access(s, &url)?;
    let number = |name| s.number(name).unsigned_abs();
    Ok(JournalConfig {
        url,
        access,
        prefix,
        partitions: i32::try_from(number("journal.partitions")).unwrap_or(1),
        replication: i32::try_from(number("journal.replication")).unwrap_or(1),
        retention_days: u32::try_from(number("journal.retention_days")).unwrap_or(7),
        video_bytes_max: number("journal.video_mib_max") << 20,
    })
}

/// TLS and SASL of a cluster, as far as they go together.
pub(super) fn access(s: &Settings, url: &JournalUrl) -> Result<Access, Failure> {
    let mechanism = match s.text("journal.sasl").to_ascii_lowercase().as_str() {
        "scram-sha-512" => "SCRAM-SHA-512",
        "scram-sha-256" => "SCRAM-SHA-256",
        "plain" => "PLAIN",
        _ => return Err(s.wrong("journal.sasl", "must be scram-sha-512, scram-sha-256 or plain")),
    };
    let JournalUrl::Kafka(cluster) = url else { return Ok(Access { mechanism, ..Access::default() }) };
    let password = match s.some("journal.password_file") {
        Some(file) => Some(std::fs::read_to_string(file).map_err(|e| cannot_read(s, "journal.password_file", &e))?),
        None => None,
    };
    let ca_file = s.some("journal.ca_file").map(PathBuf::from);
    let own = own_certificate(s, "journal.cert_file", "journal.key_file")?;
    for key in ["journal.ca_file", "journal.cert_file", "journal.key_file"] {
        if let Some(file) = s.some(key) {
            std::fs::File::open(file).map_err(|e| cannot_read(s, key, &e))?;
        }
    }
    let wrong = |key, must| Err(s.wrong(key, must));
    match (&cluster.user, &password) {
        _ if (cluster.tls || cluster.user.is_some()) && !cfg!(feature = "kafka-tls") => {
            wrong("journal.url", "asks for TLS or a user, which this build does not have for Kafka")
        }
        _ if !cluster.tls && (ca_file.is_some() || own.is_some()) => {
            wrong("journal.url", "must be kafka+ssl:// where journal.ca_file or journal.cert_file is set")
        }
        (Some(_), None) => wrong("journal.password_file", "must name a file where journal.url has a user"),
        (None, Some(_)) => wrong("journal.url", "must have a user (USER@) where journal.password_file is set"),
        (Some(_), Some(_)) if !cluster.tls && mechanism == "PLAIN" => {
            wrong("journal.sasl", "would send the password as it is: only with kafka+ssl://")
        }
        _ => {
            let password = password.map(|p| Secret::new(p.trim_end().to_owned()));
            Ok(Access { mechanism, password, ca_file, own })
        }
    }
}

pub(super) fn cannot_read(s: &Settings, key: &str, error: &std::io::Error) -> Failure {
    s.wrong(key, &format!("cannot be read: {error}"))
}
