//! The modules that may use a foreign crate.
//!
//! Each crate that does outside work is used behind few modules, so that it can be replaced there. The rule looks at the
//! code of the programs and of the core; tests and comments may name any crate.

use crate::source::Source;

/// What a use of a crate looks like, and the files that may have it.
const DOORS: &[(&str, &[&str])] = &[
    (
        "rumqttc::",
        &[
            "edge/src/outbox.rs",
            "edge/src/outbox/connection.rs",
            "edge/src/outbox/fault.rs",
            "edge/src/outbox/look.rs",
            "firmware/host/src/broker.rs",
            "bridge/src/mqtt/mod.rs",
            "bridge/src/mqtt/commander.rs",
            "bridge/src/relay/mqtt/mod.rs",
            "bridge/src/relay/mqtt/probe.rs",
        ],
    ),
    ("rustls::", &["firmware/host/src/tls.rs", "bridge/src/metrics/store/postgres/connect.rs"]),
    ("tokio_postgres_rustls::", &["bridge/src/metrics/store/postgres/connect.rs"]),
    (
        "use postgres::",
        &[
            "bridge/src/metrics/store/mod.rs",
            "bridge/src/metrics/store/postgres/mod.rs",
            "bridge/src/metrics/store/postgres/claims.rs",
            "bridge/src/metrics/store/postgres/connect.rs",
            "bridge/src/metrics/store/postgres/events.rs",
            "bridge/src/metrics/store/postgres/maintain.rs",
            "bridge/src/metrics/store/postgres/pages.rs",
            "bridge/src/metrics/store/postgres/query.rs",
            "bridge/src/metrics/store/postgres/rows.rs",
            "bridge/src/metrics/store/postgres/schema.rs",
            "bridge/src/metrics/store/postgres/statements.rs",
            "bridge/src/metrics/store/postgres/tables.rs",
            "bridge/src/metrics/store/postgres/transfer.rs",
        ],
    ),
    (
        "rdkafka::",
        &[
            "bridge/src/journal/kafka/mod.rs",
            "bridge/src/journal/kafka/append.rs",
            "bridge/src/journal/kafka/survey.rs",
            "bridge/src/journal/kafka/client.rs",
            "bridge/src/journal/kafka/group.rs",
            "bridge/src/journal/kafka/reader.rs",
        ],
    ),
    ("rumqttd::", &["bridge/src/relay/broker.rs"]),
    (
        "axum::",
        &[
            "bridge/src/metrics/http/mod.rs",
            "bridge/src/metrics/http/api.rs",
            "bridge/src/metrics/http/assets.rs",
            "bridge/src/metrics/http/command.rs",
            "bridge/src/metrics/http/diagram.rs",
            "bridge/src/metrics/http/events.rs",
            "bridge/src/metrics/http/guard.rs",
            "bridge/src/metrics/http/outage.rs",
            "bridge/src/metrics/http/pictures.rs",
            "bridge/src/metrics/http/what_if.rs",
            "bridge/src/relay/endpoint.rs",
        ],
    ),
    ("postcard::", &["firmware/src/wire/mod.rs"]),
    ("minifb::", &["edge/src/panel/window/surface.rs"]),
    ("use v4l::", &["edge/src/camera/v4l/mod.rs", "edge/src/camera/v4l/look.rs", "edge/src/camera/v4l/open.rs"]),
    (
        "linux_embedded_hal::",
        &["edge/src/panel/spi/mod.rs", "edge/src/panel/spi/wire.rs", "edge/src/panel/spi/gpio.rs"],
    ),
    ("embedded_hal::digital", &["edge/src/lines.rs", "edge/src/event/mod.rs", "edge/src/panel/spi/gpio.rs"]),
    ("use drm::", &["edge/src/panel/kms.rs"]),
    ("mipidsi::", &["edge/src/panel/spi/mod.rs", "edge/src/panel/spi/wire.rs"]),
    ("sd_notify::", &["edge/src/service.rs"]),
    ("turbojpeg::", &["edge/src/camera/decode/jpeg.rs"]),
    ("use image::", &["edge/src/camera/decode/still.rs"]),
    ("jpeg_encoder::", &["edge/src/parcel.rs", "edge/src/panel/preview/http.rs"]),
    ("signal_hook::", &["edge/src/signals.rs"]),
    ("env_logger::", &["edge/src/logs.rs", "bridge/src/cli.rs"]),
    ("rustls_native_certs::", &["firmware/host/src/tls.rs"]),
    ("crc32fast::", &["firmware/src/custody/envelope.rs"]),
    ("ndarray::", &["bridge/src/metrics/silhouette/mod.rs", "bridge/src/metrics/silhouette/sampled.rs"]),
    ("jiff::", &["bridge/src/clock.rs"]),
    ("subtle::", &["bridge/src/metrics/http/gate.rs"]),
    ("csv::Writer", &["bridge/src/metrics/export/text.rs"]),
    ("use ::parquet::", &["bridge/src/metrics/export/parquet.rs"]),
    ("sha2::", &["bridge/src/relay/verdict.rs"]),
    ("toml_edit::", &["edge/src/learn/save.rs"]),
];

/// Files that use a crate for which they are no door.
pub fn check(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|s| s.is_program()) {
        let used = DOORS.iter().filter(|(name, _)| source.code().contains(name));
        let unwanted = used.filter(|(_, doors)| !doors.contains(&source.path.as_str()));
        found.extend(unwanted.map(|(name, _)| format!("{} uses {name}", source.path)));
    }
    found
}

/// Doors that use their crate no more, or are gone.
pub fn check_doors(sources: &[Source]) -> Vec<String> {
    let is_used = |path: &str, name: &str| sources.iter().any(|s| s.path == path && s.code().contains(name));
    let doors = DOORS.iter().flat_map(|(name, doors)| doors.iter().map(move |door| (name, door)));
    doors
        .filter(|(name, door)| !is_used(door, name))
        .map(|(name, door)| format!("{door} does not use {name}"))
        .collect()
}

#[test]
fn each_foreign_crate_is_used_behind_few_modules_and_each_of_them_uses_it() {
    let sources = Source::all();
    assert_eq!(check(&sources), [""; 0]);
    assert_eq!(check_doors(&sources), [""; 0]);
}

#[test]
fn a_planted_use_of_a_foreign_crate_is_found() {
    let planted = |path: &str, text: &str| check(&[Source::new(path, text)]);
    assert_eq!(planted("edge/src/see.rs", "use rumqttc::Client;"), ["edge/src/see.rs uses rumqttc::"]);
    assert_eq!(planted("bridge/src/journal/local/mod.rs", "fn f() { rdkafka::f() }").len(), 1);
    for (path, harmless) in [
        ("edge/src/outbox.rs", "use rumqttc::Client;"),
        ("edge/src/see.rs", "// use rumqttc::Client;"),
        ("edge/src/see.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use rumqttc::Client;\n}"),
        ("tests/e2e/chain.rs", "use rumqttc::Client;"),
    ] {
        assert_eq!(planted(path, harmless), [""; 0], "{harmless}");
    }
    let doors = check_doors(&[Source::new("edge/src/service.rs", "use sd_notify::NotifyState;")]);
    assert!(!doors.iter().any(|d| d.contains("sd_notify")) && doors.len() > 50, "{doors:?}");
}
