//! Custody in simulated time: the product's sender and receiver with a model of everything around them.
//!
//! `site` models the edge's disk, the broker, the bridges, the journal and the store. `table` plays the interleavings that
//! CUSTODY names, `random` thousands of seeds, and `planted` seeds with a deliberate mistake in the model. `audit` checks the
//! promises after each step. No test uses a clock, a file or the network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod planted;
mod random;
mod site;
mod table;
mod world;
