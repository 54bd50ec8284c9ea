//! Custody in simulated time: sender, receiver, and everything between them that drops, repeats, forgets and dies.
//!
//! Takes nothing; `random` says how to ask for more seeds. Gives nothing.
//! Touches no clock, file or network: `house` models the disks, the broker, the journal and the store.
//! Never another protocol than the product's: sender and receiver are the crate's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod house;
mod planted;
mod random;
mod table;
mod world;
