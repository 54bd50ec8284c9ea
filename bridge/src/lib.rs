//! Hueflow's server side: two programs over one journal.
//!
//! `hueflow-bridge` is [`relay`]: it takes the records of the edges from MQTT and appends them to the journal.
//! `hueflow-metrics` is [`metrics`]: it reads the journal into a store, exactly once, and serves what people look at.
//! They meet in [`journal`] alone, and with the edge in `firmware::wire` and `firmware::custody` alone.
//!
//! A record's way:
//!
//! 1. [`relay::mqtt`] (and [`relay::broker`], in-process): deliveries, manual acknowledgements.
//! 2. [`relay::verdict`]: what a delivery is, and the journal entry that it becomes; [`json`]: a report as JSON.
//! 3. [`relay::forward`]: appends to the journal first, then acknowledges, to MQTT and to the edge.
//! 4. [`journal`]: Apache Kafka or a local SQLite file, behind one trait; [`relay::dlq`]: dead letters, judged again.
//! 5. [`metrics::ingest`], [`metrics::store`]: the journal as rows, exactly once, by [`intervals`];
//!    [`metrics::store::ledger`]: what became of every record.
//! 6. [`metrics::silhouette`]: how good the answer is, from a census or a picture, and its diagram.
//! 7. [`metrics::http`]: the page, its JSON and its events; [`metrics::commands`]: the same for a terminal.
//! 8. [`relay::stats`], [`relay::endpoint`], [`prom`]: the relay's health and counters.
//!
//! Both programs share [`cli`], [`config`] and [`settings`] (what the user asked for), [`failure`] (exit codes),
//! [`doctor`], [`mqtt`], [`signals`], [`clock`] and [`sqlite`].

pub mod cli;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod failure;
pub mod intervals;
pub mod journal;
pub mod json;
pub mod metrics;
pub mod mqtt;
pub mod prom;
pub mod relay;
#[cfg(test)]
mod sample;
pub mod settings;
pub mod signals;
pub mod sqlite;
