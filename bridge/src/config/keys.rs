//! The keys of the two programs' configurations: names, what values may be, defaults and help.
//!
//! The lists are data: `print-config`, `check-config` and the tests of the documents read them.

use crate::settings::{Key, Shape};

const JOURNAL_KEYS: [Key; 11] = [
    Key {
        name: "journal.url",
        shape: Shape::Text,
        default: "local:/var/lib/hueflow/journal.db",
        help: "The journal: kafka://[USER@]HOST:PORT[,HOST:PORT...], kafka+ssl:// for TLS, or local:FILE.",
    },
    Key { name: "journal.password_file", shape: Shape::Text, default: "", help: "File with that user's password." },
    Key {
        name: "journal.sasl",
        shape: Shape::Text,
        default: "scram-sha-512",
        help: "How Kafka is shown the password: scram-sha-512, scram-sha-256 or plain.",
    },
    Key {
        name: "journal.ca_file",
        shape: Shape::Text,
        default: "",
        help: "PEM file with the CA that signed the brokers' certificates; empty for the system's.",
    },
    Key {
        name: "journal.cert_file",
        shape: Shape::Text,
        default: "",
        help: "PEM file with a certificate to show to Kafka; empty for none.",
    },
    Key { name: "journal.key_file", shape: Shape::Text, default: "", help: "PEM file with that certificate's key." },
    Key { name: "journal.prefix", shape: Shape::Text, default: "", help: "In front of each Kafka topic's name." },
    Key {
        name: "journal.partitions",
        shape: Shape::Number { min: 1, max: 1_000 },
        default: "4",
        help: "Partitions of topics that are made.",
    },
    Key {
        name: "journal.replication",
        shape: Shape::Number { min: 1, max: 16 },
        default: "1",
        help: "Replicas of topics that are made.",
    },
    Key {
        name: "journal.retention_days",
        shape: Shape::Number { min: 1, max: 3_650 },
        default: "7",
        help: "Days that the journal keeps records.",
    },
    Key {
        name: "journal.video_mib_max",
        shape: Shape::Number { min: 1, max: 1_048_576 },
        default: "256",
        help: "MiB of pictures that the local journal keeps.",
    },
];

/// Keys of a connection to a broker, beside its URL.
const MQTT_KEYS: [Key; 4] = [
    Key { name: "mqtt.password_file", shape: Shape::Text, default: "", help: "File with the broker's password." },
    Key {
        name: "mqtt.ca_file",
        shape: Shape::Text,
        default: "",
        help: "PEM file with the CA that signed the broker's certificate; empty for the system's.",
    },
    Key {
        name: "mqtt.cert_file",
        shape: Shape::Text,
        default: "",
        help: "PEM file with a certificate to show to the broker; empty for none.",
    },
    Key { name: "mqtt.key_file", shape: Shape::Text, default: "", help: "PEM file with that certificate's key." },
];

/// Lists of keys as one. `N` is how many they are together; another number does not compile.
const fn joined<const N: usize>(lists: &[&[Key]]) -> [Key; N] {
    let (mut all, mut at, mut list) = ([JOURNAL_KEYS[0]; N], 0, 0);
    while list < lists.len() {
        let mut i = 0;
        while i < lists[list].len() {
            all[at] = lists[list][i];
            (at, i) = (at + 1, i + 1);
        }
        list += 1;
    }
    assert!(at == N);
    all
}

const BRIDGE_FIRST: [Key; 2] = [
    Key { name: "site", shape: Shape::Text, default: "home", help: "The site: second word of every MQTT topic." },
    Key {
        name: "mqtt.url",
        shape: Shape::Text,
        default: "mqtt://127.0.0.1:1883",
        help: "The broker: mqtt://[USER@]HOST[:PORT], mqtts:// for TLS, or embedded[:PORT].",
    },
];

const BRIDGE_LAST: [Key; 2] = [
    Key {
        name: "relay.value",
        shape: Shape::Text,
        default: "json",
        help: "How values of the topic metrics are written: json or postcard.",
    },
    Key {
        name: "web.listen",
        shape: Shape::Text,
        default: "",
        help: "Address of /healthz and /metrics, or a port of loopback (0 is any free one); empty for none.",
    },
];

/// Keys of `hueflow-bridge`.
pub const BRIDGE_KEYS: &[Key] = &joined::<19>(&[&BRIDGE_FIRST, &MQTT_KEYS, &JOURNAL_KEYS, &BRIDGE_LAST]);

const METRICS_FIRST: [Key; 2] = [
    Key {
        name: "site",
        shape: Shape::Text,
        default: "home",
        help: "The site whose devices get commands: second word of every MQTT topic.",
    },
    Key {
        name: "mqtt.url",
        shape: Shape::Text,
        default: "",
        help: "The broker by which commands go to devices: mqtt://[USER@]HOST[:PORT], mqtts:// for TLS; empty: no commands.",
    },
];

const METRICS_LAST: [Key; 12] = [
    Key {
        name: "store.file",
        shape: Shape::Text,
        default: "/var/lib/hueflow/store.db",
        help: "The store: a SQLite file.",
    },
    Key {
        name: "store.url",
        shape: Shape::Text,
        default: "",
        help: "The store instead of store.file: sqlite:FILE, or postgres://USER@HOST[:PORT]/DB[?sslmode=require].",
    },
    Key {
        name: "store.password_file",
        shape: Shape::Text,
        default: "",
        help: "File with the password of the PostgreSQL user; without it PGPASSWORD, or the URL's.",
    },
    Key {
        name: "store.ca_file",
        shape: Shape::Text,
        default: "",
        help: "PEM file with the CA of the PostgreSQL server's certificate; empty for the system's CAs.",
    },
    Key {
        name: "store.keep_days",
        shape: Shape::Number { min: 1, max: 3_650 },
        default: "7",
        help: "Days that the store keeps each report; minutes and hours are kept longer.",
    },
    Key {
        name: "store.keep_minutes_days",
        shape: Shape::Number { min: 1, max: 36_500 },
        default: "30",
        help: "Days that the store keeps sums by minute. Sums by hour are kept for ever.",
    },
    Key {
        name: "store.bytes_max",
        shape: Shape::Number { min: 16_777_216, max: 1_099_511_627_776 },
        default: "2147483648",
        help: "Bytes of the store beyond which the oldest reports are deleted.",
    },
    Key {
        name: "store.census_kept",
        shape: Shape::Number { min: 1, max: 100_000 },
        default: "256",
        help: "Censuses that the store keeps, for each device.",
    },
    Key {
        name: "web.listen",
        shape: Shape::Text,
        default: "127.0.0.1:8080",
        help: "Address of the page, or a port of loopback; port 0 is any free one. Beyond loopback it wants web.token_file.",
    },
    Key {
        name: "web.token_file",
        shape: Shape::Text,
        default: "",
        help: "File with the token that opens the page; empty for none.",
    },
    Key {
        name: "silhouette.colours_max",
        shape: Shape::Number { min: 1_000, max: 5_000_000 },
        default: "100000",
        help: "Colours up to which a silhouette on the page is exact (100,000 take two seconds); beyond it is estimated.",
    },
    Key {
        name: "web.hosts",
        shape: Shape::Text,
        default: "",
        help: "Names that the page is reached by, with commas between; this machine's own and IP addresses need not be named.",
    },
];

/// Keys of `hueflow-metrics`.
pub const METRICS_KEYS: &[Key] = &joined::<29>(&[&METRICS_FIRST, &MQTT_KEYS, &JOURNAL_KEYS, &METRICS_LAST]);
