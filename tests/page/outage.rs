//! The demo's outages: a button takes the broker or the journal away, the page shows it, and afterwards that no record is lost.
//!
//! `deploy/demo` itself runs, with the programs of the tests: once over the embedded broker and the local journal, once over
//! mosquitto and Apache Kafka. The part about an outage has no barriers for axe-core.

use super::{LIMIT, looks, overflow};
use harness::browser::{Browser, get};
use harness::{Running, bin, output, root, wait_for};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// An outage takes 20 s; connections that failed for so long are tried again after up to as long.
const RECOVERY_LIMIT: Duration = Duration::from_secs(180);
const OUTCOME: &str = "document.querySelector('#outage .outcome')";

fn start(dir: &std::path::Path, more: &[&str]) -> (Running, String) {
    // Whatever this test was started from: a script's background job ignores SIGINT, and so would the demo.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(root().join("deploy/demo"));
    let programs = bin("hueflow-edge");
    command.args(["--no-install", "--keep", "--port", "0", "--programs"]).arg(programs.parent().unwrap()).args(more);
    let demo = Running::start("demo", dir, command.env("TMPDIR", dir));
    let line = demo.wait_for_line("watch it: http://", RECOVERY_LIMIT);
    let page = line[line.find("http://").unwrap()..].trim().to_owned();
    (demo, page)
}

/// The number before a word of the outcome.
fn figure(text: &str, word: &str) -> u64 {
    let before = text.split(word).next().filter(|b| b.len() < text.len()).unwrap_or_else(|| panic!("{word}: {text}"));
    let number: String = before.rsplit([' ', '+', '=']).find(|w| !w.is_empty()).unwrap().replace(',', "");
    number.parse().unwrap_or_else(|_| panic!("{word}: {text}"))
}

/// Presses a button, waits for the banner about `banner`, and for the recovery.
fn unplug(browser: &mut Browser, page: &str, part: &str, banner: &str, shot: &str) {
    let phase = |phase: &str| format!("{OUTCOME}?.dataset.phase === '{phase}'");
    browser
        .wait_until("the button", &format!("document.querySelector('#outage [data-part={part}]')?.disabled === false"));
    browser.value(&format!("document.querySelector('#outage [data-part={part}]').click()"));
    browser.wait_until("the outage in words", &phase("away"));
    let is_shown = format!(
        "!document.getElementById('banner').hidden && document.querySelector('#banner [data-part={banner}]') !== null"
    );
    browser.wait_until("the banner", &is_shown);
    look(browser, &format!("{shot}-away"));
    wait_for("the recovery", RECOVERY_LIMIT, || (browser.value(&phase("recovered")) == true).then_some(()));
    browser.wait_until("no banner", "document.getElementById('banner').hidden");
    look(browser, &format!("{shot}-recovered"));
    let text = browser.value(&format!("{OUTCOME}.textContent"));
    let text = text.as_str().unwrap();
    let [produced, stored] = [" produced", " stored +"].map(|word| figure(text, word));
    let lost = [" declared lost", " dead", " missing"].map(|word| figure(text, word));
    assert_eq!((lost, produced), ([0; 3], stored), "{text}");
    assert!(figure(text, " reports captured") > 20, "nothing was recorded meanwhile: {text}");
    // The same from the ledger itself, of each boot.
    let ledger: Value = serde_json::from_slice(&get(page, "/api/ledger").1).unwrap();
    for line in ledger.as_array().unwrap() {
        assert_eq!((&line["declared_lost"], &line["dead"]), (&Value::from(0), &Value::from(0)), "{line}");
    }
}

/// Screenshots on a desk and on a phone, dark and light.
fn look(browser: &mut Browser, name: &str) {
    for (width, height, scheme) in [(1280, 700, "dark"), (390, 844, "light"), (390, 844, "dark"), (1280, 700, "light")]
    {
        browser.look_like(width, height, scheme);
        browser.wait_until("the window", &format!("innerWidth === {width}"));
        browser.wait_until("its colours", &format!("matchMedia('(prefers-color-scheme: {scheme})').matches"));
        assert_eq!(overflow(browser), "", "{name} at {width} px");
        assert_eq!(looks::barriers(browser), "", "{name}, {width} px, {scheme}");
        browser.screenshot(&output(&format!("outage-{name}-{width}-{scheme}.png")));
    }
}

/// Ends the demo as a person does, which prints its ledger.
fn end(mut demo: Running) {
    let killed = Command::new("kill").args(["-INT", &demo.pid().to_string()]).status();
    assert!(killed.unwrap().success());
    assert_eq!(demo.wait(RECOVERY_LIMIT), 0, "{}", demo.stderr());
    assert!(demo.stdout().contains("produced"), "{}", demo.stdout());
}

#[test]
fn the_demo_loses_its_broker_and_its_journal_and_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let (demo, page) = start(dir.path(), &[]);
    let mut browser = Browser::open(dir.path(), &format!("{page}device/demo"), 1280, 700);
    browser.wait_until("the device", "document.getElementById('state')?.textContent === 'online'");
    // A form or another page cannot press the button, and nothing but the two words gets through.
    let ask = |headers: &str, body: &str| {
        format!(
            "fetch('/api/demo/outage', {{ method: 'POST', headers: {headers}, body: '{body}' }}).then(r => r.status)"
        )
    };
    let foreign = ask("{ 'content-type': 'application/json' }", "{\"part\":\"broker\"}");
    assert_eq!(browser.resolved(&foreign), 403, "without the session's number");
    unplug(&mut browser, &page, "broker", "broker", "embedded-broker");
    browser.go(&page);
    browser.wait_until("the fleet", "document.querySelector('.cards li') !== null");
    unplug(&mut browser, &page, "journal", "bridge", "local-journal");
    end(demo);
}

#[test]
fn the_demo_over_kafka_loses_mosquitto_and_kafka_and_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let (demo, page) = start(dir.path(), &["--kafka"]);
    let mut browser = Browser::open(dir.path(), &page, 1280, 700);
    browser.wait_until("the fleet", "document.querySelector('.cards li') !== null");
    unplug(&mut browser, &page, "broker", "broker", "mosquitto");
    unplug(&mut browser, &page, "journal", "journal", "kafka");
    end(demo);
}

#[test]
fn a_page_that_is_no_demo_has_no_such_buttons() {
    let (house, bridge) = harness::House::embedded();
    let (metrics, page) = house.metrics();
    assert_eq!(get(&page, "/api/demo/outage").0, 404);
    let mut browser = Browser::open(house.dir(), &page, 800, 600);
    wait_for("live events", LIMIT, || {
        (browser.value("document.getElementById('link').textContent") == "live").then_some(())
    });
    assert_eq!(browser.value("document.getElementById('outage').hidden"), true);
    drop((metrics, bridge));
}
