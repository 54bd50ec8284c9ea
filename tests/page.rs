//! Page: what a person sees in a browser, looked at with a browser.
//!
//! Takes headless Chromium. Gives `target/test-output/page.png`.
//! Touches a house of its own.
//! Never a page that is only parsed: colours of the clip must be on the screenshot.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use harness::{House, media, output, wait_for};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);

/// Status and body of a GET.
fn get(page: &str, path: &str) -> (u16, Vec<u8>) {
    let host = page.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host).expect("the page's port");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    let status = String::from_utf8_lossy(&bytes[9..12]).parse().unwrap();
    (status, bytes[head..].to_vec())
}

#[test]
fn the_page_shows_pictures_palette_curve_knife_and_ledger() {
    let (house, bridge) = House::embedded();
    let (metrics, page) = house.metrics();
    let source = format!("file:{}", media::clip().display());
    let args = ["--source", &source, "--loop", "--original", "--census-every", "2"];
    let mut edge = house.edge("demo", &args);
    for path in ["api/devices/demo/picture.png", "api/devices/demo/original.jpg", "api/devices/demo/knife.svg"] {
        wait_for(path, LIMIT, || (get(&page, &format!("/{path}")).0 == 200).then_some(()));
    }
    wait_for("a hundred reports", LIMIT, || {
        let (_, body) = get(&page, "/api/devices/demo/reports?last=300");
        (String::from_utf8_lossy(&body).matches("\"iterations\"").count() > 100).then_some(())
    });
    let shot = output("page.png");
    let profile = house.path("chromium");
    let browser = ["chromium", "chromium-browser", "google-chrome"];
    let browser = browser.into_iter().find(|b| Command::new(b).arg("--version").output().is_ok()).expect("chromium");
    let out = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--window-size=1400,1150", "--timeout=8000"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--screenshot={}", shot.display()))
        .arg(&page)
        .output()
        .expect("chromium");
    assert!(shot.exists(), "{}", String::from_utf8_lossy(&out.stderr));
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
