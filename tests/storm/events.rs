//! What became of the events, by the reports of the same frames.
//!
//! An edge's event holds for a frame with at least [`MANY_CLUSTERS`] clusters, which its report has. So two reports of
//! neighbouring frames show whether an event begins or ends with the second one. Rows of the store are read; the result names
//! each case that is not so.

use crate::cast::{Cast, MANY_CLUSTERS};
use crate::judge::Spans;
use std::collections::BTreeMap;

/// What the store has of a boot of a device.
#[derive(Default)]
struct Stream {
    /// Whether the event holds, by frame.
    holds: BTreeMap<u64, bool>,
    /// Seq, frame, and whether it begins, in the order of seq.
    changes: Vec<(u64, u64, bool)>,
}

type Streams = BTreeMap<(String, u64), Stream>;

fn streams(cast: &Cast) -> Streams {
    let mut streams = Streams::new();
    let mut read = |sql: &str, take: fn(&mut Stream, [u64; 3])| {
        for row in cast.rows(sql) {
            let words: Vec<&str> = row.split('|').collect();
            let [device, stream, a, b, c] = words[..] else { continue };
            let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
            take(streams.entry((device.to_owned(), number(stream))).or_default(), [a, b, c].map(number));
        }
    };
    read("SELECT device, stream, seq, frame, clusters FROM reports", |s, [_, frame, clusters]| {
        s.holds.insert(frame, clusters >= MANY_CLUSTERS);
    });
    read("SELECT device, stream, seq, frame, change = 'begin' FROM events ORDER BY seq", |s, [seq, frame, begins]| {
        s.changes.push((seq, frame, begins == 1));
    });
    streams
}

/// Begins and ends in the store.
pub fn count(cast: &Cast) -> u64 {
    streams(cast).values().map(|s| s.changes.len() as u64).sum()
}

/// What is wrong with the events of all boots. No event at all is wrong, too.
pub fn wrong(cast: &Cast, spans: &Spans) -> Vec<String> {
    let streams = streams(cast);
    let none = streams.values().all(|s| s.changes.is_empty()).then(|| "there are no events".to_owned());
    none.into_iter()
        .chain(streams.iter().flat_map(|((device, stream), s)| of_stream(device, *stream, s, spans)))
        .collect()
}

fn of_stream(device: &str, stream: u64, s: &Stream, spans: &Spans) -> Vec<String> {
    let mut wrong = Vec::new();
    let name = |what: &str, frame: u64| format!("{device} {stream}: {what} with frame {frame}");
    // A full spool gives up records and declares them; what it gave up is between any two that are there.
    let is_whole = !spans.has_any(device, stream, "lost");
    for pair in s.changes.windows(2) {
        let [(_, before, begun), (_, frame, begins)] = pair else { continue };
        if frame <= before || is_whole && begun == begins {
            wrong.push(name("out of turn", *frame));
        }
    }
    let last = s.holds.keys().next_back();
    for (&frame, &holds) in &s.holds {
        let before = if frame == 0 { Some(false) } else { s.holds.get(&(frame - 1)).copied() };
        let Some(before) = before else { continue };
        let there: Vec<bool> = s.changes.iter().filter(|c| c.1 == frame).map(|c| c.2).collect();
        let expected: &[bool] = if before == holds { &[] } else { &[holds] };
        // A kill may come between a report and the event of its frame.
        let may_lack = !is_whole || Some(&frame) == last;
        if there != expected && !(there.is_empty() && may_lack) {
            wrong.push(name(&format!("{there:?} instead of {expected:?}"), frame));
        }
    }
    wrong
}
