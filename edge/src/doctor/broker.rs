//! Broker: whether it can be reached, takes our packets, has a bridge for our site, and whether our name is ours alone.
//!
//! The broker is asked under another client id, so that a running edge is not pushed off, and nothing is published. The
//! lines report what was found and what to type.

use super::host::Host;
use super::spool::{self, Here};
use crate::config::{Config, Mqtt};
use crate::outbox::{self, Kept, Unseen};
use ::host::check::Line;
use firmware::limits::{PACKET_BYTES_MAX, RECORD_BYTES_MAX};
use serde::Deserialize;
use std::time::Duration;

/// How long each step towards the broker may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long messages of another edge are waited for: at one frame a second one arrives.
const LISTEN: Duration = Duration::from_millis(2500);

/// Most bytes of a PUBLISH packet around its payload: header, identifier and topic.
const TOPIC_BYTES: usize = 5 + 2 + 2 + "hueflow///metrics".len() + 2 * 64;

/// The status of a bridge.
#[derive(Debug, Deserialize)]
struct BridgeStatus {
    state: String,
    #[serde(default)]
    journal: bool,
}

/// The status of a device.
#[derive(Debug, Deserialize)]
struct Status {
    state: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    boot: String,
}

impl Status {
    fn read(kept: &Kept) -> Option<Status> {
        serde_json::from_slice(kept.status.as_deref()?).ok()
    }

    fn boot(&self) -> Option<u64> {
        u64::from_str_radix(&self.boot, 16).ok()
    }
}

/// The broker and the device's name there.
pub(super) fn check(host: &Host, config: &Config) -> Vec<Line> {
    let Some(mqtt) = &config.mqtt else {
        let what = "none is named: the edge works alone, and keeps its records";
        return vec![Line::warning("broker", what, "--mqtt mqtt://HOST:1883, or mqtt.url in /etc/hueflow/edge.toml")];
    };
    let here = spool::here(host, config);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return vec![Line::wrong("broker", format!("a socket cannot be opened: {e}"), "")],
    };
    // Who is this machine's own edge need not be listened for.
    let listen = |kept: &Kept| {
        let status = Status::read(kept).filter(|s| s.state == "online");
        status.filter(|s| s.boot().is_none_or(|b| !here.boots.contains(&b))).map(|_| LISTEN)
    };
    match runtime.block_on(outbox::look(mqtt, PATIENCE, listen)) {
        Ok(Ok(kept)) => {
            let user = mqtt.user.as_ref().map_or_else(String::new, |u| format!(" as {u}"));
            let over = if mqtt.tls.is_some() { ", over TLS" } else { "" };
            let answers = format!("{}:{} answers{user}{over}", mqtt.host, mqtt.port);
            let limit = runtime.block_on(outbox::packet_limit(mqtt, PATIENCE)).unwrap_or_default();
            vec![packets(&answers, limit), bridge(mqtt, &kept), device(mqtt, &kept, &here)]
        }
        Ok(Err(unseen)) => vec![away(&unseen)],
        Err(failure) => vec![Line::misconfigured(
            "broker",
            failure.to_string(),
            "mqtt.password_file, mqtt.ca_file, mqtt.cert_file and mqtt.key_file: files that this user may read",
        )],
    }
}

/// Whether it takes all that an edge sends.
fn packets(answers: &str, limit: Option<usize>) -> Line {
    let needed = RECORD_BYTES_MAX + TOPIC_BYTES;
    match limit {
        None => Line::ok("broker", answers),
        Some(limit) if limit >= needed => Line::warning(
            "broker",
            format!("{answers}, and takes packets of at most {limit} bytes: pictures that are larger are dropped"),
            format!("on the broker: {PACKET_BYTES_MAX} (mosquitto: max_packet_size)"),
        ),
        Some(limit) => Line::wrong(
            "broker",
            format!(
                "{answers}, and hangs up on packets of more than {limit} bytes, so it takes packets of at most {limit}; \
                 records have up to {needed}: what does not fit is declared lost, or dropped if it is a picture"
            ),
            format!("on the broker: {PACKET_BYTES_MAX} (mosquitto: max_packet_size)"),
        ),
    }
}

/// Whether a bridge answers for the site: without one, records wait in the spool.
fn bridge(mqtt: &Mqtt, kept: &Kept) -> Line {
    let site = &mqtt.site;
    let state = kept.bridge.as_deref().and_then(|b| serde_json::from_slice::<BridgeStatus>(b).ok());
    match state {
        Some(b) if b.state == "online" && b.journal => Line::ok("bridge", format!("one answers for site {site}")),
        Some(b) if b.state == "online" => Line::warning(
            "bridge",
            format!("one answers for site {site}, and cannot reach its journal: records wait in the spool"),
            "hueflow-bridge doctor, where the bridge runs",
        ),
        Some(b) => Line::warning(
            "bridge",
            format!("the one of site {site} is {}: records wait in the spool", b.state),
            format!("hueflow-bridge run --site {site}"),
        ),
        None => Line::warning(
            "bridge",
            format!("none has ever answered for site {site}: records wait in the spool"),
            format!("hueflow-bridge run --site {site}, or mqtt.site (--site) as the bridge has it"),
        ),
    }
}

fn away(unseen: &Unseen) -> Line {
    let what = unseen.to_string();
    match unseen {
        Unseen::Unresolved(host, _) => {
            Line::wrong("broker", what, format!("getent hosts {host}; or mqtt.url with an address"))
        }
        Unseen::Unreachable(..) => Line::wrong(
            "broker",
            what,
            "is it running, and does a firewall let this port through? hueflow-bridge run --mqtt embedded:1883 has one",
        ),
        Unseen::Credentials(..) => Line::misconfigured(
            "broker",
            what,
            "mqtt.url = \"mqtt://USER@HOST:1883\" and mqtt.password_file; on the broker: mosquitto_passwd FILE USER",
        ),
        Unseen::Untrusted(address, _) => Line::misconfigured(
            "broker",
            what,
            format!("openssl s_client -connect {address} </dev/null shows what it has"),
        ),
        Unseen::Refused(..) => {
            Line::wrong("broker", what, "allow clients of MQTT 3.1.1 on the broker, or name another one")
        }
        Unseen::Odd(..) => Line::wrong(
            "broker",
            what,
            "mqtt.url: mqtt:// on its plain port, 1883 as a rule, or mqtts:// on its TLS port, 8883; MQTT 3.1.1 must be \
             allowed there",
        ),
    }
}

/// Whether the device's name is its own.
fn device(mqtt: &Mqtt, kept: &Kept, here: &Here) -> Line {
    let name = format!("{}/{}", mqtt.site, mqtt.device);
    let own_name = "mqtt.device = \"ANOTHER\" here or there (--device)";
    let Some(status) = Status::read(kept) else {
        return match &kept.status {
            Some(_) => Line::warning("device", format!("{name}: what is kept of it cannot be read"), own_name),
            None => Line::ok("device", format!("{name}: no edge has used this name yet")),
        };
    };
    if status.state != "online" {
        return Line::ok("device", format!("{name}: it was here before, and is {} now", status.state));
    }
    let boot = status.boot().unwrap_or(0);
    let who = format!("{name}: boot {} (version {}) is online", status.boot, status.version);
    if here.boots.contains(&boot) {
        return Line::ok("device", format!("{who}: it is this machine's own edge"));
    }
    let sends = !kept.streams.is_empty();
    match here.processes.as_slice() {
        // With its spool unreadable it can be that one; with another boot known, it is another.
        [pid, ..] if here.boots.is_empty() => Line::warning(
            "device",
            format!("{who}; it may be this machine's own edge, process {pid}, whose spool this user cannot read"),
            "sudo hueflow-edge doctor, to be sure",
        ),
        _ if sends => Line::misconfigured(
            "device",
            format!("{who} and sends, from another machine: two under one name push each other off"),
            own_name,
        ),
        _ => Line::warning(
            "device",
            format!(
                "{who}, and sent nothing in {} s: another machine, or a last word that the broker has lost",
                LISTEN.as_secs_f32()
            ),
            format!("if there is another: {own_name}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::host::check::State;

    fn mqtt() -> Mqtt {
        Mqtt { host: "h".into(), port: 1, site: "home".into(), device: "pi".into(), ..Mqtt::default() }
    }

    fn kept(status: &str, streams: &[u64]) -> Kept {
        Kept { status: Some(status.into()), streams: streams.into(), ..Kept::default() }
    }

    const ONLINE: &str = r#"{"state":"online","version":"0.1.0","boot":"00000000000000ac"}"#;

    #[test]
    fn another_boot_under_this_name_is_told_from_our_own() {
        let here = |boots: &[u64], processes: &[u32]| Here { boots: boots.into(), processes: processes.into() };
        let look = |kept: &Kept, here: &Here| device(&mqtt(), kept, here);
        assert_eq!(look(&Kept::default(), &here(&[], &[])).state, State::Ok);
        let before = look(&kept(r#"{"state":"offline"}"#, &[]), &here(&[], &[]));
        assert!(before.state == State::Ok && before.what.contains("is offline now"), "{before}");
        let own = look(&kept(ONLINE, &[]), &here(&[0xAC], &[7]));
        assert!(own.state == State::Ok && own.what.ends_with("this machine's own edge"), "{own}");
        let maybe = look(&kept(ONLINE, &[0xAC]), &here(&[], &[7]));
        assert!(maybe.state == State::Warning && maybe.what.contains("process 7"), "{maybe}");
        for here in [here(&[], &[]), here(&[0xBE], &[7])] {
            let other = look(&kept(ONLINE, &[0xAC]), &here);
            assert!(other.state == State::Misconfigured && other.what.contains("boot 00000000000000ac"), "{other}");
            assert_eq!(look(&kept(ONLINE, &[]), &here).state, State::Warning, "it may be long gone");
        }
        assert_eq!(look(&kept("{", &[]), &here(&[], &[])).state, State::Warning);
    }

    #[test]
    fn a_broker_of_small_packets_and_a_site_without_a_bridge_are_said() {
        assert_eq!(packets("h:1 answers", None).state, State::Ok);
        assert_eq!(packets("h:1 answers", Some(65_000)).state, State::Warning);
        let small = packets("h:1 answers", Some(2048));
        assert!(small.state == State::Wrong && small.advice.contains("max_packet_size"), "{small}");
        let of = |b: Option<&str>| bridge(&mqtt(), &Kept { bridge: b.map(Into::into), ..Kept::default() });
        assert_eq!(of(Some(r#"{"state":"online","journal":true}"#)).state, State::Ok);
        for (status, word) in
            [(Some(r#"{"state":"online"}"#), "journal"), (Some(r#"{"state":"offline"}"#), "offline"), (None, "none")]
        {
            let line = of(status);
            assert!(line.state == State::Warning && line.what.contains(word), "{line}");
        }
    }

    #[test]
    fn each_way_to_miss_a_broker_says_what_to_type() {
        let (a, b) = ("h:1883".to_owned(), "x".to_owned());
        assert!(away(&Unseen::Unresolved(a.clone(), b.clone())).advice.starts_with("getent hosts h"));
        assert!(away(&Unseen::Unreachable(a.clone(), b.clone())).advice.contains("firewall"));
        let refused = away(&Unseen::Credentials(a.clone(), b.clone()));
        assert!(refused.state == State::Misconfigured && refused.advice.contains("mqtt.password_file"));
        let untrusted = away(&Unseen::Untrusted(a.clone(), b.clone()));
        assert!(untrusted.state == State::Misconfigured && untrusted.advice.contains("s_client -connect h:1883"));
        assert!(away(&Unseen::Refused(a.clone(), b.clone())).advice.contains("3.1.1"));
        assert!(away(&Unseen::Odd(a, b)).advice.contains("TLS"));
    }
}
