//! Hueflow's edge: eyes, face and mouth of one camera.
//!
//! Takes frames from a camera or a clip, and commands from MQTT. Gives pictures on a display, and records in a spool
//! that leave it only when the journal has them.
//! Touches files, the display and one MQTT connection, each through one module.
//! Never Kafka, never the bridge's code; and See and Show never allocate for a frame.
//!
//! A frame's way: [`camera`] -> `firmware::node` (in [`see`]) -> [`panel`] (by [`show`]) and [`spool`] -> [`outbox`]
//! (by [`send`]). Three threads, See, Show and Send, started in [`live`]; what lies between them is bounded and counted.

pub mod budget;
pub mod camera;
pub mod cli;
pub mod cluster;
pub mod command;
pub mod config;
pub mod coreset_size;
pub mod doctor;
pub mod exit;
pub mod gauge;
pub mod live;
pub mod logs;
pub mod memory;
pub mod outbox;
pub mod panel;
pub mod parcel;
pub mod see;
pub mod send;
pub mod service;
pub mod show;
pub mod slot;
pub mod spool;
pub mod tls;
pub mod turn;
