//! The page: what a person sees in a browser, looked at with headless Chromium.
//!
//! Each test has a house of its own. Screenshots go to `target/test-output`. Colours of the clip must be on the screenshot: a
//! page that is only parsed would show none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod events;
mod fleet;
mod looks;
mod outage;
mod saved;
mod silhouette;
mod space;
mod view;
mod whatif;

use harness::browser::{Browser, get};
use harness::{House, media, output, wait_for};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);

/// What makes the page wider than the window: nothing, as it should be.
fn overflow(browser: &mut Browser) -> String {
    let wide = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 \
                && !e.closest('.scroll, .hidden-title, .skip, .swatches')).map(e => e.tagName + '.' + e.className).join()";
    let all = format!(
        "document.documentElement.scrollWidth > innerWidth ? 'the page is ' + document.documentElement.scrollWidth + ': ' + {wide} : ''"
    );
    browser.value(&all).as_str().unwrap_or("?").to_owned()
}

/// Scrolls to the silhouette, which is computed when it is in view.
fn to_the_silhouette(browser: &mut Browser) {
    browser.wait_until("the silhouette's part", "document.querySelector('.silhouettes') !== null");
    browser.value("document.querySelector('.silhouettes').scrollIntoView({ block: 'center' })");
}

#[test]
fn the_edges_own_page_shows_the_live_picture_and_says_when_it_has_stopped() {
    // A broker that is not there: the picture shows that.
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
    browser.wait_until("the notice of a stop to go", "document.getElementById('word').hidden");
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
    draw_on_the_right_half(&mut browser);
    assert_eq!(edge.stop(), 0);
    browser.wait_until("a word of the stop", "document.getElementById('word').innerText.includes('cannot be reached')");
    browser.screenshot(&output("preview-stopped.png"));
    // At the same address again, it goes on by itself.
    let address = page.trim_start_matches("http://").trim_end_matches('/').to_string();
    let (mut edge, _) = start(&format!("preview:{address}"));
    browser.wait_until("the picture again", "document.getElementById('word').hidden");
    assert_eq!(edge.stop(), 0);
}

/// Drags a rectangle over the middle of the clustered picture, which is on the right, and then draws a triangle.
fn draw_on_the_right_half(browser: &mut Browser) {
    let toml = "document.getElementById('toml').textContent";
    browser.value("document.getElementById('draw').open = true");
    browser.wait_until("both pictures' places", "maps.length === 2");
    let press = |kind: &str, x: f64, y: f64| {
        format!(
            "(() => {{ const [x, y] = toWindow(maps[0], [{x}, {y}]); const lines = document.getElementById('lines'); \
             lines.setPointerCapture = () => {{}}; \
             lines.dispatchEvent(new PointerEvent('{kind}', {{ clientX: x, clientY: y, pointerId: 1 }})) }})()"
        )
    };
    for (kind, x, y) in [("pointerdown", 0.25, 0.25), ("pointermove", 0.75, 0.5), ("pointerup", 0.75, 0.5)] {
        browser.value(&press(kind, x, y));
    }
    assert_eq!(browser.value(toml), "[[region]]\nname = \"region-1\"\nrect = [0.25, 0.25, 0.5, 0.25]\n");
    browser.screenshot(&output("preview-draw.png"));
    let middle = "document.querySelectorAll('#lines polygon')[0].getBoundingClientRect()";
    assert!(
        browser.value(&format!("{middle}.left > innerWidth / 2")) == true,
        "the outline is on the clustered picture"
    );
    browser.value(
        "document.getElementById('shape').value = 'polygon'; document.getElementById('kind').value = 'mask'; \
                   document.getElementById('kind').dispatchEvent(new Event('input'))",
    );
    assert_eq!(browser.value("document.getElementById('copy').disabled"), true, "no corner yet");
    for (x, y) in [(0.1, 0.1), (0.9, 0.1), (0.5, 0.8)] {
        browser.value(&press("pointerdown", x, y));
    }
    assert_eq!(browser.value(toml), "[[mask]]\npolygon = [[0.1, 0.1], [0.9, 0.1], [0.5, 0.8]]\n");
    browser.value("document.getElementById('draw').open = false");
}

#[test]
fn the_page_is_on_loopback_only_unless_told_otherwise() {
    let (house, bridge) = House::embedded();
    let (metrics, page) = house.metrics();
    assert!(page.starts_with("http://127.0.0.1:"), "{page}");
    assert_eq!(get(&page, "/healthz").0, 200);
    assert_eq!(get(&page, "/api/devices/nobody/latest").0, 404);
    drop((metrics, bridge));
}
