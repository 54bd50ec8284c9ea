//! The page as a person sees it in a browser.
//!
//! Headless Chromium opens the page of a chain that the test starts; the screenshot is left in
//! `target/test-output/page.png`. Parsing the page is not enough: colours of the clip must be on the screenshot.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use harness::browser::{Browser, get};
use harness::{House, media, output, wait_for};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);

#[test]
fn the_page_shows_pictures_palette_curve_knife_and_ledger() {
    let (house, bridge) = House::embedded();
    let (metrics, page) = house.metrics();
    let source = format!("file:{}", media::clip().display());
    let args = ["--source", &source, "--loop", "--original", "--census-every", "5"];
    let mut edge = house.edge("demo", &args);
    for path in ["api/devices/demo/picture.png", "api/devices/demo/original.jpg", "api/devices/demo/knife.svg"] {
        wait_for(path, LIMIT, || (get(&page, &format!("/{path}")).0 == 200).then_some(()));
    }
    let mut browser = Browser::open(house.dir(), &page, 1400, 1400);
    browser.wait_until("live events", "document.getElementById('link').textContent === 'live'");
    browser.wait_until("a curve of 100 frames", "series.length > 100");
    browser
        .wait_until("both pictures", "['picture', 'original'].every(i => document.getElementById(i).naturalWidth > 0)");
    browser.wait_until("the knife", "document.querySelector('#knife img')?.naturalWidth > 0");
    browser.wait_until("the palette", "document.querySelectorAll('#bar div').length > 5");
    browser.wait_until("the ledger", "document.querySelectorAll('#ledger tr').length === 1");
    browser.wait_until("colours born or gone", "series.some(r => r.warm && r.births.length + r.deaths.length)");
    browser.wait_until(
        "their ticks",
        "[...document.querySelectorAll('#curve path')].slice(-2).some(p => p.getAttribute('d'))",
    );
    let mut missed = |report: &str| {
        let said = "[$('missed').textContent, $('missed-box').className, $('beyond').textContent].join()";
        browser.value(&format!("(showMissed({report}), {said})")).as_str().unwrap().to_owned()
    };
    assert_eq!(missed("{missed: 2, beyond_px: 40, pixels: 4000, w_open: 4}"), "2,wrong,1 %");
    assert_eq!(missed("{missed: 0, beyond_px: 0, pixels: 4000, w_open: 4}"), "0,,0 %");
    assert_eq!(missed("{missed: null, beyond_px: null, pixels: 4000, w_open: 4}"), "\u{2013},,\u{2013}", "an old edge");
    let frame = browser.value("series.at(-1).frame").as_u64().unwrap();
    browser.wait_until("frames to go on", &format!("series.at(-1).frame > {frame} + 30"));
    let shot = output("page.png");
    browser.screenshot(&shot);
    let (w, h, pixels) = media::png(&shot);
    let channels = pixels.len() / (w * h);
    let colours: std::collections::HashSet<&[u8]> = pixels.chunks(channels).map(|p| &p[..3]).collect();
    assert!(colours.len() > 2_000, "{} colours: the original's picture is not there", colours.len());
    let paper = pixels.chunks(channels).filter(|p| p[..3] == [246, 246, 248]).count();
    assert!(paper > 20_000, "{paper} pixels of the knife's paper");
    let curve = pixels.chunks(channels).filter(|p| p[..3] == [0xf3, 0xa7, 0x12]).count();
    assert!(curve > 100, "{curve} pixels of the curve");
    assert_eq!(edge.stop(), 0);
    drop((bridge, metrics));
}

#[test]
fn the_edges_own_page_shows_the_live_picture_and_says_when_it_has_stopped() {
    // A broker that is not there: the picture says so.
    let house = House::new("mqtt://127.0.0.1:1", "");
    let source = format!("file:{}", media::clip().display());
    let start = |display: &str| {
        let args = ["--source", &source, "--loop", "--display", display, "--view", "side-by-side", "--no-drain"];
        let edge = house.edge("desk", &args);
        let line = edge.wait_for_line("the live picture is at http://", LIMIT);
        let page = line[line.find("http://").unwrap()..].trim_end().to_string();
        (edge, page)
    };
    let (mut edge, page) = start("preview:127.0.0.1:0");
    let mut browser = Browser::open(house.dir(), &page, 1000, 700);
    browser.wait_until("the picture", "document.getElementById('picture').naturalWidth > 300");
    browser.wait_until("no word of a stop", "document.getElementById('word').hidden");
    let now = || get(&page, "/now.png").1;
    let first = now();
    wait_for("another picture", LIMIT, || (now() != first).then_some(()));
    browser.screenshot(&output("preview.png"));
    let (w, h, pixels) = media::png(&output("preview.png"));
    let channels = pixels.len() / (w * h);
    // The mark's ground, as JPEG leaves it.
    let is_mark = |p: &&[u8]| p[0].abs_diff(176) < 24 && p[1] < 24 && p[2].abs_diff(32) < 24;
    let marks = pixels.chunks(channels).filter(is_mark).count();
    assert!(marks > 300, "{marks} pixels of the mark of an edge that is offline");
    assert_eq!(edge.stop(), 0);
    browser.wait_until("a word of the stop", "document.getElementById('word').innerText.includes('cannot be reached')");
    browser.screenshot(&output("preview-stopped.png"));
    // At the same address again, it goes on by itself.
    let address = page.trim_start_matches("http://").trim_end_matches('/').to_string();
    let (mut edge, _) = start(&format!("preview:{address}"));
    browser.wait_until("the picture again", "document.getElementById('word').hidden");
    assert_eq!(edge.stop(), 0);
}

#[test]
fn the_page_is_on_loopback_only_unless_told_otherwise() {
    let house = House::new("", "");
    let mut house = house;
    house.journal = format!("local:{}", house.path("journal.sqlite").display());
    let (metrics, page) = house.metrics();
    assert!(page.starts_with("http://127.0.0.1:"), "{page}");
    assert_eq!(get(&page, "/healthz").0, 200);
    assert_eq!(get(&page, "/api/devices/nobody/latest").0, 404);
    drop(metrics);
}
