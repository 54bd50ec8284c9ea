//! Planted: mistakes that the house makes on purpose, and the seeds that find them. A simulator that finds nothing proves
//! nothing.
//!
//! Takes a mistake. Gives the seed that finds it, and what is broken then.
//! Touches worlds of its own.
//! Never a mistake in the product's code: it lies in the house around it.

use super::audit::Broken;
use super::house::Bug;
use super::random::{number, run};
use super::world::World;

/// Seeds that must be enough to find any of them.
const SEEDS: u64 = 400;

/// Runs seeds until one breaks a promise, which must be one of the `expected` kind; the same seed without the mistake
/// breaks none.
fn found(bug: Bug, expected: impl Fn(&Broken) -> bool) {
    let seeds = number("HUEFLOW_SIM_PLANTED", SEEDS);
    let all = run(0, seeds, Some(bug), 6);
    let bad: Vec<_> = all.iter().filter_map(|(seed, mix, r)| Some((*seed, *mix, r.as_ref().err()?.clone()))).collect();
    println!("{bug:?}: {} of {} seeds, {bad:?}", bad.len(), all.len());
    assert!(!bad.is_empty(), "{bug:?} is not found in {seeds} seeds");
    for (seed, mix, broken) in &bad {
        assert!(expected(broken), "{bug:?}, seed {seed}, {mix:?}: {broken:?}");
        assert_eq!(World::new(*seed, None).run().err(), None, "seed {seed} without {bug:?}");
    }
}

#[test]
fn an_ack_before_the_journals_word_is_found() {
    found(Bug::AckBeforeDelivery, |b| matches!(b, Broken::AckUntrue(_)));
}

#[test]
fn a_window_that_is_taken_only_once_is_found() {
    found(Bug::WindowTakenOnce, |b| matches!(b, Broken::Stalled(_)));
}

#[test]
fn a_loss_record_after_the_unlink_is_found() {
    found(Bug::LossAfterUnlink, |b| matches!(b, Broken::Nowhere(_)));
}

#[test]
fn a_boot_that_is_used_again_is_found() {
    found(Bug::BootReused, |b| matches!(b, Broken::NameTwice(_) | Broken::SettledTooEarly(_) | Broken::Stalled(_)));
}

#[test]
fn a_segment_deleted_out_of_turn_is_found() {
    found(Bug::DeletedOutOfTurn, |b| matches!(b, Broken::OutOfTurn(_)));
}

#[test]
fn a_probe_of_the_oldest_in_flight_is_found() {
    found(Bug::ProbeOfTheOldestInFlight, |b| matches!(b, Broken::WrongProbe(..)));
}

#[test]
fn a_sender_that_is_given_the_clock_on_the_wall_is_found() {
    found(Bug::WallClock, |b| matches!(b, Broken::Stalled(_)));
}

#[test]
fn a_standby_that_waits_for_a_word_nobody_may_be_left_to_say_is_found() {
    found(Bug::StandbyWaitsForAWord, |b| matches!(b, Broken::Stalled(_)));
}
