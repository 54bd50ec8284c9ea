//! Queues: each has a bound, and the bound has a name.
//!
//! A queue is what a function called `channel` or `sync_channel` makes. Channels of one value (`oneshot`, `watch`) have no
//! bound to name. A bound of 1 is a place for one value and needs no name. The core has no queues but heapless ones, whose
//! bound is part of their type.

use crate::source::Source;

/// Calls without a bound.
const UNBOUNDED: [&str; 4] = ["unbounded_channel(", "mpsc::unbounded(", "std::sync::mpsc::channel(", "mpsc::channel()"];

fn check(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|s| s.is_program() && !s.path.starts_with("firmware/src/")) {
        let unbounded = UNBOUNDED.iter().filter(|call| source.code().contains(**call));
        found.extend(unbounded.map(|call| format!("{} makes a queue without a bound: {call}", source.path)));
        for (at, call) in source.code().match_indices("channel(") {
            let argument = source.code().get(at + call.len()..).unwrap_or("");
            let number: String = argument.chars().take_while(|c| c.is_ascii_digit() || *c == '_').collect();
            if !matches!(number.as_str(), "" | "1")
                && argument.get(number.len()..).is_some_and(|rest| rest.starts_with(')'))
            {
                // A watch or a oneshot has a value or nothing there, and no queue.
                let before = source.code().get(..at).unwrap_or("");
                if !before.ends_with("watch::") {
                    found.push(format!("{} makes a queue whose bound has no name: {number}", source.path));
                }
            }
        }
    }
    found
}

#[test]
fn every_queue_has_a_bound_with_a_name() {
    assert_eq!(check(&Source::all()), [""; 0]);
}

#[test]
fn a_planted_queue_without_a_bound_or_without_its_name_is_found() {
    let planted = |text: &str| check(&[Source::new("edge/src/see.rs", text)]).len();
    for text in [
        "let (a, b) = mpsc::channel();",
        "let (a, b) = tokio::sync::mpsc::unbounded_channel();",
        "let (a, b) = sync_channel(16);",
        "let (a, b) = tokio::sync::mpsc::channel(1_024);",
    ] {
        assert_eq!(planted(text), 1, "{text}");
    }
    for text in ["sync_channel(1);", "mpsc::channel(EVENTS_MAX);", "oneshot::channel();", "watch::channel(0);"] {
        assert_eq!(planted(text), 0, "{text}");
    }
}
