//! Roll-over: a spool of the smallest size, a broker that is away for longer than it can hold.
//!
//! What is declared lost is just what was evicted, and nothing is missing.

use harness::{House, Running, wait_for};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

/// The number before `word` in the edge's summary, which has a line for frames and one for records; 0 if the word is not there.
fn counted(edge: &Running, word: &str) -> u64 {
    let log = edge.stderr();
    assert!(log.contains(" frames in ") && log.contains("records: "), "no summary in {log}");
    let is_summary = |l: &&str| (l.contains("records: ") || l.contains(" frames in ")) && l.contains(word);
    let Some((line, at)) = log.lines().rfind(is_summary).and_then(|l| Some((l, l.find(word)?))) else { return 0 };
    line[..at].split(|c: char| !c.is_ascii_digit()).rfind(|w| !w.is_empty()).expect("a number").parse().unwrap()
}

#[test]
fn a_spool_that_rolled_over_three_times_declares_just_what_it_evicted_and_misses_nothing() {
    let (house, bridge) = House::embedded();
    let (metrics, _) = house.metrics();
    let config = house.path("edge.toml");
    std::fs::write(&config, "[spool]\nbytes_max = 1048576\n").unwrap();
    let config = config.to_str().unwrap().to_owned();
    let args = |frames| {
        [
            "--config",
            &config,
            "--source",
            "synthetic:160x120@30",
            "--fast",
            "--lambda",
            "8",
            "--video",
            "all",
            "--frames",
            frames,
        ]
        .map(str::to_owned)
    };
    // Away: nobody listens on port 1.
    let alone = House::new("mqtt://127.0.0.1:1", "");
    let spool = house.path("spool-pi-1");
    let mut away = args("1200").to_vec();
    away.push("--no-drain".to_owned());
    let away: Vec<&str> = away.iter().map(String::as_str).collect();
    let mut edge = Running::start("away", house.dir(), &mut alone.edge_command_with_spool("pi-1", &spool, &away));
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    let (evicted, losses, held) =
        (counted(&edge, " evicted"), counted(&edge, " loss records"), counted(&edge, " held"));
    // Twelve segments and more of a spool that holds not quite four.
    assert!(losses >= 12, "rolled over at least three times: {losses} segments\n{}", edge.stderr());
    assert_eq!(counted(&edge, " refused"), 0, "{}", edge.stderr());
    // 1,200 reports and pictures, a census of some parts, and the loss records.
    assert!(evicted + held > 2400 + losses, "{evicted} {held}");

    let back = args("10");
    let mut edge = house.edge("pi-1", &back.each_ref().map(String::as_str));
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    // On a busy machine the new frames need room before the first acks are there. What is evicted then may be in the
    // journal already: stored wins over declared.
    let again = counted(&edge, " evicted");
    let ledger = house.settled_ledger(2, LIMIT);
    let sum = |key: &str| ledger.iter().filter_map(|l| l[key].as_u64()).sum::<u64>();
    assert_eq!((sum("missing"), sum("dead")), (0, 0), "{ledger:?}");
    let declared = sum("declared_lost");
    assert!((evicted..=evicted + again).contains(&declared), "{evicted} {again}: {ledger:?}");
    assert_eq!(sum("produced"), sum("stored") + sum("declared_lost"), "{ledger:?}");
    let first = ledger.iter().find(|l| l["declared_lost"] != 0).expect("a boot with losses");
    let of_first = |key: &str| first[key].as_u64().unwrap();
    assert_eq!((of_first("produced"), of_first("stored")), (evicted + held, evicted + held - declared), "{first}");
    assert_eq!((&first["frames_seen"], &first["frames_dropped"]), (&1200.into(), &0.into()), "{first}");
    // The newest frames are there, in one run.
    let rows = house.query("SELECT min(frame), max(frame), count(*) FROM reports WHERE frame >= 10");
    let rows: Vec<u64> = rows[0].split('|').map(|n| n.parse().unwrap()).collect();
    assert_eq!((rows[1], rows[2]), (1199, 1200 - rows[0]), "{rows:?}");
    drop((bridge, metrics));
}

#[test]
fn eviction_in_the_middle_of_a_drain_leaves_nothing_missing() {
    let (house, bridge) = House::embedded();
    let (metrics, _) = house.metrics();
    let config = house.path("edge.toml");
    std::fs::write(&config, "[spool]\nbytes_max = 1048576\n").unwrap();
    let mut edge = house.edge(
        "pi-1",
        &["--config", config.to_str().unwrap(), "--source", "synthetic:160x120@30", "--fast", "--lambda", "8"]
            .into_iter()
            .chain(["--video", "all", "--frames", "3000", "--log-frames"])
            .collect::<Vec<_>>(),
    );
    let stored = || house.ledger().iter().filter_map(|l| l["stored"].as_u64()).sum::<u64>();
    wait_for("records to flow", LIMIT, || (stored() > 0).then_some(()));
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    // Faster than the journal or not: what was not stored is declared, and no record is both evicted and unaccounted for.
    let ledger = house.settled_ledger(1, LIMIT);
    let evicted = counted(&edge, " evicted");
    let declared = ledger[0]["declared_lost"].as_u64().unwrap();
    assert!(declared <= evicted, "{declared} {evicted}: {ledger:?}");
    assert_eq!((&ledger[0]["missing"], &ledger[0]["dead"]), (&0.into(), &0.into()), "{ledger:?}");
    drop((bridge, metrics));
}
