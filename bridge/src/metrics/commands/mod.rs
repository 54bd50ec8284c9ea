//! The commands of `hueflow-metrics` beside `run`.
//!
//! [`tail`] and [`video`] read the journal; [`ledger`] and [`silhouette`] read the store.

pub mod cmd;
pub mod ledger;
pub mod silhouette;
pub mod tail;
pub mod video;
