//! Hueflow's server side: records leave MQTT, enter the journal, and become rows, ledgers, diagrams and a page.
//!
//! Takes records from an MQTT broker (`hueflow-bridge`) and from the journal (`hueflow-metrics`).
//! Gives journal entries, acknowledgements, a SQLite store, a ledger, plots and a page on loopback.
//! Touches sockets and its own files. Never the edge's code: the two meet in `firmware::wire` alone.
//!
//! A record's way, in the order of the modules:
//!
//! 1. [`mqtt`] (and [`broker`], in-process): deliveries, manual acknowledgements.
//! 2. [`verdict`]: what a delivery is, and the journal entry it becomes; [`json`]: a report as JSON.
//! 3. [`relay`]: into the journal first, then the word back: MQTT ack and custody ack.
//! 4. [`journal`]: Apache Kafka or a local SQLite file, behind one trait; [`dlq`]: its dead letters, judged again.
//! 5. [`store`]: journal to rows, exactly once, by [`intervals`]; [`ledger`]: what became of every record.
//! 6. [`census`], [`picture`]: parts joined; [`silhouette`], [`plot`]: how good the answer is, and its diagram.
//! 7. [`web`]: the page, its JSON and its events, behind its [`gate`]; [`tail`], [`video`]: the same for a terminal.
//! 8. [`stats`], [`endpoint`], [`prom`]: how the bridge stands, for whoever watches it.
//!
//! [`cli`], [`config`] and [`settings`] read what the user asked for, [`failure`] says how a program ends;
//! [`bridge`] and [`metrics`] put the two programs together.

mod acks;
pub mod bridge;
#[cfg(feature = "embedded-broker")]
pub mod broker;
pub mod census;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dlq;
pub mod doctor;
pub mod endpoint;
pub mod failure;
pub mod gate;
pub mod intervals;
pub mod journal;
pub mod json;
pub mod ledger;
pub mod live;
pub mod metrics;
pub mod mqtt;
pub mod picture;
pub mod plot;
pub mod prom;
pub mod query;
pub mod relay;
#[cfg(test)]
mod sample;
pub mod settings;
pub mod silhouette;
pub mod sqlite;
pub mod stats;
pub mod store;
pub mod tail;
pub mod tls;
pub mod verdict;
pub mod video;
pub mod web;
