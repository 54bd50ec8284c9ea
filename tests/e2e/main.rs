//! End to end: the real programs over the real brokers.
//!
//! Takes what `./tests/run e2e` has built and installed. Gives pictures in `target/test-output`.
//! Touches temporary folders, loopback ports, and processes of its own.
//! Never a fake: only the faults are made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod chain;
mod closed;
mod display;
mod dlq;
mod doctor;
mod kill;
mod numbers;
mod recreated;
mod rollover;
mod standby;
mod tls;
