//! Kafka away for a while, with ten edges at work.
//!
//! The results are memory before, during and after, how long the drain took, and how late live records were meanwhile. Each
//! bound is far above what was measured and far below what a leak takes. How late live records are is only printed: it
//! depends on what else uses the machine.

use crate::cast::{Cast, Middle, Scene};
use crate::judge;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// Growth that is allowed from before the outage: of one edge, of the bridge, and of mosquitto.
const GROWTH_MAX: [u64; 3] = [4 * MIB, 16 * MIB, 8 * MIB];
/// A drain may take this share of the outage, and a moment.
const DRAIN_MAX: fn(u64) -> Duration = |seconds| Duration::from_secs(10 + seconds / 2);
const FPS: u64 = 30;
/// Records are looked at for so long after the first that was stored, however soon the backlog has drained.
const LOOK_US: u64 = 3_000_000;
/// Frames of each edge before it is measured: buffers have their size by then.
const WARM: u64 = 10 * FPS;
const ASK: Duration = Duration::from_millis(100);

/// Runs it. Gives whether all bounds held.
pub fn run(seconds: u64, edges: usize) -> bool {
    let mut cast = Cast::start(Middle::Kafka, edges, Scene::Plain);
    let all = edges as u64;
    cast.pass_frames(WARM * all);
    let before = cast.resident();
    let frames = cast.frames();
    cast.take_kafka();
    cast.pass_frames(seconds * FPS * all);
    let during = cast.resident();
    let (backlog, away) = (cast.frames() - frames, Instant::now());
    let stored = cast.stored();
    cast.give_kafka();
    let back = Instant::now();
    while cast.stored() == stored && back.elapsed() < DRAIN_MAX(seconds) {
        std::thread::sleep(ASK);
    }
    let first = back.elapsed();
    // At most half a second of frames is on its way: nothing of the backlog.
    while cast.stored() + FPS / 2 * all < cast.frames() && back.elapsed() < DRAIN_MAX(seconds) {
        std::thread::sleep(ASK);
    }
    let drained = back.elapsed();
    cast.pass_frames(WARM * all / 2);
    let after = cast.resident();
    cast.finish();
    let rest = judge::rest(&cast);
    let (journal, store) = (behind(cast.traffic.acked_at()), behind(stored_at(&cast)));
    println!(
        "Kafka away for {seconds} s ({} s until it answered), {edges} edges at {FPS} fps",
        back.duration_since(away).as_secs() + seconds
    );
    println!(
        "backlog {backlog} frames; first record stored {first:.1?} after its return, drained {drained:.1?} after it"
    );
    for (what, b) in [("acknowledged", &journal), ("stored", &store)] {
        let (count, median, most) = (b.count, b.median_ms, b.most_ms);
        println!(
            "live records while draining: {count} {what}, {median} ms after capture at the median, {most} at most"
        );
    }
    println!("{:<12} {:>12} {:>12} {:>12}", "resident KiB", "before", "away", "after");
    for (i, name) in ["edges", "bridge", "mosquitto"].iter().enumerate() {
        println!("{name:<12} {:>12} {:>12} {:>12}", before[i] / 1024, during[i] / 1024, after[i] / 1024);
    }
    let mut good = rest;
    let mut claim = |what: &str, holds: bool| {
        println!("{}{what}", if holds { "ok       " } else { "WRONG    " });
        good &= holds;
    };
    claim("every record is stored, none lost", rest);
    for (i, name) in ["edges", "bridge", "mosquitto"].iter().enumerate() {
        let bound = before[i] + GROWTH_MAX[i] * if i == 0 { all } else { 1 };
        claim(&format!("memory of {name} stays below {} KiB", bound / 1024), during[i].max(after[i]) <= bound);
    }
    claim(&format!("drained within {:?} of Kafka's return", DRAIN_MAX(seconds)), drained < DRAIN_MAX(seconds));
    for (what, b) in [("acknowledged", journal), ("stored", store)] {
        claim(&format!("live records are {what} while the backlog drains, and not behind it"), b.count > 0);
    }
    good
}

/// How far behind live records were while the backlog drained.
struct Behind {
    count: usize,
    median_ms: u64,
    most_ms: u64,
}

/// Of times of arrival and of capture: live is what was captured after the first record after the outage had arrived, and
/// before the last of the backlog had, or soon after.
fn behind(mut times: Vec<(u64, u64)>) -> Behind {
    times.sort_unstable();
    // The outage is the longest time in which nothing arrived.
    let gap = (1..times.len()).max_by_key(|&i| times[i].0 - times[i - 1].0).unwrap_or(0);
    let after = times.get(gap..).unwrap_or_default();
    let back = after.first().map_or(0, |t| t.0);
    let end = after.iter().filter(|t| t.1 < back).map(|t| t.0).max().unwrap_or(back).max(back + LOOK_US);
    let live = after.iter().filter(|t| (back..=end).contains(&t.1));
    let mut lags: Vec<u64> = live.map(|t| t.0.saturating_sub(t.1) / 1000).collect();
    lags.sort_unstable();
    let at = |i: usize| lags.get(i).copied().unwrap_or(0);
    Behind { count: lags.len(), median_ms: at(lags.len() / 2), most_ms: at(lags.len().saturating_sub(1)) }
}

fn stored_at(cast: &Cast) -> Vec<(u64, u64)> {
    let rows = cast.rows("SELECT stored_at_us, captured_at_us FROM reports");
    rows.iter().filter_map(|r| r.split_once('|').and_then(|(s, c)| Some((s.parse().ok()?, c.parse().ok()?)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_records_are_told_from_the_backlog() {
        let steady = (0..50).map(|i| (i * 100_000 + 5_000, i * 100_000));
        // Away for ten seconds; the backlog arrives in one, and what is live meanwhile comes 300 ms late.
        let backlog = (50..150).map(|i| (15_000_000 + i * 10_000, i * 100_000));
        let live = (155..165).map(|i| (i * 100_000 + 300_000, i * 100_000));
        let b = behind(steady.chain(backlog).chain(live).collect());
        assert_eq!((b.count, b.median_ms, b.most_ms), (10, 300, 300));
    }
}
