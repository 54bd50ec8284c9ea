//! Searches, guided by coverage, for bytes that break a target of `targets/bridge.rs`.
//!
//! `HUEFLOW_FUZZ_TARGET` names the target; the arguments are libFuzzer's. The ordinary tests play the same targets.
#![no_main]

#[path = "../targets/feed.rs"]
mod feed;
#[path = "../targets/bridge.rs"]
mod targets;

use std::sync::OnceLock;

fn target() -> fn(&[u8]) {
    match std::env::var("HUEFLOW_FUZZ_TARGET").unwrap_or_default().as_str() {
        "verdict" => targets::verdict,
        "journal" => targets::journal,
        "json" => targets::json,
        "parts" => targets::parts,
        "settings" => targets::config,
        other => panic!("HUEFLOW_FUZZ_TARGET={other} is not a target of this program"),
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
    TARGET.get_or_init(target)(data);
});
