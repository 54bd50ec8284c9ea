//! The configuration of the two programs, checked once.
//!
//! Settings come in as text; the results need no further checks: addresses are parsed, ranges are kept. A password file is
//! read if one is named. Each error names the key, the value and what it must be.

mod bridge;
mod journal;
mod keys;
mod metrics;

pub use bridge::{BridgeConfig, Broker, DlqConfig};
pub use keys::{BRIDGE_KEYS, METRICS_KEYS};
pub use metrics::{CommandConfig, MetricsConfig, StoreConfig};

use std::path::Path;

/// The configuration file's place, and whether it must exist.
pub fn file<'a>(asked: Option<&'a Path>, default: &'a str) -> (&'a Path, bool) {
    asked.map_or((Path::new(default), false), |f| (f, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::verdict::ValueFormat;
    use crate::settings::{Key, Settings};

    fn settings(keys: &'static [Key], flags: &[(&'static str, &str)]) -> Settings {
        let flags: Vec<_> = flags.iter().map(|(k, v)| (*k, Some((*v).to_owned()))).collect();
        Settings::gather(keys, Path::new("/nonexistent"), false, "NONE", std::iter::empty(), &flags).unwrap()
    }

    #[test]
    fn defaults_are_sound() {
        let c = BridgeConfig::check(&settings(BRIDGE_KEYS, &[])).unwrap();
        assert_eq!((c.site.as_str(), c.journal.partitions, c.format), ("home", 4, ValueFormat::Json));
        assert_eq!(c.listen, None, "nothing listens unless it is configured");
        let c = BridgeConfig::check(&settings(BRIDGE_KEYS, &[("web.listen", "0")])).unwrap();
        assert!(c.listen.unwrap().ip().is_loopback(), "a port alone is loopback's");
        let c = MetricsConfig::check(&settings(METRICS_KEYS, &[])).unwrap();
        assert!(c.listen.ip().is_loopback());
    }

    #[test]
    fn tls_and_sasl_go_together_or_it_is_said_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "secret\n").unwrap();
        let file = file.to_str().unwrap();
        let check = |flags: &[(&'static str, &str)]| BridgeConfig::check(&settings(BRIDGE_KEYS, flags));
        for (flags, must) in [
            (&[("mqtt.ca_file", file)][..], "must be mqtts://"),
            (
                &[("mqtt.url", "mqtts://h"), ("mqtt.ca_file", "/nonexistent")],
                "mqtt.ca_file = /nonexistent cannot be read",
            ),
            (&[("mqtt.url", "mqtts://h"), ("mqtt.ca_file", file)], "holds no certificate"),
            (&[("mqtt.url", "mqtts://h"), ("mqtt.cert_file", file)], "mqtt.key_file"),
            (&[("journal.url", "kafka://h:1"), ("journal.ca_file", file)], "must be kafka+ssl://"),
            (&[("journal.url", "kafka+ssl://h:1"), ("journal.ca_file", "/nonexistent")], "cannot be read"),
            (&[("journal.url", "kafka+ssl://u@h:1")], "journal.password_file"),
            (&[("journal.url", "kafka+ssl://h:1"), ("journal.password_file", file)], "must have a user"),
            (
                &[("journal.url", "kafka://u@h:1"), ("journal.password_file", file), ("journal.sasl", "plain")],
                "would send the password as it is",
            ),
        ] {
            let failure = check(flags).unwrap_err();
            let text = failure.to_string();
            // A value that came by a flag is wrong usage; a file that cannot be read is wrong configuration.
            assert!(matches!(failure.code(), 2 | 78) && text.contains(must), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
        let sound = check(&[("journal.url", "kafka+ssl://u@h:1"), ("journal.password_file", file)]).unwrap();
        assert_eq!(sound.journal.access.password.as_ref().unwrap().reveal(), "secret");
        assert!(!format!("{sound:?}").contains("secret"));
    }

    #[test]
    fn wrong_values_name_key_value_and_what_they_must_be() {
        for (key, value, must) in [
            ("site", "a/b", "must be 1 to 64"),
            ("mqtt.url", "http://x", "must be mqtt://"),
            ("mqtt.url", "embedded:x", "0 to 65535"),
            ("journal.url", "kafka:x", "must be kafka://[USER@]"),
            ("journal.prefix", "a b", "at most 32"),
            ("journal.sasl", "kerberos", "scram-sha-512"),
            ("relay.value", "xml", "json or postcard"),
            ("web.listen", "nowhere", "must be a port, or an address"),
            ("mqtt.password_file", "/nonexistent", "cannot be read"),
        ] {
            let e = BridgeConfig::check(&settings(BRIDGE_KEYS, &[(key, value)])).unwrap_err();
            assert_eq!(e.code(), 2, "the value came by a flag");
            let e = e.to_string();
            assert!(e.contains(key) && e.contains(value) && e.contains(must), "{e}");
        }
        let e = MetricsConfig::check(&settings(METRICS_KEYS, &[("web.listen", "x")])).unwrap_err();
        assert!(e.to_string().contains("web.listen: `x` must be an address"));
        let e = MetricsConfig::check(&settings(METRICS_KEYS, &[("web.listen", "0.0.0.0:1")])).unwrap_err();
        assert!(e.to_string().contains("web.token_file"), "{e}");
        let e = BridgeConfig::check(&settings(BRIDGE_KEYS, &[("mqtt.url", "mqtt://u:secret@h:x")])).unwrap_err();
        assert!(e.to_string().contains("mqtt://u:***@h:x"), "{e}");
        let embedded = BridgeConfig::check(&settings(BRIDGE_KEYS, &[("mqtt.url", "embedded:5")]));
        assert_eq!(embedded.unwrap().broker, Broker::Embedded(5));
    }
}
