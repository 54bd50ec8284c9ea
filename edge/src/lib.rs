//! Hueflow's edge: one camera, its displays, and the records that it keeps until the journal has them.
//!
//! [`supervise`] starts custody ([`custody`]: the spool and the sender) first and stops it last; the camera ([`see`]) and
//! the displays ([`show`]) are children that are tried again when they fail. A frame's way: [`camera`] ->
//! `firmware::node` (in [`see`]) -> [`panel`] (by [`show`]) and [`spool`] -> [`outbox`] (by [`send`]). What lies between
//! the threads is bounded and counted; See and Show do not allocate for a frame. [`spec`] and [`config`] know nothing above
//! them.

pub mod backoff;
pub mod budget;
pub mod camera;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod command;
pub mod config;
pub mod coreset_size;
pub mod counters;
pub mod custody;
pub mod doctor;
pub mod event;
pub mod exit;
pub mod gauge;
pub mod health;
pub mod http;
pub mod learn;
pub mod lines;
pub mod logs;
pub mod memory;
pub mod metrics;
pub mod outbox;
pub mod output;
pub mod panel;
pub mod parcel;
pub mod see;
pub mod send;
pub mod service;
pub mod show;
pub mod signals;
pub mod slot;
pub mod spec;
pub mod spool;
pub mod supervise;
pub mod turn;
pub mod vitals;
pub mod watch;
