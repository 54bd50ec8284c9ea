//! Carries out a plan of faults.
//!
//! It returns every kill with what was in flight, and after quiet the verdict. The next step begins only when the program
//! that was killed last has shown that it works again.

use crate::Args;
use crate::cast::{Cast, Scene};
use crate::judge;
use crate::plan::{Fault, Plan, Step, Victim};
use crate::table;
use harness::spool::Kept;
use std::time::Instant;

/// Idle kills are repeated with the plan's next steps, but not for ever.
const STEPS_PER_KILL_MAX: usize = 3;
/// Records that show that a victim works again.
const BACK: u64 = 10;

/// A kill.
#[derive(Debug, Clone)]
pub struct Kill {
    /// Who.
    pub victim: Victim,
    /// Records accepted and not yet acknowledged (of metrics: in the journal and not yet stored).
    pub in_flight: u64,
    /// Records that were sent again between this kill and the next.
    pub again: u64,
}

/// What an edge's disk held when it was killed.
#[derive(Debug)]
pub struct Found {
    /// The device.
    pub device: String,
    /// The records.
    pub records: Vec<Kept>,
}

/// Carries out a plan. Gives whether all held.
pub fn run(args: &Args) -> bool {
    let plan = Plan::new(args.seed, args.house, args.edges);
    if args.only_plan {
        plan.take(args.kills).for_each(|s| println!("{s:?}"));
        return true;
    }
    let start = Instant::now();
    let mut cast = Cast::start(args.house, args.edges, Scene::Clip);
    if !cast.has_disk() {
        eprintln!("a full disk is left out: no disk can be mounted here (it wants root)");
    }
    let (mut kills, mut found, mut counted, mut again) = (Vec::<Kill>::new(), Vec::new(), 0, 0);
    for (n, step) in plan.take(args.kills * STEPS_PER_KILL_MAX).enumerate() {
        if counted >= args.kills {
            break;
        }
        let (in_flight, records) = carry_out(&mut cast, &step, |sent_again| {
            if let Some(last) = kills.last_mut() {
                last.again = sent_again - again;
            }
            again = sent_again;
        });
        if let Victim::Edge(e) = step.victim {
            found.push(Found { device: cast.edges[e].name.clone(), records });
        }
        kills.push(Kill { victim: step.victim, in_flight, again: 0 });
        counted += usize::from(in_flight > 0);
        let (victim, fault) = (step.victim.word(), step.fault.map(|f| format!(" in {f:?}")).unwrap_or_default());
        let seconds = start.elapsed().as_secs();
        eprintln!("{seconds:4} s  kill {}: {victim}{fault}, {in_flight} in flight", n + 1);
    }
    cast.pass_records(30);
    cast.finish();
    if let Some(last) = kills.last_mut() {
        last.again = cast.traffic.again() - again;
    }
    let verdict = judge::judge(&cast, &found);
    println!("seed {}, {} edges, {:?}, {} s", args.seed, args.edges, args.house, start.elapsed().as_secs());
    table::print(&kills, &verdict);
    let enough = counted >= args.kills;
    if !enough {
        println!("WRONG    only {counted} kills of {} found records in flight", args.kills);
    }
    enough && verdict.holds()
}

fn carry_out(cast: &mut Cast, step: &Step, killed: impl FnOnce(u64)) -> (u64, Vec<Kept>) {
    let stands_still = step.fault.is_some_and(|f| cast.begin(f));
    if stands_still {
        cast.pass_frames(step.pause)
    } else {
        cast.pass_records(step.pause)
    }
    if let Some(want) = step.freeze {
        cast.freeze(step.victim, want);
    }
    let (in_flight, records) = cast.kill(step.victim);
    killed(cast.traffic.again());
    let last = Victim::Edge(cast.edges.len() - 1);
    let others = step.victim != Victim::Edge(0) || cast.edges.len() > 1;
    if others {
        cast.pass_frames(step.dead);
    }
    let end = |cast: &mut Cast| {
        if let Some(fault) = step.fault {
            cast.end(fault, fault == Fault::Fill && step.victim == last);
        }
    };
    if !step.late {
        end(cast);
    }
    cast.restart(step.victim);
    if step.late {
        cast.pass_frames(BACK);
        end(cast);
    }
    if step.victim == Victim::Metrics {
        cast.pass_stored(BACK)
    } else {
        cast.pass_records(BACK)
    }
    (in_flight, records)
}
