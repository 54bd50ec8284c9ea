//! Page: what a person sees in a browser, looked at with a browser.
//!
//! Takes headless Chromium. Gives `target/test-output/page.png`.
//! Touches a house of its own.
//! Never a page that is only parsed: colours of the clip must be on the screenshot.
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
