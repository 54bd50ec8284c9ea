//! Starts the real programs, brokers and Kafka on free loopback ports for the tests, and stops them by pid.
//!
//! Each handle can be asked, killed and waited for. Ports are never fixed, a condition is waited for instead of a time, and
//! no process is left behind. Files go to a temporary folder for each test.
#![allow(clippy::panic, clippy::expect_used, reason = "a harness may fail a test")]

pub mod browser;
pub mod certs;
pub mod dice;
pub mod glass;
pub mod guest;
pub mod house;
pub mod imports;
pub mod journal;
pub mod media;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod screen;
pub mod services;
pub mod spool;
pub mod traffic;

pub use house::House;
pub use process::{Running, bin, wait_for};

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::path::PathBuf;

/// Ports of started services lie below those that the kernel gives to outgoing connections (from 32,768): between the test
/// and the service's own bind, no connection of another test can take them.
const PORTS: std::ops::Range<u64> = 16_384..32_768;

/// A loopback port that was free a moment ago, drawn at random so that two runs side by side draw different ones.
pub fn free_port() -> u16 {
    let mut dice = dice::Dice::new(RandomState::new().hash_one(std::process::id()));
    loop {
        let port = dice.between(PORTS.start, PORTS.end - 1) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The project's folder.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the project's folder")
}

/// Where a test leaves what a person may want to look at.
pub fn output(name: &str) -> PathBuf {
    let dir = std::env::var_os("HUEFLOW_TEST_OUTPUT").map_or_else(|| root().join("target/test-output"), PathBuf::from);
    std::fs::create_dir_all(&dir).expect("the output folder");
    dir.join(name)
}
