//! Several `hueflow-metrics` over one Kafka and one PostgreSQL, killed while records flow.
//!
//! Real edges, mosquitto, relay, Kafka, PostgreSQL and three instances. Victims are instances (killed, or held until others
//! have taken over), the database and the broker, by a seeded die. `HUEFLOW_KILLS` and `HUEFLOW_SEED` make a longer run of
//! it. How long each takeover took is printed.

use harness::browser::get;
use harness::dice::Dice;
use harness::postgres::Postgres;
use harness::services::{Kafka, Mosquitto};
use harness::{House, Running, journal, wait_for};
use serde_json::Value;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(120);
const DEVICES: [&str; 5] = ["pi-1", "pi-2", "pi-3", "pi-4", "pi-5"];

/// What is done to whom, in turn.
const KINDS: [&str; 6] = [
    "an instance killed",
    "an instance killed without a database",
    "an instance held",
    "the database killed",
    "an instance killed",
    "the broker killed",
];
/// When a group has noticed that a member is gone, and has assigned its partitions to the others.
const SESSION: Duration = Duration::from_secs(8);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |v| v.parse().expect(name))
}

/// Reports that the store has of each device; none while the database is away.
fn stored(postgres: &Postgres) -> Option<Vec<u64>> {
    let sql = "SELECT s.device, count(*) FROM report_rows r JOIN streams s USING (sid) GROUP BY 1 ORDER BY 1";
    let counts: Vec<u64> = postgres.ask(sql).ok()?.iter().filter_map(|l| l.split_once('|')?.1.parse().ok()).collect();
    (counts.len() == DEVICES.len()).then_some(counts)
}

/// Waits until every device has `more` reports than `before`. Gives how long that took.
fn flow(postgres: &Postgres, what: &str, before: &[u64], more: u64) -> Duration {
    let start = Instant::now();
    wait_for(what, LIMIT, || {
        let now = stored(postgres)?;
        now.iter().zip(before).all(|(now, before)| *now >= before + more).then_some(())
    });
    start.elapsed()
}

fn ledger(house: &House, postgres: &Postgres) -> Vec<Value> {
    let out = house.run("hueflow-metrics", &["ledger", "--json", "--store", &postgres.url()]);
    String::from_utf8_lossy(&out.stdout).lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
}

#[test]
fn three_instances_of_which_any_dies_lose_nothing_and_double_nothing() {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    let mut kafka = Kafka::start("4", house.dir());
    let mut postgres = Postgres::start();
    (house.mqtt, house.journal) = (mosquitto.url(), kafka.url());
    let bridge = house.bridge(&[]);
    let start = |house: &House, n: usize| house.instance(&format!("metrics-{n}"), &postgres.url());
    let mut instances: Vec<(Running, String)> = (0..3).map(|n| start(&house, n)).collect();
    let url = postgres.url();
    let (kills, seed) = (number("HUEFLOW_KILLS", 4), number("HUEFLOW_SEED", 1));
    // Of a longer run no more censuses than the store keeps, so that its rows can be counted.
    let census_s = if kills > 10 { "30" } else { "2" };
    let arguments =
        ["--source", "synthetic:160x120@30", "--video", "off", "--frames", "1000000", "--census-every", census_s];
    let mut edges: Vec<Running> = DEVICES.iter().map(|d| house.edge(d, &arguments)).collect();
    let nothing = vec![0; DEVICES.len()];
    flow(&postgres, "records of all devices", &nothing, 20);

    // Any instance's page has every device.
    for (_, page) in &instances {
        wait_for("a page with every device's report", LIMIT, || {
            let devices: Value = serde_json::from_slice(&get(page, "/api/devices").1).ok()?;
            let shown = devices.as_array()?.iter().filter(|d| !d["report"].is_null() && d["state"] == "online").count();
            (shown == DEVICES.len()).then_some(())
        });
    }
    wait_for("each instance to read some partitions", LIMIT, || {
        let has = |(m, _): &(Running, String)| m.stderr().contains("partitions of the journal");
        instances.iter().all(has).then_some(())
    });

    let mut dice = Dice::new(seed);
    let mut took: Vec<(&str, Duration)> = Vec::new();
    for kill in 0..kills {
        let before = stored(&postgres).expect("the database answers");
        flow(&postgres, "records to flow", &before, 10);
        let before = stored(&postgres).expect("the database answers");
        let n = dice.below(3) as usize;
        // Each kind of victim in turn, so that a short run has all of them.
        let what = KINDS[(kill % KINDS.len() as u64) as usize];
        let start = Instant::now();
        match what {
            "an instance killed" => instances[n].0.kill(),
            "an instance held" => instances[n].0.signal("STOP"),
            "the database killed" => {
                postgres.kill();
                postgres.restart();
            }
            "an instance killed without a database" => {
                // The others get its partitions while they cannot write what they have read.
                postgres.kill();
                let is_away = |(m, _): &(Running, String)| m.stderr().contains("trying again until the store");
                wait_for("the others to notice", LIMIT, || instances.iter().any(is_away).then_some(()));
                instances[n].0.kill();
                let gone = Instant::now();
                wait_for("the session to end", LIMIT, || (gone.elapsed() > SESSION).then_some(()));
                postgres.restart();
            }
            _ => {
                kafka.kill();
                kafka.restart();
            }
        }
        flow(&postgres, what, &before, 15);
        took.push((what, start.elapsed()));
        match what {
            "an instance killed" | "an instance killed without a database" => {
                instances[n] = house.instance(&format!("metrics-{n}"), &url)
            }
            "an instance held" => instances[n].0.signal("CONT"),
            _ => {}
        }
        eprintln!(
            "{}: {what}: {:.1} s until every device's reports flow",
            kill + 1,
            took[kill as usize].1.as_secs_f64()
        );
    }
    for edge in &mut edges {
        edge.signal("TERM");
    }
    for edge in &mut edges {
        assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    }
    let mut last = Vec::new();
    wait_for("a settled ledger", LIMIT, || {
        let is_read = journal::is_read(&house.journal, || postgres.offsets());
        last = ledger(&house, &postgres);
        let is_settled = |l: &Value| l["missing"] == 0 && l["produced"] == l["stored"] && l["declared_lost"] == 0;
        (is_read && last.len() == DEVICES.len() && last.iter().all(is_settled)).then_some(())
    });
    let in_ledger: u64 = last.iter().filter_map(|l| l["stored"].as_u64()).sum();
    let one = |sql: &str| postgres.query(sql)[0].parse::<u64>().expect("a number");
    let reports = one("SELECT count(*) FROM report_rows");
    assert_eq!(one("SELECT count(DISTINCT (sid, seq)) FROM report_rows"), reports, "0 doubled");
    assert_eq!(one("SELECT sum(reports) FROM minutes"), reports);
    assert_eq!(reports + one("SELECT count(*) FROM census"), in_ledger, "the rows are the ledger's");
    let jumps = "SELECT count(*) FROM (SELECT frame, lag(frame) OVER (PARTITION BY sid ORDER BY seq) AS before FROM report_rows) r \
                 WHERE frame <= before";
    assert_eq!(one(jumps), 0, "in order");
    let slowest = |what: &str| took.iter().filter(|t| t.0 == what).map(|t| t.1).max().unwrap_or_default().as_secs_f64();
    let duplicates: u64 = last.iter().filter_map(|l| l["duplicates"].as_u64()).sum();
    eprintln!(
        "{kills} kills, seed {seed}: {reports} reports, {in_ledger} records, 0 lost, 0 doubled, {duplicates} deliveries dropped as \
         duplicates; slowest: instance killed {:.1} s, held {:.1} s, database {:.1} s, both {:.1} s, broker {:.1} s",
        slowest("an instance killed"),
        slowest("an instance held"),
        slowest("the database killed"),
        slowest("an instance killed without a database"),
        slowest("the broker killed")
    );
    drop((bridge, instances, mosquitto));
}
