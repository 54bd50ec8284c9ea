//! The commands of `hueflow-metrics` beside `run`.
//!
//! [`tail`] and [`video`] read the journal; [`ledger`], [`export`] and [`silhouette`] read the store, and [`store`]
//! moves it. [`compare`] clusters a picture.

pub mod cmd;
pub mod compare;
pub mod export;
pub mod ledger;
pub mod silhouette;
pub mod store;
pub mod tail;
pub mod video;
