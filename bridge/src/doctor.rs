//! `doctor`: whether the two programs can use this machine and its services. One line a check: ok, or what is wrong and what
//! to type.
//!
//! The input is a configuration; the results are lines on standard output, and the exit code. The broker (with a client id of
//! its own), the journal and the files are only read, and a port is bound for a moment. No topic, file or folder is made.

use crate::config::{BridgeConfig, Broker, MetricsConfig};
use crate::failure::Failure;
use crate::journal::kafka::KafkaJournal;
use crate::journal::{JournalConfig, JournalError, JournalUrl, names_settings};
use crate::metrics::store::postgres;
use crate::metrics::store::url::StoreUrl;
use crate::relay::mqtt::{self, ProbeError};
use host::check::{self, Line, State};
use host::exit::Code;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// Present when systemd's time service has set the clock.
const CLOCK_SYNCED_FILE: &str = "/run/systemd/timesync/synchronized";
/// A disk with less is soon full: two hours of records of ten cameras.
const FREE_BYTES_MIN: u64 = 1 << 30;
const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

fn line(check: &'static str, state: State, what: impl Into<String>, advice: impl Into<String>) -> Line {
    Line::new(check, state, what, advice)
}

fn ok(check: &'static str, what: impl Into<String>) -> Line {
    Line::ok(check, what)
}

/// Checks what `hueflow-bridge` needs.
///
/// # Errors
/// [`Failure`] if the configuration is wrong, or something necessary is.
pub fn bridge(config: Result<BridgeConfig, Failure>) -> Result<(), Failure> {
    let config = checked(config)?;
    let mut lines = vec![broker(&config)];
    lines.extend(journal(&config.journal));
    lines.push(clock());
    print_lines(&lines)
}

/// Checks what `hueflow-metrics` needs.
///
/// # Errors
/// As [`bridge`].
pub fn metrics(config: Result<MetricsConfig, Failure>) -> Result<(), Failure> {
    let config = checked(config)?;
    let mut lines = journal(&config.journal);
    lines.push(store(&config.store.url));
    lines.push(port("page", config.listen, "--listen ADDRESS, or web.listen"));
    lines.push(clock());
    print_lines(&lines)
}

fn checked<T>(config: Result<T, Failure>) -> Result<T, Failure> {
    config.inspect_err(|f| {
        println!("{}", line("config", State::Misconfigured, f.to_string(), "put it right, then again"))
    })
}

fn print_lines(lines: &[Line]) -> Result<(), Failure> {
    for line in lines {
        println!("{line}");
    }
    match check::verdict(lines) {
        None => Ok(()),
        Some((Code::Config, text)) => Err(Failure::Config(text)),
        Some((_, text)) => Err(Failure::Unavailable(text)),
    }
}

fn broker(config: &BridgeConfig) -> Line {
    let url = match &config.broker {
        Broker::Embedded(port) => {
            return port_of_embedded(SocketAddr::from((Ipv4Addr::LOCALHOST, *port)));
        }
        Broker::Remote(url) => url,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return line("broker", State::Wrong, format!("a socket cannot be opened: {e}"), ""),
    };
    match runtime.block_on(mqtt::probe_broker(url, &config.site)) {
        Ok(true) => ok(
            "broker",
            format!("{url} answers; a bridge is online for site {}: another one needs --standby", config.site),
        ),
        Ok(false) => ok("broker", format!("{url} answers; no bridge is online for site {}", config.site)),
        Err(unseen) => {
            let (state, advice) = match &unseen {
                ProbeError::Unresolved(..) => (State::Wrong, "mqtt.url with an address"),
                ProbeError::Unreachable(..) => {
                    (State::Wrong, "sudo systemctl start mosquitto, or --mqtt embedded:1883")
                }
                ProbeError::Credentials(..) => {
                    (State::Misconfigured, "mqtt.url = \"mqtt://USER@HOST:1883\" and mqtt.password_file")
                }
                ProbeError::Untrusted(..) => {
                    (State::Misconfigured, "openssl s_client -connect HOST:8883 </dev/null shows what it has")
                }
                ProbeError::Odd(..) => (
                    State::Wrong,
                    "mqtt.url: mqtt:// on its plain port, 1883 as a rule, or mqtts:// on its TLS port, 8883",
                ),
            };
            line("broker", state, format!("{url}: {unseen}"), advice)
        }
    }
}

fn port_of_embedded(address: SocketAddr) -> Line {
    match address.port() {
        0 => ok("broker", "embedded, on any free port"),
        _ => port("broker", address, "--mqtt embedded:PORT, another one"),
    }
}

/// Whether an address can be listened on.
fn port(check: &'static str, address: SocketAddr, advice: &str) -> Line {
    match TcpListener::bind(address) {
        Ok(_) => ok(check, format!("{address} is free")),
        Err(e) if e.kind() == ErrorKind::AddrInUse => {
            line(check, State::Warning, format!("{address} is in use, by this program itself perhaps"), advice)
        }
        Err(e) => line(check, State::Wrong, format!("{address}: {e}"), advice),
    }
}

fn journal(config: &JournalConfig) -> Vec<Line> {
    let path = match &config.url {
        JournalUrl::Local(path) => path,
        JournalUrl::Kafka(_) => return kafka(config),
    };
    vec![file("journal", path, "--journal local:FILE, or journal.url")]
}

fn kafka(config: &JournalConfig) -> Vec<Line> {
    // What is logged of it is in the line.
    log::set_max_level(log::LevelFilter::Error);
    let looked = KafkaJournal::open(config, false).and_then(|j| j.survey());
    let survey = match looked {
        Ok(survey) => survey,
        Err(JournalError::Away(what)) if names_settings(&what) => {
            let advice = "put that right, here or there";
            return vec![line("journal", State::Misconfigured, format!("{}: {what}", config.url), advice)];
        }
        Err(e @ (JournalError::Away(_) | JournalError::Refused(_))) => {
            let advice =
                "are the brokers running, and do their advertised.listeners name an address that is reached from here?";
            return vec![line("journal", State::Wrong, format!("{}: {e}", config.url), advice)];
        }
        Err(e) => {
            return vec![line(
                "journal",
                State::Misconfigured,
                format!("{}: {e}", config.url),
                "journal.url, journal.prefix",
            )];
        }
    };
    let advice = "set advertised.listeners of that broker to an address that this machine reaches";
    let mut lines = match survey.unreachable.as_slice() {
        [] => vec![ok("journal", format!("{} answers with {} brokers", config.url, survey.brokers))],
        all => {
            all.iter().map(|what| line("journal", State::Wrong, format!("{}: {what}", config.url), advice)).collect()
        }
    };
    lines.push(if survey.missing.is_empty() {
        ok("topics", format!("{} are there", survey.topics))
    } else {
        let what = format!("missing: {}", survey.missing.join(", "));
        line("topics", State::Warning, what, "hueflow-bridge run makes them, where the brokers allow it")
    });
    lines.extend(
        survey
            .warnings
            .into_iter()
            .map(|w| line("topics", State::Warning, w, "kafka-configs.sh --alter, or kafka-topics.sh")),
    );
    lines
}

fn store(url: &StoreUrl) -> Line {
    match url {
        StoreUrl::Sqlite(path) => file("store", path, "--store FILE, or store.file"),
        StoreUrl::Postgres(database) => match postgres::look(database) {
            Ok(what) => ok("store", format!("{url}: {what}")),
            Err(e) => {
                let advice = "is PostgreSQL running, and are user, password (store.password_file, PGPASSWORD) and database right?";
                line("store", State::Wrong, format!("{url}: {e}"), advice)
            }
        },
    }
}

/// A SQLite file that can be written, or made, and the disk that it is on.
fn file(check: &'static str, path: &Path, advice: &str) -> Line {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let shown = path.display();
    let wrong = |what: String| line(check, State::Wrong, what, advice);
    let there = match path.ancestors().find(|p| p.exists()) {
        Some(there) => there.to_owned(),
        None => PathBuf::from("/"),
    };
    if there == path {
        let mut head = [0; 16];
        match std::fs::File::options().read(true).write(true).open(&path).and_then(|mut f| f.read(&mut head)) {
            Ok(0) => {}
            Ok(_) if head == *SQLITE_MAGIC => {}
            Ok(_) => return line(check, State::Misconfigured, format!("{shown} is there, and no SQLite file"), advice),
            Err(e) => return wrong(format!("{shown}: {e}")),
        }
    }
    let dir = if there == path { there.parent().unwrap_or(&there) } else { &there };
    if !dir.is_dir() {
        return line(check, State::Misconfigured, format!("{shown}: {} is no folder", dir.display()), advice);
    }
    if let Err(e) = rustix::fs::access(dir, rustix::fs::Access::WRITE_OK) {
        return wrong(format!("{shown}: {}: {e}", dir.display()));
    }
    let free = rustix::fs::statvfs(dir).map_or(u64::MAX, |s| s.f_bavail.saturating_mul(s.f_frsize));
    let made = if there == path { "" } else { " (will be made)" };
    let what = format!("{shown}{made}: {} MiB free", free >> 20);
    if free < FREE_BYTES_MIN {
        line(check, State::Warning, what, format!("free some, or {advice}"))
    } else {
        ok(check, what)
    }
}

fn clock() -> Line {
    if Path::new(CLOCK_SYNCED_FILE).exists() {
        return ok("clock", "synchronised by systemd-timesyncd");
    }
    let what = "not known to be synchronised: records of edges without a clock get this one's time";
    line("clock", State::Warning, what, "sudo apt install systemd-timesyncd && sudo timedatectl set-ntp true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_can_be_written_or_made_or_it_is_said_why_not() {
        let dir = tempfile::tempdir().unwrap();
        let look = |name: &str| file("store", &dir.path().join(name), "--store FILE");
        assert!(look("a/b/store.db").what.contains("(will be made)"), "{}", look("a/b/store.db"));
        assert!(!dir.path().join("a").exists(), "nothing is made");
        std::fs::write(dir.path().join("text"), "something else altogether").unwrap();
        assert_eq!(look("text").state, State::Misconfigured);
        assert_eq!(look("text/store.db").state, State::Misconfigured);
        rusqlite::Connection::open(dir.path().join("good.db")).unwrap().execute_batch("CREATE TABLE x (y)").unwrap();
        assert_ne!(look("good.db").state, State::Misconfigured);
    }

    #[test]
    fn a_port_is_free_or_in_use() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(port("page", address, "x").state, State::Warning);
        drop(taken);
        assert_eq!(port("page", address, "x").state, State::Ok);
        assert_eq!(port_of_embedded("127.0.0.1:0".parse().unwrap()).state, State::Ok);
    }
}
