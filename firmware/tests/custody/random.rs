//! Random runs: thousands of seeds of lost, repeated and forgotten messages, crashes, evictions, journal changes and clock jumps.
//!
//! `HUEFLOW_SIM_SEEDS` is the number of seeds and `HUEFLOW_SIM_FIRST` the first one. The long run:
//! `HUEFLOW_SIM_SEEDS=100000 cargo test --release -p hueflow-firmware --features simd --test custody no_seed`.
//! Each seed has a world of its own; the seeds are spread over the machine's processors.

use super::audit::Broken;
use super::site::Bug;
use super::world::{MIXES, Mix, Sums, World};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS: u64 = 4_000;

pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|s| s.parse().ok()).unwrap_or(default)
}

/// Runs `seeds` seeds from `first` on, or until `enough` of them broke a promise. Returns the results ordered by seed.
pub fn run(first: u64, seeds: u64, bug: Option<Bug>, enough: usize) -> Vec<(u64, Mix, Result<Sums, Broken>)> {
    let (next, broken, all) = (AtomicU64::new(first), AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |n| n.get()) {
            scope.spawn(|| {
                while broken.load(Ordering::Relaxed) < enough as u64 {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        break;
                    }
                    let world = World::new(seed, bug);
                    let mix = world.mix;
                    let result = world.run();
                    broken.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
                    all.lock().unwrap().push((seed, mix, result));
                }
            });
        }
    });
    let mut all = all.into_inner().unwrap();
    all.sort_by_key(|r| r.0);
    all
}

#[test]
fn no_seed_loses_repeats_or_strands_a_record() {
    let (first, seeds) = (number("HUEFLOW_SIM_FIRST", 0), number("HUEFLOW_SIM_SEEDS", SEEDS));
    let all = run(first, seeds, None, usize::MAX);
    let bad: Vec<_> = all.iter().filter_map(|(seed, mix, r)| Some((seed, mix, r.as_ref().err()?))).collect();
    assert!(bad.is_empty(), "{} of {seeds} seeds: {:?}", bad.len(), &bad[..bad.len().min(8)]);
    println!("{seeds} seeds from {first} on: no broken promise");
    let mut forgotten = 0;
    for mix in MIXES {
        let mut sum = Sums::default();
        for s in all.iter().filter(|r| r.1 == mix).filter_map(|r| r.2.as_ref().ok()) {
            sum.accepted += s.accepted;
            sum.sends += s.sends;
            sum.declared += s.declared;
            sum.forgotten += s.forgotten;
            sum.takeovers += s.takeovers;
            sum.jumps += s.jumps;
            sum.swaps += s.swaps;
            sum.calm_ticks = sum.calm_ticks.max(s.calm_ticks);
        }
        println!(
            "{mix:?}: {} accepted, {:.3} sends a record, {} declared lost, {} forgotten, {} journal changes, {} takeovers, {} jumps, calm {}",
            sum.accepted,
            sum.sends as f64 / sum.accepted as f64,
            sum.declared,
            sum.forgotten,
            sum.swaps,
            sum.takeovers,
            sum.jumps,
            sum.calm_ticks
        );
        forgotten += sum.forgotten;
    }
    assert!(forgotten > 0 || seeds < SEEDS, "no set of ranges was ever full");
}
