//! A device that gets another name: its records keep the name that produced them, and nothing is reported missing.
//!
//! A real edge, bridge and store over a real mosquitto; the ledger has what arrived under which name.

use harness::services::Mosquitto;
use harness::{House, Running, bin, wait_for};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

fn of<'a>(ledger: &'a [Value], device: &str) -> Vec<&'a Value> {
    ledger.iter().filter(|l| l["device"] == device).collect()
}

fn sum(lines: &[&Value], key: &str) -> u64 {
    lines.iter().filter_map(|l| l[key].as_u64()).sum()
}

#[test]
fn a_renamed_device_sends_what_it_holds_under_its_former_name() {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    house.mqtt = mosquitto.url();
    house.journal = format!("local:{}", house.path("journal.sqlite").display());
    let spool = house.path("spool");
    // Without a broker, as its owner called it first.
    let mut before = Command::new(bin("hueflow-edge"));
    before.args(["run", "--site", "test", "--device", "attic", "--mqtt", "mqtt://127.0.0.1:1", "--no-drain"]);
    before.args(["--source", "synthetic:64x48@30", "--fast", "--frames", "73", "--spool"]).arg(&spool);
    let mut before = Running::start("before", house.dir(), &mut before);
    assert_eq!(before.wait(LIMIT), 0, "{}", before.stderr());

    let (bridge, (metrics, _)) = (house.bridge(&[]), house.metrics());
    // Another device has the former name by now.
    let mut namesake = house.edge("attic", &["--source", "synthetic:64x48@30"]);
    namesake.wait_for_line("connected to the broker", LIMIT);
    let args = ["--source", "synthetic:64x48@30"];
    let mut cellar = Running::start("cellar", house.dir(), &mut house.edge_command_with_spool("cellar", &spool, &args));
    // 73 reports and the census of the last frame.
    cellar.wait_for_line("the journal has all records of the former name test/attic", LIMIT);
    wait_for("records under the new name", LIMIT, || {
        (sum(&of(&house.ledger(), "cellar"), "stored") > 30).then_some(())
    });
    assert_eq!((cellar.stop(), namesake.stop()), (0, 0), "{}", cellar.stderr());
    wait_for("a settled ledger", LIMIT, || {
        let is_read = house.has_read_journal();
        let ledger = house.ledger();
        let is_settled = |l: &Value| l["produced"].as_u64() == l["stored"].as_u64();
        (is_read && ledger.iter().all(is_settled)).then_some(())
    });
    let ledger = house.ledger();
    let total = |key: &str| sum(&ledger.iter().collect::<Vec<_>>(), key);
    assert_eq!((total("missing"), total("declared_lost"), total("dead")), (0, 0, 0), "{ledger:?}");
    let attic = of(&ledger, "attic");
    assert!(attic.iter().any(|l| l["stored"] == 74), "the earlier run: {attic:?}");
    assert!(attic.len() >= 2 && !of(&ledger, "cellar").is_empty(), "{ledger:?}");
    assert!(!spool.join("of").exists(), "its folder is gone");
    assert!(!namesake.stderr().contains("no connection"), "nobody was pushed off: {}", namesake.stderr());
    drop((bridge, metrics));
}
