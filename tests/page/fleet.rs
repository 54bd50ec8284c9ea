//! The fleet: cards, search, sorting, and its text while there is nothing to show.
//!
//! One edge is real; the others are status messages and reports that a broker is given.

use super::{LIMIT, overflow};
use harness::browser::{Browser, get};
use harness::{House, Running, bin, wait_for};
use std::process::Command;

#[test]
fn the_fleet_says_what_to_do_when_it_is_empty_and_finds_and_sorts_devices() {
    let (house, bridge) = House::embedded();
    let (metrics, page) = house.metrics();
    let mut browser = Browser::open(house.dir(), &page, 1200, 900);
    browser.wait_until("what to do", "document.querySelector('.nothing')?.textContent.includes('hueflow-edge run')");
    let edges: Vec<_> = ["porch-1", "porch-2", "yard"]
        .map(|name| house.edge(name, &["--source", "synthetic:160x120@30", "--frames", "30", "--census-every", "0"]))
        .into();
    wait_for("three devices", LIMIT, || {
        let text = String::from_utf8_lossy(&get(&page, "/api/fleet").1).into_owned();
        ["porch-1", "porch-2", "yard"].iter().all(|n| text.contains(&format!("[\"{n}\",\"offline\""))).then_some(())
    });
    browser.wait_until("three cards", "document.querySelectorAll('.cards li').length === 3");
    browser.wait_until(
        "the state in words",
        "[...document.querySelectorAll('.cards .state')].every(s => s.textContent === 'stream interrupted')",
    );
    let search = |text: &str| {
        format!(
            "(s => {{ s.value = '{text}'; s.dispatchEvent(new Event('input')) }})(document.getElementById('search'))"
        )
    };
    browser.value(&search("porch"));
    browser.wait_until("two cards", "document.querySelectorAll('.cards li').length === 2");
    browser.wait_until("the search in the address", "location.search === '?q=porch'");
    assert_eq!(browser.value("document.getElementById('count').textContent"), "2 of 3 devices, 0 online");
    browser.value(&search("nobody"));
    browser.wait_until("that nothing is found", "document.querySelector('.nothing').textContent.includes('nobody')");
    browser.value(&search(""));
    let order = "[...document.querySelectorAll('.cards li')].map(l => l.dataset.device).join()";
    assert_eq!(browser.value(order), "porch-1,porch-2,yard");
    for width in [360, 400] {
        browser.look_like(width, 800, "dark");
        browser.wait_until("the phone's width", &format!("innerWidth === {width}"));
        assert_eq!(overflow(&mut browser), "", "at {width} px");
    }
    drop((edges, bridge, metrics));
}

#[test]
fn a_fleet_of_a_thousand_is_shown_and_searched() {
    let (house, bridge) = House::embedded();
    let (mut metrics, _) = house.metrics();
    assert_eq!(metrics.stop(), 0);
    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
               INSERT INTO statuses (device, state, at_ms, json) \
               SELECT printf('camera-%04d', i), iif(i % 10 = 0, 'offline', 'online'), 1, '{}' FROM n";
    let out = Command::new("sqlite3").arg(house.store()).arg(sql).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    // Another log: the first one's has the address of before.
    let mut command = Command::new(bin("hueflow-metrics"));
    command.args(["run", "--journal", &house.journal, "--listen", "127.0.0.1:0", "--store"]).arg(house.store());
    let metrics = Running::start("metrics-of-1000", house.dir(), &mut command);
    let line = metrics.wait_for_line("http://127.0.0.1:", LIMIT);
    let page = line[line.find("http://").unwrap()..].trim().to_owned();
    let mut browser = Browser::open(house.dir(), &page, 1280, 900);
    browser.wait_until("all cards", "document.querySelectorAll('.cards li').length === 1000");
    let paint = browser.value("performance.getEntriesByName('first-contentful-paint')[0]?.startTime");
    let text = "document.getElementById('count').textContent";
    assert_eq!(browser.value(text), "1,000 of 1,000 devices, 900 online");
    browser.value(
        "(s => { s.value = 'interrupted'; s.dispatchEvent(new Event('input')) })(document.getElementById('search'))",
    );
    assert_eq!(browser.value(text), "100 of 1,000 devices, 0 online");
    browser
        .value("(s => { s.value = '0777'; s.dispatchEvent(new Event('input')) })(document.getElementById('search'))");
    assert_eq!(browser.value("document.querySelectorAll('.cards li').length"), 1);
    println!("1,000 devices: first paint after {paint} ms");
    drop((metrics, bridge));
}
