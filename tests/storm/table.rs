//! Prints the kills and the verdict of a run.
//!
//! A kill that found its victim idle does not count. Nothing but standard output is written.

use crate::judge::Verdict;
use crate::storm::Kill;
use std::collections::BTreeMap;

/// Smallest, middle and largest of a list that is not empty.
fn spread(mut list: Vec<u64>) -> String {
    list.sort_unstable();
    match (list.first(), list.get(list.len() / 2), list.last()) {
        (Some(min), Some(median), Some(max)) => format!("{min} / {median} / {max}"),
        _ => "-".to_owned(),
    }
}

/// Prints both.
pub fn print(kills: &[Kill], verdict: &Verdict) {
    println!("{:<10} {:>6} {:>6}   {:<24} {:>10}", "victim", "kills", "idle", "in flight (min/med/max)", "sent again");
    let mut victims: BTreeMap<&str, Vec<&Kill>> = BTreeMap::new();
    for kill in kills {
        victims.entry(kill.victim.word()).or_default().push(kill);
    }
    victims.insert("all", kills.iter().collect());
    let order = ["edge", "mosquitto", "bridge", "Kafka", "metrics", "all"];
    for name in order {
        let Some(kills) = victims.get(name) else { continue };
        let busy: Vec<u64> = kills.iter().map(|k| k.in_flight).filter(|&n| n > 0).collect();
        let again: u64 = kills.iter().map(|k| k.again).sum();
        let idle = kills.len() - busy.len();
        println!("{name:<10} {:>6} {idle:>6}   {:<24} {again:>10}", busy.len(), spread(busy));
    }
    println!("{}", verdict.sums);
    for (what, found) in &verdict.findings {
        match found {
            Ok(()) => println!("ok       {what}"),
            Err(why) => println!("WRONG    {what}: {why}"),
        }
    }
}
