//! Planted mistakes: the random runs must find each of them within a few hundred seeds.
//!
//! The mistakes are in the model around the product's code, see [`Bug`]. A simulator that finds none of them proves nothing.

use super::audit::Broken;
use super::random::{number, run};
use super::site::Bug;
use super::world::World;

/// Number of seeds that must be enough to find each mistake.
const SEEDS: u64 = 400;

/// Runs seeds with `bug` until some break a promise. The broken promise must be an `expected` one, and the same seed without
/// the mistake must break none.
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
fn an_ack_before_the_journals_confirmation_is_found() {
    found(Bug::AckBeforeDelivery, |b| matches!(b, Broken::AckUntrue(_)));
}

#[test]
fn a_bridge_that_takes_one_window_of_a_boot_is_found() {
    found(Bug::WindowTakenOnce, |b| matches!(b, Broken::Stalled(_)));
}

#[test]
fn a_loss_record_after_the_unlink_is_found() {
    found(Bug::LossAfterUnlink, |b| matches!(b, Broken::Nowhere(_)));
}

#[test]
fn a_reused_boot_is_found() {
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
fn a_sender_with_the_wall_clock_is_found() {
    found(Bug::WallClock, |b| matches!(b, Broken::Stalled(_)));
}

#[test]
fn a_standby_that_needs_a_status_to_take_over_is_found() {
    found(Bug::StandbyNeedsStatus, |b| matches!(b, Broken::Stalled(_)));
}
