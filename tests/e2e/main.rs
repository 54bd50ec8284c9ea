//! End to end: the real programs over the real brokers.
//!
//! `./tests/run e2e` builds and installs what is needed; pictures are left in `target/test-output`. Temporary folders, loopback
//! ports and processes are the tests' own. Only the faults are made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod chain;
mod closed;
mod database;
mod display;
mod dlq;
mod doctor;
mod events;
mod homeassistant;
mod instances;
mod kill;
mod machine;
mod numbers;
mod packets;
mod readme;
mod recreated;
mod renamed;
mod rollover;
mod standby;
mod supervise;
mod tls;
mod topics;
